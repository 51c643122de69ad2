//! Resolves a target to nodes at one moment.

use crate::cluster::watch::Snapshot;
use crate::slot::Deal;
use crate::target::{Group, Member, Target};
use crate::units::NodeNo;

/// Returns the nodes that a target means in a cluster of `nodes` nodes: at least one. The error says why
/// there is none.
pub fn resolve(target: &Target, now: &Snapshot, nodes: usize, deal: &Deal) -> Result<Vec<NodeNo>, String> {
    let found = match target {
        Target::Node(node) => vec![*node],
        Target::Member(owner, member) => {
            let shard = owner.shard(deal).ok_or_else(|| format!("`{target}` was not drawn when the plan was made"))?;
            let master = now.master(shard, deal).ok_or_else(|| format!("no node owns {shard} in any view"))?;
            match member {
                Member::Master => vec![master],
                Member::Replica => now.replicas(master).into_iter().take(1).collect(),
                Member::Replicas => now.replicas(master),
                Member::Every => std::iter::once(master).chain(now.replicas(master)).collect(),
                Member::Down | Member::Paused => {
                    return Err(format!("`{target}` has a meaning only in a step that undoes a fault"));
                }
            }
        }
        Target::Clients(_) | Target::Others => {
            return Err(format!("`{target}` has a meaning only on a side of a network fault"));
        }
        Target::Group(group) => group_members(*group, now, nodes, deal)?,
    };
    if found.is_empty() { Err(format!("`{target}` means no node at this moment")) } else { Ok(found) }
}

fn group_members(group: Group, now: &Snapshot, nodes: usize, deal: &Deal) -> Result<Vec<NodeNo>, String> {
    let all: Vec<NodeNo> = (0..nodes).map(NodeNo::from_index).collect();
    let masters = deal
        .shards()
        .map(|shard| now.master(shard, deal).ok_or_else(|| format!("no node owns {shard} in any view")))
        .collect::<Result<Vec<NodeNo>, String>>();
    let minority = || masters.clone().map(|masters| masters[..(usize::from(deal.count()) - 1) / 2].to_vec());
    let without = |taken: Vec<NodeNo>| all.iter().copied().filter(|node| !taken.contains(node)).collect();
    Ok(match group {
        Group::All => all,
        Group::Masters => masters?,
        Group::Replicas => without(masters?),
        Group::Minority => minority()?,
        Group::Majority => without(minority()?),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::fixture::healthy;
    use crate::topology::Role;

    /// Three shards where node-4 has taken shard-1 over, as every node but the stale node-1 sees it.
    fn after_failover() -> Snapshot {
        let stale = healthy(3);
        let mut fresh = stale.clone();
        let slots = std::mem::take(&mut fresh.peers.get_mut(&NodeNo(1)).unwrap().slots);
        for (node, role, slots) in [(1, Role::ReplicaOf(NodeNo(4)), Vec::new()), (4, Role::Master, slots)] {
            let peer = fresh.peers.get_mut(&NodeNo(node)).unwrap();
            (peer.role, peer.epoch, peer.slots) = (role, 7, slots);
        }
        let mut snapshot = Snapshot::default();
        snapshot.views.insert(NodeNo(1), Arc::new(stale));
        for node in 2..=6 {
            snapshot.views.insert(NodeNo(node), Arc::new(fresh.clone()));
        }
        snapshot
    }

    #[test]
    fn resolves_a_target_by_current_roles() {
        let now = after_failover();
        for (target, expected) in [
            ("node-1", vec![1]),
            ("shard-1/master", vec![4]),
            ("key:testkey/master", vec![4]),
            ("slot:0/replica", vec![1]),
            ("shard-1", vec![4, 1]),
            ("masters", vec![4, 2, 3]),
            ("replicas", vec![1, 5, 6]),
            ("minority", vec![4]),
            ("majority", vec![1, 2, 3, 5, 6]),
            ("all", vec![1, 2, 3, 4, 5, 6]),
        ] {
            let nodes = resolve(&target.parse().unwrap(), &now, 6, &Deal::even(3)).unwrap();
            assert_eq!(nodes, expected.into_iter().map(NodeNo).collect::<Vec<_>>(), "{target}");
        }
    }

    #[test]
    fn rejects_a_target_without_a_node() {
        let mut now = after_failover();
        now.views.retain(|&node, _| node == NodeNo(1));
        let view = Arc::make_mut(now.views.get_mut(&NodeNo(1)).unwrap());
        view.peers.remove(&NodeNo(4));
        let error = resolve(&"shard-1/replica".parse().unwrap(), &now, 6, &Deal::even(3)).unwrap_err();
        assert_eq!(error, "`shard-1/replica` means no node at this moment");
        let error = resolve(&"shard-1/master".parse().unwrap(), &Snapshot::default(), 6, &Deal::even(3)).unwrap_err();
        assert_eq!(error, "no node owns shard-1 in any view");
    }
}
