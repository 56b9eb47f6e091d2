//! The base of every service of weir: settings from the environment, logs, one metric registry per
//! service instance, health, the admin pages, worker threads whose death is noticed, signals, and
//! waiting for what is unavailable.
//!
//! The promise: an outage never looks healthy. A dependency that is unavailable makes `/ready`
//! false with its name and since when, while `/live` stays true; a worker thread that died or hangs
//! makes `/live` false and ends the process with an error (`tests/surface.rs`, `workers::tests`).

pub mod backoff;
pub mod duration;
pub mod error;
pub mod health;
pub mod http;
pub mod liveness;
pub mod logs;
pub mod metrics;
pub mod retry;
pub mod settings;
pub mod signals;
pub mod start;
pub mod workers;

pub use backoff::Backoff;
pub use error::Error;
pub use health::{Dependency, Health, REQUEST_TIMEOUT};
pub use http::{Surface, serve};
pub use liveness::Heartbeat;
pub use metrics::Metrics;
pub use retry::RetryState;
pub use settings::Settings;
pub use start::{Failure, host, start};
pub use tokio_util::sync::CancellationToken;
pub use workers::{Workers, blocking};
