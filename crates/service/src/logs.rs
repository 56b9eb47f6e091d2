//! Log lines: for people on a terminal, JSON otherwise. `WEIR_LOG` sets the level (`debug`,
//! `info,weir_kafka=debug`); default `info`. Warnings and errors that repeat are counted.
//!
//! An event's message is its `event`; `service` and `pipeline` come from the span that the service
//! runs in. `tracing-appender` writes the lines to standard error through a bounded queue: when the
//! reader of the log stalls, lines are dropped and counted, and processing continues. The lines
//! themselves are formatted here, because the JSON of `tracing-subscriber` nests the fields of
//! spans, has no fixed order, and its human form passes control characters to the terminal.

mod line;
mod repetition;

use line::{Form, Line};
use repetition::{LeftOut, Repetition};
use std::io::{IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tracing::{Event, Subscriber, span};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that wait to be written.
const MAX_WAITING_LINES: usize = 4096;

/// Keeps the log going; dropping it writes what is still in the queue, for at most about a second.
pub struct Logs {
    lines: Option<Lines<Queue>>,
    _guard: Option<WorkerGuard>,
}

impl Drop for Logs {
    fn drop(&mut self) {
        if let Some(lines) = &self.lines {
            lines.report(lines.repetition.rest());
        }
    }
}

/// Installs the log for the whole process. A second call does nothing: the log that was installed
/// first (by a test, an embedding program) stays.
pub fn install() -> Logs {
    let (queue, guard) = Queue::new(std::io::stderr(), MAX_WAITING_LINES);
    let form = if std::io::stderr().is_terminal() { Form::Human } else { Form::Json };
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = Lines::new(form, queue);
    let layer = lines.clone();
    if tracing_subscriber::registry().with(filter).with(layer).try_init().is_err() {
        return Logs { lines: None, _guard: None };
    }
    std::panic::set_hook(Box::new(report_panic));
    Logs { lines: Some(lines), _guard: Some(guard) }
}

/// One line for a panic, through the bounded queue like every other. Its message may quote a record,
/// and its location is what a fix needs.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(at, thread = std::thread::current().name(), "a thread panicked");
}

/// Where finished lines go.
trait Sink: 'static {
    fn put(&self, line: String);
}

struct Queue {
    writer: NonBlocking,
    /// Dropped lines that a later line has reported.
    reported: AtomicUsize,
}

impl Queue {
    fn new(out: impl Write + Send + 'static, max_waiting: usize) -> (Queue, WorkerGuard) {
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(max_waiting)
            .thread_name("log")
            .finish(out);
        (Queue { writer, reported: AtomicUsize::new(0) }, guard)
    }
}

impl Sink for Queue {
    fn put(&self, mut line: String) {
        let dropped = self.writer.error_counter().dropped_lines();
        let reported = self.reported.swap(dropped, Ordering::Relaxed);
        if dropped > reported {
            let lost = dropped - reported;
            line.push_str(&format!("({lost} log lines were dropped: the log was not read)\n"));
        }
        // A full queue is counted by the writer.
        self.writer.clone().write_all(line.as_bytes()).ok();
    }
}

/// The layer that turns events into lines.
struct Lines<S> {
    form: Form,
    to: Arc<S>,
    repetition: Arc<Repetition>,
}

impl<S> Clone for Lines<S> {
    fn clone(&self) -> Self {
        Lines { form: self.form, to: self.to.clone(), repetition: self.repetition.clone() }
    }
}

impl<T: Sink> Lines<T> {
    fn new(form: Form, to: T) -> Lines<T> {
        Lines { form, to: Arc::new(to), repetition: Arc::default() }
    }

    fn report(&self, left_out: Vec<LeftOut>) {
        for LeftOut { level, place, lines } in left_out {
            let seconds = repetition::INTERVAL.as_secs();
            let text = format!("{lines} more lines like this within {seconds} s were not written");
            let line = Line::of(text, vec![("lines", lines.into()), ("place", place.into())]);
            self.to.put(line.render(self.form, &level));
        }
    }
}

impl<T: Sink, S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines<T> {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let Some(span) = context.span(id) else { return };
        let mut line = Line::default();
        attributes.record(&mut line);
        span.extensions_mut().insert(line);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(line) = span.extensions_mut().get_mut::<Line>() {
            values.record(line);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let (level, place) = (*event.metadata().level(), event.metadata().name());
        let (admitted, left_out) = self.repetition.admit(level, place, Instant::now());
        self.report(left_out);
        if !admitted {
            return;
        }
        let mut line = Line::default();
        for span in
            context.event_scope(event).into_iter().flatten().collect::<Vec<_>>().iter().rev()
        {
            if let Some(fields) = span.extensions().get::<Line>() {
                line.inherit(fields);
            }
        }
        event.record(&mut line);
        self.to.put(line.render(self.form, event.metadata().level()));
    }
}

/// Runs `work` and returns the lines that it logged on this thread, in the form for people.
#[cfg(test)]
pub(crate) fn capture(work: impl FnOnce()) -> Vec<String> {
    capture_as(Form::Human, work)
}

#[cfg(test)]
fn capture_as(form: Form, work: impl FnOnce()) -> Vec<String> {
    struct Collected(std::sync::Arc<std::sync::Mutex<Vec<String>>>);
    impl Sink for Collected {
        fn put(&self, line: String) {
            self.0.lock().unwrap().push(line);
        }
    }
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let subscriber =
        tracing_subscriber::registry().with(Lines::new(form, Collected(lines.clone())));
    tracing::subscriber::with_default(subscriber, work);
    std::mem::take(&mut *lines.lock().unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_span() {
        let span = tracing::info_span!("service", service = "sink", pipeline = "telecom");
        let _entered = span.enter();
        tracing::info!(partition = 2, topic = "a \"b\"", rate = 1.5, "rebalanced");
    }

    #[test]
    fn a_json_line_begins_with_time_level_service_pipeline_and_event() {
        let lines = capture_as(Form::Json, in_span);
        assert_eq!(lines.len(), 1);
        let rest = &lines[0][lines[0].find(",\"level\"").unwrap()..];
        let expected = concat!(
            r#","level":"info","service":"sink","pipeline":"telecom","event":"rebalanced","#,
            r#""partition":2,"topic":"a \"b\"","rate":1.5}"#
        );
        assert_eq!(rest.trim_end(), expected);
        assert!(serde_json::from_str::<serde_json::Value>(&lines[0]).is_ok());
    }

    #[test]
    fn a_line_for_people_is_one_line_whatever_it_says() {
        let lines = capture(|| {
            in_span();
            tracing::warn!("two\nlines \u{1b}[31m");
        });
        assert!(
            lines[0].contains("sink")
                && lines[0].contains("rebalanced")
                && lines[0].contains("partition=\u{1b}[0m2"),
            "{lines:?}"
        );
        assert_eq!(lines[1].matches('\n').count(), 1);
        assert!(!lines[1].contains("\u{1b}[31m"));
    }

    #[test]
    fn a_fault_that_repeats_is_counted_and_hides_no_other() {
        let lines = capture(|| {
            (0..1000).for_each(|n| tracing::warn!(n, "a value was refused"));
            (0..1000).for_each(|n| tracing::info!(n, "a step was made"));
            tracing::error!("something else");
        });
        let with = |text: &str| lines.iter().filter(|line| line.contains(text)).count() as u64;
        assert_eq!(with("a value was refused"), repetition::LINES);
        assert_eq!((with("a step was made"), with("something else")), (1000, 1));
    }

    #[test]
    fn a_panic_is_one_line_with_its_location_and_without_its_message() {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(report_panic));
        let lines = capture(|| {
            for text in ["two\nlines", &"x".repeat(100_000)] {
                std::panic::catch_unwind(|| panic!("{text}")).unwrap_err();
            }
        });
        std::panic::set_hook(before);
        assert_eq!(lines.len(), 2);
        for line in lines {
            assert!(line.contains("panicked") && line.contains("logs.rs:"), "{line}");
            assert!(!line.contains("two") && !line.contains("xxx"), "{line}");
            assert!(line.matches('\n').count() == 1 && line.len() < 1000, "{line}");
        }
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_never_blocks() {
        struct Stalled(std::sync::mpsc::Receiver<()>);
        impl Write for Stalled {
            fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
                // Until the other end is dropped.
                self.0.recv().ok();
                Ok(line.len())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (go_on, stalled) = std::sync::mpsc::sync_channel(1);
        let (queue, guard) = Queue::new(Stalled(stalled), 1);
        (0..10).for_each(|n| queue.put(format!("{n}\n")));
        let dropped = queue.writer.error_counter().dropped_lines();
        assert!((8..=9).contains(&dropped), "{dropped}: one is written and one waits at most");
        drop(go_on);
        drop(guard);
    }
}
