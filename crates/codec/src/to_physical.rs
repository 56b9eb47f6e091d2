//! From the columns of a batch to those that the library encodes: the inverse of the conversions in
//! [`crate::convert`] for equal types.

use crate::avro_type::{AvroType, Symbols};
use crate::convert::{Convert, rescale_decimal, uuids_only};
use crate::datum;
use arrow::array::{ArrayRef, AsArray, FixedSizeBinaryArray, Int32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use std::sync::Arc;

/// The conversion from a column of a schema's own Arrow type to the one that the library encodes
/// (see [`crate::physical`]). A value that `avro_type` cannot hold becomes null.
pub(crate) fn to_physical(avro_type: &AvroType) -> Convert {
    let data_type = match avro_type {
        AvroType::Int | AvroType::Date | AvroType::TimeMillis => DataType::Int32,
        AvroType::Long | AvroType::TimeMicros | AvroType::Timestamp { .. } => DataType::Int64,
        AvroType::Uuid { fixed: true } => return Box::new(|array| uuid_bytes(array.as_string())),
        AvroType::Uuid { fixed: false } => {
            return Box::new(|array| Ok(uuids_only(array.as_string())));
        }
        AvroType::Enum(symbols) => return symbol_numbers(symbols.clone()),
        AvroType::Fixed(size) => return fixed_bytes(*size),
        AvroType::Decimal { precision, scale, .. } => {
            return rescale_decimal(*scale, *precision, *scale);
        }
        _ => return Box::new(|array| Ok(array.clone())),
    };
    Box::new(move |array| cast(array, &data_type))
}

fn symbol_numbers(symbols: Arc<Symbols>) -> Convert {
    Box::new(move |array| {
        let number = |text: &str| {
            symbols.list.iter().position(|s| s == text).and_then(|n| i32::try_from(n).ok())
        };
        Ok(Arc::new(
            array.as_string::<i32>().iter().map(|v| v.and_then(number)).collect::<Int32Array>(),
        ))
    })
}

fn fixed_bytes(size: usize) -> Convert {
    Box::new(move |array| {
        let values = array.as_binary::<i32>().iter().map(|v| v.filter(|bytes| bytes.len() == size));
        Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, size as i32)?))
    })
}

fn uuid_bytes(array: &StringArray) -> Result<ArrayRef, ArrowError> {
    let bytes = |text: &str| {
        let digits: Vec<u8> =
            text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
        datum::is_uuid(text)
            .then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<u8>>())
    };
    let values = array.iter().map(|value| value.and_then(bytes));
    Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 16)?))
}
