//! The content of `/status`, shared between the workers and the admin pages.

use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use weir_model::fault::Fault;
use weir_model::progress::Progress;
use weir_model::protocol::{Offset, Partition};

/// The number of recent faults shown.
const FAULTS: usize = 10;

/// Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Status(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    workers: BTreeMap<usize, Snapshot>,
    faults: VecDeque<Value>,
    rate: Option<Rate>,
    read: u64,
}

/// One worker, at one time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) partitions: Vec<(Partition, Option<Offset>, Progress)>,
    pub(crate) halted: Vec<(Partition, String)>,
}

/// Records per second between two looks at the page.
struct Rate {
    since: Instant,
    read: u64,
    per_second: f64,
}

impl Status {
    pub(crate) fn set(&self, worker: usize, snapshot: Snapshot) {
        self.inner().workers.insert(worker, snapshot);
    }

    pub(crate) fn add_read(&self, read: u64) {
        self.inner().read += read;
    }

    /// Without its detail, which may quote the record: that is for the dead letters alone.
    pub(crate) fn add_fault(&self, partition: Partition, offset: Offset, fault: &Fault) {
        let mut inner = self.inner();
        inner.faults.truncate(FAULTS - 1);
        let at = json!({ "partition": partition, "offset": offset });
        inner
            .faults
            .push_front(json!({ "at": at, "stage": fault.stage.as_str(), "reason": fault.reason }));
    }

    /// The page; `about` is its constant part.
    pub(crate) fn page(&self, about: &Value, lag: impl Fn(Partition) -> Option<i64>) -> Value {
        let mut inner = self.inner();
        let rate = inner.rate();
        let mut page = about.clone();
        let partitions = inner
            .workers
            .iter()
            .flat_map(|(worker, s)| s.partitions.iter().map(|p| partition(*worker, p, lag(p.0))));
        page["partitions"] = partitions.collect();
        let halted = inner.workers.values().flat_map(|s| &s.halted);
        page["halted"] = halted
            .map(|(partition, why)| json!({ "partition": partition, "reason": why }))
            .collect();
        page["records_per_second"] = json!(rate.round());
        page["last_faults"] = inner.faults.iter().cloned().collect();
        page
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn rate(&mut self) -> f64 {
        let (now, read) = (Instant::now(), self.read);
        let rate = self.rate.get_or_insert(Rate { since: now, read, per_second: 0.0 });
        let seconds = now.duration_since(rate.since).as_secs_f64();
        if seconds >= 1.0 {
            *rate = Rate { since: now, read, per_second: (read - rate.read) as f64 / seconds };
        }
        rate.per_second
    }
}

fn partition(
    worker: usize,
    (partition, next, progress): &(Partition, Option<Offset>, Progress),
    lag: Option<i64>,
) -> Value {
    let c = &progress.counters;
    json!({
        "partition": partition, "worker": worker, "next_offset": next, "lag": lag,
        "read": c.read, "written": c.written, "filtered": c.filtered, "dead": c.dead,
        "unnested": c.unnested,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::fault::Stage;

    #[test]
    fn the_page_shows_positions_and_the_last_faults_only() {
        let status = Status::default();
        status.set(
            0,
            Snapshot {
                partitions: vec![(2, Some(7), Progress::default())],
                halted: vec![(1, "lost".into())],
            },
        );
        for offset in 0..20 {
            status.add_fault(
                2,
                offset,
                &Fault { stage: Stage::Rule, reason: "r".into(), detail: "`4111`".into() },
            );
        }
        let page = status.page(&json!({ "service": "enricher" }), |_| Some(3));
        assert_eq!(
            (
                &page["service"],
                &page["partitions"][0]["next_offset"],
                &page["partitions"][0]["lag"]
            ),
            (&json!("enricher"), &json!(7), &json!(3))
        );
        assert_eq!(page["halted"][0]["reason"], "lost");
        assert_eq!(page["last_faults"].as_array().map(Vec::len), Some(FAULTS));
        assert_eq!(page["last_faults"][0]["at"]["offset"], 19);
        assert!(!page.to_string().contains("4111"), "what a record holds is not shown: {page}");
    }
}
