"""Writes nested.parquet and old.parquet: the same rows, as pyarrow writes them now and as it wrote for old readers.

pip install pyarrow==18.0.0 && python generate.py
"""

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

UTC = dt.timezone.utc
address = pa.struct([("City Name", pa.string()), ("zip", pa.dictionary(pa.int8(), pa.string()))])
item = pa.struct([("sku", pa.large_string()), ("price", pa.decimal128(20, 2)), ("at", pa.timestamp("us", "Europe/Berlin"))])
schema = pa.schema(
    [
        pa.field("id", pa.uint32(), nullable=False),
        ("big", pa.uint64()),
        ("huge", pa.decimal256(60, 3)),
        ("nine", pa.decimal128(9, 4)),
        ("address", address),
        ("items", pa.list_(item)),
        ("words", pa.large_list(pa.dictionary(pa.int32(), pa.string()))),
        ("pair", pa.list_(pa.int16(), 2)),
        ("counts", pa.map_(pa.string(), pa.list_(pa.int64()))),
        ("nanos", pa.timestamp("ns")),
        ("day", pa.date32()),
        ("time", pa.time64("us")),
        ("raw", pa.binary(3)),
        ("nothing", pa.null()),
    ]
)
rows = [
    {
        "id": 2**32 - 1,
        "big": 2**64 - 1,
        "huge": Decimal("-99999999999999999999999999999999999.999"),
        "nine": Decimal("-99999.9999"),
        "address": {"City Name": "Köln", "zip": "01234"},
        "items": [
            {"sku": "a,\"b\"", "price": Decimal("999999999999999999.99"), "at": dt.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)},
            None,
            {"sku": None, "price": None, "at": dt.datetime(1, 1, 1, tzinfo=UTC)},
        ],
        "words": ["x", "y", None, "x"],
        "pair": [-32768, 32767],
        "counts": [("a", [1, None, 2**63 - 1]), ("", None), ("z", [])],
        "nanos": dt.datetime(2024, 2, 29, 12, 0, 0, 1),
        "day": dt.date(9999, 12, 31),
        "time": dt.time(23, 59, 59, 999999),
        "raw": b"\x00\xff\x01",
    },
    {"id": 0},
    {
        "id": 1,
        "huge": Decimal("1e40"),
        "address": {"City Name": None, "zip": None},
        "items": [],
        "words": [],
        "counts": [],
    },
    {"id": 2, "address": {"City Name": "", "zip": "x"}, "items": [{"sku": "s", "price": Decimal("-0.01"), "at": None}]},
]
table = pa.Table.from_pylist(rows, schema)
kinds = pa.array(["b", None, "a", "b"]).dictionary_encode()
table = table.append_column("kind", kinds)
pq.write_table(
    table,
    "nested.parquet",
    compression="zstd",
    data_page_version="2.0",
    row_group_size=2,
    store_decimal_as_integer=True,
)
pq.write_table(
    table,
    "old.parquet",
    version="1.0",
    compression="snappy",
    use_deprecated_int96_timestamps=True,
    use_compliant_nested_type=False,
    store_schema=False,
    row_group_size=3,
)
