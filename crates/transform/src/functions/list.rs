//! Arrays, as in PostgreSQL: elements are counted from 1, and what an array does not have is NULL.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::cmp;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion_common::utils::take_function_args;
use datafusion_common::{DFSchema, Result, exec_err, plan_err};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion_expr::type_coercion::binary::comparison_coercion;
use datafusion_expr::{
    ColumnarValue, Expr, ExprSchemable, GetFieldAccess, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// What a function does with an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// `list[index]`.
    Element,
    /// `list[from:to]`.
    Slice,
    /// `array_length(list, 1)`.
    Length,
    /// `array_position(list, value)`, and from which element on.
    Position,
    /// `value op ANY(list)`.
    Any(Operator),
    /// `value op ALL(list)`.
    All(Operator),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct List {
    kind: Kind,
    name: String,
    signature: Signature,
}

/// The comparisons, and their names as parts of function names.
const COMPARISONS: [(&str, Operator); 6] = [
    ("=", Operator::Eq),
    ("<>", Operator::NotEq),
    ("<", Operator::Lt),
    ("<=", Operator::LtEq),
    (">", Operator::Gt),
    (">=", Operator::GtEq),
];

/// The functions that can be called by name.
pub(super) fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    [(Kind::Length, "array_length"), (Kind::Position, "array_position")]
        .into_iter()
        .map(|(kind, name)| function(kind, name.into()))
}

/// The functions that stand for `ANY` and `ALL`, named by [`quantified`].
pub(super) fn comparisons() -> impl Iterator<Item = Arc<ScalarUDF>> {
    COMPARISONS.into_iter().flat_map(|(sign, op)| {
        [function(Kind::Any(op), name(sign, false)), function(Kind::All(op), name(sign, true))]
    })
}

/// The name of the function for `value sign ANY(list)`, or ALL; `None` for other operators.
pub(crate) fn quantified(sign: &str, all: bool) -> Option<String> {
    let is_known = COMPARISONS.iter().any(|(known, _)| *known == sign);
    is_known.then(|| name(sign, all))
}

fn name(sign: &str, all: bool) -> String {
    format!("{sign} {}", if all { "all" } else { "any" })
}

fn function(kind: Kind, name: String) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(List { kind, name, signature }))
}

/// Plans `record['member']`, `map['key']`, `list[index]` and `list[from:to]`.
#[derive(Debug)]
pub(crate) struct Access;

impl ExprPlanner for Access {
    fn plan_field_access(
        &self,
        RawFieldAccessExpr { field_access, expr }: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let is_map = matches!(expr.get_type(schema)?, DataType::Map(..));
        let get = |key: Expr| datafusion_functions::core::get_field().call(vec![expr.clone(), key]);
        Ok(PlannerResult::Planned(match field_access {
            GetFieldAccess::NamedStructField { name } => get(datafusion_expr::lit(name)),
            GetFieldAccess::ListIndex { key } if is_map => get(*key),
            GetFieldAccess::ListIndex { key } => {
                function(Kind::Element, "element".into()).call(vec![expr, *key])
            }
            GetFieldAccess::ListRange { start, stop, stride } => {
                if *stride != datafusion_expr::lit(1i64) {
                    return plan_err!("a slice of an array has no stride");
                }
                function(Kind::Slice, "slice".into()).call(vec![expr, *start, *stop])
            }
        }))
    }
}

impl ScalarUDFImpl for List {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |found: &DataType| found.is_integer() || *found == DataType::Null;
        match (self.kind, types) {
            (Kind::Any(op) | Kind::All(op), [value, DataType::List(item)]) => {
                match comparison_coercion(value, item.data_type()) {
                    Some(common) => Ok(vec![common.clone(), DataType::new_list(common, true)]),
                    None => {
                        plan_err!("{value} and {} cannot be compared by {op}", item.data_type())
                    }
                }
            }
            (Kind::Any(_), _) => plan_err!("ANY needs an array"),
            (Kind::All(_), _) => plan_err!("ALL needs an array"),
            (Kind::Length, [list @ DataType::List(_), dimension]) if is_number(dimension) => {
                Ok(vec![list.clone(), DataType::Int64])
            }
            (Kind::Position, [DataType::List(item), value, from @ ..])
                if from.len() < 2 && from.iter().all(is_number) =>
            {
                match comparison_coercion(value, item.data_type()) {
                    Some(common) => {
                        let list = DataType::new_list(common.clone(), true);
                        Ok([vec![list, common], vec![DataType::Int64; from.len()]].concat())
                    }
                    None => plan_err!("an array of {} has no {value}", item.data_type()),
                }
            }
            (Kind::Position, _) => plan_err!("array_position takes an array and a value"),
            (Kind::Length, _) => plan_err!(
                "array_length takes an array and the dimension 1; cardinality takes an array only"
            ),
            (_, [list @ DataType::List(_), indexes @ ..]) if indexes.iter().all(is_number) => {
                Ok([vec![list.clone()], vec![DataType::Int64; indexes.len()]].concat())
            }
            (_, [DataType::List(_), ..]) => plan_err!("the index of an array must be an integer"),
            _ => plan_err!(
                "[…] takes an element of an array, or with a text in quotes a member of a record \
                 or the value of a map"
            ),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match (self.kind, types.first()) {
            (Kind::Element, Some(DataType::List(item))) => item.data_type().clone(),
            (Kind::Slice, Some(list)) => list.clone(),
            (Kind::Length | Kind::Position, _) => DataType::Int32,
            _ => DataType::Boolean,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        Ok(ColumnarValue::Array(match self.kind {
            Kind::Element => {
                let [list, index] = take_function_args(&self.name, arrays)?;
                element(list.as_list(), &index)?
            }
            Kind::Slice => {
                let [list, from, to] = take_function_args(&self.name, arrays)?;
                slice(list.as_list(), &from, &to)?
            }
            Kind::Length => {
                let [list, dimension] = take_function_args(&self.name, arrays)?;
                length(list.as_list(), &dimension)?
            }
            Kind::Position => match arrays.as_slice() {
                [list, value] => position(list.as_list(), value, None)?,
                [list, value, from] => position(list.as_list(), value, Some(from))?,
                _ => return exec_err!("array_position takes an array and a value"),
            },
            Kind::Any(op) | Kind::All(op) => {
                let [value, list] = take_function_args(&self.name, arrays)?;
                compare(&value, op, list.as_list(), matches!(self.kind, Kind::All(_)))?
            }
        }))
    }
}

/// The number in a row; `None` for null.
fn number(numbers: &ArrayRef, row: usize) -> Option<i64> {
    numbers.is_valid(row).then(|| numbers.as_primitive::<Int64Type>().value(row))
}

fn element(list: &ListArray, index: &ArrayRef) -> Result<ArrayRef> {
    let positions = (0..list.len()).map(|row| {
        let index = number(index, row).filter(|_| list.is_valid(row))?;
        let index = usize::try_from(index).ok()?.checked_sub(1)?;
        let start = list.value_offsets()[row] as usize;
        (index < list.value_length(row) as usize).then_some((start + index) as u64)
    });
    Ok(take(list.values(), &positions.collect::<UInt64Array>(), None)?)
}

fn slice(list: &ListArray, from: &ArrayRef, to: &ArrayRef) -> Result<ArrayRef> {
    let (mut positions, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..list.len() {
        let bounds = number(from, row).zip(number(to, row)).filter(|_| list.is_valid(row));
        let num_before = positions.len();
        if let Some((from, to)) = bounds {
            let start = list.value_offsets()[row] as i64;
            let to = to.min(i64::from(list.value_length(row)));
            positions.extend((from.max(1)..=to).map(|index| (start + index - 1) as u64));
        }
        valid.push(bounds.is_some());
        lengths.push(positions.len() - num_before);
    }
    let DataType::List(item) = list.data_type() else { return exec_err!("a slice of no array") };
    let items = take(list.values(), &UInt64Array::from(positions), None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let item: Arc<Field> = item.clone();
    Ok(Arc::new(ListArray::try_new(item, offsets, items, Some(valid.into()))?))
}

/// An empty array has no dimensions, so it has no length either.
fn length(list: &ListArray, dimension: &ArrayRef) -> Result<ArrayRef> {
    let lengths = (0..list.len()).map(|row| match number(dimension, row) {
        Some(1) if list.is_valid(row) => Some(list.value_length(row)).filter(|length| *length > 0),
        _ => None,
    });
    Ok(Arc::new(lengths.collect::<Int32Array>()))
}

/// The first element that is equal to the value; NULL is equal to NULL.
fn position(list: &ListArray, value: &ArrayRef, from: Option<&ArrayRef>) -> Result<ArrayRef> {
    let Elements { rows, values, items } = Elements::of(list, value)?;
    let equal = cmp::not_distinct(&values, &items)?;
    let mut found = vec![None; list.len()];
    for (row, equal) in rows.into_iter().zip(equal.values()) {
        let row = row as usize;
        let (index, place) = found[row].unwrap_or((0, None));
        let is_after =
            from.is_none_or(|from| number(from, row).is_some_and(|from| index + 1 >= from));
        found[row] = Some((index + 1, place.or((equal && is_after).then_some(index as i32 + 1))));
    }
    let places = found.into_iter().map(|found: Option<(i64, Option<i32>)>| found?.1);
    Ok(Arc::new(places.collect::<Int32Array>()))
}

/// The elements of all arrays, each with the value that it is compared with.
struct Elements {
    /// The row of each element.
    rows: Vec<u64>,
    values: ArrayRef,
    items: ArrayRef,
}

impl Elements {
    fn of(list: &ListArray, value: &ArrayRef) -> Result<Elements> {
        let mut rows = Vec::with_capacity(list.values().len());
        let mut positions = Vec::with_capacity(list.values().len());
        for row in (0..list.len()).filter(|row| list.is_valid(*row)) {
            let offsets = &list.value_offsets()[row..row + 2];
            positions.extend(offsets[0] as u64..offsets[1] as u64);
            rows.resize(positions.len(), row as u64);
        }
        let values = take(value, &UInt64Array::from(rows.clone()), None)?;
        let items = take(list.values(), &UInt64Array::from(positions), None)?;
        Ok(Elements { rows, values, items })
    }
}

/// Compares with every element. NULL when that is what decides: `1 = ANY([2, NULL])`.
fn compare(value: &ArrayRef, op: Operator, list: &ListArray, all: bool) -> Result<ArrayRef> {
    let Elements { rows, values: left, items: right } = Elements::of(list, value)?;
    let results = match op {
        Operator::Eq => cmp::eq(&left, &right)?,
        Operator::NotEq => cmp::neq(&left, &right)?,
        Operator::Lt => cmp::lt(&left, &right)?,
        Operator::LtEq => cmp::lt_eq(&left, &right)?,
        Operator::Gt => cmp::gt(&left, &right)?,
        Operator::GtEq => cmp::gt_eq(&left, &right)?,
        _ => return exec_err!("{op} does not compare"),
    };
    // The result that decides is the one that one element is enough for.
    let mut verdicts: Vec<Option<bool>> =
        (0..list.len()).map(|row| list.is_valid(row).then_some(all)).collect();
    for (row, result) in rows.into_iter().zip(results.iter()) {
        let verdict = &mut verdicts[row as usize];
        *verdict = match (*verdict, result) {
            (Some(decided), _) if decided != all => Some(decided),
            (_, Some(result)) if result != all => Some(result),
            (_, None) => None,
            (undecided, _) => undecided,
        };
    }
    Ok(Arc::new(BooleanArray::from(verdicts)))
}
