//! `${NAME}`, `${NAME:-default}` and `${file:/path}` inside the texts of a pipeline file; `$${`
//! means `${`. A default may contain further references.

use std::path::Path;

/// Where the values come from.
pub(super) struct Surroundings<'a> {
    /// The folder of the pipeline file: relative paths start here.
    pub(super) folder: &'a Path,
    /// Environment variables.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
}

/// The text with every reference replaced, or what is wrong with it. Neither the result nor a part
/// of it appears in the messages.
pub(super) fn expand(text: &str, around: &Surroundings<'_>) -> Result<String, Vec<String>> {
    let (mut out, mut wrong, mut rest) = (String::new(), Vec::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &reference[2..];
            continue;
        }
        out.push_str(before);
        let Some(end) = closing(reference) else {
            wrong.push("`${` without its `}`; write `$${` for the characters themselves".into());
            return Err(wrong);
        };
        match look_up(&reference[2..end], around) {
            Ok(value) => out.push_str(&value),
            Err(what) => wrong.extend(what),
        }
        rest = &reference[end + 1..];
    }
    out.push_str(rest);
    if wrong.is_empty() { Ok(out) } else { Err(wrong) }
}

/// Where the `}` is that belongs to the `${` at the beginning.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' if text[..at].ends_with('$') => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn look_up(reference: &str, around: &Surroundings<'_>) -> Result<String, Vec<String>> {
    if let Some(path) = reference.strip_prefix("file:") {
        return read(path, around.folder).map_err(|what| vec![what]);
    }
    let (name, default) =
        reference.split_once(":-").map_or((reference, None), |(n, d)| (n, Some(d)));
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(legal)
    {
        return Err(vec![
            "`${…}` takes NAME, NAME:-default or file:/path, where NAME is made of \
            letters, digits and underscores"
                .into(),
        ]);
    }
    let given = (around.env)(name);
    match (given, default) {
        // as in a shell, `:-` also replaces an empty variable
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => expand(default, around),
        (Some(value), None) => Ok(value),
        (None, None) => Err(vec![format!("environment variable `{name}` is not set")]),
    }
}

fn read(path: &str, folder: &Path) -> Result<String, String> {
    if path.is_empty() {
        return Err("`${file:…}` needs a path".into());
    }
    let text = std::fs::read_to_string(folder.join(path))
        .map_err(|e| format!("cannot read `{path}`: {}", reason(&e)))?;
    // editors and `echo` end a file with a line break that is not part of the secret
    Ok(text
        .strip_suffix('\n')
        .map(|t| t.strip_suffix('\r').unwrap_or(t))
        .unwrap_or(&text)
        .to_owned())
}

/// An IO error in a few words.
pub(super) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        std::io::ErrorKind::PermissionDenied => "no permission to read it".into(),
        std::io::ErrorKind::IsADirectory => "it is a folder".into(),
        std::io::ErrorKind::InvalidData => "it is not UTF-8 text".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, Vec<String>> {
        let env = |name: &str| match name {
            "HOST" => Some("db.example".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        expand(text, &Surroundings { folder: Path::new("/nonexistent"), env: &env })
    }

    #[test]
    fn variables_and_defaults_are_replaced() {
        assert_eq!(
            run("a ${HOST} b ${HOST:-x} c ${GONE:-d:-e} ${EMPTY:-f}${EMPTY}"),
            Ok("a db.example b db.example c d:-e f".into())
        );
        assert_eq!(run("${GONE:-${EMPTY:-${HOST}/x}/y}/z"), Ok("db.example/x/y/z".into()));
        assert_eq!(
            run("price in $ and $${HOST} and ^x$"),
            Ok("price in $ and ${HOST} and ^x$".into())
        );
    }

    #[test]
    fn every_missing_reference_is_named() {
        let wrong = run("${GONE} ${file:secret.txt} ${1X}").unwrap_err();
        assert_eq!(wrong.len(), 3);
        assert!(wrong[0].contains("`GONE`") && wrong[1].contains("`secret.txt`"), "{wrong:?}");
        assert!(
            run("${HOST").is_err()
                && run("${A:-${HOST}").is_err()
                && run("${A:-${GONE}}").is_err()
                && run("${}").is_err()
                && run("${file:}").is_err()
        );
    }

    #[test]
    fn a_secret_file_loses_its_last_line_break_only() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pw"), "a b\n\n").unwrap();
        let around = Surroundings { folder: folder.path(), env: &|_| None };
        assert_eq!(expand("${file:pw}", &around), Ok("a b\n".into()));
    }
}
