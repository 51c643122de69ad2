//! The nodes and clients on the two sides of a network fault, as far as they are certain before a cluster exists.

use super::{Problems, Shape};
use crate::suite::{Only, Sides};
use crate::target::{Clients, Group, Member, Owner, Target};
use crate::units::{ClientNo, NodeNo, ShardNo};

/// All nodes and clients.
pub(super) struct Population<'a> {
    pub(super) shape: &'a Shape,
    pub(super) clients: u16,
}

impl Population<'_> {
    /// Adds the problems of the sides of a fault that affects `only` this traffic. `at` is the path of `between`.
    pub(super) fn check(&self, at: &str, sides: &Sides, only: Only, problems: &mut Problems) {
        let [first, second] = sides.as_slice() else {
            let message = format!(
                "a network fault has two sides, not {} (hint: `between: [shard-1/master, others]`)",
                sides.len()
            );
            return problems.add(at, message);
        };
        let mut sound = true;
        for (number, side) in [first, second].into_iter().enumerate() {
            for (index, target) in side.0.iter().enumerate() {
                if let Some(message) = self.refuse(target) {
                    sound = false;
                    problems.add(place(at, number, index, side.0.len()), message);
                }
            }
        }
        if !sound {
            return;
        }
        if let Some((number, index, message)) = misplaced_others([&first.0, &second.0]) {
            return problems.add(place(at, number, index, sides[number].0.len()), message);
        }
        if let Some((index, message)) = self.common(&first.0, &second.0) {
            return problems.add(place(at, 1, index, second.0.len()), message);
        }
        if let Some(message) = self.without_pairs([&first.0, &second.0], only) {
            problems.add(at, message);
        }
    }

    /// The reason why a target is invalid on a side; None if it is valid.
    fn refuse(&self, target: &Target) -> Option<String> {
        let last = self.clients;
        match target {
            Target::Clients(Clients::One(client)) if client.0 > last => {
                Some(format!("{client} does not exist (the workload has client-1 to client-{last})"))
            }
            Target::Clients(Clients::Half) if last < 2 => {
                Some(format!("\"{target}\" matches no client: the workload has {last} client"))
            }
            Target::Clients(_) | Target::Others => None,
            _ => self.shape.refuse(target),
        }
    }

    /// Finds a node or a client that is on both sides for all possible roles of the nodes. Returns the position of
    /// its target on the second side, and the message.
    fn common(&self, first: &[Target], second: &[Target]) -> Option<(usize, String)> {
        let shards = || self.shape.deal.shards();
        let draws_any = first.iter().chain(second).any(|target| matches!(target, Target::Member(Owner::Any, _)));
        let draws: Vec<ShardNo> = shards().take(if draws_any { usize::MAX } else { 1 }).collect();
        for shard in shards() {
            for &drawn in &draws {
                // Roles change within a shard. A node is certainly common if it is so for every possible master.
                let masters = self.shape.nodes().into_iter().filter(|node| node.shard == shard).map(|node| node.node);
                let found: Option<Vec<_>> = masters
                    .map(|master| {
                        let roles = Roles { shape: self.shape, shard, master, drawn };
                        roles.common(first, second)
                    })
                    .collect();
                if let Some((a, b, node)) = found.and_then(|found| found.first().copied()) {
                    return Some((b, both_sides(&first[a], &second[b], &node.to_string())));
                }
            }
        }
        for client in 1..=self.clients {
            let position = |targets: &[Target]| targets.iter().position(|target| self.includes_client(target, client));
            if let (Some(a), Some(b)) = (position(first), position(second)) {
                return Some((b, both_sides(&first[a], &second[b], &ClientNo(client).to_string())));
            }
        }
        None
    }

    fn includes_client(&self, target: &Target, client: u16) -> bool {
        match target {
            Target::Clients(Clients::All) => true,
            Target::Clients(Clients::Half) => client <= self.clients / 2,
            Target::Clients(Clients::One(one)) => one.0 == client,
            _ => false,
        }
    }

    /// The reason why there is no traffic of this kind between the sides; None if there is.
    fn without_pairs(&self, sides: [&[Target]; 2], only: Only) -> Option<String> {
        let others = |side: &[Target]| side == [Target::Others];
        let has_clients = |side: &[Target]| side.iter().any(|target| matches!(target, Target::Clients(_)));
        let has_nodes =
            |side: &[Target]| side.iter().any(|target| !matches!(target, Target::Clients(_) | Target::Others));
        let all_nodes = |side: &[Target]| side.contains(&Target::Group(Group::All));
        let every_client = |side: &[Target]| {
            (1..=self.clients).all(|client| side.iter().any(|target| self.includes_client(target, client)))
        };
        // Whether each side has clients, and whether it has nodes. `others` has all that the opposite side lacks.
        let [(clients_a, nodes_a), (clients_b, nodes_b)] = [(0, 1), (1, 0)].map(|(side, opposite)| {
            let (side, opposite) = (sides[side], sides[opposite]);
            if others(side) {
                (!every_client(opposite), !all_nodes(opposite))
            } else {
                (has_clients(side), has_nodes(side))
            }
        });
        if !(clients_a || nodes_a) || !(clients_b || nodes_b) {
            return Some("`others` is empty: the other side has all nodes and all clients".to_owned());
        }
        let among_nodes = nodes_a && nodes_b;
        let of_clients = (clients_a && nodes_b) || (nodes_a && clients_b);
        match only {
            Only::All if !among_nodes && !of_clients => {
                Some("both sides have only clients, and clients have no links to each other".to_owned())
            }
            Only::Clients if !of_clients => Some(
                "`only: clients` has no effect: it needs clients on one side and nodes on the other (hint: `between: [clients, shard-1/master]`)"
                    .to_owned(),
            ),
            Only::Bus | Only::Replication if !among_nodes => {
                let word = if only == Only::Bus { "bus" } else { "replication" };
                Some(format!("`only: {word}` has no effect: it is traffic between nodes, and one side has no nodes"))
            }
            _ => None,
        }
    }
}

fn place(at: &str, number: usize, index: usize, count: usize) -> String {
    if count > 1 { format!("{at}[{number}][{index}]") } else { format!("{at}[{number}]") }
}

fn both_sides(first: &Target, second: &Target, common: &str) -> String {
    let overlap = if first == second {
        format!("\"{first}\" is on both sides")
    } else {
        format!("\"{first}\" and \"{second}\" both include {common}")
    };
    format!("{overlap} (hint: the two sides of a network fault cannot overlap)")
}

/// Finds an `others` that is not alone on its side, or is on both sides.
fn misplaced_others(sides: [&[Target]; 2]) -> Option<(usize, usize, String)> {
    let place = |side: &[Target]| side.iter().position(|target| *target == Target::Others);
    let (number, index) = match sides.map(place) {
        [None, None] => return None,
        [Some(_), Some(index)] => {
            return Some((1, index, "`others` is on both sides (hint: name the targets of one side)".to_owned()));
        }
        [Some(index), None] => (0, index),
        [None, Some(index)] => (1, index),
    };
    let message = "`others` includes all nodes and clients that are not on the other side (hint: remove the other targets of this side)";
    (sides[number].len() > 1).then(|| (number, index, message.to_owned()))
}

/// Assumed roles of one shard: `master` is its master, and `any` means `drawn`.
struct Roles<'a> {
    shape: &'a Shape,
    shard: ShardNo,
    master: NodeNo,
    drawn: ShardNo,
}

impl Roles<'_> {
    /// The positions of the first two targets, one of each side, that include the same node of the shard, and the node.
    fn common(&self, first: &[Target], second: &[Target]) -> Option<(usize, usize, NodeNo)> {
        for (a, one) in first.iter().enumerate() {
            let members = self.members(one);
            for (b, other) in second.iter().enumerate() {
                if let Some(node) = self.members(other).into_iter().find(|node| members.contains(node)) {
                    return Some((a, b, node));
                }
            }
        }
        None
    }

    /// The nodes of the shard that a target includes.
    fn members(&self, target: &Target) -> Vec<NodeNo> {
        let replicas = || self.nodes().filter(|&node| node != self.master).collect::<Vec<_>>();
        match target {
            Target::Node(node) => self.nodes().filter(|each| each == node).collect(),
            Target::Clients(_) | Target::Others => Vec::new(),
            Target::Member(owner, member) => {
                if owner.shard(&self.shape.deal).unwrap_or(self.drawn) != self.shard {
                    return Vec::new();
                }
                match member {
                    Member::Master => vec![self.master],
                    Member::Replica => replicas().into_iter().take(1).collect(),
                    Member::Replicas => replicas(),
                    Member::Every => self.nodes().collect(),
                    // Refused before.
                    Member::Down | Member::Paused => Vec::new(),
                }
            }
            Target::Group(group) => {
                let in_minority = self.shard.0 <= (self.shape.deal.count() - 1) / 2;
                match group {
                    Group::Masters => vec![self.master],
                    Group::Replicas => replicas(),
                    Group::Minority if in_minority => vec![self.master],
                    Group::Minority => Vec::new(),
                    Group::Majority if in_minority => replicas(),
                    Group::All | Group::Majority => self.nodes().collect(),
                }
            }
        }
    }

    fn nodes(&self) -> impl Iterator<Item = NodeNo> {
        self.shape.nodes().into_iter().filter(|node| node.shard == self.shard).map(|node| node.node)
    }
}
