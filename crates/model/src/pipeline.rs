//! One pipeline: the content of a pipeline file, parsed and validated. Services and `weir` read the
//! same file.

mod assemble;
mod expand;
mod input;
mod names;
mod reader;
mod reference;
mod rules;
mod section;
mod sections;
mod source;
mod spans;
mod subject;
mod target;
mod units;

pub use input::{Input, KeyFormat, UnknownFields, Unwrap, ValueFormat};
pub use names::credentials;
pub use reference::reference;
pub use sections::{
    Batch, DeadLetters, Kafka, Lookup, Output, Registry, Reject, Transform, Workers,
};
pub use source::*;
pub use subject::SubjectNameStrategy;
pub use target::*;

use crate::mistake::{Mistake, Mistakes};
use spans::Spans;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// A whole pipeline file. Paths in it are already resolved against the file's folder.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The file it was read from, as the user named it.
    pub file: PathBuf,
    /// `name`: part of group ids, transactional ids and the keys of positions:
    /// `[a-z][a-z0-9-]{0,62}`.
    pub name: String,
    /// `description`: for people.
    pub description: String,
    /// `[kafka]`.
    pub kafka: Kafka,
    /// `[registry]`.
    pub registry: Registry,
    /// `[source]`; absent when other programs fill the input topic.
    pub source: Option<Source>,
    /// `[input]`.
    pub input: Input,
    /// `[[lookup]]`.
    pub lookups: Vec<Lookup>,
    /// `[[reject]]`, in order: the first that is true names the reason.
    pub rejects: Vec<Reject>,
    /// `[transform]`.
    pub transform: Transform,
    /// `[output]`.
    pub output: Output,
    /// `[dead_letters]`.
    pub dead_letters: DeadLetters,
    /// `[[sink]]`, at least one, names unique.
    pub sinks: Vec<Sink>,
    /// `[batch]`.
    pub batch: Batch,
    /// `[workers]`.
    pub workers: Workers,
    spans: Spans,
}

impl Pipeline {
    /// Reads and validates a pipeline file, with the variables of this process's environment.
    ///
    /// # Errors
    /// All mistakes at once. No message contains a secret, a variable's value or the content of a
    /// file.
    pub fn load(path: &Path) -> Result<Pipeline, Mistakes> {
        let unreadable = |e| {
            Mistakes::new(
                path,
                vec![Mistake::new("", format!("cannot read it: {}", expand::reason(&e)))],
            )
        };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Pipeline::parse(&text, path, &|name| std::env::var(name).ok())
    }

    /// Like [`Pipeline::load`], from a text; relative paths start in the folder of `path`.
    ///
    /// # Errors
    /// As [`Pipeline::load`].
    pub fn parse(
        text: &str,
        path: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Pipeline, Mistakes> {
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(Mistakes::new(path, assemble::syntax(text, &errors)));
        }
        let spans = Spans::of(text, document.get_ref());
        let folder = path.parent().unwrap_or(Path::new(""));
        let reader = reader::Reader::new(expand::Surroundings { folder, env }, &spans);
        let pipeline = assemble::pipeline(path, &document, &reader, &spans);
        rules::check(&pipeline, &reader);
        let mistakes = reader.into_mistakes();
        if mistakes.is_empty() { Ok(pipeline) } else { Err(Mistakes::new(path, mistakes)) }
    }

    /// The 1-based line of a key such as `transform.sql`, `reject[0].when` or
    /// `sink.warehouse.table`; of the table around it when the file does not have the key.
    pub fn locate(&self, key: &str) -> Option<usize> {
        self.spans.line(key)
    }

    /// Adds the lines to mistakes that were found elsewhere in this pipeline; in SQL, underlines
    /// the wrong word.
    pub fn mistakes(&self, list: Vec<Mistake>) -> Mistakes {
        let with_line = |mut mistake: Mistake| {
            let name = mistake.what.split('`').nth(1);
            if let Some((line, excerpt)) = name.and_then(|name| self.spans.find(&mistake.key, name))
            {
                mistake.line.get_or_insert(line);
                mistake.excerpt = Some(excerpt);
            }
            let line = mistake.line.or_else(|| self.locate(&mistake.key));
            mistake.line(line)
        };
        Mistakes::new(&self.file, list.into_iter().map(with_line).collect())
    }

    /// Consumer group of the enricher.
    pub fn enricher_group(&self) -> String {
        format!("weir.{}.enricher", self.name)
    }

    /// Consumer group in which the producers share the source's partitions.
    pub fn producer_group(&self) -> String {
        format!("weir.{}.producer", self.name)
    }

    /// Consumer group of the sink `name`.
    pub fn sink_group(&self, name: &str) -> String {
        format!("weir.{}.sink.{name}", self.name)
    }

    /// Whether a record without a value goes to the output topic: some sink does more with it than
    /// making it a dead letter, and each makes of it what its own configuration says.
    pub fn hands_on_tombstones(&self) -> bool {
        let takes = |sink: &Sink| sink.target.config().tombstones() != Tombstones::DeadLetter;
        self.sinks.iter().any(takes)
    }

    /// Registry subject of the input topic's values, whose schema is that of the record `name`, with
    /// its namespace.
    pub fn input_subject(&self, name: &str) -> String {
        self.input.subject_name_strategy.subject(&self.input.topic, name)
    }

    /// The same of the output topic's values.
    pub fn output_subject(&self, name: &str) -> String {
        self.output.subject_name_strategy.subject(&self.output.topic, name)
    }
}
