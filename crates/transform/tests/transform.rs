#![allow(clippy::unwrap_used)]

#[path = "transform/support.rs"]
mod support;
#[path = "transform/time.rs"]
mod time;
