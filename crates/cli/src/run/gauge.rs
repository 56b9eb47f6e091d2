//! The progress of one service, read from its own metrics.

use std::collections::BTreeMap;
use std::time::Instant;
use weir_service::Metrics;

/// One hop as shown by `weir run`.
pub(crate) struct Gauge {
    /// The service's display name.
    pub(crate) name: String,
    metrics: Metrics,
    labels: String,
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
    /// `label`: only series that contain this text count, for instance `sink="warehouse"`.
    pub(crate) fn new(name: &str, metrics: &Metrics, label: Option<String>) -> Gauge {
        Gauge {
            name: name.into(),
            metrics: metrics.clone(),
            labels: label.unwrap_or_default(),
            first: None,
            last: None,
        }
    }

    /// Reads the totals and remembers when they moved.
    pub(crate) fn totals(&mut self) -> Totals {
        let page = Page::of(&self.metrics, &self.labels);
        let sum = |name| page.sum(name) as u64;
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

    /// Records per second between the first and the last progress seen; 0 before there are two.
    pub(crate) fn rate(&self) -> f64 {
        let (Some((began, from)), Some((ended, to))) = (self.first, self.last) else { return 0.0 };
        let seconds = (ended - began).as_secs_f64();
        if seconds > 0.0 { (to - from) as f64 / seconds } else { 0.0 }
    }

    /// Seconds since the totals last moved.
    pub(crate) fn still_for(&self) -> f64 {
        self.last.map_or(0.0, |(at, _)| at.elapsed().as_secs_f64())
    }

    /// The latency that `share` of the records stayed below, in seconds; `None` without records.
    pub(crate) fn latency(&self, share: f64) -> Option<f64> {
        Page::of(&self.metrics, &self.labels).quantile("weir_latency_seconds", share)
    }
}

/// A metrics page, reduced to the relevant series.
struct Page(Vec<(String, f64)>);

impl Page {
    fn of(metrics: &Metrics, label: &str) -> Page {
        let text = metrics
            .render()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let series = text.lines().filter(|line| !line.starts_with('#') && line.contains(label));
        Page(
            series
                .filter_map(|line| line.rsplit_once(' '))
                .filter_map(|(name, value)| Some((name.into(), value.parse().ok()?)))
                .collect(),
        )
    }

    fn sum(&self, name: &str) -> f64 {
        let of = |series: &str| {
            series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        };
        self.0.iter().filter(|(series, _)| of(series)).map(|(_, value)| value).sum()
    }

    /// Interpolated within its bucket.
    fn quantile(&self, name: &str, share: f64) -> Option<f64> {
        let prefix = format!("{name}_bucket{{");
        let mut buckets: BTreeMap<u64, f64> = BTreeMap::new();
        for (series, count) in self.0.iter().filter(|(series, _)| series.starts_with(&prefix)) {
            let bound = series.split("le=\"").nth(1)?.split('"').next()?;
            // Positive floats order like their bits, infinity last.
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse::<f64>().ok()? };
            *buckets.entry(bound.to_bits()).or_default() += count;
        }
        let total = *buckets.values().last()?;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bits, count) in buckets {
            let bound = f64::from_bits(bits);
            if total > 0.0 && count >= share * total {
                return Some(if bound.is_finite() {
                    lower + (bound - lower) * (share * total - below) / (count - below)
                } else {
                    lower
                });
            }
            (lower, below) = (bound, count);
        }
        None
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
        assert_eq!(Gauge::new("b", &metrics, Some("sink=\"b\"".into())).totals().read, 5);
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
