//! The table that a sink fills is created or extended; other differences are listed.

use crate::fixture::{Fixture, append, batch, claim, position_key, schema, upsert, write};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;
use weir_model::pipeline::{Postgres, TableName};
use weir_store::postgres::reference;

fn with(schema: &SchemaRef, field: Field) -> SchemaRef {
    let mut fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.retain(|f| f.name() != field.name());
    fields.push(field);
    Arc::new(Schema::new(fields))
}

async fn mistakes(fixture: &Fixture, target: &Postgres, schema: &SchemaRef) -> Vec<String> {
    let check = fixture.store.check("warehouse", target, schema).await.unwrap();
    assert!(check.layout.is_none() || check.mistakes.is_empty());
    check.mistakes.into_iter().map(|m| format!("{}: {}", m.key, m.what)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_is_created_with_the_specified_types() {
    let fixture = Fixture::prepared().await;
    fixture.layout(&append(), &schema()).await;
    let columns = fixture.rows(
        "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) \
         || CASE WHEN attnotnull THEN ' not null' ELSE '' END, ', ' ORDER BY attnum) \
         FROM pg_attribute WHERE attrelid = 'shop.sale'::regclass AND attnum > 0",
    );
    let expected = "id integer not null, name character varying(10), amount numeric(10,2), \
                  sold timestamp without time zone, weir_topic text not null, \
                  weir_partition integer not null, weir_offset bigint not null";
    assert_eq!(columns, [[Some(expected.to_owned())]]);
    let again = fixture.store.check("warehouse", &append(), &schema()).await.unwrap();
    assert_eq!(again.statements, Vec::<String>::new());
    assert!(again.layout.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_changes_nothing() {
    let fixture = Fixture::new();
    let check = fixture.store.check("warehouse", &append(), &schema()).await.unwrap();
    assert_eq!(check.statements.len(), 2);
    assert_eq!(
        fixture.number("SELECT count(*) FROM pg_namespace WHERE nspname IN ('shop', 'weir')"),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_that_start_together_create_one_table() {
    const ROUNDS: usize = 60;
    let fixture = Fixture::prepared().await;
    for round in 0..ROUNDS {
        let start = |(store, target): (weir_store::postgres::Store, Postgres)| async move {
            // Checks until the table exists, so that some checks happen while it is being created.
            loop {
                let check = store.check("warehouse", &target, &schema()).await.unwrap();
                assert_eq!(check.mistakes, [], "a check while another sink creates the table");
                if check.statements.is_empty() {
                    return;
                }
                store.apply(&check).await.unwrap();
            }
        };
        let target = Postgres {
            table: TableName { schema: format!("shop{round}"), ..append().table },
            ..append()
        };
        let starts: Vec<_> =
            (0..6).map(|_| tokio::spawn(start((fixture.store.clone(), target.clone())))).collect();
        for start in starts {
            start.await.unwrap();
        }
    }
    let created =
        "SELECT count(*) FROM pg_tables WHERE schemaname LIKE 'shop%' AND tablename = 'sale'";
    assert_eq!(fixture.number(created), i64::try_from(ROUNDS).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_field_of_the_schema_becomes_a_column() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    write(&fixture.store, &layout, &claim(&committed[0], 1, 1), &batch(&[(1, "old")]))
        .await
        .unwrap();
    let extended = with(&schema(), Field::new("country", DataType::Utf8, false));
    fixture.layout(&append(), &extended).await;
    assert_eq!(
        fixture.rows("SELECT name, country FROM shop.sale"),
        [[Some("old".to_owned()), None]]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_differences_are_listed_at_once() {
    let fixture = Fixture::prepared().await;
    fixture
        .database
        .execute(
            "CREATE SCHEMA shop; CREATE TABLE shop.sale (id boolean, name varchar(20) NOT NULL, \
             amount numeric(10,1), sold date, branch text NOT NULL, weir_topic text, \
             weir_partition int, weir_offset bigint)",
        )
        .unwrap();
    let found = mistakes(&fixture, &upsert(&["id"]), &schema()).await;
    let expected = [
        "sink.warehouse.table: field id is int in the output schema and boolean in the table: \
         the types are not compatible",
        "sink.warehouse.columns.name: the pipeline file specifies character varying(10), but the \
         table's column is character varying(20)",
        "sink.warehouse.table: field amount is decimal(10,2) in the output schema and \
         numeric(10,1) in the table: PostgreSQL would round it to the column's scale",
        "sink.warehouse.columns.sold: the pipeline file specifies timestamp without time zone, but \
         the table's column is date",
        "sink.warehouse.table: column branch is NOT NULL without a default, and the output schema \
         has no such field",
        "sink.warehouse.table: mode upsert requires a unique index on exactly (id), and there is \
         none",
    ];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_unique_index_is_named_with_its_remedy() {
    let fixture = Fixture::prepared().await;
    fixture.layout(&append(), &schema()).await;
    let upsert = upsert(&["id"]);
    let check = fixture.store.check("warehouse", &upsert, &schema()).await.unwrap();
    let hint = check.mistakes[0].hint.clone().unwrap();
    assert_eq!(hint, "CREATE UNIQUE INDEX ON \"shop\".\"sale\" (\"id\");");
    fixture.database.execute(&hint).unwrap();
    assert_eq!(mistakes(&fixture, &upsert, &schema()).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_columns_of_the_pipeline_file_are_checked() {
    let fixture = Fixture::prepared().await;
    let mut wrong = upsert(&["name", "sku"]);
    wrong.columns.insert("price".into(), "numeric".into());
    wrong.columns.insert("id".into(), "integer); DROP TABLE x; --".into());
    let schema =
        with(&schema(), Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, None), true));
    let found = mistakes(&fixture, &wrong, &schema).await;
    let expected = [
        "sink.warehouse.columns.id: PostgreSQL has no type `integer); DROP TABLE x; --`",
        "sink.warehouse.columns.price: the output schema has no such field",
        "sink.warehouse.table: field at is local-timestamp-nanos, and PostgreSQL stores \
         microseconds, not nanoseconds",
        "sink.warehouse.key: field name is nullable, and null never equals another key: such rows \
         would be inserted again and again",
        "sink.warehouse.key: the output schema has no field sku",
    ];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_privileges_are_named() {
    let fixture = Fixture::prepared().await;
    fixture.layout(&append(), &schema()).await;
    let role = weir_testkit::random_name("guest").replace('-', "_");
    fixture
        .database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'guest'; REVOKE CREATE ON SCHEMA public FROM public"
        ))
        .unwrap();
    let (_, address) = fixture.url.split_once('@').unwrap();
    let url = weir_model::secret::Secret::new(format!("postgres://{role}:guest@{address}"));
    let guest = weir_store::postgres::Store::new(&url, "test", 4).unwrap();
    let check = guest
        .check("warehouse", &append(), &with(&schema(), Field::new("extra", DataType::Utf8, true)))
        .await
        .unwrap();
    let found: Vec<String> =
        check.mistakes.iter().map(|m| m.what.replace(&role, "guest")).collect();
    let expected = [
        "role guest lacks privileges on weir.positions and weir.dead_letters",
        "role guest lacks USAGE on schema shop",
        "role guest lacks INSERT on shop.sale",
        "column extra is missing, and role guest cannot add it because it does not own the table",
    ];
    assert_eq!(found, expected);
    let elsewhere =
        Postgres { table: TableName { schema: "public".into(), table: "new".into() }, ..append() };
    let check = guest.check("warehouse", &elsewhere, &schema()).await.unwrap();
    assert!(
        check.mistakes.iter().any(|m| m.what.contains("lacks CREATE on schema public")),
        "{:?}",
        check.mistakes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_whose_name_differs_in_case_is_not_added_beside_it() {
    let fixture = Fixture::prepared().await;
    fixture
        .database
        .execute(
            "CREATE SCHEMA shop; CREATE TABLE shop.sale (\"ID\" int NOT NULL, name varchar(10), \
             \"Amount\" numeric(10,2), sold timestamp)",
        )
        .unwrap();
    let found = mistakes(&fixture, &append(), &schema()).await;
    let text = |field: &str, column: &str| {
        format!(
            "sink.warehouse.table: the table has no column {field}; did you mean its column \
             {column}, whose name differs in upper and lower case?"
        )
    };
    assert_eq!(found, [text("id", "ID"), text("amount", "Amount")]);
    // The remedy works.
    let check = fixture.store.check("warehouse", &append(), &schema()).await.unwrap();
    for hint in check.mistakes.iter().filter_map(|mistake| mistake.hint.as_ref()) {
        let (_, statement) = hint.split_once("or: ").unwrap();
        fixture.database.execute(statement).unwrap();
    }
    assert_eq!(mistakes(&fixture, &append(), &schema()).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_differ_in_case_are_two_columns_when_both_are_wanted() {
    let fixture = Fixture::prepared().await;
    let both = with(&schema(), Field::new("ID", DataType::Int32, true));
    fixture.layout(&append(), &both).await;
    assert_eq!(mistakes(&fixture, &append(), &both).await, Vec::<String>::new());
    let third = with(&both, Field::new("Id", DataType::Int32, true));
    assert_eq!(mistakes(&fixture, &append(), &third).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_would_round_a_time_is_refused() {
    let fixture = Fixture::prepared().await;
    let target = Postgres { columns: Default::default(), ..append() };
    for digits in 0..=6 {
        for (kind, zone) in [("timestamp", None), ("timestamptz", Some("+00:00".into()))] {
            let sold = DataType::Timestamp(TimeUnit::Microsecond, zone);
            let schema = with(&schema(), Field::new("sold", sold, true));
            fixture
                .database
                .execute(&format!(
                    "DROP SCHEMA IF EXISTS shop CASCADE; CREATE SCHEMA shop; CREATE TABLE \
                     shop.sale (id int, name text, amount numeric, sold {kind}({digits}))"
                ))
                .unwrap();
            let found = mistakes(&fixture, &target, &schema).await;
            match digits {
                6 => assert_eq!(found, Vec::<String>::new()),
                _ => assert!(found[0].ends_with("would round it to the column's precision")),
            }
        }
    }
    let named = Postgres {
        columns: [("sold".to_owned(), "timestamp(3)".to_owned())].into(),
        table: TableName { schema: "shop".into(), table: "new".into() },
        ..append()
    };
    assert_eq!(mistakes(&fixture, &named, &schema()).await.len(), 1, "also in a new table");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_remedy_of_the_database_or_the_pipeline_file_works() {
    let fixture = Fixture::prepared().await;
    let mut failed = Vec::new();
    let mut num_refused = 0;
    for (field, arrow) in reference::fields() {
        for column in reference::columns() {
            let table = format!("CREATE TABLE shop.sale (value {column})");
            let prepare = format!("{}; {table}", crate::extremes::TYPES);
            fixture.database.execute(&prepare).unwrap();
            let schema = Arc::new(Schema::new(vec![Field::new("value", arrow.clone(), true)]));
            let mut target = Postgres { columns: Default::default(), lineage: false, ..append() };
            let check = fixture.store.check("warehouse", &target, &schema).await.unwrap();
            let Some(mistake) = check.mistakes.first() else { continue };
            num_refused += 1;
            let hint = mistake.hint.clone().unwrap_or_default();
            for remedy in hint.split("; or: ") {
                fixture.database.execute(&prepare).unwrap();
                target.columns = Default::default();
                if remedy.starts_with("ALTER TABLE") {
                    fixture.database.execute(remedy).unwrap();
                } else if let Some((_, after)) = remedy.split_once("`columns = { value = \"") {
                    let (named, _) = after.split_once('"').unwrap();
                    target.columns.insert("value".into(), named.into());
                } else {
                    // Of the transform or its schema: crates/cli/tests/columns.rs follows them.
                    continue;
                }
                let found = mistakes(&fixture, &target, &schema).await;
                if !found.is_empty() {
                    failed.push(format!("{field} into {column}: {remedy}: {found:?}"));
                }
            }
            let has_remedy = hint.contains("ALTER TABLE") || arrow == nanos();
            if !has_remedy {
                failed.push(format!("{field} into {column}: no remedy"));
            }
        }
    }
    assert_eq!(failed, Vec::<String>::new());
    assert!(num_refused > 100, "{num_refused}");
}

fn nanos() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_insert_fills_a_column_that_the_server_reads() {
    let fixture = Fixture::prepared().await;
    let role = weir_testkit::random_name("guest").replace('-', "_");
    let database = fixture.rows("SELECT quote_ident(current_database())")[0][0].clone().unwrap();
    fixture
        .database
        .execute(&format!(
            "CREATE SCHEMA shop; CREATE TABLE shop.sale (id int, name inet, amount numeric, \
             sold timestamptz); CREATE ROLE {role} LOGIN PASSWORD 'guest'; \
             GRANT USAGE ON SCHEMA shop, weir TO {role}; GRANT INSERT ON shop.sale TO {role}; \
             GRANT ALL ON ALL TABLES IN SCHEMA weir TO {role}; \
             REVOKE TEMPORARY ON DATABASE {database} FROM public"
        ))
        .unwrap();
    let (_, address) = fixture.url.split_once('@').unwrap();
    let url = weir_model::secret::Secret::new(format!("postgres://{role}:guest@{address}"));
    let guest = weir_store::postgres::Store::new(&url, "test", 4).unwrap();
    let target = Postgres { columns: Default::default(), lineage: false, ..append() };
    let check = guest.check("warehouse", &target, &schema()).await.unwrap();
    let mistake = &check.mistakes[0];
    assert!(
        mistake.what.starts_with("column name needs a temporary table, and role"),
        "{mistake:?}"
    );
    fixture.database.execute(mistake.hint.as_ref().unwrap()).unwrap();
    let layout = guest.check("warehouse", &target, &schema()).await.unwrap().layout.unwrap();
    let committed = guest.acquire(&position_key(), &[0]).await.unwrap().remove(0);
    let rows = batch(&[(1, "10.0.0.1"), (2, "nowhere")]);
    let written = write(&guest, &layout, &claim(&committed, 2, 2), &rows).await.unwrap();
    assert_eq!(written.refused.len(), 1);
    assert_eq!(written.refused[0].column.as_deref(), Some("name"));
    assert_eq!(fixture.number("SELECT count(*) FROM shop.sale"), 1);
}
