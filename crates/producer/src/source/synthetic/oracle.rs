//! What must become of each sequence number: computed without the producer, the codec, the enricher
//! or the sink.

use super::call::Record;
use super::{Generator, Kind, invalid::Invalid};
use weir_codec::Schema;
use weir_model::fault::Stage;
use weir_model::mistake::Mistake;
use weir_model::pipeline;

/// Recomputes what a synthetic source sends, and what the pipeline `telecom` must make of it.
pub struct Oracle {
    generator: Generator,
    partitions: u32,
    fields: Vec<String>,
    schema_id: u32,
}

/// One record, as it is sent and as it must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its number.
    pub sequence: u64,
    /// The partition of the source that sends it.
    pub source_partition: u32,
    /// Its values, wrong ones included; for kinds that concern the bytes, the values before they
    /// were corrupted.
    pub record: Record,
    /// In which way it is invalid; `None`: it must be in the table.
    pub kind: Option<Kind>,
    /// For an invalid one: the stage that refuses it and the reason in its dead letter.
    pub fate: Option<(Stage, &'static str)>,
    /// The Kafka record's value, byte for byte.
    pub payload: Vec<u8>,
}

impl Oracle {
    /// An oracle for a source; `schema` is the input schema, and `schema_id` the id under which the
    /// registry knows it.
    ///
    /// # Errors
    /// An unknown kind, or a schema that is not the plain one of call records (nine fields in any
    /// order, none of them optional).
    pub fn new(
        config: &pipeline::Synthetic,
        schema: &Schema,
        schema_id: u32,
    ) -> Result<Oracle, Box<Mistake>> {
        let generator = Generator { seed: config.seed, invalid: Invalid::new(config)? };
        let arrow = schema.arrow();
        if let Some(field) = arrow.fields().iter().find(|f| f.is_nullable()) {
            let what = format!("the oracle knows no optional field; `{}` is one", field.name());
            return Err(Box::new(Mistake::new("input.schema", what)));
        }
        let fields = arrow.fields().iter().map(|f| f.name().clone()).collect();
        Ok(Oracle { generator, partitions: config.partitions, fields, schema_id })
    }

    /// What must become of a sequence number.
    pub fn expect(&self, sequence: u64) -> Expected {
        let (call, kind) = self.generator.call(sequence);
        let record = Record::new(&call);
        let mut payload = self.encode(&record);
        if let Some(corruption) = kind.and_then(|kind| kind.corruption(&call)) {
            corruption(&mut payload);
        }
        let source_partition = (sequence % u64::from(self.partitions)) as u32;
        Expected { sequence, source_partition, record, kind, fate: kind.map(Kind::fate), payload }
    }

    /// Avro by hand: the specification's binary encoding of the nine fields behind the registry's
    /// frame.
    fn encode(&self, record: &Record) -> Vec<u8> {
        let mut out = vec![0];
        out.extend(self.schema_id.to_be_bytes());
        for field in &self.fields {
            match field.as_str() {
                "caller_name" => bytes(&mut out, record.caller_name.as_bytes()),
                "receiver_name" => bytes(&mut out, record.receiver_name.as_bytes()),
                "caller_id" => bytes(&mut out, record.caller_id.as_bytes()),
                "receiver_id" => bytes(&mut out, record.receiver_id.as_bytes()),
                "network_provider" => bytes(&mut out, record.network_provider.as_bytes()),
                "start_datetime" => long(&mut out, record.start_micros),
                "end_datetime" => long(&mut out, record.end_micros),
                "call_duration" => long(&mut out, record.call_duration.into()),
                _ => bytes(&mut out, decimal(record.total_amount_cents).as_slice()),
            }
        }
        out
    }
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Zig-zag, then seven bits a byte, lowest first.
fn long(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Two's complement, highest byte first, in as few bytes as hold it.
fn decimal(unscaled: i64) -> Vec<u8> {
    let all = unscaled.to_be_bytes();
    let sign = if unscaled < 0 { 0xff } else { 0 };
    let redundant = (0..7).take_while(|&at| all[at] == sign && (all[at + 1] ^ sign) < 0x80).count();
    all[redundant..].to_vec()
}
