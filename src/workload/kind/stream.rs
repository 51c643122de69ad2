//! Streams: XADD of entries with one field, and XRANGE of all.

use redis::Value;

use super::Request;
use crate::wire::command;

pub(super) fn write(name: &str, value: &str) -> Request {
    vec![command(&["XADD", name, "*", "v", value])]
}

pub(super) fn read(name: &str) -> Vec<String> {
    ["XRANGE", name, "-", "+"].map(str::to_owned).to_vec()
}

/// The values of the entries, in their order. An entry is its id, and its fields with their values.
pub(super) fn values(answer: &Value) -> Value {
    let value = |entry: &Value| match entry {
        Value::Array(parts) => match parts.as_slice() {
            [_, Value::Array(fields)] if fields.len() == 2 => fields[1].clone(),
            _ => entry.clone(),
        },
        other => other.clone(),
    };
    match answer {
        Value::Array(entries) => Value::Array(entries.iter().map(value).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_its_value() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let entry = |id: &str, value: &str| Value::Array(vec![text(id), Value::Array(vec![text("v"), text(value)])]);
        let stream = Value::Array(vec![entry("1-1", "1"), entry("1-2", "2")]);
        assert_eq!(values(&stream), Value::Array(vec![text("1"), text("2")]));
        let other = Value::Array(vec![text("1-1")]);
        assert_eq!(values(&other), other);
    }
}
