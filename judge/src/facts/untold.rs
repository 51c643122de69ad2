//! Acknowledged writes that nobody can tell about: they may have been lost, and their key was written again before
//! anybody read it.
//!
//! Only what had an occasion to be lost counts: a hand-over ([`HandOver`]), or a loss that reads show in the same shard
//! while no hand-over explains it.

use std::collections::{BTreeMap, BTreeSet};

use super::handover::HandOver;
use super::overwritten::Shown;
use crate::consistency::{Kind, Operation, Register};
use crate::units::ShardNo;

/// A loss that reads show in a shard, which no hand-over explains: it came between two moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Destroyed {
    /// The acknowledgement of the newest write that the first read misses.
    after_ns: u64,
    /// The end of the first read that shows it.
    by_ns: u64,
}

/// The first unexplained loss of each shard.
pub(super) fn destroyed(unexplained: &[(ShardNo, Shown)]) -> BTreeMap<ShardNo, Destroyed> {
    let mut first: BTreeMap<ShardNo, u64> = BTreeMap::new();
    for (shard, shown) in unexplained {
        let by_ns = first.entry(*shard).or_insert(shown.by.complete_ns);
        *by_ns = (*by_ns).min(shown.by.complete_ns);
    }
    let after_ns = |shard: ShardNo, by_ns: u64| {
        let of_shard = unexplained.iter().filter(|(each, _)| *each == shard);
        of_shard.map(|(_, shown)| shown.write.complete_ns).filter(|&acked_ns| acked_ns < by_ns).max().unwrap_or(0)
    };
    first.into_iter().map(|(shard, by_ns)| (shard, Destroyed { after_ns: after_ns(shard, by_ns), by_ns })).collect()
}

/// The writes of one key that nobody can tell about.
pub(super) struct Key<'a> {
    pub shard: ShardNo,
    pub register: &'a Register,
    /// The values of writes whose fate is known: lost, or accounted as undecided.
    pub settled: &'a BTreeSet<u32>,
    pub hand_overs: &'a [HandOver],
    pub destroyed: Option<&'a Destroyed>,
    pub decided: Decided,
}

/// The write whose fate the value of the key in the end decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decided {
    /// The key has one writer: its last write.
    Last,
    /// The key has several writers, whose writes have no order: the write of this value.
    Value(u32),
    /// The key has several writers, and held no value of theirs.
    None,
}

impl Key<'_> {
    /// Each with whether its loss is to be reckoned with: its shard is shown to have lost others, it was acknowledged
    /// by a master that had been replaced, or nothing covers the last two seconds before the hand-over.
    pub(super) fn untold(&self, shard_lost: bool) -> Vec<(Operation, bool)> {
        if self.destroyed.is_none() && self.hand_overs.iter().all(|over| over.shard != self.shard) {
            return Vec::new();
        }
        let mut acked: Vec<Operation> =
            self.register.ops().iter().filter(|op| op.is_certain_write()).copied().collect();
        acked.sort_by_key(|write| (write.invoke_ns, write.value));
        match self.decided {
            Decided::Last => _ = acked.pop(),
            Decided::Value(number) => acked.retain(|write| write.value != number),
            Decided::None => {}
        }
        let mut found: BTreeMap<u32, (Operation, bool)> = BTreeMap::new();
        for over in self.hand_overs.iter().filter(|over| over.shard == self.shard) {
            let kept = self.kept_by(over);
            for write in acked.iter().filter(|write| over.is_at_risk(write) && !self.is_kept(write, kept.as_ref())) {
                let is_likely = shard_lost || over.is_stale(write) || over.is_open();
                found.entry(write.value).or_insert((*write, false)).1 |= is_likely;
            }
        }
        if let Some(destroyed) = self.destroyed {
            let before = acked.iter().rev().find(|write| write.complete_ns < destroyed.by_ns);
            if let Some(write) = before.filter(|write| write.complete_ns <= destroyed.after_ns) {
                let was_there = |op: &Operation| {
                    op.kind == Kind::Read && op.value == write.value && op.invoke_ns >= destroyed.by_ns
                };
                if !self.register.ops().iter().any(was_there) {
                    found.entry(write.value).or_insert((*write, true)).1 = true;
                }
            }
        }
        found.into_values().filter(|(write, _)| !self.settled.contains(&write.value)).collect()
    }

    /// Whether the new master had a write, since it had `newest`: that one itself, or one that certainly came before it.
    fn is_kept(&self, write: &Operation, newest: Option<&Operation>) -> bool {
        newest.is_some_and(|newest| match self.decided {
            Decided::Last => write.invoke_ns <= newest.invoke_ns,
            Decided::Value(_) | Decided::None => write.value == newest.value || write.complete_ns < newest.invoke_ns,
        })
    }

    /// The newest of the key's writes that the new master returned after a hand-over.
    fn kept_by(&self, over: &HandOver) -> Option<Operation> {
        let returned = |group: &&[Operation]| group.iter().any(|op| op.kind == Kind::Read && over.is_after(op));
        let handed_over =
            |op: &&Operation| op.node == over.old && (over.from_ns..over.until_ns).contains(&op.complete_ns);
        let sent = |group: &[Operation]| group.first().filter(|op| op.is_certain_write()).filter(handed_over).copied();
        self.register.groups().filter(returned).filter_map(sent).max_by_key(|write| write.invoke_ns)
    }
}
