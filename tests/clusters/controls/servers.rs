//! Servers that somebody else ends, restarts or configures behind the harness's back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use slotquake::history::{Event, EventKind};
use slotquake::server::Server;

use super::control::{CONTROL, Control, Fail, Hold, StayOpen};

/// The process and the address of each node, as far as the events tell.
#[derive(Default)]
struct Known {
    pids: BTreeMap<u16, u32>,
    addrs: BTreeMap<u16, SocketAddr>,
}

/// Calls `meddle` with what is known of the nodes when the phase `meddled` begins.
fn when_meddled(meddle: impl Fn(&Known) + Sync) -> impl Fn(&Server, &Event) + Sync {
    let known = Mutex::new(Known::default());
    move |_, event| {
        let mut known = known.lock().unwrap();
        match &event.kind {
            EventKind::ServerSeen { node, pid, .. } => _ = known.pids.insert(node.0, *pid),
            EventKind::Booted { nodes, .. } => known.addrs.extend(nodes.iter().map(|info| (info.node.0, info.addr))),
            EventKind::Phase { name } if name == "meddled" => meddle(&known),
            _ => {}
        }
    }
}

fn signal(known: &Known, node: u16, signal: Signal) {
    kill(Pid::from_raw(known.pids[&node].cast_signed()), signal).expect("the node runs");
}

fn send(known: &Known, node: u16, words: &[&str]) {
    let client = redis::Client::open(format!("redis://{}", known.addrs[&node])).expect("an address");
    let mut connection = client.get_connection_with_timeout(Duration::from_secs(5)).expect("the node answers");
    let mut command = redis::cmd(words[0]);
    // A server that restarts answers nothing.
    let _ = command.arg(&words[1..]).exec(&mut connection);
}

const MEDDLED: Control = Control {
    steps: &["phase: quiet", "settle: 300ms", "phase: meddled", "settle: 2s"],
    invariants: &[("acked-writes: { may-lose: 0 }", Hold)],
    ..CONTROL
};

#[test]
fn a_crash_fails_and_is_named() {
    Control {
        own: &[
            (
                "servers",
                Fail(&[
                    "node-4 died of signal 11 (SIGSEGV) at ",
                    "no fault explains it",
                    "BUG REPORT START",
                    "crashed by signal: 11",
                ]),
            ),
            ("recovery", Fail(&["node-4"])),
        ],
        ..MEDDLED
    }
    .is_caught_while(&when_meddled(|known| signal(known, 4, Signal::SIGSEGV)));
}

#[test]
fn a_kill_from_outside_proves_nothing() {
    Control {
        own: &[
            ("servers", StayOpen(&["node-4 died of signal 9 (SIGKILL) at ", "somebody else did it"])),
            ("recovery", Fail(&["node-4"])),
        ],
        ..MEDDLED
    }
    .is_caught_while(&when_meddled(|known| signal(known, 4, Signal::SIGKILL)));
}

/// The restart takes some milliseconds, so that nothing else shows it.
#[test]
fn a_restart_from_outside_proves_nothing() {
    Control { own: &[("servers", StayOpen(&["node-4 was restarted at ", "no fault explains it"]))], ..MEDDLED }
        .is_caught_while(&when_meddled(|known| send(known, 4, &["DEBUG", "RESTART"])));
}

#[test]
fn a_directive_set_from_outside_is_named() {
    Control {
        own: &[(
            "servers",
            StayOpen(&["node-4 has `cluster-replica-no-failover yes` at ", "not no", "starts a failover by itself"]),
        )],
        ..MEDDLED
    }
    .is_caught_while(&when_meddled(|known| {
        send(known, 4, &["CONFIG", "SET", "cluster-replica-no-failover", "yes"]);
    }));
}

/// Faults of every kind that ends a process, and a command that does.
#[test]
fn ends_of_the_plan_are_explained() {
    Control {
        steps: &[
            "phase: down",
            "kill: node-4",
            "settle: 300ms",
            "start: node-4",
            "stop: node-5",
            "pause: node-6",
            "settle: 500ms",
            "start: node-5",
            "kill: node-6",
            "settle: 300ms",
        ],
        invariants: &[("promotions: { exactly: 0 }", Hold)],
        ..CONTROL
    }
    .is_caught();
}
