//! Stored runs of earlier versions are still read, with the same verdicts.
//!
//! `tests/stored/NAME` holds the history and the report of one run on a real cluster: every shipped suite, suites
//! whose claims do not hold, interrupted runs, a killed one, and runs with too few keys. They are never changed. A change that
//! gives one of them another verdict must state why.

#[path = "support/stored.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use slotquake_judge::check::{Judgement, Verdict, overall};
use slotquake_judge::facts::{Facts, Ledger, Outage};
use slotquake_judge::history::{self, FILE_NAME};
use slotquake_judge::report;
use slotquake_judge::report::{PhaseReport, Report, read};

fn stored() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored")
}

/// Figures that came after these runs were stored. What they say of them is in [`reads_tell_of_lost_writes`].
const NEW_FIGURES: [&str; 6] = ["lost_and_overwritten", "wrong_reads", "hidden", "keys_lost", "untold", "keys_untold"];

/// What of a judgement must not change; its words may.
fn judged(judgement: &Judgement) -> (String, Verdict, u64, Vec<(String, f64)>) {
    let is_old = |name: &&String| !NEW_FIGURES.contains(&name.as_str());
    let figures = judgement.figures.iter().filter(|(name, _)| is_old(name));
    let figures = figures.map(|(name, figure)| (name.clone(), *figure)).collect();
    (judgement.invariant.clone(), judgement.verdict, judgement.observations, figures)
}

/// Earlier versions judged writes by the end of a run alone, and did not gather losses over time.
fn without_reads(ledger: &Ledger) -> Ledger {
    Ledger {
        keys_acknowledged: 0,
        keys_lost: 0,
        overwritten: 0,
        overwritten_by_cause: BTreeMap::new(),
        wrong_reads: 0,
        hidden: 0,
        untold: 0,
        untold_likely: 0,
        keys_untold: 0,
        loss_spans: Vec::new(),
        overwritten_examples: Vec::new(),
        wrong_examples: Vec::new(),
        ..ledger.clone()
    }
}

/// Earlier versions counted what was not sent among what failed.
fn with_unsent_as_failed(mut phase: PhaseReport) -> PhaseReport {
    for stats in [&mut phase.reads, &mut phase.writes] {
        stats.failed += std::mem::take(&mut stats.unsent);
    }
    phase
}

/// Whether a verdict on availability may differ from that of the version that stored the run. Since then an operation
/// without an answer within a second is not served, stalls count, and what the harness did not send says nothing.
fn changed(name: &str, then: &Judgement, again: &Judgement) -> bool {
    use Verdict::{Fail, Inconclusive, Pass};
    let settings = then.settings.as_str();
    match (then.verdict, again.verdict) {
        // `0s` accepted every operation that was served in the end. These machines were busy, so stalls prove nothing.
        (Pass, Inconclusive) => settings.ends_with("max-outage 0s"),
        // A master was frozen for 1.5 s, and its clients waited.
        (Pass, Fail) => {
            name.ends_with("failing-valkey-9.1")
                && (settings.contains("served always") || settings.contains("min-served"))
        }
        // All that was sent was served.
        (Inconclusive, Pass) => name.ends_with("few-keys-role-swap"),
        _ => false,
    }
}

/// So what was judged of these runs is judged of the same runs in columns.
#[test]
fn stored_runs_survive_columns_and_lines() {
    for entry in std::fs::read_dir(stored()).expect("stored runs") {
        let folder = entry.expect("a folder").path();
        let history = history::read(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let copy = tempfile::tempdir().expect("a folder");
        std::fs::write(copy.path().join(FILE_NAME), support::frames(&history, 80).concat()).expect("written");
        let read = history::read(copy.path()).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        assert!(read == history, "{} survives columns", folder.display());
        let mut lines = Vec::new();
        history::write_lines(&history, &mut lines).expect("memory");
        let read =
            history::parse(&lines, false, "lines").unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        assert!(read == history, "{} survives lines", folder.display());
    }
}

#[test]
fn stored_runs_keep_their_verdicts() {
    let mut compared = 0;
    for entry in std::fs::read_dir(stored()).expect("stored runs") {
        let folder = entry.expect("a folder").path();
        let name = folder.display();
        let history = history::read(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        let again = Report::of(&history);
        if !folder.join(report::FILE_NAME).exists() {
            continue;
        }
        let then = read(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(then.invariants.len(), again.invariants.len(), "{name}");
        for (then, again) in then.invariants.iter().zip(&again.invariants) {
            if then.invariant == "availability" {
                assert!(
                    then.verdict == again.verdict || changed(&name.to_string(), then, again),
                    "{name}: {} was {:?} and is {:?}: {}",
                    then.settings,
                    then.verdict,
                    again.verdict,
                    again.seen
                );
            } else {
                assert_eq!(judged(then), judged(again), "{name}: {}", then.settings);
            }
        }
        assert_eq!(then.failovers, again.failovers, "{name}");
        for outage in then.outages.iter().filter(|outage| outage.length_ms() > 1000.0) {
            let is_found = |found: &&Outage| {
                (found.of, found.shard) == (outage.of, outage.shard)
                    && found.from_ns <= outage.to_ns
                    && found.to_ns >= outage.to_ns
            };
            assert!(again.outages.iter().any(|found| is_found(&found)), "{name}: {outage:?}");
        }
        let in_spans: u64 = again.ledger.loss_spans.iter().map(|span| span.lost).sum();
        assert_eq!(in_spans, again.ledger.lost + again.ledger.overwritten, "{name}: every loss is in one span");
        assert_eq!(without_reads(&then.ledger), without_reads(&again.ledger), "{name}");
        let phases = |report: &Report| -> Vec<PhaseReport> {
            report.phases.iter().chain(&report.steps).cloned().map(with_unsent_as_failed).collect()
        };
        assert_eq!(phases(&then), phases(&again), "{name}");
        assert_eq!(then.steps.is_some(), again.steps.is_some(), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 40, "every stored run with a report is compared");
}

/// A run whose harness was killed left a history and no report.
#[test]
fn a_killed_run_is_judged_by_its_history() {
    use Verdict::{Inconclusive, Pass};
    let history = history::read(&stored().join("killed-master-freeze")).expect("a history");
    assert!(!history.complete);
    let judgements = Report::of(&history).invariants;
    let verdicts: Vec<(&str, Verdict, u64)> =
        judgements.iter().map(|each| (each.invariant.as_str(), each.verdict, each.observations)).collect();
    let expected = [
        ("slot-coverage", Inconclusive, 0),
        ("agreement", Inconclusive, 0),
        ("role", Pass, 1),
        ("role", Inconclusive, 0),
        ("role", Inconclusive, 0),
        ("replica-lag", Inconclusive, 0),
        ("acked-writes", Inconclusive, 1877),
        ("failover-time", Pass, 1),
        ("promotions", Pass, 66),
        ("promotions", Pass, 66),
        ("availability", Pass, 413),
        ("availability", Pass, 445),
        ("availability", Pass, 864),
        ("availability", Pass, 831),
        ("redirects", Inconclusive, 0),
        ("replica-read-only", Inconclusive, 0),
        ("faults", Pass, 1),
        ("steps", Inconclusive, 9),
        ("recovery", Inconclusive, 0),
        ("workload", Pass, 3174),
    ];
    assert_eq!(verdicts, expected);
    assert_eq!(overall(&judgements), Inconclusive);
}

/// Writes that were lost and overwritten, and those that nobody can tell about, by run. Elsewhere no read shows a loss,
/// and in none of the runs did a master answer wrongly for a time.
#[test]
fn reads_tell_of_lost_writes() {
    let expected = BTreeMap::from([
        ("failing-redis-6.2", 1),
        ("failing-valkey-9.1", 20),
        ("killed-master-freeze", 4),
        ("master-freeze-redis-6.2", 15),
        ("master-freeze-valkey-9.1", 25),
    ]);
    for entry in std::fs::read_dir(stored()).expect("stored runs") {
        let folder = entry.expect("a folder").path();
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let history = history::read(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        let ledger = Facts::new(&history).ledger;
        let overwritten = expected.get(name.as_str()).copied().unwrap_or(0);
        assert_eq!((ledger.overwritten, ledger.wrong_reads, ledger.hidden), (overwritten, 0, 0), "{name}");
        let stale = ledger.overwritten_by_cause.get(&slotquake_judge::facts::Cause::StaleMaster);
        assert_eq!(stale.copied().unwrap_or(0), overwritten, "{name}: a woken master lost them");
        assert!(ledger.untold_likely <= ledger.untold && ledger.keys_untold <= ledger.untold, "{name}");
    }
}
