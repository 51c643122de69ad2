//! One run as tables and documents show it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::compare::compare;
use super::figures::Figures;
use super::grounds::invariant_name;
use super::narrate::Narrator;
use super::reproduce::{Reproduce, reproduce};
use super::run::{Report, short_server};
use crate::anatomy::Anatomy;
use crate::check::{Judgement, Verdict};
use crate::plan::matrix::{self, natural};
use crate::server::Version;
use crate::units::Speed;
use crate::words::visible;

/// One run, with or without a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The name of the suite.
    pub suite: String,
    /// The server in short: `redis:6.2`, or the file name of a path.
    pub server: String,
    /// The settings that `run --matrix` varied, by path, with their values in this run.
    pub matrix: BTreeMap<String, String>,
    /// The version that the server reported; None if it never ran.
    pub version: Option<Version>,
    /// The seed of the run.
    pub seed: u64,
    /// How fast the run lived; the real speed without a report.
    pub speed: Speed,
    /// The result of the run.
    pub standing: Standing,
    /// The figures of the report; None without a report.
    pub figures: Option<Figures>,
    /// The judgements of all invariants.
    pub invariants: Vec<Judgement>,
    /// The anatomy of each failover.
    pub anatomy: Vec<Anatomy>,
    /// The course of the run; None without a report.
    pub course: Option<Course>,
    /// The folder of the report, if there is one.
    pub report: Option<PathBuf>,
    /// The recorded judgement, if a stored history was judged again.
    pub recorded: Option<Recorded>,
    /// Whether its suite has no invariants, so that only the harness's own were judged.
    pub without_invariants: bool,
    /// How many runs it took: more than one if those before were inconclusive and were repeated.
    pub tries: u16,
}

impl Summary {
    /// Whether it passed although acknowledged writes were lost: its suite measures losses and does not judge them.
    pub fn passed_with_losses(&self) -> bool {
        let has_losses = self.figures.as_ref().is_some_and(|figures| figures.lost_in_all() > 0);
        self.standing == Standing::Judged(Verdict::Pass) && has_losses
    }

    /// Why it did not pass, each reason in one line; empty if it passed.
    pub fn reasons(&self) -> Vec<String> {
        let reasons = match &self.standing {
            Standing::Error(why) | Standing::Skipped(why) => vec![why.clone()],
            Standing::Judged(worst) => {
                let unheld = self.invariants.iter().filter(|each| each.verdict != Verdict::Pass);
                let mut unheld: Vec<&Judgement> = unheld.collect();
                unheld.sort_by_key(|each| std::cmp::Reverse(each.verdict));
                let line = |each: &Judgement| {
                    let name = invariant_name(&each.invariant, &each.settings);
                    let word = if each.verdict == *worst { "" } else { " (inconclusive)" };
                    format!("{name}{word}: {}", each.seen)
                };
                unheld.into_iter().map(line).collect()
            }
        };
        reasons.iter().map(|reason| reason.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// The first reason why it did not pass.
    pub fn why_not_pass(&self) -> String {
        self.reasons().into_iter().next().unwrap_or_default()
    }

    /// The same with [`visible`] texts where tables show them.
    pub(super) fn visible(&self) -> Self {
        let mut shown = self.clone();
        let standing = match &mut shown.standing {
            Standing::Judged(_) => None,
            Standing::Error(text) | Standing::Skipped(text) => Some(text),
        };
        let changed = shown.recorded.iter_mut().flat_map(|recorded| &mut recorded.changed);
        let judgements = shown.invariants.iter_mut().flat_map(|judgement| {
            let Judgement { invariant, settings, expected, seen, evidence, .. } = judgement;
            [invariant, settings, expected, seen].into_iter().chain(evidence)
        });
        let names = [&mut shown.suite, &mut shown.server].into_iter().chain(shown.matrix.values_mut()).chain(standing);
        names.chain(changed).chain(judgements).for_each(|text| *text = visible(text));
        shown.report = shown.report.map(|path| visible(&path.to_string_lossy()).into());
        shown
    }
}

/// The course of a run in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// When the run began, as RFC 3339.
    pub started_at: String,
    /// The duration in milliseconds.
    pub duration_ms: f64,
    /// The lines of a [`Narrator`], each with its time in nanoseconds from the start of the run.
    pub lines: Vec<(u64, String)>,
    /// How to repeat the run.
    pub again: Reproduce,
}

/// The judgement in `report.json`, to compare with that of `slotquake check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Recorded {
    /// The verdict of `report.json`.
    pub verdict: Verdict,
    /// The verdicts that differ now, in words: `acked-writes (may-lose 0): recorded pass, now fail`.
    pub changed: Vec<String>,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It was judged.
    Judged(Verdict),
    /// It has no report, for this reason.
    Error(String),
    /// It was not started, for this reason.
    Skipped(String),
}

impl Recorded {
    /// Compares the recorded judgement of a history with a new one.
    pub fn new(recorded: &Report, again: &Report) -> Self {
        let word = |verdict: Option<Verdict>| verdict.map_or("none", Verdict::word);
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
        let narrator = Narrator::new(&report.header.plan, false).on(report.header.server.version);
        Self {
            started_at: report.header.started_at.clone(),
            duration_ms: report.duration_ms,
            lines: narrator.knowing(report.timed_failovers()).tell_all(&report.events),
            again: reproduce(&report.header.plan, report.header.speed),
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

    /// The rank among results of several runs. The highest is shown for all of them.
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
    /// The summary of a report in `folder`.
    pub fn new(report: &Report, folder: &Path) -> Self {
        Self {
            suite: report.header.plan.name.clone(),
            server: short_server(&report.header.server.asked),
            matrix: report.header.plan.matrix.clone(),
            version: Some(report.header.server.version),
            seed: report.header.plan.seed,
            speed: report.header.speed,
            standing: Standing::Judged(report.verdict),
            figures: Some(Figures::new(report)),
            invariants: report.invariants.clone(),
            anatomy: report.anatomy.clone(),
            course: Some(Course::new(report)),
            report: Some(folder.to_owned()),
            recorded: None,
            without_invariants: report.without_invariants(),
            tries: 1,
        }
    }

    /// The summary of a run without a report.
    pub fn without_report(suite: &str, asked: &str, seed: u64, standing: Standing, folder: Option<&Path>) -> Self {
        Self {
            suite: suite.to_owned(),
            server: short_server(asked),
            matrix: BTreeMap::new(),
            version: None,
            seed,
            speed: Speed::REAL,
            standing,
            figures: None,
            invariants: Vec::new(),
            anatomy: Vec::new(),
            course: None,
            report: folder.map(Path::to_owned),
            recorded: None,
            without_invariants: false,
            tries: 1,
        }
    }

    /// The name of the suite, with the settings that a matrix varied: `role-swap cluster-node-timeout=1000`.
    pub fn variant(&self) -> String {
        matrix::variant(&self.suite, &self.matrix)
    }

    /// Suite, settings of a matrix, and server: the name of a run in headings and progress lines.
    pub fn label(&self) -> String {
        format!("{} {}", self.variant(), self.server)
    }

    /// The order of runs in tables: by suite, by the values of a matrix, by server, and by folder.
    pub fn in_order(&self, other: &Self) -> Ordering {
        let settings = || {
            let pairs = self.matrix.values().zip(other.matrix.values());
            let each = pairs.map(|(a, b)| natural(a).partial_cmp(&natural(b)).unwrap_or(Ordering::Equal));
            each.fold(Ordering::Equal, Ordering::then)
        };
        let suites = self.suite.cmp(&other.suite);
        suites.then_with(settings).then_with(|| (&self.server, &self.report).cmp(&(&other.server, &other.report)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn lists_verdicts_that_differ_from_the_recorded_ones() {
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
                    "agreement: recorded none, now pass".to_owned(),
                ]
            }
        );
    }
}
