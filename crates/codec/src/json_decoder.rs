//! From JSON values to one Arrow batch of a schema.

use crate::column::ColumnBuilder;
use crate::connect::{self, Meaning, Meanings};
use crate::debezium;
use crate::decode::{Decoded, check_size};
use crate::error::Error;
use crate::frame::{self, SchemaHeaders, fault};
use crate::json::{self, JsonRules};
use crate::schema::Schema;
use crate::writer::Values;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use weir_model::fault::Fault;
use weir_model::frame::MAGIC;

/// Decodes records that are JSON objects; no registry is asked.
pub struct JsonDecoder {
    schema: Schema,
    rules: JsonRules,
    form: Form,
    is_framed: bool,
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
                is_framed: false,
            }),
        }
    }

    /// The same for objects behind the id of a schema in the registry, which is not asked for it.
    pub(crate) fn of_framed(self) -> JsonDecoder {
        JsonDecoder { is_framed: true, ..self }
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
        self.decode_with(values, &[])
    }

    /// The same for values of which `headers` say the schema of some: those have no frame.
    ///
    /// # Errors
    /// As [`JsonDecoder::decode`].
    pub fn decode_with(
        &mut self,
        values: &Values<'_>,
        headers: &SchemaHeaders<'_>,
    ) -> Result<Decoded, Error> {
        check_size(values)?;
        let mut headers = frame::Headers::new(headers);
        let arrow = self.schema.arrow();
        let fields = arrow.fields().iter();
        let mut columns: Vec<ColumnBuilder> =
            fields.map(|field| ColumnBuilder::new(field.data_type())).collect();
        let (mut rows, mut faults) = (Vec::with_capacity(values.len()), Vec::new());
        for (row, value) in (0u32..).zip(values) {
            let value = match self.is_framed {
                true => unframed(*value, headers.of(row)),
                false => value.ok_or_else(frame::no_value),
            };
            let cells = match value {
                Err(fault) => Err(fault),
                Ok([]) => Err(fault("empty_payload", "the record's value is 0 bytes long")),
                Ok(value) => {
                    let (fields, rules) = (self.schema.fields(), self.rules);
                    let read = match &mut self.form {
                        Form::Record(meanings, outside) => {
                            connect::record(value, fields, rules, (meanings, outside))
                        }
                        Form::Event(meanings) => debezium::event(value, fields, rules, meanings),
                    };
                    read.map_err(|violation| match value {
                        [MAGIC, ..] if !self.is_framed => framed(violation.into_fault()),
                        _ => violation.into_fault(),
                    })
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

/// The object behind a frame.
fn unframed<'a>(value: Option<&'a [u8]>, header: Option<&[u8]>) -> Result<&'a [u8], Fault> {
    let frame = frame::plain_frame(value, header)?;
    Ok(value.and_then(|value| value.get(frame.len..)).unwrap_or_default())
}

/// Of a value that begins as one that is framed.
#[cold]
fn framed(fault: Fault) -> Fault {
    let Fault { stage, reason, detail } = fault;
    let hint = "the value begins with byte 0x00, as one with the id of its schema does; \
                format = \"json-schema\" reads those";
    Fault { stage, reason, detail: format!("{detail}; {hint}") }
}
