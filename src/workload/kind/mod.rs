//! How each kind of data is driven: its commands, and what their answers mean. One file a kind.

mod blocking;
mod cas;
mod counter;
mod list;
mod pubsub;
mod register;
mod set;
mod stream;
mod transaction;
mod ttl;

pub(super) use cas::{Compared, replaced};
pub(super) use pubsub::{heard, subscribe};
use redis::{Cmd, Value};

use crate::cluster::Keyspace;
use crate::history::{Detail, FOREIGN, FinalValue, kind_of, stored_names};
use crate::suite::{DataKind, WorkloadSpec};
use crate::units::Span;
use crate::wire::{command, text};

/// What a client sends for one operation, on one connection and without another command between.
pub type Request = Vec<Cmd>;

/// What an answer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// See [`crate::history::Op::value`].
    pub value: u32,
    /// What does not fit into it.
    pub detail: Option<Detail>,
}

/// One key, and how its values look.
#[derive(Debug, Clone)]
pub struct Driven {
    kind: DataKind,
    /// Its names on the servers: one, or the two of a transaction.
    names: Vec<String>,
    value_size: u32,
    ttl: Span,
}

impl Driven {
    /// A key of the workload.
    pub fn new(key: u32, keys: &Keyspace, workload: &WorkloadSpec) -> Self {
        let names = stored_names(key).iter().map(|name| keys.name(name)).collect();
        Self { kind: kind_of(key).0, names, value_size: workload.value_size, ttl: workload.ttl() }
    }

    /// Whether a write first reads what it expects, and is then sent by [`super::Client::compare_and_set`].
    pub fn compares(&self) -> bool {
        self.kind == DataKind::Cas
    }

    /// How a number is written where the expected one is still there: by a script, or by WATCH, MULTI and EXEC.
    pub(super) fn compared(&self, expected: u32, number: u32) -> Compared {
        cas::compared(self.name(), expected, number, self.value_size)
    }

    /// The number in the answer to GET; None for what the workload never wrote.
    pub(super) fn expected(answer: &Value) -> Option<u32> {
        Some(number(answer)).filter(|&number| number != FOREIGN)
    }

    /// The command that takes the first element of a queue, and waits for one for ever.
    pub fn wait(&self) -> Cmd {
        blocking::wait(self.name())
    }

    /// The element in the answer to [`Self::wait`]; None for an answer without one.
    pub fn popped(&self, answer: &Value) -> Option<u32> {
        blocking::popped(answer)
    }

    /// Its name on the servers; the first of two.
    pub fn name(&self) -> &str {
        &self.names[0]
    }

    fn both(&self) -> [&str; 2] {
        [&self.names[0], &self.names[1]]
    }

    /// The request that writes a number.
    pub fn write(&self, number: u32) -> Request {
        match self.kind {
            DataKind::Register => register::write(self.name(), &encode(number, self.value_size)),
            DataKind::Ttl => ttl::write(self.name(), &encode(number, self.value_size), self.ttl),
            DataKind::Counter => counter::write(self.name()),
            DataKind::Set => set::write(self.name(), number, self.value_size),
            // What it expects is read first: see [`Self::compared`].
            DataKind::Cas => cas::by_script(self.name(), 0, number, self.value_size),
            DataKind::Stream => stream::write(self.name(), &encode(number, self.value_size)),
            DataKind::Pubsub => pubsub::write("PUBLISH", self.name(), &encode(number, self.value_size)),
            DataKind::ShardedPubsub => pubsub::write("SPUBLISH", self.name(), &encode(number, self.value_size)),
            DataKind::List | DataKind::Blocking => list::write(self.name(), &encode(number, self.value_size)),
            DataKind::Transaction => transaction::write(self.both(), number, &encode(number, self.value_size)),
        }
    }

    /// What the answer to a write of a number says; None without an answer.
    pub fn written(&self, number: u32, answer: Option<&Value>) -> Answer {
        match self.kind {
            DataKind::Register
            | DataKind::List
            | DataKind::Transaction
            | DataKind::Ttl
            | DataKind::Pubsub
            | DataKind::ShardedPubsub
            | DataKind::Blocking
            | DataKind::Set
            | DataKind::Cas
            | DataKind::Stream => Answer { value: number, detail: None },
            DataKind::Counter => answer.map_or_else(Answer::default, counter::written),
        }
    }

    /// The request that reads the key.
    pub fn read(&self) -> Request {
        vec![command(&self.read_words())]
    }

    /// The command that reads the key.
    pub fn read_words(&self) -> Vec<String> {
        match self.kind {
            DataKind::Register | DataKind::Ttl | DataKind::Cas => register::read(self.name()),
            DataKind::Set => set::read(self.name()),
            DataKind::Stream => stream::read(self.name()),
            DataKind::Counter => counter::read(self.name()),
            DataKind::Pubsub | DataKind::ShardedPubsub => pubsub::read(self.name()),
            DataKind::List | DataKind::Blocking => list::read(self.name()),
            DataKind::Transaction => transaction::read(self.both()),
        }
    }

    /// What the answer to a read says.
    pub fn seen(&self, answer: &Value) -> Answer {
        match self.kind {
            DataKind::Register | DataKind::Counter | DataKind::Ttl | DataKind::Cas => {
                Answer { value: number(answer), detail: None }
            }
            DataKind::Pubsub | DataKind::ShardedPubsub => Answer::default(),
            DataKind::List | DataKind::Blocking => list::seen(answer),
            DataKind::Set => list::seen(&set::sorted(answer)),
            DataKind::Stream => list::seen(&stream::values(answer)),
            DataKind::Transaction => transaction::seen(answer),
        }
    }

    /// What the answer to a read at the end says.
    pub fn last(&self, answer: &Value) -> FinalValue {
        match self.kind {
            DataKind::Register | DataKind::Counter | DataKind::Ttl | DataKind::Cas => match number(answer) {
                0 => FinalValue::Missing,
                FOREIGN => foreign(answer),
                number => FinalValue::Number(number),
            },
            DataKind::Pubsub | DataKind::ShardedPubsub => FinalValue::Missing,
            DataKind::List | DataKind::Blocking => list::last(answer),
            DataKind::Set => list::last(&set::sorted(answer)),
            DataKind::Stream => list::last(&stream::values(answer)),
            DataKind::Transaction => transaction::last(answer),
        }
    }
}

/// A value that the workload never wrote.
fn foreign(answer: &Value) -> FinalValue {
    FinalValue::Foreign(text(answer).chars().take(80).collect())
}

/// The number in an answer; 0 for none, [`FOREIGN`] for what the workload never wrote.
fn number(answer: &Value) -> u32 {
    match answer {
        Value::Nil => 0,
        answer => decode(answer).unwrap_or(FOREIGN),
    }
}

/// Encodes a number as a value of `size` bytes: the number, a space, padding. Longer if the number needs it.
fn encode(number: u32, size: u32) -> String {
    let mut value = number.to_string();
    if value.len() < size as usize {
        value.push(' ');
        value.extend(std::iter::repeat_n('.', size as usize - value.len()));
    }
    value
}

/// The number in a value that the workload wrote; None for any other value.
fn decode(value: &Value) -> Option<u32> {
    let Value::BulkString(bytes) = value else { return None };
    let text = std::str::from_utf8(bytes).ok()?;
    let (number, padding) = text.split_once(' ').unwrap_or((text, ""));
    let is_padding = padding.bytes().all(|byte| byte == b'.');
    number.parse().ok().filter(|&number| is_padding && number > 0 && number < FOREIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_and_decodes_a_value() {
        for (number, size, expected) in [(7, 4, "7 .."), (7, 2, "7 "), (7, 1, "7"), (123, 0, "123"), (42, 6, "42 ...")]
        {
            let value = encode(number, size);
            assert_eq!(value, expected);
            assert_eq!(decode(&Value::BulkString(value.into_bytes())), Some(number));
        }
    }

    #[test]
    fn rejects_a_foreign_value() {
        for text in ["", "hello", "7x", "7 x", "0", "-1", "4294967295", "7  .."] {
            assert_eq!(decode(&Value::BulkString(text.as_bytes().to_vec())), None, "{text:?}");
        }
        assert_eq!(decode(&Value::Int(7)), None);
    }
}
