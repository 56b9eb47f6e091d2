//! The content of `/status`.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_model::protocol::StateMachine;

/// Shared between the workers and the admin pages: worker → what it does.
#[derive(Clone, Default)]
pub(crate) struct Status {
    workers: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Status {
    /// Shows the partitions of `worker`, which works for `sink`.
    pub(crate) fn publish(
        &self,
        worker: &str,
        sink: &str,
        machine: &StateMachine,
        lags: &BTreeMap<i32, i64>,
    ) {
        let held = machine.committed().map(|(partition, next, progress)| {
            let c = &progress.counters;
            let lag = lags.get(&partition);
            json!({
                "partition": partition,
                "next": next,
                "lag": lag,
                "read": c.read,
                "written": c.written,
                "dead": c.dead,
                "state": "running",
            })
        });
        let halted =
            machine.halted().map(|(partition, halt)| {
                json!({"partition": partition, "state": "halted", "reason": halt.to_string()})
            });
        let partitions: Vec<Value> = held.chain(halted).collect();
        self.workers().insert(worker.into(), json!({"sink": sink, "partitions": partitions}));
    }

    /// The page; `about` is its constant part.
    pub(crate) fn page(&self, about: &Value) -> Value {
        let mut page = about.clone();
        page["workers"] = json!(*self.workers());
        page
    }

    fn workers(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
