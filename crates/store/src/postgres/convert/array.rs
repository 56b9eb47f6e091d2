//! Lists as arrays of PostgreSQL.

use super::{Unfit, convert};
use crate::postgres::column_type::Wire;
use crate::postgres::layout::encoder;
use arrow::array::{Array, ArrayRef, AsArray, LargeBinaryBuilder, LargeStringBuilder, ListArray};
use arrow::datatypes::Field;
use arrow::error::ArrowError;
use bytes::BytesMut;
use pgpq::encoders::{BuildEncoder, Encode};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Arrays in their binary format, of elements whose type has the number `oid`.
pub(super) fn binary(
    array: &ArrayRef,
    element: &Wire,
    oid: u32,
    unfit: &mut Vec<Unfit>,
) -> Result<ArrayRef, ArrowError> {
    let lists = array.as_list::<i32>();
    let (items, spoilt) = items(lists, element, unfit)?;
    let failed = |e: pgpq::error::ErrorKind| ArrowError::ComputeError(e.to_string());
    let field = Field::new("item", items.data_type().clone(), true);
    let builder = encoder(Arc::new(field), element.jsonb).map_err(failed)?;
    let encoder = builder.try_new(&items).map_err(failed)?;
    let mut arrays = LargeBinaryBuilder::new();
    let mut bytes = BytesMut::new();
    for row in 0..lists.len() {
        if lists.is_null(row) || spoilt.contains(&row) {
            arrays.append_null();
            continue;
        }
        let range = lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize;
        let has_nulls = i32::from(range.clone().any(|item| items.is_null(item)));
        bytes.clear();
        let dimensions = i32::from(!range.is_empty());
        for number in [dimensions, has_nulls, oid.cast_signed()] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        if !range.is_empty() {
            bytes.extend_from_slice(&(range.len() as i32).to_be_bytes());
            // Elements are counted from 1.
            bytes.extend_from_slice(&1_i32.to_be_bytes());
        }
        for item in range {
            encoder.encode(item, &mut bytes).map_err(failed)?;
        }
        arrays.append_value(&bytes);
    }
    Ok(Arc::new(arrays.finish()))
}

/// Arrays as text, whose elements are quoted.
pub(super) fn texts(
    array: &ArrayRef,
    element: &Wire,
    delimiter: char,
    unfit: &mut Vec<Unfit>,
) -> Result<ArrayRef, ArrowError> {
    let lists = array.as_list::<i32>();
    let (items, _) = items(lists, element, unfit)?;
    let items = items.as_string::<i32>();
    let mut arrays = LargeStringBuilder::new();
    let mut text = String::new();
    for row in 0..lists.len() {
        if lists.is_null(row) {
            arrays.append_null();
            continue;
        }
        let range = lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize;
        text.clear();
        text.push('{');
        for item in range.clone() {
            if item > range.start {
                text.push(delimiter);
            }
            match items.is_valid(item) {
                true => quote(items.value(item), &mut text),
                false => text.push_str("NULL"),
            }
        }
        text.push('}');
        arrays.append_value(&text);
    }
    Ok(Arc::new(arrays.finish()))
}

fn quote(element: &str, text: &mut String) {
    text.push('"');
    for c in element.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
}

/// The items of all lists in the form of elements, and the lists with an item that does not fit.
fn items(
    lists: &ListArray,
    element: &Wire,
    unfit: &mut Vec<Unfit>,
) -> Result<(ArrayRef, BTreeSet<usize>), ArrowError> {
    let mut found = Vec::new();
    let items = convert(lists.values(), element, &mut found)?;
    let offsets = lists.offsets();
    let row_of = |item: usize| {
        let row = offsets.partition_point(|start| *start as usize <= item);
        row.checked_sub(1).filter(|row| *row < lists.len() && lists.is_valid(*row))
    };
    let found = found.into_iter().filter_map(|one| Some(Unfit { row: row_of(one.row)?, ..one }));
    let found: Vec<Unfit> = found.collect();
    let spoilt = found.iter().map(|unfit| unfit.row).collect();
    unfit.extend(found);
    Ok((items, spoilt))
}
