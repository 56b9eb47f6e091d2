//! apache-avro as the independent oracle of what bytes mean, and random values for it to write.

use crate::avro_type::{AvroType, Field, Wide};
use crate::datum::unscaled;
use crate::named_types::resolve;
use crate::schema::parse_avro;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Days, Decimal, Duration, Millis, Months, Schema as Avro, Uuid};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType,
};
use std::collections::HashMap;

/// Every nested type.
pub(crate) const NESTED: &str = r#"{"type":"record","name":"Nested","fields":[
 {"name":"duration","type":["null",
   {"type":"fixed","name":"P12","size":12,"logicalType":"duration"}]},
 {"name":"record","type":{"type":"record","name":"Inner","fields":[
   {"name":"a","type":"int"},{"name":"b","type":["null","string"]},
   {"name":"empty","type":{"type":"record","name":"Empty","fields":[]}}]}},
 {"name":"inner_again","type":["null","Inner"]},
 {"name":"texts","type":{"type":"array","items":["null","string"]}},
 {"name":"booleans","type":["null",{"type":"array","items":"boolean"}]},
 {"name":"records","type":{"type":"array","items":"Inner"}},
 {"name":"lists","type":{"type":"array","items":{"type":"array","items":"long"}}},
 {"name":"doubles","type":{"type":"map","values":"double"}},
 {"name":"maps","type":["null",{"type":"map","values":["null",{"type":"array","items":
   {"type":"map","values":"Inner"}}]}]},
 {"name":"wide","type":["null","string","Inner",{"type":"record","name":"Other","fields":[
   {"name":"c","type":{"type":"map","values":"int"}}]},{"type":"array","items":"int"},"boolean"]},
 {"name":"wide_required","type":["Inner","Other"]},
 {"name":"whole","type":["null","int","long"]}, {"name":"number","type":["double","float"]}]}"#;

/// A value from Arrow or from apache-avro, for comparison.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Boolean(bool),
    Number(i128),
    /// Bits, so that NaN equals itself.
    Float(u64),
    Text(String),
    Bytes(Vec<u8>),
    /// Items of an array, or members of a record.
    List(Vec<Cell>),
    /// By key; Avro does not order the entries of a map.
    Map(Vec<(String, Cell)>),
}

/// The value of an Arrow column.
pub(crate) fn arrow_cell(array: &ArrayRef, row: usize) -> Cell {
    if array.is_null(row) {
        return Cell::Null;
    }
    let number = |kind: &DataType| cast(array, kind).unwrap();
    match array.data_type() {
        DataType::Boolean => Cell::Boolean(array.as_boolean().value(row)),
        DataType::Int32 | DataType::Date32 | DataType::Time32(_) => {
            Cell::Number(number(&DataType::Int32).as_primitive::<Int32Type>().value(row).into())
        }
        DataType::Int64 | DataType::Time64(_) | DataType::Timestamp(..) => {
            Cell::Number(number(&DataType::Int64).as_primitive::<Int64Type>().value(row).into())
        }
        DataType::Float32 => {
            Cell::Float(array.as_primitive::<Float32Type>().value(row).to_bits().into())
        }
        DataType::Float64 => Cell::Float(array.as_primitive::<Float64Type>().value(row).to_bits()),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row).into()),
        DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(row).into()),
        DataType::Decimal128(..) => Cell::Number(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Interval(_) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Cell::List(vec![
                Cell::Number(value.months.into()),
                Cell::Number(value.days.into()),
                Cell::Number(value.nanoseconds.into()),
            ])
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            Cell::List((0..items.len()).map(|item| arrow_cell(&items, item)).collect())
        }
        DataType::Struct(_) => {
            let members = array.as_struct().columns().iter();
            Cell::List(members.map(|member| arrow_cell(member, row)).collect())
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let key = |entry| entries.column(0).as_string::<i32>().value(entry).to_string();
            map((0..entries.len()).map(|e| (key(e), arrow_cell(entries.column(1), e))))
        }
        other => panic!("no cell of {other}"),
    }
}

fn map(entries: impl Iterator<Item = (String, Cell)>) -> Cell {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Cell::Map(entries)
}

/// The value as apache-avro read it.
fn avro_cell(value: &Value, avro_type: &AvroType) -> Cell {
    let avro_type = avro_type.optional().0;
    match (value, avro_type.wide(), avro_type) {
        (Value::Union(_, inner), _, _) if **inner == Value::Null => Cell::Null,
        (Value::Union(branch, inner), Some(Wide::Members(members)), _) => Cell::List(
            members
                .iter()
                .map(|(index, member)| match *index == *branch as usize {
                    true => avro_cell(inner, member),
                    false => Cell::Null,
                })
                .collect(),
        ),
        (Value::Union(_, inner), Some(Wide::Number(AvroType::Double)), _) => match &**inner {
            Value::Float(v) => Cell::Float(f64::from(*v).to_bits()),
            other => plain_cell(other),
        },
        (Value::Union(_, inner), _, _) => avro_cell(inner, avro_type),
        (Value::Array(items), _, AvroType::Array(item)) => {
            Cell::List(items.iter().map(|value| avro_cell(value, item)).collect())
        }
        (Value::Map(values), _, AvroType::Map(of)) => {
            map(values.iter().map(|(key, value)| (key.clone(), avro_cell(value, of))))
        }
        (Value::Record(values), _, AvroType::Record(record)) => Cell::List(
            values
                .iter()
                .zip(&record.fields)
                .map(|((_, value), field)| avro_cell(value, &field.avro_type))
                .collect(),
        ),
        (plain, _, _) => plain_cell(plain),
    }
}

fn plain_cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Boolean(v) => Cell::Boolean(*v),
        Value::Int(v) | Value::Date(v) | Value::TimeMillis(v) => Cell::Number((*v).into()),
        Value::Long(v)
        | Value::TimeMicros(v)
        | Value::TimestampMillis(v)
        | Value::TimestampMicros(v)
        | Value::TimestampNanos(v)
        | Value::LocalTimestampMillis(v)
        | Value::LocalTimestampMicros(v)
        | Value::LocalTimestampNanos(v) => Cell::Number((*v).into()),
        Value::Float(v) => Cell::Float(v.to_bits().into()),
        Value::Double(v) => Cell::Float(v.to_bits()),
        Value::String(v) | Value::Enum(_, v) => Cell::Text(v.clone()),
        Value::Uuid(v) => Cell::Text(v.to_string()),
        Value::Bytes(v) | Value::Fixed(_, v) => Cell::Bytes(v.clone()),
        Value::Decimal(v) => Cell::Number(unscaled(&Vec::<u8>::try_from(v).unwrap()).unwrap()),
        Value::Duration(v) => {
            let number = |v: u32| Cell::Number(v.into());
            let millis = i128::from(u32::from(v.millis()));
            Cell::List(vec![
                number(v.months().into()),
                number(v.days().into()),
                Cell::Number(millis * 1_000_000),
            ])
        }
        other => panic!("no cell of {other:?}"),
    }
}

/// Writes and reads records of one writer schema.
pub(crate) struct Oracle {
    pub(crate) text: String,
    avro: Avro,
    fields: Vec<Field>,
}

impl Oracle {
    pub(crate) fn new(text: &str) -> Oracle {
        let avro = parse_avro(text).unwrap();
        let fields = resolve(&avro).unwrap().fields;
        Oracle { text: text.into(), avro, fields }
    }

    /// A framed record of random values.
    pub(crate) fn record(&self, id: u32, random: &mut Random) -> Vec<u8> {
        let fields =
            self.fields.iter().map(|f| (f.name.clone(), random.value(&f.avro_type))).collect();
        self.frame(id, Value::Record(fields))
    }

    pub(crate) fn frame(&self, id: u32, value: Value) -> Vec<u8> {
        let datum = GenericDatumWriter::builder(&self.avro)
            .build()
            .unwrap()
            .write_value_to_vec(value)
            .unwrap();
        [&[0u8][..], &id.to_be_bytes(), &datum].concat()
    }

    /// The value of a field, as apache-avro read it.
    pub(crate) fn cell(&self, name: &str, value: &Value) -> Cell {
        let field = self.fields.iter().find(|field| field.name == name).unwrap();
        avro_cell(value, &field.avro_type)
    }

    /// The fields of a framed record; `None` when apache-avro refuses it or leaves bytes unread.
    pub(crate) fn read(&self, value: &[u8]) -> Option<HashMap<String, Value>> {
        let mut datum = &value[5..];
        let read =
            GenericDatumReader::builder(&self.avro).build().unwrap().read_value(&mut datum).ok()?;
        match read {
            Value::Record(fields) if datum.is_empty() => Some(fields.into_iter().collect()),
            _ => None,
        }
    }
}

/// Values from a seed (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Small and large numbers alike.
    fn long(&mut self) -> i64 {
        let bits = self.below(64);
        self.next() as i64 >> bits
    }

    fn int(&mut self) -> i32 {
        let bits = self.below(32);
        self.next() as i32 >> bits
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        (0..size).map(|_| self.next() as u8).collect()
    }

    fn text(&mut self) -> String {
        (0..self.below(12))
            .map(|_| *['a', 'Z', '0', ' ', 'é', '漢', '\u{0}', '😀'].get(self.below(8)).unwrap())
            .collect()
    }

    fn value(&mut self, avro_type: &AvroType) -> Value {
        use arrow::datatypes::TimeUnit::*;
        match avro_type {
            AvroType::Null => Value::Null,
            AvroType::Boolean => Value::Boolean(self.below(2) == 0),
            AvroType::Int => Value::Int(self.int()),
            AvroType::Date => Value::Date(self.int()),
            AvroType::TimeMillis => Value::TimeMillis(self.below(86_400_000) as i32),
            AvroType::TimeMicros => Value::TimeMicros(self.below(86_400_000_000) as i64),
            AvroType::Long => Value::Long(self.long()),
            AvroType::Timestamp { unit: Millisecond, utc: true } => {
                Value::TimestampMillis(self.long())
            }
            AvroType::Timestamp { unit: Microsecond, utc: true } => {
                Value::TimestampMicros(self.long())
            }
            AvroType::Timestamp { utc: true, .. } => Value::TimestampNanos(self.long()),
            AvroType::Timestamp { unit: Millisecond, .. } => {
                Value::LocalTimestampMillis(self.long())
            }
            AvroType::Timestamp { unit: Microsecond, .. } => {
                Value::LocalTimestampMicros(self.long())
            }
            AvroType::Timestamp { .. } => Value::LocalTimestampNanos(self.long()),
            AvroType::Float => Value::Float(f32::from_bits(self.next() as u32)),
            AvroType::Double => Value::Double(f64::from_bits(self.next())),
            AvroType::Bytes => {
                Value::Bytes((0..self.below(9)).map(|_| self.next() as u8).collect())
            }
            AvroType::String => Value::String(self.text()),
            AvroType::Uuid { .. } => {
                Value::Uuid(Uuid::from_bytes(self.bytes(16).try_into().unwrap()))
            }
            AvroType::Fixed(size) => Value::Fixed(*size, self.bytes(*size)),
            AvroType::Decimal { precision, .. } => {
                let limit = 10i128.pow(u32::from(*precision));
                let wide = i128::from(self.next()) << 64 | i128::from(self.next());
                Value::Decimal(Decimal::from(((wide % limit) >> self.below(30)).to_be_bytes()))
            }
            AvroType::Enum(symbols) => {
                let number = self.below(symbols.list.len());
                Value::Enum(number as u32, symbols.list[number].clone())
            }
            // Arrow's months and days have a sign.
            AvroType::Duration => Value::Duration(Duration::new(
                Months::new(self.next() as u32 >> 1),
                Days::new(self.next() as u32 >> 1),
                Millis::new(self.next() as u32),
            )),
            AvroType::Unsupported { name, .. } => panic!("no values of {name}"),
            AvroType::Union(branches) => {
                let branch = self.below(branches.len());
                Value::Union(branch as u32, Box::new(self.value(&branches[branch])))
            }
            AvroType::Recursive(name) => panic!("no values of {name}"),
            AvroType::Record(record) => Value::Record(
                record.fields.iter().map(|f| (f.name.clone(), self.value(&f.avro_type))).collect(),
            ),
            AvroType::Array(items) => {
                Value::Array((0..self.below(4)).map(|_| self.value(items)).collect())
            }
            AvroType::Map(values) => {
                Value::Map((0..self.below(4)).map(|_| (self.text(), self.value(values))).collect())
            }
        }
    }
}
