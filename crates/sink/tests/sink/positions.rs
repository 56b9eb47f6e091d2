//! A position row that is not where the sink stopped halts its partition before anything is
//! written, and a topic that was recreated is not taken for the one that was read.

use crate::world::{Instance, World};
use weir_testkit::topics::Topics;

const ROWS: &str = "SELECT count(*) FROM shop.sale";

/// Reads 300 rows, and stops.
async fn stopped() -> World {
    let mut world = World::new("");
    let sink = world.start();
    world.feed((0..300).map(|id| (id, "row")));
    world.wait_for(300);
    sink.stop().await.unwrap();
    world
}

fn topics(world: &World) -> Topics {
    Topics::new(&world.pipeline.kafka.brokers)
}

async fn halts(world: &World, text: &str) -> Instance {
    let sink = world.start();
    sink.wait_until_it_says(text);
    let page = sink.ask("/ready");
    assert!(page.contains("weir skip FILE") && page.contains("\"ready\":false"), "{page}");
    assert!(page.contains("-out[0]"), "{page}");
    sink
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_row_that_was_changed_while_the_sink_was_down_halts_the_partition() {
    let mut world = stopped().await;
    world.feed((300..600).map(|id| (id, "row")));
    let next = world.number("SELECT next_offset FROM weir.positions WHERE partition = 0");
    for by in [2, 1, -1, -2, -80] {
        world
            .database
            .execute(&format!(
                "UPDATE weir.positions SET next_offset = {next} + {by} WHERE partition = 0"
            ))
            .unwrap();
        let sink = halts(&world, "is not the one that was read last").await;
        world.wait_for(500);
        sink.stop().await.unwrap();
        assert_eq!(world.number(ROWS), 500, "moved by {by}");
    }
    world
        .database
        .execute(&format!("UPDATE weir.positions SET next_offset = {next} WHERE partition = 0"))
        .unwrap();
    let sink = world.start();
    world.wait_for(600);
    assert_eq!(world.number("SELECT count(DISTINCT id) FROM shop.sale"), 600);
    assert_eq!(world.number(ROWS), 600);
    sink.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_row_that_was_deleted_is_no_beginning_while_the_table_has_rows() {
    let world = stopped().await;
    // Also when the consumer group was forgotten, as Kafka does after a week without members.
    for is_group_gone in [false, true] {
        world.database.execute("DELETE FROM weir.positions WHERE partition = 0").unwrap();
        if is_group_gone {
            topics(&world).delete_group(&world.pipeline.sink_group("warehouse")).unwrap();
        }
        let sink = halts(&world, "the position was lost, not unset").await;
        sink.stop().await.unwrap();
        assert_eq!(world.number(ROWS), 300);
    }
    // Everything gone is a beginning.
    world.database.execute("DELETE FROM weir.positions; DELETE FROM shop.sale").unwrap();
    let sink = world.start();
    world.wait_for(300);
    assert_eq!(world.number(ROWS), 300);
    sink.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_topic_that_was_recreated_and_filled_past_the_position_halts() {
    let mut world = stopped().await;
    let topic = world.pipeline.output.topic.clone();
    topics(&world).delete(&topic).unwrap();
    topics(&world).create(&topic, 3).unwrap();
    // The very same records at the same offsets but for their time: another log all the same.
    world.begin_anew();
    world.feed((0..300).map(|id| (id, "row")));
    world.feed((300..600).map(|id| (id, "row")));
    let sink = halts(&world, "is not the one that was read last").await;
    sink.stop().await.unwrap();
    assert_eq!(world.number(ROWS), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_on_a_log_that_has_lost_its_beginning_halts() {
    let mut world = World::new("");
    world.feed((0..300).map(|id| (id, "row")));
    topics(&world).delete_records(&world.pipeline.output.topic, 0, 30).unwrap();
    let sink = halts(&world, "offsets 0 to 29 are gone").await;
    world.wait_for(200);
    sink.stop().await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM shop.sale WHERE id % 3 = 0"), 0);
}
