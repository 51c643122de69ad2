//! What a run that is ended early puts back, and what the next one does for one that was killed.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::cluster::{Cluster, Kind};
use super::project::{PROJECT, Project};
use super::{assert_passes, attach, command, hooks, out, program};
use crate::support::{self, Ended, Places, Running, fetched};

/// The ledgers beside these reports.
pub fn ledgers(out: &str) -> Vec<PathBuf> {
    let folder = Path::new(out).with_file_name("state").join("attached");
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn assert_says(ended: &Ended, code: i32, expected: &[&str]) {
    assert_eq!(ended.code(), Some(code), "{}", ended.whole());
    for part in expected {
        assert!(ended.whole().contains(part), "no `{part}`: {}", ended.whole());
    }
}

/// Begins a role-swap that changes a directive besides.
fn begin_changing(cluster: &Cluster, hooks: &str, out: &str) -> Running {
    let changed = ["--hooks", hooks, "--allow-faults", "--set", "cluster.config.maxmemory=123456789", "role-swap"];
    support::begin_as(command(&cluster.seed(2), out, None, &changed))
}

#[test]
fn an_interrupted_run_undoes_its_changes() {
    let _places = Places::take(1);
    let server = fetched("redis:6.2");
    let cluster = Cluster::start(&server, &Kind::default());
    let hooks = hooks(&cluster, &server, true);
    let before = cluster.write_foreign_keys();
    for at in ["phase baseline", "waiting for shard-1 to get a new master"] {
        let (_folder, out) = out();
        let mut running = begin_changing(&cluster, &hooks, &out);
        running.until_it_says(at);
        assert_eq!(cluster.ask(2, "CONFIG GET maxmemory").expect("an answer"), "maxmemory\n123456789");
        running.signal(Signal::SIGTERM);
        let ended = running.end();
        assert_eq!(ended.code(), Some(130), "at `{at}`: {}", ended.whole());
        assert_eq!(ledgers(&out), [] as [PathBuf; 0], "at `{at}`: {}", ended.whole());
        assert_eq!(cluster.directive("maxmemory"), ["0"; 6], "at `{at}`: {}", ended.whole());
        assert_eq!(cluster.digest(), before, "at `{at}`: {}", ended.whole());
    }
}

#[test]
fn the_next_run_undoes_the_changes_of_a_killed_one() {
    let _places = Places::take(1);
    let server = fetched("redis:6.2");
    let cluster = Cluster::start(&server, &Kind::default());
    let hooks = hooks(&cluster, &server, true);
    let before = cluster.write_foreign_keys();
    let (_folder, out) = out();
    let mut running = begin_changing(&cluster, &hooks, &out);
    running.until_it_says("phase baseline");
    let second = attach(&cluster, &out, None, &["formation"]);
    assert_says(&second, 2, &["(suite \"role-swap\", process", "is running on this cluster"]);
    running.until_it_says("waiting for shard-1 to get a new master");
    running.signal(Signal::SIGKILL);
    running.end();
    assert!(cluster.ask(1, "PING").is_err(), "node-1 was stopped");
    let [ledger] = &ledgers(&out)[..] else { panic!("not one ledger: {:?}", ledgers(&out)) };
    let pending = fs::read_to_string(ledger).expect("a ledger");

    let mut gc = program(&out);
    gc.arg("gc");
    let listed = support::begin_as(gc).end().stdout;
    let stopped = format!("node-1 ({}) was stopped or paused", cluster.seed(1));
    let changed = format!("`maxmemory` of node-1 ({}) was `0`", cluster.seed(1));
    for part in ["not undone: run ", &stopped, &changed, &format!("--hooks {hooks}`")] {
        assert!(listed.contains(part), "no `{part}`: {listed}");
    }
    let by_ports = support::begin_as(command(&cluster.seed(2), &out, None, &["formation"])).end();
    assert_says(&by_ports, 2, &["must be undone first", &stopped, &format!("--hooks {hooks}`")]);
    let broken = ledger.with_file_name("broken.json");
    fs::write(&broken, &pending[..pending.len() / 2]).expect("a file");
    let unread = attach(&cluster, &out, None, &["formation"]);
    assert_says(&unread, 69, &["broken.json` lists the changes of a run on a cluster, but cannot be read: EOF"]);
    fs::remove_file(&broken).expect("a file");
    assert_eq!(cluster.ask(2, "CONFIG GET maxmemory").expect("an answer"), "maxmemory\n123456789");
    assert!(cluster.ask(1, "PING").is_err() && fs::read_to_string(ledger).expect("a ledger") == pending);

    // The only seed is the stopped node.
    let ended = attach(&cluster, &out, None, &["formation", "--hooks", &hooks]);
    assert_passes(&ended);
    assert_says(
        &ended,
        0,
        &["was killed: undoing its changes first", &format!("({}) is running again", cluster.seed(1))],
    );
    assert_eq!(cluster.directive("maxmemory"), ["0"; 6], "{}", ended.whole());
    assert_eq!(cluster.digest(), before, "{}", ended.whole());
    assert_eq!(ledgers(&out), [] as [PathBuf; 0], "{}", ended.whole());

    // Other nodes use the addresses of a killed run.
    let of_others = (1..=6).fold(pending, |pending, node| {
        let id = cluster.ask(node, "CLUSTER MYID").expect("an id");
        pending.replace(&id, &format!("{node:040}"))
    });
    fs::write(ledger, of_others).expect("a file");
    cluster.ask(2, "CONFIG SET maxmemory 1073741824").expect("it is set");
    let ended = attach(&cluster, &out, None, &["formation", "--hooks", &hooks]);
    assert_passes(&ended);
    assert_says(&ended, 0, &["its cluster is gone: other nodes use its addresses; they are left as they are"]);
    assert_eq!(cluster.ask(2, "CONFIG GET maxmemory").expect("an answer"), "maxmemory\n1073741824");
    assert_eq!(ledgers(&out), [] as [PathBuf; 0], "{}", ended.whole());
}

/// What a killed run has frozen in a Compose project is woken by the next, which need not be allowed faults.
pub fn a_frozen_container_is_woken(before: &[String]) {
    let (_folder, out) = out();
    let compose = |more: &[&str]| {
        let mut command = program(&out);
        command.args(["run", "--backend", "attach", "--compose", PROJECT, "--format", "json", "--out", &out]);
        command.args(more);
        support::begin_as(command)
    };
    let keys = || -> Vec<String> { (1..=6).map(|node| Project::cli(node, &["dbsize"])).collect() };
    let had = keys();
    let mut running = compose(&[&["master-freeze", "--allow-faults"][..], &support::QUICK].concat());
    running.until_it_says("waiting for shard-1 to get a new master");
    running.signal(Signal::SIGKILL);
    running.end();
    assert_ne!(Project::containers(), before);
    let ended = compose(&["formation"]).end();
    assert_passes(&ended);
    assert_eq!(Project::containers(), before, "{}", ended.whole());
    assert_eq!(ledgers(&out), [] as [PathBuf; 0], "{}", ended.whole());
    let timeout = Project::cli(1, &["config", "get", "cluster-node-timeout"]);
    assert_eq!(timeout, "cluster-node-timeout\n5000", "{}", ended.whole());
    assert_eq!(keys(), had, "{}", ended.whole());
}
