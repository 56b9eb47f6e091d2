//! Change events of Debezium → the rows that they are about: the row after the change, or the row
//! before it for a delete.
//!
//! An event is a record with the members `before`, `after`, `op` and `source`; in JSON it may lie in
//! Connect's envelope ([`crate::connect`]). Numbers that count time without saying in which unit are
//! refused, and so are the values that stand for others: see [`unknown`].

mod unknown;

use crate::avro_type::Field;
use crate::cell::Cell;
use crate::connect::{Meaning, Meanings};
use crate::datum::InvalidDatum;
use crate::decode::Decoded;
use crate::error::Error;
use crate::frame::fault;
use crate::json::{self, JsonRules};
use crate::schema::Schema;
use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray, StructArray,
    TimestampMillisecondArray, UInt32Array,
};
use arrow::compute::{interleave, take};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::error::ArrowError;
use serde_json::{Value, json};
use std::sync::Arc;
use weir_model::fault::{Fault, VALUE_MISSING};

/// What an event says beside the row, one value per row.
#[derive(Debug, Clone)]
pub struct Changes {
    /// `c`, `u`, `d`, or `r` for a row of a snapshot: a text.
    pub operation: ArrayRef,
    /// When the database made the change: a timestamp-millis.
    pub source_time: ArrayRef,
    /// Where it is in the database's log, in the database's own terms: a text.
    pub position: ArrayRef,
}

/// The schema of events about rows of `row`.
pub(crate) fn envelope(row: &Schema) -> Result<Schema, Error> {
    let text = row.complete_text();
    let row: Value = serde_json::from_str(text).map_err(|e| Error::schema(e.to_string()))?;
    let name = row["name"].as_str().unwrap_or_default();
    let full_name = match row["namespace"].as_str().filter(|_| !name.contains('.')) {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}.{name}"),
        _ => name.to_owned(),
    };
    let optional =
        |name: &str, of: &str| json!({"name": name, "type": ["null", of], "default": null});
    let source = json!({"type": "record", "name": "WeirSource", "fields": [
        optional("ts_ms", "long"),
        optional("lsn", "long"),
        optional("file", "string"),
        optional("pos", "long"),
        optional("change_lsn", "string"),
        optional("commit_lsn", "string"),
        optional("scn", "string"),
    ]});
    let envelope = json!({"type": "record", "name": "WeirEnvelope", "fields": [
        {"name": "before", "type": ["null", row], "default": null},
        {"name": "after", "type": ["null", full_name], "default": null},
        {"name": "op", "type": "string"},
        {"name": "source", "type": ["null", source], "default": null},
    ]});
    Schema::parse(&envelope.to_string())
}

/// The cells of an event in JSON, with or without Connect's envelope.
pub(crate) fn event<'a>(
    raw: &'a [u8],
    fields: &[Field],
    rules: JsonRules,
    meanings: &mut Meanings,
) -> Result<Vec<Cell<'a>>, InvalidDatum> {
    let object = json::object_of(raw)?;
    let (event, meaning) = match meanings.opened(&object, fields) {
        Some(opened) => opened?,
        None => (object, Arc::new(Meaning::Unsaid)),
    };
    let is_delete = event.get("op").is_some_and(|op| op.get() == "\"d\"");
    let cell = |field: &Field| {
        let is_row = matches!(field.name.as_str(), "before" | "after");
        let cell = match event.get(&field.name) {
            Some(value) if is_row => {
                meaning.member(&field.name).value(value, &field.avro_type, rules)
            }
            Some(value) => json::value(value, &field.avro_type, JsonRules::default()),
            None => json::absent(field),
        };
        let cell = cell.map_err(|fault| match is_delete && field.name == "before" {
            true => fault.because(PLACEHOLDERS),
            false => fault,
        });
        cell.map_err(|fault| fault.within(&field.name))
    };
    fields.iter().map(cell).collect()
}

/// What may be wrong with the row before a delete.
const PLACEHOLDERS: &str = "with REPLICA IDENTITY DEFAULT only the key of a deleted row is known, and \
    Debezium fills the other columns: read this one as a string or as one that can be null, or set \
    REPLICA IDENTITY FULL";

/// Takes the rows out of decoded events.
pub(crate) fn unwrap(events: Decoded, schema: SchemaRef) -> Result<(Decoded, Changes), Error> {
    let Decoded { batch, rows, mut faults } = events;
    let columns = |e: ArrowError| Error::Columns(e.to_string());
    let [before, after, source] = ["before", "after", "source"]
        .map(|name| batch.column_by_name(name).map(|column| column.as_struct().clone()));
    let (Some(before), Some(after), Some(source), Some(operation)) =
        (before, after, source, batch.column_by_name("op"))
    else {
        return Err(Error::Columns("an event has other members".into()));
    };
    let (mut kept, mut sources) = (Vec::new(), Vec::new());
    for (row, operation) in operation.as_string::<i32>().iter().enumerate() {
        match side(operation.unwrap_or_default(), row, &before, &after) {
            Ok(side) => match unknown::value(if side == 0 { &after } else { &before }, row) {
                None => {
                    kept.push(row as u32);
                    sources.push((side, row));
                }
                Some(fault) => faults.push((rows[row], fault)),
            },
            Err(fault) => faults.push((rows[row], fault)),
        }
    }
    faults.sort_by_key(|(record, _)| *record);
    let fields = (0..schema.fields().len()).map(|field| {
        let (after, before) = (after.column(field), before.column(field));
        interleave(&[after.as_ref(), before.as_ref()], &sources)
    });
    let options = RecordBatchOptions::new().with_row_count(Some(kept.len()));
    let fields = fields.collect::<Result<_, _>>().map_err(columns)?;
    let batch = RecordBatch::try_new_with_options(schema, fields, &options).map_err(columns)?;
    let picked = UInt32Array::from(kept.clone());
    let pick = |array: &ArrayRef| take(array, &picked, None).map_err(columns);
    let changes = Changes {
        operation: pick(operation)?,
        source_time: pick(&times(&source))?,
        position: pick(&positions(&source))?,
    };
    let rows = kept.into_iter().map(|row| rows[row as usize]).collect();
    Ok((Decoded { batch, rows, faults }, changes))
}

/// 0 for the row after the change, 1 for the row before it.
fn side(
    operation: &str,
    row: usize,
    before: &StructArray,
    after: &StructArray,
) -> Result<usize, Fault> {
    let missing = |detail: &str| Err(fault(VALUE_MISSING, detail));
    match operation {
        "c" | "u" | "r" if after.is_valid(row) => Ok(0),
        "c" | "u" | "r" => missing("the event has no row after the change"),
        "d" if before.is_valid(row) => Ok(1),
        "d" => missing(
            "the delete does not have the row before it, so its key is not known; PostgreSQL sends \
             it with REPLICA IDENTITY DEFAULT or FULL",
        ),
        "t" => Err(fault(
            "truncate",
            "the table was truncated; weir does not apply that, so the rows stay until they are \
             deleted by hand",
        )),
        other => {
            let other: String = other.chars().take(20).collect();
            Err(fault("unknown_operation", format!("the operation `{other}` changes no row")))
        }
    }
}

fn times(source: &StructArray) -> ArrayRef {
    let times = member(source, "ts_ms");
    let of = |row| {
        let known = source.is_valid(row) && times.is_valid(row);
        known.then(|| times.as_primitive::<Int64Type>().value(row))
    };
    let times: TimestampMillisecondArray = (0..source.len()).map(of).collect();
    Arc::new(times.with_timezone("+00:00"))
}

/// PostgreSQL's LSN, MySQL's file and position, SQL Server's LSN, Oracle's SCN.
fn positions(source: &StructArray) -> ArrayRef {
    let number = |name: &str, row: usize| {
        let member = member(source, name);
        member.is_valid(row).then(|| member.as_primitive::<Int64Type>().value(row).to_string())
    };
    let text = |name: &str, row: usize| {
        let member = member(source, name);
        member.is_valid(row).then(|| member.as_string::<i32>().value(row).to_owned())
    };
    let of = |row: usize| {
        let file = || Some(format!("{}:{}", text("file", row)?, number("pos", row)?));
        let texts = || ["change_lsn", "commit_lsn", "scn"].iter().find_map(|name| text(name, row));
        let known = || number("lsn", row).or_else(file).or_else(texts);
        source.is_valid(row).then(known).flatten()
    };
    Arc::new((0..source.len()).map(of).collect::<StringArray>())
}

/// A member of `source`; all of them are there, because the schema of events is weir's own.
fn member<'a>(source: &'a StructArray, name: &str) -> &'a ArrayRef {
    source.column_by_name(name).unwrap_or_else(|| source.column(0))
}

#[cfg(test)]
mod tests;
