//! Follows the README's walk-through: writes its files, runs its commands, and checks its figures.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use weir_testkit::{Stack, cache};

const SECTION: &str = "## A pipeline of your own in five minutes";

/// A fenced block of the section: its language, the file that the text before it names, and its
/// lines.
struct Block {
    language: String,
    file: Option<PathBuf>,
    text: String,
}

fn blocks() -> Result<Vec<Block>> {
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md"))?;
    let section = readme.split_once(SECTION).context("the README has the section")?.1;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut blocks = Vec::new();
    let mut said = String::new();
    let mut lines = section.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            said = if line.is_empty() { said } else { line.to_owned() };
            continue;
        };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let named =
            said.split('`').skip(1).step_by(2).find(|word| word.starts_with("birdstrikes/"));
        blocks.push(Block {
            language: language.into(),
            file: named.map(PathBuf::from),
            text: text.join("\n") + "\n",
        });
        said.clear();
    }
    Ok(blocks)
}

#[test]
fn the_walk_through_of_the_readme_works_as_written() -> Result<()> {
    let stack = Stack::shared();
    let folder = tempfile::tempdir()?;
    let mut commands = String::from("set -eu\n");
    for block in blocks()? {
        match block.file {
            Some(file) => {
                let path = folder.path().join(file);
                std::fs::create_dir_all(path.parent().context("in a folder")?)?;
                std::fs::write(path, block.text)?;
            }
            None if block.language == "sh" => commands.push_str(&block.text),
            None => {}
        }
    }
    let binaries = Path::new(env!("CARGO_BIN_EXE_weir")).parent().context("weir is in a folder")?;
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH")?);
    let output = Command::new("bash")
        .args(["-c", &commands])
        .current_dir(folder.path())
        .envs(stack.env())
        .env("WEIR_DATA", cache::data()?)
        .env("PATH", path)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for claim in
        ["everything is accounted for", "birdstrikes.strikes (9,985 rows)", "unknown_damage 15"]
    {
        ensure!(text.contains(claim), "`{claim}` is not in\n{text}");
    }
    Ok(())
}
