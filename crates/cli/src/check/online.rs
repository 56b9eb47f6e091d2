//! The checks that need brokers, registry, databases and the source. If one is unavailable, its checks stay
//! open; that is never a mistake.

use super::offline::Schemas;
use super::{Report, State};
use weir_codec::{Losses, Registry, Schema, losses_of_input};
use weir_kafka::admin;
use weir_model::fault::Class;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{Pipeline, Sink, SubjectNameStrategy, ValueFormat};

pub(super) async fn examine(pipeline: &Pipeline, schemas: &Schemas, report: &mut Report) {
    tokio::task::block_in_place(|| {
        source(pipeline, schemas.input.as_ref(), report);
        topics(pipeline, report);
    });
    subjects(pipeline, schemas, report).await;
    for sink in &pipeline.sinks {
        target(pipeline, sink, schemas.output.as_ref(), report).await;
    }
}

/// The source must be there and have the fields of the input schema.
fn source(pipeline: &Pipeline, schema: Option<&Schema>, report: &mut Report) {
    if pipeline.source.is_some()
        && let Some(schema) = schema
    {
        let mistakes = weir_producer::source::build(pipeline, schema).err().unwrap_or_default();
        report.verdict("source", mistakes, "has the fields of the input schema");
    }
}

/// The topics that exist must have the number of partitions in the file; the missing ones will be
/// created.
fn topics(pipeline: &Pipeline, report: &mut Report) {
    for topic in admin::topics(pipeline) {
        let name = format!("topic {}", topic.name);
        let found = match admin::partitions(&pipeline.kafka, &topic.name) {
            Ok(None) => format!("will be created with {} partitions", topic.partitions),
            Ok(Some(partitions)) => format!("{} partitions", partitions.len()),
            Err(error) => {
                failed(report, name, "kafka.brokers", error.class(), &error);
                // brokers that do not answer for one topic would delay the others as long
                return;
            }
        };
        match admin::inspect(&pipeline.kafka, std::slice::from_ref(&topic)) {
            Ok(mistakes) => {
                report.verdict(name, mistakes, found);
                advise(pipeline, &topic, report);
            }
            Err(error) => failed(report, name, "kafka.brokers", error.class(), &error),
        }
    }
    sizes(pipeline, report);
}

/// Records that one topic takes and the next does not.
fn sizes(pipeline: &Pipeline, report: &mut Report) {
    match admin::size_advice(pipeline) {
        Ok(advice) => report.warnings.extend(advice),
        Err(error) => failed(report, "sizes".into(), "kafka.brokers", error.class(), &error),
    }
}

/// What is worth a warning, although the pipeline runs with it.
fn advise(pipeline: &Pipeline, topic: &admin::Topic, report: &mut Report) {
    match admin::advice(&pipeline.kafka, topic) {
        Ok(None) => {}
        Ok(Some(text)) => report.warnings.push(format!("topic {}: {text}", topic.name)),
        Err(error) => {
            failed(report, format!("settings of {}", topic.name), topic.key, error.class(), &error);
        }
    }
}

async fn subjects(pipeline: &Pipeline, schemas: &Schemas, report: &mut Report) {
    let registry = match Registry::new(&pipeline.registry) {
        Ok(registry) => registry,
        Err(error) => {
            return failed(report, "registry".into(), "registry.url", error.class(), &error);
        }
    };
    if let Err(error) = registry.ping().await {
        return failed(report, "registry".into(), "registry.url", error.class(), &error);
    }
    if let Some(schema) = &schemas.input {
        let subject = pipeline.input_subject(schema.name());
        // Without a source, other programs write the input topic and register their schemas.
        match (pipeline.input.format, pipeline.source.is_none()) {
            (ValueFormat::Json | ValueFormat::JsonSchema, _) => {}
            (ValueFormat::Protobuf, _) => message(pipeline, &registry, schema, report).await,
            (_, true) => readable(pipeline, &registry, &subject, schema, report).await,
            (_, false) => {
                compatible(pipeline, &registry, "input", &subject, schema, report).await;
            }
        }
    }
    if let Some(schema) = &schemas.output {
        let subject = pipeline.output_subject(schema.name());
        compatible(pipeline, &registry, "output", &subject, schema, report).await;
    }
}

/// The first message of the topic's subject has to be readable. Other strategies name a subject after
/// the message, which the pipeline does not know.
async fn message(pipeline: &Pipeline, registry: &Registry, schema: &Schema, report: &mut Report) {
    if pipeline.input.subject_name_strategy != SubjectNameStrategy::TopicName {
        return;
    }
    const KEY: &str = "input.schema";
    let subject = pipeline.input_subject("");
    let name = format!("subject {subject}");
    match registry.latest_message(&subject, schema).await {
        Ok(None) => report.verdict(name, Vec::new(), "nothing is registered yet"),
        Ok(Some((version, problems))) => {
            let mistake = |problem| {
                Mistake::new(KEY, format!("cannot read version {version} of {subject}: {problem}"))
            };
            let mistakes = problems.into_iter().map(mistake).collect();
            report.verdict(name, mistakes, format!("reads the first message of version {version}"));
        }
        Err(error) => failed(report, name, KEY, error.class(), &error),
    }
}

/// Nothing is registered under `subject`: what is there has to be readable.
async fn readable(
    pipeline: &Pipeline,
    registry: &Registry,
    subject: &str,
    schema: &Schema,
    report: &mut Report,
) {
    let name = format!("subject {subject}");
    const KEY: &str = "input.schema";
    match registry.latest(subject).await {
        Ok(None) => report.verdict(name, Vec::new(), "nothing is registered yet"),
        Ok(Some(latest)) => {
            let version = latest.version;
            let Losses { all, some } = losses_of_input(&pipeline.input, schema, &latest.schema);
            let mistake = |problem| {
                Mistake::new(KEY, format!("cannot read version {version} of {subject}: {problem}"))
            };
            report.warnings.extend(some.into_iter().map(|problem| {
                format!(
                    "records of version {version} of {subject} are dead letters where {problem}"
                )
            }));
            let mistakes = all.into_iter().map(mistake).collect();
            report.verdict(name, mistakes, format!("reads version {version}"));
        }
        Err(error) => failed(report, name, KEY, error.class(), &error),
    }
}

async fn compatible(
    pipeline: &Pipeline,
    registry: &Registry,
    side: &str,
    subject: &str,
    schema: &Schema,
    report: &mut Report,
) {
    let name = format!("subject {subject}");
    let key = format!("{side}.schema");
    let asked = async {
        Ok::<_, weir_codec::registry::Error>((
            registry.latest(subject).await?,
            registry.compatible(subject, schema).await?,
        ))
    };
    match asked.await {
        Ok((latest, reasons)) => {
            let found = latest.map_or("will be registered".into(), |latest| {
                format!("compatible with version {}", latest.version)
            });
            let hint = format!("weir schema diff {}", pipeline.file.display());
            let mistake = |reason| {
                Mistake::new(
                    &key,
                    format!("the registry's rule for {subject} does not allow it: {reason}"),
                )
                .hint(&hint)
            };
            report.verdict(name, reasons.into_iter().map(mistake).collect(), found);
        }
        Err(error) => failed(report, name, &key, error.class(), &error),
    }
}

async fn target(pipeline: &Pipeline, sink: &Sink, output: Option<&Schema>, report: &mut Report) {
    let name = format!("target {}", sink.target.name());
    let Some(output) = output else {
        return report.note(name, State::Open("needs the output schema".into()));
    };
    let schema = output.table();
    let checked = async { weir_store::reader::open(pipeline, sink)?.check(&schema).await };
    match checked.await {
        Ok(check) => {
            // Mistakes that can be found without the target were reported already.
            let known = weir_store::reader::check_offline(sink, &schema);
            let mistakes = check.mistakes.into_iter().filter(|m| !known.contains(m)).collect();
            report.verdict(name, mistakes, check.outlook);
        }
        Err(error) => {
            failed(report, name, &format!("sink.{}.url", sink.name), error.class(), &error);
        }
    }
}

/// A refusal is a mistake in the file or in what it names; an unavailable server is not.
fn failed(
    report: &mut Report,
    name: String,
    key: &str,
    class: Class,
    error: &dyn std::error::Error,
) {
    let text = weir_service::start::chain(error);
    match class {
        Class::Configuration => report.verdict(name, vec![Mistake::new(key, text)], ""),
        Class::Environment | Class::Record | Class::Loss => report.note(name, State::Open(text)),
    }
}
