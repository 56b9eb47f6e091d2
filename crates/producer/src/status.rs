//! What `/status` shows.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_model::progress::Progress;

/// Shared between the workers and the admin pages.
#[derive(Clone, Default)]
pub(crate) struct Status {
    parts: Arc<Mutex<BTreeMap<u32, Part>>>,
    /// Partitions that were seen at their end, here.
    ended: Arc<Mutex<BTreeSet<u32>>>,
}

/// One partition of the source that this instance owns.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) state: &'static str,
    pub(crate) position: Option<Value>,
    pub(crate) progress: Progress,
    pub(crate) reason: Option<String>,
}

impl Status {
    pub(crate) fn set(&self, number: u32, part: Part) {
        if part.state == "done" {
            self.ended().insert(number);
        }
        self.parts().insert(number, part);
    }

    pub(crate) fn remove(&self, number: u32) {
        self.parts().remove(&number);
    }

    /// Owned partitions, and how many of them are at their end.
    pub(crate) fn count(&self) -> (usize, usize) {
        let parts = self.parts();
        (parts.len(), parts.values().filter(|part| part.state == "done").count())
    }

    /// How many partitions this instance has seen at their end, whoever owns them now.
    pub(crate) fn count_ended(&self) -> usize {
        self.ended().len()
    }

    /// The page; `about` is what does not change.
    pub(crate) fn page(&self, about: &Value) -> Value {
        let parts = self.parts();
        let list: Vec<_> = parts.iter().map(|(number, part)| part.page(*number)).collect();
        let done = !parts.is_empty() && parts.values().all(|part| part.state == "done");
        let mut page = about.clone();
        page["state"] = json!(match (parts.is_empty(), done) {
            (true, _) => "standby",
            (false, true) => "done",
            (false, false) => "running",
        });
        page["partitions"] = list.into();
        page
    }

    fn ended(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<u32, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn page(&self, number: u32) -> Value {
        let counters = &self.progress.counters;
        let mut page = json!({
            "partition": number,
            "state": self.state,
            "position": self.position,
            "read": counters.read,
            "written": counters.written,
            "dead": counters.dead,
        });
        if let Some(reason) = &self.reason {
            page["reason"] = reason.as_str().into();
        }
        page
    }
}
