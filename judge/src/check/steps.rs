//! `steps`: every step did what it says, what was awaited came, and what was expected was answered.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::{Judgement, Traits};
use crate::facts::Facts;
use crate::history::{EventKind, StepProblem};
use crate::suite::Step;
use crate::words::{at, length};

pub(super) const TRAITS: Traits = Traits { is_telling: true, ..Traits::PLAIN };

pub(super) fn judge(facts: &Facts<'_>) -> Judgement {
    let mut finding = Finding::new();
    // Each step that ended, and whether it did what it says.
    let mut ended = BTreeMap::new();
    let mut answered = BTreeSet::new();
    let mut replies = Vec::new();
    let mut waits = Vec::new();
    // In the words of the step's end, or else of its answer.
    let mut unmet = BTreeMap::new();
    for event in &facts.history.events {
        let when = at(event.at_ns);
        match &event.kind {
            EventKind::StepEnded { step, problem } => {
                ended.insert(*step, problem.is_none());
                match problem {
                    None => {}
                    Some(StepProblem::Unmet(why)) => _ = unmet.insert(*step, why.clone()),
                    Some(StepProblem::Suite(why)) => {
                        finding.undecided(format!("step {}: the suite asked for the impossible: {why}", step + 1));
                    }
                    Some(StepProblem::Harness(why)) => {
                        finding.undecided(format!("step {}: the harness could not do it: {why}", step + 1));
                    }
                }
            }
            EventKind::Expected { step, node, expected, reply, met } => {
                answered.insert(*step);
                let asked = match facts.plan().steps.get(*step) {
                    Some(Step::Expect(expect)) if expect.follow => format!(", asked `{}` and followed,", expect.send),
                    Some(Step::Expect(expect)) => format!(", asked `{}`,", expect.send),
                    _ => String::new(),
                };
                let line =
                    format!("at {when}, step {}: {node}{asked} answered `{reply}`, expected {expected}", step + 1);
                if *met {
                    replies.push(line);
                } else {
                    unmet.insert(*step, format!("{node} answered `{reply}`, not {expected}"));
                    finding.evidence(line);
                }
            }
            EventKind::Awaited { step, condition, met, waited_ms, last, .. } => {
                answered.insert(*step);
                let waited = length(*waited_ms);
                if *met {
                    waits.push(format!("at {when}, step {}: {condition} after {waited}", step + 1));
                } else {
                    unmet.insert(*step, format!("{condition} did not come within {waited}"));
                    finding.evidence(format!("at {when}, step {}: last seen {last}", step + 1));
                }
            }
            EventKind::Commanded { step, .. } => _ = answered.insert(*step),
            EventKind::Interrupted { by } => _ = finding.undecided(format!("the run was cut short at {when} by {by}")),
            _ => {}
        }
    }
    for (step, why) in unmet {
        finding.fail(format!("step {}: {why}", step + 1));
    }
    // Answers tell more than waits, and not all evidence is shown.
    for line in replies.into_iter().chain(waits) {
        finding.evidence(line);
    }
    completeness(facts, &ended, &answered, &mut finding);
    finding.observed(ended.len() as u64);
    finding.judge("steps", "", "every step does what it says, and what it waits for or expects comes")
}

/// What is missing for the steps to have been done at all.
fn completeness(facts: &Facts<'_>, ended: &BTreeMap<usize, bool>, answered: &BTreeSet<usize>, finding: &mut Finding) {
    let steps = &facts.plan().steps;
    finding.saw(format!("{} of {} steps were done", ended.len(), steps.len()));
    let left_out = (0..steps.len()).any(|step| !ended.contains_key(&step));
    if left_out {
        finding.undecided("not every step was done");
    }
    for (position, step) in steps.iter().enumerate().filter(|(position, _)| ended.get(position) == Some(&true)) {
        let answers = matches!(step, Step::Expect(_) | Step::Await(_) | Step::Command(_));
        if answers && !answered.contains(&position) {
            finding.undecided(format!("step {} ended without an answer", position + 1));
        }
    }
    if !facts.history.complete {
        finding.undecided("the history has no end: the harness died before the run was over");
    }
}
