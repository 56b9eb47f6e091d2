//! What the tests share: a database for each test, a small output schema, and source records.

use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_model::coordinates::RecordCoordinates;
use weir_model::dead_letter::DeadLetter;
use weir_model::fault::Fault;
use weir_model::pipeline::{Mode, Postgres, TableName, Tombstones};
use weir_model::progress::{Counters, LastRead, Progress};
use weir_model::protocol::{Claim, CommittedPosition, Offset, Partition};
use weir_model::secret::Secret;
use weir_store::SourceRecords;
use weir_store::postgres::{Committed, Encoded, Layout, Origins, PositionKey, Store, Write};
use weir_testkit::{Database, Stack};

/// A database for one test, a store and a plain connection to it.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) database: Database,
    pub(crate) url: String,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        let url = Stack::shared().create_database("store").unwrap();
        let store = Store::new(&Secret::new(&url), "test", 4).unwrap();
        Fixture { store, database: Database::connect(&url).unwrap(), url }
    }

    pub(crate) async fn prepared() -> Fixture {
        let fixture = Fixture::new();
        fixture.store.prepare().await.unwrap();
        fixture
    }

    /// Creates or extends the table and returns its layout.
    pub(crate) async fn layout(&self, target: &Postgres, schema: &SchemaRef) -> Layout {
        let check = self.store.check("warehouse", target, schema).await.unwrap();
        assert_eq!(check.mistakes, []);
        self.store.apply(&check).await.unwrap();
        check.layout.unwrap()
    }

    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.database.number(sql).unwrap()
    }

    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.database.texts(sql).unwrap()
    }
}

/// `shop.sale` in mode append.
pub(crate) fn append() -> Postgres {
    Postgres {
        url: Secret::default(),
        table: TableName { schema: "shop".into(), table: "sale".into() },
        mode: Mode::Append,
        key: Vec::new(),
        columns: BTreeMap::from([
            ("name".to_owned(), "varchar(10)".to_owned()),
            ("sold".to_owned(), "timestamp".to_owned()),
        ]),
        lineage: true,
        tombstones: Tombstones::DeadLetter,
        delete_when: None,
    }
}

/// `shop.sale` in mode upsert.
pub(crate) fn upsert(key: &[&str]) -> Postgres {
    let key = key.iter().map(|&column| column.into()).collect();
    Postgres { mode: Mode::Upsert, key, ..append() }
}

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("amount", DataType::Decimal128(10, 2), true),
        Field::new("sold", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
    ]))
}

/// 2026-01-02T03:04:05.678901Z.
pub(crate) const SOLD: i64 = 1_767_323_045_678_901;

/// Rows `(id, name)`.
pub(crate) fn batch(rows: &[(i32, &str)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1))),
        Arc::new(
            Decimal128Array::from_iter_values(rows.iter().map(|r| i128::from(r.0) * 100 + 25))
                .with_precision_and_scale(10, 2)
                .unwrap(),
        ),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(rows.iter().map(|_| SOLD))
                .with_timezone("+00:00"),
        ),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

pub(crate) fn position_key() -> PositionKey {
    PositionKey {
        pipeline: "shop".into(),
        sink: "warehouse".into(),
        topic: "sales".into(),
        cluster: "cluster-1".into(),
        table: append().table,
    }
}

/// The claim that moves `committed` over `rows` records to `next`.
pub(crate) fn claim(committed: &CommittedPosition, next: i64, rows: u64) -> Claim {
    let delta = Progress {
        counters: Counters { read: rows, written: rows, ..Counters::default() },
        last: Some(next - 1),
        last_read: Some(LastRead { offset: next - 1, fingerprint: Some(u64::MAX - next as u64) }),
        ..Progress::default()
    };
    Claim {
        partition: committed.partition,
        fence: committed.fence,
        expected: committed.next,
        next,
        progress: committed.progress.then(&delta),
    }
}

/// All rows come from one partition, row `n` from offset `n`, with the row number as its value.
pub(crate) struct Numbered(pub(crate) Partition);

impl SourceRecords for Numbered {
    fn partition(&self, _: usize) -> Partition {
        self.0
    }

    fn source(&self, row: usize) -> Offset {
        row as Offset * 2
    }

    fn replay_of(&self, _: usize) -> Option<Offset> {
        None
    }

    fn dead_letter(&self, row: usize, fault: Fault) -> DeadLetter {
        DeadLetter {
            coordinates: RecordCoordinates {
                topic: "sales".into(),
                partition: self.0,
                offset: row as Offset,
            },
            source: Some(self.source(row)),
            key: None,
            value: Some(format!("record {row}\0").into_bytes()),
            headers: vec![("weir-lineage".into(), Some(vec![1, 0, 255]))],
            timestamp_ms: Some(1_700_000_000_000),
            schema_id: Some(7),
            fault,
            column: None,
            code: None,
        }
    }
}

/// Writes `rows` under `claim`.
pub(crate) async fn write(
    store: &Store,
    layout: &Layout,
    claim: &Claim,
    rows: &RecordBatch,
) -> Result<Committed, weir_store::postgres::Error> {
    let offsets: Vec<Offset> = (0..rows.num_rows() as i64).collect();
    let replays = vec![None; rows.num_rows()];
    write_records(store, layout, claim, rows, (&offsets, &replays, None)).await
}

/// The same for rows from these input offsets, some of which came back from the dead letters: with
/// the offset of their first time, and some of which delete their row.
pub(crate) async fn write_records(
    store: &Store,
    layout: &Layout,
    claim: &Claim,
    rows: &RecordBatch,
    (offsets, replays, deletes): (&[Offset], &[Option<Offset>], Option<&BooleanBuffer>),
) -> Result<Committed, weir_store::postgres::Error> {
    let partitions = vec![claim.partition; rows.num_rows()];
    let mut encoded = Encoded::new(layout)?;
    let replays = if layout.has_order() { replays } else { &[] };
    let topic = "calls";
    let origins = Origins { topic, partitions: &partitions, offsets, replays, deletes };
    encoded.add(layout, rows, origins)?;
    store
        .write(Write {
            position_key: &position_key(),
            claims: vec![claim.clone()],
            layout,
            refused: encoded.take_refused(),
            rows: &encoded.finish(),
            dead_letters: &[],
            records: &Numbered(claim.partition),
        })
        .await
}
