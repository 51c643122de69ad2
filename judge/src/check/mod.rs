//! Judging: pure functions of a history. No check knows that a cluster ever ran, reads a clock or
//! does I/O, so that a stored history is judged again with the same result.
//!
//! One invariant per file. Those of the suite: `slot_coverage`, `agreement`, `role`, `replica_lag`,
//! `acked_writes`, `availability`, `failover_time`, `promotions`, `redirects`, `replica_read_only`,
//! `split_brain`, `write_cutoff`, `epochs`, `convergence`; the harness's own: `faults`, `steps`, `recovery`, `workload`.

mod acked_writes;
mod agreement;
mod ask;
mod availability;
mod convergence;
mod epochs;
mod failover_time;
mod faults;
mod finding;
mod promotions;
mod recovery;
mod redirects;
mod replica_lag;
mod replica_read_only;
mod resolve;
mod role;
mod slot_coverage;
mod split_brain;
mod steps;
mod workload;
mod write_cutoff;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::suite::Invariant;

/// What an invariant came to. The order is that of weight: the worst of several wins, and a `Fail`
/// is never masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was observed to hold.
    Pass,
    /// Too little was observed to say.
    Inconclusive,
    /// It was observed not to hold.
    Fail,
}

impl Verdict {
    /// `pass`, `inconclusive` or `fail`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        }
    }
}

/// The judgement of one invariant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Its kind: `acked-writes`; the harness's own are `faults`, `steps`, `recovery` and `workload`.
    pub invariant: String,
    /// Its settings in one line: `may-lose 0`.
    pub settings: String,
    /// What it came to.
    pub verdict: Verdict,
    /// What was demanded, in words.
    pub expected: String,
    /// What was seen, in words.
    pub seen: String,
    /// On how many observations it rests.
    pub observations: u64,
    /// Examples and places: which key, when acknowledged, by which node, what was read at the end.
    pub evidence: Vec<String>,
    /// Numbers that comparisons can use, by name with the unit last: `longest_outage_ms`.
    pub figures: BTreeMap<String, f64>,
}

/// Judges every invariant of the history's plan in their order, after them whether faults took
/// effect (`faults`, absent from a run without any), steps did what they say (`steps`), the cluster
/// recovered (`recovery`) and the workload ran as it should (`workload`).
pub fn check(facts: &Facts<'_>) -> Vec<Judgement> {
    let mut judgements: Vec<Judgement> = facts
        .history
        .header
        .plan
        .invariants
        .iter()
        .map(|invariant| match invariant {
            Invariant::SlotCoverage(settings) => slot_coverage::judge(facts, settings),
            Invariant::Agreement(settings) => agreement::judge(facts, settings),
            Invariant::Role(settings) => role::judge(facts, settings),
            Invariant::ReplicaLag(settings) => replica_lag::judge(facts, settings),
            Invariant::AckedWrites(settings) => acked_writes::judge(facts, settings),
            Invariant::Availability(settings) => availability::judge(facts, settings),
            Invariant::FailoverTime(settings) => failover_time::judge(facts, settings),
            Invariant::Promotions(settings) => promotions::judge(facts, settings),
            Invariant::Redirects(_) => redirects::judge(facts),
            Invariant::ReplicaReadOnly(_) => replica_read_only::judge(facts),
            Invariant::SplitBrain(settings) => split_brain::judge(facts, settings),
            Invariant::WriteCutoff(settings) => write_cutoff::judge(facts, settings),
            Invariant::Epochs(settings) => epochs::judge(facts, settings),
            Invariant::Convergence(settings) => convergence::judge(facts, settings),
        })
        .collect();
    judgements.extend(faults::judge(facts));
    judgements.extend([steps::judge(facts), recovery::judge(facts), workload::judge(facts)]);
    judgements
}

/// The verdict of a whole run: the worst of its judgements; inconclusive when there are none.
pub fn overall(judgements: &[Judgement]) -> Verdict {
    judgements.iter().map(|judgement| judgement.verdict).max().unwrap_or(Verdict::Inconclusive)
}
