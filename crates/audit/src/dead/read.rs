//! Reads all dead letters, wherever they are stored.

use super::dead_letter::DeadLetter;
use super::filter::Filter;
use crate::Result;
use std::ops::ControlFlow;
use std::sync::Arc;
use weir_kafka::Record;
use weir_kafka::reader::scan_all;
use weir_model::pipeline::{Pipeline, Sink};

/// Calls `visit` with every dead letter that meets the filter: first those of the topic, then those
/// of each sink.
///
/// # Errors
/// The broker or a database is unavailable.
pub(crate) async fn each(
    pipeline: &Pipeline,
    filter: &Filter,
    mut visit: impl FnMut(DeadLetter),
) -> Result<()> {
    let sinks = filter.chosen_sinks(pipeline)?;
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
        let dead_letters = of_sink(pipeline, sink).await?;
        dead_letters
            .into_iter()
            .filter(|dead_letter| filter.takes(dead_letter))
            .for_each(&mut visit);
    }
    Ok(())
}

/// Every dead letter of the topic, with its Kafka record.
///
/// # Errors
/// The broker is unavailable.
pub(crate) fn in_topic(
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
/// Its target is unavailable.
pub(crate) async fn of_sink(pipeline: &Pipeline, sink: &Sink) -> Result<Vec<DeadLetter>> {
    let name: Arc<str> = sink.name.as_str().into();
    let rows = weir_store::reader::open(pipeline, sink)?.dead_letters().await?;
    Ok(rows.into_iter().map(|row| DeadLetter::of_row(&pipeline.input.topic, &name, row)).collect())
}
