//! Comparing two sets of runs: the verdicts and figures that differ, and differences of the experiments themselves. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::measure::{Change, FigureChange, figure_changes};
use super::run::{Report, RunKey, short_server};
use super::skipped::Skipped;
use crate::check::FigureKind;
use crate::check::Verdict;
use crate::words::list;

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Comparison {
    /// The suites that both sides have.
    pub pairs: Vec<Pair>,
    /// Suites that only the base has.
    pub only_in_base: Vec<RunKey>,
    /// Suites that only the new side has.
    pub only_in_new: Vec<RunKey>,
    /// Suites that one side has and the other skipped. They are in neither of the lists above.
    pub skipped: Vec<SkippedRun>,
}

/// A side that was compared with the base.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The name of the side: the path that the user gave.
    pub name: String,
    /// What differs between the base and this side.
    pub comparison: Comparison,
}

/// A run that one side skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SkippedRun {
    /// The suite and the server.
    #[serde(flatten)]
    pub run: RunKey,
    /// Whether the new side skipped it; otherwise the base did.
    pub in_new: bool,
    /// Why it was skipped.
    pub reason: String,
}

/// One suite on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Pair {
    /// The suite's name.
    pub suite: String,
    /// The requested server in the base.
    pub server: String,
    /// The number of reports in the base.
    pub base_runs: usize,
    /// The number of reports on the new side.
    pub new_runs: usize,
    /// The worst verdict in the base.
    pub base_verdict: Verdict,
    /// The worst verdict on the new side.
    pub new_verdict: Verdict,
    /// The invariants of either side.
    pub invariants: Vec<InvariantChange>,
    /// The figures of either side.
    pub figures: Vec<FigureChange>,
    /// Differences that make the runs different experiments, in words: plan, configuration, server, host, speed.
    pub differences: Vec<String>,
    /// Other differences, in words, that do not matter for the comparison: seed, version of slotquake.
    pub notes: Vec<String>,
    /// Whether both sides ran on the same kind of machine at the same speed. If not, slower times do not count as worse.
    pub same_host: bool,
}

/// An invariant on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct InvariantChange {
    /// The name of the invariant.
    pub invariant: String,
    /// Its settings.
    pub settings: String,
    /// Its verdict in the base; None if the base does not have it.
    pub base: Option<Verdict>,
    /// Its verdict on the new side; None if that does not have it.
    pub new: Option<Verdict>,
}

impl InvariantChange {
    /// Whether both sides have it and the new verdict is worse.
    pub fn worse(&self) -> bool {
        matches!((self.base, self.new), (Some(base), Some(new)) if new > base)
    }
}

impl Pair {
    /// Whether the run or one of its invariants has a worse verdict than in the base.
    pub fn worse(&self) -> bool {
        self.new_verdict > self.base_verdict || self.invariants.iter().any(InvariantChange::worse)
    }

    /// Whether the verdict is better and nothing is worse.
    pub fn better(&self) -> bool {
        !self.worse() && self.new_verdict < self.base_verdict
    }

    /// Whether the new side lacks an invariant of the base.
    pub fn lost_sight(&self) -> bool {
        self.invariants.iter().any(|change| change.new.is_none())
    }

    /// Whether a figure is worse: one of safety, or a time that is significantly slower on the same kind of machine. Amounts
    /// do not count, because they follow from times and the duration of a run.
    pub fn figures_worse(&self) -> bool {
        self.figures.iter().filter(|figure| figure.change == Change::Worse).any(|figure| match figure.kind {
            FigureKind::Safety => true,
            FigureKind::Time => self.same_host,
            FigureKind::Amount => false,
        })
    }

    /// Whether a verdict or a figure changed significantly.
    pub fn changed(&self) -> bool {
        let figures = self.figures.iter().any(|figure| match figure.kind {
            FigureKind::Safety => figure.base.max != figure.new.max,
            FigureKind::Time | FigureKind::Amount => !matches!(figure.change, Change::Same | Change::Undecided),
        });
        figures
            || self.base_verdict != self.new_verdict
            || self.invariants.iter().any(|change| change.base != change.new)
    }
}

impl Comparison {
    /// Whether any verdict is worse.
    pub fn worse(&self) -> bool {
        self.pairs.iter().any(Pair::worse)
    }

    /// Whether the new side lacks a suite or an invariant of the base that it did not skip, or the sides have nothing in
    /// common. Then it proves little that nothing is worse.
    pub fn lost_sight(&self) -> bool {
        self.pairs.is_empty() || !self.only_in_base.is_empty() || self.pairs.iter().any(Pair::lost_sight)
    }

    /// Whether the new side skipped a suite of the base.
    pub fn undecided(&self) -> bool {
        self.skipped.iter().any(|skipped| skipped.in_new)
    }

    /// Whether a verdict or a figure is worse, or the new side lacks something.
    pub fn regressed(&self) -> bool {
        self.worse() || self.lost_sight() || self.pairs.iter().any(Pair::figures_worse)
    }

    /// What makes it a regression, in words; empty if it is none.
    pub fn why_regressed(&self) -> Vec<String> {
        let name = |suite: &str, server: &str| format!("{suite} {}", short_server(server));
        let with = |is: fn(&Pair) -> bool| -> Vec<String> {
            self.pairs.iter().filter(|pair| is(pair)).map(|pair| name(&pair.suite, &pair.server)).collect()
        };
        let missing = self.only_in_base.iter().map(|key| name(&key.suite, &key.server)).collect();
        let mut why = Vec::new();
        for (what, names) in [
            ("worse verdicts in", with(Pair::worse)),
            ("worse figures in", with(|pair| !pair.worse() && pair.figures_worse())),
            ("invariants no longer judged in", with(Pair::lost_sight)),
            ("missing in new:", missing),
        ] {
            if !names.is_empty() {
                why.push(format!("{what} {}", list(names)));
            }
        }
        why
    }

    /// Whether anything changed significantly, for better or worse.
    pub fn changed(&self) -> bool {
        self.lost_sight() || !self.only_in_new.is_empty() || self.pairs.iter().any(Pair::changed)
    }

    /// Moves suites that only one side has to the skipped ones if the other side skipped them.
    #[must_use]
    pub fn with_skipped(mut self, base: &[Skipped], new: &[Skipped]) -> Self {
        for (only_in_one, other, in_new) in [(&mut self.only_in_base, new, true), (&mut self.only_in_new, base, false)]
        {
            only_in_one.retain(|run| {
                let Some(found) = other.iter().find(|skipped| skipped.run == *run) else { return true };
                self.skipped.push(SkippedRun { run: run.clone(), in_new, reason: found.reason.clone() });
                false
            });
        }
        self
    }

    /// The differences that make runs different experiments, one line each.
    pub fn differences(&self) -> Vec<String> {
        let of_pair = |pair: &Pair| {
            let name = format!("{} {}", pair.suite, pair.server);
            pair.differences.iter().map(move |difference| format!("{name}: {difference}")).collect::<Vec<_>>()
        };
        self.pairs.iter().flat_map(of_pair).collect()
    }
}

type Groups<'a> = BTreeMap<RunKey, Vec<&'a Report>>;

/// Compares two sets of reports by suite and server. A suite that remains with exactly one server on each side is matched,
/// too, so one server can be compared with another.
pub fn compare(base: &[Report], new: &[Report]) -> Comparison {
    let mut base = grouped(base);
    let mut new = grouped(new);
    let mut pairs = Vec::new();
    let both: Vec<RunKey> = base.keys().filter(|key| new.contains_key(key)).cloned().collect();
    for key in both {
        if let (Some(base), Some(new)) = (base.remove(&key), new.remove(&key)) {
            pairs.push(pair(key, &base, &new));
        }
    }
    let suites: BTreeSet<String> = base.keys().map(|key| key.suite.clone()).collect();
    for suite in suites {
        if let (Some(base_key), Some(new_key)) = (only_server(&base, &suite), only_server(&new, &suite))
            && let (Some(base), Some(new)) = (base.remove(&base_key), new.remove(&new_key))
        {
            pairs.push(pair(base_key, &base, &new));
        }
    }
    pairs.sort_by(|a, b| (&a.suite, &a.server).cmp(&(&b.suite, &b.server)));
    let (only_in_base, only_in_new) = (base.into_keys().collect(), new.into_keys().collect());
    Comparison { pairs, only_in_base, only_in_new, skipped: Vec::new() }
}

fn grouped(reports: &[Report]) -> Groups<'_> {
    let mut groups = Groups::new();
    for report in reports {
        groups.entry(report.key()).or_default().push(report);
    }
    groups
}

fn only_server(groups: &Groups<'_>, suite: &str) -> Option<RunKey> {
    let mut keys = groups.keys().filter(|key| key.suite == suite);
    keys.next().filter(|_| keys.next().is_none()).cloned()
}

fn pair(key: RunKey, base: &[&Report], new: &[&Report]) -> Pair {
    let (differences, same_host) = differences(base, new);
    Pair {
        suite: key.suite,
        server: key.server,
        base_runs: base.len(),
        new_runs: new.len(),
        base_verdict: worst_verdict(base),
        new_verdict: worst_verdict(new),
        invariants: invariant_changes(base, new),
        figures: figure_changes(base, new),
        differences,
        notes: notes(base, new),
        same_host,
    }
}

fn worst_verdict(reports: &[&Report]) -> Verdict {
    reports.iter().map(|report| report.verdict).max().unwrap_or(Verdict::Inconclusive)
}

/// The invariants in the order of the base, then those of the new side alone.
fn invariant_changes(base: &[&Report], new: &[&Report]) -> Vec<InvariantChange> {
    let mut changes: Vec<InvariantChange> = Vec::new();
    for (reports, is_base) in [(base, true), (new, false)] {
        for judgement in reports.iter().flat_map(|report| &report.invariants) {
            let known = changes
                .iter()
                .position(|change| change.invariant == judgement.invariant && change.settings == judgement.settings);
            let position = known.unwrap_or_else(|| {
                changes.push(InvariantChange {
                    invariant: judgement.invariant.clone(),
                    settings: judgement.settings.clone(),
                    base: None,
                    new: None,
                });
                changes.len() - 1
            });
            let side = if is_base { &mut changes[position].base } else { &mut changes[position].new };
            *side = (*side).max(Some(judgement.verdict));
        }
    }
    changes
}

/// Collects the differences of two sets of reports.
struct Comparer<'a> {
    base: &'a [&'a Report],
    new: &'a [&'a Report],
    found: Vec<String>,
}

impl Comparer<'_> {
    /// Adds a difference if a value is not the same in all reports. Returns whether it is.
    fn same(&mut self, what: &str, read: &dyn Fn(&Report) -> String) -> bool {
        let (base, new) = self.values(read);
        let same = base == new && base.len() <= 1;
        if !same {
            self.found.push(format!("{what}: {} -> {}", listed(base), listed(new)));
        }
        same
    }

    fn values(&self, read: &dyn Fn(&Report) -> String) -> (BTreeSet<String>, BTreeSet<String>) {
        let values = |reports: &[&Report]| reports.iter().map(|report| read(report)).collect();
        (values(self.base), values(self.new))
    }
}

/// The differences that make the runs different experiments, and whether they ran on the same kind of machine at the same
/// speed.
fn differences(base: &[&Report], new: &[&Report]) -> (Vec<String>, bool) {
    let mut compare = Comparer { base, new, found: Vec::new() };
    compare.same("server", &|report| format!("{} ({})", report.header.server.asked, report.header.server.version));
    let same_host = compare.same("host", &|report| {
        let host = &report.header.host;
        format!("{}, {} cores, {}", host.os, host.cores, host.backend)
    });
    let same_speed = compare.same("speed", &|report| report.header.speed.to_string());
    let directives: BTreeSet<&String> =
        base.iter().chain(new).flat_map(|report| report.header.plan.config.keys()).collect();
    for directive in directives {
        compare.same(&format!("config {directive}"), &|report| {
            report
                .header
                .plan
                .config
                .get(directive)
                .map_or_else(|| "(not set)".to_owned(), |value| format!("`{value}`"))
        });
    }
    for part in ["nodes", "workload", "steps", "invariants", "recover-within", "max-duration"] {
        let (base, new) = compare.values(&|report| plan_part(report, part));
        if base != new {
            compare.found.push(format!("plan: its {part} differ"));
        } else if base.len() > 1 {
            compare.found.push(format!("plan: its {part} differ between the runs of one side"));
        }
    }
    (compare.found, same_host && same_speed)
}

fn notes(base: &[&Report], new: &[&Report]) -> Vec<String> {
    let mut compare = Comparer { base, new, found: Vec::new() };
    compare.same("slotquake", &|report| report.header.tool_version.clone());
    compare.same("seed", &|report| report.header.plan.seed.to_string());
    compare.found
}

fn plan_part(report: &Report, part: &str) -> String {
    let plan = serde_json::to_value(&report.header.plan).expect("a plan is JSON");
    plan.get(part).map(ToString::to_string).unwrap_or_default()
}

fn listed(values: BTreeSet<String>) -> String {
    const SHOWN: usize = 3;
    let more = values.len().saturating_sub(SHOWN);
    let mut text = values.into_iter().take(SHOWN).collect::<Vec<_>>().join(" / ");
    if more > 0 {
        let _ = write!(text, " / {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{judgement, report};
    use super::*;
    use crate::check::Verdict::{Fail, Inconclusive, Pass};
    use crate::units::Directive;

    fn on(server: &str, mut report: Report) -> Report {
        report.header.server.asked = server.to_owned();
        report
    }

    #[test]
    fn finds_worse_verdicts() {
        for (base, new, worse, better) in [
            (Pass, Pass, false, false),
            (Pass, Inconclusive, true, false),
            (Pass, Fail, true, false),
            (Inconclusive, Fail, true, false),
            (Inconclusive, Pass, false, true),
            (Fail, Inconclusive, false, true),
            (Fail, Fail, false, false),
        ] {
            let comparison = compare(
                &[report("role-swap", base), report("formation", Fail)],
                &[report("formation", Pass), report("role-swap", new)],
            );
            let pair = &comparison.pairs[1];
            assert_eq!(
                (pair.suite.as_str(), pair.worse(), pair.better()),
                ("role-swap", worse, better),
                "{base:?} {new:?}"
            );
            assert_eq!(comparison.worse(), worse);
            assert!(!comparison.lost_sight());
        }
    }

    #[test]
    fn times_at_different_speeds_are_not_worse() {
        let base = report("role-swap", Pass);
        let mut new = base.clone();
        new.header.speed = "10".parse().expect("a speed");
        let same = compare(std::slice::from_ref(&new), &[new.clone(), new.clone()]);
        assert_eq!((same.differences(), same.pairs[0].same_host), (Vec::new(), true));
        let comparison = compare(&[base], &[new]);
        assert_eq!(comparison.differences(), ["role-swap redis:6.2: speed: 1 -> 10"]);
        assert!(!comparison.pairs[0].same_host);
    }

    #[test]
    fn finds_a_worse_invariant_under_an_equal_verdict() {
        let mut base = report("role-swap", Fail);
        base.invariants.push(judgement("agreement", "within 5s", Pass));
        let mut new = base.clone();
        new.invariants[1].verdict = Inconclusive;
        let comparison = compare(&[base], &[new]);
        assert!(comparison.worse() && !comparison.pairs[0].better());
        let changed: Vec<_> = comparison.pairs[0].invariants.iter().map(InvariantChange::worse).collect();
        assert_eq!(changed, [false, true]);
    }

    #[test]
    fn the_worst_of_repeated_runs_counts() {
        let mut lossy = report("role-swap", Fail);
        lossy.ledger.lost = 5;
        lossy.failovers[0].promotion_ms = Some(100.0);
        let comparison = compare(
            &[report("role-swap", Pass)],
            &[report("role-swap", Pass), lossy, report("role-swap", Inconclusive)],
        );
        let pair = &comparison.pairs[0];
        assert_eq!((pair.base_runs, pair.new_runs, pair.new_verdict), (1, 3, Fail));
        assert_eq!(pair.invariants[0].new, Some(Fail));
        let of = |name: &str| pair.figures.iter().find(|change| change.figure == name).expect("it is compared");
        assert_eq!(of("lost").new.max, Some(5.0));
        assert_eq!((of("promotion_ms").new.min, of("promotion_ms").new.median), (Some(100.0), Some(7360.0)));
    }

    #[test]
    fn lists_what_only_one_side_has() {
        let key = |suite: &str| RunKey { suite: suite.to_owned(), server: "redis:6.2".to_owned() };
        let both = || report("role-swap", Pass);
        let comparison = compare(&[both(), report("formation", Pass)], &[both(), report("shard-loss", Fail)]);
        assert_eq!(comparison.only_in_base, [key("formation")]);
        assert_eq!(comparison.only_in_new, [key("shard-loss")]);
        assert!(comparison.lost_sight() && !comparison.worse());

        assert!(compare(&[], &[]).lost_sight(), "nothing was compared");
        let mut fewer = both();
        fewer.invariants.clear();
        assert!(compare(&[both()], &[fewer.clone()]).lost_sight(), "an invariant vanished");
        assert!(!compare(&[fewer], &[both()]).lost_sight(), "an invariant appeared");
    }

    #[test]
    fn matches_a_suite_on_another_server() {
        let role_swap = || report("role-swap", Pass);
        let comparison = compare(&[role_swap()], &[on("valkey:9.1", role_swap())]);
        assert_eq!(comparison.pairs.len(), 1);
        assert_eq!(comparison.pairs[0].differences, ["server: redis:6.2 (redis 6.2.14) -> valkey:9.1 (redis 6.2.14)"]);
        let ambiguous = compare(&[role_swap()], &[on("valkey:9.1", role_swap()), on("valkey:8.1", role_swap())]);
        assert!(ambiguous.pairs.is_empty());
        assert_eq!((ambiguous.only_in_base.len(), ambiguous.only_in_new.len()), (1, 2));
    }

    #[test]
    fn lists_differences_of_the_experiments() {
        let base = report("role-swap", Pass);
        let same = std::slice::from_ref(&base);
        assert_eq!(compare(same, same).pairs[0].differences, [""; 0]);
        let mut new = base.clone();
        new.header.plan.seed = 8;
        new.header.plan.config.insert("cluster-node-timeout".to_owned(), Directive("1000".to_owned()));
        new.header.plan.config.insert("appendonly".to_owned(), Directive("no".to_owned()));
        new.header.plan.workload.clients = 9;
        new.header.host.cores = 4;
        let comparison = compare(std::slice::from_ref(&base), &[new]);
        let pair = &comparison.pairs[0];
        assert_eq!(
            pair.differences,
            [
                "host: Linux 6.1, 2 cores, local -> Linux 6.1, 4 cores, local",
                "config appendonly: (not set) -> `no`",
                "config cluster-node-timeout: `5000` -> `1000`",
                "plan: its workload differ",
            ]
        );
        assert_eq!((&pair.notes[..], pair.same_host), (&["seed: 7 -> 8".to_owned()][..], false));

        let mut slower = base.clone();
        slower.header.plan.steps.clear();
        let mixed = [base, slower];
        assert_eq!(
            compare(&mixed, &mixed).pairs[0].differences,
            ["plan: its steps differ between the runs of one side"],
            "they are no repeated runs"
        );
    }

    /// Five runs, whose promotions took `from_ms` and each 10 ms more.
    fn five(from_ms: f64) -> Vec<Report> {
        let run = |at: u8| {
            let mut run = report("role-swap", Pass);
            run.failovers[0].promotion_ms = Some(from_ms + f64::from(at) * 10.0);
            run
        };
        (0..5).map(run).collect()
    }

    #[test]
    fn worse_figures_are_a_regression() {
        let with = |change: fn(&mut Report)| {
            let mut runs = five(7000.0);
            runs.iter_mut().for_each(change);
            runs
        };
        for (new, regressed, changed, what) in [
            (five(7000.0), false, false, "the same"),
            (five(7011.0), false, false, "slower by chance"),
            (five(9000.0), true, true, "slower"),
            (five(1000.0), false, true, "faster"),
            (with(|run| run.ledger.lost = 1), true, true, "a loss"),
            (with(|run| run.ledger.acknowledged -= 100), false, true, "less was done"),
            (with(|run| run.invariants.clear()), true, true, "nothing is judged any more"),
        ] {
            let comparison = compare(&five(7000.0), &new);
            assert_eq!((comparison.regressed(), comparison.changed()), (regressed, changed), "{what}");
            assert!(!comparison.worse(), "{what}");
        }
        let mut elsewhere = five(9000.0);
        for run in &mut elsewhere {
            run.header.host.cores = 64;
        }
        let comparison = compare(&five(7000.0), &elsewhere);
        assert_eq!((comparison.regressed(), comparison.changed()), (false, true), "times of another machine");
    }
}
