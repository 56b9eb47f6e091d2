//! The delivery protocol against everything that can happen to it: seeded schedules of crashes,
//! rebalances, zombies, lost answers, delayed requests and restarts, run by the very machine that
//! the services run (`weir_model::protocol`).
//!
//! `WEIR_SCHEDULES` sets their number, `WEIR_SEED` replays one with its trace (and `WEIR_MUTANT`
//! with a rule broken).

mod actor;
mod broker;
mod database;
mod dice;
mod group;
mod mutant;
mod network;
mod plan;
mod record;
mod schedule;
mod verdict;
mod world;

use crate::database::Guards;
use crate::mutant::{MUTANTS, Mutant};
use crate::schedule::{Failure, run, run_calm, run_with_guards, run_with_retention};
use crate::world::Evidence;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A mutant has to be caught within so many schedules.
const CAUGHT_WITHIN: u64 = 100_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not `{text}`")))
}

/// Runs schedules `0..count` on all cores until one fails; the lowest failing seed known then, or
/// what was seen.
fn campaign(
    count: u64,
    schedule: impl Fn(u64) -> Result<Evidence, Failure> + Sync,
) -> Result<Evidence, Failure> {
    let (next, end) = (AtomicU64::new(0), AtomicU64::new(count));
    let total = Mutex::new((Evidence::default(), None::<Failure>));
    let work = || {
        let mut seen = Evidence::default();
        let mut failed = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.load(Ordering::Relaxed) {
                break;
            }
            match schedule(seed) {
                Ok(evidence) => seen.add(&evidence),
                Err(failure) => {
                    end.fetch_min(seed, Ordering::Relaxed);
                    failed = Some(failure);
                }
            }
        }
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        total.0.add(&seen);
        if let Some(failure) = failed
            && total.1.as_ref().is_none_or(|other| failure.seed < other.seed)
        {
            total.1 = Some(failure);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    let (evidence, failure) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    failure.map_or(Ok(evidence), Err)
}

/// The failing schedule again, this time with its trace.
fn story(failure: &Failure, mutant: Option<Mutant>) -> String {
    let trace =
        run(failure.seed, mutant, true).map_or_else(|failure| failure.trace, |_| Vec::new());
    let seed = failure.seed;
    format!(
        "{}\n\nseed {seed} failed: {}\n\
         replay: WEIR_SEED={seed} cargo test -p weir-model --test simulation",
        trace.join("\n"),
        failure.why
    )
}

#[test]
fn nothing_is_lost_or_doubled() {
    if let Some(seed) = number("WEIR_SEED") {
        return replay(seed);
    }
    let count = number("WEIR_SCHEDULES").unwrap_or(100_000);
    let start = Instant::now();
    let evidence = campaign(count, |seed| run(seed, None, false))
        .unwrap_or_else(|failure| panic!("{}", story(&failure, None)));
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{count} schedules, {} steps in {seconds:.1} s: {:.0} schedules/s",
        evidence.steps,
        count as f64 / seconds
    );
    for (what, times) in evidence.all() {
        println!("{times:>12} {}", what.replace('_', " "));
        assert!(
            times > 0 || count < 1000 || what == "halts",
            "{what} never happened: the schedules do not show what they are meant to"
        );
    }
}

fn replay(seed: u64) {
    let name = std::env::var("WEIR_MUTANT").ok();
    let mutant = name.map(|name| {
        MUTANTS
            .into_iter()
            .find(|mutant| format!("{mutant:?}") == name)
            .expect("the name of a mutant")
    });
    match run(seed, mutant, true) {
        Ok(evidence) => println!("seed {seed} holds: {evidence:?}"),
        Err(failure) => panic!("{}", story(&failure, mutant)),
    }
}

#[test]
fn every_broken_rule_is_caught() {
    if number("WEIR_SEED").is_some() {
        return;
    }
    let mut survivors = Vec::new();
    for mutant in MUTANTS {
        match campaign(CAUGHT_WITHIN, |seed| run(seed, Some(mutant), false)) {
            Ok(_) => survivors.push(mutant),
            Err(failure) => {
                println!("{mutant:?}: caught after {} schedules: {}", failure.seed + 1, failure.why)
            }
        }
    }
    assert!(survivors.is_empty(), "not caught within {CAUGHT_WITHIN} schedules: {survivors:?}");
}

/// Rule 10: the partition halts, the range that is gone is named to the record, everything else
/// arrives.
#[test]
fn records_that_expire_unread_are_named_exactly() {
    if number("WEIR_SEED").is_some() {
        return;
    }
    let evidence = campaign(10_000, |seed| run_with_retention(seed, None));
    let evidence =
        evidence.unwrap_or_else(|failure| panic!("seed {}: {}", failure.seed, failure.why));
    println!(
        "10000 schedules with short retention, {} of them lost records and halted that partition",
        evidence.halts
    );
    assert!(evidence.halts > 100);
    let mutant = Mutant::LossJumpedOver;
    let failure = campaign(10_000, |seed| run_with_retention(seed, Some(mutant)))
        .expect_err("a loss that is jumped over is noticed");
    println!("{mutant:?}: caught after {} schedules: {}", failure.seed + 1, failure.why);
}

#[test]
fn nothing_fails_where_nothing_is_disturbed() {
    if number("WEIR_SEED").is_some() {
        return;
    }
    let schedules = 2_000;
    let evidence = campaign(schedules, run_calm)
        .unwrap_or_else(|failure| panic!("seed {}: {}", failure.seed, failure.why));
    assert_eq!(
        (evidence.failed_writes, evidence.unknown_outcomes, evidence.stale_batches),
        (0, 0, 0)
    );
    assert_eq!(evidence.reinitializations, schedules, "each enricher makes its producer once");
}

/// The specification names the mutant that breaks each rule; a name that leads nowhere would be
/// worse than none.
#[test]
fn each_mutant_is_named_by_the_rules() {
    let rules = include_str!("../../src/protocol.rs");
    for mutant in MUTANTS.into_iter().chain([Mutant::LossJumpedOver]) {
        assert!(rules.contains(&format!("`{mutant:?}`")), "{mutant:?} is not in the rules");
    }
}

/// The position row has two guards. Each alone suffices in this world, which is why the mutant
/// leaves out both.
#[test]
fn either_guard_of_the_position_row_is_enough() {
    if number("WEIR_SEED").is_some() {
        return;
    }
    for guards in
        [Guards { no_fence: true, no_compare: false }, Guards { no_fence: false, no_compare: true }]
    {
        let survived = campaign(10_000, |seed| run_with_guards(seed, guards));
        assert!(
            survived.is_ok(),
            "{guards:?}: {:?}",
            survived.err().map(|failure| (failure.seed, failure.why))
        );
    }
}
