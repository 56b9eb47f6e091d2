//! A lookup join, ready to run.

use crate::lookup::{Index, Table};
use crate::view::View;
use datafusion_physical_expr::PhysicalExpr;
use std::sync::Arc;

/// A join of the input with a lookup table, by equality on the table's whole key.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) table: Arc<Table>,
    /// From keys to rows of the table.
    pub(crate) index: Index,
    /// The columns that the keys are computed from.
    pub(crate) view: View,
    /// The record's side of the key.
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Whether records without a match are filtered.
    pub(crate) is_inner: bool,
}
