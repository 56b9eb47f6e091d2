//! A record that comes back from the dead letters into a table that merges by key replaces older
//! versions of its row and no newer one, however the records are cut into transactions.

use crate::fixture::{
    Fixture, append, batch, claim, position_key, schema, upsert, write, write_records,
};
use arrow::buffer::BooleanBuffer;
use std::collections::BTreeMap;
use weir_model::pipeline::{Postgres, Tombstones};
use weir_model::protocol::{Offset, Outcome, Partition};
use weir_store::postgres::Layout;

/// A version of a row: its key, its name, its input offset, and that of its first time.
#[derive(Debug, Clone)]
struct Version {
    id: i32,
    name: String,
    offset: Offset,
    replay_of: Option<Offset>,
    deletes: bool,
}

fn version(id: i32, name: &str, offset: Offset, replay_of: Option<Offset>) -> Version {
    Version { id, name: name.into(), offset, replay_of, deletes: false }
}

/// A record that deletes the row of its key.
fn deleting(id: i32, offset: Offset, replay_of: Option<Offset>) -> Version {
    Version { deletes: true, ..version(id, "much too long", offset, replay_of) }
}

struct Sink {
    fixture: Fixture,
    layout: Layout,
}

impl Sink {
    async fn new() -> Sink {
        Sink::with(upsert(&["id"])).await
    }

    async fn that_deletes() -> Sink {
        Sink::with(Postgres { tombstones: Tombstones::Delete, ..upsert(&["id"]) }).await
    }

    async fn with(target: Postgres) -> Sink {
        let fixture = Fixture::prepared().await;
        let layout = fixture.layout(&target, &schema()).await;
        Sink { fixture, layout }
    }

    /// Writes one transaction; returns how many were superseded.
    async fn write(&self, partition: Partition, versions: &[Version]) -> usize {
        let store = &self.fixture.store;
        let committed = store.acquire(&position_key(), &[partition]).await.unwrap().remove(0);
        let next = committed.next.unwrap_or(0) + versions.len() as i64;
        let rows: Vec<(i32, &str)> = versions.iter().map(|v| (v.id, v.name.as_str())).collect();
        let offsets: Vec<Offset> = versions.iter().map(|v| v.offset).collect();
        let replays: Vec<Option<Offset>> = versions.iter().map(|v| v.replay_of).collect();
        let claim = claim(&committed, next, versions.len() as u64);
        let deletes: BooleanBuffer = versions.iter().map(|v| v.deletes).collect();
        let deletes = versions.iter().any(|v| v.deletes).then_some(&deletes);
        let records = (offsets.as_slice(), replays.as_slice(), deletes);
        let written =
            write_records(store, &self.layout, &claim, &batch(&rows), records).await.unwrap();
        assert_eq!(written.outcome, Outcome::Committed);
        written.superseded
    }

    fn names(&self) -> String {
        let sql = "SELECT string_agg(id || name::text, ',' ORDER BY id) FROM shop.sale";
        self.fixture.rows(sql)[0][0].clone().unwrap_or_default()
    }

    fn superseded(&self) -> i64 {
        self.fixture.number("SELECT sum(superseded) FROM weir.positions")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_that_comes_back_leaves_the_newer_row() {
    let sink = Sink::new().await;
    sink.write(0, &[version(1, "new", 5, None), version(2, "old", 6, None)]).await;
    let back = [version(1, "old", 20, Some(3)), version(2, "new", 21, Some(9))];
    assert_eq!(sink.write(0, &back).await, 1);
    assert_eq!(sink.names(), "1new,2new");
    // What came back has the age of its first time, also for those that come back later.
    let again = [version(2, "between", 22, Some(8)), version(1, "newest", 23, Some(6))];
    assert_eq!(sink.write(0, &again).await, 1);
    assert_eq!((sink.names().as_str(), sink.superseded()), ("1newest,2new", 2));
    // A new record is always the newest.
    assert_eq!(sink.write(0, &[version(2, "last", 24, None)]).await, 0);
    assert_eq!(sink.names(), "1newest,2last");
    assert_eq!(
        sink.fixture.rows("SELECT read, written, dead FROM weir.positions"),
        [["7", "7", "0"].map(|s| Some(s.to_owned()))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_in_the_same_transaction_as_the_newer_one_is_superseded() {
    let sink = Sink::new().await;
    let both = [
        version(1, "new", 5, None),
        version(2, "old", 6, None),
        version(1, "old", 20, Some(3)),
        version(2, "new", 21, Some(7)),
        version(3, "twice", 22, Some(9)),
        version(3, "mended", 23, Some(9)),
        version(3, "older", 24, Some(8)),
    ];
    assert_eq!(sink.write(0, &both).await, 2);
    assert_eq!(sink.names(), "1new,2new,3mended");
}

/// Random versions of few keys, cut into transactions at random, some of them refused by the table,
/// against what one record after the other would leave.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_version_stays_however_the_records_are_cut_into_transactions() {
    let mut state: u64 = 7;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 33) % below
    };
    let sink = Sink::that_deletes().await;
    // The newest version of each key; one that deletes has no name.
    let mut expected: BTreeMap<i32, (Offset, Option<String>)> = BTreeMap::new();
    let (mut offset, mut superseded, mut refused) = (0, 0, 0);
    for round in 0..30 {
        let mut versions = Vec::new();
        for _ in 0..1 + random(90) {
            offset += 1 + random(2) as Offset;
            let replay_of = (random(2) == 0).then(|| random(offset as u64) as Offset);
            // In some rounds the table refuses rows, so that they are stored one by one.
            let deletes = round % 2 == 1 && random(4) == 0;
            let is_bad = !deletes && round % 3 == 2 && random(20) == 0;
            let name = if is_bad { "much too long".to_owned() } else { format!("v{offset}") };
            let id = random(9) as i32;
            let version = match deletes {
                true => deleting(id, offset, replay_of),
                false => version(id, &name, offset, replay_of),
            };
            let order = replay_of.unwrap_or(offset);
            let before = expected.get(&version.id).map_or(-1, |(order, _)| *order);
            match (before > order, is_bad) {
                (true, false) => superseded += 1,
                (false, false) => {
                    let name = (!deletes).then_some(name);
                    expected.insert(version.id, (order, name));
                }
                (_, true) => refused += 1,
            }
            versions.push(version);
        }
        sink.write(0, &versions).await;
        let names: Vec<String> = expected
            .iter()
            .filter_map(|(id, (_, name))| Some(format!("{id}{}", name.as_ref()?)))
            .collect();
        assert_eq!(sink.names(), names.join(","), "round {round}: {versions:?}");
        assert_eq!(sink.superseded(), superseded, "round {round}: {versions:?}");
    }
    assert!(superseded > 100 && refused > 5, "{superseded} {refused}");
    assert_eq!(sink.fixture.number("SELECT sum(dead) FROM weir.positions"), refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_deleted_in_the_order_of_the_records() {
    let sink = Sink::that_deletes().await;
    let records = [
        version(1, "one", 5, None),
        deleting(1, 6, None),
        deleting(2, 7, None),
        version(2, "two", 8, None),
        version(3, "three", 9, None),
        deleting(9, 10, None),
    ];
    assert_eq!(sink.write(0, &records).await, 0);
    assert_eq!(sink.names(), "2two,3three");
    // Versions from before the delete do not come back, those from after it do.
    let back = [version(1, "old", 20, Some(2)), version(9, "new", 21, Some(11))];
    assert_eq!(sink.write(0, &back).await, 1);
    assert_eq!(sink.names(), "2two,3three,9new");
    // A delete that came back leaves a newer row.
    let back = [deleting(3, 22, Some(8)), deleting(2, 23, Some(9))];
    assert_eq!(sink.write(0, &back).await, 1);
    assert_eq!(sink.names(), "3three,9new");
    assert_eq!(sink.write(0, &[version(1, "again", 24, None)]).await, 0);
    assert_eq!(sink.names(), "1again,3three,9new");
    assert_eq!(
        sink.fixture.rows("SELECT read, written, dead FROM weir.positions"),
        [["11", "11", "0"].map(|s| Some(s.to_owned()))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_the_table_refuses_is_a_dead_letter() {
    let sink = Sink::that_deletes().await;
    let kept = [version(1, "kept", 4, None), version(2, "free", 5, None)];
    sink.write(0, &kept).await;
    sink.write(0, &[version(3, "guarded", 6, None)]).await;
    sink.fixture
        .database
        .execute(
            "CREATE TABLE shop.line (sale int REFERENCES shop.sale (id)); \
             INSERT INTO shop.line VALUES (1); \
             CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
             CREATE TRIGGER skip BEFORE DELETE ON shop.sale FOR EACH ROW \
             WHEN (OLD.name = 'guarded') EXECUTE FUNCTION skip()",
        )
        .unwrap();
    let records = [
        deleting(1, 7, None),
        deleting(2, 8, None),
        deleting(3, 10, None),
        version(4, "last", 11, None),
    ];
    sink.write(0, &records).await;
    assert_eq!(sink.names(), "1kept,3guarded,4last");
    assert_eq!(
        sink.fixture
            .rows("SELECT reason, sqlstate, source_offset FROM weir.dead_letters ORDER BY id"),
        [
            [Some("foreign_key"), Some("23503"), Some("0")].map(|s| s.map(str::to_owned)),
            [Some("not_stored"), None, Some("4")].map(|s| s.map(str::to_owned))
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_two_partitions_have_no_order_so_the_last_to_come_stays() {
    let sink = Sink::new().await;
    sink.write(0, &[version(1, "zero", 50, None)]).await;
    assert_eq!(sink.write(1, &[version(1, "one", 40, Some(3))]).await, 0);
    assert_eq!(sink.names(), "1one");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_an_input_topic_that_was_recreated_or_of_nobody_are_not_newer() {
    let sink = Sink::new().await;
    sink.write(0, &[version(1, "old log", 900, None)]).await;
    sink.fixture
        .database
        .execute(
            "ALTER TABLE shop.sale ALTER weir_topic DROP NOT NULL, \
             ALTER weir_partition DROP NOT NULL, ALTER weir_offset DROP NOT NULL; \
             INSERT INTO shop.sale VALUES (2, 'by hand')",
        )
        .unwrap();
    let back = [version(1, "came back", 20, Some(3)), version(2, "too", 21, Some(4))];
    assert_eq!(sink.write(0, &back).await, 0);
    assert_eq!(sink.names(), "1came back,2too");
}

/// A row that a trigger leaves out is refused, also when it came back.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_came_back_and_was_left_out_by_a_trigger_is_not_taken_for_superseded() {
    let sink = Sink::new().await;
    sink.fixture
        .database
        .execute(
            "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
             CREATE TRIGGER skip BEFORE INSERT ON shop.sale FOR EACH ROW \
             WHEN (NEW.name = 'skipped') EXECUTE FUNCTION skip()",
        )
        .unwrap();
    sink.write(0, &[version(1, "new", 5, None)]).await;
    let back = [version(1, "old", 20, Some(3)), version(2, "skipped", 21, Some(4))];
    assert_eq!(sink.write(0, &back).await, 1);
    assert_eq!(sink.names(), "1new");
    assert_eq!(
        sink.fixture.rows("SELECT reason, source_offset FROM weir.dead_letters"),
        [["not_stored", "2"].map(|s| Some(s.to_owned()))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_table_with_lineage_that_merges_by_key_has_an_order() {
    for (target, ordered) in [
        (append(), false),
        (upsert(&["id"]), true),
        (Postgres { lineage: false, ..upsert(&["id"]) }, false),
    ] {
        let fixture = Fixture::prepared().await;
        let layout = fixture.layout(&target, &schema()).await;
        assert_eq!(layout.has_order(), ordered);
        let columns = fixture.number(
            "SELECT count(*) FROM information_schema.columns WHERE column_name = 'weir_replay_of'",
        );
        assert_eq!(columns, i64::from(ordered));
        let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
        let claim = claim(&committed[0], 1, 1);
        let written = write(&fixture.store, &layout, &claim, &batch(&[(1, "row")])).await.unwrap();
        assert_eq!((written.outcome, written.superseded), (Outcome::Committed, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_deleted_beside_values_that_the_server_reads() {
    let fixture = Fixture::prepared().await;
    fixture
        .database
        .execute(
            "CREATE SCHEMA shop; CREATE TABLE shop.sale (id int PRIMARY KEY, name inet, \
             amount numeric, sold timestamptz, weir_topic text, weir_partition int, \
             weir_offset bigint, weir_replay_of bigint)",
        )
        .unwrap();
    let target =
        Postgres { tombstones: Tombstones::Delete, columns: Default::default(), ..upsert(&["id"]) };
    let layout = fixture.layout(&target, &schema()).await;
    let sink = Sink { fixture, layout };
    let records = [
        version(1, "10.0.0.1", 5, None),
        version(2, "nowhere", 6, None),
        version(3, "10.0.0.3", 7, None),
        deleting(3, 8, None),
        version(4, "10.0.0.4", 9, None),
    ];
    sink.write(0, &records).await;
    assert_eq!(sink.names(), "110.0.0.1/32,410.0.0.4/32");
    // A version from before the delete does not come back.
    let back = [version(3, "10.0.0.9", 20, Some(2)), version(4, "10.0.0.5", 21, Some(10))];
    assert_eq!(sink.write(0, &back).await, 1);
    assert_eq!(sink.names(), "110.0.0.1/32,410.0.0.5/32");
    assert_eq!(
        sink.fixture.rows("SELECT reason, source_offset FROM weir.dead_letters"),
        [["invalid_text", "2"].map(|s| Some(s.to_owned()))]
    );
}
