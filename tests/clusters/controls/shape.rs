//! Clusters of a wrong shape: slots, roles, and who knows whom.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use slotquake::history::{EventKind, NodeInfo};

use super::control::{CONTROL, Control, Fail, FailSaying, Hold, ONLY_READS, WRITES, forgetting_stays};

#[test]
fn detects_an_unowned_slot() {
    Control {
        steps: &["phase: lost", "command: { send: CLUSTER DELSLOTS 100, to: all }", "settle: 1s"],
        invariants: &[
            ("slot-coverage: { at: end }", Fail(&["node-1 sees 16383 slots assigned", "no master claims slots 100"])),
            ("slot-coverage: { at: throughout }", Fail(&["16383 slots assigned", "slots were not covered"])),
            ("slot-coverage: { at: lost }", Fail(&["16383 slots assigned"])),
            ("acked-writes: { may-lose: 0 }", Hold),
            ("redirects: { at: end }", Hold),
            ("role: { node: node-4, is: replica-of node-1 }", Hold),
        ],
        own: &[("recovery", Fail(&["16383 slots assigned"]))],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn names_two_masters_that_claim_one_slot() {
    // node-1 forgets who owns slot 16000 (for 60 s) and takes it; the owner knows nothing of it.
    Control {
        workload: ONLY_READS,
        steps: &[
            "phase: claimed",
            "command: { send: \"CLUSTER FORGET {id:node-3}\", to: node-1 }",
            "command: { send: CLUSTER ADDSLOTS 16000, to: node-1 }",
            "settle: 1s",
        ],
        invariants: &[
            (
                "slot-coverage: { at: end }",
                // Where all nodes forget node-3, its slots belong to nobody.
                FailSaying(&["slots 16000 are claimed by node-1, node-3"], forgetting_stays),
            ),
            ("agreement: { within: 1s }", Fail(&["node-1"])),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        own: &[("recovery", Fail(&["node-1"]))],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn a_forgotten_node_breaks_agreement() {
    Control {
        steps: &["phase: forgotten", "command: { send: \"CLUSTER FORGET {id:node-6}\", to: node-2 }", "settle: 1s"],
        invariants: &[
            ("agreement: { within: 1s }", Fail(&["node-6", "unknown"])),
            // Nothing else knows of it.
            ("slot-coverage: { at: end }", Hold),
            ("role: { node: node-6, is: replica-of node-3 }", Hold),
            ("replicas: { shard: shard-3, exactly: 1 }", Hold),
            ("replica-lag: { at: end, max-bytes: 0 }", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        own: &[("recovery", FailSaying(&["node-2 reports 5 known nodes of 6"], forgetting_stays))],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn a_moved_replica_has_another_role() {
    Control {
        steps: &[
            "phase: moved",
            "command: { send: \"CLUSTER REPLICATE {id:node-2}\", to: node-4 }",
            "await: { in-sync: node-4, within: 15s }",
        ],
        invariants: &[
            ("role: { node: node-4, is: replica-of node-1 }", Fail(&["node-4 is a replica of node-2"])),
            ("role: { node: node-4, is: replica-of node-1, at: moved }", Fail(&["a replica of node-2"])),
            ("role: { node: node-4, is: replica-of node-1, at: throughout }", Fail(&["a replica of node-2"])),
            ("role: { node: node-4, is: replica-of node-2 }", Hold),
            ("role: { node: node-4, is: replica }", Hold),
            ("replicas: { shard: shard-1, at-least: 1 }", Fail(&["shard-1 has 0 replicas of its master node-1"])),
            ("replicas: { shard: all, at-most: 1, at: moved }", Fail(&["shard-2 has 2 replicas (node-4, node-5)"])),
            ("replicas: { shard: shard-2, exactly: 2, within: 10s }", Hold),
            ("replicas: { shard: shard-3, exactly: 1, at: throughout }", Hold),
            ("slot-coverage: { at: end }", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn a_replica_whose_link_is_down_lags() {
    Control {
        workload: WRITES,
        steps: &[
            "phase: cut",
            "command: { send: CONFIG SET masterauth wrong, to: node-4 }",
            "command: { send: CLIENT KILL TYPE master, to: node-4 }",
            "settle: 2s",
        ],
        invariants: &[
            ("replica-lag: { at: end, max-bytes: 0 }", Fail(&["node-4 was ", "bytes behind node-1, its link down"])),
            ("replica-lag: { at: cut, max-bytes: 100 }", Fail(&["bytes behind node-1, its link down"])),
            ("replica-lag: { at: throughout, max-bytes: 1000000000 }", Fail(&["its link down"])),
            ("replica-lag: { at: end, max-bytes: 0, shard: shard-2 }", Hold),
            ("role: { node: node-4, is: replica-of node-1 }", Hold),
            ("slot-coverage: { at: end }", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        own: &[("recovery", Fail(&["node-4 reports its replication link down"]))],
        ..CONTROL
    }
    .is_caught();
}

/// Sends a command to a server, behind the harness's back.
fn send(addr: SocketAddr, words: &[&str]) {
    let client = redis::Client::open(format!("redis://{addr}")).expect("an address");
    let mut connection = client.get_connection_with_timeout(Duration::from_secs(5)).expect("the node answers");
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query::<()>(&mut connection).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

#[test]
fn a_shard_that_loses_its_replica_has_not_recovered() {
    let nodes: Mutex<Vec<NodeInfo>> = Mutex::new(Vec::new());
    Control {
        steps: &["phase: quiet", "settle: 500ms", "phase: moved", "settle: 2s"],
        invariants: &[
            (
                "role: { node: shard-2/replica, is: replica-of node-2, at: throughout }",
                Fail(&["`shard-2/replica` matches no node that answers for"]),
            ),
            ("role: { node: shard-2/replica, is: replica-of node-2 }", Fail(&["matches no node that answers"])),
            ("role: { node: shard-1/replica, is: replica-of node-1, at: throughout }", Hold),
            ("replicas: { exactly: 1, at: throughout }", Fail(&["shard-2 has 0 replicas of its master node-2 for"])),
            ("replicas: { exactly: 1, at: quiet }", Hold),
            ("replicas: { shard: shard-1, exactly: 2 }", Hold),
            ("slot-coverage: { at: end }", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        own: &[("recovery", Fail(&["shard-2 has 0 of 1 replica"]))],
        ..CONTROL
    }
    .is_caught_while(&|_, event| match &event.kind {
        EventKind::Booted { nodes: booted, .. } => nodes.lock().unwrap().clone_from(booted),
        EventKind::Phase { name } if name == "moved" => {
            let nodes = nodes.lock().unwrap();
            send(nodes[4].addr, &["CLUSTER", "REPLICATE", &nodes[0].id]);
        }
        _ => {}
    });
}

#[test]
fn detects_a_writable_replica() {
    Control {
        steps: &["phase: writable", "command: { send: CONFIG SET replica-read-only no, to: node-4 }", "settle: 300ms"],
        invariants: &[
            ("replica-read-only: { at: end }", Fail(&["node-4 has `replica-read-only no`", "2 writes refused"])),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

/// With a PING each second, a sample of the last second sometimes finds one on its way.
#[test]
fn an_idle_master_s_ping_is_no_lag() {
    Control {
        config: &["repl-ping-replica-period: 1"],
        steps: &["phase: quiet", "settle: 1s"],
        invariants: &[("replica-lag: { at: end, max-bytes: 0 }", Hold)],
        ..CONTROL
    }
    .is_caught();
}

/// What is planned holds, and what is not planned is not missed: node-4 and node-6 replicate node-1, node-5 node-2.
#[test]
fn a_shard_planned_without_replicas_misses_none() {
    Control {
        replicas_per_master: "[2, 1, 0]",
        // Otherwise a replica of shard-1 may move to a shard whose only replica was promoted.
        config: &["cluster-migration-barrier: 2"],
        steps: &[
            "phase: even",
            "await: { in-sync: all, within: 15s }",
            "phase: down",
            "kill: shard-2/master",
            "await: { promoted: shard-2, within: spec }",
            // Until the new master has served a write.
            "settle: 1s",
            "start: node-2",
            "await: { in-sync: node-2, within: 15s }",
        ],
        invariants: &[
            ("replicas: { shard: shard-1, exactly: 2, at: throughout }", Hold),
            ("replicas: { shard: shard-2, exactly: 1, at: even }", Hold),
            ("replicas: { shard: shard-2, exactly: 1, within: 20s }", Hold),
            ("replicas: { shard: shard-3, exactly: 0, at: throughout }", Hold),
            ("replicas: { shard: all, at-least: 1, at: even }", Fail(&["shard-3 has 0 replicas of its master node-3"])),
            ("role: { node: node-6, is: replica-of node-1 }", Hold),
            ("role: { node: node-2, is: replica-of node-5 }", Hold),
            ("failover-time: { shard: all, within: spec }", Hold),
            ("replica-lag: { at: end, max-bytes: 0 }", Hold),
            ("slot-coverage: { at: end }", Hold),
            ("agreement: { within: spec }", Hold),
            ("acked-writes: { may-lose: measured }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}
