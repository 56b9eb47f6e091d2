//! The metrics of an enricher. Records are counted after their transaction was committed.

use crate::batch::Batch;
use std::time::{Duration, SystemTime};
use weir_service::Metrics;
use weir_service::metrics::{
    Dead, Gauge, Histogram, IntCounter, IntGauge, IntGaugeVec, observe_ages,
};

/// The enricher's metrics; clones share their values.
#[derive(Clone)]
pub struct Meters {
    /// `weir_records_read_total`
    read: IntCounter,
    /// `weir_records_written_total`
    written: IntCounter,
    /// `weir_records_filtered_total`
    filtered: IntCounter,
    /// `weir_records_dead_total{reason}`
    dead: Dead,
    /// `weir_bytes_read_total`
    bytes_read: IntCounter,
    /// `weir_bytes_written_total`
    bytes_written: IntCounter,
    /// `weir_unaccounted_records`
    unaccounted: IntGauge,
    /// `weir_batch_records`
    batch: Histogram,
    /// `weir_transaction_seconds`
    transaction: Histogram,
    /// `weir_latency_seconds`
    latency: Histogram,
    /// `weir_lag_records{partition}`
    pub(crate) lag_records: IntGaugeVec,
    /// `weir_lag_seconds`
    pub(crate) lag_seconds: Gauge,
    /// `weir_producer_reinitializations_total`
    pub(crate) reinitializations: IntCounter,
    /// `weir_rebalances_total`
    pub(crate) rebalances: IntCounter,
}

impl Meters {
    /// Registers them in `metrics`.
    pub fn new(metrics: &Metrics) -> Meters {
        Meters {
            read: metrics.records_read(),
            written: metrics.records_written(),
            filtered: metrics.records_filtered(),
            dead: metrics.records_dead(),
            bytes_read: metrics.bytes_read(),
            bytes_written: metrics.bytes_written(),
            unaccounted: metrics.unaccounted(),
            batch: metrics.batch_records(),
            transaction: metrics.transaction_seconds(),
            latency: metrics.latency_seconds(),
            lag_records: metrics.lag_records(),
            lag_seconds: metrics.lag_seconds(),
            reinitializations: metrics.producer_reinitializations(),
            rebalances: metrics.rebalances(),
        }
    }

    /// Counts a committed transaction that took `took`.
    pub(crate) fn committed(&self, batch: &Batch, took: Duration) {
        let counters = batch.counts.counters();
        self.read.inc_by(counters.read);
        self.written.inc_by(counters.written);
        self.filtered.inc_by(counters.filtered);
        batch.reasons.iter().for_each(|(reason, records)| self.dead.add(reason, *records));
        self.bytes_read.inc_by(batch.bytes_read as u64);
        self.bytes_written.inc_by(batch.bytes_written as u64);
        self.unaccounted.add(i64::try_from(counters.unaccounted()).unwrap_or(i64::MAX));
        self.batch.observe(counters.read as f64);
        self.transaction.observe(took.as_secs_f64());
        observe_ages(&self.latency, SystemTime::now(), batch.timestamps_ms.iter().copied());
    }
}
