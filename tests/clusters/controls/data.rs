//! Data that is not what was acknowledged.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use slotquake::history::EventKind;
use slotquake::server::Server;

use super::control::{CONTROL, Control, Fail, Hold, ONLY_READS, StayOpen, one, shown};

#[test]
fn detects_data_lost_with_a_whole_shard() {
    let judgements = Control {
        config: &["appendonly: no", "save: \"\""],
        workload: ONLY_READS,
        steps: &[
            "phase: crash",
            "kill: [node-1, node-4]",
            "phase: back",
            "start: [node-1, node-4]",
            "await: { in-sync: node-4, within: 15s }",
            "await: { cluster-ok: all, within: 15s }",
        ],
        invariants: &[
            (
                "acked-writes: { may-lose: 0 }",
                Fail(&[
                    "of shard-1: 1 was issued at ",
                    "and acknowledged by node-1 at ",
                    "and the key was missing in the end (restart)",
                    "more lost",
                ]),
            ),
            ("acked-writes: { may-lose: measured }", Hold),
            ("slot-coverage: { at: end }", Hold),
            ("role: { node: node-1, is: master }", Hold),
            ("promotions: { exactly: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
    let lost = one(&judgements, "acked-writes").figures["lost"];
    assert!((150.0..250.0).contains(&lost), "a third of 600 keys was on that shard; {}", shown(&judgements));
}

/// The replica has everything, but it is not promoted, and copies the empty data set.
#[test]
fn a_master_that_returns_without_its_data_loses_writes() {
    let judgements = Control {
        workload: ONLY_READS,
        steps: &[
            "phase: down",
            "await: { in-sync: node-4, within: 15s }",
            "kill: node-1",
            "phase: back",
            "start: { node: node-1, data: lost }",
            "await: { cluster-ok: node-1, within: 15s }",
            "await: { in-sync: node-4, within: 15s }",
        ],
        invariants: &[
            (
                "acked-writes: { may-lose: 0 }",
                Fail(&[
                    "of shard-1: 1 was issued at ",
                    "and acknowledged by node-1 at ",
                    "and the key was missing in the end (data-lost)",
                    "more lost",
                ]),
            ),
            ("acked-writes: { may-lose: measured }", Hold),
            ("slot-coverage: { at: end }", Hold),
            ("role: { node: node-1, is: master }", Hold),
            ("role: { node: node-4, is: replica-of node-1 }", Hold),
            ("replica-lag: { at: end, max-bytes: 0 }", Hold),
            ("promotions: { exactly: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
    let figures = &one(&judgements, "acked-writes").figures;
    assert!((150.0..250.0).contains(&figures["lost"]), "a third of 600 keys; {}", shown(&judgements));
    assert!((figures["lost"] - figures["lost_data_lost"]).abs() < 0.5, "{}", shown(&judgements));
}

/// The same with a replica: its master has everything.
#[test]
fn a_replica_that_returns_without_its_data_loses_nothing() {
    Control {
        workload: ONLY_READS,
        steps: &[
            "phase: down",
            "kill: node-4",
            "phase: back",
            "start: { node: node-4, data: lost }",
            "await: { in-sync: node-4, within: 15s }",
        ],
        invariants: &[
            ("acked-writes: { may-lose: 0 }", Hold),
            ("replica-lag: { at: end, max-bytes: 0 }", Hold),
            ("promotions: { exactly: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

/// A directive that a start changes is by the plan, and in effect.
#[test]
fn a_node_that_returns_with_other_directives_has_them() {
    Control {
        workload: ONLY_READS,
        steps: &[
            "phase: down",
            "kill: node-4",
            "phase: back",
            "start: { node: node-4, config: { cluster-replica-no-failover: yes } }",
            "await: { in-sync: node-4, within: 15s }",
            "await: { converged: all, within: 15s }",
            "expect: { send: CONFIG GET cluster-replica-no-failover, to: node-4, contains: [\"yes\"] }",
            "expect: { send: CONFIG GET cluster-replica-no-failover, to: node-5, contains: [\"no\"] }",
        ],
        invariants: &[("acked-writes: { may-lose: 0 }", Hold)],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn names_keys_changed_by_another_client() {
    let judgements = Control {
        workload: ONLY_READS,
        steps: &[
            "phase: meddled",
            "settle: 300ms",
            "command: { send: DEL key-7, to: \"key:key-7/master\" }",
            "command: { send: SET key-8 other, to: \"key:key-8/master\" }",
            // A number that the workload could have written and did not.
            "command: { send: SET key-9 77, to: \"key:key-9/master\" }",
        ],
        invariants: &[
            (
                "acked-writes: { may-lose: 0 }",
                Fail(&[
                    "key-7 of shard-",
                    "and the key was missing in the end",
                    "key-8 of shard-",
                    "the key held `other`, which the workload never wrote",
                    "key-9 of shard-",
                ]),
            ),
            ("acked-writes: { may-lose: 2 }", Fail(&["3 lost"])),
            ("acked-writes: { may-lose: 3 }", Hold),
            ("replica-lag: { at: end, max-bytes: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
    assert!((one(&judgements, "acked-writes").figures["lost"] - 3.0).abs() < 0.5, "{}", shown(&judgements));
}

#[test]
fn detects_flushall() {
    let judgements = Control {
        workload: ONLY_READS,
        steps: &["phase: flushed", "command: { send: FLUSHALL, to: masters }"],
        invariants: &[
            ("acked-writes: { may-lose: 599 }", Fail(&["600 lost", "was missing in the end"])),
            ("acked-writes: { may-lose: 600 }", Hold),
            ("slot-coverage: { at: end }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
    let figures = &one(&judgements, "acked-writes").figures;
    assert!((figures["keys_read"] - 600.0).abs() < 0.5, "{}", shown(&judgements));
}

/// Reads find nothing where they and acknowledged writes had found values.
#[test]
fn flushall_breaks_guarantees_of_reads() {
    Control {
        workload: "{ rate: 400/s, reads: 50%, keys: 30, clients: 2 }",
        steps: &[
            "phase: flushed",
            "settle: 1s",
            "command: { send: FLUSHALL, to: node-1 }",
            "settle: 500ms",
            "command: { send: FLUSHALL, to: node-1 }",
            "settle: 500ms",
            "command: { send: FLUSHALL, to: node-1 }",
            "settle: 500ms",
        ],
        invariants: &[
            ("stale-reads: { max-age: 0s }", Fail(&["beyond the bound"])),
            ("monotonic-reads: {}", Fail(&["violate"])),
            ("read-your-writes: {}", Fail(&["violate"])),
            ("acked-writes: { may-lose: 0 }", Fail(&["lost"])),
            ("role: { node: node-1, is: master }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn a_resumed_master_loses_its_late_acknowledged_writes() {
    Control {
        workload: "{ rate: 400/s, reads: 20% }",
        steps: &[
            "phase: frozen",
            "pause: shard-1/master",
            "await: { promoted: shard-1, within: spec }",
            "phase: awake",
            "resume: node-1",
            "await: { role: node-1, is: replica-of node-4, within: spec }",
            "await: { in-sync: node-1, within: spec }",
        ],
        invariants: &[
            (
                "acked-writes: { may-lose: 0 }",
                Fail(&["of shard-1: ", "and acknowledged by node-1 at ", "and the key held ", "(stale-master)"]),
            ),
            ("role: { node: node-4, is: master }", Hold),
            ("slot-coverage: { at: end }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

/// A process that ends with the test.
pub struct Impostor(Child);

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends the server at that address and starts another one there that belongs to no cluster.
fn replace(server: &Server, addr: SocketAddr) -> Impostor {
    let client = redis::Client::open(format!("redis://{addr}")).expect("an address");
    let mut connection = client.get_connection_with_timeout(Duration::from_secs(5)).expect("the node answers");
    let info: redis::InfoDict = redis::cmd("INFO").arg("server").query(&mut connection).expect("INFO is answered");
    let pid: i32 = info.get("process_id").expect("INFO names the process");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the node runs");
    while TcpStream::connect(addr).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    occupy(server, addr)
}

/// Starts a server at that address, which is free. It belongs to no cluster.
pub fn occupy(server: &Server, addr: SocketAddr) -> Impostor {
    let mut command = slotquake::server::command(server);
    command.args(["--port", &addr.port().to_string(), "--bind", &addr.ip().to_string(), "--save", ""]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    slotquake::sandbox::tie_to_spawner(&mut command);
    let impostor = Impostor(command.spawn().expect("the server starts"));
    while TcpStream::connect(addr).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    impostor
}

#[test]
fn detects_an_impostor_of_a_replica() {
    // A replica of a cluster never takes a write. So node-4 is replaced, behind the harness's back, by
    // a server without a cluster, which takes any.
    let addr = Mutex::new(None);
    let impostor = Mutex::new(None);
    Control {
        workload: ONLY_READS,
        steps: &["phase: quiet", "settle: 300ms", "phase: replaced", "settle: 2s"],
        invariants: &[
            (
                "replica-read-only: { at: end }",
                Fail(&["node-4 accepted a write", "node-4 answered `OK`", "2 writes refused"]),
            ),
            ("acked-writes: { may-lose: 0 }", Hold),
            ("slot-coverage: { at: replaced }", Hold),
            ("slot-coverage: { at: end }", Fail(&["node-4 does not answer"])),
        ],
        own: &[
            ("recovery", Fail(&["node-4"])),
            ("servers", StayOpen(&["node-4 died of signal 9 (SIGKILL)", "somebody else did it"])),
        ],
        ..CONTROL
    }
    .is_caught_while(&|server, event| match &event.kind {
        EventKind::Booted { nodes, .. } => *addr.lock().unwrap() = Some(nodes[3].addr),
        EventKind::Phase { name } if name == "replaced" => {
            *impostor.lock().unwrap() = Some(replace(server, addr.lock().unwrap().expect("it has booted")));
        }
        _ => {}
    });
}
