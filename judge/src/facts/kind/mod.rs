//! What became of the writes of each kind of data other than registers. One file a kind.

mod counter;
mod list;
mod pubsub;
mod set;
mod transaction;

use std::collections::BTreeMap;

use super::{Answerers, Facts, registers};
use crate::consistency::{Does, Kind, Operation, Witness, WitnessOp};
use crate::history::{EventKind, FinalValue, History, Op, kind_of};
use crate::suite::{DataKind, OpKind};
use crate::units::{ClientNo, NodeNo};

/// What became of the writes of one kind of data.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Numbers or contents that were compared with the writes.
    pub observed: u64,
    /// Keys.
    pub keys: u64,
    /// Keys with acknowledged writes that could not be read back.
    pub keys_unread: u64,
    /// Effects beyond one for each write.
    pub repeated: u64,
    /// Acknowledged writes whose effect is gone.
    pub lost: u64,
    /// Effects that are gone and may be those of writes of unknown outcome; acknowledged writes of keys that could not be read
    /// back.
    pub undecided: u64,
    /// Reads that show elements of a list in another order than that of their appends, or of the end.
    pub disordered: u64,
    /// Reads that saw half of a transaction.
    pub halves: u64,
    /// Messages that a subscriber missed while its subscription stood. `lost` has all that were missed.
    pub lost_while_subscribed: u64,
    /// The clients that subscribed.
    pub subscribers: u64,
    /// The longest time over which one subscriber missed the messages of a channel, in nanoseconds.
    pub longest_gap_ns: u64,
    /// The first repetition of each key that has one, in order of time; at most [`Account::EXAMPLES`].
    pub repetitions: Vec<Example>,
    /// The same of losses.
    pub losses: Vec<Example>,
    /// The same of elements in another order.
    pub disorders: Vec<Example>,
    /// The same of halves.
    pub half_seen: Vec<Example>,
}

/// A violation in words and as operations.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// When it was observed, in nanoseconds from the start of the run.
    pub at_ns: u64,
    /// The operations, and why they contradict each other.
    pub witness: Witness,
}

impl Account {
    /// How many violations of each sort are kept as examples.
    pub const EXAMPLES: usize = 5;

    /// Keeps the first examples.
    fn trim(&mut self) {
        for examples in [&mut self.repetitions, &mut self.losses, &mut self.disorders, &mut self.half_seen] {
            examples.sort_by_key(|example| example.at_ns);
            examples.truncate(Self::EXAMPLES);
        }
    }
}

/// One key of a kind other than a register: everything that was done with it.
#[derive(Debug, Default)]
pub struct KeyOps<'a> {
    /// The writes that were sent and the reads that were served, each with its position in [`History::ops`].
    pub ops: Vec<(usize, &'a Op, Operation)>,
    /// What the key held in the end: when it was asked for, who answered, and the answer.
    pub last: Option<(u64, Option<NodeNo>, &'a FinalValue)>,
}

/// Everything that was done with the keys of all kinds beside registers, by key.
pub(super) fn gather(history: &History) -> BTreeMap<u32, KeyOps<'_>> {
    let mut keys: BTreeMap<u32, KeyOps<'_>> = BTreeMap::new();
    for (position, op) in history.ops.iter().enumerate().filter(|(_, op)| kind_of(op.key()).0 != DataKind::Register) {
        let of_key = keys.entry(op.key()).or_default();
        of_key.ops.extend(registers::operation(op).map(|operation| (position, op, operation)));
    }
    for event in &history.events {
        if let EventKind::FinalRead { key, node, value } = &event.kind
            && let Some(of_key) = keys.get_mut(key)
        {
            of_key.last = Some((event.at_ns, *node, value));
        }
    }
    keys
}

/// The accounts of all kinds that the workload has beside registers.
pub(super) fn accounts(
    history: &History,
    keys: &BTreeMap<u32, KeyOps<'_>>,
    answerers: Answerers<'_>,
) -> BTreeMap<DataKind, Account> {
    let mut accounts: BTreeMap<DataKind, Account> = BTreeMap::new();
    let heard = pubsub::Heard::new(history);
    for (&key, ops) in keys {
        let kind = kind_of(key).0;
        let account = accounts.entry(kind).or_default();
        account.keys += 1;
        let acknowledged = ops.writes().filter(|(.., write)| write.is_certain_write()).count() as u64;
        account.acknowledged += acknowledged;
        if acknowledged > 0 && kind.is_stored() && !ops.is_read_back() {
            account.keys_unread += 1;
        }
        match kind {
            // `expiry`, `woken` and `linearizable` compare with bounds of their own.
            DataKind::Register | DataKind::Ttl | DataKind::Blocking | DataKind::Cas => {}
            DataKind::Set => set::account(history, key, ops, answerers, account),
            DataKind::Pubsub | DataKind::ShardedPubsub => pubsub::account(history, key, ops, &heard, account),
            DataKind::Counter => counter::account(history, key, ops, answerers, account),
            DataKind::List | DataKind::Stream => list::account(history, key, ops, account),
            DataKind::Transaction => transaction::account(history, key, ops, account),
        }
    }
    accounts.values_mut().for_each(Account::trim);
    accounts
}

impl KeyOps<'_> {
    /// The writes that were sent.
    pub fn writes(&self) -> impl Iterator<Item = &(usize, &Op, Operation)> {
        self.ops.iter().filter(|(_, op, _)| op.kind() == OpKind::Writes)
    }

    fn is_read_back(&self) -> bool {
        self.last.is_some_and(|(_, _, value)| !matches!(value, FinalValue::Unreadable(_)))
    }
}

/// The client of the read at the end.
pub const NOBODY: ClientNo = ClientNo(0);

/// Who sent an operation, and who answered.
pub fn who(op: &Operation) -> String {
    let by = if op.node == NodeNo(0) { String::new() } else { format!(", answered by {}", op.node) };
    match op.kind {
        Kind::Read if op.client == NOBODY => format!("read in the end{by}"),
        Kind::Read => format!("read of {}{by}", op.client),
        Kind::Write(_) => format!("write of {}{by}", op.client),
    }
}

/// An operation as it is drawn.
pub fn drawn(op: &Operation, contradicts: bool) -> WitnessOp {
    let drawn = WitnessOp { contradicts, ..WitnessOp::of(op) };
    if op.client == NOBODY { WitnessOp { does: Does::FinalRead, client: None, ..drawn } } else { drawn }
}

/// ` (sent 3 times)` for an operation that its client repeated.
pub fn sent(history: &History, position: usize) -> String {
    match history.detail(position).map_or(1, |detail| detail.tries) {
        1 => String::new(),
        times => format!(" (sent {times} times)"),
    }
}

impl<'a> Facts<'a> {
    /// Everything that was done with the keys of a kind beside registers, in the order of the keys.
    pub fn keys_of(&self, kind: DataKind) -> impl Iterator<Item = (u32, &KeyOps<'a>)> {
        self.kind_keys.iter().filter(move |(key, _)| kind_of(**key).0 == kind).map(|(&key, ops)| (key, ops))
    }

    /// The account of a kind; None if the workload has no such key.
    pub fn account(&self, kind: DataKind) -> Option<&Account> {
        self.accounts.get(&kind)
    }
}
