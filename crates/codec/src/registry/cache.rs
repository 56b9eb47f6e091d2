//! Texts of schemas by id, and the ids that have none.

use super::Error;
use super::stored::SchemaText;
use crate::schema_id::SchemaId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an id that has no usable schema is not asked for again; twice as long each time it is
/// found so again, up to `MAX_MISSING_TTL`.
pub const MISSING_ID_TTL: Duration = Duration::from_secs(10);
/// See [`MISSING_ID_TTL`].
const MAX_MISSING_TTL: Duration = Duration::from_secs(300);
/// An id counts as missing when it is still missing this long after the first time: it may have
/// been registered on another node a moment ago.
pub(super) const RECHECK: Duration = Duration::from_secs(1);
/// Most schema texts and most bytes of them.
const MAX_TEXTS: usize = 8192;
const MAX_TEXT_BYTES: usize = 64 << 20;
/// Most ids without a schema: more than the parts of several workers can have.
const MAX_ERRORS: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Cache {
    texts: HashMap<SchemaId, Arc<SchemaText>>,
    num_text_bytes: usize,
    errors: HashMap<SchemaId, Known>,
}

/// An id that has no usable schema.
struct Known {
    error: Error,
    first: Instant,
    /// How long it is taken for granted, and until when; `None` while it may still appear.
    decided: Option<(Duration, Instant)>,
}

impl Cache {
    /// What is known about the schema at the time `now`.
    pub(super) fn answer(
        &self,
        id: SchemaId,
        now: Instant,
    ) -> Option<Result<Arc<SchemaText>, Error>> {
        if let Some(text) = self.texts.get(&id) {
            return Some(Ok(text.clone()));
        }
        let known = self.errors.get(&id)?;
        let (_, until) = known.decided?;
        (now < until).then(|| Err(known.error.clone()))
    }

    pub(super) fn insert(&mut self, id: SchemaId, text: Arc<SchemaText>) {
        self.num_text_bytes += text.len();
        if self.texts.len() >= MAX_TEXTS || self.num_text_bytes > MAX_TEXT_BYTES {
            self.texts.clear();
            self.num_text_bytes = text.len();
        }
        if let Some(before) = self.texts.insert(id, text) {
            self.num_text_bytes -= before.len();
        }
        self.errors.remove(&id);
    }

    /// Notes that `id` was answered with an error of its own. One that may pass soon is only
    /// decided when it is repeated after a while.
    pub(super) fn insert_error(&mut self, id: SchemaId, error: &Error, now: Instant) {
        let before = self.errors.remove(&id);
        let first = before.as_ref().map_or(now, |known| known.first);
        let may_pass = matches!(error, Error::NotFound { .. } | Error::Withheld { .. });
        let ttl = match before.and_then(|known| known.decided) {
            Some((ttl, _)) => Some((ttl * 2).min(MAX_MISSING_TTL)),
            None => (!may_pass || now - first >= RECHECK).then_some(MISSING_ID_TTL),
        };
        self.make_room(now);
        let decided = ttl.map(|ttl| (ttl, now + ttl));
        self.errors.insert(id, Known { error: error.clone(), first, decided });
    }

    /// Whether the last error of `id` is final for now.
    pub(super) fn is_decided(&self, id: SchemaId) -> bool {
        self.errors.get(&id).is_some_and(|known| known.decided.is_some())
    }

    /// An id that is forgotten is asked for again.
    fn make_room(&mut self, now: Instant) {
        if self.errors.len() < MAX_ERRORS {
            return;
        }
        self.errors.retain(|_, known| known.decided.is_none_or(|(_, until)| now < until));
        // Some at once, so that not every further id looks through all of them.
        while self.errors.len() >= MAX_ERRORS / 4 * 3 {
            let Some(any) = self.errors.keys().next().copied() else { return };
            self.errors.remove(&any);
        }
    }

    /// Makes `id` one that was found missing and is taken as missing until `until`.
    #[cfg(test)]
    pub(super) fn insert_missing(&mut self, id: SchemaId, until: Instant) {
        let (error, first) = (super::not_found(id), Instant::now());
        self.errors.insert(id, Known { error, first, decided: Some((MISSING_ID_TTL, until)) });
    }
}

#[cfg(test)]
mod tests {
    use super::super::not_found;
    use super::*;

    const ONE: SchemaId = SchemaId::Number(1);

    fn text(text: &str) -> Arc<SchemaText> {
        Arc::new(SchemaText::Avro(text.into()))
    }

    #[test]
    fn a_missing_id_is_decided_after_a_while_and_asked_for_ever_less_often() {
        let (mut cache, mut now) = (Cache::default(), Instant::now());
        cache.insert_error(ONE, &not_found(ONE), now);
        let is_open = !cache.is_decided(ONE) && cache.answer(ONE, now).is_none();
        assert!(is_open, "it may be a moment too young");
        now += RECHECK;
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            cache.insert_error(ONE, &not_found(ONE), now);
            assert!(cache.is_decided(ONE));
            now += Duration::from_secs(seconds - 1);
            assert!(
                matches!(cache.answer(ONE, now), Some(Err(Error::NotFound { .. }))),
                "{seconds}"
            );
            now += Duration::from_secs(1);
            assert!(cache.answer(ONE, now).is_none(), "{seconds}");
        }
        cache.insert(ONE, text("text"));
        assert!(
            matches!(cache.answer(ONE, now), Some(Ok(_))),
            "a schema that appears counts at once"
        );
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_decided_at_once() {
        let mut cache = Cache::default();
        cache.insert_error(ONE, &Error::invalid("bad_schema", "schema 1", "why"), Instant::now());
        assert!(cache.is_decided(ONE));
    }

    #[test]
    fn neither_texts_nor_missing_ids_grow_without_limit() {
        let mut cache = Cache::default();
        for id in (0..200_000).map(SchemaId::Number) {
            cache.insert_error(id, &not_found(id), Instant::now());
        }
        assert!(cache.errors.len() <= MAX_ERRORS && cache.errors.len() > MAX_ERRORS / 2);
        let long = text(&"x".repeat(1 << 20));
        for id in (0..200).map(SchemaId::Number) {
            cache.insert(id, long.clone());
            assert!(cache.texts.len() <= MAX_TEXT_BYTES >> 20);
            assert_eq!(cache.num_text_bytes, cache.texts.len() << 20);
        }
        for id in (0..20_000).map(SchemaId::Number) {
            cache.insert(id, text(""));
        }
        assert!(cache.texts.len() <= MAX_TEXTS);
    }
}
