//! `run --matrix`: every value is a run of its own, named by it everywhere.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Places, assert_nothing_left, command, conclusive, fetched, slotquake};

const SUITE: &str = "\
name: crash
about: A master crashes.
cluster: { config: { cluster-node-timeout: 5000 } }
workload: { rate: 200/s }
steps:
  - phase: baseline
  - settle: 500ms
  - phase: down
  - kill: shard-1/master
  - await: { promoted: shard-1, within: spec }
  - settle: 500ms
invariants:
  - failover-time: { shard: shard-1, within: spec }
";

const PATH: &str = "cluster.config.cluster-node-timeout";

#[test]
fn every_value_is_a_run_and_figures_are_shown_over_them() {
    fetched("redis:6.2");
    let place = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| place.path().join(name).to_str().expect("a plain path").to_owned();
    fs::write(path("crash.yaml"), SUITE).expect("it is ours");
    let matrix = format!("{PATH}=2000,1000");
    let _clusters = Places::take(2);
    let ended = conclusive(|| {
        let _ = fs::remove_dir_all(path("reports"));
        command(&["run", &path("crash.yaml"), "--matrix", &matrix, "--out", &path("reports"), "--format", "json"])
    });
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert_nothing_left(ended.pid, &place.path().join("reports"));
    let document = ended.json();
    let runs = document["runs"].as_array().expect("runs");
    let values: Vec<&Value> = runs.iter().map(|run| &run["matrix"][PATH]).collect();
    assert_eq!(values, ["1000", "2000"], "in their order");
    for (run, least_ms) in runs.iter().zip([1000_u32, 2000]) {
        // No master is given up before the node timeout, so the value was in force.
        assert!(run["figures"]["promotion_ms"].as_f64().expect("a promotion") >= f64::from(least_ms), "{run}");
        let folder = run["report"].as_str().expect("a folder");
        assert!(folder.contains(&format!("/crash-cluster-node-timeout-{least_ms}-redis-6.2-")), "{folder}");
        let report = slotquake::report::read(folder.as_ref()).expect("a report");
        assert_eq!(report.header.plan.node_timeout(), Duration::from_millis(least_ms.into()));
    }
    let index = fs::read_to_string(path("reports/index.html")).expect("an index");
    for expected in [
        "<h2>crash over cluster.config.cluster-node-timeout</h2>",
        "<figcaption>time to promotion</figcaption>",
        "crash cluster-node-timeout=1000",
    ] {
        assert!(index.contains(expected), "{expected} in {index}");
    }
    // Each value is compared with itself.
    let compared = slotquake(&["compare", &path("reports"), &path("reports"), "--format", "json"]);
    assert_eq!(compared.code(), Some(0), "{}", compared.whole());
    let text = compared.stdout.clone();
    for expected in ["crash cluster-node-timeout=1000", "crash cluster-node-timeout=2000"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let table = slotquake(&["check", runs[0]["report"].as_str().expect("a folder")]);
    assert!(table.stdout.contains("crash cluster-node-timeout=1000"), "{}", table.whole());
}

#[test]
fn a_bad_value_gets_one_message_before_anything_runs() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let out = place.path().join("reports").to_str().expect("a plain path").to_owned();
    for (args, expected) in [
        (
            &["--matrix", "cluster.config.cluster-node-timeout=1000,10"][..],
            "\"10\" is not a node timeout (hint: milliseconds, from 100 to 120000)\n  --> --matrix \
             cluster.config.cluster-node-timeout=10",
        ),
        (&["--matrix", "cluster.mastres=3,5"], "--> --matrix cluster.mastres=3"),
        (&["--matrix", "cluster.masters"], "a setting and its values are needed"),
        (&["--matrix", "cluster.masters=3,,5"], "a value of `cluster.masters` is empty"),
        (&["--matrix", "cluster.masters=3,5", "--set", "cluster.masters=7"], "is in `--matrix` and in `--set`"),
        (&["--matrix", "cluster.masters=3", "--matrix", "cluster.masters=5"], "is in `--matrix` twice"),
    ] {
        let ended = slotquake(&[&["run", "formation", "--out", &out], args].concat());
        assert_eq!(ended.code(), Some(2), "{args:?}: {}", ended.whole());
        assert!(ended.stderr.contains(expected), "{expected:?} in {}", ended.whole());
        assert!(!place.path().join("reports").exists(), "nothing ran");
    }
    // A wrong path is wrong with every value.
    let ended = slotquake(&["run", "formation", "--out", &out, "--matrix", "cluster-node-timeout=1000,2000"]);
    assert_eq!(
        ended.stderr.matches("did you mean `cluster.config.cluster-node-timeout`?").count(),
        1,
        "{}",
        ended.whole()
    );
    let ended = slotquake(&["run", "formation", "--out", &out, "--matrix", "cluster.masters=many,few"]);
    assert_eq!(ended.stderr.matches("--> --matrix cluster.masters=").count(), 2, "{}", ended.whole());
}
