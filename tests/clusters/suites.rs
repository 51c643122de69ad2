//! Every shipped suite passes on real servers, is judged again with the same result, and leaves
//! nothing behind. What takes its time to break the cluster is no failure of it, and a run does not end in an outage.
//!
//! Suites run at speed with the default node timeout. Those that cut links run in real time with a shorter one, since TCP is
//! not faster at speed; so there are runs at both.

use crate::support::{
    Places, QUICK, assert_nothing_left, at_speed, begin_as, command, conclusive, fetched, skipped, slotquake,
    try_fetched, verdicts,
};
use crate::told::assert_told;
use slotquake::plan::{Need, Plan};
use slotquake::suite;

const EXERCISE: [&str; 1] = ["redis:6.2"];
/// The append-only file is one file in the first, and several with a manifest in the second.
const OLD_AND_NEW: [&str; 2] = ["redis:6.2", "valkey:9.1"];
const ALL_THREE: [&str; 3] = ["redis:6.2", "redis:7.0", "valkey:9.1"];

/// One test for each suite, and the list of their names.
macro_rules! suites {
    ($($test:ident: $name:literal on $servers:expr;)*) => {
        $(#[test] fn $test() { passes($name, &$servers); })*
        const TESTED: &[&str] = &[$($name),*];
    };
}

suites! {
    all_restart_new_addresses: "all-restart-new-addresses" on OLD_AND_NEW;
    aof_corrupt: "aof-corrupt" on OLD_AND_NEW;
    aof_truncated: "aof-truncated" on OLD_AND_NEW;
    bridge: "bridge" on EXERCISE;
    bus_only: "bus-only" on EXERCISE;
    clock_drift: "clock-drift" on OLD_AND_NEW;
    clock_jump_back: "clock-jump-back" on OLD_AND_NEW;
    clock_jump_forward: "clock-jump-forward" on OLD_AND_NEW;
    data_kinds_over_failover: "data-kinds-over-failover" on OLD_AND_NEW;
    disk_full_master: "disk-full-master" on OLD_AND_NEW;
    disk_stall_master: "disk-stall-master" on OLD_AND_NEW;
    empty_master_returns: "empty-master-returns" on ALL_THREE;
    empty_replica_returns: "empty-replica-returns" on OLD_AND_NEW;
    expiry_over_failover: "expiry-over-failover" on ALL_THREE;
    flapping: "flapping" on EXERCISE;
    formation: "formation" on EXERCISE;
    full_coverage_outage: "full-coverage-outage" on EXERCISE;
    halves: "halves" on EXERCISE;
    lossy_links: "lossy-links" on EXERCISE;
    majority_lost: "majority-lost" on EXERCISE;
    manual_failover: "manual-failover" on EXERCISE;
    master_crash: "master-crash" on EXERCISE;
    master_failover: "master-failover" on EXERCISE;
    master_freeze: "master-freeze" on ALL_THREE;
    minority_partition: "minority-partition" on ALL_THREE;
    minority_partition_min_replicas: "minority-partition-min-replicas" on EXERCISE;
    minority_partition_wait: "minority-partition-wait" on EXERCISE;
    nodes_conf_full: "nodes-conf-full" on OLD_AND_NEW;
    one_way: "one-way" on EXERCISE;
    orphan_replica: "orphan-replica" on EXERCISE;
    pod_churn: "pod-churn" on OLD_AND_NEW;
    power_loss_shard: "power-loss-shard" on ALL_THREE;
    power_loss_shard_always: "power-loss-shard-always" on OLD_AND_NEW;
    replica_lag: "replica-lag" on EXERCISE;
    replica_loss: "replica-loss" on EXERCISE;
    ring: "ring" on EXERCISE;
    role_swap: "role-swap" on ALL_THREE;
    rolling_restart: "rolling-restart" on EXERCISE;
    rolling_upgrade: "rolling-upgrade" on EXERCISE;
    shard_loss: "shard-loss" on ALL_THREE;
    shard_loss_together: "shard-loss-together" on EXERCISE;
    upgrade_and_back: "upgrade-and-back" on EXERCISE;
}

#[test]
fn tests_every_shipped_suite() {
    let mut tested = TESTED.to_vec();
    let mut shipped = suite::shipped_names();
    tested.sort_unstable();
    shipped.sort_unstable();
    assert_eq!(tested, shipped);
}

fn cuts_links(suite: &str) -> bool {
    let plan = Plan::new(&suite::load(suite).expect("it is shipped"), 1).expect("it plans");
    [Need::Links, Need::Isolate, Need::Delays].into_iter().any(|need| plan.needs_to(need))
}

fn passes(suite: &str, servers: &[&str]) {
    fetched(servers[0]);
    let mut found = vec![servers[0]];
    for server in &servers[1..] {
        match try_fetched(server) {
            Ok(_) => found.push(server),
            Err(error) => skipped(&format!("{suite} on {server}"), &error),
        }
    }
    let servers = found;
    let reports = tempfile::tempdir().expect("a temporary directory");
    let out = reports.path().to_str().expect("a plain path");
    let servers_of_it = servers.join(",");
    let args = ["run", suite, "--server", &servers_of_it, "--out", out, "--format", "json"];
    let ran = if cuts_links(suite) {
        let _place = Places::take(servers.len());
        conclusive(|| command(&[&args[..], &QUICK].concat()))
    } else {
        at_speed(&args)
    };
    if ran.code() == Some(3)
        && let Some(reason) = ran.json()["runs"][0]["reason"].as_str()
    {
        skipped(suite, reason);
        return;
    }
    assert_eq!(ran.code(), Some(0), "{suite}: {}", ran.whole());
    assert_nothing_left(ran.pid, reports.path());
    let document = ran.json();
    let runs = document["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), servers.len(), "{}", ran.whole());
    for run in runs {
        assert_eq!(run["verdict"], "pass", "{}", ran.whole());
        let folder = run["report"].as_str().expect("a run that was judged has a report");
        let checked = slotquake(&["check", folder, "--format", "json"]);
        assert_eq!(checked.code(), Some(0), "{suite}, judged again: {}", checked.whole());
        let again = checked.json();
        assert_eq!(
            again["runs"][0]["invariants"], run["invariants"],
            "{suite}: the stored history is judged otherwise"
        );
        assert!(verdicts(run).len() > 4, "{suite}: {:?}", verdicts(run));
        assert_told(folder.as_ref());
        assert_eq!(again["runs"][0]["recorded"]["verdict"], "pass", "{}", checked.whole());
        assert_eq!(again["runs"][0]["recorded"]["changed"], serde_json::json!([]), "{}", checked.whole());
    }
}

#[test]
fn a_slow_cut_leaves_times_from_it_undecided() {
    use std::os::unix::fs::PermissionsExt;

    const SUITE: &str = "minority-partition";
    fetched(EXERCISE[0]);
    let folder = tempfile::tempdir().expect("a temporary directory");
    // An nft that takes longer than the rules of the server, to put rules in force and to lift them.
    let path = std::env::var("PATH").expect("a text");
    let slow = "#!/bin/sh\nPATH=$REST_OF_PATH\ncase $* in '-f -') sleep 5 ;; esac\nexec nft \"$@\"\n";
    let nft = folder.path().join("nft");
    std::fs::write(&nft, slow).expect("it is ours");
    std::fs::set_permissions(&nft, PermissionsExt::from_mode(0o755)).expect("it is ours");
    let out = folder.path().join("reports").to_str().expect("a plain path").to_owned();
    let _place = Places::take(1);
    let mut run = command(&[&["run", SUITE, "--format", "json", "--out", &out][..], &QUICK].concat());
    run.env("PATH", format!("{}:{path}", folder.path().display())).env("REST_OF_PATH", format!("{path}:/usr/sbin"));
    let ran = begin_as(run).end();
    if let Some(reason) = ran.json()["runs"][0]["reason"].as_str() {
        skipped(SUITE, reason);
        return;
    }
    assert_eq!(ran.code(), Some(3), "{}", ran.whole());
    let run = ran.json()["runs"][0].clone();
    let open: Vec<_> = verdicts(&run).into_iter().filter(|verdict| !verdict.ends_with(": pass")).collect();
    assert!(open.iter().all(|verdict| verdict.ends_with(": inconclusive")), "{open:?}: {}", ran.whole());
    for invariant in ["write-cutoff", "failover-time"] {
        assert!(open.iter().any(|verdict| verdict.starts_with(invariant)), "{invariant}: {open:?}: {}", ran.whole());
    }
    assert!(ran.stdout.contains("the injection of the fault took "), "{}", ran.whole());
}

#[test]
fn waits_for_the_end_of_an_outage_after_the_steps() {
    // So few operations that none comes between the end of the steps and that of the recovery.
    const SUITE: &str = "
name: end
about: The steps end while writes of one shard are still refused.
workload: { rate: 10/s, reads: 0%, clients: 2 }
steps:
  - phase: baseline
  - settle: 1s
  - refuse: { between: [clients, shard-1/master], only: clients }
  - settle: 800ms
  - heal: all
invariants:
  - availability: { of: writes, shard: shard-1, max-outage: 10s }
";
    fetched(EXERCISE[0]);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [suite, out] = ["end.yaml", "reports"].map(|name| folder.path().join(name).to_str().expect("plain").to_owned());
    std::fs::write(&suite, SUITE).expect("it is ours");
    let _place = Places::take(1);
    let ran = slotquake(&[&["run", &suite, "--format", "json", "--out", &out][..], &QUICK].concat());
    let run = ran.json()["runs"][0].clone();
    match run["reason"].as_str() {
        Some(reason) => skipped("an outage at the end", reason),
        None => assert_eq!(ran.code(), Some(0), "{}", ran.whole()),
    }
}
