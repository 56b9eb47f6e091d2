//! Faults of a value's frame (see [`weir_model::frame`]).

use crate::schema_id::SchemaId;
use weir_model::fault::{Fault, Stage};
use weir_model::frame::{GUID_LEN, GUID_MAGIC, LEN, MAGIC, guid, schema_id};

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

/// What headers say about the schemas of some values (or keys): the index of the value, ascending,
/// and the content of the header [`weir_model::frame::VALUE_HEADER`] or
/// [`weir_model::frame::KEY_HEADER`]. As for Confluent's deserializers, a value that has one is not
/// framed.
pub type SchemaHeaders<'a> = [(u32, &'a [u8])];

/// The headers of some of the values, by their index among those: `rows` are the values, ascending.
pub fn of_rows<'a>(headers: &SchemaHeaders<'a>, rows: &[u32]) -> Vec<(u32, &'a [u8])> {
    let index = |row: u32| rows.binary_search(&row).ok().map(|index| index as u32);
    headers.iter().filter_map(|(row, header)| Some((index(*row)?, *header))).collect()
}

/// Headers, asked for in the order of their values.
pub(crate) struct Headers<'h, 'a>(&'h SchemaHeaders<'a>);

impl<'h, 'a> Headers<'h, 'a> {
    pub(crate) fn new(headers: &'h SchemaHeaders<'a>) -> Headers<'h, 'a> {
        Headers(headers)
    }

    /// That of this value, which comes after the one before.
    #[inline]
    pub(crate) fn of(&mut self, row: u32) -> Option<&'a [u8]> {
        match self.0 {
            [(of, header), rest @ ..] if *of == row => {
                self.0 = rest;
                Some(*header)
            }
            _ => None,
        }
    }
}

/// Where a value says which schema it has, and where it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    pub(crate) id: SchemaId,
    /// The bytes of the frame; 0 when it is a header.
    pub(crate) len: usize,
}

impl Frame {
    /// What follows the id: in the header, where there is one, or else in the value.
    pub(crate) fn rest<'a>(&self, value: &'a [u8], header: Option<&'a [u8]>) -> &'a [u8] {
        match (header, self.id) {
            (None, _) => value.get(self.len..).unwrap_or_default(),
            (Some(header), SchemaId::Number(_)) => header.get(LEN..).unwrap_or_default(),
            (Some(header), SchemaId::Guid(_)) => header.get(GUID_LEN..).unwrap_or_default(),
        }
    }
}

/// The frame of a value.
#[inline]
pub(crate) fn frame(value: Option<&[u8]>, header: Option<&[u8]>) -> Result<Frame, Fault> {
    match (value, header) {
        (Some([MAGIC, a, b, c, d, ..]), None) => {
            let id = SchemaId::Number(u32::from_be_bytes([*a, *b, *c, *d]));
            Ok(Frame { id, len: LEN })
        }
        (None, _) => Err(no_value()),
        (Some(value), None) => match guid(value) {
            Some(guid) => Ok(Frame { id: SchemaId::Guid(guid), len: GUID_LEN }),
            None => Err(invalid_frame(value)),
        },
        (Some(_), Some(header)) => {
            let number = schema_id(header).map(SchemaId::Number);
            match number.or_else(|| guid(header).map(SchemaId::Guid)) {
                Some(id) => Ok(Frame { id, len: 0 }),
                None => Err(bad_header(header)),
            }
        }
    }
}

/// The same where nothing may follow the id in a header.
pub(crate) fn plain_frame(value: Option<&[u8]>, header: Option<&[u8]>) -> Result<Frame, Fault> {
    let frame = frame(value, header)?;
    match header {
        Some(header) if !frame.rest(&[], Some(header)).is_empty() => Err(bad_header(header)),
        _ => Ok(frame),
    }
}

#[cold]
pub(crate) fn bad_header(header: &[u8]) -> Fault {
    let begin: Vec<String> = header.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let detail = format!(
        "the header with the schema's id has {} bytes ({}…); it must be 0x01 and a GUID of 16 bytes, \
         or 0x00 and an id of 4, and in Protobuf the indexes of the message after it",
        header.len(),
        begin.join(" ")
    );
    fault("bad_schema_header", detail)
}

#[cold]
fn invalid_frame(value: &[u8]) -> Fault {
    match value {
        [] => fault("empty_payload", "the record's value is 0 bytes long"),
        [MAGIC, ..] => fault(
            "short_header",
            format!("the value is {} bytes long; the frame alone takes {LEN}", value.len()),
        ),
        [GUID_MAGIC, ..] => fault(
            "short_header",
            format!(
                "the value is {} bytes long; a frame that begins with byte 0x01 takes {GUID_LEN}",
                value.len()
            ),
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
                    "the value begins with byte 0x{first:02x}, not with a frame's 0x00 or 0x01{guess}"
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
        let reason = |value: Option<&[u8]>| plain_frame(value, None).map_err(|f| f.reason);
        let number = Frame { id: SchemaId::Number(258), len: 5 };
        assert_eq!(reason(Some(&[0, 0, 0, 1, 2, 9])), Ok(number));
        let guid = Frame { id: SchemaId::Guid([7; 16]), len: 17 };
        assert_eq!(reason(Some(&[&[1][..], &[7; 16], &[9]].concat())), Ok(guid));
        assert_eq!(reason(Some(&[1; 16])), Err("short_header".into()));
        assert_eq!(reason(None), Err("null_payload".into()));
        assert_eq!(reason(Some(&[])), Err("empty_payload".into()));
        assert_eq!(reason(Some(&[0])), Err("short_header".into()));
        assert_eq!(reason(Some(&[0, 0, 0, 1])), Err("short_header".into()));
        assert_eq!(reason(Some(b"{\"a\":1}")), Err("wrong_magic".into()));
        assert!(frame(Some(b"{}"), None).unwrap_err().detail.contains("JSON"));
    }

    #[test]
    fn a_header_says_the_schema_of_a_value_that_is_not_framed() {
        let guid = [&[1][..], &[7; 16]].concat();
        let of_guid = Frame { id: SchemaId::Guid([7; 16]), len: 0 };
        assert_eq!(plain_frame(Some(&[0, 0, 0, 0, 1, 2]), Some(&guid)), Ok(of_guid));
        let of_number = Frame { id: SchemaId::Number(9), len: 0 };
        assert_eq!(plain_frame(Some(&[]), Some(&[0, 0, 0, 0, 9])), Ok(of_number));
        assert_eq!(plain_frame(None, Some(&guid)).unwrap_err().reason, "null_payload");
        for bad in [&guid[..16], &[&guid[..], &[0]].concat(), &[2; 17], &[0, 0, 0, 1], &[]] {
            let fault = plain_frame(Some(&[0, 0, 0, 0, 1, 2]), Some(bad)).unwrap_err();
            assert_eq!(fault.reason, "bad_schema_header", "{bad:?}");
        }
    }
}
