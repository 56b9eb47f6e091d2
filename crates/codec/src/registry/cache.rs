//! Texts of schemas by id, and the ids that do not exist.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a missing id is taken as missing without asking again.
pub const MISSING_ID_TTL: Duration = Duration::from_secs(10);
/// Most schema texts, and most missing ids.
const MAX_CACHED: usize = 1024;

#[derive(Default)]
pub(super) struct Cache {
    texts: HashMap<u32, Arc<str>>,
    /// Missing until.
    missing: HashMap<u32, Instant>,
}

impl Cache {
    /// The text of schema `id`.
    pub(super) fn text(&self, id: u32) -> Option<Arc<str>> {
        self.texts.get(&id).cloned()
    }

    pub(super) fn insert(&mut self, id: u32, text: Arc<str>) {
        if self.texts.len() >= MAX_CACHED {
            self.texts.clear();
        }
        self.texts.insert(id, text);
        self.missing.remove(&id);
    }

    /// Whether the id is taken as missing now.
    pub(super) fn is_missing(&self, id: u32) -> bool {
        self.missing.get(&id).is_some_and(|until| Instant::now() < *until)
    }

    /// Whether the id was missing when it was last asked for, however long ago.
    pub(super) fn was_missing(&self, id: u32) -> bool {
        self.missing.contains_key(&id)
    }

    pub(super) fn remember_missing(&mut self, ids: &[u32], until: Instant) {
        if self.missing.len() + ids.len() > MAX_CACHED {
            self.missing.clear();
        }
        self.missing.extend(ids.iter().take(MAX_CACHED).map(|id| (*id, until)));
    }
}
