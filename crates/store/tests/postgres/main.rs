//! The store against a real PostgreSQL.

mod fit;
mod ground;
mod ledger;
mod write;
