//! Avro object container files. A position names the block by its first byte, and the record in it.

use super::layout::Layout;
use super::{Found, OpenFile, fault, short, unavailable};
use crate::source::{Error, Limit, Malformed};
use arrow::compute::concat_batches;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use weir_codec::{Block, BlockRecords, Container, ContainerError};

pub(super) struct Avro {
    container: Container,
    reader: BufReader<File>,
    path: PathBuf,
    file: String,
    /// The block at hand.
    block: Option<Block>,
    /// Where that block begins; without one, where the next does.
    byte: u64,
    /// Records before it.
    before: u64,
}

impl Avro {
    pub(super) fn open(
        path: &Path,
        file: File,
        within: &Value,
        layout: &Layout,
    ) -> Result<Avro, Error> {
        let mut reader = BufReader::new(file);
        let name = short(path);
        let container = Container::open(&mut reader, &layout.codec)
            .map_err(|error| failed(path, &name, error))?;
        let mut avro = Avro {
            container,
            reader,
            path: path.into(),
            file: name,
            block: None,
            byte: 0,
            before: 0,
        };
        avro.byte = avro.reader.stream_position().map_err(|e| unavailable(path, &e))?;
        if !within.is_null() {
            avro.resume(within)?;
        }
        Ok(avro)
    }

    fn resume(&mut self, within: &Value) -> Result<(), Error> {
        let number = |key: &str| {
            within[key]
                .as_u64()
                .ok_or_else(|| Error::Lost(format!("{within} is not a position in {}", self.file)))
        };
        let (byte, before, record) = (number("block")?, number("before")?, number("record")?);
        self.reader.seek(SeekFrom::Start(byte)).map_err(|e| unavailable(&self.path, &e))?;
        (self.byte, self.before) = (byte, before);
        if record > 0 && self.next_block()? {
            self.block.iter_mut().for_each(|block| self.container.resume(block, record));
        }
        Ok(())
    }

    /// Reads the next block; `false` at the end of the file.
    fn next_block(&mut self) -> Result<bool, Error> {
        let block = self.container.block(&mut self.reader);
        self.block = block.map_err(|error| failed(&self.path, &self.file, error))?;
        Ok(self.block.is_some())
    }

    fn position(&self) -> Value {
        let record = self.block.as_ref().map_or(0, Block::next);
        json!({ "block": self.byte, "before": self.before, "record": record })
    }
}

impl OpenFile for Avro {
    fn read(&mut self, limit: Limit, layout: &Layout) -> Result<Found, Error> {
        let (mut batches, mut positions, mut malformed) = (Vec::new(), Vec::new(), Vec::new());
        let (start, mut end) = (self.byte, false);
        // Records are counted from 1.
        let number = |before: u64, record: u64| (before + record + 1) as i64;
        while positions.len() + malformed.len() < limit.records
            && (self.byte - start) < limit.bytes as u64
        {
            if self.block.is_none() && !self.next_block()? {
                end = true;
                break;
            }
            let Some(block) = &mut self.block else { continue };
            let room = limit.records - positions.len() - malformed.len();
            let found = self.container.records(block, room);
            let BlockRecords { batch, rows, faults, end: is_over } =
                found.map_err(|e| Error::Unfit(format!("{}: {e}", self.file)))?;
            batches.push(batch);
            positions.extend(rows.into_iter().map(|row| number(self.before, row)));
            malformed.extend(faults.into_iter().map(|(row, bytes, found)| {
                let position = number(self.before, row);
                let detail = format!("{} record {position}: {}", self.file, found.detail);
                Malformed { bytes, fault: fault(&found.reason, detail), position }
            }));
            if is_over {
                self.before += block.num_records;
                self.block = None;
                self.byte =
                    self.reader.stream_position().map_err(|e| unavailable(&self.path, &e))?;
            }
        }
        let batch = concat_batches(&layout.schema(), &batches)
            .map_err(|e| Error::Unfit(format!("{}: {e}", self.file)))?;
        Ok(Found { batch, positions, malformed, within: self.position(), end })
    }
}

fn failed(path: &Path, file: &str, error: ContainerError) -> Error {
    match error {
        ContainerError::Io(error) => unavailable(path, &error),
        ContainerError::Broken(what) => Error::Unfit(format!("{file} {what}")),
    }
}
