//! `type = "synthetic"`.

use crate::pipeline::names;
use crate::pipeline::reader::Table;
use crate::pipeline::section::Absent::{Is, Means, Refused};
use crate::pipeline::section::Kind::{Choice, Integer, Share, Texts};
use crate::pipeline::section::{Finish, section, table_of};
use crate::pipeline::source::{End, SourceConfig, TYPE};

section! {
    /// Generated records.
    pub struct Synthetic = table_of("source", "synthetic"), with [TYPE] {
        /// Which records are made; record = f(seed, sequence).
        generator: String = Choice(&["call_records"]), Refused, "";
        /// Over all partitions of the source; 0 = unlimited.
        rate: u64 = Integer(0, 1_000_000_000), Is("0"), "records/s";
        /// How many in all; 0 = unlimited.
        records: u64 = Integer(0, i64::MAX), Is("0"), "records";
        /// The same seed gives the same records.
        seed: u64 = Integer(0, i64::MAX), Is("0"), "";
        /// Independent sequences, shared among the producer's workers and instances; fixed for the
        /// life of the pipeline.
        partitions: u32 = Integer(1, 1024), Is("1"), "";
        /// Share of records made invalid on purpose, 0.0–1.0.
        invalid_share: f64 = Share, Is("0"), "";
        /// Which kinds of invalid records, each equally likely.
        invalid_kinds: Vec<String> = Texts(names::rule), Means("all kinds"), "";
    }
}

impl SourceConfig for Synthetic {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn rate(&self) -> u64 {
        self.rate
    }

    fn set_rate(&mut self, rate: u64) {
        self.rate = rate;
    }

    fn end(&self) -> End {
        if self.records == 0 { End::Never } else { End::After(self.records) }
    }

    fn set_records(&mut self, records: u64) -> bool {
        self.records = records;
        true
    }
}

impl Finish for Synthetic {
    fn finish(&mut self, _: &Table<'_>) {}
}
