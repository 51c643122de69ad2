//! The report: what a run did and what was judged of it, and how that is shown. Rendering decides
//! nothing.

use serde::{Deserialize, Serialize};

use crate::analysis::{Failover, Ledger, OpStats, Outage, PhaseSpan};
use crate::check::{Judgement, Verdict};
use crate::history::{Event, Header, History};

/// `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Suite, plan, seed, server, host, start; holds `schema-version`.
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
    /// Every outage of every shard between the first phase and the end of the steps.
    pub outages: Vec<Outage>,
    /// Every failover.
    pub failovers: Vec<Failover>,
    /// The ledger of writes.
    pub ledger: Ledger,
    /// The events, without the bulk (lag samples, views that changed no role, final reads).
    pub events: Vec<Event>,
}

/// A phase's statistics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PhaseReport {
    /// Name and times.
    #[serde(flatten)]
    pub span: PhaseSpan,
    /// Reads issued in it.
    pub reads: OpStats,
    /// Writes issued in it.
    pub writes: OpStats,
}

impl Report {
    /// Builds the report of a history.
    pub fn new(history: &History) -> Self {
        let _ = history;
        todo!()
    }
}
