//! Apicurio Registry through its Confluent interface.

use crate::cache::Programs;
use crate::process::{Launch, Process};
use crate::wait::try_wait_until;
use anyhow::{Result, bail};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const UP_WITHIN: Duration = Duration::from_secs(120);

/// The URL that clients are given.
pub(super) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/apis/ccompat/v7")
}

/// Starts it, waits until it answers and has it check compatibility as Confluent's own does (its
/// default is not to check at all). Its schemas live in a file under `folder`, so they survive a
/// restart.
pub(super) fn start(programs: &Programs, port: u16, folder: &Path, log: &Path) -> Result<Process> {
    let store = format!(
        "jdbc:h2:file:{};DB_CLOSE_ON_EXIT=FALSE",
        folder.join("registry").join("schemas").display()
    );
    let launch = Launch::new("Schema Registry", "java").args([
        "-Xms64m",
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
    ]);
    let launch = launch
        .args(["-Dquarkus.http.host=127.0.0.1".into(), format!("-Dquarkus.http.port={port}")]);
    let launch = launch
        .args(["-Dquarkus.datasource.jdbc.initial-size=2", "-Dquarkus.datasource.jdbc.min-size=2"]);
    let launch = launch.arg(format!("-Djava.io.tmpdir={}", folder.display()));
    let launch = launch
        .arg("-jar")
        .arg(programs.registry_jar())
        .env("REGISTRY_DATASOURCE_URL", store)
        .env("LOG_LEVEL", "WARN");
    let mut process = launch.start(log)?;
    let up = try_wait_until(UP_WITHIN, || {
        let body = json!({ "compatibility": "BACKWARD" });
        let ready = |()| {
            crate::http::send("PUT", &format!("{}/config", url(port)), &body).is_ok().then_some(())
        };
        process.expect_running().map(ready).transpose()
    });
    match up {
        Some(Ok(())) => Ok(process),
        Some(Err(error)) => Err(error),
        None => bail!(
            "the registry was not up after {UP_WITHIN:?}; its last words:\n{}",
            process.tail()
        ),
    }
}
