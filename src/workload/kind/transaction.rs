//! Transactions: one number for two keys of one hash tag, by MULTI and EXEC or by a script, and MGET of both.

use redis::Value;

use super::{Answer, Request, number};
use crate::history::{Detail, FOREIGN, FinalValue};
use crate::wire::command;

/// Sets both keys. A script is executed as a whole, as a transaction is.
const SCRIPT: &str = "redis.call('SET', KEYS[1], ARGV[1]); redis.call('SET', KEYS[2], ARGV[1]); return 1";

/// Odd numbers are written by MULTI and EXEC, even ones by EVAL.
pub(super) fn write([one, other]: [&str; 2], written: u32, value: &str) -> Request {
    if written.is_multiple_of(2) {
        return vec![command(&["EVAL", SCRIPT, "2", one, other, value])];
    }
    let sets = [one, other].map(|key| command(&["SET", key, value]));
    [command(&["MULTI"])].into_iter().chain(sets).chain([command(&["EXEC"])]).collect()
}

pub(super) fn read([one, other]: [&str; 2]) -> Vec<String> {
    ["MGET", one, other].map(str::to_owned).to_vec()
}

/// The number that both keys hold. Halves are [`FOREIGN`], and both are kept beside it.
pub(super) fn seen(answer: &Value) -> Answer {
    match numbers(answer) {
        Some([one, other]) if one == other => Answer { value: one, detail: None },
        Some(halves) => Answer { value: FOREIGN, detail: Some(Detail { items: halves.to_vec(), ..Detail::default() }) },
        None => Answer { value: FOREIGN, detail: None },
    }
}

pub(super) fn last(answer: &Value) -> FinalValue {
    match numbers(answer) {
        Some([0, 0]) => FinalValue::Missing,
        Some([one, other]) if one == other && one != FOREIGN => FinalValue::Number(one),
        Some([FOREIGN, FOREIGN]) | None => super::foreign(answer),
        Some(halves) => FinalValue::Numbers(halves.to_vec()),
    }
}

fn numbers(answer: &Value) -> Option<[u32; 2]> {
    match answer {
        Value::Array(values) => values.iter().map(number).collect::<Vec<_>>().try_into().ok(),
        _ => None,
    }
}
