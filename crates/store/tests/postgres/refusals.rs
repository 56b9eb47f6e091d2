//! A row that the table refuses becomes a dead letter, whatever the reason and wherever it is in
//! its batch; the rows beside it are stored.

use crate::fixture::{Fixture, append, batch, claim, position_key, schema, upsert, write};
use std::time::{Duration, Instant};
use weir_model::fault::Class;
use weir_model::pipeline::Postgres;
use weir_model::protocol::Outcome;
use weir_store::postgres::{Committed, Error, Layout, Refusal};

/// Refuses each row named `! <SQLSTATE>` with that code, and leaves out each row named `skip`.
const TRIGGER: &str = "CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
     IF NEW.name LIKE '! %' THEN \
       RAISE EXCEPTION 'row % is marked', NEW.id USING ERRCODE = substr(NEW.name, 3); \
     END IF; \
     IF NEW.name = 'skip' THEN RETURN NULL; END IF; \
     RETURN NEW; END $$; \
     CREATE TRIGGER judge BEFORE INSERT OR UPDATE ON shop.sale \
     FOR EACH ROW EXECUTE FUNCTION judge()";

/// One code of each class that a trigger, a function or a data type may raise for a row.
const OF_A_ROW: [&str; 47] = [
    "02000", "03000", "09000", "0A000", "0B000", "0F000", "0L000", "0P000", "0Z000", "20000",
    "21000", "22000", "22012", "22P02", "23000", "23502", "23505", "23514", "23P01", "24000",
    "26000", "27000", "2B000", "2D000", "2F000", "34000", "38000", "39000", "3B000", "3D000",
    "3F000", "40002", "42000", "42501", "42P01", "42883", "428C9", "44000", "54000", "54001",
    "55000", "F0000", "HV000", "P0001", "P0002", "P0003", "XX000",
];

/// Codes that pass by themselves, or when the database is repaired.
const OF_THE_ENVIRONMENT: [&str; 17] = [
    "08000", "08006", "25006", "25P03", "28000", "40001", "40003", "40P01", "53000", "53100",
    "53200", "53300", "55P03", "57014", "57P01", "57P03", "58030",
];

struct Sale {
    fixture: Fixture,
    layout: Layout,
}

impl Sale {
    async fn new(target: &Postgres) -> Sale {
        let fixture = Fixture::prepared().await;
        let layout = fixture.layout(target, &schema()).await;
        Sale { fixture, layout }
    }

    async fn with_trigger(target: &Postgres) -> Sale {
        let sale = Sale::new(target).await;
        sale.fixture.database.execute(TRIGGER).unwrap();
        sale
    }

    async fn write(&self, rows: &[(i32, &str)]) -> Result<Committed, Error> {
        let committed = self.fixture.store.acquire(&position_key(), &[0]).await.unwrap().remove(0);
        let next = committed.next.unwrap_or(0) + rows.len() as i64;
        let claim = claim(&committed, next, rows.len() as u64);
        write(&self.fixture.store, &self.layout, &claim, &batch(rows)).await
    }

    fn names(&self) -> String {
        let names = "SELECT string_agg(name, ',' ORDER BY id) FROM shop.sale";
        self.fixture.rows(names)[0][0].clone().unwrap_or_default()
    }

    fn empty(&self) {
        self.fixture
            .database
            .execute("TRUNCATE shop.sale; TRUNCATE weir.dead_letters; TRUNCATE weir.positions")
            .unwrap();
    }
}

fn refused_rows(written: &Committed) -> Vec<usize> {
    written.refused.iter().map(|refusal| refusal.row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_refused_alone_does_not_take_its_neighbours() {
    for target in [append(), upsert(&["id"])] {
        let sale = Sale::with_trigger(&target).await;
        for code in OF_A_ROW {
            for position in [0, 2, 4] {
                sale.empty();
                let marked = format!("! {code}");
                let mut rows: Vec<(i32, &str)> = (0..5).map(|id| (id, "fits")).collect();
                rows[position].1 = &marked;
                let written = sale.write(&rows).await.unwrap_or_else(|e| panic!("{code}: {e}"));
                assert_eq!(written.outcome, Outcome::Committed, "{code}");
                assert_eq!(refused_rows(&written), [position], "{code}");
                assert_eq!(sale.names(), "fits,fits,fits,fits", "{code} at {position}");
                let dead = sale.fixture.rows("SELECT sqlstate, detail FROM weir.dead_letters");
                let detail = format!("row {position} is marked");
                assert_eq!(dead, [[Some(code.to_owned()), Some(detail)]]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_passes_by_itself_refuses_no_row() {
    for target in [append(), upsert(&["id"])] {
        let sale = Sale::with_trigger(&target).await;
        for code in OF_THE_ENVIRONMENT {
            for position in [0, 2, 4] {
                let marked = format!("! {code}");
                let mut rows: Vec<(i32, &str)> = (0..5).map(|id| (id, "fits")).collect();
                rows[position].1 = &marked;
                let error = sale.write(&rows).await.unwrap_err();
                assert_eq!(error.class(), Class::Environment, "{code}: {error}");
            }
        }
        assert_eq!(sale.names(), "");
        assert_eq!(sale.fixture.number("SELECT count(*) FROM weir.dead_letters"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_table_that_no_row_passes_halts_until_the_table_takes_a_row() {
    for target in [append(), upsert(&["id"])] {
        let sale = Sale::with_trigger(&target).await;
        for code in ["0A000", "42501", "42P01", "42883", "428C9", "XX000"] {
            let marked = format!("! {code}");
            let mut rows: Vec<(i32, &str)> = (0..5).map(|id| (id, marked.as_str())).collect();
            for waiting in [&rows[..1], &rows] {
                let error = sale.write(waiting).await.unwrap_err();
                assert_eq!(error.class(), Class::Configuration, "{code}: {error}");
                let said = error.to_string();
                let rows = format!("took none of the {} rows", waiting.len());
                for part in [code, &rows, "when the table takes another row with them"] {
                    assert!(said.contains(part), "{code}: {said}");
                }
            }
            assert_eq!(sale.fixture.number("SELECT count(*) FROM weir.dead_letters"), 0);
            rows.push((5, "neighbour"));
            assert_eq!(refused_rows(&sale.write(&rows).await.unwrap()), [0, 1, 2, 3, 4], "{code}");
            sale.empty();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_row_that_a_trigger_refuses_is_a_dead_letter() {
    for target in [append(), upsert(&["id"])] {
        let sale = Sale::with_trigger(&target).await;
        for code in ["P0001", "23514", "22023", "54001", "54000", "44000", "21000", "09000"] {
            let written = sale.write(&[(1, format!("! {code}").as_str())]).await.unwrap();
            assert_eq!(refused_rows(&written), [0], "{code}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_table_itself_refuses_for_one_row_is_a_dead_letter() {
    let rules = [
        "ALTER TABLE shop.sale ADD CHECK (id <> 2)",
        "CREATE DOMAIN shop.even AS int CHECK (VALUE <> 2); \
         ALTER TABLE shop.sale ALTER COLUMN id TYPE shop.even",
        "CREATE INDEX ON shop.sale ((100 / (id - 2)))",
        "CREATE UNIQUE INDEX ON shop.sale ((nullif(id, 2)), (id <> 2)) NULLS NOT DISTINCT; \
         INSERT INTO shop.sale (id, weir_topic, weir_partition, weir_offset) VALUES (2, '', 0, 0)",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF NEW.id = 2 THEN PERFORM 1 FROM missing; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER t AFTER INSERT ON shop.sale FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF NEW.id = 2 THEN RAISE 'no'; END IF; RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER t AFTER INSERT ON shop.sale DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION g()",
    ];
    for rule in rules {
        let sale = Sale::new(&append()).await;
        sale.fixture.database.execute(rule).unwrap();
        let rows: Vec<(i32, &str)> = [1, 2, 3].map(|id| (id, "row")).to_vec();
        let written = sale.write(&rows).await.unwrap_or_else(|e| panic!("{rule}: {e}"));
        assert_eq!(refused_rows(&written), [1], "{rule}");
        assert_eq!(sale.fixture.number("SELECT count(*) FROM shop.sale WHERE name = 'row'"), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_table_silently_leaves_out_is_a_dead_letter() {
    for target in [append(), upsert(&["id"])] {
        for (position, num_rows) in [(0, 1), (0, 3), (1, 3), (2, 3), (77, 200)] {
            let sale = Sale::with_trigger(&target).await;
            let mut rows: Vec<(i32, &str)> = (0..num_rows).map(|id| (id, "row")).collect();
            rows[position].1 = "skip";
            let written = sale.write(&rows).await.unwrap();
            assert_eq!(refused_rows(&written), [position]);
            assert_eq!(written.refused[0].fault.reason, "not_stored");
            assert_eq!(
                sale.fixture.number("SELECT count(*) FROM shop.sale"),
                sale.fixture.number("SELECT written FROM weir.positions")
            );
            assert_eq!(sale.fixture.number("SELECT dead FROM weir.positions"), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_refused_rows_lands_within_seconds() {
    const LIMIT: Duration = Duration::from_secs(60);
    let long = "a name that is too long";
    for target in [append(), upsert(&["id"])] {
        for good_of_five in [0, 2] {
            let sale = Sale::new(&target).await;
            let name = |id: i32| if id % 5 < good_of_five { "fits" } else { long };
            let rows: Vec<(i32, &str)> = (0..30_000).map(|id| (id, name(id))).collect();
            let started = Instant::now();
            let written = sale.write(&rows).await.unwrap();
            let num_refused = 30_000 - 6_000 * i64::from(good_of_five);
            assert_eq!(written.outcome, Outcome::Committed);
            assert_eq!(written.refused.len() as i64, num_refused);
            assert_eq!(sale.fixture.number("SELECT count(*) FROM weir.dead_letters"), num_refused);
            assert_eq!(sale.fixture.number("SELECT count(*) FROM shop.sale"), 30_000 - num_refused);
            assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_refuse_one_another_are_judged_in_their_order() {
    let sale = Sale::new(&append()).await;
    sale.fixture.database.execute("CREATE UNIQUE INDEX ON shop.sale (id)").unwrap();
    let rows: Vec<(i32, &str)> = (0..2_000).map(|row| (row / 2, "row")).collect();
    let written = sale.write(&rows).await.unwrap();
    assert_eq!(refused_rows(&written), (0..1_000).map(|pair| pair * 2 + 1).collect::<Vec<_>>());
    assert_eq!(sale.fixture.number("SELECT count(DISTINCT id) FROM shop.sale"), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_isolates_rows_and_keeps_the_last_of_each_key() {
    let sale = Sale::with_trigger(&upsert(&["id"])).await;
    let rows: Vec<(i32, &str)> = (0..300)
        .map(|row| (row % 100, ["old", "newer", if row % 7 == 0 { "! P0001" } else { "newest" }]))
        .enumerate()
        .map(|(row, (id, names))| (id, names[row / 100]))
        .collect();
    let written = sale.write(&rows).await.unwrap();
    assert_eq!(refused_rows(&written), (200..300).filter(|row| row % 7 == 0).collect::<Vec<_>>());
    let wrong = "SELECT count(*) FROM shop.sale \
                 WHERE name <> CASE WHEN (id + 200) % 7 = 0 THEN 'newer' ELSE 'newest' END";
    assert_eq!(sale.fixture.number(wrong), 0);
    assert_eq!(sale.fixture.number("SELECT count(*) FROM shop.sale"), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_enter_an_identity_column_of_the_key() {
    for target in [append(), upsert(&["id"])] {
        let fixture = Fixture::prepared().await;
        fixture
            .database
            .execute(
                "CREATE SCHEMA shop; CREATE TABLE shop.sale \
                 (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(10))",
            )
            .unwrap();
        let layout = fixture.layout(&target, &schema()).await;
        let sale = Sale { fixture, layout };
        let written = sale.write(&[(7, "a"), (8, "much too long"), (9, "b")]).await.unwrap();
        assert_eq!(refused_rows(&written), [1]);
        assert_eq!(sale.names(), "a,b");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_the_server_cannot_read_are_singled_out_among_many() {
    let fixture = Fixture::prepared().await;
    let bad = |n: &i32| n % 100 == 7 || (400..440).contains(n);
    // A type of an extension may not tell beforehand what it can read.
    for (kind, good) in [("inet", "10.0.0.1"), ("ltree", "a.b"), ("bit(3)", "101")] {
        fixture
            .database
            .execute(&format!(
                "DROP SCHEMA IF EXISTS shop CASCADE; CREATE EXTENSION IF NOT EXISTS ltree; \
                 CREATE SCHEMA shop; CREATE TABLE shop.sale (id int PRIMARY KEY, name {kind}, \
                 amount numeric, sold timestamptz); TRUNCATE weir.positions"
            ))
            .unwrap();
        for target in [append(), upsert(&["id"])] {
            let target = Postgres { columns: Default::default(), lineage: false, ..target };
            fixture.database.execute("TRUNCATE shop.sale, weir.positions").unwrap();
            let layout = fixture.layout(&target, &schema()).await;
            let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap().remove(0);
            let rows: Vec<_> =
                (0..2_000).map(|n| (n, if bad(&n) { "bad..text" } else { good })).collect();
            let claim = claim(&committed, 2_000, 2_000);
            let written = write(&fixture.store, &layout, &claim, &batch(&rows)).await.unwrap();
            let refused: Vec<i32> = written.refused.iter().map(|r| r.row as i32).collect();
            assert_eq!(refused, (0..2_000).filter(bad).collect::<Vec<_>>(), "{kind}");
            let named = |r: &Refusal| r.column.as_deref() == Some("name");
            assert!(written.refused.iter().all(named), "{:?}", written.refused[0]);
            let others = (0..2_000).filter(|n| !bad(n)).count() as i64;
            assert_eq!(fixture.number("SELECT count(*) FROM shop.sale"), others, "{kind}");
        }
    }
}
