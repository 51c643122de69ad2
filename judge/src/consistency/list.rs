//! A list to which clients append: whether every element is there, once, and in order.

use std::collections::{HashMap, HashSet};

use super::{Effect, Kind, Operation};
use crate::history::FOREIGN;

/// A read of the whole list.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    /// The read.
    pub read: Operation,
    /// The elements from the first to the last.
    pub items: &'a [u32],
}

/// What the reads of one list tell of its elements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// The reads that were compared.
    pub reads: u64,
    /// Elements beyond one for each append: those that a read shows more than once, and those that nobody appended.
    pub repeated: u64,
    /// Acknowledged appends whose element is not there in the end.
    pub lost: u64,
    /// Acknowledged appends to a list that could not be read in the end.
    pub unread: u64,
    /// Reads that show elements in another order than that of their appends, or of the end.
    pub disordered: u64,
    /// The first read with an element too many, and that element.
    pub repeat: Option<(Operation, u32)>,
    /// The first append that is lost.
    pub loss: Option<Operation>,
    /// The first read in another order.
    pub disorder: Option<Disorder>,
}

/// Two elements of a read in an order that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disorder {
    /// The read.
    pub read: Operation,
    /// The element that the read shows first.
    pub first: u32,
    /// The element that it shows after it.
    pub then: u32,
    /// Since when `then` certainly was in the list, if that was before `first` was sent; None if only the read at the end
    /// shows them the other way around.
    pub there_ns: Option<u64>,
}

/// An append, and since when its element certainly was in the list.
struct Known {
    sent_ns: u64,
    there_ns: u64,
}

/// Compares the reads of a list with the appends to it. Elements are unique and never removed. `last` is the read at the end.
///
/// An element that certainly was in the list (its append was acknowledged, or a read returned it) before another one was
/// sent comes before it, on every node and at any time. The order of two others is open, but it never changes.
pub fn listed(appends: &[Operation], reads: &[Listing<'_>], last: Option<Listing<'_>>) -> Listed {
    let mut known: HashMap<u32, Known> = HashMap::new();
    for append in appends {
        let there_ns = if append.is_certain_write() { append.complete_ns } else { u64::MAX };
        known.insert(append.value, Known { sent_ns: append.invoke_ns, there_ns });
    }
    let all: Vec<&Listing<'_>> = reads.iter().chain(&last).collect();
    let mut most: HashMap<u32, u64> = HashMap::new();
    let mut found = Listed { reads: all.len() as u64, ..Listed::default() };
    for listing in &all {
        let mut times: HashMap<u32, u64> = HashMap::new();
        for item in listing.items {
            *times.entry(*item).or_default() += 1;
            if let Some(known) = known.get_mut(item) {
                known.there_ns = known.there_ns.min(listing.read.complete_ns).max(known.sent_ns);
            }
        }
        for (item, number) in times {
            let allowed = u64::from(item != FOREIGN && known.contains_key(&item));
            let excess = number.saturating_sub(allowed);
            let before = most.entry(item).or_default();
            if excess > *before {
                found.repeated += excess - *before;
                *before = excess;
                found.repeat.get_or_insert((listing.read, item));
            }
        }
    }
    let ends: HashMap<u32, usize> =
        last.iter().flat_map(|last| last.items.iter().enumerate().rev()).map(|(at, &item)| (item, at)).collect();
    // An end that cannot be says nothing of the others.
    let is_order = last.is_none_or(|last| disorder(&last, &known, &HashMap::new()).is_none());
    let order = if is_order { ends.clone() } else { HashMap::new() };
    for listing in &all {
        if let Some(disorder) = disorder(listing, &known, &order) {
            found.disordered += 1;
            found.disorder.get_or_insert(disorder);
        }
    }
    for append in appends.iter().filter(|append| append.kind == Kind::Write(Effect::Certain)) {
        match last {
            None => found.unread += 1,
            Some(_) if ends.contains_key(&append.value) => {}
            Some(_) => {
                found.lost += 1;
                found.loss.get_or_insert(*append);
            }
        }
    }
    found
}

/// Two elements in an order that cannot be. Of a repeated element only the first counts.
fn disorder(listing: &Listing<'_>, known: &HashMap<u32, Known>, ends: &HashMap<u32, usize>) -> Option<Disorder> {
    let mut seen = HashSet::new();
    let items = listing.items.iter().copied();
    let firsts: Vec<u32> = items.filter(|item| known.contains_key(item) && seen.insert(*item)).collect();
    let read = listing.read;
    // From the right: the element that was there first of those behind.
    let mut earliest: Option<(u64, u32)> = None;
    let mut nearest: Option<(usize, u32)> = None;
    for &first in firsts.iter().rev() {
        if let Some((there_ns, then)) = earliest.filter(|&(there_ns, _)| there_ns < known[&first].sent_ns) {
            return Some(Disorder { read, first, then, there_ns: Some(there_ns) });
        }
        if let Some(&at) = ends.get(&first) {
            if let Some((_, then)) = nearest.filter(|&(before, _)| before < at) {
                return Some(Disorder { read, first, then, there_ns: None });
            }
            nearest = Some(nearest.map_or((at, first), |before| before.min((at, first))));
        }
        let own = (known[&first].there_ns, first);
        earliest = Some(earliest.map_or(own, |before| before.min(own)));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{ClientNo, NodeNo};

    fn op(value: u32, invoke_ns: u64, complete_ns: u64, kind: Kind) -> Operation {
        Operation { invoke_ns, complete_ns, value, client: ClientNo(1), node: NodeNo(1), kind }
    }

    /// Three appends, the second of unknown outcome, then a read, then the end.
    fn check(read: &[u32], last: &[u32]) -> (u64, u64, u64) {
        let (certain, possible) = (Kind::Write(Effect::Certain), Kind::Write(Effect::Possible));
        let appends = [op(1, 10, 20, certain), op(2, 30, 40, possible), op(3, 50, 60, certain)];
        let read = Listing { read: op(0, 70, 80, Kind::Read), items: read };
        let last = Listing { read: op(0, 90, 90, Kind::Read), items: last };
        let found = listed(&appends, &[read], Some(last));
        (found.repeated, found.lost, found.disordered)
    }

    #[test]
    fn elements_are_there_once_and_in_order() {
        for (read, last, expected) in [
            (&[1, 3][..], &[1, 3][..], (0, 0, 0)),
            (&[1, 2, 3], &[1, 2, 3], (0, 0, 0)),
            // What may come late comes late.
            (&[1, 3], &[1, 3, 2], (0, 0, 0)),
            (&[1, 3, 2], &[1, 3, 2], (0, 0, 0)),
            // Nobody saw it lost but the end.
            (&[1, 3], &[1], (0, 1, 0)),
            (&[], &[], (0, 2, 0)),
            (&[3, 1], &[1, 3], (0, 0, 1)),
            (&[3, 1], &[3, 1], (0, 0, 2)),
            // The read is right, and the end is not.
            (&[1, 3], &[3, 1], (0, 0, 1)),
            // The order of these two is open, but it never changes.
            (&[1, 2, 3], &[1, 3, 2], (0, 0, 1)),
            (&[1, 1, 3], &[1, 3], (1, 0, 0)),
            (&[1, 3], &[1, 3, 3, 3], (2, 0, 0)),
            (&[1, 3, 9], &[1, 3], (1, 0, 0)),
            (&[1, FOREIGN, 3], &[1, 3], (1, 0, 0)),
        ] {
            assert_eq!(check(read, last), expected, "read {read:?}, in the end {last:?}");
        }
    }
}
