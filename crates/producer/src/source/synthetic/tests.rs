use super::draw::{Draw, Purpose};
use super::providers::PROVIDERS;
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use weir_codec::Encoder;
use weir_model::pipeline::Synthetic as Config;

const SCHEMA_ID: u32 = 7;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn schema() -> Schema {
    Schema::load(&root().join("schemas/telecom/call.avsc")).unwrap()
}

fn config(partitions: u32, records: u64, invalid_share: f64, kinds: &[Kind]) -> Config {
    let invalid_kinds = kinds.iter().map(|kind| kind.name().into()).collect();
    Config {
        generator: GENERATOR.into(),
        rate: 0,
        records,
        seed: 42,
        partitions,
        invalid_share,
        invalid_kinds,
    }
}

/// Reads a partition to its end in steps of `step`; every payload as the producer would send it.
fn payloads(
    source: &Synthetic,
    partition: u32,
    position: Option<&Value>,
    step: usize,
) -> Vec<Vec<u8>> {
    let mut reader = source.open(partition, position).unwrap();
    let mut encoder = Encoder::new(&schema(), SCHEMA_ID).unwrap();
    let mut all = Vec::new();
    loop {
        let chunk = reader.read(Limit { records: step, bytes: usize::MAX }).unwrap();
        let encoded = encoder.encode(&chunk.batch).unwrap();
        let mut rows: Vec<_> = (0..encoded.len()).map(|row| encoded.get(row).to_vec()).collect();
        for (row, bytes) in rows.iter_mut().enumerate() {
            *bytes = reader.replacement(row, bytes).unwrap_or_else(|| bytes.clone());
        }
        all.extend(rows);
        if chunk.end {
            return all;
        }
    }
}

#[test]
fn the_function_never_changes() {
    let golden = |(seed, sequence)| {
        let r = record(seed, sequence);
        format!(
            "{}|{}|{}|{}|{}|{}|{}|{}|{}",
            r.caller_name,
            r.receiver_name,
            r.caller_id,
            r.receiver_id,
            r.start_micros,
            r.end_micros,
            r.call_duration,
            r.network_provider,
            r.total_amount_cents
        )
    };
    let expected = [
        "Renate Keller|Virginie \
         Sporer|+4915046070128|+19291429604|1735689839965000|1735689857965000|18|Deutsche \
         Telekom|36",
        "Blanche Diaz|Nils \
         Lueilwitz|+33654543569|+17898937680|1735939832727000|1735939950727000|118|Orange|88",
        "Claudia Klein|Chiara \
         D'Angelo|+4917122499422|+393309147683|2809431511677000|2809431608677000|97|O2 DE|72",
    ];
    assert_eq!([(42, 0), (42, 1_000_000), (7, u64::MAX)].map(golden), expected);
}

#[test]
fn the_oracle_foretells_every_byte() {
    let config = config(3, 20_000, 0.3, &[]);
    let source = Synthetic::new(&config, &schema()).unwrap();
    let oracle = Oracle::new(&config, &schema(), SCHEMA_ID).unwrap();
    for partition in 0..3 {
        let sent = payloads(&source, partition, None, 1_777);
        let expected = (u64::from(partition)..20_000)
            .step_by(3)
            .map(|sequence| oracle.expect(sequence).payload);
        assert!(sent.iter().eq(expected.collect::<Vec<_>>().iter()), "partition {partition}");
    }
}

#[test]
fn reading_goes_on_from_any_position_as_if_nothing_had_happened() {
    let source = Synthetic::new(&config(4, 1_000, 0.1, &[]), &schema()).unwrap();
    let whole = payloads(&source, 2, None, 1_000);
    for at in [0, 1, 17, 249, 250] {
        let mut reader = source.open(2, None).unwrap();
        let position = reader.read(Limit { records: at, bytes: usize::MAX }).unwrap().position;
        assert_eq!(payloads(&source, 2, Some(&position), 33), whole[at..], "from {position}");
    }
}

#[test]
fn a_position_of_other_partitions_is_refused() {
    let source = Synthetic::new(&config(3, 0, 0.0, &[]), &schema()).unwrap();
    let error = source.open(1, Some(&serde_json::json!({ "sequence": 3 }))).err().unwrap();
    assert!(error.to_string().contains("source.partitions is fixed"), "{error}");
    assert!(source.open(1, Some(&serde_json::json!({ "file": "a.csv" }))).is_err());
}

#[test]
fn a_bounded_source_gives_each_sequence_once_and_ends() {
    for (partitions, records) in [(1, 0), (3, 1), (3, 2), (4, 1_000), (7, 999)] {
        let records = if records == 0 { 5 } else { records };
        let source = Synthetic::new(&config(partitions, records, 0.0, &[]), &schema()).unwrap();
        let total: usize = (0..partitions).map(|p| payloads(&source, p, None, 100).len()).sum();
        assert_eq!(total as u64, records, "{partitions} partitions");
    }
}

#[test]
fn the_share_of_invalid_records_and_of_each_kind_is_as_asked() {
    let oracle = Oracle::new(&config(1, 0, 0.02, &[]), &schema(), SCHEMA_ID).unwrap();
    let mut kinds = BTreeMap::new();
    let total = 300_000;
    (0..total)
        .filter_map(|s| oracle.expect(s).kind)
        .for_each(|kind| *kinds.entry(kind).or_insert(0u64) += 1);
    let invalid: u64 = kinds.values().sum();
    assert!((5_700..=6_300).contains(&invalid), "{invalid}");
    assert_eq!(kinds.len(), Kind::ALL.len());
    assert!(kinds.values().all(|count| (380..=620).contains(count)), "{kinds:?}");
}

#[test]
fn no_share_means_none_and_a_whole_share_means_all() {
    let none = Oracle::new(&config(1, 0, 0.0, &[]), &schema(), SCHEMA_ID).unwrap();
    let all = Oracle::new(&config(1, 0, 1.0, &[Kind::Truncated]), &schema(), SCHEMA_ID).unwrap();
    assert!((0..1_000).all(|s| none.expect(s).kind.is_none()));
    assert!((0..1_000).all(|s| all.expect(s).kind == Some(Kind::Truncated)));
}

/// The rules of the pipeline `telecom`, in its order.
fn first_rule(record: &Record) -> Option<&'static str> {
    let seconds = (record.end_micros - record.start_micros) / 1_000_000;
    let rules = [
        (record.call_duration < 0, "negative_duration"),
        (record.end_micros < record.start_micros, "ends_before_start"),
        (seconds != i64::from(record.call_duration), "duration_mismatch"),
        (record.total_amount_cents < 0, "negative_amount"),
    ];
    rules.into_iter().find(|(broken, _)| *broken).map(|(_, name)| name)
}

#[test]
fn each_kind_breaks_exactly_its_own_rule_first() {
    for kind in Kind::ALL {
        let oracle = Oracle::new(&config(1, 0, 1.0, &[kind]), &schema(), SCHEMA_ID).unwrap();
        for sequence in 0..2_000 {
            let record = oracle.expect(sequence).record;
            let (stage, reason) = kind.fate();
            let expected = (stage == weir_model::fault::Stage::Rule).then_some(reason);
            assert_eq!(first_rule(&record), expected, "{kind:?} {record:?}");
            assert_eq!(record.caller_name.chars().count() > 50, kind == Kind::NameTooLong);
            assert_eq!(record.caller_name.contains('\0'), kind == Kind::NulInText);
        }
    }
}

#[test]
fn corrupted_bytes_are_corrupted_in_their_way() {
    let valid = Oracle::new(&config(1, 0, 0.0, &[]), &schema(), SCHEMA_ID).unwrap();
    let corrupted = |kind, sequence| {
        Oracle::new(&config(1, 0, 1.0, &[kind]), &schema(), SCHEMA_ID)
            .unwrap()
            .expect(sequence)
            .payload
    };
    for sequence in 0..500 {
        let whole = valid.expect(sequence).payload;
        let cut = corrupted(Kind::Truncated, sequence);
        assert!(cut.len() >= 5 && cut.len() < whole.len() && whole.starts_with(&cut));
        let longer = corrupted(Kind::TrailingBytes, sequence);
        assert!(longer.len() > whole.len() && longer.starts_with(&whole));
        assert!(corrupted(Kind::EmptyPayload, sequence).is_empty());
        assert_eq!(corrupted(Kind::WrongMagic, sequence)[1..], whole[1..]);
        assert_eq!(corrupted(Kind::UnknownSchema, sequence)[5..], whole[5..]);
        let text = corrupted(Kind::InvalidUtf8, sequence);
        assert_eq!(text.iter().zip(&whole).filter(|(a, b)| a != b).count(), 1);
        assert!(text.contains(&0xff));
    }
}

#[test]
fn every_provider_is_in_the_reference_table() {
    let table = std::fs::read_to_string(root().join("deploy/reference/providers.csv")).unwrap();
    let known: HashSet<_> =
        table.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    PROVIDERS
        .iter()
        .for_each(|provider| assert!(known.contains(provider.name), "{}", provider.name));
}

#[test]
fn every_name_fits_the_table() {
    let longest = |list: &[&str]| list.iter().map(|name| name.chars().count()).max().unwrap();
    for provider in &PROVIDERS {
        assert!(
            longest(provider.names.first) + 1 + longest(provider.names.last) <= 50,
            "{}",
            provider.name
        );
        assert!(
            provider.name.len() <= 30 && provider.prefix.len() + provider.digits as usize <= 16,
            "{}",
            provider.name
        );
    }
}

#[test]
fn names_have_no_blanks_around_them() {
    for call in (0..50_000).map(|sequence| record(42, sequence)) {
        for name in [&call.caller_name, &call.receiver_name] {
            assert!(
                name == name.trim() && !name.contains(['\t', '\n']) && !name.contains("  "),
                "{name:?}"
            );
        }
    }
}

#[test]
fn calls_are_plausible() {
    let mut seconds: Vec<_> = (0..100_000).map(|s| record(42, s).call_duration).collect();
    seconds.sort_unstable();
    let mean = seconds.iter().map(|s| i64::from(*s)).sum::<i64>() / 100_000;
    assert!((90..=100).contains(&seconds[50_000]), "median {}", seconds[50_000]);
    assert!((150..=260).contains(&mean), "mean {mean}");
    assert!(seconds[0] >= 1 && seconds[99_999] <= 10_800);
}

#[test]
fn unknown_kinds_and_fields_are_mistakes() {
    let mut wrong = config(1, 0, 0.1, &[]);
    wrong.generator = "orders".into();
    wrong.invalid_kinds = vec!["broken".into()];
    let schema = Schema::parse(
        r#"{"type":"record","name":"r","fields":[
            {"name":"x","type":"int"},{"name":"y","type":["null","int"]}]}"#,
    );
    let mistakes = Synthetic::new(&wrong, &schema.unwrap()).err().unwrap();
    let keys: Vec<_> = mistakes.iter().map(|m| m.key.as_str()).collect();
    assert_eq!(keys, ["source.generator", "source.invalid_kinds", "input.schema"]);
}

proptest! {
    #[test]
    fn every_record_obeys_every_rule(seed: u64, sequence: u64) {
        let record = record(seed, sequence);
        prop_assert_eq!(first_rule(&record), None);
        prop_assert!(record.total_amount_cents > 0 && record.total_amount_cents < 10_000_000_000);
        prop_assert!(record.caller_id.starts_with('+') && record.caller_id.len() <= 16);
        prop_assert!(record.caller_id[1..].bytes().all(|b| b.is_ascii_digit()));
    }

    #[test]
    fn draws_stay_below_their_limit(seed: u64, number: u64, limit in 1u32..) {
        prop_assert!(Draw::new(seed, Purpose::Call, number).below(limit) < limit);
    }
}
