//! The docker backend on a real engine: the shipped suites' verdicts are those of the local backend, and nothing
//! of ours stays, whatever ends a run, while nothing of others is touched.

#[path = "../support/mod.rs"]
mod support;

mod isolation;
mod kept;
mod leftovers;
mod messages;
mod reach;
mod stand_in;
mod verdicts;

use std::env;
use std::process::Command;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use support::{Ended, Places, QUICK, Running, begin_as};

/// A test that removes what dead runs left must not run beside one that looks for it.
static ENGINE: RwLock<()> = RwLock::new(());

/// The engine, shared with at most one other test, with the images built. None, with the reason printed, if there is
/// no engine.
fn engine() -> Option<(RwLockReadGuard<'static, ()>, Places)> {
    let shared = ENGINE.read().unwrap_or_else(PoisonError::into_inner);
    let places = Places::take(2);
    answers().then_some((shared, places))
}

/// The engine for one test alone.
fn engine_alone() -> Option<RwLockWriteGuard<'static, ()>> {
    let alone = ENGINE.write().unwrap_or_else(PoisonError::into_inner);
    answers().then_some(alone)
}

/// Builds the images. False, with the reason printed, if there is no engine.
fn answers() -> bool {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = Command::new("docker").arg("version").output();
    let refused = match &answer {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("docker: {error}")),
    };
    if let Some(reason) = refused {
        assert!(env::var_os("SLOTQUAKE_REQUIRE_ALL").is_none(), "no container engine: {reason}");
        eprintln!("skipped: no container engine: {reason}");
        return false;
    }
    let built = Command::new("ci/images").output().expect("bash runs");
    assert!(built.status.success(), "ci/images: {}", String::from_utf8_lossy(&built.stderr));
    true
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

/// Runs a command of ours with a stand-in between it and the engine.
fn through(stand_in: &stand_in::StandIn, args: &[&str]) -> Ended {
    begin_through(stand_in, args).end()
}

fn begin_through(stand_in: &stand_in::StandIn, args: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotquake"));
    command.args(args).env("DOCKER_HOST", stand_in.host());
    begin_as(command)
}

/// Writes a suite that does next to nothing beside its steps, and returns its path.
fn suite(folder: &tempfile::TempDir, steps: &str) -> String {
    let path = folder.path().join("own.yaml");
    let text = format!(
        "name: own\nabout: A suite of a test.\nworkload: {{ rate: 200/s, clients: 2, keys: 100 }}\nsteps:\n  \
         - phase: steps\n{steps}invariants:\n  - slot-coverage: {{ at: end }}\n"
    );
    std::fs::write(&path, text).expect("a suite is written");
    path.to_str().expect("a plain path").to_owned()
}
