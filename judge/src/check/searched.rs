//! Linearizability of counters, lists, streams and compared numbers, by search.

use super::reads;
use crate::consistency::{
    Budget, Call, Cas, CasOp, Count, CountOp, Effect, Found, Kind, Model, Operation, Sequence, SequenceOp, Witness,
    search,
};
use crate::facts::{Example, Facts, KeyOps, Window, drawn, sent, who};
use crate::history::{key_name, kind_of};
use crate::suite::{DataKind, Keys, Linearizable};
use crate::words::{at, count};

/// The kinds of data with a sequential model.
const KINDS: [DataKind; 4] = [DataKind::Counter, DataKind::List, DataKind::Cas, DataKind::Stream];

/// What one key may take, and all together: some ten seconds.
const KEY: Budget = Budget { steps: 2_000_000, bytes: 128 << 20 };
const ALL_STEPS: u64 = 50_000_000;

/// What the searches found.
#[derive(Debug, Default)]
pub(super) struct Searched {
    /// Keys that were searched to the end.
    pub keys: u64,
    /// Answers that an order has to explain.
    pub answers: u64,
    /// Keys without such an order.
    pub violated: u64,
    /// Keys whose search was given up.
    pub undecided: u64,
    /// One for each key that is violated.
    pub examples: Vec<Example>,
    /// About how many steps were taken.
    spent: u64,
}

/// An operation with what it did in words.
struct Told {
    op: Operation,
    command: String,
}

/// Searches the keys that the settings name.
pub(super) fn searched(facts: &Facts<'_>, settings: &Linearizable, window: Window) -> Searched {
    let mut sums = Searched::default();
    for kind in KINDS {
        let is_judged = |key: u32| match settings.keys {
            Keys::All => true,
            Keys::First(most) => u64::from(kind_of(key).1) < most,
        };
        for (key, ops) in facts.keys_of(kind).filter(|(key, _)| is_judged(*key)) {
            let looked = Looked { facts, key, name: key_name(key), ops, settings, window };
            match kind {
                DataKind::Counter => sums.add(&looked, &Count, looked.calls(Looked::of_counter)),
                DataKind::Cas => sums.add(&looked, &Cas, looked.calls(Looked::of_cas)),
                _ => sums.add(&looked, &Sequence, looked.calls(Looked::of_list)),
            }
        }
    }
    sums.examples.sort_by_key(|example| example.at_ns);
    sums
}

impl Searched {
    fn add<M: Model>(&mut self, looked: &Looked<'_>, model: &M, (calls, told): (Vec<Call<M::Op>>, Vec<Told>)) {
        let answers = calls.iter().filter(|call| call.complete_ns.is_some()).count() as u64;
        if answers == 0 {
            return;
        }
        let left = ALL_STEPS.saturating_sub(self.spent);
        let found = search(model, &calls, Budget { steps: KEY.steps.min(left), ..KEY });
        match found {
            Found::Linearizable(order) => {
                self.spent += order.len() as u64;
                self.keys += 1;
                self.answers += answers;
            }
            Found::Violated { longest, stuck } => {
                // How many it took is not told; it is at least this.
                self.spent += longest.len() as u64;
                self.keys += 1;
                self.answers += answers;
                self.violated += 1;
                self.examples.push(looked.example(&told, &longest, stuck));
            }
            Found::Undecided => {
                self.spent += KEY.steps.min(left);
                self.undecided += 1;
            }
        }
    }
}

/// One key, and what of it counts.
struct Looked<'a> {
    facts: &'a Facts<'a>,
    key: u32,
    name: String,
    ops: &'a KeyOps<'a>,
    settings: &'a Linearizable,
    window: Window,
}

impl Looked<'_> {
    /// The operations that an order has to explain. Writes count whenever they were sent, since reads show them.
    fn calls<O>(&self, of: impl Fn(&Self, usize, &Operation) -> Option<(O, String)>) -> (Vec<Call<O>>, Vec<Told>) {
        let counts_read = reads::counting(self.facts, self.key, self.window, self.settings.reads_from);
        let counts = |op: &Operation| match op.kind {
            Kind::Read => counts_read(op),
            Kind::Write(Effect::Certain | Effect::Possible) => true,
            Kind::Write(Effect::Impossible) => false,
        };
        let call = |&(position, _, op): &(usize, _, Operation)| {
            let (does, command) = of(self, position, &op)?;
            let complete_ns = (op.kind != Kind::Write(Effect::Possible)).then_some(op.complete_ns);
            let times = sent(self.facts.history, position);
            Some((
                Call { invoke_ns: op.invoke_ns, complete_ns, op: does },
                Told { op, command: format!("{command}{times}") },
            ))
        };
        self.ops.ops.iter().filter(|(.., op)| counts(op)).filter_map(call).unzip()
    }

    #[expect(clippy::unnecessary_wraps, reason = "as for other kinds, of which some operations tell nothing")]
    fn of_counter(&self, _: usize, op: &Operation) -> Option<(CountOp, String)> {
        let (name, value) = (&self.name, op.value);
        Some(match op.kind {
            Kind::Read => (CountOp::Read(value), format!("GET {name} -> {value}")),
            Kind::Write(Effect::Certain) => (CountOp::Add(Some(value)), format!("INCR {name} -> {value}")),
            Kind::Write(_) => (CountOp::Add(None), format!("INCR {name}")),
        })
    }

    fn of_list(&self, position: usize, op: &Operation) -> Option<(SequenceOp, String)> {
        let (name, is_stream) = (&self.name, kind_of(self.key).0 == DataKind::Stream);
        if op.kind != Kind::Read {
            let verb = if is_stream { format!("XADD {name} * v") } else { format!("RPUSH {name}") };
            return Some((SequenceOp::Append(op.value), format!("{verb} {}", op.value)));
        }
        let items = self.facts.history.detail(position).map_or(&[][..], |detail| detail.items.as_slice());
        let verb = if is_stream { "XRANGE" } else { "LRANGE" };
        let shown = match items.last() {
            None => "nothing".to_owned(),
            Some(last) => format!("{}, the last {last}", count(items.len() as u64, "element")),
        };
        let is_whole = op.value as usize == items.len();
        is_whole.then(|| (SequenceOp::Read(Sequence::of(items)), format!("{verb} {name} -> {shown}")))
    }

    fn of_cas(&self, position: usize, op: &Operation) -> Option<(CasOp, String)> {
        let name = &self.name;
        if op.kind == Kind::Read {
            return Some((CasOp::Read(op.value), format!("GET {name} -> {}", op.value)));
        }
        let items = self.facts.history.detail(position).map_or(&[][..], |detail| detail.items.as_slice());
        let by = if op.value.is_multiple_of(2) { "EVAL" } else { "WATCH/EXEC" };
        let tried = |expected: u32| format!("{by}: SET {name} {} if it is {expected}", op.value);
        match (items, op.kind) {
            (&[expected, 1], Kind::Write(Effect::Certain)) => {
                Some((CasOp::Replaced { expected, new: op.value }, format!("{} -> done", tried(expected))))
            }
            (&[expected, 0], Kind::Write(Effect::Certain)) => {
                Some((CasOp::Unlike(expected), format!("{} -> it is not", tried(expected))))
            }
            (&[expected], Kind::Write(Effect::Possible)) => {
                Some((CasOp::Replaced { expected, new: op.value }, tried(expected)))
            }
            _ => None,
        }
    }

    fn example(&self, told: &[Told], longest: &[usize], stuck: usize) -> Example {
        let (wrong, name) = (&told[stuck], &self.name);
        let before = match longest.last() {
            Some(&last) => format!(
                "The longest order that does has {} of them and ends with {}. From there it does not reach",
                longest.len(),
                told[last].command
            ),
            None => "None can begin with".to_owned(),
        };
        let why = format!(
            "No order of the {} on {name} explains every answer. {before} {}, answered at {} ({}).",
            count(told.len() as u64, "operation"),
            wrong.command,
            at(wrong.op.complete_ns),
            who(&wrong.op)
        );
        let last = longest.iter().rev().take(Witness::OPS - 1).map(|&place| &told[place]);
        let mut all: Vec<&Told> = last.filter(|each| each.op != wrong.op).chain([wrong]).collect();
        all.sort_by_key(|each| (each.op.invoke_ns, each.op.complete_ns));
        let ops = all.iter().map(|each| drawn(&each.op, each.op == wrong.op)).collect();
        let commands = all.iter().map(|each| each.command.clone()).collect();
        Example { at_ns: wrong.op.complete_ns, witness: Witness { key: name.clone(), why, ops, commands } }
    }
}
