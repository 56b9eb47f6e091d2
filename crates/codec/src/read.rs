//! From the values of a writer's schema to columns of the reader's, compiled once per pair of
//! schemas.
//!
//! Schema resolution is stricter than Avro's: a value that the reader's type cannot hold exactly is
//! a fault of its record, and types of which no value can be converted make the writer's schema
//! incompatible as a whole.

use crate::avro_type::{AvroType, Field, Record, Symbols, Wide};
use crate::cell::{self, Cell};
use crate::column::{ColumnBuilder, Values};
use crate::datum::{self, InvalidDatum, violation};
use crate::walk::{Check, Walk, check_of};
use arrow::datatypes::TimeUnit;
use std::fmt::Display;
use weir_model::fault::{VALUE_DOES_NOT_FIT, VALUE_MISSING};

/// Reads the fields of a record into one column each.
pub(crate) struct RecordReader {
    /// In the writer's order.
    steps: Vec<Step>,
    /// The columns of fields that the writer does not have.
    constants: Vec<(usize, Cell<'static>)>,
}

/// What is done with a field of the writer.
struct Step {
    name: String,
    action: Action,
}

enum Action {
    Skip(Check),
    Read(usize, ValueReader),
    /// More than one field of the reader has this name or alias.
    ReadAll(Vec<(usize, ValueReader)>),
}

/// Reads one value into a column.
enum ValueReader {
    /// The writer has null; the reader allows it.
    Null,
    Boolean,
    Int,
    /// To a type of 64 bits: the number times this.
    IntToLong(i64),
    IntToFloat,
    IntToDouble,
    Long,
    /// To another unit of time.
    LongTimes(i64),
    LongDividedBy {
        divisor: i64,
        to: &'static str,
    },
    /// From microseconds to milliseconds of a day.
    MicrosToMillis,
    LongToFloat,
    LongToDouble,
    Float,
    FloatToDouble,
    Double,
    Bytes,
    BytesToText,
    Text,
    TextToUuid,
    Uuid,
    Uuid16,
    Fixed(usize),
    Decimal(DecimalReader),
    Duration,
    Enum(Vec<Option<String>>, Symbols),
    /// Of a union of null and one other type. Where the reader has no null, null is a fault.
    Optional {
        null_branch: i64,
        nullable: bool,
        other: Box<ValueReader>,
    },
    /// By branch of the writer.
    Union(Vec<Branch>),
    /// Into a member of a union that is a column of optional members.
    Member(usize, Box<ValueReader>),
    Record(RecordReader),
    Array(Box<ValueReader>, bool),
    Map(Box<ValueReader>),
}

struct DecimalReader {
    /// Exclusive limit of the writer's unscaled values.
    limit: i128,
    fixed: Option<usize>,
    factor: i128,
    /// Whether to multiply by the factor or to divide.
    multiply: bool,
    /// Exclusive limit of the reader's unscaled values.
    fitting: i128,
    to: String,
}

enum Branch {
    Read(ValueReader),
    /// Null, which the reader does not allow.
    Null,
    /// No value of this branch can be read, and why.
    Unreadable(Check, String),
}

/// Why no record of a writer can be read.
pub(crate) type Problems = Vec<String>;

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
        let (mut constants, mut problems) = (Vec::new(), Problems::new());
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
                    Ok(cell) => constants.push((column, cell)),
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
        Ok(RecordReader { steps: steps.collect(), constants })
    }

    /// Adds one value to each column. After an error some columns have it, and others do not.
    pub(crate) fn read(
        &self,
        walk: &mut Walk<'_>,
        columns: &mut [ColumnBuilder],
    ) -> Result<(), InvalidDatum> {
        for Step { name, action } in &self.steps {
            let read = match action {
                Action::Skip(check) => walk.skip(check),
                Action::Read(column, reader) => reader.read(walk, &mut columns[*column]),
                Action::ReadAll(readers) => read_all(readers, walk, columns),
            };
            if let Err(violation) = read {
                return Err(violation.within(name));
            }
        }
        self.constants.iter().for_each(|(column, cell)| columns[*column].push(cell));
        Ok(())
    }
}

/// Reads one value into several columns.
fn read_all(
    readers: &[(usize, ValueReader)],
    walk: &mut Walk<'_>,
    columns: &mut [ColumnBuilder],
) -> Result<(), InvalidDatum> {
    let start = walk.cursor.clone();
    for (column, reader) in readers {
        walk.cursor = start.clone();
        reader.read(walk, &mut columns[*column])?;
    }
    Ok(())
}

/// The writer's field has the reader's name or, if there is none, one of the reader's aliases.
fn writer_index(writer: &[Field], reader: &Field) -> Option<usize> {
    let by_name = writer.iter().position(|w| w.name == reader.name);
    by_name.or_else(|| writer.iter().position(|w| reader.aliases.contains(&w.name)))
}

fn default_of(reader: &Field, path: &str) -> Result<Cell<'static>, String> {
    let default = reader.default.as_ref();
    let default = default.ok_or_else(|| format!("`{path}` is missing and has no default"))?;
    cell::default_value(default, &reader.avro_type)
        .ok_or_else(|| format!("the default of `{path}` is not a value of its type"))
}

fn child(path: &str, name: &str) -> String {
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
        return Ok(ValueReader::Optional { null_branch, nullable, other });
    }
    match from {
        AvroType::Null if nullable => Ok(ValueReader::Null),
        AvroType::Null => Err(vec![format!("`{path}` is always null; it must be {reader}")]),
        AvroType::Union(branches) => union_reader(branches, to, path),
        from => match reader.wide() {
            Some(Wide::Number(number)) => plain_reader(from, number, path),
            Some(Wide::Members(members)) => member_reader(from, &members, path),
            None => plain_reader(from, reader, path),
        },
    }
}

fn refuse<T>(path: &str, from: &AvroType, to: &AvroType) -> Result<T, Problems> {
    Err(vec![format!("`{path}` is {from}; it cannot be read as {}", to.optional().0)])
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
            Err(mut why) => {
                let text = why.join("; ");
                problems.append(&mut why);
                Branch::Unreadable(check_of(branch), text)
            }
        });
    }
    if is_readable { Ok(ValueReader::Union(readers)) } else { Err(problems) }
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
                return Ok(ValueReader::Member(index.unwrap_or_default(), Box::new(reader)));
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

impl ValueReader {
    #[inline]
    fn read(&self, walk: &mut Walk<'_>, column: &mut ColumnBuilder) -> Result<(), InvalidDatum> {
        let cursor = &mut walk.cursor;
        match (self, column.values()) {
            (ValueReader::Boolean, Values::Boolean(values)) => values.append(cursor.boolean()?),
            (ValueReader::Int, Values::Int(values)) => values.push(cursor.int()?),
            (ValueReader::Long, Values::Long(values)) => values.push(cursor.long()?),
            (ValueReader::Float, Values::Float(values)) => values.push(cursor.float()?),
            (ValueReader::Double, Values::Double(values)) => values.push(cursor.double()?),
            (ValueReader::Text, values @ Values::Bytes(_)) => {
                values.push_bytes(cursor.text()?.as_bytes());
            }
            (ValueReader::Bytes, values @ Values::Bytes(_)) => {
                values.push_bytes(cursor.length_prefixed("bytes")?);
            }
            (ValueReader::Optional { null_branch, nullable, other }, _) => {
                return match cursor.branch(2)? == *null_branch {
                    true if *nullable => {
                        column.push_null();
                        Ok(())
                    }
                    true => Err(null_value()),
                    false => other.read(walk, column),
                };
            }
            _ => return self.read_other(walk, column),
        }
        column.set_valid();
        Ok(())
    }

    /// The less common ones.
    fn read_other(
        &self,
        walk: &mut Walk<'_>,
        column: &mut ColumnBuilder,
    ) -> Result<(), InvalidDatum> {
        let cursor = &mut walk.cursor;
        match (self, column.values()) {
            (ValueReader::Null, _) => {
                column.push_null();
                return Ok(());
            }
            (ValueReader::IntToLong(factor), Values::Long(values)) => {
                values.push(i64::from(cursor.int()?) * factor);
            }
            (ValueReader::IntToFloat, Values::Float(values)) => {
                let number = cursor.int()?;
                let exact = |v: &i32| *v as f32 as i32 == *v && *v != i32::MAX;
                values.push(fitting(Some(number).filter(exact), number, "float")? as f32);
            }
            (ValueReader::IntToDouble, Values::Double(values)) => {
                values.push(f64::from(cursor.int()?));
            }
            (ValueReader::LongTimes(factor), Values::Long(values)) => {
                let number = cursor.long()?;
                values.push(fitting(number.checked_mul(*factor), number, "64 bits of its unit")?);
            }
            (ValueReader::LongDividedBy { divisor, to }, Values::Long(values)) => {
                let number = cursor.long()?;
                let whole = (number % divisor == 0).then_some(number / divisor);
                values.push(fitting(whole, number, to)?);
            }
            (ValueReader::MicrosToMillis, Values::Int(values)) => {
                let number = cursor.long()?;
                let whole = (number % 1_000 == 0).then_some(number / 1_000);
                let whole = whole.and_then(|whole| i32::try_from(whole).ok());
                values.push(fitting(whole, number, "time-millis")?);
            }
            (ValueReader::LongToFloat, Values::Float(values)) => {
                let number = cursor.long()?;
                let exact = |v: &i64| *v as f32 as i64 == *v && *v != i64::MAX;
                values.push(fitting(Some(number).filter(exact), number, "float")? as f32);
            }
            (ValueReader::LongToDouble, Values::Double(values)) => {
                let number = cursor.long()?;
                let exact = |v: &i64| *v as f64 as i64 == *v && *v != i64::MAX;
                values.push(fitting(Some(number).filter(exact), number, "double")? as f64);
            }
            (ValueReader::FloatToDouble, Values::Double(values)) => {
                values.push(f64::from(cursor.float()?));
            }
            (ValueReader::BytesToText, values @ Values::Bytes(_)) => {
                let bytes = cursor.length_prefixed("bytes")?;
                let text = fitting(std::str::from_utf8(bytes).ok(), "bytes", "string")?;
                values.push_bytes(text.as_bytes());
            }
            (ValueReader::TextToUuid, values @ Values::Bytes(_)) => {
                let text = cursor.text()?;
                let uuid = Some(text).filter(|text| datum::is_uuid(text));
                values.push_bytes(fitting(uuid, text, "uuid")?.as_bytes());
            }
            (ValueReader::Uuid, values @ Values::Bytes(_)) => {
                values.push_bytes(cursor.uuid()?.as_bytes());
            }
            (ValueReader::Uuid16, values @ Values::Bytes(_)) => {
                values.push_bytes(datum::uuid_text(cursor.array()?).as_bytes());
            }
            (ValueReader::Fixed(size), values @ Values::Bytes(_)) => {
                values.push_bytes(cursor.take(*size, "value")?);
            }
            (ValueReader::Decimal(decimal), Values::Decimal(values)) => {
                let unscaled = cursor.decimal(decimal.limit, decimal.fixed)?;
                values.push(fitting(decimal.rescaled(unscaled), unscaled, &decimal.to)?);
            }
            (ValueReader::Duration, Values::Interval(values)) => {
                let bytes: &[u8; 12] = cursor.array()?;
                values.push(fitting(datum::interval(bytes), "duration", "an interval")?);
            }
            (ValueReader::Enum(table, writer), values @ Values::Bytes(_)) => {
                let number = cursor.symbol(table.len() as i64)?;
                match &table[number] {
                    Some(symbol) => values.push_bytes(symbol.as_bytes()),
                    None => return Err(unknown_symbol(&writer.list[number])),
                }
            }
            (ValueReader::Union(branches), _) => {
                let branch = cursor.branch(branches.len() as i64)?;
                return match &branches[branch as usize] {
                    Branch::Read(reader) => reader.read(walk, column),
                    Branch::Null => Err(null_value()),
                    Branch::Unreadable(check, why) => {
                        walk.skip(check)?;
                        Err(violation(VALUE_DOES_NOT_FIT, why.clone()))
                    }
                };
            }
            (ValueReader::Member(index, reader), Values::Struct(members)) => {
                for (other, member) in members.iter_mut().enumerate() {
                    match other == *index {
                        true => reader.read(walk, member)?,
                        false => member.push_null(),
                    }
                }
            }
            (ValueReader::Record(record), Values::Struct(members)) => record.read(walk, members)?,
            (ValueReader::Array(item, is_empty), Values::List(lists)) => {
                walk.blocks("array", *is_empty, |walk| item.read(walk, &mut lists.items))?;
                lists.close();
            }
            (ValueReader::Map(value), Values::Map(lists)) => {
                walk.blocks("map", false, |walk| {
                    let key = walk.cursor.text()?;
                    lists.push_entry(key, |column| value.read(walk, column))
                })?;
                lists.close();
            }
            // The columns were made for this reader's types.
            _ => return Err(violation(VALUE_DOES_NOT_FIT, "the column has another type")),
        }
        column.set_valid();
        Ok(())
    }
}

impl DecimalReader {
    /// To the reader's scale, exactly.
    fn rescaled(&self, unscaled: i128) -> Option<i128> {
        let value = match self.multiply {
            true => unscaled.checked_mul(self.factor),
            false => (unscaled % self.factor == 0).then_some(unscaled / self.factor),
        };
        value.filter(|value| -self.fitting < *value && *value < self.fitting)
    }
}

/// Longest value that is quoted in a fault, in characters.
const MAX_QUOTED_CHARS: usize = 80;

#[inline]
fn fitting<T>(value: Option<T>, before: impl Display, to: &str) -> Result<T, InvalidDatum> {
    value.ok_or_else(|| does_not_fit(&before.to_string(), to))
}

#[cold]
fn does_not_fit(value: &str, to: &str) -> InvalidDatum {
    let value = match value.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.into(),
    };
    violation(VALUE_DOES_NOT_FIT, format!("`{value}` does not fit {to} of the reader's schema"))
}

#[cold]
fn null_value() -> InvalidDatum {
    violation(VALUE_MISSING, "null, which the reader's schema does not allow")
}

#[cold]
fn unknown_symbol(symbol: &str) -> InvalidDatum {
    violation("unknown_symbol", format!("the reader's schema does not have the symbol {symbol}"))
}
