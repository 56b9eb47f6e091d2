//! The log of a sink: entries with consecutive numbers, each created only where there was none
//! ("only if absent"). Its order is the order of the transactions; the [`State`] is their sum.
//!
//! * Nobody writes entry n without having read all before it. So whoever succeeds in creating it knew
//!   the state that it changes; whoever does not reads what was faster and looks again whether its
//!   own change is still allowed.
//! * A new owner raises the fence of its partitions by an entry. A predecessor that wakes up later
//!   finds its number taken, reads the entry, and is refused.
//! * Entries are never changed and never deleted. A checkpoint holds the state after some of them,
//!   so that a start does not read all; it is derived from them, and any older one is as good.

pub(crate) mod entry;
pub(crate) mod state;

use crate::files::error::{bug, configuration, failed};
use crate::files::hash::sha256;
use crate::files::location::Location;
use entry::{Change, Entry};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{Error as StoreError, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use state::State;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::Mutex;
use weir_model::fault::Class;

/// A checkpoint is written every so many entries.
const CHECKPOINT_ENTRIES: u64 = 100;
/// Entries that are read at a time.
const CONCURRENT_READS: usize = 16;
/// How often, and with which pause, an entry is sent again whose fate is not known.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1_000 });

/// See the module.
pub(crate) struct Log {
    location: Location,
    /// Relative to the location.
    folder: String,
    /// What was read so far; one writer at a time.
    state: Mutex<State>,
}

/// What became of a change.
#[derive(Debug)]
pub(crate) enum Appended {
    /// It is in the log, for good; the state right after it.
    Yes(Box<State>),
    /// It is not and will never be: another writer was faster, or owns a partition now.
    Refused,
    /// The store did not answer. Only the log knows, once another entry has its number.
    Unknown,
}

/// An entry in the log, and its hash.
struct Found {
    entry: Entry,
    hash: String,
}

impl Log {
    pub(crate) fn new(location: Location, pipeline: &str, sink: &str) -> Log {
        Log { location, folder: format!("_weir/{pipeline}.{sink}"), state: Mutex::default() }
    }

    /// The folder of the log, relative to the sink's path.
    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    /// Where the sink's files are.
    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    fn entry_name(&self, number: u64) -> String {
        format!("{}/log/{number:020}.json", self.folder)
    }

    fn checkpoint_name(&self) -> String {
        format!("{}/checkpoint.json", self.folder)
    }

    /// The state after all entries that there are.
    ///
    /// # Errors
    /// The store does not answer, or the log is damaged.
    pub(crate) async fn read(&self) -> Result<State, crate::Error> {
        let mut state = self.state.lock().await;
        self.catch_up(&mut state).await?;
        Ok(state.clone())
    }

    /// Makes `change` the next entry, if the state allows it.
    ///
    /// # Errors
    /// The change is not in the log: the store refused it, or does not answer before it was sent. Or
    /// the log is damaged.
    pub(crate) async fn append(&self, change: Change) -> Result<Appended, crate::Error> {
        let mut state = self.state.lock().await;
        if state.next == 0 {
            self.catch_up(&mut state).await?;
        }
        loop {
            if !state.allows(&change) {
                return Ok(Appended::Refused);
            }
            self.check_last(&state).await?;
            let entry = Entry::new(change.clone(), state.last.clone());
            let bytes = serde_json::to_vec(&entry).map_err(bug)?;
            let hash = sha256(&bytes);
            match self.create(state.next, &entry, &bytes).await? {
                Some(true) => {
                    state.apply(&entry, hash)?;
                    self.write_checkpoint(&state).await;
                    return Ok(Appended::Yes(Box::new(state.clone())));
                }
                Some(false) => self.catch_up(&mut state).await?,
                None => return Ok(Appended::Unknown),
            }
        }
    }

    /// Creates entry `number`; `false` if another one has the number, `None` if it is not known.
    ///
    /// It may be sent several times, by this loop or by the HTTP client below it: it is the same entry
    /// each time, so it does not matter which attempt creates it.
    async fn create(
        &self,
        number: u64,
        entry: &Entry,
        bytes: &[u8],
    ) -> Result<Option<bool>, crate::Error> {
        let at = self.location.at(&self.entry_name(number))?;
        for attempt in 1..=ATTEMPTS {
            let payload = PutPayload::from(bytes.to_vec());
            let options = PutOptions::from(PutMode::Create);
            let error = match self.location.store.put_opts(&at, payload, options).await {
                Ok(_) => return Ok(Some(true)),
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                    match self.find(number).await {
                        Ok(Some(found)) => return Ok(Some(found.entry.id == entry.id)),
                        // Two writers at a time: S3 may say so before either has succeeded.
                        Ok(None) => configuration("the entry exists and cannot be found".into()),
                        Err(error) => error,
                    }
                }
                Err(error) => {
                    let error = failed("writing the log", self.location.name(), &error);
                    if error.class() != Class::Environment && attempt == 1 {
                        return Err(error);
                    }
                    error
                }
            };
            tracing::warn!(%error, number, attempt, "an entry of the log was not confirmed");
            tokio::time::sleep(PAUSE).await;
        }
        Ok(None)
    }

    /// A log that disappeared must not be continued in an empty folder.
    async fn check_last(&self, state: &State) -> Result<(), crate::Error> {
        let Some(last) = state.next.checked_sub(1) else { return Ok(()) };
        let at = self.location.at(&self.entry_name(last))?;
        match self.location.store.head(&at).await {
            Ok(_) => Ok(()),
            Err(StoreError::NotFound { .. }) => Err(self.missing(last)),
            Err(error) => Err(failed("reading the log", self.location.name(), &error)),
        }
    }

    fn missing(&self, number: u64) -> crate::Error {
        configuration(format!(
            "entry {number} of the log is missing: {} was deleted or replaced. Put the log back, or \
             stop the sink and begin anew in another folder",
            self.location.full(&self.folder)
        ))
    }

    /// Checks that the log is there and continues what was read.
    ///
    /// # Errors
    /// It is not, or the store does not answer.
    pub(crate) async fn check(&self) -> Result<(), crate::Error> {
        let mut state = self.state.lock().await;
        self.check_last(&state).await?;
        self.catch_up(&mut state).await
    }

    /// Reads the entries that were added.
    async fn catch_up(&self, state: &mut State) -> Result<(), crate::Error> {
        let is_first = state.next == 0;
        if is_first {
            self.read_checkpoint(state).await?;
        }
        // Mostly there is none.
        if let Some(found) = self.find(state.next).await? {
            state.apply(&found.entry, found.hash)?;
            let numbers = stream::iter(state.next..);
            let finds = numbers.map(|number| self.find(number));
            let mut entries = std::pin::pin!(finds.buffered(CONCURRENT_READS));
            while let Some(found) = entries.try_next().await?.flatten() {
                state.apply(&found.entry, found.hash)?;
            }
        }
        if is_first { self.check_end(state).await } else { Ok(()) }
    }

    /// Checks that nothing lies behind the first number without an entry.
    async fn check_end(&self, state: &State) -> Result<(), crate::Error> {
        let folder = self.location.at(&format!("{}/log", self.folder))?;
        let end = self.location.at(&self.entry_name(state.next))?;
        let mut behind = self.location.store.list_with_offset(Some(&folder), &end);
        let is_entry = |name: &str| name.ends_with(".json");
        while let Some(object) = behind.next().await {
            match object {
                Ok(object) if is_entry(object.location.as_ref()) => {
                    // It may have been written while this was read.
                    return match self.find(state.next).await? {
                        Some(_) => Ok(()),
                        None => Err(self.missing(state.next)),
                    };
                }
                Ok(_) => {}
                Err(StoreError::NotFound { .. }) => return Ok(()),
                Err(error) => return Err(failed("reading the log", self.location.name(), &error)),
            }
        }
        Ok(())
    }

    /// Entry `number`, if it exists.
    async fn find(&self, number: u64) -> Result<Option<Found>, crate::Error> {
        let Some(bytes) = self.get(&self.entry_name(number)).await? else { return Ok(None) };
        let entry = serde_json::from_slice(&bytes).map_err(|e| {
            configuration(format!(
                "entry {number} of the log in {} cannot be read: {e}",
                self.location.full(&self.folder)
            ))
        })?;
        Ok(Some(Found { entry, hash: sha256(&bytes) }))
    }

    /// What entry `number` changed, if it exists.
    ///
    /// # Errors
    /// The store does not answer, or the entry is damaged.
    pub(crate) async fn change(&self, number: u64) -> Result<Option<Change>, crate::Error> {
        Ok(self.find(number).await?.map(|found| found.entry.change))
    }

    /// The files of dead letters, relative to the location.
    ///
    /// # Errors
    /// The store does not answer, or the log is damaged.
    pub(crate) async fn letters_files(&self) -> Result<BTreeSet<String>, crate::Error> {
        let mut names = BTreeSet::new();
        self.entries(|_, entry| {
            if let Change::Commit { dead_letters, .. } = entry.change {
                names.extend(dead_letters.file.map(|file| file.path));
            }
            Ok(())
        })
        .await?;
        Ok(names)
    }

    /// The content of a file, if it exists.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<bytes::Bytes>, crate::Error> {
        let at = self.location.at(name)?;
        let fail = |e| failed("reading the log", self.location.name(), &e);
        match self.location.store.get(&at).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(fail)?)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(fail(error)),
        }
    }

    /// Begins with the state that is stored, if the log holds what it was made of.
    async fn read_checkpoint(&self, state: &mut State) -> Result<(), crate::Error> {
        let Some(bytes) = self.get(&self.checkpoint_name()).await? else { return Ok(()) };
        let Ok(stored) = serde_json::from_slice::<State>(&bytes) else {
            tracing::warn!("the checkpoint of the log cannot be read: reading all of the log");
            return Ok(());
        };
        let last = stored.next.saturating_sub(1);
        match self.find(last).await? {
            Some(found) if Some(&found.hash) == stored.last.as_ref() => *state = stored,
            Some(_) => {
                return Err(configuration(format!(
                    "entry {last} of the log is not the one that the checkpoint was made of: the log \
                     was changed or restored in part. Put back all of it; if the log is right as it \
                     is, delete {}",
                    self.location.full(&self.checkpoint_name())
                )));
            }
            None => return Err(self.missing(last)),
        }
        Ok(())
    }

    /// Stores the state now and then. Nothing depends on it.
    async fn write_checkpoint(&self, state: &State) {
        if !state.next.is_multiple_of(CHECKPOINT_ENTRIES) {
            return;
        }
        let write = async {
            let bytes = serde_json::to_vec(state).map_err(bug)?;
            let at = self.location.at(&self.checkpoint_name())?;
            let put = self.location.store.put(&at, PutPayload::from(bytes)).await;
            put.map_err(|e| failed("writing a checkpoint", self.location.name(), &e))
        };
        if let Err(error) = write.await {
            tracing::warn!(%error, "no checkpoint was written: the next start reads more of the log");
        }
    }

    /// Shows all entries with their numbers to `visit`, in their order.
    ///
    /// # Errors
    /// The store does not answer, or the log is damaged.
    pub(crate) async fn entries(
        &self,
        mut visit: impl FnMut(u64, Entry) -> Result<(), crate::Error>,
    ) -> Result<State, crate::Error> {
        let mut state = State::default();
        let end = self.read().await?.next;
        let numbers = stream::iter(0..end);
        let finds = numbers.map(|number| self.find(number));
        let mut entries = std::pin::pin!(finds.buffered(CONCURRENT_READS));
        while let Some(found) = entries.try_next().await? {
            let number = state.next;
            let Some(Found { entry, hash }) = found else { return Err(self.missing(number)) };
            state.apply(&entry, hash)?;
            visit(number, entry)?;
        }
        Ok(state)
    }
}
