//! Queues: RPUSH as for lists, and BLPOP by a client that waits.

use redis::{Cmd, Value};

use super::number;
use crate::wire::command;

/// A timeout of 0 waits for ever.
pub(super) fn wait(name: &str) -> Cmd {
    command(&["BLPOP", name, "0"])
}

/// The answer is the name of the queue and the element.
pub(super) fn popped(answer: &Value) -> Option<u32> {
    match answer {
        Value::Array(values) if values.len() == 2 => Some(number(&values[1])),
        _ => None,
    }
}
