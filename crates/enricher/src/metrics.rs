//! What an enricher counts. Records are counted after their transaction was committed.

use std::time::{Duration, SystemTime};
use weir_kafka::Records;
use weir_model::progress::Counters;
use weir_service::Metrics;
use weir_service::metrics::{Dead, Gauge, Histogram, IntCounter, IntGauge, IntGaugeVec, observe_ages};

/// The enricher's metrics; clones count together.
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
    /// `weir_producer_recycles_total`
    pub(crate) recycles: IntCounter,
    /// `weir_rebalances_total`
    pub(crate) rebalances: IntCounter,
}

/// What one transaction held.
pub(crate) struct Landed<'a> {
    pub(crate) counters: Counters,
    pub(crate) records: &'a Records,
    pub(crate) bytes_written: usize,
    pub(crate) took: Duration,
}

impl Meters {
    /// Declares them in `metrics`.
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
            recycles: metrics.producer_recycles(),
            rebalances: metrics.rebalances(),
        }
    }

    /// `reasons` has one entry per dead letter.
    pub(crate) fn landed<'a>(&self, landed: &Landed<'_>, reasons: impl Iterator<Item = &'a str>) {
        let counters = &landed.counters;
        self.read.inc_by(counters.read);
        self.written.inc_by(counters.written);
        self.filtered.inc_by(counters.filtered);
        reasons.for_each(|reason| self.dead.add(reason, 1));
        self.bytes_read.inc_by(landed.records.bytes() as u64);
        self.bytes_written.inc_by(landed.bytes_written as u64);
        self.unaccounted.add(i64::try_from(counters.unaccounted()).unwrap_or(i64::MAX));
        self.batch.observe(counters.read as f64);
        self.transaction.observe(landed.took.as_secs_f64());
        let stamps = (0..landed.records.len()).map(|i| landed.records.timestamp_ms(i));
        observe_ages(&self.latency, SystemTime::now(), stamps);
    }
}
