//! Failovers: from a fault at a master, or a CLUSTER FAILOVER, to the first write that the new master acknowledged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FaultSpan, OpIndex, Ownership, OwnershipChange, Views, Window};
use crate::history::{EventKind, FaultKind, History, Outcome};
use crate::spec::MANUAL_FAILOVER_TIMEOUT;
use crate::suite::{OpKind, Step};
use crate::topology::{Health, View};
use crate::units::{NodeNo, ShardNo};

/// One failover of a shard: after a fault at its master (of the process, or a cut of the cluster bus), or a change of
/// ownership without a fault (CLUSTER FAILOVER).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failover {
    /// The shard, whether or not it got a new master.
    pub shard: ShardNo,
    /// The fault that caused it; None if the ownership changed without one.
    pub fault: Option<u32>,
    /// The kind of the fault.
    pub kind: Option<FaultKind>,
    /// The master before.
    pub old_master: NodeNo,
    /// The new master: the first other node that owned the slots of the shard before the next fault at its master, a CLUSTER
    /// FAILOVER after the fault was undone, or the end of the steps. None if there was no promotion.
    pub new_master: Option<NodeNo>,
    /// The moment from which times count, in nanoseconds from the start of the run: the signal to a process, the moment at
    /// which all network rules were in force, or the sending of the CLUSTER FAILOVER. Otherwise the first view that shows
    /// the change.
    pub from_ns: u64,
    /// The two moments between which the fault took effect; None without a fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_effect: Option<Window>,
    /// The `command` step that sent the CLUSTER FAILOVER, by its position in the plan's steps; None after a fault, and if no
    /// step did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_by: Option<usize>,
    /// Until when the failover was watched, in nanoseconds from the start of the run: without a promotion until the fault was
    /// undone, else until the next failover of the shard or the end of the steps.
    pub until_ns: u64,
    /// Milliseconds to the first FAIL flag after the fault. For a network fault, by a node that it did not hit, if there is
    /// one.
    pub fail_ms: Option<f64>,
    /// Milliseconds to the promotion: to the first view in which the new master owns the slots, or to the first write that it
    /// acknowledged, whichever is earlier. None without a fault or a CLUSTER FAILOVER, because there is no moment to count
    /// from.
    pub promotion_ms: Option<f64>,
    /// Milliseconds to the acknowledgement of the first write to the shard that was issued after the injection began and that
    /// another node than the old master acknowledged.
    pub first_write_ms: Option<f64>,
    /// The configEpoch of the new master.
    pub epoch: Option<u64>,
    /// Which of the times come from the servers' logs; None if none does. Others are of polling, or of a write that proves an
    /// earlier promotion: late by up to [`POLL`](crate::spec::POLL).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logged: Option<Logged>,
}

/// Times of a failover that a server's log tells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Logged {
    /// Whether `fail_ms` is of a log.
    pub fail: bool,
    /// Whether `promotion_ms` is of a log.
    pub promotion: bool,
    /// By how many milliseconds these times may be late. They are early by at most 1 ms.
    pub late_by_ms: f64,
}

impl Failover {
    /// When FAIL was known, in nanoseconds from the start of the run.
    pub fn fail_ns(&self) -> Option<u64> {
        self.after_ns(self.fail_ms)
    }

    /// When the new master was promoted, in nanoseconds from the start of the run.
    pub fn promotion_ns(&self) -> Option<u64> {
        self.after_ns(self.promotion_ms)
    }

    fn after_ns(&self, after_ms: Option<f64>) -> Option<u64> {
        after_ms.map(|after_ms| self.from_ns.saturating_add((after_ms * 1e6) as u64))
    }

    /// How the time of FAIL is known: `by log` or `by polling`.
    pub fn fail_by(&self) -> &'static str {
        source(self.logged.is_some_and(|logged| logged.fail))
    }

    /// How the time of the promotion is known: `by log` or `by polling`.
    pub fn promotion_by(&self) -> &'static str {
        source(self.logged.is_some_and(|logged| logged.promotion))
    }
}

fn source(is_logged: bool) -> &'static str {
    if is_logged { "by log" } else { "by polling" }
}

/// A fault at a shard's master.
struct MasterFault {
    fault: u32,
    kind: FaultKind,
    shard: ShardNo,
    node: NodeNo,
    /// All nodes that the fault hit.
    hit_nodes: Vec<NodeNo>,
    struck_ns: u64,
    took_effect: Window,
    healed_ns: Option<u64>,
}

impl MasterFault {
    /// When the injection began.
    fn began_ns(&self) -> u64 {
        self.took_effect.from_ns
    }
}

fn master_faults(fault_spans: &[FaultSpan]) -> Vec<MasterFault> {
    let mut found = Vec::new();
    for fault in fault_spans.iter().filter(|each| each.may_end_a_reign()) {
        let hit_nodes: Vec<NodeNo> = fault.hits.iter().map(|hit| hit.node).collect();
        for hit in fault.hits.iter().filter(|hit| hit.was_master) {
            let Some(shard) = hit.shard else { continue };
            found.push(MasterFault {
                fault: fault.fault,
                kind: fault.kind,
                shard,
                node: hit.node,
                hit_nodes: hit_nodes.clone(),
                struck_ns: fault.struck_ns(),
                took_effect: fault.took_effect(),
                healed_ns: fault.healed_ns,
            });
        }
    }
    found
}

/// Finds the failovers of a history.
pub(super) struct Finder<'a> {
    pub history: &'a History,
    pub ops: &'a OpIndex<'a>,
    pub views: &'a Views<'a>,
    pub ownership: &'a Ownership,
    pub end_ns: u64,
}

impl Finder<'_> {
    /// The failovers in order of time.
    pub(super) fn find(&self, fault_spans: &[FaultSpan]) -> Vec<Failover> {
        let faults = master_faults(fault_spans);
        let mut unexplained: Vec<OwnershipChange> = self.ownership.changes().to_vec();
        let mut found: Vec<Failover> =
            faults.iter().map(|fault| self.after_fault(fault, &faults, &mut unexplained)).collect();
        found.extend(unexplained.iter().map(|change| self.without_fault(change, &faults)));
        found.sort_by_key(|failover| failover.from_ns);
        found
    }

    fn after_fault(
        &self,
        fault: &MasterFault,
        all: &[MasterFault],
        unexplained: &mut Vec<OwnershipChange>,
    ) -> Failover {
        let close_ns = self.close_ns(fault.shard, fault.began_ns(), all);
        let position = unexplained
            .iter()
            .position(|change| {
                let at_stake = change.shard == fault.shard && change.to != fault.node;
                at_stake && (fault.began_ns()..close_ns).contains(&change.at_ns)
            })
            .filter(|&position| {
                // An election that began before the heal may still replace the master. A later CLUSTER FAILOVER is not
                // part of this failover.
                let promoted_ns = unexplained[position].at_ns;
                fault.healed_ns.is_none_or(|healed_ns| !self.ordered_between(healed_ns, promoted_ns))
            });
        let change = position.map(|position| unexplained.remove(position));
        let since_ms = |at_ns: u64| at_ns.saturating_sub(fault.struck_ns) as f64 / 1e6;
        let until_ns = match (&change, fault.healed_ns) {
            (None, Some(healed_ns)) => healed_ns.min(close_ns),
            _ => close_ns,
        };
        // Nodes are polled at intervals. A write that the new master acknowledged proves an earlier promotion, and a
        // promotion proves an earlier FAIL.
        let first_write_ns = self.first_write_ns(fault.shard, fault.node, fault.began_ns(), close_ns);
        let promotion_ns = change.map(|change| change.at_ns.min(first_write_ns.unwrap_or(u64::MAX)));
        let fail_ns = self.first_fail_ns(fault, close_ns).map(|at_ns| at_ns.min(promotion_ns.unwrap_or(u64::MAX)));
        Failover {
            shard: fault.shard,
            fault: Some(fault.fault),
            kind: Some(fault.kind),
            old_master: fault.node,
            new_master: change.map(|change| change.to),
            from_ns: fault.struck_ns,
            took_effect: Some(fault.took_effect),
            ordered_by: None,
            until_ns,
            fail_ms: fail_ns.map(since_ms),
            promotion_ms: promotion_ns.map(since_ms),
            first_write_ms: first_write_ns.map(since_ms),
            epoch: change.map(|change| change.epoch),
            logged: None,
        }
    }

    fn without_fault(&self, change: &OwnershipChange, faults: &[MasterFault]) -> Failover {
        let order = self.order_of(change);
        let from_ns = order.map_or(change.at_ns, |(_, sent_ns)| sent_ns);
        let next_change =
            self.ownership.changes().iter().find(|next| next.shard == change.shard && next.at_ns > change.at_ns);
        let close_ns =
            self.close_ns(change.shard, change.at_ns, faults).min(next_change.map_or(u64::MAX, |next| next.at_ns));
        let first_write_ns = self.first_write_ns(change.shard, change.from, from_ns, close_ns);
        let since_ms = |at_ns: u64| at_ns.saturating_sub(from_ns) as f64 / 1e6;
        let promotion_ns = order.map(|_| change.at_ns.min(first_write_ns.unwrap_or(u64::MAX)));
        Failover {
            shard: change.shard,
            fault: None,
            kind: None,
            old_master: change.from,
            new_master: Some(change.to),
            from_ns,
            took_effect: None,
            ordered_by: order.map(|(step, _)| step),
            until_ns: close_ns,
            fail_ms: None,
            promotion_ms: promotion_ns.map(since_ms),
            first_write_ms: first_write_ns.map(since_ms),
            epoch: Some(change.epoch),
            logged: None,
        }
    }

    /// The next fault at the shard's master, the end of the steps, or the end of the history.
    fn close_ns(&self, shard: ShardNo, from_ns: u64, faults: &[MasterFault]) -> u64 {
        let next_fault =
            faults.iter().filter(|next| next.shard == shard && next.began_ns() > from_ns).map(MasterFault::began_ns);
        let steps_ended = self
            .history
            .events
            .iter()
            .filter(|event| event.kind == EventKind::StepsEnded && event.at_ns > from_ns)
            .map(|event| event.at_ns);
        next_fault.chain(steps_ended).min().unwrap_or(self.end_ns)
    }

    /// The steps that sent a CLUSTER FAILOVER, and when they began.
    fn orders(&self) -> impl DoubleEndedIterator<Item = (usize, u64)> {
        self.history.events.iter().filter_map(|event| {
            let EventKind::StepBegan { step } = event.kind else { return None };
            let Some(Step::Command(command)) = self.history.header.plan.steps.get(step) else { return None };
            let [first, second, ..] = command.send.0.as_slice() else { return None };
            let is_order = first.eq_ignore_ascii_case("cluster") && second.eq_ignore_ascii_case("failover");
            is_order.then_some((step, event.at_ns))
        })
    }

    fn ordered_between(&self, from_ns: u64, to_ns: u64) -> bool {
        let window = Window { from_ns, to_ns };
        self.orders().any(|(_, at_ns)| window.contains(at_ns))
    }

    /// The CLUSTER FAILOVER that caused a change: the last one to the new master before the change. It can cause only the first
    /// change after it, and none after its timeout.
    fn order_of(&self, change: &OwnershipChange) -> Option<(usize, u64)> {
        let earlier = self.ownership.changes().iter().filter(|other| other.shard == change.shard);
        let earlier_ns = earlier.map(|other| other.at_ns).filter(|&at_ns| at_ns < change.at_ns).max().unwrap_or(0);
        let given_up_ns = MANUAL_FAILOVER_TIMEOUT.as_nanos() as u64 * 2;
        let went_to_new_master = |step: usize| {
            self.history.events.iter().any(|event| {
                matches!(&event.kind, EventKind::Commanded { step: sent, node, .. } if *sent == step && *node == change.to)
            })
        };
        let may_explain =
            |sent_ns: u64| (earlier_ns..=change.at_ns).contains(&sent_ns) && change.at_ns - sent_ns <= given_up_ns;
        self.orders().rev().find(|&(step, sent_ns)| may_explain(sent_ns) && went_to_new_master(step))
    }

    /// The first view after a fault in which a node newly flags the old master FAIL.
    fn first_fail_ns(&self, fault: &MasterFault, close_ns: u64) -> Option<u64> {
        let flags = |view: &View| view.peers.get(&fault.node).is_some_and(|peer| peer.health == Health::Fail);
        let window = Window { from_ns: fault.began_ns(), to_ns: close_ns };
        // Nodes on the side of the old master do not flag it. If the fault hits all nodes, all count.
        let mut nodes = self.history.header.plan.nodes.iter();
        let all_are_hit = nodes.all(|planned| fault.hit_nodes.contains(&planned.node));
        let may_flag = |node| node != fault.node && (all_are_hit || !fault.hit_nodes.contains(&node));
        self.history.events.iter().filter(|event| window.contains(event.at_ns)).find_map(|event| match &event.kind {
            EventKind::Viewed { node, view } if may_flag(*node) && flags(view) => {
                let before = self.views.of(*node, fault.began_ns().saturating_sub(1)).view();
                (!before.is_some_and(flags)).then_some(event.at_ns)
            }
            _ => None,
        })
    }

    fn first_write_ns(&self, shard: ShardNo, old_master: NodeNo, from_ns: u64, to_ns: u64) -> Option<u64> {
        self.ops
            .issued(OpKind::Writes, shard, Window { from_ns, to_ns })
            .iter()
            .filter(|op| op.outcome() == Outcome::Ok && op.node() != 0 && op.node() != old_master.0)
            .map(|op| op.complete_ns())
            .min()
    }
}
