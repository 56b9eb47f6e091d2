//! A transaction of files. While it is filled, its rows are encoded into temporary files. The commit
//! puts these where they belong, under names that are used once, and then creates the entry of the
//! log that makes them count.

use crate::files::dead_letter::{self, Letter, Letters, LettersFile, MAX_INLINE};
use crate::files::error::{bug, failed};
use crate::files::hash::sha256;
use crate::files::log::entry::{Change, DataFile, Sources, random_id};
use crate::files::log::{Appended, Log};
use crate::files::table::{Arranged, Table, Unfit};
use crate::files::text::{self, Rows};
use crate::files::upload;
use crate::files::writer::{FileWriter, Finished};
use crate::target::{Part, Room, SourceRecords, Transaction, Written};
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStoreExt, PutPayload};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use weir_model::dead_letter::DeadLetter;
use weir_model::fault::{Class, Fault, Stage, VALUE_DOES_NOT_FIT};
use weir_model::pipeline::FilesFormat;
use weir_model::protocol::{self, Claim, Outcome, Partition};

/// What the Parquet writers of a transaction may hold in memory before row groups are ended.
const MAX_MEMORY: usize = 48 << 20;
/// Dead letters stay in memory until the commit.
const MAX_DEAD_BYTES: usize = 16 << 20;
/// Folders of a transaction.
const MAX_FILES: usize = 100;
/// What is read at once.
const PART_BYTES: usize = 8 << 20;
/// Files that are sent at a time.
const CONCURRENT_UPLOADS: usize = 2;

/// What all transactions of a sink share.
pub(crate) struct Shared {
    pub(crate) log: Log,
    /// The topic that the sink reads.
    pub(crate) topic: String,
    /// Of the files: `<pipeline>.<sink>-`.
    pub(crate) file_prefix: String,
    pub(crate) max_file_size: u64,
    pub(crate) max_file_rows: u64,
}

/// See the module.
pub(crate) struct Filling {
    shared: Arc<Shared>,
    table: Arc<Table>,
    /// By folder. The lock only makes it `Sync`.
    files: Mutex<BTreeMap<String, FileWriter>>,
    /// The size of the largest file.
    largest: u64,
    num_files: usize,
    num_records: u64,
    dead_letters: Vec<DeadLetter>,
    dead_bytes: usize,
    /// Refused rows per partition.
    refused: BTreeMap<Partition, Vec<String>>,
    /// The disk of the temporary files is full or broken: the commit says so.
    failed: Option<crate::Error>,
}

impl Filling {
    pub(crate) fn new(shared: Arc<Shared>, table: Arc<Table>) -> Filling {
        Filling {
            shared,
            table,
            files: Mutex::default(),
            largest: 0,
            num_files: 0,
            num_records: 0,
            dead_letters: Vec::new(),
            dead_bytes: 0,
            refused: BTreeMap::new(),
            failed: None,
        }
    }

    fn fill(&mut self, part: &Part) -> Result<(), crate::Error> {
        let table = self.table.clone();
        let records = &*part.records;
        let Arranged { batch, paths, mut unfit } = table.arrange(&part.rows, records)?;
        let groups = groups(batch.num_rows(), paths, &unfit);
        match table.format {
            FilesFormat::Parquet => {
                for (folder, rows) in groups {
                    let batch = rows_of(&batch, &rows, &table)?;
                    let file = self.file(folder)?;
                    file.add_batch(&batch)?;
                    note_sources(file, rows.iter().copied(), records);
                    self.limit_memory()?;
                }
            }
            FilesFormat::Json | FilesFormat::Csv => {
                let schema = batch.schema();
                let object = text::object(&batch).map_err(bug)?;
                let rows = match table.format {
                    FilesFormat::Csv => Rows::csv(&batch, &schema),
                    _ => Rows::json(&object),
                };
                let rows = rows.map_err(bug)?;
                for (folder, group) in groups {
                    self.add_lines(folder, &rows, &group, records, &mut unfit)?;
                }
            }
        }
        unfit.into_values().for_each(|unfit| self.refuse(unfit, records));
        self.num_files = self.files().len();
        self.largest = self.files().values().map(FileWriter::size).max().unwrap_or(0);
        Ok(())
    }

    fn add_lines(
        &mut self,
        folder: String,
        rows: &Rows<'_>,
        group: &[u32],
        records: &dyn SourceRecords,
        unfit: &mut BTreeMap<usize, Unfit>,
    ) -> Result<(), crate::Error> {
        let (mut lines, mut written) = (Vec::new(), Vec::with_capacity(group.len()));
        for row in group {
            match rows.write(*row as usize, &mut lines) {
                Ok(()) => written.push(*row),
                Err(text::Unfit { column, what }) => {
                    let row = *row as usize;
                    unfit.insert(row, Unfit { row, column, what });
                }
            }
        }
        if written.is_empty() {
            return Ok(());
        }
        let file = self.file(folder)?;
        file.add_lines(&lines)?;
        note_sources(file, written.into_iter(), records);
        Ok(())
    }

    fn files(&mut self) -> &mut BTreeMap<String, FileWriter> {
        self.files.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a folder.
    fn file(&mut self, folder: String) -> Result<&mut FileWriter, crate::Error> {
        use std::collections::btree_map::Entry;
        let table = self.table.clone();
        Ok(match self.files().entry(folder) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(place) => {
                let Table { format, compression, schema, .. } = &*table;
                place.insert(FileWriter::new(*format, *compression, schema)?)
            }
        })
    }

    /// Ends the largest row groups while all together are too large.
    fn limit_memory(&mut self) -> Result<(), crate::Error> {
        while self.files().values().map(FileWriter::memory).sum::<usize>() > MAX_MEMORY {
            let largest = self.files().values_mut().max_by_key(|file| file.memory());
            let Some(largest) = largest else { break };
            let before = largest.memory();
            largest.flush()?;
            if largest.memory() >= before {
                break;
            }
        }
        Ok(())
    }

    fn refuse(&mut self, Unfit { row, column, what }: Unfit, records: &dyn SourceRecords) {
        let fault = Fault {
            stage: Stage::Sink,
            reason: VALUE_DOES_NOT_FIT.into(),
            detail: match column.is_empty() {
                true => what,
                false => format!("column {column}: {what}"),
            },
        };
        let reasons = self.refused.entry(records.partition(row)).or_default();
        reasons.push(fault.reason.clone());
        let column = Some(column).filter(|column| !column.is_empty());
        let dead_letter = DeadLetter { column, ..records.dead_letter(row, fault) };
        self.add_dead_letters([dead_letter]);
    }

    fn add_dead_letters(&mut self, dead_letters: impl IntoIterator<Item = DeadLetter>) {
        for dead_letter in dead_letters {
            self.dead_bytes += dead_letter::num_bytes(&dead_letter);
            self.dead_letters.push(dead_letter);
        }
    }

    /// Puts the files where they belong.
    async fn upload(&mut self) -> Result<Vec<DataFile>, crate::Error> {
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let id = random_id();
        let (prefix, ending) = (self.shared.file_prefix.clone(), self.table.ending());
        let files = std::mem::take(self.files());
        // What Parquet still holds in memory is compressed now.
        let finish = tokio::task::spawn_blocking(move || {
            let files = files.into_iter().filter(|(_, file)| file.rows > 0).enumerate();
            let finish = |(number, (folder, file)): (usize, (String, FileWriter))| {
                Ok((format!("{folder}{prefix}{time}-{id}-{number}.{ending}"), file.finish()?))
            };
            files.map(finish).collect::<Result<Vec<(String, Finished)>, crate::Error>>()
        });
        let finished = finish.await.map_err(bug)??;
        let location = self.shared.log.location();
        let uploads = finished.into_iter().map(|(path, file)| async move {
            let Finished { file, rows, bytes, sources } = file;
            let sha256 = upload::send(location, &path, file, bytes).await?;
            Ok::<_, crate::Error>(DataFile { path, rows, bytes, sha256, sources })
        });
        stream::iter(uploads).buffered(CONCURRENT_UPLOADS).try_collect().await
    }

    /// The dead letters as they are in the log.
    async fn letters(&self) -> Result<Letters, crate::Error> {
        let lines = dead_letter::lines(&self.dead_letters)?;
        if lines.len() <= MAX_INLINE {
            let inline = self.dead_letters.iter().map(Letter::from).collect();
            return Ok(Letters { inline, file: None });
        }
        let folder = self.shared.log.folder();
        let path = format!("{folder}/dead_letters/{}.jsonl", random_id());
        let (sha256, bytes) = (sha256(&lines), lines.len() as u64);
        let location = self.shared.log.location();
        let at = location.at(&path)?;
        let put = location.store.put(&at, PutPayload::from(lines)).await;
        put.map_err(|e| failed("writing dead letters", location.name(), &e))?;
        let count = self.dead_letters.len() as u64;
        Ok(Letters { inline: Vec::new(), file: Some(LettersFile { path, count, bytes, sha256 }) })
    }

    /// Nobody will ever count these files: their claims were refused.
    async fn delete(&self, paths: &[String]) {
        for path in paths {
            if let Err(error) = self.shared.log.location().delete(path).await {
                tracing::warn!(%error, path, "`weir files sweep` will delete this file");
            }
        }
    }
}

#[async_trait]
impl Transaction for Filling {
    fn add(&mut self, part: Part) -> Result<(), crate::Error> {
        self.num_records += part.size.records as u64;
        if self.failed.is_none() {
            match self.fill(&part) {
                Err(error) if error.class() == Class::Environment => self.failed = Some(error),
                filled => filled?,
            }
        }
        self.add_dead_letters(part.dead_letters);
        Ok(())
    }

    fn room(&self) -> Option<Room> {
        let records = self.shared.max_file_rows.checked_sub(self.num_records)?;
        let full = records == 0
            || self.failed.is_some()
            || self.dead_bytes >= MAX_DEAD_BYTES
            || self.num_files >= MAX_FILES
            || self.largest >= self.shared.max_file_size;
        (!full).then_some(Room { records: records as usize, bytes: PART_BYTES })
    }

    async fn commit(&mut self, mut claims: Vec<Claim>) -> Result<Written, crate::Error> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        for claim in &mut claims {
            claim.mark_dead(self.refused.get(&claim.partition).map_or(0, Vec::len) as u64);
        }
        let files = self.upload().await?;
        let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        let bytes = files.iter().map(|file| file.bytes as usize).sum();
        let change = Change::Commit {
            topic: self.shared.topic.clone(),
            claims: claims.iter().map(Into::into).collect(),
            files,
            dead_letters: self.letters().await?,
        };
        let outcome = match self.shared.log.append(change).await? {
            Appended::Yes(_) => protocol::Outcome::Committed,
            Appended::Unknown => protocol::Outcome::Unknown,
            Appended::Refused => {
                self.delete(&paths).await;
                protocol::Outcome::Refused
            }
        };
        if outcome != Outcome::Committed {
            return Ok(Written { outcome, claims: Vec::new(), refused: Vec::new(), bytes: 0 });
        }
        let refused = std::mem::take(&mut self.refused).into_values().flatten().collect();
        Ok(Written { outcome, claims, refused, bytes })
    }
}

/// The rows of each folder, without those that are unfit.
fn groups(
    num_rows: usize,
    paths: Option<Vec<String>>,
    unfit: &BTreeMap<usize, Unfit>,
) -> BTreeMap<String, Vec<u32>> {
    let rows = (0..num_rows).filter(|row| unfit.is_empty() || !unfit.contains_key(row));
    let mut groups: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    match paths {
        None => {
            let rows: Vec<u32> = rows.map(|row| row as u32).collect();
            if !rows.is_empty() {
                groups.insert(String::new(), rows);
            }
        }
        Some(paths) => {
            for row in rows {
                match groups.get_mut(&paths[row]) {
                    Some(group) => group.push(row as u32),
                    None => _ = groups.insert(paths[row].clone(), vec![row as u32]),
                }
            }
        }
    }
    groups
}

/// These rows, with the schema of the files.
fn rows_of(batch: &RecordBatch, rows: &[u32], table: &Table) -> Result<RecordBatch, crate::Error> {
    if rows.len() == batch.num_rows() {
        return Ok(batch.clone());
    }
    let rows = take_record_batch(batch, &UInt32Array::from(rows.to_vec())).map_err(bug)?;
    RecordBatch::try_new(table.schema.clone(), rows.columns().to_vec()).map_err(bug)
}

/// Counts the rows, and notes where they come from.
fn note_sources(
    file: &mut FileWriter,
    rows: impl Iterator<Item = u32>,
    records: &dyn SourceRecords,
) {
    for row in rows {
        let row = row as usize;
        Sources::add(&mut file.sources, records.partition(row), records.source(row));
        file.rows += 1;
    }
}
