//! What every service counts of a committed transaction.

use super::{Dead, Histogram, IntCounter, IntGauge, Metrics};
use std::time::Duration;
use weir_model::progress::Counters;

/// Counters and histograms of committed transactions; clones count together.
#[derive(Clone)]
pub struct TransactionMetrics {
    /// `weir_records_read_total`
    read: IntCounter,
    /// `weir_records_written_total`
    written: IntCounter,
    /// `weir_records_filtered_total`
    filtered: IntCounter,
    /// `weir_records_unnested_total`
    unnested: IntCounter,
    /// `weir_records_dead_total{reason}`
    dead: Dead,
    /// `weir_unaccounted_records`
    unaccounted: IntGauge,
    /// `weir_batch_records`
    records: Histogram,
    /// `weir_transaction_seconds`
    seconds: Histogram,
}

impl TransactionMetrics {
    /// Declares them in `metrics`.
    pub fn new(metrics: &Metrics) -> TransactionMetrics {
        TransactionMetrics {
            read: metrics.records_read(),
            written: metrics.records_written(),
            filtered: metrics.records_filtered(),
            unnested: metrics.records_unnested(),
            dead: metrics.records_dead(),
            unaccounted: metrics.unaccounted(),
            records: metrics.batch_records(),
            seconds: metrics.transaction_seconds(),
        }
    }

    /// Counts a transaction with these counters and numbers of dead letters per reason, which was
    /// confirmed `took` after it began.
    pub fn committed<'a>(
        &self,
        counters: &Counters,
        dead: impl Iterator<Item = (&'a str, u64)>,
        took: Duration,
    ) {
        self.read.inc_by(counters.read);
        self.written.inc_by(counters.written);
        self.filtered.inc_by(counters.filtered);
        self.unnested.inc_by(counters.unnested);
        dead.for_each(|(reason, num_records)| self.dead.add(reason, num_records));
        self.unaccounted.add(i64::try_from(counters.unaccounted()).unwrap_or(i64::MAX));
        self.records.observe(counters.read as f64);
        self.seconds.observe(took.as_secs_f64());
    }
}
