//! Clients that wait for elements of a queue: whether each is woken once there is one.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::Operation;
use crate::units::{ClientNo, NodeNo};

/// A blocking command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// When it was sent, in nanoseconds from the start of the run.
    pub sent_ns: u64,
    /// When it ended: with an element, with an error, or with its connection.
    pub end_ns: u64,
    /// The element that it returned.
    pub popped: Option<u32>,
    /// The client.
    pub client: ClientNo,
    /// The node that it was sent to.
    pub node: NodeNo,
}

/// A client that went on waiting while an element was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asleep {
    /// The wait.
    pub wait: Wait,
    /// The append of the element that was there first.
    pub push: Operation,
    /// When that element was taken after all, and by whom.
    pub taken: Option<Wait>,
    /// For how long it went on waiting, in nanoseconds.
    pub for_ns: u64,
}

/// What the waits for one queue tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waits {
    /// Waits that ended, or for which an element was there.
    pub waits: u64,
    /// Those that went on for longer than the bound.
    pub asleep: Vec<Asleep>,
    /// The longest time that any went on while an element was there, in nanoseconds.
    pub longest_ns: u64,
    /// Acknowledged elements that nobody got and that are not there in the end: lost, or taken by an answer that did not
    /// arrive.
    pub lost: u64,
    /// Elements that were returned more than once.
    pub again: u64,
    /// Elements that were returned and that no client appended.
    pub foreign: u64,
}

/// Compares the waits for a queue with the appends to it. `last` are its elements at the end; None if it could not be
/// read.
///
/// An element is owed to a wait from its acknowledgement on, if the element was really there: somebody took it later, or it
/// is still there at the end. `waits` are in the order in which they were sent. (What a failover loses is owed to nobody.) A wait that ends, with whatever answer, is awake.
pub fn waits(pushes: &[Operation], waits: &[Wait], last: Option<&[u32]>, within_ns: u64) -> Waits {
    let mut found = Waits::default();
    let mut taken: BTreeMap<u32, Wait> = BTreeMap::new();
    let known: BTreeSet<u32> = pushes.iter().map(|push| push.value).collect();
    for wait in waits {
        let Some(element) = wait.popped else { continue };
        if !known.contains(&element) {
            found.foreign += 1;
            continue;
        }
        match taken.entry(element) {
            Entry::Vacant(first) => _ = first.insert(*wait),
            // A failover may bring it back; from when on, nobody knows.
            Entry::Occupied(_) => found.again += 1,
        }
    }
    let left: BTreeSet<u32> = last.unwrap_or_default().iter().copied().collect();
    // By the moment of its acknowledgement: every element that was there, and until when.
    let mut there: Vec<(u64, u64, Operation)> = Vec::new();
    for push in pushes.iter().filter(|push| push.is_certain_write()) {
        match taken.get(&push.value) {
            Some(wait) => there.push((push.complete_ns, wait.end_ns, *push)),
            None if left.contains(&push.value) => there.push((push.complete_ns, u64::MAX, *push)),
            None => found.lost += u64::from(last.is_some()),
        }
    }
    there.sort_by_key(|&(from_ns, ..)| from_ns);
    let mut low = 0;
    for wait in waits {
        // What was taken before the wait began is owed to no later one either.
        while there.get(low).is_some_and(|&(_, to_ns, _)| to_ns <= wait.sent_ns) {
            low += 1;
        }
        let before_end = there.partition_point(|&(from_ns, ..)| from_ns < wait.end_ns);
        let owed = |&(from_ns, to_ns, push): &(u64, u64, Operation)| {
            let for_ns = wait.end_ns.min(to_ns).saturating_sub(from_ns.max(wait.sent_ns));
            (for_ns > 0).then_some((for_ns, push))
        };
        let longest = there[low.min(before_end)..before_end]
            .iter()
            .filter_map(owed)
            .max_by_key(|&(for_ns, push)| (for_ns, std::cmp::Reverse(push.complete_ns)));
        found.waits += 1;
        let Some((for_ns, push)) = longest else { continue };
        found.longest_ns = found.longest_ns.max(for_ns);
        if for_ns > within_ns {
            let taken = taken.get(&push.value).copied();
            found.asleep.push(Asleep { wait: *wait, push, taken, for_ns });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consistency::{Effect, Kind};

    fn push(value: u32, complete_ns: u64, effect: Effect) -> Operation {
        let (client, node, kind) = (ClientNo(1), NodeNo(4), Kind::Write(effect));
        Operation { invoke_ns: complete_ns - 5, complete_ns, value, client, node, kind }
    }

    fn wait(sent_ns: u64, end_ns: u64, popped: Option<u32>) -> Wait {
        Wait { sent_ns, end_ns, popped, client: ClientNo(2), node: NodeNo(1) }
    }

    #[test]
    fn a_client_is_owed_what_is_there() {
        use Effect::{Certain, Possible};
        let check = |pushes: &[Operation], all: &[Wait], last: Option<&[u32]>| {
            let found = waits(pushes, all, last, 100);
            (found.asleep.len(), found.longest_ns, found.lost, found.again)
        };
        let one = &[push(1, 1000, Certain)][..];
        for (pushes, all, last, expected) in [
            (one, &[wait(500, 1001, Some(1))][..], Some(&[][..]), (0, 1, 0, 0)),
            (one, &[wait(500, 1200, Some(1))], Some(&[]), (1, 200, 0, 0)),
            // It waited at a node that was replaced, and another wait got the element.
            (one, &[wait(500, 1200, None), wait(1300, 1301, Some(1))], Some(&[]), (1, 200, 0, 0)),
            // Nobody ever woke it, and the element is still there.
            (one, &[wait(500, 9000, None)], Some(&[1]), (1, 8000, 0, 0)),
            // The element is gone: nobody knows whether it was there.
            (one, &[wait(500, 9000, None)], Some(&[]), (0, 0, 1, 0)),
            (one, &[wait(500, 9000, None)], None, (0, 0, 0, 0)),
            (one, &[wait(500, 1001, None), wait(8000, 8001, Some(1))], Some(&[]), (0, 1, 0, 0)),
            (one, &[wait(500, 1001, Some(1)), wait(1002, 1003, Some(1))], Some(&[]), (0, 1, 0, 1)),
            (&[push(1, 1000, Possible)], &[wait(500, 9000, None)], Some(&[1]), (0, 0, 0, 0)),
            (&[], &[wait(500, 9000, None)], Some(&[]), (0, 0, 0, 0)),
        ] {
            assert_eq!(check(pushes, all, last), expected, "{pushes:?} {all:?} {last:?}");
        }
    }
}
