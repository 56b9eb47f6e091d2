//! A database with sessions, row locks and commits: what PostgreSQL does with the sink's
//! statements.

use crate::network::{Reply, Request};
use crate::record::{MAX, Record};
use weir_model::progress::Progress;
use weir_model::protocol::{Claim, CommittedPosition, Offset};

pub(crate) type Row = (usize, Offset, Record);

/// Which of the two guards of the position row a mutant leaves out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Guards {
    pub(crate) no_fence: bool,
    pub(crate) no_compare: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Position {
    pub(crate) fence: i64,
    pub(crate) next: Option<Offset>,
    pub(crate) progress: Progress,
}

#[derive(Debug)]
struct Session {
    id: u64,
    claims: Vec<Claim>,
    rows: Vec<Row>,
    dead_letters: Vec<Row>,
}

#[derive(Debug, Default)]
pub(crate) struct Database {
    pub(crate) guards: Guards,
    pub(crate) positions: [Position; MAX],
    pub(crate) rows: Vec<Row>,
    pub(crate) dead_letters: Vec<Row>,
    sessions: Vec<Session>,
}

impl Database {
    /// `None`: the statement waits for a lock.
    pub(crate) fn serve(&mut self, request: &mut Request) -> Option<Reply> {
        match request {
            Request::Fence { partition } => self.fence(*partition),
            Request::Claim { session, claims } => self.claim(*session, claims),
            Request::Copy { session, rows, dead_letters } => {
                Some(self.copy(*session, rows, dead_letters))
            }
            Request::Commit { session } => Some(self.commit(*session)),
            Request::Close { session } => {
                self.sessions.retain(|open| open.id != *session);
                Some(Reply::Done)
            }
            other => panic!("not for the database: {other:?}"),
        }
    }

    fn locked(&self, partition: usize) -> bool {
        self.sessions
            .iter()
            .any(|session| session.claims.iter().any(|claim| claim.partition as usize == partition))
    }

    fn fence(&mut self, partition: usize) -> Option<Reply> {
        if self.locked(partition) {
            return None;
        }
        let row = &mut self.positions[partition];
        row.fence += 1;
        Some(Reply::CommittedPosition(CommittedPosition {
            partition: partition as i32,
            fence: row.fence,
            next: row.next,
            progress: row.progress,
            intact: true,
        }))
    }

    fn claim(&mut self, id: u64, claims: &mut Vec<Claim>) -> Option<Reply> {
        if claims.iter().any(|claim| self.locked(claim.partition as usize)) {
            return None;
        }
        let holds = claims.iter().all(|claim| {
            let row = &self.positions[claim.partition as usize];
            (self.guards.no_fence || row.fence == claim.fence)
                && (self.guards.no_compare || row.next == claim.expected)
        });
        if !holds {
            return Some(Reply::Refused);
        }
        self.sessions.push(Session {
            id,
            claims: std::mem::take(claims),
            rows: Vec::new(),
            dead_letters: Vec::new(),
        });
        Some(Reply::Done)
    }

    fn copy(&mut self, id: u64, rows: &mut Vec<Row>, dead_letters: &mut Vec<Row>) -> Reply {
        let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) else {
            return Reply::TimedOut;
        };
        for (partition, ..) in dead_letters.iter() {
            let refused =
                session.claims.iter_mut().filter(|claim| claim.partition as usize == *partition);
            refused.map(|claim| &mut claim.progress.counters).for_each(|counters| {
                (counters.written, counters.dead) = (counters.written - 1, counters.dead + 1)
            });
        }
        session.rows.append(rows);
        session.dead_letters.append(dead_letters);
        Reply::Done
    }

    fn commit(&mut self, id: u64) -> Reply {
        let Some(at) = self.sessions.iter().position(|session| session.id == id) else {
            return Reply::TimedOut;
        };
        let session = self.sessions.swap_remove(at);
        self.rows.extend(session.rows);
        self.dead_letters.extend(session.dead_letters);
        for claim in session.claims {
            let row = &mut self.positions[claim.partition as usize];
            (row.next, row.progress) = (Some(claim.next), claim.progress);
        }
        Reply::Done
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// `pg_terminate_backend`.
    pub(crate) fn terminate(&mut self, at: usize) {
        self.sessions.swap_remove(at);
    }

    /// The server crashes and comes back: what was not committed never happened.
    pub(crate) fn restart(&mut self) {
        self.sessions.clear();
    }
}
