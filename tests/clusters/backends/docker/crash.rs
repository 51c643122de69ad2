//! A server that crashes in its container, without any fault of the suite.

use super::{left_by, out, run, suite};
use crate::engine::docker;
use crate::support::begin;
use crate::turn;

/// Docker sends the signal from outside of the container: within it, a server is process 1.
#[test]
fn a_crash_in_a_container_fails_and_is_named() {
    let Some(_engine) = turn::shared(1) else { return };
    let (folder, out) = out();
    let suite = suite(&folder, "  - settle: 300ms\n  - phase: meddled\n  - settle: 4s\nrecover-within: 2s\n");
    let mut running = begin(&run(&out, &[&suite]));
    running.until_it_says("phase meddled");
    let pid = running.pid();
    let owner = format!("label=slotquake.owner.pid={pid}");
    let names = docker(&["ps", "--filter", &owner, "--format", "{{.Names}}"]);
    let node_4 = names.lines().find(|name| name.ends_with("-node-4")).expect("its container runs");
    docker(&["kill", "--signal", "SEGV", node_4]);
    let ended = running.end();
    assert_eq!((ended.code(), left_by(pid)), (Some(1), vec![]), "{}", ended.whole());
    let servers = ended.json()["runs"][0]["invariants"]
        .as_array()
        .and_then(|all| all.iter().find(|each| each["invariant"] == "servers").cloned())
        .unwrap_or_else(|| panic!("servers are judged: {}", ended.whole()));
    assert_eq!(servers["verdict"], "fail", "{servers}");
    let seen = servers["seen"].as_str().unwrap_or_default();
    assert!(seen.contains("node-4 died of signal 11 (SIGSEGV) at "), "{servers}");
    assert!(seen.contains("no fault explains it"), "{servers}");
    assert!(servers["evidence"].to_string().contains("crashed by signal: "), "{servers}");
}
