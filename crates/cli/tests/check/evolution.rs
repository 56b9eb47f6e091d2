//! Schemas of other programs: what `weir check` and `weir schema diff` say about their versions.

use super::*;
use serde_json::json;

/// A schema that weir itself could not write: a recursive record, a decimal of 60 digits, a union of
/// everything. The reader's fields are among its own.
const FOREIGN: &str = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
  {"name": "node", "default": null, "type": ["null", {"type": "record", "name": "Node", "fields": [
    {"name": "next", "type": ["null", "Node"], "default": null}]}]},
  {"name": "order_id", "type": "int"},
  {"name": "exact", "type":
    {"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 2}},
  {"name": "any", "type": {"type": "map", "values": ["null", "string",
    {"type": "array", "items": "Node"}]}},
  {"name": "product", "type": ["string", "int"]},
  {"name": "amount", "type": ["null", "int"], "default": null}]}"#;

impl Case {
    /// Registers what another program writes to the input topic.
    fn register_foreign(&self, schema: &str) {
        let url = format!("{}/subjects/{}-value/versions", Stack::shared().registry(), self.name);
        weir_testkit::http::send("POST", &url, &json!({"schema": schema})).unwrap();
    }

    /// The lines of `weir schema diff` about the input, without the two leading blanks.
    fn diff(&self) -> Vec<String> {
        let output = self.weir(&["schema", "diff", "--json"]);
        let findings: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let lines = findings[0]["findings"].as_array().unwrap();
        lines.iter().map(|line| line.as_str().unwrap().to_string()).collect()
    }
}

#[test]
fn fields_that_nobody_reads_may_have_types_that_weir_does_not_have() {
    let (case, _database) = Case::online();
    case.register_foreign(FOREIGN);
    let (code, out, err) = case.check(&["--verbose"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("reads version 1"), "{out}");
    // Some values are not what the reader expects, and the check says which.
    let of = format!("records of version 1 of {}-value are dead letters where", case.name);
    for what in ["`product` is int; it cannot be read as string", "`amount` may be null"] {
        assert!(err.contains(&format!("warning: {of} {what}")), "{err}");
    }
}

#[test]
fn a_field_that_is_read_must_have_a_type_that_can_be_read() {
    let (case, _database) = Case::online();
    case.register_foreign(&FOREIGN.replace(r#"["string", "int"]"#, r#""Node""#));
    let (code, _, err) = case.check(&[]);
    assert_eq!(code, Some(78), "{err}");
    assert!(err.contains("`product` is record; it cannot be read as string"), "{err}");
}

#[test]
fn a_diff_says_in_words_what_breaks_and_whether_the_pipeline_reads_it() {
    let (case, _database) = Case::online();
    let items = |fields: &str| {
        format!(
            r#"{{"name": "items", "type": {{"type": "array", "items":
                {{"type": "record", "name": "Item", "fields": [{fields}]}}}}}}"#
        )
    };
    let field = |name: &str, kind: &str| format!(r#"{{"name": "{name}", "type": "{kind}"}}"#);
    let order = |fields: &[String]| {
        let own = [field("order_id", "long"), field("product", "string"), field("amount", "int")];
        let fields = [&own[..], fields].concat().join(", ");
        format!(r#"{{"type": "record", "name": "Order", "fields": [{fields}]}}"#)
    };
    let sku = [field("sku", "string"), field("price", "double")].join(", ");
    let reader = order(&[items(&sku), field("unused", "string")]);
    fs::write(case.folder.path().join("order.avsc"), reader).unwrap();
    case.change("SELECT i.*,", "SELECT i.order_id, i.items[1].sku AS product, i.amount,");
    case.register_foreign(&order(&[items(&field("sku", "int"))]));
    assert_eq!(
        case.diff(),
        [
            "~ items[].sku: int → string",
            "+ items[].price: double, no default",
            "+ unused: string, no default",
            "! records of version 1, read with order.avsc: all become dead letters, because \
             `items[].sku` is int; it cannot be read as string; the pipeline reads it",
            "! records of version 1, read with order.avsc: all become dead letters, because \
             `items[].price` is missing and has no default; the pipeline reads it",
            "! records of version 1, read with order.avsc: all become dead letters, because \
             `unused` is missing and has no default; the pipeline does not read it: leave it out of \
             order.avsc",
        ]
    );
}
