//! The Confluent wire format of a record's value: a zero byte, the id of its schema in four bytes
//! (big-endian), then the datum. Since Confluent Platform 8 the schema may be named by its GUID
//! instead: a byte 1 and 16 bytes, before the datum or in a header of the record.

/// Bytes before the datum.
pub const LEN: usize = 5;
/// The first byte.
pub const MAGIC: u8 = 0;

/// Bytes of a GUID and the byte before it.
pub const GUID_LEN: usize = 17;
/// The byte before a GUID.
pub const GUID_MAGIC: u8 = 1;
/// The header that names the schema of a record's value, which then has no frame.
pub const VALUE_HEADER: &str = "__value_schema_id";
/// The header that names the schema of a record's key, which then has no frame.
pub const KEY_HEADER: &str = "__key_schema_id";

/// The frame of values with this schema id.
pub fn of(schema_id: u32) -> [u8; LEN] {
    let [a, b, c, d] = schema_id.to_be_bytes();
    [MAGIC, a, b, c, d]
}

/// The schema id of a framed value; `None` when the value has no frame.
pub fn schema_id(value: &[u8]) -> Option<u32> {
    match value {
        [MAGIC, a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

/// The GUID of the schema at the beginning of a value or of a header; `None` when there is none.
pub fn guid(bytes: &[u8]) -> Option<[u8; 16]> {
    match bytes {
        [GUID_MAGIC, rest @ ..] => rest.first_chunk().copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_frame_has_an_id() {
        assert_eq!(schema_id(&[0, 0, 0, 1, 2, 9]), Some(258));
        assert_eq!(schema_id(&of(u32::MAX)), Some(u32::MAX));
        assert_eq!(schema_id(&[0, 0, 0, 1]), None);
        assert_eq!(schema_id(b"{\"a\":1}"), None);
        assert_eq!(schema_id(&[]), None);
        assert_eq!(guid(&[1; 17]), Some([1; 16]));
        assert_eq!((guid(&[1; 16]), guid(&[0; 17])), (None, None));
    }
}
