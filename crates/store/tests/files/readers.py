"""Reads the files of `readers.rs` with pyarrow and DuckDB: readers.py parquet|json|csv FILE…

pip install pyarrow duckdb
"""

import datetime as dt
import decimal
import json
import sys
import uuid

import duckdb
import pyarrow.dataset
import pyarrow.parquet

UTC = dt.timezone.utc
AT = dt.datetime(2024, 12, 31, 23, 59, 59, 999999)
BEFORE = dt.datetime(1969, 12, 31, 23, 59, 59, 999999)
ID = uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
NAMES = ['a,"b"\nc', "", "é"]
COUNTRIES = ["DE", "a/b c", "é"]
AMOUNTS = [decimal.Decimal("-123456789.0123456789"), decimal.Decimal("0.0000000001"), None]


def equal(what, found, expected):
    assert found == expected, f"{what}: {found!r} instead of {expected!r}"


def rows(relation):
    names = relation.columns
    return [dict(zip(names, row)) for row in sorted(relation.fetchall(), key=lambda r: r[0])]


def column(table, name):
    return [row[name] for row in table]


def check(table, nested):
    equal("name", column(table, "name"), NAMES)
    equal("amount", column(table, "amount"), AMOUNTS)
    equal("country", column(table, "country"), COUNTRIES)
    equal("local", column(table, "local"), [AT, BEFORE, None])
    equal("day", column(table, "day"), [dt.date(1970, 1, 1), dt.date(1969, 12, 31), None])
    equal("clock", column(table, "clock"), [dt.time(0, 0, 0, 1), dt.time(23, 59, 59, 999999), None])
    equal("offset", column(table, "weir_offset"), [0, 1, 2])
    items = [[{"sku": "a", "count": 1}, {"sku": "b", "count": 2}], [], [{"sku": "c", "count": 2**63 - 1}]]
    equal("items", [nested(value) for value in column(table, "items")], items)


def parquet(paths):
    table = pyarrow.dataset.dataset(paths, partitioning="hive", partition_base_dir=base(paths[0])).to_table()
    nanos = table.sort_by("id").column("nanos").cast("int64").to_pylist()
    equal("nanos", nanos, [1, -1, None])
    table = sorted(table.drop_columns(["nanos"]).to_pylist(), key=lambda row: row["id"])
    check(table, lambda value: value)
    equal("uuid", [uuid.UUID(bytes=value) for value in column(table, "uuid")], [ID] * 3)
    equal("uuid", str(pyarrow.parquet.read_schema(paths[0]).field("uuid").type), "extension<arrow.uuid>")
    equal("at", column(table, "at"), [AT.replace(tzinfo=UTC), BEFORE.replace(tzinfo=UTC), None])
    equal("bytes", column(table, "bytes"), [b"\x00\xff", b"", None])
    equal("tags", column(table, "tags"), [[("k", 7)], [], None])
    schema = pyarrow.parquet.read_schema(paths[0])
    equal("nanos", str(schema.field("nanos").type), "timestamp[ns, tz=UTC]")
    file = pyarrow.parquet.ParquetFile(paths[0])
    names = [file.schema.column(i).path for i in range(len(file.schema))]
    assert "items.list.element.sku" in names and "tags.key_value.key" in names, names
    table = rows(duckdb.sql(f"select * from read_parquet({paths!r}, hive_partitioning = true) order by id"))
    check(table, lambda value: value)
    equal("uuid", column(table, "uuid"), [ID] * 3)
    equal("tags", column(table, "tags"), [{"k": 7}, {}, None])
    equal("bytes", column(table, "bytes"), [b"\x00\xff", b"", None])


TYPES = {
    "id": "INTEGER", "name": "VARCHAR", "uuid": "UUID", "amount": "DECIMAL(38,10)", "at": "TIMESTAMPTZ",
    "local": "TIMESTAMP", "nanos": "VARCHAR", "day": "DATE", "clock": "TIME", "bytes": "VARCHAR",
    "items": "JSON", "tags": "JSON", "weir_topic": "VARCHAR", "weir_partition": "INTEGER",
    "weir_offset": "BIGINT",
}


def text(function, options, paths):
    query = f"select * from {function}({paths!r}, hive_partitioning = true, columns = {TYPES!r}{options})"
    table = rows(duckdb.sql(query))
    check(table, json.loads)
    equal("uuid", column(table, "uuid"), [ID] * 3)
    equal("bytes", column(table, "bytes"), ["AP8=", "", None])
    equal("nanos", column(table, "nanos")[0], "1970-01-01T00:00:00.000000001Z")


def base(path):
    return path[: path.index("country=")]


def main():
    kind, paths = sys.argv[1], sys.argv[2:]
    duckdb.sql("set timezone = 'UTC'")
    match kind:
        case "parquet":
            parquet(paths)
        case "json":
            for path in paths:
                for line in open(path, encoding="utf-8"):
                    json.loads(line)
            text("read_json", ", format = 'newline_delimited'", paths)
        case "csv":
            text("read_csv", ", header = true, allow_quoted_nulls = false, quote = '\"', escape = '\"'", paths)


main()
