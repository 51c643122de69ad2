//! A register: one key, and everything that was done with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ClientNo, NodeNo};

/// The value of a read that found nothing. No write has it.
pub const NIL: u32 = 0;

/// One operation on a register: a write, or a read that was served. 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// When it was sent, in nanoseconds from the start of the run.
    pub invoke_ns: u64,
    /// When its outcome was known, in nanoseconds from the start of the run.
    pub complete_ns: u64,
    /// The value written or read; [`NIL`] for a read that found nothing.
    pub value: u32,
    /// The client that sent it.
    pub client: ClientNo,
    /// The node that answered; number 0 for none.
    pub node: NodeNo,
    /// Read or write.
    pub kind: Kind,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A read that returned its value.
    Read,
    /// A write.
    Write(Effect),
}

/// Whether a write takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It took effect before it completed.
    Certain,
    /// It may take effect at any time after it was sent, or never.
    Possible,
    /// It never takes effect.
    Impossible,
}

impl Operation {
    /// The last moment at which it can take effect: the end of time for a write of unknown outcome.
    #[inline]
    pub fn end_ns(&self) -> u64 {
        match self.kind {
            Kind::Read | Kind::Write(Effect::Certain | Effect::Impossible) => self.complete_ns,
            Kind::Write(Effect::Possible) => u64::MAX,
        }
    }

    /// Whether it is a write that certainly took effect.
    #[inline]
    pub fn is_certain_write(&self) -> bool {
        self.kind == Kind::Write(Effect::Certain)
    }
}

/// The operations on one key, grouped by value. Values are unique: each is written at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// By value; of each value the write first, then its reads by the time of their invocation.
    ops: Vec<Operation>,
    versions: Vec<Version>,
    /// See [`Register::is_in_order`].
    is_in_order: bool,
}

/// One value of a register: its write, and the reads that returned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    from: u32,
    to: u32,
    /// How many writes have the value: at most 1, or the values are not unique.
    pub writes: u32,
    /// The earliest moment by which it certainly was in effect: the first response of its group, and never before its
    /// write was sent. 0 for [`NIL`], which was there before everything; the end of time for what nobody observed.
    pub shown_ns: u64,
}

impl Register {
    /// Groups the operations on one key.
    pub fn new(mut ops: Vec<Operation>) -> Self {
        // Values grow with time, so this is nearly sorted.
        sort_nearly_sorted(&mut ops, |op| (op.value, op.kind == Kind::Read, op.invoke_ns, op.complete_ns));
        let mut versions = Vec::new();
        let mut from = 0;
        let mut order = InOrder::default();
        for group in ops.chunk_by(|one, other| one.value == other.value) {
            let to = from + group.len();
            let writes = group.iter().take_while(|op| op.kind != Kind::Read).count();
            let shown_ns = match (group[0].value, &group[..writes]) {
                (NIL, _) => 0,
                (_, [] | [Operation { kind: Kind::Write(Effect::Impossible), .. }, ..]) => u64::MAX,
                (_, [write, ..]) => group.iter().map(Operation::end_ns).min().map_or(u64::MAX, |first_ns| {
                    // A read that ended before its write was sent proves nothing of the order of writes.
                    first_ns.max(write.invoke_ns)
                }),
            };
            versions.push(Version { from: from as u32, to: to as u32, writes: writes as u32, shown_ns });
            order.follow(group, writes, shown_ns);
            from = to;
        }
        Self { ops, versions, is_in_order: !order.is_broken }
    }

    /// The same register, of which nothing is known beforehand: each algorithm goes its whole way. Its results are those of
    /// [`Register::new`], later.
    #[must_use]
    pub fn without_shortcut(self) -> Self {
        Self { is_in_order: false, ..self }
    }

    /// Whether the values followed each other in their order, as far as anybody saw: one look at each operation shows that no
    /// algorithm here can find a violation, whichever of the reads it takes into account.
    ///
    /// Say that a value is *observed* if it has an acknowledged write or a read. The conditions: no value has two writes,
    /// nobody read a value that nobody wrote, whose write was refused, or whose write was sent after the read had ended; and
    /// of two observed values, every operation on the lesser one, its write included, was sent no later than the
    /// greater one was shown ([`Register::shown_ns`]; the empty key is less than every value and shown from the start).
    ///
    /// Proof. Let *a* be less than *b*, so (1) each operation on *a* was sent by the time that *b* was shown, and *b* was
    /// shown by each response to an operation on it. Fewer reads only move a value's first response to later and its last
    /// invocation to earlier, so (1) holds for each selection of the reads.
    /// - `linearizable`: by (1) the zone of *a* begins or ends no later than that of *b*: `s(a) <= f(b)`. Two forward zones
    ///   overlap only if each begins before the other ends, `f(b) < s(a)`; a backward zone is within a forward one only if
    ///   `f(b) < s(a)`, too. So no zones conflict, and no value is a violation by itself.
    /// - `stale` and the ledger's reads: a read of *a* misses a write of *b* only if that was acknowledged before the read was
    ///   sent, against (1). A read of *b* misses a write of *a* only if that was sent after *b* was shown, against (1).
    /// - `kept`: a session knew *b* before it read *a* only if an operation on *b* had ended before the read was sent, against
    ///   (1). It takes *a* for newer than *b* only if the write of *a* was sent after *b* was shown, against (1).
    pub fn is_in_order(&self) -> bool {
        self.is_in_order
    }

    /// The reads of written values and of the empty key.
    pub(super) fn all_reads(&self) -> impl Iterator<Item = &Operation> {
        self.ops.iter().filter(|op| op.kind == Kind::Read)
    }

    /// Every operation, grouped by value.
    pub fn ops(&self) -> &[Operation] {
        &self.ops
    }

    /// The operations of each value: its write first, then its reads.
    pub fn groups(&self) -> impl Iterator<Item = &[Operation]> {
        self.versions.iter().map(|version| self.group(version))
    }

    /// As [`Self::groups`], each with [`Self::shown_ns`] and [`Self::sent_ns`] of its value.
    pub fn timed_groups(&self) -> impl Iterator<Item = (&[Operation], Option<u64>, Option<u64>)> {
        self.versions.iter().map(|version| {
            let shown_ns = Some(version.shown_ns).filter(|&shown_ns| shown_ns < u64::MAX);
            (self.group(version), shown_ns, self.write(version).map(|write| write.invoke_ns))
        })
    }

    pub(super) fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The operations of a version: its write first.
    #[inline]
    pub(super) fn group(&self, version: &Version) -> &[Operation] {
        &self.ops[version.from as usize..version.to as usize]
    }

    #[inline]
    pub(super) fn reads(&self, version: &Version) -> &[Operation] {
        &self.group(version)[version.writes as usize..]
    }

    /// The write of a version, if it may have taken effect.
    #[inline]
    pub(super) fn write(&self, version: &Version) -> Option<&Operation> {
        self.group(version)[..version.writes as usize].iter().find(|op| op.kind != Kind::Write(Effect::Impossible))
    }

    /// The earliest operation by whose response a version was in effect; None for [`NIL`].
    pub(super) fn proof(&self, version: &Version) -> Option<Operation> {
        let group = self.group(version);
        group.iter().min_by_key(|op| op.end_ns()).filter(|op| op.value != NIL).copied()
    }

    /// Since when a value certainly was in effect: the earliest response to its write or to a read of it. 0 for
    /// [`NIL`]; None for a value that nobody wrote, or whose effect nobody observed.
    pub fn shown_ns(&self, value: u32) -> Option<u64> {
        match self.version(value) {
            Some(version) => Some(version.shown_ns).filter(|&shown_ns| shown_ns < u64::MAX),
            None => (value == NIL).then_some(0),
        }
    }

    /// Whether anybody tried to write a value, be it in vain.
    pub fn is_written(&self, value: u32) -> bool {
        self.version(value).is_some_and(|version| version.writes > 0)
    }

    /// When the write of a value was sent; None where nobody wrote it, or it was refused.
    pub fn sent_ns(&self, value: u32) -> Option<u64> {
        self.version(value).and_then(|version| self.write(version)).map(|write| write.invoke_ns)
    }

    /// The operations of one value: its write first, then its reads.
    pub fn of_value(&self, value: u32) -> &[Operation] {
        self.version(value).map_or(&[], |version| self.group(version))
    }

    fn version(&self, value: u32) -> Option<&Version> {
        let at = self.versions.binary_search_by_key(&value, |version| self.ops[version.from as usize].value);
        at.ok().map(|at| &self.versions[at])
    }
}

/// Follows the values in their order; see [`Register::is_in_order`].
#[derive(Default)]
struct InOrder {
    is_broken: bool,
    /// The latest invocation of an operation on an observed value so far.
    last_ns: u64,
}

impl InOrder {
    /// Takes the next value into account: its writes, then its reads.
    fn follow(&mut self, group: &[Operation], writes: usize, shown_ns: u64) {
        if self.is_broken {
            return;
        }
        let (writes, reads) = group.split_at(writes);
        self.is_broken = match writes {
            [] => group[0].value != NIL,
            [_] if group[0].value == NIL => true,
            [write] => match write.kind {
                Kind::Write(Effect::Impossible) => !reads.is_empty(),
                _ => reads.iter().any(|read| read.complete_ns < write.invoke_ns),
            },
            _ => true,
        };
        let is_observed = !reads.is_empty() || writes.iter().any(Operation::is_certain_write);
        if is_observed {
            self.is_broken |= shown_ns < self.last_ns;
            // Reads are in the order of their invocation.
            let last = writes.iter().chain(reads.last()).map(|op| op.invoke_ns).max();
            self.last_ns = self.last_ns.max(last.unwrap_or(0));
        }
    }
}

/// Sorts what is nearly sorted, as a stable sort does: by insertion, unless that would move too much.
pub(crate) fn sort_nearly_sorted<T: Copy, K: Ord>(all: &mut [T], key: impl Fn(&T) -> K) {
    let mut moves_left = 8 * all.len();
    for at in 1..all.len() {
        let (each, each_key) = (all[at], key(&all[at]));
        let mut to = at;
        while to > 0 && key(&all[to - 1]) > each_key {
            all[to] = all[to - 1];
            to -= 1;
        }
        all[to] = each;
        moves_left = moves_left.saturating_sub(at - to);
        if moves_left == 0 {
            all.sort_by_key(key);
            return;
        }
    }
}
