//! The report of one run.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::events::without_bulk;
use crate::anatomy::{Anatomy, Logs, dissect};
use crate::check::{Judgement, Verdict, check, overall};
use crate::facts::{Facts, Failover, Ledger, OpStats, Outage, PhaseSpan};
use crate::history::{Event, EventKind, Header, History, StepProblem};
use crate::suite::OpKind;
use crate::units::NodeNo;

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

/// A suite on a server. Several reports of it are repeated runs: the worst verdict stands for them, and
/// their figures are taken together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunKey {
    /// The suite's name.
    pub suite: String,
    /// The server as it was asked for.
    pub server: String,
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
    fn new(facts: &Facts<'_>, span: PhaseSpan) -> Self {
        let of = |kind| facts.ops.stats(kind, None, span.window);
        Self { reads: of(OpKind::Reads), writes: of(OpKind::Writes), span }
    }
}

impl Report {
    /// The report of what a history tells and what was judged of it. Pure.
    pub fn new(facts: &Facts<'_>, mut judgements: Vec<Judgement>) -> Self {
        for judgement in &mut judgements {
            // JSON has no word for these, and a figure that is none cannot be compared.
            judgement.figures.retain(|_, figure| figure.is_finite());
        }
        let steps = facts.steps.map(|window| PhaseSpan { name: "steps".to_owned(), window });
        Self {
            header: facts.history.header.clone(),
            duration_ms: facts.end_ns.saturating_sub(1) as f64 / 1e6,
            complete: facts.history.complete,
            verdict: overall(&judgements),
            invariants: judgements,
            phases: facts.phases.iter().map(|span| PhaseReport::new(facts, span.clone())).collect(),
            steps: steps.map(|span| PhaseReport::new(facts, span)),
            outages: facts.outages.clone(),
            failovers: facts.failovers.clone(),
            anatomy: Vec::new(),
            ledger: facts.ledger.clone(),
            events: without_bulk(&facts.history.events),
        }
    }

    /// Derives the facts of a history, judges them and builds the report: [`Facts::new`], [`check`] and
    /// [`Report::new`] in one call.
    pub fn of(history: &History) -> Self {
        let facts = Facts::new(history);
        Self::new(&facts, check(&facts))
    }

    /// The same with the anatomy of its failovers, as far as the logs tell.
    #[must_use]
    pub fn with_anatomy(mut self, logs: &Logs) -> Self {
        self.anatomy = dissect(&self.header, &self.events, &self.failovers, logs);
        self
    }

    /// The suite and the server of the run.
    pub fn key(&self) -> RunKey {
        RunKey { suite: self.header.plan.name.clone(), server: self.header.server.asked.clone() }
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

/// `redis:6.2` as it is; of a path its file name.
pub fn short_server(asked: &str) -> String {
    if !asked.contains('/') {
        return asked.to_owned();
    }
    Path::new(asked).file_name().map_or_else(|| asked.to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_in_short() {
        for (asked, expected) in [
            ("redis:6.2", "redis:6.2"),
            ("/usr/bin/redis-server", "redis-server"),
            ("./valkey-server", "valkey-server"),
        ] {
            assert_eq!(short_server(asked), expected);
        }
    }
}
