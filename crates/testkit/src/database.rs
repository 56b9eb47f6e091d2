//! PostgreSQL for tests: blocking calls that may also be made from inside an async test.

use anyhow::{Context, Result};
use std::sync::LazyLock;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, Row, SimpleQueryMessage, types::ToSql};

pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("the operating system gives a process one more thread")
});

/// Runs `future` to its end on a runtime of testkit's own. The extra thread is what makes this
/// legal inside an async test.
pub(crate) fn block<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let done = std::thread::scope(|scope| scope.spawn(|| RUNTIME.block_on(future)).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// One connection to one database.
pub struct Database {
    client: Client,
    url: String,
}

impl Database {
    /// Connects to `postgres://user:password@host:port/database`.
    pub fn connect(url: &str) -> Result<Database> {
        let client = block(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            RUNTIME.spawn(connection);
            anyhow::Ok(client)
        });
        Ok(Database { client: client.context("connect to PostgreSQL")?, url: url.into() })
    }

    /// The URL it was opened with.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs statements, separated by semicolons, without results.
    pub fn execute(&self, sql: &str) -> Result<()> {
        block(self.client.batch_execute(sql)).with_context(|| sql.to_string())
    }

    /// The rows of a query with parameters.
    pub fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        block(self.client.query(sql, parameters)).with_context(|| sql.to_string())
    }

    /// The rows of a query, each value as PostgreSQL writes it, NULL as `None`.
    pub fn texts(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let messages = block(self.client.simple_query(sql)).with_context(|| sql.to_string())?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).map(String::from)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The first value of the first row as text; `None` when there is no row or it is NULL.
    pub fn text(&self, sql: &str) -> Result<Option<String>> {
        Ok(self.texts(sql)?.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }

    /// The first value of the first row as a number.
    pub fn number(&self, sql: &str) -> Result<i64> {
        let text = self.text(sql)?.with_context(|| format!("{sql}: no value"))?;
        text.parse().with_context(|| format!("{sql}: {text}"))
    }
}
