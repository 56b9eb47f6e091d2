//! Kills or stops services, and starts them again, at seeded points of their own progress.

use crate::Flow;
use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use std::time::Duration;
use weir_testkit::{Service, wait};

/// No service needs longer to get from one fault to the next.
const STALLED_AFTER: Duration = Duration::from_secs(90);

/// What happens to one service.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// `weir-sink` …
    pub service: &'static str,
    /// Processes at the same time, each in a slot of its own.
    pub slots: usize,
    /// The number of `kill -9`.
    pub kills: usize,
    /// The number of graceful stops.
    pub leaves: usize,
}

/// What happened.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Processes that died of SIGKILL after they had taken over partitions.
    pub kills: usize,
    /// Processes that ended with code 0 after SIGTERM.
    pub leaves: usize,
}

/// Runs all plans side by side, a thread each, and returns the processes that run in the end.
///
/// # Errors
/// When a service ends by itself or stalls, or when a process that was stopped never had a
/// partition (its end would prove nothing).
pub fn run(flow: &Flow, plans: &[Plan], seed: u64) -> Result<(Vec<Service>, Vec<Report>)> {
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> = plans
            .iter()
            .zip(seed..)
            .map(|(plan, seed)| scope.spawn(move || Troupe::start(flow, *plan)?.perform(seed)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<_>>>()
    })?;
    let (services, reports): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    Ok((services.into_iter().flatten().collect(), reports))
}

struct Troupe<'a> {
    flow: &'a Flow,
    plan: Plan,
    services: Vec<Service>,
}

impl<'a> Troupe<'a> {
    fn start(flow: &'a Flow, plan: Plan) -> Result<Troupe<'a>> {
        let services = (0..plan.slots)
            .map(|slot| flow.program(plan.service, slot).start())
            .collect::<Result<_>>()?;
        Ok(Troupe { flow, plan, services })
    }

    fn perform(mut self, seed: u64) -> Result<(Vec<Service>, Report)> {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let mut report = Report::default();
        for (at, kill) in self.moments(&mut random)? {
            let slot = random.random_range(0..self.plan.slots);
            self.wait_for(at, slot)
                .with_context(|| format!("fault at {at} records of {}", self.plan.service))?;
            let victim = self.services.remove(slot);
            if kill {
                victim.kill()?;
                report.kills += 1;
            } else {
                let status = victim.stop()?;
                ensure!(status.success(), "{} left with {status}", self.plan.service);
                report.leaves += 1;
            }
            self.services.insert(slot, self.flow.program(self.plan.service, slot).start()?);
        }
        Ok((self.services, report))
    }

    /// Progress at which something happens, ascending, and whether it is a kill. All lie before the
    /// last tenth, so that there is always work under way.
    fn moments(&self, random: &mut Pcg64Mcg) -> Result<Vec<(u64, bool)>> {
        let range = 1..self.flow.source()?.records * 9 / 10;
        let mut kinds: Vec<bool> = std::iter::repeat_n(true, self.plan.kills)
            .chain(std::iter::repeat_n(false, self.plan.leaves))
            .collect();
        for last in (1..kinds.len()).rev() {
            kinds.swap(last, random.random_range(0..=last));
        }
        let mut at: Vec<u64> = kinds.iter().map(|_| random.random_range(range.clone())).collect();
        at.sort_unstable();
        Ok(at.into_iter().zip(kinds).collect())
    }

    /// Waits until the service has `at` records behind it and the process in `slot` has taken part
    /// in its group.
    fn wait_for(&mut self, at: u64, slot: usize) -> Result<()> {
        let reached = wait::try_wait_until(STALLED_AFTER, || {
            if let Some(error) =
                self.services.iter_mut().find_map(|service| service.expect_running().err())
            {
                return Some(Err(error));
            }
            let took_part = self.services[slot]
                .metric("weir_rebalances_total", "")
                .is_ok_and(|count| count >= 1.0);
            (took_part && self.flow.progress(self.plan.service) >= at).then_some(Ok(()))
        });
        reached.unwrap_or_else(|| {
            let progress = self.flow.progress(self.plan.service);
            anyhow::bail!(
                "stalled at {progress}; status {:?}; log:\n{}",
                self.services[slot].status(),
                self.services[slot].log()
            )
        })
    }
}
