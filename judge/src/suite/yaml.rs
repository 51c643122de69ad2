//! Writing a suite as YAML: what [`super::parse`] reads again as the same suite.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{Suite, WorkloadSpec};

/// A suite as the text of a suite file: one line a step and an invariant. Settings of the workload that have their default
/// are left out.
pub fn to_yaml(suite: &Suite) -> String {
    let Value::Object(mut keys) = json!(suite) else { unreachable!("a suite is a mapping") };
    let defaults = json!(WorkloadSpec::default());
    if let Some(Value::Object(workload)) = keys.get_mut("workload") {
        workload.retain(|key, value| defaults.get(key) != Some(value));
        // The reader takes a mapping without keys for a missing one.
        if workload.is_empty() {
            keys.remove("workload");
        }
    }
    let order = ["name", "about", "cluster", "workload", "steps", "invariants"];
    let rest: Vec<String> = keys.keys().filter(|key| !order.contains(&key.as_str())).cloned().collect();
    let mut text = String::new();
    for key in order.into_iter().chain(rest.iter().map(String::as_str)) {
        match keys.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::Array(items)) => {
                _ = writeln!(text, "{key}:");
                for item in items {
                    _ = writeln!(text, "  - {}", entry(item));
                }
            }
            Some(Value::Object(map)) => {
                _ = writeln!(text, "{key}:");
                for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                    _ = writeln!(text, "  {key}: {}", flow(value));
                }
            }
            Some(value) => _ = writeln!(text, "{key}: {}", flow(value)),
        }
    }
    text
}

/// An item with one key, without braces.
fn entry(item: &Value) -> String {
    match item {
        Value::Object(map) if map.len() == 1 => pairs(map),
        item => flow(item),
    }
}

fn pairs(map: &Map<String, Value>) -> String {
    let pair = |(key, value): (&String, &Value)| format!("{}: {}", scalar(key), flow(value));
    map.iter().filter(|(_, value)| !value.is_null()).map(pair).collect::<Vec<_>>().join(", ")
}

fn flow(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => format!("{{ {} }}", pairs(map)),
    }
}

/// A text, quoted if YAML might take it for something else.
fn scalar(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._/%- ".contains(letter);
    let begins = text.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '/');
    // As `redis:6.2`.
    let name = text.split_once(':').filter(|(kind, version)| {
        !version.is_empty()
            && [kind, version].iter().all(|part| part.chars().all(|letter| letter != ' ' && is_plain(letter)))
    });
    if begins && !text.ends_with(' ') && (text.chars().all(is_plain) || name.is_some()) {
        return text.to_owned();
    }
    json!(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::suite::{parse, shipped};

    #[test]
    fn every_shipped_suite_is_read_again() {
        for (name, text) in shipped() {
            let suite = parse(text, Path::new(name)).expect("it reads");
            let written = to_yaml(&suite);
            let again =
                parse(&written, Path::new("written.yaml")).unwrap_or_else(|error| panic!("{name}: {error}\n{written}"));
            assert_eq!(again, suite, "{name}:\n{written}");
        }
    }

    #[test]
    fn quotes_what_is_no_plain_text() {
        for (text, expected) in [
            ("shard-1/master", "shard-1/master"),
            ("redis:6.2", "redis:6.2"),
            ("900 1", "900 1"),
            ("-1h", "\"-1h\""),
            ("a: b", "\"a: b\""),
            ("", "\"\""),
            ("it's #1", "\"it's #1\""),
        ] {
            assert_eq!(scalar(text), expected);
        }
    }
}
