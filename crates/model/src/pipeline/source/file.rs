//! `type = "file"`.

use crate::pipeline::names;
use crate::pipeline::reader::Table;
use crate::pipeline::section::Absent::{Is, Means, Refused};
use crate::pipeline::section::Kind::{Choice, Flag, Integer, Map, Text, Texts};
use crate::pipeline::section::{Finish, Key, Value, section, table_of};
use crate::pipeline::source::{End, SourceConfig, TYPE};
use std::collections::BTreeMap;

section! {
    /// Files: Parquet, CSV, Avro or JSON. What is said of numbers, dates and times is for
    /// CSV: a text is exactly of the form that is given, or its line becomes a dead letter.
    pub struct FileSource = table_of("source", "file"), with [TYPE] {
        /// A path or glob, relative to the pipeline file; files are read in the order of their
        /// names.
        path: String = Text(names::filled), Refused, "";
        /// `json` is an object per line, an array of objects, or objects one behind the other: which of
        /// them follows from the beginning of each file.
        format: Option<FileFormat> = Choice(&["parquet", "csv", "json", "avro"]), Means("from the name's \
            ending"), "";
        /// Over all partitions of the source; 0 = unlimited.
        rate: u64 = Integer(0, 1_000_000_000), Is("0"), "records/s";
        /// Independent parts of the source, to which the files are dealt in their order; shared
        /// among the producer's workers and instances; fixed for the life of the pipeline.
        partitions: u32 = Integer(1, 1024), Is("1"), "";
        /// Field of the input schema → column of the file, where the two differ by more than case
        /// and punctuation; `#3` is the third column, also if two have one name.
        columns: BTreeMap<String, String> = Map(names::identifier, names::filled), Means("same names"), "";
        /// JSON: the member that holds the array of records, where the file is an object around it:
        /// `"items"`, or `["response", "items"]` for a member of a member.
        record_path: Vec<String> = Texts(names::filled), Means("the file itself"), "";
        /// Texts that mean null in CSV, besides the empty one.
        nulls: Vec<String> = Texts(names::any), Means("only the empty text"), "";
        /// CSV: the encoding, by a name of the WHATWG standard, such as `latin1` or `utf-16le`; a byte
        /// order mark in the file counts more.
        encoding: String = Text(names::filled), Is("utf-8"), "";
        /// CSV: what stands between two values.
        delimiter: String = Text(names::character), Is(","), "";
        /// CSV: what stands around values that contain a delimiter or a line feed, doubled within
        /// them; empty: nothing does.
        quote: String = Text(names::character_or_none), Is("\""), "";
        /// CSV: lines that begin with this are left out; empty: none.
        comment: String = Text(names::any), Is(""), "";
        /// CSV: names of the columns of files without a header line.
        header: Vec<String> = Texts(names::filled), Means("the first line"), "";
        /// CSV: a line with fewer values than the header has no value in the last columns, instead of
        /// being malformed.
        short_lines: bool = Flag, Is("false"), "";
        /// CSV: what stands before the decimals of a number.
        decimal_separator: String = Text(names::character), Is("."), "";
        /// CSV: what stands between groups of three digits; empty: nothing.
        thousands_separator: String = Text(names::character_or_none), Is(""), "";
        /// CSV: the form of dates as for `strptime`, such as `%d.%m.%Y`.
        date_format: Option<String> = Text(names::filled), Means("`2025-01-31`"), "";
        /// CSV: the form of times of day.
        time_format: Option<String> = Text(names::filled), Means("`23:59:59.999`"), "";
        /// CSV: the form of timestamps; without an offset, an instant is in UTC.
        timestamp_format: Option<String> = Text(names::filled), Means("`2025-01-31 23:59:59.999`"), "";
    }
}

/// Format of a source's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// `parquet`.
    Parquet,
    /// `csv`, with a header line.
    Csv,
    /// `json`: objects in lines or in an array.
    Json,
    /// `avro`: object container files.
    Avro,
}

impl FileFormat {
    /// The format that a name or a file name's ending stands for.
    fn parse(name: &str) -> Option<FileFormat> {
        match name {
            "parquet" => Some(FileFormat::Parquet),
            "csv" => Some(FileFormat::Csv),
            "avro" => Some(FileFormat::Avro),
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

impl FileSource {
    /// Characters that mean two things at once.
    fn report_ambiguous(&self, table: &Table<'_>) {
        for (key, value, other, taken) in [
            ("quote", &self.quote, "delimiter", &self.delimiter),
            ("comment", &self.comment, "delimiter", &self.delimiter),
            ("comment", &self.comment, "quote", &self.quote),
            (
                "thousands_separator",
                &self.thousands_separator,
                "decimal_separator",
                &self.decimal_separator,
            ),
        ] {
            if !value.is_empty() && value == taken {
                table.report(key, format!("is the same as {other}"));
            }
        }
    }
}

impl Finish for FileSource {
    fn finish(&mut self, table: &Table<'_>) {
        if self.path.is_empty() {
            return;
        }
        self.report_ambiguous(table);
        let ending = self.path.rsplit('.').next().unwrap_or_default();
        if !table.contains("format") && FileFormat::parse(ending).is_none() {
            table.report(
                "format",
                "is missing, and the path does not end in .parquet, .csv, .avro, .json, .jsonl or .ndjson",
            );
        }
        self.path = table.folder().join(&self.path).to_string_lossy().into_owned();
    }
}
