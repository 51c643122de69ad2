//! Questions that several checks ask about the facts. Where there is no answer, the error states why.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::facts::{Facts, FaultSpan, Seen, Window};
use crate::history::{EventKind, Op};
use crate::plan::Plan;
use crate::spec::Rules;
use crate::suite::ShardSet;
use crate::topology::View;
use crate::units::{Bound, NodeNo, ShardNo};
use crate::words::{at, count, length_ns};

/// The share of operations that may be issued late. Beyond it, times measured by the workload say more about the
/// harness than about the cluster.
const MAY_BE_LATE: f64 = 0.01;

/// How far before and after a time without an answer the lateness of the harness counts.
const AROUND_NS: u64 = 1_000_000_000;

/// On a machine that is too busy for the harness, servers answer late without a fault: a time without an answer proves
/// nothing if it is shorter than this many times the lateness of the harness.
pub(super) const BUSY: u64 = 4;

/// How long after the end of its fault a node must have been polled again.
const LOOKED_AGAIN_NS: u64 = 1_000_000_000;

fn around(window: Window) -> Window {
    Window { from_ns: window.from_ns.saturating_sub(AROUND_NS), to_ns: window.to_ns.saturating_add(AROUND_NS) }
}

impl<'a> Facts<'a> {
    pub(super) fn plan(&self) -> &'a Plan {
        &self.history.header.plan
    }

    /// Every node of the plan.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeNo> + 'a {
        self.plan().nodes.iter().map(|node| node.node)
    }

    /// The window of the steps, or why there is none.
    pub(super) fn steps_window(&self) -> Result<Window, String> {
        self.steps.ok_or_else(|| "the run ended before its first phase".to_owned())
    }

    /// The window of a phase, or why there is none.
    pub(super) fn phase(&self, name: &str) -> Result<Window, String> {
        let mut named = self.phases.iter().filter(|phase| phase.name == name);
        match (named.next(), named.next()) {
            (Some(phase), None) => Ok(phase.window),
            (Some(_), Some(_)) => Err(format!("more than one phase has the name \"{name}\"")),
            (None, _) => Err(format!("the run ended before phase \"{name}\"")),
        }
    }

    /// The last moment of a phase, or why there is none. An event may be due at the very end of a phase, so a phase that
    /// was cut short proves nothing.
    pub(super) fn phase_end_ns(&self, name: &str) -> Result<u64, String> {
        let window = self.phase(name)?;
        match self.cut_in(window) {
            Some(why) => Err(format!("phase \"{name}\" was cut short: {why}")),
            None => Ok(window.to_ns.saturating_sub(1)),
        }
    }

    /// What ended the steps early, if it did so in this window.
    pub(super) fn cut_in(&self, window: Window) -> Option<&str> {
        self.cut.as_ref().filter(|cut| window.contains(cut.at_ns)).map(|cut| cut.why.as_str())
    }

    /// The window of the phase `during`, or of the steps.
    pub(super) fn window(&self, during: Option<&str>) -> Result<Window, String> {
        during.map_or_else(|| self.steps_window(), |name| self.phase(name))
    }

    /// The moment that `at: end` means: the last of the history, after recovery. (A run stops polling before it takes
    /// the cluster down.)
    pub(super) fn last_ns(&self) -> Result<u64, String> {
        let recovered = self.history.events.iter().find_map(|event| match event.kind {
            EventKind::Recovered { recovered, .. } => Some(recovered),
            _ => None,
        });
        let cut = self.cut.as_ref().map(|cut| &cut.why);
        match (recovered, self.stuck.as_ref().or(cut), self.history.events.last()) {
            // The wait for recovery was cut short, too, or could not succeed.
            (Some(false), Some(why), _) => Err(format!("the cluster had not recovered when the run ended: {why}")),
            (Some(_), _, Some(last)) => Ok(last.at_ns),
            _ => Err("the run ended before its recovery".to_owned()),
        }
    }

    /// As [`last_ns`](Self::last_ns), for a result of the steps.
    pub(super) fn end_of_steps_ns(&self) -> Result<u64, String> {
        match &self.cut {
            Some(cut) => Err(format!("not all steps were done: {}", cut.why)),
            None => self.last_ns(),
        }
    }

    /// When the result of the recovery was known, in nanoseconds from the start of the run.
    pub(super) fn recovered_ns(&self) -> Option<u64> {
        self.history
            .events
            .iter()
            .find(|event| matches!(event.kind, EventKind::Recovered { .. }))
            .map(|event| event.at_ns)
    }

    /// The shards of a setting, or why there are none.
    pub(super) fn shards(&self, set: ShardSet) -> Result<Vec<ShardNo>, String> {
        let shards: Vec<ShardNo> = match set {
            ShardSet::One(shard) => self.ownership.shards().filter(|each| *each == shard).collect(),
            ShardSet::All => self.ownership.shards().collect(),
            ShardSet::Others => {
                let hit = self.shards_hit();
                self.ownership.shards().filter(|shard| !hit.contains(shard)).collect()
            }
        };
        match set {
            _ if !shards.is_empty() => Ok(shards),
            ShardSet::One(shard) => Err(format!("there is no {shard}")),
            ShardSet::All => Err("the plan has no shards".to_owned()),
            ShardSet::Others => Err("faults hit every shard, so there are no others".to_owned()),
        }
    }

    /// The shards of the nodes that faults hit: their shards at boot and at the injection.
    fn shards_hit(&self) -> BTreeSet<ShardNo> {
        let mut hit = BTreeSet::new();
        for each in self.fault_spans.iter().flat_map(|span| &span.hits) {
            hit.extend(each.shard);
            let planned = self.plan().nodes.iter().find(|planned| planned.node == each.node);
            hit.extend(planned.map(|planned| planned.shard));
        }
        hit
    }

    /// A bound in nanoseconds. `spec` is the limit by the server's rules at a moment.
    pub(super) fn bound_ns(&self, bound: Bound, at_ns: u64, spec: impl Fn(&Rules) -> Duration) -> u64 {
        match bound {
            Bound::Fixed(span) => span.as_ns(),
            Bound::Spec => u64::try_from(spec(&self.node_timeouts.rules(at_ns)).as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Why a duration that exceeds its bound proves nothing about the cluster: the harness stalled for more than a quarter
    /// of it, a node lived at another speed, or TCP did.
    pub(super) fn stalled(&self, window: Window) -> Option<String> {
        if self.wrong_speed.is_some() {
            return self.wrong_speed.clone();
        }
        if let Some(why) = self.retransmitted(window) {
            return Some(why);
        }
        let stalled_ns: u64 = self.stalls.iter().map(|stall| stall.overlap_ns(window)).sum();
        let exceeds = |span_ns: u64| span_ns.saturating_mul(4) > window.length_ns();
        let of = |span_ns: u64| format!("{} of {}", length_ns(span_ns), length_ns(window.length_ns()));
        if exceeds(stalled_ns) {
            return Some(format!("the harness stalled for {}", of(stalled_ns)));
        }
        let starved_ns = self.starved_ns(window);
        exceeds(starved_ns).then(|| format!("servers waited for a processor in {}", of(starved_ns)))
    }

    /// For how much of a window at least one server waited for a processor.
    fn starved_ns(&self, window: Window) -> u64 {
        let (mut starved_ns, mut until_ns) = (0, window.from_ns);
        for each in &self.starved {
            let rest = Window { from_ns: each.from_ns.max(until_ns), to_ns: each.to_ns.max(until_ns) };
            starved_ns += rest.overlap_ns(window);
            until_ns = until_ns.max(each.to_ns);
        }
        starved_ns
    }

    /// Whether servers waited for a processor in all of a window. A flag that rests on an answer that was late stays until the
    /// next one, within a node timeout.
    pub(super) fn starved_all_of(&self, window: Window) -> bool {
        let mut until_ns = window.from_ns;
        for each in self.starved.iter().take_while(|each| each.from_ns <= window.to_ns) {
            if each.from_ns <= until_ns {
                let node_timeout = self.node_timeouts.rules(each.to_ns).node_timeout;
                until_ns = until_ns.max(each.to_ns.saturating_add(node_timeout.as_nanos() as u64));
            }
        }
        until_ns > window.to_ns
    }

    /// Why a duration proves nothing about the cluster at speed: TCP may have sent packets again in it that a fault of links
    /// had dropped.
    pub(super) fn retransmitted(&self, window: Window) -> Option<String> {
        let during = self.retransmitting.iter().find(|retransmitting| retransmitting.overlap_ns(window) > 0)?;
        let speed = self.history.header.speed;
        Some(format!(
            "at speed {speed}, TCP sends what a fault of links dropped {speed} times as late for the nodes, from {} to {} (hint: \
             run it without `--speed`)",
            at(during.from_ns),
            at(during.to_ns)
        ))
    }

    /// A promotion up to a moment that proves nothing about the cluster: at speed, nodes may have missed each other only because
    /// TCP sends again so late.
    pub(super) fn promoted_by_late_packets(&self, to_ns: u64) -> Option<String> {
        let mut changes = self.ownership.changes().iter().filter(|change| change.at_ns <= to_ns);
        changes.find_map(|change| {
            // Others noticed a node timeout ago that the master was away.
            let node_timeout = self.node_timeouts.rules(change.at_ns).node_timeout;
            let missed = Window::before(change.at_ns, node_timeout.as_secs_f64() * 1e3);
            let why = self.retransmitted(missed)?;
            Some(format!("{} passed to {} at {}, and {why}", change.shard, change.to, at(change.at_ns)))
        })
    }

    /// As `stalled`, for a duration measured by the operations of the workload.
    pub(super) fn workload_was_late(&self, window: Window) -> Option<String> {
        self.stalled(window).or_else(|| self.issued_late())
    }

    /// Why the operations cannot measure durations: too many were issued late.
    pub(super) fn issued_late(&self) -> Option<String> {
        let (late, issued) = (self.ops.late(), self.history.ops.len() as u64);
        (issued > 0 && late as f64 > issued as f64 * MAY_BE_LATE).then(|| {
            format!(
                "{} of {} ({:.1} %) were issued over 1 s late (allowed: 1 %)",
                late,
                count(issued, "operation"),
                late as f64 * 100.0 / issued as f64
            )
        })
    }

    /// Whether slotquake or a server was late anywhere in the run: it got no processor, or operations were issued late. Then an inconclusive run may be
    /// conclusive on a faster machine, or at a lower speed.
    pub fn was_late(&self) -> bool {
        !self.stalls.is_empty() || !self.starved.is_empty() || self.issued_late().is_some()
    }

    /// How late the harness itself issued operations around a time, in nanoseconds.
    pub(super) fn late_around_ns(&self, window: Window) -> u64 {
        self.lateness.longest_ns(around(window))
    }

    /// Why a time without an answer proves nothing: on a machine that is too busy for the harness, servers answer late
    /// without a fault.
    pub(super) fn busy(&self, unanswered: Window) -> Option<String> {
        let is_busy = |late_ns: u64| late_ns.saturating_mul(BUSY) > unanswered.length_ns();
        let from = at(unanswered.from_ns);
        let late_ns = self.late_around_ns(unanswered);
        if is_busy(late_ns) {
            let late = length_ns(late_ns);
            return Some(format!("the harness itself was late by up to {late} around {from}, so the machine was busy"));
        }
        let around = around(unanswered);
        let starved = self.starved.iter().filter(|starved| starved.overlap_ns(around) > 0);
        let starved_ns = starved.map(|starved| starved.length_ns()).max().unwrap_or(0);
        is_busy(starved_ns).then(|| {
            let starved = length_ns(starved_ns);
            format!("a server waited for a processor in up to {starved} around {from}, so the machine was busy")
        })
    }

    /// Whether operations show that service was still out after a moment: one of them was waiting then, or was issued
    /// later and not served within the patience. Without such an operation, nobody may have tried.
    pub(super) fn unserved_beyond<'o>(ops: impl IntoIterator<Item = &'o Op>, at_ns: u64, patience_ns: u64) -> bool {
        ops.into_iter()
            .filter(|op| op.complete_ns() > at_ns && op.outcome().was_tried())
            .any(|op| op.invoke_ns() <= at_ns || !op.is_served_within(patience_ns))
    }

    /// The reason for too few operations and a hint, for parentheses.
    pub(super) fn too_few(&self, shard: ShardNo) -> String {
        let keys = self.plan().workload.keys();
        if self.ops.key_shards().without_keys().contains(&shard) {
            format!("none of the workload's {keys} keys is in {shard}; hint: raise `workload.keys`")
        } else {
            "hint: raise `workload.rate` or `workload.keys`".to_owned()
        }
    }

    /// A node's view at a moment, or what its silence means.
    pub(super) fn view_of(&self, node: NodeNo, at_ns: u64) -> Result<&'a View, Silence> {
        let reason = match self.views.of(node, at_ns) {
            Seen::View(view) => return Ok(view),
            Seen::Never => return Err(Silence::Unknown(format!("{node} was never polled"))),
            Seen::Silent(reason) => reason,
        };
        if let Some(fault) = self.open_fault(node, at_ns) {
            return Err(Silence::Unknown(format!("{node} does not answer ({reason}) because of fault {fault}")));
        }
        if self.undone_ns(node, at_ns).is_some_and(|undone_ns| at_ns - undone_ns < LOOKED_AGAIN_NS) {
            return Err(Silence::Unknown(format!("{node} was not polled after its fault was undone")));
        }
        let since_ns = self.views.since(node, at_ns).unwrap_or(at_ns);
        let asked = Window { from_ns: since_ns.saturating_sub(LOOKED_AGAIN_NS), to_ns: since_ns };
        if let Some(why) = self.stalled(asked).or_else(|| self.busy(asked)) {
            return Err(Silence::Unknown(format!("{node} does not answer ({reason}), but {why}")));
        }
        Err(Silence::Broken(format!("{node} does not answer ({reason}), and no fault explains it")))
    }

    /// When the last fault of a node's process was proven over, in nanoseconds from the start of the run.
    fn undone_ns(&self, node: NodeNo, at_ns: u64) -> Option<u64> {
        self.holding(node).filter_map(FaultSpan::over_ns).filter(|&undone_ns| undone_ns <= at_ns).max()
    }

    /// A fault that keeps a node's process from answering at a moment: injected, and not proven over. A network fault does
    /// not: the harness itself always reaches every node.
    pub(super) fn open_fault(&self, node: NodeNo, at_ns: u64) -> Option<u32> {
        let open = self.holding(node).filter(|each| each.is_open(at_ns));
        open.map(|each| each.fault).last()
    }

    /// Whether a fault has ended a node's process at a moment, and was not proven over.
    pub(super) fn is_ended(&self, node: NodeNo, at_ns: u64) -> bool {
        self.holding(node).any(|each| each.kind.ends_process() && each.is_open(at_ns))
    }

    fn holding(&self, node: NodeNo) -> impl Iterator<Item = &FaultSpan> {
        self.fault_spans.iter().filter(move |each| each.holds_server() && each.hit(node).is_some())
    }

    /// Whether a fault keeps a node from being elected at a moment: its process does not run, or it is cut off from the
    /// majority.
    pub(super) fn cannot_be_elected(&self, node: NodeNo, at_ns: u64) -> bool {
        let mut faults = self.fault_spans.iter().filter(|each| each.may_end_a_reign() && each.hit(node).is_some());
        faults.any(|each| each.is_open(at_ns))
    }
}

/// Why a node's view is missing.
pub(super) enum Silence {
    /// It was not polled, or a fault silenced it: this proves nothing.
    Unknown(String),
    /// It should answer, and does not.
    Broken(String),
}
