//! The admin pages as a client sees them.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_service::{CancellationToken, Dependency, Health, Metrics, Surface, serve};

struct Pages {
    health: Health,
    metrics: Metrics,
    kafka: Dependency,
    stop: CancellationToken,
    address: std::net::SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Pages {
    async fn open() -> Pages {
        let metrics = Metrics::new("sink", "telecom");
        let health = Health::new(&metrics);
        let kafka = health.dependency("kafka");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let surface = Surface::new(
            &health,
            &metrics,
            || serde_json::json!({"pipeline": "telecom", "partitions": [0, 2]}),
        );
        let server = tokio::spawn(serve(listener, surface, stop.clone()));
        Pages { health, metrics, kafka, stop, address, server }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.address)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

#[tokio::test]
async fn an_outage_makes_the_instance_unready_and_leaves_it_alive() {
    let pages = Pages::open().await;
    pages.kafka.ok();
    assert_eq!(
        pages.get("/ready").await,
        (200, r#"{"ready":true,"dependencies":{"kafka":"ok"},"halted":{}}"#.into())
    );
    pages.kafka.unavailable("connection refused");
    let (code, body) = pages.get("/ready").await;
    assert_eq!(code, 503);
    assert!(
        body.starts_with(r#"{"ready":false,"dependencies":{"kafka":"connection refused for "#),
        "{body}"
    );
    assert_eq!(pages.get("/live").await, (200, r#"{"live":true,"workers":{}}"#.into()));
    assert!(
        pages.get("/metrics").await.1.contains(
            r#"weir_dependency_up{dependency="kafka",pipeline="telecom",service="sink"} 0"#
        )
    );
}

#[tokio::test]
async fn a_dead_worker_ends_liveness() {
    let pages = Pages::open().await;
    let mut workers = weir_service::Workers::<Box<dyn std::error::Error + Send + Sync>>::new(
        &pages.health,
        &pages.stop.child_token(),
    );
    workers.spawn("sink-0", |_| Err("gave up".into())).unwrap();
    assert!(workers.join().await.is_err());
    assert_eq!(
        pages.get("/live").await,
        (503, r#"{"live":false,"workers":{"sink-0":"ended with an error"}}"#.into())
    );
}

#[tokio::test]
async fn status_is_what_the_service_says_and_unknown_pages_are_not_found() {
    let pages = Pages::open().await;
    assert_eq!(
        pages.get("/status").await,
        (200, r#"{"partitions":[0,2],"pipeline":"telecom"}"#.into())
    );
    assert_eq!(pages.get("/").await.0, 404);
}

#[tokio::test]
async fn a_storm_of_scrapes_is_answered_from_one_rendering() {
    let pages = Pages::open().await;
    let counter = pages.metrics.records_read();
    let before = Instant::now();
    let first = pages.get("/metrics").await.1;
    counter.inc();
    let second = pages.get("/metrics").await.1;
    // On a machine so slow that the two requests took longer than a rendering lives, there is
    // nothing to see.
    if before.elapsed() < Duration::from_millis(100) {
        assert_eq!(first, second);
    }
}

#[tokio::test]
async fn a_slow_client_is_cut_off_and_others_are_served_meanwhile() {
    let pages = Pages::open().await;
    let mut slow = TcpStream::connect(pages.address).await.unwrap();
    slow.write_all(b"GET /live HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    assert_eq!(pages.get("/live").await.0, 200);
    let mut rest = Vec::new();
    // hyper answers 408 or just closes; either way the connection ends.
    tokio::time::timeout(Duration::from_secs(20), slow.read_to_end(&mut rest))
        .await
        .expect("the connection is closed")
        .unwrap();
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let pages = Pages::open().await;
    let mut client = TcpStream::connect(pages.address).await.unwrap();
    let (mut from, mut to) = client.split();
    let send = async {
        to.write_all(b"GET /live HTTP/1.1\r\n").await.ok();
        while to
            .write_all(b"x-filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
            .await
            .is_ok()
        {}
    };
    let mut answer = Vec::new();
    let read = async { from.read_to_end(&mut answer).await.ok() };
    tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(send, read) })
        .await
        .expect("the connection ends");
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn the_pages_close_with_the_service_even_with_an_idle_client() {
    let pages = Pages::open().await;
    let _idle = TcpStream::connect(pages.address).await.unwrap();
    assert_eq!(pages.get("/live").await.0, 200);
    pages.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), pages.server)
        .await
        .expect("the server ends")
        .unwrap();
}
