//! The table that a sink fills: made, grown, or refused with a list.

use crate::fixture::{Fixture, append, batch, claim, position_key, schema, upsert, write};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;
use weir_model::pipeline::{Postgres, TableName};

fn with(schema: &SchemaRef, field: Field) -> SchemaRef {
    let mut fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.retain(|f| f.name() != field.name());
    fields.push(field);
    Arc::new(Schema::new(fields))
}

async fn mistakes(fixture: &Fixture, target: &Postgres, schema: &SchemaRef) -> Vec<String> {
    let fit = fixture.store.check("warehouse", target, schema).await.unwrap();
    assert!(fit.layout.is_none() || fit.mistakes.is_empty());
    fit.mistakes.into_iter().map(|m| format!("{}: {}", m.key, m.what)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_is_made_with_the_asked_types() {
    let fixture = Fixture::prepared().await;
    fixture.layout(&append(), &schema()).await;
    let columns = fixture.rows(
        "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' not null' ELSE '' END, ', ' \
         ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'shop.sale'::regclass AND attnum > 0",
    );
    let wanted = "id integer not null, name character varying(10), amount numeric(10,2), sold timestamp without time zone, \
                  weir_topic text not null, weir_partition integer not null, weir_offset bigint not null";
    assert_eq!(columns, [[Some(wanted.to_owned())]]);
    let again = fixture.store.check("warehouse", &append(), &schema()).await.unwrap();
    assert_eq!(again.statements, Vec::<String>::new());
    assert!(again.layout.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_changes_nothing() {
    let fixture = Fixture::new();
    let fit = fixture.store.check("warehouse", &append(), &schema()).await.unwrap();
    assert_eq!(fit.statements.len(), 2);
    assert_eq!(
        fixture.number("SELECT count(*) FROM pg_namespace WHERE nspname IN ('shop', 'weir')"),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_that_start_together_make_one_table() {
    const ROUNDS: usize = 60;
    let fixture = Fixture::prepared().await;
    for round in 0..ROUNDS {
        let start = |(store, target): (weir_store::postgres::Store, Postgres)| async move {
            // looks again until the table is there, so that some looks fall into the moment of its
            // making
            loop {
                let fit = store.check("warehouse", &target, &schema()).await.unwrap();
                assert_eq!(fit.mistakes, [], "a sink met what another was making");
                if fit.statements.is_empty() {
                    return;
                }
                store.apply(&fit).await.unwrap();
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
    let made =
        "SELECT count(*) FROM pg_tables WHERE schemaname LIKE 'shop%' AND tablename = 'sale'";
    assert_eq!(fixture.number(made), i64::try_from(ROUNDS).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_the_schema_gained_becomes_a_column() {
    let fixture = Fixture::prepared().await;
    let layout = fixture.layout(&append(), &schema()).await;
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap();
    write(&fixture.store, &layout, &claim(&committed[0], 1, 1), &batch(&[(1, "old")]))
        .await
        .unwrap();
    let grown = with(&schema(), Field::new("country", DataType::Utf8, false));
    fixture.layout(&append(), &grown).await;
    assert_eq!(
        fixture.rows("SELECT name, country FROM shop.sale"),
        [[Some("old".to_owned()), None]]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_does_not_fit_is_listed_at_once() {
    let fixture = Fixture::prepared().await;
    fixture
        .database
        .execute(
            "CREATE SCHEMA shop; CREATE TABLE shop.sale (id smallint, name varchar(20) NOT NULL, amount numeric(10,1), sold date, \
             branch text NOT NULL, weir_topic text, weir_partition int, weir_offset bigint)",
        )
        .unwrap();
    let found = mistakes(&fixture, &upsert(&["id"]), &schema()).await;
    let wanted = [
        "sink.warehouse.table: field id is int in the output schema and smallint in the table: values may be too large for it",
        "sink.warehouse.columns.name: character varying(10) is asked for, but the table's column is character varying(20)",
        "sink.warehouse.table: field amount is decimal(10,2) in the output schema and numeric(10,1) in the table: PostgreSQL would round it to the column's scale",
        "sink.warehouse.columns.sold: timestamp without time zone is asked for, but the table's column is date",
        "sink.warehouse.table: column branch is NOT NULL without a default, and the output schema has no such field",
        "sink.warehouse.table: mode upsert needs a unique index on exactly (id), and there is none",
    ];
    assert_eq!(found, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_unique_index_is_named_with_its_remedy() {
    let fixture = Fixture::prepared().await;
    fixture.layout(&append(), &schema()).await;
    let upsert = upsert(&["id"]);
    let fit = fixture.store.check("warehouse", &upsert, &schema()).await.unwrap();
    let hint = fit.mistakes[0].hint.clone().unwrap();
    assert_eq!(hint, "CREATE UNIQUE INDEX ON \"shop\".\"sale\" (\"id\");");
    fixture.database.execute(&hint).unwrap();
    assert_eq!(mistakes(&fixture, &upsert, &schema()).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_asks_for_is_checked() {
    let fixture = Fixture::prepared().await;
    let mut wrong = upsert(&["name", "sku"]);
    wrong.columns.insert("price".into(), "numeric".into());
    wrong.columns.insert("id".into(), "integer); DROP TABLE x; --".into());
    let schema = with(
        &schema(),
        Field::new(
            "tags",
            DataType::Map(Arc::new(Field::new("entries", DataType::Null, false)), false),
            true,
        ),
    );
    let found = mistakes(&fixture, &wrong, &schema).await;
    let wanted = [
        "sink.warehouse.columns.id: PostgreSQL knows no type `integer); DROP TABLE x; --`",
        "sink.warehouse.columns.price: the output schema has no such field",
        "sink.warehouse.table: field tags is a map, which has no column type that keeps it",
        "sink.warehouse.key: field name may be null, and null equals no other key: such rows would pile up",
        "sink.warehouse.key: the output schema has no field sku",
    ];
    assert_eq!(found, wanted);
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
    let fit = guest
        .check("warehouse", &append(), &with(&schema(), Field::new("extra", DataType::Utf8, true)))
        .await
        .unwrap();
    let found: Vec<String> = fit.mistakes.iter().map(|m| m.what.replace(&role, "guest")).collect();
    let wanted = [
        "role guest may not use weir.positions and weir.dead_letters",
        "role guest may not use schema shop",
        "role guest may not insert into shop.sale",
        "column extra is missing, and role guest does not own the table, so it cannot add it",
    ];
    assert_eq!(found, wanted);
    let elsewhere =
        Postgres { table: TableName { schema: "public".into(), table: "new".into() }, ..append() };
    let fit = guest.check("warehouse", &elsewhere, &schema()).await.unwrap();
    assert!(
        fit.mistakes.iter().any(|m| m.what.contains("may not create one in schema public")),
        "{:?}",
        fit.mistakes
    );
}
