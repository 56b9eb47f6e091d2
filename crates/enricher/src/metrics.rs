//! The metrics of an enricher. Records are counted after their transaction was committed.

use crate::batch::Batch;
use std::time::{Duration, SystemTime};
use weir_service::Metrics;
use weir_service::metrics::{
    Gauge, Histogram, IntCounter, IntGaugeVec, TransactionMetrics, observe_ages,
};

/// The enricher's metrics; clones share their values.
#[derive(Clone)]
pub struct Meters {
    transactions: TransactionMetrics,
    /// `weir_bytes_read_total`
    bytes_read: IntCounter,
    /// `weir_bytes_written_total`
    bytes_written: IntCounter,
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
            transactions: TransactionMetrics::new(metrics),
            bytes_read: metrics.bytes_read(),
            bytes_written: metrics.bytes_written(),
            latency: metrics.latency_seconds(),
            lag_records: metrics.lag_records(),
            lag_seconds: metrics.lag_seconds(),
            reinitializations: metrics.producer_reinitializations(),
            rebalances: metrics.rebalances(),
        }
    }

    /// Counts a committed transaction that took `took`.
    pub(crate) fn committed(&self, batch: &Batch, took: Duration) {
        let dead = batch.reasons.iter().map(|(reason, records)| (reason.as_str(), *records));
        self.transactions.committed(&batch.counts.counters(), dead, took);
        self.bytes_read.inc_by(batch.bytes_read as u64);
        self.bytes_written.inc_by(batch.bytes_written as u64);
        observe_ages(&self.latency, SystemTime::now(), batch.timestamps_ms.iter().copied());
    }
}
