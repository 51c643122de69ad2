//! Sets: SADD and SREM of members that are added once, and SMEMBERS of all.

use redis::Value;

use super::{Request, encode, number};
use crate::consistency::{Change, change};
use crate::wire::command;

pub(super) fn write(name: &str, number: u32, size: u32) -> Request {
    vec![match change(number) {
        Change::Add(member) => command(&["SADD", name, &encode(member, size)]),
        Change::Remove(member) => command(&["SREM", name, &encode(member, size)]),
    }]
}

pub(super) fn read(name: &str) -> Vec<String> {
    ["SMEMBERS", name].map(str::to_owned).to_vec()
}

/// The members in the order of their numbers, since a set has none.
pub(super) fn sorted(answer: &Value) -> Value {
    match answer {
        Value::Array(members) | Value::Set(members) => {
            let mut members = members.clone();
            members.sort_by_key(number);
            Value::Array(members)
        }
        other => other.clone(),
    }
}
