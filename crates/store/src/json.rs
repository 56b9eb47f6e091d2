//! Values as JSON. It is exact: numbers have all their digits, and what JSON does not have is
//! refused. The nesting is that of the type, which the schema limits.
//!
//! | Avro | JSON |
//! |---|---|
//! | record, map | object; a member that is null is `null` |
//! | array | array |
//! | int, long, float, double, decimal | number; NaN and infinity are refused |
//! | string, enum, uuid | string |
//! | bytes, fixed | string in Base64, as Kafka Connect's `JsonConverter` writes it |
//! | date, time, timestamp, local timestamp | string in ISO 8601, an instant with `Z` |
//! | duration | string in ISO 8601: `P1M2DT3.5S` |

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use arrow::error::ArrowError;
use arrow::temporal_conversions as times;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::{Debug, Display};
use std::io::Write;

/// What JSON does not have.
pub(crate) struct Fault {
    /// The code that PostgreSQL has for it.
    pub(crate) sqlstate: &'static str,
    what: String,
    /// Members and items from the inside out.
    path: Vec<String>,
}

impl Fault {
    fn new(sqlstate: &'static str, what: impl Into<String>) -> Fault {
        Fault { sqlstate, what: what.into(), path: Vec::new() }
    }

    #[cold]
    fn within(mut self, part: impl FnOnce() -> String) -> Fault {
        self.path.push(part());
        self
    }

    /// The member of the outermost record that it is in.
    pub(crate) fn member(&self) -> Option<&str> {
        self.path.last()?.strip_prefix('.')
    }

    /// Where in the value it is, and what.
    pub(crate) fn text(self) -> String {
        let path: String = self.path.into_iter().rev().collect();
        let at = if path.is_empty() { path } else { format!("{}: ", path.trim_start_matches('.')) };
        format!("{at}{}", self.what)
    }
}

/// Writes the values of one array.
pub(crate) struct Writer<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

/// Whether all values of the type, apart from some numbers and times, can be written.
pub(crate) fn has_form(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => has_form(item.data_type()),
        DataType::Map(entries, _) => has_form(entries.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| has_form(field.data_type())),
        _ => Writer::new(&new_empty_array(data_type), false).is_ok(),
    }
}

enum Values<'a> {
    Boolean(&'a BooleanArray),
    Int(&'a Int32Array),
    Long(&'a Int64Array),
    Float(&'a Float32Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal128Array, u8, i8),
    Text(&'a StringArray, bool),
    Bytes(&'a BinaryArray),
    Interval(&'a IntervalMonthDayNanoArray),
    /// Dates and times, and what stands behind them.
    Time(Time<'a>, &'static str),
    List(&'a ListArray, Box<Writer<'a>>),
    Map(&'a MapArray, &'a StringArray, bool, Box<Writer<'a>>),
    Struct(Vec<(String, Writer<'a>)>),
}

enum Time<'a> {
    Date(&'a Date32Array),
    Millis(&'a Time32MillisecondArray),
    Micros(&'a Time64MicrosecondArray),
    AtMillis(&'a TimestampMillisecondArray),
    AtMicros(&'a TimestampMicrosecondArray),
    AtNanos(&'a TimestampNanosecondArray),
}

impl<'a> Writer<'a> {
    /// `jsonb` does not store the character U+0000.
    ///
    /// # Errors
    /// The type has no form in JSON: see [`has_form`].
    pub(crate) fn new(array: &'a ArrayRef, jsonb: bool) -> Result<Writer<'a>, ArrowError> {
        let child = |array: &'a ArrayRef| Writer::new(array, jsonb);
        let values = match array.data_type() {
            DataType::Boolean => Values::Boolean(array.as_boolean()),
            DataType::Int32 => Values::Int(array.as_primitive()),
            DataType::Int64 => Values::Long(array.as_primitive()),
            DataType::Float32 => Values::Float(array.as_primitive()),
            DataType::Float64 => Values::Double(array.as_primitive()),
            DataType::Decimal128(precision, scale) => {
                Values::Decimal(array.as_primitive(), *precision, *scale)
            }
            DataType::Utf8 => Values::Text(array.as_string(), jsonb),
            DataType::Binary => Values::Bytes(array.as_binary()),
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Values::Interval(array.as_primitive())
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Values::List(list, Box::new(child(list.values())?))
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                Values::Map(map, map.keys().as_string(), jsonb, Box::new(child(map.values())?))
            }
            DataType::Struct(fields) => {
                let members =
                    fields.iter().zip(array.as_struct().columns()).map(|(field, array)| {
                        Ok((
                            serde_json::Value::from(field.name().as_str()).to_string(),
                            child(array)?,
                        ))
                    });
                Values::Struct(members.collect::<Result<_, ArrowError>>()?)
            }
            _ => Values::time(array)?,
        };
        Ok(Writer { nulls: array.nulls(), values })
    }

    /// Appends the value of row `row`.
    ///
    /// # Errors
    /// JSON does not have it; what was appended is not complete.
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.values {
            Values::Boolean(values) => put(out, values.value(row)),
            Values::Int(values) => put(out, values.value(row)),
            Values::Long(values) => put(out, values.value(row)),
            Values::Float(values) => float(out, values.value(row), values.value(row).is_finite())?,
            Values::Double(values) => float(out, values.value(row), values.value(row).is_finite())?,
            Values::Decimal(values, precision, scale) => {
                put(out, Decimal128Type::format_decimal(values.value(row), *precision, *scale));
            }
            Values::Text(values, jsonb) => string(out, values.value(row), *jsonb)?,
            Values::Bytes(values) => {
                put(out, format_args!("\"{}\"", STANDARD.encode(values.value(row))))
            }
            Values::Interval(values) => {
                put(out, format_args!("\"{}\"", duration(values.value(row))))
            }
            Values::Time(time, zone) => time.write(row, zone, out)?,
            Values::List(list, items) => {
                let range =
                    list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
                out.push(b'[');
                for (number, item) in range.enumerate() {
                    separate(out, number);
                    let written = items.write(item, out);
                    written.map_err(|fault| fault.within(|| format!("[{number}]")))?;
                }
                out.push(b']');
            }
            Values::Map(map, keys, jsonb, values) => {
                let range =
                    map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
                unique(range.clone().map(|entry| keys.value(entry)))?;
                out.push(b'{');
                for (number, entry) in range.enumerate() {
                    separate(out, number);
                    string(out, keys.value(entry), *jsonb)?;
                    out.push(b':');
                    let within =
                        |fault: Fault| fault.within(|| format!("[{:?}]", keys.value(entry)));
                    values.write(entry, out).map_err(within)?;
                }
                out.push(b'}');
            }
            Values::Struct(members) => {
                out.push(b'{');
                for (number, (name, member)) in members.iter().enumerate() {
                    separate(out, number);
                    out.extend_from_slice(name.as_bytes());
                    out.push(b':');
                    let within =
                        |fault: Fault| fault.within(|| format!(".{}", name.trim_matches('"')));
                    member.write(row, out).map_err(within)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}

impl Values<'_> {
    fn time(array: &ArrayRef) -> Result<Values<'_>, ArrowError> {
        let zone = match array.data_type() {
            DataType::Timestamp(_, Some(_)) => "Z",
            _ => "",
        };
        let time = match array.data_type() {
            DataType::Date32 => Time::Date(array.as_primitive()),
            DataType::Time32(TimeUnit::Millisecond) => Time::Millis(array.as_primitive()),
            DataType::Time64(TimeUnit::Microsecond) => Time::Micros(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Millisecond, _) => Time::AtMillis(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Time::AtMicros(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Time::AtNanos(array.as_primitive()),
            other => return Err(ArrowError::NotYetImplemented(format!("{other} as JSON"))),
        };
        Ok(Values::Time(time, zone))
    }
}

impl Time<'_> {
    fn write(&self, row: usize, zone: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Time::Date(a) => {
                let date = times::date32_to_datetime(a.value(row)).map(|time| time.date());
                moment(out, date, a.value(row), zone)
            }
            Time::Millis(a) => {
                moment(out, times::time32ms_to_time(a.value(row)), a.value(row), zone)
            }
            Time::Micros(a) => {
                moment(out, times::time64us_to_time(a.value(row)), a.value(row), zone)
            }
            Time::AtMillis(a) => {
                moment(out, times::timestamp_ms_to_datetime(a.value(row)), a.value(row), zone)
            }
            Time::AtMicros(a) => {
                moment(out, times::timestamp_us_to_datetime(a.value(row)), a.value(row), zone)
            }
            Time::AtNanos(a) => {
                moment(out, times::timestamp_ns_to_datetime(a.value(row)), a.value(row), zone)
            }
        }
    }
}

/// A date or time in ISO 8601, as its debug form is.
fn moment(
    out: &mut Vec<u8>,
    value: Option<impl Debug>,
    number: impl Display,
    zone: &str,
) -> Result<(), Fault> {
    let value = value.ok_or_else(|| {
        Fault::new("22008", format!("{number} is outside the range of dates and times as text"))
    })?;
    put(out, format_args!("\"{value:?}{zone}\""));
    Ok(())
}

/// Months, days and seconds in ISO 8601.
pub(crate) fn duration(interval: IntervalMonthDayNano) -> String {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let mut text = String::from("P");
    if months != 0 {
        text += &format!("{months}M");
    }
    if days != 0 {
        text += &format!("{days}D");
    }
    if nanoseconds != 0 || text.len() == 1 {
        let sign = if nanoseconds < 0 { "-" } else { "" };
        let (seconds, rest) = (
            nanoseconds.unsigned_abs() / 1_000_000_000,
            nanoseconds.unsigned_abs() % 1_000_000_000,
        );
        text += &format!("T{sign}{seconds}");
        if rest > 0 {
            text += format!(".{rest:09}").trim_end_matches('0');
        }
        text.push('S');
    }
    text
}

/// The fewest digits that mean this number and no other.
fn float(out: &mut Vec<u8>, value: impl Debug, is_finite: bool) -> Result<(), Fault> {
    if !is_finite {
        return Err(Fault::new("22032", format!("{value:?} is not a number that JSON has")));
    }
    put(out, format_args!("{value:?}"));
    Ok(())
}

fn string(out: &mut Vec<u8>, text: &str, jsonb: bool) -> Result<(), Fault> {
    if jsonb && text.contains('\0') {
        return Err(Fault::new("22P05", "jsonb does not store the character U+0000"));
    }
    serde_json::to_writer(out, text).map_err(|e| Fault::new("22032", e.to_string()))
}

/// Keys of a map that are there twice would be one member.
fn unique<'k>(keys: impl Iterator<Item = &'k str>) -> Result<(), Fault> {
    let mut keys: Vec<&str> = keys.collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Fault::new("22030", format!("key {:?} is there twice", pair[0]))),
        None => Ok(()),
    }
}

fn separate(out: &mut Vec<u8>, number: usize) {
    if number > 0 {
        out.push(b',');
    }
}

/// Writing into memory does not fail.
fn put(out: &mut Vec<u8>, value: impl Display) {
    out.write_fmt(format_args!("{value}")).unwrap_or_default();
}
