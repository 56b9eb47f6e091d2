//! Pooled connections with the timeouts that weir relies on. Messages name the server, never the
//! password.

use crate::postgres::error::Report;
use crate::postgres::{Error, connection_url};
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime,
};
use postgres_native_tls::MakeTlsConnector;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::config::Config;
use tokio_postgres::error::SqlState;
use weir_model::secret::Secret;

/// A COPY of one batch takes milliseconds; after a minute, something else is wrong.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a statement waits for a lock, for instance while the table is altered.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);
/// A process that stops in the middle of a transaction must not hold its row locks forever.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A pooler may use another connection when the last one is taken by someone else.
const POOLER_ATTEMPTS: usize = 3;

/// A pool of connections to one database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    /// `postgres at host:port/database`, for messages.
    server: Arc<str>,
    /// For a connection outside of the pool.
    settings: Arc<(Config, MakeTlsConnector)>,
    /// Connections from before this moment are given up when they come back to the pool.
    stale: Arc<Mutex<Option<Instant>>>,
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
        let (mut config, tls) = connection_url::parse(url.expose())?;
        config
            .application_name(format!("{APPLICATION} {application}"))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(Duration::from_secs(30))
            .keepalives_idle(Duration::from_secs(30));
        let server = connection_url::server_name(&config).into();
        let settings = Arc::new((config.clone(), tls.clone()));
        let manager = Manager::from_config(
            config,
            tls,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let stale = Arc::<Mutex<Option<Instant>>>::default();
        let given_up = stale.clone();
        let pool = Pool::builder(manager)
            .pre_recycle(Hook::sync_fn(move |_, metrics| match *lock(&given_up) {
                Some(moment) if metrics.created <= moment => {
                    Err(HookError::message("the session was read-only"))
                }
                _ => Ok(()),
            }))
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
        Ok(Store { pool, server, settings, stale })
    }

    /// `postgres at host:port/database`, for messages.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The size of the pool.
    #[cfg(test)]
    pub(crate) fn max_connections(&self) -> usize {
        self.pool.status().max_size
    }

    /// Gives up the connections that there are: their sessions began read-only, and would stay so
    /// after the server takes writes again.
    pub(crate) fn renew_connections(&self) {
        *lock(&self.stale) = Some(Instant::now());
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

    /// Whether a connection pooler gives two sessions the same connection to the server, one
    /// transaction after the other. Then prepared statements, settings and temporary tables of a
    /// session end up in another one.
    ///
    /// # Errors
    /// The server cannot be reached or refuses the connection.
    pub(crate) async fn is_pooled_by_transaction(&self) -> Result<bool, Error> {
        let (config, tls) = &*self.settings;
        let one = self.client().await?;
        let (other, connection) = config.connect(tls.clone()).await.map_err(|e| self.error(e))?;
        // Ends when `other` is dropped.
        tokio::spawn(connection);
        for _ in 0..POOLER_ATTEMPTS {
            if self.backend(&one).await? == self.backend(&other).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The process of the server that answers. Not prepared, because poolers may refuse that.
    async fn backend(&self, client: &tokio_postgres::Client) -> Result<Option<String>, Error> {
        let answer = client.simple_query("SELECT pg_backend_pid()").await;
        let messages = answer.map_err(|e| self.error(e))?;
        Ok(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    pub(crate) fn error(&self, error: tokio_postgres::Error) -> Error {
        if let Some(answer) = error.as_db_error() {
            if answer.code() == &SqlState::READ_ONLY_SQL_TRANSACTION {
                self.renew_connections();
            }
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

fn lock(stale: &Mutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    stale.lock().unwrap_or_else(PoisonError::into_inner)
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
}
