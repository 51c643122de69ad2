//! `redirects`: a MOVED reply names the node that owns the slot.

use super::finding::Finding;
use super::{Judgement, Traits, Verdict};
use crate::facts::Facts;
use crate::history::EventKind;
use crate::suite::Redirects;
use crate::words::{at, count};

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>, _settings: &Redirects) -> Judgement {
    let mut finding = Finding::new();
    let mut right = 0;
    let mut asked = 0;
    for event in &facts.history.events {
        let EventKind::RedirectProbed { node, slot, reply, moved_to, owner, answered } = &event.kind else { continue };
        if !answered {
            finding.undecided(format!("no answer from {node} for slot {slot}: {reply}"));
            continue;
        }
        asked += 1;
        finding.observed(1);
        if *moved_to == Some(*owner) {
            right += 1;
            continue;
        }
        finding
            .weigh(Verdict::Fail)
            .evidence(format!("at {}: {node} answered `{reply}` for slot {slot}, which {owner} owns", at(event.at_ns)));
    }
    if asked > 0 {
        finding.saw(format!("{right} of {} named the owner", count(asked, "redirection")));
    }
    finding.judge("redirects", "at end", "every MOVED reply names the node that owns the slot")
}
