//! The reading of all dead letters, wherever they lie.

use super::dead_letter::DeadLetter;
use super::filter::Filter;
use anyhow::Result;
use std::ops::ControlFlow;
use std::sync::Arc;
use weir_kafka::Record;
use weir_kafka::reader::scan_all;
use weir_model::pipeline::{Pipeline, Target};
use weir_store::Store;

/// Shows every dead letter that the filter takes to `visit`: first those of the topic, then those
/// of each sink.
///
/// # Errors
/// Broker or database away; `visit`'s own.
pub(super) async fn each(
    pipeline: &Pipeline,
    filter: &Filter,
    mut visit: impl FnMut(DeadLetter),
) -> Result<()> {
    let sinks = filter.sinks(pipeline)?;
    if filter.topic() {
        tokio::task::block_in_place(|| {
            in_topic(pipeline, |dead_letter, _| {
                if filter.takes(&dead_letter) {
                    visit(dead_letter)
                }
            })
        })?;
    }
    for sink in sinks {
        for dead_letter in of_sink(pipeline, &sink.name)
            .await?
            .into_iter()
            .filter(|dead_letter| filter.takes(dead_letter))
        {
            visit(dead_letter);
        }
    }
    Ok(())
}

/// Every dead letter of the topic, with the record that it is.
///
/// # Errors
/// The broker is away.
pub(super) fn in_topic(
    pipeline: &Pipeline,
    mut visit: impl FnMut(DeadLetter, Record<'_>),
) -> Result<()> {
    let topic = &pipeline.dead_letters.topic;
    scan_all(&pipeline.kafka, topic, |record| {
        DeadLetter::of_record(topic, record)
            .into_iter()
            .for_each(|dead_letter| visit(dead_letter, record));
        ControlFlow::Continue(())
    })?;
    Ok(())
}

/// All dead letters of one sink.
///
/// # Errors
/// Its database is away.
pub(super) async fn of_sink(pipeline: &Pipeline, name: &str) -> Result<Vec<DeadLetter>> {
    let sink: Arc<str> = name.into();
    let rows = store(pipeline, name)?.dead_letters(&pipeline.name, name).await?;
    Ok(rows.into_iter().map(|row| DeadLetter::of_row(&pipeline.input.topic, &sink, row)).collect())
}

/// The database of a sink.
pub(super) fn store(pipeline: &Pipeline, name: &str) -> Result<Store> {
    let sink = pipeline.sinks.iter().find(|sink| sink.name == name);
    let Target::Postgres(target) = &sink.ok_or_else(|| anyhow::anyhow!("no sink `{name}`"))?.target;
    Ok(Store::new(&target.url, "weir-dead")?)
}
