//! A node's view of the cluster: its answers to CLUSTER NODES, CLUSTER INFO and INFO replication,
//! parsed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::NodeNo;

/// The state of the cluster as one node reports it at one moment. It omits values that change without a change of
/// this state, such as ping times and offsets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct View {
    /// The known nodes by number, including the node itself.
    pub peers: BTreeMap<NodeNo, Peer>,
    /// The ids of known nodes that are not nodes of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strangers: Vec<String>,
    /// Whether `cluster_state` is `ok`.
    pub state_ok: bool,
    /// The field `cluster_slots_assigned`.
    pub slots_assigned: u16,
    /// The field `cluster_slots_ok`.
    pub slots_ok: u16,
    /// The field `cluster_slots_pfail`.
    pub slots_pfail: u16,
    /// The field `cluster_slots_fail`.
    pub slots_fail: u16,
    /// The field `cluster_known_nodes`.
    pub known_nodes: u16,
    /// The field `cluster_size`: the number of masters with slots.
    pub size: u16,
    /// The field `cluster_current_epoch`.
    pub current_epoch: u64,
    /// Whether `master_link_status` of a replica is `up` (INFO replication); None for a master.
    pub link_up: Option<bool>,
}

/// One line of CLUSTER NODES.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Peer {
    /// The role of the node.
    pub role: Role,
    /// The health flag of the node.
    pub health: Health,
    /// The configEpoch. The line of a replica shows the epoch of its master.
    pub epoch: u64,
    /// Whether the cluster bus link to the node is connected; true for the reporting node itself.
    pub link_connected: bool,
    /// The address that the reporting node has for it, if the node has left that one; None if it is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_addr: Option<SocketAddr>,
    /// The slots that the node owns, as ranges of first and last slot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<(u16, u16)>,
}

/// The role of a node: master, or replica of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A master, with or without slots.
    Master,
    /// A replica of this node.
    ReplicaOf(NodeNo),
    /// A replica whose master is not a node of the run or is unknown to the reporting node (`-`).
    ReplicaOfUnknown,
}

/// The state of a node in the failure detector of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// No flag.
    Ok,
    /// `fail?` (PFAIL): the reporting node suspects it.
    Pfail,
    /// `fail` (FAIL): a majority of masters suspects it.
    Fail,
}

/// One line of CLUSTER NODES, as [`parse_nodes`] reads it. Nodes have the server's ids.
#[allow(clippy::struct_excessive_bools, reason = "they are the flags of the line")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLine {
    /// The id of the node: 40 hexadecimal digits.
    pub id: String,
    /// The client address of the node; None while it is unknown.
    pub addr: Option<SocketAddr>,
    /// The cluster bus port of the node; 0 while it is unknown.
    pub bus_port: u16,
    /// Whether this is the node that replied.
    pub myself: bool,
    /// Whether the node has the flag `master`.
    pub master: bool,
    /// The id of the master of a replica.
    pub master_id: Option<String>,
    /// The flag `fail?` or `fail`, or neither.
    pub health: Health,
    /// Whether the node is in the handshake. Its id is then a placeholder that no command accepts.
    pub handshake: bool,
    /// When the pending PING to the node was sent, in milliseconds since 1970 by the wall clock of the node that
    /// replied; 0 if no PING is pending.
    pub ping_ms: u64,
    /// When the last PONG of the node was received, by the same clock; 0 if none was.
    pub pong_ms: u64,
    /// The configEpoch.
    pub epoch: u64,
    /// Whether the cluster bus link to the node is `connected`.
    pub connected: bool,
    /// The slots that the node owns, including the slots that it is migrating.
    pub slots: Vec<(u16, u16)>,
    /// The slots that the node is migrating or importing, as the server writes them: `[93->-ID]`, `[93-<-ID]`. A
    /// node reports only its own.
    pub open: Vec<String>,
}

impl Peer {
    /// The properties on which all nodes must agree: the role, the epoch of a master, the slots.
    pub fn essence(&self) -> (Role, Option<u64>, &[(u16, u16)]) {
        (self.role, (self.role == Role::Master).then_some(self.epoch), &self.slots)
    }
}

/// A reply of a server that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {what}: `{line}`")]
pub struct TopologyError {
    what: &'static str,
    line: String,
}

/// Reads the reply to CLUSTER NODES (all versions: `id ip:port@cport[,hostname[,aux...]] flags
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
        // An IPv6 address has no brackets.
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

/// Reads the `name:value` lines of CLUSTER INFO and INFO.
pub fn parse_info(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.trim_end().split_once(':')).collect()
}

impl View {
    /// Builds a view from the lines of CLUSTER NODES and the two other replies. `number_of` returns the number of the
    /// node of a line, or None if it is not a node of the run.
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
                    left_addr: None,
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

    /// Whether two nodes know the same nodes and agree on them: on the masters with their slots and epochs, and on the
    /// replicas with their masters. Health flags and link states may differ.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let same = |((one, peer), (node, line)): ((&NodeNo, &Peer), (&NodeNo, &Peer))| {
            one == node && peer.essence() == line.essence()
        };
        self.peers.len() == other.peers.len() && self.peers.iter().zip(&other.peers).all(same)
    }
}
