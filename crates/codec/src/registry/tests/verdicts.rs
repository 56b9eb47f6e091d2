//! The table of the module `verdict`, row by row, at every moment at which an answer can come.

use super::*;
use Class::{Configuration, Environment};
use Outcome::{Own, Whole};

/// Many requests at once, on a busy machine.
const PATIENT: Duration = Duration::from_secs(10);

/// What a look-up makes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The records that name the schema become dead letters with this reason.
    Own(&'static str),
    /// The look-up fails as a whole.
    Whole(Class),
}

struct Row {
    reply: Reply,
    /// When only one schema is answered so.
    one: Outcome,
    /// When everything is answered so.
    all: Outcome,
}

fn coded(status: u16, code: i64) -> Reply {
    answer(status, &json!({"error_code": code, "message": "why"}).to_string())
}

fn row(reply: Reply, one: Outcome, all: Outcome) -> Row {
    Row { reply, one, all }
}

fn rows() -> Vec<Row> {
    let (waits, ends) = (Whole(Environment), Whole(Configuration));
    let (missing, refused) = (Own("unknown_schema"), Own("schema_refused"));
    let huge = |start: &str| answer(200, &format!("{start}{}", "x".repeat(5 << 20)));
    vec![
        row(coded(404, 40403), missing, missing),
        row(coded(404, 40401), missing, missing),
        row(coded(404, 404), missing, waits),
        row(coded(404, 0), missing, waits),
        row(coded(404, 40501), missing, waits),
        row(answer(404, "<html>no page</html>"), waits, waits),
        row(answer(404, ""), waits, waits),
        row(answer(404, "{}"), waits, waits),
        row(answer(401, ""), ends, ends),
        row(coded(401, 40101), ends, ends),
        row(coded(403, 40301), refused, ends),
        row(answer(403, ""), refused, ends),
        row(coded(422, 42201), refused, ends),
        row(answer(422, ""), refused, ends),
        row(answer(400, "bad"), refused, ends),
        row(answer(405, ""), refused, ends),
        row(answer(410, ""), refused, ends),
        row(answer(451, ""), refused, ends),
        row(answer(408, ""), waits, waits),
        row(answer(425, ""), waits, waits),
        row(answer(429, ""), waits, waits),
        row(coded(429, 42901), waits, waits),
        row(answer(302, ""), waits, waits),
        row(coded(500, 50001), waits, waits),
        row(answer(502, "<html>"), waits, waits),
        row(answer(503, ""), waits, waits),
        row(answer(599, ""), waits, waits),
        row(answer(200, "<html>log in</html>"), waits, waits),
        row(answer(200, ""), waits, waits),
        row(answer(200, "{"), waits, waits),
        row(answer(200, "[]"), waits, waits),
        row(answer(200, r#"{"schema":5}"#), Own("bad_schema"), waits),
        row(answer(200, "{}"), Own("bad_schema"), waits),
        row(answer(200, r#"{"schema":"\ud800"}"#), Own("bad_schema"), waits),
        row(
            answer(200, r#"{"schemaType":"JSON","schema":"{}"}"#),
            Own("not_avro"),
            Own("not_avro"),
        ),
        row(
            answer(200, r#"{"schemaType":"PROTOBUF","schema":"syntax"}"#),
            Own("not_avro"),
            Own("not_avro"),
        ),
        row(huge(r#"{"id":1,"schema":""#), Own("schema_too_large"), Own("schema_too_large")),
        row(huge("<html>"), waits, waits),
        row(huge(r#"{"other":""#), waits, waits),
        row(answer(200, &" ".repeat(5 << 20)), waits, waits),
        row(Reply::CutOff(json!({"schema": SCHEMA}).to_string()), waits, waits),
        row(Reply::Silence, waits, waits),
    ]
}

/// The id that is answered as row 0 says; the next ones follow. All other ids have a good schema.
const FIRST_ID: u32 = 1000;

fn row_of(id: u32) -> Option<usize> {
    (id as usize).checked_sub(FIRST_ID as usize).filter(|row| *row < rows().len())
}

/// The outcome for `id` when it is looked up together with `others`.
async fn outcome(registry: &Registry, id: u32, others: &[u32]) -> Outcome {
    let ids = [&[id], others].concat().into_iter().map(SchemaId::Number).collect::<Vec<_>>();
    let id = SchemaId::Number(id);
    match registry.look_up(&ids, LONG).await {
        Ok(mut errors) => {
            assert!(errors.keys().all(|own| *own == id), "a neighbour was taken along: {errors:?}");
            let error = match errors.remove(&id) {
                Some(error) => error,
                // One of another type is there, and no schema for this decoder.
                None => registry.text(id).await.unwrap().avro("").expect_err("a fault of its own"),
            };
            Own(error.reason().expect("a reason"))
        }
        Err(error) => Whole(error.class()),
    }
}

/// Looks up the schema of each row and compares what it `expects`. `reply` makes the answer of the
/// registry from the row's own, the path and how often this path was asked for before.
async fn check(
    expects: impl Fn(&Row) -> Outcome,
    num_others: u32,
    reply: impl Fn(Reply, &str, usize) -> Reply + Send + Sync + 'static,
) {
    let asked: Mutex<HashMap<String, usize>> = Mutex::default();
    let replies: Vec<Reply> = rows().into_iter().map(|row| row.reply).collect();
    let scripted = Scripted::new(move |line, _| {
        // A client that needs no more answers closes its connections.
        let path = line.split(' ').nth(1).unwrap_or_default();
        let number = path.split(['/', 'e']).find_map(|part| part.parse::<u32>().ok());
        let Some(row) = number.and_then(row_of) else { return stored(SCHEMA) };
        let num_before = {
            let mut asked = asked.lock().unwrap();
            let count = asked.entry(path.into()).or_default();
            *count += 1;
            *count - 1
        };
        reply(replies[row].clone(), path, num_before)
    });
    let timeouts = Timeouts { connect: PATIENT, request: PATIENT };
    let registry = Registry::with_timeouts(&settings(&[&scripted.url()]), timeouts).unwrap();
    // Side by side: some take the second after which an id counts as missing.
    let look_ups = (FIRST_ID..).zip(rows()).map(|(id, row)| {
        let others: Vec<u32> = (0..num_others).map(|n| id * 1000 + n).collect();
        let (registry, expected) = (registry.clone(), expects(&row));
        let shown: String = format!("{:?}", row.reply).chars().take(80).collect();
        tokio::spawn(async move {
            assert_eq!(outcome(&registry, id, &others).await, expected, "{shown}");
        })
    });
    for look_up in look_ups.collect::<Vec<_>>() {
        look_up.await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_for_the_first_schema_has_its_verdict() {
    check(|row| row.one, 0, |reply, _, _| reply).await;
}

#[tokio::test]
async fn an_answer_for_one_of_many_schemas_has_its_verdict_and_takes_no_neighbour_along() {
    check(|row| row.one, 5, |reply, _, _| reply).await;
}

#[tokio::test]
async fn an_answer_at_the_second_question_has_its_verdict() {
    let then = |reply, _: &str, num_before| if num_before == 0 { missing() } else { reply };
    check(|row| row.one, 0, then).await;
}

#[tokio::test]
async fn an_answer_for_a_referenced_schema_has_its_verdict() {
    // The type of a referenced schema is that of the schema itself: not Avro, it cannot be parsed.
    let expects = |row: &Row| if row.one == Own("not_avro") { Own("bad_schema") } else { row.one };
    let reply = |reply, path: &str, _| match path.rsplit_once("/ids/") {
        Some((_, id)) => {
            let reference = json!([{"name": "E", "subject": format!("e{id}"), "version": 1}]);
            answer(200, &json!({"schema": SCHEMA, "references": reference}).to_string())
        }
        None => reply,
    };
    check(expects, 0, reply).await;
}

#[tokio::test]
async fn an_answer_to_everything_has_its_verdict() {
    for row in rows() {
        let scripted = Scripted::always(row.reply.clone());
        let shown: String = format!("{:?}", row.reply).chars().take(80).collect();
        assert_eq!(outcome(&scripted.registry(), 7, &[]).await, row.all, "{shown}");
    }
}

#[tokio::test]
async fn an_answer_at_the_start_ends_the_service_or_is_waited_for_as_for_records() {
    for row in rows() {
        let registry = Scripted::always(row.reply.clone()).registry();
        let shown: String = format!("{:?}", row.reply).chars().take(80).collect();
        for error in [
            registry.latest("s").await.err(),
            registry.register("s", &schema()).await.err(),
            registry.compatible("s", &schema()).await.err(),
        ]
        .into_iter()
        .flatten()
        {
            match row.all {
                Whole(class) => assert_eq!(error.class(), class, "{shown}: {error}"),
                // What concerns one schema only: it is the one that the service needs.
                Own(_) => assert!(
                    error.class() == Configuration || error.to_string().contains("unavailable"),
                    "{shown}: {error}"
                ),
            }
        }
    }
}

#[tokio::test]
async fn an_id_beyond_32_bits_with_a_sign_is_missing_without_a_request() {
    let scripted = Scripted::always(answer(503, ""));
    let registry = scripted.registry();
    let ids = [1 << 31, (1 << 31) + 1, u32::MAX - 1, u32::MAX].map(SchemaId::Number);
    let errors = registry.look_up(&ids, LONG).await.unwrap();
    assert!(ids.iter().all(|id| errors[id] == not_found(*id)), "{errors:?}");
    assert_eq!(scripted.num_requests(), 0);
    registry.look_up(&[SchemaId::Number(i32::MAX as u32)], LONG).await.unwrap_err();
    assert!(scripted.num_requests() > 0, "the largest id that can exist is asked for");
}

#[tokio::test]
async fn an_error_is_short_however_long_a_stored_schema_is() {
    let long = "x".repeat(100_000);
    let of = |schema: String| Scripted::always(answer(200, &json!({"schema": schema}).to_string()));
    let unnamed = format!(r#"{{"type":"record","name":"R","fields":[{{"{long}":1}}]}}"#);
    let number =
        format!(r#"{{"type":"record","name":"R","fields":[{{"name":1,"doc":"{long}"}}]}}"#);
    let other = json!({"schema": "{}", "schemaType": long}).to_string();
    for scripted in [
        of(long.clone()),
        of(format!(r#""{long}""#)),
        of(format!(r#"{{"type":"{long}"}}"#)),
        of(format!(r#"{{"type":"record","name":"{long} ","fields":[]}}"#)),
        of(unnamed),
        of(number),
        Scripted::always(answer(200, &other)),
    ] {
        let registry = scripted.registry();
        let errors = [registry.schema(7).await.err(), registry.latest("s").await.err()];
        assert!(errors.iter().flatten().count() > 0, "the schema is no Avro");
        for error in errors.into_iter().flatten() {
            assert!(
                error.to_string().len() < 8192,
                "an error of {} bytes",
                error.to_string().len()
            );
        }
    }
}
