//! The frame of a service's `main`: runtime, logs, signals, and the exit code.

use crate::error::Error;
use crate::http::{Surface, serve};
use crate::settings::Settings;
use crate::{logs, signals};
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use weir_model::fault::Class;

/// The exit code for configuration mistakes (`EX_CONFIG`): a restart does not help.
pub const CONFIGURATION: u8 = 78;

/// An error that ends a service.
pub trait Failure: std::error::Error {
    /// [`Class::Configuration`] ends with code 78 and prints the error as it is, for people; every
    /// other class ends with code 1.
    fn class(&self) -> Class;
}

/// Runs a service to its end: 0 drained, 78 configuration, 1 anything else. `run` gets the
/// instance's settings and the token that SIGTERM and SIGINT cancel.
pub fn start<E, F>(service: &str, run: impl FnOnce(Settings, CancellationToken) -> F) -> ExitCode
where
    E: Failure,
    F: Future<Output = Result<(), E>>,
{
    let _logs = logs::install();
    let settings = match Settings::from_env(service) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.and_then(|runtime| {
        runtime.block_on(async { Ok(run(settings, signals::shutdown()?).await) })
    });
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) if error.class() == Class::Configuration => refuse(&error),
        Ok(Err(error)) => fail(service, &error),
        Err(error) => fail(service, &error),
    }
}

/// Runs one instance: its admin pages and, beside them, `work`, which gets a token that is
/// cancelled when the instance shall end (by `shutdown`; work may cancel it as well) and has
/// [`signals::DRAIN`] to do so.
///
/// # Errors
/// What `work` ended with, [`Error::Listen`] or [`Error::NotDrained`].
pub async fn host<E: From<Error>, F: Future<Output = Result<(), E>>>(
    settings: &Settings,
    surface: Surface,
    shutdown: &CancellationToken,
    work: impl FnOnce(CancellationToken) -> F,
) -> Result<(), E> {
    let address = settings.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, instance = settings.instance, "up: /live /ready /metrics /status");
    }
    let stop = shutdown.child_token();
    let pages = tokio::spawn(serve(listener, surface, stop.clone()));
    let ended = signals::drain(shutdown, signals::DRAIN, work(stop.clone())).await;
    stop.cancel();
    // The pages end with the token; they have nothing to say about how the work ended.
    pages.await.ok();
    ended?
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{}", error.to_string().trim_end());
    ExitCode::from(CONFIGURATION)
}

fn fail(service: &str, error: &dyn std::error::Error) -> ExitCode {
    tracing::error!(service, "ended: {}", chain(error));
    ExitCode::FAILURE
}

/// The error and what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors print their source already.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open orders.csv")]
    struct Outer(#[source] std::io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open orders.csv: {0}")]
    struct Wordy(#[source] std::io::Error);

    #[test]
    fn causes_are_told_once() {
        let cause = || std::io::Error::other("disk unavailable");
        assert_eq!(chain(&Outer(cause())), "cannot open orders.csv: disk unavailable");
        assert_eq!(chain(&Wordy(cause())), "cannot open orders.csv: disk unavailable");
    }
}
