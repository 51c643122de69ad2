//! A report in one row: the figures that matter, as tables, JSON documents and comparisons use them.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::compare::compare;
use super::figures::Figures;
use super::grounds::invariant_name;
use super::narrate::Narrator;
use super::reproduce::{Reproduce, reproduce};
use super::run::{Report, short_server};
use crate::anatomy::Anatomy;
use crate::check::{Judgement, Verdict};
use crate::history::Event;
use crate::server::Version;

/// One run as the tables show it, whether or not it came to a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The suite's name.
    pub suite: String,
    /// The server in short: `redis:6.2`, or the file name of a path.
    pub server: String,
    /// What the server says it is; None when it never ran.
    pub version: Option<Version>,
    /// The run's seed.
    pub seed: u64,
    /// How the run stands.
    pub standing: Standing,
    /// The figures; None without a report.
    pub figures: Option<Figures>,
    /// Each invariant with its evidence.
    pub invariants: Vec<Judgement>,
    /// Where the time of each failover went.
    pub anatomy: Vec<Anatomy>,
    /// What happened and when; None without a report.
    pub course: Option<Course>,
    /// The report's folder, where there is one.
    pub report: Option<PathBuf>,
    /// What was recorded, where a stored history was judged again.
    pub recorded: Option<Recorded>,
}

/// The course of a run in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// When the run began, in RFC 3339.
    pub started_at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// Phases, faults, waits and promotions as [`Narrator`] tells them: nanoseconds from the start, and a line.
    pub lines: Vec<(u64, String)>,
    /// The command that does it again.
    pub again: Reproduce,
}

/// The judgement in `report.json`, beside which that of `slotquake check` stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// The verdict of `report.json`.
    pub verdict: Verdict,
    /// What is judged otherwise now, in words: `acked-writes (may-lose 0): recorded pass, now fail`.
    pub changed: Vec<String>,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It was judged.
    Judged(Verdict),
    /// It came to no report, and why.
    Error(String),
    /// It was never started, and why.
    Skipped(String),
}

impl Recorded {
    /// Sets the judgement of a report beside the one that its history gets now.
    pub fn new(recorded: &Report, again: &Report) -> Self {
        let word = |verdict: Option<Verdict>| verdict.map_or("not there", Verdict::word);
        let line = |what: &str, before, now| format!("{what}: recorded {}, now {}", word(before), word(now));
        let mut changed = Vec::new();
        for pair in compare(std::slice::from_ref(recorded), std::slice::from_ref(again)).pairs {
            if pair.base_verdict != pair.new_verdict {
                changed.push(line("verdict", Some(pair.base_verdict), Some(pair.new_verdict)));
            }
            for change in pair.invariants.iter().filter(|change| change.base != change.new) {
                let what = invariant_name(&change.invariant, &change.settings);
                changed.push(line(&what, change.base, change.new));
            }
        }
        Self { verdict: recorded.verdict, changed }
    }
}

impl Course {
    /// The course of a report.
    pub fn new(report: &Report) -> Self {
        let mut narrator = Narrator::new(&report.header.plan, false).on(report.header.server.version);
        let told = |event: &Event| narrator.tell(event).into_iter().map(|line| (event.at_ns, line)).collect::<Vec<_>>();
        Self {
            started_at: report.header.started_at.clone(),
            duration_ms: report.duration_ms,
            lines: report.events.iter().flat_map(told).collect(),
            again: reproduce(&report.header.plan),
        }
    }
}

impl Standing {
    /// `pass`, `inconclusive`, `fail`, `error` or `skipped`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Judged(verdict) => verdict.word(),
            Self::Error(_) => "error",
            Self::Skipped(_) => "skipped",
        }
    }

    /// Among several runs the heaviest is the one to tell of.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::Skipped(_) => 0,
            Self::Judged(Verdict::Pass) => 1,
            Self::Judged(Verdict::Inconclusive) => 2,
            Self::Error(_) => 3,
            Self::Judged(Verdict::Fail) => 4,
        }
    }
}

impl Summary {
    /// The summary of a report that lies in `folder`.
    pub fn new(report: &Report, folder: &Path) -> Self {
        Self {
            suite: report.header.plan.name.clone(),
            server: short_server(&report.header.server.asked),
            version: Some(report.header.server.version),
            seed: report.header.plan.seed,
            standing: Standing::Judged(report.verdict),
            figures: Some(Figures::new(report)),
            invariants: report.invariants.clone(),
            anatomy: report.anatomy.clone(),
            course: Some(Course::new(report)),
            report: Some(folder.to_owned()),
            recorded: None,
        }
    }

    /// The summary of a run without a report.
    pub fn without_report(suite: &str, asked: &str, seed: u64, standing: Standing, folder: Option<&Path>) -> Self {
        Self {
            suite: suite.to_owned(),
            server: short_server(asked),
            version: None,
            seed,
            standing,
            figures: None,
            invariants: Vec::new(),
            anatomy: Vec::new(),
            course: None,
            report: folder.map(Path::to_owned),
            recorded: None,
        }
    }

    /// Suite and server, as headings and progress lines name a run.
    pub fn label(&self) -> String {
        format!("{} {}", self.suite, self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_history_that_is_judged_otherwise_says_what_changed() {
        let recorded = fixture::report("role-swap", Verdict::Pass);
        assert_eq!(Recorded::new(&recorded, &recorded).changed, [""; 0]);
        let mut again = fixture::report("role-swap", Verdict::Fail);
        again.invariants.push(fixture::judgement("agreement", "", Verdict::Pass));
        assert_eq!(
            Recorded::new(&recorded, &again),
            Recorded {
                verdict: Verdict::Pass,
                changed: vec![
                    "verdict: recorded pass, now fail".to_owned(),
                    "acked-writes (may-lose 0): recorded pass, now fail".to_owned(),
                    "agreement: recorded not there, now pass".to_owned(),
                ]
            }
        );
    }
}
