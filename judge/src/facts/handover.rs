//! Hand-overs: where a shard's data passed from one node to another, or through a restart, and up to which write it is
//! shown to have arrived.
//!
//! A replica follows the master's effects in their order. So if the successor ever returned a write of the old
//! master's reign, every write that the old master had acknowledged before that one was sent had arrived, too. A lag of
//! 0 bytes shows the same of what was acknowledged a second before.

use super::registers::{Finals, Registers};
use super::{KeyShards, Reigns};
use crate::consistency::{Kind, Operation};
use crate::history::{EventKind, FinalValue, History};
use crate::units::{NodeNo, ShardNo};

/// An offset is read this much before its event at the most.
const READ_BEFORE_NS: u64 = 1_000_000_000;

/// A stretch of time before a hand-over that nothing covers is short up to this length: offsets leave one second open.
pub(super) const SHORT_NS: u64 = 2_000_000_000;

/// One hand-over.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandOver {
    pub shard: ShardNo,
    pub old: NodeNo,
    pub new: NodeNo,
    /// When the reign of the old master began, or its process was started again in it.
    pub from_ns: u64,
    /// When the new master's reign began, or the process was started again.
    pub at_ns: u64,
    /// When the next reign begins.
    pub until_ns: u64,
    /// What the old master acknowledged before this moment is shown to have reached the new one.
    pub arrived_ns: u64,
    /// When the new master lost its data for the last time before the hand-over; 0 for never. What it had by then shows
    /// nothing.
    pub emptied_ns: u64,
    /// When the old master acknowledged its last write before the hand-over.
    pub last_acked_ns: u64,
}

impl HandOver {
    /// Whether an acknowledged write may be missing at the new master, for all that reads of other keys tell.
    pub fn is_at_risk(&self, write: &Operation) -> bool {
        let was_by = write.node == self.old && (self.from_ns..self.until_ns).contains(&write.complete_ns);
        if self.old == self.new {
            return was_by && write.complete_ns < self.at_ns && write.complete_ns >= self.arrived_ns;
        }
        was_by && (write.complete_ns >= self.at_ns || write.complete_ns >= self.arrived_ns)
    }

    /// Whether the old master acknowledged a write after the hand-over. An acknowledgement that only arrived after it
    /// may have been sent before.
    pub fn is_stale(&self, write: &Operation) -> bool {
        self.old != self.new && write.node == self.old && write.invoke_ns >= self.at_ns
    }

    /// Whether a read was answered by the new master after the hand-over.
    pub fn is_after(&self, read: &Operation) -> bool {
        read.node == self.new && read.invoke_ns >= self.at_ns
    }

    /// Whether so long a time before it is not covered by any read that more than a few writes may be missing.
    pub fn is_open(&self) -> bool {
        self.last_acked_ns.saturating_sub(self.arrived_ns) > SHORT_NS
    }
}

/// The hand-overs of a history: every change of a reign, and every restart (shard, when it was started again).
pub(super) fn hand_overs(
    history: &History,
    registers: &Registers,
    shards: &KeyShards,
    reigns: &Reigns,
    restarts: impl Iterator<Item = (ShardNo, u64)>,
    finals: &Finals<'_>,
) -> Vec<HandOver> {
    let mut found = Vec::new();
    let over = |shard, old, new, from_ns, at_ns, until_ns| HandOver {
        shard,
        old,
        new,
        from_ns,
        at_ns,
        until_ns,
        arrived_ns: 0,
        emptied_ns: 0,
        last_acked_ns: 0,
    };
    for shard in shards.deal().shards() {
        for pair in reigns.of(shard).windows(2) {
            found.push(over(shard, pair[0].node, pair[1].node, pair[0].from_ns, pair[1].from_ns, pair[1].to_ns));
        }
    }
    let restarts: Vec<(ShardNo, u64)> = restarts.collect();
    for &(shard, started_ns) in &restarts {
        if let Some(reign) = reigns.at(shard, started_ns) {
            found.push(over(shard, reign.node, reign.node, reign.from_ns, started_ns, reign.to_ns));
        }
    }
    for each in &mut found {
        let earlier = restarts.iter().filter(|(shard, at_ns)| *shard == each.shard && *at_ns < each.at_ns);
        each.from_ns = earlier.map(|(_, at_ns)| *at_ns).fold(each.from_ns, u64::max);
    }
    if found.is_empty() {
        return found;
    }
    for (node, at_ns) in emptied(history) {
        for each in found.iter_mut().filter(|each| each.new == node && each.old != node && at_ns < each.at_ns) {
            each.emptied_ns = each.emptied_ns.max(at_ns);
        }
    }
    for event in &history.events {
        let EventKind::Lag { replica, master, bytes: 0, link_up: true } = event.kind else { continue };
        for each in &mut found {
            if each.new == replica
                && each.old == master
                && (each.from_ns.max(each.emptied_ns)..each.at_ns).contains(&event.at_ns)
            {
                each.arrived_ns = each.arrived_ns.max(event.at_ns.saturating_sub(READ_BEFORE_NS));
            }
        }
    }
    for (key, register) in registers.iter() {
        let shard = shards.of(key);
        let in_the_end = finals.get(&key).copied();
        for each in found.iter_mut().filter(|each| each.shard == shard) {
            for group in register.groups() {
                each.note(group, in_the_end);
            }
        }
    }
    found
}

/// The nodes that lost data while they were down, all of it or what damage to a file cost, and when.
pub(super) fn emptied(history: &History) -> impl Iterator<Item = (NodeNo, u64)> {
    history.events.iter().filter_map(|event| match &event.kind {
        EventKind::Changed { node, change, .. } => change.data.loses_keys().then_some((*node, event.at_ns)),
        EventKind::Corrupted { node, file, .. } => file.holds_keys().then_some((*node, event.at_ns)),
        _ => None,
    })
}

impl HandOver {
    /// Takes a write and its reads into account.
    fn note(&mut self, group: &[Operation], in_the_end: Option<(Option<NodeNo>, &FinalValue)>) {
        let Some(write) = group.first().filter(|op| op.is_certain_write() && op.node == self.old) else { return };
        if !(self.from_ns..self.at_ns).contains(&write.complete_ns) {
            return;
        }
        self.last_acked_ns = self.last_acked_ns.max(write.complete_ns);
        let has_it = |op: &Operation| {
            let since_ns = if self.old == self.new { self.at_ns } else { self.emptied_ns };
            op.kind == Kind::Read && op.node == self.new && op.invoke_ns >= since_ns
        };
        let held_in_the_end = in_the_end.is_some_and(|(node, value)| {
            node == Some(self.new) && *value == FinalValue::Number(write.value) && self.until_ns == u64::MAX
        });
        if held_in_the_end || group.iter().any(has_it) {
            self.arrived_ns = self.arrived_ns.max(write.invoke_ns);
        }
    }
}
