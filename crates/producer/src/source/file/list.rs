//! The list of files.

use crate::source::Error;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The files that match, in the order of their names, each with its name in positions: its path
/// below the part of the pattern that has no wildcard, so that a folder can be moved.
pub(super) struct List {
    files: Vec<(String, PathBuf)>,
}

impl List {
    pub(super) fn find(pattern: &str) -> Result<List, Error> {
        let (base, pattern) = split(pattern);
        let pattern = pattern.as_str();
        let paths = glob::glob(pattern)
            .map_err(|e| Error::Unfit(format!("`{pattern}` is not a pattern: {e}")))?;
        let mut files = Vec::new();
        for path in paths {
            let path = path.map_err(|e| Error::Unavailable {
                doing: format!("looking for {pattern}"),
                reason: e.to_string(),
            })?;
            if path.is_file() {
                let name = path.strip_prefix(&base).unwrap_or(&path).to_string_lossy().into_owned();
                files.push((name, path));
            }
        }
        files.sort();
        Ok(List { files })
    }

    pub(super) fn get(&self, index: usize) -> Option<(&str, &Path)> {
        self.files.get(index).map(|(name, path)| (name.as_str(), path.as_path()))
    }

    /// The file of a position and the position in it.
    pub(super) fn locate(&self, position: &Value) -> Result<(usize, Value), Error> {
        let (Some(name), Some(index)) = (position["file"].as_str(), position["index"].as_u64())
        else {
            return Err(Error::Lost(format!(
                "position {position} is not one of a file source; was the pipeline's source \
                 replaced?"
            )));
        };
        match self.get(index as usize) {
            Some((found, _)) if found == name => Ok((index as usize, position["at"].clone())),
            found => Err(Error::Lost(format!(
                "file {name} was number {} when it was read, now {}; files may only be added \
                 behind those that were read: give a new one a name that sorts behind them, put a \
                 missing one back",
                index + 1,
                found.map_or_else(
                    || "there are fewer".into(),
                    |(found, _)| format!("that is {found}")
                )
            ))),
        }
    }
}

/// The folder before the first wildcard, and the whole as a pattern. Characters that have a meaning
/// in patterns are ordinary ones in a folder or file that has exactly this name.
fn split(path: &str) -> (PathBuf, String) {
    const WILDCARDS: [char; 3] = ['*', '?', '['];
    let (mut base, mut exact, mut pattern) = (PathBuf::new(), PathBuf::new(), PathBuf::new());
    let mut plain = true;
    let mut components = Path::new(path).components().peekable();
    while let Some(component) = components.next() {
        let name = component.as_os_str().to_string_lossy();
        exact.push(component);
        let special = name.contains(WILDCARDS);
        plain &= !special || exact.exists();
        match plain && special {
            true => pattern.push(glob::Pattern::escape(&name)),
            false => pattern.push(component),
        }
        if plain && components.peek().is_some() {
            base.push(component);
        }
    }
    (base, pattern.to_string_lossy().into_owned())
}
