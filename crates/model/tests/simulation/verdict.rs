//! What must be true in the end, computed from the input topic alone and compared record by record.

use crate::broker::{DEAD_LETTERS, INPUT, OUTPUT};
use crate::record::{Fate, Record};
use crate::world::World;
use weir_model::lineage::Lineage;
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Halt, Offset, Partition};

type PartitionState = Vec<(Offset, Record)>;

pub(crate) fn check(world: &mut World) -> Result<(), String> {
    judge_input(world)?;
    for partition in 0..world.size.partitions {
        judge_enricher(world, partition)?;
        judge_sink(world, partition)?;
    }
    judge_loss(world)
}

/// Each source record is in the input topic once, in its partition, in order; and the producer's
/// counts say so.
fn judge_input(world: &mut World) -> Result<(), String> {
    let size = world.size;
    for partition in 0..size.partitions {
        let found: Vec<Record> =
            all(world, INPUT + partition).into_iter().map(|(_, record)| record).collect();
        for source in 0..size.sources {
            let records =
                (0..size.records).map(|sequence| Record { source, sequence, lineage: None });
            let expected: Vec<Record> =
                records.filter(|record| record.partition(size.partitions) == partition).collect();
            let found: Vec<Record> =
                found.iter().filter(|record| record.source == source).copied().collect();
            same(&format!("input {partition} of source {source}"), &found, &expected)?;
        }
    }
    for source in 0..size.sources {
        let read = size.records as u64;
        let progress = Progress {
            counters: Counters { read, written: read, ..Counters::default() },
            ..Progress::default()
        };
        let found = world.broker.position(source);
        same(&format!("position of source {source}"), &[found], &[Some((size.records, progress))])?;
    }
    Ok(())
}

/// Records that expired before they were read are named exactly.
fn judge_loss(world: &World) -> Result<(), String> {
    let (Some((partition, from)), Some((_, to))) = (world.bereft(), world.expired) else {
        return Ok(());
    };
    let expected = (partition as Partition, Halt::Expired { from, to });
    same("last halt", &world.halts[world.halts.len().saturating_sub(1)..], &[expected])
}

/// Output and dead letters hold each input record once, with an unbroken lineage, or it was
/// filtered; and the counts say so.
fn judge_enricher(world: &mut World, partition: usize) -> Result<(), String> {
    let mut progress = Progress::default();
    let (mut output, mut dead_letters) = (Vec::new(), Vec::new());
    let end = world
        .bereft()
        .filter(|bereft| bereft.0 == partition)
        .map_or(Offset::MAX, |bereft| bereft.1);
    for (offset, mut record) in
        all(world, INPUT + partition).into_iter().take_while(|(offset, _)| *offset < end)
    {
        let fate = record.enriched();
        progress.counters.read += 1;
        record.lineage =
            Some(Lineage::new(offset, progress.last.unwrap_or(-1), progress.filtered_since));
        match fate {
            Fate::Filtered => {
                progress.counters.filtered += 1;
                progress.filtered_since += 1;
                continue;
            }
            Fate::Written => {
                progress.counters.written += 1;
                output.push(record);
            }
            Fate::Dead => {
                progress.counters.dead += 1;
                dead_letters.push(record);
            }
        }
        (progress.last, progress.filtered_since) = (Some(offset), 0);
    }
    let records =
        |found: PartitionState| found.into_iter().map(|(_, record)| record).collect::<Vec<_>>();
    same(&format!("output {partition}"), &records(all(world, OUTPUT + partition)), &output)?;
    same(
        &format!("dead letters {partition}"),
        &records(all(world, DEAD_LETTERS + partition)),
        &dead_letters,
    )?;
    let counts =
        world.broker.committed[partition].map(|(_, progress)| progress).unwrap_or_default();
    same(&format!("counters of the enricher of partition {partition}"), &[counts], &[progress])
}

/// Table and dead letters hold each output record once, and the counts say so.
fn judge_sink(world: &mut World, partition: usize) -> Result<(), String> {
    let output = all(world, OUTPUT + partition);
    let (dead_letters, rows): (PartitionState, PartitionState) =
        output.iter().partition(|(_, record)| record.sunk() == Fate::Dead);
    let of = |rows: &[(usize, Offset, Record)]| -> PartitionState {
        rows.iter().filter(|row| row.0 == partition).map(|row| (row.1, row.2)).collect()
    };
    same(&format!("table, partition {partition}"), &of(&world.database.rows), &rows)?;
    same(
        &format!("dead letters of the table, partition {partition}"),
        &of(&world.database.dead_letters),
        &dead_letters,
    )?;
    let counters = Counters {
        read: output.len() as u64,
        written: rows.len() as u64,
        filtered: 0,
        dead: dead_letters.len() as u64,
        ..Counters::default()
    };
    let last = output.last().and_then(|(_, record)| record.lineage).map(|lineage| lineage.source);
    let counts = world.database.positions[partition].progress;
    same(
        &format!("counters of the sink of partition {partition}"),
        &[counts],
        &[Progress { counters, last, ..Progress::default() }],
    )
}

fn all(world: &mut World, log: usize) -> PartitionState {
    let mut found = PartitionState::new();
    let mut from = 0;
    while let Some((offset, record)) = world.broker.read(log, from) {
        found.push((offset, record));
        from = offset + 1;
    }
    found
}

fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &[T],
    expected: &[T],
) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let at = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
    let (is, should) = (found.get(at), expected.get(at));
    let count = (found.len(), expected.len());
    Err(format!(
        "{what}: {} instead of {} entries; number {at} is {is:?} and should be {should:?}",
        count.0, count.1
    ))
}
