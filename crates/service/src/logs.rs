//! Log lines: for people on a terminal, JSON otherwise. `WEIR_LOG` sets the level (`debug`,
//! `info,weir_kafka=debug`); default `info`.
//!
//! An event's message is its `event`; `service` and `pipeline` come from the span that the service
//! runs in. Lines go to standard error through a bounded queue: when the reader of the log stalls,
//! lines are dropped and counted, the data goes on.

mod line;

use line::{Form, Line};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tracing::{Event, Subscriber, span};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

const QUEUE: usize = 4096;

/// Keeps the log going; dropping it writes what is still in the queue.
pub struct Logs {
    queue: Option<SyncSender<String>>,
    written: Option<Receiver<()>>,
}

impl Drop for Logs {
    fn drop(&mut self) {
        // The subscriber lives as long as the process and keeps a sender, so the end of the queue
        // is asked for by an empty line.
        let (Some(queue), Some(written)) = (self.queue.take(), self.written.take()) else { return };
        if queue.try_send(String::new()).is_ok() {
            // A stalled reader must not keep the process alive.
            written.recv_timeout(Duration::from_secs(1)).ok();
        }
    }
}

/// Installs the log for the whole process. A second call does nothing: whoever installed one before
/// (a test, an embedding program) keeps it.
pub fn install() -> Logs {
    let (queue_tx, queue_rx) = sync_channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let form = if std::io::stderr().is_terminal() { Form::Human } else { Form::Json };
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let layer = Lines { form, to: Queue { tx: queue_tx.clone(), dropped: dropped.clone() } };
    if tracing_subscriber::registry().with(filter).with(layer).try_init().is_err() {
        return Logs { queue: None, written: None };
    }
    let (done_tx, done_rx) = sync_channel(1);
    let writer = std::thread::Builder::new()
        .name("log".into())
        .spawn(move || write(&queue_rx, &done_tx, &dropped));
    Logs { queue: Some(queue_tx), written: writer.ok().map(|_| done_rx) }
}

fn write(queue: &Receiver<String>, done: &SyncSender<()>, dropped: &AtomicU64) {
    let mut out = std::io::stderr();
    while let Ok(mut line) = queue.recv() {
        if line.is_empty() {
            done.try_send(()).ok();
            continue;
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            line.push_str(&format!(
                "({lost} log lines were dropped before this one: nobody read the log)\n"
            ));
        }
        // There is nobody to tell when the log itself cannot be written.
        out.write_all(line.as_bytes()).ok();
    }
}

/// Where finished lines go.
trait Sink: 'static {
    fn put(&self, line: String);
}

struct Queue {
    tx: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

impl Sink for Queue {
    fn put(&self, line: String) {
        if self.tx.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The layer that turns events into lines.
struct Lines<S> {
    form: Form,
    to: S,
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
    struct Collected(Arc<std::sync::Mutex<Vec<String>>>);
    impl Sink for Collected {
        fn put(&self, line: String) {
            self.0.lock().unwrap().push(line);
        }
    }
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let subscriber =
        tracing_subscriber::registry().with(Lines { form, to: Collected(lines.clone()) });
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
        let expected = r#","level":"info","service":"sink","pipeline":"telecom","event":"rebalanced","partition":2,"topic":"a \"b\"","rate":1.5}"#;
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
    fn a_stalled_reader_costs_lines_and_never_blocks() {
        let (tx, _rx) = sync_channel(1);
        let queue = Queue { tx, dropped: Arc::default() };
        (0..10).for_each(|n| queue.put(format!("{n}\n")));
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 9);
    }
}
