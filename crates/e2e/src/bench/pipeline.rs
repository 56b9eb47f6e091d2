//! The pipelines that the benchmark runs: the telecom pipeline's schemas, rules and SQL under
//! random topic names.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// A pipeline file of its own topics, groups and table.
pub(crate) struct Bench {
    /// The written file.
    pub(crate) file: PathBuf,
    /// `name`.
    pub(crate) name: String,
    /// The input topic.
    pub(crate) input: String,
    /// The target, `schema.table`.
    pub(crate) table: String,
}

/// Writes `telecom.toml` again under other names, with the given source settings; `share` of the
/// records are invalid.
pub(crate) fn write(
    folder: &Path,
    tag: &str,
    records: u64,
    rate: u64,
    share: f64,
) -> Result<Bench> {
    let original = Path::new("deploy/pipelines/telecom.toml");
    let text = std::fs::read_to_string(original)
        .with_context(|| format!("{}: run from the repository's root", original.display()))?;
    let root = std::env::current_dir()?;
    let name = format!("bench-{tag}-{}", std::process::id());
    let (input, output, table) = (
        format!("{name}-in"),
        format!("{name}-out"),
        format!("telecom.{}", name.replace('-', "_")),
    );
    let mut out = String::new();
    let mut section = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line
                .trim_matches(|c| c == '[' || c == ']')
                .split(']')
                .next()
                .unwrap_or_default()
                .to_owned();
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        let changed = match (section.as_str(), key) {
            ("", "name") => Some(format!("name = \"{name}\"")),
            ("source", "rate") => Some(format!("rate = {rate}")),
            ("source", "records") => Some(format!("records = {records}")),
            ("source", "invalid_share") => Some(format!("invalid_share = {share:?}")),
            ("input", "topic") => Some(format!("topic = \"{input}\"")),
            ("output", "topic") => Some(format!("topic = \"{output}\"")),
            ("dead_letters", "topic") => Some(format!("topic = \"{input}.dead-letters\"")),
            ("sink", "table") => Some(format!("table = \"{table}\"")),
            _ => None,
        };
        out.push_str(&changed.unwrap_or_else(|| {
            line.replace("\"../../", &format!("\"{}/", root.display()))
                .replace("\"../", &format!("\"{}/deploy/", root.display()))
        }));
        out.push('\n');
    }
    let file = folder.join(format!("{name}.toml"));
    std::fs::write(&file, out)?;
    Ok(Bench { file, name, input, table })
}
