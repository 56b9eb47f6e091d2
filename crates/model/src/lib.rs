//! What every crate of weir agrees on, without IO and without async: the pipeline file, the
//! protocol that decides who may write what, and the small values that accompany the records
//! (lineage, counters, positions, fault classes).

pub mod accepted_loss;
pub mod avro;
pub mod bisect;
pub mod breaker;
pub mod cast;
pub mod coordinates;
pub mod dead_letter;
pub mod expected_panic;
pub mod fault;
pub mod frame;
pub mod lineage;
pub mod mistake;
pub mod pipeline;
pub mod progress;
pub mod protocol;
pub mod record;
pub mod secret;
