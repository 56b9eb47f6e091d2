//! Makes the content of dead letters safe for a terminal: anybody may have written it.

use jiff::{Timestamp, Unit};

/// The number of bytes shown of a record that cannot be decoded.
const DUMP_BYTES: usize = 512;
const DUMP_WIDTH: usize = 16;

/// A timestamp with seconds, as it can be given to `--since`; `–` for none.
pub(super) fn time(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).ok().filter(|_| ms >= 0);
    let whole = time.and_then(|time| time.round(Unit::Second).ok());
    whole.map_or("–".into(), |time| time.to_string())
}

/// Escapes control characters, which a terminal would execute.
pub(super) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    })
}

/// The text, or the beginning of it that fits into `width` characters.
pub(super) fn shortened(text: &str, width: usize) -> String {
    let text = printable(text);
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// The bytes as text if they are UTF-8, else as hexadecimal digits.
pub(super) fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => printable(text),
        Err(_) => format!("0x{}", hex::encode(bytes)),
    }
}

/// Lines of offset, bytes and characters, of the beginning.
pub(super) fn dump(bytes: &[u8]) -> Vec<String> {
    let shown = &bytes[..bytes.len().min(DUMP_BYTES)];
    let line = |(number, chunk): (usize, &[u8])| {
        let digits: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let characters: String = chunk
            .iter()
            .map(|byte| if (32..127).contains(byte) { char::from(*byte) } else { '·' })
            .collect();
        format!("{:04x}  {:47}  {}", number * DUMP_WIDTH, digits.join(" "), characters.trim_end())
    };
    let mut lines: Vec<String> = shown.chunks(DUMP_WIDTH).enumerate().map(line).collect();
    if shown.len() < bytes.len() {
        lines.push(format!("… {} more bytes", bytes.len() - shown.len()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_record_reaches_the_terminal_as_a_command() {
        assert_eq!(printable("a\u{1b}[2Jb\nü"), "a\\u{1b}[2Jb\\nü");
        assert_eq!(bytes(&[0xff, 0x1b]), "0xff1b");
    }

    #[test]
    fn a_dump_is_bounded_and_says_so() {
        let lines = dump(&[b'a'; 600]);
        assert_eq!(lines.len(), 33);
        assert_eq!(lines[1], format!("0010  {}  {}", ["61"; 16].join(" "), "a".repeat(16)));
        assert_eq!(lines[32], "… 88 more bytes");
        assert_eq!(dump(&[0, 65]), [format!("0000  {:47}  ·A", "00 41")]);
    }

    #[test]
    fn times_can_be_given_back_to_since() {
        assert_eq!(time(1_795_255_331_402), "2026-11-21T10:02:11Z");
        assert_eq!(time(-1), "–");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!((shortened("äöü", 3), shortened("äöüß", 3)), ("äöü".into(), "äö…".into()));
    }
}
