//! From JSON values to one Arrow batch of a schema.

use crate::column::ColumnBuilder;
use crate::connect::{self, Meaning, Meanings};
use crate::debezium;
use crate::decode::{Decoded, check_size};
use crate::error::Error;
use crate::frame::{self, fault};
use crate::json::{self, JsonRules};
use crate::schema::Schema;
use crate::writer::Values;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

/// Decodes records that are JSON objects; no registry is involved.
pub struct JsonDecoder {
    schema: Schema,
    rules: JsonRules,
    form: Form,
}

/// What is around the fields of the schema.
enum Form {
    /// Nothing, or Connect's envelope. What they mean without it.
    Record(Meanings, Meaning),
    /// They are an event of Debezium, perhaps in Connect's envelope.
    Event(Meanings),
}

impl JsonDecoder {
    /// A decoder into the columns of `schema`.
    ///
    /// # Errors
    /// A field that cannot be read from JSON.
    pub fn new(schema: Schema, rules: JsonRules) -> Result<JsonDecoder, Error> {
        match json::unreadable(schema.fields()) {
            Some(what) => Err(Error::schema(what)),
            None => Ok(JsonDecoder {
                schema,
                rules,
                form: Form::Record(Meanings::default(), Meaning::Plain),
            }),
        }
    }

    /// The same for events of Debezium: its schema is that of [`debezium::envelope`].
    pub(crate) fn of_events(self) -> JsonDecoder {
        JsonDecoder { form: Form::Event(Meanings::default()), ..self }
    }

    /// The same for objects that Connect wrote, such as the keys of those events.
    pub(crate) fn of_connect(self) -> JsonDecoder {
        JsonDecoder { form: Form::Record(Meanings::default(), Meaning::Unsaid), ..self }
    }

    /// Decodes `values` in order. A value that is not one object of the schema is a fault of its
    /// own.
    ///
    /// # Errors
    /// More than 2 GiB at once.
    pub fn decode(&mut self, values: &Values<'_>) -> Result<Decoded, Error> {
        check_size(values)?;
        let arrow = self.schema.arrow();
        let fields = arrow.fields().iter();
        let mut columns: Vec<ColumnBuilder> =
            fields.map(|field| ColumnBuilder::new(field.data_type())).collect();
        let (mut rows, mut faults) = (Vec::with_capacity(values.len()), Vec::new());
        for (row, value) in (0u32..).zip(values) {
            let cells = match value {
                None => Err(frame::no_value()),
                Some([]) => Err(fault("empty_payload", "the record's value is 0 bytes long")),
                Some(value) => {
                    let (fields, rules) = (self.schema.fields(), self.rules);
                    let read = match &mut self.form {
                        Form::Record(meanings, outside) => {
                            connect::record(value, fields, rules, (meanings, outside))
                        }
                        Form::Event(meanings) => debezium::event(value, fields, rules, meanings),
                    };
                    read.map_err(|violation| violation.into_fault())
                }
            };
            match cells {
                Ok(cells) => {
                    columns.iter_mut().zip(&cells).for_each(|(column, cell)| column.push(cell));
                    rows.push(row);
                }
                Err(fault) => faults.push((row, fault)),
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = columns
            .iter_mut()
            .map(ColumnBuilder::finish)
            .collect::<Result<_, _>>()
            .and_then(|columns| RecordBatch::try_new_with_options(arrow, columns, &options))
            .map_err(|e| Error::Columns(e.to_string()))?;
        Ok(Decoded { batch, rows, faults })
    }
}
