//! How runs end, for every cause: what they report and keep, and that they leave nothing behind.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Places, QUICK, assert_nothing_left, begin, fetched, only_folder, processes_of, slotquake};

const SERVER: &str = "redis:6.2";

/// A long suite: a failover, followed by a long wait.
const LONG: &str = "\
name: long
about: A failover with time to interrupt it.
cluster: { config: { cluster-node-timeout: 1000 } }
workload: { rate: 200/s }
steps:
  - phase: baseline
  - settle: 500ms
  - phase: down
  - stop: shard-1/master
  - await: { promoted: shard-1, within: spec }
  - phase: promoted
  - settle: 60s
  - start: node-1
  - await: { in-sync: node-1, within: spec }
  - phase: never-reached
  - settle: 1s
invariants:
  - slot-coverage: { at: end }
  - agreement: { within: spec }
  - role: { node: node-4, is: master, at: promoted }
  - role: { node: node-4, is: master, at: end }
  - replica-lag: { at: end, max-bytes: 0 }
  - acked-writes: { may-lose: 0 }
  - failover-time: { shard: shard-1, within: spec }
  - promotions: { shard: shard-1, exactly: 1 }
  - availability: { of: writes, shard: shard-1, max-outage: spec }
  - availability: { of: writes, shard: others, min-served: 99% }
  - availability: { of: reads, during: never-reached, served: always }
  - redirects: { at: end }
  - replica-read-only: { at: end }
";

/// A folder for one run with the suite in it.
struct Place {
    folder: tempfile::TempDir,
    _clusters: Option<Places>,
}

impl Place {
    fn new() -> Self {
        Self::with(Some(Places::take(1)))
    }

    /// Two, for one test.
    fn two() -> (Self, Self) {
        (Self::with(Some(Places::take(2))), Self::with(None))
    }

    fn with(clusters: Option<Places>) -> Self {
        fetched(SERVER);
        let folder = tempfile::tempdir().expect("a temporary directory");
        fs::write(folder.path().join("long.yaml"), LONG).expect("it is ours");
        Self { folder, _clusters: clusters }
    }

    fn reports(&self) -> std::path::PathBuf {
        self.folder.path().join("reports")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a plain path").to_owned()
    }

    /// The arguments of a run of a suite whose reports go here.
    fn run<'a>(&self, suite: &'a str, more: &[&'a str]) -> Vec<String> {
        let out = self.path("reports");
        let args = ["run", suite, "--out", &out, "--format", "json"];
        args.iter().chain(more).map(|&arg| arg.to_owned()).collect()
    }

    fn run_long(&self) -> Vec<String> {
        self.run(&self.path("long.yaml"), &[])
    }
}

fn verdict<'a>(run: &'a Value, invariant: &str) -> &'a str {
    let judgements = run["invariants"].as_array().expect("judged");
    let found = judgements.iter().find(|each| each["invariant"] == invariant).expect("it is among them");
    found["verdict"].as_str().expect("a word")
}

#[test]
fn an_interrupted_run_heals_and_reports() {
    for (signal, name, at) in [
        (Signal::SIGINT, "SIGINT", "phase baseline"),
        (Signal::SIGTERM, "SIGTERM", "waiting for shard-1 to get a new master"),
        (Signal::SIGINT, "SIGINT", "phase promoted"),
    ] {
        let place = Place::new();
        let mut running = begin(&place.run_long());
        running.until_it_says(at);
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code(), Some(130), "{name} at `{at}`: {}", ended.whole());
        assert_nothing_left(ended.pid, &place.reports());
        assert!(ended.stderr.contains(&format!("interrupted by {name}")), "{}", ended.whole());

        let folder = only_folder(&place.reports());
        let report = slotquake::report::read(&folder).expect("a report that can be read");
        assert_eq!(report.interrupted_by(), Some(name));
        assert!(report.complete, "the history goes to its end");
        assert!(report.ledger.acknowledged >= 600, "what ran is reported: {:?}", report.ledger);
        let run = &ended.json()["runs"][0];
        assert_eq!(run["verdict"], "inconclusive", "{}", ended.whole());
        assert_eq!(verdict(run, "steps"), "inconclusive", "{}", ended.whole());
        // The run healed the cluster and read the keys back.
        assert_eq!(verdict(run, "acked-writes"), "pass", "{}", ended.whole());
        let checked = slotquake(&["check", folder.to_str().unwrap(), "--format", "json"]);
        assert_eq!(checked.code(), Some(130), "{}", checked.whole());
        assert_eq!(checked.json()["runs"][0]["invariants"], run["invariants"], "judged otherwise from the file");
    }
}

#[test]
fn interrupting_the_boot_leaves_nothing() {
    let place = Place::new();
    let mut running = begin(&place.run_long());
    running.until_it_says("phase boot");
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    assert_eq!(ended.code(), Some(130), "{}", ended.whole());
    assert_nothing_left(ended.pid, &place.reports());
    assert_ne!(ended.json()["runs"][0]["verdict"], "pass", "{}", ended.whole());
}

#[test]
fn a_second_signal_ends_the_run_at_once() {
    let place = Place::new();
    let mut running = begin(&place.run_long());
    running.until_it_says("waiting for shard-1 to get a new master");
    running.signal(Signal::SIGINT);
    running.until_it_says("SIGINT: ");
    running.signal(Signal::SIGINT);
    let ended = running.end();
    assert_eq!(ended.code(), Some(130), "{}", ended.whole());
    assert_nothing_left(ended.pid, &place.reports());
}

/// Kills the harness when it prints this line, inside and outside the sandbox, which use different means to
/// leave nothing behind. The history must be readable up to the kill and its verdict inconclusive.
fn kill_at_line(line: &str) {
    for mode in ["auto", "off"] {
        killed(line, mode);
    }
}

fn killed(line: &str, mode: &str) {
    let place = Place::new();
    let mut running = begin(&[&place.run_long()[..], &["--sandbox".to_owned(), mode.to_owned()]].concat());
    running.until_it_says(line);
    if line != "phase boot" {
        let seen = processes_of(running.pid(), &place.reports());
        assert!(seen >= 6, "the servers' processes are not found: {seen}, so their end would not be seen either");
    }
    running.signal(Signal::SIGKILL);
    let ended = running.end();
    assert_eq!(ended.code(), None, "{}", ended.whole());
    assert_nothing_left(ended.pid, &place.reports());

    let folder = only_folder(&place.reports());
    let history = slotquake::history::read(&folder).expect("the history reads up to the cut");
    assert!(!history.complete, "killed at `{line}`");
    let checked = slotquake(&["check", folder.to_str().unwrap(), "--format", "json"]);
    assert_eq!(checked.code(), Some(3), "killed at `{line}`: {}", checked.whole());
    assert_eq!(checked.json()["runs"][0]["verdict"], "inconclusive", "{}", checked.whole());
}

#[test]
fn kill_during_boot_leaves_no_server() {
    kill_at_line("phase boot");
}

#[test]
fn kill_when_ready_leaves_no_server() {
    kill_at_line("cluster of 6 nodes is ready");
}

#[test]
fn kill_during_a_fault_leaves_no_server() {
    kill_at_line("stop node-1 as shard-1/master");
}

#[test]
fn kill_during_the_election_leaves_no_server() {
    kill_at_line("node-1 flagged FAIL");
}

#[test]
fn kill_after_the_promotion_leaves_no_server() {
    kill_at_line("phase promoted");
}

#[test]
fn reports_a_rejected_directive() {
    let place = Place::new();
    let ended = slotquake(&place.run("role-swap", &["--set", "cluster.config.nonsense=1"]));
    assert_eq!(ended.code(), Some(2), "{}", ended.whole());
    assert_nothing_left(ended.pid, &place.reports());
    let message = ended.json()["runs"][0]["message"].as_str().expect("a message").to_owned();
    for word in ["FATAL CONFIG FILE ERROR", "nonsense 1", "Bad directive or wrong number of arguments"] {
        assert!(message.contains(word), "no `{word}` in {message}");
    }
}

#[test]
fn a_missing_server_is_wrong_usage() {
    let place = Place::new();
    let ended = slotquake(&place.run("role-swap", &["--server", "/nonexistent"]));
    assert_eq!(ended.code(), Some(2), "{}", ended.whole());
    assert!(ended.stderr.contains("\"/nonexistent\""), "{}", ended.whole());
    assert!(ended.stderr.contains("hint: "), "{}", ended.whole());
    assert!(!place.reports().exists(), "nothing began");
}

#[test]
fn checks_the_reports_folder_before_booting() {
    let place = Place::new();
    fs::write(place.folder.path().join("file"), "").unwrap();
    let out = place.path("file/reports");
    let ended = slotquake(&["run", "role-swap", "--server", SERVER, "--out", &out]);
    assert_eq!(ended.code(), Some(2), "{}", ended.whole());
    assert!(ended.stderr.contains("hint: "), "{}", ended.whole());
    assert!(ended.stderr.contains(&out), "{}", ended.whole());
    assert!(!ended.stderr.contains("phase boot"), "{}", ended.whole());
}

/// Runs a suite of its own text; `more` are further arguments.
fn run_text(place: &Place, steps: &str, more: &[&str]) -> crate::support::Ended {
    let path = place.path("own.yaml");
    let text = format!(
        "name: own\nabout: A suite of a test.\nworkload: {{ rate: 200/s }}\nsteps:\n  - phase: steps\n{steps}\
         invariants:\n  - slot-coverage: {{ at: end }}\n  - acked-writes: {{ may-lose: 0 }}\n"
    );
    fs::write(&path, text).unwrap();
    slotquake(&place.run(&path, &[&QUICK[..], more].concat()))
}

#[test]
fn a_fault_on_a_dead_node_is_an_error_of_the_suite() {
    let place = Place::new();
    // The plan detects this.
    let ended = run_text(&place, "  - kill: node-5\n  - stop: node-5\n", &[]);
    assert_eq!(ended.code(), Some(2), "{}", ended.whole());
    assert!(ended.stderr.contains("node-5"), "{}", ended.whole());
    // This is detected during the run: node-1 is still the master of shard-1.
    let ended = run_text(&place, "  - kill: shard-1/master\n  - pause: node-1\n  - settle: 60s\n", &[]);
    assert_eq!(ended.code(), Some(2), "{}", ended.whole());
    assert_nothing_left(ended.pid, &place.reports());
    let said = ended.stdout.clone() + &ended.stderr;
    for word in ["pause: node-1 means node-1", "process is gone", "where it has no effect"] {
        assert!(said.contains(word), "no `{word}`: {}", ended.whole());
    }
}

#[test]
fn keep_keeps_data_directories_and_logs() {
    let place = Place::new();
    let ended = run_text(&place, "  - settle: 200ms\n", &["--keep"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert_nothing_left(ended.pid, &place.reports());
    let folder = only_folder(&place.reports());
    for node in 1..=6 {
        let data = folder.join(format!("data/node-{node}"));
        for file in ["node.conf", "nodes.conf", "appendonly.aof"] {
            assert!(data.join(file).is_file(), "{} is missing", data.join(file).display());
        }
        let log = fs::read_to_string(folder.join(format!("logs/node-{node}.log"))).expect("a log");
        assert!(log.contains("Ready to accept connections"), "{log}");
    }
}

#[test]
fn without_keep_only_logs_and_reports_remain() {
    let place = Place::new();
    let ended = run_text(&place, "  - settle: 200ms\n", &[]);
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    let folder = only_folder(&place.reports());
    assert!(folder.join("logs/node-1.log").is_file());
    assert!(!folder.join("data").exists());
}

fn addresses(folder: &Path) -> Vec<String> {
    let report: Value = serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap();
    let events = report["events"].as_array().expect("events");
    let booted = events.iter().find(|event| event["event"] == "booted").expect("it booted");
    let nodes = booted["nodes"].as_array().expect("nodes");
    nodes.iter().map(|node| node["addr"].as_str().expect("an address").to_owned()).collect()
}

#[test]
fn concurrent_harnesses_use_different_addresses() {
    let (one, other) = Place::two();
    let steps = "  - settle: 4s\n";
    // In the sandbox each has a network of its own, and addresses do not matter.
    let outside = ["--sandbox", "off"];
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| run_text(&one, steps, &outside));
        (run_text(&other, steps, &outside), first.join().expect("no panic"))
    });
    assert_eq!((first.code(), second.code()), (Some(0), Some(0)), "{}\n{}", first.whole(), second.whole());
    let (used, also_used) = (addresses(&only_folder(&one.reports())), addresses(&only_folder(&other.reports())));
    assert_eq!((used.len(), also_used.len()), (6, 6));
    assert!(used.iter().all(|addr| !also_used.contains(addr)), "{used:?} {also_used:?}");
}

#[test]
fn five_masters_with_two_replicas_fail_over() {
    let place = Place::new();
    let larger = ["--set", "cluster.masters=5", "--set", "cluster.replicas-per-master=2"];
    let ended = run_text(
        &place,
        "  - kill: shard-5/master\n  - await: { promoted: shard-5, within: spec }\n  - start: node-5\n  \
         - await: { in-sync: node-5, within: spec }\n",
        &larger,
    );
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert_nothing_left(ended.pid, &place.reports());
    assert_eq!(addresses(&only_folder(&place.reports())).len(), 15);
}
