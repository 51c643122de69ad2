//! The anatomy of failovers on real servers, from the logs of old and new versions.

use std::fs;
use std::path::Path;

use crate::support::{Places, QUICK, command, conclusive, fetched, slotquake};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The servers with the oldest and the newest log format.
const SERVERS: [&str; 2] = ["redis:6.2", "valkey:9.1"];

/// Runs a suite on every server. Returns the folder of the reports, which is deleted on drop, and the runs.
fn on_each_server(suite: &str) -> (TempDir, Vec<Value>) {
    for server in SERVERS {
        fetched(server);
    }
    let reports = tempfile::tempdir().expect("a temporary directory");
    let out = reports.path().to_str().expect("a plain path");
    let place = Places::take(SERVERS.len());
    let servers = SERVERS.join(",");
    let args = ["run", suite, "--server", &servers, "--out", out, "--format", "json"];
    let ran = conclusive(|| command(&[&args[..], &QUICK].concat()));
    drop(place);
    let document = ran.json();
    let runs = document["runs"].as_array().expect("runs").clone();
    assert_eq!(runs.len(), SERVERS.len(), "{}", ran.whole());
    (reports, runs)
}

#[test]
fn dissects_a_crash_by_the_logs_of_old_and_new_servers() {
    let (_reports, runs) = on_each_server("master-crash");
    for run in &runs {
        let folder = Path::new(run["report"].as_str().expect("a run that was judged has a report"));
        let report: Value = serde_json::from_slice(&fs::read(folder.join("report.json")).expect("read")).expect("JSON");
        let anatomy = &report["anatomy"][0];
        assert_dissected_by_logs(anatomy);
        assert_eq!(&run["anatomy"][0], anatomy);

        // Without logs, the anatomy relies on polling.
        fs::remove_dir_all(folder.join("logs")).expect("the logs were there");
        let checked = slotquake(&["check", folder.to_str().expect("a plain path"), "--format", "json"]);
        let polled = checked.json()["runs"][0]["anatomy"][0].clone();
        assert_eq!(polled["elections"], json!([]), "{polled:#}");
        let error_ms = anatomy["log_error_ms"].as_f64().expect("the clocks were read");
        let (polled_ms, logged_ms) = (after_ms(&polled, "promotion"), after_ms(anatomy, "promotion"));
        assert!(polled_ms >= logged_ms - error_ms, "polled later: {polled:#}");
    }
}

fn assert_dissected_by_logs(anatomy: &Value) {
    let sentence = anatomy["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("from the kill of node-1 to the first write: "), "{sentence}");
    let elections = anatomy["elections"].as_array().expect("elections");
    let won = elections.iter().find(|election| !election["won_ms"].is_null()).expect("an election was won");
    assert_eq!((&won["candidate"], &won["rank"]), (&json!("node-4"), &json!(0)), "{won:#}");
    assert!(won["delay_ms"].is_u64(), "{won:#}");
    assert_eq!(won["granted"].as_object().map(serde_json::Map::len), Some(2), "both remaining masters: {won:#}");
    let times = ["fail", "election", "promotion"].map(|what| after_ms(anatomy, what));
    assert!(times.is_sorted() && times[0] >= 900.0, "no sooner than the node timeout: {anatomy:#}");
    for milestone in anatomy["milestones"].as_array().expect("milestones") {
        if ["fail", "election", "last-vote", "promotion"].map(Value::from).contains(&milestone["what"]) {
            assert_eq!(milestone["source"], "log", "{milestone:#}");
        }
    }
    let observers = anatomy["observers"].as_object().expect("observers");
    assert_eq!(observers.len(), 5, "all but node-1: {anatomy:#}");
    for observer in observers.values() {
        let at = |what: &str| observer[what].as_f64().unwrap_or_else(|| panic!("no {what}: {observer:#}"));
        let order = ["pong_ms", "ping_ms", "fail_ms", "agreed_ms"].map(at);
        assert!(order.is_sorted(), "{observer:#}");
    }
    // The server may answer until the signal kills it.
    assert!(after_ms(anatomy, "last-pong") < times[0] - 900.0, "{anatomy:#}");
    let epoch = anatomy["milestones"].as_array().expect("milestones").iter().find(|found| found["what"] == "epoch");
    assert_eq!(epoch.expect("an epoch was taken")["node"], "node-4", "{anatomy:#}");
    assert!(anatomy["log_error_ms"].as_f64().is_some_and(|error_ms| error_ms < 1000.0), "{anatomy:#}");
}

#[test]
fn dissects_a_manual_failover_by_the_logs_of_old_and_new_servers() {
    let (_reports, runs) = on_each_server("manual-failover");
    for run in &runs {
        let anatomy = &run["anatomy"][0];
        let sentence = anatomy["sentence"].as_str().expect("a sentence");
        assert!(sentence.contains(" from CLUSTER FAILOVER to the first write: "), "{sentence}");
        assert!(sentence.contains(" until clients were paused, "), "{sentence}");
        let source = |what: &str| {
            let mut milestones = anatomy["milestones"].as_array().expect("milestones").iter();
            milestones.find(|found| found["what"] == what).map(|found| (&found["source"], &found["node"]))
        };
        let log = json!("log");
        for (what, node) in
            [("accepted", "node-4"), ("paused", "node-1"), ("offset", "node-4"), ("caught-up", "node-4")]
        {
            assert_eq!(source(what), Some((&log, &json!(node))), "{what}: {anatomy:#}");
        }
        let [election] = &anatomy["elections"].as_array().expect("elections")[..] else { panic!("{anatomy:#}") };
        assert_eq!(election["delay_ms"], 0, "a manual failover has no delay: {election:#}");
        let votes = election["granted"].as_object().map(serde_json::Map::len);
        assert_eq!(votes, Some(3), "the old master votes, too: {election:#}");
    }
}

fn after_ms(anatomy: &Value, what: &str) -> f64 {
    let milestones = anatomy["milestones"].as_array().expect("milestones");
    let found = milestones.iter().find(|milestone| milestone["what"] == what);
    found.and_then(|milestone| milestone["after_ms"].as_f64()).unwrap_or_else(|| panic!("no {what}: {anatomy:#}"))
}
