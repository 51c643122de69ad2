//! Network faults: two sides that can be told apart, traffic that there is between them, and names
//! by which they are healed.

use super::sides::Population;
use super::{Problems, Shape};
use crate::fault::{FaultKind, LinksFault};
use crate::suite::{Does, Step, Suite, nearest};

const NAME_MAX: usize = 40;

pub(super) fn check(suite: &Suite, shape: &Shape, problems: &mut Problems) {
    let mut faults = NetworkFaults::default();
    let population = Population { shape, clients: suite.workload.clients };
    for (index, step) in suite.steps.iter().enumerate() {
        match step.does() {
            Does::Heal(name) => {
                if let Some(message) = faults.heal(name, index) {
                    problems.add(format!("steps[{index}].heal"), message);
                }
            }
            Does::Fault(fault) => {
                let Some(fault) = fault.links() else { continue };
                let at = format!("steps[{index}].{}", fault.kind);
                check_fault(fault, &at, &population, problems);
                if let Some(message) = faults.begin(fault.name, index) {
                    problems.add(format!("{at}.name"), message);
                }
            }
            Does::Undo(..) | Does::Phase(_) | Does::Settle(_) | Does::Command(_) | Does::Await(_) | Does::Expect(_) => {
            }
        }
    }
}

/// Checks a network fault, whatever the earlier steps did. Accepts every other step.
pub(super) fn check_alone(step: &Step, population: &Population<'_>, problems: &mut Problems) {
    if let Some(fault) = step.fault()
        && let Some(fault) = fault.links()
    {
        check_fault(fault, fault.kind.word(), population, problems);
        if let Some(message) = fault.name.and_then(bad_name) {
            problems.add(format!("{}.name", fault.kind), message);
        }
    }
}

fn check_fault(fault: &LinksFault<'_>, at: &str, population: &Population<'_>, problems: &mut Problems) {
    if let Some(sides) = fault.between {
        population.check(&format!("{at}.between"), sides, fault.only, problems);
    }
    for (key, message) in &fault.problems {
        problems.add(if key.is_empty() { at.to_owned() } else { format!("{at}.{key}") }, message);
    }
}

/// The network faults that earlier steps injected and healed. Only `heal` ends one, so this is certain.
#[derive(Default)]
struct NetworkFaults<'a> {
    /// The name, if it has one, and the step that injected it.
    in_force: Vec<(Option<&'a str>, usize)>,
    /// The name, and the step that healed it.
    healed: Vec<(&'a str, usize)>,
}

impl<'a> NetworkFaults<'a> {
    /// Adds a fault. Returns what is wrong with its name.
    fn begin(&mut self, name: Option<&'a str>, step: usize) -> Option<String> {
        let earlier = name.and_then(|name| self.in_force.iter().find(|(other, _)| *other == Some(name)).copied());
        self.in_force.push((name, step));
        let name = name?;
        if let Some((_, earlier)) = earlier {
            return Some(format!(
                "a network fault named \"{name}\" is already active, since `steps[{earlier}]` (hint: `heal: {name}` first)"
            ));
        }
        bad_name(name)
    }

    fn heal(&mut self, name: &'a str, step: usize) -> Option<String> {
        if self.in_force.is_empty() {
            return Some(match self.healed.last() {
                Some((_, earlier)) => format!("no network fault is active here: `steps[{earlier}]` healed the last"),
                None => "no network fault is active here: no earlier step injects one".to_owned(),
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
            return Some(format!("network fault \"{name}\" is no longer active: `steps[{earlier}]` healed it"));
        }
        let names: Vec<&str> = self.in_force.iter().filter_map(|(name, _)| *name).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if names.is_empty() => "hint: `heal: all`, or give the fault a `name`".to_owned(),
            None => format!("hint: `all`, or one of `{}`", names.join("`, `")),
        };
        Some(format!("no active network fault named \"{name}\" ({hint})"))
    }
}

fn bad_name(name: &str) -> Option<String> {
    if name == "all" {
        return Some("\"all\" cannot name a network fault: `heal: all` heals all of them".to_owned());
    }
    // A fault without a name gets its kind and a number.
    let numbers = |kind: &FaultKind| name.strip_prefix(kind.word())?.strip_prefix('-');
    let number = FaultKind::ALL.iter().filter(|kind| kind.hits_links()).find_map(numbers);
    if number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
        return Some(format!("\"{name}\" is a name that slotquake gives to faults without one (hint: choose another)"));
    }
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fine = !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(fits);
    (!fine).then(|| {
        format!(
            "\"{name}\" cannot name a network fault (hint: lowercase letters, digits and dashes, at most {NAME_MAX})"
        )
    })
}
