//! A violation as it is stored and drawn: at most four operations on one key, and a sentence for readers who do not know
//! the name of the rule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Effect, Kind, NIL, Operation, Violation};
use crate::history::FOREIGN;
use crate::units::{ClientNo, NodeNo};
use crate::words::{at, length_ns};

/// Operations on one key that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Witness {
    /// The name of the key.
    pub key: String,
    /// Why the operations contradict each other, in a sentence.
    pub why: String,
    /// The operations in the order in which they were sent; at most [`Witness::OPS`].
    pub ops: Vec<WitnessOp>,
    /// What each operation did, as a command with its answer. Empty if all are SET and GET of a number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

/// One operation of a [`Witness`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WitnessOp {
    /// What it does.
    pub does: Does,
    /// The value written or read; None for a read that found nothing, 4294967295 for a value that no client wrote.
    pub value: Option<u32>,
    /// The client; None for the read at the end of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientNo>,
    /// The node that answered, or was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeNo>,
    /// When it was sent, in nanoseconds from the start of the run.
    pub invoke_ns: u64,
    /// When its outcome was known, or its client gave up, in nanoseconds from the start of the run.
    pub complete_ns: u64,
    /// What became of it.
    pub outcome: Effect,
    /// Whether it is the one that contradicts the others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contradicts: bool,
}

/// What an operation of a witness does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Does {
    /// SET by a client.
    Write,
    /// GET by a client.
    Read,
    /// GET at the end of the run, after the recovery. Only its end is known.
    FinalRead,
}

impl Witness {
    /// The most operations of a witness.
    pub const OPS: usize = 4;

    /// The witness of a violation.
    pub fn new(key: &str, violation: &Violation) -> Self {
        let read = violation.read();
        let ops = violation.ops().into_iter().map(|op| WitnessOp { contradicts: op == *read, ..WitnessOp::of(&op) });
        Self { key: key.to_owned(), why: why(key, violation), ops: ops.collect(), commands: Vec::new() }
    }

    /// What an operation did, as a command with its answer: `SET key-17 = 42`. `key` is how the name of the key is shown.
    pub fn command(&self, position: usize, key: &str) -> String {
        let own = self.commands.get(position).cloned();
        own.or_else(|| self.ops.get(position).map(|op| op.command(key))).unwrap_or_default()
    }
}

impl WitnessOp {
    /// An operation as it is drawn.
    pub fn of(op: &Operation) -> Self {
        let (does, outcome) = match op.kind {
            Kind::Read => (Does::Read, Effect::Certain),
            Kind::Write(effect) => (Does::Write, effect),
        };
        Self {
            does,
            value: (op.value != NIL).then_some(op.value),
            client: Some(op.client),
            node: (op.node.0 != 0).then_some(op.node),
            invoke_ns: op.invoke_ns,
            complete_ns: op.complete_ns,
            outcome,
            contradicts: false,
        }
    }

    /// What it does, as a command with its answer: `SET key-17 = 42`, `GET key-17 -> nothing`.
    fn command(&self, key: &str) -> String {
        match self.does {
            Does::Write => format!("SET {key} = {}", value(self.value.unwrap_or(NIL))),
            Does::Read | Does::FinalRead => format!("GET {key} -> {}", value(self.value.unwrap_or(NIL))),
        }
    }
}

fn value(value: u32) -> String {
    match value {
        NIL => "nothing".to_owned(),
        FOREIGN => "a foreign value".to_owned(),
        number => number.to_string(),
    }
}

/// Why a violation is none of a single copy of the key, in a sentence with a full stop.
fn why(key: &str, violation: &Violation) -> String {
    match violation {
        Violation::Unwritten { read } if read.value == FOREIGN => {
            format!("{} asked for {key} and got a value that no client wrote.", read.client)
        }
        Violation::Unwritten { read } => {
            format!("{} asked for {key} and got {}, which no client wrote.", read.client, read.value)
        }
        Violation::Refused { read, write } => format!(
            "{} got {} from {key}, but {}'s write of it had been refused, so it should never have been there.",
            read.client, read.value, write.client
        ),
        Violation::Early { read, write } => format!(
            "{} got {} from {key} {} before {} sent the write of it.",
            read.client,
            read.value,
            length_ns(write.invoke_ns.saturating_sub(read.complete_ns)),
            write.client
        ),
        Violation::WentBack { read, newer, began, older } => went_back(key, read, newer, began, older.as_ref()),
    }
}

fn went_back(key: &str, read: &Operation, newer: &Operation, began: &Operation, older: Option<&Operation>) -> String {
    let shown = match newer.kind {
        Kind::Write(_) => {
            format!("{key} was set to {}, which was acknowledged at {}", newer.value, at(newer.complete_ns))
        }
        Kind::Read => format!("{key} was read as {} by {}", newer.value, at(newer.complete_ns)),
    };
    let asked = format!("{} asked {} later", read.client, length_ns(read.invoke_ns.saturating_sub(newer.complete_ns)));
    match (read.value, older) {
        (NIL, _) => format!("{shown}. {asked} and got nothing, though no client removes a key."),
        (FOREIGN, _) => format!("{shown}. {asked} and got a value that no client wrote."),
        // A read on the newer value that was sent late shows only that both values were there, each for one stretch.
        (old, Some(older)) if began.kind == Kind::Read && began != newer => {
            let other = if newer.complete_ns < began.invoke_ns {
                format!("from {} or earlier until {} or later", at(newer.complete_ns), at(began.invoke_ns))
            } else {
                format!("at a moment between {} and {}", at(began.invoke_ns), at(newer.complete_ns))
            };
            format!(
                "Each value is written only once, so {key} holds it for one stretch of time. It held {old} from {} or \
                 earlier until {} or later, and {} {other}: both at once.",
                at(older.complete_ns),
                at(read.invoke_ns),
                newer.value
            )
        }
        (old, _) => format!("{shown}. {asked} and got {old} again, which is older and was written only once."),
    }
}
