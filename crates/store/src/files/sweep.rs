//! The files that count, and those that do not: what writers left that were killed between a file and
//! the entry of the log that would have made it count.

use crate::files::error::failed;
use crate::files::location::finished_name;
use crate::files::log::Appended;
use crate::files::log::entry::Change;
use crate::files::reader::Reader;
use crate::reader::{CommittedFile, CommittedFiles, Orphan};
use async_trait::async_trait;
use futures_util::TryStreamExt;
use object_store::Error as StoreError;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};
use weir_model::fault::Class;

/// Names that go into one entry of the log.
const SWEEP: usize = 1_000;

#[async_trait]
impl CommittedFiles for Reader {
    async fn list(&self) -> Result<Vec<CommittedFile>, crate::Error> {
        let location = self.log.location();
        let file = |(transaction, committed_at, file): (u64, String, _)| {
            let crate::files::log::entry::DataFile { path, rows, bytes, sha256, .. } = file;
            let path = location.full(&path);
            CommittedFile { path, rows, bytes, sha256, transaction, committed_at }
        };
        Ok(self.committed().await?.into_iter().map(file).collect())
    }

    async fn orphans(&self, age: Duration) -> Result<Vec<Orphan>, crate::Error> {
        let location = self.log.location();
        let fail = |e: StoreError| failed("listing files", location.name(), &e);
        // Listed first: what is committed afterwards is in the log, and not an orphan.
        let prefix = location.at("").ok().filter(|prefix| !prefix.as_ref().is_empty());
        let found: Vec<_> = match location.store.list(prefix.as_ref()).try_collect().await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(fail(error)),
        };
        let committed: BTreeSet<String> =
            self.committed().await?.into_iter().map(|(_, _, file)| file.path).collect();
        let letters = self.log.letters_files().await?;
        let limit = SystemTime::now().checked_sub(age).map(jiff::Timestamp::try_from);
        let limit =
            |modified: i64| matches!(&limit, Some(Ok(limit)) if modified <= limit.as_millisecond());
        let mut orphans = Vec::new();
        for (relative, metadata) in location.unfinished().unwrap_or_default() {
            let modified = metadata.modified().ok().map(jiff::Timestamp::try_from);
            let old = matches!(modified, Some(Ok(modified)) if limit(modified.as_millisecond()));
            if old && finished_name(&relative).is_some_and(|name| self.owns(name)) {
                let path = location.full(&relative);
                orphans.push(Orphan { path, bytes: metadata.len(), relative });
            }
        }
        for object in found {
            let Some(relative) = location.relative(&object.location) else { continue };
            let old = limit(object.last_modified.timestamp_millis());
            let known = committed.contains(relative) || letters.contains(relative);
            if old && !known && self.owns(relative) {
                let (path, relative) = (location.full(relative), relative.to_owned());
                orphans.push(Orphan { path, bytes: object.size, relative });
            }
        }
        Ok(orphans)
    }

    async fn sweep(&self, orphans: Vec<Orphan>) -> Result<Vec<Orphan>, crate::Error> {
        let location = self.log.location();
        let mut deleted = Vec::new();
        for chunk in orphans.chunks(SWEEP) {
            let paths = chunk.iter().map(|orphan| orphan.relative.clone()).collect();
            match self.log.append(Change::Sweep { paths }).await? {
                Appended::Yes(_) => {}
                Appended::Refused | Appended::Unknown => {
                    return Err(crate::Error::new(
                        Class::Environment,
                        format!("{} did not confirm what is to be deleted", location.name()),
                    ));
                }
            }
            // From here on none of them can be committed. One that was before is not deleted.
            let committed: BTreeSet<String> =
                self.committed().await?.into_iter().map(|(_, _, file)| file.path).collect();
            for orphan in chunk.iter().filter(|orphan| !committed.contains(&orphan.relative)) {
                location.delete(&orphan.relative).await?;
                deleted.push(orphan.clone());
            }
        }
        Ok(deleted)
    }
}

impl Reader {
    /// Whether a file was written by this sink and no other, judged by its whole name.
    fn owns(&self, relative: &str) -> bool {
        let name = relative.rsplit('/').next().unwrap_or_default();
        if let Some(rest) = relative.strip_prefix(self.log.folder()) {
            return rest.starts_with("/dead_letters/") && is_id(name.split('.').next());
        }
        if relative.starts_with("_weir/") {
            return false;
        }
        let Some(rest) = name.strip_prefix(&self.file_prefix) else { return false };
        let mut parts = rest.split('-');
        let time = parts.next().is_some_and(|time| time.len() == 16 && time.ends_with('Z'));
        let id = is_id(parts.next());
        let number = parts.next().and_then(|rest| rest.split_once('.'));
        time && id && number.is_some_and(|(number, _)| number.parse::<u32>().is_ok())
    }
}

fn is_id(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()))
}
