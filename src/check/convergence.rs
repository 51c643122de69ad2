//! `convergence`: once the network is whole again, all nodes come to share one view.

use super::Judgement;
use super::agreement::look;
use super::case::Case;
use super::finding::{Finding, at, length_ns};
use crate::analysis::Window;
use crate::history::EventKind;
use crate::spec::Rules;
use crate::suite::{Convergence, Step};

pub(super) fn judge(case: &Case<'_>, settings: &Convergence) -> Judgement {
    let mut finding = Finding::new();
    let healed = last_heal(case);
    let bound_ns = healed.as_ref().map_or(0, |&(at_ns, _)| case.bound_ns(settings.within, at_ns, Rules::agreement));
    match healed.and_then(|healed| Ok((healed, case.end_ns()?))) {
        Ok(((healed_ns, since), end_ns)) => {
            let (to_ns, over) = watched_until(case, healed_ns, end_ns);
            look(case, Window { from_ns: healed_ns, to_ns }, bound_ns, (&since, &over), &mut finding);
        }
        Err(why) => _ = finding.undecided(why),
    }
    let expected = format!(
        "within {} of the healing of the last network fault, and from then on, every node knows the same masters, replicas, slots and epochs and flags none as failing",
        length_ns(bound_ns)
    );
    finding.judge("convergence", format!("within {}", settings.within), expected)
}

/// When the last network fault began to be undone, in words too; or why that says nothing.
fn last_heal(case: &Case<'_>) -> Result<(u64, String), String> {
    let mut last = None;
    for fault in case.disturbances.iter().filter(|fault| fault.kind.is_of_the_network()) {
        let what = format!("{} (fault {})", fault.kind, fault.fault);
        match fault.healed_ns {
            None => return Err(format!("the {what} was never undone")),
            Some(_) if fault.heal_failed => return Err(format!("the {what} was not shown to be undone")),
            Some(healed_ns) => last = last.max(Some((healed_ns, format!("the healing of the {what}")))),
        }
    }
    last.ok_or_else(|| "there was no network fault to heal".to_owned())
}

/// Until when the healed network's views are looked at: a later fault or CLUSTER command disturbs them
/// anew. And what it means that this came before the bound.
fn watched_until(case: &Case<'_>, healed_ns: u64, end_ns: u64) -> (u64, String) {
    let faults = case.disturbances.iter().map(|fault| (fault.from_ns, format!("fault {}", fault.fault)));
    let commands = case.history.events.iter().filter_map(|event| {
        let EventKind::StepBegan { step } = event.kind else { return None };
        let Some(Step::Command(command)) = case.plan().steps.get(step) else { return None };
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
