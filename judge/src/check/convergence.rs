//! `convergence`: after the last network fault is healed, all nodes come to have the same view of the cluster.

use super::agreement::{Limit, Since, look};
use super::finding::Finding;
use super::{Judgement, Traits, Verdict};
use crate::facts::Facts;
use crate::history::EventKind;
use crate::spec::Rules;
use crate::suite::{Convergence, Step};
use crate::words::{at, length_ns};

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>, settings: &Convergence) -> Judgement {
    let mut finding = Finding::new();
    let healed = last_heal(facts);
    let healed_ns = healed.as_ref().map_or(0, |(since, _)| since.over.to_ns);
    let bound_ns = facts.bound_ns(settings.within, healed_ns, Rules::agreement);
    match healed.and_then(|healed| Ok((healed, facts.last_ns()?))) {
        Ok(((since, doubt), end_ns)) => {
            let (to_ns, why) = watched_until(facts, healed_ns, end_ns);
            look(facts, &since, &Limit { bound_ns, to_ns, why: &why }, &mut finding);
            if let (Verdict::Fail, Some(doubt)) = (finding.verdict(), doubt) {
                // The network may still have been cut, so the disagreement proves nothing.
                finding = Finding::new();
                finding.undecided(doubt);
            }
        }
        Err(why) => _ = finding.undecided(why),
    }
    let expected = format!(
        "within {} after the last network fault is healed all nodes agree on masters, replicas, slots and epochs, and flag no node",
        length_ns(bound_ns)
    );
    finding.judge("convergence", format!("within {}", settings.within), expected)
}

/// The end of the last network fault, and why the network may still have been cut after it. Nodes that agree show that it
/// was not.
fn last_heal(facts: &Facts<'_>) -> Result<(Since, Option<String>), String> {
    let mut last: Option<Since> = None;
    let mut doubt = None;
    for fault in facts.fault_spans.iter().filter(|fault| fault.kind.hits_links()) {
        let what = format!("fault {} ({})", fault.fault, fault.kind);
        let over = fault.lost_effect().ok_or_else(|| format!("{what} was never undone"))?;
        if fault.heal_failed {
            doubt = Some(format!("{what} was not proven undone, and the nodes did not agree in time"));
        }
        if last.as_ref().is_none_or(|last| last.over.to_ns <= over.to_ns) {
            last = Some(Since { over, words: format!("the end of {what}") });
        }
    }
    Ok((last.ok_or("there was no network fault to heal")?, doubt))
}

/// Until when the nodes are watched, as a later fault or CLUSTER command disturbs them again, and what ends the watch.
fn watched_until(facts: &Facts<'_>, healed_ns: u64, end_ns: u64) -> (u64, String) {
    let faults = facts.fault_spans.iter().map(|fault| (fault.from_ns, format!("fault {}", fault.fault)));
    let commands = facts.history.events.iter().filter_map(|event| {
        let EventKind::StepBegan { step } = event.kind else { return None };
        let Some(Step::Command(command)) = facts.plan().steps.get(step) else { return None };
        let disturbs = command.send.0[0].eq_ignore_ascii_case("cluster");
        disturbs.then(|| (event.at_ns, format!("`{}`", command.send)))
    });
    let next = faults.chain(commands).filter(|&(at_ns, _)| at_ns > healed_ns && at_ns <= end_ns).min();
    match next {
        Some((at_ns, what)) => (at_ns.saturating_sub(1), format!("{what} at {} came before the limit", at(at_ns))),
        None => (end_ns, "the run ended before the limit".to_owned()),
    }
}
