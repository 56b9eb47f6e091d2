//! Kafka, Schema Registry and PostgreSQL together: started in parallel, stopped, killed and
//! restarted one by one.

mod kafka;
mod postgres;
mod registry;

use crate::cache::{self, Programs};
use crate::process::{Process, afterwards};
use crate::{Database, random_name};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Brokers, each also a controller: 1 or 3 (internal topics are then replicated three times).
    pub brokers: usize,
    /// Whether to start a Schema Registry.
    pub registry: bool,
    /// Whether to start PostgreSQL.
    pub postgres: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { brokers: 1, registry: true, postgres: true }
    }
}

/// One process of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The broker with this index, from 0.
    Broker(usize),
    /// The Schema Registry.
    Registry,
    /// PostgreSQL.
    Postgres,
}

impl std::fmt::Display for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Component::Broker(index) => write!(f, "kafka-{index}"),
            Component::Registry => f.write_str("registry"),
            Component::Postgres => f.write_str("postgres"),
        }
    }
}

/// A running stack. Dropping it, or the death of this process, ends its processes and removes its
/// data.
pub struct Stack {
    kafka: String,
    registry: String,
    postgres: String,
    own: Option<Own>,
}

/// The processes and files of a stack that this process started.
struct Own {
    // Fields are dropped in this order: processes end, then the janitor removes the folder.
    running: Mutex<BTreeMap<Component, Process>>,
    _janitor: Process,
    plan: Plan,
}

/// What each component needs to start, the first time and again.
struct Plan {
    programs: Programs,
    folder: PathBuf,
    brokers: Vec<kafka::Broker>,
    registry_port: Option<u16>,
    postgres: Option<postgres::Server>,
}

impl Stack {
    /// Starts the components in parallel and returns when all of them answer.
    pub fn start(options: Options) -> Result<Stack> {
        let programs = cache::programs()?;
        let folder = tempfile::Builder::new().prefix("weir-stack-").tempdir()?.keep();
        let janitor = janitor(&folder)?;
        let plan = Plan::new(&options, programs, folder)?;
        let components = plan.components();
        let started: Vec<Result<(Component, Process)>> = std::thread::scope(|scope| {
            let plan = &plan;
            let tasks: Vec<_> = components
                .iter()
                .map(|&c| scope.spawn(move || Ok((c, plan.prepare_and_start(c)?))))
                .collect();
            tasks
                .into_iter()
                .map(|task| task.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        let running = Mutex::new(started.into_iter().collect::<Result<_>>()?);
        let kafka = plan.brokers.iter().map(kafka::Broker::address).collect::<Vec<_>>().join(",");
        let registry = plan.registry_port.map(registry::url).unwrap_or_default();
        let postgres = plan.postgres.as_ref().map(postgres::Server::url).unwrap_or_default();
        Ok(Stack { kafka, registry, postgres, own: Some(Own { running, _janitor: janitor, plan }) })
    }

    /// The stack that `WEIR_KAFKA`, `WEIR_REGISTRY` and `WEIR_POSTGRES` name (`make test` starts
    /// one for all test programs), else one for this process, started at the first call. It is
    /// everybody's: use random names, and restart nothing.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn shared() -> &'static Stack {
        static SHARED: OnceLock<Stack> = OnceLock::new();
        SHARED.get_or_init(|| {
            Stack::from_env()
                .map_or_else(|| Stack::start(Options::default()), Ok)
                .unwrap_or_else(|error| panic!("no stack: {error:?}"))
        })
    }

    fn from_env() -> Option<Stack> {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Some(Stack {
            kafka: read("WEIR_KAFKA")?,
            registry: read("WEIR_REGISTRY")?,
            postgres: read("WEIR_POSTGRES")?,
            own: None,
        })
    }

    /// Bootstrap list, `host:port,…`.
    pub fn kafka(&self) -> &str {
        &self.kafka
    }

    /// The registry's URL with the path of Confluent's interface.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// `postgres://user:password@host:port/database`; the user may create databases and roles.
    pub fn postgres(&self) -> &str {
        &self.postgres
    }

    /// The variables that pipeline files refer to.
    pub fn env(&self) -> BTreeMap<String, String> {
        let pairs = [
            ("WEIR_KAFKA", &self.kafka),
            ("WEIR_REGISTRY", &self.registry),
            ("WEIR_POSTGRES", &self.postgres),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    /// Creates a database with a random name and returns its URL.
    pub fn create_database(&self, stem: &str) -> Result<String> {
        let name = random_name(stem).replace('-', "_");
        Database::connect(&self.postgres)?.execute(&format!("CREATE DATABASE {name}"))?;
        let (server, _) =
            self.postgres.rsplit_once('/').context("the URL of PostgreSQL has no database")?;
        Ok(format!("{server}/{name}"))
    }

    /// Ends a component in its own orderly way.
    pub fn stop(&self, component: Component) -> Result<()> {
        let orderly =
            if component == Component::Postgres { Signal::SIGINT } else { Signal::SIGTERM };
        self.end(component, orderly)
    }

    /// Ends a component as a crash would.
    pub fn kill(&self, component: Component) -> Result<()> {
        self.end(component, Signal::SIGKILL)
    }

    /// Starts a stopped or killed component again, on the same port and data, and returns when it
    /// answers.
    pub fn resume(&self, component: Component) -> Result<()> {
        let own = self.own()?;
        if own.running().contains_key(&component) {
            bail!("{component} runs already");
        }
        let process = own.plan.start(component)?;
        own.running().insert(component, process);
        Ok(())
    }

    /// [`Stack::stop`], then [`Stack::resume`].
    pub fn restart(&self, component: Component) -> Result<()> {
        self.stop(component)?;
        self.resume(component)
    }

    /// Sends a signal (SIGSTOP, SIGCONT) to a component.
    pub fn signal(&self, component: Component, signal: Signal) -> Result<()> {
        self.own()?
            .running()
            .get(&component)
            .with_context(|| format!("{component} does not run"))?
            .signal(signal)
    }

    /// Process ids of the components that run.
    pub fn processes(&self) -> BTreeMap<Component, u32> {
        let own = self.own.iter();
        own.flat_map(|own| {
            own.running()
                .iter()
                .map(|(&component, process)| (component, process.id()))
                .collect::<Vec<_>>()
        })
        .collect()
    }

    /// The folder of data and logs.
    pub fn folder(&self) -> Result<&Path> {
        Ok(&self.own()?.plan.folder)
    }

    fn end(&self, component: Component, signal: Signal) -> Result<()> {
        let process = self.own()?.running().remove(&component);
        let mut process = process.with_context(|| format!("{component} does not run"))?;
        process.signal(signal)?;
        process.wait(STOPS_WITHIN)?;
        Ok(())
    }

    fn own(&self) -> Result<&Own> {
        self.own.as_ref().context(
            "this stack belongs to another process; start one with \
            Stack::start to stop or kill its components",
        )
    }
}

impl Own {
    fn running(&self) -> MutexGuard<'_, BTreeMap<Component, Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    fn new(options: &Options, programs: Programs, folder: PathBuf) -> Result<Plan> {
        std::fs::create_dir(folder.join("log"))?;
        let brokers = kafka::Broker::cluster(options.brokers, &folder)?;
        let registry_port = options.registry.then(crate::ports::free).transpose()?;
        let postgres =
            options.postgres.then(|| postgres::Server::new(&programs, &folder)).transpose()?;
        Ok(Plan { programs, folder, brokers, registry_port, postgres })
    }

    fn components(&self) -> Vec<Component> {
        let brokers = (0..self.brokers.len()).map(Component::Broker);
        let registry = self.registry_port.map(|_| Component::Registry);
        brokers.chain(registry).chain(self.postgres.as_ref().map(|_| Component::Postgres)).collect()
    }

    fn prepare_and_start(&self, component: Component) -> Result<Process> {
        match component {
            Component::Broker(index) => self.broker(index)?.prepare(&self.programs)?,
            Component::Postgres => self.server()?.prepare(&self.log(component))?,
            Component::Registry => {}
        }
        self.start(component)
    }

    fn start(&self, component: Component) -> Result<Process> {
        let log = self.log(component);
        let started = match component {
            Component::Broker(index) => self.broker(index)?.start(&self.programs, &log),
            Component::Postgres => self.server()?.start(&log),
            Component::Registry => registry::start(
                &self.programs,
                self.registry_port.context("this stack has no registry")?,
                &self.folder,
                &log,
            ),
        };
        started.with_context(|| format!("start {component}"))
    }

    fn broker(&self, index: usize) -> Result<&kafka::Broker> {
        self.brokers.get(index).with_context(|| format!("this stack has no broker {index}"))
    }

    fn server(&self) -> Result<&postgres::Server> {
        self.postgres.as_ref().context("this stack has no PostgreSQL")
    }

    fn log(&self, component: Component) -> PathBuf {
        self.folder.join("log").join(format!("{component}.log"))
    }
}

/// Removes `folder` when its owner is gone. Components may still be ending then, so it tries until
/// nothing comes back.
fn janitor(folder: &Path) -> Result<Process> {
    const SCRIPT: &str =
        r#"for _ in $(seq 100); do rm -rf "$1"; sleep 0.1; [ -e "$1" ] || exit 0; done"#;
    afterwards(SCRIPT, folder.as_os_str())
}
