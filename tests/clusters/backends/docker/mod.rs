//! The docker backend on a real engine: the shipped suites' verdicts are those of the local backend, and nothing
//! of ours stays, whatever ends a run, while nothing of others is touched.

mod changes;
mod crash;
mod files;
mod isolation;
mod kept;
mod leftovers;
mod library;
mod messages;
mod programs;
mod reach;
mod stand_in;
mod verdicts;

use std::process::Command;

use crate::engine::docker;
use crate::support::{Ended, QUICK, Running, begin_as};

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
    begin_as(command_through(stand_in, args))
}

fn command_through(stand_in: &stand_in::StandIn, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotquake"));
    command.args(args).env("DOCKER_HOST", stand_in.host());
    command
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
