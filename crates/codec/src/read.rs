//! From the values of a writer's schema to columns of the reader's.

mod compile;
mod losses;

pub(crate) use compile::{Problems, bytes_of, child, default_of};

use crate::avro_type::Symbols;
use crate::cell::Cell;
use crate::column::{ColumnBuilder, Values};
use crate::columns::shortened;
use crate::datum::{self, InvalidDatum, violation};
use crate::problem::Problem;
use crate::walk::{Check, Walk};
use std::fmt::Display;
use weir_model::fault::{VALUE_DOES_NOT_FIT, VALUE_MISSING};

/// Reads the fields of a record into one column each.
pub(crate) struct RecordReader {
    /// In the writer's order.
    steps: Vec<Step>,
    /// The columns of fields that the writer does not have.
    constants: Vec<(usize, Cell<'static>)>,
    /// What the constants take in their columns.
    constant_bytes: usize,
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
    /// The writer has null; the reader allows it. Takes this many bytes in its column.
    Null(usize),
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
        /// What null takes in its column beyond a single value: it is null in all members.
        null_bytes: usize,
        other: Box<ValueReader>,
    },
    /// By branch of the writer.
    Union(Vec<Branch>),
    /// Into a member of a union that is a column of optional members. The others become null, which
    /// takes this many bytes.
    Member(usize, Box<ValueReader>, usize),
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
    Unreadable(Check, Vec<Problem>),
}

impl RecordReader {
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
        if !self.constants.is_empty() {
            walk.fill(self.constant_bytes)?;
            self.constants.iter().for_each(|(column, cell)| columns[*column].push(cell));
        }
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
            (ValueReader::Optional { null_branch, nullable, null_bytes, other }, _) => {
                return match cursor.branch(2)? == *null_branch {
                    true if *nullable => {
                        walk.fill(*null_bytes)?;
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
            (ValueReader::Null(null_bytes), _) => {
                walk.fill(*null_bytes)?;
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
                    Some(symbol) => {
                        values.push_bytes(symbol.as_bytes());
                        walk.fill(symbol.len())?;
                    }
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
                        Err(violation(VALUE_DOES_NOT_FIT, Problem::list(why)))
                    }
                };
            }
            (ValueReader::Member(index, reader, null_bytes), Values::Struct(members)) => {
                walk.fill(*null_bytes)?;
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
    /// Whether some of the writer's values do not fit.
    fn narrows(&self) -> bool {
        match self.multiply {
            true => self.limit.checked_mul(self.factor).is_none_or(|limit| limit > self.fitting),
            false => self.factor > 1 || self.limit > self.fitting,
        }
    }

    /// To the reader's scale, exactly.
    fn rescaled(&self, unscaled: i128) -> Option<i128> {
        let value = match self.multiply {
            true => unscaled.checked_mul(self.factor),
            false => (unscaled % self.factor == 0).then_some(unscaled / self.factor),
        };
        value.filter(|value| -self.fitting < *value && *value < self.fitting)
    }
}

#[inline]
fn fitting<T>(value: Option<T>, before: impl Display, to: &str) -> Result<T, InvalidDatum> {
    value.ok_or_else(|| does_not_fit(&before.to_string(), to))
}

#[cold]
fn does_not_fit(value: &str, to: &str) -> InvalidDatum {
    let value = shortened(value.into());
    violation(VALUE_DOES_NOT_FIT, format!("`{value}` does not fit {to} of the reader's schema"))
}

#[cold]
fn null_value() -> InvalidDatum {
    violation(VALUE_MISSING, "is null, which its type does not allow")
}

#[cold]
fn unknown_symbol(symbol: &str) -> InvalidDatum {
    violation("unknown_symbol", format!("the reader's schema does not have the symbol {symbol}"))
}
