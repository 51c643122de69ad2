//! Planning: the nodes and slots of a suite, the draws from the seed, and the suites that a plan
//! rejects.

use std::path::Path;

use proptest::prelude::*;
use slotquake_judge::plan::{Need, Plan};
use slotquake_judge::slot::SLOTS;
use slotquake_judge::suite::{self, Step, Suite};
use slotquake_judge::target::Targets;
use slotquake_judge::units::{NodeNo, ShardNo};

/// A suite with these steps and invariants, each a line of YAML.
fn suite_of(cluster: &str, steps: &[&str], invariants: &[&str]) -> Suite {
    let lines = |items: &[&str]| format!("  - {}\n", items.join("\n  - "));
    let text = format!(
        "name: t\nabout: A fixture.\ncluster: {cluster}\nsteps:\n{}invariants:\n{}",
        lines(steps),
        lines(invariants)
    );
    suite::parse(&text, Path::new("fixture")).unwrap_or_else(|error| panic!("{error}"))
}

fn problems(suite: &Suite) -> Vec<String> {
    match Plan::new(suite, 1) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn numbers_masters_first_then_replicas_in_rounds() {
    let suite = suite_of("{ masters: 3, replicas-per-master: 2 }", &["settle: 1s"], &["agreement: { within: 1s }"]);
    let plan = Plan::new(&suite, 1).unwrap();
    let nodes: Vec<_> = plan
        .nodes
        .iter()
        .map(|node| (node.node.0, node.shard.0, node.replica_of.map(|master| master.0), node.slots.clone()))
        .collect();
    assert_eq!(
        nodes,
        [
            (1, 1, None, vec![(0, 5460)]),
            (2, 2, None, vec![(5461, 10922)]),
            (3, 3, None, vec![(10923, 16383)]),
            (4, 1, Some(1), vec![]),
            (5, 2, Some(2), vec![]),
            (6, 3, Some(3), vec![]),
            (7, 1, Some(1), vec![]),
            (8, 2, Some(2), vec![]),
            (9, 3, Some(3), vec![]),
        ]
    );
    assert_eq!(plan.shards(), 3);
}

#[test]
fn numbers_replicas_in_rounds_of_the_shards_that_have_them() {
    let cluster = |replicas: &str| format!("{{ masters: 3, replicas-per-master: {replicas} }}");
    let plan = |replicas: &str| {
        let suite = suite_of(&cluster(replicas), &["settle: 1s"], &["agreement: { within: 1s }"]);
        Plan::new(&suite, 1).unwrap_or_else(|errors| panic!("{replicas}: {errors:?}"))
    };
    for (replicas, expected) in [
        ("[2, 1, 0]", &[(4, 1), (5, 2), (6, 1)][..]),
        ("[0, 1, 2]", &[(4, 2), (5, 3), (6, 3)]),
        ("[0, 3, 1]", &[(4, 2), (5, 3), (6, 2), (7, 2)]),
        ("[0, 0, 0]", &[]),
    ] {
        let plan = plan(replicas);
        let masters =
            plan.nodes[..3].iter().map(|node| (node.node.0, node.shard.0, node.replica_of)).collect::<Vec<_>>();
        assert_eq!(masters, [(1, 1, None), (2, 2, None), (3, 3, None)], "{replicas}");
        let found = plan.nodes[3..].iter().map(|node| (node.node.0, node.replica_of.unwrap().0)).collect::<Vec<_>>();
        assert_eq!(found, expected, "{replicas}");
        assert!(plan.nodes.iter().all(|node| node.replica_of.is_none_or(|master| master.0 == node.shard.0)));
    }
    assert_eq!(plan("[1, 1, 1]"), plan("1"));
    assert_eq!(plan("[2, 2, 2]"), plan("2"));
    let problems_of = |replicas: &str, step: &str| problems(&suite_of(&cluster(replicas), &[step], &["redirects: {}"]));
    for (replicas, step, expected) in [
        (
            "[1, 1]",
            "settle: 1s",
            "cluster.replicas-per-master: 2 numbers of replicas for 3 masters (hint: one number a master, or one for all)",
        ),
        ("[]", "settle: 1s", "cluster.replicas-per-master: 0 numbers of replicas for 3 masters"),
        ("[1, 6, 1]", "settle: 1s", "cluster.replicas-per-master[1]: 6 replicas per master are too many"),
        (
            "[2, 1, 0]",
            "kill: shard-3/replica",
            "steps[0].kill: \"shard-3/replica\" matches no node: shard-3 of this cluster has no replica",
        ),
        (
            "[2, 1, 0]",
            "await: { promoted: shard-3, within: 1s }",
            "steps[0].await.promoted: no replica can be promoted: shard-3 has none",
        ),
        (
            "[2, 1, 0]",
            "await: { in-sync: node-3, within: 1s }",
            "steps[0].await.in-sync: \"node-3\" has nothing to be in sync with",
        ),
        (
            "[2, 1, 0]",
            "await: { in-sync: shard-3/master, within: 1s }",
            "steps[0].await.in-sync: \"shard-3/master\" has nothing",
        ),
        ("[2, 1, 0]", "kill: node-7", "steps[0].kill: node-7 does not exist (the cluster has node-1 to node-6)"),
        (
            "[0, 0, 0]",
            "kill: any/replica",
            "steps[0].kill: \"any/replica\" matches no node: `replicas-per-master` is 0",
        ),
    ] {
        let found = problems_of(replicas, step);
        assert_eq!(found.len(), 1, "{replicas} / {step}: {found:?}");
        assert!(found[0].starts_with(expected), "{replicas} / {step}: {}", found[0]);
    }
    for step in
        ["kill: any/replica", "await: { in-sync: all, within: 1s }", "await: { in-sync: any/master, within: 1s }"]
    {
        assert_eq!(problems_of("[2, 1, 0]", step), Vec::<String>::new(), "{step}");
    }
    for (invariant, expected) in [
        (
            "failover-time: { shard: shard-3, within: spec }",
            "invariants[0].failover-time.shard: no replica to observe: shard-3 has none",
        ),
        (
            "not-promoted: { shard: shard-3 }",
            "invariants[0].not-promoted.shard: no replica to observe: shard-3 has none",
        ),
        (
            "replica-lag: { at: end, max-bytes: 0, shard: shard-3 }",
            "invariants[0].replica-lag.shard: no replica to observe",
        ),
    ] {
        let found = problems(&suite_of(&cluster("[2, 1, 0]"), &["stop: node-1"], &[invariant]));
        assert_eq!(found.len(), 1, "{invariant}: {found:?}");
        assert!(found[0].starts_with(expected), "{invariant}: {}", found[0]);
    }
}

/// `any` means one shard in the whole plan. Where a step needs a replica of it, it is one that has some.
#[test]
fn draws_a_shard_with_a_replica_where_one_is_needed() {
    let drawn = |step: &str, seed| {
        let suite = suite_of("{ replicas-per-master: [0, 1, 0] }", &[step], &["agreement: { within: 1s }"]);
        serde_json::to_value(&Plan::new(&suite, seed).unwrap().steps[0]).unwrap().to_string()
    };
    let all = |step: &str| (0..50).map(|seed| drawn(step, seed)).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(all("kill: any/replica").into_iter().collect::<Vec<_>>(), [r#"{"kill":"shard-2/replica"}"#]);
    assert_eq!(all("kill: any/master").len(), 3);
    let synced = all("await: { in-sync: any/master, within: 1s }");
    assert!(synced.len() == 1 && synced.first().unwrap().contains("shard-2/master"), "{synced:?}");
}

#[test]
fn directives_of_a_suite_override_the_defaults() {
    let suite =
        suite_of("{ config: { appendonly: no, maxmemory: 100mb } }", &["settle: 1s"], &["agreement: { within: 1s }"]);
    let plan = Plan::new(&suite, 1).unwrap();
    let config: Vec<_> = plan.config.iter().map(|(name, value)| (name.as_str(), value.0.as_str())).collect();
    assert_eq!(
        config,
        [
            ("appendonly", "no"),
            ("cluster-allow-reads-when-down", "yes"),
            ("cluster-node-timeout", "5000"),
            ("cluster-require-full-coverage", "no"),
            ("maxmemory", "100mb"),
            ("protected-mode", "no"),
        ]
    );
}

#[test]
fn any_is_a_random_shard() {
    let suite = suite_of(
        "{ masters: 5 }",
        &[
            "stop: any/master",
            "await: { in-sync: any/replica, within: 5s }",
            "start: [any/master, node-1]",
            "await: { role: any/replica, is: replica, within: 5s }",
            "command: { send: PING, to: any/master }",
            "expect: { send: GET x, to: any/replica, moved-to: any/master }",
            "partition: { between: [[any/master, half-clients], others] }",
            "lossy: { between: [any/master, any/replica], percent: 5% }",
            "narrow: { between: [any/master, others], rate: 9kB/s }",
            "refuse: { between: [client-1, any/master] }",
            "slow: { between: [others, any/replica], latency: 1ms }",
            "expect: { send: PING, to: any/replica, is: PONG }",
        ],
        &["role: { node: any/replica, is: master }"],
    );
    let mut drawn = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let plan = Plan::new(&suite, seed).unwrap();
        assert_eq!(plan, Plan::new(&suite, seed).unwrap());
        let text = serde_json::to_string(&plan).unwrap();
        assert!(!text.contains("any/"), "{text}");
        let Step::Stop(Targets(targets)) = &plan.steps[0] else { panic!("the first step stops") };
        let shard = targets[0].shard(&plan.deal()).unwrap();
        assert_eq!(text.matches(&format!("{shard}/")).count(), 15, "{text}");
        drawn.insert(shard);
    }
    assert_eq!(drawn.into_iter().collect::<Vec<_>>(), (1..=5).map(ShardNo).collect::<Vec<_>>());
}

#[test]
fn rejects_a_fault_that_its_node_cannot_have() {
    let none: &[&str] = &[];
    let rows: [(&[&str], &[&str]); 19] = [
        (&["stop: node-1", "start: node-1"], none),
        (&["kill: node-1", "start: node-1", "kill: node-1"], none),
        (&["pause: node-1", "resume: node-1", "pause: node-1"], none),
        (&["pause: node-1", "kill: node-1", "start: node-1"], none),
        (&["stop: shard-1/master", "stop: node-4", "start: [node-4, node-1]"], none),
        (&["stop: all", "start: node-6"], none),
        (&["stop: key:testkey/master", "start: node-1"], none),
        (&["pause: minority", "resume: node-2"], none),
        (
            &["stop: node-1", "stop: node-1"],
            &["steps[1].stop: node-1 is already down: `steps[0]` ended it (hint: `start: node-1` first)"],
        ),
        (
            &["kill: [node-2, node-2]"],
            &["steps[0].kill[1]: node-2 is already down: this step ended it (hint: `start: node-2` first)"],
        ),
        (
            &["stop: node-1", "pause: node-1"],
            &["steps[1].pause: node-1 is already down: `steps[0]` ended it (hint: `start: node-1` first)"],
        ),
        (
            &["pause: node-1", "pause: node-1"],
            &["steps[1].pause: node-1 is already paused by `steps[0]` (hint: `resume: node-1` first)"],
        ),
        (
            &["pause: node-1", "stop: node-1"],
            &[
                "steps[1].stop: node-1 is paused by `steps[0]` and does not handle a signal (hint: `resume: node-1` first, or `kill` it)",
            ],
        ),
        (
            &["start: node-3"],
            &["steps[0].start: node-3 is already running (hint: an earlier step must stop or kill it)"],
        ),
        (
            &["stop: shard-1/master", "start: node-2"],
            &["steps[1].start: node-2 is already running (hint: an earlier step must stop or kill it)"],
        ),
        (
            &["pause: node-1", "start: node-1"],
            &["steps[1].start: node-1 is not down but paused by `steps[0]` (hint: `resume: node-1`)"],
        ),
        (&["resume: node-1"], &["steps[0].resume: node-1 is not paused (hint: an earlier step must pause it)"]),
        (
            &["stop: node-1", "resume: node-1"],
            &["steps[1].resume: node-1 is not paused but down: `steps[0]` ended it (hint: `start: node-1`)"],
        ),
        (&["stop: node-7"], &["steps[0].stop: node-7 does not exist (the cluster has node-1 to node-6)"]),
    ];
    for (steps, expected) in rows {
        assert_eq!(problems(&suite_of("{}", steps, &["agreement: { within: 1s }"])), expected, "{steps:?}");
    }
}

#[test]
fn rejects_settings_without_an_effect() {
    let fault = "kill: node-1";
    for (cluster, step, invariant, expected) in [
        ("{}", fault, "availability: { of: reads }", "invariants[0].availability: availability needs a bound"),
        ("{}", fault, "stale-reads: { from: any }", "invariants[0].stale-reads: stale-reads needs a bound"),
        (
            "{ replicas-per-master: 0 }",
            fault,
            "stale-reads: { from: replicas, max-age: 0s }",
            "invariants[0].stale-reads: no replica to observe",
        ),
        ("{}", fault, "linearizable: { keys: 0 }", "invariants[0].linearizable.keys: no key to judge"),
        ("{}", fault, "monotonic-reads: { during: x }", "invariants[0].monotonic-reads.during: unknown phase \"x\""),
        (
            "{}",
            fault,
            "availability: { of: reads, served: never, max-outage: 1s }",
            "invariants[0].availability.served: `served` cannot be combined",
        ),
        (
            "{}",
            fault,
            "availability: { of: reads, served: never, during: x }",
            "invariants[0].availability.during: unknown phase \"x\"",
        ),
        (
            "{}",
            fault,
            "availability: { of: reads, shard: shard-4, served: never }",
            "invariants[0].availability.shard: shard-4 does not exist",
        ),
        (
            "{}",
            fault,
            "redirects: { at: throughout }",
            "invariants[0].redirects.at: this invariant is checked only at the end, not at \"throughout\"",
        ),
        (
            "{}",
            fault,
            "replica-read-only: { at: x }",
            "invariants[0].replica-read-only.at: this invariant is checked only at the end",
        ),
        (
            "{}",
            fault,
            "role: { node: masters, is: master }",
            "invariants[0].role.node: \"masters\" may be several nodes",
        ),
        (
            "{}",
            fault,
            "role: { node: node-1, is: replica-of node-1 }",
            "invariants[0].role.is: node-1 cannot replicate itself",
        ),
        ("{}", fault, "role: { node: node-1, is: replica-of node-9 }", "invariants[0].role.is: node-9 does not exist"),
        ("{}", fault, "slot-coverage: { at: recovery }", "invariants[0].slot-coverage.at: unknown phase \"recovery\""),
        (
            "{}",
            fault,
            "failover-time: { shard: others, within: spec }",
            "invariants[0].failover-time.shard: `others` are the shards that no fault affects",
        ),
        (
            "{}",
            "settle: 1s",
            "failover-time: { shard: all, within: spec }",
            "invariants[0].failover-time: no step begins a fault",
        ),
        (
            "{}",
            fault,
            "split-brain: { may-last: spec }",
            "invariants[0].split-brain: no step cuts the cluster bus or pauses a node",
        ),
        (
            "{}",
            "partition: { between: [node-1, others], only: replication }",
            "write-cutoff: { within: spec }",
            "invariants[0].write-cutoff: no step cuts the cluster bus",
        ),
        ("{}", fault, "convergence: { within: spec }", "invariants[0].convergence: no step begins a network fault"),
        (
            "{}",
            "settle: 1s",
            "replica-lag: { at: end, max-bytes: 0, back-within: 5s }",
            "invariants[0].replica-lag.back-within: no step begins a fault",
        ),
        (
            "{ replicas-per-master: 0 }",
            "partition: { shape: ring }",
            "split-brain: { may-last: spec }",
            "invariants[0].split-brain: no replica to observe",
        ),
        (
            "{ replicas-per-master: 0 }",
            "partition: { between: [shard-1/master, shard-1/replica] }",
            "redirects: {}",
            "steps[0].partition.between[1]: \"shard-1/replica\" matches no node",
        ),
        ("{}", "stop: clients", "redirects: {}", "steps[0].stop: \"clients\" is valid only on a side"),
        (
            "{}",
            "await: { failed: others, within: 1s }",
            "redirects: {}",
            "steps[0].await.failed: \"others\" is valid only",
        ),
        (
            "{ replicas-per-master: 0 }",
            fault,
            "failover-time: { shard: all, within: spec }",
            "invariants[0].failover-time: no replica to observe",
        ),
        (
            "{ replicas-per-master: 0 }",
            fault,
            "replica-lag: { at: end, max-bytes: 0 }",
            "invariants[0].replica-lag: no replica to observe",
        ),
        (
            "{ replicas-per-master: 0 }",
            fault,
            "replica-read-only: {}",
            "invariants[0].replica-read-only: no replica to observe",
        ),
        (
            "{ replicas-per-master: 0 }",
            "stop: replicas",
            "redirects: {}",
            "steps[0].stop: \"replicas\" matches no node",
        ),
        (
            "{ replicas-per-master: 0 }",
            "stop: any/replica",
            "redirects: {}",
            "steps[0].stop: \"any/replica\" matches no node",
        ),
        (
            "{ replicas-per-master: 0 }",
            "await: { in-sync: all, within: 1s }",
            "redirects: {}",
            "steps[0].await.in-sync: there are no replicas",
        ),
        (
            "{}",
            "await: { failed: node-1, within: 0s }",
            "redirects: {}",
            "steps[0].await.within: a limit of 0s gives no time to wait",
        ),
        ("{}", "await: { role: node-1, within: 1s }", "redirects: {}", "steps[0].await: `role` and `is` go together"),
        (
            "{}",
            "expect: { send: PING, to: all, is: PONG }",
            "redirects: {}",
            "steps[0].expect.to: \"all\" may be several nodes",
        ),
        (
            "{}",
            "expect: { send: PING, to: node-1, contains: [] }",
            "redirects: {}",
            "steps[0].expect.contains: every answer contains an empty text",
        ),
        (
            "{}",
            "expect: { send: PING, to: node-1, starts-with: '' }",
            "redirects: {}",
            "steps[0].expect.starts-with: every answer starts with an empty text",
        ),
        (
            "{}",
            "expect: { send: GET x, to: node-1, follow: true, moved-to: node-2 }",
            "redirects: {}",
            "steps[0].expect.moved-to: with `follow`, MOVED is followed and never seen",
        ),
        (
            "{}",
            "exec: { run: x, within: 0s }",
            "redirects: {}",
            "steps[0].exec.within: a limit of 0s gives no time to run",
        ),
        ("{}", "exec: { run: [''] }", "redirects: {}", "steps[0].exec.run: the name of the program is empty"),
        (
            "{}",
            "expect: { exec: x, within: 1s, contains: [] }",
            "redirects: {}",
            "steps[0].expect.contains: every answer contains an empty text",
        ),
        ("{}", "expect: { exec: x }", "redirects: {}", "steps[0].expect: `exec` needs `within`"),
        (
            "{}",
            "expect: { exec: x, to: node-1, within: 1s }",
            "redirects: {}",
            "steps[0].expect: `exec` runs a program, and takes neither `send` nor `to`",
        ),
        (
            "{}",
            "expect: { exec: x, within: 1s, refused: true }",
            "redirects: {}",
            "steps[0].expect: `moved-to` and `refused` go with `send`, not with `exec`",
        ),
        (
            "{}",
            "expect: { exec: x, within: 1s, follow: true }",
            "redirects: {}",
            "steps[0].expect: `follow` and `readonly` go with `send`, not with `exec`",
        ),
        (
            "{}",
            "expect: { exec: x, within: 1s, is: y, starts-with: y }",
            "redirects: {}",
            "steps[0].expect: `exec` takes at most one of `is`, `starts-with`, `contains`; 2 are given",
        ),
        (
            "{}",
            "expect: { send: PING, to: node-1, is: PONG, within: 1s }",
            "redirects: {}",
            "steps[0].expect: `within` goes with `exec`, not with `send`",
        ),
        (
            "{}",
            "expect: { send: PING, is: PONG }",
            "redirects: {}",
            "steps[0].expect: expect needs `send` and `to`, or `exec` and `within`",
        ),
        ("{}", "command: { send: PING, to: node-8 }", "redirects: {}", "steps[0].command.to: node-8 does not exist"),
        ("{ masters: 64, replicas-per-master: 5 }", fault, "redirects: {}", "cluster.masters: 384 nodes are too many"),
        ("{ replicas-per-master: 6 }", fault, "redirects: {}", "cluster.replicas-per-master: 6 replicas"),
        (
            "{ config: { Appendonly: no } }",
            fault,
            "redirects: {}",
            "cluster.config.Appendonly: \"Appendonly\" is not the name of a directive",
        ),
        (
            "{ config: { appendonly: \"no\\nport 1\" } }",
            fault,
            "redirects: {}",
            "cluster.config.appendonly: the value of `appendonly` has more than one line",
        ),
        (
            "{ config: { requirepass: x } }",
            fault,
            "redirects: {}",
            "cluster.config.requirepass: a suite cannot set `requirepass`",
        ),
        (
            "{ config: { cluster-node-timeout: 10 } }",
            fault,
            "redirects: {}",
            "cluster.config.cluster-node-timeout: \"10\" is not a node timeout",
        ),
    ] {
        let found = problems(&suite_of(cluster, &[step], &[invariant]));
        assert_eq!(found.len(), 1, "{step} / {invariant}: {found:?}");
        assert!(found[0].starts_with(expected), "{step} / {invariant}: {}", found[0]);
    }
}

#[test]
fn derives_the_needs_of_a_plan_from_its_steps() {
    for (steps, needs) in [
        (&["settle: 1s"][..], &[][..]),
        (&["stop: node-1", "start: node-1"], &[Need::Stop, Need::Start]),
        (&["kill: node-1"], &[Need::Kill]),
        (&["pause: node-1"], &[Need::Freeze]),
        (&["partition: { between: [node-1, others] }"], &[Need::Isolate]),
        (&["partition: { shape: ring }"], &[Need::Links]),
        (&["partition: { between: [clients, node-1], only: clients }"], &[Need::Links, Need::Clients]),
        (&["lossy: { between: [node-1, node-2], percent: 0.01% }"], &[Need::Links, Need::Impairments, Need::Loss]),
        (&["narrow: { between: [node-1, node-2], rate: 1kB/s }"], &[Need::Links, Need::Impairments]),
        (&["refuse: { between: [node-1, node-2] }"], &[Need::Links, Need::Impairments]),
        (&["slow: { between: [node-1, node-2], latency: 5ms }"], &[Need::Links, Need::Delays]),
        (&["clock: { node: node-2, jump: 1h }", "heal: all"], &[Need::Clocks]),
        (&["kill: node-1", "start: { node: node-1, expect: either }"], &[Need::Kill, Need::Start]),
        (&["kill: node-1", "corrupt: { node: node-1, file: aof, flip: 1 }"], &[Need::Kill, Need::Damage]),
        (&["disk: { node: node-2, full: true }", "heal: all"], &[Need::Disks]),
    ] {
        let plan = Plan::new(&suite_of("{}", steps, &["redirects: {}"]), 1).unwrap();
        assert_eq!(plan.needs(), needs.iter().copied().collect(), "{steps:?}");
        assert!(needs.iter().all(|&need| plan.needs_to(need)), "{steps:?}");
    }
}

#[test]
fn admits_a_valid_step_and_draws_any() {
    let plan = Plan::new(&suite_of("{}", &["settle: 1s"], &["redirects: {}"]), 1).unwrap();
    let admit = |step: &str, seed| plan.admit(serde_json::from_str(step).expect("a step"), seed);
    // Earlier steps do not matter: an earlier request may have stopped the node.
    for step in [r#"{"start": "node-1"}"#, r#"{"heal": "cut"}"#, r#"{"partition": {"between": ["node-1", "others"]}}"#]
    {
        assert_eq!(serde_json::to_value(admit(step, 1).unwrap()).unwrap(), admitted(step), "{step}");
    }
    let drawn: std::collections::BTreeSet<String> = (0..50)
        .map(|seed| serde_json::to_string(&admit(r#"{"kill": "any/master"}"#, seed).unwrap()).unwrap())
        .collect();
    let of = |shard: u16| format!(r#"{{"kill":"shard-{shard}/master"}}"#);
    assert_eq!(drawn, [of(1), of(2), of(3)].into());
    for (step, expected) in [
        (r#"{"kill": "node-9"}"#, "kill: node-9 does not exist (the cluster has node-1 to node-6)"),
        (r#"{"refuse": {"between": ["client-9", "node-1"]}}"#, "refuse.between[0]: client-9 does not exist"),
        (r#"{"partition": {"shape": "ring", "name": "all"}}"#, "partition.name: \"all\" cannot name a fault"),
        (r#"{"partition": {"between": ["node-1", "node-1"]}}"#, "partition.between[1]: \"node-1\" is on both sides"),
    ] {
        let problems = admit(step, 1).unwrap_err();
        assert!(problems[0].to_string().starts_with(expected), "{step}: {problems:?}");
    }
}

/// A step with its defaults filled in.
fn admitted(step: &str) -> serde_json::Value {
    let mut value: serde_json::Value = serde_json::from_str(step).unwrap();
    if let Some(fault) = value.get_mut("partition") {
        fault["only"] = "all".into();
    }
    value
}

#[test]
fn a_key_has_at_most_as_many_writers_as_there_are_clients() {
    let mut suite = suite_of("{}", &["settle: 1s"], &["acked-writes: { may-lose: 0 }"]);
    assert_eq!(suite.workload.writers, 1, "the default");
    suite.workload.clients = 2;
    for (writers, expected) in [
        (
            0,
            Some(
                "workload.writers: a key cannot have 0 writers of 2 clients (hint: each writer of a key is another client: 1 to 2)",
            ),
        ),
        (1, None),
        (2, None),
        (
            3,
            Some(
                "workload.writers: a key cannot have 3 writers of 2 clients (hint: each writer of a key is another client: 1 to 2)",
            ),
        ),
    ] {
        suite.workload.writers = writers;
        let found = Plan::new(&suite, 1).err().map(|problems| problems.iter().map(ToString::to_string).collect());
        assert_eq!(found, expected.map(|text| vec![text.to_owned()]), "{writers}");
    }
    suite.workload.writers = 1;
    let plan = serde_json::to_value(Plan::new(&suite, 1).unwrap()).unwrap();
    assert!(plan["workload"].get("writers").is_none(), "a plan with one writer is stored as earlier versions did");
}

#[test]
fn rejects_an_invariant_without_operations_to_observe() {
    let mut suite = suite_of(
        "{}",
        &["settle: 1s"],
        &["acked-writes: { may-lose: 0 }", "availability: { of: reads, served: always }"],
    );
    suite.workload.reads = "100%".parse().unwrap();
    assert_eq!(problems(&suite), ["invariants[0].acked-writes: no writes to observe: `workload.reads` is 100%"]);
    suite.workload.reads = "0%".parse().unwrap();
    assert_eq!(problems(&suite), ["invariants[1].availability.of: no reads to observe: `workload.reads` is 0%"]);
}

prop_compose! {
    fn cluster_size()(masters in 3_u16..=20, replicas in 1_u16..=5) -> (u16, u16) { (masters, replicas) }
}

fn step(masters: u16, replicas: u16) -> impl Strategy<Value = String> {
    let target = prop_oneof![
        (1..=masters).prop_map(|shard| format!("shard-{shard}/master")),
        (1..=masters).prop_map(|shard| format!("shard-{shard}/replicas")),
        (0_u16..SLOTS).prop_map(|slot| format!("slot:{slot}/master")),
        "[a-z]{1,8}".prop_map(|key| format!("key:{key}/replica")),
        Just("any/master".to_owned()),
        Just("minority".to_owned()),
    ];
    let node = 1..=masters * (1 + replicas);
    prop_oneof![
        (1_u64..3000).prop_map(|ms| format!("settle: {ms}ms")),
        (prop_oneof![Just("stop"), Just("kill"), Just("pause"), Just("start"), Just("resume")], target.clone())
            .prop_map(|(verb, target)| format!("{verb}: {target}")),
        (1..=masters, 1_u64..90)
            .prop_map(|(shard, secs)| format!("await: {{ promoted: shard-{shard}, within: {secs}s }}")),
        (
            prop_oneof![
                Just("partition"),
                Just("partition: only: bus, one-way: true"),
                Just("refuse"),
                Just("lossy: percent: 12.5%"),
                Just("narrow: rate: 30kB/s, only: replication"),
                Just("slow: latency: 20ms"),
            ],
            target.clone()
        )
            .prop_map(|(fault, target)| {
                let (fault, settings) = fault.split_once(": ").unwrap_or((fault, "one-way: no"));
                let settings = if fault == "refuse" { "only: all" } else { settings };
                format!("{fault}: {{ between: [[{target}, half-clients], others], {settings} }}")
            }),
        prop_oneof![Just("halves"), Just("bridge"), Just("ring")]
            .prop_map(|shape| format!("partition: {{ shape: {shape} }}")),
        (
            target.clone(),
            prop_oneof![Just("aof"), Just("rdb"), Just("nodes.conf")],
            prop_oneof![
                (1_u32..99).prop_map(|bits| format!("flip: {bits}")),
                (1_u32..99_999).prop_map(|bytes| format!("truncate: {bytes}B")),
                (1_u32..100).prop_map(|percent| format!("zero: {percent}%")),
            ]
        )
            .prop_map(|(target, file, damage)| format!("corrupt: {{ node: {target}, file: {file}, {damage} }}")),
        (target.clone(), prop_oneof![Just("up"), Just("down"), Just("either")])
            .prop_map(|(target, expect)| format!("start: {{ node: {target}, expect: {expect} }}")),
        target.prop_map(|target| format!("await: {{ failed: [{target}, all], within: spec }}")),
        (node.clone(), any::<i64>())
            .prop_map(|(node, value)| format!("command: {{ send: [SET, k, {value}], to: node-{node} }}")),
        (node, "[a-z0-9 ~:]{0,12}")
            .prop_map(|(node, is)| format!("expect: {{ send: GET k, to: node-{node}, is: '{is}' }}")),
    ]
}

fn generated() -> impl Strategy<Value = Suite> {
    let invariants = prop::sample::subsequence(
        vec![
            "slot-coverage: { at: end }",
            "agreement: { within: spec }",
            "role: { node: shard-1/master, is: master, at: only }",
            "replica-lag: { at: throughout, max-bytes: 100, shard: shard-2 }",
            "acked-writes: { may-lose: measured }",
            "acked-writes: { may-lose: 12 }",
            "availability: { of: reads, shard: others, min-served: 99.5% }",
            "availability: { of: writes, during: only, served: never }",
            "promotions: { exactly: 2 }",
            "redirects: {}",
            "epochs: { max-rise: 2 }",
            "epochs: {}",
        ],
        1..=12,
    );
    cluster_size()
        .prop_flat_map(move |(masters, replicas)| {
            (
                Just((masters, replicas)),
                prop::collection::vec(step(masters, replicas), 0..12),
                invariants.clone(),
                "[a-z]{3,9}",
                "[0-9a-z]{0,9}",
            )
        })
        .prop_map(|((masters, replicas), steps, invariants, directive, value)| {
            let mut lines = vec!["phase: only"];
            lines.extend(steps.iter().map(String::as_str));
            let cluster = format!(
                "{{ masters: {masters}, replicas-per-master: {replicas}, config: {{ x-{directive}: \"{value}\" }} }}"
            );
            suite_of(&cluster, &lines, &invariants)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn json_and_the_loader_keep_a_suite(suite in generated()) {
        let json = serde_json::to_string(&suite).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Suite>(&json).unwrap(), &suite);
        // JSON is YAML, so the loader reads it, too.
        prop_assert_eq!(&suite::parse(&json, Path::new("json")).unwrap(), &suite);
        // An override with the current value changes nothing.
        prop_assert_eq!(&suite::set(&suite, &format!("cluster.masters={}", suite.cluster.masters)).unwrap(), &suite);
    }

    #[test]
    fn a_plan_is_deterministic_and_covers_every_slot_once(suite in generated(), seed: u64) {
        let plan = Plan::new(&suite, seed).map_err(|errors| TestCaseError::fail(format!("{errors:?}")))?;
        prop_assert_eq!(&Plan::new(&suite, seed).unwrap(), &plan);
        let json = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Plan>(&json).unwrap(), &plan);

        let cluster = &suite.cluster;
        let replicas = cluster.replicas_per_master.of_each(cluster.masters);
        prop_assert_eq!(plan.nodes.len(), usize::from(cluster.masters + replicas.iter().sum::<u16>()));
        let mut next = 0;
        for (index, node) in plan.nodes.iter().enumerate() {
            prop_assert_eq!(node.node, NodeNo::from_index(index));
            prop_assert_eq!(node.replica_of.is_none(), !node.slots.is_empty());
            if let [(first, last)] = node.slots[..] {
                prop_assert_eq!(first, next);
                next = last + 1;
            } else {
                prop_assert_eq!(node.replica_of.unwrap().0, node.shard.0);
            }
        }
        prop_assert_eq!(next, SLOTS);
        for shard in 1..=cluster.masters {
            let members = plan.nodes.iter().filter(|node| node.shard == ShardNo(shard)).count();
            prop_assert_eq!(members, usize::from(1 + replicas[usize::from(shard) - 1]));
        }
        prop_assert!(!json.contains("\"any/"), "{}", json);
    }
}

#[test]
fn servers_of_a_start_are_named_in_the_plan() {
    const START: [&str; 4] = [
        "stop: [node-4, node-5]",
        "start: { node: node-4, server: cluster.upgrade-to }",
        "stop: node-4",
        "start: { node: [node-4, node-5], server: cluster.server, data: lost }",
    ];
    let invariants = ["agreement: { within: 1s }"];
    let suite = suite_of("{ server: redis:6.2, upgrade-to: redis:7.0 }", &START, &invariants);
    let plan = Plan::new(&suite, 1).expect("it plans");
    let servers: Vec<_> = plan.steps.iter().filter_map(|step| step.change()?.server.clone()).collect();
    assert_eq!(servers, ["redis:7.0", "redis:6.2"]);
    assert_eq!(plan.servers(), ["redis:6.2", "redis:7.0"]);
    assert!(plan.needs_to(Need::Change));
    assert!(!plan.needs_to(Need::NewAddress), "every node comes back where it was");
    assert_eq!(suite.upgrades().collect::<Vec<_>>(), [1]);
    let moved =
        suite_of("{ server: redis:6.2 }", &["stop: node-4", "start: { node: node-4, address: new }"], &invariants);
    assert!(Plan::new(&moved, 1).expect("it plans").needs_to(Need::NewAddress));

    let without = suite_of("{ server: redis:6.2 }", &START, &invariants);
    let said = "steps[1].start.server: the suite does not say what to upgrade to (hint: set `cluster.upgrade-to`, or use \
                `--to`)";
    assert_eq!(problems(&without), [said]);
    let plain = suite_of("{ server: redis:6.2 }", &["stop: node-4", "start: { node: node-4 }"], &invariants);
    let plan = Plan::new(&plain, 1).expect("it plans");
    assert!(!plan.needs_to(Need::Change), "nothing is different");
    assert_eq!(plan.servers(), ["redis:6.2"]);
}

#[test]
fn a_start_that_cannot_change_a_node_is_refused() {
    for (steps, expected) in [
        (&["start: { node: node-4, data: lost }"][..], "steps[0].start.node: node-4 is already running"),
        (&["stop: node-4", "start: { node: node-9, data: lost }"], "steps[1].start.node: node-9 does not exist"),
        (&["stop: node-4", "start: { node: node-4, server: \"\" }"], "steps[1].start.server: the server is empty"),
        (
            &["stop: node-4", "start: { node: node-4, config: { port: 7 } }"],
            "steps[1].start.config.port: a suite cannot set `port`: the harness assigns the addresses",
        ),
        (
            &["stop: node-4", "start: { node: node-4, config: { cluster-node-timeout: 9 } }"],
            "steps[1].start.config.cluster-node-timeout: \"9\" is not a node timeout",
        ),
    ] {
        let said = problems(&suite_of("{ server: redis:6.2 }", steps, &["agreement: { within: 1s }"]));
        assert!(said.len() == 1 && said[0].starts_with(expected), "{said:?}: {expected}");
    }
}

#[test]
fn a_file_is_damaged_only_while_its_server_is_down() {
    let none: &[&str] = &[];
    let rows: [(&[&str], &[&str]); 11] = [
        (&["kill: node-1", "corrupt: { node: node-1, file: aof, flip: 1 }", "start: node-1"], none),
        (&["stop: shard-1/master", "corrupt: { node: node-1, file: aof, truncate: 10% }"], none),
        (&["kill: [node-1, node-4]", "corrupt: { node: [node-1, node-4], file: rdb, zero: 1kB }"], none),
        (&["kill: node-1", "start: { node: node-1, expect: down }", "start: { node: node-1, data: lost }"], none),
        (&["kill: node-1", "start: { node: node-1, expect: either }", "start: { node: node-1, data: lost }"], none),
        (
            &["corrupt: { node: node-1, file: aof, flip: 1 }"],
            &["steps[0].corrupt.node: node-1 is not down, so its files are in use (hint: `kill: node-1` first)"],
        ),
        (
            &["kill: node-1", "start: node-1", "corrupt: { node: [node-1, node-9], file: nodes.conf, flip: 1 }"],
            &[
                "steps[2].corrupt.node[1]: node-9 does not exist (the cluster has node-1 to node-6)",
                "steps[2].corrupt.node[0]: node-1 is not down, so its files are in use (hint: `kill: node-1` first)",
            ],
        ),
        (
            &["pause: node-1", "corrupt: { node: node-1, file: aof, flip: 1 }"],
            &["steps[1].corrupt.node: node-1 is not down, so its files are in use (hint: `kill: node-1` first)"],
        ),
        (
            &["kill: node-1", "corrupt: { node: node-1, file: aof }"],
            &["steps[1].corrupt: corrupt needs `flip`, `truncate` or `zero` (hint: `truncate: 10%`)"],
        ),
        (
            &["kill: node-1", "corrupt: { node: node-1, file: aof, truncate: 0B }"],
            &["steps[1].corrupt.truncate: nothing would be damaged (hint: `100B`, or `10%`)"],
        ),
        (
            &["kill: node-1", "start: { node: node-1, expect: down }", "kill: node-1"],
            &["steps[2].kill: node-1 is already down: `steps[1]` ended it (hint: `start: node-1` first)"],
        ),
    ];
    for (steps, expected) in rows {
        assert_eq!(problems(&suite_of("{}", steps, &["agreement: { within: 1s }"])), expected, "{steps:?}");
    }
}

#[test]
fn a_run_has_the_speed_that_is_asked_for_within_that_of_its_suite() {
    use slotquake_judge::suite::SpeedSetting;
    use slotquake_judge::units::Speed;

    let speed = |text: &str| text.parse::<Speed>().unwrap();
    let plan = |name: &str, own: Option<&str>| {
        let mut suite = suite::load(name).unwrap();
        suite.speed = own.map(|own| own.parse().unwrap());
        Plan::new(&suite, 1).unwrap()
    };
    // The machine can keep 7.
    for (name, own, asked, expected) in [
        ("role-swap", None, None, "1"),
        ("role-swap", Some("3"), None, "3"),
        ("role-swap", Some("auto"), None, "7"),
        ("role-swap", None, Some("20"), "20"),
        ("role-swap", None, Some("auto"), "7"),
        ("role-swap", Some("3"), Some("20"), "3"),
        ("role-swap", Some("30"), Some("20"), "20"),
        ("role-swap", Some("1"), Some("auto"), "1"),
        ("role-swap", Some("30"), Some("auto"), "7"),
        ("role-swap", Some("auto"), Some("20"), "20"),
        ("lossy-links", None, Some("20"), "1"),
        ("lossy-links", Some("auto"), None, "1"),
    ] {
        let asked: Option<SpeedSetting> = asked.map(|asked| asked.parse().unwrap());
        assert_eq!(plan(name, own).speed(asked, speed("7")), speed(expected), "{name} {own:?} {asked:?}");
    }
}

const RANDOM: &str = "random: { faults: [kill, pause, isolate, failover], every: 1s..4s, lasts: 500ms..6s, for: 60s }";

fn with_random(step: &str) -> Suite {
    let suite = suite_of("{ masters: 3 }", &["phase: chaos", step, "settle: 1s"], &["agreement: { within: 1s }"]);
    Suite { if_impossible: suite::IfImpossible::Skip, ..suite }
}

#[test]
fn a_plan_has_the_faults_that_its_seed_draws() {
    let suite = with_random(RANDOM);
    let plan = |seed| Plan::new(&suite, seed).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(plan(7).steps, plan(7).steps);
    assert_ne!(plan(7).steps, plan(8).steps);
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let steps = plan(seed).steps;
        assert!(!steps.iter().any(|step| matches!(step, Step::Random(_))));
        let settled: u128 = steps
            .iter()
            .map(|step| match step {
                Step::Settle(span) => span.0.as_millis(),
                _ => 0,
            })
            .sum();
        assert_eq!(settled, 61_000, "seed {seed}");
        let faults = steps.iter().filter(|step| step.fault().is_some()).count();
        let undone =
            steps.iter().filter(|step| matches!(step, Step::Start(_) | Step::Resume(_) | Step::Heal(_))).count();
        assert!(faults > 5 && faults == undone, "seed {seed}: {faults} faults, {undone} undone");
        kinds.extend(steps.iter().filter_map(Step::fault).map(|fault| format!("{:?}", fault.kind())));
        kinds.extend(steps.iter().filter(|step| matches!(step, Step::Command(_))).map(|_| "Command".to_owned()));
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["Command", "Kill", "Partition", "Pause"]);
}

#[test]
fn random_faults_that_cannot_be_drawn_are_refused() {
    for (from, to, expected) in [
        ("kill, pause, isolate, failover", "", "steps[1].random.faults: there is nothing to draw from"),
        ("1s..4s", "0s..4s", "steps[1].random.every: faults would follow each other without a pause"),
        ("1s..4s", "10ms", "steps[1].random.for: that may be more than 500 faults"),
        ("for: 60s", "for: 20m", "steps[1].random.for: the steps settle longer than `max-duration`, 10m"),
    ] {
        let problems = problems(&with_random(&RANDOM.replace(from, to)));
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{to}: {problems:?}");
    }
    let mut ends = with_random(RANDOM);
    ends.if_impossible = suite::IfImpossible::End;
    assert!(problems(&ends)[0].contains("hint: `if-impossible: skip`"), "{:?}", problems(&ends));
    let reversed = RANDOM.replace("1s..4s", "4s..1s");
    assert!(Step::try_from(reversed.as_str()).expect_err("reversed").to_string().contains("the first time is longer"));
}

#[test]
fn a_closed_loop_judges_neither_availability_nor_latency() {
    for (invariant, name) in [
        ("availability: { of: reads, max-outage: 1s }", "availability"),
        ("latency: { of: reads, max: 1s }", "latency"),
        ("acked-writes: { may-lose: 0 }", ""),
    ] {
        let mut suite = suite_of("{}", &["settle: 1s"], &[invariant]);
        assert_eq!(problems(&suite), Vec::<String>::new(), "an open loop judges everything");
        suite = suite::set(&suite, "workload.loop=closed").unwrap();
        let found = problems(&suite);
        assert_eq!(found.is_empty(), name.is_empty(), "{found:?}");
        assert!(found.iter().all(|found| found.contains(name) && found.contains("workload.loop: open")), "{found:?}");
    }
}
