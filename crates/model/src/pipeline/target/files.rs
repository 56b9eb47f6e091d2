//! `type = "files"`.

use crate::pipeline::names;
use crate::pipeline::reader::Table;
use crate::pipeline::section::Absent::{Is, Means, Refused};
use crate::pipeline::section::Kind::{self, Choice, Duration, Flag, Integer, Size, Text};
use crate::pipeline::section::{Finish, Key, Value, choice, list_of, section};
use crate::pipeline::target::{NAME, TYPE, TargetConfig, Tombstones};
use crate::secret::Secret;
use std::fmt;
use std::time;

const MIB: u64 = 1 << 20;

section! {
    /// Files in a folder or in S3: Parquet, JSON lines or CSV. A file counts once it is in the log, the
    /// folder `_weir/<pipeline>.<sink>` beside the files, which also holds positions and dead letters;
    /// `weir files ls` lists the files that count. The transactions are as large as the files, so
    /// `batch` does not apply.
    pub struct Files = list_of("sink", "files"), with [NAME, TYPE] {
        /// A folder, relative to the pipeline file and created when missing, or `s3://bucket/prefix`.
        path: String = Text(names::files_path), Refused, "";
        /// `json` is one object per line.
        format: FilesFormat = Choice(&["parquet", "json", "csv"]), Is("parquet"), "";
        /// `snappy` only with Parquet.
        compression: Option<Compression> = Choice(&["none", "gzip", "snappy", "zstd"]),
            Means("`zstd` with Parquet, `none` otherwise"), "";
        /// A transaction, and with it its files, is ended when one of them has at least this size.
        max_file_size: usize = Size(MIB, 1 << 34), Is("128MiB"), "";
        /// … when it has this many records.
        max_file_rows: u64 = Integer(1, 10_000_000), Is("1000000"), "rows";
        /// … this long after it was begun. Takes the place of `batch.linger`.
        max_file_age: time::Duration = Duration(100, 3_600_000), Is("60s"), "";
        /// One folder per value, as in Hive: `country` makes `country=DE/`, and the column is only
        /// there; `day(at)` makes `at_date=2025-01-31/`, `hour(at)` also `at_hour=23/`, in UTC where
        /// the column is an instant.
        partition_by: Option<PartitionBy> = Text(names::partition_by), Means("all files in one folder"), "";
        /// Only `append`: files are never changed, so a row cannot be updated or deleted.
        mode: FilesMode = Text(names::append_only), Is("append"), "";
        /// What a record without a value does: it is a dead letter, or it is counted as filtered and
        /// handed on to the output topic.
        tombstones: Tombstones = Choice(&["dead_letter", "skip"]), Is("dead_letter"), "";
        /// Adds `weir_topic`, `weir_partition`, `weir_offset` of the input record to every row.
        lineage: bool = Flag, Is("false"), "";
        /// S3: the server's address, where it is not AWS.
        endpoint: Option<String> = Text(names::http_url), Means("`AWS_ENDPOINT_URL`, or AWS"), "";
        /// S3: the region.
        region: Option<String> = Text(names::filled), Means("`AWS_REGION`, or `us-east-1`"), "";
        /// S3: the access key.
        access_key_id: Option<Secret> = Kind::Secret(names::filled),
            Means("`AWS_ACCESS_KEY_ID`, or the role of the machine"), "";
        /// S3: its secret.
        secret_access_key: Option<Secret> = Kind::Secret(names::filled),
            Means("`AWS_SECRET_ACCESS_KEY`, or the role of the machine"), "";
    }
}

choice! {
    /// Format of a sink's files.
    FilesFormat {
        /// Apache Parquet.
        Parquet = "parquet",
        /// One object per line.
        Json = "json",
        /// With a header line.
        Csv = "csv",
    }
}

choice! {
    /// How files are compressed.
    Compression {
        /// Not at all.
        None = "none",
        /// `.gz`, or within Parquet.
        Gzip = "gzip",
        /// Within Parquet.
        Snappy = "snappy",
        /// `.zst`, or within Parquet.
        Zstd = "zstd",
    }
}

impl Value for Option<Compression> {
    fn read(table: &Table<'_>, key: &Key) -> Option<Compression> {
        table.has(key).then(|| Compression::read(table, key))
    }
}

/// Every record is a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesMode;

impl Value for FilesMode {
    fn read(table: &Table<'_>, key: &Key) -> FilesMode {
        // The check has refused everything else.
        table.text(key);
        FilesMode
    }
}

/// What decides in which folder a row goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionBy {
    /// The value of this column.
    Column(String),
    /// The day of this column.
    Day(String),
    /// Day and hour of this column.
    Hour(String),
}

impl PartitionBy {
    /// The column of the output schema.
    pub fn column(&self) -> &str {
        match self {
            PartitionBy::Column(column) | PartitionBy::Day(column) | PartitionBy::Hour(column) => {
                column
            }
        }
    }

    fn parse(text: &str) -> PartitionBy {
        let inner = |name: &str| {
            let column = text.strip_prefix(name)?.trim_start().strip_prefix('(')?;
            Some(column.strip_suffix(')')?.trim().to_owned())
        };
        match (inner("day"), inner("hour")) {
            (Some(column), _) => PartitionBy::Day(column),
            (_, Some(column)) => PartitionBy::Hour(column),
            _ => PartitionBy::Column(text.to_owned()),
        }
    }
}

impl fmt::Display for PartitionBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartitionBy::Column(column) => f.write_str(column),
            PartitionBy::Day(column) => write!(f, "day({column})"),
            PartitionBy::Hour(column) => write!(f, "hour({column})"),
        }
    }
}

impl Value for Option<PartitionBy> {
    fn read(table: &Table<'_>, key: &Key) -> Option<PartitionBy> {
        Some(PartitionBy::parse(&table.maybe_text(key)?))
    }
}

impl Files {
    /// Whether the files are in S3 and not in a folder.
    pub fn is_s3(&self) -> bool {
        self.path.starts_with(names::S3)
    }

    /// The compression, also where the file does not name one.
    pub fn compression(&self) -> Compression {
        self.compression.unwrap_or(match self.format {
            FilesFormat::Parquet => Compression::Zstd,
            FilesFormat::Json | FilesFormat::Csv => Compression::None,
        })
    }
}

impl TargetConfig for Files {
    fn name(&self) -> String {
        self.path.clone()
    }

    fn keeps_every_record(&self) -> bool {
        true
    }

    fn has_lineage(&self) -> bool {
        self.lineage
    }

    fn forgets_order(&self) -> bool {
        false
    }

    fn merges_by(&self) -> Option<&[String]> {
        None
    }

    fn tombstones(&self) -> Tombstones {
        self.tombstones
    }

    fn delete_when(&self) -> Option<&str> {
        None
    }

    fn destination_key(&self) -> &'static str {
        "path"
    }

    fn destination(&self) -> Option<String> {
        let endpoint = self.endpoint.as_deref().unwrap_or_default();
        (!self.path.is_empty()).then(|| format!("{endpoint} {}", self.path.trim_end_matches('/')))
    }
}

impl Finish for Files {
    fn finish(&mut self, table: &Table<'_>) {
        if self.compression == Some(Compression::Snappy) && self.format != FilesFormat::Parquet {
            table.report("compression", "is \"snappy\", which only Parquet has inside its files");
        }
        if self.is_s3() {
            if table.contains("access_key_id") != table.contains("secret_access_key") {
                table.report("access_key_id", "and secret_access_key are given together");
            }
            return;
        }
        for key in ["endpoint", "region", "access_key_id", "secret_access_key"] {
            if table.contains(key) {
                table.report(key, "belongs to S3, and path is a folder");
            }
        }
        if !self.path.is_empty() {
            self.path = table.folder().join(&self.path).to_string_lossy().into_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_a_column_or_a_part_of_a_time() {
        let column = |name: &str| name.to_owned();
        for (text, expected) in [
            ("country", PartitionBy::Column(column("country"))),
            ("day", PartitionBy::Column(column("day"))),
            ("day(at)", PartitionBy::Day(column("at"))),
            ("hour ( at )", PartitionBy::Hour(column("at"))),
        ] {
            assert_eq!(names::partition_by(text), Ok(()), "{text}");
            assert_eq!(PartitionBy::parse(text), expected, "{text}");
        }
        for text in ["", "month(at)", "day(at", "day()", "a b", "day(at), country"] {
            assert!(names::partition_by(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_is_a_folder_or_in_s3() {
        for text in ["out", "../out/calls", "/data/calls", "s3://bucket", "s3://my-bucket/a/b=1/"] {
            assert_eq!(names::files_path(text), Ok(()), "{text}");
        }
        for text in [
            "",
            " ",
            "s3://",
            "s3://B/x",
            "s3://bucket/../x",
            "s3://bucket//x",
            "gs://bucket/x",
            "http://x/y",
        ] {
            assert!(names::files_path(text).is_err(), "{text}");
        }
    }
}
