//! The options that choose dead letters, the same in all commands.

use super::text;
use jiff::{Span, SpanRelativeTo, Timestamp};
use weir_audit::dead::{self, Filter};
use weir_model::fault::Stage;
use weir_model::mistake::did_you_mean;
use weir_model::pipeline::Pipeline;
use weir_model::protocol::Partition;

/// Conditions. A dead letter must meet all of them; an option that is repeated is met by any of its
/// values.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which dead letters")]
pub(super) struct FilterArgs {
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

impl FilterArgs {
    pub(super) fn into_filter(self) -> Filter {
        Filter {
            stages: self.stage,
            reasons: self.reason,
            since: self.since,
            until: self.until,
            partitions: self.partition,
            sinks: self.sink,
        }
    }
}

/// Nothing was found: says so on stderr if it is for a reason that no dead letter has.
///
/// # Errors
/// When the broker or a target is unavailable.
pub(super) async fn warn(pipeline: &Pipeline, filter: &Filter) -> anyhow::Result<()> {
    if let Some(text) = dead::unknown_reasons(pipeline, &filter.reasons).await? {
        eprintln!("weir: {}", text::printable(&text));
    }
    Ok(())
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
    time.map_err(|_| {
        "expected a time with its zone, such as 2026-11-21T10:00:00Z, or how long \
        ago, such as 90s, 15m, 2h, 3d"
            .into()
    })
}

#[cfg(test)]
mod tests {
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
}
