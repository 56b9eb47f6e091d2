//! Memory is bounded by the configuration, whatever is in a topic.

use crate::{DONE_WITHIN, turn};
use toml::Table;
use weir_e2e::flow::SERVICES;
use weir_e2e::{Flow, Settings};
use weir_testkit::topics::Record;
use weir_testkit::{Service, Stack, Topics, wait_until};

const RECORDS: u64 = 1_000;
const HOSTILE: u64 = 240;
const BOUND_MIB: u64 = 200;

/// The settings that `deploy/README.md` gives for topics that anybody may write to.
const BOUNDED: [(&str, &str); 5] = [
    ("fetch.max.bytes", "1024"),
    ("fetch.message.max.bytes", "1024"),
    ("fetch.queue.backoff.ms", "1"),
    ("queued.min.messages", "10"),
    ("queued.max.messages.kbytes", "1024"),
];

/// Zeros, as many as a record may have: in a key, a value or a header, by turns.
fn hostile(n: u64) -> Record {
    let zeros = Some(vec![0; 900_000]);
    let record = Record { partition: (n % 2) as i32, ..Record::default() };
    match n / 2 % 3 {
        0 => Record { key: zeros, ..record },
        1 => Record { value: zeros, ..record },
        _ => Record { headers: vec![("zeros".into(), zeros)], ..record },
    }
}

/// Writes hostile records in batches of `batch_bytes`, which take a few hundred bytes in the log.
fn write(topics: &Topics, topic: &str, records: u64, batch_bytes: &str) {
    let settings = [
        ("compression.type", "zstd"),
        ("message.max.bytes", batch_bytes),
        ("batch.size", batch_bytes),
        ("linger.ms", "5000"),
        ("queue.buffering.max.kbytes", "300000"),
    ];
    let records: Vec<Record> = (0..records).map(hostile).collect();
    topics.write_with(topic, &settings, &records).unwrap();
}

/// The telecom pipeline over topics that are there already.
fn flow() -> Flow {
    let settings = Settings { records: RECORDS, ..Settings::default() };
    let flow = Flow::new(Stack::shared(), &settings).unwrap();
    // That most records are bad is what is tried.
    let mut file: Table = std::fs::read_to_string(flow.file()).unwrap().parse().unwrap();
    let dead_letters = file.entry("dead_letters").or_insert_with(|| Table::new().into());
    dead_letters.as_table_mut().unwrap().insert("halt_share".into(), 1.0.into());
    let batch = file.entry("batch").or_insert_with(|| Table::new().into());
    batch.as_table_mut().unwrap().insert("bytes".into(), "8MiB".into());
    let kafka = file["kafka"].as_table_mut().unwrap();
    let properties = kafka.entry("properties").or_insert_with(|| Table::new().into());
    for (key, value) in BOUNDED {
        properties.as_table_mut().unwrap().insert(key.into(), value.into());
    }
    std::fs::write(flow.file(), file.to_string()).unwrap();
    for topic in [&flow.pipeline.input.topic, &flow.pipeline.output.topic] {
        flow.topics.create(topic, flow.pipeline.input.partitions).unwrap();
    }
    flow
}

#[test]
fn a_topic_that_decompresses_to_a_thousand_times_its_size_is_worked_through_in_200_mib() {
    let _turn = turn();
    let flow = flow();
    for topic in [&flow.pipeline.input.topic, &flow.pipeline.output.topic] {
        write(&flow.topics, topic, HOSTILE / 2, "10000000");
        write(&flow.topics, topic, HOSTILE / 2, "1000000");
    }
    // The producer reads the topic as well: whether it has written to it before.
    let services = SERVICES.map(|service| flow.program(service, 0).start().unwrap());
    wait_until("all records", DONE_WITHIN, || {
        let (enricher, sink) = (flow.enricher_counts().ok()?, flow.sink_counts().ok()?);
        let read = enricher.read >= RECORDS + HOSTILE && sink.read >= enricher.written + HOSTILE;
        (read && sink.dead >= HOSTILE && enricher.dead >= HOSTILE).then_some(())
    });
    for service in services {
        let peak = peak_mib(&service);
        println!("{}: {peak} MiB", service.name());
        assert!(peak < BOUND_MIB, "{}: {peak} MiB", service.name());
        assert!(service.stop().unwrap().success());
    }
}

/// A batch is decompressed as a whole, or not at all.
#[test]
fn a_batch_beyond_the_limit_ends_the_service_with_the_setting_to_raise() {
    let _turn = turn();
    let flow = flow();
    write(&flow.topics, &flow.pipeline.input.topic, 260, "200000000");
    let mut enricher = flow.program(SERVICES[1], 0).start().unwrap();
    let status = enricher.wait(DONE_WITHIN).unwrap();
    let log = enricher.log();
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("receive.message.max.bytes"), "{log}");
}

/// The largest resident set of a process in its life.
fn peak_mib(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
