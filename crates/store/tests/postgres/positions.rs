//! Fences and positions.

use crate::fixture::{Fixture, append, batch, claim, position_key, schema, write};
use std::time::Duration;
use weir_model::accepted_loss::Skip;
use weir_model::fault::Class;
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::Outcome;
use weir_store::postgres::{Error, PositionKey, Store};
use weir_store::reader::Move;
use weir_testkit::Database;

#[tokio::test(flavor = "multi_thread")]
async fn first_starts_may_run_at_the_same_time() {
    let fixture = Fixture::new();
    let starts: Vec<_> = (0..8)
        .map(|_| fixture.store.clone())
        .map(|store| tokio::spawn(async move { store.prepare().await }))
        .collect();
    for start in starts {
        start.await.unwrap().unwrap();
    }
    assert_eq!(fixture.number("SELECT count(*) FROM weir.positions"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_owner_increments_the_fence_and_reads_the_counters() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    let first = fixture.store.acquire(&position_key(), &[2, 0]).await.unwrap();
    assert_eq!(
        first.iter().map(|s| (s.partition, s.fence, s.next)).collect::<Vec<_>>(),
        [(0, 1, None), (2, 1, None)]
    );
    write(&fixture.store, &layout, &claim(&first[1], 17, 2), &batch(&[(1, "a"), (2, "b")]))
        .await
        .unwrap();
    let second = fixture.store.acquire(&position_key(), &[2]).await.unwrap();
    assert_eq!((second[0].fence, second[0].next), (2, Some(17)));
    assert_eq!(
        (
            second[0].progress.counters.read,
            second[0].progress.counters.written,
            second[0].progress.last
        ),
        (2, 2, Some(16))
    );
    let positions = fixture.store.positions("shop", "warehouse").await.unwrap();
    assert_eq!(positions.len(), 2);
    assert_eq!(positions[1].committed, second[0]);
    assert_eq!(fixture.store.positions("shop", "lake").await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_was_replaced_writes_nothing() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    let zombie = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let owner = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let refused =
        write(&fixture.store, &layout, &claim(&zombie[0], 1, 1), &batch(&[(1, "zombie")]))
            .await
            .unwrap();
    assert_eq!(refused.outcome, Outcome::Refused);
    let committed =
        write(&fixture.store, &layout, &claim(&owner[0], 1, 1), &batch(&[(1, "owner")]))
            .await
            .unwrap();
    assert_eq!(committed.outcome, Outcome::Committed);
    assert_eq!(fixture.rows("SELECT name FROM shop.sale"), [[Some("owner".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_loss_and_the_move_of_the_position_happen_together_or_not_at_all() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap().remove(0);
    write(&fixture.store, &layout, &claim(&committed, 5, 1), &batch(&[(1, "a")])).await.unwrap();
    let counters = Counters { read: 9, written: 4, filtered: 3, dead: 2, unnested: 0 };
    let to = Move {
        partition: 0,
        fence: committed.fence,
        from: 5,
        to: 90,
        progress: Progress { counters, last: Some(70), ..Progress::default() },
        records: 12,
    };
    for stale in [Move { fence: committed.fence - 1, ..to.clone() }, Move { from: 4, ..to.clone() }]
    {
        assert!(!fixture.store.accept(&position_key(), &stale, "stale").await.unwrap());
    }
    assert_eq!(fixture.store.accepted_losses("shop", "warehouse").await.unwrap(), []);
    assert!(fixture.store.accept(&position_key(), &to, "disk full").await.unwrap());
    let moved = fixture.store.acquire(&position_key(), &[0]).await.unwrap().remove(0);
    assert_eq!(
        (moved.next, moved.progress.last, moved.progress.counters),
        (Some(90), Some(70), counters),
        "the counters are those of the new position"
    );
    let accepted = fixture.store.accepted_losses("shop", "warehouse").await.unwrap();
    assert_eq!(
        (accepted.len(), accepted[0].records, accepted[0].reason.as_str()),
        (1, Some(12), "disk full")
    );
    assert_eq!(accepted[0].skips, [Skip { partition: 0, from: Some(5), to: 90, emitted: None }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clearing_a_sink_deletes_its_own_state_and_no_row() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap().remove(0);
    let rows = batch(&[(1, "fits"), (2, "too long for ten")]);
    write(&fixture.store, &layout, &claim(&committed, 5, 2), &rows).await.unwrap();
    let other = PositionKey { sink: "lake".into(), ..position_key() };
    fixture.store.acquire(&other, &[0]).await.unwrap();
    fixture.store.clear("shop", "warehouse").await.unwrap();
    assert_eq!(fixture.store.positions("shop", "warehouse").await.unwrap(), []);
    assert_eq!(fixture.store.positions("shop", "lake").await.unwrap().len(), 1);
    assert_eq!(fixture.number("SELECT count(*) FROM weir.dead_letters"), 0);
    assert_eq!(fixture.number("SELECT count(*) FROM shop.sale"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_claim_is_not_honoured_twice() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let claim = claim(&committed[0], 1, 1);
    assert_eq!(
        write(&fixture.store, &layout, &claim, &batch(&[(1, "a")])).await.unwrap().outcome,
        Outcome::Committed
    );
    assert_eq!(
        write(&fixture.store, &layout, &claim, &batch(&[(1, "a")])).await.unwrap().outcome,
        Outcome::Refused
    );
    assert_eq!(fixture.number("SELECT count(*) FROM shop.sale"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_owner_waits_for_the_open_transaction_of_its_predecessor() {
    let fixture = Fixture::prepared().await;
    fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let predecessor = Database::connect(&fixture.url).unwrap();
    predecessor.execute("BEGIN; UPDATE weir.positions SET next_offset = 5").unwrap();
    let store = fixture.store.clone();
    let acquiring = tokio::spawn(async move { store.acquire(&position_key(), &[0]).await });
    let waits = "SELECT count(*) FROM pg_stat_activity \
                 WHERE wait_event_type = 'Lock' AND datname = current_database()";
    weir_testkit::wait_until("the new owner waits", Duration::from_secs(10), || {
        (fixture.number(waits) == 1).then_some(())
    });
    predecessor.execute("COMMIT").unwrap();
    assert_eq!(acquiring.await.unwrap().unwrap()[0].next, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_of_a_predecessor_that_hangs_in_its_transaction_is_terminated() {
    let fixture = Fixture::prepared().await;
    fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let hanging = Database::connect(&fixture.url).unwrap();
    hanging
        .execute(
            "SET application_name = 'weir sink'; BEGIN; UPDATE weir.positions SET next_offset = 5",
        )
        .unwrap();
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    assert_eq!((committed[0].fence, committed[0].next), (2, None));
    assert!(hanging.execute("COMMIT").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_another_kafka_cluster_are_not_used() {
    let fixture = Fixture::prepared().await;
    fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let error = fixture
        .store
        .acquire(&PositionKey { cluster: "cluster-2".into(), ..position_key() }, &[0])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::OtherCluster { .. }), "{error}");
    assert_eq!(error.class(), Class::Loss);
    assert_eq!(fixture.number("SELECT fence FROM weir.positions"), 1, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server_is_an_error_of_the_environment() {
    let unreachable = weir_model::secret::Secret::new("postgres://weir:hush@127.0.0.1:1/weir");
    let error = Store::new(&unreachable, "test", 4).unwrap().ping().await.unwrap_err();
    assert_eq!(error.class(), Class::Environment);
    assert!(error.to_string().starts_with("postgres at 127.0.0.1:1/weir: "), "{error}");
    assert!(!format!("{error} {error:?}").contains("hush"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_of_a_predecessor_that_stopped_during_its_copy_is_terminated() {
    let fixture = Fixture::prepared().await;
    fixture.layout(&append(), &schema()).await;
    fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    let config: tokio_postgres::Config = fixture.url.parse().unwrap();
    let (stopped, connection) =
        config.clone().application_name("weir sink").connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    stopped.batch_execute("BEGIN; UPDATE weir.positions SET next_offset = 5").await.unwrap();
    let _copy: tokio_postgres::CopyInSink<bytes::Bytes> =
        stopped.copy_in("COPY shop.sale FROM STDIN (FORMAT binary)").await.unwrap();
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    assert_eq!((committed[0].fence, committed[0].next), (2, None));
}

/// Sessions that began while the server took no writes would refuse them for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_writes_again_is_written_to() {
    let fixture = Fixture::prepared().await;
    let name = fixture.database.text("SELECT current_database()").unwrap().unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = \
        current_database() AND application_name LIKE 'weir%'";
    let set = |to: &str| {
        let sql = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = {to}");
        fixture.database.execute(&sql).unwrap();
    };
    set("on");
    fixture.database.texts(cut).unwrap();
    // The first attempts may meet a connection that was cut.
    let refused = loop {
        let error = fixture.store.acquire(&position_key(), &[0]).await.unwrap_err();
        if error.to_string().contains("read-only") {
            break error;
        }
    };
    assert_eq!(refused.class(), Class::Environment);
    set("off");
    fixture.store.acquire(&position_key(), &[0]).await.unwrap();
}
