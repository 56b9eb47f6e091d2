//! Checks a pipeline at rest: every topic and table contains exactly what the oracle expects;
//! nothing is lost, duplicated or changed.

use crate::Flow;
use crate::expectation::{BETWEEN, COLUMNS, Dead, Expectation};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fmt::Debug;
use weir_model::lineage::{self, Lineage};
use weir_testkit::topics::Record;

type Coordinates = (i32, i64);

/// Compares everything, then asks `weir audit`.
///
/// # Errors
/// Names what differs, with examples.
pub fn check(flow: &Flow) -> Result<Expectation> {
    let expected = Expectation::of(flow)?;
    let input = flow.topics.read(&flow.pipeline.input.topic)?;
    same("input topic", sorted(input.iter().map(value).collect()), &expected.input)?;
    let input: BTreeMap<Coordinates, Record> =
        input.into_iter().map(|record| ((record.partition, record.offset), record)).collect();
    let output = flow.topics.read(&flow.pipeline.output.topic)?;
    let dead_letters = flow.topics.read(&flow.pipeline.dead_letters.topic)?;
    check_topic_dead_letters(flow, &input, &dead_letters, &expected)?;
    check_lineage(&input, &output, &dead_letters)?;
    check_table(flow, &expected)?;
    check_table_dead_letters(flow, &input, &output, &expected)?;
    flow.weir(&["audit", &flow.file().to_string_lossy()])?;
    flow.weir(&["audit", &flow.file().to_string_lossy(), "--deep"])?;
    Ok(expected)
}

fn check_topic_dead_letters(
    flow: &Flow,
    input: &BTreeMap<Coordinates, Record>,
    dead_letters: &[Record],
    expected: &Expectation,
) -> Result<()> {
    let mut found = Vec::new();
    for dead_letter in dead_letters {
        let text = |name: &str| {
            dead_letter
                .header_text(name)
                .with_context(|| format!("dead letter without {name}: {dead_letter:?}"))
        };
        let (partition, offset): Coordinates =
            (text("weir-partition")?.parse()?, text("weir-offset")?.parse()?);
        let original = input
            .get(&(partition, offset))
            .with_context(|| format!("no input record at {partition}/{offset}"))?;
        ensure!(
            text("weir-topic")? == flow.pipeline.input.topic && dead_letter.partition == partition,
            "misplaced: {dead_letter:?}"
        );
        ensure!(
            dead_letter.key == original.key && dead_letter.value == original.value,
            "changed bytes: {dead_letter:?} of {original:?}"
        );
        ensure!(
            dead_letter.headers.starts_with(&original.headers),
            "headers: {dead_letter:?} of {original:?}"
        );
        ensure!(
            text("weir-timestamp")? == original.timestamp.to_string(),
            "timestamp: {dead_letter:?} of {original:?}"
        );
        ensure!(!text("weir-detail")?.is_empty(), "a dead letter without detail: {dead_letter:?}");
        let stage = if text("weir-stage")? == "rule" { "rule" } else { "decode" };
        ensure!(text("weir-stage")? == stage, "stage: {dead_letter:?}");
        found.push(Dead { stage, reason: text("weir-reason")?.into(), value: value(dead_letter) });
    }
    same("dead-letter topic", sorted(found), &expected.topic_dead_letters)
}

/// Output and dead letters together name every input record once, in an unbroken lineage per
/// partition.
fn check_lineage(
    input: &BTreeMap<Coordinates, Record>,
    output: &[Record],
    dead_letters: &[Record],
) -> Result<()> {
    let mut lineages: BTreeMap<i32, BTreeMap<i64, Lineage>> = BTreeMap::new();
    for record in output.iter().chain(dead_letters) {
        let bytes =
            record.header(lineage::HEADER).with_context(|| format!("no lineage: {record:?}"))?;
        let link =
            Lineage::decode(bytes).with_context(|| format!("unknown lineage: {record:?}"))?;
        let previous = lineages.entry(record.partition).or_default().insert(link.source, link);
        ensure!(
            previous.is_none(),
            "input record {}/{} was emitted twice",
            record.partition,
            link.source
        );
    }
    for (partition, lineage) in &lineages {
        let mut previous = -1;
        for link in lineage.values() {
            ensure!(
                link.previous == previous,
                "broken lineage in partition {partition}: {link:?} after {previous}"
            );
            previous = link.source;
        }
    }
    let named = lineages
        .iter()
        .flat_map(|(&partition, lineage)| lineage.keys().map(move |&source| (partition, source)))
        .collect();
    same("lineage", named, &input.keys().copied().collect::<Vec<_>>())
}

/// The rows of the flow's table are exactly these; `expected` is sorted.
pub fn check_rows(flow: &Flow, expected: &[String]) -> Result<()> {
    let rows =
        flow.fresh_database()?.texts(&format!("SELECT {COLUMNS} FROM telecom.telecom_data"))?;
    let join = |row: Vec<Option<String>>| {
        row.into_iter()
            .map(|text| text.unwrap_or_else(|| "NULL".into()))
            .collect::<Vec<_>>()
            .join(BETWEEN)
    };
    same("table", sorted(rows.into_iter().map(join).collect()), expected)
}

fn check_table(flow: &Flow, expected: &Expectation) -> Result<()> {
    check_rows(flow, &expected.rows)?;
    let database = flow.fresh_database()?;
    let odd = "SELECT count(*) FROM telecom.telecom_data WHERE processing_timestamp IS NULL \
        OR processing_timestamp NOT BETWEEN (now() AT TIME ZONE 'UTC') - interval '1 hour' AND \
        now() AT TIME ZONE 'UTC'";
    ensure!(database.number(odd)? == 0, "rows were not processed in the last hour");
    Ok(())
}

fn check_table_dead_letters(
    flow: &Flow,
    input: &BTreeMap<Coordinates, Record>,
    output: &[Record],
    expected: &Expectation,
) -> Result<()> {
    let output: BTreeMap<Coordinates, &Record> =
        output.iter().map(|record| ((record.partition, record.offset), record)).collect();
    let sql = "SELECT partition, \"offset\", source_offset, key, value, stage, reason FROM \
        weir.dead_letters";
    let mut found = Vec::new();
    for row in flow.fresh_database()?.query(sql, &[])? {
        let (partition, offset, source): (i32, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let record = output
            .get(&(partition, offset))
            .with_context(|| format!("no output record at {partition}/{offset}"))?;
        let (key, bytes): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(3), row.get(4));
        ensure!(
            key == record.key && bytes == record.value,
            "changed bytes in the dead letter of {partition}/{offset}"
        );
        ensure!(
            row.get::<_, String>(5) == "sink",
            "stage of the dead letter of {partition}/{offset}"
        );
        let original = input
            .get(&(partition, source))
            .with_context(|| format!("no input record at {partition}/{source}"))?;
        found.push(Dead { stage: "sink", reason: row.get(6), value: value(original) });
    }
    same("weir.dead_letters", sorted(found), &expected.table_dead_letters)
}

fn value(record: &Record) -> Vec<u8> {
    record.value.clone().unwrap_or_default()
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list
}

/// Both lists are sorted. An error contains how many are missing and how many are surplus, with the
/// first of each.
fn same<T: Ord + Debug>(what: &str, found: Vec<T>, expected: &[T]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let (missing, extra) = (without(expected, &found), without(&found, expected));
    bail!(
        "{what}: {} found, {} expected; {} missing, such as {:?}; {} too many, such as {:?}",
        found.len(),
        expected.len(),
        missing.len(),
        missing.first(),
        extra.len(),
        extra.first()
    )
}

/// What remains of `all` when each item of `other` takes away one equal item.
fn without<'a, T: Ord>(all: &'a [T], other: &[T]) -> Vec<&'a T> {
    let mut rest = other.iter().peekable();
    let mut left = Vec::new();
    for item in all {
        while rest.next_if(|other| *other < item).is_some() {}
        if rest.next_if(|other| *other == item).is_none() {
            left.push(item);
        }
    }
    left
}
