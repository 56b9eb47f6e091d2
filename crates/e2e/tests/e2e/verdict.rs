use crate::{finish, start_all, turn};
use weir_e2e::verdict::check;
use weir_e2e::{Flow, Settings};
use weir_testkit::Stack;

/// A check that never failed proves nothing.
#[test]
fn the_verdict_notices_a_doubled_row_a_lost_row_a_changed_dead_letter_and_a_doubled_dead_letter() {
    let _turn = turn();
    let flow =
        Flow::new(Stack::shared(), &Settings { records: 4_000, ..Settings::default() }).unwrap();
    finish(&flow, start_all(&flow));
    let complains = |about: &str| {
        let complaint = check(&flow).unwrap_err().to_string();
        assert!(complaint.contains(about), "{complaint}");
    };

    let table = "telecom.telecom_data";
    let one = format!("(SELECT min(ctid) FROM {table})");
    flow.database
        .execute(&format!(
            "CREATE TABLE copy AS SELECT * FROM {table} WHERE ctid = {one}; INSERT \
            INTO {table} TABLE copy"
        ))
        .unwrap();
    complains("1 too many");
    flow.database
        .execute(&format!(
            "DELETE FROM {table} USING copy WHERE {table}.caller_id = copy.caller_id"
        ))
        .unwrap();
    complains("missing");
    flow.database.execute(&format!("INSERT INTO {table} TABLE copy")).unwrap();

    let dead_letter = "id = (SELECT min(id) FROM weir.dead_letters)";
    flow.database
        .execute(&format!(
            "UPDATE weir.dead_letters SET value = value || '\\x00' WHERE {dead_letter}"
        ))
        .unwrap();
    complains("changed bytes");
    flow.database
        .execute(&format!(
            "UPDATE weir.dead_letters SET value = substr(value, 1, \
        length(value) - 1) WHERE {dead_letter}"
        ))
        .unwrap();
    check(&flow).unwrap();

    let dead_letters = &flow.pipeline.dead_letters.topic;
    let dead_letter = flow.topics.read(dead_letters).unwrap().remove(0);
    flow.topics.write(dead_letters, &[dead_letter]).unwrap();
    complains("dead-letter topic");
    let audit = flow.weir(&["audit", &flow.file().to_string_lossy(), "--deep"]);
    assert!(audit.is_err(), "weir audit --deep notices as well");
}
