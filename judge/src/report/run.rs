//! The report of one run.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::events::without_bulk;
use crate::anatomy::{Anatomy, Logs, by_logs, dissect, sharpen};
use crate::check::{Judgement, Verdict, check, overall};
use crate::facts::{Facts, Failover, Ledger, OpStats, Outage, PhaseSpan, in_parallel};
use crate::history::{Event, EventKind, Header, History, StepProblem};
use crate::suite::OpKind;
use crate::units::NodeNo;

/// The contents of `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The plan, the server, the machine, the start, and `schema_version`.
    #[serde(flatten)]
    pub header: Header,
    /// The duration of the run in milliseconds.
    pub duration_ms: f64,
    /// Whether the history is complete; that of a killed run is not.
    pub complete: bool,
    /// The worst verdict of all judgements.
    pub verdict: Verdict,
    /// The judgements of all invariants.
    pub invariants: Vec<Judgement>,
    /// The phases with their operations.
    pub phases: Vec<PhaseReport>,
    /// The window from the first phase to the end of the steps, under the name `steps`; None if the run ended before.
    pub steps: Option<PhaseReport>,
    /// All outages between the first phase and the end of the steps.
    pub outages: Vec<Outage>,
    /// All failovers.
    pub failovers: Vec<Failover>,
    /// The anatomy of each failover; empty in reports that were written without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anatomy: Vec<Anatomy>,
    /// The ledger of writes: acknowledged, lost, undecided.
    pub ledger: Ledger,
    /// The events, without lag samples, final reads and views that changed nothing that matters.
    pub events: Vec<Event>,
}

/// A suite on a server. Reports with the same key are repeated runs: their worst verdict counts, and their figures are
/// compared as one sample.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct RunKey {
    /// The name of the suite, with the settings that a matrix varied.
    pub suite: String,
    /// The server as requested: `redis:6.2` or a path.
    pub server: String,
}

/// The operations of a phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseReport {
    /// The name and the window.
    #[serde(flatten)]
    pub span: PhaseSpan,
    /// The reads issued in it.
    pub reads: OpStats,
    /// The writes issued in it.
    pub writes: OpStats,
}

impl PhaseReport {
    /// Those of spans, reads and writes at the same time.
    fn all(facts: &Facts<'_>, spans: Vec<PhaseSpan>) -> Vec<Self> {
        let of = |kind| -> Vec<OpStats> { spans.iter().map(|span| facts.ops.stats(kind, None, span.window)).collect() };
        let (reads, writes) = in_parallel(|| of(OpKind::Reads), || of(OpKind::Writes));
        let of_span = |((span, reads), writes)| Self { span, reads, writes };
        spans.into_iter().zip(reads).zip(writes).map(of_span).collect()
    }
}

impl Report {
    /// The report of a history, from its facts and judgements. Pure.
    pub fn new(facts: &Facts<'_>, mut judgements: Vec<Judgement>) -> Self {
        for judgement in &mut judgements {
            // JSON has no infinite numbers, and they cannot be compared.
            judgement.figures.retain(|_, figure| figure.is_finite());
        }
        let steps = facts.steps.map(|window| PhaseSpan { name: "steps".to_owned(), window });
        let mut phases = PhaseReport::all(facts, facts.phases.iter().cloned().chain(steps.clone()).collect());
        let steps = steps.and_then(|_| phases.pop());
        Self {
            header: facts.history.header.clone(),
            duration_ms: facts.end_ns.saturating_sub(1) as f64 / 1e6,
            complete: facts.history.complete,
            verdict: overall(&judgements),
            invariants: judgements,
            phases,
            steps,
            outages: facts.outages.clone(),
            failovers: facts.failovers.clone(),
            anatomy: Vec::new(),
            ledger: facts.ledger.clone(),
            events: without_bulk(&facts.history.events),
        }
    }

    /// Derives the facts of a history, judges them and makes the report: [`Facts::new`], [`check`] and [`Report::new`] in
    /// one call.
    pub fn of(history: &History) -> Self {
        let facts = Facts::new(history);
        Self::new(&facts, check(&facts))
    }

    /// The same with the times that the servers' logs tell, and the anatomy of each failover.
    pub fn with_logs(history: &History, logs: &Logs) -> Self {
        let mut facts = Facts::new(history);
        sharpen(&mut facts, logs);
        Self::new(&facts, check(&facts)).with_anatomy(logs)
    }

    /// The failovers, each event with the one time that is shown everywhere: that of a log where there is one. Reports of earlier
    /// versions have it only in the anatomy.
    pub fn timed_failovers(&self) -> Vec<Failover> {
        by_logs(&self.failovers, &self.anatomy)
    }

    /// Adds the anatomy of the failovers, as far as the logs show it.
    #[must_use]
    pub fn with_anatomy(mut self, logs: &Logs) -> Self {
        self.anatomy = dissect(&self.header, &self.events, &self.failovers, logs);
        self
    }

    /// Whether the suite has no invariants, so that nothing was judged but slotquake's own checks.
    pub fn without_invariants(&self) -> bool {
        const OWN: [&str; 5] = ["faults", "recovery", "servers", "steps", "workload"];
        let is_own = |judgement: &Judgement| OWN.contains(&judgement.invariant.as_str());
        self.header.plan.invariants.is_empty() && self.invariants.iter().all(is_own)
    }

    /// The suite and the server of the run. Runs with different settings of a matrix are not repeated runs.
    pub fn key(&self) -> RunKey {
        RunKey { suite: self.header.plan.variant(), server: self.header.server.asked.clone() }
    }

    /// The nodes of the cluster.
    pub fn nodes(&self) -> impl Iterator<Item = NodeNo> {
        self.header.plan.nodes.iter().map(|planned| planned.node)
    }

    /// What interrupted the run: `SIGINT`, or a reason in words.
    pub fn interrupted_by(&self) -> Option<&str> {
        self.events.iter().find_map(|event| match &event.kind {
            EventKind::Interrupted { by } => Some(by.as_str()),
            _ => None,
        })
    }

    /// What the tear-down could not remove.
    pub fn left_behind(&self) -> Option<&str> {
        self.events.iter().find_map(|event| match &event.kind {
            EventKind::LeftBehind { what } => Some(what.as_str()),
            _ => None,
        })
    }

    /// The problems of failed steps, in order.
    pub fn step_problems(&self) -> impl Iterator<Item = &StepProblem> {
        self.events.iter().filter_map(|event| match &event.kind {
            EventKind::StepEnded { problem, .. } => problem.as_ref(),
            _ => None,
        })
    }
}

/// The requested server in short: `redis:6.2`, or the file name of a path.
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
    fn shortens_the_server() {
        for (asked, expected) in [
            ("redis:6.2", "redis:6.2"),
            ("/usr/bin/redis-server", "redis-server"),
            ("./valkey-server", "valkey-server"),
        ] {
            assert_eq!(short_server(asked), expected);
        }
    }
}
