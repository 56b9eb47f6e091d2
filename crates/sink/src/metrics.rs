//! What a sink counts. Records are counted after their transaction was committed; those of one sink
//! carry its name as a label when the instance runs several.

use std::time::{Duration, SystemTime};
use weir_kafka::Records;
use weir_model::progress::Counters;
use weir_model::protocol::Partition;
use weir_service::Metrics;
use weir_service::metrics::{
    Dead, Gauge, Histogram, IntCounter, IntGauge, IntGaugeVec, observe_ages,
};

/// The sink's metrics; clones count together.
#[derive(Clone)]
pub struct Meters {
    /// `weir_records_read_total`
    read: IntCounter,
    /// `weir_records_written_total`
    written: IntCounter,
    /// `weir_records_dead_total{reason}`
    dead: Dead,
    /// `weir_bytes_read_total`
    bytes_read: IntCounter,
    /// `weir_bytes_written_total`
    bytes_written: IntCounter,
    /// `weir_unaccounted_records`
    unaccounted: IntGauge,
    /// `weir_lag_records{partition}`
    lag: IntGaugeVec,
    /// `weir_lag_seconds`
    age: Gauge,
    /// `weir_batch_records`
    batch: Histogram,
    /// `weir_transaction_seconds`
    transaction: Histogram,
    /// `weir_latency_seconds`
    latency: Histogram,
    /// `weir_rebalances_total`
    pub(crate) rebalances: IntCounter,
    /// `weir_fence_losses_total`
    pub(crate) fence_losses: IntCounter,
}

/// What one committed transaction held.
pub(crate) struct Landed<'a> {
    pub(crate) counters: Counters,
    /// Reasons of its dead letters.
    pub(crate) dead: &'a [String],
    pub(crate) records: &'a Records,
    pub(crate) bytes: usize,
    pub(crate) took: Duration,
    /// When COMMIT was confirmed.
    pub(crate) at: SystemTime,
}

impl Meters {
    /// Declares them in `metrics`.
    pub fn new(metrics: &Metrics) -> Meters {
        Meters {
            read: metrics.records_read(),
            written: metrics.records_written(),
            dead: metrics.records_dead(),
            bytes_read: metrics.bytes_read(),
            bytes_written: metrics.bytes_written(),
            unaccounted: metrics.unaccounted(),
            lag: metrics.lag_records(),
            age: metrics.lag_seconds(),
            batch: metrics.batch_records(),
            transaction: metrics.transaction_seconds(),
            latency: metrics.latency_seconds(),
            rebalances: metrics.rebalances(),
            fence_losses: metrics.fence_losses(),
        }
    }

    pub(crate) fn landed(&self, landed: &Landed<'_>) {
        self.read.inc_by(landed.counters.read);
        self.written.inc_by(landed.counters.written);
        landed.dead.iter().for_each(|reason| self.dead.add(reason, 1));
        self.bytes_read.inc_by(landed.records.bytes() as u64);
        self.bytes_written.inc_by(landed.bytes as u64);
        self.unaccounted.add(i64::try_from(landed.counters.unaccounted()).unwrap_or(i64::MAX));
        self.batch.observe(landed.counters.read as f64);
        self.transaction.observe(landed.took.as_secs_f64());
        let stamps = (0..landed.records.len()).map(|i| landed.records.timestamp_ms(i));
        observe_ages(&self.latency, landed.at, stamps);
    }

    /// How far behind a partition is, in offsets.
    pub(crate) fn lags(&self, partition: Partition, offsets: i64) {
        self.lag.with_label_values(&[&partition.to_string()]).set(offsets);
    }

    /// A partition that this instance no longer has.
    pub(crate) fn forget(&self, partition: Partition) {
        // It has no series when its lag was never asked for.
        self.lag.remove_label_values(&[&partition.to_string()]).ok();
    }

    /// Age of the record committed last, while there are more to read.
    pub(crate) fn age(&self, age: Duration) {
        self.age.set(age.as_secs_f64());
    }
}
