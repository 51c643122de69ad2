//! A set to which clients add members and from which they remove some: whether each is there that should be, and no other.

use std::collections::{HashMap, HashSet};

use super::{Listing, Operation};

/// What a write of a set does, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// SADD of this member.
    Add(u32),
    /// SREM of this member.
    Remove(u32),
}

/// Every fourth write removes the member that was added two writes before.
pub fn change(number: u32) -> Change {
    if number.is_multiple_of(4) && number > 0 { Change::Remove(number - 2) } else { Change::Add(number) }
}

/// What the reads of one set tell of its members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// The reads that were compared.
    pub reads: u64,
    /// Members whose addition was acknowledged, that nobody removed, and that are not there in the end.
    pub lost: u64,
    /// Members that are there although their removal was acknowledged before.
    pub back: u64,
    /// Members that nobody added.
    pub phantom: u64,
    /// Acknowledged writes of a set that could not be read in the end.
    pub unread: u64,
    /// The first addition that is lost.
    pub loss: Option<Operation>,
    /// The first removal whose member is there, and the read that shows it.
    pub resurrection: Option<(Operation, Operation)>,
    /// The first read with a member that nobody added, and that member.
    pub ghost: Option<(Operation, u32)>,
}

/// Compares the reads of a set with its writes. `reads` are those that masters answered, and `last` is the read at the end.
/// `is_repeated` tells of a write whether its client sent it more than once.
///
/// A member may be back for a good reason: its addition was of unknown outcome, or was repeated, and came after its removal.
pub fn members(
    writes: &[Operation],
    reads: &[Listing<'_>],
    last: Option<Listing<'_>>,
    is_repeated: impl Fn(&Operation) -> bool,
) -> Members {
    let mut added: HashMap<u32, &Operation> = HashMap::new();
    let mut removed: HashMap<u32, &Operation> = HashMap::new();
    for write in writes.iter().filter(|write| write.kind != super::Kind::Write(super::Effect::Impossible)) {
        match change(write.value) {
            Change::Add(member) => _ = added.insert(member, write),
            Change::Remove(member) => _ = removed.insert(member, write),
        }
    }
    let mut found = Members::default();
    let (mut back, mut phantom) = (HashSet::new(), HashSet::new());
    for listing in reads.iter().chain(&last) {
        found.reads += 1;
        for member in listing.items {
            let Some(add) = added.get(member) else {
                if phantom.insert(*member) {
                    found.ghost.get_or_insert((listing.read, *member));
                }
                continue;
            };
            let Some(remove) = removed.get(member) else { continue };
            let is_certain = add.is_certain_write() && remove.is_certain_write() && !is_repeated(add);
            let is_in_order = add.complete_ns < remove.invoke_ns && remove.complete_ns < listing.read.invoke_ns;
            if is_certain && is_in_order && back.insert(*member) {
                found.resurrection.get_or_insert((**remove, listing.read));
            }
        }
    }
    (found.back, found.phantom) = (back.len() as u64, phantom.len() as u64);
    let there: HashSet<u32> = last.iter().flat_map(|last| last.items.iter().copied()).collect();
    let mut certain: Vec<(&u32, &&Operation)> = added.iter().filter(|(_, add)| add.is_certain_write()).collect();
    certain.sort_by_key(|(_, add)| add.invoke_ns);
    for (member, add) in certain {
        match last {
            None => found.unread += 1,
            Some(_) if there.contains(member) || removed.contains_key(member) => {}
            Some(_) => {
                found.lost += 1;
                found.loss.get_or_insert(**add);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consistency::{Effect, Kind};
    use crate::units::{ClientNo, NodeNo};

    fn op(value: u32, at_ns: u64, kind: Kind) -> Operation {
        let (client, node) = (ClientNo(1), NodeNo(1));
        Operation { invoke_ns: at_ns, complete_ns: at_ns + 5, value, client, node, kind }
    }

    /// Writes 1 to 4 with these effects: three additions, and the removal of member 2. Then a read, then the end.
    fn check(effects: [Effect; 4], read: &[u32], last: &[u32]) -> (u64, u64, u64) {
        let writes: Vec<Operation> = (1..)
            .zip(effects)
            .map(|(number, effect)| op(number, u64::from(number) * 10, Kind::Write(effect)))
            .collect();
        let read = Listing { read: op(read.len() as u32, 100, Kind::Read), items: read };
        let last = Listing { read: op(last.len() as u32, 200, Kind::Read), items: last };
        let found = members(&writes, &[read], Some(last), |_| false);
        (found.lost, found.back, found.phantom)
    }

    #[test]
    fn members_are_there_as_they_should_be() {
        use Effect::{Certain, Impossible, Possible};
        let all = [Certain; 4];
        for (effects, read, last, expected) in [
            (all, &[1, 3][..], &[1, 3][..], (0, 0, 0)),
            (all, &[1, 3], &[1], (1, 0, 0)),
            (all, &[1, 3], &[1, 2, 3], (0, 1, 0)),
            (all, &[1, 2, 3], &[1, 2, 3], (0, 1, 0)),
            (all, &[1, 3, 9], &[1, 3], (0, 0, 1)),
            ([Certain, Possible, Certain, Certain], &[1, 3], &[1, 2, 3], (0, 0, 0)),
            ([Certain, Certain, Certain, Possible], &[1, 3], &[1, 2, 3], (0, 0, 0)),
            ([Certain, Certain, Certain, Possible], &[1, 3], &[1, 3], (0, 0, 0)),
            // The removal was refused, and the member is gone all the same.
            ([Certain, Certain, Certain, Impossible], &[1, 2, 3], &[1, 3], (1, 0, 0)),
            ([Certain, Certain, Impossible, Certain], &[1, 3], &[1], (0, 0, 1)),
        ] {
            assert_eq!(check(effects, read, last), expected, "{effects:?} {read:?} {last:?}");
        }
    }

    #[test]
    fn an_addition_that_was_repeated_may_come_after_the_removal() {
        let certain = Kind::Write(Effect::Certain);
        let writes = [op(2, 10, certain), op(4, 20, certain)];
        let last = Listing { read: op(1, 50, Kind::Read), items: &[2] };
        assert_eq!(members(&writes, &[], Some(last), |_| true).back, 0);
        assert_eq!(members(&writes, &[], Some(last), |_| false).back, 1);
    }
}
