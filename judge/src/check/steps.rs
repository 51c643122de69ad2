//! `steps`: every step succeeded, including waits and expectations.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::{Judgement, Traits};
use crate::facts::{Facts, Window};
use crate::history::{EventKind, Exit, StepProblem};
use crate::suite::{Errors, Exec, Expect, Step};
use crate::words::{at, length, list};

pub(super) const TRAITS: Traits = Traits { is_telling: true, ..Traits::PLAIN };

pub(super) fn judge(facts: &Facts<'_>) -> Judgement {
    let mut finding = Finding::new();
    // Each step that ended, and whether it succeeded.
    let mut ended = BTreeMap::new();
    let mut answered = BTreeSet::new();
    let mut replies = Vec::new();
    let mut waits = Vec::new();
    let mut starts = Vec::new();
    let mut programs = Vec::new();
    // The message at the end of the step, or that of its answer if there is none.
    let mut unmet = BTreeMap::new();
    // Why a wait that was not met proves nothing.
    let mut excused = BTreeMap::new();
    for event in &facts.history.events {
        let when = at(event.at_ns);
        match &event.kind {
            EventKind::StepEnded { step, problem } => {
                ended.insert(*step, problem.is_none());
                match problem {
                    None => {}
                    Some(StepProblem::Unmet(why)) => _ = unmet.insert(*step, why.clone()),
                    Some(StepProblem::Suite(why)) => {
                        finding.undecided(format!("step {} is impossible: {why}", step + 1));
                    }
                    Some(StepProblem::Harness(why)) => {
                        finding.undecided(format!("step {} could not be done: {why}", step + 1));
                    }
                }
            }
            EventKind::Expected { step, node, expected, reply, met } => {
                answered.insert(*step);
                let asked = match facts.plan().steps.get(*step) {
                    Some(Step::Expect(Expect { send: Some(send), follow, .. })) => {
                        let followed = if *follow { " (redirections followed)" } else { "" };
                        format!(" to `{send}`{followed}")
                    }
                    _ => String::new(),
                };
                let line =
                    format!("at {when}, step {}: {node} answered `{reply}`{asked}; expected {expected}", step + 1);
                if *met {
                    replies.push(line);
                } else {
                    unmet.insert(*step, format!("{node} answered `{reply}`; expected {expected}"));
                    finding.evidence(line);
                }
            }
            EventKind::Executed { step, program, expected, met, exit, stdout, stderr, runs, took_ms, .. } => {
                answered.insert(*step);
                let ended = Exit::in_words(exit.as_ref());
                let often = if *runs > 1 { format!(", run {runs} times") } else { String::new() };
                let (program, took) = (program.join(" "), length(*took_ms));
                let what = format!("`{program}` {ended} after {took}{often}");
                let line = format!("at {when}, step {}: {what}", step + 1);
                let said = stdout.lines().map(|line| format!("stdout: {line}"));
                let said = said.chain(stderr.lines().map(|line| format!("stderr: {line}")));
                let is_allowed =
                    matches!(facts.plan().steps.get(*step), Some(Step::Exec(Exec { errors: Errors::Allow, .. })));
                if *met {
                    programs.push(line);
                } else if is_allowed {
                    programs.push(format!("{line}; its step allows that"));
                    programs.extend(last_of(said));
                } else {
                    unmet.insert(*step, format!("{what}; expected {expected}"));
                    finding.evidence(line);
                    for line in last_of(said) {
                        finding.evidence(line);
                    }
                }
            }
            EventKind::Awaited { step, condition, met, waited_ms, last, .. } => {
                answered.insert(*step);
                let waited = length(*waited_ms);
                if *met {
                    waits.push(format!("at {when}, step {}: `{condition}` after {waited}", step + 1));
                } else {
                    excused
                        .extend(facts.retransmitted(Window::before(event.at_ns, *waited_ms)).map(|why| (*step, why)));
                    unmet.insert(*step, format!("`{condition}` did not come within {waited}"));
                    finding.evidence(format!("at {when}, step {}: last seen {last}", step + 1));
                }
            }
            EventKind::Commanded { step, .. } => _ = answered.insert(*step),
            EventKind::Impossible { step, why } => {
                answered.insert(*step);
                replies.push(format!("at {when}, step {} was left out, as it was impossible: {why}", step + 1));
            }
            EventKind::LeftOut { step, nodes, others } => {
                let what = if *others { "left out" } else { "was not done for" };
                replies.push(format!("at {when}, step {} {what} {}, which did not start", step + 1, list(nodes)));
                if !others {
                    answered.insert(*step);
                }
            }
            EventKind::StartFailed { node, change, exit, log, .. } => {
                let exit = exit.as_ref().map_or_else(|| "ended".to_owned(), Exit::words);
                let with = if change.is_nothing() { String::new() } else { format!(" {}", change.words()) };
                starts.push(format!("at {when}, {node} did not start{with}, as its step allows: it {exit}"));
                starts.extend(log.iter().map(|line| format!("{node}: {line}")));
            }
            EventKind::Corrupted { node, damaged, .. } => {
                starts.push(format!("at {when}, {node} was down: {}", damaged.words()));
            }
            EventKind::Interrupted { by } => {
                finding.undecided(format!("the run was interrupted at {when} by {by}"));
            }
            _ => {}
        }
    }
    for (step, why) in unmet {
        match excused.get(&step) {
            Some(excuse) => finding.undecided(format!("step {}: {why}, but {excuse}", step + 1)),
            None => finding.fail(format!("step {}: {why}", step + 1)),
        };
    }
    // Not all evidence is shown, and answers say more than waits.
    for line in starts.into_iter().chain(programs).chain(replies).chain(waits) {
        finding.evidence(line);
    }
    completeness(facts, &ended, &answered, &mut finding);
    finding.observed(ended.len() as u64);
    finding.judge("steps", "", "every step succeeds")
}

/// The last lines of what a program printed. The history has more.
fn last_of(lines: impl Iterator<Item = String>) -> Vec<String> {
    const MOST: usize = 6;
    const WIDTH: usize = 200;
    let lines: Vec<String> = lines.map(|line| line.chars().take(WIDTH).collect()).collect();
    lines[lines.len().saturating_sub(MOST)..].to_vec()
}

/// Judges whether all steps were done.
fn completeness(facts: &Facts<'_>, ended: &BTreeMap<usize, bool>, answered: &BTreeSet<usize>, finding: &mut Finding) {
    let steps = &facts.plan().steps;
    finding.saw(format!("{} of {} steps were done", ended.len(), steps.len()));
    let left_out = (0..steps.len()).any(|step| !ended.contains_key(&step));
    if left_out {
        finding.undecided("not every step was done");
    }
    for (position, step) in steps.iter().enumerate().filter(|(position, _)| ended.get(position) == Some(&true)) {
        let answers = matches!(step, Step::Expect(_) | Step::Exec(_) | Step::Await(_) | Step::Command(_));
        if answers && !answered.contains(&position) {
            finding.undecided(format!("step {} ended without a result", position + 1));
        }
    }
    if !facts.history.complete {
        finding.undecided("the history is incomplete: the harness died before the end of the run");
    }
}
