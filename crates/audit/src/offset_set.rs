//! A set of offsets in one bit each, for as many records as a partition holds.

use std::collections::BTreeMap;
use weir_model::protocol::Offset;

const WORDS: usize = 1024;
const BLOCK: i64 = 64 * WORDS as i64;

/// See the module. Blocks without an offset take no memory.
#[derive(Debug, Default, Clone)]
pub(crate) struct OffsetSet {
    blocks: BTreeMap<i64, Box<[u64; WORDS]>>,
}

impl OffsetSet {
    /// Adds an offset; `false` when it was there already.
    pub(crate) fn insert(&mut self, offset: Offset) -> bool {
        let (block, word, bit) = place(offset);
        let words = self.blocks.entry(block).or_insert_with(|| Box::new([0; WORDS]));
        let new = words[word] & bit == 0;
        words[word] |= bit;
        new
    }

    pub(crate) fn contains(&self, offset: Offset) -> bool {
        let (block, word, bit) = place(offset);
        self.blocks.get(&block).is_some_and(|words| words[word] & bit != 0)
    }

    /// The offsets in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Offset> {
        self.blocks.iter().flat_map(|(block, words)| {
            words.iter().enumerate().flat_map(move |(word, bits)| {
                let first = block * BLOCK + 64 * word as i64;
                (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| first + bit)
            })
        })
    }
}

/// How often each offset was added. Those that were added once take one bit.
#[derive(Debug, Default, Clone)]
pub(crate) struct OffsetCounts {
    once: OffsetSet,
    more: BTreeMap<Offset, u32>,
}

impl OffsetCounts {
    pub(crate) fn add(&mut self, offset: Offset) {
        if !self.once.insert(offset) {
            *self.more.entry(offset).or_default() += 1;
        }
    }

    pub(crate) fn count(&self, offset: Offset) -> u32 {
        match self.once.contains(offset) {
            true => 1 + self.more.get(&offset).copied().unwrap_or_default(),
            false => 0,
        }
    }

    /// The offsets in ascending order, each once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Offset> {
        self.once.iter()
    }
}

fn place(offset: Offset) -> (i64, usize, u64) {
    let within = offset.rem_euclid(BLOCK) as usize;
    (offset.div_euclid(BLOCK), within / 64, 1 << (within % 64))
}

/// `3, 5 to 9, 12`: runs of offsets, and of those beyond `limit` runs only that there are more.
pub(crate) fn ranges(offsets: impl Iterator<Item = Offset>, limit: usize) -> String {
    let mut runs: Vec<(Offset, Offset)> = Vec::new();
    let mut num_more = 0_u64;
    for offset in offsets {
        let full = runs.len() >= limit;
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(offset) && num_more == 0 => {
                *last = offset;
            }
            _ if full => num_more += 1,
            _ => runs.push((offset, offset)),
        }
    }
    let text = |(first, last): &(Offset, Offset)| match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    };
    let mut texts: Vec<String> = runs.iter().map(text).collect();
    texts.extend((num_more > 0).then(|| format!("and {} more", crate::format::grouped(num_more))));
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_inserted_and_tells_what_was_there_already() {
        let offsets = [0, 1, 63, 64, 65_535, 65_536, 1 << 40, -1, i64::MAX, i64::MIN];
        let mut set = OffsetSet::default();
        for offset in offsets {
            assert!(!set.contains(offset) && set.insert(offset), "{offset}");
            assert!(set.contains(offset) && !set.insert(offset), "{offset}");
        }
        let mut sorted = offsets.to_vec();
        sorted.sort_unstable();
        assert_eq!(set.iter().collect::<Vec<_>>(), sorted);
    }

    #[test]
    fn offsets_are_named_by_runs() {
        let text = |offsets: &[i64]| ranges(offsets.iter().copied(), 3);
        assert_eq!(text(&[]), "");
        assert_eq!(text(&[3, 5, 6, 7, 12]), "3, 5 to 7, 12");
        assert_eq!(text(&[1, 3, 5, 7, 8]), "1, 3, 5, and 2 more");
    }
}
