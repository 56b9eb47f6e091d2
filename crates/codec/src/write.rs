//! From Arrow columns to the bytes of datums, compiled once per schema.

use crate::avro_type::{AvroType, Field, Wide};
use crate::columns::quoted;
use crate::datum::{self, InvalidDatum, violation};
use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use std::collections::HashMap;
use weir_model::fault::{VALUE_DOES_NOT_FIT, VALUE_MISSING};

/// How the value of a field is written.
pub(crate) struct ValueWriter {
    /// The branch of null, and that of the value if there is one other type; absent where null is
    /// not allowed.
    null: Option<NullBranch>,
    kind: Kind,
    /// For faults.
    name: String,
}

#[derive(Clone, Copy)]
struct NullBranch {
    null: i64,
    /// Absent for a union of more types, which says its branch itself.
    value: Option<i64>,
}

enum Kind {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Uuid,
    Uuid16,
    Fixed(usize),
    /// The exclusive limit of the unscaled value, and the number of bytes if it is fixed.
    Decimal(i128, Option<usize>),
    Duration,
    Enum(HashMap<String, i64>),
    Record(Vec<(String, ValueWriter)>),
    Array(Box<ValueWriter>),
    Map(Box<ValueWriter>),
    /// A number with the branch of the widest type.
    Number(i64, Box<ValueWriter>),
    /// One member for each type but null, with its branch.
    Members(Vec<(i64, ValueWriter)>),
}

/// A column with the way to write its values.
pub(crate) struct ColumnWriter<'a> {
    writer: &'a ValueWriter,
    nulls: Option<NullBuffer>,
    values: Values<'a>,
    /// For faults.
    array: &'a ArrayRef,
}

enum Values<'a> {
    Boolean(&'a BooleanArray),
    Int(&'a [i32]),
    Long(&'a [i64]),
    Float(&'a [f32]),
    Double(&'a [f64]),
    Decimal(&'a [i128]),
    Interval(&'a [IntervalMonthDayNano]),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Record(Vec<ColumnWriter<'a>>),
    Array(&'a [i32], Box<ColumnWriter<'a>>),
    Map(&'a [i32], &'a StringArray, Box<ColumnWriter<'a>>),
    Number(Box<ColumnWriter<'a>>),
}

impl ValueWriter {
    /// Of values of this type; `None` when such values have no column.
    pub(crate) fn new(avro_type: &AvroType) -> Option<ValueWriter> {
        let (plain, _) = avro_type.optional();
        let kind = match plain {
            AvroType::Boolean => Kind::Boolean,
            AvroType::Int | AvroType::Date | AvroType::TimeMillis => Kind::Int,
            AvroType::Long | AvroType::TimeMicros | AvroType::Timestamp { .. } => Kind::Long,
            AvroType::Float => Kind::Float,
            AvroType::Double => Kind::Double,
            AvroType::Bytes => Kind::Bytes,
            AvroType::String => Kind::Text,
            AvroType::Uuid { fixed: false } => Kind::Uuid,
            AvroType::Uuid { fixed: true } => Kind::Uuid16,
            AvroType::Decimal { precision, fixed, .. } => {
                Kind::Decimal(10i128.pow(u32::from(*precision)), *fixed)
            }
            AvroType::Duration => Kind::Duration,
            AvroType::Fixed(size) => Kind::Fixed(*size),
            AvroType::Enum(symbols) => {
                Kind::Enum((0..).zip(&symbols.list).map(|(n, s)| (s.clone(), n)).collect())
            }
            AvroType::Record(record) => Kind::Record(field_writers(&record.fields)?),
            AvroType::Array(items) => Kind::Array(Box::new(ValueWriter::new(items)?)),
            AvroType::Map(values) => Kind::Map(Box::new(ValueWriter::new(values)?)),
            AvroType::Union(branches) => match plain.wide()? {
                Wide::Number(number) => {
                    let branch = branches.iter().position(|branch| branch == number)?;
                    Kind::Number(branch as i64, Box::new(ValueWriter::new(number)?))
                }
                Wide::Members(members) => {
                    let writers = members.into_iter().map(|(branch, member)| {
                        // What is null in a member is another member's turn.
                        Some((branch as i64, ValueWriter::new(member)?))
                    });
                    Kind::Members(writers.collect::<Option<_>>()?)
                }
            },
            AvroType::Null | AvroType::Unsupported { .. } | AvroType::Recursive(_) => return None,
        };
        Some(ValueWriter { null: null_branch(avro_type), kind, name: plain.to_string() })
    }

    /// The writer of a column, which must have the Arrow type of the Avro type; `None` when it has
    /// another.
    pub(crate) fn bind<'a>(&'a self, array: &'a ArrayRef) -> Option<ColumnWriter<'a>> {
        let values = match &self.kind {
            Kind::Boolean => Values::Boolean(array.as_boolean_opt()?),
            Kind::Int => Values::Int(ints(array)?),
            Kind::Long => Values::Long(longs(array)?),
            Kind::Float => Values::Float(array.as_primitive_opt::<Float32Type>()?.values()),
            Kind::Double => Values::Double(array.as_primitive_opt::<Float64Type>()?.values()),
            Kind::Text | Kind::Uuid | Kind::Uuid16 | Kind::Enum(_) => {
                Values::Text(array.as_string_opt()?)
            }
            Kind::Bytes | Kind::Fixed(_) => Values::Bytes(array.as_binary_opt()?),
            Kind::Decimal(..) => {
                Values::Decimal(array.as_primitive_opt::<Decimal128Type>()?.values())
            }
            Kind::Duration => {
                Values::Interval(array.as_primitive_opt::<IntervalMonthDayNanoType>()?.values())
            }
            Kind::Record(fields) => {
                let members = array.as_struct_opt()?.columns();
                let bound = fields.iter().zip(members).map(|((_, field), m)| field.bind(m));
                Values::Record(bound.collect::<Option<_>>()?)
            }
            Kind::Members(writers) => {
                let members = array.as_struct_opt()?.columns();
                let bound = writers.iter().zip(members).map(|((_, writer), m)| writer.bind(m));
                Values::Record(bound.collect::<Option<_>>()?)
            }
            Kind::Array(items) => {
                let list = array.as_list_opt::<i32>()?;
                Values::Array(list.value_offsets(), Box::new(items.bind(list.values())?))
            }
            Kind::Map(values) => {
                let map = array.as_map_opt()?;
                let keys = map.keys().as_string_opt()?;
                Values::Map(map.value_offsets(), keys, Box::new(values.bind(map.values())?))
            }
            Kind::Number(_, number) => Values::Number(Box::new(number.bind(array)?)),
        };
        Some(ColumnWriter { writer: self, nulls: array.nulls().cloned(), values, array })
    }
}

/// The writers of the fields, with their names.
pub(crate) fn field_writers(fields: &[Field]) -> Option<Vec<(String, ValueWriter)>> {
    let writer = |field: &Field| Some((field.name.clone(), ValueWriter::new(&field.avro_type)?));
    fields.iter().map(writer).collect()
}

fn null_branch(avro_type: &AvroType) -> Option<NullBranch> {
    let AvroType::Union(branches) = avro_type else { return None };
    let null = branches.iter().position(|branch| *branch == AvroType::Null)? as i64;
    let value = (branches.len() == 2).then_some(1 - null);
    Some(NullBranch { null, value })
}

fn ints(array: &ArrayRef) -> Option<&[i32]> {
    Some(match array.data_type() {
        DataType::Date32 => array.as_primitive_opt::<Date32Type>()?.values(),
        DataType::Time32(TimeUnit::Millisecond) => {
            array.as_primitive_opt::<Time32MillisecondType>()?.values()
        }
        _ => array.as_primitive_opt::<Int32Type>()?.values(),
    })
}

fn longs(array: &ArrayRef) -> Option<&[i64]> {
    Some(match array.data_type() {
        DataType::Time64(TimeUnit::Microsecond) => {
            array.as_primitive_opt::<Time64MicrosecondType>()?.values()
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            array.as_primitive_opt::<TimestampMillisecondType>()?.values()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive_opt::<TimestampMicrosecondType>()?.values()
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            array.as_primitive_opt::<TimestampNanosecondType>()?.values()
        }
        _ => array.as_primitive_opt::<Int64Type>()?.values(),
    })
}

impl ColumnWriter<'_> {
    /// Writes the value of `row`. After an error a part of it may have been written.
    #[inline]
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), InvalidDatum> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return match self.writer.null {
                Some(NullBranch { null, .. }) => {
                    long(out, null);
                    Ok(())
                }
                None => Err(null_value()),
            };
        }
        if let Some(NullBranch { value: Some(branch), .. }) = self.writer.null {
            long(out, branch);
        }
        match (&self.values, &self.writer.kind) {
            (Values::Boolean(values), _) => out.push(u8::from(values.value(row))),
            (Values::Int(values), _) => long(out, values[row].into()),
            (Values::Long(values), _) => long(out, values[row]),
            (Values::Float(values), _) => out.extend_from_slice(&values[row].to_le_bytes()),
            (Values::Double(values), _) => out.extend_from_slice(&values[row].to_le_bytes()),
            (Values::Text(values), Kind::Text) => bytes(out, values.value(row).as_bytes()),
            (Values::Bytes(values), Kind::Bytes) => bytes(out, values.value(row)),
            _ => return self.write_other(row, out),
        }
        Ok(())
    }

    /// The less common ones.
    fn write_other(&self, row: usize, out: &mut Vec<u8>) -> Result<(), InvalidDatum> {
        match (&self.values, &self.writer.kind) {
            (Values::Text(values), Kind::Uuid) => match values.value(row) {
                uuid if datum::is_uuid(uuid) => bytes(out, uuid.as_bytes()),
                _ => return Err(self.does_not_fit(row)),
            },
            (Values::Text(values), Kind::Uuid16) => match datum::uuid_bytes(values.value(row)) {
                Some(uuid) => out.extend_from_slice(&uuid),
                None => return Err(self.does_not_fit(row)),
            },
            (Values::Text(values), Kind::Enum(symbols)) => match symbols.get(values.value(row)) {
                Some(number) => long(out, *number),
                None => return Err(self.does_not_fit(row)),
            },
            (Values::Bytes(values), Kind::Fixed(size)) => match values.value(row) {
                value if value.len() == *size => out.extend_from_slice(value),
                _ => return Err(self.does_not_fit(row)),
            },
            (Values::Decimal(values), Kind::Decimal(limit, fixed)) => {
                let value = values[row];
                let fits = -limit < value && value < *limit;
                if !(fits && decimal(out, value, *fixed)) {
                    return Err(self.does_not_fit(row));
                }
            }
            (Values::Interval(values), _) => match datum::duration(values[row]) {
                Some(duration) => out.extend_from_slice(&duration),
                None => return Err(self.does_not_fit(row)),
            },
            (Values::Record(columns), Kind::Record(fields)) => {
                for (column, (name, _)) in columns.iter().zip(fields) {
                    if let Err(violation) = column.write(row, out) {
                        return Err(violation.within(name));
                    }
                }
            }
            (Values::Record(columns), Kind::Members(branches)) => {
                let mut present = columns.iter().zip(branches).filter(|(c, _)| c.is_valid(row));
                match (present.next(), present.next()) {
                    (Some((column, (branch, _))), None) => {
                        long(out, *branch);
                        return column.write(row, out);
                    }
                    _ => return Err(not_one_member()),
                }
            }
            (Values::Array(offsets, items), _) => {
                let items_of_row = offsets[row]..offsets[row + 1];
                blocks(out, items_of_row, |out, item| items.write(item, out))?;
            }
            (Values::Map(offsets, keys, values), _) => {
                blocks(out, offsets[row]..offsets[row + 1], |out, entry| {
                    bytes(out, keys.value(entry).as_bytes());
                    values.write(entry, out)
                })?;
            }
            (Values::Number(number), Kind::Number(branch, _)) => {
                long(out, *branch);
                return number.write(row, out);
            }
            // Bound for this kind.
            _ => return Err(self.does_not_fit(row)),
        }
        Ok(())
    }

    fn is_valid(&self, row: usize) -> bool {
        self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
    }

    #[cold]
    fn does_not_fit(&self, row: usize) -> InvalidDatum {
        let (value, name) = (quoted(self.array, row), &self.writer.name);
        violation(VALUE_DOES_NOT_FIT, format!("`{value}` does not fit {name}"))
    }
}

#[cold]
fn null_value() -> InvalidDatum {
    violation(VALUE_MISSING, "is null, which its type does not allow")
}

#[cold]
fn not_one_member() -> InvalidDatum {
    violation(VALUE_DOES_NOT_FIT, "a union needs exactly one member that is not null")
}

/// Zigzag.
#[inline]
fn long(out: &mut Vec<u8>, value: i64) {
    let mut number = ((value << 1) ^ (value >> 63)) as u64;
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[inline]
fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    long(out, value.len() as i64);
    out.extend_from_slice(value);
}

/// Two's complement, big-endian, in as few bytes as possible or in `fixed` bytes; false if they are
/// too few.
fn decimal(out: &mut Vec<u8>, value: i128, fixed: Option<usize>) -> bool {
    let wide = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let redundant =
        wide.windows(2).take_while(|pair| pair[0] == sign && pair[1] & 0x80 == sign & 0x80);
    let minimal = &wide[redundant.count()..];
    match fixed {
        None => bytes(out, minimal),
        Some(size) if minimal.len() <= size => {
            out.resize(out.len() + size - minimal.len(), sign);
            out.extend_from_slice(minimal);
        }
        Some(_) => return false,
    }
    true
}

/// The items in one block.
fn blocks(
    out: &mut Vec<u8>,
    items: std::ops::Range<i32>,
    mut write: impl FnMut(&mut Vec<u8>, usize) -> Result<(), InvalidDatum>,
) -> Result<(), InvalidDatum> {
    if !items.is_empty() {
        long(out, items.len() as i64);
        for (index, item) in items.enumerate() {
            write(out, item as usize).map_err(|violation| violation.within(&index.to_string()))?;
        }
    }
    out.push(0);
    Ok(())
}
