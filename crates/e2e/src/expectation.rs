//! Computes what must be in the table and in the dead letters, from the seed alone.

use crate::Flow;
use crate::flow::root;
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use weir_codec::Schema;
use weir_model::fault::Stage;
use weir_producer::synthetic::{Expected, Oracle, Record};

/// The columns of [`Expectation::rows`], as SQL over the table.
pub const COLUMNS: &str = "caller_name, receiver_name, caller_id, receiver_id, \
    (extract(epoch FROM start_datetime) * 1000000)::bigint, (extract(epoch FROM end_datetime) * \
    1000000)::bigint, call_duration, network_provider, (total_amount * 100)::bigint, country, \
    network_type, (rate_per_minute * 10000)::bigint";

/// Separates the values of a row: ASCII's unit separator, which no value contains.
pub const BETWEEN: &str = "\u{1f}";

/// An invalid record: stage and reason of its dead letter, and its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dead {
    /// `rule`, `decode` or `sink`.
    pub stage: &'static str,
    /// The reason in the dead letter.
    pub reason: String,
    /// The input record's value.
    pub value: Vec<u8>,
}

/// Everything that must exist when the pipeline is idle; each list is sorted.
#[derive(Debug, Default)]
pub struct Expectation {
    /// Values of the input topic.
    pub input: Vec<Vec<u8>>,
    /// Rows of the table, values joined by [`BETWEEN`] in the order of [`COLUMNS`].
    pub rows: Vec<String>,
    /// Dead letters in the dead-letter topic.
    pub topic_dead_letters: Vec<Dead>,
    /// Dead letters in the database; the value is that of the *input* record.
    pub table_dead_letters: Vec<Dead>,
}

impl Expectation {
    /// Recomputes all records of the flow's source.
    pub fn of(flow: &Flow) -> Result<Expectation> {
        let (source, schema) = (flow.source()?, Schema::load(&flow.pipeline.input.schema)?);
        let oracle = Oracle::new(source, &schema, flow.input_schema_id()?)
            .map_err(|mistake| anyhow::anyhow!("{mistake:?}"))?;
        let providers = providers()?;
        let mut all = Expectation::default();
        for sequence in 0..source.records {
            all.add(oracle.expect(sequence), &providers)
                .with_context(|| format!("sequence {sequence}"))?;
        }
        all.sort();
        Ok(all)
    }

    /// Distinct reasons of all dead letters.
    pub fn reasons(&self) -> BTreeSet<&str> {
        self.topic_dead_letters
            .iter()
            .chain(&self.table_dead_letters)
            .map(|dead_letter| dead_letter.reason.as_str())
            .collect()
    }

    fn add(
        &mut self,
        expected: Expected,
        providers: &BTreeMap<String, (String, String)>,
    ) -> Result<()> {
        self.input.push(expected.payload.clone());
        let undecodable = matches!(expected.fate, Some((Stage::Decode, _)));
        let recomputed = if undecodable { None } else { expected_fault(&expected.record) };
        if !undecodable && recomputed != expected.fate {
            bail!(
                "the generator expects {:?}, the rules give {recomputed:?}: {:?}",
                expected.fate,
                expected.record
            );
        }
        match expected.fate {
            None => self.rows.push(row(&expected.record, providers)?),
            Some((stage, reason)) => {
                let dead_letters = if stage == Stage::Sink {
                    &mut self.table_dead_letters
                } else {
                    &mut self.topic_dead_letters
                };
                dead_letters.push(Dead {
                    stage: stage.as_str(),
                    reason: reason.into(),
                    value: expected.payload,
                });
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        self.input.sort_unstable();
        self.rows.sort_unstable();
        self.topic_dead_letters.sort_unstable();
        self.table_dead_letters.sort_unstable();
    }
}

/// The fault that the pipeline's rules and the table's limits require, written independently of
/// them.
fn expected_fault(call: &Record) -> Option<(Stage, &'static str)> {
    let seconds = (call.end_micros - call.start_micros) / 1_000_000;
    let texts = [
        (&call.caller_name, 50),
        (&call.receiver_name, 50),
        (&call.caller_id, 20),
        (&call.receiver_id, 20),
    ];
    if call.call_duration < 0 {
        Some((Stage::Rule, "negative_duration"))
    } else if call.end_micros < call.start_micros {
        Some((Stage::Rule, "ends_before_start"))
    } else if seconds != i64::from(call.call_duration) {
        Some((Stage::Rule, "duration_mismatch"))
    } else if call.total_amount_cents < 0 {
        Some((Stage::Rule, "negative_amount"))
    } else if texts.iter().any(|(text, _)| text.contains('\0')) {
        Some((Stage::Sink, "character_not_storable"))
    } else if texts.iter().any(|(text, limit)| text.chars().count() > *limit) {
        Some((Stage::Sink, "value_too_long"))
    } else {
        None
    }
}

fn row(call: &Record, providers: &BTreeMap<String, (String, String)>) -> Result<String> {
    let provider = call.network_provider;
    let (country, network_type) = providers
        .get(provider)
        .with_context(|| format!("{provider} is not in the reference table"))?;
    let seconds = i64::from(call.call_duration);
    ensure!(seconds > 0, "a generated call lasts");
    // Ten-thousandths per minute, half up: cents · 100 · 60 / seconds.
    let rate = (call.total_amount_cents * 12_000 + seconds) / (2 * seconds);
    let values: [&dyn Display; 12] = [
        &call.caller_name,
        &call.receiver_name,
        &call.caller_id,
        &call.receiver_id,
        &call.start_micros,
        &call.end_micros,
        &seconds,
        &provider,
        &call.total_amount_cents,
        country,
        network_type,
        &rate,
    ];
    Ok(values.map(ToString::to_string).join(BETWEEN))
}

/// Provider → country, network type.
fn providers() -> Result<BTreeMap<String, (String, String)>> {
    let text = std::fs::read_to_string(root().join("deploy/reference/providers.csv"))?;
    let parse = |line: &str| {
        let mut words = line.split(',').map(String::from);
        Some((words.next()?, (words.next()?, words.next()?)))
    };
    text.lines()
        .skip(1)
        .map(|line| parse(line).with_context(|| format!("providers.csv: {line}")))
        .collect()
}
