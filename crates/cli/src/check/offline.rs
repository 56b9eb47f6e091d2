//! The checks that need no server: schemas, key, lookups, rules, SQL, and the columns of the
//! tables.

use super::{Report, State};
use std::path::Path;
use weir_codec::{KeyType, Schema, check_input};
use weir_model::mistake::{Mistake, did_you_mean};
use weir_model::pipeline::Pipeline;
use weir_sink::deletes::Deletes;
use weir_transform::{InputColumns, Plan};

/// The schemas that could be read.
pub(super) struct Schemas {
    pub(super) input: Option<Schema>,
    pub(super) output: Option<Schema>,
}

pub(super) fn examine(pipeline: &Pipeline, report: &mut Report) -> Schemas {
    let input = schema(report, "input", &pipeline.input.schema);
    let output = schema(report, "output", &pipeline.output.schema);
    let key = input.as_ref().and_then(|input| {
        fields(pipeline, input, report);
        records(pipeline, input, report)
    });
    match (&input, key, &output) {
        (Some(input), Some(key), Some(output)) => plan(pipeline, (input, &key), output, report),
        _ => report.note("lookups, rules and SQL", State::Open("need both schemas".into())),
    }
    if let Some(output) = &output {
        sinks(pipeline, output, report);
    }
    Schemas { input, output }
}

fn schema(report: &mut Report, side: &str, path: &Path) -> Option<Schema> {
    let name = format!("{side} schema");
    match Schema::load(path) {
        Ok(schema) => {
            report.good(
                name,
                format!("{}: {} fields", file_name(path), schema.arrow().fields().len()),
            );
            Some(schema)
        }
        Err(error) => {
            report.verdict(
                name,
                vec![Mistake::new(format!("{side}.schema"), error.to_string())],
                "",
            );
            None
        }
    }
}

/// The fields that the file names must be in the input schema.
fn fields(pipeline: &Pipeline, input: &Schema, report: &mut Report) {
    let known = input.arrow();
    let names = || known.fields().iter().map(|f| f.name().as_str());
    let missing = |key: String, field: &str| {
        let close = did_you_mean(field, names());
        let what = format!("no field `{field}` in {}{close}", file_name(&pipeline.input.schema));
        (!names().any(|n| n == field)).then(|| Mistake::new(key, what))
    };
    if let Some(key) = &pipeline.input.key {
        report.verdict("input key", missing("input.key".into(), key).into_iter().collect(), key);
    }
    let named = pipeline.source.as_ref().map(|source| source.config().fields()).unwrap_or_default();
    if !named.is_empty() {
        let mistakes =
            named.into_iter().filter_map(|(key, field)| missing(format!("source.{key}"), field));
        report.verdict("source columns", mistakes.collect(), "");
    }
}

/// Values and keys must be readable as the file says they are written.
fn records(pipeline: &Pipeline, input: &Schema, report: &mut Report) -> Option<KeyType> {
    let checked = check_input(&pipeline.input, input);
    let found = checked.as_ref().map_or(String::new(), |key| format!("keys are {key}"));
    let mistakes = checked.as_ref().err().cloned().unwrap_or_default();
    report.verdict("input records", mistakes, found);
    checked.ok()
}

/// One check for each lookup and rule and one for the SQL; the keys of the mistakes show which
/// check they belong to.
fn plan(
    pipeline: &Pipeline,
    (input, key): (&Schema, &KeyType),
    output: &Schema,
    report: &mut Report,
) {
    let columns = InputColumns { value: input.arrow(), key: key.arrow() };
    let mut mistakes = Plan::compile(columns, output.arrow(), pipeline).err().unwrap_or_default();
    let unusable = mistakes.iter().any(|m| m.key.starts_with("lookup["));
    let mut take =
        |prefix: &str| mistakes.extract_if(.., |m| m.key.starts_with(prefix)).collect::<Vec<_>>();
    for (i, lookup) in pipeline.lookups.iter().enumerate() {
        let found = format!("{}, unique by {}", file_name(&lookup.file), lookup.key.join(", "));
        report.verdict(format!("lookup {}", lookup.name), take(&format!("lookup[{i}].")), found);
    }
    for (i, rule) in pipeline.rejects.iter().enumerate() {
        let own = take(&format!("reject[{i}]."));
        verdict_unless(unusable, report, format!("rule {}", rule.name), own, "boolean");
    }
    // all remaining mistakes belong to the SQL
    verdict_unless(
        unusable,
        report,
        "SQL".into(),
        mistakes,
        &format!("result fits {}", file_name(&pipeline.output.schema)),
    );
}

/// Without its lookups, the SQL may not have been compiled even if it has no mistakes.
fn verdict_unless(
    unusable: bool,
    report: &mut Report,
    name: String,
    mistakes: Vec<Mistake>,
    found: &str,
) {
    if unusable && mistakes.is_empty() {
        report.note(name, State::Open("needs the lookups".into()));
    } else {
        report.verdict(name, mistakes, found);
    }
}

fn sinks(pipeline: &Pipeline, output: &Schema, report: &mut Report) {
    for sink in &pipeline.sinks {
        let mut mistakes = weir_store::reader::check_offline(sink, &output.table());
        mistakes.extend(Deletes::compile(pipeline, sink, output).err().unwrap_or_default());
        report.verdict(
            format!("sink {}", sink.name),
            mistakes,
            format!("columns of {} follow from the schema", sink.target.name()),
        );
    }
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
