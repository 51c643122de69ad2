//! What shows that a rule is violated: at most four operations, and a sentence.

use super::{Kind, NIL, Operation};
use crate::words::at;

/// The operations that show a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A read returned a value that nobody wrote to this key.
    Unwritten {
        /// The read.
        read: Operation,
    },
    /// A read returned the value of a write that was refused.
    Refused {
        /// The read.
        read: Operation,
        /// The write.
        write: Operation,
    },
    /// A read returned a value and ended before its write was sent.
    Early {
        /// The read.
        read: Operation,
        /// The write.
        write: Operation,
    },
    /// A read returned an older value after a newer one was in effect.
    WentBack {
        /// The read of the older value.
        read: Operation,
        /// By its response the newer value was in effect, before the read was sent.
        newer: Operation,
        /// The operation on the newer value that was sent after the older one was in effect.
        began: Operation,
        /// By its response the older value was in effect, before `began` was sent; None where the key was still empty.
        older: Option<Operation>,
    },
}

impl Violation {
    /// The read that shows it.
    pub fn read(&self) -> &Operation {
        match self {
            Self::Unwritten { read }
            | Self::Refused { read, .. }
            | Self::Early { read, .. }
            | Self::WentBack { read, .. } => read,
        }
    }

    /// The operations that show it, each once, in the order in which they were sent.
    pub fn ops(&self) -> Vec<Operation> {
        let mut ops = match *self {
            Self::Unwritten { read } => vec![read],
            Self::Refused { read, write } | Self::Early { read, write } => vec![read, write],
            Self::WentBack { read, newer, began, older } => [read, newer, began].into_iter().chain(older).collect(),
        };
        ops.sort_by_key(|op| (op.invoke_ns, op.complete_ns, op.value, op.client));
        ops.dedup();
        ops
    }

    /// The violation in a sentence, without a full stop: `client-2 read version 41 of key-17 from node-4 at 8.120 s,
    /// after ...`.
    pub fn describe(&self, key: &str) -> String {
        match self {
            Self::Unwritten { read } => format!("{}, which no client wrote", did_read(read, key)),
            Self::Refused { read, write } => format!(
                "{}, though {}'s write of it had been refused at {}",
                did_read(read, key),
                write.client,
                at(write.complete_ns)
            ),
            Self::Early { read, write } => format!(
                "{} and had the answer at {}, before {} sent the write of it at {}",
                did_read(read, key),
                at(read.complete_ns),
                write.client,
                at(write.invoke_ns)
            ),
            Self::WentBack { read, newer, began, older } => {
                let text = format!("{}, after {}", did_read(read, key), had_done(newer));
                let Some(older) = older else { return text };
                let sent = match began.kind {
                    Kind::Write(_) => format!("{} sent version {}", began.client, began.value),
                    Kind::Read => format!("{} asked for the key and read version {}", began.client, began.value),
                };
                format!(
                    "{text}; version {} is the older one: {}, before {sent} at {}",
                    older.value,
                    had_done(older),
                    at(began.invoke_ns)
                )
            }
        }
    }
}

fn did_read(read: &Operation, key: &str) -> String {
    let what = match read.value {
        NIL => format!("no value of {key}"),
        u32::MAX => format!("a foreign value of {key}"),
        version => format!("version {version} of {key}"),
    };
    format!("{} read {what}{} at {}", read.client, node(" from ", read), at(read.invoke_ns))
}

fn had_done(op: &Operation) -> String {
    match op.kind {
        Kind::Write(_) => format!(
            "{}'s write of version {} had been acknowledged{} at {}",
            op.client,
            op.value,
            node(" by ", op),
            at(op.complete_ns)
        ),
        Kind::Read => {
            format!("{} had read version {}{} at {}", op.client, op.value, node(" from ", op), at(op.complete_ns))
        }
    }
}

fn node(preposition: &str, op: &Operation) -> String {
    if op.node.0 == 0 { String::new() } else { format!("{preposition}{}", op.node) }
}
