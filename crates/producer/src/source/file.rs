//! Files: Parquet, CSV, Avro and JSON.
//!
//! Files are read in the order of their names and dealt to the partitions of the source in that
//! order. A position names the file, its position in the list, and the position in the file (a byte
//! and line, or a row), so that reading goes on in the middle of a file after a crash, new files may
//! be added behind the old ones, and text files may grow. A file that is put in between, taken away
//! or replaced is noticed and refused (`identity.rs`): the files would no longer be those that the
//! positions speak of.

mod avro;
mod csv;
mod elements;
pub mod guess;
mod identity;
mod input;
mod json;
mod layout;
mod list;
mod parquet;
mod scanner;

use crate::source::{Chunk, Error, Limit, Malformed, Reader, Source};
use arrow::record_batch::RecordBatch;
use identity::{Finished, Prefix};
use layout::Layout;
use list::List;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use weir_codec::{Schema, similar_name};
use weir_model::fault::{Fault, Stage};
use weir_model::mistake::Mistake;
use weir_model::pipeline::{FileFormat, FileSource};

/// The source.
pub struct Files {
    shared: Arc<Shared>,
}

/// The state shared by all readers of one source.
struct Shared {
    config: FileSource,
    layout: Layout,
    dialect: csv::Dialect,
}

impl Files {
    /// A source for records of `schema`.
    ///
    /// # Errors
    /// No file, an unknown format, or a first file whose columns do not cover the schema.
    pub fn new(config: &FileSource, schema: &Schema) -> Result<Files, Vec<Mistake>> {
        let one = |key: &str, what: String| vec![Mistake::new(key, what)];
        let list = List::find(&config.path).map_err(|e| one("source.path", e.to_string()))?;
        let Some((_, first)) = list.get(0) else {
            let mistake = Mistake::new("source.path", format!("no file matches {}", config.path));
            return Err(vec![
                mistake.hint("relative paths begin at the folder of the pipeline file"),
            ]);
        };
        let layout = Layout::new(schema, config)?;
        let dialect = csv::Dialect::new(config)?;
        let shared = Shared { config: config.clone(), layout, dialect };
        shared.open(first, &Value::Null).map_err(|e| match e {
            Error::Unfit(what) => one("source", what),
            other => one("source.path", other.to_string()),
        })?;
        Ok(Files { shared: Arc::new(shared) })
    }
}

impl Source for Files {
    fn partitions(&self) -> u32 {
        self.shared.config.partitions
    }

    fn open(&self, partition: u32, position: Option<&Value>) -> Result<Box<dyn Reader>, Error> {
        let list = List::find(&self.shared.config.path)?;
        let shared = self.shared.clone();
        let mut walk = Walk {
            shared,
            list,
            index: partition as usize,
            within: Value::Null,
            finished: Finished::default(),
            open: None,
        };
        if let Some(position) = position {
            walk.resume(position)?;
        }
        Ok(Box::new(walk))
    }
}

/// Reads the files of one partition, one after the other.
struct Walk {
    shared: Arc<Shared>,
    list: List,
    /// The index of the current file in the list.
    index: usize,
    /// Where to continue in that file.
    within: Value,
    /// The files before it.
    finished: Finished,
    open: Option<Opened>,
}

/// The file at hand.
struct Opened {
    file: Box<dyn OpenFile>,
    prefix: Prefix,
}

impl Opened {
    /// The identity of the file's content before a place in it.
    fn identity(&mut self, within: &Value) -> Result<Value, Error> {
        let byte = byte(within).map_or_else(|| self.prefix.size(), Ok)?;
        self.prefix.identity(byte)
    }
}

/// The byte of a place in a file that may grow; a Parquet file is identified as a whole.
fn byte(within: &Value) -> Option<u64> {
    within["byte"].as_u64().or_else(|| within["block"].as_u64())
}

impl Walk {
    /// Goes on at a position, if the files are still those that it speaks of.
    fn resume(&mut self, position: &Value) -> Result<(), Error> {
        let (index, within) = self.list.locate(position)?;
        let step = self.shared.config.partitions as usize;
        let files = (index % step..index).step_by(step).filter_map(|index| self.list.get(index));
        let prefix = |path: &Path| self.shared.prefix(path);
        self.finished = Finished::resume(&position["finished"], files, prefix)?;
        if let Some((_, path)) = self.list.get(index) {
            let mut prefix = self.shared.prefix(path)?;
            let byte = byte(&within).map_or_else(|| prefix.size(), Ok)?;
            prefix.resume(byte, &position["identity"])?;
            let file = self.shared.open(path, &within)?;
            self.open = Some(Opened { file, prefix });
        }
        (self.index, self.within) = (index, within);
        Ok(())
    }
}

/// A file that is being read.
trait OpenFile: Send {
    /// The next records, at least one item unless the file is at its end.
    fn read(&mut self, limit: Limit, layout: &Layout) -> Result<Found, Error>;
}

/// The records read from a file.
struct Found {
    batch: RecordBatch,
    positions: Vec<i64>,
    malformed: Vec<Malformed>,
    /// Where to continue in this file.
    within: Value,
    end: bool,
}

impl Reader for Walk {
    fn read(&mut self, limit: Limit) -> Result<Chunk, Error> {
        while let Some((name, path)) = self.list.get(self.index) {
            let open = match &mut self.open {
                Some(open) => open,
                none => none.insert(Opened {
                    file: self.shared.open(path, &self.within)?,
                    prefix: self.shared.prefix(path)?,
                }),
            };
            let found = open.file.read(limit, &self.shared.layout)?;
            let identity = open.identity(&found.within)?;
            let position = json!({
                "file": name,
                "index": self.index,
                "at": found.within,
                "identity": identity,
                "finished": self.finished.to_json(),
            });
            let next = self.index + self.shared.config.partitions as usize;
            if found.end {
                self.finished.add(name, &identity);
                self.open = None;
                self.within = Value::Null;
                self.index = next;
            }
            let last = found.end && self.list.get(next).is_none();
            if last || found.batch.num_rows() + found.malformed.len() > 0 {
                let Found { batch, positions, malformed, .. } = found;
                return Ok(Chunk { positions, malformed, ..Chunk::new(batch, position, last) });
            }
        }
        let batch = RecordBatch::new_empty(self.shared.layout.schema());
        Ok(Chunk::new(batch, Value::Null, true))
    }
}

impl Shared {
    fn format(&self, path: &Path) -> Result<FileFormat, Error> {
        self.config.format.or_else(|| format_of(path)).ok_or_else(|| {
            Error::Unfit(format!(
                "{}: the format does not follow from the name; set source.format to parquet, csv, \
                 json or avro",
                path.display()
            ))
        })
    }

    fn prefix(&self, path: &Path) -> Result<Prefix, Error> {
        let file = File::open(path).map_err(|e| unavailable(path, &e))?;
        match self.format(path)? {
            FileFormat::Parquet => Prefix::footer(&file, path),
            FileFormat::Csv | FileFormat::Json | FileFormat::Avro => Prefix::new(&file, path),
        }
    }

    fn open(&self, path: &Path, within: &Value) -> Result<Box<dyn OpenFile>, Error> {
        let file = File::open(path).map_err(|e| unavailable(path, &e))?;
        Ok(match self.format(path)? {
            FileFormat::Csv => {
                self.layout.check_readable()?;
                Box::new(csv::Csv::open(path, file, within, &self.layout, &self.dialect)?)
            }
            FileFormat::Json => {
                self.layout.check_readable()?;
                Box::new(json::Json::open(path, file, within, &self.config.record_path)?)
            }
            FileFormat::Parquet => {
                Box::new(parquet::Parquet::open(path, file, within, &self.layout)?)
            }
            FileFormat::Avro => Box::new(avro::Avro::open(path, file, within, &self.layout)?),
        })
    }
}

fn format_of(path: &Path) -> Option<FileFormat> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "parquet" => Some(FileFormat::Parquet),
        "csv" => Some(FileFormat::Csv),
        "avro" => Some(FileFormat::Avro),
        "json" | "jsonl" | "ndjson" => Some(FileFormat::Json),
        _ => None,
    }
}

fn unavailable(path: &Path, error: &std::io::Error) -> Error {
    Error::Unavailable { doing: format!("reading {}", path.display()), reason: error.to_string() }
}

/// Whether a column becomes the field of this name without being told so.
pub fn is_same_name(column: &str, field: &str) -> bool {
    similar_name(column) == similar_name(field)
}

/// The last part of the path, for messages.
fn short(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// A fault of the source.
fn fault(reason: &str, detail: String) -> Fault {
    Fault { stage: Stage::Source, reason: reason.into(), detail }
}

/// The line cannot be parsed.
const MALFORMED_LINE: &str = "malformed_line";

#[cfg(test)]
mod tests;
