//! The read side of a sink's files.

use crate::files::dead_letter::{self, Letter, Letters};
use crate::files::location::Location;
use crate::files::log::entry::{self, Change, DataFile, now};
use crate::files::log::{Appended, Log};
use crate::files::table::Table;
use crate::files::{scan, target};
use crate::reader::{
    CommittedFiles, DeadLetterContent, Move, ReasonCount, Sample, SinkPosition, StoredDeadLetter,
    TargetCheck, TargetReader,
};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use object_store::{Error as StoreError, ObjectStoreExt};
use std::collections::BTreeMap;
use weir_model::accepted_loss::{AcceptedLoss, Skip};
use weir_model::fault::Class;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{self, Pipeline};
use weir_model::progress::Later;
use weir_model::protocol::{CommittedPosition, Offset, Partition};

/// See the module.
pub(crate) struct Reader {
    pub(crate) log: Log,
    files: pipeline::Files,
    sink: String,
    /// The topic that the sink reads.
    topic: String,
    /// The topic that the lineage columns refer to.
    input_topic: String,
    /// What the names of its files begin with.
    pub(crate) file_prefix: String,
}

impl Reader {
    /// The files of the sink `sink`. Connects on first use only.
    ///
    /// # Errors
    /// The address cannot be used.
    pub(crate) fn new(
        pipeline: &Pipeline,
        sink: &str,
        files: &pipeline::Files,
    ) -> Result<Reader, crate::Error> {
        Ok(Reader::at(Location::open(files)?, pipeline, sink, files))
    }

    /// The same in any place.
    pub(crate) fn at(
        location: Location,
        pipeline: &Pipeline,
        sink: &str,
        files: &pipeline::Files,
    ) -> Reader {
        Reader {
            log: Log::new(location, &pipeline.name, sink),
            files: files.clone(),
            sink: sink.into(),
            topic: pipeline.output.topic.clone(),
            input_topic: pipeline.input.topic.clone(),
            file_prefix: target::file_prefix(&pipeline.name, sink),
        }
    }

    /// The files that count, with the number and the time of their transaction.
    pub(crate) async fn committed(&self) -> Result<Vec<(u64, String, DataFile)>, crate::Error> {
        let mut all = Vec::new();
        self.log
            .entries(|number, entry| {
                if let Change::Commit { files, .. } = entry.change {
                    let at = entry.at;
                    all.extend(files.into_iter().map(|file| (number, at.clone(), file)));
                }
                Ok(())
            })
            .await?;
        Ok(all)
    }

    /// Shows the dead letters since the positions were last cleared, with topic and number.
    async fn letters(&self, mut visit: impl FnMut(&str, i64, Letter)) -> Result<(), crate::Error> {
        let mut all: Vec<(u64, String, Letters)> = Vec::new();
        self.log
            .entries(|number, entry| {
                match entry.change {
                    Change::Commit { topic, dead_letters, .. } if !dead_letters.is_empty() => {
                        all.push((number, topic, dead_letters));
                    }
                    Change::Clear => all.clear(),
                    _ => {}
                }
                Ok(())
            })
            .await?;
        for (number, topic, letters) in all {
            let letters = scan::letters(&self.log, letters).await?;
            for (place, letter) in letters.into_iter().enumerate() {
                visit(&topic, dead_letter::id(number, place), letter);
            }
        }
        Ok(())
    }

    /// What is wrong with a file, if anything.
    async fn damage(
        &self,
        name: &str,
        bytes: u64,
        sha256: &str,
    ) -> Result<Option<String>, crate::Error> {
        let found = scan::fetch(self.log.location(), name).await?;
        let what = match found {
            None => "it is missing".into(),
            Some(found) if found.bytes != bytes => {
                format!("it has {} bytes and was written with {bytes}", found.bytes)
            }
            Some(found) if found.sha256 != sha256 => "its content was changed".into(),
            Some(_) => return Ok(None),
        };
        Ok(Some(format!("{}: {what}", self.log.location().full(name))))
    }

    async fn rows_of(&self, file: &DataFile) -> Result<u64, crate::Error> {
        let location = self.log.location();
        let size = match location.store.head(&location.at(&file.path)?).await {
            Ok(found) => found.size,
            Err(StoreError::NotFound { .. }) => return Ok(0),
            Err(e) => {
                return Err(crate::files::error::failed("reading a file", location.name(), &e));
            }
        };
        // What cannot be read holds no rows; `damages` says why.
        if file.path.ends_with(".parquet") {
            return match scan::parquet_rows(location, &file.path, size).await {
                Err(error) if error.class() != Class::Environment => Ok(0),
                rows => rows,
            };
        }
        let Some(fetched) = scan::fetch(location, &file.path).await? else { return Ok(0) };
        Ok(fetched.count().unwrap_or(0))
    }
}

#[async_trait]
impl TargetReader for Reader {
    fn name(&self) -> &str {
        self.log.location().name()
    }

    async fn positions(&self) -> Result<Vec<SinkPosition>, crate::Error> {
        Ok(self.log.read().await?.positions())
    }

    async fn accepted_losses(&self) -> Result<Vec<AcceptedLoss>, crate::Error> {
        Ok(self.log.read().await?.losses)
    }

    async fn dead_letters(&self) -> Result<Vec<StoredDeadLetter>, crate::Error> {
        let mut all = Vec::new();
        self.letters(|topic, id, letter| all.push(letter.stored(topic, id))).await?;
        Ok(all)
    }

    async fn dead_letter_content(
        &self,
        id: i64,
    ) -> Result<Option<DeadLetterContent>, crate::Error> {
        let (number, place) = dead_letter::place(id);
        let Some(Change::Commit { dead_letters, .. }) = self.log.change(number).await? else {
            return Ok(None);
        };
        let letters = scan::letters(&self.log, dead_letters).await?;
        Ok(letters.get(place).map(Letter::content))
    }

    async fn dead_letter_reasons(&self) -> Result<Vec<ReasonCount>, crate::Error> {
        let mut reasons: BTreeMap<String, ReasonCount> = BTreeMap::new();
        self.letters(|topic, _, letter| {
            let first = || ReasonCount {
                reason: letter.reason.clone(),
                count: 0,
                example: format!("{topic}[{}]@{}", letter.partition(), letter.offset),
                detail: letter.detail.clone(),
            };
            reasons.entry(letter.reason.clone()).or_insert_with(first).count += 1;
        })
        .await?;
        let mut reasons: Vec<ReasonCount> = reasons.into_values().collect();
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
        Ok(reasons)
    }

    async fn count_rows(&self) -> Result<u64, crate::Error> {
        let mut rows = 0;
        for (_, _, file) in self.committed().await? {
            rows += self.rows_of(&file).await?;
        }
        Ok(rows)
    }

    async fn has_rows(&self) -> Result<bool, crate::Error> {
        Ok(self.log.read().await?.rows > 0)
    }

    async fn later(
        &self,
        partition: Partition,
        next: Offset,
        last: Option<Offset>,
    ) -> Result<Later, crate::Error> {
        target::later(&self.log, &self.topic, partition, next, last).await
    }

    fn delete_all(&self) -> Option<String> {
        let remove = if self.files.is_s3() { "aws s3 rm --recursive" } else { "rm -r" };
        let folder = self.log.location().full(self.log.folder());
        Some(format!(
            "{remove} '{}'; then `weir files sweep FILE --older-than 0s --yes` deletes the files",
            folder.replace('\'', "'\\''")
        ))
    }

    async fn origins(
        &self,
        visit: &mut (dyn FnMut(Partition, Offset) + Send),
    ) -> Result<bool, crate::Error> {
        if !self.files.lineage {
            return Ok(false);
        }
        for (_, _, file) in self.committed().await? {
            let Some(fetched) = scan::fetch(self.log.location(), &file.path).await? else {
                continue;
            };
            // What cannot be read holds no rows; `damages` says why.
            if let Err(error) = fetched.origins(&self.input_topic, visit) {
                tracing::warn!(error, file.path, "a file cannot be read");
            }
        }
        Ok(true)
    }

    async fn damages(&self) -> Result<Vec<String>, crate::Error> {
        let mut files = Vec::new();
        self.log
            .entries(|_, entry| {
                if let Change::Commit { files: data, dead_letters, .. } = entry.change {
                    files.extend(data.into_iter().map(|f| (f.path, f.bytes, f.sha256)));
                    files.extend(dead_letters.file.map(|f| (f.path, f.bytes, f.sha256)));
                }
                Ok(())
            })
            .await?;
        let mut damages = Vec::new();
        for (name, bytes, sha256) in files {
            damages.extend(self.damage(&name, bytes, &sha256).await?);
        }
        Ok(damages)
    }

    fn files(&self) -> Option<&dyn CommittedFiles> {
        Some(self)
    }

    async fn sample(&self, limit: usize) -> Result<Sample, crate::Error> {
        let mut sample = Sample { columns: Vec::new(), rows: Vec::new() };
        for (_, _, file) in self.committed().await? {
            let Some(fetched) = scan::fetch(self.log.location(), &file.path).await? else {
                continue;
            };
            let Ok(more) = fetched.sample(limit - sample.rows.len()) else { continue };
            if sample.columns.is_empty() {
                sample.columns.clone_from(&more.columns);
            }
            if sample.columns == more.columns {
                sample.rows.extend(more.rows);
            }
            if sample.rows.len() >= limit {
                break;
            }
        }
        Ok(sample)
    }

    async fn check(&self, schema: &SchemaRef) -> Result<TargetCheck, crate::Error> {
        let table = Table::new(&self.sink, &self.files, schema, &self.input_topic);
        if let Err(mistakes) = table {
            return Ok(TargetCheck { outlook: String::new(), mistakes });
        }
        if self.log.location().is_missing() {
            return Ok(TargetCheck { outlook: "will be created".into(), mistakes: Vec::new() });
        }
        match self.log.read().await {
            Ok(state) if state.next == 0 => {
                Ok(TargetCheck { outlook: "no log yet".into(), mistakes: Vec::new() })
            }
            Ok(state) => {
                let outlook = format!("fits; {} transactions in the log", state.next);
                Ok(TargetCheck { outlook, mistakes: Vec::new() })
            }
            Err(error) if error.class() != Class::Environment => {
                let mistake = Mistake::new(format!("sink.{}.path", self.sink), error.to_string());
                Ok(TargetCheck { outlook: String::new(), mistakes: vec![mistake] })
            }
            Err(error) => Err(error),
        }
    }

    async fn acquire(
        &self,
        cluster: &str,
        partitions: &[Partition],
    ) -> Result<Vec<CommittedPosition>, crate::Error> {
        target::acquire(&self.log, &self.topic, cluster, partitions).await
    }

    async fn accept(&self, _cluster: &str, to: &Move, reason: &str) -> Result<bool, crate::Error> {
        let Move { partition, fence, from, to, progress, records } = *to;
        let skip = Skip { partition, from: Some(from), to, emitted: None };
        let change = Change::Accept {
            topic: self.topic.clone(),
            fence,
            claim: entry::Move { partition, from, to, progress },
            loss: AcceptedLoss {
                hop: self.sink.clone(),
                topic: self.topic.clone(),
                skips: vec![skip],
                records: Some(records),
                reason: reason.into(),
                at: now(),
            },
        };
        Ok(matches!(self.log.append(change).await?, Appended::Yes(_)))
    }

    async fn clear(&self) -> Result<(), crate::Error> {
        match self.log.append(Change::Clear).await? {
            Appended::Yes(_) => Ok(()),
            Appended::Refused | Appended::Unknown => Err(crate::Error::new(
                Class::Environment,
                format!("{} did not confirm it", self.log.location().name()),
            )),
        }
    }
}
