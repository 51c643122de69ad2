//! How the nodes of a cluster that is kept are: what the system, the nodes and their peers say.

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
    /// What runs.
    pub server: Server,
    /// Every node, by number.
    pub nodes: Vec<NodeStatus>,
    /// Network faults in force, by name.
    pub network_faults: Vec<(String, FaultKind)>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its number.
    pub node: NodeNo,
    /// Where clients reach it.
    pub addr: SocketAddr,
    /// What the system says of its process.
    pub process: String,
    /// Its role by its own word, or, where it does not answer, by that of a node that does.
    pub role: Option<Role>,
    /// The shard whose slots it owns or replicates in the freshest view.
    pub shard: Option<ShardNo>,
    /// How many slots it owns by the same word.
    pub slots: u16,
    /// Whether it is connected with its master; None for a master and for who does not answer.
    pub link_up: Option<bool>,
    /// How many bytes it is behind its master.
    pub lag_bytes: Option<u64>,
    /// The `cluster_state` that it reports; None where it does not answer.
    pub state_ok: Option<bool>,
    /// How many of the others that answer have flagged it `fail?`.
    pub pfail: usize,
    /// How many of them have flagged it `fail`.
    pub fail: usize,
    /// How many others answer.
    pub others: usize,
}

/// Puts together what is known.
pub(super) fn status(
    server: &Server,
    now: &Snapshot,
    processes: Vec<(NodeNo, SocketAddr, ProcessState)>,
    deal: &Deal,
    network_faults: Vec<(String, FaultKind)>,
) -> Status {
    let nodes = processes.into_iter().map(|(node, addr, process)| {
        let own = now.views.get(&node);
        let word = own.and_then(|view| view.peers.get(&node)).or_else(|| foreign_word(now, node));
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
            },
            role: word.map(|peer| peer.role),
            shard: now.shard_of(node, deal),
            slots: word.map_or(0, |peer| peer.slots.iter().map(|(first, last)| last - first + 1).sum()),
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

/// What the best informed of those that answer says of a node.
fn foreign_word(now: &Snapshot, node: NodeNo) -> Option<&Peer> {
    let views = now.views.values().filter_map(|view| Some((view.current_epoch, view.peers.get(&node)?)));
    views.max_by_key(|(epoch, _)| *epoch).map(|(_, peer)| peer)
}
