//! The account of sets.

use std::collections::HashSet;

use super::{Account, Example, KeyOps, NOBODY, drawn, list, sent, who};
use crate::consistency::{Change, Kind, Listing, Operation, Witness, change, members};
use crate::facts::{Answerer, Answerers};
use crate::history::{FOREIGN, History, key_name};
use crate::words::at;

/// Adds what became of the members of one set.
pub(super) fn account(history: &History, key: u32, ops: &KeyOps<'_>, answerers: Answerers<'_>, account: &mut Account) {
    let writes: Vec<Operation> = ops.writes().map(|&(.., write)| write).collect();
    let repeated: HashSet<u32> = ops
        .writes()
        .filter(|(position, ..)| history.detail(*position).is_some_and(|detail| detail.tries > 1))
        .map(|(.., write)| write.value)
        .collect();
    // A replica may be behind, and a deposed master of another time.
    let by_master = |read: &Operation| answerers.of(key, read) == Answerer::Master;
    let reads: Vec<Listing<'_>> = ops
        .ops
        .iter()
        .filter_map(|(position, _, read)| {
            let items = history.detail(*position).map_or(&[][..], |detail| detail.items.as_slice());
            let is_whole = read.kind == Kind::Read && read.value as usize == items.len();
            (is_whole && by_master(read)).then_some(Listing { read: *read, items })
        })
        .collect();
    let found = members(&writes, &reads, list::last(ops), |write| repeated.contains(&write.value));
    account.observed += found.reads;
    account.lost += found.lost + found.back;
    account.repeated += found.phantom;
    account.undecided += found.unread;
    let words = Words { history, name: key_name(key), ops };
    account.losses.extend(found.loss.map(|add| words.lost(&add, list::last(ops).map(|last| last.read))));
    account.losses.extend(found.resurrection.map(|(remove, read)| words.back(&remove, &read)));
    account.repetitions.extend(found.ghost.map(|(read, member)| words.ghost(&read, member)));
}

struct Words<'a> {
    history: &'a History,
    name: String,
    ops: &'a KeyOps<'a>,
}

impl Words<'_> {
    fn lost(&self, add: &Operation, last: Option<Operation>) -> Example {
        let why = format!(
            "{} added {} to {}, which {} acknowledged at {}. Nobody removed it, and in the end it was not there.",
            add.client,
            add.value,
            self.name,
            add.node,
            at(add.complete_ns)
        );
        self.example(why, [Some(*add), last], last.unwrap_or(*add), add.value, false)
    }

    fn back(&self, remove: &Operation, read: &Operation) -> Example {
        let member = match change(remove.value) {
            Change::Add(member) | Change::Remove(member) => member,
        };
        let shown = if read.client == NOBODY {
            "In the end it was there again".to_owned()
        } else {
            format!("At {} it was there again ({})", at(read.complete_ns), who(read))
        };
        let why = format!(
            "{} removed {member} from {}, which {} acknowledged at {}. {shown}.",
            remove.client,
            self.name,
            remove.node,
            at(remove.complete_ns)
        );
        let add = self.ops.writes().map(|&(.., write)| write).find(|write| write.value == member);
        self.example(why, [add, Some(*remove)], *read, member, true)
    }

    fn ghost(&self, read: &Operation, member: u32) -> Example {
        let what = if member == FOREIGN { "a member".to_owned() } else { format!("the member {member}") };
        let why = format!("{} has {what} that no client added ({}).", self.name, who(read));
        self.example(why, [None, None], *read, member, true)
    }

    fn example(
        &self,
        why: String,
        writes: [Option<Operation>; 2],
        read: Operation,
        member: u32,
        is_there: bool,
    ) -> Example {
        let mut all: Vec<Operation> = writes.into_iter().flatten().filter(|op| *op != read).chain([read]).collect();
        all.sort_by_key(|op| (op.invoke_ns, op.complete_ns));
        let name = &self.name;
        let position =
            |op: &Operation| self.ops.ops.iter().find(|(.., each)| each == op).map(|(position, ..)| *position);
        let times = |op: &Operation| position(op).map_or_else(String::new, |place| sent(self.history, place));
        let command = |op: &Operation| match (op.kind, change(op.value)) {
            (Kind::Read, _) if member == FOREIGN => format!("SMEMBERS {name} -> a foreign member"),
            (Kind::Read, _) if is_there => format!("SMEMBERS {name} -> {member} among {}", op.value),
            (Kind::Read, _) => format!("SMEMBERS {name} -> {} without {member}", op.value),
            (Kind::Write(_), Change::Add(member)) => format!("SADD {name} {member}{}", times(op)),
            (Kind::Write(_), Change::Remove(member)) => format!("SREM {name} {member}{}", times(op)),
        };
        let commands = all.iter().map(command).collect();
        let ops = all.iter().map(|op| drawn(op, *op == read)).collect();
        Example { at_ns: read.complete_ns, witness: Witness { key: name.clone(), why, ops, commands } }
    }
}
