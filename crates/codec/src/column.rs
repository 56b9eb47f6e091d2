//! Columns under construction, of every type that an Avro field can have. A value that turns out to
//! be invalid halfway is taken back with [`ColumnBuilder::truncate`].

use crate::cell::Cell;
use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, IntervalMonthDayNano};
use arrow::error::ArrowError;
use std::convert::Infallible;
use std::sync::Arc;

/// A column under construction.
pub struct ColumnBuilder {
    data_type: DataType,
    validity: Validity,
    values: Values,
}

/// The values of the types that Arrow keeps in the same way.
pub(crate) enum Values {
    Boolean(BooleanBufferBuilder),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Decimal(Vec<i128>),
    Interval(Vec<IntervalMonthDayNano>),
    /// Texts and bytes.
    Bytes(Bytes),
    List(Lists),
    Map(Lists),
    Struct(Vec<ColumnBuilder>),
}

/// The bytes of all values, and where each ends.
#[derive(Default)]
pub(crate) struct Bytes {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// The items of all values, and where each ends. A map's items are records of key and value.
pub(crate) struct Lists {
    pub(crate) items: Box<ColumnBuilder>,
    ends: Vec<usize>,
}

/// Which values are not null.
#[derive(Default)]
struct Validity {
    len: usize,
    /// Absent while no value is null.
    bits: Option<BooleanBufferBuilder>,
}

impl Validity {
    #[inline]
    fn push(&mut self, valid: bool) {
        self.len += 1;
        match &mut self.bits {
            Some(bits) => bits.append(valid),
            None if valid => {}
            None => {
                let mut bits = BooleanBufferBuilder::new(self.len);
                bits.append_n(self.len - 1, true);
                bits.append(false);
                self.bits = Some(bits);
            }
        }
    }

    fn truncate(&mut self, len: usize) {
        self.len = len;
        if let Some(bits) = &mut self.bits {
            bits.truncate(len);
        }
    }

    fn finish(&mut self) -> Option<NullBuffer> {
        self.len = 0;
        let bits = self.bits.take().map(|mut bits| NullBuffer::new(bits.finish()));
        bits.filter(|nulls| nulls.null_count() > 0)
    }
}

impl Bytes {
    #[inline]
    fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.bytes.truncate(end(&self.ends));
    }
}

/// Where the values end so far.
fn end(ends: &[usize]) -> usize {
    ends.last().copied().unwrap_or(0)
}

/// Arrow's offsets.
fn offsets(ends: &mut Vec<usize>) -> Result<OffsetBuffer<i32>, ArrowError> {
    if i32::try_from(end(ends)).is_err() {
        return Err(ArrowError::OffsetOverflowError(end(ends)));
    }
    let offsets: Vec<i32> = [0].into_iter().chain(ends.drain(..).map(|end| end as i32)).collect();
    Ok(OffsetBuffer::new(ScalarBuffer::from(offsets)))
}

impl ColumnBuilder {
    /// An empty column of a type that an Avro field can have.
    pub fn new(data_type: &DataType) -> ColumnBuilder {
        let lists = |items: &DataType| Lists {
            items: Box::new(ColumnBuilder::new(items)),
            ends: Vec::new(),
        };
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Int32 | DataType::Date32 | DataType::Time32(_) => Values::Int(Vec::new()),
            DataType::Float32 => Values::Float(Vec::new()),
            DataType::Float64 => Values::Double(Vec::new()),
            DataType::Decimal128(..) => Values::Decimal(Vec::new()),
            DataType::Interval(_) => Values::Interval(Vec::new()),
            DataType::Utf8 | DataType::Binary => Values::Bytes(Bytes::default()),
            DataType::List(item) => Values::List(lists(item.data_type())),
            DataType::Map(entries, _) => Values::Map(lists(entries.data_type())),
            DataType::Struct(fields) => Values::Struct(
                fields.iter().map(|field| ColumnBuilder::new(field.data_type())).collect(),
            ),
            _ => Values::Long(Vec::new()),
        };
        ColumnBuilder { data_type: data_type.clone(), validity: Validity::default(), values }
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.validity.len
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that the values take.
    pub(crate) fn num_bytes(&self) -> usize {
        let bytes_each = |size: usize| self.len() * size;
        match &self.values {
            Values::Boolean(_) => bytes_each(1),
            Values::Int(_) | Values::Float(_) => bytes_each(4),
            Values::Long(_) | Values::Double(_) => bytes_each(8),
            Values::Decimal(_) | Values::Interval(_) => bytes_each(16),
            Values::Bytes(values) => bytes_each(8) + values.bytes.len(),
            Values::List(lists) | Values::Map(lists) => bytes_each(8) + lists.items.num_bytes(),
            Values::Struct(members) => {
                bytes_each(1) + members.iter().map(ColumnBuilder::num_bytes).sum::<usize>()
            }
        }
    }

    /// The values, to which exactly one is added before [`ColumnBuilder::set_valid`].
    #[inline]
    pub(crate) fn values(&mut self) -> &mut Values {
        &mut self.values
    }

    /// Completes a value that was added to [`ColumnBuilder::values`].
    #[inline]
    pub(crate) fn set_valid(&mut self) {
        self.validity.push(true);
    }

    /// Adds null.
    pub fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int(values) => values.push(0),
            Values::Long(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Double(values) => values.push(0.0),
            Values::Decimal(values) => values.push(0),
            Values::Interval(values) => values.push(IntervalMonthDayNano::ZERO),
            Values::Bytes(values) => values.push(&[]),
            Values::List(lists) | Values::Map(lists) => lists.close(),
            Values::Struct(members) => members.iter_mut().for_each(ColumnBuilder::push_null),
        }
        self.validity.push(false);
    }

    /// Adds a value of this type; anything else counts as null.
    pub fn push(&mut self, cell: &Cell<'_>) {
        match (&mut self.values, cell) {
            (Values::Boolean(values), Cell::Boolean(v)) => values.append(*v),
            (Values::Int(values), Cell::Integer(v)) => match i32::try_from(*v) {
                Ok(v) => values.push(v),
                Err(_) => return self.push_null(),
            },
            (Values::Long(values), Cell::Integer(v)) => values.push(*v),
            (Values::Float(values), Cell::Float(v)) => values.push(*v as f32),
            (Values::Double(values), Cell::Float(v)) => values.push(*v),
            (Values::Decimal(values), Cell::Decimal(v)) => values.push(*v),
            (Values::Interval(values), Cell::Interval(v)) => values.push(*v),
            (Values::Bytes(values), Cell::Text(v)) => values.push(v.as_bytes()),
            (Values::Bytes(values), Cell::Bytes(v)) if self.data_type == DataType::Binary => {
                values.push(v);
            }
            (Values::List(lists), Cell::List(items)) => {
                items.iter().for_each(|item| lists.items.push(item));
                lists.close();
            }
            (Values::Map(lists), Cell::Map(entries)) => {
                for (key, value) in entries {
                    let pushed: Result<(), Infallible> = lists.push_entry(key, |values| {
                        values.push(value);
                        Ok(())
                    });
                    let Ok(()) = pushed;
                }
                lists.close();
            }
            (Values::Struct(members), Cell::Record(cells)) if members.len() == cells.len() => {
                members.iter_mut().zip(cells).for_each(|(member, cell)| member.push(cell));
            }
            _ => return self.push_null(),
        }
        self.set_valid();
    }

    /// Removes all values but the first `len`, and what was added of an incomplete one.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.validity.truncate(len);
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::Int(values) => values.truncate(len),
            Values::Long(values) => values.truncate(len),
            Values::Float(values) => values.truncate(len),
            Values::Double(values) => values.truncate(len),
            Values::Decimal(values) => values.truncate(len),
            Values::Interval(values) => values.truncate(len),
            Values::Bytes(values) => values.truncate(len),
            Values::List(lists) | Values::Map(lists) => {
                lists.ends.truncate(len);
                lists.items.truncate(end(&lists.ends));
            }
            Values::Struct(members) => members.iter_mut().for_each(|m| m.truncate(len)),
        }
    }

    /// The column; the builder is empty afterwards.
    ///
    /// # Errors
    /// When texts are not UTF-8, when a column has more than 2 GiB of text, bytes or items, or when
    /// the type is not one of an Avro field.
    pub fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let len = self.len();
        let nulls = self.validity.finish();
        let array: ArrayRef = match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int(values) => {
                let values = PrimitiveArray::<Int32Type>::new(take(values), nulls);
                self.labelled(values)?
            }
            Values::Long(values) => {
                let values = PrimitiveArray::<Int64Type>::new(take(values), nulls);
                self.labelled(values)?
            }
            Values::Float(values) => Arc::new(Float32Array::new(take(values), nulls)),
            Values::Double(values) => Arc::new(Float64Array::new(take(values), nulls)),
            Values::Decimal(values) => {
                let values = PrimitiveArray::<Decimal128Type>::new(take(values), nulls);
                Arc::new(values.with_data_type(self.data_type.clone()))
            }
            Values::Interval(values) => {
                Arc::new(IntervalMonthDayNanoArray::new(take(values), nulls))
            }
            Values::Bytes(Bytes { bytes, ends }) => {
                let (offsets, bytes) = (offsets(ends)?, std::mem::take(bytes).into());
                match &self.data_type {
                    DataType::Utf8 => Arc::new(StringArray::try_new(offsets, bytes, nulls)?),
                    _ => Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?),
                }
            }
            Values::List(Lists { items, ends }) => {
                let DataType::List(item) = &self.data_type else { return Err(self.unknown()) };
                let (items, offsets) = (items.finish()?, offsets(ends)?);
                Arc::new(ListArray::try_new(item.clone(), offsets, items, nulls)?)
            }
            Values::Map(Lists { items, ends }) => {
                let DataType::Map(entries, ordered) = &self.data_type else {
                    return Err(self.unknown());
                };
                let (items, offsets) = (items.finish()?.as_struct().clone(), offsets(ends)?);
                Arc::new(MapArray::try_new(entries.clone(), offsets, items, nulls, *ordered)?)
            }
            Values::Struct(members) => {
                let DataType::Struct(fields) = &self.data_type else { return Err(self.unknown()) };
                let arrays =
                    members.iter_mut().map(ColumnBuilder::finish).collect::<Result<_, _>>()?;
                let (fields, nulls) = (fields.clone(), nulls);
                Arc::new(StructArray::try_new_with_length(fields, arrays, nulls, len)?)
            }
        };
        Ok(array)
    }

    /// Whole numbers under the type of the column: the same bits with a meaning.
    fn labelled<T: ArrowPrimitiveType>(
        &self,
        values: PrimitiveArray<T>,
    ) -> Result<ArrayRef, ArrowError> {
        if values.data_type() == &self.data_type {
            return Ok(Arc::new(values));
        }
        let data = values.into_data().into_builder().data_type(self.data_type.clone()).build()?;
        Ok(make_array(data))
    }

    fn unknown(&self) -> ArrowError {
        ArrowError::SchemaError(format!("{} is no type of a field", self.data_type))
    }
}

fn take<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    ScalarBuffer::from(std::mem::take(values))
}

impl Values {
    /// Adds the bytes of a text or of bytes.
    #[inline]
    pub(crate) fn push_bytes(&mut self, value: &[u8]) {
        if let Values::Bytes(values) = self {
            values.push(value);
        }
    }
}

impl Lists {
    /// Completes a list of the items that were added since the last one.
    pub(crate) fn close(&mut self) {
        self.ends.push(self.items.len());
    }

    /// Adds an entry of a map; `push_value` adds one value.
    pub(crate) fn push_entry<E>(
        &mut self,
        key: &str,
        push_value: impl FnOnce(&mut ColumnBuilder) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Values::Struct(members) = &mut self.items.values
            && let [keys, values] = members.as_mut_slice()
        {
            keys.values.push_bytes(key.as_bytes());
            keys.set_valid();
            push_value(values)?;
            self.items.set_valid();
        }
        Ok(())
    }
}
