//! A second kind of target, so that the suite and the sink are shown not to know the first one.

use crate::world::{Instance, REQUEST_TIMEOUT, World};
use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use weir_model::dead_letter::DeadLetter;
use weir_model::fault::{Fault, Stage};
use weir_model::mistake::Mistake;
use weir_model::pipeline::Pipeline;
use weir_model::protocol::{Claim, CommittedPosition, Outcome, Partition};
use weir_store::target::Room;
use weir_store::{Error, Part, Target, Transaction, Written};
use weir_testkit::wait_until;

/// Sales in memory; a name has at most twenty characters.
#[derive(Default)]
pub(crate) struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    positions: BTreeMap<Partition, CommittedPosition>,
    ids: Vec<i32>,
    dead_letters: Vec<DeadLetter>,
}

impl Memory {
    /// The ids of all rows, ascending.
    pub(crate) fn ids(&self) -> Vec<i32> {
        let mut ids = self.state.lock().unwrap().ids.clone();
        ids.sort_unstable();
        ids
    }

    /// The offsets of all dead letters, ascending.
    pub(crate) fn dead_letter_offsets(&self) -> Vec<i64> {
        let state = self.state.lock().unwrap();
        let mut offsets: Vec<_> = state.dead_letters.iter().map(|d| d.coordinates.offset).collect();
        offsets.sort_unstable();
        offsets
    }
}

#[async_trait::async_trait]
impl Target for Memory {
    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn prepare(&self) -> Result<Vec<Mistake>, Error> {
        Ok(Vec::new())
    }

    async fn inspect(&self) -> Result<Vec<Mistake>, Error> {
        Ok(Vec::new())
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn acquire(&self, partitions: &[Partition]) -> Result<Vec<CommittedPosition>, Error> {
        let mut state = self.state.lock().unwrap();
        let mut acquire = |&partition: &Partition| {
            let none = CommittedPosition {
                partition,
                fence: 0,
                next: None,
                progress: Default::default(),
                intact: true,
            };
            let position = state.positions.entry(partition).or_insert(none);
            position.fence += 1;
            position.clone()
        };
        Ok(partitions.iter().map(&mut acquire).collect())
    }

    async fn has_rows(&self) -> Result<bool, Error> {
        Ok(!self.state.lock().unwrap().ids.is_empty())
    }

    fn begin(&self) -> Result<Box<dyn Transaction>, Error> {
        Ok(Box::new(Filling { state: self.state.clone(), ..Filling::default() }))
    }
}

/// A transaction that is being filled.
#[derive(Default)]
struct Filling {
    state: Arc<Mutex<State>>,
    ids: Vec<i32>,
    dead_letters: Vec<DeadLetter>,
    /// Refused rows per partition.
    refused: BTreeMap<Partition, Vec<String>>,
    num_records: usize,
}

const MAX_RECORDS: usize = 1_000;

#[async_trait::async_trait]
impl Transaction for Filling {
    fn add(&mut self, part: Part) -> Result<(), Error> {
        let ids = part.rows.column(0).as_primitive::<Int32Type>();
        let names = part.rows.column(1).as_string::<i32>();
        for (row, (id, name)) in ids.iter().zip(names).enumerate() {
            if name.is_some_and(|name| name.len() > 20) {
                let (stage, reason) = (Stage::Sink, "value_too_long".to_owned());
                let refused = self.refused.entry(part.records.partition(row)).or_default();
                refused.push(reason.clone());
                let fault = Fault { stage, reason, detail: "more than 20 characters".into() };
                self.dead_letters.push(part.records.dead_letter(row, fault));
            } else {
                self.ids.extend(id);
            }
        }
        self.num_records += part.size.records;
        self.dead_letters.extend(part.dead_letters);
        Ok(())
    }

    fn room(&self) -> Option<Room> {
        let records = MAX_RECORDS.checked_sub(self.num_records).filter(|left| *left > 0)?;
        Some(Room { records, bytes: 1 << 20 })
    }

    async fn commit(&mut self, mut claims: Vec<Claim>) -> Result<Written, Error> {
        let mut state = self.state.lock().unwrap();
        let holds = claims.iter().all(|claim| {
            let position = state.positions.get(&claim.partition);
            position.is_some_and(|p| p.fence == claim.fence && p.next == claim.expected)
        });
        if !holds {
            let (claims, refused) = (Vec::new(), Vec::new());
            return Ok(Written { outcome: Outcome::Refused, claims, refused, bytes: 0 });
        }
        for claim in &mut claims {
            let num_refused = self.refused.get(&claim.partition).map_or(0, Vec::len);
            claim.mark_dead(num_refused as u64);
            let position = state.positions.get_mut(&claim.partition).unwrap();
            (position.next, position.progress) = (Some(claim.next), claim.progress);
        }
        state.ids.append(&mut self.ids);
        state.dead_letters.append(&mut self.dead_letters);
        let refused = std::mem::take(&mut self.refused).into_values().flatten().collect();
        Ok(Written { outcome: Outcome::Committed, claims, refused, bytes: 0 })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_of_different_kinds_run_in_one_process() {
    let mut world = World::new("[sink.columns]\nname = \"varchar(20)\"\n");
    let mut pipeline = Pipeline::clone(&world.pipeline);
    let second = pipeline.sinks[0].clone();
    pipeline.sinks.push(weir_model::pipeline::Sink { name: "cache".into(), ..second });
    let memory = Arc::new(Memory::default());
    let target = memory.clone();
    let sink = Instance::start_with(
        Arc::new(pipeline),
        Box::new(move |pipeline, sink, schema, cluster| match sink.name.as_str() {
            "cache" => Ok(target.clone()),
            _ => weir_store::target::open(pipeline, sink, schema, cluster),
        }),
    );
    let long = "a name that is too long for its column";
    world.feed((0..3000).map(|id| (id, if id % 500 == 0 { long } else { "name" })));
    world.wait_for(3000);
    let expected: Vec<i32> = (0..3000).filter(|id| id % 500 != 0).collect();
    wait_until("all rows in memory", REQUEST_TIMEOUT, || (memory.ids() == expected).then_some(()));
    assert_eq!(world.number("SELECT count(*) FROM shop.sale"), expected.len() as i64);
    assert_eq!(world.number("SELECT count(*) FROM weir.dead_letters"), 6);
    assert_eq!(memory.dead_letter_offsets().len(), 6);
    let ready = sink.ask("/ready");
    assert!(ready.contains("memory") && ready.contains("postgres"), "{ready}");
    sink.stop().await.unwrap();
}
