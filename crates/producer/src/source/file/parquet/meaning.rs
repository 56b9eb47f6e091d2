//! What columns mean beyond the types that the library gives them.
//!
//! * Times of INT96, as Spark and Hive write them: a day and the nanoseconds in it. The library has
//!   them as numbers of 64 bits: nanoseconds wrap beyond the year 2262, and every coarser unit drops
//!   digits. Read twice, as nanoseconds and as seconds, they are exact. They are passed on as texts
//!   (`9999-12-31T23:59:59.000000001`), which the casting rules read strictly.
//! * Symbols (`ENUM`), which the library has as bytes, are texts.
//! * UUIDs, which the library has as 16 bytes, are marked.
//! * Decimals that may have more than 16 bytes are read as the widest ones: the library panics at
//!   values that have more digits than their type says.

use arrow::array::{ArrayRef, AsArray, StringArray, make_array};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, FieldRef, Fields, Schema,
    TimeUnit, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use jiff::{SignedDuration, civil};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::errors::ParquetError;
use parquet::schema::types::SchemaDescriptor;
use std::fs::File;
use std::sync::Arc;
use weir_model::avro::with_uuids;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// What a physical column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Plain,
    Int96,
    Symbol,
    Uuid,
    /// A decimal that may have more than 16 bytes.
    WideDecimal,
}

fn leaves(schema: &SchemaDescriptor) -> Vec<Leaf> {
    let leaf = |index| {
        let column = schema.column(index);
        match (column.physical_type(), column.logical_type_ref(), column.converted_type()) {
            (Type::INT96, ..) => Leaf::Int96,
            (_, Some(LogicalType::Enum), _) | (_, None, ConvertedType::ENUM) => Leaf::Symbol,
            (_, Some(LogicalType::Uuid), _) => Leaf::Uuid,
            (Type::BYTE_ARRAY, Some(LogicalType::Decimal(_)), _)
            | (Type::BYTE_ARRAY, _, ConvertedType::DECIMAL) => Leaf::WideDecimal,
            (Type::FIXED_LEN_BYTE_ARRAY, ..) if column.type_length() > 16 => Leaf::WideDecimal,
            _ => Leaf::Plain,
        }
    };
    (0..schema.num_columns()).map(leaf).collect()
}

/// The fields with another type or mark for each physical column, which are theirs in this order.
fn map_leaves(
    schema: &Schema,
    physical: &SchemaDescriptor,
    of: &dyn Fn(Leaf, Field) -> Field,
) -> Fields {
    let mut leaves = leaves(physical).into_iter();
    schema.fields().iter().map(|field| map_field(field, &mut leaves, of)).collect()
}

fn map_field(
    field: &FieldRef,
    leaves: &mut dyn Iterator<Item = Leaf>,
    of: &dyn Fn(Leaf, Field) -> Field,
) -> FieldRef {
    let mut inner = |field: &FieldRef| map_field(field, leaves, of);
    let data_type = match field.data_type() {
        DataType::Struct(members) => DataType::Struct(members.iter().map(inner).collect()),
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::ListView(item) => DataType::ListView(inner(item)),
        DataType::LargeListView(item) => DataType::LargeListView(inner(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(inner(item), *size),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        _ => {
            let leaf = leaves.next().unwrap_or(Leaf::Plain);
            return Arc::new(of(leaf, Field::clone(field)));
        }
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// A reader of the file. Its footer decides the types, and `unit` that of INT96 columns.
pub(super) fn builder(
    file: File,
    unit: TimeUnit,
) -> Result<ParquetRecordBatchReaderBuilder<File>, ParquetError> {
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    let physical = metadata.metadata().file_metadata().schema_descr();
    if leaves(physical).iter().all(|leaf| matches!(leaf, Leaf::Plain | Leaf::Uuid)) {
        return Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata));
    }
    let fields = map_leaves(metadata.schema(), physical, &|leaf, field| {
        let data_type = match (leaf, field.data_type()) {
            (Leaf::Int96, _) => DataType::Timestamp(unit, None),
            (Leaf::Symbol, DataType::Binary) => DataType::Utf8,
            (Leaf::Symbol, DataType::LargeBinary) => DataType::LargeUtf8,
            (Leaf::Symbol, DataType::BinaryView) => DataType::Utf8View,
            (Leaf::WideDecimal, DataType::Decimal128(_, scale)) => {
                DataType::Decimal256(DECIMAL256_MAX_PRECISION, *scale)
            }
            _ => return field,
        };
        field.with_data_type(data_type)
    });
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata.schema().metadata().clone()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    let metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)?;
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata))
}

/// The columns of the file as [`Meaning::of`] makes them.
pub(super) fn fields(builder: &ParquetRecordBatchReaderBuilder<File>) -> Fields {
    map_leaves(builder.schema(), builder.parquet_schema(), &|leaf, field| match leaf {
        Leaf::Int96 => field.with_data_type(DataType::Utf8),
        Leaf::Uuid => with_uuids(field),
        Leaf::Plain | Leaf::Symbol | Leaf::WideDecimal => field,
    })
}

/// The columns of the file with their own types, for a guess.
pub(in super::super) fn types(file: File) -> Result<Fields, ParquetError> {
    let builder = builder(file, TimeUnit::Nanosecond)?;
    let of = |leaf, field: Field| match (leaf, field.data_type()) {
        (Leaf::Uuid, _) => with_uuids(field),
        (Leaf::WideDecimal, DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale)) => {
            let data_type = DataType::Decimal128(DECIMAL128_MAX_PRECISION, *scale);
            field.with_data_type(data_type)
        }
        _ => field,
    };
    Ok(map_leaves(builder.schema(), builder.parquet_schema(), &of))
}

/// Makes columns mean what they are.
pub(super) struct Meaning {
    fields: Fields,
    /// The same columns, with INT96 as seconds, if there is any.
    seconds: Option<ParquetRecordBatchReader>,
}

impl Meaning {
    /// Of the columns with these numbers; `seconds` reads them once more.
    ///
    /// # Errors
    /// As `seconds`.
    pub(super) fn new(
        builder: &ParquetRecordBatchReaderBuilder<File>,
        roots: &[usize],
        seconds: impl FnOnce() -> Result<ParquetRecordBatchReader, ParquetError>,
    ) -> Result<Meaning, ParquetError> {
        let fields = fields(builder);
        let physical = builder.parquet_schema();
        let is_int96 = |leaf: usize| {
            physical.column(leaf).physical_type() == Type::INT96
                && roots.contains(&physical.get_column_root_idx(leaf))
        };
        let seconds = match (0..physical.num_columns()).any(is_int96) {
            true => Some(seconds()?),
            false => None,
        };
        Ok(Meaning { fields: roots.iter().map(|root| fields[*root].clone()).collect(), seconds })
    }

    /// The next rows, as they were read with INT96 as nanoseconds.
    ///
    /// # Errors
    /// The file cannot be read as seconds.
    pub(super) fn of(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let seconds = match &mut self.seconds {
            None => rows.clone(),
            Some(reader) => {
                let seconds = reader.next().transpose()?;
                let seconds = seconds.filter(|seconds| seconds.num_rows() == rows.num_rows());
                seconds.ok_or_else(|| {
                    ArrowError::ParquetError("the columns have different numbers of rows".into())
                })?
            }
        };
        let columns = rows.columns().iter().zip(seconds.columns()).zip(&self.fields);
        let columns = columns.map(|((nanos, seconds), to)| meant(nanos, seconds, to.data_type()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let schema = Arc::new(Schema::new(self.fields.clone()));
        let columns = columns.collect::<Result<_, _>>()?;
        RecordBatch::try_new_with_options(schema, columns, &options)
    }
}

fn meant(nanos: &ArrayRef, seconds: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if nanos.data_type() == to {
        return Ok(nanos.clone());
    }
    if let DataType::Timestamp(..) = nanos.data_type() {
        return Ok(texts(seconds, nanos));
    }
    let (nanos, seconds) = (nanos.to_data(), seconds.to_data());
    let types: Vec<&DataType> = match to {
        DataType::Struct(members) => members.iter().map(|member| member.data_type()).collect(),
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::Map(inner, _) => vec![inner.data_type()],
        _ => Vec::new(),
    };
    let parts = nanos.child_data().iter().zip(seconds.child_data()).zip(types);
    let parts = parts.map(|((nanos, seconds), to)| {
        let part = meant(&make_array(nanos.clone()), &make_array(seconds.clone()), to)?;
        Ok(part.to_data())
    });
    let parts = parts.collect::<Result<_, ArrowError>>()?;
    Ok(make_array(nanos.into_builder().data_type(to.clone()).child_data(parts).build()?))
}

fn texts(seconds: &ArrayRef, nanos: &ArrayRef) -> ArrayRef {
    let seconds = seconds.as_primitive::<TimestampSecondType>().iter();
    let nanos = nanos.as_primitive::<TimestampNanosecondType>().iter();
    let texts: StringArray =
        seconds.zip(nanos).map(|(seconds, nanos)| Some(text(seconds?, nanos?))).collect();
    Arc::new(texts)
}

/// The time of these seconds, the same in nanoseconds modulo 2⁶⁴.
fn text(seconds: i64, nanos: i64) -> String {
    let within = nanos.wrapping_sub(seconds.wrapping_mul(NANOS_PER_SECOND));
    let since = SignedDuration::from_secs(seconds).checked_add(SignedDuration::from_nanos(within));
    let time =
        since.and_then(|since| civil::date(1970, 1, 1).at(0, 0, 0, 0).checked_add(since).ok());
    time.map_or_else(|| format!("{seconds} s and {within} ns from 1970"), |time| time.to_string())
}
