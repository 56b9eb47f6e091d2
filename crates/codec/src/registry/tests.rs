use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use weir_model::fault::Class;
use weir_model::secret::Secret;

const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;

/// A registry that answers with what `answer` makes of the request line and the number of the
/// request, counted from 0.
struct Stub {
    address: String,
    asked: Arc<AtomicUsize>,
}

impl Stub {
    fn new(answer: impl Fn(&str, usize) -> (u16, String) + Send + 'static) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(&stream);
                let (mut request, mut length) = (String::new(), 0);
                reader.read_line(&mut request).unwrap();
                for line in reader
                    .by_ref()
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                {
                    if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                std::io::copy(&mut reader.take(length), &mut std::io::sink()).unwrap();
                let (status, body) = answer(request.trim(), count.fetch_add(1, Ordering::SeqCst));
                let head = format!(
                    "HTTP/1.1 {status} X\r\nLocation: http://elsewhere/\r\nContent-Length: {}\r\nConnection: close",
                    body.len()
                );
                drop((&stream).write_all(format!("{head}\r\n\r\n{body}").as_bytes()));
            }
        });
        Stub { address, asked }
    }

    fn registry(&self) -> Registry {
        registry(&format!("http://user:pa%24sword@{}/base/", self.address)).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn registry(url: &str) -> Result<Registry, Error> {
    Registry::new(&weir_model::pipeline::Registry { url: Secret::new(url) })
}

fn stored(schema: &str) -> (u16, String) {
    (200, json!({"schema": schema}).to_string())
}

fn missing() -> (u16, String) {
    (404, json!({"error_code": 40403, "message": "Schema not found"}).to_string())
}

#[tokio::test]
async fn a_schema_is_asked_for_once() {
    let stub = Stub::new(|request, _| {
        assert_eq!(request, "GET /base/schemas/ids/7 HTTP/1.1");
        stored(SCHEMA)
    });
    let registry = stub.registry();
    let clones: Vec<_> = (0..8)
        .map(|_| registry.clone())
        .map(|r| tokio::spawn(async move { r.schema(7).await.unwrap().text().to_string() }))
        .collect();
    for clone in clones {
        assert_eq!(clone.await.unwrap(), SCHEMA);
    }
    assert_eq!(stub.asked(), 1);
}

#[tokio::test]
async fn each_failure_has_its_class_and_none_is_remembered() {
    let cases = [
        (500, "oops", Class::Environment, "HTTP 500"),
        (
            503,
            r#"{"error_code":50003,"message":"forwarding failed"}"#,
            Class::Environment,
            "forwarding failed",
        ),
        (429, "", Class::Environment, "HTTP 429"),
        (302, "", Class::Environment, "redirects"),
        (
            404,
            "<html>no such page</html>",
            Class::Environment,
            "is the path in registry.url right?",
        ),
        (
            404,
            r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#,
            Class::Environment,
            "is the path in registry.url right?",
        ),
        (200, "<html>log in</html>", Class::Environment, "something else than schema 1"),
        (200, "{", Class::Environment, "something else than schema 1"),
        (401, "", Class::Configuration, "refuses access (HTTP 401)"),
        (403, "", Class::Configuration, "refuses access (HTTP 403)"),
    ];
    for (status, body, class, words) in cases {
        let stub = Stub::new(
            move |_, count| if count == 0 { (status, body.into()) } else { stored(SCHEMA) },
        );
        let registry = stub.registry();
        let error = registry.documents(&[1]).await.unwrap_err();
        assert_eq!(error.class(), class, "{status} {body}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(
            registry.documents(&[1]).await.unwrap()[0].is_ok(),
            "{status} {body}: the error was remembered"
        );
    }
}

#[tokio::test]
async fn a_schema_registered_a_moment_ago_is_found_by_asking_again() {
    let stub = Stub::new(|_, count| if count < 2 { missing() } else { stored(SCHEMA) });
    assert!(stub.registry().documents(&[1]).await.unwrap()[0].is_ok());
    assert_eq!(stub.asked(), 3);
}

#[tokio::test]
async fn a_missing_id_is_asked_for_a_few_times_and_then_believed_for_a_while() {
    let stub = Stub::new(|_, _| missing());
    let registry = stub.registry();
    for _ in 0..3 {
        assert!(matches!(
            registry.documents(&[1, 2]).await.unwrap()[..],
            [Err(Error::NotFound { .. }), Err(Error::NotFound { .. })]
        ));
    }
    assert_eq!(stub.asked(), 2 * (1 + ASK_AGAIN.len()));
}

#[tokio::test]
async fn an_id_that_was_missing_before_is_asked_for_once_and_not_waited_for() {
    let stub = Stub::new(|_, _| missing());
    let registry = stub.registry();
    registry.cache().missing.insert(1, Instant::now());
    assert!(matches!(registry.documents(&[1]).await.unwrap()[..], [Err(Error::NotFound { .. })]));
    assert_eq!(stub.asked(), 1);
    assert!(registry.is_missing(1), "and believed for a while again");
}

#[tokio::test]
async fn schemas_of_other_kinds_are_invalid() {
    let stub = Stub::new(|_, _| (200, json!({"schema": "{}", "schemaType": "JSON"}).to_string()));
    let error = stub.registry().documents(&[1]).await.unwrap().remove(0).unwrap_err();
    assert_eq!(error.to_string(), "schema 1: its type is JSON, not AVRO");
}

#[tokio::test]
async fn referenced_schemas_are_written_into_the_schema() {
    let stub = Stub::new(|request, _| match request.split(' ').nth(1).unwrap() {
        "/base/schemas/ids/1" => {
            let schema = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"E"}]}"#;
            (200, json!({"schema": schema, "references": [{"name": "E", "subject": "e s", "version": 3}]}).to_string())
        }
        "/base/subjects/e%20s/versions/3" => {
            stored(r#"{"type":"enum","name":"E","symbols":["A"]}"#)
        }
        other => panic!("{other}"),
    });
    let schema = stub.registry().schema(1).await.unwrap();
    assert_eq!(schema.arrow().field(0).data_type(), &arrow::datatypes::DataType::Utf8);
}

#[tokio::test]
async fn endless_and_circular_references_end() {
    let stub = Stub::new(|_, count| {
        let reference = json!([{"name": "E", "subject": format!("s{count}"), "version": 1}]);
        (200, json!({"schema": SCHEMA, "references": reference}).to_string())
    });
    let error = stub.registry().schema(1).await.unwrap_err();
    assert!(error.to_string().contains("more than 64"), "{error}");
    let circle = Stub::new(|_, _| {
        (
            200,
            json!({"schema": SCHEMA, "references": [{"name": "E", "subject": "s", "version": 1}]})
                .to_string(),
        )
    });
    drop(circle.registry().schema(1).await);
    assert_eq!(circle.asked(), 2);
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let stub = Stub::new(|_, _| (200, " ".repeat(5 << 20)));
    let error = stub.registry().schema(1).await.unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[tokio::test]
async fn subjects_without_versions_have_no_latest_and_allow_everything() {
    let stub = Stub::new(|_, _| {
        (404, json!({"error_code": 40401, "message": "Subject not found"}).to_string())
    });
    let (registry, schema) = (stub.registry(), Schema::parse(SCHEMA).unwrap());
    assert!(registry.latest("s").await.unwrap().is_none());
    assert_eq!(registry.compatible("s", &schema).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_schema_is_refused_in_the_registry_s_words() {
    let stub = Stub::new(|_, _| {
        (409, json!({"error_code": 409, "message": "incompatible:\n field b"}).to_string())
    });
    let error =
        stub.registry().register("calls-value", &Schema::parse(SCHEMA).unwrap()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the registry refuses the schema for subject calls-value: incompatible: field b"
    );
}

#[tokio::test]
async fn the_password_is_sent_and_never_shown() {
    let stub = Stub::new(|_, _| (500, String::new()));
    let registry = stub.registry();
    let error = registry.ping().await.unwrap_err();
    let away = self::registry("http://user:pa%24sword@127.0.0.1:9").unwrap();
    let refused = away.ping().await.unwrap_err();
    for text in [
        format!("{registry:?}"),
        format!("{error} {error:?}"),
        format!("{refused} {refused:?}"),
        format!("{away:?}"),
    ] {
        assert!(!text.contains("sword") && !text.contains("user"), "{text}");
        assert!(text.contains("127.0.0.1"), "{text}");
    }
}

#[test]
fn what_is_no_url_is_refused() {
    for (url, words) in [
        ("localhost", "not a URL"),
        ("localhost:8081", "must begin with http://"),
        ("ftp://x", "must begin with http://"),
        ("", "not a URL"),
    ] {
        let error = registry(url).unwrap_err();
        assert_eq!(error.class(), Class::Configuration);
        assert!(
            error.to_string().starts_with("registry.url") && error.to_string().contains(words),
            "{url}: {error}"
        );
    }
}
