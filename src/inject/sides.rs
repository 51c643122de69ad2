//! Resolves a network fault to its sides, its directed pairs and the nodes that it affects.
//! Pure: the result depends only on a snapshot of the cluster.

use std::collections::BTreeSet;

use super::resolve;
use crate::cluster::watch::Snapshot;
use crate::history::Side;
use crate::network::shape::{self, Pairs};
use crate::slot::Deal;
use crate::suite::{Only, Shape, Sides};
use crate::target::{Clients, Target, Targets};
use crate::units::{ClientNo, NodeNo};

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Party {
    /// A node of the cluster.
    Node(NodeNo),
    /// A client of the workload.
    Client(ClientNo),
}

/// The cluster and the clients that a network fault splits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole<'s> {
    /// The latest snapshot of the cluster.
    pub now: &'s Snapshot,
    /// The number of nodes.
    pub nodes: usize,
    /// The assignment of slots to shards.
    pub deal: &'s Deal,
    /// The number of clients.
    pub clients: u16,
}

/// A network fault's sides, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Split {
    /// The nodes and clients of each side. A ring has no sides; a bridge node is on neither side.
    pub sides: Vec<Side>,
    /// The directed pairs whose packets are affected. Clients have no links to each other.
    pub pairs: Pairs<Party>,
    /// The nodes that it cuts off or hinders.
    pub hits: Vec<NodeNo>,
}

impl Whole<'_> {
    /// Resolves the two sides that a suite names. The error says why they are invalid.
    pub fn between(&self, sides: &Sides, one_way: bool, only: Only) -> Result<Split, String> {
        let [first, second] = sides.as_slice() else {
            return Err(format!("a network fault has two sides, not {}", sides.len()));
        };
        let others = |targets: &Targets| targets.0.contains(&Target::Others);
        let (first, second) = match (others(first), others(second)) {
            (true, true) => return Err("`others` is on both sides (hint: name the nodes of one side)".to_owned()),
            (false, false) => (self.side(first, None)?, self.side(second, None)?),
            (false, true) => {
                let first = self.side(first, None)?;
                let second = self.side(second, Some(&first))?;
                (first, second)
            }
            (true, false) => {
                let second = self.side(second, None)?;
                (self.side(first, Some(&second))?, second)
            }
        };
        if let Some(twice) = first.iter().find(|party| second.contains(party)) {
            let who = match twice {
                Party::Node(node) => node.to_string(),
                Party::Client(client) => client.to_string(),
            };
            return Err(format!("[{}] and [{}] both mean {who} at this moment", sides[0], sides[1]));
        }
        let mut pairs = shape::between(&first, &second, one_way);
        pairs.retain(|pair| !matches!(pair, (Party::Client(_), Party::Client(_))));
        let sides = vec![side(&first), side(&second)];
        let hits = self.hits(&sides, only);
        Ok(Split { sides, pairs, hits })
    }

    /// A shape among all nodes, in the order of [`Whole::in_order`].
    pub fn shape(&self, wanted: Shape) -> Result<Split, String> {
        let shards = self.by_shard()?;
        let parties = |nodes: &[NodeNo]| nodes.iter().copied().map(Party::Node).collect::<Vec<_>>();
        let sides_of = |nodes: &[NodeNo]| {
            let (first, second) = nodes.split_at(nodes.len() / 2);
            vec![side(&parties(first)), side(&parties(second))]
        };
        let all: Vec<NodeNo> = (0..self.nodes).map(NodeNo::from_index).collect();
        Ok(match wanted {
            Shape::Halves => {
                let nodes = self.in_order(&shards, None);
                let sides = sides_of(&nodes);
                let hits = self.hits(&sides, Only::All);
                Split { sides, pairs: shape::halves(&parties(&nodes)), hits }
            }
            Shape::Bridge => {
                let bridge = shards[0].0;
                let others = self.in_order(&shards, Some(bridge));
                let nodes: Vec<NodeNo> = std::iter::once(bridge).chain(others.iter().copied()).collect();
                let hits = all.into_iter().filter(|&node| node != bridge).collect();
                Split { sides: sides_of(&others), pairs: shape::bridge(&parties(&nodes)), hits }
            }
            Shape::Ring => {
                let nodes = parties(&self.in_order(&shards, None));
                let pairs = shape::ring(&nodes).ok_or("a ring needs three nodes")?;
                Split { sides: Vec::new(), pairs, hits: all }
            }
        })
    }

    /// Returns the parties that the targets mean, in order. `others` means every party that is not on `opposite`.
    fn side(&self, targets: &Targets, opposite: Option<&[Party]>) -> Result<Vec<Party>, String> {
        let clients = || (1..=self.clients).map(ClientNo);
        let mut parties: Vec<Party> = Vec::new();
        for target in &targets.0 {
            let meant: Vec<Party> = match target {
                Target::Clients(Clients::All) => clients().map(Party::Client).collect(),
                Target::Clients(Clients::Half) => {
                    clients().take(usize::from(self.clients / 2)).map(Party::Client).collect()
                }
                Target::Clients(Clients::One(client)) => {
                    clients().filter(|each| each == client).map(Party::Client).collect()
                }
                Target::Others => {
                    let nodes = (0..self.nodes).map(NodeNo::from_index).map(Party::Node);
                    let everybody = nodes.chain(clients().map(Party::Client));
                    everybody.filter(|party| opposite.is_some_and(|taken| !taken.contains(party))).collect()
                }
                _ => resolve(target, self.now, self.nodes, self.deal)?.into_iter().map(Party::Node).collect(),
            };
            if meant.is_empty() {
                return Err(format!("`{target}` means no node or client on its side of a network fault"));
            }
            parties.extend(meant);
        }
        let mut known = BTreeSet::new();
        parties.retain(|&party| known.insert(party));
        Ok(parties)
    }

    /// Of two sides the one without a majority of the masters, or both where neither has one; where
    /// clients stand alone on a side, or only their traffic is meant, the nodes that they face.
    fn hits(&self, sides: &[Side], only: Only) -> Vec<NodeNo> {
        let shards = self.deal.shards();
        let masters: BTreeSet<NodeNo> = shards.filter_map(|shard| self.now.master(shard, self.deal)).collect();
        let is_majority =
            |side: &Side| side.nodes.iter().filter(|node| masters.contains(node)).count() > masters.len() / 2;
        let faces_clients = |position: usize| {
            let mut opposite = sides.iter().enumerate().filter(|(other, _)| *other != position).map(|(_, side)| side);
            opposite.any(|side| !side.clients.is_empty())
        };
        let clients_alone = sides.iter().any(|side| side.nodes.is_empty());
        let hit = sides.iter().enumerate().filter(|(position, side)| {
            if only == Only::Clients || clients_alone { faces_clients(*position) } else { !is_majority(side) }
        });
        hit.flat_map(|(_, side)| side.nodes.iter().copied()).collect()
    }

    /// The master of each shard, and its replicas.
    fn by_shard(&self) -> Result<Vec<(NodeNo, Vec<NodeNo>)>, String> {
        let master =
            |shard| self.now.master(shard, self.deal).ok_or_else(|| format!("no node owns {shard} in any view"));
        self.deal.shards().map(|shard| master(shard).map(|master| (master, self.now.replicas(master)))).collect()
    }

    /// Returns the order of nodes for a shape: the lower half of the masters with the replicas
    /// of the upper half's shards, then the upper half with the replicas of the lower half's shards.
    /// So halves part most masters from their replicas, and of three masters one from the two
    /// others: {1, 5, 6} and {2, 3, 4}. `without` is the node that bridges.
    fn in_order(&self, shards: &[(NodeNo, Vec<NodeNo>)], without: Option<NodeNo>) -> Vec<NodeNo> {
        let (bridged, shards): (Vec<_>, Vec<_>) = shards.iter().partition(|(master, _)| Some(*master) == without);
        let (lower, upper) = shards.split_at(shards.len() / 2);
        let masters = |half: &[&(NodeNo, Vec<NodeNo>)]| half.iter().map(|shard| shard.0).collect::<Vec<_>>();
        let replicas =
            |half: &[&(NodeNo, Vec<NodeNo>)]| half.iter().flat_map(|shard| shard.1.clone()).collect::<Vec<_>>();
        let mut nodes = [masters(lower), replicas(upper), masters(upper), replicas(lower), replicas(&bridged)].concat();
        // Nodes that are neither a master nor a replica now come last.
        let rest =
            (0..self.nodes).map(NodeNo::from_index).filter(|node| !nodes.contains(node) && Some(*node) != without);
        let rest: Vec<NodeNo> = rest.collect();
        nodes.extend(rest);
        nodes
    }
}

fn side(parties: &[Party]) -> Side {
    let mut side = Side { nodes: Vec::new(), clients: Vec::new() };
    for party in parties {
        match party {
            Party::Node(node) => side.nodes.push(*node),
            Party::Client(client) => side.clients.push(*client),
        }
    }
    side
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::fixture::healthy;

    /// As many shards with one replica each, all well, as every node sees them.
    fn cluster(shards: u16) -> Snapshot {
        let view = healthy(shards);
        let mut snapshot = Snapshot::default();
        snapshot.views.extend((1..=2 * shards).map(|node| (NodeNo(node), Arc::new(view.clone()))));
        snapshot
    }

    fn whole<'s>(now: &'s Snapshot, deal: &'s Deal) -> Whole<'s> {
        Whole { now, nodes: usize::from(2 * deal.count()), deal, clients: 5 }
    }

    fn sides(words: [&str; 2]) -> Sides {
        words.map(|words| Targets(words.split(' ').map(|word| word.parse().unwrap()).collect())).to_vec()
    }

    fn members(side: &Side) -> String {
        let nodes = side.nodes.iter().map(|node| node.0.to_string());
        let clients = side.clients.iter().map(|client| format!("c{}", client.0));
        nodes.chain(clients).collect::<Vec<_>>().join(" ")
    }

    fn numbers(nodes: &[NodeNo]) -> Vec<u16> {
        nodes.iter().map(|node| node.0).collect()
    }

    #[test]
    fn resolves_sides_and_affects_the_minority() {
        let now = cluster(3);
        for (words, only, first, second, hits) in [
            (["shard-1/master half-clients", "others"], Only::All, "1 c1 c2", "2 3 4 5 6 c3 c4 c5", vec![1]),
            (["others", "shard-1/master client-3"], Only::All, "2 3 4 5 6 c1 c2 c4 c5", "1 c3", vec![1]),
            (["minority", "majority"], Only::Bus, "1", "2 3 4 5 6", vec![1]),
            (["node-1 node-2 node-4", "node-3 node-5 node-6"], Only::All, "1 2 4", "3 5 6", vec![3, 5, 6]),
            (["node-1 node-4", "node-2"], Only::All, "1 4", "2", vec![1, 4, 2]),
            (["shard-1/master", "shard-1/replica shard-1/replicas"], Only::Replication, "1", "4", vec![1, 4]),
            (["clients", "masters"], Only::All, "c1 c2 c3 c4 c5", "1 2 3", vec![1, 2, 3]),
            (["clients node-5", "masters node-4"], Only::Clients, "5 c1 c2 c3 c4 c5", "1 2 3 4", vec![1, 2, 3, 4]),
            (["clients node-5", "masters node-4"], Only::All, "5 c1 c2 c3 c4 c5", "1 2 3 4", vec![5]),
        ] {
            let split = whole(&now, &Deal::even(3)).between(&sides(words), false, only).unwrap();
            let seen = (members(&split.sides[0]), members(&split.sides[1]), numbers(&split.hits));
            assert_eq!(seen, (first.to_owned(), second.to_owned(), hits), "{words:?}");
        }
    }

    #[test]
    fn pairs_cross_sides_but_never_join_clients() {
        let now = cluster(3);
        let (one, two) = (Party::Node(NodeNo(1)), Party::Node(NodeNo(2)));
        let client = |number| Party::Client(ClientNo(number));
        let wanted = sides(["node-1 client-1", "node-2 client-2"]);
        let split = whole(&now, &Deal::even(3)).between(&wanted, true, Only::All).unwrap();
        assert_eq!(split.pairs, [(one, two), (one, client(2)), (client(1), two)].into());
        assert_eq!(whole(&now, &Deal::even(3)).between(&wanted, false, Only::All).unwrap().pairs.len(), 6);
    }

    #[test]
    fn rejects_invalid_sides() {
        let now = cluster(3);
        for (words, expected) in [
            (["node-1", "shard-1"], "[node-1] and [shard-1] both mean node-1 at this moment"),
            (["clients", "client-2 node-1"], "[clients] and [client-2, node-1] both mean client-2 at this moment"),
            (["others", "others"], "`others` is on both sides"),
            (["client-6", "others"], "`client-6` means no node or client"),
            (["all clients", "others"], "`others` means no node or client"),
        ] {
            let error = whole(&now, &Deal::even(3)).between(&sides(words), false, Only::All).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        let deal = Deal::even(3);
        let lonely = Whole { clients: 1, ..whole(&now, &deal) };
        let error = lonely.between(&sides(["half-clients", "all"]), false, Only::All).unwrap_err();
        assert!(error.starts_with("`half-clients` means no node or client"), "{error}");
        assert!(lonely.between(&sides(["all", "clients"])[..1].to_vec(), false, Only::All).is_err());
    }

    #[test]
    fn shapes_separate_masters_from_replicas() {
        for (shards, shape, expected, hits) in [
            (3, Shape::Halves, vec!["1 5 6", "2 3 4"], vec![1, 5, 6]),
            (4, Shape::Halves, vec!["1 2 7 8", "3 4 5 6"], vec![1, 2, 7, 8, 3, 4, 5, 6]),
            (5, Shape::Halves, vec!["1 2 8 9 10", "3 4 5 6 7"], vec![1, 2, 8, 9, 10]),
            (3, Shape::Bridge, vec!["2 6", "3 5 4"], vec![2, 3, 4, 5, 6]),
            (3, Shape::Ring, vec![], vec![1, 2, 3, 4, 5, 6]),
        ] {
            let now = cluster(shards);
            let split = whole(&now, &Deal::even(shards)).shape(shape).unwrap();
            assert_eq!(split.sides.iter().map(members).collect::<Vec<_>>(), expected, "{shape:?}");
            assert_eq!(numbers(&split.hits), hits, "{shape:?}");
        }
        let now = cluster(3);
        let node = |number| Party::Node(NodeNo(number));
        let ring = whole(&now, &Deal::even(3)).shape(Shape::Ring).unwrap().pairs;
        let apart = [(1, 2), (2, 1), (5, 3), (3, 5), (6, 4), (4, 6)].map(|(from, to)| (node(from), node(to)));
        assert_eq!(ring, apart.into());
        assert!(
            whole(&now, &Deal::even(3))
                .shape(Shape::Bridge)
                .unwrap()
                .pairs
                .iter()
                .all(|&(from, to)| from != node(1) && to != node(1))
        );
    }
}
