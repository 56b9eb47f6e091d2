//! The columns of a sink's files, and the rows of a part in the form of its files.

use crate::files::columns;
use crate::files::error::bug;
use crate::files::partition::Partitioning;
use crate::target::SourceRecords;
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{Compression, Files, FilesFormat};

/// The columns of the lineage.
pub(crate) const LINEAGE: [&str; 3] = ["weir_topic", "weir_partition", "weir_offset"];

/// See the module.
pub(crate) struct Table {
    pub(crate) format: FilesFormat,
    pub(crate) compression: Compression,
    /// Of the files.
    pub(crate) schema: SchemaRef,
    /// The columns of the output schema that are in the files.
    columns: Vec<usize>,
    partitioning: Option<Partitioning>,
    /// The input topic, if there are lineage columns.
    lineage: Option<String>,
}

/// A value that the files cannot hold; its row becomes a dead letter.
pub(crate) struct Unfit {
    pub(crate) row: usize,
    pub(crate) column: String,
    pub(crate) what: String,
}

/// The rows of a part.
pub(crate) struct Arranged {
    /// All rows, also those that are unfit.
    pub(crate) batch: RecordBatch,
    /// For each row its folder; `None` if all have the same.
    pub(crate) paths: Option<Vec<String>>,
    /// By row.
    pub(crate) unfit: BTreeMap<usize, Unfit>,
}

impl Table {
    /// # Errors
    /// All mistakes: types that the format does not carry, and columns that cannot be.
    pub(crate) fn new(
        sink: &str,
        files: &Files,
        schema: &Schema,
        input_topic: &str,
    ) -> Result<Table, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut report = |key: &str, what: String| {
            mistakes.push(Mistake::new(format!("sink.{sink}.{key}"), what));
        };
        let partitioning = files.partition_by.as_ref().and_then(|by| {
            Partitioning::new(by, schema).map_err(|what| report("partition_by", what)).ok()
        });
        let dropped = partitioning.as_ref().filter(|p| !p.keeps_column()).map(|p| p.column);
        let columns: Vec<usize> =
            (0..schema.fields().len()).filter(|column| Some(*column) != dropped).collect();
        let mut fields: Vec<Field> = Vec::new();
        for field in columns.iter().map(|column| schema.field(*column)) {
            if let Some(why) = refusal(files.format, field.data_type()) {
                let name = field.name();
                report("format", format!("field {name} cannot be in these files: {why}"));
                continue;
            }
            fields.push(match files.format {
                FilesFormat::Parquet => columns::stored(field),
                FilesFormat::Json | FilesFormat::Csv => field.clone(),
            });
        }
        let lineage = files.lineage.then(|| input_topic.to_owned());
        if files.lineage {
            if let Some(name) = LINEAGE.iter().find(|name| schema.index_of(name).is_ok()) {
                report("lineage", format!("adds {name}, and the output schema has such a field"));
            }
            fields.push(Field::new(LINEAGE[0], DataType::Utf8, false));
            fields.push(Field::new(LINEAGE[1], DataType::Int32, false));
            fields.push(Field::new(LINEAGE[2], DataType::Int64, false));
        }
        if columns.is_empty() {
            report("partition_by", "leaves no column in the files".into());
        }
        if let [field] = fields.as_slice()
            && files.format == FilesFormat::Csv
            && field.is_nullable()
        {
            report(
                "format",
                format!(
                    "the only column, {}, allows null, and in CSV that is an empty line, which \
                     readers skip; add lineage = true or choose another format",
                    field.name()
                ),
            );
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Table {
            format: files.format,
            compression: files.compression(),
            schema: Arc::new(Schema::new(fields)),
            columns,
            partitioning,
            lineage,
        })
    }

    /// The ending of the files' names.
    pub(crate) fn ending(&self) -> &'static str {
        match (self.format, self.compression) {
            (FilesFormat::Parquet, _) => "parquet",
            (FilesFormat::Json, Compression::Gzip) => "jsonl.gz",
            (FilesFormat::Json, Compression::Zstd) => "jsonl.zst",
            (FilesFormat::Json, _) => "jsonl",
            (FilesFormat::Csv, Compression::Gzip) => "csv.gz",
            (FilesFormat::Csv, Compression::Zstd) => "csv.zst",
            (FilesFormat::Csv, _) => "csv",
        }
    }

    /// The rows in the form of the files.
    ///
    /// # Errors
    /// `rows` does not have the output schema.
    pub(crate) fn arrange(
        &self,
        rows: &RecordBatch,
        records: &dyn SourceRecords,
    ) -> Result<Arranged, crate::Error> {
        let mut unfit = BTreeMap::new();
        let mut note = |row: usize, column: &str, what: String| {
            unfit.entry(row).or_insert_with(|| Unfit { row, column: column.to_owned(), what });
        };
        let paths = match &self.partitioning {
            None => None,
            Some(by) => {
                let column =
                    rows.columns().get(by.column).ok_or_else(|| bug("a column is missing"))?;
                let paths = by.paths(column).map_err(bug)?;
                let name = rows.schema().field(by.column).name().clone();
                let path = |(row, path): (usize, Result<String, String>)| {
                    path.unwrap_or_else(|what| {
                        note(row, &name, what);
                        String::new()
                    })
                };
                Some(paths.into_iter().enumerate().map(path).collect())
            }
        };
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for (column, field) in self.columns.iter().zip(self.schema.fields()) {
            let array = rows.columns().get(*column).ok_or_else(|| bug("a column is missing"))?;
            arrays.push(match self.format {
                FilesFormat::Parquet => {
                    let mut found = Vec::new();
                    let array = columns::convert(array, field, &mut found).map_err(bug)?;
                    found.into_iter().for_each(|(row, what)| note(row, field.name(), what));
                    array
                }
                FilesFormat::Json | FilesFormat::Csv => array.clone(),
            });
        }
        if let Some(topic) = &self.lineage {
            let rows = 0..rows.num_rows();
            let topics = std::iter::repeat_n(topic, rows.len());
            let partitions = rows.clone().map(|row| records.partition(row));
            arrays.push(Arc::new(StringArray::from_iter_values(topics)));
            arrays.push(Arc::new(Int32Array::from_iter_values(partitions)));
            arrays
                .push(Arc::new(Int64Array::from_iter_values(rows.map(|row| records.source(row)))));
        }
        // A column that has become null only where its row is unfit does not fit the schema yet.
        let nullable = self.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema = match unfit.is_empty() {
            true => self.schema.clone(),
            false => Arc::new(Schema::new(nullable.collect::<Vec<_>>())),
        };
        let batch = RecordBatch::try_new(schema, arrays).map_err(bug)?;
        Ok(Arranged { batch, paths, unfit })
    }
}

fn refusal(format: FilesFormat, data_type: &DataType) -> Option<&'static str> {
    match format {
        FilesFormat::Parquet => columns::refusal(data_type),
        FilesFormat::Json | FilesFormat::Csv if crate::json::has_form(data_type) => None,
        FilesFormat::Json | FilesFormat::Csv => Some("its type has no form as text"),
    }
}
