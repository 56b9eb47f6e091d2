//! What ends an instance besides its own work.

use std::net::SocketAddr;
use std::time::Duration;

/// Why an instance of a service ended, when it was not its records, its pipeline file or something
/// it depends on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin pages have no address.
    #[error("cannot listen on {address}: {source}; set WEIR_LISTEN to a free address")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A thread panicked: a fault in weir.
    #[error("{thread} panicked: {message}")]
    Panicked {
        /// The worker's name, or what was being done.
        thread: String,
        /// What the panic said.
        message: String,
    },
    /// The operating system gave no thread.
    #[error("cannot start worker {worker}: {source}")]
    Spawn {
        /// The thread's name.
        worker: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The work was still going on when its time was over.
    #[error("the work did not end within {}s of the signal; what was not committed is read again \
        at the next start", .0.as_secs())]
    NotDrained(Duration),
}
