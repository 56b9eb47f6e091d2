//! A position row that is not where the sink stopped halts its partition before anything is
//! written, and a topic that was recreated is not taken for the one that was read.

use crate::world::{Instance, World};
use weir_testkit::topics::Topics;

const ROWS: &str = "SELECT count(*) FROM shop.sale";

/// Reads 300 rows, and stops.
async fn stopped() -> World {
    stopped_in(World::new("")).await
}

async fn stopped_in(mut world: World) -> World {
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

/// The state of positions, rows and dead letters, as a copy in the database.
const SAVE: &str = "CREATE SCHEMA saved; CREATE TABLE saved.positions AS TABLE weir.positions; \
     CREATE TABLE saved.sale AS TABLE shop.sale; \
     CREATE TABLE saved.dead AS SELECT id FROM weir.dead_letters";
/// Only the positions, with everything that belongs to them.
const PUT_BACK: &str = "UPDATE weir.positions p SET next_offset = s.next_offset, read = s.read, \
     written = s.written, dead = s.dead, last_source = s.last_source, \
     last_read_offset = s.last_read_offset, last_read_fingerprint = s.last_read_fingerprint \
     FROM saved.positions s WHERE p.partition = s.partition";
const PUT_ROWS_BACK: &str = "TRUNCATE shop.sale; INSERT INTO shop.sale TABLE saved.sale; \
     DELETE FROM weir.dead_letters WHERE id NOT IN (SELECT id FROM saved.dead)";

/// Saves the state after 300 rows, and reads 300 more.
async fn saved(mut world: World, keys: &[(i32, &str)]) -> World {
    world.database.execute(SAVE).unwrap();
    world.feed(keys.iter().copied());
    let sink = world.start();
    world.wait_for(300 + keys.len() as i64);
    sink.stop().await.unwrap();
    world
}

fn rows() -> Vec<(i32, &'static str)> {
    (300..600).map(|id| (id, "row")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn older_positions_that_were_put_back_alone_halt() {
    for world in [World::new(""), World::table("")] {
        let world = saved(stopped_in(world).await, &rows()).await;
        world.database.execute(PUT_BACK).unwrap();
        for _ in 0..2 {
            let sink = halts(&world, "an older one was put back").await;
            sink.stop().await.unwrap();
            assert_eq!(world.number(ROWS), 600);
        }
    }
}

/// What was written since may be dead letters, without lineage columns in the table.
#[tokio::test(flavor = "multi_thread")]
async fn older_positions_before_dead_letters_halt() {
    let long = "a name that is too long for its column";
    let dead: Vec<(i32, &str)> = (300..330).map(|id| (id, long)).collect();
    let world = World::new("[sink.columns]\nname = \"varchar(20)\"\n");
    let world = saved(stopped_in(world).await, &dead).await;
    world.database.execute(PUT_BACK).unwrap();
    let sink = halts(&world, "an older one was put back").await;
    sink.stop().await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM weir.dead_letters"), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_and_rows_that_were_put_back_together_are_read_on_from() {
    let world = saved(stopped().await, &rows()).await;
    world.database.execute(PUT_BACK).unwrap();
    world.database.execute(PUT_ROWS_BACK).unwrap();
    let sink = world.start();
    world.wait_for(600);
    sink.stop().await.unwrap();
    assert_eq!(world.number(ROWS), 600);
    assert_eq!(world.number("SELECT count(DISTINCT id) FROM shop.sale"), 600);
}
