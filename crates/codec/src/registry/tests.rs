//! The client against a scripted registry: every kind of failure, for both the calls by id and
//! those through `schema_registry_converter`.

mod look_up;
mod tls;
mod verdicts;

use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use weir_model::fault::Class;
use weir_model::secret::Secret;

const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;

const ONE: SchemaId = SchemaId::Number(1);
const TWO: SchemaId = SchemaId::Number(2);

/// For look-ups that come to an end by themselves.
const LONG: Duration = Duration::from_secs(60);

/// Short, for registries that never answer.
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(3), request: Duration::from_millis(400) };

/// What the scripted registry does with a request.
#[derive(Debug, Clone)]
enum Reply {
    Answer(u16, String),
    /// Half of the body, then the connection is closed.
    CutOff(String),
    /// Nothing, until the client gives up.
    Silence,
}

impl Reply {
    fn send(&self, stream: &TcpStream) {
        match self {
            Reply::Answer(status, body) => send(stream, *status, body.len(), body),
            Reply::CutOff(body) => send(stream, 200, body.len(), &body[..body.len() / 2]),
            // Open until the client gives up.
            Reply::Silence => drop((&*stream).read(&mut [0])),
        }
    }
}

/// A request as the scripted registry received it.
#[derive(Debug, Clone)]
struct Received {
    /// Method, path and protocol.
    line: String,
    /// In lower case.
    headers: Vec<String>,
}

/// A registry that answers with what a function makes of the request and its number, from 0.
struct Scripted {
    address: String,
    num_requests: Arc<AtomicUsize>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Scripted {
    fn new(reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scripted = Scripted {
            address: listener.local_addr().unwrap().to_string(),
            num_requests: Arc::default(),
            received: Arc::default(),
        };
        let (num_requests, received) = (scripted.num_requests.clone(), scripted.received.clone());
        let reply = Arc::new(reply);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (num_requests, received) = (num_requests.clone(), received.clone());
                let reply = reply.clone();
                std::thread::spawn(move || {
                    let request = read_request(&stream);
                    received.lock().unwrap().push(request.clone());
                    let number = num_requests.fetch_add(1, Ordering::SeqCst);
                    reply(&request.line, number).send(&stream);
                });
            }
        });
        scripted
    }

    /// Always the same reply.
    fn always(reply: Reply) -> Scripted {
        Scripted::new(move |_, _| reply.clone())
    }

    fn url(&self) -> String {
        format!("http://user:pa%24sword@{}/base/", self.address)
    }

    fn registry(&self) -> Registry {
        registry(&[&self.url()])
    }

    fn num_requests(&self) -> usize {
        self.num_requests.load(Ordering::SeqCst)
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Received {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let headers: Vec<String> = reader
        .by_ref()
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .map(|line| line.to_lowercase())
        .collect();
    let length = headers.iter().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map_or(0, |length| length.trim().parse().unwrap());
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).unwrap();
    Received { line: line.trim().into(), headers }
}

fn send(mut stream: &TcpStream, status: u16, length: usize, body: &str) {
    let head = format!(
        "HTTP/1.1 {status} X\r\nLocation: http://elsewhere/\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close"
    );
    // A client may stop reading at any time.
    drop(stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()));
}

fn settings(urls: &[&str]) -> Settings {
    Settings { urls: urls.iter().map(|url| Secret::new(*url)).collect(), ..Settings::default() }
}

fn registry(urls: &[&str]) -> Registry {
    Registry::with_timeouts(&settings(urls), TIMEOUTS).unwrap()
}

fn schema() -> Schema {
    Schema::parse(SCHEMA).unwrap()
}

fn answer(status: u16, body: &str) -> Reply {
    Reply::Answer(status, body.into())
}

fn stored(schema: &str) -> Reply {
    Reply::Answer(200, json!({"schema": schema}).to_string())
}

fn latest(id: u32, version: u32) -> Reply {
    let body = json!({"subject": "s", "id": id, "version": version, "schema": SCHEMA});
    Reply::Answer(200, body.to_string())
}

fn missing() -> Reply {
    Reply::Answer(404, json!({"error_code": 40403, "message": "Schema not found"}).to_string())
}

/// A free port on which nothing listens.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// The error of each kind of call: by id, the latest version, registration.
async fn errors(registry: &Registry) -> [Error; 3] {
    [
        registry.look_up(&[ONE], LONG).await.unwrap_err(),
        registry.latest("s").await.unwrap_err(),
        registry.register("s", &schema()).await.unwrap_err(),
    ]
}

#[tokio::test]
async fn every_failure_has_its_class_and_its_text_in_both_clients() {
    use Class::{Configuration, Environment};
    let message = |code: i64, text: &str| json!({"error_code": code, "message": text}).to_string();
    let cases = [
        (answer(500, "oops"), Environment, "HTTP 500"),
        (answer(502, "<html>bad gateway</html>"), Environment, "HTTP 502"),
        (answer(503, &message(50003, "forwarding failed")), Environment, "forwarding failed"),
        (answer(429, ""), Environment, "HTTP 429"),
        (answer(302, ""), Environment, "redirects"),
        (answer(404, "<html>no page</html>"), Environment, "is the path in registry.url right?"),
        (
            answer(404, &message(404, "Not Found")),
            Environment,
            "is the path in registry.url right?",
        ),
        (answer(200, "<html>log in</html>"), Environment, "something other than"),
        (answer(200, "{"), Environment, "something other than"),
        (answer(401, ""), Configuration, "refuses access (HTTP 401)"),
        (answer(403, &message(40301, "no")), Configuration, "refuses access (HTTP 403)"),
        (Reply::CutOff(json!({"schema": SCHEMA, "id": 1}).to_string()), Environment, "body"),
        (Reply::Silence, Environment, "no answer within 0.4 s"),
        (answer(200, &" ".repeat(5 << 20)), Environment, ""),
    ];
    for (reply, class, text) in cases {
        let scripted = Scripted::always(reply.clone());
        for error in errors(&scripted.registry()).await {
            let shown = format!("{error} {error:?}");
            assert_eq!(error.class(), class, "{reply:?}: {shown}");
            assert!(shown.contains(text) && shown.len() < 2000, "{reply:?}: {shown}");
            let is_secret =
                ["user:", "$sword", "24sword", "for url"].iter().any(|text| shown.contains(text));
            assert!(!is_secret && shown.contains(&scripted.address), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_closed_port_is_named_with_its_cause_in_both_clients() {
    let url = closed_port();
    for error in errors(&registry(&[&url])).await {
        assert_eq!(error.class(), Class::Environment);
        let shown = error.to_string();
        assert!(shown.contains("Connection refused") && shown.contains(&url), "{shown}");
    }
}

#[tokio::test]
async fn a_response_without_end_is_cut_off() {
    let scripted = Scripted::always(answer(200, &" ".repeat(5 << 20)));
    let error = scripted.registry().schema(1).await.unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[tokio::test]
async fn no_error_is_cached() {
    for status in [500, 404, 401, 200] {
        let scripted =
            Scripted::new(
                move |_, number| {
                    if number == 0 { answer(status, "oops") } else { stored(SCHEMA) }
                },
            );
        let registry = scripted.registry();
        registry.look_up(&[ONE], LONG).await.unwrap_err();
        assert!(registry.look_up(&[ONE], LONG).await.unwrap().is_empty(), "{status} was cached");
    }
}

#[tokio::test]
async fn an_unavailable_url_is_followed_by_the_next_and_remembered() {
    for unavailable in [answer(500, ""), answer(404, "<html>"), answer(200, "{"), Reply::Silence] {
        let first = Scripted::always(unavailable.clone());
        let second = Scripted::new(|line, _| match line.contains("/ids/") {
            true => stored(SCHEMA),
            false => latest(7, 2),
        });
        let urls = [first.url(), second.url()];
        let by_id = registry(&[&urls[0], &urls[1]]);
        assert_eq!(by_id.schema(7).await.unwrap().text(), SCHEMA, "{unavailable:?}");
        let by_converter = registry(&[&urls[0], &urls[1]]);
        let found = by_converter.latest("s").await.unwrap().unwrap();
        assert_eq!((found.id, found.version), (7, 2), "{unavailable:?}");
        assert_eq!(by_converter.register("s", &schema()).await.unwrap(), 7);
        assert_eq!((first.num_requests(), second.num_requests()), (2, 3), "{unavailable:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_final_and_not_asked_of_the_next_url() {
    let conflict = json!({"error_code": 409, "message": "no"}).to_string();
    let first = Scripted::new(move |line, _| match line.contains("compatibility") {
        true => answer(200, r#"{"is_compatible": false, "messages": ["no"]}"#),
        false => answer(409, &conflict),
    });
    let second = Scripted::always(latest(7, 2));
    let registry = registry(&[&first.url(), &second.url()]);
    let error = registry.register("s", &schema()).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    let denying = Scripted::always(answer(401, ""));
    let registry = self::registry(&[&denying.url(), &second.url()]);
    for error in errors(&registry).await {
        assert!(matches!(error, Error::Denied { .. }), "{error}");
    }
    assert_eq!(second.num_requests(), 0);
}

#[tokio::test]
async fn when_no_url_is_available_the_error_names_all_of_them() {
    let first = Scripted::always(answer(500, "first"));
    let second = closed_port();
    for error in errors(&registry(&[&first.url(), &second])).await {
        assert_eq!(error.class(), Class::Environment);
        let shown = error.to_string();
        for text in [&first.address, "HTTP 500", &second, "Connection refused"] {
            assert!(shown.contains(text), "without {text}: {shown}");
        }
    }
}

#[tokio::test]
async fn credentials_and_headers_are_sent_with_every_request_and_never_shown() {
    let scripted = || {
        Scripted::new(|line, _| match line.contains("/ids/") {
            true => stored(SCHEMA),
            false => latest(7, 2),
        })
    };
    let with_header = |mut settings: Settings| {
        settings.headers.insert("X-Api-Key".into(), Secret::new("key-sword"));
        settings
    };
    let (basic, bearer) = (scripted(), scripted());
    let basic_settings = with_header(settings(&[&basic.url()]));
    let url = format!("http://{}", bearer.address);
    let bearer_settings = Settings {
        bearer_token: Some(Secret::new("token-sword")),
        ..with_header(settings(&[&url]))
    };
    // user:pa$sword in Base64
    let basic_header = "authorization: basic dxnlcjpwysrzd29yza==";
    for (scripted, settings, authorization) in [
        (basic, basic_settings, basic_header),
        (bearer, bearer_settings, "authorization: bearer token-sword"),
    ] {
        let registry = Registry::with_timeouts(&settings, TIMEOUTS).unwrap();
        registry.schema(7).await.unwrap();
        registry.latest("s").await.unwrap();
        registry.register("s", &schema()).await.unwrap();
        let received = scripted.received();
        assert_eq!(received.len(), 3);
        for Received { line, headers } in received {
            for header in [authorization, "x-api-key: key-sword"] {
                assert!(headers.iter().any(|h| h == header), "{line}: {headers:?}");
            }
        }
        let shown = format!("{registry:?} {settings:?}");
        assert!(!shown.contains("sword") && !shown.contains("user"), "{shown}");
    }
}

#[tokio::test]
async fn subjects_are_escaped_in_both_clients() {
    let scripted = Scripted::new(|line, _| match line.contains("compatibility") {
        true => answer(200, r#"{"is_compatible": true}"#),
        false => latest(7, 2),
    });
    let registry = scripted.registry();
    registry.latest("a/b c?d").await.unwrap();
    registry.compatible("a/b c?d", &schema()).await.unwrap();
    for Received { line, .. } in scripted.received() {
        assert!(line.to_uppercase().contains("/SUBJECTS/A%2FB%20C%3FD/VERSIONS/LATEST"), "{line}");
    }
}

#[tokio::test]
async fn a_schema_is_fetched_once() {
    let scripted = Scripted::new(|request, _| {
        assert_eq!(request, "GET /base/schemas/ids/7 HTTP/1.1");
        stored(SCHEMA)
    });
    let registry = scripted.registry();
    let clones: Vec<_> = (0..8)
        .map(|_| registry.clone())
        .map(|r| tokio::spawn(async move { r.schema(7).await.unwrap().text().to_string() }))
        .collect();
    for clone in clones {
        assert_eq!(clone.await.unwrap(), SCHEMA);
    }
    assert_eq!(scripted.num_requests(), 1);
}

#[tokio::test]
async fn an_id_that_was_just_registered_is_found_by_retrying() {
    let scripted = Scripted::new(|_, number| if number < 2 { missing() } else { stored(SCHEMA) });
    assert!(scripted.registry().look_up(&[ONE], LONG).await.unwrap().is_empty());
    assert_eq!(scripted.num_requests(), 3);
}

#[tokio::test]
async fn a_missing_id_is_retried_and_then_taken_as_missing_for_a_while() {
    let scripted = Scripted::always(missing());
    let registry = scripted.registry();
    for _ in 0..3 {
        let errors = registry.look_up(&[ONE, TWO], LONG).await.unwrap();
        assert_eq!(errors, HashMap::from([(ONE, not_found(ONE)), (TWO, not_found(TWO))]));
    }
    assert_eq!(scripted.num_requests(), 2 * (1 + RETRY_DELAYS.len()));
}

#[tokio::test]
async fn an_id_that_was_missing_before_is_asked_for_once_without_retries() {
    let scripted = Scripted::always(missing());
    let registry = scripted.registry();
    registry.cache().insert_missing(ONE, Instant::now());
    let missing = HashMap::from([(ONE, not_found(ONE))]);
    for _ in 0..2 {
        assert_eq!(registry.look_up(&[ONE], LONG).await.unwrap(), missing);
        assert_eq!(scripted.num_requests(), 1, "and it is taken as missing again");
    }
}

#[tokio::test]
async fn schemas_of_other_types_are_invalid() {
    let body = json!({"schema": "{}", "schemaType": "JSON", "id": 1, "version": 1}).to_string();
    let scripted = Scripted::always(Reply::Answer(200, body));
    let text = scripted.registry().text(ONE).await.unwrap();
    for (error, expected) in
        [(text.avro("schema 1").err(), "AVRO"), (text.protobuf("schema 1").err(), "PROTOBUF")]
    {
        let expected = format!("schema 1: its type is JSON, not {expected}");
        assert_eq!(error.unwrap().to_string(), expected);
    }
    let error = scripted.registry().latest("s").await.unwrap_err();
    assert_eq!(error.to_string(), "subject s: its type is JSON, not AVRO");
}

#[tokio::test]
async fn referenced_types_are_included_in_the_schema() {
    let record = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"E"}]}"#;
    let references = json!([{"name": "E", "subject": "e s", "version": 3}]);
    let body = json!({"schema": record, "references": references, "id": 1, "version": 1});
    let scripted = Scripted::new(move |request, _| match request.split(' ').nth(1).unwrap() {
        "/base/schemas/ids/1" | "/base/subjects/s/versions/latest" => {
            Reply::Answer(200, body.to_string())
        }
        "/base/subjects/e%20s/versions/3" => {
            stored(r#"{"type":"enum","name":"E","symbols":["A"]}"#)
        }
        other => panic!("{other}"),
    });
    let by_id = scripted.registry().schema(1).await.unwrap();
    let latest = scripted.registry().latest("s").await.unwrap().unwrap().schema;
    for schema in [by_id, Schema::parse(latest.text()).unwrap()] {
        assert_eq!(schema.arrow().field(0).data_type(), &arrow::datatypes::DataType::Utf8);
    }
}

#[tokio::test]
async fn endless_and_circular_references_end() {
    let scripted = Scripted::new(|_, number| {
        let reference = json!([{"name": "E", "subject": format!("s{number}"), "version": 1}]);
        Reply::Answer(200, json!({"schema": SCHEMA, "references": reference}).to_string())
    });
    let error = scripted.registry().schema(1).await.unwrap_err();
    assert!(error.to_string().contains("more than 64"), "{error}");
    let reference = json!([{"name": "E", "subject": "s", "version": 1}]);
    let body = json!({"schema": SCHEMA, "references": reference}).to_string();
    let circle = Scripted::always(Reply::Answer(200, body));
    drop(circle.registry().schema(1).await);
    assert_eq!(circle.num_requests(), 2);
}

#[tokio::test]
async fn a_subject_that_does_not_exist_has_no_latest_version_and_accepts_every_schema() {
    let body = json!({"error_code": 40401, "message": "Subject not found"}).to_string();
    let registry = Scripted::always(Reply::Answer(404, body)).registry();
    assert!(registry.latest("s").await.unwrap().is_none());
    assert_eq!(registry.compatible("s", &schema()).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_schema_is_reported_with_the_registry_s_message() {
    for status in [409, 422] {
        let body = json!({"error_code": status, "message": "incompatible:\n field b"}).to_string();
        let scripted = Scripted::new(move |line, _| match line.contains("compatibility") {
            true => answer(200, r#"{"is_compatible": false, "messages": ["field b"]}"#),
            false => Reply::Answer(status, body.clone()),
        });
        let error = scripted.registry().register("calls-value", &schema()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the registry refuses the schema for subject calls-value: incompatible: field b"
        );
        assert_eq!(error.class(), Class::Configuration);
    }
}

#[test]
fn settings_that_cannot_be_used_are_refused_with_their_key() {
    let refusal = |settings: Settings| {
        let error = Registry::new(settings).unwrap_err();
        assert_eq!(error.class(), Class::Configuration);
        error.to_string()
    };
    for (url, text) in [
        ("localhost", "not a URL"),
        ("localhost:8081", "must begin with http://"),
        ("ftp://x", "must begin with http://"),
        ("", "not a URL"),
        ("http://x/?api_key=y", "must not have a query"),
    ] {
        let error = refusal(settings(&[url]));
        assert!(error.starts_with("registry.url: ") && error.contains(text), "{url}: {error}");
    }
    let second = refusal(settings(&["http://x", "y"]));
    assert!(second.starts_with("registry.url[1]: not a URL"), "{second}");
    assert!(refusal(Settings::default()).contains("at least one URL is required"));
    let token = Some(Secret::new("t"));
    let both = refusal(Settings { bearer_token: token, ..settings(&["http://u:p@x"]) });
    assert!(both.contains("registry.bearer_token is set"), "{both}");
    let mut invalid = settings(&["http://x"]);
    invalid.headers.insert("X".into(), Secret::new("line\nbreak"));
    assert!(refusal(invalid).starts_with("registry.headers.X: "));
    for (file, text) in [("/nonexistent.pem", "cannot be read"), ("Cargo.toml", "no certificate")] {
        let ca_file = Some(file.into());
        let error = refusal(Settings { ca_file, ..settings(&["https://x"]) });
        assert!(error.starts_with("registry.ca_file: ") && error.contains(text), "{error}");
    }
}

#[tokio::test]
async fn a_schema_is_found_by_its_guid() {
    let scripted = Scripted::new(|request, _| {
        let path = "/base/schemas/guids/0102030a-0000-0000-0000-0000000000ff";
        assert_eq!(request, format!("GET {path} HTTP/1.1"));
        stored(SCHEMA)
    });
    let guid = SchemaId::Guid([1, 2, 3, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255]);
    let registry = scripted.registry();
    for _ in 0..2 {
        assert!(registry.look_up(&[guid], LONG).await.unwrap().is_empty());
    }
    assert_eq!(registry.text(guid).await.unwrap().avro("").unwrap(), SCHEMA);
    assert_eq!(scripted.num_requests(), 1);
}

#[tokio::test]
async fn a_guid_that_the_registry_has_no_path_for_is_not_found_if_others_are_answered() {
    let guid = SchemaId::Guid([7; 16]);
    let scripted = Scripted::new(|request, _| match request.contains("/guids/") {
        true => answer(404, "<html>no page</html>"),
        false => missing(),
    });
    let errors = scripted.registry().look_up(&[guid], LONG).await.unwrap();
    assert_eq!(errors, HashMap::from([(guid, not_found(guid))]));
    let gateway = Scripted::always(answer(404, "<html>no page</html>"));
    let error = gateway.registry().look_up(&[guid], LONG).await.unwrap_err();
    assert_eq!(error.class(), Class::Environment, "the whole registry is not there");
}

#[tokio::test]
async fn files_that_a_schema_of_protobuf_imports_come_with_it() {
    let references = |names: &[&str]| {
        let one = |name: &&str| json!({"name": name, "subject": format!("s-{name}"), "version": 2});
        names.iter().map(one).collect::<Vec<_>>()
    };
    let (a, b) = (references(&["a/a.proto"]), references(&["b.proto"]));
    let scripted = Scripted::new(move |request, _| {
        let (schema, references) = match request.split(' ').nth(1).unwrap() {
            "/base/schemas/ids/1" => ("import \"a/a.proto\";", &a[..]),
            "/base/subjects/s-a%2Fa.proto/versions/2" => ("import \"b.proto\";", &b[..]),
            "/base/subjects/s-b.proto/versions/2" => ("message B { }", &[][..]),
            other => panic!("{other}"),
        };
        let body = json!({"schema": schema, "schemaType": "PROTOBUF", "references": references});
        answer(200, &body.to_string())
    });
    let text = scripted.registry().text(ONE).await.unwrap();
    let text = text.protobuf("").unwrap();
    assert_eq!(text.text, "import \"a/a.proto\";");
    let imports: Vec<&str> = text.imports.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(imports, ["a/a.proto", "b.proto"]);
}
