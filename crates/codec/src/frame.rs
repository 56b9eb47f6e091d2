//! Faults of a value's frame (see [`weir_model::frame`]).

use weir_model::fault::{Fault, Stage};
use weir_model::frame::{LEN, MAGIC};

/// Longest detail, in bytes: names of fields and symbols in it can be as long as a schema, and
/// every record of the schema gets a copy.
const MAX_DETAIL_BYTES: usize = 2000;

/// A fault of a record that cannot be decoded.
pub(crate) fn fault(reason: &str, detail: impl Into<String>) -> Fault {
    Fault { stage: Stage::Decode, reason: reason.into(), detail: detail_of(detail) }
}

/// What is wrong with a record or a schema, in a text whose length does not depend on theirs.
pub(crate) fn detail_of(text: impl Into<String>) -> String {
    let mut detail = text.into();
    if detail.len() > MAX_DETAIL_BYTES {
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES));
        detail.push('…');
        detail.shrink_to_fit();
    }
    detail
}

/// Of a tombstone.
pub(crate) fn no_value() -> Fault {
    fault("null_payload", "the record has no value (a tombstone); this pipeline expects one")
}

/// The schema id of a framed value.
pub(crate) fn schema_id(value: Option<&[u8]>) -> Result<u32, Fault> {
    let Some(value) = value else {
        return Err(no_value());
    };
    weir_model::frame::schema_id(value).ok_or_else(|| invalid_frame(value))
}

#[cold]
fn invalid_frame(value: &[u8]) -> Fault {
    match value {
        [] => fault("empty_payload", "the record's value is 0 bytes long"),
        [MAGIC, ..] => fault(
            "short_header",
            format!("the value is {} bytes long; the frame alone takes {LEN}", value.len()),
        ),
        [first, ..] => {
            let guess = match first {
                b'{' | b'[' => "; this looks like JSON",
                b'O' => "; this may be an Avro file",
                _ => "",
            };
            fault(
                "wrong_magic",
                format!(
                    "the value begins with byte 0x{first:02x}, not with the frame's 0x00{guess}"
                ),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_cut_at_a_character() {
        for detail in ["x".repeat(5000), "ä".repeat(3000), format!("x{}", "😀".repeat(999))] {
            let cut = fault("reason", &*detail).detail;
            assert!(cut.len() < MAX_DETAIL_BYTES + 4 && cut.ends_with('…'), "{cut}");
        }
        assert_eq!(fault("reason", "short").detail, "short");
    }

    #[test]
    fn each_invalid_frame_has_its_own_reason() {
        let reason = |value: Option<&[u8]>| schema_id(value).map_err(|f| f.reason);
        assert_eq!(reason(Some(&[0, 0, 0, 1, 2, 9])), Ok(258));
        assert_eq!(reason(None), Err("null_payload".into()));
        assert_eq!(reason(Some(&[])), Err("empty_payload".into()));
        assert_eq!(reason(Some(&[0])), Err("short_header".into()));
        assert_eq!(reason(Some(&[0, 0, 0, 1])), Err("short_header".into()));
        assert_eq!(reason(Some(b"{\"a\":1}")), Err("wrong_magic".into()));
        assert!(schema_id(Some(b"{}")).unwrap_err().detail.contains("JSON"));
    }
}
