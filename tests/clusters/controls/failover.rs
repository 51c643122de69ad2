//! Failovers that are late, that never come, and that lead nowhere.

use super::control::{CONTROL, Control, Fail, Hold, ONLY_READS, StayOpen};

#[test]
fn a_failover_breaks_too_tight_bounds() {
    Control {
        steps: &[
            "phase: baseline",
            "settle: 500ms",
            "phase: down",
            "kill: shard-1/master",
            "await: { promoted: shard-1, within: spec }",
            "settle: 1s",
            "phase: back",
            "start: node-1",
            "await: { in-sync: node-1, within: spec }",
            "settle: 500ms",
        ],
        invariants: &[
            ("availability: { of: writes, shard: shard-1, max-outage: 100ms }", Fail(&["write outage of", "times `"])),
            ("availability: { of: writes, shard: shard-1, max-outage: spec }", Hold),
            ("availability: { of: writes, shard: shard-1, served: always }", Fail(&["writes served ("])),
            ("availability: { of: writes, shard: shard-1, min-served: 100% }", Fail(&["writes served ("])),
            (
                "availability: { of: writes, shard: shard-1, during: down, served: never }",
                Fail(&["was served by node-4"]),
            ),
            ("availability: { of: writes, shard: others, served: always }", Hold),
            ("availability: { of: writes, shard: shard-1, during: baseline, served: always }", Hold),
            ("failover-time: { shard: shard-1, to: fail, within: 1ms }", Fail(&["FAIL after", "limit 1 ms"])),
            (
                "failover-time: { shard: shard-1, to: promotion, within: 1ms }",
                Fail(&["kill of node-1 (fault 1), new master node-4"]),
            ),
            ("failover-time: { shard: shard-1, to: first-write, within: 1ms }", Fail(&["first write after"])),
            ("failover-time: { shard: shard-1, within: spec }", Hold),
            ("promotions: { shard: shard-1, exactly: 0 }", Fail(&["shard-1 passed from node-1 to node-4"])),
            ("promotions: { shard: shard-1, exactly: 2 }", Fail(&["shard-1: 1 promotion"])),
            ("promotions: { shard: shard-1, exactly: 1 }", Hold),
            (
                "not-promoted: { shard: shard-1 }",
                Fail(&["shard-1: 1 promotion", "node-4 shows that it took over shard-1"]),
            ),
            (
                "not-promoted: { shard: shard-1, within: 20s }",
                Fail(&["1 promotion after the kill of node-1", "node-4 shows that it took over shard-1 from node-1"]),
            ),
            ("not-promoted: { shard: shard-1, within: 300ms }", Hold),
            ("not-promoted: { shard: shard-1, during: baseline }", Hold),
            ("not-promoted: { shard: others }", Hold),
            ("agreement: { within: 1ms }", Fail(&["node-1", "after the `start` of fault 1"])),
            ("agreement: { within: spec }", Hold),
            ("role: { node: node-1, is: master, at: down }", StayOpen(&["because of fault 1"])),
            ("role: { node: node-1, is: master }", Fail(&["a replica of node-4"])),
        ],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn a_missing_failover_fails_every_wait_for_it() {
    Control {
        config: &["cluster-replica-no-failover: yes"],
        steps: &[
            "phase: down",
            "expect: { send: PING, to: node-2, is: PANG }",
            "kill: shard-1/master",
            "await: { promoted: shard-1, within: 5s }",
            "phase: never-reached",
            "settle: 1s",
        ],
        invariants: &[
            ("failover-time: { shard: shard-1, to: fail, within: spec }", Hold),
            (
                "failover-time: { shard: shard-1, to: promotion, within: 4s }",
                Fail(&["no promotion within", "no new master"]),
            ),
            ("promotions: { shard: shard-1, exactly: 0 }", Hold),
            ("promotions: { shard: shard-1, exactly: 1 }", Fail(&["shard-1: 0 promotions"])),
            ("not-promoted: { shard: shard-1, within: 4s }", Hold),
            ("not-promoted: { shard: shard-1, within: 60s }", StayOpen(&["watched only for", "the kill of node-1"])),
            ("availability: { of: writes, shard: shard-1, max-outage: 3s }", Fail(&["write outage of"])),
            ("availability: { of: writes, shard: others, served: always }", Hold),
            (
                "availability: { of: writes, shard: others, during: never-reached, served: always }",
                StayOpen(&["ended before"]),
            ),
            ("role: { node: node-1, is: master }", Hold),
            // Under `appendfsync everysec`, SIGKILL loses what waits for a slow fsync.
            ("acked-writes: { may-lose: measured }", Hold),
        ],
        own: &[(
            "steps",
            Fail(&[
                "step 2: expected `PING` on node-2 to return `PANG`, but got: PONG",
                "step 4: `promoted: shard-1` was not met within 5s",
                "shard-1 still belongs to node-1",
                "4 of 6 steps were done",
            ]),
        )],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn rejects_a_redirection_to_an_unknown_address() {
    Control {
        workload: ONLY_READS,
        steps: &["phase: lie", "command: { send: CONFIG SET cluster-announce-port 7000, to: node-1 }", "settle: 2s"],
        invariants: &[
            ("redirects: { at: end }", Fail(&["answered `MOVED ", ".0.1:7000` for slot", "which node-1 owns"])),
            ("acked-writes: { may-lose: 0 }", Hold),
            ("role: { node: node-1, is: master }", Hold),
        ],
        own: &[("recovery", Fail(&["node-"]))],
        ..CONTROL
    }
    .is_caught();
}
