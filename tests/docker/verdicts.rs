//! The shipped suites in containers are judged as on the local backend.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{QUICK, fetched, slotquake, verdicts};
use crate::{engine, left_by, out, run};

#[test]
fn suites_pass_in_containers_and_leave_nothing() {
    let Some(_engine) = engine() else { return };
    let (_folder, out) = out();
    let suites = ["formation", "role-swap", "shard-loss", "master-freeze", "minority-partition", "bus-only"];
    let servers = ["redis:6.2", "valkey:9.1"];
    // They mostly wait, but twelve containers start for each.
    let args = [&suites[..], &["--server", "redis:6.2,valkey:9.1", "--jobs", "2"]].concat();
    let ended = slotquake(&run(&out, &args));
    let document = ended.json();
    let runs = document["runs"].as_array().expect("runs");
    let found: BTreeSet<(&str, &str, &str)> = runs
        .iter()
        .map(|run| ["suite", "server", "verdict"].map(|key| run[key].as_str().unwrap_or("?")).into())
        .collect();
    let expected = suites.iter().flat_map(|suite| servers.map(|server| (*suite, server, "pass"))).collect();
    assert_eq!(found, expected, "{}", ended.whole());
    assert_eq!((ended.code(), left_by(ended.pid)), (Some(0), vec![]), "{}", ended.whole());
    for run in runs {
        let folder = run["report"].as_str().expect("a folder");
        let log = std::fs::read_to_string(format!("{folder}/logs/node-4.log")).expect("a log");
        assert!(log.contains("Ready to accept connections"), "{log}");
        let report = slotquake::report::read(folder.as_ref()).expect("a report");
        assert_eq!(report.header.host.backend, "docker");
    }
}

#[test]
fn the_judgements_are_those_of_the_local_backend() {
    let Some(_engine) = engine() else { return };
    fetched("redis:6.2");
    let (_folder, out) = out();
    let contained = slotquake(&run(&out, &["role-swap", "--keep"]));
    let local = slotquake(&[&["run", "role-swap", "--format", "json", "--out", &out], &QUICK[..]].concat());
    let [ours, theirs] = [&contained, &local].map(|ended| ended.json()["runs"][0].clone());
    assert_eq!(verdicts(&ours), verdicts(&theirs), "{}\n{}", contained.whole(), local.whole());
    let kinds = |run: &Value| -> Vec<String> {
        let figures = run["figures"].as_object().expect("figures");
        figures.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(kinds(&ours), kinds(&theirs));
    let kept = std::fs::metadata(format!("{}/data/node-1.tar", ours["report"].as_str().unwrap()));
    assert!(kept.is_ok_and(|file| file.len() > 1000), "--keep keeps the data");
}
