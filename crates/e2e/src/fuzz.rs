//! `make fuzz`: every parser of bytes from outside, with mutated examples. A parser may refuse what
//! it is given, but it must not panic, hang, or take memory without limit, and a bad record must
//! not take a good one along.
//!
//! Each target runs in a process of its own, so that its peak of memory is its own. `weir-fuzz
//! --seconds 60 datum csv` runs only the named ones; `WEIR_SEED` repeats a run. What fails is
//! written to a file, whose name is printed.

#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/protobuf.rs"]
mod protobuf;
#[path = "fuzz/registry.rs"]
mod registry;
#[path = "fuzz/targets.rs"]
mod targets;

use anyhow::{Context, Result, bail};
use mutate::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};
use targets::{TARGETS, Target};

/// Most memory of a target, in bytes.
const MAX_MEMORY: u64 = 1 << 30;
/// The longest time for one input.
const MAX_TIME: Duration = Duration::from_secs(10);
/// Set for the process of one target.
const ONE: &str = "WEIR_FUZZ_TARGET";

fn main() -> Result<()> {
    let mut seconds = 60;
    let mut wanted = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => {
                seconds = arguments.next().context("--seconds needs a number")?.parse()?
            }
            name => wanted.push(name.to_string()),
        }
    }
    let seed = match std::env::var("WEIR_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => rand::random(),
    };
    let limit = Duration::from_secs(seconds);
    if let Ok(name) = std::env::var(ONE) {
        return run_target(&name, limit, seed);
    }
    if let Some(unknown) = wanted.iter().find(|name| TARGETS.iter().all(|t| t.name != **name)) {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        bail!("there is no target {unknown}; there are {}", names.join(", "));
    }
    println!("weir fuzz · {seconds} s for each target · WEIR_SEED={seed}");
    let mut failed = Vec::new();
    for Target { name, .. } in TARGETS {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            let mut child = Command::new(std::env::current_exe()?);
            child.args(["--seconds", &seconds.to_string()]);
            if !child.env(ONE, name).env("WEIR_SEED", seed.to_string()).status()?.success() {
                failed.push(*name);
            }
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("failed: {}", failed.join(", ")),
    }
}

fn run_target(name: &str, limit: Duration, seed: u64) -> Result<()> {
    let target = TARGETS.iter().find(|target| target.name == name).context("no such target")?;
    let mut run = (target.prepare)()?;
    let mut mutator = Mutator::new(seed, run.seeds());
    for example in run.seeds() {
        run.check(&example).with_context(|| format!("{name}: an unchanged example"))?;
    }
    let (started, mut num_inputs) = (Instant::now(), 0u64);
    while started.elapsed() < limit {
        let input = mutator.next();
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| run.check(&input)));
        let problem = match outcome {
            Err(_) => Some("it panics".into()),
            Ok(Err(error)) => Some(format!("{error:#}")),
            Ok(Ok(())) if begun.elapsed() > MAX_TIME => {
                Some(format!("it takes {:?}", begun.elapsed()))
            }
            Ok(Ok(())) if num_inputs.is_multiple_of(64) => too_much_memory()?,
            Ok(Ok(())) => None,
        };
        if let Some(problem) = problem {
            let file = std::env::temp_dir().join(format!("weir-fuzz-{name}-{seed}-{num_inputs}"));
            std::fs::write(&file, &input)?;
            bail!("{name}: {problem}; the input is in {}", file.display());
        }
        num_inputs += 1;
    }
    if let Some(problem) = too_much_memory()? {
        bail!("{name}: {problem}");
    }
    let peak = peak_bytes()? >> 20;
    println!(" ✔ {name:<16} {num_inputs:>10} inputs · {peak} MiB at most");
    Ok(())
}

fn too_much_memory() -> Result<Option<String>> {
    let peak = peak_bytes()?;
    Ok((peak > MAX_MEMORY).then(|| format!("it takes {} MiB of memory", peak >> 20)))
}

/// The most memory that this process had.
fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).context("no VmHWM")?;
    let kibibytes: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kibibytes * 1024)
}
