//! Free ports that stay free while their component is down.

use anyhow::{Context, Result};
use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex};

/// Below Linux's range of ephemeral ports (32768 and up). A port from inside that range could be
/// given to any outgoing connection while its component restarts, and a client that keeps knocking
/// at such a port may even end up connected to itself.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port of 127.0.0.1 on which nothing listens, and that this process has not given out before.
pub(crate) fn free() -> Result<u16> {
    (0..1000)
        .map(|_| rand::random_range(RANGE))
        .find(|&port| {
            TcpListener::bind(("127.0.0.1", port)).is_ok()
                && TAKEN.lock().is_ok_and(|mut taken| taken.insert(port))
        })
        .context("no free port between 12000 and 32000 on 127.0.0.1")
}
