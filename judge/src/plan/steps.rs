//! Steps: what they name must exist, what they wait for must be possible, and a fault must hit what
//! is there.

use std::collections::BTreeMap;

use super::{Problems, Shape, bounds};
use crate::fault::Action;
use crate::suite::{Answer, Await, Condition, Expect, Step, Suite};
use crate::target::{Member, Target, Targets};
use crate::units::{Bound, NodeNo};

pub(super) fn check(suite: &Suite, shape: &Shape, problems: &mut Problems) {
    let mut faults = Faults::default();
    for (index, step) in suite.steps.iter().enumerate() {
        if let Some((action, targets)) = step.action() {
            for (at, target) in each(&format!("steps[{index}].{action}"), targets) {
                match shape.refuse(target) {
                    Some(message) => problems.add(at, message),
                    None => faults.apply(action, target, index, shape, |message| problems.add(at.clone(), message)),
                }
            }
        }
        match step {
            Step::Command(command) => {
                targets(&format!("steps[{index}].command.to"), &command.to, shape, problems);
            }
            Step::Await(wait) => check_await(&format!("steps[{index}].await"), wait, shape, problems),
            Step::Expect(expect) => check_expect(&format!("steps[{index}].expect"), expect, shape, problems),
            // Faults of processes were looked at above, and those of links are by `network`.
            _ => {}
        }
    }
}

/// What is wrong with the targets of a fault of a process, whatever was before it; nothing with any other step.
pub(super) fn check_alone(step: &Step, shape: &Shape, problems: &mut Problems) {
    if let Some((action, meant)) = step.action() {
        targets(action.word(), meant, shape, problems);
    }
}

/// The phases' names in their order; settles that exceed what a run may last.
pub(super) fn phases<'a>(suite: &'a Suite, problems: &mut Problems) -> Vec<&'a str> {
    let mut phases: Vec<&str> = Vec::new();
    let mut settled = std::time::Duration::ZERO;
    let mut too_long = false;
    for (index, step) in suite.steps.iter().enumerate() {
        match step {
            Step::Phase(name) => {
                if let Some(message) = bounds::bad_phase(name, &phases) {
                    problems.add(format!("steps[{index}].phase"), message);
                }
                if !phases.contains(&name.as_str()) {
                    phases.push(name);
                }
            }
            Step::Settle(span) => {
                settled = settled.saturating_add(span.0);
                if settled > suite.max_duration.0 && !too_long {
                    too_long = true;
                    let message = format!(
                        "the steps settle longer than `max-duration`, {} (hint: settle for less, or raise it)",
                        suite.max_duration
                    );
                    problems.add(format!("steps[{index}].settle"), message);
                }
            }
            _ => {}
        }
    }
    phases
}

/// Every target of a list with its path.
fn each<'a>(at: &str, targets: &'a Targets) -> impl Iterator<Item = (String, &'a Target)> {
    let at = at.to_owned();
    let several = targets.0.len() > 1;
    targets
        .0
        .iter()
        .enumerate()
        .map(move |(index, target)| (if several { format!("{at}[{index}]") } else { at.clone() }, target))
}

fn targets(at: &str, targets: &Targets, shape: &Shape, problems: &mut Problems) {
    for (at, target) in each(at, targets) {
        if let Some(message) = shape.refuse(target) {
            problems.add(at, message);
        }
    }
}

fn check_await(at: &str, wait: &Await, shape: &Shape, problems: &mut Problems) {
    if wait.within == Bound::Fixed(crate::units::Span::default()) {
        problems.add(format!("{at}.within"), "a wait of `0s` is none (hint: `15s`, or `spec`)");
    }
    let condition = match wait.condition() {
        Ok(condition) => condition,
        Err(message) => return problems.add(at, message),
    };
    match condition {
        Condition::Promoted(shard) => {
            if let Some(message) = shape.refuse_shard(shard) {
                problems.add(format!("{at}.promoted"), message);
            } else if shape.replicas == 0 {
                problems.add(format!("{at}.promoted"), "nobody can be promoted: `replicas-per-master` is 0");
            }
        }
        Condition::InSync(nodes) => {
            targets(&format!("{at}.in-sync"), nodes, shape, problems);
            if shape.replicas == 0 {
                problems.add(format!("{at}.in-sync"), "there are no replicas: `replicas-per-master` is 0");
            }
        }
        Condition::Failed(nodes) => targets(&format!("{at}.failed"), nodes, shape, problems),
        Condition::ClusterState { of, ok: true } => targets(&format!("{at}.cluster-ok"), of, shape, problems),
        Condition::ClusterState { of, ok: false } => targets(&format!("{at}.cluster-fail"), of, shape, problems),
        Condition::Converged(nodes) => targets(&format!("{at}.converged"), nodes, shape, problems),
        Condition::Role(node, is) => {
            if let Some(message) = shape.refuse_one(node) {
                problems.add(format!("{at}.role"), message);
            }
            if let Some(message) = shape.refuse_role(node, *is) {
                problems.add(format!("{at}.is"), message);
            }
        }
    }
}

fn check_expect(at: &str, expect: &Expect, shape: &Shape, problems: &mut Problems) {
    if let Some(message) = shape.refuse_one(&expect.to) {
        problems.add(format!("{at}.to"), message);
    }
    match expect.answer() {
        Err(message) => problems.add(at, message),
        Ok(Answer::StartsWith("")) => problems.add(format!("{at}.starts-with"), "every answer starts with nothing"),
        Ok(Answer::Contains(lines)) if lines.is_empty() || lines.iter().any(String::is_empty) => {
            problems.add(format!("{at}.contains"), "every answer contains nothing (hint: give a part of a line)");
        }
        Ok(Answer::MovedTo(node)) => {
            if let Some(message) = shape.refuse_one(node) {
                problems.add(format!("{at}.moved-to"), message);
            }
            if expect.follow {
                problems
                    .add(format!("{at}.moved-to"), "a MOVED that is followed is not seen (hint: leave `follow` out)");
            }
        }
        Ok(_) => {}
    }
}

/// What earlier steps have certainly done to a node. A node that is not listed runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Down {
        step: usize,
    },
    Paused {
        step: usize,
    },
    /// A symbolic target may have meant this node: the run will tell.
    Unknown,
}

#[derive(Default)]
struct Faults {
    states: BTreeMap<NodeNo, State>,
}

impl Faults {
    fn apply(&mut self, action: Action, target: &Target, step: usize, shape: &Shape, mut refuse: impl FnMut(String)) {
        let Target::Node(node) = target else {
            for node in shape.candidates(target) {
                self.states.insert(node, State::Unknown);
            }
            return;
        };
        match Self::next(action, *node, self.states.get(node).copied(), step) {
            Ok(Some(state)) => {
                self.states.insert(*node, state);
            }
            Ok(None) => {
                self.states.remove(node);
            }
            Err(message) => refuse(message),
        }
    }

    /// What a step makes of a node's state; None means that it runs.
    fn next(action: Action, node: NodeNo, state: Option<State>, step: usize) -> Result<Option<State>, String> {
        let by = |earlier: usize| {
            if earlier == step { "this very step".to_owned() } else { format!("`steps[{earlier}]`") }
        };
        match (action, state) {
            (Action::Stop | Action::Kill | Action::Pause, Some(State::Down { step: earlier })) => {
                Err(format!("{node} is down already: {} ended it (hint: `start: {node}` first)", by(earlier)))
            }
            (Action::Pause, Some(State::Paused { step: earlier })) => {
                Err(format!("{node} is paused already by {} (hint: `resume: {node}` first)", by(earlier)))
            }
            (Action::Stop, Some(State::Paused { step: earlier })) => Err(format!(
                "{node} is paused by {} and would not notice SIGTERM (hint: `resume: {node}` first, or `kill` it)",
                by(earlier)
            )),
            (Action::Start, None) => Err(format!("{node} runs: no earlier step stops or kills it")),
            (Action::Start, Some(State::Paused { step: earlier })) => {
                Err(format!("{node} is not down, {} paused it (hint: `resume: {node}`)", by(earlier)))
            }
            (Action::Resume, None) => Err(format!("{node} is not paused: no earlier step pauses it")),
            (Action::Resume, Some(State::Down { step: earlier })) => {
                Err(format!("{node} is not paused, {} ended it (hint: `start: {node}`)", by(earlier)))
            }
            (Action::Stop | Action::Kill, _) => Ok(Some(State::Down { step })),
            (Action::Pause, _) => Ok(Some(State::Paused { step })),
            (Action::Start | Action::Resume, _) => Ok(None),
        }
    }
}

/// Whether a target can only ever mean one node.
pub(super) fn is_one(target: &Target) -> bool {
    matches!(target, Target::Node(_) | Target::Member(_, Member::Master | Member::Replica))
}
