//! The header that makes exactly-once checkable: every record that the enricher emits, to the
//! output topic or to the dead letters, names the input record it came from and the one emitted
//! before it. Output ∪ dead letters then form one unbroken lineage per partition. (Counting offsets
//! proves nothing: transactional topics have gaps.)

/// The Kafka header's name.
pub const HEADER: &str = "weir-lineage";

const VERSION: u8 = 1;
/// The bytes of its value.
pub const LEN: usize = 1 + 8 + 8 + 8;

/// Where an emitted record came from. Offsets are those of the input topic, in the partition of the
/// same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lineage {
    /// Offset of the input record.
    pub source: i64,
    /// Offset of the input record emitted before this one from the same partition; −1 for the
    /// first.
    pub previous: i64,
    /// Input records that the pipeline's SQL filtered between the two.
    pub filtered: u64,
}

impl Lineage {
    /// 25 bytes: version 1, then source, previous and filtered as big-endian 64-bit integers.
    pub fn encode(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[0] = VERSION;
        out[1..9].copy_from_slice(&self.source.to_be_bytes());
        out[9..17].copy_from_slice(&self.previous.to_be_bytes());
        out[17..25].copy_from_slice(&self.filtered.to_be_bytes());
        out
    }

    /// `None` when the bytes are not a lineage of a version this program knows.
    pub fn decode(bytes: &[u8]) -> Option<Lineage> {
        if bytes.len() != LEN || bytes[0] != VERSION {
            return None;
        }
        let word = |at: usize| bytes[at..at + 8].try_into().ok().map(i64::from_be_bytes);
        Some(Lineage { source: word(1)?, previous: word(9)?, filtered: word(17)? as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lineage_survives_the_header(source: i64, previous: i64, filtered: u64) {
            let lineage = Lineage { source, previous, filtered };
            prop_assert_eq!(Lineage::decode(&lineage.encode()), Some(lineage));
        }

        #[test]
        fn foreign_bytes_are_not_taken_for_lineage(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if bytes.len() != LEN || bytes[0] != VERSION {
                prop_assert_eq!(Lineage::decode(&bytes), None);
            }
        }
    }
}
