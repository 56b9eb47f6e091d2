//! A dead letter is replayed once.

use crate::support::*;
use std::path::Path;
use weir_kafka::replay::{self, Mark, Replayer};
use weir_kafka::{Error, Records, admin, position_store, positions};
use weir_model::pipeline::Pipeline;
use weir_testkit::{Stack, random_name};

fn pipeline() -> Pipeline {
    let name = random_name("replay");
    let text = format!(
        "name = \"{name}\"\n[kafka]\nbrokers = \"{}\"\n[registry]\nurl = \"http://localhost:1\"\n\
         [input]\ntopic = \"{name}\"\nschema = \"Cargo.toml\"\npartitions = 2\n[transform]\n\
         sql = \"SELECT * FROM input\"\n\
         [output]\ntopic = \"{name}-out\"\nschema = \"Cargo.toml\"\n\
         [[sink]]\nname = \"w\"\ntype = \"postgres\"\nurl = \"postgres://weir@localhost:1/weir\"\n\
         table = \"t\"",
        Stack::shared().kafka()
    );
    // Nothing here reads the schemas; they only have to be there.
    let pipeline =
        Pipeline::parse(&text, Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/p.toml")), &|_| {
            None
        })
        .unwrap();
    assert_eq!(admin::ensure(&pipeline.kafka, &admin::topics(&pipeline)).unwrap(), []);
    pipeline
}

fn mark(offset: i64) -> Mark {
    Mark { partition: 0, offset, timestamp_ms: 1000 + offset }
}

fn batch(pipeline: &Pipeline, offsets: std::ops::Range<i64>) -> Records {
    let mut dead_letter = Records::new();
    let mut batch = Records::new();
    for offset in offsets {
        dead_letter.clear();
        dead_letter.push_parts(0, 0, 0, None, Some(format!("v{offset}").as_bytes()));
        replay::prepare(&mut batch, dead_letter.get(0), &[], &pipeline.input.topic, mark(offset));
    }
    batch
}

fn counted(pipeline: &Pipeline) -> u64 {
    let found = positions::read(&pipeline.kafka, &pipeline.name, replay::SOURCE, &[0, 1]).unwrap();
    found.values().map(|position| position.progress.counters.written).sum()
}

#[test]
fn a_record_comes_back_once_however_often_it_is_asked_for() {
    let pipeline = pipeline();
    let put = Replayer::open(&pipeline).unwrap().put(&batch(&pipeline, 0..3)).unwrap();
    assert_eq!((put.replayed, put.already.len()), (3, 0));
    let mut later = Replayer::open(&pipeline).unwrap();
    let put = later.put(&batch(&pipeline, 0..5)).unwrap();
    assert_eq!((put.replayed, put.already), (2, vec![mark(0), mark(1), mark(2)]));
    assert_eq!(later.put(&batch(&pipeline, 0..5)).unwrap().replayed, 0);
    assert_eq!(values(&pipeline.input.topic), ["v0", "v1", "v2", "v3", "v4"]);
    assert_eq!((counted(&pipeline), replay::marks(&pipeline).unwrap().len()), (5, 5));
}

#[test]
fn of_two_who_replay_the_first_is_fenced_and_nothing_comes_back_twice() {
    let pipeline = pipeline();
    let mut first = Replayer::open(&pipeline).unwrap();
    assert_eq!(first.put(&batch(&pipeline, 0..2)).unwrap().replayed, 2);
    let mut second = Replayer::open(&pipeline).unwrap();
    let error = first.put(&batch(&pipeline, 2..4)).unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    assert_eq!(second.put(&batch(&pipeline, 0..4)).unwrap().replayed, 2);
    assert_eq!(values(&pipeline.input.topic), ["v0", "v1", "v2", "v3"]);
    assert_eq!(counted(&pipeline), 4);
}

#[test]
fn marks_and_the_positions_of_the_source_do_not_disturb_each_other() {
    let pipeline = pipeline();
    let position =
        positions::Position { position: serde_json::json!(17), progress: Default::default() };
    let mut producer =
        weir_kafka::TransactionalProducer::open(&pipeline.kafka, &random_name("producer")).unwrap();
    producer.begin().unwrap();
    positions::write(&mut producer, &pipeline.name, "synthetic", 0, &position).unwrap();
    assert_eq!(producer.commit(None), weir_model::protocol::Outcome::Committed);
    Replayer::open(&pipeline).unwrap().put(&batch(&pipeline, 0..2)).unwrap();
    let found = position_store::read(
        &pipeline.kafka,
        &pipeline.name,
        &[("synthetic", &[0, 1]), (replay::SOURCE, &[0, 1])],
    )
    .unwrap()
    .positions;
    assert_eq!((found[0].len(), &found[0][&0], found[1].len()), (1, &position, 1));
}
