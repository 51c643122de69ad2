//! How old the values are that reads return.

use super::{NIL, Operation, Register};

/// A read that returned an older value than one that had been acknowledged before it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// The read.
    pub read: Operation,
    /// The oldest write that it missed: acknowledged before the read was sent, and certainly newer than what it
    /// returned.
    pub missed: Operation,
    /// How many acknowledged writes it missed.
    pub versions: u64,
    /// By its response the value that was read was in effect, before the missed write was sent; None where the key was
    /// still empty.
    pub older: Option<Operation>,
}

impl Stale {
    /// Since when the value that it returned was outdated: from the acknowledgement of the oldest missed write to the
    /// invocation of the read, in nanoseconds.
    pub fn age_ns(&self) -> u64 {
        self.read.invoke_ns - self.missed.complete_ns
    }
}

/// The stale ones of the reads that `counts` selects, in the order of their invocation, and how many reads were
/// compared: those of values that somebody wrote, and of the empty key. Takes `O(n log n)`.
///
/// A write is newer than the value that was read if it was sent after that value was certainly in effect
/// ([`Register::shown_ns`]).
pub fn stale(register: &Register, counts: impl Fn(&Operation) -> bool) -> (Vec<Stale>, u64) {
    if register.is_in_order() {
        return (Vec::new(), register.all_reads().filter(|read| counts(read)).count() as u64);
    }
    let mut writes: Vec<&Operation> = register.ops().iter().filter(|op| op.is_certain_write()).collect();
    writes.sort_by_key(|write| write.invoke_ns);
    // Of the writes from each one on, the one that was acknowledged first.
    let mut first_acked: Vec<&Operation> = writes.clone();
    for index in (0..first_acked.len().saturating_sub(1)).rev() {
        if first_acked[index + 1].complete_ns < first_acked[index].complete_ns {
            first_acked[index] = first_acked[index + 1];
        }
    }
    let mut compared = 0;
    let mut found = Vec::new();
    for version in register.versions() {
        let is_initial = register.group(version)[0].value == NIL;
        if register.write(version).is_none() && !is_initial {
            continue;
        }
        let newer = if is_initial { 0 } else { writes.partition_point(|write| write.invoke_ns <= version.shown_ns) };
        for read in register.reads(version).iter().filter(|read| counts(read)) {
            compared += 1;
            if let Some(missed) = first_acked.get(newer).filter(|write| write.complete_ns < read.invoke_ns) {
                let older = register.proof(version);
                found.push((newer, Stale { read: *read, missed: **missed, versions: 0, older }));
            }
        }
    }
    found.sort_by_key(|(_, stale)| (stale.read.invoke_ns, stale.read.complete_ns));
    count_missed(&writes, &mut found);
    (found.into_iter().map(|(_, stale)| stale).collect(), compared)
}

/// Counts for each read, in the order of their invocation, the writes from its first newer one on that were
/// acknowledged before it was sent.
fn count_missed(writes: &[&Operation], reads: &mut [(usize, Stale)]) {
    let mut by_ack: Vec<usize> = (0..writes.len()).collect();
    by_ack.sort_by_key(|&index| writes[index].complete_ns);
    let mut acked = by_ack.into_iter().peekable();
    let mut total = 0;
    let mut sums = Sums(vec![0; writes.len() + 1]);
    for (newer, stale) in reads {
        while let Some(index) = acked.next_if(|&index| writes[index].complete_ns < stale.read.invoke_ns) {
            sums.add(index);
            total += 1;
        }
        stale.versions = total - sums.before(*newer);
    }
}

/// How many of the positions before any one were added (a Fenwick tree).
struct Sums(Vec<u64>);

impl Sums {
    fn add(&mut self, position: usize) {
        let mut node = position + 1;
        while let Some(sum) = self.0.get_mut(node) {
            *sum += 1;
            node += node & node.wrapping_neg();
        }
    }

    fn before(&self, position: usize) -> u64 {
        let (mut node, mut sum) = (position, 0);
        while node > 0 {
            sum += self.0[node];
            node &= node - 1;
        }
        sum
    }
}
