//! Tests the crate's promises with real processes, a real broker and a real registry.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

#[path = "enricher/formats.rs"]
mod formats;
#[path = "enricher/look_ups.rs"]
mod look_ups;
#[path = "enricher/outages.rs"]
mod outages;
#[path = "enricher/positions.rs"]
mod positions;
#[path = "enricher/records.rs"]
mod records;
#[path = "enricher/support.rs"]
mod support;
#[path = "enricher/takeover.rs"]
mod takeover;
#[path = "enricher/values.rs"]
mod values;
