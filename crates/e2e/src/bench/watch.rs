//! Measures one process from outside: progress, CPU time and memory.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weir_testkit::Service;
use weir_testkit::service::Program;
use weir_testkit::wait::try_wait_until;

/// The measurements of a run, from the first sample with progress to the last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    /// Records done within the measured span.
    pub(crate) records: u64,
    /// Wall-clock seconds of the span.
    pub(crate) seconds: f64,
    /// User + system CPU seconds of the span.
    pub(crate) cpu: f64,
    /// Largest resident set seen, MiB.
    pub(crate) peak_mib: f64,
    /// Resident set at a third of the way and at the end, MiB: flat when they agree.
    pub(crate) third_mib: f64,
    /// See `third_mib`.
    pub(crate) end_mib: f64,
}

impl Measured {
    /// Records per wall-clock second.
    pub(crate) fn rate(&self) -> f64 {
        self.records as f64 / self.seconds
    }

    /// CPU microseconds per record.
    pub(crate) fn micros(&self) -> f64 {
        self.cpu * 1e6 / self.records as f64
    }
}

/// A running service and its samples.
pub(crate) struct Watched {
    service: Service,
    samples: Vec<Sample>,
    started: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: f64,
    clock: f64,
    done: u64,
    cpu: f64,
    rss_mib: f64,
}

impl Watched {
    /// Starts `program` with the pipeline `file`; its log goes to that file's folder.
    pub(crate) fn start(program: &str, file: &Path) -> Result<Watched> {
        let folder = file.parent().context("a pipeline file is in a folder")?;
        let env = BTreeMap::from([("WEIR_INSTANCE".into(), "bench-0".into())]);
        let service = Program::new(program, &[&file.to_string_lossy()], &env, folder).start()?;
        Ok(Watched { service, samples: Vec::new(), started: Instant::now() })
    }

    /// The metrics page.
    pub(crate) fn page(&self) -> Result<String> {
        Ok(self.service.get("/metrics")?.body)
    }

    /// The value of a metric.
    pub(crate) fn value(&self, metric: &str) -> Result<f64> {
        self.service.metric(metric, "")
    }

    /// Takes one sample; `metric` is the progress counter.
    pub(crate) fn sample(&mut self, metric: &str) -> Result<u64> {
        self.service.expect_running()?;
        // The page comes up a little later than the process.
        let done = self.service.metric(metric, "").unwrap_or(0.0) as u64;
        let (cpu, rss_mib) = usage(self.service.id())?;
        let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        self.samples.push(Sample {
            at: self.started.elapsed().as_secs_f64(),
            clock,
            done,
            cpu,
            rss_mib,
        });
        Ok(done)
    }

    /// Samples until `metric` counts `records`, for at most `limit`.
    pub(crate) fn until(
        &mut self,
        metric: &str,
        records: u64,
        limit: Duration,
    ) -> Result<Measured> {
        let mut done = 0;
        let reached = until(limit, || {
            done = self.sample(metric)?;
            Ok(done >= records)
        });
        reached.with_context(|| format!("{}: {done} of {records} records", self.service.name()))?;
        Ok(self.measured())
    }

    /// The span from the first progress to the end of it.
    pub(crate) fn measured(&self) -> Measured {
        let Some(last) =
            self.samples.iter().find(|s| Some(s.done) == self.samples.last().map(|l| l.done))
        else {
            return Measured::default();
        };
        let first = self.samples.iter().find(|s| s.done > 0).unwrap_or(last);
        let third = self.samples.iter().find(|s| s.done > last.done / 3).unwrap_or(last);
        Measured {
            records: last.done - first.done,
            seconds: last.at - first.at,
            cpu: last.cpu - first.cpu,
            peak_mib: self.samples.iter().map(|s| s.rss_mib).fold(0.0, f64::max),
            third_mib: third.rss_mib,
            end_mib: last.rss_mib,
        }
    }

    /// When progress was first seen, in seconds since the start of the benchmark's clock.
    pub(crate) fn first_at(&self) -> f64 {
        self.samples.iter().find(|s| s.done > 0).map_or(f64::INFINITY, |s| s.clock)
    }

    /// When the last progress was seen, on the same clock.
    pub(crate) fn last_at(&self) -> f64 {
        let end = self.samples.last().map(|l| l.done);
        self.samples.iter().find(|s| Some(s.done) == end).map_or(0.0, |s| s.clock)
    }

    /// Waits until it is ready.
    pub(crate) fn ready(&mut self) -> Result<()> {
        self.service.wait_ready()
    }

    /// Stops it and waits until it has drained.
    pub(crate) fn stop(self) -> Result<()> {
        let status = self.service.stop()?;
        ensure!(status.success(), "the process did not drain: {status}");
        Ok(())
    }
}

/// Polls until the answer is yes; an error after `limit`.
pub(crate) fn until(limit: Duration, mut reached: impl FnMut() -> Result<bool>) -> Result<()> {
    let answered = try_wait_until(limit, || match reached() {
        Ok(false) => None,
        Ok(true) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    });
    answered.with_context(|| format!("not reached within {limit:?}"))?
}

/// User + system seconds and resident MiB of a process, from /proc.
fn usage(pid: u32) -> Result<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().filter_map(|&i| fields.get(i)?.parse::<f64>().ok()).sum();
    let pages: f64 = fields.get(21).and_then(|f| f.parse().ok()).unwrap_or(0.0);
    // Linux reports in hundredths of a second and in pages of 4 KiB on every machine this runs on.
    Ok((ticks / 100.0, pages * 4096.0 / 1048576.0))
}

/// The value below which `share` of a histogram's observations lie that came between two pages,
/// interpolated within its bucket.
pub(crate) fn quantile(before: &str, after: &str, name: &str, share: f64) -> Option<f64> {
    let earlier = buckets(before, name);
    let counts: Vec<(f64, f64)> = buckets(after, name)
        .into_iter()
        .map(|(bits, count)| (f64::from_bits(bits), count - earlier.get(&bits).unwrap_or(&0.0)))
        .collect();
    let total = counts.last()?.1;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in counts {
        if total > 0.0 && count >= share * total {
            return Some(if bound.is_finite() {
                lower + (bound - lower) * (share * total - below) / (count - below).max(1.0)
            } else {
                bound
            });
        }
        (lower, below) = (bound, count);
    }
    None
}

/// Upper bound (as bits, which order like the positive numbers they are) → cumulated count, summed
/// over all series.
fn buckets(page: &str, name: &str) -> BTreeMap<u64, f64> {
    let prefix = format!("{name}_bucket{{");
    let mut buckets = BTreeMap::new();
    for line in page.lines().filter(|l| l.starts_with(&prefix)) {
        let bound = line.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
        let bound = bound.and_then(|bound| {
            if bound == "+Inf" { Some(f64::INFINITY) } else { bound.parse::<f64>().ok() }
        });
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
        if let (Some(bound), Some(count)) = (bound, count) {
            *buckets.entry(bound.to_bits()).or_default() += count;
        }
    }
    buckets
}
