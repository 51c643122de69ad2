//! Network faults: two sides that can be told apart, traffic that there is between them, and names
//! by which they are healed.

use super::sides::Population;
use super::{Problems, Shape};
use crate::suite::{Lossy, Narrow, Only, Partition, Sides, Slow, Step, Suite, nearest};
use crate::units::Span;

const NAME_MAX: usize = 40;
/// Below these a fault would do nothing that can be seen, or nothing would get through any more.
const LOSS_MIN: f64 = 0.0001;
const RATE_MIN_BYTES: u64 = 1000;
const LATENCY_MAX: Span = Span::secs(60);

/// The names that the harness gives to faults without one begin so, a number after them.
const KINDS: [&str; 5] = ["partition-", "lossy-", "narrow-", "refuse-", "slow-"];

pub(super) fn check(suite: &Suite, shape: &Shape, problems: &mut Problems) {
    let mut faults = NetworkFaults::default();
    let population = Population { shape, clients: suite.workload.clients };
    for (index, step) in suite.steps.iter().enumerate() {
        if let Step::Heal(name) = step {
            if let Some(message) = faults.heal(name, index) {
                problems.add(format!("steps[{index}].heal"), message);
            }
        } else if let Some(fault) = Fault::of(step) {
            let at = format!("steps[{index}].{}", fault.word);
            fault.check(&at, &population, problems);
            if let Some(message) = faults.begin(fault.name, index) {
                problems.add(format!("{at}.name"), message);
            }
        }
    }
}

/// What is wrong with a network fault, whatever was before it; nothing with any other step.
pub(super) fn check_alone(step: &Step, population: &Population<'_>, problems: &mut Problems) {
    if let Some(fault) = Fault::of(step) {
        fault.check(fault.word, population, problems);
        if let Some(message) = fault.name.and_then(bad_name) {
            problems.add(format!("{}.name", fault.word), message);
        }
    }
}

/// A step that is a network fault.
struct Fault<'a> {
    step: &'a Step,
    word: &'static str,
    between: Option<&'a Sides>,
    only: Only,
    name: Option<&'a str>,
}

impl<'a> Fault<'a> {
    fn of(step: &'a Step) -> Option<Self> {
        let (word, between, only, name) = match step {
            Step::Partition(Partition { between, only, name, .. }) => ("partition", between.as_ref(), *only, name),
            Step::Lossy(fault) => ("lossy", Some(&fault.between), fault.only, &fault.name),
            Step::Narrow(fault) => ("narrow", Some(&fault.between), fault.only, &fault.name),
            Step::Refuse(fault) => ("refuse", Some(&fault.between), fault.only, &fault.name),
            Step::Slow(fault) => ("slow", Some(&fault.between), Only::All, &fault.name),
            _ => return None,
        };
        Some(Self { step, word, between, only, name: name.as_deref() })
    }

    fn check(&self, at: &str, population: &Population<'_>, problems: &mut Problems) {
        if let Some(sides) = self.between {
            population.check(&format!("{at}.between"), sides, self.only, problems);
        }
        match self.step {
            Step::Partition(fault) => partition(at, fault, problems),
            Step::Lossy(fault) => lossy(at, fault, problems),
            Step::Narrow(fault) => narrow(at, fault, problems),
            Step::Slow(fault) => slow(at, fault, problems),
            _ => {}
        }
    }
}

fn partition(at: &str, fault: &Partition, problems: &mut Problems) {
    let Some(_) = fault.shape else {
        if fault.between.is_none() {
            problems.add(
                at,
                "partition needs `between`, two sides, or a `shape` (hint: `{ between: [shard-1/master, others] }`)",
            );
        }
        return;
    };
    if fault.between.is_some() {
        problems.add(format!("{at}.shape"), "partition takes `between` or a `shape`, not both");
    }
    if fault.one_way {
        problems.add(format!("{at}.one-way"), "a shape is cut both ways (hint: `one-way` goes with `between`)");
    }
    if fault.only == Only::Clients {
        problems.add(format!("{at}.only"), "a shape is cut among nodes, so `only: clients` hits nothing");
    }
}

fn lossy(at: &str, fault: &Lossy, problems: &mut Problems) {
    let share = fault.percent.fraction();
    if share < LOSS_MIN {
        problems.add(format!("{at}.percent"), format!("a loss of {} is none (hint: at least 0.01%)", fault.percent));
    } else if share >= 1.0 {
        problems.add(format!("{at}.percent"), "a loss of 100% is a cut (hint: `partition`)");
    }
}

fn narrow(at: &str, fault: &Narrow, problems: &mut Problems) {
    if fault.rate.bytes_per_second < RATE_MIN_BYTES {
        let message =
            format!("{} is too narrow for anything to pass (hint: at least 1kB/s, or `partition`)", fault.rate);
        problems.add(format!("{at}.rate"), message);
    }
}

fn slow(at: &str, fault: &Slow, problems: &mut Problems) {
    if fault.latency.0.is_zero() || fault.latency > LATENCY_MAX {
        let message =
            format!("a latency of {} is out of bounds (hint: more than 0s, at most {LATENCY_MAX})", fault.latency);
        problems.add(format!("{at}.latency"), message);
    }
    if let Some(jitter) = fault.jitter.filter(|jitter| *jitter > fault.latency && !fault.latency.0.is_zero()) {
        let message = format!("a jitter of {jitter} is more than the latency, {}", fault.latency);
        problems.add(format!("{at}.jitter"), message);
    }
}

/// What earlier steps have put in force and healed. All of it is certain: only `heal` ends a fault.
#[derive(Default)]
struct NetworkFaults<'a> {
    /// Name, where it has one, and step.
    in_force: Vec<(Option<&'a str>, usize)>,
    /// Name, and the step that healed it.
    healed: Vec<(&'a str, usize)>,
}

impl<'a> NetworkFaults<'a> {
    /// A fault begins; what is wrong with its name.
    fn begin(&mut self, name: Option<&'a str>, step: usize) -> Option<String> {
        let earlier = name.and_then(|name| self.in_force.iter().find(|(other, _)| *other == Some(name)).copied());
        self.in_force.push((name, step));
        let name = name?;
        if let Some((_, earlier)) = earlier {
            return Some(format!(
                "a network fault `{name}` is in force already, by `steps[{earlier}]` (hint: `heal: {name}` first)"
            ));
        }
        bad_name(name)
    }

    fn heal(&mut self, name: &'a str, step: usize) -> Option<String> {
        if self.in_force.is_empty() {
            let (network, healed) = ("no network fault is in force here", self.healed.last());
            return Some(match healed {
                Some((_, earlier)) => format!("{network}: `steps[{earlier}]` healed the last"),
                None => format!("{network}: no earlier step begins one"),
            });
        }
        if name == "all" {
            let ended = std::mem::take(&mut self.in_force);
            self.healed.extend(ended.into_iter().map(|(name, _)| (name.unwrap_or_default(), step)));
            return None;
        }
        if let Some(position) = self.in_force.iter().position(|(other, _)| *other == Some(name)) {
            self.in_force.remove(position);
            self.healed.push((name, step));
            return None;
        }
        if let Some((_, earlier)) = self.healed.iter().rev().find(|(other, _)| *other == name) {
            return Some(format!("network fault `{name}` is not in force: `steps[{earlier}]` healed it"));
        }
        let names: Vec<&str> = self.in_force.iter().filter_map(|(name, _)| *name).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if names.is_empty() => "hint: `heal: all`, or give the fault a `name`".to_owned(),
            None => format!("hint: `all`, or one of `{}`", names.join("`, `")),
        };
        Some(format!("there is no network fault `{name}` in force here ({hint})"))
    }
}

fn bad_name(name: &str) -> Option<String> {
    if name == "all" {
        return Some("a network fault cannot be called `all`: `heal: all` means every one".to_owned());
    }
    let number = KINDS.iter().find_map(|kind| name.strip_prefix(kind));
    if number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
        return Some(format!("`{name}` is how the harness calls a fault without a name"));
    }
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fine = !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(fits);
    (!fine).then(|| {
        format!("`{name}` cannot name a network fault (hint: lowercase letters, digits and dashes, at most {NAME_MAX})")
    })
}
