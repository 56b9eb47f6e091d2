//! A first pipeline that `weir init` guesses loads the file that it was guessed from.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use weir_testkit::{Database, Stack, random_name};

/// As a German spreadsheet writes it, in windows-1252.
const SALES: &str = "Nr;Kunde;Betrag;Tag;PLZ\r\n\
    1;\"Müller; Söhne\";1.234,50;31.01.2025;01234\r\n\
    2;Östergård;-0,5;;99999\r\n\
    3;Ömer;12;01.02.2025;04109\r\n";

/// As a service answers: pages of nested orders, with numbers that a float does not hold.
const ORDERS: &str = r#"{
  "page": 1,
  "orders": [
    {
      "orderId": 9007199254740993,
      "at": "2025-01-31T12:00:00.000001+01:00",
      "customer": {"name": "Zoë \"Z\" \u00d6", "vip": true, "address": {"city": "Köln", "zip": "01234"}},
      "tags": ["a,b", "{c}", "", "\"d\""],
      "items": [{"sku": "x", "price": 0.10}, {"sku": "y", "price": 12345678901234567890.12}]
    },
    {
      "orderId": 2,
      "at": "2025-02-01T00:00:00Z",
      "customer": {"name": "B", "vip": false, "address": null},
      "tags": [],
      "items": []
    },
    {"orderId": "three", "at": "2025-02-01T00:00:00Z", "customer": {"name": "C", "vip": true},
     "tags": [], "items": []},
    {
      "orderId": 4,
      "at": "2025-02-01T00:00:00Z",
      "customer": {"name": "D", "vip": false},
      "tags": ["e"],
      "items": [{"sku": "z", "price": 1}]
    }
  ]
}
"#;

/// The commands in a folder, against a database of their own.
struct Weir<'a> {
    stack: &'a Stack,
    folder: &'a Path,
    url: String,
}

impl Weir<'_> {
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(arguments)
            .current_dir(self.folder)
            .envs(self.stack.env())
            .env("WEIR_POSTGRES", &self.url)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), text)
    }

    /// Guesses, checks and loads; what `weir init` said.
    fn load(&self, file: &str, name: &str) -> String {
        let (code, said) = self.run(&["init", file, "--name", name]);
        assert_eq!(code, Some(0), "{said}");
        let file = format!("{name}.toml");
        let (code, text) = self.run(&["check", &file]);
        assert_eq!(code, Some(0), "{text}");
        let (code, text) = self.run(&["run", &file, "--until-done"]);
        assert_eq!(code, Some(0), "{text}");
        said
    }

    fn rows(&self, sql: &str) -> Vec<String> {
        let rows = Database::connect(&self.url).unwrap().texts(sql).unwrap();
        let row = |row: Vec<Option<String>>| {
            row.into_iter().map(|v| v.unwrap_or("∅".into())).collect::<Vec<_>>().join(" ")
        };
        rows.into_iter().map(row).collect()
    }
}

#[test]
fn a_guessed_pipeline_loads_the_file_with_exact_values() {
    let (stack, name) = (Stack::shared(), random_name("sales"));
    let folder = tempfile::tempdir().unwrap();
    let (bytes, ..) = encoding_rs::WINDOWS_1252.encode(SALES);
    std::fs::write(folder.path().join("sales.csv"), bytes).unwrap();
    let url = stack.create_database("init").unwrap();
    let weir = Weir { stack, folder: folder.path(), url };
    let text = weir.load("sales.csv", &name);
    for said in ["windows-1252", "%d.%m.%Y", "decimal(10,2)", "`01234` is a code", "a sample"] {
        assert!(text.contains(said), "`{said}` is not in\n{text}");
    }
    let (code, again) = weir.run(&["init", "sales.csv", "--name", &name]);
    assert!(code == Some(1) && again.contains("nothing was written"), "{again}");
    let table = name.replace('-', "_");
    assert_eq!(
        weir.rows(&format!("SELECT nr, kunde, betrag, tag, plz FROM public.{table} ORDER BY nr")),
        [
            "1 Müller; Söhne 1234.50 2025-01-31 01234",
            "2 Östergård -0.50 ∅ 99999",
            "3 Ömer 12.00 2025-02-01 04109",
        ]
    );
}

#[test]
fn a_nested_array_of_json_becomes_jsonb_and_arrays() {
    let (stack, name) = (Stack::shared(), random_name("orders"));
    let folder = tempfile::tempdir().unwrap();
    // The guess comes from records without a fault.
    let good = ORDERS
        .replace("\"three\"", "3")
        .replace("\"customer\": {},", "\"customer\": {\"name\": \"C\", \"vip\": true},");
    std::fs::write(folder.path().join("orders.json"), &good).unwrap();
    let url = stack.create_database("init").unwrap();
    let weir = Weir { stack, folder: folder.path(), url };
    let (code, text) = weir.run(&["init", "orders.json", "--name", &name]);
    assert_eq!(code, Some(0), "{text}");
    for said in
        ["record_path", "array of record (price decimal(26,2), sku string)", "array of string"]
    {
        assert!(text.contains(said), "`{said}` is not in\n{text}");
    }
    std::fs::write(folder.path().join("orders.json"), ORDERS).unwrap();
    let file = format!("{name}.toml");
    let (code, text) = weir.run(&["check", &file]);
    assert_eq!(code, Some(0), "{text}");
    let (_, text) = weir.run(&["run", &file, "--until-done"]);
    let table = name.replace('-', "_");
    let columns = "SELECT column_name, udt_name FROM information_schema.columns \
        WHERE table_name = '";
    let types = weir.rows(&format!(
        "{columns}{table}' AND column_name IN ('customer', 'tags', 'items') ORDER BY 1"
    ));
    assert_eq!(types, ["customer jsonb", "items jsonb", "tags _text"], "{text}");
    let sql = "SELECT orderid, at AT TIME ZONE 'UTC', customer->>'name', customer->'address'->>'city', \
        tags::text, items FROM public.";
    assert_eq!(
        weir.rows(&format!("{sql}{table} ORDER BY 1")),
        [
            "2 2025-02-01 00:00:00 B ∅ {} []",
            "4 2025-02-01 00:00:00 D ∅ {e} [{\"sku\": \"z\", \"price\": 1.00}]",
            "9007199254740993 2025-01-31 11:00:00.000001 Zoë \"Z\" Ö Köln \
                {\"a,b\",\"{c}\",\"\",\"\\\"d\\\"\"} [{\"sku\": \"x\", \"price\": 0.10}, \
                {\"sku\": \"y\", \"price\": 12345678901234567890.12}]",
        ]
    );
    let dead = "orders.json line 18, column 5, member `orderid`: `\"three\"` is not a whole number";
    assert!(text.contains(dead), "{text}");
}
