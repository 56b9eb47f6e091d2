//! The metrics of a sink. Records are counted after their transaction was committed. If the
//! instance runs several sinks, the sink's name is a label.

use crate::part::Contents;
use std::time::{Duration, SystemTime};
use weir_model::progress::Counters;
use weir_model::protocol::Partition;
use weir_service::Metrics;
use weir_service::metrics::{
    Gauge, Histogram, IntCounter, IntGaugeVec, TransactionMetrics, observe_ages,
};

/// The sink's metrics; clones share their values.
#[derive(Clone)]
pub struct Meters {
    transactions: TransactionMetrics,
    /// `weir_bytes_read_total`
    bytes_read: IntCounter,
    /// `weir_bytes_written_total`
    bytes_written: IntCounter,
    /// `weir_lag_records{partition}`
    lag_records: IntGaugeVec,
    /// `weir_lag_seconds`
    age: Gauge,
    /// `weir_latency_seconds`
    latency: Histogram,
    /// `weir_rebalances_total`
    pub(crate) rebalances: IntCounter,
    /// `weir_fence_losses_total`
    pub(crate) fence_losses: IntCounter,
}

/// A committed transaction.
pub(crate) struct BatchMetrics<'a, D> {
    pub(crate) counters: Counters,
    /// Reasons of its dead letters.
    pub(crate) dead: D,
    pub(crate) contents: &'a Contents,
    /// Bytes that were sent to the target.
    pub(crate) bytes: usize,
    pub(crate) took: Duration,
    /// When the commit was confirmed.
    pub(crate) at: SystemTime,
}

impl Meters {
    /// Registers them in `metrics`.
    pub fn new(metrics: &Metrics) -> Meters {
        Meters {
            transactions: TransactionMetrics::new(metrics),
            bytes_read: metrics.bytes_read(),
            bytes_written: metrics.bytes_written(),
            lag_records: metrics.lag_records(),
            age: metrics.lag_seconds(),
            latency: metrics.latency_seconds(),
            rebalances: metrics.rebalances(),
            fence_losses: metrics.fence_losses(),
        }
    }

    pub(crate) fn committed<'a>(&self, batch: BatchMetrics<'a, impl Iterator<Item = &'a String>>) {
        let dead = batch.dead.map(|reason| (reason.as_str(), 1));
        self.transactions.committed(&batch.counters, dead, batch.took);
        self.bytes_read.inc_by(batch.contents.num_bytes as u64);
        self.bytes_written.inc_by(batch.bytes as u64);
        let timestamps = batch.contents.timestamps.iter();
        let each = timestamps.flat_map(|(stamp, times)| std::iter::repeat_n(*stamp, *times));
        observe_ages(&self.latency, batch.at, each);
    }

    /// How far behind a partition is, in offsets.
    pub(crate) fn lag(&self, partition: Partition, offsets: i64) {
        self.lag_records.with_label_values(&[&partition.to_string()]).set(offsets);
    }

    /// A partition that this instance no longer has.
    pub(crate) fn remove_partition(&self, partition: Partition) {
        // It has no series when its lag was never asked for.
        self.lag_records.remove_label_values(&[&partition.to_string()]).ok();
    }

    /// Age of the record committed last, while there are more to read.
    pub(crate) fn age(&self, age: Duration) {
        self.age.set(age.as_secs_f64());
    }
}
