//! What a check has found so far. At the end it becomes a judgement.

use std::collections::BTreeMap;

use super::{Judgement, Verdict};
use crate::consistency::Witness;
use crate::words::length_ns;

/// How many lines of evidence a judgement keeps.
const EVIDENCE_LINES: usize = 10;

/// Collects what a check sees. It begins as a pass without observations, which counts as inconclusive.
#[derive(Debug)]
pub(super) struct Finding {
    verdict: Verdict,
    observations: u64,
    seen: Vec<String>,
    evidence: Vec<String>,
    figures: BTreeMap<String, f64>,
    witnesses: Vec<Witness>,
    witnesses_left: u64,
}

impl Finding {
    pub(super) fn new() -> Self {
        Self {
            verdict: Verdict::Pass,
            observations: 0,
            seen: Vec::new(),
            evidence: Vec::new(),
            figures: BTreeMap::new(),
            witnesses: Vec::new(),
            witnesses_left: 0,
        }
    }

    /// Adds a verdict. The worst one wins.
    pub(super) fn weigh(&mut self, verdict: Verdict) -> &mut Self {
        self.verdict = self.verdict.max(verdict);
        self
    }

    /// The verdict so far.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Adds `count` observations.
    pub(super) fn observed(&mut self, count: u64) -> &mut Self {
        self.observations += count;
        self
    }

    /// Adds a sentence about what was seen.
    pub(super) fn saw(&mut self, text: impl Into<String>) -> &mut Self {
        self.seen.push(text.into());
        self
    }

    /// Adds a line of evidence.
    pub(super) fn evidence(&mut self, line: impl Into<String>) -> &mut Self {
        self.evidence.push(line.into());
        self
    }

    /// Adds violations as operations, `all` of them in number. The first few are kept.
    pub(super) fn witnesses(&mut self, all: u64, witnesses: impl IntoIterator<Item = Witness>) -> &mut Self {
        let room = Judgement::WITNESSES - self.witnesses.len();
        let before = self.witnesses.len();
        self.witnesses.extend(witnesses.into_iter().take(room));
        self.witnesses_left += all.saturating_sub((self.witnesses.len() - before) as u64);
        self
    }

    /// Sets a number for comparisons.
    pub(super) fn figure(&mut self, name: &str, value: f64) -> &mut Self {
        self.figures.insert(name.to_owned(), value);
        self
    }

    /// Sets a number; the largest is kept.
    pub(super) fn worst_figure(&mut self, name: &str, value: f64) -> &mut Self {
        let worst = self.figures.get(name).map_or(value, |so_far| so_far.max(value));
        self.figure(name, worst)
    }

    /// Sets a number; the smallest is kept.
    pub(super) fn least_figure(&mut self, name: &str, value: f64) -> &mut Self {
        let least = self.figures.get(name).map_or(value, |so_far| so_far.min(value));
        self.figure(name, least)
    }

    /// Adds to a number.
    pub(super) fn add_figure(&mut self, name: &str, value: f64) -> &mut Self {
        let sum = self.figures.get(name).map_or(value, |so_far| so_far + value);
        self.figure(name, sum)
    }

    /// Fails, with what was seen.
    pub(super) fn fail(&mut self, seen: impl Into<String>) -> &mut Self {
        self.weigh(Verdict::Fail).saw(seen)
    }

    /// Makes the check inconclusive, with what was seen or is missing.
    pub(super) fn undecided(&mut self, seen: impl Into<String>) -> &mut Self {
        self.weigh(Verdict::Inconclusive).saw(seen)
    }

    /// The judgement. A check without observations does not pass.
    pub(super) fn judge(
        mut self,
        invariant: &str,
        settings: impl Into<String>,
        expected: impl Into<String>,
    ) -> Judgement {
        if self.observations == 0 && self.verdict == Verdict::Pass {
            self.undecided("nothing was observed");
        }
        if self.evidence.len() > EVIDENCE_LINES {
            let more = self.evidence.len() - EVIDENCE_LINES;
            self.evidence.truncate(EVIDENCE_LINES);
            self.evidence.push(format!("... and {more} more"));
        }
        Judgement {
            invariant: invariant.to_owned(),
            settings: settings.into(),
            verdict: self.verdict,
            expected: expected.into(),
            seen: self.seen.join("; "),
            observations: self.observations,
            evidence: self.evidence,
            figures: self.figures,
            witnesses: self.witnesses,
            witnesses_left: self.witnesses_left,
        }
    }
}

/// Why a time since a fault that is near its bound proves nothing. The injection took `ns` nanoseconds.
pub(super) fn injecting(ns: u64) -> String {
    format!(
        "the injection of the fault took {}, and the fault may have taken effect at any moment of it",
        length_ns(ns)
    )
}

/// As [`injecting`], for a time since the end of a fault.
pub(super) fn undoing(ns: u64) -> String {
    format!("undoing the fault took {}, and the fault may have ended at any moment of it", length_ns(ns))
}
