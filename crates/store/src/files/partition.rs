//! The folders of a sink with `partition_by`: `column=value/`, as Hive, Spark, DuckDB and pyarrow read
//! them. A value is percent-encoded but for letters, digits, `-`, `_` and `.`, so that no value leaves
//! its folder; null is `__HIVE_DEFAULT_PARTITION__`.

use arrow::array::*;
use arrow::datatypes::*;
use arrow::error::ArrowError;
use arrow::temporal_conversions as times;
use std::fmt::Write;
use weir_model::avro::type_name;
use weir_model::pipeline::PartitionBy;

/// What stands for null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// The longest value, encoded: a part of a path may have 255 bytes.
const MAX_BYTES: usize = 180;

/// See the module.
pub(crate) struct Partitioning {
    by: PartitionBy,
    /// The column in the output schema.
    pub(crate) column: usize,
}

impl Partitioning {
    /// # Errors
    /// There is no such column, or its values are no names of folders.
    pub(crate) fn new(by: &PartitionBy, schema: &Schema) -> Result<Partitioning, String> {
        let Ok(column) = schema.index_of(by.column()) else {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let hint = weir_model::mistake::did_you_mean(by.column(), names);
            return Err(format!("`{}` is no column of the output schema{hint}", by.column()));
        };
        let data_type = schema.field(column).data_type();
        let fits = match by {
            PartitionBy::Column(_) => matches!(
                data_type,
                DataType::Utf8
                    | DataType::Boolean
                    | DataType::Int32
                    | DataType::Int64
                    | DataType::Date32
            ),
            PartitionBy::Day(_) => {
                matches!(data_type, DataType::Date32 | DataType::Timestamp(_, _))
            }
            PartitionBy::Hour(_) => matches!(data_type, DataType::Timestamp(_, _)),
        };
        if !fits {
            let instead = match by {
                PartitionBy::Column(_) => "a string, enum, boolean, int, long or date",
                PartitionBy::Day(_) => "a date or timestamp",
                PartitionBy::Hour(_) => "a timestamp",
            };
            return Err(format!("{by} is of type {}, and must be {instead}", type_name(data_type)));
        }
        let this = Partitioning { by: by.clone(), column };
        let taken = |name: &String| schema.index_of(name).is_ok();
        match this.folders().iter().skip_while(|_| !this.keeps_column()).find(|name| taken(name)) {
            Some(name) => {
                Err(format!("makes folders {name}=…, and the output has a column {name}"))
            }
            None => Ok(this),
        }
    }

    /// Whether the column is also in the files.
    pub(crate) fn keeps_column(&self) -> bool {
        !matches!(self.by, PartitionBy::Column(_))
    }

    /// The names before the `=`.
    fn folders(&self) -> Vec<String> {
        match &self.by {
            PartitionBy::Column(column) => vec![column.clone()],
            PartitionBy::Day(column) => vec![format!("{column}_date")],
            PartitionBy::Hour(column) => vec![format!("{column}_date"), format!("{column}_hour")],
        }
    }

    /// For each row its folder, or why it has none.
    pub(crate) fn paths(
        &self,
        array: &ArrayRef,
    ) -> Result<Vec<Result<String, String>>, ArrowError> {
        let values = self.values(array)?;
        let names = self.folders();
        let path = |value: Option<Vec<String>>| {
            let parts = value.unwrap_or_else(|| vec![NULL.to_owned(); names.len()]);
            let mut path = String::new();
            for (name, value) in names.iter().zip(parts) {
                let value = encode(&value);
                if value.len() > MAX_BYTES {
                    return Err(format!("the name of its folder would have {} bytes", value.len()));
                }
                _ = write!(path, "{name}={value}/");
            }
            Ok(path)
        };
        Ok(values.into_iter().map(|value| value.and_then(path)).collect())
    }

    /// For each row the parts of its value.
    #[allow(clippy::type_complexity, reason = "the rows of one column, of which some have none")]
    fn values(
        &self,
        array: &ArrayRef,
    ) -> Result<Vec<Result<Option<Vec<String>>, String>>, ArrowError> {
        let rows = 0..array.len();
        let all = |value: &dyn Fn(usize) -> Result<Vec<String>, String>| {
            let one = |row| if array.is_null(row) { Ok(None) } else { value(row).map(Some) };
            rows.clone().map(one).collect()
        };
        Ok(match array.data_type() {
            DataType::Utf8 => {
                let texts = array.as_string::<i32>();
                all(&|row| match texts.value(row) {
                    "" => Err("an empty text is no name of a folder".into()),
                    NULL => Err(format!("{NULL} means null in the name of a folder")),
                    text => Ok(vec![text.to_owned()]),
                })
            }
            DataType::Boolean => {
                let values = array.as_boolean();
                all(&|row| Ok(vec![values.value(row).to_string()]))
            }
            DataType::Int32 => {
                let values = array.as_primitive::<Int32Type>();
                all(&|row| Ok(vec![values.value(row).to_string()]))
            }
            DataType::Int64 => {
                let values = array.as_primitive::<Int64Type>();
                all(&|row| Ok(vec![values.value(row).to_string()]))
            }
            DataType::Date32 => {
                let values = array.as_primitive::<Date32Type>();
                all(&|row| {
                    let at = times::date32_to_datetime(values.value(row));
                    at.map(|at| vec![at.date().to_string()])
                        .ok_or_else(|| outside(values.value(row)))
                })
            }
            DataType::Timestamp(unit, _) => {
                let numbers = array.to_data();
                let numbers = numbers.buffer::<i64>(0);
                let time = match unit {
                    TimeUnit::Second => times::timestamp_s_to_datetime,
                    TimeUnit::Millisecond => times::timestamp_ms_to_datetime,
                    TimeUnit::Microsecond => times::timestamp_us_to_datetime,
                    TimeUnit::Nanosecond => times::timestamp_ns_to_datetime,
                };
                let with_hour = matches!(self.by, PartitionBy::Hour(_));
                all(&|row| {
                    let at = time(numbers[row]).ok_or_else(|| outside(numbers[row]))?;
                    let hour = with_hour.then(|| at.format("%H").to_string());
                    Ok([at.date().to_string()].into_iter().chain(hour).collect())
                })
            }
            other => return Err(ArrowError::NotYetImplemented(format!("folders by {other}"))),
        })
    }
}

fn outside(value: impl std::fmt::Display) -> String {
    format!("{value} is outside the range of dates as text")
}

/// Percent-encoded.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        // A dot alone, or two, would be another folder.
        let plain = byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if plain || byte == b'.' && text.bytes().any(|byte| byte != b'.') {
            encoded.push(byte.into());
        } else {
            _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn paths(by: PartitionBy, array: ArrayRef) -> Vec<Result<String, String>> {
        let field = Field::new("at", array.data_type().clone(), true);
        let schema = Schema::new(vec![field]);
        Partitioning::new(&by, &schema).unwrap().paths(&array).unwrap()
    }

    #[test]
    fn no_value_leaves_its_folder() {
        let texts = ["DE", "a b", "../x", "..", ".", "a/b=c", "é", "100%", "\u{0}"];
        let found =
            paths(PartitionBy::Column("at".into()), Arc::new(StringArray::from(texts.to_vec())));
        let found: Vec<String> = found.into_iter().map(Result::unwrap).collect();
        assert_eq!(
            found,
            [
                "at=DE/",
                "at=a%20b/",
                "at=..%2Fx/",
                "at=%2E%2E/",
                "at=%2E/",
                "at=a%2Fb%3Dc/",
                "at=%C3%A9/",
                "at=100%25/",
                "at=%00/"
            ]
        );
        for path in found {
            let value = path.trim_end_matches('/').split_once('=').unwrap().1;
            let decoded = percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
            assert!(texts.contains(&&*decoded), "{path}");
        }
    }

    #[test]
    fn null_has_a_folder_and_what_could_be_taken_for_it_has_none() {
        let long = "é".repeat(100);
        let texts = vec![None, Some(""), Some(NULL), Some(&*long)];
        let found = paths(PartitionBy::Column("at".into()), Arc::new(StringArray::from(texts)));
        assert_eq!(found[0], Ok(format!("at={NULL}/")));
        assert!(found[1..].iter().all(Result::is_err), "{found:?}");
    }

    #[test]
    fn a_time_has_a_day_and_an_hour() {
        let at: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(i64::MAX)]));
        let found = paths(PartitionBy::Hour("at".into()), at.clone());
        assert_eq!(found[0], Ok("at_date=1969-12-31/at_hour=23/".into()));
        assert_eq!(found[1], Ok(format!("at_date={NULL}/at_hour={NULL}/")));
        assert!(found[2].is_err());
        assert_eq!(paths(PartitionBy::Day("at".into()), at)[0], Ok("at_date=1969-12-31/".into()));
    }

    #[test]
    fn a_column_must_exist_and_have_values_that_are_names() {
        let schema = Schema::new(vec![
            Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
            Field::new("at_date", DataType::Utf8, true),
            Field::new("price", DataType::Float64, true),
        ]);
        for (by, expected) in [
            (PartitionBy::Column("At".into()), "did you mean `at`"),
            (PartitionBy::Column("price".into()), "must be a string"),
            (PartitionBy::Day("at_date".into()), "must be a date or timestamp"),
            (PartitionBy::Day("at".into()), "has a column at_date"),
        ] {
            let error = Partitioning::new(&by, &schema).err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Partitioning::new(&PartitionBy::Column("at_date".into()), &schema).is_ok());
    }
}
