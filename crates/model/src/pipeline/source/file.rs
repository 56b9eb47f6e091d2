//! `type = "file"`.

use crate::pipeline::names;
use crate::pipeline::reader::Table;
use crate::pipeline::section::Absent::{Is, Means, Refused};
use crate::pipeline::section::Kind::{Choice, Integer, Map, Text, Texts};
use crate::pipeline::section::{Finish, Key, Value, section, table_of};
use crate::pipeline::source::{End, SourceConfig, TYPE};
use std::collections::BTreeMap;

section! {
    /// Files: Parquet, CSV or newline-delimited JSON.
    pub struct FileSource = table_of("source", "file"), with [TYPE] {
        /// A path or glob, relative to the pipeline file; files are read in the order of their
        /// names.
        path: String = Text(names::filled), Refused, "";
        /// `json` is one object per line.
        format: Option<FileFormat> = Choice(&["parquet", "csv", "json"]), Means("from the name's \
            ending"), "";
        /// Over all partitions of the source; 0 = unlimited.
        rate: u64 = Integer(0, 1_000_000_000), Is("0"), "records/s";
        /// Independent parts of the source, to which the files are dealt in their order; shared
        /// among the producer's workers and instances; fixed for the life of the pipeline.
        partitions: u32 = Integer(1, 1024), Is("1"), "";
        /// Field of the input schema → column of the file, where the two differ by more than case
        /// and punctuation.
        columns: BTreeMap<String, String> = Map(names::identifier, names::filled), Means("same names"), "";
        /// Texts that mean null in CSV, besides the empty one.
        nulls: Vec<String> = Texts(names::any), Means("only the empty text"), "";
    }
}

/// Format of a source's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// `parquet`.
    Parquet,
    /// `csv`, with a header line.
    Csv,
    /// `json`: one object per line.
    Json,
}

impl FileFormat {
    /// The format that a name or a file name's ending stands for.
    fn parse(name: &str) -> Option<FileFormat> {
        match name {
            "parquet" => Some(FileFormat::Parquet),
            "csv" => Some(FileFormat::Csv),
            "json" | "jsonl" | "ndjson" => Some(FileFormat::Json),
            _ => None,
        }
    }
}

impl Value for Option<FileFormat> {
    fn read(table: &Table<'_>, key: &Key) -> Option<FileFormat> {
        FileFormat::parse(&table.maybe_text(key)?)
    }
}

impl SourceConfig for FileSource {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn rate(&self) -> u64 {
        self.rate
    }

    fn set_rate(&mut self, rate: u64) {
        self.rate = rate;
    }

    fn end(&self) -> End {
        End::ByItself
    }

    fn fields(&self) -> Vec<(String, &str)> {
        self.columns.keys().map(|field| (format!("columns.{field}"), field.as_str())).collect()
    }
}

impl Finish for FileSource {
    fn finish(&mut self, table: &Table<'_>) {
        if self.path.is_empty() {
            return;
        }
        let ending = self.path.rsplit('.').next().unwrap_or_default();
        if !table.contains("format") && FileFormat::parse(ending).is_none() {
            table.report(
                "format",
                "is missing, and the path does not end in .parquet, .csv, .json, .jsonl or .ndjson",
            );
        }
        self.path = table.folder().join(&self.path).to_string_lossy().into_owned();
    }
}
