//! What a run in a test came to.

use std::fmt;
use std::path::Path;

use crate::check::{Judgement, Verdict};
use crate::report::{Figures, Report, Summary, explain};

/// What a run came to. As text it tells everything needed to understand it: the invariants that do not hold
/// with their evidence, what happened and when, and how to run it again.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an outcome may be a failure (hint: `assert_pass`)"]
pub struct Outcome {
    summary: Summary,
    report: Report,
}

impl Outcome {
    pub(super) fn new(summary: Summary, report: Report) -> Self {
        Self { summary, report }
    }

    /// What every judgement together came to.
    pub fn verdict(&self) -> Verdict {
        self.report.verdict
    }

    /// Panics, with the outcome as text, unless every invariant holds. Inconclusive is no pass.
    ///
    /// # Panics
    /// Unless the verdict is [`Verdict::Pass`].
    #[track_caller]
    pub fn assert_pass(&self) {
        assert!(self.verdict() == Verdict::Pass, "{self}");
    }

    /// What was judged of each invariant of that kind, `acked-writes` say, in the order of the suite.
    pub fn judgements<'a>(&'a self, invariant: &'a str) -> impl Iterator<Item = &'a Judgement> {
        self.report.invariants.iter().filter(move |judgement| judgement.invariant == invariant)
    }

    /// Times of failovers, outages, and what became of writes.
    ///
    /// # Panics
    /// Never: what was judged has figures.
    pub fn figures(&self) -> &Figures {
        self.summary.figures.as_ref().expect("what was judged has figures")
    }

    /// Everything, as it stands in `report.json`.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The report's folder: `report.html`, `report.json`, the history, the servers' logs.
    ///
    /// # Panics
    /// Never: what was judged has a folder.
    pub fn folder(&self) -> &Path {
        self.summary.report.as_deref().expect("what was judged has a folder")
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&explain(&self.summary))
    }
}
