//! The outcome of a run in a test.

use std::fmt;
use std::path::Path;

use crate::check::{Judgement, Verdict};
use crate::report::{Figures, Report, Summary, explain};

/// The outcome of a run. As text it explains the result: the invariants that do not hold with their evidence,
/// what happened and when, and how to run it again.
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

    /// The verdict of the whole run.
    pub fn verdict(&self) -> Verdict {
        self.report.verdict
    }

    /// Asserts that every invariant holds. An inconclusive run does not pass.
    ///
    /// # Panics
    /// With the outcome as text, unless the verdict is [`Verdict::Pass`].
    #[track_caller]
    pub fn assert_pass(&self) {
        assert!(self.verdict() == Verdict::Pass, "{self}");
    }

    /// The judgements of one kind of invariant, such as `acked-writes`, in the order of the suite.
    pub fn judgements<'a>(&'a self, invariant: &'a str) -> impl Iterator<Item = &'a Judgement> {
        self.report.invariants.iter().filter(move |judgement| judgement.invariant == invariant)
    }

    /// The run's figures: failover times, outages, and the fate of writes.
    ///
    /// # Panics
    /// Never, because every judged run has figures.
    pub fn figures(&self) -> &Figures {
        self.summary.figures.as_ref().expect("every judged run has figures")
    }

    /// The whole report, as in `report.json`.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The report's folder: `report.html`, `report.json`, the history, the servers' logs.
    ///
    /// # Panics
    /// Never, because every judged run has a folder.
    pub fn folder(&self) -> &Path {
        self.summary.report.as_deref().expect("every judged run has a folder")
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&explain(&self.summary))
    }
}
