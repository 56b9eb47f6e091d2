//! Texts as UUIDs.

use arrow::array::{ArrayRef, AsArray, FixedSizeBinaryArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use std::sync::Arc;

/// The bytes of the UUIDs in `texts`, which may have any type of text; null where a text is none.
pub(crate) fn parse_all(texts: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let texts = cast(texts, &DataType::Utf8)?;
    let uuids = texts.as_string::<i32>().iter().map(|text| text.and_then(parse));
    let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids, 16)?;
    Ok(Arc::new(array))
}

/// `a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11` in upper or lower case, with or without hyphens, and in
/// braces or not: the usual ones of the forms that PostgreSQL accepts.
fn parse(text: &str) -> Option<[u8; 16]> {
    let bare = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    let groups: Vec<usize> = bare.split('-').map(str::len).collect();
    if !matches!(groups[..], [32] | [8, 4, 4, 4, 12]) {
        return None;
    }
    let mut uuid = [0; 16];
    hex::decode_to_slice(bare.replace('-', ""), &mut uuid).ok()?;
    Some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_the_forms_that_postgresql_accepts() {
        let plain = parse("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11").unwrap();
        assert_eq!((plain[0], plain[15]), (0xa0, 0x11));
        for same in [
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
        ] {
            assert_eq!(parse(same), Some(plain), "{same}");
        }
        for none in [
            "",
            "x",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111",
            "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "ä0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
