//! `weir check` distinguishes mistakes from outages: exit code 78 with all mistakes, 1 if a server
//! is unavailable.
#![allow(clippy::unwrap_used)]

#[path = "check/evolution.rs"]
mod evolution;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use weir_testkit::{Database, Stack, Topics, random_name};

const INPUT: &str = r#"{"type": "record", "name": "Order", "fields": [
  {"name": "order_id", "type": "long"}, {"name": "product", "type": "string"},
  {"name": "amount", "type": "int"}]}"#;
const OUTPUT: &str = r#"{"type": "record", "name": "OrderEnriched", "fields": [
  {"name": "order_id", "type": "long"}, {"name": "product", "type": "string"},
  {"name": "amount", "type": "int"},
  {"name": "price", "default": null, "type": ["null",
    {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}]}]}"#;
const PIPELINE: &str = r#"name = "NAME"

[input]
topic = "NAME"
schema = "order.avsc"
key = "order_id"
partitions = 3

[[lookup]]
name = "products"
file = "products.csv"
key = "product"

[[reject]]
name = "negative_amount"
when = "amount < 0"

[transform]
sql = """
SELECT i.*, CAST(p.price AS DECIMAL(10, 2)) AS price
FROM input i
LEFT JOIN products p ON i.product = p.product
"""

[output]
topic = "NAME-enriched"
schema = "order_enriched.avsc"

[[sink]]
name = "warehouse"
type = "postgres"
table = "shop.orders"
"#;

const SOURCE: &str = "[source]\ntype = \"file\"\npath = \"orders.ndjson\"\n\n";

/// A pipeline of its own, with a database of its own.
struct Case {
    folder: TempDir,
    name: String,
    env: Vec<(String, String)>,
}

impl Case {
    fn new() -> Case {
        let folder = TempDir::new().unwrap();
        let files = [
            ("order.avsc", INPUT),
            ("order_enriched.avsc", OUTPUT),
            ("products.csv", "product,price\nring,9.99\nbell,12.50\n"),
        ];
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let case = Case { folder, name: random_name("orders"), env: Vec::new() };
        case.write(&PIPELINE.replace("NAME", &case.name));
        case
    }

    fn online() -> (Case, Database) {
        let stack = Stack::shared();
        let url = stack.create_database("check").unwrap();
        let mut case = Case::new();
        case.env =
            stack.env().into_iter().chain([("WEIR_POSTGRES".to_owned(), url.clone())]).collect();
        (case, Database::connect(&url).unwrap())
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("orders.toml")
    }

    fn write(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
    }

    fn change(&self, find: &str, replace: &str) {
        let text = fs::read_to_string(self.file()).unwrap();
        assert!(text.contains(find), "{find:?}");
        self.write(&text.replace(find, replace));
    }

    fn weir(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(arguments).arg(self.file());
        for name in ["WEIR_KAFKA", "WEIR_REGISTRY", "WEIR_POSTGRES"] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().cloned()).output().unwrap()
    }

    /// Exit code, standard output, standard error.
    fn check(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.weir(&[&["check"], arguments].concat());
        let text = |bytes| {
            String::from_utf8(bytes)
                .unwrap()
                .replace(&self.file().display().to_string(), "orders.toml")
        };
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

#[test]
fn a_correct_pipeline_passes_without_servers() {
    let (code, out, err) = Case::new().check(&["--offline"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "orders.toml: 9 checks passed\n", ""));
}

#[test]
fn the_deployed_pipelines_pass_without_servers() {
    let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/pipelines");
    let data = weir_testkit::cache::data().unwrap();
    for entry in fs::read_dir(deployed).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        let output = command
            .args(["check", "--offline"])
            .arg(path)
            .env("WEIR_DATA", &data)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn mistakes_of_every_kind_are_reported_at_once_with_the_wrong_word_underlined() {
    let case = Case::new();
    case.change("key = \"order_id\"", "key = \"oder_id\"");
    case.change("amount < 0", "amonut < 0");
    case.change("DECIMAL(10, 2)", "DOUBLE");
    case.change(
        "table = \"shop.orders\"",
        "table = \"shop.orders\"\ncolumns = { nots = \"varchar(50)\" }",
    );
    let (code, out, err) = case.check(&["--offline"]);
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert!(err.starts_with("orders.toml: 4 mistakes\n"), "{err}");
    assert!(err.contains("line 6   input.key"), "{err}");
    assert!(err.contains("no field `oder_id` in order.avsc; did you mean `order_id`?"), "{err}");
    assert!(err.contains("│ when = \"amonut < 0\"\n           │         ^^^^^^\n"), "{err}");
    let underlined = "│ SELECT i.*, CAST(p.price AS DOUBLE) AS price\n           \
        │                                        ^^^^^\n";
    assert!(err.contains("line 20  transform.sql") && err.contains(underlined), "{err}");
    assert!(err.contains("line 33  sink.warehouse.columns.nots"), "{err}");
}

#[test]
fn a_lookup_without_unique_keys_is_a_mistake_and_leaves_its_users_open() {
    let case = Case::new();
    fs::write(case.folder.path().join("products.csv"), "product,price\nring,9.99\nring,12.50\n")
        .unwrap();
    let (code, _, err) = case.check(&["--offline"]);
    assert_eq!(code, Some(78), "{err}");
    assert!(err.contains("lookup[0].key"), "{err}");
}

#[test]
fn an_unavailable_server_is_not_a_mistake() {
    let mut case = Case::new();
    // ports without a listener
    case.env = [
        ("WEIR_KAFKA", "127.0.0.1:1"),
        ("WEIR_REGISTRY", "http://127.0.0.1:1"),
        ("WEIR_POSTGRES", "postgres://weir:hunter2@127.0.0.1:1/weir"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let (code, out, err) = case.check(&[]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(err.starts_with("orders.toml: 9 checks passed, 3 could not be made\n"), "{err}");
    assert!(err.contains("hint: --offline") && !err.contains("hunter2"), "{err}");
}

#[test]
fn a_correct_pipeline_passes_and_lists_what_will_be_created() {
    let (case, _database) = Case::online();
    let (code, out, err) = case.check(&["--verbose"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.ends_with("orders.toml: 16 checks passed\n"), "{out}");
    assert!(
        out.contains("will be created with 3 partitions") && out.contains("✔ target shop.orders"),
        "{out}"
    );
}

#[test]
fn a_table_that_does_not_fit_is_reported_by_column() {
    let (case, database) = Case::online();
    database
        .execute(
            "CREATE SCHEMA shop; CREATE TABLE shop.orders (order_id bigint NOT NULL, \
        product date, amount integer)",
        )
        .unwrap();
    case.change(
        "table = \"shop.orders\"",
        "table = \"shop.orders\"\nmode = \"upsert\"\nkey = \"order_id\"",
    );
    let (code, out, _) = case.check(&["--json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(78), "{found:#}");
    let whats: Vec<&str> =
        found["mistakes"].as_array().unwrap().iter().filter_map(|m| m["what"].as_str()).collect();
    assert_eq!(whats.len(), 2, "{whats:?}");
    assert!(whats.iter().any(|w| w.contains("product") && w.contains("date")), "{whats:?}");
    assert!(whats.iter().any(|w| w.contains("unique index")), "{whats:?}");
}

#[test]
fn topics_of_other_partition_counts_are_reported() {
    let (case, _database) = Case::online();
    Topics::new(Stack::shared().kafka()).create(&format!("{}-enriched", case.name), 2).unwrap();
    let (code, _, err) = case.check(&[]);
    assert_eq!(code, Some(78), "{err}");
    assert!(
        err.contains("output.topic") && err.contains("has 2 partitions, where 3 are needed"),
        "{err}"
    );
}

#[test]
fn a_reader_of_some_fields_of_another_programs_records_is_no_mistake_under_any_rule() {
    let (case, _database) = Case::online();
    let registered = case.weir(&["schema", "register", "--compatibility", "FULL"]);
    assert!(registered.status.success(), "{}", String::from_utf8_lossy(&registered.stderr));
    let fewer = r#"{"type": "record", "name": "Other", "namespace": "of.mine", "fields": [
        {"name": "order_id", "type": "long"}, {"name": "product", "type": "string"}]}"#;
    fs::write(case.folder.path().join("order.avsc"), fewer).unwrap();
    case.change("when = \"amount < 0\"", "when = \"order_id < 0\"");
    case.change("SELECT i.*,", "SELECT i.*, 1 AS amount,");
    let (code, out, err) = case.check(&["--verbose"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("reads version 1"), "{out}");
}

#[test]
fn a_schema_that_the_registry_would_refuse_is_reported() {
    let (case, _database) = Case::online();
    fs::write(case.folder.path().join("orders.ndjson"), "").unwrap();
    case.change("[input]", &format!("{SOURCE}[input]"));
    let registered = case.weir(&["schema", "register", "--compatibility", "BACKWARD"]);
    assert!(registered.status.success(), "{}", String::from_utf8_lossy(&registered.stderr));
    let text = INPUT.replace(
        r#"{"name": "amount", "type": "int"}"#,
        r#"{"name": "amount", "type": "int"}, {"name": "note", "type": "string"}"#,
    );
    fs::write(case.folder.path().join("order.avsc"), &text).unwrap();
    case.change("SELECT i.*,", "SELECT i.order_id, i.product, i.amount,");
    let (code, _, err) = case.check(&[]);
    assert_eq!(code, Some(78), "{err}");
    assert!(err.contains("input.schema") && err.contains("the registry's rule"), "{err}");
    // Without a source the schema only reads what others register.
    case.change(SOURCE, "");
    let (code, _, err) = case.check(&[]);
    assert_eq!(code, Some(78), "{err}");
    let reads = format!("cannot read version 1 of {}-value: `note` is missing", case.name);
    assert!(err.contains("input.schema") && err.contains(&reads), "{err}");
    fs::write(
        case.folder.path().join("order.avsc"),
        text.replace(r#""note", "type": "string""#, r#""note", "type": "string", "default": """#),
    )
    .unwrap();
    let (code, _, err) = case.check(&[]);
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn a_source_that_is_not_there_or_lacks_a_column_is_reported() {
    let (case, _database) = Case::online();
    let source = SOURCE.replace("orders.ndjson", "orders.csv");
    case.change("[input]", &format!("{source}[input]"));
    let (code, _, err) = case.check(&[]);
    assert_eq!(code, Some(78), "{err}");
    assert!(err.contains("source.path") && err.contains("no file matches"), "{err}");

    let orders = case.folder.path().join("orders.csv");
    fs::write(&orders, "order_id,product,amuont\n1,ring,2\n").unwrap();
    let (code, _, err) = case.check(&[]);
    assert_eq!(code, Some(78), "{err}");
    assert!(err.contains("no column for `amount`; it has order_id, product, amuont"), "{err}");
    // Without brokers, registry and databases it may be another machine, without the files.
    assert_eq!(case.check(&["--offline"]).0, Some(0));

    fs::write(&orders, "order_id,product,amount\n1,ring,2\n").unwrap();
    let (code, out, err) = case.check(&["--verbose"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("has the fields of the input schema"), "{out}");
}
