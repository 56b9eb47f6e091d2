//! Runs records through SQL: the repair of `--sql`, and the pipeline's own plan to forecast their
//! outcome.

use super::report::Outlook;
use crate::Result;
use jiff::Timestamp;
use tokio::runtime::Handle;
use weir_codec::{Decoder, Encoder, Registry, Schema};
use weir_kafka::Records;
use weir_kafka::replay::Mark;
use weir_model::mistake::{Mistake, Mistakes};
use weir_model::pipeline::Pipeline;
use weir_transform::Plan;

/// `SELECT … FROM input`, from the input schema to the input schema.
pub(crate) struct Repair {
    decoder: Decoder,
    plan: Plan,
    encoder: Encoder,
}

/// The repaired records, and those that could not be repaired, with the reason.
pub(crate) struct Repaired {
    pub(crate) records: Records,
    pub(crate) left: Vec<(Mark, String)>,
}

impl Repair {
    /// Compiles the SQL; the repaired records get the registry's id of the input schema.
    ///
    /// # Errors
    /// [`Mistakes`] in the SQL; the registry is unavailable.
    pub(crate) async fn new(pipeline: &Pipeline, sql: &str) -> Result<Repair> {
        let input = Schema::load(&pipeline.input.schema)?;
        let plan = compile(pipeline, &input, sql)?;
        let registry = Registry::new(&pipeline.registry)?;
        let id = registry.register(&pipeline.input_subject(), &input).await?;
        let encoder = Encoder::new(&input, id)?;
        Ok(Repair { decoder: Decoder::new(input, registry, Handle::current())?, plan, encoder })
    }

    /// Repairs a batch.
    ///
    /// # Errors
    /// The registry is unavailable.
    pub(crate) fn apply(&mut self, batch: &Records) -> Result<Repaired> {
        let values: Vec<_> = batch.values().collect();
        let decoded = self.decoder.decode(&values)?;
        let transformed = self.plan.apply(&decoded.batch, Timestamp::now().as_microsecond())?;
        let encoded = self.encoder.encode(&transformed.output)?;
        let mut fates: Vec<Option<String>> = vec![Some("--sql leaves it out".into()); batch.len()];
        let mut records = Records::new();
        let record_of = |output: u32| {
            let input = transformed.rows[output as usize];
            decoded.rows[input as usize] as usize
        };
        for (value, output) in encoded.rows.iter().enumerate() {
            let index = record_of(*output);
            fates[index] = None;
            let record = batch.get(index);
            records.push_parts(
                record.partition(),
                record.offset(),
                record.timestamp_ms(),
                record.key(),
                Some(encoded.get(value)),
            );
            record.headers().for_each(|(name, value)| records.push_header(name, value));
        }
        for (output, fault) in &encoded.faults {
            fates[record_of(*output)] = Some(format!("--sql fails on it: {}", fault.detail));
        }
        for (index, fault) in decoded.faults {
            fates[index as usize] =
                Some(format!("--sql needs a record that can be decoded: {}", fault.reason));
        }
        for (input, fault) in transformed.faults {
            fates[decoded.rows[input as usize] as usize] =
                Some(format!("--sql fails on it: {}", fault.detail));
        }
        let left =
            batch.iter().zip(fates).filter_map(|(record, why)| Some((Mark::of(record), why?)));
        Ok(Repaired { records, left: left.collect() })
    }
}

/// A pipeline with this SQL whose output is the input schema. It has no rules: the enricher
/// evaluates them.
fn compile(pipeline: &Pipeline, input: &Schema, sql: &str) -> std::result::Result<Plan, Mistakes> {
    let mut own = pipeline.clone();
    own.rejects.clear();
    own.transform.sql = sql.into();
    own.output.schema.clone_from(&pipeline.input.schema);
    let named = |mistake: Mistake| Mistake {
        key: mistake.key.replace("transform.sql", "--sql"),
        ..mistake
    };
    Plan::compile(input.arrow(), input.arrow(), &own)
        .map_err(|list| Mistakes::new(&pipeline.file, list.into_iter().map(named).collect()))
}

/// Forecasts what the enricher would do.
pub(crate) struct Forecast {
    decoder: Decoder,
    plan: Plan,
}

impl Forecast {
    /// Compiles the pipeline's rules and SQL as the file is now.
    ///
    /// # Errors
    /// [`Mistakes`] in the file.
    pub(crate) fn new(pipeline: &Pipeline) -> Result<Forecast> {
        let (input, output) =
            (Schema::load(&pipeline.input.schema)?, Schema::load(&pipeline.output.schema)?);
        let plan = Plan::compile(input.arrow(), output.arrow(), pipeline)
            .map_err(|list| pipeline.mistakes(list))?;
        let registry = Registry::new(&pipeline.registry)?;
        Ok(Forecast { decoder: Decoder::new(input, registry, Handle::current())?, plan })
    }

    /// Adds the forecast of a batch.
    ///
    /// # Errors
    /// The registry is unavailable.
    pub(crate) fn add(&mut self, batch: &Records, outlook: &mut Outlook) -> Result<()> {
        let values: Vec<_> = batch.values().collect();
        let decoded = self.decoder.decode(&values)?;
        let transformed = self.plan.apply(&decoded.batch, Timestamp::now().as_microsecond())?;
        outlook.pass += transformed.rows.len() as u64;
        let dead = decoded.faults.iter().chain(&transformed.faults);
        dead.for_each(|(_, fault)| *outlook.dead.entry(fault.reason.clone()).or_default() += 1);
        let stopped = decoded.faults.len() + transformed.faults.len() + transformed.rows.len();
        outlook.filtered += (batch.len() - stopped) as u64;
        Ok(())
    }
}
