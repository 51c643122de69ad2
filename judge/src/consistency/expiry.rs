//! A key with a time to live: whether it was there until it ended, and gone soon after.

use std::collections::HashMap;

use super::{NIL, Operation};

/// How long a key lives, and how far a server may be off. All in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// The time to live that each write gives the key.
    pub ttl_ns: u64,
    /// How much earlier it may be gone.
    pub early_ns: u64,
    /// How much later it may still be there.
    pub late_ns: u64,
}

/// A write of a key that expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The write.
    pub write: Operation,
    /// Whether its client sent it more than once. Each time the key lives anew, and the last may come at any time.
    pub is_repeated: bool,
}

/// Whether the node that found a key gone had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Had {
    /// It had the key, and nothing but expiry or a command can have removed it.
    Certainly,
    /// It should have had it: a master that took over, or that was started again. It may have lost it.
    MayHaveLost,
    /// Nobody knows: a replica that may not have had it yet.
    Unknown,
}

/// A read that found nothing before the key could have expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Early {
    /// The last write that was acknowledged before.
    pub write: Operation,
    /// The operation that shows that the node had the key, if it is not the write.
    pub shown: Option<Operation>,
    /// The read.
    pub read: Operation,
    /// At least by how much it was too early, in nanoseconds.
    pub by_ns: u64,
}

/// A read that found a key that should have expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// The write of the value.
    pub write: Operation,
    /// The operation that shows that the write had taken effect, if it is not the write.
    pub shown: Option<Operation>,
    /// The read.
    pub read: Operation,
    /// At least by how much the key outlived its time, in nanoseconds.
    pub by_ns: u64,
}

/// What the reads of one key tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expiry {
    /// Reads while the key certainly had time to live.
    pub before: u64,
    /// Reads when it certainly had none, and the bound had passed.
    pub after: u64,
    /// Reads that found nothing too early.
    pub early: Vec<Early>,
    /// Reads that found nothing on a node that may have lost the key, the first for each write.
    pub gone: Vec<Early>,
    /// Reads that found the key too late.
    pub late: Vec<Late>,
}

/// Compares reads of one key with its writes. `had` tells of a write, of an operation that shows it (a read, or the write
/// itself) and of a read that found nothing, whether the node of that read must have had it.
///
/// A server adds the time to live to its clock when it executes the write: at the earliest when the write was sent, at the
/// latest when it was acknowledged, or when somebody read its value. A later write only makes the key live longer. (Worked
/// example with a time to live of 2 s: sent at 1.0 s, acknowledged at 1.1 s. A read that was answered at 2.9 s and found
/// nothing is too early. One that was sent at 3.05 s may find it or not.)
pub fn expired(
    writes: &[Stored],
    reads: &[Operation],
    life: Lifetime,
    had: impl Fn(&Operation, &Operation, &Operation) -> Had,
) -> Expiry {
    let mut writes = writes.to_vec();
    writes.sort_by_key(|stored| stored.write.invoke_ns);
    let mut by_value: HashMap<u32, Vec<Operation>> = HashMap::new();
    for read in reads.iter().filter(|read| read.value != NIL) {
        by_value.entry(read.value).or_default().push(*read);
    }
    let shows = |write: &Operation| by_value.get(&write.value).map_or(&[][..], Vec::as_slice);
    let written: HashMap<u32, Stored> = writes.iter().map(|stored| (stored.write.value, *stored)).collect();
    let mut found = Expiry::default();
    for read in reads {
        if let Some(stored) = alive(&writes, read, life) {
            found.before += 1;
            if read.value == NIL {
                gone(&mut found, stored.write, shows(&stored.write), *read, life, &had);
            }
        }
        let known = match read.value {
            NIL => last_before(&writes, read),
            value => written.get(&value),
        };
        let Some(stored) = known else { continue };
        let Some((since_ns, shown)) = in_effect(stored, shows(&stored.write)) else { continue };
        let end_ns = since_ns.saturating_add(life.ttl_ns);
        if read.invoke_ns > end_ns.saturating_add(life.late_ns) {
            found.after += 1;
            if read.value != NIL {
                let by_ns = read.invoke_ns - end_ns;
                found.late.push(Late { write: stored.write, shown, read: *read, by_ns });
            }
        }
    }
    found
}

/// The last write that was acknowledged before a read, if the key certainly had time to live until the read was answered.
fn alive<'a>(writes: &'a [Stored], read: &Operation, life: Lifetime) -> Option<&'a Stored> {
    let sent_before = writes.partition_point(|stored| stored.write.invoke_ns < read.invoke_ns);
    let is_acknowledged = |write: &Operation| write.is_certain_write() && write.complete_ns < read.invoke_ns;
    let last = writes[..sent_before].iter().rev().find(|stored| is_acknowledged(&stored.write))?;
    let end_ns = last.write.invoke_ns.saturating_add(life.ttl_ns);
    (read.complete_ns.saturating_add(life.early_ns) < end_ns).then_some(last)
}

/// The last write that was sent before a read was answered.
fn last_before<'a>(writes: &'a [Stored], read: &Operation) -> Option<&'a Stored> {
    let sent_before = writes.partition_point(|stored| stored.write.invoke_ns < read.complete_ns);
    writes[..sent_before].last()
}

fn gone(
    found: &mut Expiry,
    write: Operation,
    shows: &[Operation],
    read: Operation,
    life: Lifetime,
    had: &impl Fn(&Operation, &Operation, &Operation) -> Had,
) {
    let by_ns = write.invoke_ns.saturating_add(life.ttl_ns).saturating_sub(read.complete_ns);
    let before = |op: &&Operation| op.complete_ns < read.invoke_ns;
    let evidence = std::iter::once(&write).chain(shows).filter(before);
    let sure = evidence.clone().find(|op| had(&write, op, &read) == Had::Certainly);
    if let Some(sure) = sure {
        let shown = (*sure != write).then_some(*sure);
        found.early.push(Early { write, shown, read, by_ns });
        return;
    }
    let is_known = found.gone.iter().any(|gone| gone.write == write);
    if !is_known && had(&write, &write, &read) == Had::MayHaveLost {
        found.gone.push(Early { write, shown: None, read, by_ns });
    }
}

/// By when a write certainly had taken effect for the last time, and the operation that shows it, if it is not the write.
fn in_effect(stored: &Stored, shows: &[Operation]) -> Option<(u64, Option<Operation>)> {
    if stored.is_repeated {
        return None;
    }
    let write = stored.write;
    let own = write.is_certain_write().then_some((write.complete_ns, None));
    let read = shows.iter().min_by_key(|read| read.complete_ns).map(|read| (read.complete_ns, Some(*read)));
    own.into_iter().chain(read).min_by_key(|(at_ns, _)| *at_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consistency::{Effect, Kind};
    use crate::units::{ClientNo, NodeNo};

    const LIFE: Lifetime = Lifetime { ttl_ns: 2000, early_ns: 20, late_ns: 1000 };

    fn op(value: u32, (invoke_ns, complete_ns): (u64, u64), node: u16, kind: Kind) -> Operation {
        Operation { invoke_ns, complete_ns, value, client: ClientNo(1), node: NodeNo(node), kind }
    }

    /// What is early, gone and late of writes at these times and reads of (value, times, node).
    fn check(writes: &[(u64, u64, Effect)], reads: &[(u32, (u64, u64), u16)]) -> (usize, usize, usize) {
        let write = |(number, &(from, to, effect)): (usize, &(u64, u64, Effect))| Stored {
            write: op(number as u32 + 1, (from, to), 1, Kind::Write(effect)),
            is_repeated: false,
        };
        let writes: Vec<Stored> = writes.iter().enumerate().map(write).collect();
        let reads: Vec<Operation> =
            reads.iter().map(|&(value, times, node)| op(value, times, node, Kind::Read)).collect();
        let had = |_: &Operation, one: &Operation, read: &Operation| match (one.node == read.node, read.node.0) {
            (true, _) => Had::Certainly,
            (false, 2) => Had::MayHaveLost,
            (false, _) => Had::Unknown,
        };
        let found = expired(&writes, &reads, LIFE, had);
        (found.early.len(), found.gone.len(), found.late.len())
    }

    #[test]
    fn a_key_lives_as_long_as_it_should() {
        use Effect::{Certain, Impossible, Possible};
        let one = &[(1000, 1100, Certain)][..];
        for (writes, reads, expected) in [
            (one, &[(1, (1200, 1210), 1)][..], (0, 0, 0)),
            (one, &[(0, (2960, 2979), 1)], (1, 0, 0)),
            // The write may have been executed as soon as it was sent, and servers count in milliseconds.
            (one, &[(0, (2960, 2980), 1)], (0, 0, 0)),
            // It may not have been executed yet.
            (one, &[(0, (1050, 1200), 1)], (0, 0, 0)),
            // On a successor it may have been lost; two reads of it are one loss.
            (one, &[(0, (1500, 1600), 2), (0, (1700, 1800), 2)], (0, 1, 0)),
            // A replica may not have had it, unless it showed it.
            (one, &[(0, (1500, 1600), 3)], (0, 0, 0)),
            (one, &[(1, (1300, 1400), 3), (0, (1500, 1600), 3)], (1, 0, 0)),
            (one, &[(1, (4100, 4110), 1)], (0, 0, 0)),
            (one, &[(1, (4101, 4110), 1)], (0, 0, 1)),
            (&[(1000, 1100, Possible)], &[(1, (9000, 9100), 1)], (0, 0, 0)),
            // Somebody had read it long before.
            (&[(1000, 1100, Possible)], &[(1, (1500, 1600), 1), (1, (9000, 9100), 1)], (0, 0, 1)),
            (&[(1000, 1100, Possible)], &[(0, (1500, 1600), 1)], (0, 0, 0)),
            (&[(1000, 1100, Impossible)], &[(0, (1500, 1600), 1)], (0, 0, 0)),
            // Whatever became of the second write, the key lives on from the first.
            (&[(1000, 1100, Certain), (1300, 1400, Possible)], &[(0, (1500, 1600), 1)], (1, 0, 0)),
            (&[(1000, 1100, Certain), (3000, 3100, Certain)], &[(2, (4200, 4300), 1)], (0, 0, 0)),
        ] {
            assert_eq!(check(writes, reads), expected, "{writes:?} {reads:?}");
        }
    }

    #[test]
    fn a_repeated_write_may_come_late_and_not_early() {
        let write = op(1, (1000, 1100), 1, Kind::Write(Effect::Certain));
        let stored = Stored { write, is_repeated: true };
        let reads = [op(1, (9000, 9100), 1, Kind::Read), op(0, (1500, 1600), 1, Kind::Read)];
        let found = expired(&[stored], &reads, LIFE, |_, _, _| Had::Certainly);
        assert_eq!((found.early.len(), found.late.len()), (1, 0));
    }
}
