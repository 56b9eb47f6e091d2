//! Rows as JSON lines and as CSV. A value is written as in [`crate::json`]: exact, or refused.
//!
//! CSV follows RFC 4180, with a header line, lines that end in `\n`, and quotes where a value needs
//! them. Null is an empty value, the empty text is `""`. Nested values are JSON.

use crate::json;
use arrow::array::*;
use arrow::datatypes::*;
use arrow::error::ArrowError;
use std::sync::Arc;

/// A value that has no text, in a column.
pub(crate) struct Unfit {
    pub(crate) column: String,
    pub(crate) what: String,
}

/// The rows of one batch as text.
pub(crate) enum Rows<'a> {
    Json(json::Writer<'a>),
    Csv(Vec<CsvColumn<'a>>),
}

/// A column of CSV.
pub(crate) struct CsvColumn<'a> {
    name: &'a str,
    values: &'a ArrayRef,
    /// `None` for texts, which are written as they are.
    writer: Option<json::Writer<'a>>,
}

/// The rows of `batch` as one value.
pub(crate) fn object(batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
    let (fields, columns) = (batch.schema().fields().clone(), batch.columns().to_vec());
    Ok(Arc::new(StructArray::try_new_with_length(fields, columns, None, batch.num_rows())?))
}

impl<'a> Rows<'a> {
    /// `object` is that of [`object`].
    pub(crate) fn json(object: &'a ArrayRef) -> Result<Rows<'a>, ArrowError> {
        Ok(Rows::Json(json::Writer::new(object, false)?))
    }

    /// `schema` is that of the batch.
    pub(crate) fn csv(batch: &'a RecordBatch, schema: &'a Schema) -> Result<Rows<'a>, ArrowError> {
        let columns = schema.fields().iter().zip(batch.columns()).map(|(field, values)| {
            let is_text = *values.data_type() == DataType::Utf8;
            let writer = (!is_text).then(|| json::Writer::new(values, false)).transpose()?;
            Ok(CsvColumn { name: field.name(), values, writer })
        });
        Ok(Rows::Csv(columns.collect::<Result<_, ArrowError>>()?))
    }

    /// Appends the line of row `row`.
    ///
    /// # Errors
    /// A value has no text; nothing was appended.
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Unfit> {
        let before = out.len();
        let written = match self {
            Rows::Json(object) => object.write(row, out).map_err(|fault| Unfit {
                column: fault.member().unwrap_or_default().to_owned(),
                what: fault.text(),
            }),
            Rows::Csv(columns) => line(columns, row, out),
        };
        match written {
            Ok(()) => out.push(b'\n'),
            Err(_) => out.truncate(before),
        }
        written
    }
}

fn line(columns: &[CsvColumn<'_>], row: usize, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let mut text = Vec::new();
    for (number, column) in columns.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        if column.values.is_null(row) {
            continue;
        }
        let Some(writer) = &column.writer else {
            value(column.values.as_string::<i32>().value(row).as_bytes(), out);
            continue;
        };
        text.clear();
        writer
            .write(row, &mut text)
            .map_err(|fault| Unfit { column: column.name.to_owned(), what: fault.text() })?;
        // A scalar that JSON has as a string has nothing in it that is escaped.
        let bare = match (column.values.data_type().is_nested(), text.as_slice()) {
            (false, [b'"', bare @ .., b'"']) => bare,
            (_, whole) => whole,
        };
        value(bare, out);
    }
    Ok(())
}

/// The header line.
pub(crate) fn header(schema: &Schema) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, field) in schema.fields().iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        value(field.name().as_bytes(), &mut out);
    }
    out.push(b'\n');
    out
}

/// In quotes if they are needed; those within are doubled.
fn value(text: &[u8], out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    let blank = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
    let quoted =
        text.is_empty() || text.iter().any(special) || blank(text.first()) || blank(text.last());
    if !quoted {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(batch: &RecordBatch) -> String {
        let schema = batch.schema();
        let rows = Rows::csv(batch, &schema).unwrap();
        let mut out = header(&schema);
        for row in 0..batch.num_rows() {
            _ = rows.write(row, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn null_and_empty_text_differ_in_csv_and_special_characters_are_quoted() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![
            None,
            Some(""),
            Some("a,b"),
            Some("say \"hi\""),
            Some("two\nlines"),
            Some(" blank"),
            Some("null"),
        ]));
        let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..7));
        let batch = RecordBatch::try_from_iter([("a", texts), ("n,1", numbers)]).unwrap();
        assert_eq!(
            csv(&batch),
            "a,\"n,1\"\n,0\n\"\",1\n\"a,b\",2\n\"say \"\"hi\"\"\",3\n\"two\nlines\",4\n\" blank\",5\n\
             null,6\n"
        );
    }

    #[test]
    fn nested_values_are_json_in_csv_and_a_value_without_text_refuses_its_row_only() {
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(vec![
            Some(vec![Some(1.5), None]),
            Some(vec![Some(f64::NAN)]),
            None,
        ]));
        let at: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values([0, 0, 0]));
        let batch = RecordBatch::try_from_iter([("list", list), ("at", at)]).unwrap();
        assert_eq!(
            csv(&batch),
            "list,at\n\"[1.5,null]\",1970-01-01T00:00:00\n,1970-01-01T00:00:00\n"
        );
        let object = object(&batch).unwrap();
        let rows = Rows::json(&object).unwrap();
        let mut out = Vec::new();
        let unfit = rows.write(1, &mut out).err().unwrap();
        assert_eq!((unfit.column.as_str(), out.len()), ("list", 0));
        assert!(unfit.what.contains("NaN"), "{}", unfit.what);
        assert!(rows.write(2, &mut out).is_ok());
        assert_eq!(out, b"{\"list\":null,\"at\":\"1970-01-01T00:00:00\"}\n");
    }
}
