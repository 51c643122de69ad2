//! `recovery`: the cluster recovered in time after all faults were undone.

use std::collections::BTreeMap;

use super::agreement::difference;
use super::finding::Finding;
use super::{Judgement, Traits};
use crate::facts::{Facts, FaultSpan, Window};
use crate::history::EventKind;
use crate::topology::Role;
use crate::units::ShardNo;
use crate::words::{at, length, length_ns};

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
                    (true, _) => {
                        finding.saw(format!("recovered after {took} of {} allowed", facts.plan().recover_within));
                        let hurried = interrupted.map(|by| format!("the run was interrupted by {by}"));
                        lasts(facts, event.at_ns, hurried, &mut finding);
                    }
                    (false, _) if let Some(why) = facts.stuck.as_deref() => {
                        finding.undecided(format!("not recovered after {took}, but {why}: {last}"));
                    }
                    (false, None) if let Some(why) = facts.retransmitted(Window::before(event.at_ns, *took_ms)) => {
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

/// How long the nodes may disagree in all after the recovery, in nanoseconds. A single look may be between two changes.
const MAY_DISAGREE_NS: u64 = 1_000_000_000;

/// The same for this run: after a fault of links, packets from before its heal may revert views.
fn may_disagree_ns(facts: &Facts<'_>, recovered_ns: u64) -> u64 {
    let is_before = |span: &FaultSpan| span.kind.hits_links() && span.from_ns < recovered_ns;
    if !facts.fault_spans.iter().any(is_before) {
        return MAY_DISAGREE_NS;
    }
    let reverted = facts.node_timeouts.rules(recovered_ns).reverted_views(facts.plan().nodes.len());
    MAY_DISAGREE_NS.max(reverted.as_nanos() as u64)
}

/// Judges whether the cluster stayed whole after its recovery, and whether every shard has its replicas in the end. One look
/// at a cluster whose views change all the time can find it whole by luck. An interrupted run gives the cluster no time, so
/// what it shows decides nothing.
fn lasts(facts: &Facts<'_>, recovered_ns: u64, hurried: Option<String>, finding: &mut Finding) {
    let Ok(end_ns) = facts.last_ns() else { return };
    let since = Window { from_ns: recovered_ns, to_ns: end_ns };
    let inside = facts.views.moments().into_iter().filter(|&moment| moment > recovered_ns && moment < end_ns);
    let edges: Vec<u64> = [recovered_ns].into_iter().chain(inside).chain([end_ns]).collect();
    let mut disagreed_ns = 0;
    let mut last = None;
    for edge in edges.windows(2) {
        if let Some(found) = difference(facts, edge[0]).filter(|found| !found.unknown) {
            disagreed_ns += edge[1] - edge[0];
            last = Some((edge[0], found.words));
        }
    }
    let excuse = hurried.clone().or_else(|| facts.stalled(since));
    let may_ns = may_disagree_ns(facts, recovered_ns);
    if (MAY_DISAGREE_NS + 1..=may_ns).contains(&disagreed_ns) {
        let disagreed = length_ns(disagreed_ns);
        if difference(facts, end_ns).is_some_and(|found| !found.unknown) {
            finding.undecided(format!("the nodes disagreed for {disagreed} after that, and still did at the end"));
        } else {
            finding.saw(format!("the nodes disagreed for {disagreed} after that, as late packets may make them"));
        }
    }
    if let Some((moment, words)) = last.filter(|_| disagreed_ns > may_ns) {
        let text = format!("the nodes disagreed for {} after that", length_ns(disagreed_ns));
        finding.evidence(format!("last disagreement at {}: {words}", at(moment)));
        match &excuse {
            Some(why) => _ = finding.undecided(format!("{text}, but {why}")),
            None => _ = finding.fail(text),
        }
    }
    if let Some(missing) = missing_replicas(facts, end_ns) {
        match hurried {
            Some(why) => _ = finding.undecided(format!("{missing} in the end, but {why}")),
            None => _ = finding.fail(format!("{missing} in the end")),
        }
    }
}

/// Why a shard has too few replicas at a moment; None if it has enough, or if some node does not answer.
fn missing_replicas(facts: &Facts<'_>, at_ns: u64) -> Option<String> {
    let views = facts.views.at(at_ns);
    if views.len() < facts.plan().nodes.len() {
        return None;
    }
    let mut replicas: BTreeMap<ShardNo, usize> = BTreeMap::new();
    for shard in facts.ownership.shards() {
        let owner = facts.ownership.owner(shard, at_ns)?;
        let replicates = |own: &Role| *own == Role::ReplicaOf(owner);
        let own_roles = views.iter().filter_map(|(node, view)| view.peers.get(node).map(|own| &own.role));
        replicas.insert(shard, own_roles.filter(|role| replicates(role)).count());
    }
    facts.plan().missing_replicas(&replicas)
}
