//! Checks steps: their targets exist, what they wait for is possible, and a fault hits a server that it can affect.

use std::collections::BTreeMap;

use super::{Problems, Shape, bounds, random};
use crate::fault::{Action, FaultStep, Means, ProcessEffect};
use crate::suite::{
    Answer, Await, Change, Coming, CommandLine, Condition, Corrupt, Does, Expect, Probe, Start, Step, Suite,
};
use crate::target::{Target, Targets};
use crate::units::{Bound, NodeNo, Span};

pub(super) fn check(suite: &Suite, shape: &Shape, problems: &mut Problems) {
    let mut faults = Faults::default();
    for (index, step) in suite.steps.iter().enumerate() {
        let at = format!("steps[{index}]");
        if let Some((action, targets)) = step.action() {
            let long = if step.start().is_none_or(Start::is_plain) { "" } else { ".node" };
            for (at, target) in each(&format!("{at}.{action}{long}"), targets) {
                match shape.refuse_for(action, target) {
                    Some(message) => problems.add(at, message),
                    None => faults.apply(action, target, index, shape, |message| problems.add(at.clone(), message)),
                }
            }
        }
        if let Some(start) = step.start() {
            faults.may_stay_down(start, index);
            check_change(&format!("{at}.start"), &start.change, problems);
        }
        if let Some(FaultStep::Disk(fault)) = step.fault() {
            faults.may_end(fault.node, shape);
        }
        match step.does() {
            Does::Corrupt(corrupt) => {
                check_corrupt(&format!("{at}.corrupt"), corrupt, shape, problems);
                for (at, target) in each(&format!("{at}.corrupt.node"), &corrupt.node) {
                    let is_known = shape.refuse(target).is_none();
                    if let Some(message) = faults.refuse_running(target).filter(|_| is_known) {
                        problems.add(at, message);
                    }
                }
            }
            Does::Command(command) => targets(&format!("{at}.command.to"), &command.to, shape, problems),
            Does::Await(wait) => check_await(&format!("{at}.await"), wait, shape, problems),
            Does::Expect(expect) => check_expect(&format!("{at}.expect"), expect, shape, problems),
            Does::Exec(exec) => {
                check_program(&format!("{at}.exec"), "run", &exec.run, exec.within, problems);
            }
            Does::When(when) => {
                if let Some(message) = shape.refuse(&when.of) {
                    problems.add(format!("{at}.when.of"), message);
                }
            }
            Does::Random(random) => random::check(&format!("{at}.random"), random, suite, problems),
            // Those on processes were checked above; `network` checks those on links, and `phases` the rest.
            Does::Fault(_) | Does::Undo(..) | Does::Heal(_) | Does::Phase(_) | Does::Settle(_) => {}
        }
    }
}

/// Checks the targets of a step that acts on processes, whatever the earlier steps did. Accepts every other step.
pub(super) fn check_alone(step: &Step, shape: &Shape, problems: &mut Problems) {
    if let Some((action, meant)) = step.action() {
        for (at, target) in each(action.word(), meant) {
            if let Some(message) = shape.refuse_for(action, target) {
                problems.add(at, message);
            }
        }
    }
    if let Some(change) = step.change() {
        check_change("start", change, problems);
    }
    match step.does() {
        Does::Corrupt(corrupt) => check_corrupt("corrupt", corrupt, shape, problems),
        Does::Random(_) => {
            problems.add("random", "only a plan can draw faults (hint: one fault by hand, such as `kill`)");
        }
        Does::Await(wait) => check_await("await", wait, shape, problems),
        Does::Fault(_)
        | Does::Undo(..)
        | Does::Heal(_)
        | Does::Command(_)
        | Does::Phase(_)
        | Does::Settle(_)
        | Does::Expect(_)
        | Does::Exec(_)
        | Does::When(_) => {}
    }
}

/// The phases' names in their order; settles that exceed what a run may last.
pub(super) fn phases<'a>(suite: &'a Suite, problems: &mut Problems) -> Vec<&'a str> {
    let mut phases: Vec<&str> = Vec::new();
    let mut settled = std::time::Duration::ZERO;
    let mut too_long = false;
    let mut settle = |key: &str, span: Span, index: usize, problems: &mut Problems| {
        settled = settled.saturating_add(span.0);
        if settled > suite.max_duration.0 && !too_long {
            too_long = true;
            let message = format!(
                "the steps settle longer than `max-duration`, {} (hint: settle for less, or raise it)",
                suite.max_duration
            );
            problems.add(format!("steps[{index}].{key}"), message);
        }
    };
    for (index, step) in suite.steps.iter().enumerate() {
        match step.does() {
            Does::Phase(name) => {
                if let Some(message) = bounds::bad_phase(name, &phases) {
                    problems.add(format!("steps[{index}].phase"), message);
                }
                if !phases.contains(&name) {
                    phases.push(name);
                }
            }
            Does::Settle(span) => settle("settle", span, index, problems),
            Does::Random(random) => settle("random.for", random.whole, index, problems),
            Does::Fault(_)
            | Does::Undo(..)
            | Does::Corrupt(_)
            | Does::Heal(_)
            | Does::Command(_)
            | Does::Await(_)
            | Does::Expect(_)
            | Does::Exec(_)
            | Does::When(_) => {}
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

/// Checks what a start changes.
fn check_change(at: &str, change: &Change, problems: &mut Problems) {
    if change.server.as_ref().is_some_and(|server| server.trim().is_empty()) {
        problems.add(format!("{at}.server"), bounds::NO_SERVER);
    }
    for (name, value) in &change.config {
        if let Some(message) = bounds::directive(name, value) {
            problems.add(format!("{at}.config.{name}"), message);
        }
    }
}

/// Checks which file is damaged, and how.
fn check_corrupt(at: &str, corrupt: &Corrupt, shape: &Shape, problems: &mut Problems) {
    targets(&format!("{at}.node"), &corrupt.node, shape, problems);
    if let Err((key, message)) = corrupt.damage() {
        problems.add(if key.is_empty() { at.to_owned() } else { format!("{at}.{key}") }, message);
    }
}

fn targets(at: &str, targets: &Targets, shape: &Shape, problems: &mut Problems) {
    for (at, target) in each(at, targets) {
        if let Some(message) = shape.refuse(target) {
            problems.add(at, message);
        }
    }
}

fn check_await(at: &str, wait: &Await, shape: &Shape, problems: &mut Problems) {
    if wait.within == Bound::Fixed(Span::default()) {
        problems.add(format!("{at}.within"), "a limit of 0s gives no time to wait (hint: `15s`, or `spec`)");
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
                problems.add(format!("{at}.promoted"), "no replica can be promoted: `replicas-per-master` is 0");
            } else if shape.replicas_of(shard) == 0 {
                problems.add(format!("{at}.promoted"), format!("no replica can be promoted: {shard} has none"));
            }
        }
        Condition::InSync(nodes) => {
            targets(&format!("{at}.in-sync"), nodes, shape, problems);
            if shape.replicas == 0 {
                problems.add(format!("{at}.in-sync"), "there are no replicas: `replicas-per-master` is 0");
            } else {
                for (at, target) in each(&format!("{at}.in-sync"), nodes) {
                    if let Some(shard) = shape.bare_shard(target) {
                        problems
                            .add(at, format!("\"{target}\" has nothing to be in sync with: {shard} has no replica"));
                    }
                }
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
    if let Some(message) = expect.to.as_ref().and_then(|to| shape.refuse_one(to)) {
        problems.add(format!("{at}.to"), message);
    }
    let answer = match expect.probe() {
        Err(message) => return problems.add(at, message),
        Ok(Probe::Command(_, _, answer)) => answer,
        Ok(Probe::Program(program, wanted, within)) => {
            check_program(at, "exec", program, within, problems);
            let Some(output) = wanted.output else { return };
            output
        }
    };
    match answer {
        Answer::StartsWith("") => problems
            .add(format!("{at}.starts-with"), "every answer starts with an empty text (hint: give its first words)"),
        Answer::Contains(lines) if lines.is_empty() || lines.iter().any(String::is_empty) => {
            problems.add(format!("{at}.contains"), "every answer contains an empty text (hint: give a part of a line)");
        }
        Answer::MovedTo(node) => {
            if let Some(message) = shape.refuse_one(node) {
                problems.add(format!("{at}.moved-to"), message);
            }
            if expect.follow {
                problems.add(
                    format!("{at}.moved-to"),
                    "with `follow`, MOVED is followed and never seen (hint: leave `follow` out)",
                );
            }
        }
        Answer::Is(_) | Answer::StartsWith(_) | Answer::Contains(_) | Answer::Refused => {}
    }
}

/// Checks how a program is run. Whether there is one, the machine of the run knows.
fn check_program(at: &str, key: &str, program: &CommandLine, within: Span, problems: &mut Problems) {
    if within == Span::default() {
        problems.add(format!("{at}.within"), "a limit of 0s gives no time to run (hint: `10s`)");
    }
    if program.0.first().is_some_and(String::is_empty) {
        problems.add(format!("{at}.{key}"), "the name of the program is empty (hint: `[./smoke.sh, --fast]`)");
    }
    if program.0.iter().any(|word| word.contains('\0')) {
        problems.add(format!("{at}.{key}"), "no program takes a word with a NUL in it");
    }
}

/// The state of a node after the earlier steps. A node that is not listed runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The fault of that step left the process so.
    Hit { effect: ProcessEffect, step: usize },
    /// A symbolic target may have meant this node. Only the run can tell.
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

    /// Takes into account that a start may leave nodes down.
    fn may_stay_down(&mut self, start: &Start, step: usize) {
        let state = match start.expect {
            Coming::Up => return,
            Coming::Down => State::Hit { effect: ProcessEffect::Gone, step },
            Coming::Either => State::Unknown,
        };
        // Others that the step may mean are unknown already.
        let named = start.node.0.iter().filter_map(|target| match target {
            Target::Node(node) => Some(*node),
            Target::Member(..) | Target::Clients(_) | Target::Others | Target::Group(_) => None,
        });
        self.states.extend(named.map(|node| (node, state)));
    }

    /// Why the files of a target cannot be damaged: its server runs, or is frozen. None if it is down, or only the run can
    /// tell.
    fn refuse_running(&self, target: &Target) -> Option<String> {
        let Target::Node(node) = target else { return None };
        match self.states.get(node) {
            Some(State::Unknown | State::Hit { effect: ProcessEffect::Gone, .. }) => None,
            Some(State::Hit { effect: ProcessEffect::Frozen, .. }) | None => {
                Some(format!("{node} is not down, so its files are in use (hint: `kill: {node}` first)"))
            }
        }
    }

    /// A server that cannot save what it must ends itself. Only the run can tell.
    fn may_end(&mut self, target: &Target, shape: &Shape) {
        for node in shape.candidates(target) {
            self.states.entry(node).or_insert(State::Unknown);
        }
    }

    /// The state of a node after an action; None means that it runs.
    fn next(action: Action, node: NodeNo, state: Option<State>, step: usize) -> Result<Option<State>, String> {
        let next = action.leaves().map(|effect| State::Hit { effect, step });
        let (process, earlier) = match state {
            Some(State::Unknown) => return Ok(next),
            Some(State::Hit { effect, step }) => (Some(effect), step),
            None => (None, step),
        };
        if action.has_effect_on(process) {
            return Ok(next);
        }
        let by = if earlier == step { "this step".to_owned() } else { format!("`steps[{earlier}]`") };
        Err(match (process, action.leaves()) {
            (None, _) => match action.means() {
                Means::Thaw => format!("{node} is not paused (hint: an earlier step must pause it)"),
                Means::Start | Means::Signal(_) | Means::Freeze => {
                    format!("{node} is already running (hint: an earlier step must stop or kill it)")
                }
            },
            (Some(ProcessEffect::Gone), Some(_)) => {
                format!("{node} is already down: {by} ended it (hint: `start: {node}` first)")
            }
            (Some(ProcessEffect::Gone), None) => {
                format!("{node} is not paused but down: {by} ended it (hint: `start: {node}`)")
            }
            (Some(ProcessEffect::Frozen), Some(ProcessEffect::Frozen)) => {
                format!("{node} is already paused by {by} (hint: `resume: {node}` first)")
            }
            (Some(ProcessEffect::Frozen), Some(ProcessEffect::Gone)) => {
                format!(
                    "{node} is paused by {by} and does not handle a signal (hint: `resume: {node}` first, or `kill` it)"
                )
            }
            (Some(ProcessEffect::Frozen), None) => {
                format!("{node} is not down but paused by {by} (hint: `resume: {node}`)")
            }
        })
    }
}
