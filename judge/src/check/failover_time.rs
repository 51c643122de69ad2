//! `failover-time`: the time from the fault to FAIL, to the promotion and to the first write.

use super::finding::{Finding, injecting};
use super::{Judgement, Traits, Verdict};
use crate::facts::{Facts, Failover, PATIENCE_NS, Window};
use crate::history::Outcome;
use crate::suite::{FailoverTime, Milestone, OpKind};
use crate::topology::Role;
use crate::units::Bound;
use crate::words::{at, length, list};

const MILESTONES: [Milestone; 3] = [Milestone::Fail, Milestone::Promotion, Milestone::FirstWrite];

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>, settings: &FailoverTime) -> Judgement {
    let mut finding = Finding::new();
    if let Err(why) = look(facts, settings, &mut finding) {
        finding.undecided(why);
    }
    let milestones: Vec<Milestone> = wanted(settings).collect();
    let from_ns = first_failover(facts, settings).map_or(0, |failover| failover.from_ns);
    let bounds = list(milestones.iter().map(|&milestone| {
        format!("{} within {}", words(milestone), length(bound_ms(facts, settings, milestone, from_ns)))
    }));
    let to = settings.to.map_or_else(String::new, |to| format!(", to {to}"));
    let how = if settings.within == Bound::Spec { " (by the server's rules)" } else { "" };
    finding.judge(
        "failover-time",
        format!("shard {}{to}, within {}", settings.shard, settings.within),
        format!("after the fault: {bounds}{how}"),
    )
}

fn wanted(settings: &FailoverTime) -> impl Iterator<Item = Milestone> {
    let to = settings.to;
    MILESTONES.into_iter().filter(move |milestone| to.is_none_or(|to| to == *milestone))
}

fn first_failover<'a>(facts: &'a Facts<'_>, settings: &FailoverTime) -> Option<&'a Failover> {
    let shards = facts.shards(settings.shard).ok()?;
    facts.failovers.iter().find(|failover| shards.contains(&failover.shard))
}

fn bound_ms(facts: &Facts<'_>, settings: &FailoverTime, milestone: Milestone, from_ns: u64) -> f64 {
    facts.bound_ns(settings.within, from_ns, |rules| rules.milestone(milestone)) as f64 / 1e6
}

fn look(facts: &Facts<'_>, settings: &FailoverTime, finding: &mut Finding) -> Result<(), String> {
    let window = facts.steps_window()?;
    let shards = facts.shards(settings.shard)?;
    let failovers: Vec<&Failover> = facts
        .failovers
        .iter()
        .filter(|failover| shards.contains(&failover.shard) && window.contains(failover.from_ns))
        .collect();
    if failovers.is_empty() {
        finding.undecided("no failover");
    }
    for failover in failovers {
        finding.evidence(describe(failover));
        for milestone in wanted(settings) {
            look_at(facts, settings, failover, milestone, finding);
        }
    }
    Ok(())
}

fn look_at(
    facts: &Facts<'_>,
    settings: &FailoverTime,
    failover: &Failover,
    milestone: Milestone,
    finding: &mut Finding,
) {
    if failover.fault.is_none() && milestone != Milestone::FirstWrite {
        // Nothing failed, so the rules of detection and election do not apply.
        return;
    }
    let bound_ms = bound_ms(facts, settings, milestone, failover.from_ns);
    let (shard, what) = (failover.shard, words(milestone));
    let over = |to_ms: f64, text: String, finding: &mut Finding| {
        let window = Window { from_ns: failover.from_ns, to_ns: failover.from_ns + (to_ms * 1e6) as u64 };
        finding.observed(1).saw(text);
        let late = match milestone {
            Milestone::Fail | Milestone::Promotion => facts.stalled(window),
            Milestone::FirstWrite => {
                facts.workload_was_late(window).or_else(|| untried(facts, failover, bound_ms, to_ms))
            }
        };
        match late {
            Some(why) => _ = finding.undecided(why),
            None => _ = finding.weigh(Verdict::Fail),
        }
    };
    let (earlier_ms, later_ms) = doubt_ms(failover);
    if let Some(took_ms) = reached_ms(failover, milestone) {
        finding.worst_figure(&figure(milestone), took_ms);
        let text = format!("{shard}: {what} after {}", length(took_ms));
        if took_ms - later_ms > bound_ms {
            over(took_ms, format!("{text} (limit {})", length(bound_ms)), finding);
        } else if took_ms + earlier_ms > bound_ms {
            finding.undecided(format!("{text}, but {}", injecting(failover.took_effect.map_or(0, Window::length_ns))));
        } else {
            finding.observed(1).saw(format!("{text} of {} allowed", length(bound_ms)));
        }
        return;
    }
    let watched_ms = failover.until_ns.saturating_sub(failover.from_ns) as f64 / 1e6;
    let later = MILESTONES.into_iter().filter(|later| *later > milestone);
    if let Some(next_ms) = later.filter_map(|later| reached_ms(failover, later)).reduce(f64::min) {
        // It must have come before the later milestone, between two polls.
        let text = format!("{shard}: {what} was not seen, but a later milestone was, after {}", length(next_ms));
        if next_ms + earlier_ms <= bound_ms {
            finding.observed(1).saw(text);
        } else {
            finding.undecided(text);
        }
    } else if milestone != Milestone::Fail && no_replica_stood(facts, failover) {
        let why = match facts.plan().replicas_of(shard) {
            0 => "the shard has no replica",
            _ => "faults hit every other node of the shard",
        };
        finding.saw(format!("{shard}: no {what}, because {why}"));
    } else if watched_ms - later_ms > bound_ms {
        over(watched_ms, format!("{shard}: no {what} within {}", length(watched_ms)), finding);
    } else {
        finding.undecided(format!("{shard}: no {what}, but the run watched for only {}", length(watched_ms)));
    }
}

/// By how many milliseconds the fault may have taken effect before, and after, the moment from which times count.
fn doubt_ms(failover: &Failover) -> (f64, f64) {
    failover.took_effect.map_or((0.0, 0.0), |effect| {
        let earlier_ns = failover.from_ns.saturating_sub(effect.from_ns);
        let later_ns = effect.to_ns.saturating_sub(failover.from_ns);
        (earlier_ns as f64 / 1e6, later_ns as f64 / 1e6)
    })
}

/// Whether faults hit every other node of the shard, and every replica that had moved to it, before an election could begin,
/// which takes a node timeout. No replica could replace the old master then.
fn no_replica_stood(facts: &Facts<'_>, failover: &Failover) -> bool {
    let half_timeout_ns =
        u64::try_from(facts.node_timeouts.rules(failover.from_ns).node_timeout.as_nanos() / 2).unwrap_or(u64::MAX);
    let at_ns = failover.from_ns.saturating_add(half_timeout_ns);
    let has_moved_here = |node| {
        let own = facts.views.of(node, failover.from_ns).view().and_then(|view| view.peers.get(&node));
        own.is_some_and(|own| own.role == Role::ReplicaOf(failover.old_master))
    };
    let nodes = facts.plan().nodes.iter();
    let mut others = nodes.filter(|node| node.shard == failover.shard || has_moved_here(node.node));
    others.all(|other| other.node == failover.old_master || facts.cannot_be_elected(other.node, at_ns))
}

/// Why a first write that came, or did not come, by `to_ms` need not be late: no write was waiting or issued when the limit
/// passed. Writes that the old master acknowledges do not count.
fn untried(facts: &Facts<'_>, failover: &Failover, bound_ms: f64, to_ms: f64) -> Option<String> {
    let at_ns = |ms: f64| failover.from_ns.saturating_add((ms * 1e6) as u64);
    let window = Window { from_ns: failover.from_ns, to_ns: at_ns(to_ms) };
    let writes = facts.ops.issued(OpKind::Writes, failover.shard, window).iter().copied();
    let of_others = writes.filter(|op| op.outcome() != Outcome::Ok || op.node() != failover.old_master.0);
    let over_ns = at_ns(bound_ms);
    (!Facts::unserved_beyond(of_others, over_ns, PATIENCE_NS)).then(|| {
        let shard = failover.shard;
        format!("{shard}: no write was tried at {}, when the limit passed ({})", at(over_ns), facts.too_few(shard))
    })
}

fn reached_ms(failover: &Failover, milestone: Milestone) -> Option<f64> {
    match milestone {
        Milestone::Fail => failover.fail_ms,
        Milestone::Promotion => failover.promotion_ms,
        Milestone::FirstWrite => failover.first_write_ms,
    }
}

fn words(milestone: Milestone) -> &'static str {
    match milestone {
        Milestone::Fail => "FAIL",
        Milestone::Promotion => "promotion",
        Milestone::FirstWrite => "first write",
    }
}

fn figure(milestone: Milestone) -> String {
    format!("{}_ms", milestone.to_string().replace('-', "_"))
}

fn describe(failover: &Failover) -> String {
    let cause = match (failover.fault, failover.kind) {
        (Some(fault), Some(kind)) => format!("{kind} of {} (fault {fault})", failover.old_master),
        _ if failover.ordered_by.is_some() => format!("{} handed over by CLUSTER FAILOVER", failover.old_master),
        _ => format!("{} handed over without a fault", failover.old_master),
    };
    let successor = failover.new_master.map_or_else(|| "no new master".to_owned(), |node| format!("new master {node}"));
    let time = |ms: Option<f64>| ms.map_or_else(|| "not seen".to_owned(), length);
    format!(
        "{} at {}: {cause}, {successor}; FAIL {}, promotion {}, first write {}",
        failover.shard,
        at(failover.from_ns),
        time(failover.fail_ms),
        time(failover.promotion_ms),
        time(failover.first_write_ms)
    )
}
