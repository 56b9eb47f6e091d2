//! Follows the README's walk-through: writes its files, runs its commands, and checks its figures.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use weir_testkit::topics::Record;
use weir_testkit::{Database, Stack, Topics, cache, random_name};

const SECTION: &str = "## A pipeline of your own in five minutes";
const TOPIC_SECTION: &str = "## A topic that another program writes";

/// A fenced block of the section: its language, the file that the text before it names, and its
/// lines.
struct Block {
    language: String,
    file: Option<PathBuf>,
    text: String,
}

fn blocks(section: &str) -> Result<Vec<Block>> {
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md"))?;
    let section = readme.split_once(section).context("the README has the section")?.1;
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
    for block in blocks(SECTION)? {
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

/// What the other program writes, and what the table is to hold.
const ORDER: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "id", "type": "long"},
    {"name": "customer", "type": {"type": "record", "name": "Customer", "fields": [
        {"name": "name", "type": "string"}]}},
    {"name": "amount", "type": "double"},
    {"name": "deleted", "type": "boolean", "default": false}]}"#;
const ORDER_CLEAN: &str = r#"{"type": "record", "name": "OrderClean", "fields": [
    {"name": "id", "type": "long"},
    {"name": "customer", "type": "string"},
    {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
    {"name": "deleted", "type": "boolean"}]}"#;

#[test]
fn the_pipeline_over_a_topic_works_as_written() -> Result<()> {
    let stack = Stack::shared();
    let folder = tempfile::tempdir()?;
    let name = random_name("orders");
    let block = blocks(TOPIC_SECTION)?.into_iter().find(|block| block.language == "toml");
    // Only the names are others, because the stack is shared.
    let text = block.context("the section has a pipeline")?.text;
    let text = text.replace("name = \"orders\"", &format!("name = \"{name}\""));
    let text = text.replace("\"shop.orders\"\nformat", &format!("\"{name}\"\nformat"));
    let text = text.replace("orders-clean", &format!("{name}-clean"));
    let file = folder.path().join("orders.toml");
    std::fs::write(&file, text)?;
    std::fs::write(folder.path().join("order.avsc"), ORDER)?;
    std::fs::write(folder.path().join("order_clean.avsc"), ORDER_CLEAN)?;
    let topics = Topics::new(stack.kafka());
    topics.create(&name, 3)?;
    let record = |(key, json): (&str, &str)| Record {
        key: Some(key.into()),
        value: Some(json.into()),
        ..Record::default()
    };
    let written = [
        ("1", r#"{"id": 1, "customer": {"name": "Ada"}, "amount": 10.0}"#),
        ("2", r#"{"id": 2, "customer": {"name": "Bo"}, "amount": 2.5, "more": [1]}"#),
        ("1", r#"{"id": 1, "customer": {"name": "Ada"}, "amount": 12.25}"#),
        ("2", r#"{"id": 2, "customer": {"name": "Bo"}, "amount": 2.5, "deleted": true}"#),
        ("3", r#"{"id": 3, "customer": {"name": "Cy"}, "amount": -1}"#),
    ];
    topics.write(&name, &written.map(record))?;
    let url = stack.create_database("readme")?;
    for (command, options) in
        [("check", &[][..]), ("run", &["--until-done"]), ("audit", &["--deep", "--content"])]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_weir"))
            .arg(command)
            .arg(&file)
            .args(options)
            .envs(stack.env())
            .env("WEIR_POSTGRES", &url)
            .output()?;
        let text = [output.stdout, output.stderr].concat();
        ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&text));
    }
    let database = Database::connect(&url)?;
    let rows = database.texts("SELECT concat_ws(' ', id, customer, amount) FROM shop.orders")?;
    assert_eq!(rows, [[Some("1 Ada 12.25".to_owned())]]);
    Ok(())
}
