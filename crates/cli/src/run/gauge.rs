//! The progress of one service, read from its own metrics.

use std::time::Instant;
use weir_service::Metrics;

/// One hop as shown by `weir run`.
pub(crate) struct Gauge {
    /// The service's display name.
    pub(crate) name: String,
    metrics: Metrics,
    /// Only series of this sink count.
    sink: Option<String>,
    first: Option<(Instant, u64)>,
    last: Option<(Instant, u64)>,
}

/// Running totals of one service since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) read: u64,
    pub(crate) written: u64,
    pub(crate) filtered: u64,
    pub(crate) dead: u64,
    pub(crate) lag: u64,
}

impl Gauge {
    /// `sink`: only series of this sink count.
    pub(crate) fn new(name: &str, metrics: &Metrics, sink: Option<&str>) -> Gauge {
        Gauge {
            name: name.into(),
            metrics: metrics.clone(),
            sink: sink.map(Into::into),
            first: None,
            last: None,
        }
    }

    /// Reads the totals and remembers when they moved.
    pub(crate) fn totals(&mut self) -> Totals {
        let sum = |name| self.metrics.sum(name, self.label()) as u64;
        let totals = Totals {
            read: sum("weir_records_read_total"),
            written: sum("weir_records_written_total"),
            filtered: sum("weir_records_filtered_total"),
            dead: sum("weir_records_dead_total"),
            lag: sum("weir_lag_records"),
        };
        let now = (Instant::now(), totals.read);
        if totals.read > 0 && self.first.is_none() {
            self.first = Some(now);
        }
        if self.last.is_none_or(|(_, read)| read != totals.read) {
            self.last = Some(now);
        }
        totals
    }

    /// Records per second between the first and the last progress seen; `None` before there are two.
    pub(crate) fn rate(&self) -> Option<u64> {
        let ((began, from), (ended, to)) = (self.first?, self.last?);
        let seconds = (ended - began).as_secs_f64();
        (seconds > 0.0).then(|| ((to - from) as f64 / seconds) as u64)
    }

    /// Seconds since the totals last moved.
    pub(crate) fn still_for(&self) -> f64 {
        self.last.map_or(0.0, |(at, _)| at.elapsed().as_secs_f64())
    }

    /// The latency that `share` of the records stayed below, in seconds; `None` without records.
    pub(crate) fn latency(&self, share: f64) -> Option<f64> {
        self.metrics.quantile("weir_latency_seconds", self.label(), share)
    }

    fn label(&self) -> Option<(&str, &str)> {
        self.sink.as_deref().map(|sink| ("sink", sink))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_summed_over_partitions_and_reasons() {
        let metrics = Metrics::new("enricher", "telecom");
        metrics.records_read().inc_by(10);
        let dead = metrics.records_dead();
        dead.add("negative_duration", 2);
        dead.add("truncated", 1);
        let mut gauge = Gauge::new("enricher", &metrics, None);
        assert_eq!(gauge.totals(), Totals { read: 10, dead: 3, ..Totals::default() });
    }

    #[test]
    fn only_series_of_the_named_sink_count() {
        let metrics = Metrics::new("sink", "telecom");
        metrics.with("sink", "a").records_read().inc_by(1);
        metrics.with("sink", "b").records_read().inc_by(5);
        assert_eq!(Gauge::new("b", &metrics, Some("b")).totals().read, 5);
    }

    #[test]
    fn latencies_come_from_the_histogram() {
        let metrics = Metrics::new("sink", "telecom");
        let histogram = metrics.latency_seconds();
        (0..100).for_each(|_| histogram.observe(0.12));
        let median = Gauge::new("sink", &metrics, None).latency(0.5).unwrap();
        assert!((0.1..=0.15).contains(&median), "{median}");
        assert_eq!(Gauge::new("sink", &Metrics::new("sink", "x"), None).latency(0.5), None);
    }
}
