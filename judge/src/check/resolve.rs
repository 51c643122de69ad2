//! Resolves targets at a moment of a history.

use super::ask::Silence;

use crate::facts::Facts;
use crate::target::{Group, Member, Target};
use crate::topology::{Health, Peer, Role};
use crate::units::{NodeNo, ShardNo};

/// Why a target means no node.
pub(super) enum Unresolved {
    /// It cannot be known, or the target never means a node: this proves nothing.
    Unknown(String),
    /// No node has the role that the target names.
    Nobody(String),
}

/// The nodes of a target, by the owners at that moment and the views of the replicas about themselves; or why there are
/// none.
pub(super) fn resolve(facts: &Facts<'_>, target: &Target, at_ns: u64) -> Result<Vec<NodeNo>, Unresolved> {
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
            let shard = owner.shard(facts.ops.key_shards().deal());
            let shard = shard.ok_or_else(|| Unresolved::Unknown(format!("`{target}` was never resolved")))?;
            let owner = master(shard).ok_or_else(|| Unresolved::Unknown(format!("there is no {shard}")))?;
            match member {
                Member::Master => vec![owner],
                Member::Replica => replicas_of(owner).take(1).collect(),
                Member::Replicas => replicas_of(owner).collect(),
                Member::Every => std::iter::once(owner).chain(replicas_of(owner)).collect(),
                // Refused by the plan: only the run knows them.
                Member::Down | Member::Paused => Vec::new(),
            }
        }
        Target::Clients(_) | Target::Others => Vec::new(),
        Target::Group(Group::All) => facts.nodes().collect(),
        Target::Group(Group::Masters) => masters.clone(),
        Target::Group(Group::Replicas) => masters.iter().flat_map(|&owner| replicas_of(owner)).collect(),
        Target::Group(Group::Minority) => minority.to_vec(),
        Target::Group(Group::Majority) => facts.nodes().filter(|node| !minority.contains(node)).collect(),
    };
    if !nodes.is_empty() {
        return Ok(nodes);
    }
    let why = format!("`{target}` matches no node that answers");
    let replicated = match target {
        Target::Member(owner, Member::Replica | Member::Replicas) => {
            owner.shard(facts.ops.key_shards().deal()).and_then(master).into_iter().collect()
        }
        Target::Group(Group::Replicas) => masters,
        Target::Member(_, Member::Master | Member::Every | Member::Down | Member::Paused)
        | Target::Node(_)
        | Target::Clients(_)
        | Target::Others
        | Target::Group(Group::All | Group::Masters | Group::Minority | Group::Majority) => {
            return Err(Unresolved::Unknown(why));
        }
    };
    Err(match facts.nodes().find_map(|node| may_replicate(facts, node, &replicated, at_ns)) {
        Some(unknown) => Unresolved::Unknown(format!("{why}: {unknown}")),
        None => Unresolved::Nobody(why),
    })
}

/// Why a node that is not seen may be a replica of one of these masters at a moment; None if it is not. A node is not one
/// if a fault ended its process, or if no fault silences it and others flag it FAIL.
pub(super) fn may_replicate(facts: &Facts<'_>, node: NodeNo, masters: &[NodeNo], at_ns: u64) -> Option<String> {
    let (is_explained, why) = match facts.view_of(node, at_ns) {
        Ok(_) => return None,
        Err(Silence::Unknown(why)) => (true, why),
        Err(Silence::Broken(why)) => (false, why),
    };
    if masters.contains(&node) || facts.is_ended(node, at_ns) {
        return None;
    }
    let views = facts.views.at(at_ns);
    let lines: Vec<&Peer> = views.values().filter_map(|view| view.peers.get(&node)).collect();
    if !is_explained && lines.iter().any(|line| line.health == Health::Fail) {
        return None;
    }
    let is_listed = lines.iter().any(|line| masters.iter().any(|&master| line.role == Role::ReplicaOf(master)));
    (views.is_empty() || is_listed).then_some(why)
}
