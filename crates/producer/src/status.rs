//! The content of `/status`.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_model::progress::Progress;

/// Shared between the workers and the admin pages.
#[derive(Clone, Default)]
pub(crate) struct Status {
    partitions: Arc<Mutex<BTreeMap<u32, PartitionStatus>>>,
    /// Partitions that were seen at their end, here.
    ended: Arc<Mutex<BTreeSet<u32>>>,
}

/// One partition of the source that this instance owns.
#[derive(Clone)]
pub(crate) struct PartitionStatus {
    pub(crate) state: &'static str,
    pub(crate) position: Option<Value>,
    pub(crate) progress: Progress,
    pub(crate) reason: Option<String>,
}

impl Status {
    pub(crate) fn set(&self, number: u32, partition: PartitionStatus) {
        if partition.state == "done" {
            self.ended().insert(number);
        }
        self.partitions().insert(number, partition);
    }

    pub(crate) fn remove(&self, number: u32) {
        self.partitions().remove(&number);
    }

    /// Owned partitions, and how many of them are at their end.
    pub(crate) fn count(&self) -> (usize, usize) {
        let partitions = self.partitions();
        (
            partitions.len(),
            partitions.values().filter(|partition| partition.state == "done").count(),
        )
    }

    /// How many partitions this instance has seen at their end, even if another instance owns them
    /// now.
    pub(crate) fn count_ended(&self) -> usize {
        self.ended().len()
    }

    /// The page; `about` is its constant part.
    pub(crate) fn page(&self, about: &Value) -> Value {
        let partitions = self.partitions();
        let list: Vec<_> =
            partitions.iter().map(|(number, partition)| partition.page(*number)).collect();
        let done = !partitions.is_empty()
            && partitions.values().all(|partition| partition.state == "done");
        let mut page = about.clone();
        page["state"] = json!(match (partitions.is_empty(), done) {
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

    fn partitions(&self) -> MutexGuard<'_, BTreeMap<u32, PartitionStatus>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartitionStatus {
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
