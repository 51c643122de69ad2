//! Histories in the format of Jepsen, so that Knossos, Elle and Porcupine can judge a run of slotquake, and slotquake a run
//! of others.
//!
//! A history is a sequence of entries: each operation has one when it was invoked, and one when its outcome was known.
//! Registers use the functions `read` and `write` with values `[key value]`, as Jepsen's independent keys do. Lists and
//! transactions use Elle's `txn` with micro-operations: `[:append key element]`, `[:r key elements]`, `[:w key value]`.
//! Counters use `add`, whose answer is the new number, and `read`.

mod edn;
mod judging;
mod pairs;

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::history::{EventKind, FOREIGN, FinalValue, History, Op, Outcome, key_name, kind_of, stored_names};
use crate::suite::{DataKind, OpKind};

pub use judging::{Judged, KeyVerdict, judge};

/// How a history is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Clojure's data notation: a map a line.
    Edn,
    /// One JSON object a line.
    Json,
}

/// What an entry tells of its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was sent.
    Invoke,
    /// It took effect, with this value.
    Ok,
    /// It had no effect, and never will.
    Fail,
    /// Nobody knows. Its process sends nothing after it.
    Info,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Invoke, Self::Ok, Self::Fail, Self::Info];

    fn word(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        }
    }
}

/// One entry. Names and keywords are strings in its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What it tells.
    pub kind: Kind,
    /// The function: `read`, `write`, `add`, `txn`, `cas`.
    pub function: String,
    /// Its argument, or its answer.
    pub value: Value,
    /// Who sent it. A process has one operation under way at most.
    pub process: String,
    /// When, in nanoseconds from the start; None if the history does not tell.
    pub time_ns: Option<u64>,
    /// The node that answered, if that is known: `node-3`.
    pub node: Option<String>,
}

/// What an export leaves out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The operations of kinds of data that the format has no words for.
    pub other_kinds: usize,
    /// The operations whose value the workload never wrote.
    pub foreign: usize,
}

/// The entries of a history in order of time, and what they leave out. What was never sent has none. The final reads are
/// those of a process of their own.
pub fn entries(history: &History) -> (Vec<Entry>, LeftOut) {
    let mut left_out = LeftOut::default();
    let mut told = Vec::new();
    for (position, op) in history.ops.iter().enumerate().filter(|(_, op)| op.outcome().was_tried()) {
        let detail = history.detail(position).map_or(&[][..], |detail| detail.items.as_slice());
        match Told::of(op, detail) {
            Ok(one) => told.push(one),
            Err(Untold::Kind) => left_out.other_kinds += 1,
            Err(Untold::Foreign) => left_out.foreign += 1,
        }
    }
    for event in &history.events {
        let EventKind::FinalRead { key, node, value } = &event.kind else { continue };
        match final_read(*key, value) {
            Ok(Some((function, asked, answered))) => told.push(Told {
                invoke_ns: event.at_ns,
                complete_ns: event.at_ns,
                client: None,
                end: Kind::Ok,
                function,
                asked,
                answered,
                node: node.map(|node| node.to_string()),
            }),
            Ok(None) => {}
            Err(Untold::Kind) => left_out.other_kinds += 1,
            Err(Untold::Foreign) => left_out.foreign += 1,
        }
    }
    (pairs::in_order(&told), left_out)
}

/// An operation in the words of the format.
struct Told {
    invoke_ns: u64,
    complete_ns: u64,
    /// None for the final reads.
    client: Option<u16>,
    end: Kind,
    function: &'static str,
    asked: Value,
    answered: Value,
    node: Option<String>,
}

enum Untold {
    Kind,
    Foreign,
}

impl Told {
    fn of(op: &Op, items: &[u32]) -> Result<Self, Untold> {
        let end = match (op.outcome(), op.kind()) {
            (Outcome::Ok, _) => Kind::Ok,
            (Outcome::Info(_), OpKind::Writes) => Kind::Info,
            // A read without an answer had no effect.
            (Outcome::Fail(_) | Outcome::Unsent(_), _) | (Outcome::Info(_), OpKind::Reads) => Kind::Fail,
        };
        let (function, asked, answered) = words(op, items, end)?;
        Ok(Self {
            invoke_ns: op.invoke_ns(),
            complete_ns: op.complete_ns(),
            client: Some(op.client()),
            end,
            function,
            asked,
            answered: if end == Kind::Ok { answered } else { Value::Null },
            node: (op.node() > 0).then(|| format!("node-{}", op.node())),
        })
    }
}

/// A function, its argument and its answer.
type Words = (&'static str, Value, Value);

fn words(op: &Op, items: &[u32], end: Kind) -> Result<Words, Untold> {
    let (key, value) = (op.key(), op.value());
    if op.kind() == OpKind::Reads {
        return read_words(key, value, items);
    }
    let name = key_name(key);
    let same = |function, value: Value| Ok((function, value.clone(), value));
    match kind_of(key).0 {
        DataKind::Register => same("write", json!([name, value])),
        DataKind::Counter => {
            let answer = if end == Kind::Ok { number(value)? } else { Value::Null };
            Ok(("add", json!([name, 1]), json!([name, answer])))
        }
        DataKind::List => same("txn", json!([["append", name, value]])),
        DataKind::Transaction => {
            let names = stored_names(key);
            same("txn", json!([["w", names[0], value], ["w", names[1], value]]))
        }
        _ => Err(Untold::Kind),
    }
}

/// The words of a read that saw a value, or these items.
fn read_words(key: u32, value: u32, items: &[u32]) -> Result<Words, Untold> {
    let name = key_name(key);
    match kind_of(key).0 {
        DataKind::Register | DataKind::Counter => {
            Ok(("read", json!([name, Value::Null]), json!([name, number(value)?])))
        }
        DataKind::List if items.contains(&FOREIGN) || items.len() != value as usize => Err(Untold::Foreign),
        DataKind::List => Ok(("txn", json!([["r", name, Value::Null]]), json!([["r", name, items]]))),
        DataKind::Transaction => {
            let names = stored_names(key);
            let held = if let &[one, other] = items { [one, other] } else { [value; 2] };
            let [one, other] = [number(held[0])?, number(held[1])?];
            let asked = json!([["r", names[0], Value::Null], ["r", names[1], Value::Null]]);
            Ok(("txn", asked, json!([["r", names[0], one], ["r", names[1], other]])))
        }
        _ => Err(Untold::Kind),
    }
}

/// A number of the workload; nil for 0.
fn number(value: u32) -> Result<Value, Untold> {
    match value {
        0 => Ok(Value::Null),
        FOREIGN => Err(Untold::Foreign),
        value => Ok(json!(value)),
    }
}

/// The words of a final read; None if the key could not be read.
fn final_read(key: u32, value: &FinalValue) -> Result<Option<Words>, Untold> {
    match value {
        FinalValue::Unreadable(_) => Ok(None),
        FinalValue::Foreign(_) => Err(Untold::Foreign),
        FinalValue::Number(number) => read_words(key, *number, &[]).map(Some),
        FinalValue::Missing => read_words(key, 0, &[]).map(Some),
        FinalValue::Numbers(items) => read_words(key, items.len() as u32, items).map(Some),
    }
}

/// The text of entries, a line each.
pub fn write(entries: &[Entry], form: Form) -> String {
    let mut text = String::new();
    for (index, entry) in entries.iter().enumerate() {
        let Entry { kind, function, value, process, time_ns, node } = entry;
        match form {
            Form::Edn => {
                let _ = write!(text, "{{:index {index}, :type :{}, :f :{function}, :value ", kind.word());
                edn::write(&mut text, value);
                let _ = write!(text, ", :process {process}");
                if let Some(time_ns) = time_ns {
                    let _ = write!(text, ", :time {time_ns}");
                }
                if let Some(node) = node {
                    let _ = write!(text, ", :node \"{node}\"");
                }
                text.push_str("}\n");
            }
            Form::Json => {
                let mut map = Map::new();
                let process = process.parse::<u64>().map_or_else(|_| json!(process), |number| json!(number));
                map.extend([("index".to_owned(), json!(index)), ("type".to_owned(), json!(kind.word()))]);
                map.extend([("f".to_owned(), json!(function)), ("value".to_owned(), value.clone())]);
                map.insert("process".to_owned(), process);
                map.extend(time_ns.map(|time_ns| ("time".to_owned(), json!(time_ns))));
                map.extend(node.as_ref().map(|node| ("node".to_owned(), json!(node))));
                let _ = writeln!(text, "{}", Value::Object(map));
            }
        }
    }
    text
}

/// Reads entries: a map each, one after another or in a vector. Those of the nemesis are no operations. The error says where
/// the text is wrong.
pub fn read(text: &str, form: Form) -> Result<Vec<Entry>, String> {
    let values = match form {
        Form::Edn => edn::read(text)?,
        Form::Json => {
            let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
            values.collect::<Result<Vec<Value>, _>>().map_err(|error| format!("this is no JSON: {error}"))?
        }
    };
    let flat = values.into_iter().flat_map(|value| match value {
        Value::Array(all) => all,
        one => vec![one],
    });
    let mut entries = Vec::new();
    for (position, value) in flat.enumerate() {
        entries.extend(entry(&value).map_err(|error| format!("entry {}: {error}", position + 1))?);
    }
    Ok(entries)
}

/// An entry; None for one of the nemesis.
fn entry(value: &Value) -> Result<Option<Entry>, String> {
    let Some(map) = value.as_object() else { return Err(format!("`{value}` is no map")) };
    let get = |name: &str| map.get(name).ok_or_else(|| format!("it has no `{name}`"));
    let process = match get("process")? {
        Value::String(name) if name == "nemesis" => return Ok(None),
        Value::String(name) => name.clone(),
        other => other.to_string(),
    };
    let word = get("type")?.as_str().unwrap_or_default();
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
    let kind = kind.ok_or_else(|| format!("its type is `{word}`, and not invoke, ok, fail or info"))?;
    let function = get("f")?.as_str().ok_or("its `f` is no name")?.to_owned();
    // Porcupine's files have the key beside the value.
    let value = map.get("value").cloned().unwrap_or_default();
    let value = map.get("key").map_or(value.clone(), |key| json!([key, value]));
    let time_ns = map.get("time").and_then(Value::as_u64);
    let node = map.get("node").and_then(Value::as_str).map(str::to_owned);
    Ok(Some(Entry { kind, function, value, process, time_ns, node }))
}
