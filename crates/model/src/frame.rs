//! The Confluent wire format of a record's value: a zero byte, the id of its schema in four bytes
//! (big-endian), then the datum.

/// Bytes before the datum.
pub const LEN: usize = 5;
/// The first byte.
pub const MAGIC: u8 = 0;

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
    }
}
