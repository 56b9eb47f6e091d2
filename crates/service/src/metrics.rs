//! One registry of metrics per service instance, and the metrics that services share by name. A
//! service's own `metrics.rs` declares which of them it keeps.

#![allow(clippy::disallowed_methods)] // metrics are built only here

mod transaction;

pub use transaction::TransactionMetrics;

pub use prometheus::{Gauge, Histogram, IntCounter, IntGauge, IntGaugeVec};

use prometheus::core::Collector;
use prometheus::{Encoder, HistogramOpts, IntCounterVec, Opts, Registry, TextEncoder, proto};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// From a millisecond to a minute, dense around the goals (300 ms and 1 s).
const SECONDS: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75,
    1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0,
];
const RECORDS: &[f64] =
    &[1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0, 100_000.0];
/// So many different reasons of dead letters get a series of their own; the rest count as `other`,
/// so that the input cannot make the page grow.
const REASONS: usize = 64;

/// A registry and the labels that every metric of it carries; clones share the registry.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    labels: HashMap<String, String>,
}

impl Metrics {
    /// An empty registry; all metrics carry the labels `service` and `pipeline`.
    pub fn new(service: &str, pipeline: &str) -> Metrics {
        let labels = [("service", service), ("pipeline", pipeline)]
            .map(|(k, v)| (k.to_string(), v.to_string()));
        Metrics { registry: Registry::new(), labels: labels.into() }
    }

    /// The same registry; metrics made through the result carry one label more, for instance the
    /// sink's name.
    pub fn with(&self, label: &str, value: &str) -> Metrics {
        let mut more = self.clone();
        more.labels.insert(label.into(), value.into());
        more
    }

    /// The page `/metrics`, in Prometheus' text format.
    ///
    /// # Errors
    /// Two metrics that contradict each other; a fault in the code that made them.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        Ok(page)
    }

    /// The sum of all series of a counter or gauge that carry the `label`, if one is given.
    pub fn sum(&self, name: &str, label: Option<(&str, &str)>) -> f64 {
        let value = |metric: &proto::Metric| {
            metric.get_counter().get_value() + metric.get_gauge().get_value()
        };
        self.series(name, label).iter().map(value).sum()
    }

    /// The value that `share` of what a histogram has observed stayed below, over all its series
    /// with the `label`; interpolated within the bucket that holds it. `None` when there is nothing.
    pub fn quantile(&self, name: &str, label: Option<(&str, &str)>, share: f64) -> Option<f64> {
        let series = self.series(name, label);
        let total: u64 =
            series.iter().map(|metric| metric.get_histogram().get_sample_count()).sum();
        let mut buckets = BTreeMap::new();
        for bucket in series.iter().flat_map(|metric| metric.get_histogram().get_bucket()) {
            // Positive floats order like their bits.
            *buckets.entry(bucket.upper_bound().to_bits()).or_insert(0) +=
                bucket.cumulative_count();
        }
        let (wanted, mut lower, mut below) = (share * total as f64, 0.0, 0.0);
        for (bits, count) in buckets {
            let (bound, count) = (f64::from_bits(bits), count as f64);
            if count > 0.0 && count >= wanted && bound.is_finite() {
                return Some(lower + (bound - lower) * (wanted - below) / (count - below));
            }
            (lower, below) = (if bound.is_finite() { bound } else { lower }, count);
        }
        (total > 0).then_some(lower)
    }

    fn series(&self, name: &str, label: Option<(&str, &str)>) -> Vec<proto::Metric> {
        let carries = |metric: &proto::Metric| {
            label.is_none_or(|(name, value)| {
                metric.get_label().iter().any(|l| l.name() == name && l.value() == value)
            })
        };
        let families = self.registry.gather().into_iter().filter(|family| family.name() == name);
        families
            .flat_map(|family| family.get_metric().to_vec())
            .filter(|metric| carries(metric))
            .collect()
    }

    /// A counter of the service's own.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.keep(IntCounter::with_opts(self.opts(name, help)))
    }

    /// A whole-number gauge of the service's own.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.keep(IntGauge::with_opts(self.opts(name, help)))
    }

    /// A gauge with one label, whose values must be few and known.
    pub fn gauge_by(&self, name: &str, help: &str, label: &str) -> IntGaugeVec {
        self.keep(IntGaugeVec::new(self.opts(name, help), &[label]))
    }

    /// A histogram of the service's own.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts { common_opts: self.opts(name, help), buckets: buckets.into() };
        self.keep(Histogram::with_opts(opts))
    }

    /// `weir_records_read_total`
    pub fn records_read(&self) -> IntCounter {
        self.counter("weir_records_read_total", "Records read and committed")
    }

    /// `weir_records_written_total`
    pub fn records_written(&self) -> IntCounter {
        self.counter(
            "weir_records_written_total",
            "Records handed on to the next topic or to the target, and committed",
        )
    }

    /// `weir_records_unnested_total`
    pub fn records_unnested(&self) -> IntCounter {
        self.counter(
            "weir_records_unnested_total",
            "Records written beyond the first one of their input record",
        )
    }

    /// `weir_records_filtered_total`
    pub fn records_filtered(&self) -> IntCounter {
        self.counter("weir_records_filtered_total", "Records that the pipeline's own SQL filtered")
    }

    /// `weir_records_dead_total{reason}`
    pub fn records_dead(&self) -> Dead {
        let opts = self
            .opts("weir_records_dead_total", "Records that went to the dead letters, by reason");
        Dead { counters: self.keep(IntCounterVec::new(opts, &["reason"])), seen: Arc::default() }
    }

    /// `weir_bytes_read_total`
    pub fn bytes_read(&self) -> IntCounter {
        self.counter("weir_bytes_read_total", "Bytes of record values read")
    }

    /// `weir_bytes_written_total`
    pub fn bytes_written(&self) -> IntCounter {
        self.counter("weir_bytes_written_total", "Bytes of record values handed on")
    }

    /// `weir_unaccounted_records`
    pub fn unaccounted(&self) -> IntGauge {
        self.gauge(
            "weir_unaccounted_records",
            "read - written - filtered - dead; anything but 0 \
            is a fault in weir or an external change of its counters",
        )
    }

    /// `weir_lag_records{partition}`
    pub fn lag_records(&self) -> IntGaugeVec {
        self.gauge_by(
            "weir_lag_records",
            "Offsets between the committed position and the end of the partition",
            "partition",
        )
    }

    /// `weir_lag_seconds`
    pub fn lag_seconds(&self) -> Gauge {
        self.keep(Gauge::with_opts(self.opts(
            "weir_lag_seconds",
            "Age of the record committed last while there are more to read; 0 at the end",
        )))
    }

    /// `weir_batch_records`
    pub fn batch_records(&self) -> Histogram {
        self.histogram("weir_batch_records", "Records in one transaction", RECORDS)
    }

    /// `weir_transaction_seconds`
    pub fn transaction_seconds(&self) -> Histogram {
        self.histogram(
            "weir_transaction_seconds",
            "From the begin of a transaction to its outcome",
            SECONDS,
        )
    }

    /// `weir_latency_seconds`
    pub fn latency_seconds(&self) -> Histogram {
        self.histogram(
            "weir_latency_seconds",
            "From the input record's Kafka timestamp to the commit here",
            SECONDS,
        )
    }

    /// `weir_producer_reinitializations_total`
    pub fn producer_reinitializations(&self) -> IntCounter {
        self.counter(
            "weir_producer_reinitializations_total",
            "Transactional producers rebuilt because an outcome was not a definite success",
        )
    }

    /// `weir_rebalances_total`
    pub fn rebalances(&self) -> IntCounter {
        self.counter("weir_rebalances_total", "Assignments and revocations of partitions")
    }

    /// `weir_fence_losses_total`
    pub fn fence_losses(&self) -> IntCounter {
        self.counter(
            "weir_fence_losses_total",
            "Times that another instance had taken over what this one was about to commit",
        )
    }

    pub(crate) fn dependency_up(&self) -> IntGaugeVec {
        self.gauge_by("weir_dependency_up", "1 while the dependency answers", "dependency")
    }

    fn opts(&self, name: &str, help: &str) -> Opts {
        Opts::new(name, help).const_labels(self.labels.clone())
    }

    /// Names and labels are constants of the code. Two metrics of one name are a fault in the code;
    /// the second then counts without being shown, which is better than a service that does not
    /// start because of its metrics.
    fn keep<C: Collector + Clone + 'static>(&self, metric: prometheus::Result<C>) -> C {
        let metric = metric.expect("names and labels of metrics are valid constants");
        if let Err(error) = self.registry.register(Box::new(metric.clone())) {
            tracing::error!(%error, "a metric is not shown");
        }
        metric
    }
}

/// Observes how old each record was `at` the moment of its commit, given the records' Kafka
/// timestamps in milliseconds since 1970; records without one (negative) are left out. Gathered
/// locally: the shared histogram is touched once per batch.
pub fn observe_ages(latency: &Histogram, at: SystemTime, timestamps_ms: impl Iterator<Item = i64>) {
    let now = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    let local = latency.local();
    for stamp in timestamps_ms.filter(|stamp| *stamp >= 0) {
        local.observe((now - stamp).max(0) as f64 / 1000.0);
    }
    local.flush();
}

/// `weir_records_dead_total{reason}` with a bound on the number of reasons.
#[derive(Clone)]
pub struct Dead {
    counters: IntCounterVec,
    seen: Arc<Mutex<HashSet<String>>>,
}

impl Dead {
    /// Counts `records` dead letters with this reason; after 64 different reasons, under `other`.
    pub fn add(&self, reason: &str, records: u64) {
        self.counters.with_label_values(&[self.label(reason)]).inc_by(records);
    }

    fn label<'a>(&self, reason: &'a str) -> &'a str {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(reason) {
            return reason;
        }
        if seen.len() >= REASONS {
            return "other";
        }
        seen.insert(reason.into());
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render().unwrap()).unwrap()
    }

    #[test]
    fn two_services_in_one_process_count_apart() {
        let (a, b) = (Metrics::new("sink", "telecom"), Metrics::new("sink", "telecom"));
        a.records_read().inc_by(5);
        b.records_read().inc_by(7);
        assert!(
            page(&a).contains(r#"weir_records_read_total{pipeline="telecom",service="sink"} 5"#),
            "{}",
            page(&a)
        );
        assert!(
            page(&b).contains(r#"weir_records_read_total{pipeline="telecom",service="sink"} 7"#),
            "{}",
            page(&b)
        );
    }

    #[test]
    fn two_sinks_of_one_service_share_the_page() {
        let metrics = Metrics::new("sink", "telecom");
        for (name, count) in [("warehouse", 1), ("archive", 2)] {
            metrics.with("sink", name).records_written().inc_by(count);
        }
        assert!(page(&metrics).contains(
            r#"weir_records_written_total{pipeline="telecom",service="sink",sink="archive"} 2"#
        ));
        assert!(page(&metrics).contains(
            r#"weir_records_written_total{pipeline="telecom",service="sink",sink="warehouse"} 1"#
        ));
    }

    #[test]
    fn unbounded_reasons_do_not_grow_the_page() {
        let metrics = Metrics::new("enricher", "telecom");
        let dead = metrics.records_dead();
        (0..1000).for_each(|n| dead.add(&format!("reason {n}"), 1));
        dead.add("reason 0", 1);
        let page = page(&metrics);
        assert_eq!(
            page.lines().filter(|l| l.starts_with("weir_records_dead_total{")).count(),
            REASONS + 1
        );
        assert!(page.contains(r#"reason="other",service="enricher"} 936"#), "{page}");
        assert!(page.contains(r#"reason="reason 0",service="enricher"} 2"#), "{page}");
    }
}
