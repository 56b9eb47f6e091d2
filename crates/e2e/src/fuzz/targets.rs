//! The parsers, each with examples of what it reads.

use crate::protobuf;
use crate::registry::FakeRegistry;
use anyhow::{Result, ensure};
use serde_json::json;
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;
use weir_codec::{Decoder, JsonDecoder, JsonRules, Registry, Schema, registry::Settings};
use weir_model::pipeline::Pipeline;
use weir_model::secret::Secret;
use weir_model::{frame, lineage::Lineage};
use weir_producer::source::{Limit, Source};

/// A parser by its name.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) prepare: fn() -> Result<Box<dyn Run>>,
}

/// A parser ready to be given inputs.
pub(crate) trait Run {
    /// Examples, which are valid.
    fn seeds(&self) -> Vec<Vec<u8>>;

    /// Parses the input. The error is a broken promise, not that the input is refused.
    fn check(&mut self, input: &[u8]) -> Result<()>;
}

pub(crate) const TARGETS: &[Target] = &[
    Target { name: "header", prepare: || Ok(Box::new(Header)) },
    Target { name: "schema", prepare: || Ok(Box::new(SchemaText)) },
    Target { name: "datum", prepare: || Ok(Box::new(Datum::new()?)) },
    Target { name: "writer-schema", prepare: || Ok(Box::new(WriterSchema::new()?)) },
    Target { name: "registry", prepare: || Ok(Box::new(RegistryAnswer::new()?)) },
    Target { name: "csv", prepare: || Ok(Box::new(File::new("csv")?)) },
    Target { name: "json", prepare: || Ok(Box::new(File::new("jsonl")?)) },
    Target { name: "json-record", prepare: || Ok(Box::new(JsonRecord::new()?)) },
    Target { name: "protobuf", prepare: || Ok(Box::new(protobuf::Message::new()?)) },
    Target { name: "protobuf-schema", prepare: || Ok(Box::new(protobuf::SchemaText::new()?)) },
    Target { name: "pipeline", prepare: || Ok(Box::new(PipelineFile)) },
];

const READER: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"id","type":"long"},{"name":"name","type":["null","string"],"default":null},
    {"name":"amount","default":null,"type":["null",
        {"type":"bytes","logicalType":"decimal","precision":9,"scale":2}]},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null}]}"#;

/// Of another program, with everything that has to be skipped.
const FOREIGN: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"tags","type":{"type":"array","items":["null","string",{"type":"map","values":"double"}]}},
    {"name":"inner","type":{"type":"record","name":"I","fields":[{"name":"n","type":"null"},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}}]}},
    {"name":"more","type":["int","I",{"type":"fixed","name":"F","size":3}]},
    {"name":"id","type":"int"},{"name":"name","type":["string","null"]},{"name":"b","type":"boolean"}]}"#;

pub(crate) fn framed(id: u8, datum: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, id][..], datum].concat()
}

/// The frame of a value and the lineage header.
struct Header;

impl Run for Header {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let lineage = Lineage::new(5, 4, 7);
        vec![framed(1, &[2, 9]), lineage.encode().as_ref().to_vec()]
    }

    fn check(&mut self, input: &[u8]) -> Result<()> {
        let id = frame::schema_id(input);
        ensure!(id.is_none() || input.len() >= frame::LEN, "a frame in {} bytes", input.len());
        if let Some(lineage) = Lineage::decode(input) {
            ensure!(
                Lineage::decode(lineage.encode().as_ref()) == Some(lineage),
                "{lineage:?} is another"
            );
        }
        Ok(())
    }
}

/// A schema document, as from a file.
struct SchemaText;

impl Run for SchemaText {
    fn seeds(&self) -> Vec<Vec<u8>> {
        [READER, FOREIGN, r#"["null","int"]"#].map(|text| text.as_bytes().to_vec()).to_vec()
    }

    fn check(&mut self, input: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(input);
        if let Ok(schema) = Schema::parse(&text) {
            ensure!(schema.arrow().fields().len() < 5000, "more fields than types");
        }
        Ok(())
    }
}

/// A decoder with a registry in this process.
pub(crate) struct Decoding {
    pub(crate) registry: FakeRegistry,
    pub(crate) decoder: Decoder,
    pub(crate) runtime: Runtime,
}

impl Decoding {
    fn new() -> Result<Decoding> {
        Decoding::into(READER)
    }

    pub(crate) fn into(reader: &str) -> Result<Decoding> {
        let (registry, runtime) = (FakeRegistry::start()?, Runtime::new()?);
        let client = client(&registry)?;
        let decoder = Decoder::new(Schema::parse(reader)?, client, runtime.handle().clone())?;
        Ok(Decoding { registry, decoder, runtime })
    }
}

fn client(registry: &FakeRegistry) -> Result<Registry> {
    let urls = vec![Secret::new(registry.url.clone())];
    Ok(Registry::new(Settings { urls, ..Settings::default() })?)
}

fn stored(text: &str) -> (u16, Vec<u8>) {
    (200, json!({"schema": text}).to_string().into_bytes())
}

/// The bytes of records of known schemas, with a good neighbour.
struct Datum(Decoding);

impl Datum {
    fn new() -> Result<Datum> {
        let decoding = Decoding::new()?;
        decoding.registry.answer_with(|id| match id {
            2 => stored(FOREIGN),
            _ => stored(READER),
        });
        Ok(Datum(decoding))
    }
}

impl Run for Datum {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let foreign = [
            4, 2, 2, b'x', 4, 2, 2, b'k', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 0, 14, 0, 2, b'a',
            1,
        ];
        vec![
            framed(1, &[2, 2, 6, b'A', b'n', b'n', 2, 4, 1, 2, 2, 0x80, 0x80, 0x80, 0x10]),
            framed(1, &[2, 0, 0, 0]),
            framed(2, &foreign),
        ]
    }

    fn check(&mut self, input: &[u8]) -> Result<()> {
        let mut input = input.to_vec();
        // Other ids are what the target `registry` is for.
        if let Some(byte) = input.get_mut(..5) {
            byte.copy_from_slice(&[0, 0, 0, 0, 1 + byte[4] % 2]);
        }
        let good = framed(1, &[2, 0, 0, 0]);
        let decoded = self.0.decoder.decode(&[Some(&input), Some(&good), Some(&input)])?;
        ensure!(decoded.rows.contains(&1), "the neighbour is lost: {:?}", decoded.faults);
        ensure!(decoded.rows.len() + decoded.faults.len() == 3, "a value has no or two outcomes");
        ensure!(decoded.rows.len() == decoded.batch.num_rows(), "rows and batch differ");
        Ok(())
    }
}

/// The schema of a writer, as stored in a registry, and a record of it.
struct WriterSchema {
    decoding: Decoding,
    next_id: u32,
}

impl WriterSchema {
    fn new() -> Result<WriterSchema> {
        Ok(WriterSchema { decoding: Decoding::new()?, next_id: 1 })
    }
}

impl Run for WriterSchema {
    fn seeds(&self) -> Vec<Vec<u8>> {
        SchemaText.seeds()
    }

    fn check(&mut self, input: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(input).into_owned();
        self.decoding.registry.answer_with(move |id| match id {
            u32::MAX.. | 0 => stored(READER),
            _ => stored(&text),
        });
        self.next_id = (self.next_id + 1) % (1 << 30);
        let values: Vec<Vec<u8>> = [&[2, 0, 0, 0][..], &[0; 16], &[254; 40], &[]]
            .iter()
            .map(|datum| [&[0][..], &self.next_id.to_be_bytes(), datum].concat())
            .collect();
        let values: Vec<Option<&[u8]>> = values.iter().map(|v| Some(v.as_slice())).collect();
        let decoded = self.decoding.decoder.decode(&values)?;
        ensure!(decoded.rows.len() + decoded.faults.len() == 4, "a value has no or two outcomes");
        let longest = decoded.faults.iter().map(|(_, fault)| fault.detail.len()).max();
        ensure!(longest.unwrap_or(0) < 4096, "a detail of {longest:?} bytes");
        Ok(())
    }
}

/// The registry's answers: any status, any body.
struct RegistryAnswer {
    registry: FakeRegistry,
    client: Registry,
    pub(crate) runtime: Runtime,
    next_id: u32,
}

impl RegistryAnswer {
    fn new() -> Result<RegistryAnswer> {
        let Decoding { registry, runtime, .. } = Decoding::new()?;
        let client = client(&registry)?;
        Ok(RegistryAnswer { registry, client, runtime, next_id: 1 })
    }
}

impl Run for RegistryAnswer {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let references = json!([{"name": "I", "subject": "i", "version": 1}]);
        [
            json!({"schema": READER}),
            json!({"schema": READER, "schemaType": "AVRO", "references": references}),
            json!({"subject": "s", "id": 1, "version": 3, "schema": FOREIGN}),
            json!({"error_code": 40403, "message": "Schema not found"}),
        ]
        .iter()
        .map(|body| [&[200, 0][..], body.to_string().as_bytes()].concat())
        .collect()
    }

    /// The first two bytes are the status.
    fn check(&mut self, input: &[u8]) -> Result<()> {
        let (status, body) = input.split_at_checked(2).unwrap_or((&[200, 0], input));
        let status = 200 + u16::from_le_bytes([status[0], status[1]]).wrapping_sub(200) % 400;
        let body = body.to_vec();
        // Statuses without a body would leave it in the connection.
        let body = if matches!(status, 204 | 205 | 304) { Vec::new() } else { body };
        self.registry.answer_with(move |_| (status, body.clone()));
        self.next_id = (self.next_id + 1) % (1 << 30);
        let asked = async {
            (self.client.schema(self.next_id).await.err(), self.client.latest("s").await.err())
        };
        let (by_id, latest) = self.runtime.block_on(asked);
        for error in by_id.iter().chain(&latest) {
            ensure!(
                error.to_string().len() < 8192,
                "an error of {} bytes",
                error.to_string().len()
            );
        }
        Ok(())
    }
}

/// JSON values of a topic, nested ones too, with a good neighbour; read strictly and loosely.
struct JsonRecord([JsonDecoder; 2]);

const NESTED: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"id","type":"long"},
    {"name":"amount","type":["null",{"type":"bytes","logicalType":"decimal","precision":38,"scale":9}]},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-nanos"}]},
    {"name":"inner","type":["null",{"type":"record","name":"I","fields":[
        {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]},"default":"B"},
        {"name":"f","type":["null","double"]}]}]},
    {"name":"lists","type":{"type":"array","items":{"type":"array","items":"int"}},"default":[]},
    {"name":"map","type":["null",{"type":"map","values":["null","string"]}]}]}"#;

impl JsonRecord {
    fn new() -> Result<JsonRecord> {
        let decoder = |loose| {
            let rules =
                JsonRules { numbers_as_text: loose, refuse_unknown: loose, similar_names: loose };
            JsonDecoder::new(Schema::parse(NESTED)?, rules)
        };
        Ok(JsonRecord([decoder(false)?, decoder(true)?]))
    }
}

impl Run for JsonRecord {
    fn seeds(&self) -> Vec<Vec<u8>> {
        [
            r#"{"id":1,"amount":-12345678901234567890.123456789,"at":"2026-01-01T00:00:00.000000001Z",
                "inner":{"e":"A","f":1e-3},"lists":[[1,2],[]],"map":{"\u00e4":"x","b":null}}"#,
            r#"{"id":"2","inner":{},"more":[[[{"a":1}]]]}"#,
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
    }

    fn check(&mut self, input: &[u8]) -> Result<()> {
        for decoder in &mut self.0 {
            let decoded = decoder.decode(&[Some(input), Some(br#"{"id":7}"#), Some(input)])?;
            ensure!(decoded.rows.contains(&1), "the neighbour is lost: {:?}", decoded.faults);
            ensure!(decoded.rows.len() + decoded.faults.len() == 3, "no or two outcomes");
            ensure!(decoded.rows.len() == decoded.batch.num_rows(), "rows and batch differ");
            let longest = decoded.faults.iter().map(|(_, fault)| fault.detail.len()).max();
            ensure!(longest.unwrap_or(0) < 4096, "a detail of {longest:?} bytes");
        }
        Ok(())
    }
}

/// A file of the source, read to its end.
struct File {
    folder: tempfile::TempDir,
    extension: &'static str,
    source: Box<dyn Source>,
}

impl File {
    fn new(extension: &'static str) -> Result<File> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(format!("in.{extension}"));
        std::fs::write(folder.path().join("r.avsc"), READER)?;
        std::fs::write(&path, seeds_of(extension).concat())?;
        let file = folder.path().join("p.toml");
        let text = pipeline_text(&path, "r.avsc");
        let pipeline = Pipeline::parse(&text, &file, &|_| None)?;
        let schema = Schema::parse(READER)?;
        let source = weir_producer::source::build(&pipeline, &schema)
            .map_err(|mistakes| pipeline.mistakes(mistakes))?;
        Ok(File { folder, extension, source })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(format!("in.{}", self.extension))
    }
}

fn seeds_of(extension: &str) -> Vec<Vec<u8>> {
    let texts: &[&str] = match extension {
        "csv" => &["id,name,amount,at\n1,\"A, n\",1.50,2026-01-01T00:00:00Z\n2,,,\n"],
        _ => &[
            "{\"id\":1,\"name\":\"A\",\"amount\":1.5,\"at\":\"2026-01-01T00:00:00Z\"}\n\
             {\"id\":2}\n",
            "[{\"id\":1,\"name\":\"A \\\"[{,\"},\n {\n \"id\": 2, \"more\": [{}]\n}]\n",
        ],
    };
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn pipeline_text(path: &Path, schema: &str) -> String {
    format!(
        "name = \"fuzz\"\n[kafka]\nbrokers = \"x:9\"\n[registry]\nurl = \"http://x:9\"\n\
         [source]\ntype = \"file\"\npath = \"{}\"\n[input]\ntopic = \"t\"\nschema = \"{schema}\"\n\
         [transform]\nsql = \"SELECT id FROM input\"\n[output]\ntopic = \"o\"\n\
         schema = \"{schema}\"\n[dead_letters]\ntopic = \"d\"\n\
         [[sink]]\nname = \"s\"\ntype = \"postgres\"\nurl = \"postgres://x/d\"\ntable = \"t\"\n",
        path.display()
    )
}

impl Run for File {
    fn seeds(&self) -> Vec<Vec<u8>> {
        seeds_of(self.extension)
    }

    fn check(&mut self, input: &[u8]) -> Result<()> {
        std::fs::write(self.path(), input)?;
        let Ok(mut reader) = self.source.open(0, None) else { return Ok(()) };
        let limit = Limit { records: 100, bytes: 1 << 16 };
        let mut num_items = 0;
        for _ in 0..=input.len() {
            let Ok(chunk) = reader.read(limit) else { return Ok(()) };
            ensure!(chunk.len() <= limit.records, "{} items at once", chunk.len());
            num_items += chunk.len();
            ensure!(num_items <= input.len(), "{num_items} items in {} bytes", input.len());
            if chunk.end {
                return Ok(());
            }
        }
        anyhow::bail!("it does not come to an end")
    }
}

/// A pipeline file.
struct PipelineFile;

impl Run for PipelineFile {
    fn seeds(&self) -> Vec<Vec<u8>> {
        vec![
            include_bytes!("../../../../deploy/pipelines/telecom.toml").to_vec(),
            include_bytes!("../../../../deploy/pipelines/flights.toml").to_vec(),
        ]
    }

    fn check(&mut self, input: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(input);
        let secret = "a-variable-s-value";
        let path = Path::new("/nonexistent/pipeline.toml");
        if let Err(mistakes) = Pipeline::parse(&text, path, &|_| Some(secret.into())) {
            let shown = mistakes.to_string();
            ensure!(!shown.trim().is_empty(), "refused without a word");
        }
        Ok(())
    }
}
