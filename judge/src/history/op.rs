//! One operation of the workload, packed: a history has millions of them.

use crate::suite::OpKind;

/// One operation of the workload, 32 bytes. [`OpParts`] are its parts by name; each has a method of the same name here.
///
/// What a kind of operation carries beyond a key and a number belongs into a table of its own beside the operations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// From the high bits: the issue in 48 bits, the client in 16.
    invoke_client: u64,
    /// From the high bits: the time from due to issue in 40 bits, the node in 16, the redirections in 8.
    late_node_redirects: u64,
    /// From the high bits: the time from issue to completion in 40 bits, the reason in 16, the kind in 6, the class of the
    /// outcome in 2.
    took_reason_kind: u64,
    key: u32,
    value: u32,
}

const _: () = assert!(size_of::<Op>() == 32, "millions of operations are held in memory");

/// The latest issue of an operation that a history holds, in nanoseconds from the start of the run: over 78 hours.
pub(super) const LAST_INVOKE_NS: u64 = (1 << 48) - 1;

/// The longest time from due to issue, and from issue to completion, that a history holds, in nanoseconds: over 18 minutes.
const LONGEST_NS: u64 = (1 << 40) - 1;

/// The kinds by their number in [`Op`], which has room for 64.
const KINDS: [OpKind; 2] = [OpKind::Reads, OpKind::Writes];

/// The parts of an operation by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpParts {
    /// When it was due by the rate of the workload, in nanoseconds from the start of the run.
    pub due_ns: u64,
    /// When it was issued, in nanoseconds from the start of the run.
    pub invoke_ns: u64,
    /// When its outcome was known, in nanoseconds from the start of the run.
    pub complete_ns: u64,
    /// The number of the key; its name is [`key_name`](super::key_name).
    pub key: u32,
    /// For a write the number written; for an INCR the one that it returned, 0 without an answer. For an acknowledged read the
    /// number read, 0 if the key did not exist, [`FOREIGN`] if the value is not one of the workload's.
    pub value: u32,
    /// The client, from 0.
    pub client: u16,
    /// The number of the node that answered last, or without an answer was asked last; 0 for none.
    pub node: u16,
    /// Read or write.
    pub kind: OpKind,
    /// The number of MOVED and ASK redirections that were followed.
    pub redirects: u8,
    /// What is known about its effect.
    pub outcome: Outcome,
}

/// Why an operation cannot be held in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// Its times are in no possible order.
    #[error("an operation due at {due_ns} ns, issued at {invoke_ns} and completed at {complete_ns}")]
    Disordered {
        /// [`OpParts::due_ns`].
        due_ns: u64,
        /// [`OpParts::invoke_ns`].
        invoke_ns: u64,
        /// [`OpParts::complete_ns`].
        complete_ns: u64,
    },
    /// It was issued too late in the run.
    #[error("an operation issued at {0} ns, more than 78 hours after the start")]
    Late(u64),
    /// It was due too long before its issue, or completed too long after it.
    #[error(
        "an operation due at {due_ns} ns, issued at {invoke_ns} and completed at {complete_ns}: over 18 minutes between them"
    )]
    Long {
        /// [`OpParts::due_ns`].
        due_ns: u64,
        /// [`OpParts::invoke_ns`].
        invoke_ns: u64,
        /// [`OpParts::complete_ns`].
        complete_ns: u64,
    },
}

impl TryFrom<OpParts> for Op {
    type Error = OpError;

    fn try_from(parts: OpParts) -> Result<Self, OpError> {
        let OpParts { due_ns, invoke_ns, complete_ns, key, value, client, node, kind, redirects, outcome } = parts;
        let (Some(late_ns), Some(took_ns)) = (invoke_ns.checked_sub(due_ns), complete_ns.checked_sub(invoke_ns)) else {
            return Err(OpError::Disordered { due_ns, invoke_ns, complete_ns });
        };
        if invoke_ns > LAST_INVOKE_NS {
            return Err(OpError::Late(invoke_ns));
        }
        if late_ns.max(took_ns) > LONGEST_NS {
            return Err(OpError::Long { due_ns, invoke_ns, complete_ns });
        }
        let kind = match kind {
            OpKind::Reads => 0,
            OpKind::Writes => 1,
        };
        let (class, reason) = match outcome {
            Outcome::Ok => (0, 0),
            Outcome::Fail(reason) => (1, reason),
            Outcome::Info(reason) => (2, reason),
            Outcome::Unsent(reason) => (3, reason),
        };
        let sort = Sort(kind << 2 | class);
        Ok(Packed { invoke_ns, late_ns, took_ns, key, value, client, node, redirects, sort, reason }.op())
    }
}

/// The kind of an operation and the class of its outcome, as one number below [`Sort::COUNT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sort(pub u8);

impl Sort {
    /// How many there are.
    pub const COUNT: u8 = (KINDS.len() as u8) << 2;

    /// The number of the kind: 0 for a read, 1 for a write.
    #[inline]
    pub fn kind(self) -> u8 {
        self.0 >> 2
    }

    /// Whether the server acknowledged it.
    #[inline]
    pub fn is_ok(self) -> bool {
        matches!(self.0 & 3, 0)
    }

    /// Whether it has no value: a read without an answer, or what was never sent.
    #[inline]
    pub fn is_blank(self) -> bool {
        const UNSENT_WRITE: u8 = 1 << 2 | 3;
        matches!(self.0, 1..=3 | UNSENT_WRITE)
    }
}

/// The parts of an operation as [`Op`] holds them. Times are in nanoseconds; `invoke_ns` has at most 48 bits, `late_ns` and
/// `took_ns` have at most 40.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed {
    pub invoke_ns: u64,
    pub late_ns: u64,
    pub took_ns: u64,
    pub key: u32,
    pub value: u32,
    pub client: u16,
    pub node: u16,
    pub redirects: u8,
    pub sort: Sort,
    /// The position of the reason; 0 for an acknowledged operation.
    pub reason: u16,
}

impl Packed {
    /// The operation.
    #[inline]
    pub fn op(self) -> Op {
        Op {
            invoke_client: self.invoke_ns << 16 | u64::from(self.client),
            late_node_redirects: self.late_ns << 24 | u64::from(self.node) << 8 | u64::from(self.redirects),
            took_reason_kind: self.took_ns << 24 | u64::from(self.reason) << 8 | u64::from(self.sort.0),
            key: self.key,
            value: self.value,
        }
    }
}

impl Op {
    /// [`OpParts::due_ns`].
    #[inline]
    pub fn due_ns(&self) -> u64 {
        self.invoke_ns() - self.late_ns()
    }

    /// [`OpParts::invoke_ns`].
    #[inline]
    pub fn invoke_ns(&self) -> u64 {
        self.invoke_client >> 16
    }

    /// [`OpParts::complete_ns`].
    #[inline]
    pub fn complete_ns(&self) -> u64 {
        self.invoke_ns() + self.took_ns()
    }

    /// The time from its due time to its issue, in nanoseconds.
    #[inline]
    pub fn late_ns(&self) -> u64 {
        self.late_node_redirects >> 24
    }

    /// The time from its issue to its completion, in nanoseconds.
    #[inline]
    pub fn took_ns(&self) -> u64 {
        self.took_reason_kind >> 24
    }

    /// [`OpParts::key`].
    #[inline]
    pub fn key(&self) -> u32 {
        self.key
    }

    /// [`OpParts::value`].
    #[inline]
    pub fn value(&self) -> u32 {
        self.value
    }

    /// [`OpParts::client`].
    #[inline]
    pub fn client(&self) -> u16 {
        self.invoke_client as u16
    }

    /// [`OpParts::node`].
    #[inline]
    pub fn node(&self) -> u16 {
        (self.late_node_redirects >> 8) as u16
    }

    /// [`OpParts::kind`].
    #[inline]
    pub fn kind(&self) -> OpKind {
        KINDS[usize::from(self.took_reason_kind as u8 >> 2)]
    }

    /// Its kind and the class of its outcome.
    #[inline]
    pub(super) fn sort(&self) -> Sort {
        Sort(self.took_reason_kind as u8)
    }

    /// The position of the reason of its outcome; 0 for an acknowledged operation.
    #[inline]
    pub(super) fn reason(&self) -> u16 {
        (self.took_reason_kind >> 8) as u16
    }

    /// [`OpParts::redirects`].
    #[inline]
    pub fn redirects(&self) -> u8 {
        self.late_node_redirects as u8
    }

    /// [`OpParts::outcome`].
    #[inline]
    pub fn outcome(&self) -> Outcome {
        let reason = self.reason();
        match self.took_reason_kind & 3 {
            0 => Outcome::Ok,
            1 => Outcome::Fail(reason),
            2 => Outcome::Info(reason),
            _ => Outcome::Unsent(reason),
        }
    }

    /// Its parts by name.
    pub fn parts(&self) -> OpParts {
        OpParts {
            due_ns: self.due_ns(),
            invoke_ns: self.invoke_ns(),
            complete_ns: self.complete_ns(),
            key: self.key,
            value: self.value,
            client: self.client(),
            node: self.node(),
            kind: self.kind(),
            redirects: self.redirects(),
            outcome: self.outcome(),
        }
    }

    /// Whether the server acknowledged it within that time of its issue, in nanoseconds.
    #[inline]
    pub fn is_served_within(&self, patience_ns: u64) -> bool {
        self.outcome().is_ok() && self.took_ns() <= patience_ns
    }
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.parts().fmt(f)
    }
}

/// The value of a read that returned a value which the workload never wrote.
pub const FOREIGN: u32 = u32::MAX;

/// What is known about the effect of an operation. An operation that may have happened is `Info`; nothing is guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The server acknowledged the operation.
    Ok,
    /// The operation certainly did not happen: refused connection, too many redirections, CLUSTERDOWN, ... The number is a
    /// position in [`History::reasons`](super::History::reasons).
    Fail(u16),
    /// The operation may have happened: a timeout, or an I/O error after the command was written to a connection.
    Info(u16),
    /// The operation was due, and slotquake did not send it. It proves nothing about the cluster.
    Unsent(u16),
}

impl Outcome {
    /// Whether the server acknowledged it.
    #[inline]
    pub fn is_ok(self) -> bool {
        self == Self::Ok
    }

    /// Whether slotquake sent the operation, or at least tried to connect for it.
    #[inline]
    pub fn was_tried(self) -> bool {
        match self {
            Self::Ok | Self::Fail(_) | Self::Info(_) => true,
            Self::Unsent(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcomes() -> impl Strategy<Value = Outcome> {
        any::<(u8, u16)>().prop_map(|(class, reason)| match class % 4 {
            0 => Outcome::Ok,
            1 => Outcome::Fail(reason),
            2 => Outcome::Info(reason),
            _ => Outcome::Unsent(reason),
        })
    }

    proptest! {
        #[test]
        fn every_part_survives(
            (due_ns, late_ns, took_ns) in (0..1_u64 << 47, 0..=LONGEST_NS, 0..=LONGEST_NS),
            (key, value, client, node) in any::<(u32, u32, u16, u16)>(),
            kind in proptest::sample::select(KINDS.as_slice()),
            redirects in any::<u8>(),
            outcome in outcomes(),
        ) {
            let invoke_ns = due_ns + late_ns;
            let complete_ns = invoke_ns + took_ns;
            let parts =
                OpParts { due_ns, invoke_ns, complete_ns, key, value, client, node, kind, redirects, outcome };
            prop_assert_eq!(Op::try_from(parts).expect("it fits").parts(), parts);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let with = |due_ns, invoke_ns, complete_ns| {
            let (kind, outcome) = (OpKind::Writes, Outcome::Ok);
            let (key, value, client, node, redirects) = (u32::MAX, u32::MAX, u16::MAX, u16::MAX, u8::MAX);
            let parts = OpParts { due_ns, invoke_ns, complete_ns, key, value, client, node, kind, redirects, outcome };
            Op::try_from(parts).map(|op| assert_eq!(op.parts(), parts)).map_err(|error| error.to_string())
        };
        let (last, long) = (LAST_INVOKE_NS, LONGEST_NS);
        for (due_ns, invoke_ns, complete_ns, expected) in [
            (last - long, last, last + long, None),
            (0, long, long, None),
            (0, last + 1, last + 1, Some("78 hours")),
            (0, long + 1, long + 1, Some("18 minutes")),
            (5, 5, long + 6, Some("18 minutes")),
            (5, 4, 6, Some("due at 5 ns, issued at 4")),
            (5, 6, 5, Some("issued at 6 and completed at 5")),
        ] {
            let error = with(due_ns, invoke_ns, complete_ns).err();
            let fits = match (&error, expected) {
                (Some(error), Some(expected)) => error.contains(expected),
                (error, expected) => error.is_none() && expected.is_none(),
            };
            assert!(fits, "{due_ns} {invoke_ns} {complete_ns}: {error:?}");
        }
    }
}
