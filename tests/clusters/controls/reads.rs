//! Data that somebody changes behind the harness's back while the workload writes every key again, and servers that
//! stall: what only reads and the times of answers can show.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use slotquake::history::{Event, EventKind, key_name};
use slotquake::plan::Plan;
use slotquake::server::Server;
use slotquake::suite;
use slotquake::units::ShardNo;

use super::control::{CONTROL, Control, Fail, Hold, StayOpen};

/// Every key is written again about each 0.6 s, and read as often.
const BUSY: &str = "{ rate: 2000/s, reads: 50%, keys: 600, read-from: master }";

/// The master of shard-1 at boot.
fn first_master(event: &Event) -> Option<SocketAddr> {
    let EventKind::Booted { nodes, .. } = &event.kind else { return None };
    nodes.iter().find(|node| node.boots_as_master && node.shard == ShardNo(1)).map(|node| node.addr)
}

/// Sends inline commands over one connection and reads their answers.
pub fn send(addr: SocketAddr, commands: &[String]) {
    let mut stream = TcpStream::connect(addr).expect("the master accepts connections");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    for command in commands {
        stream.write_all(format!("{command}\r\n").as_bytes()).expect("the master reads");
        let mut answer = [0; 512];
        let length = stream.read(&mut answer).expect("the master answers");
        assert!(length > 0 && answer[0] != b'-', "{command}: {}", String::from_utf8_lossy(&answer[..length]));
    }
}

/// Acts on the master of shard-1 once, 300 ms after the phase `meddled` begins.
pub fn meddle(act: impl Fn(SocketAddr) + Send + Sync) -> impl Fn(&Server, &Event) + Sync {
    let master = Mutex::new(None);
    move |_: &Server, event: &Event| {
        if let Some(addr) = first_master(event) {
            *master.lock().expect("no holder panics") = Some(addr);
        }
        if matches!(&event.kind, EventKind::Phase { name } if name == "meddled") {
            std::thread::sleep(Duration::from_millis(300));
            act(master.lock().expect("no holder panics").expect("it booted before"));
        }
    }
}

/// The names of the workload's keys in shard-1.
fn keys_of_first_shard() -> Vec<String> {
    let deal = Plan::new(&suite::load("formation").expect("a suite"), 1).expect("a plan").deal();
    (0..600).map(key_name).filter(|name| deal.shard_of_key(name.as_bytes()) == ShardNo(1)).collect()
}

const STEPS: &[&str] = &["phase: before", "settle: 1s", "phase: meddled", "settle: 3s"];

#[test]
fn a_flushed_master_fails_though_every_key_is_written_again() {
    Control {
        workload: BUSY,
        steps: STEPS,
        invariants: &[
            ("acked-writes: { may-lose: 0 }", Fail(&["keys lost", "lost and overwritten", "read no value of key-"])),
            ("linearizable: { keys: all }", Fail(&["key-"])),
            ("stale-reads: { from: masters, max-age: 0s }", Fail(&["key-"])),
            ("read-your-writes: { reads-from: master }", Fail(&["key-"])),
            ("monotonic-reads: { reads-from: master }", Fail(&["key-"])),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(|master| send(master, &["FLUSHALL".to_owned()])));
}

#[test]
fn an_undisturbed_master_is_linearizable() {
    Control {
        workload: BUSY,
        steps: STEPS,
        invariants: &[
            ("acked-writes: { may-lose: 0 }", Hold),
            ("linearizable: { keys: all }", Hold),
            ("stale-reads: { from: masters, max-age: 0s }", Hold),
            ("read-your-writes: { reads-from: master }", Hold),
            ("monotonic-reads: { reads-from: master }", Hold),
            ("monotonic-writes: { reads-from: master }", Hold),
            ("latency: { of: all, p50: 200ms, p99: 500ms, p999: 1s, max: 2s }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn an_old_value_fails() {
    Control {
        workload: BUSY,
        steps: STEPS,
        invariants: &[
            ("acked-writes: { may-lose: 0 }", Fail(&["key-"])),
            ("linearizable: { keys: all }", Fail(&["key-"])),
            ("stale-reads: { from: masters, max-age: 0s }", Fail(&["key-"])),
            ("availability: { of: writes, served: always }", Hold),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(|master| {
        let old = |key: &String| format!("SET {key} \"1 {}\"", ".".repeat(30));
        send(master, &keys_of_first_shard().iter().map(old).collect::<Vec<_>>());
    }));
}

#[test]
fn a_foreign_value_fails() {
    Control {
        workload: BUSY,
        steps: STEPS,
        invariants: &[
            ("acked-writes: { may-lose: 0 }", Fail(&["key-"])),
            ("linearizable: { keys: all }", Fail(&["key-"])),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(|master| {
        let foreign = |key: &String| format!("SET {key} hello");
        send(master, &keys_of_first_shard().iter().map(foreign).collect::<Vec<_>>());
    }));
}

/// Three of the four clients write each key, and a key is written about each 60 ms: writes of one key are concurrent.
const SEVERAL: &str = "{ rate: 2000/s, reads: 50%, keys: 60, writers: 3, read-from: master }";

#[test]
fn an_undisturbed_master_with_several_writers_is_linearizable() {
    let judgements = Control {
        workload: SEVERAL,
        steps: STEPS,
        invariants: &[
            ("acked-writes: { may-lose: 0 }", Hold),
            ("linearizable: { keys: all }", Hold),
            ("stale-reads: { from: masters, max-age: 0s }", Hold),
            ("read-your-writes: { reads-from: master }", Hold),
            ("monotonic-reads: { reads-from: master }", Hold),
            ("monotonic-writes: { reads-from: master }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
    let judged = judgements.iter().find(|each| each.invariant == "linearizable").expect("it was judged");
    assert!(judged.seen.contains("0 of 60 keys"), "{}", judged.seen);
}

#[test]
fn a_flushed_master_with_several_writers_fails() {
    Control {
        workload: SEVERAL,
        steps: STEPS,
        invariants: &[
            ("acked-writes: { may-lose: 0 }", Fail(&["lost and overwritten", "read no value of key-"])),
            ("linearizable: { keys: all }", Fail(&["key-"])),
            ("stale-reads: { from: masters, max-age: 0s }", Fail(&["key-"])),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(|master| send(master, &["FLUSHALL".to_owned()])));
}

#[test]
fn an_old_value_among_several_writers_fails() {
    Control {
        workload: SEVERAL,
        steps: STEPS,
        invariants: &[
            ("acked-writes: { may-lose: 0 }", Fail(&["key-"])),
            ("linearizable: { keys: all }", Fail(&["key-"])),
            ("stale-reads: { from: masters, max-age: 0s }", Fail(&["key-"])),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(|master| {
        let few = keys_of_first_shard().into_iter().filter(|name| (0..60).map(key_name).any(|key| key == *name));
        send(master, &few.map(|key| format!("SET {key} \"1 {}\"", ".".repeat(30))).collect::<Vec<_>>());
    }));
}

/// A master that sleeps for 0.9 s serves everything in the end. No bound below that may pass.
#[test]
fn a_stall_of_less_than_a_second_is_seen() {
    Control {
        steps: STEPS,
        invariants: &[
            ("availability: { of: writes, shard: shard-1, max-outage: 100ms }", Fail(&["longest stall"])),
            ("availability: { of: reads, shard: shard-1, max-outage: 500ms }", Fail(&["longest stall"])),
            ("availability: { of: writes, shard: shard-1, max-outage: 0s }", Fail(&["longest stall"])),
            ("availability: { of: writes, shard: shard-1, max-outage: 1s }", Hold),
            ("availability: { of: writes, shard: shard-1, served: always }", Hold),
            ("availability: { of: writes, shard: shard-1, served: always, patience: 300ms }", Fail(&["longest stall"])),
            ("availability: { of: writes, shard: shard-2, served: always }", Hold),
            (
                "latency: { of: writes, shard: shard-1, max: 500ms }",
                Fail(&["shard-1: ", "max ", "answered by node-1 after"]),
            ),
            ("latency: { of: reads, shard: shard-1, p99: 300ms }", Fail(&["shard-1: ", "p99 "])),
            ("latency: { of: all, shard: all, max: 500ms }", Fail(&["shard-3: ", "answered by node-1"])),
            ("latency: { of: all, shard: shard-1, p99: 1s, max: 1s }", Hold),
            ("latency: { of: all, shard: shard-2, p99: 200ms, max: 500ms }", Hold),
            ("latency: { of: writes, shard: shard-1, during: before, p50: 100ms, max: 500ms }", Hold),
            ("latency: { of: writes, shard: shard-1, p999: 1s }", StayOpen(&["p999 needs 1000 writes"])),
        ],
        workload: "{ rate: 400/s, reads: 50%, read-from: master }",
        ..CONTROL
    }
    .is_caught_while(&meddle(|master| send(master, &["DEBUG SLEEP 0.9".to_owned()])));
}

#[test]
fn a_freeze_of_seconds_fails_every_smaller_bound() {
    Control {
        // Otherwise the replica would take over within the freeze.
        config: &["cluster-replica-no-failover: yes"],
        steps: &["phase: before", "settle: 1s", "phase: meddled", "settle: 4s"],
        invariants: &[
            ("availability: { of: writes, shard: shard-1, max-outage: 0s }", Fail(&["longest outage 2."])),
            ("availability: { of: writes, shard: shard-1, max-outage: 2s }", Fail(&["longest outage 2."])),
            ("availability: { of: writes, shard: shard-1, max-outage: 2900ms }", Hold),
            ("availability: { of: writes, shard: shard-1, served: always }", Fail(&["longest outage 2."])),
            ("availability: { of: reads, shard: shard-1, served: always }", Fail(&["longest outage 2."])),
        ],
        workload: "{ rate: 400/s, reads: 50%, read-from: master }",
        ..CONTROL
    }
    .is_caught_while(&meddle(|master| send(master, &["DEBUG SLEEP 2.4".to_owned()])));
}
