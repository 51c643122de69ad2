//! Faults of links and clocks: two sides that can be told apart, traffic that there is between them, one node whose clock
//! is changed, and names by which all of them are healed.

use super::sides::Population;
use super::{Problems, Shape};
use crate::fault::{FaultKind, FaultStep};
use crate::suite::{Does, Step, Suite, nearest};

const NAME_MAX: usize = 40;

pub(super) fn check(suite: &Suite, shape: &Shape, problems: &mut Problems) {
    let mut faults = Named::default();
    let population = Population { shape, clients: suite.workload.clients };
    for (index, step) in suite.steps.iter().enumerate() {
        match step.does() {
            Does::Heal(name) => {
                if let Some(message) = faults.heal(name, index) {
                    problems.add(format!("steps[{index}].heal"), message);
                }
            }
            Does::Fault(fault) => {
                let at = format!("steps[{index}].{}", fault.kind());
                check_fault(&fault, &at, &population, problems);
                if let Some(message) = fault.name().and_then(|name| faults.begin(name, index)) {
                    problems.add(format!("{at}.name"), message);
                }
            }
            Does::Undo(..)
            | Does::Corrupt(_)
            | Does::Phase(_)
            | Does::Settle(_)
            | Does::Command(_)
            | Does::Await(_)
            | Does::Expect(_)
            | Does::Exec(_)
            | Does::When(_)
            | Does::Random(_) => {}
        }
    }
}

/// Checks a fault of links or of a host, whatever the earlier steps did. Accepts every other step.
pub(super) fn check_alone(step: &Step, population: &Population<'_>, problems: &mut Problems) {
    if let Some(fault) = step.fault() {
        let word = fault.kind().word();
        check_fault(&fault, word, population, problems);
        if let Some(message) = fault.name().flatten().and_then(bad_name) {
            problems.add(format!("{word}.name"), message);
        }
    }
}

fn check_fault(fault: &FaultStep<'_>, at: &str, population: &Population<'_>, problems: &mut Problems) {
    let path = |key: &str| if key.is_empty() { at.to_owned() } else { format!("{at}.{key}") };
    match fault {
        // `steps` checks its targets.
        FaultStep::Process(..) => {}
        FaultStep::Links(fault) => {
            if let Some(sides) = fault.between {
                population.check(&path("between"), sides, fault.only, problems);
            }
            for (key, message) in &fault.problems {
                problems.add(path(key), message);
            }
        }
        FaultStep::Clock(fault) => {
            if let Some(message) = population.shape.refuse_one(fault.node) {
                problems.add(path("node"), message);
            }
            if let Err((key, message)) = &fault.change {
                problems.add(path(key), message);
            }
        }
        FaultStep::Disk(fault) => {
            if let Some(message) = population.shape.refuse_one(fault.node) {
                problems.add(path("node"), message);
            }
            if let Err((key, message)) = &fault.change {
                problems.add(path(key), message);
            }
        }
    }
}

/// The faults with a name that earlier steps injected and healed. Only `heal` ends one, so this is certain.
#[derive(Default)]
struct Named<'a> {
    /// The name, if it has one, and the step that injected it.
    in_force: Vec<(Option<&'a str>, usize)>,
    /// The name, and the step that healed it.
    healed: Vec<(&'a str, usize)>,
}

impl<'a> Named<'a> {
    /// Adds a fault. Returns what is wrong with its name.
    fn begin(&mut self, name: Option<&'a str>, step: usize) -> Option<String> {
        let earlier = name.and_then(|name| self.in_force.iter().find(|(other, _)| *other == Some(name)).copied());
        self.in_force.push((name, step));
        let name = name?;
        if let Some((_, earlier)) = earlier {
            return Some(format!(
                "a fault named \"{name}\" is already active, since `steps[{earlier}]` (hint: `heal: {name}` first)"
            ));
        }
        bad_name(name)
    }

    fn heal(&mut self, name: &'a str, step: usize) -> Option<String> {
        if self.in_force.is_empty() {
            return Some(match self.healed.last() {
                Some((_, earlier)) => {
                    format!("no fault that `heal` undoes is active here: `steps[{earlier}]` healed the last")
                }
                None => "no fault that `heal` undoes is active here: no earlier step injects one".to_owned(),
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
            return Some(format!("fault \"{name}\" is no longer active: `steps[{earlier}]` healed it"));
        }
        let names: Vec<&str> = self.in_force.iter().filter_map(|(name, _)| *name).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if names.is_empty() => "hint: `heal: all`, or give the fault a `name`".to_owned(),
            None => format!("hint: `all`, or one of `{}`", names.join("`, `")),
        };
        Some(format!("no active fault named \"{name}\" ({hint})"))
    }
}

fn bad_name(name: &str) -> Option<String> {
    if name == "all" {
        return Some("\"all\" cannot name a fault: `heal: all` heals all of them".to_owned());
    }
    // A fault without a name gets its kind and a number.
    let numbers = |kind: &FaultKind| name.strip_prefix(kind.word())?.strip_prefix('-');
    let number = FaultKind::ALL.iter().filter(|kind| kind.has_name()).find_map(numbers);
    if number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
        return Some(format!("\"{name}\" is a name that slotquake gives to faults without one (hint: choose another)"));
    }
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fine = !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(fits);
    (!fine).then(|| {
        format!("\"{name}\" cannot name a fault (hint: lowercase letters, digits and dashes, at most {NAME_MAX})")
    })
}
