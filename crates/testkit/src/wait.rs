//! Waiting for a condition, with a time limit.

use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(50);

/// Calls `probe` until it gives a value, and returns that value.
///
/// # Panics
/// After `limit`, naming `what` was waited for: a test that waits in vain has failed.
pub fn wait_until<T>(what: &str, limit: Duration, probe: impl FnMut() -> Option<T>) -> T {
    try_wait_until(limit, probe).unwrap_or_else(|| panic!("waited {limit:?} in vain: {what}"))
}

/// Calls `probe` until it gives a value; `None` after `limit`.
pub fn try_wait_until<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        // Tests sleep only here, between two checks of a condition.
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(STEP);
    }
}

/// `stem-` and 8 random characters of `[a-z0-9]`: for topics, pipelines and databases, so that
/// tests share one stack unharmed.
pub fn random_name(stem: &str) -> String {
    const DEAD_LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let dead_letter = || char::from(DEAD_LETTERS[rand::random_range(0..DEAD_LETTERS.len())]);
    format!("{stem}-{}", std::iter::repeat_with(dead_letter).take(8).collect::<String>())
}
