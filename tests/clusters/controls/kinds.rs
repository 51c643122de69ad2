//! Kinds of data beside registers: clients that repeat what had no answer, and data that somebody else changes.

use slotquake::history::{key_name, key_of};
use slotquake::plan::Plan;
use slotquake::suite::{self, DataKind};
use slotquake::units::ShardNo;

use super::control::{CONTROL, Control, Fail, Hold, StayOpen, one, shown};
use super::reads::{meddle, send};

/// A freeze that no failover ends.
const FREEZE: &[&str] = &[
    "phase: before",
    "settle: 1s",
    "phase: frozen",
    "pause: shard-1/master",
    "settle: 1s",
    "phase: back",
    "resume: shard-1/master",
    "settle: 1s",
];

const STEPS: &[&str] = &["phase: before", "settle: 1s", "phase: meddled", "settle: 1s"];

/// The names of the first keys of a kind in shard-1.
fn of_first_shard(kind: DataKind) -> Vec<String> {
    let deal = Plan::new(&suite::load("formation").expect("a suite"), 1).expect("a plan").deal();
    let all = (0..30).map(|number| key_name(key_of(kind, number)));
    all.filter(|name| deal.shard_of_key(name.as_bytes()) == ShardNo(1)).collect()
}

/// A frozen server still gets what is sent to it, and executes all of it when it wakes up.
#[test]
fn a_client_that_repeats_increments_a_frozen_counter_more_than_once() {
    let judgements = Control {
        config: &["cluster-replica-no-failover: yes"],
        workload: "{ rate: 200/s, keys: 60, kinds: { counter: 50%, list: 50% }, timeout: 300ms, retries: 3 }",
        steps: FREEZE,
        invariants: &[
            (
                "exactly-once: { may-lose: 0 }",
                Fail(&["counter-", "It rose by ", "can have taken effect in between", "(sent ", "more than once"]),
            ),
            ("exactly-once: { may-repeat: measured, may-lose: 0 }", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
    let judgement = one(&judgements, "exactly-once");
    assert!(judgement.figures["repeated"] > 4.0, "{}", shown(&judgements));
    assert!(judgement.witnesses[0].commands.iter().any(|each| each.contains("(sent ")), "{:?}", judgement.witnesses);
}

#[test]
fn a_client_that_does_not_repeat_increments_a_frozen_counter_once() {
    Control {
        config: &["cluster-replica-no-failover: yes"],
        workload: "{ rate: 200/s, keys: 120, kinds: { counter: 50%, list: 50% }, timeout: 300ms }",
        steps: FREEZE,
        invariants: &[("exactly-once: {}", Hold), ("order: {}", Hold), ("acked-writes: { may-lose: 0 }", Hold)],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn a_counter_that_somebody_else_changes_is_not_exactly_once() {
    let raised = of_first_shard(DataKind::Counter);
    Control {
        workload: "{ rate: 200/s, keys: 30, kinds: { counter: 100% }, read-from: master }",
        steps: STEPS,
        invariants: &[
            (
                "exactly-once: { may-lose: measured }",
                Fail(&["counter-", "too much", "can have taken effect in between"]),
            ),
            ("exactly-once: { may-repeat: measured }", Fail(&["counter-", "gone."])),
            ("acked-writes: { may-lose: 0 }", Fail(&["counters acknowledged", "gone."])),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(move |master| {
        let half = raised.len() / 2;
        send(master, &raised[..half].iter().map(|name| format!("INCR {name}")).collect::<Vec<_>>());
        send(master, &raised[half..].iter().map(|name| format!("DECRBY {name} 3")).collect::<Vec<_>>());
    }));
}

#[test]
fn a_reordered_list_is_out_of_order() {
    let lists = of_first_shard(DataKind::List);
    Control {
        workload: "{ rate: 200/s, keys: 30, kinds: { list: 100% }, read-from: master }",
        steps: STEPS,
        invariants: &[
            ("order: {}", Fail(&["list-", " shows ", " before ", "was in the list at"])),
            ("exactly-once: {}", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(move |master| {
        send(master, &lists.iter().map(|name| format!("SORT {name} ALPHA DESC STORE {name}")).collect::<Vec<_>>());
    }));
}

#[test]
fn a_list_with_an_element_twice_and_one_without_its_last_are_not_exactly_once() {
    let lists = of_first_shard(DataKind::List);
    Control {
        workload: "{ rate: 200/s, keys: 30, kinds: { list: 100% }, read-from: master }",
        steps: STEPS,
        invariants: &[
            ("exactly-once: { may-lose: measured }", Fail(&["list-", "more than once", "appended it once"])),
            ("exactly-once: { may-repeat: measured }", Fail(&["list-", "In the end it was not there"])),
            ("acked-writes: { may-lose: 0 }", Fail(&["lists acknowledged", "In the end it was not there"])),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(move |master| {
        let half = lists.len() / 2;
        let twice = |name: &String| format!("RPUSH {name} \"1 {}\"", ".".repeat(30));
        send(master, &lists[..half].iter().map(twice).collect::<Vec<_>>());
        send(master, &lists[half..].iter().map(|name| format!("LPOP {name}")).collect::<Vec<_>>());
    }));
}

#[test]
fn half_of_a_transaction_is_seen() {
    let transactions = of_first_shard(DataKind::Transaction);
    Control {
        workload: "{ rate: 200/s, keys: 30, kinds: { transaction: 100% }, read-from: master }",
        steps: STEPS,
        invariants: &[
            ("atomic: {}", Fail(&["{transaction-", "}:a held", "half of a transaction", "wrote "])),
            ("atomic: { may-violate: measured }", Hold),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(move |master| {
        let half = |name: &String| format!("SET {{{name}}}:b \"1 {}\"", ".".repeat(30));
        send(master, &transactions.iter().map(half).collect::<Vec<_>>());
    }));
}

/// With 120 keys, each is written about each 2.4 s, and read as often; it lives for 1 s.
const EXPIRING: &str = "{ rate: 200/s, reads: 75%, keys: 120, kinds: { ttl: 100% }, ttl: 1s, read-from: master }";

const LONGER: &[&str] = &["phase: before", "settle: 3s", "phase: meddled", "settle: 3s"];

#[test]
fn a_key_that_somebody_else_lets_expire_at_once_is_gone_too_early() {
    let keys = of_first_shard(DataKind::Ttl);
    let judgements = Control {
        workload: EXPIRING,
        steps: LONGER,
        invariants: &[
            (
                "expiry: {}",
                Fail(&["ttl-", "which node-1 acknowledged at", "it was gone", "before the end of its time"]),
            ),
            ("expiry: { shard: shard-2 }", Hold),
            ("expiry: { during: before }", Hold),
            ("expiry: { may-violate: measured }", Hold),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(move |master| {
        // Again and again, as most keys are not there at any one time.
        for _ in 0..20 {
            send(master, &keys.iter().map(|name| format!("PEXPIRE {name} 1")).collect::<Vec<_>>());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }));
    let judgement = one(&judgements, "expiry");
    assert!(judgement.witnesses[0].commands[0].contains(" PX 1000"), "{:?}", judgement.witnesses);
    assert!(judgement.figures["expired_late"] == 0.0, "{}", shown(&judgements));
}

#[test]
fn a_key_whose_time_somebody_else_takes_away_is_there_too_late() {
    let keys = of_first_shard(DataKind::Ttl);
    let judgements = Control {
        workload: EXPIRING,
        steps: LONGER,
        invariants: &[
            ("expiry: {}", Fail(&["ttl-", "it was still there", "after the end of its time"])),
            ("expiry: { shard: shard-3 }", Hold),
            (
                "expiry: { late: 60s, may-violate: measured }",
                StayOpen(&["no key was read more than 1m after its time"]),
            ),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(move |master| {
        for _ in 0..20 {
            send(master, &keys.iter().map(|name| format!("PERSIST {name}")).collect::<Vec<_>>());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }));
    let judgement = one(&judgements, "expiry");
    assert!(judgement.figures["expired_early"] == 0.0, "{}", shown(&judgements));
}

/// Servers compare with their wall clock. One that jumps ahead takes everything that lives for longer than it jumped.
#[test]
fn a_clock_that_jumps_ahead_lets_keys_expire_early() {
    Control {
        workload: "{ rate: 400/s, reads: 75%, keys: 120, kinds: { ttl: 100% }, ttl: 3s, read-from: master }",
        steps: &[
            "phase: before",
            "settle: 5s",
            "phase: ahead",
            "clock: { node: shard-1/master, jump: 1h, name: ahead }",
            "settle: 1s",
            "heal: ahead",
            "settle: 100ms",
        ],
        invariants: &[
            ("expiry: { late: 2h, may-violate: measured }", StayOpen(&["found nothing", "no key was read more than"])),
            ("expiry: { during: ahead, shard: shard-1 }", Fail(&["it was gone", "before the end of its time"])),
            ("expiry: { during: ahead, shard: shard-2, late: 0s, may-violate: measured }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

/// Whoever subscribes at the killed connections misses what is published until it subscribes again.
#[test]
fn a_subscriber_whose_connection_is_killed_misses_messages() {
    let judgements = Control {
        workload: "{ rate: 400/s, keys: 30, kinds: { pubsub: 100% } }",
        steps: STEPS,
        invariants: &[
            (
                "delivery: {}",
                Fail(&["missed", "of channel-", "acknowledged by node-1", "had ended at", "its connection was closed"]),
            ),
            ("delivery: { may-miss: measured }", Hold),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(|master| send(master, &["CLIENT KILL TYPE pubsub".to_owned()])));
    let judgement = one(&judgements, "delivery");
    assert!(judgement.figures["missed"] > 4.0 && judgement.figures["delivered_again"] == 0.0, "{}", shown(&judgements));
    let commands = &judgement.witnesses[0].commands;
    assert!(commands.iter().any(|command| command.starts_with("PUBLISH channel-")), "{commands:?}");
}

#[test]
fn a_message_that_somebody_else_publishes_again_is_delivered_again() {
    let channels = of_first_shard(DataKind::Pubsub);
    let again = move |master| {
        let publish = |name: &String| format!("PUBLISH {name} \"1 {}\"", ".".repeat(30));
        // The first was published before anybody subscribed.
        (0..2).for_each(|_| send(master, &channels.iter().map(publish).collect::<Vec<_>>()));
    };
    Control {
        workload: "{ rate: 200/s, keys: 30, kinds: { pubsub: 100% } }",
        steps: STEPS,
        invariants: &[
            ("delivery: {}", Fail(&["got message 1 of channel-", "2 times", "published it at"])),
            ("delivery: { may-repeat: measured }", Hold),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(again));
}

/// A frozen server is replaced, and its kernel still holds the connection: the client waits for ever, at a node that is no
/// master any more, while the elements are at the new one.
#[test]
fn a_client_that_waits_at_a_frozen_master_is_never_woken() {
    let judgements = Control {
        // The only writer of a queue gives up soon what it sent to the frozen server.
        workload: "{ rate: 200/s, keys: 60, kinds: { blocking: 100% }, timeout: 500ms }",
        steps: &[
            "phase: before",
            "settle: 1s",
            "phase: frozen",
            "pause: shard-1/master",
            "await: { promoted: shard-1, within: 15s }",
            "settle: 4s",
        ],
        invariants: &[
            (
                "woken: {}",
                Fail(&["waited for an element of queue-", "at node-1", "which node-4 acknowledged", "waited on"]),
            ),
            ("woken: { within: 1m }", Hold),
            ("woken: { may-violate: measured }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
    let judgement = one(&judgements, "woken");
    assert!(judgement.figures["longest_sleep_ms"] > 2000.0, "{}", shown(&judgements));
    assert!(judgement.witnesses[0].commands[0].starts_with("BLPOP queue-"), "{:?}", judgement.witnesses);
}

#[test]
fn undisturbed_channels_and_queues_hold() {
    Control {
        workload: "{ rate: 400/s, kinds: { register: 40%, pubsub: 30%, blocking: 30% } }",
        steps: &["phase: quiet", "settle: 3s"],
        invariants: &[
            ("delivery: {}", Hold),
            ("woken: { within: 500ms }", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
            ("availability: { of: reads, served: always }", Hold),
            ("availability: { of: writes, served: always }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn a_set_that_somebody_else_changes_is_not_exactly_once() {
    let sets = of_first_shard(DataKind::Set);
    Control {
        workload: "{ rate: 200/s, keys: 30, kinds: { set: 100% }, read-from: master }",
        steps: STEPS,
        invariants: &[
            ("exactly-once: { may-lose: measured }", Fail(&["set-", "that no client added"])),
            (
                "exactly-once: { may-repeat: measured }",
                Fail(&["set-", "acknowledged at", "in the end it was not there"]),
            ),
            ("acked-writes: { may-lose: 0 }", Fail(&["sets acknowledged"])),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(move |master| {
        let (ghosts, others) = sets.split_at(sets.len() / 2);
        let ghost = |name: &String| format!("SADD {name} 123456");
        // The first write of each adds member 1, and nobody removes it.
        let removal = |name: &String| format!("SREM {name} \"1 {}\"", ".".repeat(30));
        send(master, &ghosts.iter().map(ghost).collect::<Vec<_>>());
        send(master, &others.iter().map(removal).collect::<Vec<_>>());
    }));
}

/// Member 2 is added by the second write, and removed by the fourth.
#[test]
fn a_member_that_somebody_else_brings_back_is_there_though_it_was_removed() {
    let sets = of_first_shard(DataKind::Set);
    Control {
        workload: "{ rate: 400/s, reads: 20%, keys: 30, kinds: { set: 100% }, read-from: master }",
        steps: STEPS,
        invariants: &[("exactly-once: {}", Fail(&["removed 2 from set-", "it was there again"]))],
        ..CONTROL
    }
    .is_caught_while(&meddle(move |master| {
        let back = |name: &String| format!("SADD {name} \"2 {}\"", ".".repeat(30));
        send(master, &sets.iter().map(back).collect::<Vec<_>>());
    }));
}

#[test]
fn a_stream_that_somebody_else_adds_to_is_not_exactly_once() {
    let streams = of_first_shard(DataKind::Stream);
    Control {
        workload: "{ rate: 200/s, keys: 30, kinds: { stream: 100% }, read-from: master }",
        steps: STEPS,
        invariants: &[
            ("exactly-once: { may-lose: measured }", Fail(&["stream-", "more than once", "appended it once"])),
            ("exactly-once: { may-repeat: measured }", Fail(&["stream-", "In the end it was not there"])),
            ("order: {}", Hold),
        ],
        ..CONTROL
    }
    .is_caught_while(&meddle(move |master| {
        let (twice, cut) = streams.split_at(streams.len() / 2);
        let again = |name: &String| format!("XADD {name} * v \"1 {}\"", ".".repeat(30));
        send(master, &twice.iter().map(again).collect::<Vec<_>>());
        send(master, &cut.iter().map(|name| format!("XTRIM {name} MAXLEN 0")).collect::<Vec<_>>());
    }));
}

#[test]
fn what_somebody_else_sets_back_is_not_linearizable() {
    let of = |kind| (kind, of_first_shard(kind));
    let kinds = [DataKind::Counter, DataKind::List, DataKind::Cas].map(of);
    for (kind, names) in kinds {
        let workload = match kind {
            DataKind::Counter => "{ rate: 200/s, keys: 30, kinds: { counter: 100% }, read-from: master }",
            DataKind::List => "{ rate: 200/s, keys: 30, kinds: { list: 100% }, read-from: master }",
            _ => "{ rate: 400/s, keys: 30, kinds: { cas: 100% }, writers: 2, read-from: master }",
        };
        let (invariants, back): (&[_], fn(&String) -> String) = match kind {
            DataKind::Counter => {
                (&[("linearizable: {}", Fail(&["No order of the", "on counter-", "INCR counter-"]))], |name| {
                    format!("SET {name} 1")
                })
            }
            DataKind::List => {
                (&[("linearizable: {}", Fail(&["No order of the", "on list-"]))], |name| format!("LPOP {name}"))
            }
            _ => (&[("linearizable: {}", Fail(&["No order of the", "on cas-"]))], |name| {
                format!("SET {name} \"1 {}\"", ".".repeat(30))
            }),
        };
        Control { workload, steps: STEPS, invariants, ..CONTROL }
            .is_caught_while(&meddle(move |master| send(master, &names.iter().map(back).collect::<Vec<_>>())));
    }
}

#[test]
fn undisturbed_sets_streams_and_comparisons_hold() {
    Control {
        workload: "{ rate: 400/s, keys: 300, writers: 2, read-from: master, kinds: { set: 30%, stream: 30%, cas: 40% } }",
        steps: &["phase: quiet", "settle: 3s"],
        invariants: &[
            ("exactly-once: {}", Hold),
            ("order: {}", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
            ("linearizable: {}", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn undisturbed_kinds_hold() {
    Control {
        workload: "{ rate: 400/s, keys: 1200, read-from: master, kinds: { register: 25%, counter: 25%, list: 25%, transaction: 25% } }",
        steps: &["phase: quiet", "settle: 2s"],
        invariants: &[
            ("exactly-once: {}", Hold),
            ("order: {}", Hold),
            ("atomic: {}", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
            ("linearizable: {}", Hold),
            ("availability: { of: writes, served: always }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}
