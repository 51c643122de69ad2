//! What the harness did to a run: when it stalled, whether the nodes lived as fast as it did, what ended the steps early, what it could not undo.

use std::collections::{BTreeMap, BTreeSet};

use super::{FaultSpan, Window};
use crate::history::{EventKind, History, StepProblem};
use crate::units::{NodeNo, Speed};

/// The end of steps before all of them were done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// When it ended, in nanoseconds from the start of the run.
    pub at_ns: u64,
    /// The reason, for a message.
    pub why: String,
}

/// When the harness stalled.
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

/// When servers waited for a processor, in order of time. What a server waited for without a break is one window.
pub(super) fn starved(history: &History) -> Vec<Window> {
    let mut by_node: BTreeMap<NodeNo, Vec<Window>> = BTreeMap::new();
    for event in &history.events {
        let EventKind::Starved { node, of_ms, .. } = event.kind else { continue };
        let from_ns = event.at_ns.saturating_sub((of_ms.max(0.0) * 1e6) as u64);
        let windows = by_node.entry(node).or_default();
        match windows.last_mut() {
            Some(last) if from_ns <= last.to_ns.saturating_add(UNBROKEN_NS) => last.to_ns = event.at_ns,
            _ => windows.push(Window { from_ns, to_ns: event.at_ns }),
        }
    }
    let mut all: Vec<Window> = by_node.into_values().flatten().collect();
    all.sort_by_key(|window| (window.from_ns, window.to_ns));
    all
}

/// Between two looks at a server, some time passes.
const UNBROKEN_NS: u64 = 50_000_000;

/// Why times of a run that was not in real time prove nothing: a node was seen at another speed than the harness, or was
/// never looked at.
pub(super) fn wrong_speed(history: &History) -> Option<String> {
    let speed = history.header.speed;
    if speed.is_real() {
        return None;
    }
    let mut proven = BTreeSet::new();
    for event in &history.events {
        match &event.kind {
            EventKind::SpeedProven { node, holds: true, .. } => _ = proven.insert(*node),
            EventKind::SpeedProven { node, holds: false, proof } => {
                return Some(format!("{node} did not live at speed {speed}: {proof}"));
            }
            _ => {}
        }
    }
    let unproven = history.header.plan.nodes.iter().find(|planned| !proven.contains(&planned.node))?;
    Some(format!("no proof that {} lived at speed {speed}", unproven.node))
}

/// TCP sends a SYN that was dropped again after this real time (RFC 6298, section 2), and then at intervals that do not
/// exceed the time for which packets were dropped, or this.
const SYN_AGAIN_NS: u64 = 1_000_000_000;

/// When packets that a fault of links dropped were still to be sent again, which at speed takes N times as long for the
/// nodes as in real time.
pub(super) fn retransmitting(speed: Speed, fault_spans: &[FaultSpan]) -> Vec<Window> {
    if speed.is_real() {
        return Vec::new();
    }
    let links = fault_spans.iter().filter(|span| span.kind.hits_links());
    let window = |span: &FaultSpan| {
        let healed_ns = span.healed_ns.or(span.ended.as_ref().map(|ended| ended.in_effect_ns))?;
        let lifted_ns = span.lifted_ns.or(span.undone_ns).unwrap_or(healed_ns);
        let again_ns = u64::from(speed.factor()) * SYN_AGAIN_NS + lifted_ns.saturating_sub(span.from_ns);
        Some(Window { from_ns: healed_ns, to_ns: lifted_ns.saturating_add(again_ns) })
    };
    links.filter_map(window).collect()
}

/// What ended the steps early: a signal, an error of the suite or the harness, the death of the harness. The timeout of an
/// `await` step is none of these: the run fails then.
pub(super) fn cut(history: &History) -> Option<Cut> {
    for event in &history.events {
        let why = match &event.kind {
            EventKind::StepsEnded => return None,
            EventKind::Interrupted { by } => format!("interrupted by {by}"),
            EventKind::StepEnded { step, problem: Some(StepProblem::Suite(why) | StepProblem::Harness(why)) } => {
                format!("step {} failed: {why}", step + 1)
            }
            _ => continue,
        };
        return Some(Cut { at_ns: event.at_ns, why });
    }
    let at_ns = history.events.last().map_or(0, |event| event.at_ns);
    Some(Cut { at_ns, why: "the harness died before the end of the run".to_owned() })
}

/// Why the first fault that slotquake could not undo was not undone.
pub(super) fn stuck(fault_spans: &[FaultSpan]) -> Option<String> {
    let failed = fault_spans.iter().filter_map(|span| Some((span.fault, span.heal_error.as_ref()?)));
    let (fault, reason) = failed.min_by_key(|(fault, _)| *fault)?;
    Some(format!("the harness could not undo fault {fault}: {reason}"))
}
