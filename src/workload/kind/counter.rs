//! Counters: INCR and GET.

use redis::Value;

use super::{Answer, Request};
use crate::history::FOREIGN;
use crate::wire::command;

pub(super) fn write(name: &str) -> Request {
    vec![command(&["INCR", name])]
}

/// The number after the increment.
pub(super) fn written(answer: &Value) -> Answer {
    let number = match answer {
        Value::Int(number) => u32::try_from(*number).ok().filter(|&number| number > 0),
        _ => None,
    };
    Answer { value: number.unwrap_or(FOREIGN), detail: None }
}

pub(super) fn read(name: &str) -> Vec<String> {
    vec!["GET".to_owned(), name.to_owned()]
}
