//! The meaning of each error of a transactional call.

use crate::settings::RETRY_BACKOFF;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::time::Duration;

/// The call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// `init_transactions`.
    Init,
    /// `send_offsets_to_transaction`.
    Offsets,
    /// `commit_transaction`.
    Commit,
}

impl Step {
    pub(super) fn name(self) -> &'static str {
        match self {
            Step::Init => "starting transactions",
            Step::Offsets => "adding offsets to the transaction",
            Step::Commit => "committing the transaction",
        }
    }
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Call again: the operation goes on where it was.
    Retry,
    /// It did not happen, and reinitializing makes sure that it never will.
    Refused,
    /// It may have happened.
    Unknown,
}

/// Whether librdkafka can have repeated the request of a successful call. Its first copy may then
/// still reach the broker, in the middle of a later transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CallTiming {
    /// Too fast for a repeated request.
    NotRepeated,
    /// Slow enough for a repeated request.
    MayBeRepeated,
}

impl CallTiming {
    /// librdkafka waits [`RETRY_BACKOFF`] less a fifth before it repeats a request.
    pub(super) fn of(elapsed: Duration) -> CallTiming {
        if elapsed < RETRY_BACKOFF * 4 / 5 {
            CallTiming::NotRepeated
        } else {
            CallTiming::MayBeRepeated
        }
    }
}

/// Before the end of the transaction was asked for, nothing can have happened that reinitializing
/// does not undo. From then on only librdkafka's own "call again" is better than not knowing: an
/// abortable or fatal error may be the answer to a repeated request whose first copy got through.
pub(super) fn classify(step: Step, error: &KafkaError) -> Verdict {
    let retriable = match error {
        KafkaError::Transaction(inner) => {
            inner.is_retriable() && !inner.is_fatal() && !inner.txn_requires_abort()
        }
        _ => false,
    };
    match (step, retriable) {
        (_, true) => Verdict::Retry,
        (Step::Init | Step::Offsets, false) => Verdict::Refused,
        (Step::Commit, false) => after_commit(error),
    }
}

fn after_commit(error: &KafkaError) -> Verdict {
    match error {
        // rust-rdkafka flushes first; the end of the transaction was not asked for yet.
        KafkaError::Flush(_) => Verdict::Refused,
        // A delivery that failed is found before the end is asked for, and so is a purged queue.
        KafkaError::Transaction(inner)
            if matches!(inner.code(), Code::PurgeQueue | Code::PurgeInflight) =>
        {
            Verdict::Refused
        }
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_success_of_the_commit_is_taken_for_one() {
        for code in [
            Code::OperationTimedOut,
            Code::BrokerTransportFailure,
            Code::InvalidProducerEpoch,
            Code::Fatal,
        ] {
            assert_eq!(
                classify(Step::Commit, &KafkaError::Global(code)),
                Verdict::Unknown,
                "{code:?}"
            );
        }
    }

    #[test]
    fn a_success_that_took_as_long_as_a_hidden_retry_may_be_a_repeated_request() {
        assert_eq!(CallTiming::of(RETRY_BACKOFF / 2), CallTiming::NotRepeated);
        assert_eq!(CallTiming::of(RETRY_BACKOFF), CallTiming::MayBeRepeated);
    }

    #[test]
    fn before_the_commit_an_error_means_it_did_not_happen() {
        for code in [Code::RebalanceInProgress, Code::IllegalGeneration, Code::Fenced] {
            assert_eq!(
                classify(Step::Offsets, &KafkaError::Global(code)),
                Verdict::Refused,
                "{code:?}"
            );
        }
        assert_eq!(
            classify(Step::Commit, &KafkaError::Flush(Code::OperationTimedOut)),
            Verdict::Refused
        );
    }
}
