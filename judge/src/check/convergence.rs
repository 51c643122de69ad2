//! `convergence`: once the network is whole again, all nodes come to share one view.

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
            let (to_ns, means) = watched_until(facts, healed_ns, end_ns);
            look(facts, &since, &Limit { bound_ns, to_ns, means: &means }, &mut finding);
            if let (Verdict::Fail, Some(doubt)) = (finding.verdict(), doubt) {
                // The network may still have been cut: that says nothing of the nodes.
                finding = Finding::new();
                finding.undecided(doubt);
            }
        }
        Err(why) => _ = finding.undecided(why),
    }
    let expected = format!(
        "within {} of the healing of the last network fault, and from then on, every node knows the same masters, replicas, slots and epochs and flags none as failing",
        length_ns(bound_ns)
    );
    finding.judge("convergence", format!("within {}", settings.within), expected)
}

/// The end of the last network fault; and why the network may not have been whole from then on. That the nodes came
/// to agree shows that it was.
fn last_heal(facts: &Facts<'_>) -> Result<(Since, Option<String>), String> {
    let mut last: Option<Since> = None;
    let mut doubt = None;
    for fault in facts.fault_spans.iter().filter(|fault| fault.kind.hits_links()) {
        let what = format!("fault {} ({})", fault.fault, fault.kind);
        let over = fault.lost_effect().ok_or_else(|| format!("{what} was never undone"))?;
        if fault.heal_failed {
            doubt = Some(format!("{what} was not shown to be undone, and the nodes did not agree in time"));
        }
        if last.as_ref().is_none_or(|last| last.over.to_ns <= over.to_ns) {
            last = Some(Since { over, words: format!("the healing of {what}") });
        }
    }
    Ok((last.ok_or("there was no network fault to heal")?, doubt))
}

/// Until when the healed network's views are looked at: a later fault or CLUSTER command disturbs them
/// anew. And what it means that this came before the bound.
fn watched_until(facts: &Facts<'_>, healed_ns: u64, end_ns: u64) -> (u64, String) {
    let faults = facts.fault_spans.iter().map(|fault| (fault.from_ns, format!("fault {}", fault.fault)));
    let commands = facts.history.events.iter().filter_map(|event| {
        let EventKind::StepBegan { step } = event.kind else { return None };
        let Some(Step::Command(command)) = facts.plan().steps.get(step) else { return None };
        let disturbs = command.send.0[0].eq_ignore_ascii_case("cluster");
        disturbs.then(|| (event.at_ns, command.send.to_string()))
    });
    let next = faults.chain(commands).filter(|&(at_ns, _)| at_ns > healed_ns && at_ns <= end_ns).min();
    match next {
        Some((at_ns, what)) => {
            (at_ns.saturating_sub(1), format!("{what}, at {}, came before the bound was over", at(at_ns)))
        }
        None => (end_ns, "the run ended before the bound was over".to_owned()),
    }
}
