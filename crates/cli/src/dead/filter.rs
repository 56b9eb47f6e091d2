//! Which dead letters are meant.

use super::dead_letter::DeadLetter;
use anyhow::{Result, bail};
use jiff::{Span, SpanRelativeTo, Timestamp};
use weir_model::fault::Stage;
use weir_model::mistake::did_you_mean;
use weir_model::pipeline::{Pipeline, Sink};
use weir_model::protocol::Partition;

/// Conditions; a dead letter has to meet all that are given, and of one that is repeated any.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which dead letters")]
pub(super) struct Filter {
    /// The step that refused the record: source, decode, rule, transform or sink; may be repeated.
    #[arg(long, value_parser = stage)]
    stage: Vec<Stage>,
    /// The short name of the fault, such as a rule's; may be repeated.
    #[arg(long)]
    reason: Vec<String>,
    /// The record's Kafka timestamp is this or later: a time such as 2026-11-21T10:00:00Z, or how
    /// long ago, such as 2h.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// The record's Kafka timestamp is before this.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Partition of the input topic; may be repeated.
    #[arg(long)]
    partition: Vec<Partition>,
    /// Dead letters of this sink only; may be repeated.
    #[arg(long)]
    sink: Vec<String>,
}

impl Filter {
    /// Whether the dead letter is meant.
    pub(super) fn takes(&self, dead_letter: &DeadLetter) -> bool {
        any_of(&self.stage, &dead_letter.stage)
            && any_of(&self.reason, &dead_letter.reason)
            && any_of(&self.partition, &dead_letter.partition())
            && (self.sink.is_empty()
                || self.sink.iter().any(|name| dead_letter.sink() == Some(name)))
            && self.since.is_none_or(|since| dead_letter.time_ms >= since.as_millisecond())
            && self.until.is_none_or(|until| dead_letter.time_ms < until.as_millisecond())
    }

    /// Whether dead letters of the topic can be meant.
    pub(super) fn topic(&self) -> bool {
        self.sink.is_empty()
            && (self.stage.is_empty() || self.stage.iter().any(|stage| *stage != Stage::Sink))
    }

    /// The sinks whose dead letters can be meant.
    ///
    /// # Errors
    /// There is no sink of a name that was given.
    pub(super) fn sinks<'a>(&self, pipeline: &'a Pipeline) -> Result<Vec<&'a Sink>> {
        for name in &self.sink {
            if !pipeline.sinks.iter().any(|sink| sink.name == *name) {
                let names: Vec<&str> =
                    pipeline.sinks.iter().map(|sink| sink.name.as_str()).collect();
                let close = did_you_mean(name, names.iter().copied());
                bail!(
                    "{} has no sink `{name}`{close} (its sinks: {})",
                    pipeline.file.display(),
                    names.join(", ")
                );
            }
        }
        let meant =
            |sink: &&Sink| any_of(&self.stage, &Stage::Sink) && any_of(&self.sink, &sink.name);
        Ok(pipeline.sinks.iter().filter(meant).collect())
    }
}

fn any_of<T: PartialEq>(wanted: &[T], value: &T) -> bool {
    wanted.is_empty() || wanted.contains(value)
}

fn stage(text: &str) -> Result<Stage, String> {
    let all = ["source", "decode", "rule", "transform", "sink"];
    Stage::parse(text)
        .ok_or_else(|| format!("one of {}{}", all.join(", "), did_you_mean(text, all)))
}

fn moment(text: &str) -> Result<Timestamp, String> {
    parse_moment(text, Timestamp::now())
}

fn parse_moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago =
        text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let time = ago.and_then(|ago| now.checked_sub(ago.abs()));
    time.map_err(|_| "expected a time with its zone, such as 2026-11-21T10:00:00Z, or how long ago, such as 90s, 15m, 2h, 3d".into())
}

#[cfg(test)]
mod tests {
    use super::super::dead_letter::tests::{of_sink, of_topic};
    use super::*;

    #[test]
    fn times_are_absolute_or_ago() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let parse = |text| parse_moment(text, now).map(|time| time.to_string());
        assert_eq!(parse("2026-11-21T10:00:00+02:00"), Ok("2026-11-21T08:00:00Z".into()));
        assert_eq!(parse("2h"), Ok("2026-11-21T10:00:00Z".into()));
        assert_eq!(parse("1d12h"), Ok("2026-11-20T00:00:00Z".into()));
        assert_eq!(parse("90s"), Ok("2026-11-21T11:58:30Z".into()));
        for text in ["", "yesterday", "2026-11-21T10:00:00", "2"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn conditions_add_up_and_repeated_ones_widen() {
        let dead_letter = of_topic(Stage::Rule, "late", 7);
        let filter = |edit: fn(&mut Filter)| {
            let mut filter = Filter::default();
            edit(&mut filter);
            filter
        };
        assert!(Filter::default().takes(&dead_letter));
        assert!(filter(|f| f.reason = vec!["early".into(), "late".into()]).takes(&dead_letter));
        assert!(!filter(|f| f.reason = vec!["early".into()]).takes(&dead_letter));
        assert!(
            !filter(|f| (f.reason, f.stage) = (vec!["late".into()], vec![Stage::Decode]))
                .takes(&dead_letter)
        );
        assert!(!filter(|f| f.partition = vec![3]).takes(&dead_letter));
        assert!(!filter(|f| f.sink = vec!["warehouse".into()]).takes(&dead_letter));
        assert!(
            filter(|f| f.sink = vec!["warehouse".into()]).takes(&of_sink("warehouse", Some(7)))
        );
    }

    #[test]
    fn only_the_places_that_can_hold_a_dead_letter_are_read() {
        let staged = |stage| Filter { stage: vec![stage], ..Filter::default() };
        assert!(
            Filter::default().topic()
                && staged(Stage::Decode).topic()
                && !staged(Stage::Sink).topic()
        );
        assert!(!Filter { sink: vec!["warehouse".into()], ..Filter::default() }.topic());
    }

    #[test]
    fn a_time_span_begins_with_since_and_ends_before_until() {
        let at = |ms| Some(Timestamp::from_millisecond(ms).unwrap());
        let dead_letter = DeadLetter { time_ms: 1000, ..of_topic(Stage::Rule, "late", 7) };
        let between = |since, until| {
            Filter { since: at(since), until: at(until), ..Filter::default() }.takes(&dead_letter)
        };
        assert!(between(1000, 1001) && !between(1001, 2000) && !between(0, 1000));
    }
}
