//! The state of the nodes of a cluster that is kept up, as the system, the nodes and their peers report it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::cluster::ProcessState;
use crate::cluster::watch::Snapshot;
use crate::history::FaultKind;
use crate::server::Server;
use crate::slot::Deal;
use crate::topology::{Health, Peer, Role};
use crate::units::{NodeNo, ShardNo};

/// The cluster at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The server that the nodes run.
    pub server: Server,
    /// Every node, by number.
    pub nodes: Vec<NodeStatus>,
    /// Network faults in force, by name.
    pub network_faults: Vec<(String, FaultKind)>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node's number.
    pub node: NodeNo,
    /// Where clients reach it.
    pub addr: SocketAddr,
    /// The state of its process.
    pub process: String,
    /// The role that it reports or, if it does not answer, that the most up-to-date other node reports.
    pub role: Option<Role>,
    /// The shard whose slots it owns or replicates in the latest view.
    pub shard: Option<ShardNo>,
    /// How many slots it owns, from the same source as the role.
    pub slots: u16,
    /// Whether its replication link is up; None for a master and for a node that does not answer.
    pub link_up: Option<bool>,
    /// How far it is behind its master, in bytes.
    pub lag_bytes: Option<u64>,
    /// Whether it reports `cluster_state:ok`; None if it does not answer.
    pub state_ok: Option<bool>,
    /// How many other nodes that answer suspect it (`fail?`, PFAIL).
    pub pfail: usize,
    /// How many other nodes that answer have flagged it `fail`.
    pub fail: usize,
    /// How many other nodes answer.
    pub others: usize,
}

/// Builds the status from the latest snapshot and the states of the processes.
pub(super) fn status(
    server: &Server,
    now: &Snapshot,
    processes: Vec<(NodeNo, SocketAddr, ProcessState)>,
    deal: &Deal,
    network_faults: Vec<(String, FaultKind)>,
) -> Status {
    let nodes = processes.into_iter().map(|(node, addr, process)| {
        let own = now.views.get(&node);
        let peer = peer_of(now, node);
        let flagged = |health| {
            let others = now.views.iter().filter(|(by, _)| **by != node);
            others.filter(|(_, view)| view.peers.get(&node).is_some_and(|peer| peer.health == health)).count()
        };
        NodeStatus {
            node,
            addr,
            process: match process {
                ProcessState::Running { .. } => "runs".to_owned(),
                ProcessState::Paused { .. } => "paused".to_owned(),
                ProcessState::Gone { how } => format!("gone ({how})"),
                ProcessState::Unknown { how } => format!("not known ({how})"),
            },
            role: peer.map(|peer| peer.role),
            shard: now.shard_of(node, deal),
            slots: peer.map_or(0, |peer| peer.slots.iter().map(|(first, last)| last - first + 1).sum()),
            link_up: own.and_then(|view| view.link_up),
            lag_bytes: now.lag.get(&node).map(|(bytes, _)| *bytes),
            state_ok: own.map(|view| view.state_ok),
            pfail: flagged(Health::Pfail),
            fail: flagged(Health::Fail),
            others: now.views.keys().filter(|by| **by != node).count(),
        }
    });
    Status { server: server.clone(), nodes: nodes.collect(), network_faults }
}

/// A node as it sees itself or, if it does not answer, as [`seen_by_others`].
pub(super) fn peer_of(now: &Snapshot, node: NodeNo) -> Option<&Peer> {
    let own = now.views.get(&node).and_then(|view| view.peers.get(&node));
    own.or_else(|| seen_by_others(now, node))
}

/// A node as seen by the other node with the highest epoch.
fn seen_by_others(now: &Snapshot, node: NodeNo) -> Option<&Peer> {
    let views = now.views.values().filter_map(|view| Some((view.current_epoch, view.peers.get(&node)?)));
    views.max_by_key(|(epoch, _)| *epoch).map(|(_, peer)| peer)
}
