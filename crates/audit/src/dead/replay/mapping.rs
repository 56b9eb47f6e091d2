//! Runs records through SQL: the repair of `--sql`, and the pipeline's own plan to forecast their
//! outcome.

use super::report::Outlook;
use crate::Result;
use jiff::Timestamp;
use std::mem::take;
use tokio::runtime::Handle;
use weir_codec::{
    Changes, Encoded, Encoder, InputBatch, InputDecoder, KeyDecoder, KeyType, Registry, Schema,
    check_input, of_rows,
};
use weir_kafka::Records;
use weir_kafka::replay::Mark;
use weir_model::fault::Fault;
use weir_model::frame::{KEY_HEADER, VALUE_HEADER};
use weir_model::mistake::{Mistake, Mistakes};
use weir_model::pipeline::{Pipeline, Unwrap};
use weir_transform::{ChangeColumns, InputColumns, Plan};

/// The path of a record through the enricher: decoded, mapped by SQL, encoded.
struct Mapping {
    /// The input topic.
    topic: String,
    decoder: InputDecoder,
    keys: KeyDecoder,
    plan: Plan,
    encoder: Encoder,
}

/// What becomes of one record.
enum Fate {
    /// It is this value of the encoded ones.
    Encoded(usize),
    /// It cannot be decoded.
    Undecoded(Fault),
    /// A rule, the SQL or the output schema refuses it.
    Refused(Fault),
    /// The SQL leaves it out.
    Filtered,
}

impl Mapping {
    fn new(
        pipeline: &Pipeline,
        input: Schema,
        key: &KeyType,
        plan: Plan,
        encoder: Encoder,
        registry: Registry,
    ) -> Result<Mapping> {
        let keys = KeyDecoder::new(key, registry.clone(), Handle::current())?;
        let decoder = InputDecoder::new(&pipeline.input, input, registry, Handle::current())?;
        Ok(Mapping { topic: pipeline.input.topic.clone(), decoder, keys, plan, encoder })
    }

    /// The fate of each record, and the encoded values: of SQL without `unnest` all.
    ///
    /// # Errors
    /// The registry is unavailable.
    fn apply(&mut self, batch: &Records) -> Result<(Vec<Fate>, Encoded)> {
        let values: Vec<_> = batch.values().collect();
        let headers = batch.last_headers(VALUE_HEADER);
        let InputBatch { decoded, changes } = self.decoder.decode(&values, &headers)?;
        let rows = || decoded.rows.iter().map(|row| batch.get(*row as usize));
        let keys = |keys: &[Option<&[u8]>]| {
            let headers = of_rows(&batch.last_headers(KEY_HEADER), &decoded.rows);
            self.keys.decode(keys, &headers)
        };
        let changes = changes.map(|Changes { operation, source_time, position }| ChangeColumns {
            operation,
            source_time,
            position,
        });
        let metadata = self.plan.metadata_columns(&self.topic, rows, changes.as_ref(), keys)?;
        let now = Timestamp::now().as_microsecond();
        let transformed = self.plan.apply_with(&decoded.batch, metadata, now)?;
        let mut encoded = self.encoder.encode(&transformed.output)?;
        let mut fates: Vec<Fate> = values.iter().map(|_| Fate::Filtered).collect();
        let record_of = |input: u32| decoded.rows[input as usize] as usize;
        for (value, output) in encoded.rows.iter().enumerate() {
            fates[record_of(transformed.rows[*output as usize])] = Fate::Encoded(value);
        }
        for (output, fault) in take(&mut encoded.faults) {
            fates[record_of(transformed.rows[output as usize])] = Fate::Refused(fault);
        }
        for (input, fault) in transformed.faults {
            fates[record_of(input)] = Fate::Refused(fault);
        }
        for (record, fault) in decoded.faults {
            fates[record as usize] = Fate::Undecoded(fault);
        }
        if let Some(&behind) = decoded.rows.get(transformed.num_taken) {
            let mut rest = Records::new();
            batch.iter().skip(behind as usize).for_each(|record| rest.push(record));
            fates.truncate(behind as usize);
            fates.extend(self.apply(&rest)?.0);
        }
        Ok((fates, encoded))
    }
}

/// `SELECT … FROM input`, from the input schema to the input schema.
pub(crate) struct Repair(Mapping);

/// The repaired records, and those that could not be repaired, with the reason.
pub(crate) struct Repaired {
    pub(crate) records: Records,
    pub(crate) left: Vec<(Mark, String)>,
}

impl Repair {
    /// Compiles the SQL; the repaired records get the registry's id of the input schema.
    ///
    /// # Errors
    /// [`Mistakes`] in the SQL, or values that are no Avro; the registry is unavailable.
    pub(crate) async fn new(pipeline: &Pipeline, sql: &str) -> Result<Repair> {
        if !pipeline.input.is_registered() {
            let what = "writes rows in Avro, and the values of this pipeline's input topic are not";
            let mistake = Mistake::new("--sql", what).hint("replay the records as they are");
            return Err(Mistakes::new(&pipeline.file, vec![mistake]).into());
        }
        let input = Schema::load(&pipeline.input.schema)?;
        let key = key_type(pipeline, &input)?;
        let plan = compile(pipeline, &input, &key, sql)?;
        let registry = Registry::new(&pipeline.registry)?;
        let id = registry.register(&pipeline.input_subject(input.name()), &input).await?;
        let encoder = Encoder::new(&input, id)?;
        Ok(Repair(Mapping::new(pipeline, input, &key, plan, encoder, registry)?))
    }

    /// Repairs a batch.
    ///
    /// # Errors
    /// The registry is unavailable.
    pub(crate) fn apply(&mut self, batch: &Records) -> Result<Repaired> {
        let (fates, encoded) = self.0.apply(batch)?;
        let (mut records, mut left) = (Records::new(), Vec::new());
        for (record, fate) in batch.iter().zip(fates) {
            let why = match fate {
                Fate::Encoded(value) => {
                    records.push_parts(
                        record.partition(),
                        record.offset(),
                        record.timestamp_ms(),
                        record.key(),
                        Some(encoded.get(value)),
                    );
                    // The new value is framed, so it must not have the header of one that is not.
                    let kept = record.headers().filter(|(name, _)| *name != VALUE_HEADER);
                    kept.for_each(|(name, value)| records.push_header(name, value));
                    continue;
                }
                Fate::Filtered => "--sql leaves it out".into(),
                Fate::Refused(fault) => format!("--sql fails on it: {}", fault.detail),
                Fate::Undecoded(fault) => {
                    format!("--sql needs a record that can be decoded: {}", fault.reason)
                }
            };
            left.push((Mark::of(record), why));
        }
        Ok(Repaired { records, left })
    }
}

fn input_columns(pipeline: &Pipeline, input: &Schema, key: &KeyType) -> InputColumns {
    let changes = pipeline.input.unwrap == Unwrap::Debezium;
    InputColumns { value: input.arrow(), key: key.arrow(), changes }
}

fn key_type(pipeline: &Pipeline, input: &Schema) -> std::result::Result<KeyType, Mistakes> {
    check_input(&pipeline.input, input).map_err(|list| pipeline.mistakes(list))
}

/// A pipeline with this SQL whose output is the input schema. It has no rules: the enricher
/// evaluates them.
fn compile(
    pipeline: &Pipeline,
    input: &Schema,
    key: &KeyType,
    sql: &str,
) -> std::result::Result<Plan, Mistakes> {
    let mut own = pipeline.clone();
    own.rejects.clear();
    own.transform.sql = sql.into();
    own.output.schema.clone_from(&pipeline.input.schema);
    let named = |mistake: Mistake| Mistake {
        key: mistake.key.replace("transform.sql", "--sql"),
        ..mistake
    };
    let columns = input_columns(pipeline, input, key);
    let mistakes =
        |list: Vec<Mistake>| Mistakes::new(&pipeline.file, list.into_iter().map(named).collect());
    let plan = Plan::compile(columns, input.arrow(), &own).map_err(mistakes)?;
    if plan.unnests() {
        let what = "unnests a list, and a repaired record is one record";
        return Err(mistakes(vec![Mistake::new("transform.sql", what)]));
    }
    Ok(plan)
}

/// Forecasts what the enricher would do.
pub(crate) struct Forecast(Mapping);

impl Forecast {
    /// Compiles the pipeline's rules and SQL as the file is now. Nothing is registered: the encoded
    /// values, which nobody gets, have the id 0.
    ///
    /// # Errors
    /// [`Mistakes`] in the file.
    pub(crate) fn new(pipeline: &Pipeline) -> Result<Forecast> {
        let (input, output) =
            (Schema::load(&pipeline.input.schema)?, Schema::load(&pipeline.output.schema)?);
        let key = key_type(pipeline, &input)?;
        let columns = input_columns(pipeline, &input, &key);
        let plan = Plan::compile(columns, output.arrow(), pipeline)
            .map_err(|list| pipeline.mistakes(list))?;
        let encoder = Encoder::new(&output, 0)?;
        let registry = Registry::new(&pipeline.registry)?;
        Ok(Forecast(Mapping::new(pipeline, input, &key, plan, encoder, registry)?))
    }

    /// Adds the forecast of a batch.
    ///
    /// # Errors
    /// The registry is unavailable.
    pub(crate) fn add(&mut self, batch: &Records, outlook: &mut Outlook) -> Result<()> {
        let (fates, _) = self.0.apply(batch)?;
        for fate in fates {
            match fate {
                Fate::Encoded(_) => outlook.pass += 1,
                Fate::Filtered => outlook.filtered += 1,
                Fate::Undecoded(fault) | Fate::Refused(fault) => {
                    *outlook.dead.entry(fault.reason).or_default() += 1;
                }
            }
        }
        Ok(())
    }
}
