//! One schedule from its seed: turmoil for a while, then quiet; then everything must have arrived
//! once.

use crate::actor::{Actor, Kind};
use crate::broker::{DEAD_LETTERS, INPUT, OUTPUT};
use crate::database::Guards;
use crate::mutant::Mutant;
use crate::verdict;
use crate::world::{Evidence, World};

/// Steps after which a schedule that has not drained is stuck. Ordinary ones need some hundreds
/// after the turmoil.
const REQUEST_TIMEOUT: usize = 30_000;

/// A schedule that broke a promise.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) why: String,
    pub(crate) trace: Vec<String>,
}

pub(crate) fn run(seed: u64, mutant: Option<Mutant>, traced: bool) -> Result<Evidence, Failure> {
    run_with(World::new(seed, mutant, traced), seed)
}

/// With one guard of the position row switched off.
pub(crate) fn run_with_guards(seed: u64, guards: Guards) -> Result<Evidence, Failure> {
    let mut world = World::new(seed, None, false);
    world.database.guards = guards;
    run_with(world, seed)
}

/// Without any fault.
pub(crate) fn run_calm(seed: u64) -> Result<Evidence, Failure> {
    let mut world = World::new(seed, None, false);
    world.size = world.size.calm();
    run_with(world, seed)
}

/// With an input partition that loses records too early.
pub(crate) fn run_with_retention(seed: u64, mutant: Option<Mutant>) -> Result<Evidence, Failure> {
    let mut world = World::new(seed, mutant, false);
    world.retention = true;
    run_with(world, seed)
}

fn run_with(mut world: World, seed: u64) -> Result<Evidence, Failure> {
    let mut actors = cast(&world);
    while world.failure.is_none()
        && !(!world.turmoil && world.step.is_multiple_of(32) && drained(&mut world, &actors))
    {
        step(&mut world, &mut actors);
        if world.step > REQUEST_TIMEOUT {
            let judgement =
                verdict::check(&mut world).err().unwrap_or("all is well otherwise".into());
            world.fail(format!("it does not drain; {judgement}"));
        }
    }
    if world.failure.is_none() {
        settle(&mut world);
        if let Err(why) = verdict::check(&mut world) {
            world.fail(why);
        }
    }
    world.evidence.steps = world.step as u64;
    world.evidence.halts = u64::from(world.bereft().is_some());
    match world.failure.take() {
        Some(why) => Err(Failure { seed, why, trace: world.trace().to_vec() }),
        None => Ok(world.evidence),
    }
}

fn cast(world: &World) -> Vec<Actor> {
    let kinds = [Kind::Producer, Kind::Enricher, Kind::Sink];
    let roles = kinds
        .into_iter()
        .flat_map(|kind| (0..world.size.replicas[kind as usize]).map(move |slot| (kind, slot)));
    roles
        .enumerate()
        .map(|(id, (kind, slot))| Actor::new(id, kind, slot, world.size.partitions))
        .collect()
}

fn step(world: &mut World, actors: &mut [Actor]) {
    world.step += 1;
    if world.turmoil && world.step > world.size.turmoil {
        world.note(|| "quiet from here on".into());
        world.turmoil = false;
        actors.iter_mut().for_each(|actor| (actor.down, actor.stopped) = (0, 0));
    }
    if world.turmoil && world.dice.chance(world.size.chaos) {
        disturb(world, actors);
    }
    if world.turmoil && world.retention && world.dice.chance(10) {
        world.expire_records();
    }
    if world.step.is_multiple_of(16) {
        world.housekeeping();
    }
    if !world.net.is_empty() && world.dice.chance(500) {
        if let Some((to, token, reply)) = world.deliver() {
            actors[to].answer(world, token, reply);
        }
        return;
    }
    let actor = world.dice.below(actors.len());
    let lags = world.turmoil && world.size.laggard == actor && world.dice.chance(700);
    let actor = &mut actors[actor];
    if actor.down.max(actor.stopped) <= world.step && !lags {
        actor.step(world);
    }
}

fn disturb(world: &mut World, actors: &mut [Actor]) {
    let victim = world.dice.below(actors.len());
    match world.dice.below(20) {
        0..6 => actors[victim].crash(world),
        6..10 => {
            world.note(|| format!("stop {victim}"));
            world.evidence.pauses += 1;
            actors[victim].stopped = world.step + world.dice.within(10, 300);
        }
        10..14 => {
            let Actor { kind, member, .. } = actors[victim];
            if world.groups[kind as usize].kick(member, &mut world.dice) {
                world.note(|| format!("evict {victim}"));
                world.evidence.evictions += 1;
            }
        }
        14..16 => {
            world.note(|| "connections to the broker break".into());
            world.evidence.cuts += 1;
            world
                .cut(false)
                .into_iter()
                .for_each(|(to, token, reply)| actors[to].answer(world, token, reply));
        }
        16..18 => {
            let answers = world.restart_database();
            answers
                .into_iter()
                .for_each(|(to, token, reply)| actors[to].answer(world, token, reply));
        }
        18 => world.terminate_session(),
        _ => world.expire_transactions(),
    }
}

/// Whether all positions are at the ends of their logs, and nothing is undecided.
fn drained(world: &mut World, actors: &[Actor]) -> bool {
    let size = world.size;
    let produced = (0..size.sources)
        .all(|source| world.broker.position(source).is_some_and(|(next, _)| next >= size.records));
    produced
        && (0..size.partitions).all(|partition| {
            let enriched = world.broker.committed[partition].map_or(0, |(next, _)| next);
            let sunk = world.database.positions[partition].next.unwrap_or(0);
            let dead_letters = world.broker.end_of(DEAD_LETTERS + partition);
            let bereft = world.bereft().is_some_and(|(bereft, _)| bereft == partition);
            let halts = |actor: &Actor| {
                actor.kind == Kind::Enricher
                    && actor.worker.halted().any(|of| of.0 as usize == partition)
            };
            let halted = !world.halts.is_empty() && actors.iter().any(halts);
            let end = if bereft { world.broker.end_of(INPUT + partition) } else { enriched };
            world.broker.exhausted(INPUT + partition, end)
                && (halted || !bereft)
                && world.broker.exhausted(OUTPUT + partition, sunk)
                && world.broker.exhausted(DEAD_LETTERS + partition, dead_letters)
        })
}

/// What is still on its way arrives; it must not change anything any more.
fn settle(world: &mut World) {
    for _ in 0..10_000 {
        if world.net.is_empty() {
            return;
        }
        world.step += 1;
        world.deliver();
    }
}
