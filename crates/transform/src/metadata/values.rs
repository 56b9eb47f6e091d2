//! The values of the columns that a plan uses of records beside their values.

use super::Metadata;
use crate::error::Error;
use crate::messages::type_name;
use crate::plan::Plan;
use arrow::array::{
    Array, ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::DataType;
use std::sync::Arc;
use weir_model::fault::{Fault, Stage};
use weir_model::record::RecordMetadata;

/// The columns that a plan uses beside the values of a batch.
#[derive(Debug, Clone, Default)]
pub struct MetadataColumns {
    pub(crate) columns: Vec<ArrayRef>,
    /// The rows of which one cannot be read.
    pub(crate) faults: Vec<(u32, Fault)>,
}

impl MetadataColumns {
    /// Those of the first rows.
    pub(crate) fn slice(&self, num_rows: usize) -> MetadataColumns {
        let faults = self.faults.iter().filter(|(row, _)| (*row as usize) < num_rows);
        MetadataColumns {
            columns: self
                .columns
                .iter()
                .map(|column| column.slice(0, num_rows.min(column.len())))
                .collect(),
            faults: faults.cloned().collect(),
        }
    }
}

/// What change events say beside their rows, one value per row.
#[derive(Debug, Clone)]
pub struct ChangeColumns {
    /// `_op`.
    pub operation: ArrayRef,
    /// `_source_ts`.
    pub source_time: ArrayRef,
    /// `_source_position`.
    pub position: ArrayRef,
}

impl Plan {
    /// What the plan uses of the records of a batch beside their values; nothing is made that it
    /// does not use. `records` gives the record of each row, `keys` a column of the type
    /// [`crate::InputColumns::key`] from the keys and the rows whose key is none of that type;
    /// `changes` are there if [`crate::InputColumns::changes`] is true.
    ///
    /// # Errors
    /// That of `keys`.
    pub fn metadata_columns<'r, I, E>(
        &self,
        topic: &str,
        records: impl Fn() -> I,
        changes: Option<&ChangeColumns>,
        mut keys: impl FnMut(&[Option<&'r [u8]>]) -> Result<(ArrayRef, Vec<(u32, Fault)>), E>,
    ) -> Result<MetadataColumns, E>
    where
        I: Iterator<Item: RecordMetadata<'r>>,
    {
        let (mut columns, mut faults) = (Vec::with_capacity(self.metadata.len()), Vec::new());
        for column in &self.metadata {
            let array: ArrayRef = match column {
                Metadata::Operation | Metadata::SourceTime | Metadata::SourcePosition => {
                    // Without them the plan has no such column.
                    let Some(changes) = changes else { continue };
                    changes.column(column).clone()
                }
                Metadata::Key => {
                    let (array, bad) = keys(&records().map(|r| r.key()).collect::<Vec<_>>())?;
                    faults.extend(bad);
                    array
                }
                Metadata::Topic => {
                    Arc::new(StringArray::from_iter_values(records().map(|_| topic)))
                }
                Metadata::Partition => {
                    Arc::new(Int32Array::from_iter_values(records().map(|r| r.partition())))
                }
                Metadata::Offset => {
                    Arc::new(Int64Array::from_iter_values(records().map(|r| r.offset())))
                }
                Metadata::Timestamp => {
                    let times = records().map(|r| Some(r.timestamp_ms()).filter(|ms| *ms >= 0));
                    let times: TimestampMillisecondArray = times.collect();
                    Arc::new(times.with_timezone("+00:00"))
                }
                Metadata::Header(name) => {
                    let text = |(row, value): (u32, Option<&'r [u8]>)| {
                        let text = std::str::from_utf8(value?);
                        text.map_err(|e| faults.push((row, bad_header(name, e.valid_up_to())))).ok()
                    };
                    let values = records().map(|r| r.last_header(name));
                    Arc::new((0..).zip(values).map(text).collect::<StringArray>())
                }
            };
            columns.push(array);
        }
        Ok(MetadataColumns { columns, faults })
    }

    pub(crate) fn check_metadata(
        &self,
        batch: &RecordBatch,
        columns: &[ArrayRef],
    ) -> Result<(), Error> {
        let got: Vec<&DataType> = columns.iter().map(|column| column.data_type()).collect();
        let expected: Vec<&DataType> = self.metadata_types.iter().collect();
        if got == expected && columns.iter().all(|column| column.len() == batch.num_rows()) {
            return Ok(());
        }
        let list =
            |types: Vec<&DataType>| types.into_iter().map(type_name).collect::<Vec<_>>().join(", ");
        Err(Error::Schema { expected: list(expected), got: list(got) })
    }
}

impl ChangeColumns {
    fn column(&self, column: &Metadata) -> &ArrayRef {
        match column {
            Metadata::SourceTime => &self.source_time,
            Metadata::SourcePosition => &self.position,
            _ => &self.operation,
        }
    }
}

fn bad_header(name: &str, at: usize) -> Fault {
    Fault {
        stage: Stage::Decode,
        reason: "bad_header".into(),
        detail: format!("the header `{name}` is not UTF-8 from byte {at}"),
    }
}
