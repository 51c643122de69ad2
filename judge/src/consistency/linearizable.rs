//! Linearizability of a register, by zones.
//!
//! Gibbons and Korach, "Testing Shared Memories", SIAM Journal on Computing 26(4), 1997, theorem 4.1 and section 4.3;
//! restated by Golab, Li and Shah, "Analyzing Consistency Properties for Fun and Profit", PODC 2011. A cluster of a
//! write and its reads has the earliest response `f` and the latest invocation `s`. Its zone is forward, `[f, s]`, if
//! `f < s`: the value is in effect all that time. Otherwise it is backward, `[s, f]`: one instant of that time is
//! enough for all of its operations. A history with unique values is linearizable if and only if no read ends before
//! its write begins, no two forward zones overlap, and no backward zone lies within a forward one.
//!
//! The theorem takes all times to be different. Here an invocation and a response at the same instant are concurrent,
//! as if the response came just after; so zones that only touch do not overlap.

use super::register::Version;
use super::{Kind, NIL, Operation, Register, Violation};

/// Whether a register is linearizable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linearity {
    /// The reads that were taken into account.
    pub reads: u64,
    /// Reads of values that nobody wrote or whose write was refused, reads that end before their write, and values
    /// whose zone conflicts with another's. The register is linearizable if and only if there is none.
    pub violations: u64,
    /// The earliest violation, by the invocation of its read.
    pub first: Option<Violation>,
    /// Whether a value was written twice. Then nothing is decided.
    pub is_ambiguous: bool,
}

impl Linearity {
    fn found(&mut self, violation: Violation) {
        self.violations += 1;
        let at = |each: &Violation| (each.read().invoke_ns, each.read().complete_ns);
        if self.first.as_ref().is_none_or(|first| at(&violation) < at(first)) {
            self.first = Some(violation);
        }
    }
}

/// The zone of a version, and the operations at its ends. Times are shifted by 1, so that 0 is before everything.
struct Zone {
    first_response: u64,
    last_invocation: u64,
    /// The operation of the first response; None for the initial value.
    early: Option<Operation>,
    late: Operation,
}

impl Zone {
    fn is_forward(&self) -> bool {
        self.first_response < self.last_invocation
    }
}

/// Judges a register by all of its writes and by those of its reads that `counts` selects. Takes `O(n log n)`.
pub fn linearizable(register: &Register, counts: impl Fn(&Operation) -> bool) -> Linearity {
    let mut linearity = Linearity { reads: 0, violations: 0, first: None, is_ambiguous: false };
    if register.is_in_order() {
        let reads = register.all_reads().filter(|read| counts(read)).count() as u64;
        return Linearity { reads, ..linearity };
    }
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for version in register.versions() {
        let group = register.group(version);
        linearity.is_ambiguous |= version.writes > u32::from(group[0].value != NIL);
        if let Some(zone) = zone(register, version, &counts, &mut linearity) {
            if zone.is_forward() { forward.push(zone) } else { backward.push(zone) }
        }
    }
    if linearity.is_ambiguous {
        return Linearity { violations: 0, first: None, ..linearity };
    }
    forward.sort_unstable_by_key(|zone| (zone.first_response, zone.last_invocation));
    // Of the first so many forward zones, the one that lasts longest.
    let mut longest: Vec<usize> = Vec::with_capacity(forward.len());
    for (index, zone) in forward.iter().enumerate() {
        let before = longest.last().copied();
        if let Some(before) = before.map(|before| &forward[before])
            && zone.first_response < before.last_invocation
        {
            linearity.found(conflict(before, zone));
        }
        let is_longest = before.is_none_or(|before| forward[before].last_invocation < zone.last_invocation);
        longest.push(if is_longest { index } else { before.unwrap_or(index) });
    }
    for zone in &backward {
        let begun = forward.partition_point(|each| each.first_response < zone.last_invocation);
        let around = begun.checked_sub(1).map(|last| &forward[longest[last]]);
        if let Some(around) = around.filter(|around| zone.first_response < around.last_invocation) {
            linearity.found(conflict(around, zone));
        }
    }
    linearity
}

/// The zone of a version, unless it has none: nobody observed it, or it is a violation by itself.
fn zone(
    register: &Register,
    version: &Version,
    counts: impl Fn(&Operation) -> bool,
    linearity: &mut Linearity,
) -> Option<Zone> {
    let is_initial = register.group(version)[0].value == NIL;
    let write = register.write(version);
    let refused = register.group(version).first().filter(|op| op.kind != Kind::Read);
    let (mut early, mut late) = (write, write);
    let mut is_possible = true;
    let mut count = 0;
    for read in register.reads(version).iter().filter(|read| counts(read)) {
        count += 1;
        let violation = match (is_initial, write, refused) {
            (true, ..) => None,
            (false, Some(write), _) => {
                (read.complete_ns < write.invoke_ns).then_some(Violation::Early { read: *read, write: *write })
            }
            (false, None, Some(write)) => Some(Violation::Refused { read: *read, write: *write }),
            (false, None, None) => Some(Violation::Unwritten { read: *read }),
        };
        if let Some(violation) = violation {
            linearity.found(violation);
            is_possible = false;
        }
        if early.is_none_or(|early| read.end_ns() < early.end_ns()) {
            early = Some(read);
        }
        if late.is_none_or(|late| read.invoke_ns > late.invoke_ns) {
            late = Some(read);
        }
    }
    linearity.reads += count;
    if !is_possible || (count == 0 && !write.is_some_and(Operation::is_certain_write)) {
        return None;
    }
    let (early, late) = (early?, late?);
    Some(Zone {
        first_response: if is_initial { 0 } else { early.end_ns().saturating_add(1) },
        last_invocation: late.invoke_ns.saturating_add(1),
        early: (!is_initial).then_some(*early),
        late: *late,
    })
}

/// The older value has a forward zone, and the newer one was in effect before the older one was read again.
fn conflict(older: &Zone, newer: &Zone) -> Violation {
    let early = newer.early.unwrap_or(newer.late);
    // One operation shows both that the newer value was there and that it came after the older one, where one can.
    let is_after = older.early.is_none_or(|first| first.end_ns() < early.invoke_ns);
    let began = if is_after { early } else { newer.late };
    Violation::WentBack { read: older.late, newer: early, began, older: older.early }
}
