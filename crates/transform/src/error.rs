use arrow::error::ArrowError;

/// Why a whole batch could not be transformed. The faults of single records are in
/// [`Transformed::faults`](crate::Transformed::faults) instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The batch has other columns than the plan was compiled for: the decoder and the plan were
    /// given different schemas.
    #[error(
        "the batch does not have the columns this plan was compiled for: expected {expected}, got \
         {got}"
    )]
    Schema {
        /// Columns and types of the input schema.
        expected: String,
        /// Columns and types of the batch.
        got: String,
    },
    /// Arrow refused to assemble columns: a bug in this crate.
    #[error("cannot assemble the transformed batch: {0}")]
    Arrow(#[from] ArrowError),
}
