//! The SQL that `Plan::compile` refuses, and its messages.

use crate::support::{joining, micros, pipeline, rejecting, schema};
use arrow::datatypes::{DataType, SchemaRef};
use weir_model::mistake::Mistake;
use weir_model::pipeline::Pipeline;
use weir_transform::Plan;

fn input() -> SchemaRef {
    schema(&[
        ("id", DataType::Int64, false),
        ("amount", DataType::Decimal128(10, 2), true),
        ("price", DataType::Float64, false),
        ("provider", DataType::Utf8, true),
        ("at", micros(), false),
        ("Cost Total $", DataType::Utf8, true),
    ])
}

fn output() -> SchemaRef {
    schema(&[("id", DataType::Int64, false)])
}

/// All mistakes as `key: what (hint: …)`.
fn mistakes_into(output: SchemaRef, pipeline: &Pipeline) -> Vec<String> {
    let text = |m: Mistake| match m.hint {
        Some(hint) => format!("{}: {} (hint: {hint})", m.key, m.what),
        None => format!("{}: {}", m.key, m.what),
    };
    Plan::compile(input(), output, pipeline)
        .map(|_| Vec::new())
        .unwrap_or_else(|m| m.into_iter().map(text).collect())
}

fn mistakes(pipeline: &Pipeline) -> Vec<String> {
    mistakes_into(output(), pipeline)
}

fn with_lookup(sql: &str) -> (tempfile::TempDir, Pipeline) {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = joining(
        pipeline(sql),
        folder.path(),
        "providers",
        &["provider"],
        "provider,country\na,FR\nb,GB\n",
    );
    (folder, pipeline)
}

/// Asserts that the SQL has exactly one mistake, whose text contains all of `words`.
fn refused(sql: &str, words: &[&str]) {
    let (_folder, pipeline) = with_lookup(sql);
    let found = mistakes(&pipeline);
    assert_eq!(found.len(), 1, "{sql}\n{found:#?}");
    assert!(found[0].starts_with("transform.sql: "), "{found:?}");
    for word in words {
        assert!(found[0].contains(word), "{sql}\nwithout {word:?}: {}", found[0]);
    }
}

#[test]
fn sql_that_is_not_one_record_in_and_at_most_one_out_is_refused() {
    for (sql, words) in [
        ("SELECT id FROM input ORDER BY id", &["ORDER BY"][..]),
        ("SELECT id FROM input LIMIT 5", &["LIMIT"]),
        ("SELECT id FROM input OFFSET 5", &["LIMIT"]),
        ("SELECT id FROM input FETCH FIRST 5 ROWS ONLY", &["FETCH"]),
        ("SELECT DISTINCT id FROM input", &["DISTINCT"]),
        ("SELECT id FROM input GROUP BY id", &["GROUP BY"]),
        ("SELECT id FROM input GROUP BY ALL", &["GROUP BY"]),
        ("SELECT id FROM input HAVING id > 1", &["HAVING"]),
        ("SELECT id FROM input QUALIFY id > 1", &["QUALIFY"]),
        ("SELECT id FROM input WINDOW w AS (ORDER BY id)", &["WINDOW"]),
        ("SELECT id FROM input UNION ALL SELECT id FROM input", &["UNION"]),
        ("SELECT id FROM input EXCEPT SELECT id FROM input", &["EXCEPT"]),
        ("SELECT id FROM input INTERSECT SELECT id FROM input", &["INTERSECT"]),
        ("WITH x AS (SELECT id FROM input) SELECT id FROM input", &["WITH"]),
        ("SELECT id FROM (SELECT id FROM input) i", &["subquery"]),
        ("SELECT id FROM input FOR UPDATE", &["FOR UPDATE"]),
        ("SELECT TOP 5 id FROM input", &["TOP"]),
        ("SELECT id INTO other FROM input", &["INTO"]),
        ("VALUES (1)", &["VALUES"]),
        ("DELETE FROM input", &["not a SELECT"]),
        ("SELECT id FROM input; SELECT id FROM input", &["2 statements"]),
        ("(SELECT id FROM input)", &["parentheses"]),
        ("SELECT 1 AS id", &["no FROM input"]),
        ("SELECT id FROM providers", &["FROM begins with `providers`"]),
        ("SELECT id FROM input, providers", &["several tables", "LEFT JOIN"]),
        ("SELECT id FROM input TABLESAMPLE BERNOULLI (10)", &["more than a table and its alias"]),
        ("SELECT id FROM input AS i (a, b)", &["more than a table and its alias"]),
        ("SELECT id FROM input PREWHERE id > 1", &["transform.sql"]),
    ] {
        refused(sql, words);
    }
}

#[test]
fn only_joins_by_the_whole_key_of_a_lookup_are_accepted() {
    let key = "must be joined by equality on its whole key, `provider`";
    for (sql, words) in [
        (
            "SELECT i.id FROM input i RIGHT JOIN providers p ON i.provider = p.provider",
            &["only JOIN and LEFT JOIN"][..],
        ),
        (
            "SELECT i.id FROM input i FULL JOIN providers p ON i.provider = p.provider",
            &["only JOIN and LEFT JOIN"],
        ),
        ("SELECT i.id FROM input i CROSS JOIN providers p", &["only JOIN and LEFT JOIN"]),
        (
            "SELECT i.id FROM input i LEFT SEMI JOIN providers p ON i.provider = p.provider",
            &["only JOIN and LEFT JOIN"],
        ),
        ("SELECT i.id FROM input i NATURAL JOIN providers p", &["NATURAL JOIN", "USING"]),
        ("SELECT i.id FROM input i LEFT JOIN input j ON i.id = j.id", &["joined with itself"]),
        (
            "SELECT i.id FROM input i LEFT JOIN provider p ON i.provider = p.provider",
            &["no table `provider`; did you mean `providers`?"],
        ),
        (
            "SELECT i.id FROM input i LEFT JOIN providers p ON i.provider = p.country",
            &[key, "LEFT JOIN providers p ON … = p.provider"],
        ),
        ("SELECT i.id FROM input i LEFT JOIN providers p ON i.provider > p.provider", &[key]),
        (
            "SELECT i.id FROM input i LEFT JOIN providers p ON i.provider = p.provider OR i.id = 1",
            &[key],
        ),
        (
            "SELECT i.id FROM input i LEFT JOIN providers p ON i.provider = p.provider AND \
             p.country = 'FR'",
            &[key],
        ),
        (
            "SELECT i.id FROM input i LEFT JOIN providers p ON upper(p.provider) = i.provider",
            &[key],
        ),
        ("SELECT i.id FROM input i LEFT JOIN providers p ON true", &[key]),
        (
            "SELECT i.id FROM input i LEFT JOIN providers p ON i.price = p.provider",
            &["joined by a double, which cannot be a key"],
        ),
        (
            "SELECT i.id FROM input i LEFT JOIN providers p ON i.providr = p.provider",
            &["no column `providr` in `i`; did you mean `provider`?"],
        ),
        (
            "SELECT i.id FROM input i LEFT JOIN providers p ON i.provider = (SELECT 'a')",
            &["subquery"],
        ),
        (
            "SELECT i.id FROM input i LEFT JOIN (SELECT * FROM providers) p ON i.provider = \
             p.provider",
            &["subquery"],
        ),
        (
            "SELECT i.id FROM input i LEFT JOIN (providers p JOIN providers q USING (provider)) ON \
             i.provider = p.provider",
            &["parentheses"],
        ),
    ] {
        refused(sql, words);
    }
}

#[test]
fn an_expression_that_needs_other_records_is_refused_everywhere() {
    for (expression, words) in [
        ("(SELECT 1)", &["subquery"][..]),
        ("EXISTS (SELECT 1 FROM providers)", &["subquery"]),
        ("id IN (SELECT 1)", &["subquery"]),
        ("id > ALL (SELECT 1)", &["subquery"]),
        ("count(*)", &["aggregate `count`"]),
        ("sum(id)", &["aggregate `sum`"]),
        ("MAX(id)", &["aggregate `max`", "greatest(a, b)"]),
        ("coalesce(min(id), 1)", &["aggregate `min`"]),
        ("row_number() OVER (ORDER BY id)", &["window function `row_number`"]),
        ("sum(id) OVER ()", &["window function `sum`"]),
        ("random()", &["function `random`"]),
        ("uuid()", &["function `uuid`"]),
        ("current_date", &["function `current_date`", "CAST(now() AS DATE)"]),
        ("upper(DISTINCT provider)", &["more than arguments"]),
        ("uper(provider)", &["no function `uper`; did you mean `upper`?"]),
    ] {
        refused(&format!("SELECT id, {expression} AS x FROM input"), words);
        refused(&format!("SELECT id FROM input WHERE {expression} = 1"), words);
        let found = mistakes(&rejecting(
            pipeline("SELECT id FROM input"),
            &[("fine", "id < 0"), ("bad", &format!("{expression} = 1"))],
        ));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].starts_with("reject[1].when: ") && words.iter().all(|w| found[0].contains(w)),
            "{found:?}"
        );
    }
}

#[test]
fn mistakes_in_names_types_and_syntax_are_explained() {
    for (sql, words) in [
        ("SELECT id FORM input", &["transform.sql"][..]),
        ("SELECT id, FROM input WHERE", &["transform.sql"]),
        ("SELECT amonut AS id FROM input", &["no column `amonut`; did you mean `amount`?"]),
        (
            "SELECT \"cost total\" AS id FROM input",
            &["no column `cost total`; did you mean `\"Cost Total $\"`?"],
        ),
        ("SELECT x.id FROM input i", &["no table `x` in FROM, only `i`"]),
        (
            "SELECT i.id FROM input i LEFT JOIN providers p USING (provider) WHERE p.contry = 'FR'",
            &["no column `contry` in `p`; did you mean `country`?"],
        ),
        (
            "SELECT i.id FROM input i LEFT JOIN providers p ON i.provider = p.provider WHERE \
             provider = 'a'",
            &["`provider` is a column of several tables"],
        ),
        ("SELECT id FROM inputs", &["FROM begins with `inputs`"]),
        ("SELECT id FROM input WHERE NULL", &["`NULL` is null, not a condition"]),
        ("SELECT id FROM input WHERE id", &["`id` is long, not a condition"]),
        ("SELECT id FROM input WHERE provider + 1 > at", &["transform.sql"]),
        ("SELECT id, id FROM input", &["transform.sql", "`id`"]),
        ("SELECT id FROM input WHERE coalesce(at, 'x') = 'x'", &["no common type"]),
    ] {
        refused(sql, words);
    }
    let found = mistakes(&rejecting(
        pipeline("SELECT id FROM input"),
        &[("a", "amonut < 0"), ("b", "id <"), ("c", "id"), ("d", "id < 0 id"), ("e", "")],
    ));
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(
        found.iter().any(|m| m == "reject[0].when: no column `amonut`; did you mean `amount`?"),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|m| m == "reject[2].when: `id` is long, not a condition"),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|m| m.starts_with("reject[3].when: unexpected `id` after the condition")),
        "{found:#?}"
    );
}

#[test]
fn result_columns_must_match_the_output_schema() {
    let output = schema(&[
        ("id", DataType::Int64, false),
        ("price", DataType::Decimal128(10, 2), true),
        ("country", DataType::Utf8, true),
        ("total cost", DataType::Int32, true),
    ]);
    let found = mistakes_into(
        output,
        &pipeline(
            "SELECT id, price, 1 + 1, provider AS contry, \"Cost Total $\" AS \"total cost\" FROM \
             input",
        ),
    );
    let expected = [
        "result column `price` is double, out.avsc expects decimal(10,2) (hint: CAST(price AS \
         DECIMAL(10,2)) AS price)",
        "result column `contry` is not in out.avsc; did you mean `country`?",
        "the result has no column `country`, which out.avsc expects as string",
        "result column `total cost` is string, out.avsc expects int (hint: CAST(\"Cost Total $\" \
         AS INT) AS \"total cost\")",
    ];
    for text in expected {
        assert!(found.iter().any(|m| m.contains(text)), "without {text:?}: {found:#?}");
    }
    assert_eq!(found.len(), expected.len() + 1, "{found:#?}");
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let (folder, pipeline) = with_lookup(
        "SELECT i.idd AS id, p.contry FROM input i LEFT JOIN providers p USING (provider) WHERE \
         amonut > 0",
    );
    let pipeline =
        joining(pipeline, folder.path(), "doubled", &["code"], "code,x\n1,a\n2,b\n1,c\n");
    let pipeline =
        rejecting(pipeline, &[("a", "amonut < 0"), ("b", "i.id > 1"), ("c", "p.country <")]);
    let required = schema(&[
        ("id", DataType::Int64, false),
        ("contry", DataType::Utf8, true),
        ("missing", DataType::Utf8, true),
    ]);
    let found = mistakes_into(required, &pipeline);
    let keys: Vec<&str> = found.iter().filter_map(|m| m.split(": ").next()).collect();
    let expected = [
        "lookup[1].key",
        "reject[2].when",
        "reject[0].when",
        "transform.sql",
        "transform.sql",
        "transform.sql",
        "transform.sql",
    ];
    assert!(
        found[6].contains("no column `missing`"),
        "a column whose expression has a mistake is not reported as missing: {found:#?}"
    );
    assert_eq!(keys, expected, "{found:#?}");
}

#[test]
fn a_lookup_file_that_cannot_be_used_is_explained() {
    for (csv, key, expected) in [
        (
            "code,name\n1,a\n2,b\n1,c\n2,d\n",
            &["code"][..],
            "lookup[0].key: `code` is not unique: `1` (lines 2 and 4), `2` (lines 3 and 5)",
        ),
        (
            "a,b\n1,1\n1,2\n1,1\n",
            &["a", "b"],
            "lookup[0].key: `a` and `b` is not unique: `1`, `1` (lines 2 and 4)",
        ),
        (
            "code,name\n1,a\n,b\n",
            &["code"],
            "lookup[0].key: `code` is empty in line 3; every row needs a key",
        ),
        (
            "code,name\n1,a\n",
            &["cod"],
            "lookup[0].key: no column `cod` in l.csv; did you mean `code`? (hint: its columns are \
             `code` and `name`)",
        ),
        (
            "code,name\n1,a,x\n",
            &["code"],
            "lookup[0].file: line 2 of l.csv has 3 cells, the header has 2",
        ),
        (
            "code,code\n1,a\n",
            &["code"],
            "lookup[0].file: the header line of l.csv has `code` twice",
        ),
        (
            "code,\n1,a\n",
            &["code"],
            "lookup[0].file: column 2 of l.csv has no name in the header line",
        ),
        ("", &["code"], "lookup[0].file: l.csv is empty; it needs a header line"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let found =
            mistakes(&joining(pipeline("SELECT id FROM input"), folder.path(), "l", key, csv));
        assert_eq!(found, [expected], "{csv}");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut missing =
        joining(pipeline("SELECT id FROM input"), folder.path(), "l", &["code"], "code\n");
    missing.lookups[0].file.set_file_name("nowhere.csv");
    let found = mistakes(&missing);
    assert!(found.len() == 1 && found[0].starts_with("lookup[0].file: cannot read "), "{found:?}");
    let mut taken =
        joining(pipeline("SELECT id FROM input"), folder.path(), "l", &["code"], "code\n");
    taken.lookups[0].name = "input".into();
    assert_eq!(
        mistakes(&taken),
        ["lookup[0].name: the name `input` is already used by another lookup or by the input"]
    );
}

#[test]
fn a_lookup_key_that_no_record_could_match_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let sql = "SELECT i.id FROM input i LEFT JOIN l ON i.id = l.code WHERE l.name = 'x'";
    let found = mistakes(&joining(
        pipeline(sql),
        folder.path(),
        "l",
        &["code"],
        "code,name\n1,a\nseven,b\n",
    ));
    assert_eq!(found, ["lookup[0].key: `code` is not a long in line 3"]);
    let found =
        mistakes(&joining(pipeline(sql), folder.path(), "l", &["code"], "code,name\n7,a\n007,b\n"));
    assert_eq!(found, ["lookup[0].key: the same key in lines 2 and 3"]);
}

#[test]
fn an_expression_that_fails_for_every_record_is_found_without_records() {
    refused(
        "SELECT id FROM input WHERE date_part('fortnight', at) = 1",
        &["fortnight", "has no part"],
    );
    let found = mistakes(&rejecting(
        pipeline("SELECT id FROM input"),
        &[("bad", "date_trunc('eon', at) > at")],
    ));
    assert!(found.len() == 1 && found[0].starts_with("reject[0].when: "), "{found:?}");
}
