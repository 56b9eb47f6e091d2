//! One log line, collected field by field.

use serde_json::Value;
use std::fmt::{Debug, Write};
use tracing::Level;
use tracing::field::{Field, Visit};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Human,
    Json,
}

/// The fields of an event or a span, in the order in which they were given.
#[derive(Debug, Default, Clone)]
pub(super) struct Line {
    service: Option<String>,
    pipeline: Option<String>,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Line {
    /// A line about the log itself.
    pub(super) fn of(message: String, fields: Vec<(&'static str, Value)>) -> Line {
        Line { message, fields, ..Line::default() }
    }

    /// Takes over what an enclosing span knows.
    pub(super) fn inherit(&mut self, span: &Line) {
        self.service = span.service.clone().or(self.service.take());
        self.pipeline = span.pipeline.clone().or(self.pipeline.take());
        self.fields.extend(span.fields.iter().cloned());
    }

    /// The finished line with its line feed.
    pub(super) fn render(&self, form: Form, level: &Level) -> String {
        match form {
            Form::Json => self.json(level),
            Form::Human => self.human(level),
        }
    }

    fn json(&self, level: &Level) -> String {
        let level = level.as_str().to_ascii_lowercase();
        let text = |value: &Option<String>| Value::from(value.as_deref().unwrap_or_default());
        let head = [
            ("ts", Value::from(now())),
            ("level", level.into()),
            ("service", text(&self.service)),
            ("pipeline", text(&self.pipeline)),
        ];
        let event = ("event", Value::from(self.message.as_str()));
        let mut out = String::with_capacity(256);
        let fields = head.iter().chain([&event]).chain(&self.fields);
        for (n, (name, value)) in fields.enumerate() {
            out.push_str(if n == 0 { "{" } else { "," });
            out.push_str(&format!("{}:{value}", Value::from(*name)));
        }
        out.push_str("}\n");
        out
    }

    fn human(&self, level: &Level) -> String {
        let colour = match *level {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            _ => "2",
        };
        let now = now();
        let time = now.get(11..19).unwrap_or(&now);
        let mut out = format!(
            "{time} \u{1b}[{colour}m{:5}\u{1b}[0m {:8} {}",
            level.as_str(),
            self.service.as_deref().unwrap_or("weir"),
            plain(&self.message)
        );
        for (name, value) in &self.fields {
            let text = value.as_str().map_or_else(|| value.to_string(), plain);
            out.push_str(&format!("  \u{1b}[2m{name}=\u{1b}[0m{text}"));
        }
        out.push('\n');
        out
    }

    fn put(&mut self, field: &Field, value: Value) {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), Into::into);
        match field.name() {
            "service" => self.service = Some(text(&value)),
            "pipeline" => self.pipeline = Some(text(&value)),
            "message" => self.message = text(&value),
            // Records that come through the `log` facade carry these; they say nothing about the
            // data.
            name if name.starts_with("log.") => {}
            name => self.fields.push((name, value)),
        }
    }
}

/// Text from outside must not move the cursor or fake a line of its own.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn now() -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, and a clock before 1970 shows as an empty time.
    SystemTime.format_time(&mut Writer::new(&mut text)).ok();
    text
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").ok();
        self.put(field, text.into());
    }
}
