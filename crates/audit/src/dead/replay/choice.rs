//! Decides which dead letters are replayed, using the dead letters alone.

use super::super::dead_letter::{DeadLetter, Location};
use super::report::Report;
use std::collections::{BTreeMap, HashMap, HashSet};
use weir_kafka::replay::{Mark, Marks};
use weir_model::fault::Stage;
use weir_model::pipeline::Pipeline;
use weir_model::protocol::{Offset, Partition};

/// Partition and offset of a record.
pub(crate) type At = (Partition, Offset);

/// The decision about a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The record is replayed from the dead letter.
    FromDeadLetter,
    /// The record is replayed from the input topic.
    FromInput,
    /// It was replayed before.
    Already,
    /// It was replayed and dead-lettered again this many times.
    Guarded(u32),
    /// It cannot be replayed, for this reason.
    Left(String),
}

/// The rules of the decision.
pub(crate) struct Rules<'a> {
    pipeline: &'a Pipeline,
    marks: &'a Marks,
    max_replays: u32,
    /// Whether the SQL makes several rows of a record.
    unnests: bool,
    /// Sink → input records that it has dead letters for; only for pipelines with several sinks.
    refused: HashMap<String, HashSet<Mark>>,
}

impl<'a> Rules<'a> {
    pub(crate) fn new(pipeline: &'a Pipeline, marks: &'a Marks, max_replays: u32) -> Rules<'a> {
        let unnests = weir_transform::unnests(&pipeline.transform.sql);
        Rules { pipeline, marks, max_replays, unnests, refused: HashMap::new() }
    }

    /// Records all dead letters of a sink.
    pub(crate) fn refused_by(&mut self, sink: &str, dead_letters: Vec<DeadLetter>) {
        self.refused
            .insert(sink.into(), dead_letters.iter().filter_map(DeadLetter::mark).collect());
    }

    pub(crate) fn decide(&self, dead_letter: &DeadLetter) -> Verdict {
        if dead_letter.stage == Stage::Source {
            return Verdict::Left("never became a record; fix it in the source".into());
        }
        let Some(mark) = dead_letter.mark() else {
            return Verdict::Left(
                "did not come through the enricher, so its input record is not known".into(),
            );
        };
        if let Some(foreign) = self.foreign(dead_letter) {
            return Verdict::Left(format!(
                "from topic {foreign}, which this pipeline does not read"
            ));
        }
        if self.marks.contains(&mark) {
            return Verdict::Already;
        }
        if dead_letter.num_replays >= self.max_replays {
            return Verdict::Guarded(dead_letter.num_replays);
        }
        match &dead_letter.location {
            Location::Topic(_) if dead_letter.truncated => Verdict::FromInput,
            Location::Topic(_) => Verdict::FromDeadLetter,
            Location::Table { .. } if self.unnests && self.appends() => Verdict::Left(
                "one of the rows that the SQL makes of its input record: a sink that appends would \
                 get the others a second time"
                    .into(),
            ),
            Location::Table { sink, .. } => match self.taken_by(sink, mark) {
                Some(other) => Verdict::Left(format!(
                    "not refused by sink {other}, which would get it a second time"
                )),
                None => Verdict::FromInput,
            },
        }
    }

    /// The topic that contained the refused record, if it is not a topic of this pipeline.
    fn foreign<'l>(&self, dead_letter: &'l DeadLetter) -> Option<&'l str> {
        let (topic, own) = match &dead_letter.location {
            Location::Topic(_) => (&dead_letter.origin.as_ref()?.topic, &self.pipeline.input.topic),
            Location::Table { at, .. } => (&at.topic, &self.pipeline.output.topic),
        };
        (topic != own).then_some(topic)
    }

    fn appends(&self) -> bool {
        self.pipeline.sinks.iter().any(|sink| sink.target.keeps_every_record())
    }

    /// Another sink that adds a row for each record and has no dead letter for this one.
    fn taken_by(&self, sink: &str, record: Mark) -> Option<&str> {
        let others = self.pipeline.sinks.iter().filter(|other| other.name != sink);
        let mut appending = others.filter(|other| other.target.keeps_every_record());
        let taken = appending.find(|other| {
            !self.refused.get(&other.name).is_some_and(|refused| refused.contains(&record))
        });
        taken.map(|other| other.name.as_str())
    }
}

/// The records to replay, by where they are read from.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    limit: Option<usize>,
    chosen: HashSet<Mark>,
    /// Coordinates in the dead-letter topic, and the mark of each record.
    pub(crate) dead_letters: BTreeMap<At, Mark>,
    /// Coordinates in the input topic, and what is known about the records there.
    pub(crate) inputs: BTreeMap<At, Known>,
}

/// Enough to notice that a recreated topic contains another record at the same offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// The key, if the dead letter contains it.
    pub(crate) key: Option<Option<Vec<u8>>>,
    pub(crate) time_ms: i64,
}

/// The reason for a dead letter whose input record was replaced by another one.
pub(crate) const RECREATED: &str =
    "the input topic contains another record at these coordinates: it was recreated";

impl Choice {
    pub(crate) fn new(limit: Option<usize>) -> Choice {
        Choice { limit, ..Choice::default() }
    }

    /// Adds a dead letter to the choice if it can be replayed, otherwise to the report.
    pub(crate) fn add(&mut self, dead_letter: &DeadLetter, verdict: Verdict, report: &mut Report) {
        let coordinates = || dead_letter.coordinates().to_string();
        match verdict {
            Verdict::Already => report.already += 1,
            Verdict::Guarded(_) => report.guard(coordinates()),
            Verdict::Left(why) => report.leave(why, coordinates()),
            Verdict::FromDeadLetter | Verdict::FromInput => {
                self.choose(dead_letter, verdict == Verdict::FromInput, report)
            }
        }
    }

    fn choose(&mut self, dead_letter: &DeadLetter, from_input: bool, report: &mut Report) {
        let Some(mark) = dead_letter.mark() else { return };
        // If two sinks refused the same record, it is replayed once.
        if self.chosen.contains(&mark) {
            report.already += 1;
            return;
        }
        if self.limit.is_some_and(|limit| self.chosen.len() >= limit) {
            report.beyond += 1;
            return;
        }
        self.chosen.insert(mark);
        match &dead_letter.location {
            Location::Topic(coordinates) if !from_input => {
                self.dead_letters.insert((coordinates.partition, coordinates.offset), mark);
            }
            location => {
                let key =
                    matches!(location, Location::Table { .. }).then(|| dead_letter.key.clone());
                let known = Known { key, time_ms: dead_letter.time_ms };
                if self.inputs.insert((mark.partition, mark.offset), known).is_some() {
                    report.leave(RECREATED.into(), dead_letter.coordinates().to_string());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::dead_letter::tests::{of_sink, of_topic};
    use super::*;
    use std::path::Path;
    use weir_model::coordinates::RecordCoordinates;

    fn pipeline(sinks: &[(&str, &str)]) -> Pipeline {
        let sink = |(name, mode): &(&str, &str)| {
            format!(
                "[[sink]]\nname = \"{name}\"\ntype = \"postgres\"\n\
                 url = \"postgres://weir@localhost:1/weir\"\ntable = \"{name}\"\n{mode}\n"
            )
        };
        let text = format!(
            "name = \"calls\"\n[kafka]\nbrokers = \"localhost:1\"\n[registry]\n\
             url = \"http://localhost:1\"\n\
             [input]\ntopic = \"calls\"\nschema = \"Cargo.toml\"\n[transform]\n\
             sql = \"SELECT * FROM input\"\n\
             [output]\ntopic = \"calls-out\"\nschema = \"Cargo.toml\"\n{}",
            sinks.iter().map(sink).collect::<String>()
        );
        // Nothing here reads the schemas, but the files must exist.
        Pipeline::parse(&text, Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/p.toml")), &|_| None)
            .unwrap()
    }

    const APPEND: &str = "mode = \"append\"";
    const UPSERT: &str = "mode = \"upsert\"\nkey = [\"id\"]";

    fn decide(dead_letter: &DeadLetter, marks: &[(i32, i64)], max_replays: u32) -> Verdict {
        let mark = |(partition, offset): &(i32, i64)| Mark {
            partition: *partition,
            offset: *offset,
            timestamp_ms: dead_letter.time_ms,
        };
        let (pipeline, marks) =
            (pipeline(&[("warehouse", APPEND)]), marks.iter().map(mark).collect());
        Rules::new(&pipeline, &marks, max_replays).decide(dead_letter)
    }

    #[test]
    fn a_dead_letter_of_the_enricher_holds_its_record_unless_it_was_truncated() {
        let dead_letter = of_topic(Stage::Rule, "late", 7);
        assert_eq!(decide(&dead_letter, &[], 1), Verdict::FromDeadLetter);
        assert_eq!(
            decide(&DeadLetter { truncated: true, ..dead_letter }, &[], 1),
            Verdict::FromInput
        );
        assert_eq!(decide(&of_sink("warehouse", Some(7)), &[], 1), Verdict::FromInput);
    }

    #[test]
    fn a_replayed_record_is_not_replayed_again() {
        assert_eq!(decide(&of_topic(Stage::Rule, "late", 7), &[(0, 7)], 1), Verdict::Already);
        assert_eq!(decide(&of_sink("warehouse", Some(7)), &[(0, 7)], 1), Verdict::Already);
        assert_eq!(
            decide(&of_topic(Stage::Rule, "late", 7), &[(1, 7), (0, 8)], 1),
            Verdict::FromDeadLetter
        );
    }

    #[test]
    fn a_mark_does_not_apply_to_another_record_at_the_same_offset_of_a_recreated_topic() {
        let marks = Marks::from([Mark { partition: 0, offset: 7, timestamp_ms: 4 }]);
        let pipeline = pipeline(&[("warehouse", APPEND)]);
        let dead_letter = of_topic(Stage::Rule, "late", 7);
        assert_eq!(Rules::new(&pipeline, &marks, 1).decide(&dead_letter), Verdict::FromDeadLetter);
    }

    #[test]
    fn a_record_that_was_dead_lettered_again_is_replayed_only_on_request() {
        let dead_letter = DeadLetter { num_replays: 1, ..of_topic(Stage::Rule, "late", 7) };
        assert_eq!(
            (decide(&dead_letter, &[], 1), decide(&dead_letter, &[], 2)),
            (Verdict::Guarded(1), Verdict::FromDeadLetter)
        );
    }

    #[test]
    fn an_item_that_never_was_a_record_of_this_pipeline_is_left() {
        let elsewhere = Some(RecordCoordinates { topic: "orders".into(), partition: 0, offset: 7 });
        for dead_letter in [
            of_topic(Stage::Source, "not_json", 7),
            of_sink("warehouse", None),
            DeadLetter { origin: elsewhere, ..of_topic(Stage::Rule, "late", 7) },
        ] {
            assert!(matches!(decide(&dead_letter, &[], 1), Verdict::Left(_)), "{dead_letter:?}");
        }
    }

    #[test]
    fn no_sink_gets_a_record_twice() {
        let marks = Marks::new();
        let decide = |mode: &str, lake: Vec<DeadLetter>| {
            let pipeline = pipeline(&[("warehouse", APPEND), ("lake", mode)]);
            let mut rules = Rules::new(&pipeline, &marks, 1);
            rules.refused_by("warehouse", vec![of_sink("warehouse", Some(7))]);
            rules.refused_by("lake", lake);
            rules.decide(&of_sink("warehouse", Some(7)))
        };
        assert!(
            matches!(decide(APPEND, Vec::new()), Verdict::Left(why) if why.contains("sink lake"))
        );
        assert_eq!(decide(APPEND, vec![of_sink("lake", Some(7))]), Verdict::FromInput);
        assert_eq!(
            decide(UPSERT, Vec::new()),
            Verdict::FromInput,
            "an upsert of the same row changes nothing"
        );
    }

    #[test]
    fn a_record_is_chosen_once_and_the_limit_counts_records() {
        let pipeline = pipeline(&[("warehouse", APPEND)]);
        let (mut choice, mut report) = (Choice::new(Some(2)), Report::new(&pipeline, false));
        choice.add(&of_topic(Stage::Rule, "late", 7), Verdict::FromDeadLetter, &mut report);
        choice.add(&of_sink("warehouse", Some(8)), Verdict::FromInput, &mut report);
        choice.add(&of_sink("lake", Some(8)), Verdict::FromInput, &mut report);
        choice.add(&of_topic(Stage::Rule, "late", 9), Verdict::FromDeadLetter, &mut report);
        choice.add(&of_topic(Stage::Rule, "late", 10), Verdict::Guarded(1), &mut report);
        assert_eq!((choice.dead_letters.len(), choice.inputs.len()), (1, 1));
        assert_eq!((report.already, report.beyond, report.guarded.count), (1, 1, 1));
    }
}
