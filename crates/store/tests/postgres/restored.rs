//! A table or a position that was put back without the other is noticed, by a sink that starts and
//! by one that runs. Both put back together are not.

use crate::fixture::{Fixture, append, batch, claim, position_key, schema, write};
use weir_model::fault::Class;
use weir_model::protocol::Outcome;
use weir_store::postgres::{Error, Layout};

const REPLACE_TABLE: &str = "ALTER TABLE shop.sale RENAME TO old; \
     CREATE TABLE shop.sale (LIKE shop.old); DROP TABLE shop.old";
const REPLACE_POSITIONS: &str = "ALTER TABLE weir.positions RENAME TO old; \
     CREATE TABLE weir.positions (LIKE weir.old INCLUDING ALL); \
     INSERT INTO weir.positions SELECT * FROM weir.old; DROP TABLE weir.old";

/// A sink that has written a row.
async fn started() -> (Fixture, Layout) {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap().remove(0);
    write(&fixture.store, &layout, &claim(&committed, 1, 1), &batch(&[(1, "a")])).await.unwrap();
    (fixture, layout)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_its_positions_and_positions_without_their_table_are_noticed() {
    for (statement, replaced) in
        [(REPLACE_TABLE, "shop.sale"), (REPLACE_POSITIONS, "weir.positions")]
    {
        let (fixture, _) = started().await;
        fixture.database.execute(statement).unwrap();
        let error = fixture.store.acquire(&position_key(), &[0]).await.unwrap_err();
        assert_eq!(error.class(), Class::Loss);
        assert!(matches!(error, Error::Restored { .. }), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(replaced), "{text}");
        assert_eq!(fixture.number("SELECT fence FROM weir.positions"), 1, "nothing was changed");
        // The remedy works.
        let (_, remedy) = text.split_once("as they are: ").unwrap();
        fixture.database.execute(remedy).unwrap();
        let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
        assert_eq!(committed[0].next, Some(1));
        fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_sink_writes_nothing_into_a_table_that_was_replaced() {
    let (fixture, layout) = started().await;
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap().remove(0);
    fixture.database.execute(REPLACE_TABLE).unwrap();
    let (claim, rows) = (claim(&committed, 2, 1), batch(&[(2, "b")]));
    let written = write(&fixture.store, &layout, &claim, &rows).await.unwrap();
    assert_eq!(written.outcome, Outcome::Refused);
    assert_eq!(fixture.number("SELECT count(*) FROM shop.sale"), 0);
    assert!(fixture.store.acquire(&position_key(), &[0]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_and_positions_restored_together_are_taken_as_they_are() {
    let (fixture, layout) = started().await;
    fixture.database.execute(&format!("{REPLACE_TABLE}; {REPLACE_POSITIONS}")).unwrap();
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap().remove(0);
    assert_eq!((committed.fence, committed.next), (2, Some(1)));
    let (claim, rows) = (claim(&committed, 2, 1), batch(&[(2, "b")]));
    let written = write(&fixture.store, &layout, &claim, &rows).await.unwrap();
    assert_eq!(written.outcome, Outcome::Committed);
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_does_not_make_another_table() {
    let (fixture, layout) = started().await;
    for statement in [
        "VACUUM FULL shop.sale",
        "TRUNCATE shop.sale",
        "ALTER TABLE shop.sale ADD COLUMN note text DEFAULT clock_timestamp()::text",
        "ALTER TABLE shop.sale RENAME TO other; ALTER TABLE shop.other RENAME TO sale",
        "VACUUM FULL weir.positions",
    ] {
        fixture.database.execute(statement).unwrap();
        let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap().remove(0);
        let next = committed.next.unwrap() + 1;
        let rows = batch(&[(1, "a")]);
        let written = write(&fixture.store, &layout, &claim(&committed, next, 1), &rows).await;
        assert_eq!(written.unwrap().outcome, Outcome::Committed, "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_an_earlier_version_are_extended() {
    let (fixture, _) = started().await;
    fixture
        .database
        .execute("ALTER TABLE weir.positions DROP COLUMN target_oid, DROP COLUMN positions_oid")
        .unwrap();
    fixture.store.prepare().await.unwrap();
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    assert_eq!(committed[0].next, Some(1));
    assert_eq!(fixture.number("SELECT count(target_oid) FROM weir.positions"), 1);
}
