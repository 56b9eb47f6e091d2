//! Whoever writes a pipeline file hears of every mistake in it, at once, with line, key and remedy,
//! and never sees a secret.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use weir_model::mistake::{Mistake, Mistakes};
use weir_model::pipeline::{Pipeline, Source};

/// A correct file of which each case breaks a part. Line numbers below count in it.
const GOOD: &str = r#"name = "orders"
description = "Orders"

[kafka]
brokers = "${BROKERS:-localhost:9092}"
replication = 1
session_timeout = "10s"
transaction_timeout = "30s"

[registry]
url = "http://localhost:8081"

[source]
type = "synthetic"
generator = "call_records"
rate = 1000
seed = 42
partitions = 3
invalid_share = 0.02

[input]
topic = "orders"
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

[[reject]]
name = "no_product"
when = "p.product IS NULL"

[transform]
sql = """
SELECT i.*, p.price
FROM input i
LEFT JOIN products p ON i.product = p.product
"""

[output]
topic = "orders-enriched"
schema = "order_enriched.avsc"

[dead_letters]
topic = "orders.dead-letters"
halt_share = 0.5
halt_after = "60s"

[[sink]]
name = "warehouse"
type = "postgres"
url = "postgres://weir:hunter2@localhost:5432/weir"
table = "shop.orders"
mode = "append"
lineage = false

[sink.columns]
note = "varchar(50)"

[batch]
records = 50000
bytes = "16MiB"
linger = "10ms"

[workers]
producer = 1
enricher = 2
sink = 3
"#;

/// Text of the good file → its replacement → the mistakes, each as `line key what`, `-` for no
/// line.
const CASES: &[(&str, &str, &str, &[&str])] = &[
    (
        "a misspelt key",
        "topic = \"orders\"\n",
        "tpoic = \"orders\"\n",
        &[
            "21 input.topic is missing; it must be a text",
            "22 input.tpoic unknown key; did you mean `topic`?",
        ],
    ),
    (
        "an unknown key at the top",
        "name = \"orders\"\n",
        "name = \"orders\"\nversion = 3\n",
        &["2 version unknown key"],
    ),
    ("a misspelt section", "[batch]", "[bach]", &["67 bach unknown key; did you mean `batch`?"]),
    (
        "a key of the other type",
        "rate = 1000",
        "path = \"x.csv\"",
        &["16 source.path belongs to type = \"file\""],
    ),
    ("no name", "name = \"orders\"\n", "", &["- name is missing; it must be a text"]),
    (
        "a name with capitals",
        "\"orders\"\ndesc",
        "\"Orders\"\ndesc",
        &["1 name `Orders` is not a name: lower-case letters, digits and hyphens, a letter first"],
    ),
    (
        "a hostile name",
        "\"orders\"\ndesc",
        "\"a\\u001B[2J\"\ndesc",
        &["1 name `a\\u{1b}[2J` is not a name: lower-case letters, digits and hyphens, a letter \
             first"],
    ),
    (
        "a name that is too long",
        "\"orders\"\ndesc",
        "\"a234567890123456789012345678901234567890123456789012345678901234\"\ndesc",
        &["1 name `a234567890123456789012345678901234567890123456789012345678901234` has 64 \
             bytes; at most 63 are allowed"],
    ),
    (
        "a text where a number belongs",
        "rate = 1000",
        "rate = \"1000\"",
        &["16 source.rate is a text; it must be a whole number"],
    ),
    (
        "a number where a text belongs",
        "key = \"order_id\"",
        "key = 7",
        &["24 input.key is a whole number; it must be a text"],
    ),
    (
        "a number where a flag belongs",
        "lineage = false",
        "lineage = 0",
        &["62 sink[0].lineage is a whole number; it must be true or false"],
    ),
    (
        "a table where a list belongs",
        "[[sink]]",
        "[sink]",
        &["56 sink is a table; it must be a list of tables: [[sink]]"],
    ),
    (
        "a negative rate",
        "rate = 1000",
        "rate = -1",
        &["16 source.rate is -1; it must be 0 to 1000000000"],
    ),
    (
        "no partitions",
        "key = \"order_id\"\npartitions = 3",
        "key = \"order_id\"\npartitions = 0",
        &["25 input.partitions is 0; it must be 1 to 100000"],
    ),
    (
        "a share in per cent",
        "invalid_share = 0.02",
        "invalid_share = 2",
        &["19 source.invalid_share is 2; it must be 0.0 to 1.0"],
    ),
    (
        "a share that is no number",
        "halt_share = 0.5",
        "halt_share = nan",
        &["53 dead_letters.halt_share is NaN; it must be 0.0 to 1.0"],
    ),
    (
        "a duration without a unit",
        "\"10s\"",
        "\"10\"",
        &["7 kafka.session_timeout `10` is not a duration such as \"250ms\", \"5s\" or \"2m\""],
    ),
    (
        "one of several registries that is no address",
        "url = \"http://localhost:8081\"",
        "url = [\"http://localhost:8081\", \"hush:8081\"]",
        &["11 registry.url the value is not an address such as http://host:8081"],
    ),
    (
        "a registry with a missing file, an empty token and a header that is no text",
        "url = \"http://localhost:8081\"",
        "ca_file = \"none.pem\"\nbearer_token = \"\"\nheaders = { tenant = [1] }",
        &[
            "11 registry.ca_file cannot read `none.pem`: no such file",
            "12 registry.bearer_token the value is empty",
            "13 registry.headers.tenant is a list; it must be a text, a number or true or false",
        ],
    ),
    (
        "a duration as a number",
        "\"10s\"",
        "10",
        &["7 kafka.session_timeout is a whole number; it must be a duration such as \"5s\""],
    ),
    (
        "a duration out of range",
        "transaction_timeout = \"30s\"",
        "transaction_timeout = \"2h\"",
        &["8 kafka.transaction_timeout `2h` is out of range; it must be 1s to 15m"],
    ),
    (
        "a size in an unknown unit",
        "\"16MiB\"",
        "\"16 megabytes\"",
        &["69 batch.bytes `16 megabytes` is not a size such as 1048576 or \"16MiB\""],
    ),
    (
        "a batch that is too small",
        "\"16MiB\"",
        "1",
        &["69 batch.bytes 1 is out of range; it must be 1KiB to 1GiB"],
    ),
    (
        "a linger that outlasts the session",
        "linger = \"10ms\"",
        "linger = \"8s\"",
        &["70 batch.linger is 8s; it must be less than half of kafka.session_timeout, which is \
             10s"],
    ),
    (
        "a linger that outlasts the transaction",
        "linger = \"10ms\"\n",
        "linger = \"20s\"\n",
        &[
            "70 batch.linger is 20s; it must be less than half of kafka.session_timeout, which is \
             10s",
            "70 batch.linger is 20s; it must be less than half of kafka.transaction_timeout, \
             which is 30s",
        ],
    ),
    (
        "more threads than partitions",
        "sink = 3",
        "sink = 5",
        &["75 workers.sink is 5, but input.partitions is 3: 2 would never have work"],
    ),
    (
        "an unknown choice",
        "mode = \"append\"",
        "mode = \"apend\"",
        &["61 sink[0].mode `apend` is not known; did you mean `append`?"],
    ),
    (
        "an unknown source",
        "type = \"synthetic\"",
        "type = \"sinthetic\"",
        &["14 source.type `sinthetic` is not known; did you mean `synthetic`?"],
    ),
    (
        "an unknown generator",
        "\"call_records\"",
        "\"call_record\"",
        &["15 source.generator `call_record` is not known; did you mean `call_records`?"],
    ),
    (
        "upsert without a key",
        "mode = \"append\"",
        "mode = \"upsert\"",
        &["56 sink[0].key is missing; mode = \"upsert\" needs the columns of a unique index"],
    ),
    (
        "append with a key",
        "mode = \"append\"",
        "mode = \"append\"\nkey = \"order_id\"",
        &["62 sink[0].key belongs to mode = \"upsert\"; with \"append\" every record is a row"],
    ),
    (
        "an upsert key named twice",
        "mode = \"append\"",
        "mode = \"upsert\"\nkey = [\"id\", \"id\"]",
        &["62 sink[0].key names `id` twice"],
    ),
    (
        "a missing schema",
        "schema = \"order.avsc\"",
        "schema = \"ordr.avsc\"",
        &["23 input.schema cannot read `ordr.avsc`: no such file; did you mean `order.avsc`?"],
    ),
    (
        "a folder as a schema",
        "schema = \"order.avsc\"",
        "schema = \".\"",
        &["23 input.schema cannot read `.`: it is not a file"],
    ),
    (
        "a missing lookup file",
        "file = \"products.csv\"",
        "file = \"nowhere/x.csv\"",
        &["29 lookup[0].file cannot read `nowhere/x.csv`: no such file"],
    ),
    (
        "a lookup without a key",
        "key = \"product\"\n",
        "key = []\n",
        &["30 lookup[0].key is empty; it must be at least one text"],
    ),
    (
        "a lookup that hides the records",
        "name = \"products\"",
        "name = \"input\"",
        &["28 lookup[0].name `input` is the table of the records themselves; choose another name"],
    ),
    (
        "a lookup named by a word of SQL",
        "name = \"products\"",
        "name = \"select\"",
        &["28 lookup[0].name `select` is a reserved word of SQL; choose another name"],
    ),
    (
        "two rules of one name",
        "name = \"no_product\"",
        "name = \"negative_amount\"",
        &["37 reject[1].name `negative_amount` is already the name of another reject in line 33"],
    ),
    ("an empty rule", "when = \"amount < 0\"", "when = \" \"", &["34 reject[0].when ` ` is empty"]),
    (
        "output into the input",
        "\"orders-enriched\"",
        "\"orders\"",
        &["48 output.topic `orders` is the input topic: the enricher would read its own output \
             without end"],
    ),
    (
        "dead letters into the output",
        "\"orders.dead-letters\"",
        "\"orders-enriched\"",
        &["52 dead_letters.topic `orders-enriched` is the output topic; dead letters need one \
             of their own"],
    ),
    (
        "a topic of weir's own",
        "topic = \"orders\"\n",
        "topic = \"weir.positions\"\n",
        &["22 input.topic `weir.positions` is where weir keeps the producers' positions; choose \
             another name"],
    ),
    (
        "a topic with blanks",
        "topic = \"orders\"\n",
        "topic = \"my orders\"\n",
        &["22 input.topic `my orders` is not a topic name: letters, digits, dots, underscores \
             and hyphens"],
    ),
    (
        "a table in weir's own schema",
        "\"shop.orders\"",
        "\"weir.positions\"",
        &["60 sink[0].table `weir.positions` is in the schema `weir`, where weir keeps \
             positions; choose another schema"],
    ),
    (
        "a hostile table",
        "\"shop.orders\"",
        "\"shop.orders; DROP TABLE x\"",
        &["60 sink[0].table `shop.orders; DROP TABLE x` is invalid: `orders; DROP TABLE x` is \
             not an identifier: letters, digits and underscores, no digit first"],
    ),
    (
        "a reserved table",
        "\"shop.orders\"",
        "\"order\"",
        &["60 sink[0].table `order` is a reserved word of SQL; choose another name"],
    ),
    (
        "a hostile column type",
        "\"varchar(50)\"",
        "\"text); DROP TABLE x\"",
        &["65 sink[0].columns.note `text); DROP TABLE x` is not a type such as varchar(50) or \
             numeric(10, 2)"],
    ),
    (
        "a hostile column",
        "note = \"varchar(50)\"",
        "\"a\\\"b\" = \"text\"",
        &["65 sink[0].columns.a\"b `a\"b` is not an identifier: letters, digits and \
             underscores, no digit first"],
    ),
    (
        "files that are changed",
        "type = \"postgres\"\nurl = \"postgres://weir:hunter2@localhost:5432/weir\"\ntable = \
             \"shop.orders\"\nmode = \"append\"\nlineage = false\n\n[sink.columns]\nnote = \
             \"varchar(50)\"\n",
        "type = \"files\"\npath = \"gs://orders\"\nformat = \"csv\"\nmode = \"upsert\"\n\
             compression = \"snappy\"\npartition_by = \"month(at)\"\nregion = \"eu\"\ntombstones \
             = \"delete\"\nkey = \"id\"\n",
        &[
            "59 sink[0].path `gs://orders` is neither a folder nor s3://bucket/prefix",
            "61 sink[0].mode `upsert` is not possible: a file is never changed, so no row in it can \
             be updated or deleted; type = \"files\" has mode = \"append\" only",
            "62 sink[0].compression is \"snappy\", which only Parquet has inside its files",
            "63 sink[0].partition_by `month(at)` is not a column of the output schema, day(column) \
             or hour(column)",
            "64 sink[0].region belongs to S3, and path is a folder",
            "65 sink[0].tombstones `delete` is not known; \"dead_letter\", \"skip\" can be chosen",
            "66 sink[0].key belongs to type = \"postgres\"",
        ],
    ),
    (
        "brokers without a port",
        "${BROKERS:-localhost:9092}",
        "localhost",
        &["5 kafka.brokers `localhost` is not a list of brokers such as host:9092,host:9092"],
    ),
    (
        "a registry that is no address",
        "http://localhost:8081",
        "localhost:8081",
        &["11 registry.url the value is not an address such as http://host:8081"],
    ),
    (
        "a variable that is not set",
        "${BROKERS:-localhost:9092}",
        "${BROKERS}",
        &["5 kafka.brokers environment variable `BROKERS` is not set"],
    ),
    (
        "a secret that is not mounted",
        "weir:hunter2@",
        "weir:${file:/nowhere/pw}@",
        &["59 sink[0].url cannot read `/nowhere/pw`: no such file"],
    ),
    (
        "a reference that does not end",
        "${BROKERS:-localhost:9092}",
        "${BROKERS",
        &["5 kafka.brokers `${` without its `}`; write `$${` for the characters themselves"],
    ),
    (
        "a setting that is weir's",
        "session_timeout = \"10s\"\n",
        "session_timeout = \"10s\"\nproperties.isolation.level = \"read_uncommitted\"\n",
        &["8 kafka.properties.isolation.level is set by weir: records of aborted transactions \
             must stay unseen"],
    ),
    ("no sink", "", "", &["- sink is missing; there must be at least one table [[sink]]"]),
    (
        "no input",
        "[input]",
        "[inptu]",
        &[
            "- input is missing; it must be a table [input]",
            "21 inptu unknown key; did you mean `input`?",
        ],
    ),
    (
        "a key given twice",
        "rate = 1000\n",
        "rate = 1000\nrate = 0\n",
        &["17  not TOML: duplicate key"],
    ),
    (
        "not TOML",
        "topic = \"orders\"\n",
        "topic = \"orders\n",
        &["22  not TOML: invalid basic string, expected `\"`"],
    ),
];

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in
        [("order.avsc", "{}"), ("order_enriched.avsc", "{}"), ("products.csv", "product,price\n")]
    {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn parse(text: &str, folder: &Path) -> Result<Pipeline, Mistakes> {
    Pipeline::parse(text, &folder.join("orders.toml"), &|_| None)
}

fn show(mistake: &Mistake) -> String {
    let line = mistake.line.map_or("-".into(), |l| l.to_string());
    format!("{line} {} {}", mistake.key, mistake.what)
}

fn broken(find: &str, replace: &str) -> String {
    if find.is_empty() {
        // all of the sink
        let (before, rest) = GOOD.split_once("[[sink]]").unwrap();
        return format!("{before}{}", &rest[rest.find("[batch]").unwrap()..]);
    }
    assert_eq!(GOOD.matches(find).count(), 1, "{find:?} is not unique in the good file");
    GOOD.replace(find, replace)
}

#[test]
fn the_good_file_is_good() {
    let folder = folder();
    let pipeline = parse(GOOD, folder.path()).unwrap();
    assert_eq!(pipeline.kafka.brokers, "localhost:9092");
    assert_eq!(pipeline.input.schema, folder.path().join("order.avsc"));
    assert_eq!(pipeline.batch.bytes, 16 << 20);
    let target = &pipeline.sinks[0].target;
    assert_eq!((target.kind(), target.name().as_str()), ("postgres", "shop.orders"));
    assert!(format!("{target:?}").contains(r#""note": "varchar(50)""#), "{target:?}");
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let folder = folder();
    let text = "name = \"o\"\ninput = { topic = \"a\", schema = \"order.avsc\" }\n\
        output = { topic = \"b\", schema = \"order.avsc\" }\n\
                [[sink]]\nname = \"w\"\ntype = \"postgres\"\ntable = \"t\"\n";
    let p = parse(text, folder.path()).unwrap();
    assert_eq!((p.kafka.brokers.as_str(), p.kafka.replication), ("localhost:9092", 1));
    assert_eq!(
        (p.input.partitions, p.dead_letters.topic.as_str(), p.transform.sql.as_str()),
        (3, "a.dead-letters", "SELECT * FROM input")
    );
    assert_eq!(
        (p.batch.linger.as_millis(), p.kafka.session_timeout.as_secs(), p.dead_letters.halt_share),
        (10, 10, 0.5)
    );
    assert!(p.source.is_none() && p.description.is_empty());
}

#[test]
fn each_broken_file_gets_its_message() {
    let folder = folder();
    assert!(CASES.len() >= 25);
    let mut wrong = Vec::new();
    for (case, find, replace, expected) in CASES {
        let found = match parse(&broken(find, replace), folder.path()) {
            Ok(_) => vec!["accepted".to_owned()],
            Err(mistakes) => mistakes.list.iter().map(show).collect(),
        };
        let (mut found, mut expected): (Vec<_>, Vec<_>) =
            (found, expected.iter().map(ToString::to_string).collect());
        found.sort();
        expected.sort();
        if found != expected {
            wrong.push(format!("{case}\n  expected {expected:#?}\n  found    {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The keys of `[input]` and of the sink that have to fit together.
#[test]
fn how_records_of_others_are_read_and_deleted_has_to_fit_together() {
    let folder = folder();
    let upsert = "mode = \"upsert\"\nkey = \"id\"\n";
    let found = |input: &str, sink: &str| {
        let text = format!(
            "name = \"o\"\n[input]\ntopic = \"a\"\nschema = \"order.avsc\"\n{input}\n\
             [output]\ntopic = \"b\"\nschema = \"order.avsc\"\n\
             [[sink]]\nname = \"w\"\ntype = \"postgres\"\ntable = \"t\"\n{sink}"
        );
        match parse(&text, folder.path()) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.list.iter().map(show).collect(),
        }
    };
    let key_schema = "key_schema = \"order.avsc\"\n";
    for (input, sink, expected) in [
        ("format = \"json\"\nunknown_fields = \"refuse\"", "", ""),
        ("unknown_fields = \"refuse\"", "", "5 input.unknown_fields belongs to format = \"json\""),
        ("key_format = \"avro\"", "", "2 input.key_schema is missing; keys that are neither text"),
        ("unwrap = \"debezium\"", "", ""),
        (key_schema, "", "5 input.key_schema belongs to a key_format other than text"),
        ("", "tombstones = \"skip\"", ""),
        ("", "tombstones = \"delete\"", "tombstones deletes rows, which needs mode = \"upsert\""),
        ("", "delete_when = \"gone\"", "delete_when deletes rows, which needs mode = \"upsert\""),
        ("", &format!("{upsert}tombstones = \"delete\""), ""),
        (
            "key_format = \"bytes\"",
            &format!("{upsert}tombstones = \"delete\""),
            "are no value of a column",
        ),
        (
            "",
            "mode = \"upsert\"\nkey = [\"a\", \"b\"]\ntombstones = \"delete\"",
            "a record's key is one text, and the rows' key is 2 columns",
        ),
    ] {
        let found = found(input, sink);
        match expected {
            "" => assert_eq!(found, [""; 0], "{input} {sink}"),
            _ => assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}"),
        }
    }
    let written = GOOD.replace("key = \"order_id\"\n", "key = \"order_id\"\nformat = \"json\"\n");
    let found: Vec<String> =
        parse(&written, folder.path()).unwrap_err().list.iter().map(show).collect();
    assert_eq!(
        found,
        ["25 input.format must be \"avro\" with a [source]: its producer writes Avro"]
    );
}

#[test]
fn several_mistakes_are_all_reported_in_the_order_of_lines() {
    let folder = folder();
    let text = GOOD
        .replace("rate = 1000", "rate = \"fast\"")
        .replace("\"orders-enriched\"", "\"orders\"")
        .replace("mode = \"append\"", "mode = \"upsert\"")
        .replace("schema = \"order.avsc\"", "schema = \"gone.avsc\"")
        .replace("[workers]", "[worker]");
    let mistakes = parse(&text, folder.path()).unwrap_err();
    let keys: Vec<(Option<usize>, &str)> =
        mistakes.list.iter().map(|m| (m.line, m.key.as_str())).collect();
    let expected = [
        (Some(16), "source.rate"),
        (Some(23), "input.schema"),
        (Some(48), "output.topic"),
        (Some(56), "sink[0].key"),
        (Some(72), "worker"),
    ];
    assert_eq!(keys, expected);
    let shown = mistakes.to_string();
    assert!(shown.contains("orders.toml: 5 mistakes"), "{shown}");
    assert!(
        shown.contains("  line 16  source.rate   is a text; it must be a whole number\n"),
        "{shown}"
    );
}

#[test]
fn secrets_appear_in_no_message_and_no_debug_output() {
    let folder = folder();
    fs::write(folder.path().join("password"), "hunter2\n").unwrap();
    let env = |name: &str| (name == "PASSWORD").then(|| "hunter2".to_owned());
    let run = |text: &str| match Pipeline::parse(text, &folder.path().join("orders.toml"), &env) {
        Ok(pipeline) => format!("{pipeline:?}"),
        Err(mistakes) => format!("{mistakes} {mistakes:?}"),
    };
    for (find, replace) in [
        (
            "postgres://weir:hunter2@localhost:5432/weir",
            "postgres://weir:hunter2@localhost:5432/weir",
        ),
        ("postgres://weir:hunter2@localhost:5432/weir", "mysql://weir:hunter2@localhost:5432/weir"),
        (
            "postgres://weir:hunter2@localhost:5432/weir",
            "postgres://weir:${PASSWORD}@localhost:port/weir",
        ),
        (
            "postgres://weir:hunter2@localhost:5432/weir\"",
            "postgres://weir:hunter2@localhost:5432/weir",
        ),
        ("url = \"postgres", "ulr = \"postgres"),
        ("url = \"http://localhost:8081\"", "url = \"htp://u:hunter2@localhost:8081\""),
        ("topic = \"orders\"\n", "topic = \"orders ${PASSWORD}\"\n"),
        ("topic = \"orders\"\n", "topic = \"${file:password} !\"\n"),
        ("session_timeout = \"10s\"", "session_timeout = \"${PASSWORD}\""),
        ("replication = 1", "properties.\"sasl.password\" = \"hunter2\""),
        (
            "replication = 1",
            "properties.sasl.password = \"${PASSWORD}\"\nproperties.sasl.mechanism = [\"hunter2\"]",
        ),
        ("mode = \"append\"", "mode = \"${PASSWORD}\""),
        ("schema = \"order.avsc\"", "schema = \"${PASSWORD}.avsc\""),
        ("note = \"varchar(50)\"", "note = \"${PASSWORD}(\""),
    ] {
        let text = broken(find, replace);
        let shown = run(&text);
        assert!(!shown.contains("hunter2"), "{replace}\n{shown}");
    }
}

#[test]
fn an_unreadable_file_is_one_mistake() {
    let mistakes = Pipeline::load(&PathBuf::from("/nowhere/orders.toml")).unwrap_err();
    assert_eq!(
        mistakes.to_string(),
        "/nowhere/orders.toml: 1 mistake\n\n      cannot read it: no such file\n"
    );
}

#[test]
fn mistakes_found_by_others_get_their_lines_and_underline_the_word() {
    let folder = folder();
    let pipeline = parse(GOOD, folder.path()).unwrap();
    assert_eq!(pipeline.locate("reject[1].when"), Some(38));
    assert_eq!(pipeline.locate("reject.no_product.when"), Some(38));
    assert_eq!(pipeline.locate("sink.warehouse.table"), Some(60));
    assert_eq!(pipeline.locate("sink.warehouse.key"), Some(56));
    assert_eq!(pipeline.locate("transform.sql"), Some(41));
    assert_eq!(pipeline.locate("nothing"), None);
    let list = vec![
        Mistake::new("transform.sql", "no column `price` in products.csv"),
        Mistake::new("reject[0].when", "no column `amount` in order.avsc").hint("look"),
    ];
    let shown = pipeline.mistakes(list).to_string();
    let expected = "\
  line 34  reject[0].when  no column `amount` in order.avsc
           │ when = \"amount < 0\"
           │         ^^^^^^
           hint: look
  line 42  transform.sql   no column `price` in products.csv
           │ SELECT i.*, p.price
           │               ^^^^^
";
    assert!(shown.ends_with(expected), "{shown}");
}

#[test]
fn the_reference_names_every_key_once_per_section() {
    let reference = weir_model::pipeline::reference();
    for row in [
        "| `topic` | text | required |",
        "| `linger` | duration, 0ms … 1m | `\"10ms\"` |",
        "| `bytes` | size, 1KiB … 1GiB | `\"16MiB\"` |",
    ] {
        assert!(reference.contains(row), "{row}\n{reference}");
    }
    assert_eq!(reference.matches("**`[source]`**").count(), Source::KINDS.len());
}
