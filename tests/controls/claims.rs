//! What is not broken holds, and what did not happen is not claimed.

use super::control::{CONTROL, Control, Fail, Hold, StayOpen, one, shown};

#[test]
fn what_is_not_broken_holds_and_what_did_not_happen_is_not_claimed() {
    let judgements = Control {
        steps: &["phase: quiet", "settle: 1500ms", "phase: empty", "phase: after", "settle: 200ms"],
        invariants: &[
            // The twins of the controls below.
            ("slot-coverage: { at: end }", Hold),
            ("slot-coverage: { at: throughout }", Hold),
            ("agreement: { within: spec }", Hold),
            ("role: { node: node-4, is: replica-of node-1 }", Hold),
            ("replica-lag: { at: end, max-bytes: 0 }", Hold),
            ("replica-lag: { at: throughout, max-bytes: 1000000 }", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
            ("availability: { of: writes, served: always }", Hold),
            ("promotions: { exactly: 0 }", Hold),
            ("redirects: { at: end }", Hold),
            ("replica-read-only: { at: end }", Hold),
            // What did not happen.
            ("promotions: { shard: shard-1, exactly: 1 }", Fail(&["shard-1: 0 promotions"])),
            ("availability: { of: writes, shard: shard-1, served: never }", Fail(&["was served by node-1"])),
            (
                "role: { node: node-4, is: master, at: throughout }",
                Fail(&["node-4 says that it is a replica of node-1"]),
            ),
            (
                "availability: { of: writes, during: empty, served: always }",
                StayOpen(&["none of the writes were issued"]),
            ),
            (
                "availability: { of: writes, during: empty, served: never }",
                StayOpen(&["none of the writes were issued"]),
            ),
        ],
        ..CONTROL
    }
    .is_caught();
    assert!(one(&judgements, "acked-writes").figures["acknowledged"] >= 600.0, "{}", shown(&judgements));
}

#[test]
fn what_is_not_there_is_never_a_pass() {
    // A plan refuses these invariants; should one come through, the judgement must not say yes.
    Control {
        replicas_per_master: 0,
        workload: "{ rate: 200/s, reads: 100% }",
        unchecked: true,
        steps: &["phase: alone", "settle: 500ms"],
        invariants: &[
            ("slot-coverage: { at: end }", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
            ("redirects: { at: end }", Hold),
            ("replica-lag: { at: end, max-bytes: 0 }", StayOpen(&["there was no replica"])),
            ("replica-lag: { at: throughout, max-bytes: 0 }", StayOpen(&["there was no replica"])),
            ("replica-read-only: { at: end }", StayOpen(&["nothing was observed"])),
            ("availability: { of: writes, max-outage: 0s }", StayOpen(&["none of the writes were issued"])),
            ("availability: { of: writes, served: never }", StayOpen(&["none of the writes were issued"])),
            ("availability: { of: reads, max-outage: 0s }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn the_stop_of_a_replica_is_no_failover() {
    Control {
        steps: &[
            "phase: down",
            "stop: node-4",
            "settle: 500ms",
            "start: node-4",
            "await: { in-sync: node-4, within: 15s }",
        ],
        invariants: &[
            ("failover-time: { shard: shard-1, within: spec }", StayOpen(&["there was no failover"])),
            ("promotions: { exactly: 0 }", Hold),
            ("replica-lag: { at: end, max-bytes: 0 }", Hold),
            ("availability: { of: writes, max-outage: 0s }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}
