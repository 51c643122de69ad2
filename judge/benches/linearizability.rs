//! How long it takes to judge whether histories are linearizable: by the search, and for registers with unique values by
//! their zones.
//!
//! With `PORCUPINE_TEST_DATA`, a folder with the `kv` and `etcd` histories of Porcupine's tests and a file `expected.txt`
//! (`kv/c10-ok.txt linearizable`, a line each), the search judges them, too, and a wrong verdict ends the bench.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use slotquake_judge::consistency::{
    Budget, Call, Effect, Found, Kind, Model, NIL, Operation, Register, linearizable, search,
};
use slotquake_judge::units::{ClientNo, NodeNo};

const ROUNDS: usize = 5;

fn main() {
    if let Some(folder) = std::env::var_os("PORCUPINE_TEST_DATA") {
        porcupine(Path::new(&folder));
    }
    for unknown in [false, true] {
        for concurrency in [5, 20, 50] {
            for operations in [1_000, 10_000, 100_000, 1_000_000, 10_000_000] {
                register(operations, concurrency, unknown);
            }
        }
    }
}

/// A register, or its first contents, with compare-and-set.
struct Cell;

enum CellOp {
    Read(Option<u32>),
    Write(u32),
    /// From, to, and whether it did; None if nobody answered.
    Cas(u32, u32, Option<bool>),
}

impl Model for Cell {
    type State = Option<u32>;
    type Op = CellOp;

    fn initial(&self) -> Option<u32> {
        None
    }

    fn step(&self, state: &Option<u32>, op: &CellOp) -> Option<Option<u32>> {
        match *op {
            CellOp::Read(value) => (value == *state).then_some(*state),
            CellOp::Write(value) => Some(Some(value)),
            CellOp::Cas(from, to, did) => {
                let does = *state == Some(from);
                did.is_none_or(|did| did == does).then_some(if does { Some(to) } else { *state })
            }
        }
    }

    fn is_read(&self, op: &CellOp) -> bool {
        matches!(op, CellOp::Read(_) | CellOp::Cas(.., Some(false)))
    }
}

/// A text that grows, or is replaced. It consists of items such as `x 3 0 y`, of which each was written once. A text that
/// nobody read, and that can become none that somebody read, is its first item and [`UNREAD`]: nobody can tell it from
/// another one.
struct Text {
    /// What somebody read, in order.
    read: Vec<String>,
}

const UNREAD: char = '!';

impl Text {
    fn first_item(text: &str) -> &str {
        text.split_inclusive('y').next().unwrap_or_default()
    }

    fn state(&self, text: String) -> String {
        let next = self.read.partition_point(|read| *read < text);
        if self.read.get(next).is_some_and(|read| read.starts_with(&text)) {
            return text;
        }
        format!("{}{UNREAD}", Self::first_item(&text))
    }
}

enum TextOp {
    Append(String),
    Put(String),
    Get(String),
}

impl Model for Text {
    type State = String;
    type Op = TextOp;

    fn initial(&self) -> String {
        String::new()
    }

    fn step(&self, state: &String, op: &TextOp) -> Option<String> {
        match op {
            TextOp::Append(_) if state.ends_with(UNREAD) => Some(state.clone()),
            TextOp::Append(more) => Some(self.state(format!("{state}{more}"))),
            TextOp::Put(all) => Some(self.state(all.clone())),
            TextOp::Get(all) => (all == state).then(|| state.clone()),
        }
    }

    fn is_read(&self, op: &TextOp) -> bool {
        matches!(op, TextOp::Get(_))
    }

    fn may_come(&self, state: &String, read: &TextOp) -> bool {
        let TextOp::Get(all) = read else { return true };
        // A text with the same first item was not replaced since, so it can only grow.
        all.starts_with(state.as_str()) || Self::first_item(all) != Self::first_item(state)
    }

    fn bytes(&self, state: &String) -> usize {
        size_of::<String>() + state.capacity()
    }
}

fn porcupine(folder: &Path) {
    let expected = std::fs::read_to_string(folder.join("expected.txt")).expect("expected.txt reads");
    let mut etcd = (0, 0.0);
    for line in expected.lines() {
        let (file, verdict) = line.split_once(' ').expect("a file and its verdict");
        let is_kv = file.starts_with("kv/");
        let path = if is_kv { folder.join(file) } else { folder.join("etcd").join(file.trim_start_matches("etcd/")) };
        let text = std::fs::read_to_string(&path).expect("the history reads");
        let (operations, seconds, found) = if is_kv { kv(&text) } else { log(&text) };
        assert_eq!(found, verdict.trim() == "linearizable", "{file}");
        if is_kv || file.contains("etcd_002") {
            println!("{file}: {operations} operations, {:.3} ms", seconds * 1e3);
        }
        if !is_kv {
            etcd = (etcd.0 + 1, etcd.1 + seconds);
        }
    }
    println!("{} etcd logs: {:.3} ms, every verdict as expected", etcd.0, etcd.1 * 1e3);
}

/// The number of operations, the median time of judging them, and whether they are linearizable.
fn judge<M: Model>(keys: &[(M, Vec<Call<M::Op>>)]) -> (usize, f64, bool) {
    let mut holds = true;
    let seconds = median(|| {
        let began = Instant::now();
        holds = keys.iter().all(|(model, calls)| match search(model, calls, Budget::default()) {
            Found::Linearizable(_) => true,
            Found::Violated { .. } => false,
            Found::Undecided => panic!("the search gave up"),
        });
        began.elapsed().as_secs_f64()
    });
    (keys.iter().map(|(_, calls)| calls.len()).sum(), seconds, holds)
}

/// Reads lines such as `{:process 0, :type :invoke, :f :append, :key "0", :value "x 0 0 y"}`.
fn kv(text: &str) -> (usize, f64, bool) {
    let field = |line: &str, name: &str| {
        let rest = line.split_once(name).expect("the field is there").1;
        rest.trim_start_matches([' ', '"']).split(['"', ',', '}']).next().unwrap_or_default().to_owned()
    };
    let mut open: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut keys: BTreeMap<String, Vec<Call<TextOp>>> = BTreeMap::new();
    for (at_ns, line) in (0..).zip(text.lines()) {
        let (process, key, value) = (field(line, ":process"), field(line, ":key"), field(line, ":value"));
        if line.contains(":type :invoke") {
            let op = match field(line, ":f").as_str() {
                ":append" => TextOp::Append(value),
                ":put" => TextOp::Put(value),
                _ => TextOp::Get(String::new()),
            };
            let calls = keys.entry(key.clone()).or_default();
            open.insert(process, (key, calls.len()));
            calls.push(Call { invoke_ns: at_ns, complete_ns: None, op });
        } else {
            let (key, position) = open.remove(&process).expect("it was invoked");
            let call = &mut keys.get_mut(&key).expect("it was invoked")[position];
            call.complete_ns = Some(at_ns);
            if let TextOp::Get(all) = &mut call.op {
                *all = value;
            }
        }
    }
    let began = Instant::now();
    let keys = keys.into_values().map(|calls| {
        let read = calls.iter().filter_map(|call| match &call.op {
            TextOp::Get(all) => Some(all.clone()),
            TextOp::Append(_) | TextOp::Put(_) => None,
        });
        let mut read: Vec<String> = read.collect();
        read.sort_unstable();
        (Text { read }, calls)
    });
    let keys: Vec<(Text, Vec<Call<TextOp>>)> = keys.collect();
    let prepared = began.elapsed().as_secs_f64();
    let (operations, seconds, holds) = judge(&keys);
    (operations, prepared + seconds, holds)
}

/// Reads lines such as `INFO  jepsen.util - 2    :ok    :cas    [3 0]`.
fn log(text: &str) -> (usize, f64, bool) {
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    let mut calls: Vec<Call<CellOp>> = Vec::new();
    for (at_ns, line) in (0..).zip(text.lines()) {
        let Some((_, rest)) = line.split_once("jepsen.util - ") else { continue };
        let words: Vec<&str> = rest.split([' ', '\t', '[', ']']).filter(|word| !word.is_empty()).collect();
        let [process, kind, what, values @ ..] = words.as_slice() else { continue };
        let number = |at: usize| values.get(at).and_then(|value| value.parse().ok());
        match (*kind, *what) {
            (":invoke", _) => {
                let op = match *what {
                    ":read" => CellOp::Read(None),
                    ":write" => CellOp::Write(number(0).expect("a number")),
                    _ => CellOp::Cas(number(0).expect("a number"), number(1).expect("a number"), None),
                };
                open.insert(process, calls.len());
                calls.push(Call { invoke_ns: at_ns, complete_ns: None, op });
            }
            // A read that failed has timed out.
            (":fail", ":read") => {}
            (":ok" | ":fail", _) => {
                let call = &mut calls[open.remove(process).expect("it was invoked")];
                call.complete_ns = Some(at_ns);
                match &mut call.op {
                    CellOp::Read(value) => *value = number(0),
                    CellOp::Cas(_, _, did) => *did = Some(*kind == ":ok"),
                    CellOp::Write(_) => {}
                }
            }
            _ => {}
        }
    }
    // A read that nobody answered says nothing.
    calls.retain(|call| call.complete_ns.is_some() || !matches!(call.op, CellOp::Read(_)));
    judge(&[(Cell, calls)])
}

/// A register that `concurrency` clients read and write, linearizable. With `unknown`, one write in a thousand has no
/// answer, at most 20 of them.
fn register(operations: u32, concurrency: u64, unknown: bool) {
    let (mut there, mut next, mut random) = (NIL, NIL, 1_u64);
    let ops: Vec<Operation> = (0..operations)
        .map(|number| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // It takes effect at this moment, and lasts from before to after it.
            let at_ns = 1000 * u64::from(number) + 100_000;
            let (before, after) = (random >> 33 & 0xFFFF, random >> 49);
            let reach = |part: u64| part % (500 * concurrency);
            let is_write = (random >> 20) & 1 == 0;
            let has_no_answer = unknown && is_write && number % (operations / 20).max(1000) < 2;
            if is_write {
                next += 1;
                there = next;
            }
            Operation {
                invoke_ns: at_ns - reach(before),
                complete_ns: at_ns + reach(after),
                value: there,
                client: ClientNo(1),
                node: NodeNo(1),
                kind: match (is_write, has_no_answer) {
                    (true, true) => Kind::Write(Effect::Possible),
                    (true, false) => Kind::Write(Effect::Certain),
                    (false, _) => Kind::Read,
                },
            }
        })
        .collect();
    let zones = median(|| {
        let register = ops.clone();
        let began = Instant::now();
        assert_eq!(linearizable(&Register::new(register), |_| true).violations, 0);
        began.elapsed().as_secs_f64()
    });
    let calls: Vec<Call<CellOp>> = ops.iter().map(call).collect();
    let mut verdict = "";
    let began = Instant::now();
    match search(&Cell, &calls, Budget::default()) {
        Found::Linearizable(_) => {}
        Found::Violated { .. } => panic!("it is linearizable"),
        Found::Undecided => verdict = " (gave up)",
    }
    let searched = began.elapsed().as_secs_f64();
    let each_ns = |seconds: f64| seconds * 1e9 / f64::from(operations);
    println!(
        "{operations:>9} operations, {concurrency:>2} at a time{}: zones {:>5.0} ns each, search {:>5.0} ns each{verdict}",
        if unknown { ", some without an answer" } else { "" },
        each_ns(zones),
        each_ns(searched),
    );
}

fn call(op: &Operation) -> Call<CellOp> {
    let value = (op.value != NIL).then_some(op.value);
    let (complete_ns, op_of_cell) = match op.kind {
        Kind::Read => (Some(op.complete_ns), CellOp::Read(value)),
        Kind::Write(Effect::Possible) => (None, CellOp::Write(op.value)),
        Kind::Write(Effect::Certain | Effect::Impossible) => (Some(op.complete_ns), CellOp::Write(op.value)),
    };
    Call { invoke_ns: op.invoke_ns, complete_ns, op: op_of_cell }
}

fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut seconds: Vec<f64> = (0..ROUNDS).map(|_| measure()).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[ROUNDS / 2]
}
