//! The one place that says what an error of a transactional call means.

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

/// Whether a call that succeeded can have been repeated by librdkafka behind our back. Its first
/// copy may then still reach the broker, in the middle of a later transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tempo {
    /// Too quick for that.
    Prompt,
    /// Slow enough.
    Suspicious,
}

impl Tempo {
    /// librdkafka waits [`RETRY_BACKOFF`] less a fifth before it repeats a request.
    pub(super) fn of(elapsed: Duration) -> Tempo {
        if elapsed < RETRY_BACKOFF * 4 / 5 { Tempo::Prompt } else { Tempo::Suspicious }
    }
}

/// Before the end of the transaction was asked for, nothing can have happened that reinitializing
/// does not undo. From then on only librdkafka's own "call again" is better than not knowing: an
/// abortable or fatal error may be the answer to a repeated request whose first copy got through.
pub(super) fn judge(step: Step, error: &KafkaError) -> Verdict {
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
                judge(Step::Commit, &KafkaError::Global(code)),
                Verdict::Unknown,
                "{code:?}"
            );
        }
    }

    #[test]
    fn a_success_that_took_as_long_as_a_hidden_retry_is_suspicious() {
        assert_eq!(Tempo::of(RETRY_BACKOFF / 2), Tempo::Prompt);
        assert_eq!(Tempo::of(RETRY_BACKOFF), Tempo::Suspicious);
    }

    #[test]
    fn before_the_commit_an_error_means_it_did_not_happen() {
        for code in [Code::RebalanceInProgress, Code::IllegalGeneration, Code::Fenced] {
            assert_eq!(
                judge(Step::Offsets, &KafkaError::Global(code)),
                Verdict::Refused,
                "{code:?}"
            );
        }
        assert_eq!(
            judge(Step::Commit, &KafkaError::Flush(Code::OperationTimedOut)),
            Verdict::Refused
        );
    }
}
