//! The operations of a history by key, and who answered the reads.

use std::collections::{BTreeMap, HashMap};

use super::ownership::own_line;
use super::{KeyShards, Reign, Reigns, Seen, Views, Window};
use crate::consistency::{Effect, Kind, Operation, Register};
use crate::history::{FinalValue, History, Op, Outcome, kind_of};
use crate::suite::OpKind;
use crate::topology::Role;
use crate::units::{ClientNo, NodeNo, ShardNo};

/// The final value of each key, and the node that returned it.
pub(super) type Finals<'a> = HashMap<u32, (Option<NodeNo>, &'a FinalValue)>;

/// Every key that an operation was for, with the writes that were sent and the reads that were served.
#[derive(Debug)]
pub struct Registers {
    by_key: BTreeMap<u32, Register>,
}

impl Registers {
    /// Groups the operations of a history.
    pub fn new(history: &History) -> Self {
        // Keys are small numbers, but for those of a foreign history.
        let mut dense: Vec<Vec<Operation>> = Vec::new();
        let mut others: BTreeMap<u32, Vec<Operation>> = BTreeMap::new();
        let mut counts = vec![0_u32; history.header.plan.workload.keys() as usize];
        for op in &history.ops {
            if let Some(count) = counts.get_mut(op.key() as usize) {
                *count += 1;
            }
        }
        dense.extend(counts.iter().map(|&count| Vec::with_capacity(count as usize)));
        for op in &history.ops {
            let of_key = match dense.get_mut(op.key() as usize) {
                Some(of_key) => of_key,
                None if kind_of(op.key()).0.is_register() => others.entry(op.key()).or_default(),
                None => continue,
            };
            of_key.extend(operation(op));
        }
        let dense = (0..).zip(dense).zip(counts).filter_map(|(of_key, count)| (count > 0).then_some(of_key));
        Self { by_key: dense.chain(others).map(|(key, ops)| (key, Register::new(ops))).collect() }
    }

    /// The same, of which nothing is known beforehand: see [`Register::without_shortcut`].
    #[must_use]
    pub fn without_shortcut(self) -> Self {
        Self { by_key: self.by_key.into_iter().map(|(key, register)| (key, register.without_shortcut())).collect() }
    }

    /// The keys in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Register)> {
        self.by_key.iter().map(|(&key, register)| (key, register))
    }

    /// One key; None if nothing is known of it.
    pub fn of(&self, key: u32) -> Option<&Register> {
        self.by_key.get(&key)
    }
}

/// An operation that was sent, and for a read also served.
pub(super) fn operation(op: &Op) -> Option<Operation> {
    let kind = match (op.kind(), op.outcome()) {
        (OpKind::Reads, Outcome::Ok) => Kind::Read,
        (OpKind::Writes, Outcome::Ok) => Kind::Write(Effect::Certain),
        (OpKind::Writes, Outcome::Info(_)) => Kind::Write(Effect::Possible),
        (OpKind::Writes, Outcome::Fail(_)) => Kind::Write(Effect::Impossible),
        (OpKind::Reads, Outcome::Fail(_) | Outcome::Info(_)) | (_, Outcome::Unsent(_)) => return None,
    };
    Some(Operation {
        invoke_ns: op.invoke_ns(),
        complete_ns: op.complete_ns(),
        value: op.value(),
        client: ClientNo(op.client().saturating_add(1)),
        node: NodeNo(op.node()),
        kind,
    })
}

/// What a node was for the shard of a key while it answered a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answerer {
    /// It was the shard's master all the while.
    Master,
    /// It had been the shard's master, another node was by then, and it had not been seen to follow that one: it may
    /// have answered as a master that did not know.
    Deposed,
    /// Any other node.
    Replica,
}

/// Who answered reads.
#[derive(Debug, Clone, Copy)]
pub struct Answerers<'a> {
    pub(super) reigns: &'a Reigns,
    pub(super) views: &'a Views<'a>,
    pub(super) shards: &'a KeyShards,
}

impl<'a> Answerers<'a> {
    /// What the node that answered a read of a key was then.
    pub fn of(&self, key: u32, read: &Operation) -> Answerer {
        self.of_key(key).of(read)
    }

    /// Who answered reads of a key: looks its shard up once for all of them.
    pub fn of_key(&self, key: u32) -> KeyAnswerers<'a> {
        KeyAnswerers { reigns: self.reigns.of(self.shards.of(key)), views: self.views }
    }

    pub(super) fn of_shard(&self, shard: ShardNo, read: &Operation) -> Answerer {
        KeyAnswerers { reigns: self.reigns.of(shard), views: self.views }.of(read)
    }
}

/// Who answered the reads of one key.
#[derive(Debug, Clone, Copy)]
pub struct KeyAnswerers<'a> {
    reigns: &'a [Reign],
    views: &'a Views<'a>,
}

impl KeyAnswerers<'_> {
    /// What the node that answered a read was then.
    pub fn of(&self, read: &Operation) -> Answerer {
        let mine = self.reigns.iter().rev().filter(|reign| reign.node == read.node);
        let mut begun = mine.filter(|reign| reign.from_ns <= read.invoke_ns);
        match begun.next() {
            None => Answerer::Replica,
            Some(reign) if read.complete_ns < reign.to_ns => Answerer::Master,
            Some(reign) if self.followed(read.node, Window { from_ns: reign.to_ns, to_ns: read.invoke_ns }) => {
                Answerer::Replica
            }
            Some(_) => Answerer::Deposed,
        }
    }

    /// Whether the node's own view called it a replica in that time.
    fn followed(&self, node: NodeNo, window: Window) -> bool {
        let seen = self.views.of(node, window.to_ns);
        let since_ns = self.views.since(node, window.to_ns).unwrap_or(0);
        let is_replica = match seen {
            Seen::View(view) => own_line(view, node).is_some_and(|own| match own.role {
                Role::ReplicaOf(_) | Role::ReplicaOfUnknown => true,
                Role::Master => false,
            }),
            Seen::Silent(_) | Seen::Never => false,
        };
        is_replica && since_ns >= window.from_ns
    }
}
