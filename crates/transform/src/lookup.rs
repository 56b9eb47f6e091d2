//! Lookup tables: CSV files with a unique key, read once when the plan is compiled.

mod index;
mod infer;

pub(crate) use index::{Index, key_type};

use crate::messages::{did_you_mean, list};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use weir_model::mistake::Mistake;
use weir_model::pipeline::Lookup;

/// A lookup table in memory.
#[derive(Debug)]
pub(crate) struct Table {
    name: String,
    /// Index of its `[[lookup]]` in the pipeline file, for mistakes.
    index: usize,
    /// The cells as they are in the file, by column; an empty cell is null.
    text: Vec<StringArray>,
    /// The same with inferred types: the columns of the SQL.
    data: RecordBatch,
    /// The line in the file of each row.
    lines: Vec<u64>,
    /// Columns of the unique key.
    key: Vec<usize>,
}

/// The cells of a CSV file.
struct Cells {
    names: Vec<String>,
    columns: Vec<StringArray>,
    lines: Vec<u64>,
}

impl Table {
    /// Reads the table of `lookup[index]`. A table whose only mistake is its key is returned as
    /// well, so that the SQL over it can be checked in the same run.
    pub(crate) fn load(lookup: &Lookup, index: usize) -> (Option<Table>, Vec<Mistake>) {
        let cells = match read(&lookup.file) {
            Ok(cells) => cells,
            Err(what) => return (None, vec![Mistake::new(format!("lookup[{index}].file"), what)]),
        };
        let mut mistakes = Vec::new();
        let key = key_columns(lookup, index, &cells, &mut mistakes);
        let data = match typed(&cells) {
            Ok(data) => data,
            Err(what) => return (None, vec![Mistake::new(format!("lookup[{index}].file"), what)]),
        };
        let table = Table {
            name: lookup.name.clone(),
            index,
            text: cells.columns,
            data,
            lines: cells.lines,
            key,
        };
        mistakes.extend(table.unusable_keys());
        (Some(table), mistakes)
    }

    /// The name in the SQL.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The columns with their inferred types; all nullable.
    pub(crate) fn schema(&self) -> SchemaRef {
        self.data.schema()
    }

    /// The values of one column.
    pub(crate) fn column(&self, column: usize) -> &ArrayRef {
        self.data.column(column)
    }

    /// Names of the key's columns, in the order of the pipeline file; empty when the key has a
    /// mistake.
    pub(crate) fn key_names(&self) -> Vec<&str> {
        self.key
            .iter()
            .map(|&column| self.data.schema_ref().field(column).name().as_str())
            .collect()
    }

    /// Key of a mistake about this table, as in `lookup[0].key`.
    pub(crate) fn mistake_key(&self, part: &str) -> String {
        format!("lookup[{}].{part}", self.index)
    }

    /// Rows without a key cannot be reached; keys that occur twice make the join ambiguous.
    fn unusable_keys(&self) -> Vec<Mistake> {
        let key = self.mistake_key("key");
        let names = list(self.key_names());
        let empty: Vec<u64> = (0..self.lines.len())
            .filter(|&row| self.key_cells(row).any(|cell| cell.is_none()))
            .map(|row| self.lines[row])
            .collect();
        let mut mistakes = Vec::new();
        if !empty.is_empty() {
            mistakes.push(Mistake::new(
                &key,
                format!("{names} is empty in {}; every row needs a key", lines(&empty)),
            ));
        }
        let mut first: HashMap<Vec<&str>, u64> = HashMap::new();
        let mut duplicates = Vec::new();
        for row in 0..self.lines.len() {
            let Some(cells) = self.key_cells(row).collect::<Option<Vec<&str>>>() else { continue };
            if let Some(line) =
                first.insert(cells.clone(), self.lines[row]).filter(|_| !self.key.is_empty())
            {
                duplicates.push(format!(
                    "`{}` (lines {line} and {})",
                    cells.join("`, `"),
                    self.lines[row]
                ));
            }
        }
        if !duplicates.is_empty() {
            mistakes.push(Mistake::new(
                key,
                format!("{names} is not unique: {}", some_of(&duplicates)),
            ));
        }
        mistakes
    }

    /// The key of one row as text.
    fn key_cells(&self, row: usize) -> impl Iterator<Item = Option<&str>> {
        self.key.iter().map(move |&column| {
            self.text[column].is_valid(row).then(|| self.text[column].value(row))
        })
    }
}

/// The key's columns; empty when any of them has a mistake.
fn key_columns(
    lookup: &Lookup,
    index: usize,
    cells: &Cells,
    mistakes: &mut Vec<Mistake>,
) -> Vec<usize> {
    let mut key = Vec::new();
    let before = mistakes.len();
    if lookup.key.is_empty() {
        mistakes.push(Mistake::new(
            format!("lookup[{index}].key"),
            "names no column; a lookup needs a unique key",
        ));
    }
    for name in &lookup.key {
        match cells.names.iter().position(|n| n == name) {
            Some(column) if !key.contains(&column) => key.push(column),
            Some(_) => mistakes.push(Mistake::new(
                format!("lookup[{index}].key"),
                format!("names `{name}` twice"),
            )),
            None => {
                let suggestion = did_you_mean(name, cells.names.iter().map(String::as_str));
                let what = format!("no column `{name}` in {}{suggestion}", file_name(&lookup.file));
                mistakes.push(
                    Mistake::new(format!("lookup[{index}].key"), what)
                        .hint(format!("its columns are {}", list(&cells.names))),
                );
            }
        }
    }
    if mistakes.len() > before { Vec::new() } else { key }
}

fn typed(cells: &Cells) -> Result<RecordBatch, String> {
    let columns: Vec<ArrayRef> = cells.columns.iter().map(infer::typed).collect();
    let fields: Vec<Field> = cells
        .names
        .iter()
        .zip(&columns)
        .map(|(name, c)| Field::new(name, c.data_type().clone(), true))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(cells.lines.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|e| e.to_string())
}

fn read(file: &Path) -> Result<Cells, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    // Spreadsheets write a byte order mark, which would become part of the first column's name.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let names: Vec<String> =
        reader.headers().map_err(|e| csv_error(file, &e))?.iter().map(String::from).collect();
    check_names(file, &names)?;
    let mut rows: Vec<csv::StringRecord> = Vec::new();
    let mut lines = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|e| csv_error(file, &e))?;
        let line = row.position().map_or(0, csv::Position::line);
        if row.len() != names.len() {
            return Err(format!(
                "line {line} of {} has {} cells, the header has {}",
                file_name(file),
                row.len(),
                names.len()
            ));
        }
        rows.push(row);
        lines.push(line);
    }
    let column =
        |i: usize| rows.iter().map(|row| row.get(i).filter(|cell| !cell.is_empty())).collect();
    Ok(Cells { columns: (0..names.len()).map(column).collect(), names, lines })
}

fn check_names(file: &Path, names: &[String]) -> Result<(), String> {
    if names.is_empty() {
        return Err(format!("{} is empty; it needs a header line", file_name(file)));
    }
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(format!(
                "column {} of {} has no name in the header line",
                i + 1,
                file_name(file)
            ));
        }
        if names[..i].contains(name) {
            return Err(format!("the header line of {} has `{name}` twice", file_name(file)));
        }
    }
    Ok(())
}

fn csv_error(file: &Path, error: &csv::Error) -> String {
    let line = error.position().map(|p| format!("line {} of ", p.line())).unwrap_or_default();
    format!("{line}{} is not CSV: {error}", file_name(file))
}

fn file_name(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

fn lines(numbers: &[u64]) -> String {
    let texts: Vec<String> = numbers.iter().map(u64::to_string).collect();
    format!("{} {}", if numbers.len() == 1 { "line" } else { "lines" }, some_of(&texts))
}

/// The first few, and the number of the others.
fn some_of(texts: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = texts[..texts.len().min(SHOWN)].join(", ");
    if texts.len() > SHOWN { format!("{shown} and {} more", texts.len() - SHOWN) } else { shown }
}
