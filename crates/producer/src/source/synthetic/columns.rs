//! Calls → Arrow columns, in the order and the types of the input schema.

use super::call::{Call, Name};
use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use weir_codec::Schema;
use weir_model::mistake::Mistake;

const FIELDS: [&str; 9] = [
    "caller_name",
    "receiver_name",
    "caller_id",
    "receiver_id",
    "start_datetime",
    "end_datetime",
    "call_duration",
    "network_provider",
    "total_amount",
];

fn made(field: &str) -> DataType {
    match field {
        "start_datetime" | "end_datetime" => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
        }
        "call_duration" => DataType::Int32,
        "total_amount" => DataType::Decimal128(10, 2),
        _ => DataType::Utf8,
    }
}

/// The columns that the schema requires.
#[derive(Clone)]
pub(super) struct Columns {
    schema: SchemaRef,
}

impl Columns {
    pub(super) fn new(schema: &Schema) -> Result<Columns, Vec<Mistake>> {
        let schema = schema.arrow();
        let mistake = |what: String| {
            Mistake::new("input.schema", what)
                .hint(format!("call_records makes {}", FIELDS.join(", ")))
        };
        let mistakes: Vec<_> = schema
            .fields()
            .iter()
            .filter_map(|field| match FIELDS.contains(&field.name().as_str()) {
                true if can_cast_types(&made(field.name()), field.data_type()) => None,
                true => Some(mistake(format!(
                    "field `{}` is {}, which call_records cannot make",
                    field.name(),
                    field.data_type()
                ))),
                false if field.is_nullable() => None,
                false => Some(mistake(format!(
                    "field `{}` is required, and call_records has no values for it",
                    field.name()
                ))),
            })
            .collect();
        if mistakes.is_empty() { Ok(Columns { schema }) } else { Err(mistakes) }
    }

    pub(super) fn build(&self, rows: usize) -> Building {
        Building {
            schema: self.schema.clone(),
            caller_name: Text::new(rows, 20),
            receiver_name: Text::new(rows, 20),
            caller_id: Text::new(rows, 14),
            receiver_id: Text::new(rows, 14),
            network_provider: Text::new(rows, 12),
            start: Vec::with_capacity(rows),
            end: Vec::with_capacity(rows),
            seconds: Vec::with_capacity(rows),
            cents: Vec::with_capacity(rows),
        }
    }
}

pub(super) struct Building {
    schema: SchemaRef,
    caller_name: Text,
    receiver_name: Text,
    caller_id: Text,
    receiver_id: Text,
    network_provider: Text,
    start: Vec<i64>,
    end: Vec<i64>,
    seconds: Vec<i32>,
    cents: Vec<i128>,
}

impl Building {
    pub(super) fn push(&mut self, call: &Call) {
        self.caller_name.push(|out| call.write_caller_name(out));
        self.receiver_name.push(|out| call.receiver.write_name(Name::Plain, out));
        self.caller_id.push(|out| call.caller.write_number(out));
        self.receiver_id.push(|out| call.receiver.write_number(out));
        self.network_provider
            .push(|out| out.extend_from_slice(call.caller.provider.name.as_bytes()));
        self.start.push(call.start);
        self.end.push(call.end);
        self.seconds.push(call.seconds);
        self.cents.push(i128::from(call.cents));
    }

    pub(super) fn finish(self) -> Result<RecordBatch, ArrowError> {
        let rows = self.seconds.len();
        let time = |values: Vec<i64>| -> ArrayRef {
            std::sync::Arc::new(TimestampMicrosecondArray::from(values).with_timezone("+00:00"))
        };
        let made: [ArrayRef; 9] = [
            self.caller_name.finish()?,
            self.receiver_name.finish()?,
            self.caller_id.finish()?,
            self.receiver_id.finish()?,
            time(self.start),
            time(self.end),
            std::sync::Arc::new(Int32Array::from(self.seconds)),
            self.network_provider.finish()?,
            std::sync::Arc::new(Decimal128Array::from(self.cents).with_precision_and_scale(10, 2)?),
        ];
        let column = |field: &arrow::datatypes::FieldRef| match FIELDS
            .iter()
            .position(|name| name == field.name())
        {
            Some(at) if made[at].data_type() == field.data_type() => Ok(made[at].clone()),
            Some(at) => cast_with_options(
                &made[at],
                field.data_type(),
                &CastOptions { safe: false, ..Default::default() },
            ),
            None => Ok(new_null_array(field.data_type(), rows)),
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(self.schema.clone(), columns)
    }
}

/// A text column under construction, without an allocation per value.
struct Text {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl Text {
    fn new(rows: usize, length: usize) -> Text {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Text { bytes: Vec::with_capacity(rows * length), offsets }
    }

    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        // A batch is far below 2 GiB: its records are bounded by `batch.records`, and a name by 60
        // bytes. Arrow checks the offsets.
        self.offsets.push(self.bytes.len() as i32);
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        let offsets = OffsetBuffer::new(self.offsets.into());
        Ok(std::sync::Arc::new(StringArray::try_new(offsets, Buffer::from_vec(self.bytes), None)?))
    }
}
