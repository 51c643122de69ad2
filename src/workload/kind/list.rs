//! Lists: RPUSH of elements that are written once, and LRANGE of all.

use redis::Value;

use super::{Answer, Request, foreign, number};
use crate::history::{Detail, FOREIGN, FinalValue};
use crate::wire::command;

pub(super) fn write(name: &str, value: &str) -> Request {
    vec![command(&["RPUSH", name, value])]
}

pub(super) fn read(name: &str) -> Vec<String> {
    ["LRANGE", name, "0", "-1"].map(str::to_owned).to_vec()
}

/// The elements; the number of them fits into an operation.
pub(super) fn seen(answer: &Value) -> Answer {
    match answer {
        Value::Array(values) if values.is_empty() => Answer::default(),
        Value::Array(values) => {
            let items: Vec<u32> = values.iter().map(number).collect();
            Answer { value: items.len() as u32, detail: Some(Detail { items, ..Detail::default() }) }
        }
        _ => Answer { value: FOREIGN, detail: None },
    }
}

pub(super) fn last(answer: &Value) -> FinalValue {
    match answer {
        Value::Array(values) if values.is_empty() => FinalValue::Missing,
        Value::Array(values) => FinalValue::Numbers(values.iter().map(number).collect()),
        _ => foreign(answer),
    }
}
