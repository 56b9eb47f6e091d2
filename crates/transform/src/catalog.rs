//! The tables and functions that the SQL of a pipeline can name.

use crate::functions;
use crate::lookup::Table;
use crate::metadata::Used;
use crate::time_zone::AtTimeZone;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, exec_err, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{
    AggregateUDF, ColumnarValue, HigherOrderUDF, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, TableSource, Volatility, WindowUDF,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The name of the table of input records.
pub(crate) const INPUT: &str = "input";

/// The type of `now()`.
pub(crate) fn now_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

/// Tables and functions by name.
pub(crate) struct Catalog {
    tables: BTreeMap<String, Arc<dyn TableSource>>,
    functions: HashMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    /// What the SQL uses of a record beside its value.
    pub(crate) metadata: Used,
    options: ConfigOptions,
}

impl Catalog {
    /// `input` and the lookup tables, and the functions of SQL.
    pub(crate) fn new(input: &SchemaRef, lookups: &[Arc<Table>]) -> Catalog {
        let mut tables: BTreeMap<String, Arc<dyn TableSource>> = BTreeMap::new();
        for table in lookups {
            tables.insert(table.name().into(), Arc::new(TableColumns(table.schema())));
        }
        tables.insert(INPUT.into(), Arc::new(TableColumns(input.clone())));
        Catalog {
            tables,
            functions: callable(),
            planners: functions::planners(),
            metadata: Used::default(),
            options: ConfigOptions::default(),
        }
    }

    /// Adds a table; false if there is one of this name.
    pub(crate) fn add_table(&mut self, name: &str, schema: SchemaRef) -> bool {
        let table = Arc::new(TableColumns(schema));
        !self.tables.contains_key(name) && self.tables.insert(name.into(), table).is_none()
    }

    /// Names of all tables.
    pub(crate) fn table_names(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }
}

fn callable() -> HashMap<String, Arc<ScalarUDF>> {
    let mut functions = functions::all();
    let now = Arc::new(ScalarUDF::from(Now::default()));
    let at_time_zone = Arc::new(ScalarUDF::from(AtTimeZone::default()));
    functions.insert("current_timestamp".into(), now.clone());
    functions.insert(now.name().into(), now);
    functions.insert(at_time_zone.name().into(), at_time_zone);
    functions
}

impl ContextProvider for Catalog {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match self.tables.get(name.table()) {
            Some(table) if name.schema().is_none() => Ok(table.clone()),
            _ => plan_err!(
                "no table `{name}`{}",
                crate::messages::did_you_mean(name.table(), self.table_names())
            ),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.get(name).cloned().or_else(|| self.metadata.function(name))
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _name: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A table of which only the columns matter, since plans are never executed by DataFusion.
#[derive(Debug)]
struct TableColumns(SchemaRef);

impl TableSource for TableColumns {
    fn schema(&self) -> SchemaRef {
        self.0.clone()
    }
}

/// `now()`: one value per batch, given by the caller. DataFusion's own `now()` is constant from
/// planning on.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Now {
    signature: Signature,
}

impl Default for Now {
    fn default() -> Now {
        Now { signature: Signature::nullary(Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        "now"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(now_type())
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // Calls are replaced by a column when the plan is compiled (see `scope`).
        exec_err!("now() was not bound to the batch")
    }
}
