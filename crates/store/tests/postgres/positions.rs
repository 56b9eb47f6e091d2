//! Who may write: fences and positions.

use crate::fixture::{Ground, batch, claim, position_key, schema, target, write};
use std::time::Duration;
use weir_model::accepted_loss::Skip;
use weir_model::fault::Class;
use weir_model::pipeline::Mode;
use weir_model::protocol::Outcome;
use weir_store::{Error, Move, PositionKey, Store};
use weir_testkit::Database;

#[tokio::test(flavor = "multi_thread")]
async fn first_starts_do_not_disturb_one_another() {
    let ground = Ground::new();
    let starts: Vec<_> = (0..8)
        .map(|_| ground.store.clone())
        .map(|store| tokio::spawn(async move { store.prepare().await }))
        .collect();
    for start in starts {
        start.await.unwrap().unwrap();
    }
    assert_eq!(ground.number("SELECT count(*) FROM weir.positions"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_owner_raises_the_fence_and_reads_the_books() {
    let ground = Ground::prepared().await;
    let layout = ground.layout(&target(Mode::Append), &schema()).await;
    let first = ground.store.acquire(&position_key(), &[2, 0]).await.unwrap();
    assert_eq!(
        first.iter().map(|s| (s.partition, s.fence, s.next)).collect::<Vec<_>>(),
        [(0, 1, None), (2, 1, None)]
    );
    write(&ground.store, &layout, &claim(&first[1], 17, 2), &batch(&[(1, "a"), (2, "b")]))
        .await
        .unwrap();
    let second = ground.store.acquire(&position_key(), &[2]).await.unwrap();
    assert_eq!((second[0].fence, second[0].next), (2, Some(17)));
    assert_eq!(
        (
            second[0].progress.counters.read,
            second[0].progress.counters.written,
            second[0].progress.last
        ),
        (2, 2, Some(16))
    );
    let books = ground.store.books("shop").await.unwrap();
    assert_eq!(books.len(), 2);
    assert_eq!(books[1].committed, second[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_was_replaced_writes_nothing() {
    let ground = Ground::prepared().await;
    let layout = ground.layout(&target(Mode::Append), &schema()).await;
    let zombie = ground.store.acquire(&position_key(), &[0]).await.unwrap();
    let owner = ground.store.acquire(&position_key(), &[0]).await.unwrap();
    let refused = write(&ground.store, &layout, &claim(&zombie[0], 1, 1), &batch(&[(1, "zombie")]))
        .await
        .unwrap();
    assert_eq!(refused.outcome, Outcome::Refused);
    let committed = write(&ground.store, &layout, &claim(&owner[0], 1, 1), &batch(&[(1, "owner")]))
        .await
        .unwrap();
    assert_eq!(committed.outcome, Outcome::Committed);
    assert_eq!(ground.rows("SELECT name FROM shop.sale"), [[Some("owner".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_loss_and_the_move_of_the_position_happen_together_or_not_at_all() {
    let ground = Ground::prepared().await;
    let layout = ground.layout(&target(Mode::Append), &schema()).await;
    let committed = ground.store.acquire(&position_key(), &[0]).await.unwrap().remove(0);
    write(&ground.store, &layout, &claim(&committed, 5, 1), &batch(&[(1, "a")])).await.unwrap();
    let order =
        Move { partition: 0, fence: committed.fence, from: 5, to: 90, last: Some(70), records: 12 };
    for stale in
        [Move { fence: committed.fence - 1, ..order.clone() }, Move { from: 4, ..order.clone() }]
    {
        assert!(!ground.store.accept(&position_key(), &stale, "stale").await.unwrap());
    }
    assert_eq!(ground.store.accepted("shop").await.unwrap(), []);
    assert!(ground.store.accept(&position_key(), &order, "disk full").await.unwrap());
    let moved = ground.store.acquire(&position_key(), &[0]).await.unwrap().remove(0);
    assert_eq!(
        (moved.next, moved.progress.last, moved.progress.counters.read),
        (Some(90), Some(70), 1),
        "the books stay as they were"
    );
    let accepted = ground.store.accepted("shop").await.unwrap();
    assert_eq!(
        (accepted.len(), accepted[0].records, accepted[0].reason.as_str()),
        (1, Some(12), "disk full")
    );
    assert_eq!(accepted[0].skips, [Skip { partition: 0, from: Some(5), to: 90, emitted: None }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_claim_is_not_honoured_twice() {
    let ground = Ground::prepared().await;
    let layout = ground.layout(&target(Mode::Append), &schema()).await;
    let committed = ground.store.acquire(&position_key(), &[0]).await.unwrap();
    let claim = claim(&committed[0], 1, 1);
    assert_eq!(
        write(&ground.store, &layout, &claim, &batch(&[(1, "a")])).await.unwrap().outcome,
        Outcome::Committed
    );
    assert_eq!(
        write(&ground.store, &layout, &claim, &batch(&[(1, "a")])).await.unwrap().outcome,
        Outcome::Refused
    );
    assert_eq!(ground.number("SELECT count(*) FROM shop.sale"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_owner_waits_for_the_open_transaction_of_its_predecessor() {
    let ground = Ground::prepared().await;
    ground.store.acquire(&position_key(), &[0]).await.unwrap();
    let predecessor = Database::connect(&ground.url).unwrap();
    predecessor.execute("BEGIN; UPDATE weir.positions SET next_offset = 5").unwrap();
    let store = ground.store.clone();
    let taking = tokio::spawn(async move { store.acquire(&position_key(), &[0]).await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    weir_testkit::wait_until("the new owner waits", Duration::from_secs(10), || {
        (ground.number(waits) == 1).then_some(())
    });
    predecessor.execute("COMMIT").unwrap();
    assert_eq!(taking.await.unwrap().unwrap()[0].next, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predecessor_that_hangs_in_its_transaction_is_cut_off() {
    let ground = Ground::prepared().await;
    ground.store.acquire(&position_key(), &[0]).await.unwrap();
    let hanging = Database::connect(&ground.url).unwrap();
    hanging
        .execute(
            "SET application_name = 'weir sink'; BEGIN; UPDATE weir.positions SET next_offset = 5",
        )
        .unwrap();
    let committed = ground.store.acquire(&position_key(), &[0]).await.unwrap();
    assert_eq!((committed[0].fence, committed[0].next), (2, None));
    assert!(hanging.execute("COMMIT").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_another_kafka_cluster_are_not_used() {
    let ground = Ground::prepared().await;
    ground.store.acquire(&position_key(), &[0]).await.unwrap();
    let error = ground
        .store
        .acquire(&PositionKey { cluster: "cluster-2".into(), ..position_key() }, &[0])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::OtherCluster { .. }), "{error}");
    assert_eq!(error.class(), Class::Loss);
    assert_eq!(ground.number("SELECT fence FROM weir.positions"), 1, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_the_environment() {
    let nobody = weir_model::secret::Secret::new("postgres://weir:hush@127.0.0.1:1/weir");
    let error = Store::new(&nobody, "test").unwrap().ping().await.unwrap_err();
    assert_eq!(error.class(), Class::Environment);
    assert!(error.to_string().starts_with("postgres at 127.0.0.1:1/weir: "), "{error}");
    assert!(!format!("{error} {error:?}").contains("hush"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predecessor_that_stopped_in_the_middle_of_its_copy_is_cut_off() {
    let ground = Ground::prepared().await;
    ground.layout(&target(Mode::Append), &schema()).await;
    ground.store.acquire(&position_key(), &[0]).await.unwrap();
    let config: tokio_postgres::Config = ground.url.parse().unwrap();
    let (stopped, connection) =
        config.clone().application_name("weir sink").connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    stopped.batch_execute("BEGIN; UPDATE weir.positions SET next_offset = 5").await.unwrap();
    let _copy: tokio_postgres::CopyInSink<bytes::Bytes> =
        stopped.copy_in("COPY shop.sale FROM STDIN (FORMAT binary)").await.unwrap();
    let committed = ground.store.acquire(&position_key(), &[0]).await.unwrap();
    assert_eq!((committed[0].fence, committed[0].next), (2, None));
}
