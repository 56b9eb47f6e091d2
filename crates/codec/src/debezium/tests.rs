use super::*;
use crate::connect::{annotated, unitless};
use crate::json_decoder::JsonDecoder;
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;

const ROW: &str = r#"{"type":"record","name":"Value","namespace":"shop","fields":[
    {"name":"id","type":"long"},
    {"name":"name","type":["null","string"]},
    {"name":"amount","type":["null",{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}]},
    {"name":"day","type":["null",{"type":"int","logicalType":"date"}]},
    {"name":"time","type":["null",{"type":"long","logicalType":"time-micros"}]},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
    {"name":"data","type":["null","bytes"]}]}"#;

/// Connect's schema of an event about such rows.
fn schema(at: &str) -> String {
    let row = |field: &str| {
        format!(
            r#"{{"type":"struct","optional":true,"field":"{field}","fields":[
            {{"type":"int64","field":"id"}},{{"type":"string","optional":true,"field":"name"}},
            {{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","field":"amount",
              "parameters":{{"scale":"3"}}}},
            {{"type":"int32","name":"io.debezium.time.Date","field":"day"}},
            {{"type":"int64","name":"io.debezium.time.NanoTime","field":"time"}},
            {{"type":"int64","name":"io.debezium.time.{at}","field":"at"}},
            {{"type":"bytes","optional":true,"field":"data"}}]}}"#
        )
    };
    format!(r#"{{"type":"struct","fields":[{},{}]}}"#, row("before"), row("after"))
}

/// The rows as text with what the events say of them, and the reasons of the others.
fn read(events: &[String]) -> (Vec<String>, Vec<String>) {
    let row = Schema::parse(ROW).unwrap();
    let reader = envelope(&row).unwrap();
    let mut decoder = JsonDecoder::new(reader, JsonRules::default()).unwrap().of_events();
    let values: Vec<Option<&[u8]>> = events.iter().map(|event| Some(event.as_bytes())).collect();
    let (decoded, changes) = unwrap(decoder.decode(&values).unwrap(), row.arrow()).unwrap();
    let said = [&changes.operation, &changes.source_time, &changes.position];
    let columns: Vec<&ArrayRef> = said.into_iter().chain(decoded.batch.columns()).collect();
    let text = |row| {
        let cells = columns.iter().map(|column| array_value_to_string(column, row).unwrap());
        cells.collect::<Vec<_>>().join("|")
    };
    let rows = (0..decoded.batch.num_rows()).map(text).collect();
    let faults =
        decoded.faults.into_iter().map(|(row, f)| format!("{row} {}: {}", f.reason, f.detail));
    (rows, faults.collect())
}

fn event(op: &str, before: &str, after: &str) -> String {
    format!(
        r#"{{"before":{before},"after":{after},"op":"{op}","ts_ms":9,"transaction":null,
            "source":{{"version":"3","ts_ms":1700000000123,"lsn":24023128,"db":"shop"}}}}"#
    )
}

#[test]
fn the_row_is_the_one_after_the_change_or_before_a_delete() {
    let (row, old) = (r#"{"id":1,"name":"new"}"#, r#"{"id":2,"name":"old"}"#);
    let mysql = r#"{"before":null,"after":{"id":3},"op":"c","source":{"file":"bin.7","pos":42}}"#;
    let (rows, faults) = read(&[
        event("c", "null", row),
        event("d", old, "null"),
        event("u", old, row),
        event("r", "null", row),
        event("t", "null", "null"),
        event("d", "null", "null"),
        event("c", "null", "null"),
        event("m", "null", "null"),
        r#"{"id":1}"#.into(),
        event("c", "null", r#"{"id":null}"#),
        mysql.into(),
    ]);
    let said = "2023-11-14T22:13:20.123Z|24023128";
    assert_eq!(
        rows,
        [
            format!("c|{said}|1|new|||||"),
            format!("d|{said}|2|old|||||"),
            format!("u|{said}|1|new|||||"),
            format!("r|{said}|1|new|||||"),
            "c||bin.7:42|3||||||".into(),
        ]
    );
    let starts = [
        "4 truncate: ",
        "5 value_missing: the delete does not have the row",
        "6 value_missing: the event has no row after",
        "7 unknown_operation: the operation `m`",
        "8 value_missing: op is missing",
        "9 value_missing: after.id is null",
    ];
    assert_eq!(faults.len(), starts.len(), "{faults:#?}");
    faults.iter().zip(starts).for_each(|(f, start)| assert!(f.starts_with(start), "{f} {start}"));
}

#[test]
fn times_decimals_and_bytes_have_the_unit_that_the_schema_beside_them_says() {
    let row = r#"{"id":1,"amount":"BNg=","day":20454,"time":3600000001000,"at":1700000000123,"data":"AP8="}"#;
    let with = |at: &str, row: &str| {
        format!(r#"{{"schema":{},"payload":{}}}"#, schema(at), event("c", "null", row))
    };
    let lost = r#"{"id":2,"time":1,"amount":"BNs="}"#;
    let (rows, faults) = read(&[
        with("Timestamp", row),
        with("MicroTimestamp", row),
        with("NanoTimestamp", row),
        with("Timestamp", lost),
        with("Timestamp", r#"{"id":3,"amount":"BNs="}"#),
        event("c", "null", r#"{"id":4,"at":1700000000123}"#),
        with("Timestamp", r#"{"id":5,"at":null}"#),
    ]);
    let row = |at: &str| format!("1||1.24|2026-01-01|01:00:00.000001|{at}|00ff");
    let ends =
        [row("2023-11-14T22:13:20.123Z"), row("1970-01-20T16:13:20.000123Z"), "5||||||".to_owned()];
    let shown: Vec<&str> = rows.iter().map(|row| row.splitn(4, '|').nth(3).unwrap()).collect();
    assert_eq!(shown, ends);
    let starts = [
        "2 value_does_not_fit: after.at: `1700000000123` has more decimals of a second",
        "3 value_does_not_fit: after.amount: `\"BNs=\"` does not fit decimal(9, 2)",
        "4 value_does_not_fit: after.amount",
        "5 value_does_not_fit: after.at: `1700000000123` is not in quotes",
    ];
    assert_eq!(faults.len(), starts.len(), "{faults:#?}");
    faults.iter().zip(starts).for_each(|(f, start)| assert!(f.starts_with(start), "{f} {start}"));
}

#[test]
fn debezium_s_types_of_avro_are_times_and_a_number_without_a_unit_is_none() {
    let row = Schema::parse(ROW).unwrap();
    let writer = |day: &str, time: &str, at: &str| {
        let number = |of: &str, name: &str| {
            format!(r#"["null",{{"type":"{of}","connect.version":1,"connect.name":"{name}"}}]"#)
        };
        let text = format!(
            r#"{{"type":"record","name":"Envelope","fields":[{{"name":"after","type":["null",
            {{"type":"record","name":"Value","fields":[{{"name":"id","type":"long"}},
            {{"name":"day","type":{}}},{{"name":"time","type":{}}},{{"name":"at","type":{}}}]}}]}}]}}"#,
            number("int", day),
            number("long", time),
            number("long", at)
        );
        Schema::parse(&annotated(&text, row.fields())).unwrap()
    };
    let problem =
        |writer: &Schema| unitless(writer.fields(), envelope(&row).unwrap().fields(), "", None);
    let (date, micro) = ("io.debezium.time.Date", "io.debezium.time.MicroTime");
    let good = writer(date, micro, "io.debezium.time.Timestamp");
    assert_eq!(problem(&good), None);
    let DataType::Struct(members) = good.arrow().field(0).data_type().clone() else { panic!() };
    let types: Vec<String> =
        members.iter().map(|m| weir_model::avro::type_name(m.data_type())).collect();
    assert_eq!(types, ["long", "date", "time-micros", "timestamp-millis"]);
    for bad in
        [writer(date, micro, "no.such.Type"), writer("plain", micro, "io.debezium.time.Timestamp")]
    {
        assert!(problem(&bad).unwrap().contains("is a number in a unit"), "{bad:?}");
    }
}

#[test]
fn what_has_no_column_says_the_way_out() {
    let schema = |name: &str| {
        format!(
            r#"{{"type":"struct","fields":[{{"type":"struct","field":"after","fields":[
            {{"type":"struct","name":"io.debezium.data.{name}","field":"amount"}}]}}]}}"#
        )
    };
    let with = |name: &str| {
        let row = r#"{"id":1,"amount":{"scale":1,"value":"AA=="}}"#;
        format!(r#"{{"schema":{},"payload":{}}}"#, schema(name), event("c", "null", row))
    };
    let (_, faults) = read(&[with("VariableScaleDecimal"), with("geometry.Point")]);
    assert!(faults[0].contains("decimal.handling.mode"), "{faults:?}");
    assert!(faults[1].contains("leave the field out"), "{faults:?}");
}

#[test]
fn values_that_stand_for_others_are_refused() {
    let with = |row: &str| {
        format!(
            r#"{{"schema":{},"payload":{}}}"#,
            schema("MicroTimestamp"),
            event("u", "null", row)
        )
    };
    let placeholder = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
    let (rows, faults) = read(&[
        with(r#"{"id":1,"name":"__debezium_unavailable_value"}"#),
        with(&format!(r#"{{"id":2,"data":"{placeholder}"}}"#)),
        with(r#"{"id":3,"at":9223372036825200000}"#),
        with(r#"{"id":4,"at":-9223372036832400000}"#),
        with(r#"{"id":5,"name":"__debezium_unavailable_value "}"#),
    ]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let starts = [
        "0 value_unavailable: `name` did not change",
        "1 value_unavailable: `data` did not change",
        "2 value_does_not_fit: `at` is infinite",
        "3 value_does_not_fit: `at` is infinite",
    ];
    assert_eq!(faults.len(), starts.len(), "{faults:#?}");
    faults.iter().zip(starts).for_each(|(f, start)| assert!(f.starts_with(start), "{f} {start}"));
}

#[test]
fn a_delete_with_placeholders_says_what_to_do() {
    let (_, faults) = read(&[event("d", r#"{"id":1,"day":""}"#, "null")]);
    assert!(
        faults[0].contains("before.day") && faults[0].contains("REPLICA IDENTITY"),
        "{faults:?}"
    );
}
