//! The state of each row of a batch while the plan is applied.

use arrow::array::UInt32Array;
use weir_model::fault::{Fault, Stage};

/// Rows pass until something refuses them; the first refusal counts. A record is refused with all
/// of its rows.
pub(crate) struct Outcomes {
    passing: Vec<bool>,
    /// For each row its record, ascending; `None`: each record is one row.
    records: Option<Vec<u32>>,
    /// By record.
    faults: Vec<(u32, Fault)>,
}

impl Outcomes {
    /// All rows pass.
    pub(crate) fn new(num_rows: usize) -> Outcomes {
        Outcomes { passing: vec![true; num_rows], records: None, faults: Vec::new() }
    }

    /// The rows become those of `origins`, each made of one of before; `records` has the record of
    /// each row of before.
    pub(crate) fn unnest(&mut self, origins: &UInt32Array, records: &UInt32Array) {
        let origins = origins.values().iter().map(|origin| *origin as usize);
        self.records = Some(origins.clone().map(|origin| records.value(origin)).collect());
        self.passing = origins.map(|origin| self.passing[origin]).collect();
    }

    /// Per row, whether nothing has refused it so far.
    pub(crate) fn passing(&self) -> &[bool] {
        &self.passing
    }

    pub(crate) fn num_refused(&self) -> usize {
        self.faults.len()
    }

    /// Refuses the record of a row, unless it was refused before.
    pub(crate) fn refuse(&mut self, row: usize, fault: impl FnOnce() -> Fault) {
        if !self.passing[row] {
            return;
        }
        let Some(records) = &self.records else {
            self.passing[row] = false;
            self.faults.push((row as u32, fault()));
            return;
        };
        let record = records[row];
        let first = records[..row].partition_point(|other| *other < record);
        let rows = first..row + records[row..].partition_point(|other| *other == record);
        self.passing[rows].fill(false);
        self.faults.push((record, fault()));
    }

    /// Refuses the rows on which an expression failed. `row_of` maps an evaluated row to its row
    /// here.
    pub(crate) fn refuse_failed(
        &mut self,
        failed: Vec<(usize, String)>,
        row_of: impl Fn(usize) -> usize,
        expression: &str,
    ) {
        for (row, error) in failed {
            self.refuse(row_of(row), || Fault {
                stage: Stage::Transform,
                reason: "expression_failed".into(),
                detail: format!("{expression}: {error}"),
            });
        }
    }

    /// The faults of the first `num_records`, ascending.
    pub(crate) fn into_faults(mut self, num_records: usize) -> Vec<(u32, Fault)> {
        self.faults.retain(|(record, _)| (*record as usize) < num_records);
        self.faults.sort_unstable_by_key(|(record, _)| *record);
        self.faults
    }
}
