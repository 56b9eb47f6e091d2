//! One batch of one topic's records, in arrival order, in a few contiguous buffers: the client's
//! messages are dropped at once, because each of them holds on to a whole fetch response.

use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers, Message};
use weir_model::expected_panic;
use weir_model::lineage::{self, Lineage};
use weir_model::progress::{LastRead, fingerprint};
use weir_model::protocol::{Offset, Partition};
use weir_model::record::RecordMetadata;

/// Length that stands for "none", as on the wire.
const NONE: i32 = -1;
/// The name of a header whose own name is not UTF-8.
const UNREADABLE_NAME: &str = "(not UTF-8)";
/// After so many names that are not UTF-8, the other headers of a record are left out: each such
/// name costs as much as many records.
const MAX_UNREADABLE_NAMES: usize = 16;

/// A batch of records; a struct of arrays. Cleared and filled again, it keeps its memory.
#[derive(Debug, Default, Clone)]
pub struct Records {
    partitions: Vec<Partition>,
    offsets: Vec<Offset>,
    timestamps: Vec<i64>,
    spans: Vec<Span>,
    /// As long as the batch, or empty when no record of it has a lineage.
    lineages: Vec<Option<Lineage>>,
    /// Ascending by record.
    headers: Vec<HeaderSpan>,
    data: Vec<u8>,
    num_bytes: usize,
}

/// Key and value of a record lie side by side in `data`.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    key: i32,
    value: i32,
}

/// Name and value of a header lie side by side in `data`.
#[derive(Debug, Clone, Copy)]
struct HeaderSpan {
    record: u32,
    start: usize,
    name: i32,
    value: i32,
}

/// One record of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    records: &'a Records,
    index: usize,
}

impl Records {
    /// An empty batch.
    pub fn new() -> Records {
        Records::default()
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes of all keys, values and headers, as they are in memory: what a batch's limit counts.
    pub fn bytes(&self) -> usize {
        self.num_bytes
    }

    /// Forgets the records, keeps the memory.
    pub fn clear(&mut self) {
        self.partitions.clear();
        self.offsets.clear();
        self.timestamps.clear();
        self.spans.clear();
        self.lineages.clear();
        self.headers.clear();
        self.data.clear();
        self.num_bytes = 0;
    }

    /// Partition of record `i`.
    pub fn partition(&self, i: usize) -> Partition {
        self.partitions[i]
    }

    /// Offset of record `i`.
    pub fn offset(&self, i: usize) -> Offset {
        self.offsets[i]
    }

    /// Partitions of all records.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Offsets of all records; ascending within a partition.
    pub fn offsets(&self) -> &[Offset] {
        &self.offsets
    }

    /// Kafka timestamp of record `i` in milliseconds since 1970; −1 when it has none.
    pub fn timestamp_ms(&self, i: usize) -> i64 {
        self.timestamps[i]
    }

    /// Key of record `i`.
    pub fn key(&self, i: usize) -> Option<&[u8]> {
        let Span { start, key, .. } = self.spans[i];
        self.slice(start, key)
    }

    /// Value of record `i`; `None` for a tombstone.
    pub fn value(&self, i: usize) -> Option<&[u8]> {
        let Span { start, key, value } = self.spans[i];
        self.slice(start + len(key), value)
    }

    /// The values in order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        (0..self.len()).map(|i| self.value(i))
    }

    /// The lineage header of record `i`; `None` when it is absent or not weir's.
    pub fn lineage(&self, i: usize) -> Option<Lineage> {
        self.lineages.get(i).copied().flatten()
    }

    /// All headers of record `i`, the lineage included, in order.
    pub fn headers(&self, i: usize) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let from = self.headers.partition_point(|h| (h.record as usize) < i);
        self.headers[from..].iter().take_while(move |h| h.record as usize == i).map(|h| {
            let name = self.slice(h.start, h.name).unwrap_or_default();
            (
                std::str::from_utf8(name).unwrap_or_default(),
                self.slice(h.start + len(h.name), h.value),
            )
        })
    }

    /// The content of the last header of this name, with the index of its record, for the records that
    /// have one; ascending.
    pub fn last_headers(&self, name: &str) -> Vec<(u32, &[u8])> {
        let mut found: Vec<(u32, &[u8])> = Vec::new();
        for span in self.headers.iter().filter(|span| len(span.name) == name.len()) {
            if self.slice(span.start, span.name) != Some(name.as_bytes()) {
                continue;
            }
            found.pop_if(|(record, _)| *record == span.record);
            if let Some(value) = self.slice(span.start + len(span.name), span.value) {
                found.push((span.record, value));
            }
        }
        found
    }

    /// Record `i`.
    pub fn get(&self, i: usize) -> Record<'_> {
        Record { records: self, index: i }
    }

    /// The records in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> + DoubleEndedIterator {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Keeps the records for which `keep(partition, offset)` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(Partition, Offset) -> bool) {
        let kept: Vec<bool> =
            self.partitions.iter().zip(&self.offsets).map(|(&p, &o)| keep(p, o)).collect();
        if kept.iter().all(|k| *k) {
            return;
        }
        let mut renumbered = Vec::with_capacity(kept.len());
        let mut next = 0;
        for k in &kept {
            renumbered.push(next);
            next += u32::from(*k);
        }
        self.headers.retain(|h| kept[h.record as usize]);
        self.headers.iter_mut().for_each(|h| h.record = renumbered[h.record as usize]);
        sift(&mut self.partitions, &kept);
        sift(&mut self.offsets, &kept);
        sift(&mut self.timestamps, &kept);
        sift(&mut self.spans, &kept);
        sift(&mut self.lineages, &kept);
        let spans = self.spans.iter().map(|s| len(s.key) + len(s.value));
        let headers = self.headers.iter().map(|h| len(h.name) + len(h.value));
        self.num_bytes = spans.chain(headers).sum();
    }

    /// Keeps the first `len` records, and gives copies of those behind them.
    pub fn split_off(&mut self, len: usize) -> Records {
        let mut rest = Records::new();
        if len >= self.len() {
            return rest;
        }
        (len..self.len()).for_each(|i| rest.push(self.get(i)));
        self.data.truncate(self.spans[len].start);
        self.headers.retain(|h| (h.record as usize) < len);
        self.partitions.truncate(len);
        self.offsets.truncate(len);
        self.timestamps.truncate(len);
        self.spans.truncate(len);
        self.lineages.truncate(len);
        self.num_bytes -= rest.num_bytes;
        rest
    }

    /// Offset and fingerprint of record `i`.
    pub fn last_read(&self, i: usize) -> LastRead {
        let fingerprint = fingerprint(self.timestamp_ms(i), self.key(i), self.value(i));
        LastRead { offset: self.offset(i), fingerprint: Some(fingerprint) }
    }

    /// Adds a copy of record `i` of another batch.
    pub fn push(&mut self, record: Record<'_>) {
        self.push_parts(
            record.partition(),
            record.offset(),
            record.timestamp_ms(),
            record.key(),
            record.value(),
        );
        for (name, value) in record.headers() {
            self.push_header(name, value);
        }
    }

    /// Adds a record without headers; [`Records::push_header`] adds to it.
    pub fn push_parts(
        &mut self,
        partition: Partition,
        offset: Offset,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        let start = self.data.len();
        let (key, value) = (self.append(key), self.append(value));
        self.num_bytes += self.data.len() - start;
        self.partitions.push(partition);
        self.offsets.push(offset);
        self.timestamps.push(timestamp_ms);
        self.spans.push(Span { start, key, value });
        if !self.lineages.is_empty() {
            self.lineages.push(None);
        }
    }

    /// Adds a header to the record pushed last.
    pub fn push_header(&mut self, name: &str, value: Option<&[u8]>) {
        let Some(record) = self.len().checked_sub(1) else { return };
        let start = self.data.len();
        let (name_len, value_len) = (self.append(Some(name.as_bytes())), self.append(value));
        self.num_bytes += self.data.len() - start;
        self.headers.push(HeaderSpan {
            record: record as u32,
            start,
            name: name_len,
            value: value_len,
        });
        if name == lineage::HEADER {
            self.lineages.resize(record + 1, None);
            self.lineages[record] = value.and_then(Lineage::decode);
        }
    }

    /// Takes record `i` for one that did not come through the enricher, whatever its header says.
    pub fn disown(&mut self, i: usize) {
        if let Some(lineage) = self.lineages.get_mut(i) {
            *lineage = None;
        }
    }

    /// Copies a message of the client.
    pub(crate) fn push_message(&mut self, message: &BorrowedMessage<'_>) {
        let timestamp = message.timestamp().to_millis().unwrap_or(-1);
        self.push_parts(
            message.partition(),
            message.offset(),
            timestamp,
            message.key(),
            message.payload(),
        );
        if let Some(headers) = message.headers() {
            self.push_headers(headers);
        }
    }

    fn push_headers(&mut self, headers: &BorrowedHeaders) {
        let mut num_unreadable = 0;
        for index in 0..headers.count() {
            // rust-rdkafka panics on a name that is not UTF-8, and anybody may write one into a
            // topic.
            match expected_panic::catch(|| headers.try_get(index)) {
                Some(Some(header)) => self.push_header(header.key, header.value),
                Some(None) => {}
                None => {
                    num_unreadable += 1;
                    self.push_header(UNREADABLE_NAME, None);
                }
            }
            if num_unreadable == MAX_UNREADABLE_NAMES {
                let num_left = headers.count() - index - 1;
                let text = format!("{num_left} headers after this one are left out");
                return self.push_header(UNREADABLE_NAME, Some(text.as_bytes()));
            }
        }
    }

    fn append(&mut self, bytes: Option<&[u8]>) -> i32 {
        bytes.map_or(NONE, |bytes| {
            self.data.extend_from_slice(bytes);
            bytes.len() as i32
        })
    }

    fn slice(&self, start: usize, length: i32) -> Option<&[u8]> {
        (length != NONE).then(|| &self.data[start..start + len(length)])
    }
}

fn len(length: i32) -> usize {
    length.max(0) as usize
}

fn sift<T>(list: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    list.retain(|_| kept.next().is_some_and(|k| *k));
}

impl<'a> Record<'a> {
    /// Partition.
    pub fn partition(&self) -> Partition {
        self.records.partition(self.index)
    }

    /// Offset.
    pub fn offset(&self) -> Offset {
        self.records.offset(self.index)
    }

    /// Kafka timestamp in milliseconds since 1970; −1 when it has none.
    pub fn timestamp_ms(&self) -> i64 {
        self.records.timestamp_ms(self.index)
    }

    /// Key.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.records.key(self.index)
    }

    /// Value; `None` for a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.records.value(self.index)
    }

    /// See [`fingerprint`].
    pub fn fingerprint(&self) -> u64 {
        fingerprint(self.timestamp_ms(), self.key(), self.value())
    }

    /// Lineage header.
    pub fn lineage(&self) -> Option<Lineage> {
        self.records.lineage(self.index)
    }

    /// All headers in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        self.records.headers(self.index)
    }
}

impl<'a> RecordMetadata<'a> for Record<'a> {
    fn key(&self) -> Option<&'a [u8]> {
        Record::key(self)
    }

    fn partition(&self) -> Partition {
        Record::partition(self)
    }

    fn offset(&self) -> Offset {
        Record::offset(self)
    }

    fn timestamp_ms(&self) -> i64 {
        Record::timestamp_ms(self)
    }

    fn last_header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().filter(|(other, _)| *other == name).last().and_then(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests;
