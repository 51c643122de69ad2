//! Files that are damaged while their server is down, and servers that do not start.

use super::control::{CONTROL, Control, Fail, Hold, ONLY_READS, StayOpen, one, shown};

/// What is cut off the file of a master is lost, although its replica had it.
#[test]
fn a_master_that_returns_with_a_truncated_file_loses_writes() {
    let judgements = Control {
        workload: ONLY_READS,
        steps: &[
            "phase: down",
            "await: { in-sync: node-4, within: 15s }",
            "kill: node-1",
            "corrupt: { node: node-1, file: aof, truncate: 30% }",
            "phase: back",
            "start: node-1",
            "await: { cluster-ok: node-1, within: 15s }",
            "await: { in-sync: node-4, within: 15s }",
        ],
        invariants: &[
            (
                "acked-writes: { may-lose: 0 }",
                Fail(&["of shard-1: ", "and the key was missing in the end (data-lost)", "more lost"]),
            ),
            ("role: { node: node-1, is: master }", Hold),
            ("promotions: { exactly: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
    let figures = &one(&judgements, "acked-writes").figures;
    // About a third of 200 keys: the file also has what came with the replica.
    assert!((20.0..120.0).contains(&figures["lost"]), "{}", shown(&judgements));
    assert!((figures["lost"] - figures["lost_data_lost"]).abs() < 0.5, "{}", shown(&judgements));
}

/// The same with a replica, whose master has everything.
#[test]
fn a_replica_that_returns_with_a_truncated_file_loses_nothing() {
    Control {
        workload: ONLY_READS,
        steps: &[
            "phase: down",
            "kill: node-4",
            "corrupt: { node: node-4, file: aof, truncate: 30% }",
            "phase: back",
            "start: node-4",
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

#[test]
fn a_server_that_must_come_up_and_does_not_fails_its_step() {
    Control {
        workload: ONLY_READS,
        steps: &[
            "phase: down",
            "kill: node-4",
            // Both ends are to be seen: this one, and that of the start.
            "settle: 500ms",
            "corrupt: { node: node-4, file: aof, zero: 100% }",
            "start: node-4",
            "phase: never",
        ],
        invariants: &[("acked-writes: { may-lose: 0 }", Hold), ("promotions: { exactly: 0 }", Hold)],
        own: &[
            ("steps", Fail(&["step 5: node-4 came back with a damaged file and ended: process is gone"])),
            ("servers", Fail(&["node-4 exited with status 1", "no fault explains it"])),
            ("faults", StayOpen(&["did not undo fault 1"])),
            ("recovery", Fail(&["not recovered", "node-4"])),
        ],
        ..CONTROL
    }
    .is_caught();
}

/// It starts on its whole file.
#[test]
fn a_server_that_must_not_come_up_and_does_fails_its_step() {
    Control {
        workload: ONLY_READS,
        steps: &["phase: down", "kill: node-4", "start: { node: node-4, expect: down }", "phase: never"],
        invariants: &[("acked-writes: { may-lose: 0 }", Hold), ("promotions: { exactly: 0 }", Hold)],
        own: &[("steps", Fail(&["step 3: node-4 came up, and the step expects that it does not"]))],
        ..CONTROL
    }
    .is_caught();
}

/// Its master goes on, and steps that mean it alone are not done.
#[test]
fn a_server_that_may_stay_down_is_left_out() {
    Control {
        workload: ONLY_READS,
        steps: &[
            "phase: down",
            "kill: node-4",
            "corrupt: { node: node-4, file: aof, zero: 100% }",
            "start: { node: node-4, expect: either }",
            "phase: without",
            "await: { in-sync: [node-4, node-1], within: 15s }",
            "await: { in-sync: node-4, within: 15s }",
            "command: { send: CLUSTER FAILOVER, to: node-4 }",
            "expect: { send: PING, to: node-4, is: PONG }",
            "expect: { send: PING, to: node-4, refused: true }",
            "phase: back",
            "start: { node: node-4, data: lost }",
            "await: { in-sync: node-4, within: 15s }",
            // It runs, and an earlier start that might have failed did not.
            "kill: node-4",
            "start: { node: node-4, expect: either }",
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
