//! The owner of each shard over time.

use std::collections::BTreeMap;

use crate::history::{EventKind, History};
use crate::topology::{Peer, Role, View};
use crate::units::{NodeNo, ShardNo};

/// The owners of all shards over a run. The owner of a shard is the node that owns all slots of the shard in its own view, with
/// the highest configEpoch so far. (A master that returns after a pause or a crash still claims its slots with its old
/// epoch, and is not the owner.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    boot: BTreeMap<ShardNo, NodeNo>,
    changes: Vec<OwnershipChange>,
}

/// A shard got a new owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnershipChange {
    /// When the view of the new owner first showed it, in nanoseconds from the start of the run.
    pub at_ns: u64,
    /// The shard.
    pub shard: ShardNo,
    /// The old owner.
    pub from: NodeNo,
    /// The new owner.
    pub to: NodeNo,
    /// The configEpoch of the new owner.
    pub epoch: u64,
}

struct Owner {
    node: NodeNo,
    epoch: u64,
    renounced: bool,
}

impl Ownership {
    /// Follows the owners through the views of a history.
    pub fn new(history: &History) -> Self {
        let mut boot = BTreeMap::new();
        let mut slots_of = BTreeMap::new();
        let mut owners = BTreeMap::new();
        for master in history.header.plan.nodes.iter().filter(|node| node.replica_of.is_none()) {
            boot.insert(master.shard, master.node);
            slots_of.insert(master.shard, master.slots.as_slice());
            owners.insert(master.shard, Owner { node: master.node, epoch: 0, renounced: false });
        }
        let mut changes = Vec::new();
        for event in &history.events {
            let EventKind::Viewed { node, view } = &event.kind else { continue };
            let Some(own) = own_line(view, *node) else { continue };
            for (&shard, owner) in &mut owners {
                let owned = owned_of(own, slots_of[&shard]);
                if owner.node == *node {
                    owner.renounced = owned == Owned::None;
                    owner.epoch = if owner.renounced { owner.epoch } else { owner.epoch.max(own.epoch) };
                } else if owned == Owned::All && (own.epoch > owner.epoch || owner.renounced) {
                    let (from, to, epoch) = (owner.node, *node, own.epoch);
                    changes.push(OwnershipChange { at_ns: event.at_ns, shard, from, to, epoch });
                    *owner = Owner { node: to, epoch, renounced: false };
                }
            }
        }
        Self { boot, changes }
    }

    /// The owner of a shard at a moment; None if the shard does not exist.
    pub fn owner(&self, shard: ShardNo, at_ns: u64) -> Option<NodeNo> {
        let last = self.changes.iter().rev().find(|change| change.shard == shard && change.at_ns <= at_ns);
        last.map(|change| change.to).or_else(|| self.boot.get(&shard).copied())
    }

    /// The shards, in order.
    pub fn shards(&self) -> impl Iterator<Item = ShardNo> + '_ {
        self.boot.keys().copied()
    }

    /// All changes in order of time.
    pub fn changes(&self) -> &[OwnershipChange] {
        &self.changes
    }
}

/// The line of a node in its own view.
pub(crate) fn own_line(view: &View, node: NodeNo) -> Option<&Peer> {
    view.peers.get(&node)
}

#[derive(PartialEq, Eq)]
enum Owned {
    All,
    Some,
    None,
}

fn owned_of(peer: &Peer, wanted: &[(u16, u16)]) -> Owned {
    if peer.role != Role::Master {
        return Owned::None;
    }
    let count = |slots: &[(u16, u16)], first: u16, last: u16| -> u32 {
        slots.iter().map(|&(from, to)| (u32::from(to.min(last)) + 1).saturating_sub(u32::from(from.max(first)))).sum()
    };
    let owned: u32 = wanted.iter().map(|&(first, last)| count(&peer.slots, first, last)).sum();
    match owned {
        0 => Owned::None,
        owned if owned >= count(wanted, 0, u16::MAX) => Owned::All,
        _ => Owned::Some,
    }
}
