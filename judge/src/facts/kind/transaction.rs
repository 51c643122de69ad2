//! The account of transactions: whether anybody saw one of two keys written and the other not. Whether they are lost is
//! accounted for as for registers.

use super::{Account, Example, KeyOps, NOBODY, drawn, who};
use crate::consistency::{Effect, Kind, Operation, Witness};
use crate::history::{FOREIGN, FinalValue, History, key_name};
use crate::units::NodeNo;
use crate::words::at;

/// Adds what was seen of the transactions on one pair of keys.
pub(super) fn account(history: &History, key: u32, ops: &KeyOps<'_>, account: &mut Account) {
    let mut halves: Vec<(Operation, &[u32])> = Vec::new();
    for (position, _, read) in ops.ops.iter().filter(|(.., op)| op.kind == Kind::Read) {
        account.observed += 1;
        if let Some(detail) = history.detail(*position).filter(|_| read.value == FOREIGN) {
            halves.push((*read, &detail.items));
        }
    }
    if let Some((at_ns, node, value)) = ops.last {
        account.observed += u64::from(!matches!(value, FinalValue::Unreadable(_)));
        if let FinalValue::Numbers(items) = value {
            let (value, client, node) = (FOREIGN, NOBODY, node.unwrap_or(NodeNo(0)));
            let kind = Kind::Read;
            halves.push((Operation { invoke_ns: at_ns, complete_ns: at_ns, value, client, node, kind }, items));
        }
    }
    account.halves += halves.len() as u64;
    account.half_seen.extend(halves.first().map(|(read, items)| example(key, ops, read, items)));
}

/// The read, and the transactions that wrote what it saw.
fn example(key: u32, ops: &KeyOps<'_>, read: &Operation, items: &[u32]) -> Example {
    let name = key_name(key);
    let writer = |item: u32| ops.writes().map(|&(.., write)| write).find(|write| write.value == item);
    let half = |item: &u32| match item {
        0 => "nothing".to_owned(),
        &FOREIGN => "a foreign value".to_owned(),
        number => number.to_string(),
    };
    let shown: Vec<String> = items.iter().map(half).collect();
    let origin = |&item: &u32| match writer(item) {
        Some(write) => format!("{} wrote {item} to both at {}", write.client, at(write.invoke_ns)),
        None => format!("nobody wrote {} to both", half(&item)),
    };
    let origins: Vec<String> = items.iter().map(origin).collect();
    let why = format!(
        "{{{name}}}:a held {} and {{{name}}}:b {} at {} ({}): half of a transaction. {}.",
        shown.first().map_or("nothing", String::as_str),
        shown.get(1).map_or("nothing", String::as_str),
        at(read.complete_ns),
        who(read),
        origins.join(", and ")
    );
    let mut all: Vec<Operation> = items.iter().filter_map(|&item| writer(item)).chain([*read]).collect();
    all.sort_by_key(|op| (op.invoke_ns, op.complete_ns));
    let command = |op: &Operation| match op.kind {
        Kind::Read => format!("MGET {{{name}}}:a {{{name}}}:b -> {}", shown.join(", ")),
        Kind::Write(Effect::Certain | Effect::Possible | Effect::Impossible) => {
            let by = if op.value.is_multiple_of(2) { "EVAL" } else { "MULTI/EXEC" };
            format!("{by}: SET {{{name}}}:a and {{{name}}}:b = {}", op.value)
        }
    };
    let commands = all.iter().map(command).collect();
    let drawn = all.iter().map(|op| drawn(op, op == read)).collect();
    Example { at_ns: read.complete_ns, witness: Witness { key: name, why, ops: drawn, commands } }
}
