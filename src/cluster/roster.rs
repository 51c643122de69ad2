//! Who is who: the addresses and ids that the nodes of a run have, and those that they had. A node keeps its number when
//! it comes back at another address or as another node of the cluster.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::RwLock;

use crate::topology::NodeLine;
use crate::units::NodeNo;

/// The two addresses of a node. They are equal unless addresses are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The address to connect to.
    pub reached: SocketAddr,
    /// The address in CLUSTER NODES and redirections.
    pub announced: SocketAddr,
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self { reached: addr, announced: addr }
    }
}

/// The addresses and ids of all nodes, now and before.
#[derive(Debug)]
pub struct Roster(RwLock<Entries>);

#[derive(Debug)]
struct Entries {
    now: Vec<Entry>,
    /// Every address that a node has or had. No two nodes of a run ever have the same one.
    places: HashMap<SocketAddr, (NodeNo, Endpoint)>,
    former_ids: HashSet<String>,
}

#[derive(Debug)]
struct Entry {
    endpoint: Endpoint,
    /// None until the cluster is formed.
    id: Option<String>,
    former_id: Option<String>,
}

impl Roster {
    /// The nodes at these endpoints, numbered from 1.
    pub fn new(nodes: impl IntoIterator<Item = Endpoint>) -> Self {
        let now: Vec<Entry> = nodes.into_iter().map(|endpoint| Entry { endpoint, id: None, former_id: None }).collect();
        let place =
            |(index, entry): (usize, &Entry)| (entry.endpoint.announced, (NodeNo::from_index(index), entry.endpoint));
        let places = now.iter().enumerate().map(place).collect();
        Self(RwLock::new(Entries { now, places, former_ids: HashSet::new() }))
    }

    /// From now on the node is there.
    pub fn moved(&self, node: NodeNo, to: Endpoint) {
        let mut entries = self.0.write().expect("no holder panics");
        entries.now[node.index()].endpoint = to;
        entries.places.insert(to.announced, (node, to));
    }

    /// From now on the node has this id. Returns the one that it had, if that was another.
    pub fn identified(&self, node: NodeNo, id: &str) -> Option<String> {
        let mut entries = self.0.write().expect("no holder panics");
        let entry = &mut entries.now[node.index()];
        let former = entry.id.replace(id.to_owned()).filter(|former| former != id)?;
        entry.former_id = Some(former.clone());
        entries.former_ids.insert(former.clone());
        Some(former)
    }

    /// Where each node is, in the order of their numbers.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.0.read().expect("no holder panics").now.iter().map(|entry| entry.endpoint).collect()
    }

    /// The id of a node; None before the cluster is formed.
    pub fn id(&self, node: NodeNo) -> Option<String> {
        self.0.read().expect("no holder panics").now[node.index()].id.clone()
    }

    /// The id that a node had before its present one; None if it had no other.
    pub fn former_id(&self, node: NodeNo) -> Option<String> {
        self.0.read().expect("no holder panics").now[node.index()].former_id.clone()
    }

    /// The node that has, or had, this address in CLUSTER NODES, MOVED and ASK, and how it was reached there.
    pub fn whose(&self, announced: SocketAddr) -> Option<(NodeNo, Endpoint)> {
        self.0.read().expect("no holder panics").places.get(&announced).copied()
    }

    /// The node that a line of CLUSTER NODES is about. None for one that is not of the run, and for what a node was
    /// before it lost `nodes.conf`.
    pub fn number_of(&self, line: &NodeLine) -> Option<NodeNo> {
        let entries = self.0.read().expect("no holder panics");
        let (node, _) = entries.places.get(&line.addr?)?;
        (!entries.former_ids.contains(&line.id)).then_some(*node)
    }

    /// The address that a line of CLUSTER NODES states for its node, if the node has left it.
    pub fn left_by(&self, line: &NodeLine) -> Option<SocketAddr> {
        let addr = line.addr?;
        let entries = self.0.read().expect("no holder panics");
        let (node, _) = entries.places.get(&addr)?;
        (entries.now[node.index()].endpoint.announced != addr).then_some(addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::parse_nodes;

    fn at(last: u8) -> SocketAddr {
        ([127, 1, 0, last], 6379).into()
    }

    fn line(id: &str, last: u8) -> NodeLine {
        let text = format!("{id} 127.1.0.{last}:6379@16379 slave - 0 0 1 connected");
        parse_nodes(&text).expect("a line").remove(0)
    }

    #[test]
    fn a_node_that_moves_is_known_by_both_addresses_and_left_the_first() {
        let roster = Roster::new([at(1).into(), at(2).into()]);
        assert_eq!(roster.left_by(&line("a", 1)), None);
        roster.moved(NodeNo(1), at(3).into());
        for last in [1, 3] {
            assert_eq!(roster.number_of(&line("a", last)), Some(NodeNo(1)), "at {last}");
        }
        assert_eq!(roster.left_by(&line("a", 1)), Some(at(1)));
        assert_eq!(roster.left_by(&line("a", 3)), None);
        assert_eq!(roster.whose(at(1)), Some((NodeNo(1), at(1).into())), "a client connects to the address it is told");
        assert_eq!(roster.endpoints(), [at(3).into(), at(2).into()]);
        assert_eq!(roster.number_of(&line("a", 9)), None);
    }

    #[test]
    fn what_a_node_was_before_it_lost_its_id_is_a_stranger() {
        let roster = Roster::new([at(1).into()]);
        assert_eq!((roster.identified(NodeNo(1), "a"), roster.identified(NodeNo(1), "a")), (None, None));
        assert_eq!(roster.identified(NodeNo(1), "b"), Some("a".to_owned()));
        assert_eq!((roster.id(NodeNo(1)), roster.former_id(NodeNo(1))), (Some("b".into()), Some("a".into())));
        assert_eq!(roster.number_of(&line("a", 1)), None);
        assert_eq!(roster.number_of(&line("b", 1)), Some(NodeNo(1)));
    }
}
