//! Change events of Debezium → the rows that they are about: the row after the change, or the row
//! before it for a delete.
//!
//! An event is a record with the members `before`, `after`, `op` and `source`; in JSON it may lie in
//! the `payload` of Connect's envelope, whose `schema` says the unit of each time. Numbers that
//! count time without saying in which unit are refused.

mod units;

use crate::avro_type::{AvroType, Field};
use crate::cell::Cell;
use crate::datum::InvalidDatum;
use crate::decode::Decoded;
use crate::error::Error;
use crate::frame::fault;
use crate::json::{self, JsonObject, JsonRules};
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

pub(crate) use units::{Units, UnitsCache, annotated, unitless};

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
    cache: &mut UnitsCache,
) -> Result<Vec<Cell<'a>>, InvalidDatum> {
    let object = json::object_of(raw)?;
    let units = match object.get("op") {
        None => object.get("schema").map(|schema| cache.of(schema.get())).unwrap_or_default(),
        Some(_) => Arc::default(),
    };
    let event = without_envelope(object, "op")?;
    let cell = |field: &Field| {
        let is_row = matches!(field.name.as_str(), "before" | "after");
        let cell = match event.get(&field.name) {
            Some(value) if is_row => row(value, &field.avro_type, rules, &units),
            Some(value) => json::value(value, &field.avro_type, JsonRules::default()),
            None => json::absent(field),
        };
        cell.map_err(|fault| fault.within(&field.name))
    };
    fields.iter().map(cell).collect()
}

/// The cells of an object that may be in Connect's envelope.
pub(crate) fn enveloped<'a>(
    raw: &'a [u8],
    fields: &[Field],
    rules: JsonRules,
) -> Result<Vec<Cell<'a>>, InvalidDatum> {
    let own = fields.first().map_or("", |field| field.name.as_str());
    let object = without_envelope(json::object_of(raw)?, own)?;
    json::members(&object, fields, rules, &|_, _| None)
}

/// The content of Connect's envelope, which an object without the member `own` is taken for.
pub(crate) fn without_envelope<'a>(
    object: JsonObject<'a>,
    own: &str,
) -> Result<JsonObject<'a>, InvalidDatum> {
    match (object.get("payload"), object.get(own)) {
        (Some(payload), None) => json::object_of(payload.get().as_bytes()),
        _ => Ok(object),
    }
}

fn row<'a>(
    raw: &'a serde_json::value::RawValue,
    avro_type: &AvroType,
    rules: JsonRules,
    units: &Units,
) -> Result<Cell<'a>, InvalidDatum> {
    let (AvroType::Record(record), _) = avro_type.optional() else {
        return json::value(raw, avro_type, rules);
    };
    if raw.get() == "null" {
        return Ok(Cell::Null);
    }
    let object = json::object_of(raw.get().as_bytes())?;
    let special = |field: &Field, value: &'a serde_json::value::RawValue| {
        units.cell(&field.name, value.get(), field.avro_type.optional().0)
    };
    json::members(&object, &record.fields, rules, &special).map(Cell::Record)
}

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
            Ok(side) => {
                kept.push(row as u32);
                sources.push((side, row));
            }
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
