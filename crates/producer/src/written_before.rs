//! Which partitions of the source have written to the input topic before, asked where a position is
//! missing. That takes a look at the whole topic, which may be large: it runs beside the worker,
//! which stays a member of its group.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use weir_kafka::{Error, Result, proof};
use weir_model::pipeline::Pipeline;
use weir_model::protocol::Proof;

/// How long a worker waits for the answer before it does its other work.
const PATIENCE: Duration = Duration::from_secs(5);

/// One look at the topic at a time, for all partitions that ask.
#[derive(Default)]
pub(crate) struct WrittenBefore {
    search: Mutex<Search>,
}

#[derive(Default)]
struct Search {
    running: Option<Receiver<Result<BTreeSet<u32>>>>,
    /// The partitions that the last look found, and those that have not asked since: a look answers
    /// each partition once, because afterwards it may write.
    found: BTreeSet<u32>,
    fresh: BTreeSet<u32>,
}

impl WrittenBefore {
    /// The proof of a source partition without a position.
    ///
    /// # Errors
    /// The broker does not answer, or the look at the topic takes longer: ask again.
    pub(crate) fn proof(
        &self,
        pipeline: &Arc<Pipeline>,
        source: &'static str,
        all: u32,
        number: u32,
    ) -> Result<Proof> {
        let topic = pipeline.input.topic.clone();
        let doing = format!("looking in {topic} for records of source partition {number}");
        let pipeline = pipeline.clone();
        self.ask(number, all, &doing, move || proof::producers(&pipeline, source, all))
    }

    fn ask(
        &self,
        number: u32,
        all: u32,
        doing: &str,
        look: impl FnOnce() -> Result<BTreeSet<u32>> + Send + 'static,
    ) -> Result<Proof> {
        let mut search = self.search.lock().unwrap_or_else(PoisonError::into_inner);
        if !search.fresh.contains(&number) {
            let running = search.running.take().unwrap_or_else(|| start(look));
            match running.recv_timeout(PATIENCE) {
                Ok(found) => (search.found, search.fresh) = (found?, (0..all).collect()),
                Err(RecvTimeoutError::Timeout) => {
                    search.running = Some(running);
                    let reason = "no position is stored, so the whole topic is read";
                    return Err(Error::waiting(doing, reason));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::waiting(doing, "the search ended without an answer"));
                }
            }
        }
        search.fresh.remove(&number);
        Ok(match search.found.contains(&number) {
            true => Proof::Lost,
            false => Proof::Consistent,
        })
    }
}

fn start(
    look: impl FnOnce() -> Result<BTreeSet<u32>> + Send + 'static,
) -> Receiver<Result<BTreeSet<u32>>> {
    let (answer, answers) = sync_channel(1);
    std::thread::spawn(move || answer.send(look()).ok());
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_answers_each_partition_once() {
        let written = WrittenBefore::default();
        let ask = |number, found: &[u32]| {
            let found = found.iter().copied().collect();
            written.ask(number, 3, "looking", move || Ok(found)).unwrap()
        };
        assert_eq!(ask(0, &[1]), Proof::Consistent);
        assert_eq!(ask(1, &[]), Proof::Lost, "of the same look");
        assert_eq!(ask(0, &[0]), Proof::Lost, "it may have written since");
    }

    #[test]
    fn a_look_that_failed_is_repeated() {
        let written = WrittenBefore::default();
        let failed = || Err(Error::waiting("looking", "away"));
        assert!(written.ask(0, 1, "looking", failed).is_err());
        let proof = written.ask(0, 1, "looking", || Ok(BTreeSet::from([0])));
        assert_eq!(proof.unwrap(), Proof::Lost);
    }
}
