//! Dead letters come back to the input topic, each of them once, and everything still adds up.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use weir_e2e::{Flow, Settings};
use weir_testkit::{Stack, service, wait_until};

const RECORDS: u64 = 2_000;
const SOON: Duration = Duration::from_secs(30);

/// A pipeline through which all records of its source have gone, and how many of them are dead
/// letters.
fn flow(kind: &'static str) -> (Flow, u64) {
    let settings = Settings {
        records: RECORDS,
        invalid_share: 0.02,
        invalid_kinds: vec![kind],
        batch: 500,
        seed: 7,
        ..Settings::default()
    };
    let flow = Flow::new(Stack::shared(), &settings).unwrap();
    run(&flow);
    let dead = dead_letters(&flow);
    assert!(dead > 10 && rows(&flow) + dead == RECORDS, "{dead} dead letters");
    (flow, dead)
}

/// All services in one process, until everything has arrived; the audit has to be clean.
fn run(flow: &Flow) {
    weir(flow, &["run", "--until-done", "--rate", "0"]).unwrap();
}

/// `weir COMMAND FILE OPTIONS`; `dead` takes a second word before the file.
fn weir(flow: &Flow, words: &[&str]) -> Result<String, String> {
    let (command, options) = words.split_at(if words[0] == "dead" { 2 } else { 1 });
    let file = flow.file().to_string_lossy().into_owned();
    flow.weir(&[command, &[file.as_str()], options].concat()).map_err(|error| error.to_string())
}

fn json(flow: &Flow, words: &[&str]) -> Value {
    serde_json::from_str(&weir(flow, &[words, &["--json"]].concat()).unwrap()).unwrap()
}

fn sum(groups: &Value, what: &str) -> u64 {
    groups.as_array().unwrap().iter().map(|group| group[what].as_u64().unwrap()).sum()
}

fn dead_letters(flow: &Flow) -> u64 {
    sum(&json(flow, &["dead", "list"]), "count")
}

fn replayed(flow: &Flow) -> u64 {
    sum(&json(flow, &["dead", "list"]), "replayed")
}

fn rows(flow: &Flow) -> u64 {
    flow.database.number("SELECT count(*) FROM telecom.telecom_data").unwrap().unsigned_abs()
}

fn contains(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in\n{text}"));
}

/// The counts and, independently of them, topics and table.
fn all_is_accounted_for(flow: &Flow, replayed: u64) {
    let audit = json(flow, &["audit", "--deep"]);
    assert_eq!(audit["clean"], true, "{audit}");
    let hops = audit["hops"].as_array().unwrap();
    let replay = hops
        .iter()
        .find(|hop| hop["name"] == "replay")
        .map_or(0, |hop| hop["written"].as_u64().unwrap());
    assert_eq!(replay, replayed);
}

/// Removes the rules from the pipeline file.
fn fix_rules(flow: &Flow) {
    let mut file: toml::Table = std::fs::read_to_string(flow.file()).unwrap().parse().unwrap();
    file.remove("reject").unwrap();
    std::fs::write(flow.file(), file.to_string()).unwrap();
}

/// Another type for a field of the output schema, in the pipeline file; gives the file's text before.
fn retype_output(flow: &Flow, field: &str, avro_type: Value) -> String {
    let before = std::fs::read_to_string(flow.file()).unwrap();
    let mut file: toml::Table = before.parse().unwrap();
    let output = file["output"].as_table_mut().unwrap();
    let text = std::fs::read_to_string(output["schema"].as_str().unwrap()).unwrap();
    let mut schema: Value = serde_json::from_str(&text).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.iter_mut().find(|found| found["name"] == field).unwrap()["type"] = avro_type;
    let path = flow.file().with_file_name("retyped.avsc");
    std::fs::write(&path, schema.to_string()).unwrap();
    output.insert("schema".into(), path.to_str().unwrap().into());
    std::fs::write(flow.file(), file.to_string()).unwrap();
    before
}

/// A slow replay that has started to write: more than `before` dead letters are marked.
fn begin_slowly(flow: &Flow, before: u64) -> Child {
    let words = ["dead", "replay", &flow.file().to_string_lossy(), "--rate", "2"];
    let mut command = Command::new(service::binary("weir").unwrap());
    let child = command
        .args(words)
        .envs(&flow.env)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the slow one to begin", SOON, || (replayed(flow) > before).then_some(()));
    child
}

#[test]
fn rejected_records_come_back_once_after_the_rules_are_fixed_even_if_two_replays_run() {
    let (flow, dead) = flow("negative_duration");
    let before = flow.topics.count(&flow.pipeline.input.topic).unwrap();
    contains(
        &weir(&flow, &["dead", "replay", "--dry-run"]).unwrap(),
        &[&format!(" {dead}    of these would be dead-lettered again: negative_duration")],
    );
    fix_rules(&flow);
    let outlook = json(&flow, &["dead", "replay", "--dry-run", "--reason", "negative_duration"]);
    assert_eq!(
        (outlook["replayed"].as_u64(), outlook["forecast"]["pass"].as_u64()),
        (Some(dead), Some(dead))
    );
    assert_eq!(
        (flow.topics.count(&flow.pipeline.input.topic).unwrap(), replayed(&flow)),
        (before, 0),
        "a dry run changes nothing"
    );

    // No name is a symbol of this type, which only the encoder knows.
    let symbols = serde_json::json!({"type": "enum", "name": "Nobody", "symbols": ["NOBODY"]});
    let good = retype_output(&flow, "receiver_name", symbols);
    let outlook = json(&flow, &["dead", "replay", "--dry-run"]);
    let forecast = &outlook["forecast"];
    assert_eq!(
        (forecast["pass"].as_u64(), forecast["dead"]["value_does_not_fit"].as_u64()),
        (Some(0), Some(dead))
    );
    std::fs::write(flow.file(), good).unwrap();

    contains(
        &weir(&flow, &["dead", "replay", "--limit", "3"]).unwrap(),
        &[&format!("\n {}  more than --limit", dead - 3)],
    );
    // A slow replay is fenced by another one.
    let slow = begin_slowly(&flow, 3);
    weir(&flow, &["dead", "replay", "--rate", "0"]).unwrap();
    let slow = slow.wait_with_output().unwrap();
    assert_eq!(slow.status.code(), Some(1));
    contains(
        &String::from_utf8_lossy(&slow.stderr),
        &["is fenced: another one of this name has begun since"],
    );

    run(&flow);
    assert_eq!((rows(&flow), replayed(&flow)), (RECORDS, dead));
    contains(
        &weir(&flow, &["dead", "replay"]).unwrap(),
        &["\n  0  came back to", &format!("\n {dead}  had come back before")],
    );
    assert_eq!(flow.topics.count(&flow.pipeline.input.topic).unwrap(), before + dead);
    all_is_accounted_for(&flow, dead);
}

#[test]
fn a_record_that_is_dead_lettered_again_comes_back_only_on_request() {
    let (flow, dead) = flow("negative_amount");
    let mut killed = begin_slowly(&flow, 0);
    killed.kill().unwrap();
    killed.wait().unwrap();
    weir(&flow, &["dead", "replay", "--rate", "0"]).unwrap();
    run(&flow);
    assert_eq!(
        (dead_letters(&flow), replayed(&flow)),
        (2 * dead, dead),
        "also those that the killed one brought back died once more"
    );
    let refused = weir(&flow, &["dead", "replay", "--rate", "0"]).unwrap_err();
    contains(
        &refused,
        &[
            "\n  0  came back to",
            &format!("\n {dead}  had come back before"),
            &format!("\n {dead}  stay dead: came back before"),
        ],
    );
    fix_rules(&flow);
    weir(&flow, &["dead", "replay", "--rate", "0", "--max-replays", "2"]).unwrap();
    run(&flow);
    assert_eq!((rows(&flow), dead_letters(&flow)), (RECORDS, 2 * dead));
    all_is_accounted_for(&flow, 2 * dead);

    let latest = json(&flow, &["dead", "list", "--dead-letters", "--limit", "1"])[0].clone();
    let coordinates = latest["dead_letter"].as_str().unwrap();
    let shown = weir(&flow, &["dead", "show", coordinates]).unwrap();
    contains(
        &shown,
        &[
            "reason       negative_amount",
            "header       weir-replay = 1",
            "header       weir-replay-of = ",
            "total_amount      \"-",
        ],
    );
    assert!(weir(&flow, &["dead", "show", "nothing[0]@0"]).unwrap_err().contains("weir dead list"));
}

#[test]
fn records_that_a_sink_refused_come_back_from_the_input_topic_if_it_still_contains_them() {
    let (flow, dead) = flow("name_too_long");
    let all =
        json(&flow, &["dead", "list", "--dead-letters", "--limit", "1000", "--sink", "warehouse"]);
    let coordinates = all[0]["dead_letter"].as_str().unwrap();
    let shown = weir(&flow, &["dead", "show", coordinates]).unwrap();
    contains(
        &shown,
        &[
            "stage        sink",
            "reason       value_too_long",
            "column       caller_name",
            "code         22001",
            "rate_per_minute",
        ],
    );

    // The first dead letter's record is removed from the topic, and with it those before it.
    let (topic, rest) = coordinates.split_once('[').unwrap();
    let (partition, offset) = rest.split_once("]@").unwrap();
    let (partition, offset) = (partition.parse().unwrap(), offset.parse::<i64>().unwrap());
    flow.topics.delete_records(topic, partition, offset + 1).unwrap();
    let gone = all.as_array().unwrap().iter().filter(|dead_letter| {
        let (_, rest) = dead_letter["dead_letter"].as_str().unwrap().split_once('[').unwrap();
        let (p, o) = rest.split_once("]@").unwrap();
        p.parse::<i32>().unwrap() == partition && o.parse::<i64>().unwrap() <= offset
    });
    let gone = gone.count() as u64;

    let mistake =
        weir(&flow, &["dead", "replay", "--sql", "SELECT * EXCEPT (caller_nme) FROM input"])
            .unwrap_err();
    contains(&mistake, &["1 mistake", "--sql", "caller_nme"]);
    let shorter = "SELECT * EXCEPT (caller_name), substr(caller_name, 1, 50) AS caller_name FROM \
        input WHERE caller_id <> ''";
    let text = weir(&flow, &["dead", "replay", "--rate", "0", "--sql", shorter]).unwrap_err();
    contains(&text, &[&format!(" {}  came back to", dead - gone), "no longer contains the record"]);
    run(&flow);
    assert_eq!(rows(&flow), RECORDS - gone);
    all_is_accounted_for(&flow, dead - gone);
    assert_eq!(replayed(&flow), dead - gone);
}

/// A pipeline of its own: versions of rows, merged by key. `lineage` is what `[[sink]]` says of it.
struct Versions {
    flow: Flow,
    file: std::path::PathBuf,
}

/// Keys of each kind.
const KEYS: u64 = 20;

impl Versions {
    /// Of each key two versions were read: of the first kind of keys the older one was refused, of
    /// the second kind the newer one.
    fn new(lineage: bool) -> Versions {
        let settings = Settings { records: 1, ..Settings::default() };
        let flow = Flow::new(Stack::shared(), &settings).unwrap();
        let folder = flow.file().parent().unwrap().to_owned();
        let mut csv = String::from("id,name\n");
        for (first, second) in [("older (bad)", "newer"), ("older", "newer (bad)")] {
            let base = if first == "older" { 1_000 } else { 0 };
            (0..KEYS).for_each(|id| csv += &format!("{},{first}\n", base + id));
            (0..KEYS).for_each(|id| csv += &format!("{},{second}\n", base + id));
        }
        std::fs::write(folder.join("versions.csv"), csv).unwrap();
        let schema = r#"{"type": "record", "name": "Version", "fields": [
            {"name": "id", "type": "int"}, {"name": "name", "type": "string"}]}"#;
        std::fs::write(folder.join("version.avsc"), schema).unwrap();
        let name = weir_testkit::random_name("versions");
        let text = format!(
            "name = \"{name}\"\n[source]\ntype = \"file\"\npath = \"versions.csv\"\n\
             [input]\ntopic = \"{name}\"\nschema = \"version.avsc\"\nkey = \"id\"\n\
             [[reject]]\nname = \"bad\"\nwhen = \"name LIKE '%(bad)'\"\n\
             [transform]\nsql = \"SELECT * FROM input\"\n\
             [output]\ntopic = \"{name}-out\"\nschema = \"version.avsc\"\n\
             [[sink]]\nname = \"warehouse\"\ntype = \"postgres\"\ntable = \"versions\"\n\
             mode = \"upsert\"\nkey = [\"id\"]\nlineage = {lineage}\n"
        );
        let file = folder.join("versions.toml");
        std::fs::write(&file, text).unwrap();
        let versions = Versions { flow, file };
        versions.weir(&["run"], &["--until-done"]).unwrap();
        versions.shows(["newer", "older"]);
        versions
    }

    fn weir(&self, command: &[&str], options: &[&str]) -> Result<String, String> {
        let file = self.file.to_string_lossy().into_owned();
        let words = [command, &[file.as_str()], options].concat();
        self.flow.weir(&words).map_err(|error| error.to_string())
    }

    fn audit(&self) -> String {
        self.weir(&["audit"], &["--deep", "--content"]).unwrap()
    }

    /// What the rows of all keys of each kind say.
    fn shows(&self, names: [&str; 2]) {
        let sql = "SELECT id / 1000, name, count(*) FROM versions GROUP BY 1, 2 ORDER BY 1, 2";
        let found = self.flow.fresh_database().unwrap().texts(sql).unwrap();
        let keys = KEYS.to_string();
        let row = |kind: &str, name: &str| [kind, name, &keys].map(|s| Some(s.to_owned())).to_vec();
        assert_eq!(found, [row("0", names[0]), row("1", names[1])]);
    }

    fn replayed(&self) -> u64 {
        let list = self.weir(&["dead", "list"], &["--json"]).unwrap();
        sum(&serde_json::from_str(&list).unwrap(), "replayed")
    }

    /// The rule refuses nothing any more.
    fn fix(&self) {
        let text = std::fs::read_to_string(&self.file).unwrap();
        std::fs::write(&self.file, text.replace("%(bad)", "nothing")).unwrap();
    }
}

#[test]
fn an_older_version_that_comes_back_does_not_replace_the_newer_row_and_the_audit_counts_it() {
    let versions = Versions::new(true);
    // A replay that dies again keeps the age of the first time.
    versions.weir(&["dead", "replay"], &["--limit", "5", "--rate", "0"]).unwrap();
    versions.weir(&["run"], &["--until-done"]).unwrap();
    versions.fix();
    let mut command = Command::new(service::binary("weir").unwrap());
    let mut killed = command
        .args(["dead", "replay", &versions.file.to_string_lossy(), "--rate", "2"])
        .envs(&versions.flow.env)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("it to begin", SOON, || (versions.replayed() > 5).then_some(()));
    killed.kill().unwrap();
    killed.wait().unwrap();
    let text = versions.weir(&["dead", "replay"], &["--rate", "0", "--max-replays", "2"]).unwrap();
    contains(&text, &["older than the row of its key changes nothing"]);
    versions.weir(&["run"], &["--until-done"]).unwrap();
    versions.shows(["newer", "newer (bad)"]);
    let audit = versions.audit();
    contains(
        &audit,
        &["everything is accounted for", &format!("their key, which stayed: {KEYS}\n")],
    );
    assert_eq!(versions.replayed(), 2 * KEYS + 5);
}

#[test]
fn records_come_back_to_a_table_that_does_not_know_their_order_only_on_request() {
    let versions = Versions::new(false);
    versions.fix();
    let refused = versions.weir(&["dead", "replay"], &[]).unwrap_err();
    contains(&refused, &["sink warehouse (public.versions)", "lineage = true", "--overwrite"]);
    assert_eq!(versions.replayed(), 0, "nothing was changed");
    // The rows that are there have no lineage, whatever the file says now.
    let text = std::fs::read_to_string(&versions.file).unwrap();
    std::fs::write(&versions.file, text.replace("lineage = false", "lineage = true")).unwrap();
    for _ in 0..2 {
        let refused = versions.weir(&["dead", "replay"], &[]).unwrap_err();
        contains(&refused, &["sink warehouse", "40 rows have no lineage", "--overwrite"]);
        // Which adds the columns.
        versions.weir(&["run"], &["--until-done"]).unwrap();
    }
    std::fs::write(&versions.file, text).unwrap();
    versions.weir(&["dead", "replay"], &["--rate", "0", "--overwrite"]).unwrap();
    versions.weir(&["run"], &["--until-done"]).unwrap();
    versions.shows(["older (bad)", "newer (bad)"]);
}
