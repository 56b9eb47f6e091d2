//! CSV as other programs write it.

use super::*;

const SCHEMA: &str = r#"{"type":"record","name":"Sale","fields":[
    {"name":"id","type":"int"},
    {"name":"name","type":["null","string"],"default":null},
    {"name":"price","default":null,
        "type":["null",{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}]},
    {"name":"day","type":["null",{"type":"int","logicalType":"date"}],"default":null},
    {"name":"at","default":null,
        "type":["null",{"type":"long","logicalType":"timestamp-millis"}]}]}"#;

/// Rows and faults of a file of this content.
fn read_as(content: &[u8], edit: impl Fn(&mut FileSource)) -> (Vec<String>, Vec<String>) {
    let folder = Folder::with(&[("a.csv", content)]);
    let mut config = folder.config("a.csv", 1);
    edit(&mut config);
    let source = Files::new(&config, &Schema::parse(SCHEMA).unwrap());
    let whole = read(&source.unwrap_or_else(|m| panic!("{m:?}")), 0, None, 100);
    // The same with a crash after every record.
    let source = Files::new(&config, &Schema::parse(SCHEMA).unwrap()).ok().unwrap();
    assert_eq!(read_in_steps(&source), whole.0, "in steps");
    whole
}

/// The rows, with a new reader for each.
fn read_in_steps(source: &Files) -> Vec<String> {
    let (mut position, mut rows) = (None, Vec::new());
    loop {
        let chunk = source.open(0, position.as_ref()).unwrap().read(limit(1)).unwrap();
        rows.extend(lines(&chunk));
        if chunk.end {
            return rows;
        }
        position = Some(chunk.position);
    }
}

/// The record goes on behind the bad byte: what follows it in quotes is no record of its own.
#[test]
fn a_bad_byte_in_a_quoted_value_of_several_lines_costs_that_record() {
    let (rows, faults) = read_as(b"id,name\n1,\"a\xff\n2,b\"\n3,c\n", |_| ());
    assert_eq!(rows, ["3 c"]);
    assert_eq!(faults, ["malformed_line 2 a.csv line 2: the line is not UTF-8 at byte 4"]);
}

#[test]
fn a_german_spreadsheet_has_exact_numbers_and_dates() {
    let text = "id;name;price;day;at\r\n\
        1;\"Müller; Söhne\";\"1.234,50\";31.01.2025;31.01.2025 23:59\r\n\
        2;;-0,5;;\r\n\
        3;x;1.23;;\r\n\
        4;x;1,5;2025-01-31;\r\n";
    let german = |config: &mut FileSource| {
        config.delimiter = ";".into();
        config.encoding = "windows-1252".into();
        config.decimal_separator = ",".into();
        config.thousands_separator = ".".into();
        config.date_format = Some("%d.%m.%Y".into());
        config.timestamp_format = Some("%d.%m.%Y %H:%M".into());
    };
    let (encoded, ..) = encoding_rs::WINDOWS_1252.encode(text);
    let (rows, faults) = read_as(&encoded, german);
    assert_eq!(rows, ["1 Müller; Söhne 1234.50 2025-01-31 2025-01-31T23:59:00Z", "2 -0.50"]);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("line 4") && faults[0].contains("thousands"), "{faults:?}");
    assert!(faults[1].contains("line 5") && faults[1].contains("%d.%m.%Y"), "{faults:?}");
}

/// Both orders of bytes; U+010A and U+0A0A contain the byte of a line feed.
#[test]
fn utf_16_is_told_by_its_mark_and_read_on_from_any_line() {
    let text = "id\tname\n1\tĊ\u{0a0a}\n2\t\"two\nlines\"\n3\t😀\r\n";
    let encode = |to_bytes: fn(u16) -> [u8; 2], mark: [u8; 2]| {
        mark.into_iter().chain(text.encode_utf16().flat_map(to_bytes)).collect::<Vec<u8>>()
    };
    for (content, encoding) in [
        (encode(u16::to_le_bytes, [0xff, 0xfe]), "utf-8"),
        (encode(u16::to_be_bytes, [0xfe, 0xff]), "latin1"),
        (encode(u16::to_le_bytes, [0xff, 0xfe])[2..].to_vec(), "utf-16le"),
        (encode(u16::to_be_bytes, [0xfe, 0xff])[2..].to_vec(), "utf-16be"),
    ] {
        let (rows, faults) = read_as(&content, |config| {
            (config.encoding, config.delimiter) = (encoding.into(), "\t".into());
        });
        assert_eq!(rows, ["1 Ċ\u{0a0a}", "2 two\nlines", "3 😀"], "{encoding}");
        assert_eq!(faults, [""; 0]);
    }
}

#[test]
fn a_line_that_is_not_of_the_encoding_keeps_its_bytes() {
    let mut content: Vec<u8> =
        "id,name\n1,a\n2,".encode_utf16().flat_map(u16::to_le_bytes).collect();
    content.extend([0x00, 0xd8]);
    content.extend("\n3,c\n".encode_utf16().flat_map(u16::to_le_bytes));
    let folder = Folder::with(&[("a.csv", &content)]);
    let mut config = folder.config("a.csv", 1);
    config.encoding = "utf-16le".into();
    let source = Files::new(&config, &Schema::parse(SCHEMA).unwrap()).ok().unwrap();
    let chunk = source.open(0, None).unwrap().read(limit(10)).unwrap();
    assert_eq!(lines(&chunk), ["1 a", "3 c"]);
    assert_eq!(chunk.malformed[0].bytes, [b'2', 0, b',', 0, 0x00, 0xd8]);
    assert_eq!(chunk.malformed[0].fault.detail, "a.csv line 3: the line is not UTF-16LE");
}

#[test]
fn files_without_a_header_line_with_comments_and_with_short_lines_are_read_when_told() {
    let content = b"# made by a machine\n1|a|1\n# and\n2\n\n3|c|3|extra\n";
    let (rows, faults) = read_as(content, |config| {
        config.delimiter = "|".into();
        config.comment = "#".into();
        config.header = ["id", "name", "price"].map(String::from).into();
        config.short_lines = true;
    });
    assert_eq!(rows, ["1 a 1.00", "2"]);
    assert_eq!(faults, ["malformed_line 6 a.csv line 6: the line has 4 values, the header has 3"]);
    let (rows, faults) = read_as(b"# c\nid,name\n1\n", |config| config.comment = "#".into());
    assert_eq!((rows.len(), faults.len()), (0, 1), "refused unless told");
}

#[test]
fn of_two_columns_of_one_name_the_number_tells() {
    let content = b"id,name,name\n1,a,b\n";
    let (rows, _) =
        read_as(content, |config| drop(config.columns.insert("name".into(), "#3".into())));
    assert_eq!(rows, ["1 b"]);
    let folder = Folder::with(&[("a.csv", content)]);
    let refused = Files::new(&folder.config("a.csv", 1), &Schema::parse(SCHEMA).unwrap());
    let what = &refused.err().unwrap()[0].what;
    assert!(what.contains("`name` and `name`") && what.contains("#3"), "{what}");
}

#[test]
fn what_the_pipeline_file_says_of_texts_is_checked_before_anything_is_read() {
    let folder = Folder::with(&[("a.csv", b"id\n1\n")]);
    let mut config = folder.config("a.csv", 1);
    config.encoding = "klingon".into();
    config.date_format = Some("dd.MM.yyyy".into());
    config.timestamp_format = Some("%d.%m.%Y".into());
    let mistakes = Files::new(&config, &Schema::parse(SCHEMA).unwrap()).err().unwrap();
    let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
    assert_eq!(keys, ["source.encoding", "source.date_format", "source.timestamp_format"]);
}

/// Files of Avro, with fields in another order, a default and a nested record, in any steps.
#[test]
fn avro_files_are_read_as_any_writer_schema_that_fits() {
    use apache_avro::types::Value as Avro;
    let writer = r#"{"type":"record","name":"S","fields":[{"name":"text","type":"string"},
        {"name":"of","type":{"type":"record","name":"Of","fields":[{"name":"x","type":"long"}]}},
        {"name":"id","type":"int"}]}"#;
    let reader = r#"{"type":"record","name":"S","fields":[{"name":"id","type":"long"},
        {"name":"of","type":{"type":"record","name":"Of","fields":[{"name":"x","type":"long"}]}},
        {"name":"note","type":"string","default":"none"}]}"#;
    let schema = apache_avro::Schema::parse_str(writer).unwrap();
    let write = |ids: std::ops::Range<i32>| {
        let mut writer = apache_avro::Writer::new(&schema, Vec::new()).unwrap();
        for id in ids {
            let of = Avro::Record(vec![("x".into(), Avro::Long(i64::from(id) * 2))]);
            let text = Avro::String("t".into());
            let fields = [("text", text), ("of", of), ("id", Avro::Int(id))];
            let fields = fields.map(|(name, value)| (name.to_owned(), value)).into();
            writer.append_value(Avro::Record(fields)).unwrap();
            if id % 4 == 3 {
                writer.flush().unwrap();
            }
        }
        writer.into_inner().unwrap()
    };
    let folder = Folder::with(&[("a.avro", &write(0..10)), ("b.avro", &write(10..11))]);
    let source = Files::new(&folder.config("*.avro", 1), &Schema::parse(reader).unwrap());
    let source = source.unwrap_or_else(|m| panic!("{m:?}"));
    let (rows, faults) = read(&source, 0, None, 3);
    let expected: Vec<_> = (0..11).map(|id| format!("{id} {{x: {}}} none", id * 2)).collect();
    assert_eq!((rows, faults.len()), (expected.clone(), 0));
    assert_eq!(read_in_steps(&source), expected);
    folder.write("a.avro", &write(0..10)[..200]);
    let error = source.open(0, None).unwrap().read(limit(100)).err().unwrap();
    assert!(error.to_string().contains("a.avro ends within a block"), "{error}");
}
