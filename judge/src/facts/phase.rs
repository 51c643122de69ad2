//! Phases as spans of time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Window;
use crate::history::{EventKind, History, Op};
use crate::suite::Step;

/// A phase, from its event to the next phase's or the history's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseSpan {
    /// The name.
    pub name: String,
    /// When it began and ended.
    pub window: Window,
}

/// The moment after the last event or operation of a history, in nanoseconds from the start of the run.
pub fn history_end_ns(history: &History) -> u64 {
    let last_event = history.events.iter().map(|event| event.at_ns).max();
    let last_op = history.ops.iter().map(Op::complete_ns).max();
    last_event.max(last_op).map_or(0, |last| last.saturating_add(1))
}

/// All phases of a history in order. Everything before the first phase belongs to `boot`.
pub(super) fn phases(history: &History, end_ns: u64) -> Vec<PhaseSpan> {
    let mut begins: Vec<(&str, u64)> = history
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Phase { name } => Some((name.as_str(), event.at_ns)),
            _ => None,
        })
        .collect();
    if begins.first().is_none_or(|&(_, at_ns)| at_ns > 0) {
        match begins.first_mut() {
            Some((name, at_ns)) if *name == "boot" => *at_ns = 0,
            _ => begins.insert(0, ("boot", 0)),
        }
    }
    let ends = begins.iter().skip(1).map(|&(_, at_ns)| at_ns).chain([end_ns]);
    begins
        .iter()
        .zip(ends)
        .map(|(&(name, from_ns), to_ns)| PhaseSpan { name: name.to_owned(), window: Window { from_ns, to_ns } })
        .collect()
}

/// The window of invariants without a phase: from the first phase of the suite to `StepsEnded`. Without phases it begins with
/// the first step, and without steps with `Booted`. If the run was killed during the steps, it ends with the history. None if
/// the run ended before.
pub(super) fn steps_window(history: &History, end_ns: u64) -> Option<Window> {
    let first_phase = history.header.plan.steps.iter().find_map(|step| match step {
        Step::Phase(name) => Some(name),
        _ => None,
    });
    let first = |wanted: &dyn Fn(&EventKind) -> bool| {
        history.events.iter().find(|event| wanted(&event.kind)).map(|event| event.at_ns)
    };
    let from_ns = match first_phase {
        Some(first_name) => first(&|kind| matches!(kind, EventKind::Phase { name } if name == first_name)),
        None => first(&|kind| matches!(kind, EventKind::StepBegan { .. }))
            .or_else(|| first(&|kind| matches!(kind, EventKind::Booted { .. }))),
    }?;
    let to_ns = first(&|kind| matches!(kind, EventKind::StepsEnded)).unwrap_or(end_ns);
    (from_ns <= to_ns).then_some(Window { from_ns, to_ns })
}
