//! Runs that come out inconclusive are repeated if asked for.

use std::fs;

use crate::exec::Place;
use crate::support::{Ended, Places, slotquake};

/// A suite with a program that freezes slotquake for longer than it may be late: the first time only, or each time.
fn frozen(only_once: bool) -> Place {
    let unless = if only_once { "[ -e \"$0.done\" ] && exit 0; touch \"$0.done\"\n" } else { "" };
    let freeze = "(kill -STOP $PPID; sleep 3; kill -CONT $PPID) </dev/null >/dev/null 2>&1 &\nsleep 0.2\n";
    Place::new("  - exec: { run: DIR/freeze, within: 20s }\n  - settle: 3s\n")
        .program("freeze", &format!("{unless}{freeze}"))
}

fn run(place: &Place, more: &[&str]) -> Ended {
    slotquake(&[place.args(), more.iter().map(ToString::to_string).collect()].concat())
}

fn reports(place: &Place) -> usize {
    let entries = fs::read_dir(place.file("reports")).expect("reports").filter_map(Result::ok);
    entries.filter(|entry| entry.path().join("report.json").exists() && !entry.path().is_symlink()).count()
}

#[test]
fn an_inconclusive_run_is_repeated_until_it_is_conclusive() {
    let _place = Places::take(1);
    let place = frozen(true);
    let ended = run(&place, &["--retries", "3"]);
    assert_eq!((ended.code(), reports(&place)), (Some(0), 2), "{}", ended.whole());
    assert_eq!(ended.json()["runs"][0]["tries"], 2, "{}", ended.whole());
    assert!(
        ended.stderr.contains("inconclusive: ") && ended.stderr.contains("repeated (retry 1 of 3)"),
        "{}",
        ended.whole()
    );
    assert!(!ended.stderr.contains("retry 2 of 3"), "{}", ended.whole());
}

#[test]
fn a_run_that_stays_inconclusive_is_repeated_as_often_as_asked() {
    let _place = Places::take(1);
    let place = frozen(false);
    let ended = run(&place, &[]);
    assert_eq!((ended.code(), reports(&place)), (Some(3), 1), "{}", ended.whole());
    let ended = run(&place, &["--retries", "1"]);
    assert_eq!((ended.code(), reports(&place)), (Some(3), 3), "{}", ended.whole());
    assert!(ended.stderr.contains("repeated (retry 1 of 1)"), "{}", ended.whole());
}
