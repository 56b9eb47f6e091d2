//! Configuration mistakes: found all at once, each with file, line, key and remedy.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong with a pipeline file or with what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// 1-based line of the pipeline file; `None` when the mistake has no line (a key that is absent altogether).
    pub line: Option<usize>,
    /// The key, as in `reject[1].when`.
    pub key: String,
    /// What is wrong, one sentence without a full stop; may hold a "did you mean".
    pub what: String,
    /// What to do: text to paste, or a command.
    pub hint: Option<String>,
}

impl Mistake {
    /// A mistake at `key` without line and hint.
    pub fn new(key: impl Into<String>, what: impl Into<String>) -> Mistake {
        Mistake { line: None, key: key.into(), what: what.into(), hint: None }
    }

    /// The same with a remedy.
    pub fn hint(mut self, hint: impl Into<String>) -> Mistake {
        self.hint = Some(hint.into());
        self
    }

    /// The same with a line.
    pub fn line(mut self, line: Option<usize>) -> Mistake {
        self.line = line;
        self
    }
}

/// All mistakes of one pipeline file, in the order of its lines. Its `Display` is what people see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    /// The pipeline file as the user named it.
    pub file: PathBuf,
    /// At least one.
    pub list: Vec<Mistake>,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.list.len() == 1 { "mistake" } else { "mistakes" };
        writeln!(f, "{}: {} {plural}\n", self.file.display(), self.list.len())?;
        let place = |m: &Mistake| m.line.map(|l| format!("line {l}")).unwrap_or_default();
        let places = self.list.iter().map(|m| place(m).len()).max().unwrap_or(0);
        let keys = self.list.iter().map(|m| m.key.chars().count()).max().unwrap_or(0);
        for mistake in &self.list {
            writeln!(f, "  {:places$}  {:keys$}  {}", place(mistake), mistake.key, mistake.what)?;
            for line in mistake.hint.iter().flat_map(|h| h.lines()) {
                writeln!(f, "  {:places$}  hint: {line}", "")?;
            }
        }
        Ok(())
    }
}
