//! Outages: spans in which no operation was served.

use serde::{Deserialize, Serialize};

use super::Window;
use super::stats::KeyShards;
use crate::history::{History, Op, Outcome};
use crate::suite::OpKind;
use crate::units::ShardNo;

/// From the issue of the first operation that was not served to the first completion of an operation
/// issued after it that was.
///
/// An operation that was issued before the outage and is answered during it ends nothing: the server
/// may have executed it before. (Worked example: write 1 issued at 0 s is refused, write 2 issued at
/// 1 s hangs until 7 s and is then served, write 3 issued at 4 s is served at 4.01 s. The outage ends
/// with write 3, at 4.01 s. Were there a write 4 issued at 5 s and refused, and nothing after it,
/// a second outage would begin with it, though write 2 is answered at 7 s.) Two outages may thus
/// overlap; each unserved operation belongs to exactly one.
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
    /// How many operations were not served.
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

/// The outages of one kind and shard among the operations issued in `window`, in order of time.
pub fn outages(history: &History, of: OpKind, shard: ShardNo, window: Window) -> Vec<Outage> {
    let shards = KeyShards::new(history);
    let mut ops: Vec<&Op> = history
        .ops
        .iter()
        .filter(|op| op.kind == of && window.contains(op.invoke_ns) && shards.of(op.key) == shard)
        .collect();
    ops.sort_by_key(|op| (op.invoke_ns, op.complete_ns));
    among(&ops, of, shard, window)
}

/// The outages among operations in the order of their issue.
pub(super) fn among(ops: &[&Op], of: OpKind, shard: ShardNo, window: Window) -> Vec<Outage> {
    let mut outages: Vec<Outage> = Vec::new();
    // From the last operation to the first: the earliest service among the operations issued later.
    let mut served_again_ns = None;
    for op in ops.iter().rev() {
        if op.outcome == Outcome::Ok {
            served_again_ns = Some(served_again_ns.map_or(op.complete_ns, |so_far: u64| so_far.min(op.complete_ns)));
            continue;
        }
        let ended_ns = served_again_ns.filter(|&at_ns| at_ns < window.to_ns);
        let to_ns = ended_ns.unwrap_or(window.to_ns);
        match outages.last_mut() {
            Some(outage) if outage.to_ns == to_ns && outage.ended == ended_ns.is_some() => {
                outage.from_ns = op.invoke_ns;
                outage.unserved += 1;
            }
            _ => {
                let from_ns = op.invoke_ns;
                outages.push(Outage { of, shard, from_ns, to_ns, unserved: 1, ended: ended_ns.is_some() });
            }
        }
    }
    outages.reverse();
    outages
}
