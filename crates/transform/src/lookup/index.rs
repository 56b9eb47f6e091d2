//! Finds the row of a lookup table by the key of a record.

use super::{Table, lines, some_of};
use crate::messages::type_name;
use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashMap;

/// A hash index over a table's key. As in SQL, a key that contains null matches nothing.
#[derive(Debug)]
pub(crate) enum Index {
    /// A single text column.
    Text(HashMap<Box<str>, u32>),
    /// All other keys, by Arrow's row format.
    Rows {
        /// Turns key columns into comparable bytes.
        converter: RowConverter,
        /// Row of the table by those bytes.
        rows: HashMap<Box<[u8]>, u32>,
    },
}

/// The type in which a record's key of type `of` is compared with the table's; `None` when values
/// of this type cannot be keys.
pub(crate) fn key_type(of: &DataType) -> Option<DataType> {
    match of {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::Dictionary(_, values) => key_type(values),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => Some(DataType::Int64),
        DataType::Decimal128(_, _)
        | DataType::Date32
        | DataType::Timestamp(_, _)
        | DataType::Boolean => Some(of.clone()),
        _ => None,
    }
}

impl Index {
    /// Builds the index of `table` over `columns` of its key, parsed as `types`. The error lists
    /// the cells that cannot be parsed.
    pub(crate) fn build(
        table: &Table,
        columns: &[usize],
        types: &[DataType],
    ) -> Result<Index, String> {
        let keys = columns
            .iter()
            .zip(types)
            .map(|(&column, to)| parse(table, column, to))
            .collect::<Result<Vec<_>, _>>()?;
        if let [DataType::Utf8] = types {
            let text = keys[0].as_string::<i32>();
            let mut index = HashMap::with_capacity(text.len());
            for (row, key) in text.iter().enumerate() {
                index.extend(key.map(|key| (key.into(), row as u32)));
            }
            return Ok(Index::Text(index));
        }
        Index::over_rows(table, &keys, types)
    }

    fn over_rows(table: &Table, keys: &[ArrayRef], types: &[DataType]) -> Result<Index, String> {
        let text = |e: ArrowError| e.to_string();
        let converter =
            RowConverter::new(types.iter().cloned().map(SortField::new).collect()).map_err(text)?;
        let converted = converter.convert_columns(keys).map_err(text)?;
        let mut rows: HashMap<Box<[u8]>, u32> = HashMap::with_capacity(converted.num_rows());
        let mut duplicates = Vec::new();
        for row in (0..converted.num_rows()).filter(|&row| keys.iter().all(|k| k.is_valid(row))) {
            if let Some(first) = rows.insert(converted.row(row).data().into(), row as u32) {
                duplicates.push(format!(
                    "lines {} and {}",
                    table.lines[first as usize], table.lines[row]
                ));
            }
        }
        if duplicates.is_empty() {
            Ok(Index::Rows { converter, rows })
        } else {
            Err(format!("the same key in {}", some_of(&duplicates)))
        }
    }

    /// The table's row for each record; `keys` have the types that the index was built for.
    pub(crate) fn find(&self, keys: &[ArrayRef]) -> Result<UInt32Array, ArrowError> {
        match self {
            Index::Text(index) => {
                let text = cast(&keys[0], &DataType::Utf8)?;
                Ok(text
                    .as_string::<i32>()
                    .iter()
                    .map(|key| key.and_then(|key| index.get(key).copied()))
                    .collect())
            }
            Index::Rows { converter, rows } => {
                let converted = converter.convert_columns(keys)?;
                let is_complete = |row: usize| keys.iter().all(|key| key.is_valid(row));
                let find = |row: usize| rows.get(converted.row(row).data()).copied();
                Ok((0..converted.num_rows())
                    .map(|row| if is_complete(row) { find(row) } else { None })
                    .collect())
            }
        }
    }
}

/// One key column, parsed as the type that the records compare it with.
fn parse(table: &Table, column: usize, to: &DataType) -> Result<ArrayRef, String> {
    let text = &table.text[column];
    let name = table.data.schema_ref().field(column).name().clone();
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let parsed = cast_with_options(text, to, &options).map_err(|e| format!("`{name}`: {e}"))?;
    let unparsed: Vec<u64> = (0..text.len())
        .filter(|&row| parsed.is_null(row) && text.is_valid(row))
        .map(|row| table.lines[row])
        .collect();
    if unparsed.is_empty() {
        Ok(parsed)
    } else {
        Err(format!("`{name}` is not a {} in {}", type_name(to), lines(&unparsed)))
    }
}
