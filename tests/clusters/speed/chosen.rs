//! Which speed a run has: what the command line asks for, what its suite says, what it can be true at, and what the machine can
//! keep.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::Value;
use slotquake::history::{self, EventKind};

use crate::support::{Places, assert_nothing_left, begin_as, command, conclusive, fetched};

/// Writes a suite that does little, with these lines, and returns its path.
fn suite(folder: &Path, name: &str, lines: &str) -> String {
    let text = format!(
        "name: {name}\nabout: A cluster that is left alone.\nworkload: {{ rate: 100/s }}\n{lines}invariants:\n  - slot-coverage: {{ at: \
         end }}\n"
    );
    let path = folder.join(format!("{name}.yaml"));
    fs::write(&path, text).expect("a file");
    path.to_str().expect("a plain path").to_owned()
}

const IDLE: &str = "steps:\n  - phase: idle\n  - settle: 4s\n";

/// The speed of each run of a document, by the suite.
fn speeds(document: &Value) -> Vec<(String, u64)> {
    let runs = document["runs"].as_array().expect("runs").iter();
    runs.map(|run| (run["suite"].as_str().expect("a name").to_owned(), run["speed"].as_u64().unwrap_or(1))).collect()
}

#[test]
fn runs_of_one_command_have_the_speeds_of_their_suites() {
    fetched("redis:6.2");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().join("reports");
    let of = |name: &str, lines: &str| suite(folder.path(), name, &format!("{lines}{IDLE}"));
    let suites =
        [of("a-free", ""), of("b-real", "speed: 1\n"), of("c-slow", "speed: 2\n"), of("d-quick", "speed: 50\n")];
    let lossy = "steps:\n  - phase: loss\n  - lossy: { between: [node-1, node-2], percent: 10% }\n  - settle: 1s\n  - heal: all\n";
    let lossy = suite(folder.path(), "e-lossy", lossy);
    let mut args = vec!["run", "--speed", "4", "--out", out.to_str().expect("plain"), "--format", "json"];
    args.extend(suites.iter().chain([&lossy]).map(String::as_str));
    let _place = Places::take(4);
    let begun = SystemTime::now();
    let ran = conclusive(|| command(&args));
    assert_eq!(ran.code(), Some(0), "{}", ran.whole());
    assert_nothing_left(ran.pid, &out);
    let expected = [("a-free", 4), ("b-real", 1), ("c-slow", 2), ("d-quick", 4), ("e-lossy", 1)];
    let document = ran.json();
    let ran_at = speeds(&document);
    assert_eq!(ran_at, expected.map(|(name, speed)| (name.to_owned(), speed)), "{}", ran.whole());
    assert!(ran.stderr.contains("e-lossy runs at speed 1: it loses packets"), "{}", ran.whole());
    // Servers of the run in real time show real time, though slotquake has lived faster before.
    for (run, (name, speed)) in document["runs"].as_array().expect("runs").iter().zip(expected) {
        let Some(report) = run["report"].as_str() else { continue };
        let history = history::read(Path::new(report)).expect("a history");
        let proofs = history.events.iter().filter(|event| matches!(event.kind, EventKind::SpeedProven { .. })).count();
        assert_eq!(proofs > 0, speed > 1, "{name}");
        let clocks = history.events.iter().filter_map(|event| match event.kind {
            EventKind::Clock { unix_us, .. } => Some(UNIX_EPOCH + Duration::from_micros(unix_us)),
            _ => None,
        });
        for shown in clocks.filter(|_| speed == 1) {
            assert!(shown >= begun && shown <= SystemTime::now(), "{name}: {shown:?}");
        }
    }
}

#[test]
fn a_suite_is_as_fast_as_it_says_without_the_flag() {
    fetched("redis:6.2");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().join("reports");
    let suite = suite(folder.path(), "own", &format!("speed: 3\n{IDLE}"));
    let _place = Places::take(2);
    let run = |more: &[&str]| {
        let args = ["run", &suite, "--out", out.to_str().expect("plain"), "--format", "json"];
        let ran = conclusive(|| command(&[&args[..], more].concat()));
        assert_eq!(ran.code(), Some(0), "{}", ran.whole());
        speeds(&ran.json())[0].1
    };
    assert_eq!([run(&[]), run(&["--speed", "2"]), run(&["--speed", "1"]), run(&["--set", "speed=1"])], [3, 2, 1, 1]);
}

/// Slotquake is stopped for a while, so that it is late. Under `auto`, the run is repeated at half the speed.
#[test]
fn a_late_run_is_repeated_at_half_the_speed() {
    fetched("redis:6.2");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().join("reports");
    let lines = "steps:\n  - phase: idle\n  - settle: 20s\n";
    let suite = suite(folder.path(), "late", lines);
    let text = fs::read_to_string(&suite).expect("it is ours");
    fs::write(&suite, format!("{text}  - availability: {{ of: writes, shard: all, max-outage: 1s }}\n")).expect("ours");
    let _place = Places::take(4);
    let out = out.to_str().expect("a plain path");
    let run = |more: &[&str], stop: bool| {
        let args = ["run", &suite, "--sandbox", "off", "--out", out, "--format", "json", "--verbose"];
        let mut running = begin_as(command(&[&args[..], more].concat()));
        running.until_it_says("phase idle");
        if stop {
            let stopped = Instant::now();
            running.signal(Signal::SIGSTOP);
            // Longer than the outage that the suite allows, at any speed.
            while stopped.elapsed() < Duration::from_millis(1500) {
                std::thread::sleep(Duration::from_millis(10));
            }
            running.signal(Signal::SIGCONT);
        }
        running.end()
    };
    let at_2 = run(&["--speed", "2"], true);
    assert_eq!((at_2.code(), speeds(&at_2.json())[0].1), (Some(3), 2), "{}", at_2.whole());
    let auto = run(&["--speed", "auto"], true);
    let speed = speeds(&auto.json())[0].1;
    if auto.stderr.contains("speed 1 is the highest") {
        // A machine that is this busy has nothing to lower.
        return;
    }
    assert_eq!(auto.code(), Some(0), "{}", auto.whole());
    // 5 is halved to 2.
    let told = [speed * 2, speed * 2 + 1]
        .map(|late| format!("inconclusive, since slotquake was late at speed {late}; repeated at speed {speed}"));
    assert!(told.iter().any(|told| auto.stderr.contains(told)), "{told:?}: {}", auto.whole());
}
