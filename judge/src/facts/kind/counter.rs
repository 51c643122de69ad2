//! The account of counters.

use super::{Account, Example, KeyOps, NOBODY, drawn, sent, who};
use crate::consistency::{Counted, Effect, Jump, Kind, NIL, Operation, Witness, counted};
use crate::facts::{Answerer, Answerers};
use crate::history::{FOREIGN, FinalValue, History, key_name};
use crate::units::NodeNo;
use crate::words::{at, count};

/// Adds what became of the increments of one counter.
pub(super) fn account(history: &History, key: u32, ops: &KeyOps<'_>, answerers: Answerers<'_>, account: &mut Account) {
    let increments: Vec<Operation> = ops.writes().map(|&(.., operation)| operation).collect();
    let is_number =
        |op: &Operation| op.value != FOREIGN && matches!(op.kind, Kind::Read | Kind::Write(Effect::Certain));
    let by_master = |op: &Operation| answerers.of(key, op) == Answerer::Master;
    let answered = ops.ops.iter().map(|&(.., operation)| operation).filter(|op| is_number(op) && by_master(op));
    let observed: Vec<Operation> = answered.chain(last(ops)).collect();
    let found = counted(&increments, &observed);
    account.observed += found.observations;
    account.repeated += found.repeated;
    account.lost += found.lost;
    account.undecided += found.undecided + found.unobserved;
    let words = Words { history, key, ops };
    account.repetitions.extend(found.rose.as_ref().map(|jump| words.rose(&found, jump)));
    account.losses.extend(found.fell.as_ref().map(|jump| words.fell(&found, jump)));
}

/// The read at the end. What is no number has lost every increment.
fn last(ops: &KeyOps<'_>) -> Option<Operation> {
    let (at_ns, node, value) = ops.last?;
    let value = match value {
        FinalValue::Number(number) => *number,
        FinalValue::Missing | FinalValue::Numbers(_) | FinalValue::Foreign(_) => NIL,
        FinalValue::Unreadable(_) => return None,
    };
    let node = node.unwrap_or(NodeNo(0));
    Some(Operation { invoke_ns: at_ns, complete_ns: at_ns, value, client: NOBODY, node, kind: Kind::Read })
}

struct Words<'a> {
    history: &'a History,
    key: u32,
    ops: &'a KeyOps<'a>,
}

impl Words<'_> {
    fn rose(&self, found: &Counted, jump: &Jump) -> Example {
        let from = jump.before.map_or(NIL, |before| before.value);
        let possible = match jump.increments {
            0 => "no increment".to_owned(),
            number => format!("only {}", count(number, "increment")),
        };
        let more = match found.repeated - excess(jump) {
            0 => String::new(),
            more => format!(" Later it rose by another {more} too much."),
        };
        let why = format!(
            "{}. It rose by {}, and {possible} can have taken effect in between: {} too much.{more}",
            self.both(jump),
            jump.after.value - from,
            excess(jump),
        );
        self.example(jump, why)
    }

    fn fell(&self, found: &Counted, jump: &Jump) -> Example {
        let (lost, are) = (count(found.lost, "acknowledged increment"), if found.lost == 1 { "is" } else { "are" });
        let between = match jump.increments {
            0 => String::new(),
            number => format!(", though {} acknowledged in between", were(number)),
        };
        let why = format!("{}{between}. In all, {lost} of this counter {are} gone.", self.both(jump));
        self.example(jump, why)
    }

    /// The two numbers, and who got them.
    fn both(&self, jump: &Jump) -> String {
        let name = key_name(self.key);
        let before = jump.before.map_or_else(
            || format!("{name} did not exist before the run"),
            |before| format!("{name} was {} at {} ({})", before.value, at(before.complete_ns), self.who(&before)),
        );
        let after = jump.after;
        format!("{before}, and {} at {} ({})", after.value, at(after.complete_ns), self.who(&after))
    }

    fn who(&self, op: &Operation) -> String {
        format!("{}{}", who(op), self.sent(op))
    }

    fn sent(&self, op: &Operation) -> String {
        let position = self.ops.ops.iter().find(|(.., each)| each == op).map(|(position, ..)| *position);
        position.map_or_else(String::new, |position| sent(self.history, position))
    }

    fn example(&self, jump: &Jump, why: String) -> Example {
        let mut all: Vec<Operation> = jump.before.into_iter().chain(jump.example).chain([jump.after]).collect();
        all.sort_by_key(|op| (op.invoke_ns, op.complete_ns));
        let name = key_name(self.key);
        let commands = all.iter().map(|op| match op.kind {
            Kind::Read => format!("GET {name} -> {}", op.value),
            Kind::Write(Effect::Certain) => format!("INCR {name} -> {}{}", op.value, self.sent(op)),
            Kind::Write(Effect::Possible | Effect::Impossible) => format!("INCR {name}{}", self.sent(op)),
        });
        let commands = commands.collect();
        let ops = all.iter().map(|op| drawn(op, *op == jump.after)).collect();
        Example { at_ns: jump.after.complete_ns, witness: Witness { key: name, why, ops, commands } }
    }
}

/// By how much the first rise was too large.
fn excess(jump: &Jump) -> u64 {
    let from = jump.before.map_or(NIL, |before| before.value);
    u64::from(jump.after.value - from).saturating_sub(jump.increments)
}

fn were(number: u64) -> String {
    format!("{} {}", count(number, "increment"), if number == 1 { "was" } else { "were" })
}
