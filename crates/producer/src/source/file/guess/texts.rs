//! The type that holds all texts of a column.

use serde_json::{Value, json};
use weir_codec::{FieldType, Schema, TextFormat};

/// Texts that stand for no value in exports of databases and spreadsheets.
const NULLS: [&str; 8] = ["NULL", "null", "\\N", "N/A", "NA", "n/a", "None", "-"];
/// Forms of dates other than ISO 8601.
const DATES: [&str; 7] =
    ["%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d"];
const CLOCKS: [&str; 3] = [" %H:%M:%S", " %H:%M", " %I:%M %p"];

/// A column's type.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) avro_type: Value,
    pub(super) nulls: Vec<String>,
    /// The form of its dates or timestamps, if it is not the usual one.
    pub(super) moments: Option<(&'static str, String)>,
    pub(super) why: String,
}

/// The type of these texts, none of which is empty, with numbers in this format.
pub(super) fn column(texts: &[&str], format: &TextFormat) -> Column {
    let is_null = |text: &&&str| NULLS.contains(text);
    let mut nulls: Vec<String> =
        texts.iter().filter(is_null).map(|text| text.to_string()).collect();
    nulls.sort();
    nulls.dedup();
    let values: Vec<&str> = texts.iter().filter(|text| !is_null(text)).copied().collect();
    let plain = |avro_type: Value, why: &str| Column {
        avro_type,
        nulls: nulls.clone(),
        moments: None,
        why: why.into(),
    };
    if values.is_empty() {
        return plain(json!("string"), "no values in the sample");
    }
    let all = |avro_type: &Value, format: &TextFormat| {
        let field_type = field_type(avro_type);
        values.iter().all(|text| field_type.parse_as(text, format).is_ok())
    };
    if all(&json!("boolean"), format) {
        return plain(json!("boolean"), "");
    }
    if all(&json!("long"), format) {
        return match values.iter().find(|text| is_code(text)) {
            Some(code) => text_column(&format!("`{code}` is a code, not a number")),
            None => plain(json!("long"), ""),
        };
    }
    if let Some(decimal) = decimal(&values, format).filter(|decimal| all(decimal, format)) {
        return plain(decimal, "as many decimals as in the sample");
    }
    if all(&json!("double"), format) {
        return plain(json!("double"), "");
    }
    let date = json!({"type": "int", "logicalType": "date"});
    let instant = json!({"type": "long", "logicalType": "timestamp-micros"});
    let local = json!({"type": "long", "logicalType": "local-timestamp-micros"});
    let time = json!({"type": "long", "logicalType": "time-micros"});
    let uuid = json!({"type": "string", "logicalType": "uuid"});
    for (avro_type, why) in [
        (&date, ""),
        (&time, ""),
        (&uuid, ""),
        (&local, "without an offset"),
        (&instant, "with an offset, or UTC where there is none"),
    ] {
        if all(avro_type, format) {
            return plain(avro_type.clone(), why);
        }
    }
    let dates = DATES.iter().map(|form| form.to_string());
    let timestamps = DATES.iter().flat_map(|date| CLOCKS.map(|clock| format!("{date}{clock}")));
    for (key, avro_type, forms) in [
        ("date_format", date, dates.collect::<Vec<_>>()),
        ("timestamp_format", local, timestamps.collect()),
    ] {
        let fits = |form: &&String| {
            let mut format = format.clone();
            match key {
                "date_format" => format.date = Some(form.to_string()),
                _ => format.timestamp = Some(form.to_string()),
            }
            all(&avro_type, &format)
        };
        let fitting: Vec<&String> = forms.iter().filter(fits).collect();
        match fitting[..] {
            [] => {}
            [form] => {
                let moments = Some((key, form.clone()));
                return Column { moments, ..plain(avro_type, &format!("of the form {form}")) };
            }
            [one, other, ..] => {
                return text_column(&format!("a date that may be {one} or {other}"));
            }
        }
    }
    text_column("")
}

/// Every text is a value of it, so that no text stands for null.
fn text_column(why: &str) -> Column {
    Column { avro_type: json!("string"), nulls: Vec::new(), moments: None, why: why.into() }
}

/// Leading zeros and signs belong to postal codes and telephone numbers.
fn is_code(text: &str) -> bool {
    let digits = text.trim_start_matches('-');
    text.starts_with('+') || digits.len() > 1 && digits.starts_with('0')
}

/// A decimal that holds all these numbers, with room for larger ones.
fn decimal(values: &[&str], format: &TextFormat) -> Option<Value> {
    let (mut before, mut scale) = (0, 0);
    for text in values {
        let digits = |part: &str| part.chars().filter(char::is_ascii_digit).count();
        let (whole, fraction) = text.split_once(format.decimal_separator).unwrap_or((text, ""));
        if fraction.contains(|c: char| !c.is_ascii_digit()) || is_code(whole) && whole.len() > 1 {
            return None;
        }
        before = before.max(digits(whole));
        scale = scale.max(fraction.len());
    }
    let precision = (before + scale + 4).min(38);
    (scale <= 9 && before + scale <= 38).then(|| {
        json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
    })
}

pub(super) fn field_type(avro_type: &Value) -> FieldType {
    let schema = json!({
        "type": "record", "name": "R", "fields": [{"name": "c", "type": avro_type}]
    });
    let parsed = Schema::parse(&schema.to_string()).expect("these types are built in");
    parsed.field_types().remove(0)
}
