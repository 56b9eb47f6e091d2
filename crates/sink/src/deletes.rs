//! Which records delete a row, and of which key.

use crate::error::Error;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Schema as ArrowSchema};
use arrow::error::ArrowError;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use weir_codec::{Decoded, FieldType, KeyDecoder, KeyType, Registry, Schema, of_rows};
use weir_kafka::Records;
use weir_model::fault::{Fault, Stage};
use weir_model::frame::KEY_HEADER;
use weir_model::mistake::{Mistake, did_you_mean};
use weir_model::pipeline::{Pipeline, Sink, Tombstones};
use weir_transform::{Condition, Judged};

/// What a sink does with records without a value, and with rows that its condition is true for.
#[derive(Clone)]
pub struct Deletes {
    tombstones: Tombstones,
    condition: Option<Arc<Condition>>,
    key: KeyType,
    columns: Arc<Vec<KeyColumn>>,
}

/// A column by which rows are merged.
struct KeyColumn {
    /// Its index in the output schema.
    index: usize,
    name: String,
    field_type: FieldType,
    /// Its index among the fields of the record's key; absent if that is one text.
    member: Option<usize>,
}

impl Deletes {
    /// Compiles the sink's part; `output` is the output schema.
    ///
    /// # Errors
    /// Mistakes in the condition, or a key of records that does not have the columns.
    pub fn compile(
        pipeline: &Pipeline,
        sink: &Sink,
        output: &Schema,
    ) -> Result<Deletes, Vec<Mistake>> {
        let config = sink.target.config();
        let at = |key: &str| format!("sink.{}.{key}", sink.name);
        let condition = config
            .delete_when()
            .map(|sql| Condition::compile(&at("delete_when"), sql, &output.arrow()).map(Arc::new))
            .transpose()?;
        let key = KeyType::load(&pipeline.input)
            .map_err(|error| vec![Mistake::new("input.key_schema", error.to_string())])?;
        let tombstones = config.tombstones();
        let columns = match (tombstones, config.merges_by()) {
            (Tombstones::Delete, Some(names)) => key_columns(names, &key, output)
                .map_err(|what| vec![Mistake::new(at("tombstones"), what)])?,
            _ => Vec::new(),
        };
        Ok(Deletes { tombstones, condition, key, columns: Arc::new(columns) })
    }

    /// A decoder of the keys of tombstones.
    pub(crate) fn key_decoder(
        &self,
        registry: Registry,
        runtime: Handle,
    ) -> Result<KeyDecoder, weir_codec::Error> {
        KeyDecoder::new(&self.key, registry, runtime)
    }
}

fn key_columns(names: &[String], key: &KeyType, output: &Schema) -> Result<Vec<KeyColumn>, String> {
    let (arrow, types) = (output.arrow(), output.field_types());
    let key_type = key.arrow();
    let column = |name: &String| {
        // A column that the output does not have is a mistake of its own.
        let (index, _) = arrow.column_with_name(name)?;
        let member = match &key_type {
            DataType::Struct(members) => match members.find(name) {
                Some((member, _)) => Some(member),
                None => return Some(Err(unknown(name, members))),
            },
            _ => None,
        };
        let (name, field_type) = (name.clone(), types[index].clone());
        Some(Ok(KeyColumn { index, name, field_type, member }))
    };
    names.iter().filter_map(column).collect()
}

fn unknown(name: &str, members: &arrow::datatypes::Fields) -> String {
    let names = members.iter().map(|member| member.name().as_str());
    format!(
        "is \"delete\", but the key of the records has no field `{name}`{}; an alias in \
         input.key_schema gives a field the column's name",
        did_you_mean(name, names)
    )
}

/// The rows of a part, with those to delete.
pub(crate) struct Rows {
    pub(crate) batch: RecordBatch,
    /// The record of each row; ascending.
    pub(crate) rows: Vec<u32>,
    pub(crate) deletes: Option<BooleanBuffer>,
    /// By record; ascending.
    pub(crate) faults: Vec<(u32, Fault)>,
    /// The records that are counted as filtered.
    pub(crate) filtered: Vec<u32>,
}

impl Deletes {
    /// Whether a record without a value is more than a dead letter.
    pub(crate) fn takes_tombstones(&self) -> bool {
        self.tombstones != Tombstones::DeadLetter
    }

    /// Completes the decoded rows: `tombstones` are the records that have a lineage and no value.
    ///
    /// # Errors
    /// The registry is unavailable for the schema of a key.
    pub(crate) fn apply(
        &self,
        decoded: Decoded,
        records: &Records,
        tombstones: &[u32],
        keys: &mut KeyDecoder,
    ) -> Result<Rows, Error> {
        let Decoded { batch, rows, faults } = decoded;
        let mut all = Rows { batch, rows, deletes: None, faults, filtered: Vec::new() };
        if let Some(condition) = &self.condition {
            let Judged { is_true, faults } = condition.apply(&all.batch, now_micros())?;
            all.judge(is_true, faults)?;
        }
        match self.tombstones {
            _ if tombstones.is_empty() => {}
            Tombstones::Delete => {
                let keyed: Vec<_> =
                    tombstones.iter().map(|record| records.key(*record as usize)).collect();
                let headers = of_rows(&records.last_headers(KEY_HEADER), tombstones);
                let (column, bad) = keys.decode(&keyed, &headers)?;
                self.add(&mut all, tombstones, &column, bad)?;
            }
            Tombstones::Skip => all.filtered = tombstones.to_vec(),
            Tombstones::DeadLetter => {}
        }
        all.faults.sort_by_key(|(record, _)| *record);
        Ok(all)
    }

    /// Adds a row for each tombstone, of which only the key has values.
    fn add(
        &self,
        all: &mut Rows,
        tombstones: &[u32],
        keys: &ArrayRef,
        bad: Vec<(u32, Fault)>,
    ) -> Result<(), ArrowError> {
        let mut good = vec![true; tombstones.len()];
        for (at, fault) in bad {
            good[at as usize] = false;
            all.faults.push((tombstones[at as usize], fault));
        }
        let mut columns: Vec<ArrayRef> = Vec::new();
        let fields = all.batch.schema_ref().fields().clone();
        for field in &fields {
            columns.push(new_null_array(field.data_type(), tombstones.len()));
        }
        for column in self.columns.iter() {
            let values = match column.member {
                Some(member) => member_of(keys, member),
                None => keys.clone(),
            };
            let cast = column.field_type.cast(&values);
            for (at, record) in tombstones.iter().enumerate() {
                if cast.is_null(at) && std::mem::replace(&mut good[at], false) {
                    all.faults.push((*record, bad_key(column, keys.is_null(at))));
                }
            }
            columns[column.index] = cast;
        }
        let nullable: Vec<_> =
            fields.iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        // The rows of both in the order of their records.
        let mut order: Vec<(u32, (usize, usize))> =
            all.rows.iter().enumerate().map(|(row, record)| (*record, (0, row))).collect();
        let added = tombstones.iter().enumerate().filter(|(at, _)| good[*at]);
        order.extend(added.map(|(at, record)| (*record, (1, at))));
        order.sort_unstable();
        let (rows, sources): (Vec<u32>, Vec<(usize, usize)>) = order.into_iter().unzip();
        let merged =
            all.batch.columns().iter().zip(&columns).map(|(stored, deleted)| {
                interleave(&[stored.as_ref(), deleted.as_ref()], &sources)
            });
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let before = all.deletes.take();
        let is_delete = |(side, row): &(usize, usize)| match side {
            0 => before.as_ref().is_some_and(|deletes| deletes.value(*row)),
            _ => true,
        };
        all.batch = RecordBatch::try_new_with_options(
            Arc::new(ArrowSchema::new(nullable)),
            merged.collect::<Result<_, _>>()?,
            &options,
        )?;
        all.deletes = Some(sources.iter().map(is_delete).collect());
        all.rows = rows;
        Ok(())
    }
}

impl Rows {
    /// Takes the verdict of the condition. Rows on which it fails become faults.
    fn judge(
        &mut self,
        is_true: BooleanBuffer,
        faults: Vec<(u32, Fault)>,
    ) -> Result<(), ArrowError> {
        self.deletes = (is_true.count_set_bits() > 0).then_some(is_true);
        if faults.is_empty() {
            return Ok(());
        }
        let mut keep = vec![true; self.rows.len()];
        for (row, fault) in faults {
            keep[row as usize] = false;
            let detail = format!("delete_when: {}", fault.detail);
            self.faults.push((self.rows[row as usize], Fault { detail, ..fault }));
        }
        let kept: Vec<usize> = (0..keep.len()).filter(|row| keep[*row]).collect();
        let mask = arrow::array::BooleanArray::from(keep);
        self.batch = arrow::compute::filter_record_batch(&self.batch, &mask)?;
        self.rows = kept.iter().map(|row| self.rows[*row]).collect();
        self.deletes =
            self.deletes.take().map(|deletes| kept.iter().map(|row| deletes.value(*row)).collect());
        Ok(())
    }
}

fn member_of(keys: &ArrayRef, member: usize) -> ArrayRef {
    let keys = keys.as_struct();
    let member = keys.column(member);
    match keys.nulls() {
        Some(nulls) => {
            let nulls = arrow::array::BooleanArray::from(!nulls.inner());
            arrow::compute::nullif(member, &nulls).unwrap_or_else(|_| member.clone())
        }
        None => member.clone(),
    }
}

fn bad_key(column: &KeyColumn, is_absent: bool) -> Fault {
    let KeyColumn { name, field_type, .. } = column;
    let detail = match is_absent {
        true => "a tombstone without a key: which row it deletes is not known".into(),
        false => format!("the key of the tombstone has no {field_type} for the column {name}"),
    };
    Fault { stage: Stage::Sink, reason: "bad_key".into(), detail }
}

fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
