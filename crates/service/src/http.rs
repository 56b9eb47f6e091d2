//! The admin pages: `/live`, `/ready`, `/metrics`, `/status`.
//!
//! The accept loop is our own because `axum::serve` installs no timer, which leaves hyper's header
//! timeout without effect (<https://github.com/tokio-rs/axum/issues/2741>): a client that sends its
//! request a byte a minute would hold its connection without end.

use crate::health::Health;
use crate::metrics::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// A request's head must arrive within this time; an idle connection is closed after it as well.
const HEADER: Duration = Duration::from_secs(5);
/// No connection lives longer, so that a client that never reads its answer does not hold one for
/// ever.
const LIFE: Duration = Duration::from_secs(60);
/// What an answer that is under way gets at the end.
const GRACE: Duration = Duration::from_secs(2);
/// More connections than this wait in the listener's queue.
const CONNECTIONS: usize = 1024;
/// `/metrics` is rendered at most this often, whoever asks.
const FRESH: Duration = Duration::from_millis(100);
const HEAD_BYTES: usize = 16 * 1024;

/// What the admin pages show.
#[derive(Clone)]
pub struct Surface {
    health: Health,
    metrics: Metrics,
    status: Status,
    page: Arc<Mutex<Option<Page>>>,
}

/// When `/metrics` was rendered last, and its text.
type Page = (Instant, Vec<u8>);
type Status = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

impl Surface {
    /// Pages over these; `status` is asked on every request of `/status` and must not wait for
    /// anything.
    pub fn new(
        health: &Health,
        metrics: &Metrics,
        status: impl Fn() -> serde_json::Value + Send + Sync + 'static,
    ) -> Surface {
        Surface {
            health: health.clone(),
            metrics: metrics.clone(),
            status: Arc::new(status),
            page: Arc::default(),
        }
    }

    fn routes(self) -> Router {
        let routes = Router::new().route("/live", get(live)).route("/ready", get(ready));
        routes.route("/metrics", get(metrics)).route("/status", get(status)).with_state(self)
    }

    fn page(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = page.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(text.clone());
        }
        // Brings `weir_dependency_up` up to date: silence becomes an outage by time alone.
        self.health.readiness();
        let text = self.metrics.render()?;
        *page = Some((Instant::now(), text.clone()));
        Ok(text)
    }
}

async fn live(State(surface): State<Surface>) -> Response {
    let liveness = surface.health.liveness();
    (code(liveness.live), Json(liveness)).into_response()
}

async fn ready(State(surface): State<Surface>) -> Response {
    let readiness = surface.health.readiness();
    (code(readiness.ready), Json(readiness)).into_response()
}

async fn metrics(State(surface): State<Surface>) -> Response {
    match surface.page() {
        Ok(page) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page)
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn status(State(surface): State<Surface>) -> Json<serde_json::Value> {
    Json((surface.status)())
}

fn code(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// Serves the pages until `stop` is cancelled and running requests are answered.
pub async fn serve(listener: TcpListener, surface: Surface, stop: CancellationToken) {
    let routes = surface.routes();
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let (stream, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client is gone already. Neither is the end of the
                // pages.
                tracing::debug!(%error, "no connection accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let (routes, stop) = (routes.clone(), stop.clone());
        tokio::spawn(async move {
            connection(stream, routes, &stop).await;
            drop(slot);
        });
    }
    // Every connection sees the same token; when all slots are back, all answers are given.
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    tokio::time::timeout(GRACE, slots.acquire_many(all)).await.ok();
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

async fn connection(stream: TcpStream, routes: Router, stop: &CancellationToken) {
    let service = TowerToHyperService::new(routes);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER).max_buf_size(HEAD_BYTES);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // How a client ends its connection is its own business.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::time::timeout(GRACE, connection).await.ok();
}
