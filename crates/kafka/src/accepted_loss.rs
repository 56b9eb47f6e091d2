//! Losses that an operator accepted, recorded in the compacted topic `weir.positions` under
//! `pipeline/skipped/hop/partition@time`, written in the transaction that moves the group's
//! offsets.

use crate::error::{Error, Result};
use crate::positions::TOPIC;
use crate::transactional_producer::{Outgoing, TransactionalProducer};
use std::collections::BTreeMap;
use weir_model::accepted_loss::AcceptedLoss;
use weir_model::protocol::Partition;

/// They are few: one partition keeps them all.
pub(crate) const PARTITION: Partition = 0;

fn prefix(pipeline: &str) -> String {
    format!("{pipeline}/skipped/")
}

fn key(pipeline: &str, accepted_loss: &AcceptedLoss) -> String {
    let first = accepted_loss.skips.first().map_or(0, |skip| skip.partition);
    format!("{}{}/{first}@{}", prefix(pipeline), accepted_loss.hop, accepted_loss.at)
}

/// Adds the record of an accepted loss to the producer's transaction.
pub fn write(
    producer: &mut TransactionalProducer,
    pipeline: &str,
    accepted_loss: &AcceptedLoss,
) -> Result<()> {
    let value = serde_json::to_vec(accepted_loss)
        .map_err(|e| Error::waiting("writing an accepted loss", e.to_string()))?;
    producer.send(&Outgoing {
        topic: TOPIC,
        partition: Some(PARTITION),
        key: Some(key(pipeline, accepted_loss).as_bytes()),
        value: Some(&value),
        timestamp_ms: None,
        headers: &[],
    })
}

/// The accepted losses of one pipeline, while the topic is read; in the order of their keys: by
/// hop, partition and time.
pub(crate) struct AcceptedLossQuery {
    prefix: String,
    found: BTreeMap<String, AcceptedLoss>,
}

impl AcceptedLossQuery {
    pub(crate) fn new(pipeline: &str) -> AcceptedLossQuery {
        AcceptedLossQuery { prefix: prefix(pipeline), found: BTreeMap::new() }
    }

    pub(crate) fn take(&mut self, key: &str, value: Option<&[u8]>) -> serde_json::Result<()> {
        if key.starts_with(&self.prefix) {
            match value {
                Some(value) => drop(self.found.insert(key.into(), serde_json::from_slice(value)?)),
                None => drop(self.found.remove(key)),
            }
        }
        Ok(())
    }

    pub(crate) fn found(self) -> Vec<AcceptedLoss> {
        self.found.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::accepted_loss::Skip;

    #[test]
    fn each_accepted_loss_has_its_own_key() {
        let loss = |at: &str| AcceptedLoss {
            hop: "enricher".into(),
            topic: "calls".into(),
            skips: vec![Skip { partition: 2, from: Some(10), to: 500, emitted: None }],
            records: Some(1),
            reason: String::new(),
            at: at.into(),
        };
        assert_eq!(
            key("telecom", &loss("2026-01-31T12:00:00.5Z")),
            "telecom/skipped/enricher/2@2026-01-31T12:00:00.5Z"
        );
        assert_ne!(key("telecom", &loss("1")), key("telecom", &loss("2")));
        assert!(!crate::positions::key("telecom", "synthetic", 2).starts_with(&prefix("telecom")));
    }
}
