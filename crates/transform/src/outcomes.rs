//! The state of each row of a batch while the plan is applied.

use weir_model::fault::{Fault, Stage};

/// Rows pass until something refuses them; the first refusal counts.
pub(crate) struct Outcomes {
    passing: Vec<bool>,
    faults: Vec<(u32, Fault)>,
}

impl Outcomes {
    /// All rows pass.
    pub(crate) fn new(num_rows: usize) -> Outcomes {
        Outcomes { passing: vec![true; num_rows], faults: Vec::new() }
    }

    /// Per row, whether nothing has refused it so far.
    pub(crate) fn passing(&self) -> &[bool] {
        &self.passing
    }

    pub(crate) fn num_refused(&self) -> usize {
        self.faults.len()
    }

    /// Refuses a row, unless it was refused before.
    pub(crate) fn refuse(&mut self, row: usize, fault: impl FnOnce() -> Fault) {
        if std::mem::replace(&mut self.passing[row], false) {
            self.faults.push((row as u32, fault()));
        }
    }

    /// Refuses the rows on which an expression failed. `input_row` maps an evaluated row to its
    /// row of the input.
    pub(crate) fn refuse_failed(
        &mut self,
        failed: Vec<(usize, String)>,
        input_row: impl Fn(usize) -> usize,
        expression: &str,
    ) {
        for (row, error) in failed {
            self.refuse(input_row(row), || Fault {
                stage: Stage::Transform,
                reason: "expression_failed".into(),
                detail: format!("{expression}: {error}"),
            });
        }
    }

    /// The faults, ascending by row.
    pub(crate) fn into_faults(mut self) -> Vec<(u32, Fault)> {
        self.faults.sort_unstable_by_key(|(row, _)| *row);
        self.faults
    }
}
