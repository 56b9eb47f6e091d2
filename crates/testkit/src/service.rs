//! The real service programs as processes: started, asked over their admin page, paused, killed.

use crate::http;
use crate::process::{Launch, Process};
use crate::wait::{try_wait_until, wait_until};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

const READY_WITHIN: Duration = Duration::from_secs(60);
const DRAINS_WITHIN: Duration = Duration::from_secs(60);

/// How to start a service, as often as a test likes; each start is a new process with an admin port
/// of its own.
#[derive(Debug, Clone)]
pub struct Program {
    name: String,
    arguments: Vec<String>,
    env: BTreeMap<String, String>,
    folder: PathBuf,
}

impl Program {
    /// `program` (`weir-sink`) of the target folder that the running test came from, with logs
    /// under `folder`.
    pub fn new(
        program: &str,
        arguments: &[&str],
        env: &BTreeMap<String, String>,
        folder: &Path,
    ) -> Program {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Program { name: program.into(), arguments, env: env.clone(), folder: folder.into() }
    }

    /// One more environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Program {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Starts a process; does not wait until it is ready.
    pub fn start(&self) -> Result<Service> {
        let port = crate::ports::free()?;
        let log = self.folder.join(format!("{}-{port}.log", self.name));
        let launch = Launch::new(&self.name, binary(&self.name)?)
            .args(&self.arguments)
            .env("WEIR_LISTEN", format!("127.0.0.1:{port}"));
        let launch = self.env.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
        Ok(Service { name: self.name.clone(), process: launch.start(&log)?, port })
    }
}

/// Where cargo put a program of this workspace: beside the test programs.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folders = test.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let found = folders.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: cargo build --workspace --bins"))
}

/// A running service; killed when dropped.
#[derive(Debug)]
pub struct Service {
    name: String,
    process: Process,
    port: u16,
}

impl Service {
    /// The program's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Everything it has printed.
    pub fn log(&self) -> String {
        std::fs::read(self.process.log())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Its admin page.
    pub fn get(&self, path: &str) -> Result<http::Answer> {
        http::get(&format!("http://127.0.0.1:{}{path}", self.port))
    }

    /// Whether `/ready` succeeds now.
    pub fn is_ready(&self) -> bool {
        self.get("/ready").is_ok_and(|answer| answer.status == 200)
    }

    /// Whether `/live` succeeds now.
    pub fn is_live(&self) -> bool {
        self.get("/live").is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// Its last words when it ended instead, or was not ready in time.
    pub fn wait_ready(&mut self) -> Result<()> {
        let ready = try_wait_until(READY_WITHIN, || match self.process.expect_running() {
            Ok(()) => self.is_ready().then_some(Ok(())),
            Err(error) => Some(Err(error)),
        });
        ready.unwrap_or_else(|| {
            bail!(
                "{} was not ready within {READY_WITHIN:?}; its last words:\n{}",
                self.name,
                self.process.tail()
            )
        })
    }

    /// `/status`.
    pub fn status(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.get("/status")?.body)?)
    }

    /// The sum of a metric over its label values that contain `label` (empty: all); 0 when it does
    /// not appear.
    pub fn metric(&self, name: &str, label: &str) -> Result<f64> {
        let text = self.get("/metrics")?.body;
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let values = lines
            .filter(|line| line.contains(label))
            .map(|line| line.rsplit(' ').next().unwrap_or_default());
        values.map(|value| value.parse::<f64>().with_context(|| format!("{name}: {value}"))).sum()
    }

    /// Waits until `metric` of this name and label satisfies `enough`; returns it.
    ///
    /// # Panics
    /// After `limit`, with the metric's name and the service's last words.
    pub fn wait_metric(
        &self,
        name: &str,
        label: &str,
        limit: Duration,
        enough: impl Fn(f64) -> bool,
    ) -> f64 {
        let what = format!("{name}{{{label}}} of {}", self.name);
        wait_until(&what, limit, || self.metric(name, label).ok().filter(|&value| enough(value)))
    }

    /// SIGTERM, then waits for its graceful end.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait(DRAINS_WITHIN)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait(DRAINS_WITHIN).map(drop)
    }

    /// SIGSTOP: it lives on without running, as in a long pause.
    pub fn pause(&self) -> Result<()> {
        self.process.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    pub fn wake(&self) -> Result<()> {
        self.process.signal(Signal::SIGCONT)
    }

    /// Waits for an end that comes by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait(limit)
    }

    /// Fails with its last words when it has ended.
    pub fn expect_running(&mut self) -> Result<()> {
        self.process.expect_running()
    }
}

/// A failing test prints the logs of its services.
impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let state = ["/ready", "/status"].map(|path| {
                self.get(path).map_or_else(|error| error.to_string(), |answer| answer.body)
            });
            eprintln!(
                "--- {} ({})\n{}\n{}",
                self.name,
                self.id(),
                self.process.tail(),
                state.join("\n")
            );
        }
    }
}
