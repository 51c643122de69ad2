//! A node's view of the cluster: its answers to CLUSTER NODES, CLUSTER INFO and INFO replication,
//! parsed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::units::NodeNo;

/// What one node says of the cluster and of itself at one moment. Only what changes with the
/// cluster's state is kept: no ping times, no offsets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Every node that it knows, itself included, by the harness's number.
    pub peers: BTreeMap<NodeNo, Peer>,
    /// Nodes that it knows and the harness did not start (by their ids).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strangers: Vec<String>,
    /// `cluster_state:ok`.
    pub state_ok: bool,
    /// `cluster_slots_assigned`.
    pub slots_assigned: u16,
    /// `cluster_slots_ok`.
    pub slots_ok: u16,
    /// `cluster_slots_pfail`.
    pub slots_pfail: u16,
    /// `cluster_slots_fail`.
    pub slots_fail: u16,
    /// `cluster_known_nodes`.
    pub known_nodes: u16,
    /// `cluster_size`: masters with slots.
    pub size: u16,
    /// `cluster_current_epoch`.
    pub current_epoch: u64,
    /// `master_link_status:up`, for a replica (INFO replication); None for a master.
    pub link_up: Option<bool>,
}

/// One line of CLUSTER NODES.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// What it is held for.
    pub role: Role,
    /// The health flags.
    pub health: Health,
    /// configEpoch. A replica's line shows its master's.
    pub epoch: u64,
    /// Whether the cluster bus link to it is connected (always true of oneself).
    pub link_connected: bool,
    /// The slots that it owns, as ranges of first and last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<(u16, u16)>,
}

/// Master, or replica of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A master, with or without slots.
    Master,
    /// A replica of that node.
    ReplicaOf(NodeNo),
    /// A replica whose master is unknown to the harness or to the node (`-`).
    ReplicaOfUnknown,
}

/// What the failure detector holds a node for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// No flag.
    Ok,
    /// `fail?`: this node alone does not reach it.
    Pfail,
    /// `fail`: a majority of masters agreed.
    Fail,
}

/// One line of CLUSTER NODES with the server's own names, as [`parse_nodes`] reads it.
#[allow(clippy::struct_excessive_bools, reason = "they are the flags of the line")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLine {
    /// 40 hexadecimal digits.
    pub id: String,
    /// Where it listens; None while the address is unknown.
    pub addr: Option<SocketAddr>,
    /// Where other nodes reach it over the cluster bus; 0 while that is unknown.
    pub bus_port: u16,
    /// Whether this is the node that answered.
    pub myself: bool,
    /// `master` flag.
    pub master: bool,
    /// The id of its master, for a replica.
    pub master_id: Option<String>,
    /// `fail?`, `fail` or neither.
    pub health: Health,
    /// Whether it is still being introduced: its id is a placeholder, and it can't be referred to.
    pub handshake: bool,
    /// When the PING was sent that it has not answered yet, by the answering node's wall clock in
    /// milliseconds from 1970; 0 if there is none.
    pub ping_ms: u64,
    /// When its last PONG was received, by the same clock; 0 if none was.
    pub pong_ms: u64,
    /// configEpoch.
    pub epoch: u64,
    /// `connected`.
    pub connected: bool,
    /// The slots that it owns, those that it is migrating among them.
    pub slots: Vec<(u16, u16)>,
    /// The slots that it is migrating or importing, as the server writes them: `[93->-ID]`, `[93-<-ID]`. A node
    /// says so of itself alone.
    pub open: Vec<String>,
}

/// What nodes must agree on about one of them: its role, a master's epoch, its slots.
pub type Essence<'a> = (Role, Option<u64>, &'a [(u16, u16)]);

/// What could not be read in a server's answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {what}: `{line}`")]
pub struct TopologyError {
    what: &'static str,
    line: String,
}

/// Reads the answer to CLUSTER NODES (all versions: `id ip:port@cport[,hostname[,aux...]] flags
/// master ping pong epoch link slots...`).
pub fn parse_nodes(text: &str) -> Result<Vec<NodeLine>, TopologyError> {
    text.lines().filter(|line| !line.trim().is_empty()).map(parse_line).collect()
}

fn parse_line(line: &str) -> Result<NodeLine, TopologyError> {
    let error = |what| TopologyError { what, line: line.to_owned() };
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [id, addr, flags, master_id, ping, pong, epoch, link, slots @ ..] = fields.as_slice() else {
        return Err(error("a line of CLUSTER NODES"));
    };
    let (endpoint, rest) = addr.split_once('@').unwrap_or((addr, ""));
    let bus_port = rest.split(',').next().and_then(|port| port.parse().ok()).unwrap_or_default();
    let flags: Vec<&str> = flags.split(',').collect();
    let has = |flag: &str| flags.contains(&flag);
    let mut owned = Vec::new();
    let (open, slots): (Vec<&str>, Vec<&str>) = slots.iter().partition(|slot| slot.starts_with('['));
    for slot in slots {
        let (first, last) = slot.split_once('-').unwrap_or((slot, slot));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last && last < crate::slot::SLOTS => owned.push((first, last)),
            _ => return Err(error("a slot range of CLUSTER NODES")),
        }
    }
    Ok(NodeLine {
        id: (*id).to_owned(),
        // An address of version 6 stands without brackets.
        addr: endpoint
            .rsplit_once(':')
            .and_then(|(ip, port)| Some((ip.parse::<IpAddr>().ok()?, port.parse().ok()?).into())),
        bus_port,
        myself: has("myself"),
        master: has("master"),
        master_id: (*master_id != "-").then(|| (*master_id).to_owned()),
        health: if has("fail") {
            Health::Fail
        } else if has("fail?") {
            Health::Pfail
        } else {
            Health::Ok
        },
        handshake: has("handshake"),
        ping_ms: ping.parse().map_err(|_| error("the time of a PING in CLUSTER NODES"))?,
        pong_ms: pong.parse().map_err(|_| error("the time of a PONG in CLUSTER NODES"))?,
        epoch: epoch.parse().map_err(|_| error("the epoch of CLUSTER NODES"))?,
        connected: *link == "connected",
        slots: owned,
        open: open.into_iter().map(str::to_owned).collect(),
    })
}

/// Reads `name:value` lines, as CLUSTER INFO and INFO write them.
pub fn parse_info(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.trim_end().split_once(':')).collect()
}

impl View {
    /// Assembles a view from the lines of CLUSTER NODES and the two other answers. `number_of` says which
    /// node of ours a line is about.
    pub fn from_answers(
        lines: &[NodeLine],
        cluster_info: &str,
        info_replication: &str,
        number_of: impl Fn(&NodeLine) -> Option<NodeNo>,
    ) -> Result<Self, TopologyError> {
        let lines = || lines.iter().filter(|line| !line.handshake);
        let numbers: BTreeMap<&str, NodeNo> =
            lines().filter_map(|line| Some((line.id.as_str(), number_of(line)?))).collect();
        let mut peers = BTreeMap::new();
        let mut strangers = Vec::new();
        for line in lines() {
            let Some(&number) = numbers.get(line.id.as_str()) else {
                strangers.push(line.id.clone());
                continue;
            };
            let role = match (&line.master_id, line.master) {
                (_, true) => Role::Master,
                (Some(id), false) => {
                    numbers.get(id.as_str()).map_or(Role::ReplicaOfUnknown, |&master| Role::ReplicaOf(master))
                }
                (None, false) => Role::ReplicaOfUnknown,
            };
            peers.insert(
                number,
                Peer {
                    role,
                    health: line.health,
                    epoch: line.epoch,
                    link_connected: line.connected || line.myself,
                    slots: line.slots.clone(),
                },
            );
        }
        let info = parse_info(cluster_info);
        let number = |name: &str| {
            info.get(name).and_then(|value| value.parse::<u64>().ok()).ok_or_else(|| TopologyError {
                what: "CLUSTER INFO",
                line: format!("{name}:{}", info.get(name).unwrap_or(&"(missing)")),
            })
        };
        let small = |name: &str| number(name).map(|value| u16::try_from(value).unwrap_or(u16::MAX));
        let link_up = parse_info(info_replication).get("master_link_status").map(|status| *status == "up");
        Ok(Self {
            peers,
            strangers,
            state_ok: info.get("cluster_state") == Some(&"ok"),
            slots_assigned: small("cluster_slots_assigned")?,
            slots_ok: small("cluster_slots_ok")?,
            slots_pfail: small("cluster_slots_pfail")?,
            slots_fail: small("cluster_slots_fail")?,
            known_nodes: small("cluster_known_nodes")?,
            size: small("cluster_size")?,
            current_epoch: number("cluster_current_epoch")?,
            link_up,
        })
    }

    /// The node that owns a slot in this view.
    pub fn owner(&self, slot: u16) -> Option<NodeNo> {
        self.peers
            .iter()
            .find(|(_, peer)| peer.slots.iter().any(|&(first, last)| (first..=last).contains(&slot)))
            .map(|(&node, _)| node)
    }

    /// The replicas of a node in this view.
    pub fn replicas_of(&self, master: NodeNo) -> impl Iterator<Item = NodeNo> + '_ {
        self.peers.iter().filter(move |(_, peer)| peer.role == Role::ReplicaOf(master)).map(|(&node, _)| node)
    }

    /// What two nodes must have in common to agree: who is master with which slots and epoch, and
    /// who replicates whom. Health flags and link states are each node's own.
    pub fn essence(&self) -> BTreeMap<NodeNo, Essence<'_>> {
        self.peers
            .iter()
            .map(|(&node, peer)| {
                let epoch = (peer.role == Role::Master).then_some(peer.epoch);
                (node, (peer.role, epoch, peer.slots.as_slice()))
            })
            .collect()
    }
}
