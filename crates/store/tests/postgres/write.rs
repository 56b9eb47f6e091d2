//! Rows, dead letters and counters are committed together or not at all.

use crate::fixture::{Fixture, append, batch, claim, position_key, schema, upsert, write};
use arrow::array::{ArrayRef, Int32Array, RecordBatch, TimestampMicrosecondArray};
use std::sync::Arc;
use weir_model::fault::Class;
use weir_model::protocol::Outcome;

#[tokio::test(flavor = "multi_thread")]
async fn values_are_stored_unchanged() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    let committed = fixture.store.acquire(&position_key(), &[1]).await.unwrap();
    let written = write(
        &fixture.store,
        &layout,
        &claim(&committed[0], 2, 2),
        &batch(&[(-7, "Zoë 🎉"), (8, "")]),
    )
    .await
    .unwrap();
    assert_eq!(written.outcome, Outcome::Committed);
    let rows = fixture.rows(
        "SELECT id, name, amount, sold, weir_topic, weir_partition, weir_offset \
         FROM shop.sale ORDER BY id",
    );
    let text = |row: [&str; 7]| row.map(|s| Some(s.to_owned())).to_vec();
    assert_eq!(
        rows,
        [
            text(["-7", "Zoë 🎉", "-6.75", "2026-01-02 03:04:05.678901", "calls", "1", "0"]),
            text(["8", "", "8.25", "2026-01-02 03:04:05.678901", "calls", "1", "1"]),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_value_affects_its_own_row_only() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let mut rows: Vec<(i32, &str)> = (0..10_000).map(|id| (id, "fits")).collect();
    rows[0].1 = "too long for ten";
    rows[5_000].1 = "a\0b";
    rows[9_999].1 = "too long as well";
    let written =
        write(&fixture.store, &layout, &claim(&committed[0], 10_000, 10_000), &batch(&rows))
            .await
            .unwrap();
    assert_eq!(written.outcome, Outcome::Committed);
    let refused: Vec<_> = written
        .refused
        .iter()
        .map(|r| (r.row, r.sqlstate.as_deref().unwrap_or("-"), r.column.as_deref()))
        .collect();
    assert_eq!(
        refused,
        [
            (0, "22001", Some("name")),
            (5_000, "22021", Some("name")),
            (9_999, "22001", Some("name"))
        ]
    );
    assert_eq!(
        fixture.number("SELECT count(*) FROM shop.sale WHERE id NOT IN (0, 5000, 9999)"),
        9_997
    );
    assert_eq!(fixture.number("SELECT count(*) FROM shop.sale"), 9_997);
    assert_eq!(fixture.number("SELECT written FROM weir.positions"), 9_997);
    assert_eq!(fixture.number("SELECT dead FROM weir.positions"), 3);
    let dead_letters = fixture.rows(
        "SELECT \"offset\", source_offset, encode(value, 'escape'), stage, reason, detail, \
         column_name, sqlstate, schema_id, headers \
         FROM weir.dead_letters WHERE sqlstate = '22021'",
    );
    let expected = ["5000", "10000", "record 5000\\000", "sink", "character_not_storable"];
    assert_eq!(dead_letters[0][..5], expected.map(|s| Some(s.to_owned())));
    assert_eq!(dead_letters[0][6..9], ["name", "22021", "7"].map(|s| Some(s.to_owned())));
    assert_eq!(
        dead_letters[0][9].as_deref(),
        Some(r#"[{"hex": "0100ff", "name": "weir-lineage"}]"#)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_violate_constraints_are_isolated() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    fixture
        .database
        .execute(
            "ALTER TABLE shop.sale ADD CONSTRAINT cheap CHECK (amount < 1000); \
             ALTER TABLE shop.sale ADD CONSTRAINT once UNIQUE (id) DEFERRABLE INITIALLY DEFERRED",
        )
        .unwrap();
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let rows = [(1, "a"), (2, "b"), (5000, "dear"), (2, "twice"), (3, "c")];
    let written =
        write(&fixture.store, &layout, &claim(&committed[0], 5, 5), &batch(&rows)).await.unwrap();
    let refused: Vec<_> =
        written.refused.iter().map(|r| (r.row, r.sqlstate.as_deref().unwrap_or("-"))).collect();
    assert_eq!((written.outcome, refused), (Outcome::Committed, vec![(2, "23514"), (3, "23505")]));
    assert_eq!(
        fixture.rows("SELECT string_agg(name, ',' ORDER BY id) FROM shop.sale"),
        [[Some("a,b,c".to_owned())]]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn times_out_of_range_are_dead_letters_and_not_infinity() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let mut columns: Vec<ArrayRef> =
        batch(&[(1, "past"), (2, "now"), (3, "future"), (4, "end")]).columns().to_vec();
    let times = [i64::MIN, crate::fixture::SOLD, i64::MAX, i64::MAX - 1];
    columns[3] = Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("+00:00"));
    let rows = RecordBatch::try_new(schema(), columns).unwrap();
    let written = write(&fixture.store, &layout, &claim(&committed[0], 4, 4), &rows).await.unwrap();
    assert_eq!(written.outcome, Outcome::Committed);
    let refused: Vec<_> = written
        .refused
        .iter()
        .map(|r| (r.row, r.sqlstate.as_deref().unwrap_or("-"), r.column.as_deref()))
        .collect();
    assert_eq!(refused, [(0, "22008", Some("sold")), (2, "22008", Some("sold"))]);
    assert_eq!(
        fixture.rows("SELECT string_agg(name, ',' ORDER BY id) FROM shop.sale"),
        [[Some("now,end".to_owned())]]
    );
    assert_eq!(fixture.number("SELECT dead FROM weir.positions"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_keeps_the_last_row_of_each_key() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&upsert(&["id"]), &schema()).await;
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let first = [(1, "one"), (2, "two"), (1, "uno"), (3, "much too long"), (2, "dos")];
    let written =
        write(&fixture.store, &layout, &claim(&committed[0], 5, 5), &batch(&first)).await.unwrap();
    assert_eq!(written.refused.iter().map(|r| r.row).collect::<Vec<_>>(), [3]);
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    write(&fixture.store, &layout, &claim(&committed[0], 6, 1), &batch(&[(2, "zwei")]))
        .await
        .unwrap();
    let rows = fixture.rows("SELECT string_agg(id || name, ',' ORDER BY id) FROM shop.sale");
    assert_eq!(rows, [[Some("1uno,2zwei".to_owned())]]);
    assert_eq!(
        fixture.rows("SELECT read, written, dead FROM weir.positions"),
        [["6", "5", "1"].map(|s| Some(s.to_owned()))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_column_type_halts_without_dead_letters() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    fixture.database.execute("ALTER TABLE shop.sale ALTER COLUMN id TYPE bigint").unwrap();
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let error = write(&fixture.store, &layout, &claim(&committed[0], 1, 1), &batch(&[(1, "a")]))
        .await
        .unwrap_err();
    assert_eq!(error.class(), Class::Configuration, "{error}");
    fixture.database.execute("DROP TABLE shop.sale").unwrap();
    let error = write(&fixture.store, &layout, &claim(&committed[0], 1, 1), &batch(&[(1, "a")]))
        .await
        .unwrap_err();
    assert_eq!((error.class(), error.sqlstate()), (Class::Configuration, Some("42P01")));
    assert_eq!(fixture.number("SELECT count(*) FROM weir.dead_letters"), 0);
    assert_eq!(fixture.rows("SELECT next_offset FROM weir.positions"), [[None]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_midway_changes_nothing() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    // The backend terminates itself midway: unlike with a signal, the moment is certain.
    fixture
        .database
        .execute(
            "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.id = 5 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; \
             RETURN NEW; END $$; CREATE TRIGGER cut BEFORE INSERT ON shop.sale \
             FOR EACH ROW EXECUTE FUNCTION cut()",
        )
        .unwrap();
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let rows: Vec<(i32, &str)> = (0..10).map(|id| (id, "row")).collect();
    let claim = claim(&committed[0], 10, 10);
    let error = write(&fixture.store, &layout, &claim, &batch(&rows)).await.unwrap_err();
    assert_eq!(error.class(), Class::Environment, "{error}");
    fixture.database.execute("DROP TRIGGER cut ON shop.sale").unwrap();
    let again = write(&fixture.store, &layout, &claim, &batch(&rows)).await.unwrap();
    assert_eq!(again.outcome, Outcome::Committed);
    assert_eq!(fixture.number("SELECT count(*) FROM shop.sale"), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_position_row_resolves_a_lost_answer_to_commit() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    // A deferred trigger on the positions runs during COMMIT; terminating the backend there loses
    // the answer.
    fixture
        .database
        .execute(
            "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$; \
             CREATE CONSTRAINT TRIGGER cut AFTER UPDATE ON weir.positions \
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
             WHEN (NEW.next_offset = 1) EXECUTE FUNCTION cut(); \
             CREATE FUNCTION defer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             SET CONSTRAINTS ALL DEFERRED; RETURN NEW; END $$; \
             CREATE TRIGGER defer BEFORE UPDATE ON weir.positions \
             FOR EACH ROW EXECUTE FUNCTION defer()",
        )
        .unwrap();
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let written = write(&fixture.store, &layout, &claim(&committed[0], 1, 1), &batch(&[(1, "a")]))
        .await
        .unwrap();
    assert_eq!(written.outcome, Outcome::Unknown);
    let acquired = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    assert_eq!((acquired[0].fence, acquired[0].next), (2, None));
    assert_eq!(fixture.number("SELECT count(*) FROM shop.sale"), 0, "rows and position agree");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_another_schema_is_not_written() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    let other =
        RecordBatch::try_from_iter([("id", Arc::new(Int32Array::from(vec![1])) as ArrayRef)])
            .unwrap();
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    assert!(write(&fixture.store, &layout, &claim(&committed[0], 1, 1), &other).await.is_err());
}
