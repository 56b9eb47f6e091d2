//! The whole way, from the topic to the table.

use crate::world::{REQUEST_TIMEOUT, World};
use std::time::Duration;
use weir_model::lineage::Lineage;
use weir_service::Failure;
use weir_testkit::{Database, wait_until};

const NAMES: &str = "[sink.columns]\nname = \"varchar(20)\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_a_row_or_a_dead_letter_once() {
    let mut world = World::new(NAMES);
    world.feed((0..1000).map(|id| (id, "first")));
    let sink = world.start();
    let long = "a name that is too long for its column";
    world.feed((1000..3000).map(|id| (id, if id % 500 == 0 { long } else { "second" })));
    world.feed_raw(&[(0, b"".to_vec()), (1, vec![0, 0, 0, 0, 99]), (2, b"\x01garbage".to_vec())]);
    world.transact(&[(0, b"foreign", None)]);
    world.feed((3000..3300).map(|id| (id, "third")));
    world.wait_for(3304);

    assert_eq!(world.number("SELECT count(*) FROM shop.sale"), 3296);
    assert_eq!(world.number("SELECT count(DISTINCT id) FROM shop.sale"), 3296);
    assert_eq!(world.number("SELECT sum(written) FROM weir.positions"), 3296);
    assert_eq!(world.number("SELECT sum(dead) FROM weir.positions"), 8);
    let dead_letters = world.database.texts(
        "SELECT reason, count(*), min(stage), min(sqlstate) \
        FROM weir.dead_letters GROUP BY 1 ORDER BY 1",
    );
    let dead_letters: Vec<Vec<String>> = dead_letters
        .unwrap()
        .into_iter()
        .map(|r| r.into_iter().map(|v| v.unwrap_or("-".into())).collect())
        .collect();
    let too_long = dead_letters.iter().find(|l| l[0] == "value_too_long").unwrap();
    assert_eq!(too_long[1..], ["4", "sink", "22001"]);
    assert_eq!(dead_letters.iter().find(|l| l[0] == "no_lineage").unwrap()[1..3], ["1", "sink"]);
    assert_eq!(dead_letters.iter().map(|l| l[1].parse::<i32>().unwrap()).sum::<i32>(), 8);
    let garbage = "SELECT encode(value, 'hex') FROM weir.dead_letters WHERE partition = 2 AND \
        sqlstate IS NULL";
    assert_eq!(world.database.text(garbage).unwrap().as_deref(), Some("0167617262616765"));
    assert_eq!(
        world.number(
            "SELECT count(*) FROM shop.sale WHERE weir_topic IS NULL OR weir_partition <> id % 3"
        ),
        0
    );
    wait_until("the counters", REQUEST_TIMEOUT, || {
        (sink.metric("weir_records_read_total") == 3304.0).then_some(())
    });
    assert_eq!(sink.metric("weir_records_written_total"), 3296.0);
    assert_eq!(sink.metric("weir_unaccounted_records"), 0.0);
    assert_eq!(sink.metric("weir_latency_seconds_count"), 3304.0);
    sink.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_come_and_go_without_a_trace_in_the_table() {
    let mut world = World::new(NAMES);
    let mut sinks = vec![world.start()];
    let mut fed = 0;
    for round in 0..6 {
        world.feed((fed..fed + 2000).map(|id| (id, "row")));
        fed += 2000;
        // The next change comes while this round is under way.
        wait_until("the round begins", REQUEST_TIMEOUT, || {
            (world.counted() > i64::from(fed) - 2000).then_some(())
        });
        match round % 2 {
            0 => sinks.push(world.start()),
            _ => sinks.remove(0).stop().await.unwrap(),
        }
    }
    world.wait_for(i64::from(fed));
    assert_eq!(world.number("SELECT count(*) FROM shop.sale"), i64::from(fed));
    assert_eq!(world.number("SELECT count(DISTINCT id) FROM shop.sale"), i64::from(fed));
    for sink in sinks {
        sink.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_cost_nothing() {
    let mut world = World::new(NAMES);
    let sink = world.start();
    let cutter = Database::connect(world.database.url()).unwrap();
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = \
        current_database() AND application_name LIKE 'weir%'";
    let mut cuts = 0;
    for round in 0..10 {
        world.feed((round * 2000..(round + 1) * 2000).map(|id| (id, "row")));
        wait_until("the round begins", REQUEST_TIMEOUT, || {
            (world.counted() > i64::from(round) * 2000).then_some(())
        });
        cuts += cutter.number(cut).unwrap();
    }
    world.wait_for(20_000);
    assert!(cuts > 0, "no connection was cut");
    assert_eq!(world.number("SELECT count(*) FROM shop.sale"), 20_000);
    assert_eq!(world.number("SELECT count(DISTINCT id) FROM shop.sale"), 20_000);
    assert_eq!(world.number("SELECT count(*) FROM weir.dead_letters"), 0);
    sink.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_disappears_halts_the_sink_until_it_is_back() {
    let mut world = World::new(NAMES);
    let sink = world.start();
    world.feed((0..300).map(|id| (id, "row")));
    world.wait_for(300);
    world.database.execute("ALTER TABLE shop.sale RENAME TO elsewhere").unwrap();
    world.feed((300..600).map(|id| (id, "row")));
    sink.wait_until_it_says("\"sink warehouse\"");
    assert!(sink.ask("/live").contains("true"));
    assert_eq!(
        world.number("SELECT count(*) FROM pg_class WHERE relname = 'sale'"),
        0,
        "no empty table was created"
    );
    world.database.execute("ALTER TABLE shop.elsewhere RENAME TO sale").unwrap();
    world.wait_for(600);
    sink.wait_until_it_says("\"ready\":true");
    assert_eq!(world.number("SELECT count(DISTINCT id) FROM shop.sale"), 600);
    assert_eq!(world.number("SELECT count(*) FROM weir.dead_letters"), 0);
    sink.stop().await.unwrap();
}

/// That the server answers shows nothing; a commit does.
#[tokio::test(flavor = "multi_thread")]
async fn a_sink_whose_table_is_locked_is_not_ready_until_it_commits() {
    let mut world = World::new(NAMES);
    let sink = world.start();
    world.feed((0..30).map(|id| (id, "row")));
    world.wait_for(30);
    let other = Database::connect(world.database.url()).unwrap();
    other.execute("BEGIN; LOCK TABLE shop.sale IN ACCESS EXCLUSIVE MODE").unwrap();
    world.feed((30..60).map(|id| (id, "row")));
    sink.wait_until_it_says("no answer for");
    // The wait for the lock ends, and the positions are read again: the table is as it was.
    sink.wait_until_it_says("lock timeout");
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = \
        'shop.sale'::regclass";
    let looked = || {
        assert!(sink.ask("/ready").contains("\"ready\":false"));
        (other.number(waiting).unwrap() > 0).then_some(())
    };
    wait_until("the next attempt", REQUEST_TIMEOUT, looked);
    other.execute("COMMIT").unwrap();
    world.wait_for(60);
    sink.wait_until_it_says("\"ready\":true");
    assert_eq!(world.number("SELECT count(DISTINCT id) FROM shop.sale"), 60);
    sink.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_waits_for_its_positions_is_not_ready_and_does_not_say_it_is_back() {
    let mut world = World::new(NAMES);
    let sink = world.start();
    world.feed((0..30).map(|id| (id, "row")));
    world.wait_for(30);
    sink.stop().await.unwrap();
    let other = Database::connect(world.database.url()).unwrap();
    other.execute("BEGIN; SELECT 1 FROM weir.positions FOR UPDATE").unwrap();
    let sink = world.start();
    sink.wait_until_it_says("no answer for");
    sink.wait_until_it_says("lock timeout");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND \
        application_name LIKE 'weir%'";
    let looked = || {
        assert!(sink.ask("/ready").contains("\"ready\":false"));
        (other.number(waiting).unwrap() > 0).then_some(())
    };
    wait_until("the next attempt", REQUEST_TIMEOUT, looked);
    other.execute("COMMIT").unwrap();
    sink.wait_until_it_says("\"ready\":true");
    sink.stop().await.unwrap();
}

/// Whatever lineage a record claims that the enricher did not write.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_record_is_a_dead_letter_and_moves_nothing() {
    let mut world = World::new(NAMES);
    let sink = world.start();
    world.feed((0..30).map(|id| (id, "row")));
    world.wait_for(30);
    let forged = [(0, -1), (14, 12), (-5, -7), (i64::MAX, -1), (i64::MAX, i64::MAX), (999, 998)];
    let mut read = 30;
    for (round, (source, previous)) in (1..).zip(forged) {
        let lineage = Lineage::new(source, previous, 0);
        world.transact(&[(0, b"forged", Some(lineage))]);
        world.feed((round * 30..round * 30 + 30).map(|id| (id, "row")));
        read += 31;
        world.wait_for(read);
    }
    assert_eq!(world.number("SELECT count(DISTINCT id) FROM shop.sale"), 210);
    assert_eq!(world.number("SELECT count(*) FROM shop.sale"), 210);
    assert_eq!(world.number("SELECT count(*) FROM weir.dead_letters"), 6);
    // The last one could have been the next record. Where it ends a part, it shows only by the one
    // after it, and is a dead letter because it cannot be decoded.
    let foreign = "SELECT count(*) FROM weir.dead_letters WHERE reason = 'foreign_lineage'";
    assert!(world.number(foreign) >= 5);
    assert!(sink.ask("/ready").contains("\"ready\":true"));
    sink.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_in_the_position_row_stops_its_partition() {
    let mut world = World::new(NAMES);
    let sink = world.start();
    world.feed((0..30).map(|id| (id, "row")));
    world.wait_for(30);
    world
        .database
        .execute(
            "UPDATE weir.positions SET next_offset = 2 WHERE partition = 0; DELETE FROM \
            weir.positions WHERE partition = 1",
        )
        .unwrap();
    world.feed((30..60).map(|id| (id, "row")));
    let done = "SELECT count(*) FROM shop.sale WHERE id % 3 = 2";
    wait_until("partition 2 continues", REQUEST_TIMEOUT, || {
        (world.number(done) == 20).then_some(())
    });
    world.feed((60..90).map(|id| (id, "row")));
    wait_until("partition 2 continues again", REQUEST_TIMEOUT, || {
        (world.number(done) == 30).then_some(())
    });
    assert_eq!(
        world.number("SELECT count(*) FROM shop.sale WHERE id % 3 <> 2"),
        20,
        "nothing was read a second time"
    );
    sink.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_not_drained_into_the_dead_letters() {
    let mut world = World::new(&format!("{NAMES}[dead_letters]\nhalt_after = \"1s\"\n"));
    let sink = world.start();
    let long = "every name is too long for the column";
    let mut fed = 0;
    wait_until("the breaker", REQUEST_TIMEOUT, || {
        world.feed((fed..fed + 1_000).map(|id| (id, long)));
        fed += 1_000;
        sink.ask("/ready").contains("went to the dead letters").then_some(())
    });
    let dead_letters = world.number("SELECT count(*) FROM weir.dead_letters");
    world.feed((fed..fed + 10_000).map(|id| (id, long)));
    sink.stop().await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM weir.dead_letters"), dead_letters);
    assert_eq!(
        world.number("SELECT sum(dead) FROM weir.positions"),
        world.number("SELECT count(*) FROM weir.dead_letters")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_ends_with_the_last_record_of_each_key() {
    let mut world = World::new("mode = \"upsert\"\nkey = [\"id\"]\n");
    let sink = world.start();
    for round in ["one", "two", "three"] {
        world.feed((0..500).flat_map(|id| [(id, "draft"), (id, round)]));
    }
    world.wait_for(3000);
    assert_eq!(world.number("SELECT count(*) FROM shop.sale WHERE name = 'three'"), 500);
    assert_eq!(world.number("SELECT count(*) FROM shop.sale"), 500);
    sink.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_fit_is_refused_before_anything_is_read() {
    let world = World::new(NAMES);
    world
        .database
        .execute(
            "CREATE SCHEMA shop; CREATE TABLE shop.sale (id text, name \
        varchar(20), branch int NOT NULL)",
        )
        .unwrap();
    let error = tokio::time::timeout(Duration::from_secs(30), world.start().end())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.class(), weir_model::fault::Class::Configuration);
    let text = error.to_string();
    assert!(
        text.contains("2 mistakes")
            && text.contains("field id is int")
            && text.contains("column branch is NOT NULL"),
        "{text}"
    );
}
