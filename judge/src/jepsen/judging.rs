//! Whether entries are linearizable: key by key, or for transactions over several keys the keys that they join.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::{Entry, Kind};
use crate::consistency::{Budget, Call, Found, Model, search};

/// What is judged of one key, or of keys that transactions join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The keys.
    pub keys: Vec<String>,
    /// The operations that may have taken effect.
    pub operations: usize,
    /// Whether some order explains every answer.
    pub verdict: KeyVerdict,
}

/// Whether some order of operations explains every answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyVerdict {
    /// One does.
    Linearizable,
    /// None does. With the operation that no order reaches, in words.
    Violated(String),
    /// The search was given up.
    Undecided,
}

/// What an operation does to keys, in order. Values have numbers; 0 is nil.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Micro {
    /// None if nobody told the answer.
    Read(String, Option<Held>),
    Write(String, u32),
    /// From, to, and whether it did; None if nobody told.
    Cas(String, u32, u32, Option<bool>),
    Append(String, u32),
    /// By how much, and the number after it, if that was told.
    Add(String, i64, Option<i64>),
}

type KeysCall = Call<Vec<Micro>>;

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Held {
    Value(u32),
    List(Vec<u32>),
    Number(i64),
}

impl Micro {
    fn key(&self) -> &str {
        match self {
            Self::Read(key, _)
            | Self::Write(key, _)
            | Self::Cas(key, ..)
            | Self::Append(key, _)
            | Self::Add(key, ..) => key,
        }
    }
}

/// Some keys together; each holds nothing at first.
struct Keys;

impl Model for Keys {
    type State = BTreeMap<String, Held>;
    type Op = Vec<Micro>;

    fn initial(&self) -> Self::State {
        BTreeMap::new()
    }

    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State> {
        let mut after = state.clone();
        for micro in op {
            let held = after.get(micro.key());
            match micro {
                Micro::Read(_, None) => {}
                Micro::Read(_, Some(wanted)) => {
                    let is_so = match (held, wanted) {
                        (Some(held), wanted) => held == wanted,
                        (None, Held::Value(value)) => *value == 0,
                        (None, Held::List(items)) => items.is_empty(),
                        (None, Held::Number(number)) => *number == 0,
                    };
                    if !is_so {
                        return None;
                    }
                }
                Micro::Write(key, value) => _ = after.insert(key.clone(), Held::Value(*value)),
                Micro::Cas(key, from, to, did) => {
                    let does = held.map_or(*from == 0, |held| *held == Held::Value(*from));
                    if did.is_some_and(|did| did != does) {
                        return None;
                    }
                    if does {
                        after.insert(key.clone(), Held::Value(*to));
                    }
                }
                Micro::Append(key, item) => {
                    let mut items = match held {
                        Some(Held::List(items)) => items.clone(),
                        _ => Vec::new(),
                    };
                    items.push(*item);
                    after.insert(key.clone(), Held::List(items));
                }
                Micro::Add(key, by, told) => {
                    let before = match held {
                        Some(Held::Number(number)) => *number,
                        _ => 0,
                    };
                    let now = before + by;
                    if told.is_some_and(|told| told != now) {
                        return None;
                    }
                    after.insert(key.clone(), Held::Number(now));
                }
            }
        }
        Some(after)
    }

    fn is_read(&self, op: &Self::Op) -> bool {
        op.iter().all(|micro| matches!(micro, Micro::Read(..) | Micro::Cas(.., Some(false))))
    }

    fn bytes(&self, state: &Self::State) -> usize {
        let of = |(key, held): (&String, &Held)| {
            let items = match held {
                Held::List(items) => items.len() * size_of::<u32>(),
                Held::Value(_) | Held::Number(_) => 0,
            };
            key.len() + items + size_of::<(String, Held)>()
        };
        size_of::<Self::State>() + state.iter().map(of).sum::<usize>()
    }
}

/// Judges entries in their order, which is that of time. The error says what nobody can judge, and in which entry.
pub fn judge(entries: &[Entry], budget: Budget) -> Result<Vec<Judged>, String> {
    let mut values = Values::default();
    let mut counters = BTreeSet::<String>::new();
    for entry in entries.iter().filter(|entry| ["add", "inc", "increment"].contains(&entry.function.as_str())) {
        if let Some(key) = split(&entry.value).0 {
            counters.insert(key);
        }
    }
    let mut open: HashMap<&str, (u64, &Entry)> = HashMap::new();
    let mut calls: Vec<KeysCall> = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        let at = position as u64;
        let wrong = |error: String| format!("entry {}: {error}", position + 1);
        if entry.kind == Kind::Invoke {
            if open.insert(&entry.process, (at, entry)).is_some() {
                return Err(wrong(format!("process {} has an operation under way", entry.process)));
            }
            continue;
        }
        let Some((invoke_ns, invoked)) = open.remove(entry.process.as_str()) else {
            return Err(wrong(format!("process {} has no operation under way", entry.process)));
        };
        let did_fail = entry.kind == Kind::Fail;
        // A compare-and-set that failed tells that the value was another one.
        if did_fail && invoked.function != "cas" {
            continue;
        }
        let told = (entry.kind == Kind::Ok).then_some(&entry.value);
        let op = micros(invoked, told, did_fail, &counters, &mut values).map_err(wrong)?;
        calls.push(Call { invoke_ns, complete_ns: (entry.kind != Kind::Info).then_some(at), op });
    }
    let mut left: Vec<_> = open.into_values().collect();
    left.sort_by_key(|(at, _)| *at);
    for (invoke_ns, invoked) in left {
        let wrong = |error: String| format!("entry {}: {error}", invoke_ns + 1);
        let op = micros(invoked, None, false, &counters, &mut values).map_err(wrong)?;
        calls.push(Call { invoke_ns, complete_ns: None, op });
    }
    // What only reads and was not answered tells nothing.
    calls.retain(|call| call.complete_ns.is_some() || call.op.iter().any(|micro| !matches!(micro, Micro::Read(..))));
    Ok(joined(calls).into_iter().map(|(keys, calls)| judged(keys, &calls, budget, &values)).collect())
}

fn judged(keys: Vec<String>, calls: &[KeysCall], budget: Budget, values: &Values) -> Judged {
    let verdict = match search(&Keys, calls, budget) {
        Found::Linearizable(_) => KeyVerdict::Linearizable,
        Found::Undecided => KeyVerdict::Undecided,
        Found::Violated { longest, stuck } => {
            let call = &calls[stuck];
            KeyVerdict::Violated(format!(
                "no order explains {} (entries {} to {}); the longest that explains its answers has {} of {} operations",
                values.words(&call.op),
                call.invoke_ns + 1,
                call.complete_ns.map_or_else(|| "the end".to_owned(), |at| (at + 1).to_string()),
                longest.len(),
                calls.len()
            ))
        }
    };
    Judged { keys, operations: calls.len(), verdict }
}

/// The operations by the keys that they join.
fn joined(calls: Vec<KeysCall>) -> Vec<(Vec<String>, Vec<KeysCall>)> {
    let mut group: BTreeMap<String, usize> = BTreeMap::new();
    let mut keys: Vec<Vec<String>> = Vec::new();
    for call in &calls {
        let mut first = None;
        for micro in &call.op {
            let of = *group.entry(micro.key().to_owned()).or_insert_with(|| {
                keys.push(vec![micro.key().to_owned()]);
                keys.len() - 1
            });
            let first = *first.get_or_insert(of);
            if first != of {
                let moved = std::mem::take(&mut keys[of]);
                for key in &moved {
                    group.insert(key.clone(), first);
                }
                keys[first].extend(moved);
            }
        }
    }
    let mut groups: Vec<Vec<KeysCall>> = keys.iter().map(|_| Vec::new()).collect();
    for call in calls {
        if let Some(of) = call.op.first().map(|micro| group[micro.key()]) {
            groups[of].push(call);
        }
    }
    keys.into_iter().zip(groups).filter(|(keys, _)| !keys.is_empty()).collect()
}

/// The numbers of values.
#[derive(Default)]
struct Values {
    numbers: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Values {
    fn of(&mut self, value: &Value) -> u32 {
        if value.is_null() {
            return 0;
        }
        let text = value.to_string();
        if let Some(number) = self.numbers.get(&text) {
            return *number;
        }
        self.texts.push(text.clone());
        let number = self.texts.len() as u32;
        self.numbers.insert(text, number);
        number
    }

    fn text(&self, number: u32) -> &str {
        number.checked_sub(1).map_or("nil", |position| &self.texts[position as usize])
    }

    fn words(&self, op: &[Micro]) -> String {
        let one = |micro: &Micro| match micro {
            Micro::Read(key, held) => {
                let seen = match held {
                    None => "what nobody told".to_owned(),
                    Some(Held::Value(value)) => self.text(*value).to_owned(),
                    Some(Held::Number(number)) => number.to_string(),
                    Some(Held::List(items)) => {
                        let items: Vec<&str> = items.iter().map(|item| self.text(*item)).collect();
                        format!("[{}]", items.join(" "))
                    }
                };
                format!("the read of {key} that saw {seen}")
            }
            Micro::Write(key, value) => format!("the write of {} to {key}", self.text(*value)),
            Micro::Cas(key, from, to, did) => format!(
                "the compare-and-set of {key} from {} to {} that {}",
                self.text(*from),
                self.text(*to),
                if *did == Some(false) { "found another value" } else { "found it" }
            ),
            Micro::Append(key, item) => format!("the append of {} to {key}", self.text(*item)),
            Micro::Add(key, by, told) => {
                let made = told.map_or_else(String::new, |told| format!(" that made it {told}"));
                format!("the addition of {by} to {key}{made}")
            }
        };
        op.iter().map(one).collect::<Vec<_>>().join(", with ")
    }
}

/// The key and the rest of a value `[key rest]`; None and the value if it has no key.
fn split(value: &Value) -> (Option<String>, Value) {
    match value.as_array().map(Vec::as_slice) {
        Some([key @ (Value::String(_) | Value::Number(_)), rest]) => {
            (Some(key.as_str().map_or_else(|| key.to_string(), str::to_owned)), rest.clone())
        }
        _ => (None, value.clone()),
    }
}

/// What an operation does, by its invocation and its answer.
fn micros(
    invoked: &Entry,
    told: Option<&Value>,
    did_fail: bool,
    counters: &BTreeSet<String>,
    values: &mut Values,
) -> Result<Vec<Micro>, String> {
    let function = invoked.function.as_str();
    if function == "txn" {
        let all = told.unwrap_or(&invoked.value);
        let all = all.as_array().ok_or("its value is no list of micro-operations")?;
        return all.iter().map(|one| micro(one, told.is_some(), values)).collect();
    }
    // A single compare-and-set without a key has two values, too.
    let is_bare_cas = function == "cas" && !matches!(invoked.value.get(1), Some(Value::Array(_)));
    let (key, asked) = if is_bare_cas { (None, invoked.value.clone()) } else { split(&invoked.value) };
    let key = key.unwrap_or_default();
    let answer = told.map(|told| split(told).1);
    let micro = match function {
        "read" | "get" => {
            let held = answer.map(|answer| match answer {
                Value::Array(items) => Held::List(items.iter().map(|item| values.of(item)).collect()),
                answer if counters.contains(&key) => Held::Number(answer.as_i64().unwrap_or_default()),
                answer => Held::Value(values.of(&answer)),
            });
            Micro::Read(key, held)
        }
        "write" | "put" => Micro::Write(key, values.of(&asked)),
        "add" | "inc" | "increment" => {
            let by = asked.as_i64().unwrap_or(1);
            Micro::Add(key, by, answer.and_then(|answer| answer.as_i64()))
        }
        "cas" => {
            let pair = asked.as_array().filter(|pair| pair.len() == 2).ok_or("`cas` needs the value [from to]")?;
            let did = if did_fail { Some(false) } else { told.map(|_| true) };
            Micro::Cas(key, values.of(&pair[0]), values.of(&pair[1]), did)
        }
        other => {
            return Err(format!("the function `{other}` is none of read, write, cas, add and txn"));
        }
    };
    Ok(vec![micro])
}

fn micro(one: &Value, is_told: bool, values: &mut Values) -> Result<Micro, String> {
    let wrong = || format!("`{one}` is no micro-operation");
    let [word, key, value] = one.as_array().map(Vec::as_slice).ok_or_else(wrong)? else { return Err(wrong()) };
    let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
    Ok(match word.as_str() {
        Some("append") => Micro::Append(key, values.of(value)),
        Some("w") => Micro::Write(key, values.of(value)),
        Some("r") => {
            let held = is_told.then(|| match value {
                Value::Array(items) => Held::List(items.iter().map(|item| values.of(item)).collect()),
                value => Held::Value(values.of(value)),
            });
            Micro::Read(key, held)
        }
        _ => return Err(wrong()),
    })
}
