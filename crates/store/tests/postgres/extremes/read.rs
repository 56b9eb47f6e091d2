//! Texts that the server reads as values of the column's type.

use super::{Case, decimal, int32, text};

pub(super) fn cases() -> Vec<Case> {
    let values = [numbers(), networks(), structured(), domains()];
    values.concat()
}

fn numbers() -> Vec<Case> {
    vec![
        (
            "smallint",
            text(&["-32768", "32768", "", "1.0", "x", "7"]),
            vec![Some("-32768"), None, None, None, None, Some("7")],
        ),
        ("integer", text(&["2147483647", "2147483648"]), vec![Some("2147483647"), None]),
        (
            "bigint",
            text(&["-9223372036854775808", "9223372036854775808", "a\0"]),
            vec![Some("-9223372036854775808"), None, None],
        ),
        (
            "numeric",
            text(&["1.0050", "NaN", "1e-20", "1.2.3"]),
            vec![Some("1.0050"), Some("NaN"), Some("0.00000000000000000001"), None],
        ),
        ("boolean", text(&["yes", "f", "maybe"]), vec![Some("true"), Some("false"), None]),
        ("bit(3)", text(&["101", "10", "1010", "102"]), vec![Some("101"), None, None, None]),
        ("bit varying(3)", text(&["", "101", "1010"]), vec![Some(""), Some("101"), None]),
    ]
}

fn networks() -> Vec<Case> {
    vec![
        (
            "inet",
            text(&["10.0.0.1", "10.0.0.256", "::1/64", ""]),
            vec![Some("10.0.0.1/32"), None, Some("::1/64"), None],
        ),
        ("cidr", text(&["10.0.0.0/8", "10.0.0.1/8"]), vec![Some("10.0.0.0/8"), None]),
        (
            "macaddr",
            text(&["08-00-2b-01-02-03", "08:00:2b:01:02"]),
            vec![Some("08:00:2b:01:02:03"), None],
        ),
    ]
}

fn structured() -> Vec<Case> {
    vec![
        (
            "interval",
            text(&["1 day", "P1Y2M3DT4H", "-00:00:00.000001", "1 dya"]),
            vec![
                Some("1 day"),
                Some("1 year 2 mons 3 days 04:00:00"),
                Some("-00:00:00.000001"),
                None,
            ],
        ),
        ("timetz", text(&["10:00:00+02", "25:00"]), vec![Some("10:00:00+02"), None]),
        ("bytea", text(&["\\x00ff", "ab", "\\xf"]), vec![Some("\\x00ff"), Some("\\x6162"), None]),
        ("point", text(&["(1,2)", "(1)"]), vec![Some("(1,2)"), None]),
        ("box[]", text(&["{(1,1),(0,0)}", "{x}"]), vec![Some("{(1,1),(0,0)}"), None]),
        // Its error is one of syntax, which does not tell that a row is to blame.
        ("tsvector", text(&["b a", "'a", "c"]), vec![Some("'a' 'b'"), None, Some("'c'")]),
        ("xml", text(&["<a/>", "<a", "x"]), vec![Some("<a/>"), None, Some("x")]),
        ("ltree", text(&["a.b", "a..b"]), vec![Some("a.b"), None]),
        ("jsonpath", text(&["$.a", "$["]), vec![Some("$.\"a\""), None]),
        ("int4range", text(&["[1,5)", "[5,1)", "empty"]), vec![Some("[1,5)"), None, Some("empty")]),
        ("int4multirange", text(&["{[1,2],[3,4]}", "{"]), vec![Some("{[1,5)}"), None]),
        ("text[]", text(&["{a,NULL}", "{", "{}"]), vec![Some("{a,NULL}"), None, Some("{}")]),
        ("integer[]", text(&["{{1,2},{3,4}}", "{1,x}"]), vec![Some("{{1,2},{3,4}}"), None]),
        (
            "shop.size",
            text(&["(1,cm)", "(x,cm)", "(1)", "(,)"]),
            vec![Some("(1,cm)"), None, None, Some("(,)")],
        ),
        ("shop.mood[]", text(&["{ok}", "{good}"]), vec![Some("{ok}"), None]),
    ]
}

fn domains() -> Vec<Case> {
    vec![
        ("shop.price", text(&["1.5", "-1", "1000", "x"]), vec![Some("1.5"), None, None, None]),
        ("shop.price", decimal(&[150, -100, 100_000], 10, 2), vec![Some("1.50"), None, None]),
        ("shop.price", int32(&[1, 0, 1000]), vec![Some("1"), None, None]),
        ("shop.address", text(&["10.0.0.1", "::1", "x"]), vec![Some("10.0.0.1/32"), None, None]),
    ]
}
