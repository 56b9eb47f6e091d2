//! One process under measurement: what it has done, the CPU it took and the memory it held, sampled from outside.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Between two looks at a process.
const SAMPLE: Duration = Duration::from_millis(20);

/// What a run came to, from the first sample that showed progress to the last.
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

/// A running service whose admin page answers.
pub(crate) struct Watched {
    child: Child,
    address: SocketAddr,
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
    /// Starts `program` of the folder this benchmark was built into, with its admin page on a free port.
    pub(crate) fn start(program: &str, args: &[&str]) -> Result<Watched> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let path = std::env::current_exe()?.with_file_name(program);
        let child = Command::new(&path)
            .args(args)
            .env("WEIR_LISTEN", address.to_string())
            .env("WEIR_INSTANCE", "bench-0")
            .stdout(Stdio::null())
            .stderr(std::fs::File::options().create(true).append(true).open(std::env::temp_dir().join("weir-bench.log"))?)
            .spawn()
            .with_context(|| format!("cannot start {}", path.display()))?;
        Ok(Watched { child, address, samples: Vec::new(), started: Instant::now() })
    }

    /// Sums the samples of one metric over its labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        Some(sum(&self.metrics()?, name))
    }

    /// The metrics page.
    pub(crate) fn metrics(&self) -> Option<String> {
        get(self.address, "/metrics").ok()
    }

    /// Takes one sample; `metric` counts what is done.
    pub(crate) fn sample(&mut self, metric: &[&str]) -> Result<u64> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the process ended early with {status}; its log is {}", std::env::temp_dir().join("weir-bench.log").display());
        }
        let page = self.metrics().unwrap_or_default();
        let done = metric.iter().map(|m| sum(&page, m)).sum::<f64>() as u64;
        let (cpu, rss_mib) = usage(self.child.id())?;
        let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        self.samples.push(Sample { at: self.started.elapsed().as_secs_f64(), clock, done, cpu, rss_mib });
        Ok(done)
    }

    /// Waits until `metric` counts `records`, for at most `limit`.
    pub(crate) fn until(&mut self, metric: &[&str], records: u64, limit: Duration) -> Result<Measured> {
        loop {
            let done = self.sample(metric)?;
            if done >= records {
                return Ok(self.measured());
            }
            if self.started.elapsed() > limit {
                bail!("only {done} of {records} records after {limit:?}; log: {}", std::env::temp_dir().join("weir-bench.log").display());
            }
            std::thread::sleep(SAMPLE);
        }
    }

    /// The span from the first progress to the end of it.
    pub(crate) fn measured(&self) -> Measured {
        let Some(last) = self.samples.iter().find(|s| Some(s.done) == self.samples.last().map(|l| l.done)) else {
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

    /// Waits until `/ready` says so.
    pub(crate) fn ready(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !get(self.address, "/ready").is_ok_and(|page| page.starts_with("HTTP/1.1 200")) {
            if Instant::now() > deadline {
                bail!("not ready after {limit:?}");
            }
            std::thread::sleep(SAMPLE);
        }
        Ok(())
    }

    /// Waits until `metric` has not moved for a second, and returns where it stands.
    pub(crate) fn settled(&self, metric: &[&str], limit: Duration) -> Result<u64> {
        let deadline = Instant::now() + limit;
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let page = self.metrics().unwrap_or_default();
            let now = metric.iter().map(|m| sum(&page, m)).sum::<f64>() as u64;
            if now != last {
                (last, since) = (now, Instant::now());
            } else if now > 0 && since.elapsed() > Duration::from_secs(1) {
                return Ok(now);
            }
            if Instant::now() > deadline {
                bail!("not settled after {limit:?}");
            }
            std::thread::sleep(SAMPLE);
        }
    }

    /// Asks it to drain and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the process did not drain: {status}");
        }
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// User + system seconds and resident MiB of a process, from /proc.
fn usage(pid: u32) -> Result<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().filter_map(|&i| fields.get(i)?.parse::<f64>().ok()).sum();
    let pages: f64 = fields.get(21).and_then(|f| f.parse().ok()).unwrap_or(0.0);
    // Linux reports in hundredths of a second and in pages of 4 KiB on every machine this runs on.
    Ok((ticks / 100.0, pages * 4096.0 / 1048576.0))
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn sum(page: &str, name: &str) -> f64 {
    let of = |line: &str| -> Option<f64> {
        let rest = line.strip_prefix(name)?;
        (rest.starts_with('{') || rest.starts_with(' ')).then(|| line.rsplit(' ').next()?.parse().ok())?
    };
    page.lines().filter_map(of).sum()
}

/// The value below which `share` of a histogram's observations lie that came between two pages, interpolated within its bucket.
pub(crate) fn quantile(before: &str, after: &str, name: &str, share: f64) -> Option<f64> {
    let earlier = buckets(before, name);
    let counts: Vec<(f64, f64)> =
        buckets(after, name).into_iter().map(|(bits, count)| (f64::from_bits(bits), count - earlier.get(&bits).unwrap_or(&0.0))).collect();
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

/// Upper bound (as bits, which order like the positive numbers they are) → cumulated count, summed over all series.
fn buckets(page: &str, name: &str) -> BTreeMap<u64, f64> {
    let prefix = format!("{name}_bucket{{");
    let mut buckets = BTreeMap::new();
    for line in page.lines().filter(|l| l.starts_with(&prefix)) {
        let bound = line.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
        let bound = bound.and_then(|bound| if bound == "+Inf" { Some(f64::INFINITY) } else { bound.parse::<f64>().ok() });
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
        if let (Some(bound), Some(count)) = (bound, count) {
            *buckets.entry(bound.to_bits()).or_default() += count;
        }
    }
    buckets
}
