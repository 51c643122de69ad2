//! Resolves targets at a moment of a history.

use crate::facts::Facts;
use crate::target::{Group, Member, Target};
use crate::topology::Role;
use crate::units::{NodeNo, ShardNo};

/// The nodes of a target, by the owners at that moment and the views of the replicas about themselves; or why there are
/// none.
pub(super) fn resolve(facts: &Facts<'_>, target: &Target, at_ns: u64) -> Result<Vec<NodeNo>, String> {
    let shards: Vec<ShardNo> = facts.ownership.shards().collect();
    let master = |shard| facts.ownership.owner(shard, at_ns);
    let masters: Vec<NodeNo> = shards.iter().filter_map(|&shard| master(shard)).collect();
    let replicas_of = |owner: NodeNo| {
        facts.nodes().filter(move |&node| {
            let line = facts.views.of(node, at_ns).view().and_then(|view| view.peers.get(&node));
            line.is_some_and(|line| line.role == Role::ReplicaOf(owner))
        })
    };
    let minority = &masters[..masters.len().saturating_sub(1) / 2];
    let nodes: Vec<NodeNo> = match target {
        Target::Node(node) => facts.nodes().filter(|each| each == node).collect(),
        Target::Member(owner, member) => {
            let shard =
                owner.shard(facts.ops.key_shards().deal()).ok_or_else(|| format!("`{target}` was never resolved"))?;
            let owner = master(shard).ok_or_else(|| format!("there is no {shard}"))?;
            match member {
                Member::Master => vec![owner],
                Member::Replica => replicas_of(owner).take(1).collect(),
                Member::Replicas => replicas_of(owner).collect(),
                Member::Every => std::iter::once(owner).chain(replicas_of(owner)).collect(),
            }
        }
        Target::Clients(_) | Target::Others => Vec::new(),
        Target::Group(Group::All) => facts.nodes().collect(),
        Target::Group(Group::Masters) => masters,
        Target::Group(Group::Replicas) => masters.iter().flat_map(|&owner| replicas_of(owner)).collect(),
        Target::Group(Group::Minority) => minority.to_vec(),
        Target::Group(Group::Majority) => facts.nodes().filter(|node| !minority.contains(node)).collect(),
    };
    if nodes.is_empty() { Err(format!("`{target}` matches no node that answers")) } else { Ok(nodes) }
}
