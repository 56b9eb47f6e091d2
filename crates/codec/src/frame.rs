//! The registry's frame around a datum: a zero byte, then the schema's id in four bytes,
//! big-endian.

use weir_model::fault::{Fault, Stage};

/// Bytes before the datum.
pub(crate) const LEN: usize = 5;
const MAGIC: u8 = 0;

/// A fault of a record that cannot be decoded.
pub(crate) fn fault(reason: &str, detail: impl Into<String>) -> Fault {
    Fault { stage: Stage::Decode, reason: reason.into(), detail: detail.into() }
}

/// The schema id of a framed value.
pub(crate) fn schema_id(value: Option<&[u8]>) -> Result<u32, Fault> {
    match value {
        Some(&[MAGIC, a, b, c, d, ..]) => Ok(u32::from_be_bytes([a, b, c, d])),
        None => Err(fault(
            "null_payload",
            "the record has no value (a tombstone); this pipeline expects a record",
        )),
        Some([]) => Err(fault("empty_payload", "the record's value is 0 bytes long")),
        Some(&[MAGIC, ref rest @ ..]) => Err(fault(
            "short_header",
            format!(
                "the value is {} bytes long; the registry's frame alone takes {LEN}",
                rest.len() + 1
            ),
        )),
        Some(&[first, ..]) => {
            let looks = match first {
                b'{' | b'[' => "; this looks like JSON",
                b'O' => "; this may be an Avro file",
                _ => "",
            };
            Err(fault(
                "wrong_magic",
                format!(
                    "the value begins with byte 0x{first:02x}, not with the registry's frame 0x00{looks}"
                ),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_broken_frame_has_its_own_reason() {
        let reason = |value: Option<&[u8]>| schema_id(value).map_err(|f| f.reason);
        assert_eq!(reason(Some(&[0, 0, 0, 1, 2, 9])), Ok(258));
        assert_eq!(reason(Some(&[0, 255, 255, 255, 255])), Ok(u32::MAX));
        assert_eq!(reason(None), Err("null_payload".into()));
        assert_eq!(reason(Some(&[])), Err("empty_payload".into()));
        assert_eq!(reason(Some(&[0])), Err("short_header".into()));
        assert_eq!(reason(Some(&[0, 0, 0, 1])), Err("short_header".into()));
        assert_eq!(reason(Some(b"{\"a\":1}")), Err("wrong_magic".into()));
        assert!(schema_id(Some(b"{}")).unwrap_err().detail.contains("JSON"));
    }
}
