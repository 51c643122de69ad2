//! Outages: spans in which no operation was served.

use serde::{Deserialize, Serialize};

use super::Window;
use crate::history::{Op, Outcome};
use crate::suite::OpKind;
use crate::units::ShardNo;

/// How long an operation may wait for its answer, while none that was issued after it is answered
/// either, before that is an outage even if it is served in the end: a frozen server leaves
/// everything hanging, and may serve it all when it wakes.
pub const HANG_NS: u64 = 1_000_000_000;

/// From the issue of the first operation that was not served to the first completion of an operation
/// issued after it that was. An operation that hung for over a second is not served meanwhile: its
/// outage lasts until it, or one issued after it, is served.
///
/// An operation that was issued before the outage and is answered during it ends nothing: the server
/// may have executed it before. (Worked example: write 1 issued at 0 s is refused, write 2 issued at
/// 1 s hangs until 7 s and is then served, write 3 issued at 4 s is served at 4.01 s. The outage ends
/// with write 3, at 4.01 s. Were there a write 4 issued at 5 s and refused, and nothing after it,
/// a second outage would begin with it, though write 2 is answered at 7 s.) Two outages may thus
/// overlap; each operation belongs to at most one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Reads or writes.
    pub of: OpKind,
    /// Whose.
    pub shard: ShardNo,
    /// When it begins.
    pub from_ns: u64,
    /// When it ends: at the latest with the window that was looked at.
    pub to_ns: u64,
    /// How many operations were not served, or hung.
    pub unserved: u64,
    /// Whether an operation was served again within the window.
    pub ended: bool,
}

impl Outage {
    /// Its length in milliseconds.
    pub fn length_ms(&self) -> f64 {
        self.to_ns.saturating_sub(self.from_ns) as f64 / 1e6
    }
}

/// The outages among operations in the order of their issue.
pub(super) fn among(ops: &[&Op], of: OpKind, shard: ShardNo, window: Window) -> Vec<Outage> {
    let mut held_up: Vec<(&Op, u64)> = Vec::new();
    // From the last operation to the first: the earliest service of one issued later.
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

/// Whether an operation that was held up until `to_ns` belongs to the outage before it. A server that
/// wakes answers what hung one by one: that is one outage, not as many as there are answers.
fn belongs(op: &Op, to_ns: u64, outage: &Outage) -> bool {
    let one_by_one = op.outcome == Outcome::Ok
        && op.invoke_ns < outage.to_ns
        && to_ns - outage.to_ns <= HANG_NS
        && to_ns - op.invoke_ns <= outage.to_ns - outage.from_ns;
    outage.to_ns == to_ns || one_by_one
}
