//! Configuration mistakes: found all at once, each with file, line, key and remedy.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong with a pipeline file or with what it names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mistake {
    /// 1-based line of the pipeline file; `None` when the mistake has no line (a section that is
    /// absent altogether).
    pub line: Option<usize>,
    /// The key, as in `reject[1].when`; elements of a list of tables count from 0.
    pub key: String,
    /// What is wrong, one sentence without a full stop; may contain a "did you mean". Names are in
    /// back quotes; the first one is what
    /// [`Pipeline::mistakes`](crate::pipeline::Pipeline::mistakes) underlines when the value is
    /// SQL.
    pub what: String,
    /// The line of the file that is wrong, when the value is SQL.
    pub excerpt: Option<Excerpt>,
    /// What to do: text to paste, or a command.
    pub hint: Option<String>,
}

/// One line of the pipeline file and the part of it to underline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, without indentation.
    pub text: String,
    /// First underlined character.
    pub from: usize,
    /// How many characters are underlined.
    pub len: usize,
}

impl Mistake {
    /// A mistake at `key` without line and hint.
    pub fn new(key: impl Into<String>, what: impl Into<String>) -> Mistake {
        Mistake { key: key.into(), what: what.into(), ..Mistake::default() }
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

impl Mistakes {
    /// Sorts by line; mistakes without a line come last, otherwise the order stays.
    pub fn new(file: impl Into<PathBuf>, mut list: Vec<Mistake>) -> Mistakes {
        list.sort_by_key(|m| m.line.unwrap_or(usize::MAX));
        list.dedup();
        Mistakes { file: file.into(), list }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.list.len() == 1 { "mistake" } else { "mistakes" };
        writeln!(f, "{}: {} {plural}\n", self.file.display(), self.list.len())?;
        let line = |m: &Mistake| m.line.map(|l| format!("line {l}")).unwrap_or_default();
        let line_width = self.list.iter().map(|m| line(m).len()).max().unwrap_or(0);
        let keys = self.list.iter().map(|m| m.key.chars().count()).max().unwrap_or(0);
        for mistake in &self.list {
            writeln!(
                f,
                "  {:line_width$}  {:keys$}  {}",
                line(mistake),
                mistake.key,
                mistake.what
            )?;
            if let Some(e) = &mistake.excerpt {
                writeln!(f, "  {:line_width$}  │ {}", "", e.text)?;
                writeln!(
                    f,
                    "  {:line_width$}  │ {:from$}{}",
                    "",
                    "",
                    "^".repeat(e.len),
                    from = e.from
                )?;
            }
            for hint_line in mistake.hint.iter().flat_map(|h| h.lines()) {
                writeln!(f, "  {:line_width$}  hint: {hint_line}", "")?;
            }
        }
        Ok(())
    }
}

/// The candidate that was probably meant, if one is close enough to `word`. Case, blanks and
/// punctuation do not count.
pub fn similar<S: AsRef<str>>(word: &str, candidates: impl IntoIterator<Item = S>) -> Option<S> {
    let word = letters_and_digits(word);
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let distance = |c: &S| strsim::damerau_levenshtein(&word, &letters_and_digits(c.as_ref()));
    candidates
        .into_iter()
        .filter(|_| !word.is_empty())
        .map(|c| (distance(&c), c))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

fn letters_and_digits(text: &str) -> String {
    text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
}

/// The end of a sentence about an unknown name: "; did you mean `x`?" when a candidate is close
/// enough, otherwise nothing.
pub fn did_you_mean<S: AsRef<str>>(word: &str, candidates: impl IntoIterator<Item = S>) -> String {
    similar(word, candidates)
        .map(|c| format!("; did you mean `{}`?", c.as_ref()))
        .unwrap_or_default()
}
