//! `examples/campaign/swarm.sh`: a campaign as a job of Docker Swarm, with two tasks on the one engine of this machine. The
//! engine is left as it was found, and not in a swarm.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use slotquake::campaign;
use slotquake::chaos::Ended;

use crate::engine::{docker, run};
use crate::support::{fetched, skipped};
use crate::turn;

/// The network that an engine makes when it enters a swarm, and keeps afterwards.
const BRIDGE: &str = "docker_gwbridge";

/// An engine in a swarm, until this is dropped.
struct Swarm {
    had_bridge: bool,
}

fn has_bridge() -> bool {
    docker(&["network", "ls", "--format", "{{.Name}}"]).lines().any(|name| name == BRIDGE)
}

impl Swarm {
    /// None if the engine is in a swarm already, which is not ours to leave.
    fn enter() -> Option<Self> {
        let state = docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]);
        if state != "inactive" {
            skipped("a campaign in a swarm", &format!("the engine is in one: {state}"));
            return None;
        }
        let swarm = Self { had_bridge: has_bridge() };
        docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"]);
        Some(swarm)
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        // It must not panic while another one unwinds.
        let _ = run("docker", &["swarm", "leave", "--force"]);
        if !self.had_bridge {
            let _ = run("docker", &["network", "rm", BRIDGE]);
        }
    }
}

/// A mount of a folder of this machine, which is not to be changed.
fn mount(from: &Path, to: &str) -> String {
    format!("--mount type=bind,src={},dst={to},readonly", from.display())
}

#[test]
fn a_swarm_does_a_campaign_in_parts() {
    let server = fetched("redis:6.2");
    let Some(_engine) = turn::alone() else { return };
    let Some(swarm) = Swarm::enter() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("a plain path");
    let binary = Path::new(env!("CARGO_BIN_EXE_slotquake"));
    // The image has a shell. slotquake and its servers are those of this machine, with its libraries.
    let mut mounts =
        vec![mount(binary, "/usr/bin/slotquake"), mount(server.path.parent().expect("a folder"), "/server")];
    mounts.extend(["/lib", "/lib64", "/usr/lib"].map(|path| mount(Path::new(path), path)));
    let name = format!("slotquake-test-{}", std::process::id());
    let server = format!("/server/{}", server.path.file_name().expect("a name").to_string_lossy());
    let ran = Command::new("examples/campaign/swarm.sh")
        .args(["2", out, "--runs", "4", "--seed", "5", "--speed", "2", "--jobs", "1", "--shrink-runs", "0"])
        .args(["--server", &server])
        .env("IMAGE", "redis:6.2")
        .env("NAME", &name)
        .env("MOUNTS", mounts.join(" "))
        .env("SLOTQUAKE", binary)
        .output()
        .expect("a shell");
    let log = fs::read_to_string(folder.path().join("swarm.log")).unwrap_or_default();
    let text = format!("{}{}\n{log}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    let services = docker(&["service", "ls", "--format", "{{.Name}}"]);
    drop(swarm);
    // On a busy machine all runs may be inconclusive. A failure would be a false alarm.
    assert!(matches!(ran.status.code(), Some(0 | 3)), "{:?}: {text}", ran.status.code());
    let mut numbers = BTreeSet::new();
    for part in [1, 2] {
        let path = folder.path().join(format!("part-{part}"));
        let campaign = campaign::read(&path).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(campaign.runs.len(), 2, "part {part}: {text}");
        assert_eq!(campaign.headers[0].shard, (part, 2), "{text}");
        assert_eq!(campaign.count(Ended::Error) + campaign.count(Ended::Skipped), 0, "{text}");
        numbers.extend(campaign.runs.iter().map(|run| run.number));
    }
    assert_eq!(numbers, BTreeSet::from([1, 2, 3, 4]), "{text}");
    let summary = fs::read_to_string(folder.path().join("all/summary.md")).expect("the parts are joined");
    assert!(summary.contains("4 runs"), "{summary}");
    // As it was found.
    assert!(!services.lines().any(|service| service == name), "{services}");
    assert_eq!(docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]), "inactive");
}
