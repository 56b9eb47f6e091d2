//! Texts and bytes.

use super::{Case, text};
use arrow::array::BinaryArray;
use std::sync::Arc;

pub(super) fn cases() -> Vec<Case> {
    let deep: &'static str = Box::leak("[".repeat(100_000).into_boxed_str());
    vec![
        ("text", text(&["", "a\0b", "\u{10FFFF}"]), vec![Some(""), None, Some("\u{10FFFF}")]),
        (
            "varchar(3)",
            text(&["", "äöü", "äöüß", "abc ", "abc", "a\0b"]),
            vec![Some(""), Some("äöü"), None, None, Some("abc"), None],
        ),
        ("char(3)", text(&["abc", "abc ", "abcd"]), vec![Some("abc"), None, None]),
        ("name", text(&["n", Box::leak("n".repeat(64).into_boxed_str())]), vec![Some("n"), None]),
        ("json", text(&["{}", "", "{", "nul"]), vec![Some("{}"), None, None, None]),
        (
            "jsonb",
            text(&["{}", "", "\"\\u0000\"", deep, "[1]"]),
            vec![Some("{}"), None, None, None, Some("[1]")],
        ),
        (
            "uuid",
            text(&["", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99"]),
            vec![None, Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), None],
        ),
        (
            "bytea",
            Arc::new(BinaryArray::from(vec![&b""[..], &b"\0\xff"[..]])),
            vec![Some("\\x"), Some("\\x00ff")],
        ),
        ("citext", text(&["Ab", "a\0b"]), vec![Some("Ab"), None]),
        ("shop.mood", text(&["ok", "OK", "", "sad"]), vec![Some("ok"), None, None, Some("sad")]),
        ("shop.code", text(&["abc", "abcd", "bad"]), vec![Some("abc"), None, None]),
    ]
}
