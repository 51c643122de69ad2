//! The account of lists, and of streams, which are lists of entries.

use super::{Account, Example, KeyOps, NOBODY, drawn, sent, who};
use crate::consistency::{Kind, Listing, Operation, Witness, listed};
use crate::history::{FOREIGN, FinalValue, History, key_name, kind_of};
use crate::suite::DataKind;
use crate::units::NodeNo;
use crate::words::{at, length_ns};

/// How many elements are shown on each side of the one that matters.
const SHOWN: usize = 3;

/// Adds what became of the appends to one list.
pub(super) fn account(history: &History, key: u32, ops: &KeyOps<'_>, account: &mut Account) {
    let appends: Vec<Operation> = ops.writes().map(|&(.., operation)| operation).collect();
    let reads = ops.ops.iter().filter_map(|(position, _, read)| {
        let items = history.detail(*position).map_or(&[][..], |detail| detail.items.as_slice());
        (read.kind == Kind::Read && read.value as usize == items.len()).then_some(Listing { read: *read, items })
    });
    let reads: Vec<Listing<'_>> = reads.collect();
    let last = last(ops);
    let found = listed(&appends, &reads, last);
    account.observed += found.reads;
    account.repeated += found.repeated;
    account.lost += found.lost;
    account.undecided += found.unread;
    account.disordered += found.disordered;
    let name = key_name(key);
    let listings = reads.iter().copied().chain(last).collect();
    let is_stream = kind_of(key).0 == DataKind::Stream;
    let words = Words { history, name: &name, is_stream, ops, appends: &appends, listings };
    account.repetitions.extend(found.repeat.map(|(read, item)| words.repeated(read, item)));
    account.losses.extend(found.loss.zip(last).map(|(append, last)| words.lost(append, last.read)));
    account.disorders.extend(found.disorder.map(|disorder| {
        let order = format!("{name} shows {} before {}", disorder.first, disorder.then);
        let why = match (disorder.there_ns, words.append(disorder.first)) {
            (Some(there_ns), Some(first)) => format!(
                "{order}, but {} was in the list at {}, {} before {} was sent ({}).",
                disorder.then,
                at(there_ns),
                length_ns(first.invoke_ns.saturating_sub(there_ns)),
                disorder.first,
                who(&disorder.read)
            ),
            _ => format!("{order} ({}), and in the end it is the other way around.", who(&disorder.read)),
        };
        words.example(why, &[disorder.first, disorder.then], disorder.read, disorder.first)
    }));
}

pub(super) fn last<'a>(ops: &KeyOps<'a>) -> Option<Listing<'a>> {
    let (at_ns, node, value) = ops.last?;
    let items: &[u32] = match value {
        FinalValue::Numbers(items) => items,
        FinalValue::Missing => &[],
        FinalValue::Number(_) | FinalValue::Foreign(_) | FinalValue::Unreadable(_) => return None,
    };
    let (client, node, value) = (NOBODY, node.unwrap_or(NodeNo(0)), items.len() as u32);
    let read = Operation { invoke_ns: at_ns, complete_ns: at_ns, value, client, node, kind: Kind::Read };
    Some(Listing { read, items })
}

struct Words<'a> {
    history: &'a History,
    name: &'a str,
    is_stream: bool,
    ops: &'a KeyOps<'a>,
    appends: &'a [Operation],
    listings: Vec<Listing<'a>>,
}

impl Words<'_> {
    fn append(&self, item: u32) -> Option<Operation> {
        self.appends.iter().find(|append| append.value == item).copied()
    }

    fn sent(&self, op: &Operation) -> String {
        let position = self.ops.ops.iter().find(|(.., each)| each == op).map(|(position, ..)| *position);
        position.map_or_else(String::new, |position| sent(self.history, position))
    }

    fn repeated(&self, read: Operation, item: u32) -> Example {
        let why = match (item, self.append(item)) {
            (FOREIGN, _) => format!("{} has an element that no client appended ({}).", self.name, who(&read)),
            (_, None) => format!("{} has the element {item}, which no client appended ({}).", self.name, who(&read)),
            (_, Some(append)) => format!(
                "{} has the element {item} more than once ({}). {} appended it once, at {}{}.",
                self.name,
                who(&read),
                append.client,
                at(append.invoke_ns),
                self.sent(&append)
            ),
        };
        self.example(why, &[item], read, item)
    }

    fn lost(&self, append: Operation, last: Operation) -> Example {
        let why = format!(
            "{} appended {} to {}, which {} acknowledged at {}. In the end it was not there.",
            append.client,
            append.value,
            self.name,
            append.node,
            at(append.complete_ns)
        );
        self.example(why, &[append.value], last, append.value)
    }

    /// The appends of some elements, and a read, of which the surroundings of one element are shown.
    fn example(&self, why: String, items: &[u32], read: Operation, around: u32) -> Example {
        let mut all: Vec<Operation> = items.iter().filter_map(|&item| self.append(item)).chain([read]).collect();
        all.sort_by_key(|op| (op.invoke_ns, op.complete_ns));
        let command = |op: &Operation| match op.kind {
            Kind::Read if self.is_stream => format!("XRANGE {} - + -> {}", self.name, self.shown(op, around)),
            Kind::Read => format!("LRANGE {} -> {}", self.name, self.shown(op, around)),
            Kind::Write(_) if self.is_stream => format!("XADD {} * v {}{}", self.name, op.value, self.sent(op)),
            Kind::Write(_) => format!("RPUSH {} {}{}", self.name, op.value, self.sent(op)),
        };
        let commands = all.iter().map(command).collect();
        let ops = all.iter().map(|op| drawn(op, *op == read)).collect();
        Example { at_ns: read.complete_ns, witness: Witness { key: self.name.to_owned(), why, ops, commands } }
    }

    fn shown(&self, read: &Operation, around: u32) -> String {
        let listing = self.listings.iter().find(|listing| listing.read == *read);
        let items = listing.map_or(&[][..], |listing| listing.items);
        if items.is_empty() {
            return "nothing".to_owned();
        }
        let middle = items.iter().position(|item| *item == around).unwrap_or(items.len() - 1);
        let (from, to) = (middle.saturating_sub(SHOWN), items.len().min(middle + 2 * SHOWN));
        let word = |item: &u32| if *item == FOREIGN { "?".to_owned() } else { item.to_string() };
        let words: Vec<String> = items[from..to].iter().map(word).collect();
        let (before, after) = (if from > 0 { "... " } else { "" }, if to < items.len() { " ..." } else { "" });
        format!("{before}{}{after}", words.join(" "))
    }
}
