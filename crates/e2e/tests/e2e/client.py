"""Reads committed records of a topic with Confluent's AvroDeserializer and prints each as a line of values, with ASCII's unit separator between them.

usage: client.py BROKERS REGISTRY TOPIC RECORDS
"""

import sys
from datetime import datetime, timedelta, timezone

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def text(field, value):
    if isinstance(value, datetime):
        return str((value - EPOCH) // timedelta(microseconds=1))
    if field == "total_amount":
        return str(int(value * 100))
    if field == "rate_per_minute":
        return str(int(value * 10000))
    return str(value)


def main(brokers, registry, topic, records):
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    context = SerializationContext(topic, MessageField.VALUE)
    consumer = Consumer({
        "bootstrap.servers": brokers,
        "group.id": topic + "-stock-client",
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
    })
    consumer.subscribe([topic])
    for _ in range(records):
        message = consumer.poll(30)
        if message is None or message.error():
            sys.exit(f"expected a record: {message and message.error()}")
        record = deserialize(message.value(), context)
        print("\x1f".join(text(field, value) for field, value in record.items() if field != "processing_timestamp"))
    if consumer.poll(1) is not None:
        sys.exit("more records than expected")
    consumer.close()


main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
