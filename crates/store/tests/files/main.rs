//! A sink's files in a folder: exactly once, whatever happens between a file and its entry.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

mod exactly_once;
mod fixture;
mod readers;
mod s3;
mod sweep;
mod values;
