//! `faults`: every fault was proven in effect, stayed in effect until it was undone, and was proven undone. A fault without
//! effect proves nothing about the cluster.

use super::finding::Finding;
use super::{Judgement, Traits};
use crate::facts::{Facts, FaultSpan, Proof};
use crate::history::{EventKind, hits_in_words};
use crate::words::{at, count, length_ns};

pub(super) const TRAITS: Traits = Traits::PLAIN;

/// None if no fault was planned and none was injected.
pub(super) fn judge(case: &Facts<'_>) -> Option<Judgement> {
    let mut finding = Finding::new();
    let steps = case.plan().steps.iter().enumerate();
    let planned: Vec<usize> = steps.filter(|(_, step)| step.fault().is_some()).map(|(position, _)| position).collect();
    let spans = &case.fault_spans;
    if planned.is_empty() && spans.is_empty() {
        return None;
    }
    finding.observed(spans.len() as u64);
    let is_left_out = |step: usize| {
        case.history
            .events
            .iter()
            .any(|event| matches!(event.kind, EventKind::Impossible { step: left, .. } if left == step))
    };
    for &step in planned.iter().filter(|&&step| spans.iter().all(|span| span.step != Some(step))) {
        if is_left_out(step) {
            finding.saw(format!("step {} left out, as it was impossible", step + 1));
            continue;
        }
        finding.undecided(format!("step {} injected no fault", step + 1));
    }
    for span in spans {
        account(span, &mut finding);
    }
    finding.figure("faults", spans.len() as f64);
    finding.saw(format!("{} injected", count(spans.len() as u64, "fault")));
    Some(finding.judge("faults", "", "every fault is proven in effect, and proven undone"))
}

/// Judges one fault: the proof of its effect, its end, and the proof of its end.
fn account(span: &FaultSpan, finding: &mut Finding) {
    let (fault, what) = (span.fault, format!("{} {}", span.kind, span.what));
    let mut line = format!("fault {fault}, {what} at {}: ", at(span.from_ns));
    match &span.effect {
        Some(Proof { holds, seen }) => {
            if !holds {
                finding.undecided(format!("fault {fault} ({what}) was not in effect: {seen}"));
            }
            line.push_str(seen);
        }
        None => _ = finding.undecided(format!("no proof whether fault {fault} ({what}) was in effect")),
    }
    if span.kind.hits_disk() {
        match &span.counted {
            Some(counted) if counted.hits() > 0 => {
                let hits = hits_in_words(&counted.calls);
                line = format!("{line}; in the end it had hit {hits}, and the server said {}", counted.said);
            }
            Some(counted) => {
                let calls = count(counted.calls.iter().map(|row| row.calls).sum(), "call");
                finding.undecided(format!("fault {fault} ({what}) hit none of {calls} on the node's files"));
            }
            None => _ = finding.undecided(format!("nobody counted the calls that fault {fault} ({what}) hit")),
        }
    }
    if let Some(ended) = &span.ended {
        let lasted = length_ns(ended.in_effect_ns.saturating_sub(span.from_ns));
        let planned = span.healed_ns.map_or_else(
            || "until the end of the run".to_owned(),
            |healed_ns| length_ns(healed_ns.saturating_sub(span.from_ns)),
        );
        finding.undecided(format!(
            "fault {fault} ({what}) was in effect for only {lasted} (planned: {planned}): at {}, {}",
            at(ended.found_ns),
            ended.seen
        ));
    }
    match (&span.healed_by, &span.heal) {
        (None, _) => _ = finding.undecided(format!("fault {fault} ({what}) was never undone")),
        (Some(_), Some(Proof { holds: true, seen })) => line = format!("{line}; undone: {seen}"),
        (Some(by), Some(Proof { holds: false, seen })) => {
            finding.undecided(format!("`{by}` did not undo fault {fault} ({what}): {seen}"));
        }
        (Some(by), None) => _ = finding.undecided(format!("no proof whether `{by}` undid fault {fault} ({what})")),
    }
    finding.evidence(line);
}
