//! What a record contains is in its dead letter and nowhere else: not in a log, not on an admin page.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use weir_testkit::service::{Program, Service};
use weir_testkit::{Database, Stack, Topics, random_name, wait_until};

/// Part of every value that a service refuses.
const SECRET: &str = "4111222233334444";

const INPUT: &str = r#"{"type": "record", "name": "In", "fields": [
  {"name": "id", "type": "int"}, {"name": "number", "type": "int"},
  {"name": "text", "type": "string"}]}"#;
const OUTPUT: &str = r#"{"type": "record", "name": "Out", "fields": [
  {"name": "id", "type": "int"}, {"name": "text", "type": "string"},
  {"name": "number", "type": ["null", "int"]},
  {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["GOOD"]}}]}"#;
const SQL: &str = "SELECT id, text, CASE WHEN text LIKE 'cast%' THEN CAST(text AS INT) END AS number, \
                   CASE WHEN text LIKE 'kind%' THEN text ELSE 'GOOD' END AS kind FROM input";
const TABLE: &str = "CREATE TABLE t (id int, text text CHECK (text NOT LIKE 'check%'), number int, \
    kind text);
    CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.text LIKE 'raise%' THEN \
    RAISE EXCEPTION 'not %', NEW.text; END IF; RETURN NEW; END$$;
    CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no();";

#[test]
fn refused_values_are_in_dead_letters_only() {
    let (stack, name) = (Stack::shared(), random_name("contents"));
    let url = stack.create_database("contents").unwrap();
    let database = Database::connect(&url).unwrap();
    database.execute(TABLE).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
    write("in.avsc", INPUT);
    write("out.avsc", OUTPUT);
    write(
        "a.csv",
        &format!(
            "id,number,text\n1,1,good\n2,{SECRET}x,source\n3,1,cast{SECRET}\n4,1,kind{SECRET}\n\
             5,1,check{SECRET}\n6,1,raise{SECRET}\n7,7,{SECRET},9\n8,1,good\n"
        ),
    );
    write(
        "p.toml",
        &format!(
            "name = \"{name}\"\n[source]\ntype = \"file\"\npath = \"a.csv\"\n\
             [input]\ntopic = \"{name}\"\nschema = \"in.avsc\"\npartitions = 1\n\
             [transform]\nsql = \"{SQL}\"\n\
             [output]\ntopic = \"{name}-out\"\nschema = \"out.avsc\"\n\
             [[sink]]\nname = \"w\"\ntype = \"postgres\"\nurl = \"{url}\"\ntable = \"public.t\"\n"
        ),
    );
    let file = folder.path().join("p.toml");
    let env: BTreeMap<_, _> = stack.env().into_iter().collect();
    let services: Vec<Service> = ["weir-producer", "weir-enricher", "weir-sink"]
        .map(|program| {
            let program = Program::new(program, &[file.to_str().unwrap()], &env, folder.path());
            let mut service = program.env("WEIR_LOG", "debug").start().unwrap();
            service.wait_ready().unwrap();
            service
        })
        .into();
    wait_until("the rows and the dead letters", Duration::from_secs(60), || {
        let rows = database.number("SELECT count(*) FROM t").ok()?;
        let dead = database.number("SELECT count(*) FROM weir.dead_letters").ok()?;
        (rows == 2 && dead == 2).then_some(())
    });

    let topic = Topics::new(stack.kafka()).read(&format!("{name}.dead-letters")).unwrap();
    assert_eq!(topic.len(), 4);
    for record in &topic {
        let value = String::from_utf8_lossy(record.value.as_deref().unwrap());
        assert!(value.contains(SECRET), "{value}");
    }
    let details: Vec<_> = topic.iter().filter_map(|r| r.header_text("weir-detail")).collect();
    assert!(details.iter().any(|detail| detail.contains(SECRET)), "{details:?}");
    for service in services {
        let mut said = vec![("log".to_string(), service.log())];
        for page in ["/status", "/metrics", "/ready", "/live"] {
            said.push((page.into(), service.get(page).unwrap().body));
        }
        for (what, text) in said {
            let line = text.lines().find(|line| line.contains(SECRET));
            assert_eq!(line, None, "{what} of {}", service.name());
            assert!(!text.is_empty(), "{what} of {}", service.name());
        }
        assert!(service.stop().unwrap().success());
    }
}
