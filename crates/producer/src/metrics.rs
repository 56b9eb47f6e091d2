//! The metrics of a producer. Everything is counted after its transaction was committed.

use std::time::Duration;
use weir_model::progress::Counters;
use weir_service::Metrics;
use weir_service::metrics::{Dead, Histogram, IntCounter, IntGauge};

/// The producer's metrics; clones share their values.
#[derive(Clone)]
pub struct Meters {
    /// `weir_records_read_total`
    read: IntCounter,
    /// `weir_records_written_total`
    written: IntCounter,
    /// `weir_records_dead_total{reason}`
    dead: Dead,
    /// `weir_bytes_written_total`
    bytes: IntCounter,
    /// `weir_unaccounted_records`
    unaccounted: IntGauge,
    /// `weir_batch_records`
    batch: Histogram,
    /// `weir_transaction_seconds`
    transaction: Histogram,
    /// `weir_producer_reinitializations_total`
    pub(crate) reinitializations: IntCounter,
    /// `weir_rebalances_total`
    pub(crate) rebalances: IntCounter,
    /// `weir_source_partitions_owned`
    pub(crate) owned: IntGauge,
    /// `weir_source_partitions_done`
    pub(crate) done: IntGauge,
}

/// A committed transaction.
pub(crate) struct BatchMetrics<'a> {
    pub(crate) counters: Counters,
    pub(crate) dead: &'a [&'a str],
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
}

impl Meters {
    /// Registers them in `metrics`.
    pub fn new(metrics: &Metrics) -> Meters {
        Meters {
            read: metrics.records_read(),
            written: metrics.records_written(),
            dead: metrics.records_dead(),
            bytes: metrics.bytes_written(),
            unaccounted: metrics.unaccounted(),
            batch: metrics.batch_records(),
            transaction: metrics.transaction_seconds(),
            reinitializations: metrics.producer_reinitializations(),
            rebalances: metrics.rebalances(),
            owned: metrics.gauge(
                "weir_source_partitions_owned",
                "Partitions of the source that this instance reads",
            ),
            done: metrics.gauge(
                "weir_source_partitions_done",
                "Partitions of the source, of those owned, that are at their end",
            ),
        }
    }

    pub(crate) fn committed(&self, batch: &BatchMetrics<'_>) {
        self.read.inc_by(batch.counters.read);
        self.written.inc_by(batch.counters.written);
        batch.dead.iter().for_each(|reason| self.dead.add(reason, 1));
        self.bytes.inc_by(batch.bytes);
        self.unaccounted.add(i64::try_from(batch.counters.unaccounted()).unwrap_or(i64::MAX));
        self.batch.observe(batch.counters.read as f64);
        self.transaction.observe(batch.took.as_secs_f64());
    }
}
