//! The promises of `weir_transform`, each a test.
#![allow(clippy::unwrap_used)]

#[path = "transform/metadata.rs"]
mod metadata;
#[path = "transform/nested.rs"]
mod nested;
#[path = "transform/oracle.rs"]
mod oracle;
#[path = "transform/outcome.rs"]
mod outcome;
#[path = "transform/postgres.rs"]
mod postgres;
#[path = "transform/refused.rs"]
mod refused;
#[path = "transform/support.rs"]
mod support;
#[path = "transform/time.rs"]
mod time;
#[path = "transform/unnest.rs"]
mod unnest;
