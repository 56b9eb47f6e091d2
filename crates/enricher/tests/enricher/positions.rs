//! A position that is not where the enricher stopped halts its partition before anything is
//! written, whoever moved it, and a topic that was recreated is not taken for the one that was read.

use crate::support::*;
use weir_testkit::wait_until;

/// Reads `0..300`, and stops.
fn stopped() -> Pipeline {
    let pipeline = Pipeline::new();
    pipeline.write_items(0..300);
    let enricher = pipeline.start("e-0");
    pipeline.wait_done();
    assert!(enricher.stop().unwrap().success());
    pipeline
}

/// A start halts partition 0 and says why; the others go on, and nothing is emitted twice.
fn halts(pipeline: &Pipeline, case: &str) {
    let emitted = pipeline.topics.read(&pipeline.output).unwrap().len();
    let enricher = pipeline.program("e-0").start().unwrap();
    let halted = wait_until(case, SOON, || {
        let answer = enricher.get("/ready").ok()?;
        answer.body.contains("is not the one that was read last").then_some(answer)
    });
    assert_eq!(halted.status, 503, "{case}");
    assert!(halted.body.contains("weir skip FILE"), "{case}: {}", halted.body);
    assert!(halted.body.contains(&format!("{}[0]", pipeline.input)), "{case}");
    assert!(enricher.is_live());
    assert!(enricher.stop().unwrap().success());
    assert_eq!(pipeline.topics.read(&pipeline.output).unwrap().len(), emitted, "{case}");
}

#[test]
fn a_position_that_another_program_moved_halts_the_partition() {
    let pipeline = stopped();
    let (group, topics) = (pipeline.group(), &pipeline.topics);
    let (next, metadata) = topics.committed(&group, &pipeline.input).unwrap().remove(0).unwrap();
    // Tools drop the metadata; who keeps it moves the offset all the same.
    let cases = [
        (next - 90, ""),
        (0, ""),
        (next, ""),
        (next - 1, "moved by hand"),
        (next - 1, &metadata),
        (next - 90, &metadata),
    ];
    for (offset, metadata) in cases {
        topics.commit(&group, &pipeline.input, 0, offset, metadata).unwrap();
        halts(&pipeline, &format!("to {offset} with `{metadata}`"));
    }
    pipeline.write_items(300..600);
    topics.commit(&group, &pipeline.input, 0, next + 1, &metadata).unwrap();
    let enricher = pipeline.program("e-0").start().unwrap();
    wait_until("a halt", SOON, || {
        enricher.get("/ready").ok()?.body.contains("was read last").then_some(())
    });
    topics.commit(&group, &pipeline.input, 0, next, &metadata).unwrap_err();
    assert!(enricher.stop().unwrap().success());

    // Put back where it was, everything is read once.
    topics.commit(&group, &pipeline.input, 0, next, &metadata).unwrap();
    let enricher = pipeline.start("e-0");
    pipeline.wait_done();
    assert_eq!(pipeline.audit(), expected(0..600));
    assert!(enricher.stop().unwrap().success());
}

#[test]
fn an_input_topic_that_holds_other_records_below_the_position_halts() {
    let pipeline = stopped();
    let positions = pipeline.topics.committed(&pipeline.group(), &pipeline.input).unwrap();
    pipeline.topics.delete(&pipeline.input).unwrap();
    pipeline.topics.create(&pipeline.input, 3).unwrap();
    pipeline.write_items(0..900);
    // Kafka deletes the positions with the topic, but not at once; here they come back.
    for (partition, position) in (0..).zip(positions) {
        let (next, metadata) = position.unwrap();
        pipeline
            .topics
            .commit(&pipeline.group(), &pipeline.input, partition, next, &metadata)
            .unwrap();
    }
    halts(&pipeline, "recreated and filled past the position");
}
