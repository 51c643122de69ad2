//! `faults`: every fault was shown to be in effect, and to be undone. What was never in effect proves
//! nothing about the cluster.

use std::collections::BTreeSet;

use super::finding::{Finding, at, count};
use super::{Judgement, Traits};
use crate::facts::Facts;
use crate::history::{EventKind, History};
use crate::suite::Step;

pub(super) const TRAITS: Traits = Traits::PLAIN;

/// None when no fault was planned and none was injected.
pub(super) fn judge(case: &Facts<'_>) -> Option<Judgement> {
    let mut finding = Finding::new();
    let planned: Vec<usize> = fault_steps(case).collect();
    let (injected_by, injected) = injections(case.history);
    if planned.is_empty() && injected.is_empty() {
        return None;
    }
    finding.observed(injected.len() as u64);
    for step in planned.iter().filter(|step| !injected_by.contains(step)) {
        finding.undecided(format!("step {} injected no fault", step + 1));
    }
    for (at_ns, fault, what) in &injected {
        let (effect, healed_by, heal) = account(case.history, *fault);
        let mut line = format!("fault {fault}, {what} at {}: ", at(*at_ns));
        match effect {
            Some((true, proof)) => line.push_str(proof),
            Some((false, proof)) => {
                finding.undecided(format!("fault {fault} ({what}) was not in effect: {proof}"));
                line.push_str(proof);
            }
            None => _ = finding.undecided(format!("nobody looked whether fault {fault} ({what}) was in effect")),
        }
        match (healed_by, heal) {
            (None, _) => _ = finding.undecided(format!("fault {fault} ({what}) was never undone")),
            (Some(_), Some((true, proof))) => line = format!("{line}; undone: {proof}"),
            (Some(by), Some((false, proof))) => {
                finding.undecided(format!("{by} did not undo fault {fault} ({what}): {proof}"));
            }
            (Some(by), None) => {
                finding.undecided(format!("nobody looked whether {by} undid fault {fault} ({what})"));
            }
        }
        finding.evidence(line);
    }
    finding.figure("faults", injected.len() as f64);
    finding.saw(format!("{} injected", count(injected.len() as u64, "fault")));
    Some(finding.judge("faults", "", "every fault is shown to be in effect, and to be undone"))
}

fn fault_steps<'a>(case: &Facts<'a>) -> impl Iterator<Item = usize> + use<'a> {
    case.plan().steps.iter().enumerate().filter_map(|(position, step)| {
        let network = step.is_network_fault() && !matches!(step, Step::Heal(_));
        (network || matches!(step, Step::Stop(_) | Step::Kill(_) | Step::Pause(_))).then_some(position)
    })
}

/// The steps that injected faults, and the faults with their times and words.
fn injections(history: &History) -> (BTreeSet<usize>, Vec<(u64, u32, String)>) {
    let mut step_now = None;
    let mut injected_by = BTreeSet::new();
    let mut injected = Vec::new();
    for event in &history.events {
        match &event.kind {
            EventKind::StepBegan { step } => step_now = Some(*step),
            EventKind::FaultInjected { fault, kind, target, node, .. } => {
                injected_by.extend(step_now);
                let target = if *target == node.to_string() { String::new() } else { format!(" ({target})") };
                injected.push((event.at_ns, *fault, format!("{kind} {node}{target}")));
            }
            EventKind::NetworkFaultInjected { fault, kind, name, target, .. } => {
                injected_by.extend(step_now);
                injected.push((event.at_ns, *fault, format!("{kind} {name} ({target})")));
            }
            _ => {}
        }
    }
    (injected_by, injected)
}

type Proof<'a> = Option<(bool, &'a str)>;

/// What became of a fault: the proof of its effect, what undid it, the proof of that.
fn account(history: &History, wanted: u32) -> (Proof<'_>, Option<&str>, Proof<'_>) {
    let (mut effect, mut healed_by, mut heal) = (None, None, None);
    for event in &history.events {
        match &event.kind {
            EventKind::FaultProven { fault, in_effect, proof } if *fault == wanted => {
                effect = Some((*in_effect, proof.as_str()));
            }
            EventKind::FaultHealed { fault, by } if *fault == wanted => healed_by = Some(by.as_str()),
            EventKind::HealProven { fault, healed, proof } if *fault == wanted => {
                heal = Some((*healed, proof.as_str()));
            }
            _ => {}
        }
    }
    (effect, healed_by, heal)
}
