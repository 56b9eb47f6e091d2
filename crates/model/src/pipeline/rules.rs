//! Rules between keys: values that are each valid but do not fit together.

use super::assemble::owned_property;
use super::reader::{Reader, printable};
use super::{KeyFormat, Pipeline, Source, Tombstones, Unwrap, ValueFormat, names, units};
use crate::mistake::Mistake;
use std::collections::BTreeMap;

pub(super) fn check(pipeline: &Pipeline, reader: &Reader<'_>) {
    let report = |key: &str, what: String| reader.report(Mistake::new(key, what));
    names_once(pipeline, reader);
    topics(pipeline, &report);
    formats(pipeline, &report);
    deletes(pipeline, &report);
    times(pipeline, &report);
    threads(pipeline, &report);
    properties(pipeline, &report);
    targets(pipeline, reader);
}

fn names_once(pipeline: &Pipeline, reader: &Reader<'_>) {
    let lists: [(&str, Vec<&str>); 3] = [
        ("lookup", pipeline.lookups.iter().map(|l| l.name.as_str()).collect()),
        ("reject", pipeline.rejects.iter().map(|r| r.name.as_str()).collect()),
        ("sink", pipeline.sinks.iter().map(|s| s.name.as_str()).collect()),
    ];
    for (list, names) in lists {
        let mut seen = BTreeMap::new();
        for (i, name) in names.into_iter().enumerate().filter(|(_, n)| !n.is_empty()) {
            let key = format!("{list}[{i}].name");
            if let Some(first) = seen.insert(name, key.clone()) {
                let line =
                    reader.spans.line(&first).map(|l| format!(" in line {l}")).unwrap_or_default();
                reader.report(Mistake::new(
                    key,
                    format!("`{}` is already the name of another {list}{line}", printable(name)),
                ));
            }
        }
    }
}

fn topics(pipeline: &Pipeline, report: &dyn Fn(&str, String)) {
    let (input, output, dead) =
        (&pipeline.input.topic, &pipeline.output.topic, &pipeline.dead_letters.topic);
    if input.is_empty() {
        return;
    }
    if output == input {
        report(
            "output.topic",
            format!(
                "`{output}` is the input topic: the enricher would read its own output without end"
            ),
        );
    }
    if dead == input || dead == output {
        let which = if dead == input { "input" } else { "output" };
        report(
            "dead_letters.topic",
            format!("`{dead}` is the {which} topic; dead letters need one of their own"),
        );
    } else if let Err(what) = names::topic(dead) {
        // a given topic has been checked already; the default one can be too long
        report("input.topic", format!("makes the dead-letter topic `{dead}`, which {what}"));
    }
}

/// A tombstone has nothing but the record's key to say which row it deletes.
fn deletes(pipeline: &Pipeline, report: &dyn Fn(&str, String)) {
    let format = pipeline.input.key_format;
    for (i, sink) in pipeline.sinks.iter().enumerate() {
        let config = sink.target.config();
        let Some(key) = config.merges_by().filter(|_| config.tombstones() == Tombstones::Delete)
        else {
            continue;
        };
        let report = |what: String| report(&format!("sink[{i}].tombstones"), what);
        match format {
            KeyFormat::Bytes => report(
                "is \"delete\", but keys of input.key_format = \"bytes\" are no value of a column"
                    .into(),
            ),
            KeyFormat::Text if key.len() > 1 => report(format!(
                "is \"delete\", but a record's key is one text, and the rows' key is {} columns; \
                 input.key_format = \"json\" or \"avro\" has several",
                key.len()
            )),
            _ => {}
        }
    }
}

/// What the producer writes.
fn formats(pipeline: &Pipeline, report: &dyn Fn(&str, String)) {
    let input = &pipeline.input;
    if pipeline.source.is_none() {
        return;
    }
    if input.format != ValueFormat::Avro {
        report("input.format", "must be \"avro\" with a [source]: its producer writes Avro".into());
    }
    if input.unwrap != Unwrap::None {
        report("input.unwrap", "is \"debezium\", but the producer of [source] writes rows".into());
    }
    if input.key_format != KeyFormat::Text {
        let what = "must be \"text\" with a [source]: its producer writes keys as text";
        report("input.key_format", what.into());
    }
}

fn times(pipeline: &Pipeline, report: &dyn Fn(&str, String)) {
    let (linger, kafka) = (pipeline.batch.linger, &pipeline.kafka);
    for (key, limit) in [
        ("session_timeout", kafka.session_timeout),
        ("transaction_timeout", kafka.transaction_timeout),
    ] {
        if !limit.is_zero() && linger >= limit / 2 {
            let (linger, limit) = (units::show_duration(linger), units::show_duration(limit));
            report(
                "batch.linger",
                format!("is {linger}; it must be less than half of kafka.{key}, which is {limit}"),
            );
        }
    }
}

fn threads(pipeline: &Pipeline, report: &dyn Fn(&str, String)) {
    let partitions = usize::try_from(pipeline.input.partitions).unwrap_or_default();
    let source = pipeline.source.as_ref().map(Source::partitions);
    let workers = &pipeline.workers;
    let idle = |key: &str, threads: usize, shares: usize, of: &str| {
        if shares > 0 && threads > shares {
            report(
                key,
                format!(
                    "is {threads}, but {of} is {shares}: {} would never have work",
                    threads - shares
                ),
            );
        }
    };
    idle("workers.enricher", workers.enricher, partitions, "input.partitions");
    idle("workers.sink", workers.sink, partitions, "input.partitions");
    if let Some(shares) = source.and_then(|s| usize::try_from(s).ok()) {
        idle("workers.producer", workers.producer, shares, "source.partitions");
    }
}

fn properties(pipeline: &Pipeline, report: &dyn Fn(&str, String)) {
    for name in pipeline.kafka.properties.keys() {
        if let Some(instead) = owned_property(name) {
            report(&format!("kafka.properties.{name}"), format!("is set by weir: {instead}"));
        }
    }
}

fn targets(pipeline: &Pipeline, reader: &Reader<'_>) {
    let mut seen = BTreeMap::new();
    for (i, sink) in pipeline.sinks.iter().enumerate() {
        let Some(destination) = sink.target.config().destination() else { continue };
        if let Some(other) = seen.insert(destination, &sink.name) {
            let what = format!(
                "sink `{other}` already writes {}: every record would be there twice",
                sink.target.name()
            );
            let key = sink.target.config().destination_key();
            reader.report(Mistake::new(format!("sink[{i}].{key}"), what));
        }
    }
}
