//! JSON in every form: lines, arrays, arrays in objects, objects one behind the other.

use super::*;
use crate::source::file::elements::Form;

const SCHEMA: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":"long"},
    {"name":"items","default":[],"type":{"type":"array","items":{"type":"record","name":"Item",
        "fields":[{"name":"sku","type":"string"},
            {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":2}}]}}},
    {"name":"more","default":null,"type":["null",{"type":"map","values":["null","int","long"]}]}]}"#;

fn files(config: &FileSource) -> Files {
    Files::new(config, &Schema::parse(SCHEMA).unwrap()).unwrap_or_else(|m| panic!("{m:?}"))
}

/// Rows, faults and the error that ends it, in steps of any length with a new reader for each.
fn read_text(content: &[u8], record_path: &[&str]) -> (Vec<String>, Vec<String>, Option<String>) {
    let folder = Folder::with(&[("a.json", content)]);
    let mut config = folder.config("a.json", 1);
    config.record_path = record_path.iter().map(|name| name.to_string()).collect();
    let source = files(&config);
    let read = |step: usize| {
        let (mut rows, mut faults, mut position) = (Vec::new(), Vec::new(), None);
        loop {
            let read = source.open(0, position.as_ref()).and_then(|mut r| r.read(limit(step)));
            let chunk = match read {
                Ok(chunk) => chunk,
                Err(error) => return (rows, faults, Some(error.to_string())),
            };
            assert_eq!(chunk.positions.len(), chunk.batch.num_rows());
            rows.extend(lines(&chunk));
            let fault = |m: &Malformed| {
                let bytes = String::from_utf8_lossy(&m.bytes).into_owned();
                format!("{} [{bytes}]", m.fault.detail)
            };
            faults.extend(chunk.malformed.iter().map(fault));
            if chunk.end {
                return (rows, faults, None);
            }
            // As it comes back from the position store.
            position = Some(serde_json::from_str(&chunk.position.to_string()).unwrap());
        }
    };
    let whole = read(1000);
    for step in [1, 2, 3] {
        assert_eq!(read(step), whole, "in steps of {step}");
    }
    whole
}

/// The rows of a text without faults.
fn rows_of(content: &str, record_path: &[&str]) -> Vec<String> {
    let (rows, faults, error) = read_text(content.as_bytes(), record_path);
    assert_eq!((faults, error), (Vec::new(), None), "{content}");
    rows
}

const ONE: &str =
    r#"{"id":9007199254740993,"items":[{"sku":"a\u0022]}","price":0.10}],"more":{"x":1,"y":null}}"#;
const TWO: &str = r#"{"id":-1,"unknown":[[{"id":3}]]}"#;

#[test]
fn a_record_means_the_same_in_every_form() {
    let expected = ["9007199254740993 [{sku: a\"]}, price: 0.10}] {x: 1, y: }", "-1 []"];
    let pretty = |text: &str| {
        // As `jq` prints it, but with numbers as they are.
        text.replace("{", "{\n  ").replace(",\"", ",\r\n\t \"").replace("}}", "}\n}")
    };
    let forms = [
        format!("{ONE}\n{TWO}\n"),
        format!("[{ONE},{TWO}]"),
        format!("[{ONE},{TWO}]\n"),
        format!("\u{feff} [\n{},\n{}\n]\n", pretty(ONE), pretty(TWO)),
        format!("[\n{ONE}\n,\n{TWO}\n]"),
        format!("[{ONE}\n]\n[]\n[{TWO}]"),
        format!("{}\n{}\n", pretty(ONE), pretty(TWO)),
        format!("{ONE}{TWO}"),
        format!("\u{1e}{ONE}\n\u{1e}{TWO}\n"),
    ];
    for text in forms {
        assert_eq!(rows_of(&text, &[]), expected, "{text}");
    }
    for (text, path) in [
        (format!("{{\"items\":[{ONE},{TWO}]}}"), &["items"][..]),
        (
            format!("{{\"n\":[{{\"a\":1}}], \"a\":{{\"b\": [\n{ONE},{TWO}] ,\"c\":1}},\"z\":2}}\n"),
            &["a", "b"],
        ),
        (format!("{{\"items\":[{ONE}]}}\n{{\"items\":[]}}{{\"items\":[{TWO}]}}\n"), &["items"]),
    ] {
        assert_eq!(rows_of(&text, path), expected, "{text}");
    }
}

#[test]
fn utf_16_is_read_in_every_form() {
    for text in [format!("[\n {ONE},\n {TWO}\n]"), format!("{ONE}\n{TWO}\n")] {
        let text = text.replace("unknown", "Ċ\u{0a0a}😀");
        for (to_bytes, mark) in [
            (u16::to_le_bytes as fn(u16) -> [u8; 2], [0xff, 0xfe]),
            (u16::to_be_bytes, [0xfe, 0xff]),
        ] {
            let content: Vec<u8> =
                mark.into_iter().chain(text.encode_utf16().flat_map(to_bytes)).collect();
            let (rows, faults, error) = read_text(&content, &[]);
            assert_eq!((rows.len(), faults, error), (2, Vec::new(), None), "{text}");
        }
    }
}

#[test]
fn an_array_of_nothing_and_a_file_of_nothing_have_no_records() {
    for text in ["[]", " [ \n ] ", "", "\n"] {
        assert_eq!(rows_of(text, &[]), [""; 0]);
    }
    assert_eq!(rows_of("{\"items\": []}", &["items"]), [""; 0]);
}

#[test]
fn a_malformed_element_is_a_dead_letter_with_its_place_and_its_neighbours_land() {
    let content = "[ {\"id\":1},\n  {\"id\":1,\n   \"äö\": tru}, {\"id\":2},\n\
        7, \"a\", null, [{\"id\":8}],\n {\"id\":3,\"id\":4}, , {\"id\":\"two\nlines\"},\n\
        {\"id\":5,\"items\":[{\"sku\":\"a\",\"price\":1},{\"sku\":\"b\",\"price\":0.001}]},\n\
        {\"id\":6,\"items\":[{\"sku\":\"a\"}]},{\"id\":6,\"items\":[{\"sku\":1,\"sku\":2}]},\n\
        {\"ID\":7,\"Id\":7},{\"Id\":9},]";
    let (rows, faults, error) = read_text(content.as_bytes(), &[]);
    assert_eq!((rows, error), (vec!["1 []".into(), "2 []".into(), "9 []".into()], None));
    let expected = [
        "line 2, column 3: not a JSON object: expected ident at line 3, column 13 \
         [{\"id\":1,\n   \"äö\": tru}]",
        "line 4, column 1: not a JSON object: invalid type: integer `7`, expected an object",
        "line 4, column 4: not a JSON object: invalid type: string \"a\", expected an object",
        "line 4, column 9: not a JSON object: invalid type: null, expected an object",
        "line 4, column 15: not a JSON object: invalid type: sequence, expected an object",
        "line 5, column 2: not a JSON object: the member `id` comes twice at line 5, column",
        "line 5, column 17: no value follows the comma [,]",
        "line 5, column 21: not a JSON object: control character",
        "line 7, column 1, member `items.1.price`: `0.001` has more than 2 decimals",
        "line 8, column 1, member `items.0.price`: is missing and has no default",
        "line 8, column 32, member `items.0`: not a JSON object: the member `sku` comes twice [",
        "line 9, column 1: field `id` could be the member `ID` or the member `Id`",
        "line 9, column 25: no value follows the comma [,]",
    ];
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(&format!("a.json {expected}")), "{fault}\n{expected}");
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
}

/// What follows a quote that is missing could be taken for records that it is not.
#[test]
fn reading_stops_where_the_end_of_a_value_cannot_be_told() {
    for (content, landed, place) in [
        (
            "[{\"id\":1},\n{\"id\":2,\"n\":\"5\" pipe\"},{\"id\":3}]",
            1,
            "line 2, column 17: a text ends before this",
        ),
        (
            "[{\"id\":1},\n{\"id\":2,\"n\":\"x},\n{\"id\":3,\"n\":\"y\"}]",
            1,
            "line 3, column 3: a text ends before",
        ),
        ("[{\"id\":1},{\"id\":2]},{\"id\":3}]", 1, "line 1, column 18: `]` closes no bracket"),
        ("[{\"id\":1}\n{\"id\":2}]", 1, "line 2, column 1: neither a comma nor the end"),
        (
            "[{\"id\":1},{\"id\":2}",
            2,
            "line 1, column 19: the file ends within its array; is it still",
        ),
        ("[{\"id\":1},{\"id\":2,", 1, "line 1, column 11: the file ends in the value that begins"),
        ("[{\"id\":1},{\"id\":\"2", 1, "line 1, column 17: the file ends in the text that begins"),
        ("[{\"id\":1}], {\"id\":2}", 1, "line 1, column 11: an array should begin here"),
        ("{\n\"id\":1}\n}\n{\"id\":2}", 1, "line 3, column 1: `}` closes no bracket"),
        ("{\n\"id\":1},\n{\"id\":2}", 1, "line 2, column 8: `,` stands where a value should begin"),
    ] {
        let (rows, faults, error) = read_text(content.as_bytes(), &[]);
        let error = error.unwrap_or_default();
        assert_eq!((rows.len(), faults), (landed, Vec::new()), "{content}: {error}");
        assert!(error.starts_with(&format!("a.json {place}")), "{content}\n{error}");
        assert!(error.contains("correct the file"), "{error}");
    }
    for (content, place) in [
        ("{\"items\":[{\"id\":1}],\"items\":[{\"id\":2}]}", "the member `items` comes twice"),
        ("{\"item\":[{\"id\":1}]}", "line 1, column 1: this object has no member `items`"),
        ("{\"items\":null}", "line 1, column 10: `items` is not an array"),
        ("[{\"id\":1}]", "line 1, column 1: an object should begin here"),
        ("{\"items\":[{\"id\":1}],", "there is no name of a member"),
    ] {
        let (_, _, error) = read_text(content.as_bytes(), &["items"]);
        assert!(error.clone().unwrap_or_default().contains(place), "{content}\n{error:?}");
    }
}

/// As when the file is still being written: the file is read on when it is there.
#[test]
fn an_array_that_was_cut_is_read_on_when_the_rest_has_come() {
    let (begin, rest) = ("[{\"id\":1},\n{\"id\":2},\n", "{\"id\":3}]\n");
    let folder = Folder::with(&[("a.json", begin.as_bytes())]);
    let source = files(&folder.config("a.json", 1));
    let mut reader = source.open(0, None).unwrap();
    let position = reader.read(limit(10)).unwrap().position;
    assert!(reader.read(limit(10)).err().unwrap().to_string().contains("still being written"));
    folder.write("a.json", format!("{begin}{rest}").as_bytes());
    assert_eq!(read(&source, 0, Some(&position), 10).0, ["3 []"]);
}

#[test]
fn an_element_without_end_costs_bounded_memory_and_one_dead_letter() {
    let text = format!("[{{\"id\":1}},{{\"id\":\"{}\"}},{{\"id\":2}}]", "x".repeat(5 << 20));
    let folder = Folder::with(&[("a.json", text.as_bytes())]);
    let source = files(&folder.config("a.json", 1));
    let mut reader = source.open(0, None).unwrap();
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    loop {
        let chunk = reader.read(limit(10)).unwrap();
        assert!(chunk.malformed.iter().all(|m| m.bytes.len() <= input::MAX_LINE));
        rows.extend(lines(&chunk));
        faults.extend(chunk.malformed.iter().map(|m| m.fault.detail.clone()));
        if chunk.end {
            break;
        }
    }
    assert_eq!(rows, ["1 []", "2 []"]);
    let expected = "a.json line 1, column 11: the value is longer than 1048576 bytes";
    assert!(faults.len() == 1 && faults[0].starts_with(expected), "{faults:?}");
}

#[test]
fn the_form_follows_from_the_beginning_of_the_file() {
    use Form::{Array, Lines, Objects};
    for (text, expected) in [
        ("[{\"id\":1},\n {\"id\":2}]", Array),
        ("[{\"id\": 1, \"name\": \"a\"}]\n", Array),
        ("[{\"id\": 1,, \"name\": \"a\"}]\n", Array),
        ("\n{\n \"id\": 1\n}\n", Objects),
        ("{\n \"id\": 01\n}\n{}", Objects),
        ("{\"id\":1}{\"id\":2}", Objects),
        ("{\"id\":1}\n{\"id\":2}\n", Lines),
        ("{\"id\":1}{\"id\":2}\n{\"id\":3}\n", Lines),
        ("[1]\n{\"id\":3}\n", Lines),
        ("{\"id\": 1, \"name\": \n{\"id\":2}\n", Lines),
        ("{\"id\": 1, \"na", Lines),
        ("{\"id\": 1, \"na\n{\"id\":2}\n", Lines),
        ("id,name\n1,a\n", Lines),
        ("", Lines),
    ] {
        assert_eq!(Form::of(text, true), expected, "{text}");
    }
    for (text, expected) in
        [("[\n{\"id\":1},\n", Array), ("{ \"a\":\n \"id\", \"b\":1,\n", Objects)]
    {
        assert_eq!(Form::of(text, false), expected, "{text}");
    }
}

#[test]
fn a_name_that_two_members_are_similar_to_is_not_guessed() {
    let folder = Folder::with(&[("a.ndjson", b"{\"ID\":1,\"Id\":2}\n{\"Id\":3}\n")]);
    let (rows, faults) = read(&files(&folder.config("a.ndjson", 1)), 0, None, 10);
    assert_eq!(rows, ["3 []"]);
    assert!(
        faults[0].contains("field `id` could be the member `ID` or the member `Id`"),
        "{faults:?}"
    );
}
