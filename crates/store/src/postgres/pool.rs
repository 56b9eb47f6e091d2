//! Pooled connections with the timeouts that weir relies on. Messages name the server, never the
//! password.

use crate::postgres::Error;
use crate::postgres::error::Report;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime,
};
use postgres_native_tls::MakeTlsConnector;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::config::{Config, Host, SslMode};
use weir_model::secret::Secret;

/// A COPY of one batch takes milliseconds; after a minute, something else is wrong.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a statement waits for a lock, for instance while the table is altered.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);
/// A process that stops in the middle of a transaction must not hold its row locks forever.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A pool of connections to one database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    /// `postgres at host:port/database`, for messages.
    server: Arc<str>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.server)
    }
}

impl Store {
    /// A pool of at most `connections` connections to `url`
    /// (`postgres://user:password@host:port/database?sslmode=…`; `sslmode` and `sslrootcert` mean
    /// the same as in libpq). Connects on first use only. `pg_stat_activity` shows `application`
    /// with the prefix `weir `.
    ///
    /// # Errors
    /// [`Error::Url`]: the URL cannot be parsed, or its certificate file cannot be read.
    pub fn new(url: &Secret, application: &str, connections: usize) -> Result<Store, Error> {
        let (mut config, tls) = parse(url.expose())?;
        config
            .application_name(format!("{APPLICATION} {application}"))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(Duration::from_secs(30))
            .keepalives_idle(Duration::from_secs(30));
        let server = server_name(&config).into();
        let manager = Manager::from_config(
            config,
            tls,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CONNECT_TIMEOUT * 2))
            .wait_timeout(Some(CONNECT_TIMEOUT * 2))
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move {
                    client.batch_execute(&session_settings()).await.map_err(HookError::Backend)
                })
            }))
            .build()
            .map_err(|e| Error::Url(e.to_string()))?;
        Ok(Store { pool, server })
    }

    /// `postgres at host:port/database`, for messages.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// One round trip, for `/ready`.
    ///
    /// # Errors
    /// The server cannot be reached or refuses the connection.
    pub async fn ping(&self) -> Result<(), Error> {
        self.client().await?.simple_query("SELECT 1").await.map(drop).map_err(|e| self.error(e))
    }

    pub(crate) async fn client(&self) -> Result<deadpool_postgres::Client, Error> {
        self.pool.get().await.map_err(|e| match e {
            PoolError::Backend(e) | PoolError::PostCreateHook(HookError::Backend(e)) => {
                self.error(e)
            }
            PoolError::Timeout(_) => Error::Slow {
                server: self.server.to_string(),
                doing: "connecting",
                after: CONNECT_TIMEOUT * 2,
            },
            other => self.unreachable(other.to_string()),
        })
    }

    pub(crate) fn error(&self, error: tokio_postgres::Error) -> Error {
        if let Some(answer) = error.as_db_error() {
            return Error::Database {
                server: self.server.to_string(),
                report: Box::new(Report::new(answer)),
            };
        }
        let cause = std::error::Error::source(&error).map(|s| format!(": {s}")).unwrap_or_default();
        self.unreachable(format!("{error}{cause}"))
    }

    fn unreachable(&self, reason: String) -> Error {
        Error::Unreachable { server: self.server.to_string(), reason }
    }
}

/// The prefix of the application name of all connections that weir opens.
pub(crate) const APPLICATION: &str = "weir";

/// Plain SET statements, because connection poolers reject settings in the start-up message.
fn session_settings() -> String {
    format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; \
         SET idle_in_transaction_session_timeout = {}; \
         SET client_min_messages = warning; SET timezone = 'UTC'",
        STATEMENT_TIMEOUT.as_millis(),
        LOCK_TIMEOUT.as_millis(),
        IDLE_TIMEOUT.as_millis()
    )
}

fn server_name(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".into(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgres at {host}:{port}/{database}")
}

/// How much of the server's identity is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verify {
    Nothing,
    Chain,
    ChainAndName,
}

fn parse(url: &str) -> Result<(Config, MakeTlsConnector), Error> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut rest = Vec::new();
    let (mut mode, mut verify, mut root) = (SslMode::Prefer, Verify::Nothing, None);
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", text)) => (mode, verify) = ssl_mode(text)?,
            Some(("sslrootcert", path)) => {
                root = Some(path.replace("%2F", "/").replace("%2f", "/"))
            }
            _ => rest.push(pair),
        }
    }
    let text = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    // The parser's message may quote the text that it cannot parse, including the password.
    let mut config: Config = text
        .parse()
        .map_err(|_| Error::Url("expected postgres://user:password@host:port/database".into()))?;
    if config.get_hosts().is_empty() {
        return Err(Error::Url("it has no host".into()));
    }
    config.ssl_mode(mode);
    Ok((config, MakeTlsConnector::new(connector(verify, root.as_deref())?)))
}

fn ssl_mode(text: &str) -> Result<(SslMode, Verify), Error> {
    Ok(match text {
        "disable" => (SslMode::Disable, Verify::Nothing),
        "allow" | "prefer" => (SslMode::Prefer, Verify::Nothing),
        "require" => (SslMode::Require, Verify::Nothing),
        "verify-ca" => (SslMode::Require, Verify::Chain),
        "verify-full" => (SslMode::Require, Verify::ChainAndName),
        other => {
            return Err(Error::Url(format!(
                "sslmode must be one of disable, allow, prefer, require, verify-ca, verify-full, \
                 not `{other}`"
            )));
        }
    })
}

fn connector(verify: Verify, root: Option<&str>) -> Result<native_tls::TlsConnector, Error> {
    let mut builder = native_tls::TlsConnector::builder();
    builder
        .danger_accept_invalid_certs(verify == Verify::Nothing)
        .danger_accept_invalid_hostnames(verify != Verify::ChainAndName);
    if let Some(path) = root {
        let pem =
            std::fs::read(path).map_err(|e| Error::Url(format!("sslrootcert {path}: {e}")))?;
        let certificate = native_tls::Certificate::from_pem(&pem)
            .map_err(|e| Error::Url(format!("sslrootcert {path}: {e}")))?;
        builder.add_root_certificate(certificate);
    }
    builder.build().map_err(|e| Error::Url(format!("cannot set up TLS: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_server_contains_no_secret() {
        let store = Store::new(
            &Secret::new(
                "postgres://weir:hush@db.example:5433/shop?sslmode=require&connect_timeout=3",
            ),
            "test",
            1,
        )
        .unwrap();
        assert_eq!(store.server(), "postgres at db.example:5433/shop");
        assert_eq!(format!("{store:?}"), "Store(postgres at db.example:5433/shop)");
    }

    #[test]
    fn an_error_does_not_quote_the_url() {
        for url in [
            "postgres://weir:hush@db:port/shop",
            "hush",
            "postgres://weir:hush@db/x?hush=1",
            "postgres://weir:hush@db/x?sslmode=maybe",
        ] {
            let message = Store::new(&Secret::new(url), "test", 1).unwrap_err().to_string();
            assert!(!message.contains("hush"), "{message}");
        }
    }

    #[test]
    fn sslmode_has_libpqs_meaning() {
        assert!(matches!(ssl_mode("require"), Ok((SslMode::Require, Verify::Nothing))));
        assert!(matches!(ssl_mode("verify-full"), Ok((SslMode::Require, Verify::ChainAndName))));
        assert!(ssl_mode("on").is_err());
    }
}
