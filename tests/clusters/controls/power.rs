//! Losses of power: what is not on disk is gone, and nothing else.

use super::control::{CONTROL, Control, Fail, Hold, WRITES, one, shown};

const LOST_POWER: &[&str] = &[
    "phase: before",
    "await: { in-sync: node-4, within: 15s }",
    "settle: 1s",
    "power-loss: [node-1, node-4]",
    "phase: back",
    "start: [node-4, node-1]",
    "await: { cluster-ok: all, within: 15s }",
    "await: { in-sync: node-4, within: 15s }",
];

const KILLED: &[&str] = &[
    "phase: before",
    "await: { in-sync: node-4, within: 15s }",
    "settle: 1s",
    "kill: [node-1, node-4]",
    "phase: back",
    "start: [node-4, node-1]",
    "await: { cluster-ok: all, within: 15s }",
    "await: { in-sync: node-4, within: 15s }",
];

/// A server that never synchronises loses all that it wrote since the steps began.
#[test]
fn what_was_never_synchronised_is_lost_with_the_power() {
    let judgements = Control {
        config: &["appendfsync: no"],
        workload: WRITES,
        steps: LOST_POWER,
        invariants: &[
            ("acked-writes: { may-lose: 0 }", Fail(&["of shard-1: ", "(restart)", "before its server ended"])),
            ("role: { node: node-1, is: master }", Hold),
            ("role: { node: node-4, is: replica-of node-1 }", Hold),
            ("promotions: { exactly: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
    let figures = &one(&judgements, "acked-writes").figures;
    assert!(figures["restart_reach_ms"] > 900.0, "{}", shown(&judgements));
    assert!((figures["lost"] - figures["lost_restart"]).abs() < 0.5, "{}", shown(&judgements));
}

/// A server that was killed had given its writes to the kernel.
#[test]
fn a_killed_server_loses_nothing_that_it_has_written() {
    Control {
        config: &["appendfsync: no"],
        workload: WRITES,
        steps: KILLED,
        invariants: &[
            ("acked-writes: { may-lose: 0 }", Hold),
            ("role: { node: node-1, is: master }", Hold),
            ("promotions: { exactly: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

/// A server that synchronises each write before it acknowledges it loses none.
#[test]
fn what_was_synchronised_survives_the_loss_of_power() {
    Control {
        config: &["appendfsync: always"],
        workload: WRITES,
        steps: LOST_POWER,
        invariants: &[
            ("acked-writes: { may-lose: 0 }", Hold),
            ("role: { node: node-1, is: master }", Hold),
            ("promotions: { exactly: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

/// Once a second is too seldom for writes that follow each other by milliseconds.
#[test]
fn the_last_second_is_lost_with_the_power() {
    Control {
        config: &["appendfsync: everysec"],
        workload: "{ rate: 900/s, reads: 0% }",
        steps: LOST_POWER,
        invariants: &[
            ("acked-writes: { may-lose: 0 }", Fail(&["of shard-1: ", "(restart)", "before its server ended"])),
            ("role: { node: node-1, is: master }", Hold),
            ("promotions: { exactly: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}
