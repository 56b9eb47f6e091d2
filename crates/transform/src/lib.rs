//! SQL over each Arrow batch: reject rules, lookup joins, expressions.
mod catalog;
mod compile;
mod error;
mod evaluate;
mod fates;
mod fit;
mod lookup;
mod plan;
mod query;
mod scope;
mod view;
mod words;

pub use error::Error;
pub use plan::{Plan, Transformed};
