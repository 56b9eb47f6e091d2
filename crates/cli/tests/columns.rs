//! Columns of tables that exist: what another program wrote lands in them, and what `weir check`
//! says about a column that does not fit works.
#![allow(clippy::unwrap_used)]

use apache_avro::Schema;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;
use weir_store::postgres::reference;
use weir_testkit::service::{Program, Service};
use weir_testkit::topics::Record;
use weir_testkit::{Database, Stack, Topics, http, random_name, wait_until};

/// A pipeline without a source, with a database of its own.
struct Case {
    folder: TempDir,
    name: String,
    url: String,
    database: Database,
}

impl Case {
    fn new() -> Case {
        let url = Stack::shared().create_database("columns").unwrap();
        let database = Database::connect(&url).unwrap();
        Case { folder: TempDir::new().unwrap(), name: random_name("columns"), url, database }
    }

    /// From `input` to `output` by `sql`, into `public.t`, with more keys of the sink.
    fn write(&self, input: &Value, output: &Value, sql: Option<&str>, sink: &str) {
        let write =
            |file: &str, text: &str| fs::write(self.folder.path().join(file), text).unwrap();
        write("in.avsc", &input.to_string());
        write("out.avsc", &output.to_string());
        let (name, url) = (&self.name, &self.url);
        let transform = sql.map(|sql| format!("[transform]\nsql = '''\n{sql}\n'''\n"));
        write(
            "p.toml",
            &format!(
                "name = \"{name}\"\n\
                 [input]\ntopic = \"{name}\"\nschema = \"in.avsc\"\npartitions = 1\n{}\
                 [output]\ntopic = \"{name}-out\"\nschema = \"out.avsc\"\n\
                 [[sink]]\nname = \"w\"\ntype = \"postgres\"\nurl = \"{url}\"\n\
                 table = \"public.t\"\n{sink}",
                transform.unwrap_or_default()
            ),
        );
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("p.toml")
    }

    fn weir(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(arguments).envs(Stack::shared().env()).output().unwrap()
    }

    /// The mistakes that `weir check` reports.
    fn mistakes(&self) -> Vec<Value> {
        let output = self.weir(&["check", self.file().to_str().unwrap(), "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let open: Vec<&Value> = report["checks"].as_array().unwrap().iter().collect();
        assert!(open.iter().all(|check| check["state"] != "open"), "{report:#}");
        report["mistakes"].as_array().unwrap().clone()
    }

    fn start(&self, program: &str) -> Service {
        let env: BTreeMap<_, _> = Stack::shared().env().into_iter().collect();
        let file = self.file();
        let program = Program::new(program, &[file.to_str().unwrap()], &env, self.folder.path());
        let mut service = program.start().unwrap();
        service.wait_ready().unwrap();
        service
    }
}

/// The type in a schema, by the name that the page about columns and the hints have for it.
fn avro(name: &str) -> Value {
    let logical = |physical: &str| json!({"type": physical, "logicalType": name});
    match name {
        "string, enum, uuid" => json!("string"),
        "bytes, fixed" => json!("bytes"),
        "date" | "time-millis" => logical("int"),
        "duration" => json!({"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}),
        _ if name.starts_with("record") => json!({"type": "map", "values": "int"}),
        _ if name.starts_with("time") || name.starts_with("local") => logical("long"),
        _ => match name.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')) {
            Some(digits) => {
                let (precision, scale) = digits.split_once(',').unwrap();
                let number = |text: &str| text.parse::<u32>().unwrap();
                json!({"type": "bytes", "logicalType": "decimal",
                       "precision": number(precision), "scale": number(scale)})
            }
            None => json!(name),
        },
    }
}

fn record(name: &str, fields: impl Iterator<Item = (String, Value)>) -> Value {
    let fields: Vec<Value> =
        fields.map(|(name, avro)| json!({"name": name, "type": avro})).collect();
    json!({"type": "record", "name": name, "fields": fields})
}

/// A field, the type of its column, and of its mistake the SQL and the type of the output.
struct Pair {
    name: String,
    field: &'static str,
    column: &'static str,
}

#[test]
fn every_remedy_in_sql_or_the_schema_works() {
    let case = Case::new();
    let pairs = reference::fields()
        .into_iter()
        .flat_map(|(field, _)| reference::columns().map(move |column| (field, column)));
    let pairs: Vec<Pair> = pairs
        .enumerate()
        .map(|(number, (field, column))| Pair { name: format!("c{number}"), field, column })
        .collect();
    case.database
        .execute(
            "CREATE SCHEMA shop; CREATE EXTENSION citext; CREATE EXTENSION ltree; \
             CREATE TYPE shop.mood AS ENUM ('ok'); CREATE TYPE shop.size AS (width int)",
        )
        .unwrap();
    let create = |pairs: &[&Pair]| {
        let columns: Vec<String> =
            pairs.iter().map(|pair| format!("{} {}", pair.name, pair.column)).collect();
        let table = format!("DROP TABLE IF EXISTS t; CREATE TABLE t ({})", columns.join(", "));
        case.database.execute(&table).unwrap();
    };
    create(&pairs.iter().collect::<Vec<_>>());
    let input = record("In", pairs.iter().map(|pair| (pair.name.clone(), named(pair))));
    let output = record("Out", pairs.iter().map(|pair| (pair.name.clone(), named(pair))));
    case.write(&input, &output, None, "");
    let mut hints = BTreeMap::new();
    for mistake in case.mistakes() {
        let words: Vec<&str> = mistake["what"].as_str().unwrap().split(' ').collect();
        hints.insert(words[1].to_owned(), mistake["hint"].as_str().unwrap_or_default().to_owned());
    }
    assert!(hints.len() > 300, "{}", hints.len());

    let remedied = |pair: &&Pair| {
        let remedy = hints.get(&pair.name)?.split("; or: ").next()?;
        let (sql, rest) = match remedy.strip_prefix('`') {
            Some(rest) => rest.split_once("` in transform.sql and ")?,
            None => (pair.name.as_str(), remedy),
        };
        let to = rest.strip_prefix("type ")?.strip_suffix(" in the output schema")?;
        Some((sql.to_owned(), to.to_owned()))
    };
    let chosen: Vec<&Pair> = pairs.iter().filter(|pair| remedied(pair).is_some()).collect();
    assert!(chosen.len() > 60, "{}", chosen.len());
    create(&chosen);
    let of = |pair: &&Pair| remedied(pair).unwrap();
    let sql: Vec<String> = chosen.iter().map(|pair| of(pair).0).collect();
    let input = record("In", chosen.iter().map(|pair| (pair.name.clone(), named(pair))));
    let output = record("Out", chosen.iter().map(|pair| (pair.name.clone(), avro(&of(pair).1))));
    case.write(&input, &output, Some(&format!("SELECT {} FROM input", sql.join(",\n"))), "");
    let left: Vec<String> = case
        .mistakes()
        .iter()
        .map(|mistake| format!("{} {}", mistake["key"], mistake["what"]))
        .collect();
    let shown: Vec<String> = chosen
        .iter()
        .map(|pair| format!("{} {} into {}: {:?}", pair.name, pair.field, pair.column, of(pair)))
        .collect();
    assert!(left.is_empty(), "{left:#?}\n{shown:#?}");
}

/// The type of a pair's field; a named type has a name of its own.
fn named(pair: &Pair) -> Value {
    let mut avro = avro(pair.field);
    if avro["name"].is_string() {
        avro["name"] = json!(format!("N{}", pair.name));
    }
    avro
}

const ORDER: &str = r#"{"type": "record", "name": "Order", "fields": [
  {"name": "id", "type": "long"},
  {"name": "customer", "type": {"type": "record", "name": "Customer", "fields": [
    {"name": "name", "type": "string"}, {"name": "age", "type": ["null", "int"]}]}},
  {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
    {"name": "sku", "type": "string"},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}}]}}},
  {"name": "attributes", "type": {"type": "map", "values": "double"}},
  {"name": "tags", "type": {"type": "array", "items": "string"}},
  {"name": "uuid", "type": {"type": "string", "logicalType": "uuid"}},
  {"name": "host", "type": "string"},
  {"name": "mood", "type": {"type": "enum", "name": "Mood", "symbols": ["OK", "SAD"]}}]}"#;

/// An order as another program writes it.
fn order(id: i64, host: &str, weight: f64) -> Avro {
    let text = |text: &str| Avro::String(text.into());
    let customer = vec![
        ("name".into(), text("Zoë \"Z\"")),
        ("age".into(), Avro::Union(1, Box::new(Avro::Int(41)))),
    ];
    let unscaled = apache_avro::Decimal::from(12_345_678_901_234_567_890_i128.to_be_bytes());
    let line = vec![("sku".into(), text("x")), ("price".into(), Avro::Decimal(unscaled))];
    Avro::Record(vec![
        ("id".into(), Avro::Long(id)),
        ("customer".into(), Avro::Record(customer)),
        ("lines".into(), Avro::Array(vec![Avro::Record(line)])),
        ("attributes".into(), Avro::Map([("weight".into(), Avro::Double(weight))].into())),
        ("tags".into(), Avro::Array(vec![text("a"), text("b c")])),
        ("uuid".into(), text("6774d596-8cc8-4c20-8e98-6f2f105d62a8")),
        ("host".into(), text(host)),
        ("mood".into(), Avro::Enum(1, "SAD".into())),
    ])
}

#[test]
fn a_nested_record_of_another_program_lands_in_the_table() {
    let case = Case::new();
    // A new table, except for one column that only the server can read, and the enum.
    let table = "CREATE TYPE mood AS ENUM ('OK', 'SAD'); CREATE TABLE t (host inet, mood mood)";
    case.database.execute(table).unwrap();
    let schema: Value = serde_json::from_str(ORDER).unwrap();
    case.write(&schema, &schema, None, "lineage = true\n");
    assert_eq!(case.mistakes(), Vec::<Value>::new());
    let subject = format!("{}/subjects/{}-value/versions", Stack::shared().registry(), case.name);
    let answer = http::send("POST", &subject, &json!({ "schema": ORDER })).unwrap();
    let id = answer["id"].as_u64().unwrap() as u32;
    let avro = Schema::parse_str(ORDER).unwrap();
    let value = |order| {
        let writer = GenericDatumWriter::builder(&avro).build().unwrap();
        let datum = writer.write_value_to_vec::<Avro>(order).unwrap();
        [&[0][..], &id.to_be_bytes(), &datum].concat()
    };
    let records: Vec<Record> =
        [order(1, "10.0.0.1", 0.1), order(2, "nowhere", 0.1), order(3, "::1", f64::NAN)]
            .map(|order| Record { value: Some(value(order)), ..Record::default() })
            .into();
    let topics = Topics::new(Stack::shared().kafka());
    topics.create(&case.name, 1).unwrap();
    topics.write(&case.name, &records).unwrap();

    let services = ["weir-enricher", "weir-sink"].map(|program| case.start(program));
    wait_until("the row and the dead letters", Duration::from_secs(60), || {
        let rows = case.database.number("SELECT count(*) FROM t").ok()?;
        let dead = case.database.number("SELECT count(*) FROM weir.dead_letters").ok()?;
        (rows + dead == 3).then_some(())
    });
    let row = "SELECT id, customer, lines, attributes, tags, uuid, host, mood, \
               pg_typeof(customer), pg_typeof(tags), pg_typeof(uuid) FROM t";
    let texts = case.database.texts(&row.replace(", ", "::text, ").replace(" FROM", "::text FROM"));
    let row: Vec<String> = texts.unwrap().concat().into_iter().map(Option::unwrap).collect();
    let wanted = [
        "1",
        "{\"age\": 41, \"name\": \"Zoë \\\"Z\\\"\"}",
        "[{\"sku\": \"x\", \"price\": 1234567890123456.7890}]",
        "{\"weight\": 0.1}",
        "{a,\"b c\"}",
        "6774d596-8cc8-4c20-8e98-6f2f105d62a8",
        "10.0.0.1/32",
        "SAD",
        "jsonb",
        "text[]",
        "uuid",
    ];
    assert_eq!(row, wanted);
    let letters = "SELECT reason, column_name, detail FROM weir.dead_letters ORDER BY reason";
    let letters: Vec<Vec<String>> = case
        .database
        .texts(letters)
        .unwrap()
        .into_iter()
        .map(|row| row.into_iter().flatten().collect())
        .collect();
    let invalid = "column host: invalid input syntax for type inet: \"nowhere\"";
    let no_number = "column attributes: [\"weight\"]: NaN is not a number that JSON has";
    assert_eq!(letters, [["invalid_text", "host", invalid], ["not_json", "attributes", no_number]]);

    let audit = |wanted: bool| {
        let file = case.file();
        let audit = ["audit", file.to_str().unwrap(), "--deep", "--content"];
        let output = case.weir(&audit);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.success(), wanted, "{text}");
        text
    };
    audit(true);
    // jsonb is compared by its value, and not by how it was written.
    case.database
        .execute("UPDATE t SET customer = '{\"name\":\"Zoë \\\"Z\\\"\",\"age\":41}'")
        .unwrap();
    audit(true);
    case.database.execute("UPDATE t SET customer = jsonb_set(customer, '{age}', '42')").unwrap();
    assert!(audit(false).contains("differ from their record"));
    for service in services {
        assert!(service.stop().unwrap().success());
    }
}
