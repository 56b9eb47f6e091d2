//! Deliberate breakages of the protocol's rules: what a service, or the machine, would do if it did
//! not keep one of them. The machine itself has no switches; a mutant changes what passes between
//! it and the world.

/// One rule broken. The numbers are those of the rules in `weir_model::protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::enum_variant_names)]
pub(crate) enum Mutant {
    /// 1: the producer reads its position first and fences the predecessor afterwards.
    PositionReadBeforeTheFence,
    /// 1: positions are read although a transaction that may move them is still open.
    UnstablePositionRead,
    /// 2: reading starts where the client's own asynchronous commit said, not where the position
    /// store says.
    HintTrusted,
    /// 2: nothing was ever committed, so reading starts at the end of the log.
    FirstStartAtTheEnd,
    /// 3: the enricher's dead letters are sent without a transaction.
    DeadLettersOutsideTheTransaction,
    /// 3: positions are committed in a step of their own after the data.
    PositionOutsideTheTransaction,
    /// 4: the committed position is the last record's offset.
    PositionWithoutPlusOne,
    /// 4: a record is lost between reading and claiming.
    RecordForgotten,
    /// 4: rows that the target refuses stay "written" in the counts.
    RefusedRowsNotInTheCounts,
    /// 5: the position row is overwritten whatever it says.
    CompareAndSetSkipped,
    /// 5: offsets are committed without naming the group's generation.
    GenerationUnchecked,
    /// 6: the reader goes on from where it was.
    NoRewindAfterAFailure,
    /// 6: of several partitions only the last one is rewound.
    LastPartitionOnlyRewound,
    /// 6: a lost answer to a commit is taken for a success.
    UnknownTakenAsCommitted,
    /// 6: a lost answer to a commit is taken for a failure, without asking the position store.
    UnknownTakenAsRefused,
    /// 7: the producer goes on in the same epoch after an abort.
    ReinitializeRuleOff,
    /// 7: a commit that succeeded at the second attempt counts as a definite success.
    HiddenRetryTrusted,
    /// 8: a batch collected before a rebalance is written after it.
    BatchKeptAfterARebalance,
    /// 8: a batch collected while its predecessor was pending is written although the predecessor
    /// failed.
    BatchKeptAfterAFailure,
    /// 9: records below the position are written again.
    StaleRecordsAdmitted,
    /// 10: a position that the log does not have any more is replaced by the first it has
    /// (`auto.offset.reset=earliest`).
    LossJumpedOver,
}

/// All but the last, which needs a log that loses records.
pub(crate) const MUTANTS: [Mutant; 20] = [
    Mutant::PositionReadBeforeTheFence,
    Mutant::UnstablePositionRead,
    Mutant::HintTrusted,
    Mutant::FirstStartAtTheEnd,
    Mutant::DeadLettersOutsideTheTransaction,
    Mutant::PositionOutsideTheTransaction,
    Mutant::PositionWithoutPlusOne,
    Mutant::RecordForgotten,
    Mutant::RefusedRowsNotInTheCounts,
    Mutant::CompareAndSetSkipped,
    Mutant::GenerationUnchecked,
    Mutant::NoRewindAfterAFailure,
    Mutant::LastPartitionOnlyRewound,
    Mutant::UnknownTakenAsCommitted,
    Mutant::UnknownTakenAsRefused,
    Mutant::ReinitializeRuleOff,
    Mutant::HiddenRetryTrusted,
    Mutant::BatchKeptAfterARebalance,
    Mutant::BatchKeptAfterAFailure,
    Mutant::StaleRecordsAdmitted,
];
