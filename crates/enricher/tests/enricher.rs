//! The crate's promises, held against real processes on a real broker and registry.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

#[path = "enricher/outages.rs"]
mod outages;
#[path = "enricher/records.rs"]
mod records;
#[path = "enricher/support.rs"]
mod support;
#[path = "enricher/takeover.rs"]
mod takeover;
