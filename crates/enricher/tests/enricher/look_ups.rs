//! Records that name schemas by the thousand: each is looked up once, in the time of a transaction.

use crate::support::*;
use weir_testkit::Stack;

#[test]
fn thousands_of_unknown_schemas_are_dead_letters_and_no_transaction_times_out() {
    let more = "[dead_letters]\nhalt_share = 1.0\n";
    let pipeline = Pipeline::with(Stack::shared().registry(), more);
    let unknown = |n: i64| 1_000_000_000 + n as u32 * 50_000;
    let records: Vec<_> = (0..20_000)
        .flat_map(|n| {
            let bad = item(unknown(n), n, None);
            [record(n, Some(item(pipeline.schema_id, n, None))), record(n, Some(bad))]
        })
        .collect();
    pipeline.topics.write(&pipeline.input, &records).unwrap();
    let mut enricher = pipeline.program("").start().unwrap();
    pipeline.wait_done();
    assert_eq!(pipeline.audit(), expected(0..20_000));
    let dead_letters = pipeline.topics.read(&pipeline.dead_letters()).unwrap();
    assert_eq!(dead_letters.len(), 20_000);
    assert_eq!(reasons(&dead_letters).into_iter().collect::<Vec<_>>(), ["unknown_schema"]);
    let log = enricher.log();
    assert!(!log.contains("transaction aborted") && !log.contains("not committed"), "{log}");
    enricher.wait_ready().unwrap();
}
