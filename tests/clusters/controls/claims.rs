//! What is not broken holds, and what did not happen is not claimed.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use slotquake::check::Verdict;
use slotquake::history::{Event, EventKind};
use slotquake::server::Server;
use slotquake::units::NodeNo;

use super::control::{CONTROL, Control, Fail, Hold, StayOpen, one, shown, zeroed_in_effect};

#[test]
fn healthy_invariants_hold_and_absent_events_are_not_claimed() {
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
            ("role: { node: node-4, is: master, at: throughout }", Fail(&["node-4 is a replica of node-1"])),
            ("availability: { of: writes, during: empty, served: always }", StayOpen(&["no writes were sent"])),
            ("availability: { of: writes, during: empty, served: never }", StayOpen(&["no writes were sent"])),
        ],
        ..CONTROL
    }
    .is_caught();
    assert!(one(&judgements, "acked-writes").figures["acknowledged"] >= 600.0, "{}", shown(&judgements));
}

#[test]
fn missing_evidence_never_passes() {
    // A plan refuses these invariants; should one come through, the judgement must not say yes.
    Control {
        replicas_per_master: "0",
        workload: "{ rate: 200/s, reads: 100% }",
        unchecked: true,
        steps: &["phase: alone", "settle: 500ms"],
        invariants: &[
            ("slot-coverage: { at: end }", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
            ("redirects: { at: end }", Hold),
            ("replica-lag: { at: end, max-bytes: 0 }", StayOpen(&["no replica to judge"])),
            ("replica-lag: { at: throughout, max-bytes: 0 }", StayOpen(&["no replica to judge"])),
            ("replica-read-only: { at: end }", StayOpen(&["nothing was observed"])),
            ("availability: { of: writes, max-outage: 0s }", StayOpen(&["no writes were sent"])),
            ("availability: { of: writes, served: never }", StayOpen(&["no writes were sent"])),
            ("availability: { of: reads, served: always }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

/// A master is no replica that could take over, so it answers the command with an error.
#[test]
fn an_error_reply_ends_the_run_unless_it_is_allowed() {
    const REPLY: &str = "ERR You should send CLUSTER FAILOVER to a replica";
    let refused: Control = Control {
        steps: &["phase: refused", "command: { send: CLUSTER FAILOVER, to: node-1 }", "phase: later", "settle: 300ms"],
        invariants: &[
            ("availability: { of: writes, during: later, served: always }", StayOpen(&["ended before phase"])),
            ("slot-coverage: { at: end }", Hold),
        ],
        own: &[(
            "steps",
            StayOpen(&[
                "step 2 is impossible: node-1 rejected `CLUSTER FAILOVER`: ERR You should send CLUSTER FAILOVER to a replica",
                "2 of 4 steps were done",
            ]),
        )],
        ..CONTROL
    };
    refused.is_caught();
    let replies = Mutex::new(Vec::new());
    let allowed = Control {
        steps: &[
            "phase: refused",
            "command: { send: CLUSTER FAILOVER, to: [node-1, node-2], errors: allow }",
            "phase: later",
            "settle: 300ms",
        ],
        invariants: &[
            ("promotions: { exactly: 0 }", Hold),
            ("availability: { of: writes, during: later, served: always }", Hold),
            ("slot-coverage: { at: end }", Hold),
        ],
        own: &[],
        ..CONTROL
    };
    allowed.is_caught_while(&|_, event| match &event.kind {
        EventKind::Commanded { node, reply, .. } => replies.lock().unwrap().push((*node, reply.clone())),
        EventKind::Booted { .. } => replies.lock().unwrap().clear(),
        _ => {}
    });
    let recorded = replies.into_inner().unwrap();
    assert_eq!(recorded, [(NodeNo(1), REPLY.to_owned()), (NodeNo(2), REPLY.to_owned())]);
}

#[test]
fn stopping_a_replica_is_no_failover() {
    Control {
        steps: &[
            "phase: down",
            "stop: node-4",
            "settle: 500ms",
            "start: node-4",
            "await: { in-sync: node-4, within: 15s }",
        ],
        invariants: &[
            ("failover-time: { shard: shard-1, within: spec }", StayOpen(&["no failover"])),
            ("promotions: { exactly: 0 }", Hold),
            ("replica-lag: { at: end, max-bytes: 0 }", Hold),
            ("availability: { of: writes, served: always }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

/// A node that is to be frozen for 3 s, and that somebody else wakes after 0.6 s: the harness may not claim that the
/// cluster lived through a freeze of 3 s.
#[test]
fn a_node_resumed_from_outside_proves_nothing() {
    let wake = |_: &Server, event: &Event| {
        let EventKind::FaultProven { proof, in_effect: true, .. } = &event.kind else { return };
        let Some(pid) = proof.strip_prefix("process ").and_then(|rest| rest.split(' ').next()) else { return };
        let pid = pid.to_owned();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(600));
            Command::new("kill").args(["-CONT", &pid]).status().expect("kill runs");
        });
    };
    let judgements = Control {
        steps: &["phase: frozen", "pause: node-4", "settle: 3s", "resume: node-4", "settle: 500ms"],
        invariants: &[("acked-writes: { may-lose: 0 }", Hold)],
        own: &[("faults", StayOpen(&["pause node-4", "was in effect for only", "planned: 3."]))],
        ..CONTROL
    }
    .is_caught_while(&wake);
    assert_eq!(one(&judgements, "steps").verdict, Verdict::Pass, "{}", shown(&judgements));
}

/// The same freeze, left alone, is proven, and a crash of a frozen node is the harness's own end of the freeze.
#[test]
fn undisturbed_faults_stay_in_effect_until_undone() {
    Control {
        steps: &[
            "phase: frozen",
            "pause: node-4",
            "settle: 700ms",
            "resume: node-4",
            "pause: node-5",
            "settle: 500ms",
            "kill: node-5",
            "settle: 500ms",
            "start: node-5",
            "stop: node-6",
            "settle: 500ms",
        ],
        invariants: &[("acked-writes: { may-lose: 0 }", Hold)],
        ..CONTROL
    }
    .is_caught();
}

/// Another program sets the clock of a node right while a fault makes it wrong. The run then does not show what the suite
/// is about.
#[test]
fn a_clock_that_is_set_right_from_outside_proves_nothing() {
    // No other control changes the clock of node-2. Its file holds the jump in nanoseconds, and maybe two changes.
    let meddle = zeroed_in_effect("node-2/clocks", 3_600_000_000_000_i64.to_ne_bytes(), (112, 48));
    let judgements = Control {
        steps: &[
            "phase: wrong",
            "clock: { node: node-2, jump: 1h, name: ahead }",
            "settle: 3s",
            "heal: ahead",
            "settle: 500ms",
        ],
        invariants: &[("acked-writes: { may-lose: 0 }", Hold)],
        own: &[("faults", StayOpen(&["clock ahead", "was in effect for only", "planned: 3."]))],
        ..CONTROL
    }
    .is_caught_while(&meddle);
    assert_eq!(one(&judgements, "steps").verdict, Verdict::Pass, "{}", shown(&judgements));
}

/// The same fault, left alone, is in effect until it is healed. The clock is that of the host, so a server that is started
/// again on it still has it; and what is healed while the server is down is right afterwards.
#[test]
fn a_wrong_clock_outlasts_a_restart() {
    Control {
        steps: &[
            "phase: wrong",
            "clock: { node: node-4, jump: -1h, name: behind }",
            "clock: { node: node-5, drift: 50%, name: fast }",
            "kill: node-4",
            "settle: 500ms",
            "start: node-4",
            "settle: 1s",
            "kill: node-5",
            "heal: all",
            "start: node-5",
            "settle: 500ms",
        ],
        invariants: &[("acked-writes: { may-lose: 0 }", Hold)],
        ..CONTROL
    }
    .is_caught();
}

/// A strobe is over when its time is, and no `heal` is needed then. A clock that is watched by what its server is told is
/// wrong until it is healed. (Servers that read no monotonic clock are refused; the server of these controls does.)
#[test]
fn a_strobe_ends_by_itself_and_a_monotonic_clock_is_proven_by_what_was_told() {
    Control {
        steps: &[
            "phase: wrong",
            "clock: { node: node-2, strobe: 300ms, every: 400ms, for: 2s, name: flicker }",
            "clock: { node: node-3, drift: 10%, of: monotonic, name: hasty }",
            "settle: 3s",
            // It is over.
            "heal: flicker",
            "clock: { node: node-2, jump: 1h }",
            "heal: hasty",
            "settle: 300ms",
            "heal: all",
            "settle: 300ms",
        ],
        invariants: &[("acked-writes: { may-lose: 0 }", Hold)],
        own: &[("faults", Hold)],
        ..CONTROL
    }
    .is_caught();
}

/// A strobe that somebody else ends is noticed, although its clock is right half of the time anyway.
#[test]
fn a_strobe_that_is_ended_from_outside_proves_nothing() {
    let meddle = |_: &Server, event: &Event| {
        if !matches!(event.kind, EventKind::FaultProven { in_effect: true, .. }) {
            return;
        }
        let ours = format!("slotquake-run-{}-", std::process::id());
        let folders = std::fs::read_dir(std::env::temp_dir()).expect("the temporary directory").flatten();
        let of_this_run = folders.filter(|folder| folder.file_name().to_string_lossy().starts_with(&ours));
        // No other control strobes with a half of 100 ms.
        let half = 100_000_000_i64.to_ne_bytes();
        let strobes = |clock: &PathBuf| {
            std::fs::read(clock).is_ok_and(|bytes| bytes.windows(half.len()).any(|window| window == half))
        };
        let clocks: Vec<_> = of_this_run.map(|folder| folder.path().join("node-2/clocks")).filter(strobes).collect();
        let [clock] = clocks.as_slice() else { panic!("one clock, and not {clocks:?}") };
        let clock = std::fs::File::options().write(true).open(clock).expect("the file of the clock");
        clock.write_all_at(&[0; 112], 48).expect("it can be written");
    };
    Control {
        steps: &["phase: wrong", "clock: { node: node-2, strobe: 2s, every: 200ms, for: 5s }", "settle: 5500ms"],
        invariants: &[("acked-writes: { may-lose: 0 }", Hold)],
        own: &[("faults", StayOpen(&["clock clock-1", "was in effect for only"]))],
        ..CONTROL
    }
    .is_caught_while(&meddle);
}
