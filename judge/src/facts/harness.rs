//! What the harness itself did to a run: when it stood still, what cut the run short, what it could not undo.

use std::collections::BTreeMap;

use super::Window;
use crate::history::{EventKind, History, StepProblem};

/// The steps were ended before their time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// When, in nanoseconds from the start of the run.
    pub at_ns: u64,
    /// By what, in words.
    pub why: String,
}

/// When the harness itself stood still.
pub(super) fn stalls(history: &History) -> Vec<Window> {
    let stalls = history.events.iter().filter_map(|event| match event.kind {
        EventKind::Stalled { by_ms } => {
            let from_ns = event.at_ns.saturating_sub((by_ms.max(0.0) * 1e6) as u64);
            Some(Window { from_ns, to_ns: event.at_ns })
        }
        _ => None,
    });
    stalls.collect()
}

/// What ended the steps before their time: a signal, an error of the suite or the harness, the death of the harness. A
/// condition that was awaited and did not come is no such thing.
pub(super) fn cut(history: &History) -> Option<Cut> {
    for event in &history.events {
        let why = match &event.kind {
            EventKind::StepsEnded => return None,
            EventKind::Interrupted { by } => format!("{by} had cut the run short"),
            EventKind::StepEnded { step, problem: Some(StepProblem::Suite(why) | StepProblem::Harness(why)) } => {
                format!("step {} could not be done: {why}", step + 1)
            }
            _ => continue,
        };
        return Some(Cut { at_ns: event.at_ns, why });
    }
    let at_ns = history.events.last().map_or(0, |event| event.at_ns);
    Some(Cut { at_ns, why: "the harness died before the run was over".to_owned() })
}

/// The first of the faults that the harness could not undo, and why.
pub(super) fn stuck(history: &History) -> Option<String> {
    let mut failed = BTreeMap::new();
    for event in &history.events {
        match &event.kind {
            EventKind::HealFailed { fault, reason } => _ = failed.insert(fault, reason),
            EventKind::HealProven { fault, healed: true, .. } => _ = failed.remove(fault),
            _ => {}
        }
    }
    failed.into_iter().next().map(|(fault, reason)| format!("the harness could not undo fault {fault}: {reason}"))
}
