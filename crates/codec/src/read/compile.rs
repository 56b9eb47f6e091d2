//! Schema resolution: the reader of each value, compiled once per pair of schemas.
//!
//! It is stricter than Avro's: a value that the reader's type cannot hold exactly is a fault of its
//! record, and types of which no value can be converted make the writer's schema incompatible as a
//! whole.

use super::{Action, Branch, DecimalReader, RecordReader, Step, ValueReader};
use crate::avro_type::{AvroType, Field, Record, Symbols, Wide};
use crate::cell::{self, Cell};
use crate::column::ColumnBuilder;
use crate::problem::Problem;
use crate::walk::check_of;
use arrow::datatypes::{DataType, TimeUnit};

/// Why no record of a writer can be read.
pub(crate) type Problems = Vec<Problem>;

impl RecordReader {
    /// Of records with the fields `writer` into the columns of `reader`; `path` is that of the
    /// record, or empty.
    pub(crate) fn new(
        writer: &[Field],
        reader: &[Field],
        path: &str,
    ) -> Result<RecordReader, Problems> {
        let mut readers: Vec<Vec<(usize, ValueReader)>> = Vec::new();
        readers.resize_with(writer.len(), Vec::new);
        let (mut constants, mut constant_bytes) = (Vec::new(), 0);
        let mut problems = Problems::new();
        for (column, field) in reader.iter().enumerate() {
            let path = child(path, &field.name);
            match writer_index(writer, field) {
                Some(index) => {
                    match value_reader(&writer[index].avro_type, &field.avro_type, &path) {
                        Ok(read) => readers[index].push((column, read)),
                        Err(mut more) => problems.append(&mut more),
                    }
                }
                None => match default_of(field, &path) {
                    Ok(cell) => {
                        constant_bytes += bytes_of(&cell, &field.avro_type);
                        constants.push((column, cell));
                    }
                    Err(problem) => problems.push(problem),
                },
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let steps = writer.iter().zip(readers).filter_map(|(field, mut readers)| {
            let action = match (readers.len(), readers.pop()) {
                (1, Some((column, reader))) => Action::Read(column, reader),
                (_, Some(last)) => {
                    readers.push(last);
                    Action::ReadAll(readers)
                }
                (_, None) if field.avro_type.takes_no_bytes() => return None,
                (_, None) => Action::Skip(check_of(&field.avro_type)),
            };
            Some(Step { name: field.name.clone(), action })
        });
        Ok(RecordReader { steps: steps.collect(), constants, constant_bytes })
    }
}

/// The writer's field has the reader's name or, if there is none, one of the reader's aliases.
fn writer_index(writer: &[Field], reader: &Field) -> Option<usize> {
    let by_name = writer.iter().position(|w| w.name == reader.name);
    by_name.or_else(|| writer.iter().position(|w| reader.aliases.contains(&w.name)))
}

pub(crate) fn default_of(reader: &Field, path: &str) -> Result<Cell<'static>, Problem> {
    let default = reader.default.as_ref();
    let default = default.ok_or_else(|| Problem::new(path, "is missing and has no default"))?;
    cell::default_value(default, &reader.avro_type)
        .ok_or_else(|| Problem::new(path, "has a default that is not a value of its type"))
}

/// The bytes that a value takes in its column.
pub(crate) fn bytes_of(cell: &Cell<'_>, avro_type: &AvroType) -> usize {
    let mut column = ColumnBuilder::new(&avro_type.arrow().unwrap_or(DataType::Null));
    column.push(cell);
    column.num_bytes()
}

/// The same of null, where a byte was read for it: only a record takes more.
fn null_bytes(avro_type: &AvroType) -> usize {
    match avro_type.arrow() {
        Some(DataType::Struct(_)) => bytes_of(&Cell::Null, avro_type),
        _ => 0,
    }
}

pub(crate) fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

/// How values of `from` become values of `to`, or all reasons why none do.
fn value_reader(from: &AvroType, to: &AvroType, path: &str) -> Result<ValueReader, Problems> {
    let (reader, nullable) = match to.optional() {
        (AvroType::Union(_), _) => (to, to.is_nullable()),
        optional => optional,
    };
    if let (other, true) = from.optional() {
        let AvroType::Union(branches) = from else { return refuse(path, from, to) };
        let null_branch = i64::from(branches.first() != Some(&AvroType::Null));
        let other = Box::new(value_reader(other, to, path)?);
        return Ok(ValueReader::Optional {
            null_branch,
            nullable,
            null_bytes: null_bytes(to),
            other,
        });
    }
    match from {
        AvroType::Null if nullable => Ok(ValueReader::Null(bytes_of(&Cell::Null, to))),
        AvroType::Null => refuse_null(path, to),
        AvroType::Union(branches) => union_reader(branches, to, path),
        from => match reader.wide() {
            Some(Wide::Number(number)) => plain_reader(from, number, path),
            Some(Wide::Members(members)) => member_reader(from, &members, path),
            None => plain_reader(from, reader, path),
        },
    }
}

fn refuse<T>(path: &str, from: &AvroType, to: &AvroType) -> Result<T, Problems> {
    let what = format!("is {from}; it cannot be read as {}", to.optional().0);
    Err(vec![Problem::new(path, what)])
}

/// Each branch of the writer has its own reader. A branch that none of the reader's types can take
/// is a fault of the records that have it, unless there is no other.
fn union_reader(branches: &[AvroType], to: &AvroType, path: &str) -> Result<ValueReader, Problems> {
    let mut problems = Problems::new();
    let mut readers = Vec::with_capacity(branches.len());
    let mut is_readable = false;
    for branch in branches {
        readers.push(match value_reader(branch, to, path) {
            Ok(reader) => {
                is_readable |= *branch != AvroType::Null;
                Branch::Read(reader)
            }
            Err(_) if *branch == AvroType::Null => Branch::Null,
            Err(why) => {
                problems.extend(why.iter().cloned());
                Branch::Unreadable(check_of(branch), why)
            }
        });
    }
    let only_null = problems.is_empty() && readers.iter().any(|b| matches!(b, Branch::Read(_)));
    match is_readable || only_null {
        true => Ok(ValueReader::Union(readers)),
        false if problems.is_empty() => refuse_null(path, to),
        false => Err(problems),
    }
}

/// Of a type that has no other value than null.
fn refuse_null<T>(path: &str, to: &AvroType) -> Result<T, Problems> {
    Err(vec![Problem::new(path, format!("is always null; it must be {}", to.optional().0))])
}

/// Into the member of the same type and name or else the first one that can hold the value.
fn member_reader(
    from: &AvroType,
    members: &[(usize, &AvroType)],
    path: &str,
) -> Result<ValueReader, Problems> {
    let same = |(_, member): &&(usize, &AvroType)| is_same(from, member);
    let in_order = members.iter().filter(same).chain(members.iter().filter(|m| !same(m)));
    let mut problems = Problems::new();
    for (branch, member) in in_order {
        match plain_reader(from, member, path) {
            Ok(reader) => {
                let index = members.iter().position(|(other, _)| other == branch);
                let others = members.iter().filter(|(other, _)| other != branch);
                let null_bytes = others.map(|(_, other)| bytes_of(&Cell::Null, other)).sum();
                let reader = Box::new(reader);
                return Ok(ValueReader::Member(index.unwrap_or_default(), reader, null_bytes));
            }
            Err(mut why) => problems.append(&mut why),
        }
    }
    Err(problems)
}

/// Whether a union may have only one of the two: the same named type, or the same unnamed one.
fn is_same(a: &AvroType, b: &AvroType) -> bool {
    match (a, b) {
        (AvroType::Record(a), AvroType::Record(b)) => a.name == b.name,
        (AvroType::Enum(a), AvroType::Enum(b)) => a.name == b.name,
        (AvroType::Array(_), AvroType::Array(_)) | (AvroType::Map(_), AvroType::Map(_)) => true,
        (a, b) => a == b,
    }
}

/// Of types that are no unions.
///
/// Besides equal types: the promotions of Avro's schema resolution, enum → string, uuid ↔ string,
/// other units of the same time, other scales and precisions of a decimal, and a type with or
/// without its logical annotation (long ↔ timestamp), which is the same number.
fn plain_reader(from: &AvroType, to: &AvroType, path: &str) -> Result<ValueReader, Problems> {
    use AvroType::*;
    Ok(match (from, to) {
        (Boolean, Boolean) => ValueReader::Boolean,
        (Int, Int | Date | TimeMillis) => ValueReader::Int,
        (Date, Date | Int) | (TimeMillis, TimeMillis | Int) => ValueReader::Int,
        (Int, Long) => ValueReader::IntToLong(1),
        (TimeMillis, TimeMicros) => ValueReader::IntToLong(1_000),
        (Int, Float) => ValueReader::IntToFloat,
        (Int, Double) => ValueReader::IntToDouble,
        (Long, Long | TimeMicros | Timestamp { .. }) => ValueReader::Long,
        (TimeMicros | Timestamp { .. }, Long) | (TimeMicros, TimeMicros) => ValueReader::Long,
        (Timestamp { unit: a, utc: x }, Timestamp { unit: b, utc: y }) if x == y => {
            rescale_time(a, b)
        }
        (TimeMicros, TimeMillis) => ValueReader::MicrosToMillis,
        (Long, Float) => ValueReader::LongToFloat,
        (Long, Double) => ValueReader::LongToDouble,
        (Float, Float) => ValueReader::Float,
        (Float, Double) => ValueReader::FloatToDouble,
        (Double, Double) => ValueReader::Double,
        (Bytes, Bytes) => ValueReader::Bytes,
        (Bytes, String) => ValueReader::BytesToText,
        (String, String | Bytes) => ValueReader::Text,
        (String, Uuid { .. }) => ValueReader::TextToUuid,
        (Uuid { fixed: false }, Uuid { .. } | String) => ValueReader::Uuid,
        (Uuid { fixed: true }, Uuid { .. } | String) => ValueReader::Uuid16,
        (Fixed(a), Fixed(b)) if a == b => ValueReader::Fixed(*a),
        (Decimal { precision: p, scale: a, fixed }, Decimal { precision, scale: b, .. }) => {
            ValueReader::Decimal(DecimalReader {
                limit: 10i128.pow(u32::from(*p)),
                fixed: *fixed,
                factor: 10i128.pow(u32::from(a.abs_diff(*b))),
                multiply: a < b,
                fitting: 10i128.pow(u32::from(*precision)),
                to: to.to_string(),
            })
        }
        (Duration, Duration) => ValueReader::Duration,
        (Enum(symbols), String) => {
            enum_reader(symbols, symbols.list.iter().map(|s| Some(s.clone())).collect())
        }
        (Enum(writer), Enum(reader)) => enum_reader(writer, resolve_symbols(writer, reader)),
        (Record(writer), Record(reader)) => record_reader(writer, reader, path)?,
        (Array(from), Array(to)) => ValueReader::Array(
            Box::new(value_reader(from, to, &format!("{path}[]"))?),
            from.takes_no_bytes(),
        ),
        (Map(from), Map(to)) => {
            ValueReader::Map(Box::new(value_reader(from, to, &format!("{path}{{}}"))?))
        }
        _ => return refuse(path, from, to),
    })
}

fn record_reader(writer: &Record, reader: &Record, path: &str) -> Result<ValueReader, Problems> {
    RecordReader::new(&writer.fields, &reader.fields, path).map(ValueReader::Record)
}

fn per_second(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// To another unit, exactly: a fraction of the coarser unit, or a number beyond 64 bits, does not
/// fit.
fn rescale_time(from: &TimeUnit, to: &TimeUnit) -> ValueReader {
    match (per_second(from), per_second(to)) {
        (a, b) if a == b => ValueReader::Long,
        (a, b) if a < b => ValueReader::LongTimes(b / a),
        (a, b) => ValueReader::LongDividedBy {
            divisor: a / b,
            to: if b == 1_000 { "milliseconds" } else { "microseconds" },
        },
    }
}

/// For each symbol of the writer the symbol that the reader sees: the same, or the reader's
/// default; `None` without either.
fn resolve_symbols(writer: &Symbols, reader: &Symbols) -> Vec<Option<String>> {
    writer
        .list
        .iter()
        .map(|s| if reader.list.contains(s) { Some(s.clone()) } else { reader.default.clone() })
        .collect()
}

fn enum_reader(writer: &Symbols, table: Vec<Option<String>>) -> ValueReader {
    let (name, list) = (writer.name.clone(), writer.list.clone());
    ValueReader::Enum(table, Symbols { name, list, default: None })
}
