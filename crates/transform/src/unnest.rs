//! `unnest(list)`: the one step that makes several rows of a record. Each row has the record's
//! columns and those of one element. The rows of a record stay together: they are all emitted, or
//! the record is refused as a whole.

use crate::evaluate::evaluate;
use crate::outcomes::Outcomes;
use crate::view::{ColumnSource, Rows, View};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBufferBuilder, Int64Array, OffsetSizeTrait, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion_physical_expr::PhysicalExpr;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use weir_model::fault::{Fault, Stage};

/// Rows that are made at once: the records behind them wait.
const MAX_ROWS: usize = 1 << 16;
/// What the columns of these rows may take, in bytes, together with the result columns.
const MAX_BYTES: usize = 32 << 20;
/// Rows of one record.
const MAX_ROWS_OF_RECORD: usize = 1 << 18;
/// The same of the rows of one record.
const MAX_BYTES_OF_RECORD: usize = 128 << 20;

/// How often a column is in each row: in what the expressions read, and in each result column that
/// is made of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copies(BTreeMap<ColumnSource, usize>);

impl Copies {
    /// Adds one of each of these.
    pub(crate) fn add(&mut self, sources: impl IntoIterator<Item = ColumnSource>) {
        sources.into_iter().for_each(|source| *self.0.entry(source).or_default() += 1);
    }

    fn of(&self, source: ColumnSource) -> usize {
        self.0.get(&source).copied().unwrap_or_default()
    }
}

/// A list in FROM, ready to run.
#[derive(Debug)]
pub(crate) struct Unnest {
    /// As it is written.
    pub(crate) text: String,
    /// The columns that the list is computed from.
    pub(crate) view: View,
    pub(crate) list: Arc<dyn PhysicalExpr>,
    /// The columns of an element.
    pub(crate) elements: SchemaRef,
    /// Whether the last of them is its number, from 1.
    pub(crate) ordinality: bool,
    /// Whether records without elements are filtered.
    pub(crate) is_inner: bool,
    /// How often each column is in a row that it makes.
    pub(crate) copies: Copies,
}

/// The columns of the elements of a list or a map; `None` for another type. `names` replace those of
/// the first columns; the column of an element that is no record is called `table`.
pub(crate) fn elements(
    list: &DataType,
    table: &str,
    names: &[String],
    ordinality: bool,
) -> Option<SchemaRef> {
    let (DataType::List(element) | DataType::LargeList(element) | DataType::Map(element, _)) = list
    else {
        return None;
    };
    let mut fields: Vec<Field> = match element.data_type() {
        DataType::Struct(members) => members.iter().map(|m| m.as_ref().clone()).collect(),
        other => vec![Field::new(table, other.clone(), true)],
    };
    if ordinality {
        fields.push(Field::new("ordinality", DataType::Int64, true));
    }
    let named = fields.into_iter().enumerate().map(|(index, field)| match names.get(index) {
        Some(name) => field.with_name(name).with_nullable(true),
        None => field.with_nullable(true),
    });
    Some(Arc::new(Schema::new(named.collect::<Fields>())))
}

/// The rows of a batch of records.
pub(crate) struct Unnested {
    /// For each row its record, ascending.
    pub(crate) records: UInt32Array,
    /// Per list the columns of its elements.
    pub(crate) elements: Vec<Vec<ArrayRef>>,
    /// Per list which rows have no element of it.
    pub(crate) absent: Vec<BooleanBuffer>,
    /// How many of the records these are: the first ones of the batch.
    pub(crate) num_records: usize,
}

impl Unnested {
    /// A row for each record.
    pub(crate) fn new(num_records: usize) -> Unnested {
        Unnested {
            records: (0..num_records as u32).collect(),
            elements: Vec::new(),
            absent: Vec::new(),
            num_records,
        }
    }
}

impl Unnest {
    /// Makes the rows of `before`, one for each element of its list; a row without elements stays
    /// one. `rows` has the columns of the records.
    pub(crate) fn apply(
        &self,
        rows: &Rows<'_>,
        before: Unnested,
        outcomes: &mut Outcomes,
    ) -> Result<Unnested, ArrowError> {
        let scope = self.view.gather(&Rows { unnested: Some(&before), ..*rows }, None)?;
        let evaluated = evaluate(self.list.as_ref(), &scope, outcomes.passing())?;
        outcomes.refuse_failed(evaluated.failed, |row| row, &self.text);
        let lists = Lists::of(&evaluated.values)?;
        let sizes = Sizes { rows, before: &before, lists: &lists, copies: &self.copies };
        let num_records = self.fitting(&lists, &sizes, outcomes);

        let num_rows = before.records.values().partition_point(|r| (*r as usize) < num_records);
        let (mut origins, mut elements) = (Vec::new(), Vec::new());
        let mut numbers: Vec<Option<i64>> = Vec::new();
        let mut absent = BooleanBufferBuilder::new(num_rows);
        for row in 0..num_rows {
            let list = lists.range(row).filter(|_| outcomes.passing()[row]).unwrap_or(0..0);
            if list.is_empty() {
                origins.push(row as u32);
                elements.push(None);
                numbers.push(None);
                absent.append(true);
            }
            for (number, element) in (1..).zip(list) {
                origins.push(row as u32);
                elements.push((!lists.values.is_null(element)).then_some(element as u32));
                numbers.push(Some(number));
                absent.append(false);
            }
        }
        let (origins, elements) = (UInt32Array::from(origins), UInt32Array::from(elements));
        outcomes.unnest(&origins, &before.records);
        let repeat = |column: &ArrayRef| take(column, &origins, None);
        let mut columns = Vec::with_capacity(before.elements.len() + 1);
        for earlier in &before.elements {
            columns.push(earlier.iter().map(repeat).collect::<Result<Vec<_>, _>>()?);
        }
        let mut own = match lists.values.as_struct_opt() {
            Some(members) => members
                .columns()
                .iter()
                .map(|member| take(member, &elements, None))
                .collect::<Result<Vec<_>, _>>()?,
            None => vec![take(&lists.values, &elements, None)?],
        };
        if self.ordinality {
            own.push(Arc::new(Int64Array::from(numbers)));
        }
        columns.push(own);
        let repeated_absent = before.absent.iter().map(|earlier| {
            origins.values().iter().map(|origin| earlier.value(*origin as usize)).collect()
        });
        let absent = repeated_absent.chain([absent.finish()]).collect();
        let records = take(&before.records, &origins, None)?;
        Ok(Unnested {
            records: records.as_primitive().clone(),
            elements: columns,
            absent,
            num_records,
        })
    }

    /// How many records have rows that may be made at once, at least one. Refuses those with too
    /// many.
    fn fitting(&self, lists: &Lists, sizes: &Sizes<'_>, outcomes: &mut Outcomes) -> usize {
        let records = sizes.before.records.values();
        let (mut num_rows, mut num_bytes, mut row) = (0, 0, 0);
        while row < records.len() {
            let record = records[row];
            let end = row + records[row..].partition_point(|other| *other == record);
            let (mut own_rows, mut own_bytes) = (0_usize, 0_usize);
            for row in (row..end).filter(|row| outcomes.passing()[*row]) {
                let list = lists.range(row).unwrap_or(0..0);
                let length = list.len().max(1);
                own_rows += length;
                let repeated = length.saturating_mul(sizes.of_row(row));
                own_bytes = own_bytes.saturating_add(repeated).saturating_add(sizes.of_list(list));
            }
            let limits =
                [(own_rows, MAX_ROWS_OF_RECORD, "rows"), (own_bytes, MAX_BYTES_OF_RECORD, "bytes")];
            if let Some((found, most, unit)) = limits.into_iter().find(|(n, most, _)| n > most) {
                outcomes.refuse(row, || Fault {
                    stage: Stage::Transform,
                    reason: "grows_too_much".into(),
                    detail: format!("{} makes {found} {unit} of it; at most {most}", self.text),
                });
                (own_rows, own_bytes) = (end - row, 0);
            }
            num_rows += own_rows;
            num_bytes += own_bytes;
            if row > 0 && (num_rows > MAX_ROWS || num_bytes > MAX_BYTES) {
                return record as usize;
            }
            row = end;
        }
        sizes.before.num_records
    }
}

/// What the rows of a record take.
struct Sizes<'a> {
    rows: &'a Rows<'a>,
    before: &'a Unnested,
    lists: &'a Lists,
    copies: &'a Copies,
}

impl Sizes<'_> {
    /// The bytes of what a row of before hands on to each of its elements.
    fn of_row(&self, row: usize) -> usize {
        let record = self.before.records.value(row) as usize;
        let bytes = self.copies.0.iter().map(|(source, copies)| match *source {
            ColumnSource::Input(column) => {
                copies * bytes_of(self.rows.batch.column(column), record..record + 1)
            }
            ColumnSource::Metadata(index) => {
                copies * bytes_of(&self.rows.metadata[index], record..record + 1)
            }
            ColumnSource::Element { unnest, column } => {
                let elements = self.before.elements.get(unnest).and_then(|all| all.get(column));
                copies * elements.map_or(0, |elements| bytes_of(elements, row..row + 1))
            }
            ColumnSource::Lookup { .. } | ColumnSource::Now => copies * size_of::<i64>(),
        });
        bytes.sum()
    }

    /// The bytes of the elements of a list.
    fn of_list(&self, list: Range<usize>) -> usize {
        let unnest = self.before.elements.len();
        let copies = |column| self.copies.of(ColumnSource::Element { unnest, column });
        match self.lists.values.as_struct_opt() {
            Some(members) => {
                let members = members.columns().iter().enumerate();
                members.map(|(column, m)| copies(column) * bytes_of(m, list.clone())).sum()
            }
            None => copies(0) * bytes_of(&self.lists.values, list),
        }
    }
}

/// About the bytes of some values.
fn bytes_of(column: &ArrayRef, range: Range<usize>) -> usize {
    fn length<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, range: Range<usize>) -> usize {
        (offsets[range.end] - offsets[range.start]).as_usize() + range.len() * size_of::<O>()
    }
    match column.data_type() {
        DataType::Utf8 => length(column.as_string::<i32>().offsets(), range),
        DataType::Binary => length(column.as_binary::<i32>().offsets(), range),
        DataType::Struct(_) => {
            column.as_struct().columns().iter().map(|m| bytes_of(m, range.clone())).sum()
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            range.len() * size_of::<i32>() + bytes_of(list.values(), items(list.offsets(), &range))
        }
        DataType::Map(..) => {
            let (map, entries) = (column.as_map(), column.as_map().entries());
            let items = items(map.offsets(), &range);
            let members = entries.columns().iter().map(|m| bytes_of(m, items.clone()));
            range.len() * size_of::<i32>() + members.sum::<usize>()
        }
        _ => range.len() * size_of::<i64>(),
    }
}

/// The items of some lists.
fn items(offsets: &OffsetBuffer<i32>, lists: &Range<usize>) -> Range<usize> {
    offsets[lists.start] as usize..offsets[lists.end] as usize
}

/// The values of a column of lists or maps.
struct Lists {
    column: ArrayRef,
    /// Of all rows.
    values: ArrayRef,
}

impl Lists {
    fn of(column: &ArrayRef) -> Result<Lists, ArrowError> {
        let values: ArrayRef = match column.data_type() {
            DataType::List(_) => column.as_list::<i32>().values().clone(),
            DataType::LargeList(_) => column.as_list::<i64>().values().clone(),
            DataType::Map(..) => Arc::new(column.as_map().entries().clone()),
            other => return Err(ArrowError::ComputeError(format!("{other} is not a list"))),
        };
        Ok(Lists { column: column.clone(), values })
    }

    /// The elements of a row; `None` if it is null.
    fn range(&self, row: usize) -> Option<Range<usize>> {
        if self.column.is_null(row) {
            return None;
        }
        let own = |range: &OffsetBuffer<i32>| range[row] as usize..range[row + 1] as usize;
        Some(match self.column.data_type() {
            DataType::LargeList(_) => {
                let offsets = self.column.as_list::<i64>().offsets();
                offsets[row] as usize..offsets[row + 1] as usize
            }
            DataType::Map(..) => own(self.column.as_map().offsets()),
            _ => own(self.column.as_list::<i32>().offsets()),
        })
    }
}
