//! A client's slot table.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::slot::SLOTS;
use crate::topology::{Health, Role, parse_nodes};
use crate::units::NodeNo;

/// The owner of each slot and the replicas of each master, as one client knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    owners: Vec<Option<NodeNo>>,
    replicas: BTreeMap<NodeNo, Vec<NodeNo>>,
    places: BTreeMap<NodeNo, SocketAddr>,
}

impl Table {
    /// A table without owners.
    pub fn empty() -> Self {
        Self { owners: vec![None; usize::from(SLOTS)], replicas: BTreeMap::new(), places: BTreeMap::new() }
    }

    /// The owner of a slot.
    pub fn owner(&self, slot: u16) -> Option<NodeNo> {
        self.owners[usize::from(slot)]
    }

    /// The replicas of a master that no node has flagged as failed.
    pub fn replicas(&self, master: NodeNo) -> &[NodeNo] {
        self.replicas.get(&master).map_or(&[], Vec::as_slice)
    }

    /// Where nodes are: a node that answered where it says itself, any other where the node that heard of it last has it. A
    /// server calls a node connected even while it only tries to connect.
    pub fn places(&self) -> impl Iterator<Item = (NodeNo, SocketAddr)> + '_ {
        self.places.iter().map(|(&node, &addr)| (node, addr))
    }

    /// Records the new owner of a slot from a MOVED reply.
    pub fn moved(&mut self, slot: u16, owner: NodeNo) {
        self.owners[usize::from(slot)] = Some(owner);
    }

    /// Builds a table from the CLUSTER NODES replies of several nodes. Where they differ about a slot, the claim
    /// with the highest configEpoch wins, as it does among the nodes themselves.
    pub fn from_answers<'a>(
        answers: impl IntoIterator<Item = (NodeNo, &'a str)>,
        number_of: impl Fn(SocketAddr) -> Option<NodeNo>,
    ) -> Option<Self> {
        let mut table = Self::empty();
        // Usually all nodes claim the same, so the slots are filled once and not once a node.
        let mut claims: Vec<(u64, NodeNo, (u16, u16))> = Vec::new();
        // By id, since a node that lost its id is two to those that have not forgotten the first.
        let mut roles: BTreeMap<String, (u64, Role, Health, NodeNo)> = BTreeMap::new();
        let mut places: BTreeMap<NodeNo, (u64, SocketAddr)> = BTreeMap::new();
        let mut read_any = false;
        for (answered_by, text) in answers {
            let Ok(lines) = parse_nodes(text) else { continue };
            read_any = true;
            let number = |line: &crate::topology::NodeLine| {
                if line.myself { Some(answered_by) } else { line.addr.and_then(&number_of) }
            };
            let ids: BTreeMap<&str, NodeNo> =
                lines.iter().filter_map(|line| Some((line.id.as_str(), number(line)?))).collect();
            for line in &lines {
                let Some(&node) = ids.get(line.id.as_str()) else { continue };
                let master = line.master_id.as_deref().and_then(|id| ids.get(id));
                let role = master.map_or(Role::Master, |&master| Role::ReplicaOf(master));
                let newest = roles.entry(line.id.clone()).or_insert((line.epoch, role, line.health, node));
                if line.epoch > newest.0 || (line.epoch == newest.0 && line.health > newest.2) {
                    *newest = (line.epoch, role, line.health, node);
                }
                if let Some(addr) = line.addr.filter(|_| line.myself || line.connected) {
                    let heard = if line.myself { u64::MAX } else { line.pong_ms };
                    let (latest, place) = places.entry(node).or_insert((heard, addr));
                    if heard > *latest {
                        (*latest, *place) = (heard, addr);
                    }
                }
                for &range in &line.slots {
                    let claim = (line.epoch, node, range);
                    if !claims.contains(&claim) {
                        claims.push(claim);
                    }
                }
            }
        }
        // The highest epoch is written last; of equal ones, the first.
        claims.reverse();
        claims.sort_by_key(|&(epoch, ..)| epoch);
        for (_, node, (first, last)) in claims {
            if let Some(owners) = table.owners.get_mut(usize::from(first)..=usize::from(last)) {
                owners.fill(Some(node));
            }
        }
        for (_, role, health, node) in roles.into_values() {
            if let (Role::ReplicaOf(master), true) = (role, health != Health::Fail) {
                table.replicas.entry(master).or_default().push(node);
            }
        }
        table.places = places.into_iter().map(|(node, (_, addr))| (node, addr)).collect();
        read_any.then_some(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(node: u16) -> String {
        format!("{node:040x}")
    }

    /// The CLUSTER NODES reply of the node `by`; a line is (node, flags, master or 0, epoch, slots).
    fn answer(by: u16, lines: &[(u16, &str, u16, u64, &str)]) -> String {
        let line = |&(node, flags, master, epoch, slots): &(u16, &str, u16, u64, &str)| {
            let master = if master == 0 { "-".to_owned() } else { id(master) };
            let myself = if node == by { "myself," } else { "" };
            format!("{} 127.1.0.{node}:6379@16379 {myself}{flags} {master} 0 0 {epoch} connected {slots}", id(node))
        };
        lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn number(addr: SocketAddr) -> Option<NodeNo> {
        match addr.ip() {
            std::net::IpAddr::V4(ip) => Some(NodeNo(u16::from(ip.octets()[3]))),
            std::net::IpAddr::V6(_) => None,
        }
    }

    #[test]
    fn the_highest_epoch_wins() {
        let stale = answer(1, &[(1, "master", 0, 1, "0-5460"), (4, "slave", 1, 1, "")]);
        let fresh = answer(4, &[(1, "master,fail", 0, 1, ""), (4, "master", 0, 7, "0-5460")]);
        for answers in [[(NodeNo(1), &*stale), (NodeNo(4), &*fresh)], [(NodeNo(4), &*fresh), (NodeNo(1), &*stale)]] {
            let table = Table::from_answers(answers, number).unwrap();
            assert_eq!(table.owner(100), Some(NodeNo(4)));
            assert_eq!(table.replicas(NodeNo(1)), []);
        }
        let alone = Table::from_answers([(NodeNo(1), &*stale)], number).unwrap();
        assert_eq!((alone.owner(100), alone.replicas(NodeNo(1))), (Some(NodeNo(1)), &[NodeNo(4)][..]));
        assert_eq!(alone.owner(6000), None);
    }

    #[test]
    fn leaves_out_a_failed_replica() {
        let one = answer(1, &[(1, "master", 0, 1, "0-16383"), (4, "slave", 1, 1, "")]);
        let other = answer(2, &[(1, "master", 0, 1, "0-16383"), (4, "slave,fail", 1, 1, "")]);
        let table = Table::from_answers([(NodeNo(1), &*one), (NodeNo(2), &*other)], number).unwrap();
        assert_eq!(table.replicas(NodeNo(1)), []);
    }

    #[test]
    fn a_node_is_where_it_says_or_where_somebody_is_connected_to_it() {
        // Whoever knows the new address has heard of the node since.
        let moved = |text: &str| text.replace("127.1.0.1:", "127.1.0.7:").replace("- 0 0 1", "- 0 99 1");
        let number = |addr: SocketAddr| match addr.ip() {
            std::net::IpAddr::V4(ip) if ip.octets()[3] == 7 => Some(NodeNo(1)),
            _ => number(addr),
        };
        let place = |answers: &[(u16, &str)]| {
            let answers = answers.iter().map(|&(by, text)| (NodeNo(by), text));
            let table = Table::from_answers(answers, number).unwrap();
            table.places().find(|(node, _)| *node == NodeNo(1)).map(|(_, addr)| addr.to_string())
        };
        let lines = [(1, "master", 0, 1, "0-16383"), (2, "master", 0, 2, ""), (3, "master", 0, 3, "")];
        let by = |node| answer(node, &lines);
        // Only the line of node-1, so that node-2 stays connected.
        let cut_off = |text: &str| text.replacen("connected", "disconnected", 1);
        let (old, new) = (Some("127.1.0.1:6379".to_owned()), Some("127.1.0.7:6379".to_owned()));
        assert_eq!(place(&[(2, &by(2))]), old);
        assert_eq!(place(&[(2, &by(2)), (3, &moved(&by(3)))]), new);
        assert_eq!(place(&[(3, &moved(&by(3))), (2, &by(2))]), new);
        assert_eq!(place(&[(1, &moved(&by(1))), (2, &by(2))]), new);
        assert_eq!(place(&[(2, &by(2)), (1, &moved(&by(1)))]), new);
        assert_eq!(place(&[(2, &cut_off(&by(2)))]), None, "what the client knew stays");
    }

    #[test]
    fn a_replica_that_came_back_as_another_node_serves_beside_what_it_was() {
        let former = answer(1, &[(1, "master", 0, 1, "0-16383"), (4, "slave,fail", 1, 1, "")]);
        let now = former.lines().nth(1).unwrap().replace(&id(4), &"f".repeat(40)).replace(",fail", "");
        let table = Table::from_answers([(NodeNo(1), &*format!("{former}\n{now}"))], number).unwrap();
        assert_eq!(table.replicas(NodeNo(1)), [NodeNo(4)]);
    }

    #[test]
    fn unreadable_answers_give_no_table() {
        assert_eq!(Table::from_answers([(NodeNo(1), "ERR unknown")], number), None);
        assert_eq!(Table::from_answers([], number), None);
    }
}
