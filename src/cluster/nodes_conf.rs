//! The text of `nodes.conf`, from which a server that starts learns its id, its role, its slots and the other nodes.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::plan::{Plan, PlannedNode};
use crate::server::{Flavour, Version};
use crate::slot::ranges;
use crate::units::NodeNo;

/// One line of the file.
pub(super) struct Known {
    /// The id: 40 hexadecimal digits.
    pub id: String,
    /// The address for clients.
    pub addr: SocketAddr,
    /// The port of the cluster bus.
    pub bus_port: u16,
    /// The id of its shard, if the servers know one ([`knows_shards`]): 40 hexadecimal digits.
    pub shard_id: Option<String>,
}

/// Whether the servers keep the id of each node's shard in the file (Redis 7.2 and later, and Valkey). Without it, each
/// server would draw ids of its own at its start, and CLUSTER SHARDS would show a master apart from its replicas.
pub(super) fn knows_shards(version: Version) -> bool {
    version.flavour == Flavour::Valkey || version.is_redis_at_least(7, 2)
}

/// The file of a node that knows the whole cluster as planned. `known` is in the order of the nodes. Each master has its
/// number as its epoch, so that no two nodes have the same.
///
/// The format is that of `clusterLoadConfig` in cluster.c (Redis 4.0 and later, Valkey). Masters come first: the server
/// reads line after line, and makes a master that gets slots a target of replica migration if it knows a replica by then
/// (`clusterNodeSetSlotBit`). A replica could then leave its shard for one that is planned without any.
pub(super) fn nodes_conf(plan: &Plan, known: &[Known], myself: NodeNo) -> String {
    let mut text = String::new();
    let (masters, replicas): (Vec<_>, Vec<_>) = plan.nodes.iter().partition(|planned| planned.replica_of.is_none());
    for PlannedNode { node, replica_of, slots, .. } in masters.into_iter().chain(replicas) {
        let Known { id, addr, bus_port, shard_id } = &known[node.index()];
        // An empty host name stands before it.
        let shard = shard_id.as_ref().map_or_else(String::new, |shard| format!(",,shard-id={shard}"));
        let flags = if *node == myself { "myself," } else { "" };
        let (role, master) = match replica_of {
            None => ("master", "-"),
            Some(master) => ("slave", known[master.index()].id.as_str()),
        };
        let epoch = replica_of.unwrap_or(*node).0;
        let slots = ranges(slots).replace(", ", " ");
        let line = format!("{id} {addr}@{bus_port}{shard} {flags}{role} {master} 0 0 {epoch} connected {slots}");
        writeln!(text, "{}", line.trim_end()).expect("a string takes any text");
    }
    writeln!(text, "vars currentEpoch {} lastVoteEpoch 0", plan.nodes.len()).expect("a string takes any text");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;
    use crate::topology::{Role, View, parse_nodes};

    #[test]
    fn it_says_what_the_plan_says_masters_first() {
        let mut source = suite::Source::load("formation").expect("a suite");
        source.set("cluster.replicas-per-master=[2, 0, 1]").expect("it is set");
        let plan = Plan::from_source(&source, 1).expect("a plan");
        let ids: Vec<String> = (1..=6).map(|n| format!("{n:040x}")).collect();
        let addr = |n: u8| SocketAddr::from(([127, 1, 0, n], 6379));
        let known: Vec<Known> = ids
            .iter()
            .zip(1..)
            .map(|(id, n)| Known { id: id.clone(), addr: addr(n), bus_port: 16379, shard_id: Some("5".repeat(40)) })
            .collect();
        let text = nodes_conf(&plan, &known, NodeNo(4));
        assert_eq!(text.matches(&format!("@16379,,shard-id={} ", "5".repeat(40))).count(), 6, "{text}");
        let (lines, vars) = text.trim_end().rsplit_once('\n').expect("lines");
        assert_eq!(vars, "vars currentEpoch 6 lastVoteEpoch 0");
        let lines = parse_nodes(lines).expect("as CLUSTER NODES");
        assert_eq!(lines.iter().map(|line| line.master).collect::<Vec<_>>(), [true, true, true, false, false, false]);
        let number =
            |line: &crate::topology::NodeLine| ids.iter().position(|id| *id == line.id).map(NodeNo::from_index);
        let info = "cluster_slots_assigned:16384\ncluster_slots_ok:16384\ncluster_slots_pfail:0\ncluster_slots_fail:0\n\
                    cluster_known_nodes:6\ncluster_size:3\ncluster_current_epoch:6";
        let view = View::from_answers(&lines, info, "", number).expect("a view");
        for planned in &plan.nodes {
            let peer = &view.peers[&planned.node];
            assert_eq!(peer.role, planned.replica_of.map_or(Role::Master, Role::ReplicaOf), "{}", planned.node);
            assert_eq!(
                (&peer.slots, peer.epoch),
                (&planned.slots, u64::from(planned.replica_of.unwrap_or(planned.node).0))
            );
        }
        let myself: Vec<_> = lines.iter().filter(|line| line.myself).map(number).collect();
        assert_eq!(myself, [Some(NodeNo(4))]);
    }
}
