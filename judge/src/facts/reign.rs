//! Reigns: which node was master of which shard, and when.

use std::collections::BTreeMap;

use super::{OpIndex, Ownership, Window};
use crate::history::Outcome;
use crate::suite::OpKind;
use crate::units::{NodeNo, ShardNo};

/// A view shows a promotion late by at most this: nodes are polled every 100 ms and may take 500 ms to answer. A write that the
/// new master acknowledged within this time before the view shows an earlier start.
const SEEN_LATE_NS: u64 = 1_000_000_000;

/// The masters of every shard in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reigns {
    by_shard: BTreeMap<ShardNo, Vec<Reign>>,
}

/// The time of one node as master of a shard, until the next reign. Writes that the node acknowledges later, it acknowledges as
/// a stale master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reign {
    /// The master.
    pub node: NodeNo,
    /// The begin in nanoseconds from the start of the run: the first view in which the node owns the shard, or an acknowledged
    /// write less than a second before it.
    pub from_ns: u64,
    /// The begin of the next reign of the shard; `u64::MAX` for the last.
    pub to_ns: u64,
}

impl Reigns {
    /// Derives the reigns from changes of ownership and acknowledged writes.
    pub fn new(ownership: &Ownership, ops: &OpIndex<'_>) -> Self {
        let mut by_shard = BTreeMap::new();
        for shard in ownership.shards() {
            let boot = ownership.owner(shard, 0).map(|node| Reign { node, from_ns: 0, to_ns: u64::MAX });
            let mut reigns: Vec<Reign> = boot.into_iter().collect();
            for change in ownership.changes().iter().filter(|change| change.shard == shard) {
                let before_ns = reigns.last().map_or(0, |reign| reign.from_ns);
                let from_ns = shown_ns(ops, shard, change.to, change.at_ns).max(before_ns);
                if let Some(last) = reigns.last_mut() {
                    last.to_ns = from_ns;
                }
                reigns.push(Reign { node: change.to, from_ns, to_ns: u64::MAX });
            }
            by_shard.insert(shard, reigns);
        }
        Self { by_shard }
    }

    /// The reigns of a shard in order of time.
    pub fn of(&self, shard: ShardNo) -> &[Reign] {
        self.by_shard.get(&shard).map_or(&[], Vec::as_slice)
    }

    /// The reign of a shard at a moment.
    pub fn at(&self, shard: ShardNo, at_ns: u64) -> Option<Reign> {
        self.of(shard).iter().rev().find(|reign| reign.from_ns <= at_ns).copied()
    }
}

/// When a node acknowledged its first write to a shard within [`SEEN_LATE_NS`] before the view that shows it as owner; the time
/// of the view if there is no such write.
fn shown_ns(ops: &OpIndex<'_>, shard: ShardNo, node: NodeNo, seen_ns: u64) -> u64 {
    let earliest_ns = seen_ns.saturating_sub(SEEN_LATE_NS);
    // A write that was issued long before may have waited for the promotion.
    let asked = Window { from_ns: 0, to_ns: seen_ns };
    ops.issued(OpKind::Writes, shard, asked)
        .iter()
        .filter(|op| op.outcome() == Outcome::Ok && op.node() == node.0 && op.complete_ns() >= earliest_ns)
        .map(|op| op.complete_ns())
        .min()
        .map_or(seen_ns, |acked_ns| acked_ns.min(seen_ns))
}
