//! `weir audit --deep`: what topics and targets themselves say, without believing any counter.

use super::counts::REPLAY;
use super::lineage::{self, Chain, Link, Place};
use super::verdict::{Verdict, grouped};
use anyhow::Result;
use weir_kafka::{admin, replay};
use weir_model::accepted_loss::AcceptedLoss;
use weir_model::lineage::Lineage;
use weir_model::pipeline::{Mode, Pipeline, Target};
use weir_model::progress::Progress;
use weir_model::protocol::{Offset, Partition};
use weir_store::Store;

/// Everything that contradicts the books, of which `verdict` is made; empty when all agrees.
pub(crate) async fn findings(pipeline: &Pipeline, verdict: &Verdict) -> Result<Vec<String>> {
    let mut findings = tokio::task::block_in_place(|| -> Result<_> {
        let mut findings = chains(pipeline, &verdict.accepted)?;
        replays(pipeline, verdict, &mut findings)?;
        Ok(findings)
    })?;
    for sink in &pipeline.sinks {
        let Target::Postgres(target) = &sink.target;
        let store = Store::new(&target.url, "weir-audit")?;
        let mut books = Progress::default();
        for book in
            store.books(&pipeline.name).await?.into_iter().filter(|book| book.sink == sink.name)
        {
            books.counters += book.committed.progress.counters;
        }
        let dead_letters = store.count_dead_letters(&pipeline.name, &sink.name).await?;
        compare(
            &mut findings,
            &format!("{}: weir.dead_letters", sink.name),
            dead_letters,
            books.counters.dead,
        );
        // An upsert writes fewer rows than it reads records.
        if target.mode == Mode::Append {
            let rows = store.count_rows(&target.schema, &target.table).await?;
            compare(
                &mut findings,
                &format!("{}: {}.{}", sink.name, target.schema, target.table),
                rows,
                books.counters.written,
            );
        }
    }
    Ok(findings)
}

fn compare(findings: &mut Vec<String>, what: &str, found: u64, booked: u64) {
    if found != booked {
        findings.push(format!(
            "{what} holds {} rows, the books say {}",
            grouped(found),
            grouped(booked)
        ));
    }
}

/// Each record that came back from the dead letters left a mark.
fn replays(pipeline: &Pipeline, verdict: &Verdict, findings: &mut Vec<String>) -> Result<()> {
    let marks = replay::marks(pipeline)?.len() as u64;
    let booked =
        verdict.hops.iter().find(|hop| hop.name == REPLAY).map_or(0, |hop| hop.counters.written);
    if marks != booked {
        findings.push(format!(
            "{} dead letters are marked as replayed, the books say {}",
            grouped(marks),
            grouped(booked)
        ));
    }
    Ok(())
}

/// Follows the lineage through output ∪ dead letters of every partition.
fn chains(pipeline: &Pipeline, accepted: &[AcceptedLoss]) -> Result<Vec<String>> {
    let mut chains = lineage::read(pipeline, accepted)?;
    let committed_positions = admin::committed_positions(
        &pipeline.kafka,
        &pipeline.enricher_group(),
        &pipeline.input.topic,
    )?
    .unwrap_or_default();
    let mut findings = Vec::new();
    for committed in committed_positions {
        let chain = chains.remove(&committed.partition).unwrap_or_default();
        follow(committed.partition, &chain, &committed.progress, &mut findings);
    }
    Ok(findings)
}

/// How many broken links are told one by one.
const TOLD: usize = 5;

/// Checks one partition's chain and what it adds up to against the books that the enricher
/// committed.
fn follow(partition: Partition, chain: &Chain, books: &Progress, findings: &mut Vec<String>) {
    let walk = chain.walk();
    findings.extend(
        walk.broken.iter().take(TOLD).map(|(link, previous)| broken(partition, link, *previous)),
    );
    if walk.broken.len() > TOLD {
        findings.push(format!(
            "partition {partition}: {} more broken links",
            grouped((walk.broken.len() - TOLD) as u64)
        ));
    }
    let counted = [
        ("written", chain.count(Place::Output), books.counters.written),
        ("dead", chain.count(Place::Letters), books.counters.dead),
        ("filtered", walk.filtered + books.filtered_since, books.counters.filtered),
    ];
    for (what, found, booked) in counted {
        // What retention took cannot be counted again.
        if found > booked || (found < booked && !chain.headless) {
            findings.push(format!(
                "partition {partition}: {} records {what} in the topics, the books say {}",
                grouped(found),
                grouped(booked)
            ));
        }
    }
    if let Some(end) = walk.end.filter(|end| *end != books.last.unwrap_or(-1)) {
        findings.push(format!(
            "partition {partition}: the chain ends at input record {end}, the books say {:?}",
            books.last
        ));
    }
}

fn broken(partition: Partition, link: &Link, previous: Offset) -> String {
    let Lineage { source, previous: named, .. } = link.lineage;
    let place = format!("{:?}[{partition}]@{}", link.place, link.offset).to_lowercase();
    match source == previous {
        true => format!(
            "partition {partition}: input record {source} was emitted twice, again as {place}"
        ),
        false => format!(
            "partition {partition}: {place} names input record {named} as its predecessor, the one found is {previous}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::progress::Counters;

    fn link(source: i64, previous: i64, filtered: u64) -> Link {
        Link {
            lineage: Lineage { source, previous, filtered },
            place: Place::Output,
            offset: source,
        }
    }

    fn books(written: u64, filtered: u64, last: i64) -> Progress {
        let read = written + filtered;
        Progress {
            counters: Counters { read, written, filtered, dead: 0 },
            last: Some(last),
            filtered_since: 0,
        }
    }

    fn found(links: Vec<Link>, books: Progress) -> Vec<String> {
        let mut findings = Vec::new();
        follow(0, &Chain::of(links), &books, &mut findings);
        findings
    }

    #[test]
    fn an_unbroken_chain_with_gaps_in_the_offsets_is_clean() {
        assert_eq!(
            found(vec![link(0, -1, 0), link(4, 0, 0), link(9, 4, 1)], books(3, 1, 9)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_missing_link_is_found_even_when_the_books_agree() {
        let findings = found(vec![link(0, -1, 0), link(9, 4, 0)], books(2, 0, 9));
        assert!(
            findings[0].contains("names input record 4 as its predecessor, the one found is 0"),
            "{findings:?}"
        );
    }

    #[test]
    fn a_record_emitted_twice_is_found() {
        let findings = found(vec![link(0, -1, 0), link(1, 0, 0), link(1, 0, 0)], books(3, 0, 1));
        assert!(findings[0].contains("emitted twice"), "{findings:?}");
    }

    #[test]
    fn books_that_claim_more_than_the_topics_hold_are_found() {
        assert!(found(vec![link(0, -1, 0)], books(2, 0, 0))[0].contains("the books say 2"));
    }
}
