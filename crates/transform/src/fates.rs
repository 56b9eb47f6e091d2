//! What has become of each row of a batch so far.

use weir_model::fault::{Fault, Stage};

/// Rows are alive until something refuses them; the first refusal stays.
pub(crate) struct Fates {
    alive: Vec<bool>,
    faults: Vec<(u32, Fault)>,
}

impl Fates {
    /// All rows alive.
    pub(crate) fn new(num_rows: usize) -> Fates {
        Fates { alive: vec![true; num_rows], faults: Vec::new() }
    }

    /// Per row, whether nothing refused it.
    pub(crate) fn alive(&self) -> &[bool] {
        &self.alive
    }

    /// Number of refused rows.
    pub(crate) fn refused(&self) -> usize {
        self.faults.len()
    }

    /// Refuses a row, unless something did already.
    pub(crate) fn refuse(&mut self, row: usize, fault: impl FnOnce() -> Fault) {
        if std::mem::replace(&mut self.alive[row], false) {
            self.faults.push((row as u32, fault()));
        }
    }

    /// Refuses the rows on which an expression failed; `rows` gives the row of the input for each
    /// row that was evaluated.
    pub(crate) fn fail(
        &mut self,
        failed: Vec<(usize, String)>,
        row: impl Fn(usize) -> usize,
        what: &str,
    ) {
        for (evaluated, why) in failed {
            self.refuse(row(evaluated), || Fault {
                stage: Stage::Transform,
                reason: "expression_failed".into(),
                detail: format!("{what}: {why}"),
            });
        }
    }

    /// The faults, ascending by row.
    pub(crate) fn into_faults(mut self) -> Vec<(u32, Fault)> {
        self.faults.sort_unstable_by_key(|(row, _)| *row);
        self.faults
    }
}
