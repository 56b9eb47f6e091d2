//! A consumer group under the eager protocol: members, generations, and members that do not know
//! yet that they are none any more.

use crate::dice::Dice;

#[derive(Debug)]
struct Member {
    id: u32,
    /// Has joined the generation that is being prepared.
    joined: bool,
    /// Has been told its assignment.
    told: bool,
    /// Last heartbeat, in steps.
    seen: usize,
}

#[derive(Debug)]
pub(crate) struct Group {
    partitions: usize,
    generation: u32,
    preparing: bool,
    members: Vec<Member>,
    owners: Vec<u32>,
    next_id: u32,
}

/// What a poll reports.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rebalance {
    Nothing,
    Assigned(u32, Vec<i32>),
    Revoked,
    Lost,
}

impl Group {
    pub(crate) fn new(partitions: usize) -> Group {
        Group {
            partitions,
            generation: 0,
            preparing: false,
            members: Vec::new(),
            owners: vec![0; partitions],
            next_id: 1,
        }
    }

    /// A new member; its assignment comes with a later poll.
    pub(crate) fn join(&mut self, step: usize, dice: &mut Dice) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        self.prepare();
        self.members.push(Member { id, joined: true, told: false, seen: step });
        self.complete(dice);
        id
    }

    pub(crate) fn heartbeat(&mut self, id: u32, step: usize) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.seen = step;
        }
    }

    pub(crate) fn poll(&mut self, id: u32, dice: &mut Dice) -> Rebalance {
        let Some(at) = self.members.iter().position(|member| member.id == id) else {
            return Rebalance::Lost;
        };
        if self.preparing && !self.members[at].joined {
            self.members[at].joined = true;
            self.complete(dice);
            return Rebalance::Revoked;
        }
        if !self.preparing && !self.members[at].told {
            self.members[at].told = true;
            let mine =
                (0..self.partitions).filter(|&p| self.owners[p] == id).map(|p| p as i32).collect();
            return Rebalance::Assigned(self.generation, mine);
        }
        Rebalance::Nothing
    }

    /// Removes a member without its knowledge; true when there was one.
    pub(crate) fn kick(&mut self, id: u32, dice: &mut Dice) -> bool {
        let Some(at) = self.members.iter().position(|member| member.id == id) else { return false };
        self.members.remove(at);
        self.prepare();
        self.complete(dice);
        true
    }

    /// Removes whoever has not been heard of since `deadline`.
    pub(crate) fn expire(&mut self, deadline: usize, dice: &mut Dice) {
        while let Some(id) =
            self.members.iter().find(|member| member.seen < deadline).map(|member| member.id)
        {
            self.kick(id, dice);
        }
    }

    /// Whether an offset commit under this membership is accepted. (While a rebalance is prepared,
    /// the old generation still is.)
    pub(crate) fn accepts(&self, id: u32, generation: u32) -> bool {
        generation == self.generation && self.members.iter().any(|member| member.id == id)
    }

    fn prepare(&mut self) {
        if !self.preparing {
            self.preparing = true;
            self.members.iter_mut().for_each(|member| member.joined = false);
        }
    }

    fn complete(&mut self, dice: &mut Dice) {
        if self.members.is_empty() || self.members.iter().any(|member| !member.joined) {
            return;
        }
        self.preparing = false;
        self.generation += 1;
        self.members.iter_mut().for_each(|member| member.told = false);
        let first = dice.below(self.members.len());
        for partition in 0..self.partitions {
            self.owners[partition] = self.members[(first + partition) % self.members.len()].id;
        }
    }
}
