//! The docker backend on a real engine: the shipped suites' verdicts are those of the local backend, and nothing
//! of ours stays, whatever ends a run, while nothing of others is touched.

mod support;

use std::collections::BTreeSet;
use std::env;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::Signal;
use serde_json::Value;

use support::{QUICK, begin, fetched, slotquake, verdicts};

/// What one test removes, another must not be looking for.
static ALONE: Mutex<()> = Mutex::new(());

/// The engine for one test alone, with the images built; None, with the reason printed, where there is none.
fn engine() -> Option<MutexGuard<'static, ()>> {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = Command::new("docker").arg("version").output();
    let refused = match &answer {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("docker: {error}")),
    };
    if let Some(reason) = refused {
        assert!(env::var_os("SLOTQUAKE_REQUIRE_ALL").is_none(), "no container engine: {reason}");
        eprintln!("skipped: no container engine: {reason}");
        return None;
    }
    let built = Command::new("ci/images").output().expect("bash runs");
    assert!(built.status.success(), "ci/images: {}", String::from_utf8_lossy(&built.stderr));
    Some(alone)
}

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("docker runs");
    assert!(output.status.success(), "docker {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The names of all that a harness made and that is still there.
fn left_by(pid: u32) -> Vec<String> {
    let owner = format!("label=slotquake.owner.pid={pid}");
    [
        docker(&["ps", "-a", "--filter", &owner, "--format", "{{.Names}}"]),
        docker(&["network", "ls", "--filter", &owner, "--format", "{{.Name}}"]),
        docker(&["volume", "ls", "--filter", &owner, "--format", "{{.Name}}"]),
    ]
    .iter()
    .flat_map(|text| text.lines().map(str::to_owned))
    .collect()
}

fn run<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--backend", "docker", "--format", "json", "--out", out], &QUICK[..], more].concat()
}

fn out() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().join("reports").to_str().expect("a plain path").to_owned();
    (folder, out)
}

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

#[test]
fn a_signal_leaves_a_report_and_nothing_else() {
    let Some(_engine) = engine() else { return };
    for at in ["phase boot", "waiting for promoted: shard-1"] {
        let (_folder, out) = out();
        let mut running = begin(&run(&out, &["role-swap"]));
        running.until_it_says(at);
        running.signal(Signal::SIGTERM);
        let ended = running.end();
        assert_eq!((ended.code(), left_by(ended.pid)), (Some(130), vec![]), "at `{at}`: {}", ended.whole());
    }
}

#[test]
fn what_a_killed_run_left_is_removed_and_nothing_else() {
    let Some(_engine) = engine() else { return };
    let tool = "--label=slotquake.tool=slotquake";
    // Names that confuse, a label alone, and an owner on another system.
    docker(&["run", "-d", "--name", "slotquake-deadbeef-node-1", "redis:6.2", "sleep", "600"]);
    docker(&["run", "-d", "--name", "slotquake-test-tool", tool, "redis:6.2", "sleep", "600"]);
    let elsewhere = [tool, "--label=slotquake.run=deadbeef", "--label=slotquake.owner.pid=4194304"];
    let elsewhere =
        [&elsewhere[..], &["--label=slotquake.owner.started=1", "--label=slotquake.owner.system=x"]].concat();
    let create = ["run", "-d", "--name", "slotquake-test-elsewhere"];
    docker(&[&create[..], &elsewhere, &["redis:6.2", "sleep", "600"]].concat());
    docker(&["network", "create", "slotquake-foreign"]);
    docker(&["volume", "create", "slotquake-deadbeef-node-1-data"]);
    let foreign = || {
        let containers = docker(&["ps", "--format", "{{.Names}}"]);
        let networks = docker(&["network", "ls", "--format", "{{.Name}}"]);
        let volumes = docker(&["volume", "ls", "--format", "{{.Name}}"]);
        ["slotquake-deadbeef-node-1", "slotquake-test-tool", "slotquake-test-elsewhere"]
            .iter()
            .all(|name| containers.lines().any(|line| line == *name))
            && networks.lines().any(|line| line == "slotquake-foreign")
            && volumes.lines().any(|line| line == "slotquake-deadbeef-node-1-data")
    };

    let (_folder, reports) = out();
    let mut killed = begin(&run(&reports, &["minority-partition"]));
    killed.until_it_says("waiting for promoted: shard-1");
    let (_other_folder, other_reports) = out();
    let mut alive = begin(&run(&other_reports, &["role-swap"]));
    alive.until_it_says("cluster of 6 nodes is ready");
    killed.signal(Signal::SIGKILL);
    let killed = killed.end();
    let left = left_by(killed.pid);
    let collected = slotquake(&["gc"]);
    let (still_left, is_untouched) = (left_by(killed.pid), foreign());
    let lives = alive.end();

    docker(&["rm", "-f", "slotquake-deadbeef-node-1", "slotquake-test-tool", "slotquake-test-elsewhere"]);
    docker(&["network", "rm", "slotquake-foreign"]);
    docker(&["volume", "rm", "slotquake-deadbeef-node-1-data"]);
    // Twelve containers, the network and six volumes; sidecars end by themselves.
    assert!(left.len() >= 19, "it was killed, so it should have left all it had: {left:?}");
    assert_eq!((collected.code(), still_left), (Some(0), vec![]), "{}", collected.whole());
    assert!(collected.stdout.contains("left alone: 1 runs that are under way"), "{}", collected.whole());
    assert!(is_untouched, "{}", collected.whole());
    assert_eq!((lives.code(), left_by(lives.pid)), (Some(0), vec![]), "{}", lives.whole());
}

#[test]
fn what_cannot_run_is_said_in_one_message() {
    let Some(_engine) = engine() else { return };
    let (_folder, out) = out();
    for (args, code, words) in [
        (
            vec!["role-swap", "--image", "slotquake-test.invalid/none:1"],
            70,
            vec!["slotquake-test.invalid/none:1", "ci/images"],
        ),
        (vec!["role-swap", "--image", "slotquake-netfault:1"], 2, vec!["neither a Redis nor a Valkey server"]),
        (vec!["role-swap", "--server", "/usr/bin/redis-server"], 2, vec!["not in any image", "hint: "]),
        (vec!["bus-only", "--netfault-image", "none:1"], 3, vec!["skipped: bus-only", "docker/netfault.Dockerfile"]),
        (vec!["role-swap", "--set", "cluster.config.nonsense=1"], 2, vec!["FATAL CONFIG FILE ERROR", "nonsense 1"]),
    ] {
        let ended = slotquake(&run(&out, &args));
        assert_eq!((ended.code(), left_by(ended.pid)), (Some(code), vec![]), "{args:?}: {}", ended.whole());
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {}", ended.whole());
    }
}

#[test]
fn an_engine_that_is_not_there_is_said_with_a_hint() {
    let (_folder, out) = out();
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotquake"));
    command.args(run(&out, &["role-swap"])).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let ended = support::begin_as(command).end();
    assert_eq!(ended.code(), Some(70), "{}", ended.whole());
    for words in ["no container engine answers", "/nonexistent/docker.sock", "hint: "] {
        assert!(ended.stderr.contains(words), "no `{words}`: {}", ended.whole());
    }
}
