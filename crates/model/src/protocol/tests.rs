use super::*;
use crate::progress::{Counters, LastRead};

fn committed(partition: Partition, next: Option<Offset>) -> CommittedPosition {
    CommittedPosition { partition, fence: 7, next, progress: Progress::default(), intact: true }
}

fn found(partition: Partition, next: Option<Offset>) -> PartitionState {
    PartitionState {
        committed: committed(partition, next),
        low: 0,
        high: 1_000,
        proof: Proof::Consistent,
    }
}

fn delta(records: u64) -> Progress {
    Progress {
        counters: Counters { read: records, written: records, ..Counters::default() },
        last: Some(1),
        ..Progress::default()
    }
}

fn deltas(all: &[(Partition, u64)]) -> BTreeMap<Partition, Progress> {
    all.iter().map(|&(partition, records)| (partition, delta(records))).collect()
}

fn acquire(worker: &mut StateMachine, all: Vec<PartitionState>) {
    let Some(Command::Acquire { term, partitions }) = worker.next_command() else {
        panic!("nothing to acquire")
    };
    assert_eq!(partitions, all.iter().map(|found| found.committed.partition).collect::<Vec<_>>());
    worker.handle(Event::Acquired { term, found: all });
}

fn start(worker: &mut StateMachine) -> Vec<(Partition, Offset)> {
    let Some(Command::Start { term, positions }) = worker.next_command() else {
        panic!("nothing to start")
    };
    worker.handle(Event::Started { term });
    positions
}

/// A sink's worker that reads partitions 0 and 1 from offset 10 on.
fn running() -> StateMachine {
    let mut worker = StateMachine::new(Fencing::PerPartition);
    worker.handle(Event::Assigned(vec![0, 1]));
    acquire(&mut worker, vec![found(0, Some(10)), found(1, Some(10))]);
    assert_eq!(start(&mut worker), [(0, 10), (1, 10)]);
    worker
}

fn collect(worker: &mut StateMachine, partition: Partition, offsets: &[Offset]) -> Term {
    for &offset in offsets {
        assert!(worker.accept_record(partition, offset), "offset {offset}");
    }
    worker.term().expect("running")
}

#[test]
fn fence_comes_before_reading_and_reading_before_starting() {
    let mut worker = StateMachine::new(Fencing::PerWorker);
    worker.handle(Event::Assigned(vec![3]));
    assert_eq!(worker.next_command(), Some(Command::Reinitialize));
    assert_eq!(worker.next_command(), Some(Command::Reinitialize), "repeated until done");
    worker.handle(Event::Reinitialized);
    assert_eq!((worker.term(), worker.accept_record(3, 20)), (None, false));
    acquire(&mut worker, vec![found(3, Some(20))]);
    assert_eq!((worker.term(), worker.accept_record(3, 20)), (None, false));
    assert_eq!(start(&mut worker), [(3, 20)]);
    assert!(worker.accept_record(3, 20));
    assert_eq!(worker.next_command(), None);
}

#[test]
fn producer_is_made_before_anything_is_assigned() {
    assert_eq!(StateMachine::new(Fencing::PerWorker).next_command(), Some(Command::Reinitialize));
    assert_eq!(StateMachine::new(Fencing::PerPartition).next_command(), None);
}

#[test]
fn first_start_begins_at_the_first_record_of_the_log() {
    let mut worker = StateMachine::new(Fencing::PerPartition);
    worker.handle(Event::Assigned(vec![0]));
    acquire(&mut worker, vec![PartitionState { low: 42, ..found(0, None) }]);
    assert_eq!(start(&mut worker), [(0, 42)]);
    let term = collect(&mut worker, 0, &[42]);
    let claims = worker.claim(term, &deltas(&[(0, 1)])).unwrap();
    assert_eq!((claims[0].expected, claims[0].next), (None, 43));
}

#[test]
fn acquiring_may_be_answered_in_parts() {
    let mut worker = StateMachine::new(Fencing::PerPartition);
    worker.handle(Event::Assigned(vec![0, 1]));
    let Some(Command::Acquire { term, .. }) = worker.next_command() else { panic!() };
    worker.handle(Event::Acquired { term, found: vec![found(1, Some(5))] });
    acquire(&mut worker, vec![found(0, Some(6))]);
    assert_eq!(start(&mut worker), [(0, 6), (1, 5)]);
}

#[test]
fn stale_records_are_dropped_and_gaps_are_allowed() {
    let mut worker = running();
    let verdicts: Vec<bool> =
        [9, 10, 10, 14, 12, 15].into_iter().map(|offset| worker.accept_record(0, offset)).collect();
    assert_eq!(verdicts, [false, true, false, true, false, true]);
    assert!(!worker.accept_record(2, 10), "not assigned");
}

#[test]
fn claim_ends_one_after_the_last_record_and_adds_to_the_counts() {
    let mut worker = running();
    collect(&mut worker, 1, &[10, 11]);
    let term = collect(&mut worker, 0, &[10, 17]);
    let claims = worker.claim(term, &deltas(&[(0, 2), (1, 2)])).unwrap();
    let expected = |partition, next| Claim {
        partition,
        fence: 7,
        expected: Some(10),
        next,
        progress: delta(2),
    };
    assert_eq!(claims, [expected(0, 18), expected(1, 12)]);
    assert!(worker.in_flight());
    worker.handle(Event::WriteFinished(Outcome::Committed));
    assert!(!worker.in_flight());
    assert_eq!(
        worker.committed().collect::<Vec<_>>(),
        [(0, Some(18), &delta(2)), (1, Some(12), &delta(2))]
    );
}

#[test]
fn nothing_to_claim_is_no_transaction() {
    let mut worker = running();
    let term = worker.term().unwrap();
    assert_eq!(worker.claim(term, &BTreeMap::new()), Ok(vec![]));
    assert!(!worker.in_flight());
}

#[test]
fn a_record_that_is_not_in_the_counts_stops_the_claim() {
    let mut worker = running();
    let term = collect(&mut worker, 0, &[10, 11, 12]);
    assert_eq!(
        worker.claim(term, &deltas(&[(0, 2)])),
        Err(Error::Unbalanced { partition: 0, accepted: 3, delta: delta(2) })
    );
    let mut counts = delta(3);
    counts.counters.written = 2;
    let unbalanced = BTreeMap::from([(0, counts)]);
    assert_eq!(
        worker.claim(term, &unbalanced),
        Err(Error::Unbalanced { partition: 0, accepted: 3, delta: counts })
    );
    assert!(worker.claim(term, &deltas(&[(0, 3)])).is_ok());
}

#[test]
fn next_batch_builds_upon_the_one_in_flight() {
    let mut worker = running();
    let term = collect(&mut worker, 0, &[10, 11]);
    worker.claim(term, &deltas(&[(0, 2)])).unwrap();
    assert_eq!(worker.progress(0), Some(&delta(2)));
    assert_eq!(
        worker.committed().next(),
        Some((0, Some(10), &Progress::default())),
        "not durable yet"
    );
    let term = collect(&mut worker, 0, &[12]);
    assert_eq!(worker.claim(term, &deltas(&[(0, 1)])), Err(Error::Busy));
    worker.handle(Event::WriteFinished(Outcome::Committed));
    let claims = worker.claim(term, &deltas(&[(0, 1)])).unwrap();
    assert_eq!(
        (claims[0].expected, claims[0].next, claims[0].progress.counters.read),
        (Some(12), 13, 3)
    );
}

#[test]
fn failure_rewinds_every_partition_and_drops_the_batch_collected_meanwhile() {
    for outcome in [Outcome::Refused, Outcome::Unknown] {
        let mut worker = running();
        let term = collect(&mut worker, 0, &[10, 11]);
        worker.claim(term, &deltas(&[(0, 2)])).unwrap();
        collect(&mut worker, 1, &[10]);
        let term = collect(&mut worker, 0, &[12]);
        worker.handle(Event::WriteFinished(outcome));
        assert_eq!(worker.claim(term, &deltas(&[(0, 1), (1, 1)])), Err(Error::Stale));
        acquire(&mut worker, vec![found(0, Some(12)), found(1, Some(10))]);
        assert_eq!(start(&mut worker), [(0, 12), (1, 10)], "where the position store says");
        assert_eq!(
            worker.claim(term, &deltas(&[(0, 1), (1, 1)])),
            Err(Error::Stale),
            "the old term stays dead"
        );
    }
}

#[test]
fn producer_is_reinitialized_after_everything_but_a_definite_success() {
    for (outcome, reinitializations) in
        [(Outcome::Committed, false), (Outcome::Refused, true), (Outcome::Unknown, true)]
    {
        let mut worker = StateMachine::new(Fencing::PerWorker);
        worker.handle(Event::Reinitialized);
        worker.handle(Event::Assigned(vec![0]));
        acquire(&mut worker, vec![found(0, Some(10))]);
        start(&mut worker);
        let term = collect(&mut worker, 0, &[10]);
        worker.claim(term, &deltas(&[(0, 1)])).unwrap();
        worker.handle(Event::WriteFinished(outcome));
        assert_eq!(
            worker.next_command() == Some(Command::Reinitialize),
            reinitializations,
            "{outcome:?}"
        );
    }
}

#[test]
fn rebalance_during_a_write_waits_for_its_outcome_and_then_asks_the_position_store() {
    for outcome in [Outcome::Committed, Outcome::Refused, Outcome::Unknown] {
        let mut worker = running();
        let term = collect(&mut worker, 0, &[10]);
        worker.claim(term, &deltas(&[(0, 1)])).unwrap();
        worker.handle(Event::Revoked(vec![0, 1]));
        worker.handle(Event::Assigned(vec![0]));
        assert_eq!((worker.next_command(), worker.term(), worker.progress(0)), (None, None, None));
        worker.handle(Event::WriteFinished(outcome));
        assert_eq!(worker.committed().count(), 0, "a write of an earlier term proves nothing");
        acquire(&mut worker, vec![found(0, Some(11))]);
        assert_eq!(start(&mut worker), [(0, 11)]);
    }
}

#[test]
fn batch_of_an_earlier_assignment_is_dropped() {
    let mut worker = running();
    let term = collect(&mut worker, 0, &[10]);
    worker.handle(Event::Revoked(vec![0, 1]));
    assert_eq!((worker.next_command(), worker.term()), (None, None));
    worker.handle(Event::Assigned(vec![0, 1]));
    acquire(&mut worker, vec![found(0, Some(10)), found(1, Some(10))]);
    start(&mut worker);
    assert_eq!(worker.claim(term, &deltas(&[(0, 1)])), Err(Error::Stale));
}

#[test]
fn partition_that_stays_is_acquired_again_when_another_comes() {
    let mut worker = running();
    let term = collect(&mut worker, 0, &[10, 11]);
    worker.handle(Event::Assigned(vec![2]));
    assert_eq!(worker.claim(term, &deltas(&[(0, 2)])), Err(Error::Stale));
    acquire(&mut worker, vec![found(0, Some(10)), found(1, Some(10)), found(2, Some(3))]);
    assert_eq!(start(&mut worker), [(0, 10), (1, 10), (2, 3)], "what was dropped is read again");
}

#[test]
fn answers_of_an_earlier_term_are_ignored() {
    let mut worker = StateMachine::new(Fencing::PerPartition);
    worker.handle(Event::Assigned(vec![0]));
    let Some(Command::Acquire { term: old, .. }) = worker.next_command() else { panic!() };
    worker.handle(Event::Revoked(vec![0]));
    worker.handle(Event::Assigned(vec![0]));
    worker.handle(Event::Acquired { term: old, found: vec![found(0, Some(1))] });
    acquire(&mut worker, vec![found(0, Some(2))]);
    worker.handle(Event::Started { term: old });
    assert_eq!(worker.term(), None);
    assert_eq!(start(&mut worker), [(0, 2)]);
    worker.handle(Event::WriteFinished(Outcome::Refused));
    assert!(worker.term().is_some(), "no transaction was pending");
}

#[test]
fn loss_before_the_position_halts_that_partition_and_names_the_range() {
    let mut worker = running();
    worker.handle(Event::OutOfRange);
    acquire(
        &mut worker,
        vec![PartitionState { low: 15, ..found(0, Some(10)) }, found(1, Some(10))],
    );
    let halt = Halt::Expired { from: 10, to: 15 };
    assert_eq!(worker.next_command(), Some(Command::Halt { partition: 0, halt }));
    assert_eq!(start(&mut worker), [(1, 10)], "the others go on");
    assert_eq!(worker.halted().collect::<Vec<_>>(), [(0, halt)]);
    assert!(!worker.accept_record(0, 15));
    assert_eq!(halt.to_string(), "offsets 10 to 14 are gone from the log and were never read");
}

#[test]
fn loss_behind_the_end_halts() {
    let mut worker = StateMachine::new(Fencing::PerPartition);
    worker.handle(Event::Assigned(vec![0]));
    acquire(&mut worker, vec![PartitionState { high: 9, ..found(0, Some(10)) }]);
    assert_eq!(
        worker.next_command(),
        Some(Command::Halt { partition: 0, halt: Halt::Truncated { end: 9, next: 10 } })
    );
    assert_eq!(start(&mut worker), []);
}

#[test]
fn loss_of_the_position_store_is_not_a_first_start() {
    let mut worker = StateMachine::new(Fencing::PerPartition);
    worker.handle(Event::Assigned(vec![0]));
    acquire(&mut worker, vec![PartitionState { proof: Proof::Lost, ..found(0, None) }]);
    acquire(&mut worker, vec![PartitionState { proof: Proof::Lost, ..found(0, None) }]);
    assert_eq!(
        worker.next_command(),
        Some(Command::Halt { partition: 0, halt: Halt::PositionMissing })
    );
}

#[test]
fn loss_of_the_beginning_of_an_own_log_is_no_first_start() {
    let late = PartitionState { low: 15, proof: Proof::Late, ..found(0, None) };
    assert_eq!(late.halt(), Some(Halt::Expired { from: 0, to: 15 }));
    assert_eq!(PartitionState { proof: Proof::Consistent, ..late }.halt(), None);
}

/// Whatever another program does to a position, its owner does not go on from there.
#[test]
fn loss_of_the_proof_of_a_position_halts() {
    let at = |next, last_read, intact, proof| {
        let progress = Progress { last_read, ..Progress::default() };
        let committed =
            CommittedPosition { next: Some(next), progress, intact, ..committed(0, None) };
        PartitionState { committed, proof, ..found(0, None) }.halt()
    };
    let read = |offset| Some(LastRead { offset, fingerprint: Some(7) });
    let disproved = |next| Some(Halt::Disproved { next });
    assert_eq!(at(10, read(9), true, Proof::Consistent), None);
    assert_eq!(at(10, None, true, Proof::Consistent), None, "of the version before, or skipped");
    for moved in [-100, -1, 1, 2, 100_000] {
        let next = 200 + moved;
        assert_eq!(at(next, read(199), true, Proof::Consistent), disproved(next), "by {moved}");
    }
    assert_eq!(at(10, read(9), false, Proof::Consistent), disproved(10), "not weir's");
    assert_eq!(at(10, None, false, Proof::Consistent), disproved(10), "no metadata");
    assert_eq!(at(10, read(9), true, Proof::Disproved), disproved(10), "another log");
}

#[test]
fn data_of_a_successor_is_not_taken_for_a_lost_position_store() {
    let mut worker = StateMachine::new(Fencing::PerPartition);
    worker.handle(Event::Assigned(vec![0]));
    acquire(&mut worker, vec![PartitionState { proof: Proof::Lost, ..found(0, None) }]);
    acquire(&mut worker, vec![PartitionState { proof: Proof::Lost, ..found(0, Some(5)) }]);
    assert_eq!(start(&mut worker), [(0, 5)]);
}

#[test]
fn position_at_either_end_of_the_log_is_no_loss() {
    for (low, high) in [(10, 20), (5, 10), (10, 10)] {
        let mut worker = StateMachine::new(Fencing::PerPartition);
        worker.handle(Event::Assigned(vec![0]));
        acquire(&mut worker, vec![PartitionState { low, high, ..found(0, Some(10)) }]);
        assert_eq!(start(&mut worker), [(0, 10)]);
    }
}

#[test]
fn halted_partition_stays_halted_until_the_next_rebalance() {
    let mut worker = running();
    worker.handle(Event::OutOfRange);
    acquire(
        &mut worker,
        vec![PartitionState { low: 15, ..found(0, Some(10)) }, found(1, Some(10))],
    );
    assert!(matches!(worker.next_command(), Some(Command::Halt { .. })));
    start(&mut worker);
    let term = collect(&mut worker, 1, &[10]);
    worker.claim(term, &deltas(&[(1, 1)])).unwrap();
    worker.handle(Event::WriteFinished(Outcome::Refused));
    acquire(&mut worker, vec![found(1, Some(10))]);
    assert_eq!(start(&mut worker), [(1, 10)]);
    worker.handle(Event::Assigned(vec![]));
    acquire(&mut worker, vec![found(0, Some(10)), found(1, Some(10))]);
    assert_eq!(worker.halted().count(), 0);
}

#[test]
fn a_record_that_the_target_refuses_is_dead_and_not_written() {
    let mut worker = running();
    let term = collect(&mut worker, 0, &[10, 11]);
    let mut claims = worker.claim(term, &deltas(&[(0, 2)])).unwrap();
    claims[0].mark_dead(1);
    worker.replace_claims(claims).unwrap();
    worker.handle(Event::WriteFinished(Outcome::Committed));
    let counters = worker.progress(0).unwrap().counters;
    assert_eq!((counters.read, counters.written, counters.dead), (2, 1, 1));
}

#[test]
fn claims_that_were_not_made_are_not_taken_over() {
    let mut worker = running();
    let term = collect(&mut worker, 0, &[10, 11]);
    let claims = worker.claim(term, &deltas(&[(0, 2)])).unwrap();
    let other = |change: fn(&mut Claim)| {
        let mut other = claims.clone();
        change(&mut other[0]);
        other
    };
    let wrong = [
        Vec::new(),
        other(|claim| claim.next += 1),
        other(|claim| claim.partition = 1),
        other(|claim| claim.progress.counters.read += 1),
        other(|claim| claim.progress.counters.dead += 1),
        other(|claim| claim.progress.counters.dead += 3),
    ];
    for committed in wrong {
        assert_eq!(worker.replace_claims(committed), Err(Error::OtherClaims));
    }
    assert_eq!(worker.replace_claims(claims), Ok(()));
}
