//! The report: what a run did and what was judged of it, and how that is shown. Rendering decides
//! nothing.

mod anatomy_table;
mod annotations;
mod compare;
mod compare_table;
mod explain;
#[cfg(test)]
pub(crate) mod fixture;
pub mod html;
mod json;
mod junit;
mod markdown;
mod matrix;
mod measure;
mod narrate;
mod reproduce;
mod skipped;
pub mod statistics;
mod store;
mod summary;
mod summary_markdown;
mod table;
mod verdict_table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use annotations::annotations;
pub use compare::{Comparison, InvariantChange, Pair, RunKey, SkippedRun, compare};
pub use compare_table::{render_comparison, render_comparison_markdown};
pub use explain::explain;
pub use json::document;
pub use junit::junit;
pub use measure::{Change, FigureChange, FigureKind, Side};
pub use narrate::{Narrator, seconds};
pub use reproduce::{Reproduce, reproduce};
pub use skipped::{SKIPPED_FILE, Skipped, SkippedFile, skipped};
pub use store::{FILE_NAME, ReportError, io_error, parse, read, read_all};
pub use summary::{Course, Figures, LongestOutage, Recorded, Standing, Summary, short_server};
pub use summary_markdown::render_markdown;
pub use table::{Style, render, wrapped};
pub use verdict_table::render_verdicts;

use crate::anatomy::{Anatomy, Logs, dissect};
use crate::check::{Judgement, Verdict, check, overall};
use crate::facts::{Failover, Ledger, OpStats, Outage, PhaseSpan};
use crate::facts::{failovers, ledger, outages, phases, stats, steps_window};
use crate::history::{Event, EventKind, Header, History, StepProblem};
use crate::suite::OpKind;
use crate::topology::{Health, Role, View};
use crate::units::{NodeNo, ShardNo};

/// `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Suite, plan, seed, server, host, start; holds `schema_version`.
    #[serde(flatten)]
    pub header: Header,
    /// How long the run took, in milliseconds.
    pub duration_ms: f64,
    /// Whether the history ends as it should: a run that was killed left one that does not.
    pub complete: bool,
    /// What every judgement together came to.
    pub verdict: Verdict,
    /// Each invariant with its evidence.
    pub invariants: Vec<Judgement>,
    /// The phases with their statistics.
    pub phases: Vec<PhaseReport>,
    /// The time that invariants look at, from the first phase to the end of the steps, under the
    /// name `steps`; None when the run never got that far.
    pub steps: Option<PhaseReport>,
    /// Every outage of every shard between the first phase and the end of the steps.
    pub outages: Vec<Outage>,
    /// Every failover.
    pub failovers: Vec<Failover>,
    /// Where the time of each failover went; empty in reports that were written without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anatomy: Vec<Anatomy>,
    /// The ledger of writes.
    pub ledger: Ledger,
    /// The events, without the bulk (lag samples, views that changed no role, final reads).
    pub events: Vec<Event>,
}

/// A phase's statistics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// Name and times.
    #[serde(flatten)]
    pub span: PhaseSpan,
    /// Reads issued in it.
    pub reads: OpStats,
    /// Writes issued in it.
    pub writes: OpStats,
}

impl PhaseReport {
    fn new(history: &History, span: PhaseSpan) -> Self {
        let of = |kind| stats(history, kind, None, span.window);
        Self { reads: of(OpKind::Reads), writes: of(OpKind::Writes), span }
    }
}

impl Report {
    /// Judges a history and builds its report. Pure: the same history gives the same report.
    pub fn new(history: &History) -> Self {
        let mut invariants = check(history);
        for judgement in &mut invariants {
            // JSON has no word for these, and a figure that is none cannot be compared.
            judgement.figures.retain(|_, figure| figure.is_finite());
        }
        let steps = steps_window(history);
        Self {
            header: history.header.clone(),
            duration_ms: duration_ms(history),
            complete: history.complete,
            verdict: overall(&invariants),
            invariants,
            phases: phases(history).into_iter().map(|span| PhaseReport::new(history, span)).collect(),
            steps: steps.map(|window| PhaseReport::new(history, PhaseSpan { name: "steps".to_owned(), window })),
            outages: steps.map(|window| all_outages(history, window)).unwrap_or_default(),
            failovers: failovers(history),
            anatomy: Vec::new(),
            ledger: ledger(history),
            events: without_bulk(&history.events),
        }
    }

    /// The same with the anatomy of its failovers, as far as the logs tell.
    #[must_use]
    pub fn with_anatomy(mut self, logs: &Logs) -> Self {
        self.anatomy = dissect(&self, logs);
        self
    }

    /// The nodes of the cluster.
    pub fn nodes(&self) -> impl Iterator<Item = NodeNo> {
        self.header.plan.nodes.iter().map(|planned| planned.node)
    }

    /// Who or what ended the run before its time: `SIGINT`, or a reason in words.
    pub fn interrupted_by(&self) -> Option<&str> {
        self.events.iter().find_map(|event| match &event.kind {
            EventKind::Interrupted { by } => Some(by.as_str()),
            _ => None,
        })
    }

    /// What the run made and its tear-down could not remove.
    pub fn left_behind(&self) -> Option<&str> {
        self.events.iter().find_map(|event| match &event.kind {
            EventKind::LeftBehind { what } => Some(what.as_str()),
            _ => None,
        })
    }

    /// Why steps did not do what they say, in order.
    pub fn step_problems(&self) -> impl Iterator<Item = &StepProblem> {
        self.events.iter().filter_map(|event| match &event.kind {
            EventKind::StepEnded { problem, .. } => problem.as_ref(),
            _ => None,
        })
    }
}

fn duration_ms(history: &History) -> f64 {
    let last_event = history.events.iter().map(|event| event.at_ns).max();
    let last_op = history.ops.iter().map(|op| op.complete_ns).max();
    last_event.max(last_op).unwrap_or(0) as f64 / 1e6
}

fn all_outages(history: &History, window: crate::facts::Window) -> Vec<Outage> {
    let mut all = Vec::new();
    for shard in 1..=history.header.plan.shards() {
        for of in [OpKind::Reads, OpKind::Writes] {
            all.extend(outages(history, of, ShardNo(shard), window));
        }
    }
    all.sort_by_key(|outage| (outage.from_ns, outage.shard, outage.of));
    all
}

/// What of a view a reader of the report wants to know of: a view that differs from the node's
/// previous one in nothing else is bulk.
#[derive(PartialEq)]
struct Gist<'a> {
    peers: Vec<PeerGist<'a>>,
    strangers: &'a [String],
    state_ok: bool,
    link_up: Option<bool>,
}

/// Number, role, health and slots of a peer.
type PeerGist<'a> = (NodeNo, Role, Health, &'a [(u16, u16)]);

impl<'a> Gist<'a> {
    fn of(view: &'a View) -> Self {
        Self {
            peers: view
                .peers
                .iter()
                .map(|(&node, peer)| (node, peer.role, peer.health, peer.slots.as_slice()))
                .collect(),
            strangers: &view.strangers,
            state_ok: view.state_ok,
            link_up: view.link_up,
        }
    }
}

fn without_bulk(events: &[Event]) -> Vec<Event> {
    let mut last: BTreeMap<NodeNo, Gist<'_>> = BTreeMap::new();
    let mut kept = Vec::new();
    for event in events {
        let keep = match &event.kind {
            EventKind::Lag { .. } | EventKind::FinalRead { .. } => false,
            EventKind::Viewed { node, view } => {
                let gist = Gist::of(view);
                let news = last.get(node) != Some(&gist);
                last.insert(*node, gist);
                news
            }
            EventKind::Silent { node, .. } => {
                // Whatever it says next is news: it answers again.
                last.remove(node);
                true
            }
            _ => true,
        };
        if keep {
            kept.push(event.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Peer;

    fn view(role: Role, health: Health, epoch: u64) -> View {
        let peer = Peer { role, health, epoch, link_connected: true, slots: vec![(0, 16383)] };
        View {
            peers: BTreeMap::from([(NodeNo(1), peer)]),
            strangers: Vec::new(),
            state_ok: true,
            slots_assigned: 16384,
            slots_ok: 16384,
            slots_pfail: 0,
            slots_fail: 0,
            known_nodes: 1,
            size: 1,
            current_epoch: epoch,
            link_up: None,
        }
    }

    #[test]
    fn events_keep_every_view_that_changed_something_and_no_bulk() {
        let viewed = |node: u16, view: View| EventKind::Viewed { node: NodeNo(node), view };
        let lag = EventKind::Lag { replica: NodeNo(2), master: NodeNo(1), bytes: 0, link_up: true };
        let silent = EventKind::Silent { node: NodeNo(1), reason: "refused".to_owned() };
        let mut not_ok = view(Role::Master, Health::Ok, 1);
        not_ok.state_ok = false;
        let rows = [
            (viewed(1, view(Role::Master, Health::Ok, 1)), true, "a node's first view"),
            (viewed(2, view(Role::Master, Health::Ok, 1)), true, "another node's first view"),
            (viewed(1, view(Role::Master, Health::Ok, 2)), false, "only the epoch"),
            (lag, false, "a sample of lag"),
            (viewed(1, view(Role::Master, Health::Pfail, 2)), true, "health"),
            (viewed(1, view(Role::ReplicaOf(NodeNo(2)), Health::Pfail, 2)), true, "role"),
            (silent, true, "silence"),
            (viewed(1, view(Role::ReplicaOf(NodeNo(2)), Health::Pfail, 2)), true, "the end of silence"),
            (viewed(2, not_ok), true, "cluster_state"),
            (EventKind::FinalRead { key: 1, node: None, value: crate::history::FinalValue::Missing }, false, "a read"),
            (EventKind::StepsEnded, true, "the end of the steps"),
        ];
        let events: Vec<Event> =
            rows.iter().enumerate().map(|(at, (kind, ..))| Event { at_ns: at as u64, kind: kind.clone() }).collect();
        let kept = without_bulk(&events);
        for (at, (_, expected, what)) in rows.iter().enumerate() {
            assert_eq!(kept.iter().any(|event| event.at_ns == at as u64), *expected, "{what}");
        }
    }
}
