//! What the algorithms are compared with: a search over all orders, and the definitions word for word.

use std::collections::HashSet;

use slotquake_judge::consistency::{Effect, Guarantee, Kind, NIL, Operation};

/// Whether some order of the operations explains every read and keeps the order of time: Wing and Gong, "Testing and
/// Verifying Concurrent Objects", with the states that were tried remembered. For at most 64 operations.
pub fn is_linearizable(ops: &[Operation]) -> bool {
    let ops: Vec<&Operation> = ops.iter().filter(|op| op.kind != Kind::Write(Effect::Impossible)).collect();
    let must: u64 = (0..ops.len()).filter(|&n| ops[n].kind != Kind::Write(Effect::Possible)).map(|n| 1 << n).sum();
    let mut tried = HashSet::new();
    let mut open = vec![(0u64, NIL)];
    while let Some((done, value)) = open.pop() {
        if done & must == must {
            return true;
        }
        if !tried.insert((done, value)) {
            continue;
        }
        for (n, op) in ops.iter().enumerate().filter(|(n, _)| done & (1 << n) == 0) {
            let is_first = (0..ops.len()).all(|other| done & (1 << other) != 0 || ops[other].end_ns() >= op.invoke_ns);
            match op.kind {
                _ if !is_first => {}
                Kind::Write(_) => open.push((done | (1 << n), op.value)),
                Kind::Read if op.value == value => open.push((done | (1 << n), value)),
                Kind::Read => {}
            }
        }
    }
    false
}

fn write_of(ops: &[Operation], value: u32) -> Option<&Operation> {
    ops.iter().find(|op| op.value == value && matches!(op.kind, Kind::Write(Effect::Certain | Effect::Possible)))
}

/// Whether the value was certainly in effect before the write of the other was sent.
fn is_older(ops: &[Operation], value: u32, than: u32) -> bool {
    let (Some(newer), true) = (write_of(ops, than), value != than) else { return false };
    let in_effect = |op: &Operation| op.value == value && op.end_ns() < newer.invoke_ns;
    // What ends before its write was sent proves nothing.
    let began = write_of(ops, value).map(|write| write.invoke_ns);
    value == NIL || (began.is_some_and(|began| began < newer.invoke_ns) && ops.iter().any(in_effect))
}

fn is_known(ops: &[Operation], value: u32) -> bool {
    value == NIL || write_of(ops, value).is_some()
}

/// The reads that violate a guarantee.
pub fn violating(ops: &[Operation], guarantee: Guarantee) -> usize {
    let violates = |read: &&Operation| {
        let before = |op: &&Operation| op.complete_ns < read.invoke_ns;
        let in_session = |op: &&Operation| match (guarantee, op.kind) {
            (Guarantee::MonotonicReads, Kind::Read) | (Guarantee::ReadYourWrites, Kind::Write(Effect::Certain)) => {
                op.client == read.client
            }
            (Guarantee::MonotonicWrites, Kind::Read) => {
                let (one, other) = (write_of(ops, op.value), write_of(ops, read.value));
                op.node == read.node && one.zip(other).is_some_and(|(one, other)| one.client == other.client)
            }
            _ => false,
        };
        is_known(ops, read.value)
            && ops.iter().filter(before).filter(in_session).any(|op| is_older(ops, read.value, op.value))
    };
    ops.iter().filter(|op| op.kind == Kind::Read).filter(violates).count()
}

/// Each stale read: its invocation, its age and how many writes it missed, sorted.
pub fn stale(ops: &[Operation]) -> Vec<(u64, u64, u64)> {
    let mut found = Vec::new();
    for read in ops.iter().filter(|op| op.kind == Kind::Read && is_known(ops, op.value)) {
        let missed: Vec<u64> = ops
            .iter()
            .filter(|op| op.is_certain_write() && op.complete_ns < read.invoke_ns)
            .filter(|write| is_older(ops, read.value, write.value))
            .map(|write| write.complete_ns)
            .collect();
        if let Some(oldest) = missed.iter().min() {
            found.push((read.invoke_ns, read.invoke_ns - oldest, missed.len() as u64));
        }
    }
    found.sort_unstable();
    found
}
