//! Judging: pure functions of a history. No check knows that a cluster ever ran, reads a clock or
//! does I/O, so that a stored history is judged again with the same result.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::history::History;

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
#[serde(rename_all = "kebab-case")]
pub struct Judgement {
    /// Its kind: `acked-writes`; the harness's own are `faults`, `steps` and `recovery`.
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

/// Judges every invariant of the history's plan, and whether faults took effect, steps did what
/// they say and the cluster recovered.
pub fn check(history: &History) -> Vec<Judgement> {
    let _ = history;
    todo!()
}

/// The verdict of a whole run: the worst of its judgements; inconclusive when there are none.
pub fn overall(judgements: &[Judgement]) -> Verdict {
    judgements.iter().map(|judgement| judgement.verdict).max().unwrap_or(Verdict::Inconclusive)
}
