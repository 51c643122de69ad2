//! Two runs, or two sets of them, side by side: which verdicts and figures differ. Pure; a single
//! difference of two times says little, and no statistics are claimed here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Serialize;

use super::Report;
use super::summary::Figures;
use crate::check::Verdict;

/// What was compared, and what was found only on one side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The runs that both sides have.
    pub pairs: Vec<Pair>,
    /// Runs that only the base has: nothing is known of them now.
    pub only_in_base: Vec<RunKey>,
    /// Runs that only the new side has.
    pub only_in_new: Vec<RunKey>,
}

/// A suite on a server. Several reports of it stand for one: the worst verdict and the worst of each
/// figure are compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RunKey {
    /// The suite's name.
    pub suite: String,
    /// The server as it was asked for.
    pub server: String,
}

/// One suite on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// The suite's name.
    pub suite: String,
    /// The server as it was asked for in the base.
    pub server: String,
    /// How many reports stand behind the base.
    pub base_runs: usize,
    /// How many stand behind the new side.
    pub new_runs: usize,
    /// The verdict in the base.
    pub base_verdict: Verdict,
    /// The verdict on the new side.
    pub new_verdict: Verdict,
    /// Every invariant of either side.
    pub invariants: Vec<InvariantChange>,
    /// Every figure that either side has.
    pub figures: Vec<FigureChange>,
    /// What else is not the same, in words: plan, configuration, server, seed, host.
    pub differences: Vec<String>,
}

/// An invariant on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InvariantChange {
    /// Its kind.
    pub invariant: String,
    /// Its settings.
    pub settings: String,
    /// Its verdict in the base; None where the base does not have it.
    pub base: Option<Verdict>,
    /// Its verdict on the new side.
    pub new: Option<Verdict>,
}

impl InvariantChange {
    /// Whether both sides judged it, the new one worse.
    pub fn worse(&self) -> bool {
        matches!((self.base, self.new), (Some(base), Some(new)) if new > base)
    }
}

/// A figure on both sides; the unit is the last word of its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FigureChange {
    /// `promotion_ms`, `lost`, ...
    pub figure: &'static str,
    /// In the base; None where it was not observed.
    pub base: Option<f64>,
    /// On the new side.
    pub new: Option<f64>,
}

impl Pair {
    /// Whether the run or one of its invariants has a worse verdict than in the base.
    pub fn worse(&self) -> bool {
        self.new_verdict > self.base_verdict || self.invariants.iter().any(InvariantChange::worse)
    }

    /// Whether the verdict got better and nothing got worse.
    pub fn better(&self) -> bool {
        !self.worse() && self.new_verdict < self.base_verdict
    }
}

impl Comparison {
    /// Whether any verdict got worse.
    pub fn worse(&self) -> bool {
        self.pairs.iter().any(Pair::worse)
    }

    /// Whether there is less to go by than the base had: nothing in common, or a run or an invariant
    /// of the base that the new side does not have. Then "nothing got worse" is not a finding.
    pub fn lost_sight(&self) -> bool {
        self.pairs.is_empty()
            || !self.only_in_base.is_empty()
            || self.pairs.iter().flat_map(|pair| &pair.invariants).any(|change| change.new.is_none())
    }
}

type Groups<'a> = BTreeMap<RunKey, Vec<&'a Report>>;

/// Compares two sets of reports, matched by suite and server. A suite that is left over exactly once
/// on each side is matched too, so that one server can be compared with another.
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
    Comparison { pairs, only_in_base: base.into_keys().collect(), only_in_new: new.into_keys().collect() }
}

fn grouped(reports: &[Report]) -> Groups<'_> {
    let mut groups = Groups::new();
    for report in reports {
        let key = RunKey { suite: report.header.plan.name.clone(), server: report.header.server.asked.clone() };
        groups.entry(key).or_default().push(report);
    }
    groups
}

fn only_server(groups: &Groups<'_>, suite: &str) -> Option<RunKey> {
    let mut keys = groups.keys().filter(|key| key.suite == suite);
    keys.next().filter(|_| keys.next().is_none()).cloned()
}

fn pair(key: RunKey, base: &[&Report], new: &[&Report]) -> Pair {
    Pair {
        suite: key.suite,
        server: key.server,
        base_runs: base.len(),
        new_runs: new.len(),
        base_verdict: worst_verdict(base),
        new_verdict: worst_verdict(new),
        invariants: invariant_changes(base, new),
        figures: figure_changes(base, new),
        differences: differences(base, new),
    }
}

fn worst_verdict(reports: &[&Report]) -> Verdict {
    reports.iter().map(|report| report.verdict).max().unwrap_or(Verdict::Inconclusive)
}

/// In the base's order, then what only the new side has.
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

/// A figure's name, how it is read, and whether more of it is better.
type FigureKind = (&'static str, fn(&Figures) -> Option<f64>, bool);

const FIGURES: [FigureKind; 8] = [
    ("fail_ms", |figures| figures.fail_ms, false),
    ("promotion_ms", |figures| figures.promotion_ms, false),
    ("first_write_ms", |figures| figures.first_write_ms, false),
    ("longest_read_outage_ms", |figures| figures.read_outage.map(|outage| outage.length_ms), false),
    ("longest_write_outage_ms", |figures| figures.write_outage.map(|outage| outage.length_ms), false),
    ("acknowledged", |figures| Some(figures.acknowledged as f64), true),
    ("lost", |figures| Some(figures.lost as f64), false),
    ("undecided", |figures| Some(figures.undecided as f64), false),
];

fn figure_changes(base: &[&Report], new: &[&Report]) -> Vec<FigureChange> {
    let figures = |reports: &[&Report]| -> Vec<Figures> { reports.iter().map(|report| Figures::new(report)).collect() };
    let (base, new) = (figures(base), figures(new));
    FIGURES
        .iter()
        .map(|(figure, read, more_is_better)| {
            let worst = |side: &[Figures]| {
                let values = side.iter().filter_map(read);
                if *more_is_better { values.min_by(f64::total_cmp) } else { values.max_by(f64::total_cmp) }
            };
            FigureChange { figure, base: worst(&base), new: worst(&new) }
        })
        .filter(|change| change.base.is_some() || change.new.is_some())
        .collect()
}

/// What is not the same on both sides. Each side's reports are taken as a set of values, so that a
/// side whose own runs differ shows it too.
fn differences(base: &[&Report], new: &[&Report]) -> Vec<String> {
    let mut found = Vec::new();
    let mut differ = |what: &str, read: &dyn Fn(&Report) -> String| {
        let values = |reports: &[&Report]| reports.iter().map(|report| read(report)).collect::<BTreeSet<_>>();
        let (base, new) = (values(base), values(new));
        if base != new {
            found.push(format!("{what}: {} -> {}", listed(base), listed(new)));
        }
    };
    differ("server", &|report| format!("{} ({})", report.header.server.asked, report.header.server.version));
    differ("slotquake", &|report| report.header.tool_version.clone());
    differ("host", &|report| {
        let host = &report.header.host;
        format!("{}, {} cores, {}", host.os, host.cores, host.backend)
    });
    differ("seed", &|report| report.header.plan.seed.to_string());
    let directives: BTreeSet<&String> =
        base.iter().chain(new).flat_map(|report| report.header.plan.config.keys()).collect();
    for directive in directives {
        differ(&format!("config {directive}"), &|report| {
            report
                .header
                .plan
                .config
                .get(directive)
                .map_or_else(|| "(not set)".to_owned(), |value| format!("`{value}`"))
        });
    }
    for part in ["nodes", "workload", "steps", "invariants", "recover-within", "max-duration"] {
        let values =
            |reports: &[&Report]| reports.iter().map(|report| plan_part(report, part)).collect::<BTreeSet<_>>();
        if values(base) != values(new) {
            found.push(format!("plan: its {part} differ"));
        }
    }
    found
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
    fn a_verdict_that_got_worse_is_found_whatever_the_others_do() {
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
    fn an_invariant_that_got_worse_shows_behind_an_equal_verdict() {
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
    fn the_worst_of_several_runs_stands_for_them() {
        let mut lossy = report("role-swap", Fail);
        lossy.ledger.lost = 5;
        lossy.ledger.acknowledged = 10;
        lossy.failovers[0].promotion_ms = Some(100.0);
        let comparison = compare(
            &[report("role-swap", Pass)],
            &[report("role-swap", Pass), lossy, report("role-swap", Inconclusive)],
        );
        let pair = &comparison.pairs[0];
        assert_eq!((pair.base_runs, pair.new_runs, pair.new_verdict), (1, 3, Fail));
        assert_eq!(pair.invariants[0].new, Some(Fail));
        let new = |name| pair.figures.iter().find(|change| change.figure == name).and_then(|change| change.new);
        assert_eq!(new("lost"), Some(5.0));
        assert_eq!(new("acknowledged"), Some(10.0));
        assert_eq!(new("promotion_ms"), Some(7360.0));
    }

    #[test]
    fn what_only_one_side_has_is_listed_and_not_taken_for_success() {
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
    fn a_suite_on_another_server_is_matched_where_it_is_unambiguous() {
        let role_swap = || report("role-swap", Pass);
        let comparison = compare(&[role_swap()], &[on("valkey:9.1", role_swap())]);
        assert_eq!(comparison.pairs.len(), 1);
        assert_eq!(comparison.pairs[0].differences, ["server: redis:6.2 (redis 6.2.14) -> valkey:9.1 (redis 6.2.14)"]);
        let ambiguous = compare(&[role_swap()], &[on("valkey:9.1", role_swap()), on("valkey:8.1", role_swap())]);
        assert!(ambiguous.pairs.is_empty());
        assert_eq!((ambiguous.only_in_base.len(), ambiguous.only_in_new.len()), (1, 2));
    }

    #[test]
    fn what_else_differs_is_said() {
        let base = report("role-swap", Pass);
        let same = std::slice::from_ref(&base);
        assert_eq!(compare(same, same).pairs[0].differences, [""; 0]);
        let mut new = base.clone();
        new.header.plan.seed = 8;
        new.header.plan.config.insert("cluster-node-timeout".to_owned(), Directive("1000".to_owned()));
        new.header.plan.config.insert("appendonly".to_owned(), Directive("no".to_owned()));
        new.header.plan.workload.clients = 9;
        new.header.host.cores = 4;
        assert_eq!(
            compare(&[base], &[new]).pairs[0].differences,
            [
                "host: Linux 6.1, 2 cores, local -> Linux 6.1, 4 cores, local",
                "seed: 7 -> 8",
                "config appendonly: (not set) -> `no`",
                "config cluster-node-timeout: `5000` -> `1000`",
                "plan: its workload differ",
            ]
        );
    }
}
