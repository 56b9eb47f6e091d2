//! The metrics of a producer. Everything is counted after its transaction was committed.

use std::time::Duration;
use weir_model::progress::Counters;
use weir_service::Metrics;
use weir_service::metrics::{IntCounter, IntGauge, TransactionMetrics};

/// The producer's metrics; clones share their values.
#[derive(Clone)]
pub struct Meters {
    transactions: TransactionMetrics,
    /// `weir_bytes_written_total`
    bytes: IntCounter,
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
            transactions: TransactionMetrics::new(metrics),
            bytes: metrics.bytes_written(),
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
        let dead = batch.dead.iter().map(|reason| (*reason, 1));
        self.transactions.committed(&batch.counters, dead, batch.took);
        self.bytes.inc_by(batch.bytes);
    }
}
