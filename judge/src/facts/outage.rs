//! Outages: spans in which no operation was served.

use serde::{Deserialize, Serialize};

use super::Window;
use crate::history::{Op, Outcome};
use crate::suite::OpKind;
use crate::units::ShardNo;

/// How long an operation may wait, in nanoseconds, before that is an outage even if it is served in the end. It is one
/// only if no later operation is answered meanwhile. A frozen server leaves all operations waiting, and may serve them
/// when it resumes.
pub const HANG_NS: u64 = 1_000_000_000;

/// From the issue of the first operation that is not served to the first answer of an operation issued after it. An
/// operation that waits for over a second counts as not served meanwhile: its outage lasts until that operation, or
/// one issued after it, is served.
///
/// An operation that was issued before the outage and is answered during it does not end it: the server may have
/// executed it before. (Worked example: write 1 is issued at 0 s and refused, write 2 is issued at 1 s and served at 7 s,
/// write 3 is issued at 4 s and served at 4.01 s. The outage ends with write 3, at 4.01 s. If a write 4 were issued at 5 s
/// and refused, with nothing after it, a second outage would begin with it, although write 2 is answered at 7 s.) Two
/// outages may thus overlap. Each operation belongs to at most one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Reads or writes.
    pub of: OpKind,
    /// The shard of the operations.
    pub shard: ShardNo,
    /// The begin in nanoseconds from the start of the run.
    pub from_ns: u64,
    /// The end in nanoseconds from the start of the run, at the latest the end of the window.
    pub to_ns: u64,
    /// How many operations were not served, or waited for over a second.
    pub unserved: u64,
    /// Whether an operation was served again within the window.
    pub ended: bool,
}

impl Outage {
    /// The length in milliseconds.
    pub fn length_ms(&self) -> f64 {
        self.to_ns.saturating_sub(self.from_ns) as f64 / 1e6
    }
}

/// The outages among operations, which are in the order of their issue.
pub(super) fn among(ops: &[&Op], of: OpKind, shard: ShardNo, window: Window) -> Vec<Outage> {
    let mut held_up: Vec<(&Op, u64)> = Vec::new();
    // From the last operation to the first: the earliest answer of one issued later.
    let mut served_again_ns = u64::MAX;
    for op in ops.iter().rev() {
        if op.outcome == Outcome::Ok {
            served_again_ns = served_again_ns.min(op.complete_ns);
        }
        if op.outcome != Outcome::Ok || served_again_ns.saturating_sub(op.invoke_ns) > HANG_NS {
            held_up.push((op, served_again_ns));
        }
    }
    let mut outages: Vec<Outage> = Vec::new();
    for &(op, served_again_ns) in held_up.iter().rev() {
        let (from_ns, to_ns) = (op.invoke_ns, served_again_ns.min(window.to_ns));
        let ended = served_again_ns < window.to_ns;
        match outages.last_mut() {
            Some(outage) if outage.ended == ended && belongs(op, to_ns, outage) => outage.unserved += 1,
            _ => outages.push(Outage { of, shard, from_ns, to_ns, unserved: 1, ended }),
        }
    }
    outages
}

/// Whether an operation that was held up until `to_ns` belongs to the outage before it. A server that resumes answers the
/// waiting operations one by one: that is one outage, not one for each answer.
fn belongs(op: &Op, to_ns: u64, outage: &Outage) -> bool {
    let one_by_one = op.outcome == Outcome::Ok
        && op.invoke_ns < outage.to_ns
        && to_ns - outage.to_ns <= HANG_NS
        && to_ns - op.invoke_ns <= outage.to_ns - outage.from_ns;
    outage.to_ns == to_ns || one_by_one
}
