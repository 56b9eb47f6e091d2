//! The header that makes exactly-once checkable: every record that the enricher emits, to the
//! output topic or to the dead letters, names the input record it came from and the one emitted
//! before it. Output ∪ dead letters then form one unbroken lineage per partition. (Counting offsets
//! proves nothing: transactional topics have gaps.)

/// The Kafka header's name.
pub const HEADER: &str = "weir-lineage";

/// Of a record that is the only one of its input record.
const VERSION: u8 = 1;
/// Of one of several.
const VERSION_OF_ROW: u8 = 2;
/// The bytes of the shorter form.
const LEN_OF_WHOLE: usize = 1 + 8 + 8 + 8;
/// The most bytes of its value.
pub const LEN: usize = LEN_OF_WHOLE + 4 + 4;

/// Where an emitted record came from. Offsets are those of the input topic, in the partition of the
/// same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lineage {
    /// Offset of the input record.
    pub source: i64,
    /// Offset of the input record that the record emitted before this one came from, in the same
    /// partition; −1 for the first. It is `source` if both came from the same input record.
    pub previous: i64,
    /// Input records that the pipeline's SQL filtered between the two.
    pub filtered: u64,
    /// Which of the records of its input record it is.
    pub row: Row,
}

/// Which of the records that were made of one input record: `unnest` makes several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    /// From 0.
    pub index: u32,
    /// How many there are, at least 1.
    pub count: u32,
}

impl Row {
    /// The only one.
    pub const WHOLE: Row = Row { index: 0, count: 1 };

    /// Whether it is the last one.
    pub fn is_last(self) -> bool {
        self.index.saturating_add(1) == self.count
    }
}

impl Lineage {
    /// Of a record that is the only one of its input record.
    pub fn new(source: i64, previous: i64, filtered: u64) -> Lineage {
        Lineage { source, previous, filtered, row: Row::WHOLE }
    }

    /// That of the record with this index among the `count` ones of the same input record.
    pub fn of_row(self, index: u32, count: u32) -> Lineage {
        let row = Row { index, count };
        match index {
            0 => Lineage { row, ..self },
            _ => Lineage { source: self.source, previous: self.source, filtered: 0, row },
        }
    }

    /// The form in the header; [`Encoded::as_ref`] has its bytes: version 1, then source, previous
    /// and filtered as big-endian 64-bit integers; with version 2, of one of several records, index
    /// and count as 32-bit ones behind them.
    pub fn encode(&self) -> Encoded {
        let mut bytes = [0; LEN];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.source.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.previous.to_be_bytes());
        bytes[17..25].copy_from_slice(&self.filtered.to_be_bytes());
        if self.row == Row::WHOLE {
            return Encoded { bytes, len: LEN_OF_WHOLE };
        }
        bytes[0] = VERSION_OF_ROW;
        bytes[25..29].copy_from_slice(&self.row.index.to_be_bytes());
        bytes[29..33].copy_from_slice(&self.row.count.to_be_bytes());
        Encoded { bytes, len: LEN }
    }

    /// `None` when the bytes are not a lineage of a version this program knows.
    pub fn decode(bytes: &[u8]) -> Option<Lineage> {
        let row = match (bytes.first()?, bytes.len()) {
            (&VERSION, LEN_OF_WHOLE) => Row::WHOLE,
            (&VERSION_OF_ROW, LEN) => {
                let word = |at: usize| bytes[at..at + 4].try_into().ok().map(u32::from_be_bytes);
                Row { index: word(25)?, count: word(29)? }
            }
            _ => return None,
        };
        let word = |at: usize| bytes[at..at + 8].try_into().ok().map(i64::from_be_bytes);
        Some(Lineage { source: word(1)?, previous: word(9)?, filtered: word(17)? as u64, row })
    }

    /// Whether an enricher can have written it; a forged one can name any numbers.
    pub fn is_possible(&self) -> bool {
        let Lineage { source, previous, filtered, row: Row { index, count } } = *self;
        let follows = match index {
            0 => previous < source && filtered < source.abs_diff(previous),
            _ => previous == source && filtered == 0,
        };
        source >= 0 && previous >= -1 && follows && index < count
    }
}

/// A lineage in the form of the header.
#[derive(Debug, Clone, Copy)]
pub struct Encoded {
    bytes: [u8; LEN],
    len: usize,
}

impl Encoded {
    /// One as long as any, for records that are only measured.
    pub const LONGEST: Encoded = Encoded { bytes: [0; LEN], len: LEN };
}

impl AsRef<[u8]> for Encoded {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lineage_survives_the_header(source: i64, previous: i64, filtered: u64, index: u32, count: u32) {
            for row in [Row::WHOLE, Row { index, count }] {
                let lineage = Lineage { source, previous, filtered, row };
                prop_assert_eq!(Lineage::decode(lineage.encode().as_ref()), Some(lineage));
            }
        }

        #[test]
        fn foreign_bytes_are_not_taken_for_lineage(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let known = matches!((bytes.first(), bytes.len()), (Some(1), 25) | (Some(2), 33));
            prop_assert_eq!(Lineage::decode(&bytes).is_some(), known);
        }

        #[test]
        fn the_records_of_one_input_record_are_possible_and_name_one_another(count in 1..9_u32) {
            let whole = Lineage::new(7, 3, 2);
            let rows: Vec<Lineage> = (0..count).map(|index| whole.of_row(index, count)).collect();
            prop_assert!(rows.iter().all(Lineage::is_possible));
            prop_assert_eq!((rows[0].previous, rows[0].filtered), (3, 2));
            prop_assert!(rows[1..].iter().all(|row| row.previous == 7 && row.filtered == 0));
            prop_assert!(rows.iter().position(|p| p.row.is_last()) == Some(rows.len() - 1));
        }
    }

    /// Records in topics have it: it does not change.
    #[test]
    fn the_form_of_the_header_stays() {
        let whole = Lineage::new(258, 2, 1);
        let numbers = [1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(whole.encode().as_ref(), numbers);
        let row = whole.of_row(0, 3).encode();
        assert_eq!((row.as_ref()[0], &row.as_ref()[1..25]), (2, &numbers[1..]));
        assert_eq!(row.as_ref()[25..], [0, 0, 0, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn only_lineages_that_an_enricher_can_write_are_taken_for_such() {
        let possible =
            |source, previous, filtered| Lineage::new(source, previous, filtered).is_possible();
        assert!(possible(0, -1, 0) && possible(9, 4, 4) && possible(i64::MAX, -1, 7));
        for (source, previous, filtered) in [
            (-1, -1, u64::MAX),
            (-1, -1, 0),
            (0, -1, 1),
            (3, 3, 0),
            (3, 4, 0),
            (9, 4, 5),
            (0, i64::MIN, 0),
            (i64::MIN, i64::MAX, 0),
        ] {
            assert!(!possible(source, previous, filtered), "{source} {previous} {filtered}");
        }
        for (index, count) in [(0, 0), (1, 1), (u32::MAX, u32::MAX)] {
            assert!(!Lineage::new(9, 4, 0).of_row(index, count).is_possible(), "{index} {count}");
        }
    }
}
