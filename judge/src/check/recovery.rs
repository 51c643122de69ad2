//! `recovery`: the cluster recovered in time after all faults were undone.

use super::finding::Finding;
use super::{Judgement, Traits};
use crate::facts::Facts;
use crate::history::EventKind;
use crate::words::length;

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>) -> Judgement {
    let mut finding = Finding::new();
    let mut interrupted = None;
    let mut seen = false;
    for event in &facts.history.events {
        match &event.kind {
            EventKind::Interrupted { by } => interrupted = Some(by),
            EventKind::Recovered { recovered, took_ms, last } => {
                seen = true;
                finding.observed(1).figure("recovery_ms", *took_ms);
                let took = length(*took_ms);
                match (recovered, interrupted) {
                    (true, _) => _ = finding.saw(format!("recovered after {took}")),
                    (false, _) if let Some(why) = facts.stuck.as_deref() => {
                        finding.undecided(format!("not recovered after {took}, but {why}: {last}"));
                    }
                    (false, None) => _ = finding.fail(format!("not recovered after {took}: {last}")),
                    (false, Some(by)) => {
                        finding.undecided(format!(
                            "not recovered after {took}, but the run was interrupted by {by}: {last}"
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    if !seen {
        finding.undecided("the run ended before its recovery");
    }
    let within = facts.plan().recover_within;
    finding.judge(
        "recovery",
        format!("within {within}"),
        format!("the cluster recovers within {within} after the last heal"),
    )
}
