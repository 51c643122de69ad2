//! The loader of suite files: verbatim values, overrides, and messages that point at the offending
//! text.

use std::fmt::Write;
use std::path::Path;

use slotquake_judge::plan::Plan;
use slotquake_judge::suite::{self, Command, Errors, Expect, Source, Step};

const VALID: &str = "\
name: valid
about: A suite that every row below breaks in one place.
cluster:
  masters: 3
  replicas-per-master: 1
  config:
    cluster-node-timeout: 1000
workload:
  clients: 2
  rate: 200/s
  reads: 50%
steps:
  - phase: baseline
  - settle: 2s
  - phase: down
  - stop: shard-1/master
  - await: { promoted: shard-1, within: 15s }
  - expect:
      send: GET testkey
      to: node-4
      is: value
  - kill: node-2
  - start: [node-1, node-2]
invariants:
  - acked-writes: { may-lose: 0 }
  - availability: { of: reads, shard: others, max-outage: 0s }
  - role: { node: node-1, is: replica-of node-4, at: down }
";

fn source(text: &str) -> Result<Source, suite::LoadError> {
    Source::parse(text, Path::new("my.yaml"))
}

/// The error of loading and planning.
fn message(text: &str) -> String {
    match source(text).and_then(|source| Plan::from_source(&source, 1)) {
        Ok(_) => "no problem".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn accepts_the_valid_suite() {
    assert_eq!(message(VALID), "no problem");
}

#[test]
fn shows_every_problem_at_its_place() {
    let rows = [
        // Rejected by the YAML parser.
        ("a bracket that never ends", "{ promoted: shard-1, within: 15s }", "{ promoted: shard-1, within: 15s"),
        ("a tab for indentation", "  masters: 3", "\tmasters: 3"),
        ("a key twice", "  masters: 3", "  masters: 3\n  masters: 5"),
        ("a second document", "invariants:\n", "invariants: []\n---\nname: other\n"),
        ("a list as key", "  masters: 3", "  [masters]: 3"),
        // Rejected by the types.
        ("an unknown section", "cluster:", "clusters:"),
        ("an unknown key of a section", "  clients: 2", "  client: 2"),
        ("an unknown key without a similar one", "  clients: 2", "  banana: 2"),
        ("a missing section", "name: valid\n", ""),
        ("a missing deadline", "{ promoted: shard-1, within: 15s }", "{ promoted: shard-1 }"),
        (
            "a section left empty",
            "  masters: 3\n  replicas-per-master: 1\n  config:\n    cluster-node-timeout: 1000\n",
            "",
        ),
        ("an unknown step", "- stop:", "- stpo:"),
        ("an unknown invariant", "acked-writes:", "acknowledged-writes:"),
        ("two keys in one step", "- stop: shard-1/master", "- stop: shard-1/master\n    settle: 2s"),
        ("settings beside their step", "- await: { promoted: shard-1, within: 15s }", "- await:\n    within: 15s"),
        ("a step without value", "- settle: 2s", "- settle"),
        ("a step whose value was forgotten", "- settle: 2s", "- settle:"),
        ("a directive whose value was forgotten", "cluster-node-timeout: 1000", "save:"),
        ("settings that were forgotten", "{ may-lose: 0 }", ""),
        ("a number for a duration", "settle: 2s", "settle: 5"),
        ("a number for a rate", "rate: 200/s", "rate: 200"),
        ("a number for a percentage", "reads: 50%", "reads: 0.5"),
        ("a word for a number", "masters: 3", "masters: three"),
        ("a number out of range", "masters: 3", "masters: -1"),
        ("an unknown value of an enumeration", "of: reads", "of: read"),
        ("an invalid target", "stop: shard-1/master", "stop: shard-1/mater"),
        ("an invalid target in a list", "[node-1, node-2]", "[node-1, nod-2]"),
        ("an empty list of targets", "[node-1, node-2]", "[]"),
        ("a mapping for a word", "name: valid", "name: { is: valid }"),
        ("steps that are not a list", "steps:\n  - phase: baseline\n", "steps:\n  phase: baseline\nother:\n"),
        ("a word for a mapping", "- acked-writes: { may-lose: 0 }", "- acked-writes: 0"),
        ("a word where a number of writes belongs", "may-lose: 0", "may-lose: some"),
        ("no text", VALID, ""),
        ("a bare word", VALID, "role-swap"),
        // Rejected by the plan.
        ("a node that does not exist", "kill: node-2", "kill: node-9"),
        ("a node of a list that does not exist", "[node-1, node-2]", "[node-1, node-2, node-7]"),
        ("a shard that does not exist", "promoted: shard-1", "promoted: shard-4"),
        ("too few masters", "masters: 3", "masters: 2"),
        ("a word for a number of replicas", "replicas-per-master: 1", "replicas-per-master: one"),
        ("a word in a list of replicas", "replicas-per-master: 1", "replicas-per-master: [1, none, 1]"),
        ("a mapping for a number of replicas", "replicas-per-master: 1", "replicas-per-master: { shard-1: 1 }"),
        ("too few numbers of replicas", "replicas-per-master: 1", "replicas-per-master: [1, 1]"),
        ("too many replicas of one master", "replicas-per-master: 1", "replicas-per-master: [1, 1, 6]"),
        ("no replica to promote", "replicas-per-master: 1", "replicas-per-master: 0"),
        ("more clients than keys", "clients: 2", "clients: 20\n  keys: 10"),
        ("a directive that the harness sets", "cluster-node-timeout: 1000", "port: 7000"),
        ("a node timeout that is not a number", "cluster-node-timeout: 1000", "cluster-node-timeout: 1s"),
        ("a name that cannot be a folder", "name: valid", "name: My Suite"),
        ("a reserved phase", "phase: baseline", "phase: recovery"),
        ("a phase twice", "phase: down", "phase: baseline"),
        ("a phase that does not exist", "at: down", "at: donw"),
        ("a node killed twice", "- start: [node-1, node-2]", "- kill: node-2"),
        ("a node that runs is started", "[node-1, node-2]", "[node-1, node-3]"),
        ("a node that is not paused is resumed", "- kill: node-2", "- resume: node-5\n  - kill: node-2"),
        ("two conditions", "{ promoted: shard-1, within", "{ promoted: shard-1, failed: node-1, within"),
        ("no answer expected", "      is: value\n", ""),
        ("an unknown word for errors", "- settle: 2s", "- command: { send: PING, to: node-1, errors: allowed }"),
        ("availability without a bound", ", max-outage: 0s", ""),
        (
            "latency without a bound",
            "- availability: { of: reads, shard: others, max-outage: 0s }",
            "- latency: { of: all }",
        ),
        (
            "a number of replicas that is none",
            "- availability: { of: reads, shard: others, max-outage: 0s }",
            "- replicas: { shard: others }\n  - replicas: { shard: shard-4, exactly: 1, at-least: 3, at-most: 2, at: down, within: 1s }",
        ),
        (
            "no time for a promotion",
            "- availability: { of: reads, shard: others, max-outage: 0s }",
            "- not-promoted: { shard: shard-1, within: 0s }",
        ),
        (
            "latency with bounds that demand nothing",
            "- availability: { of: reads, shard: others, max-outage: 0s }",
            "- latency: { of: reads, shard: shard-9, p50: 0s, p99: 2s, max: 1s, during: donw }",
        ),
        ("steps longer than the maximum", "settle: 2s", "settle: 20m"),
        ("several problems at once", "masters: 3\n", "masters: 3\n  server: ''\n"),
    ];
    let mut shown = String::new();
    for (what, valid, broken) in rows {
        assert!(VALID.contains(valid), "{what}: the valid suite lacks `{valid}`");
        let mut text = VALID.replacen(valid, broken, 1);
        if what.starts_with("several") {
            text = text.replace("node-4", "node-8").replace("kill: node-2", "pause: node-2");
        }
        let message = message(&text);
        assert_ne!(message, "no problem", "{what}");
        assert!(text.is_empty() || message.contains("--> my.yaml:"), "{what} is shown without its place: {message}");
        writeln!(shown, "# {what}\n{message}\n").unwrap();
    }
    insta::assert_snapshot!("diagnostics", shown);
}

/// A valid suite with network faults.
const DIVIDED: &str = "\
name: divided
about: A suite of network faults that every row below breaks in one place.
cluster: { masters: 3, replicas-per-master: 1 }
workload:
  clients: 4
  wait: { replicas: 1, timeout: 100ms }
steps:
  - phase: cut
  - partition: { between: [[shard-1/master, half-clients], others], name: cut }
  - settle: 2s
  - heal: cut
  - phase: odd
  - partition: { shape: ring, only: bus }
  - refuse: { between: [client-4, node-6], only: clients, name: closed }
  - lossy: { between: [masters, replicas], percent: 10%, name: rain }
  - narrow: { between: [shard-2/master, shard-2/replica], rate: 20kB/s, only: replication }
  - slow: { between: [node-1, node-2], latency: 50ms, jitter: 5ms }
  - clock: { node: shard-3/master, jump: -1h, name: behind }
  - clock: { node: node-2, drift: 10% }
  - disk: { node: node-3, full: true, files: aof, name: full }
  - disk: { node: shard-3/replica, slow: 500ms, on: fsync }
  - heal: all
invariants:
  - split-brain: { shard: shard-1, may-last: spec }
  - write-cutoff: { shard: shard-1, within: spec }
  - epochs: { max-rise: 3 }
  - convergence: { within: spec }
  - replica-lag: { at: odd, max-bytes: 100000, rises-above: 1000, back-within: 10s }
  - failover-time: { shard: shard-1, within: spec }
";

#[test]
fn accepts_the_valid_suite_of_network_faults() {
    assert_eq!(message(DIVIDED), "no problem");
}

#[test]
fn shows_every_problem_of_a_network_fault_at_its_place() {
    let sides = "[[shard-1/master, half-clients], others]";
    let shape = "{ shape: ring, only: bus }";
    let closed = "[client-4, node-6], only: clients";
    let narrow = "[shard-2/master, shard-2/replica], rate: 20kB/s, only: replication";
    let rows = [
        // Rejected by the types.
        ("an unknown key of a fault", "percent: 10%", "percentage: 10%"),
        ("an unknown shape", "shape: ring", "shape: rings"),
        ("an unknown kind of traffic", "only: bus", "only: buss"),
        ("a replica for replication", "only: replication", "only: replica"),
        ("a side that is not a target", "half-clients], others]", "half-client], others]"),
        ("client 0", "client-4", "client-0"),
        ("a rate of operations", "rate: 20kB/s", "rate: 20/s"),
        ("a word for a bound", "may-last: spec", "may-last: long"),
        ("a word for a flag", "{ shape: ring,", "{ one-way: maybe, shape: ring,"),
        ("one target for two sides", sides, "others"),
        // Rejected by the plan: sides.
        ("one side", sides, "[shard-1/master]"),
        ("three sides", sides, "[node-1, node-2, others]"),
        ("a node that does not exist", sides, "[[node-1, node-7], others]"),
        ("a shard that does not exist", sides, "[shard-4/master, others]"),
        ("a client that does not exist", "client-4", "client-5"),
        ("half of one client", "clients: 4", "clients: 1"),
        ("others twice", sides, "[others, others]"),
        ("others in company", sides, "[[node-1, half-clients], [node-2, others]]"),
        ("no node and no client left for others", sides, "[[all, clients], others]"),
        ("nodes left out for others", sides, "[[client-1, client-2, client-3, client-4, all], others]"),
        ("a node on both sides", sides, "[[node-1, node-2], [node-3, node-2]]"),
        ("a target on both sides", sides, "[shard-1/master, shard-1/master]"),
        ("a node and its shard", sides, "[node-4, shard-1]"),
        ("a shard and its node", sides, "[shard-1, node-4]"),
        ("a master and the masters", sides, "[shard-3/master, masters]"),
        ("a master and the minority", sides, "[shard-1/master, minority]"),
        ("a key's master and its shard's", sides, "[key:testkey/master, shard-1/master]"),
        ("both of a shard and one of its nodes", sides, "[[shard-1/master, shard-1/replica], node-4]"),
        ("a draw that may be the other side", sides, "[any/master, shard-2/master]"),
        ("a client on both sides", sides, "[[half-clients, node-1], [client-2, node-2]]"),
        ("clients on both sides", closed, "[clients, half-clients]"),
        ("clients alone", sides, "[client-1, client-2]"),
        ("only clients without clients", closed, "[node-1, node-6], only: clients"),
        ("clients on the bus", sides, "[half-clients, node-1], only: bus"),
        ("clients that replicate", narrow, "[clients, shard-2/replica], rate: 20kB/s, only: replication"),
        // Rejected by the plan: settings, names, healing.
        ("neither sides nor shape", shape, "{ only: bus }"),
        ("sides and shape", shape, "{ shape: ring, between: [node-1, others] }"),
        ("a shape one way", shape, "{ shape: halves, one-way: true }"),
        ("a shape of clients", shape, "{ shape: bridge, only: clients }"),
        ("no loss", "percent: 10%", "percent: 0%"),
        ("a loss of everything", "percent: 10%", "percent: 100%"),
        ("too narrow a link", "rate: 20kB/s", "rate: 100B/s"),
        ("no latency", "latency: 50ms", "latency: 0s"),
        ("more jitter than latency", "jitter: 5ms", "jitter: 1s"),
        ("a clock that is not wrong", "jump: -1h", "jump: 0s"),
        ("a jump of centuries", "jump: -1h", "jump: -300years"),
        ("a jump that is no duration", "jump: -1h", "jump: -1"),
        ("a drift that nobody sees", "drift: 10%", "drift: -0.005%"),
        ("a drift that is no percentage", "drift: 10%", "drift: 1h"),
        ("a clock without a fault", "drift: 10%", "name: odd"),
        ("a jump and a drift", "jump: -1h", "drift: 1%, jump: -1h"),
        ("a strobe without an end", "drift: 10%", "strobe: 200ms, every: 1s"),
        ("a strobe too fast to be seen", "drift: 10%", "strobe: 200ms, every: 100ms, for: 10s"),
        ("a period without a strobe", "drift: 10%", "drift: 10%, every: 1s"),
        ("a clock that there is not", "drift: 10%", "drift: 10%, of: processor"),
        ("the clocks of several nodes", "node: shard-3/master, jump", "node: masters, jump"),
        ("the clock of a node that does not exist", "node: node-2, drift", "node: node-7, drift"),
        ("a clock's name that another fault has", "name: behind", "name: rain"),
        ("a clock's name that the harness uses", "name: behind", "name: clock-1"),
        ("a disk without a fault", "full: true, files: aof", "files: aof"),
        ("a disk with two faults", "full: true, files: aof", "full: true, stall: true"),
        ("a full disk on fsync", "full: true, files: aof", "full: true, on: fsync"),
        ("an error that no disk has", "full: true, files: aof", "fail: ENOENT, on: write"),
        ("an error on an unknown call", "full: true, files: aof", "fail: EIO, on: read"),
        ("files that no server has", "full: true, files: aof", "full: true, files: dump"),
        ("too few short writes", "full: true, files: aof", "short-writes: 0%"),
        ("a disk that is too slow", "slow: 500ms", "slow: 10m"),
        ("a slow disk that is slow on nothing", "slow: 500ms, on: fsync", "slow: 500ms"),
        ("the disks of several nodes", "node: shard-3/replica, slow", "node: replicas, slow"),
        ("a disk's name that another fault has", "name: full", "name: rain"),
        ("a name with a space", "name: rain", "name: heavy rain"),
        ("a name that means all", "name: rain", "name: all"),
        ("a name that the harness uses", "name: rain", "name: lossy-3"),
        ("a name of an active fault", "name: rain", "name: closed"),
        ("healing an unknown fault", "- heal: cut", "- heal: cat"),
        ("healing a fault by a dissimilar name", "- heal: all", "- heal: wind"),
        ("healing twice", "- heal: all", "- heal: cut"),
        ("healing before any fault", "- phase: cut", "- heal: all"),
        ("healing when no fault is active", "- phase: odd", "- heal: all"),
        // Rejected by the plan: the workload and invariants.
        ("more replicas than there are", "wait: { replicas: 1,", "wait: { replicas: 2,"),
        ("no replica", "wait: { replicas: 1,", "wait: { replicas: 0,"),
        ("a master without a replica to wait for", "replicas-per-master: 1", "replicas-per-master: [2, 1, 0]"),
        ("a wait without a timeout", "timeout: 100ms", "timeout: 0s"),
        ("a wait longer than the command", "timeout: 100ms", "timeout: 5s"),
        ("a shard without a cut", "write-cutoff: { shard: shard-1", "write-cutoff: { shard: others"),
        ("a split of a shard that does not exist", "split-brain: { shard: shard-1", "split-brain: { shard: shard-9"),
        ("a lag that rises at the end", "at: odd", "at: end"),
        ("a lag that must be large and small", "rises-above: 1000", "rises-above: 100000"),
        ("epochs with an unknown key", "max-rise", "max-raise"),
    ];
    let mut shown = String::new();
    for (what, valid, broken) in rows {
        assert!(DIVIDED.contains(valid), "{what}: the valid suite lacks `{valid}`");
        let message = message(&DIVIDED.replacen(valid, broken, 1));
        assert_ne!(message, "no problem", "{what}");
        assert!(message.contains("--> my.yaml:"), "{what} is shown without its place: {message}");
        writeln!(shown, "# {what}\n{message}\n").unwrap();
    }
    insta::assert_snapshot!("network", shown);
}

#[test]
fn accepts_sides_that_may_not_overlap() {
    for sides in [
        "[node-1, node-4]",
        "[shard-1/master, shard-1/replica]",
        "[shard-1, shard-2]",
        "[masters, replicas]",
        "[minority, majority]",
        "[others, shard-1]",
        "[[any/master, half-clients], others]",
        "[any/master, any/replica]",
        "[shard-2/master, minority]",
        // Only the run shows whether node-4 is the master.
        "[node-4, shard-1/master]",
        "[node-2, minority]",
        "[[half-clients, node-1], [client-3, client-4]]",
        "[clients, shard-1/master]",
        "[clients, others]",
        "[all, others]",
    ] {
        let text = DIVIDED.replace("[[shard-1/master, half-clients], others]", sides);
        assert_eq!(message(&text), "no problem", "{sides}");
    }
}

#[test]
fn an_error_reply_is_rejected_unless_it_is_allowed() {
    for (errors, expected, is_stored) in [
        ("", Errors::Reject, false),
        (", errors: reject", Errors::Reject, false),
        (", errors: allow", Errors::Allow, true),
    ] {
        let command = format!("- command: {{ send: CLUSTER FAILOVER, to: node-1{errors} }}");
        let suite = source(&VALID.replace("- settle: 2s", &command)).unwrap().suite;
        let Step::Command(Command { errors, .. }) = &suite.steps[1] else { panic!("step 1 is the command") };
        assert_eq!(*errors, expected, "{command}");
        let stored = serde_json::to_value(&suite.steps[1]).unwrap();
        assert_eq!(stored["command"].get("errors").is_some(), is_stored, "{stored}");
        assert_eq!(serde_json::from_value::<Step>(stored).unwrap(), suite.steps[1], "{command}");
    }
}

#[test]
fn keeps_the_text_of_directives() {
    for (typed, expected) in [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("True", "True"),
        ("5000", "5000"),
        ("0005", "0005"),
        ("-1", "-1"),
        ("0x10", "0x10"),
        ("1e3", "1e3"),
        ("1_000", "1_000"),
        ("3.10", "3.10"),
        (".inf", ".inf"),
        ("~", "~"),
        ("null", "null"),
        ("\"\"", ""),
        ("''", ""),
        ("\"no\"", "no"),
        ("60 1000 300 10", "60 1000 300 10"),
        ("100mb # a comment", "100mb"),
        ("2026-11-05", "2026-11-05"),
    ] {
        let text = VALID.replace("cluster-node-timeout: 1000", &format!("some-directive: {typed}"));
        let suite = source(&text).unwrap().suite;
        assert_eq!(suite.cluster.config["some-directive"].0, expected, "{typed}");
    }
}

#[test]
fn keeps_the_text_of_answers_and_names() {
    for (typed, expected) in [("5", "5"), ("no", "no"), ("~", "~"), ("1e3", "1e3"), ("(nil)", "(nil)"), ("''", "")] {
        let text = VALID.replace("is: value", &format!("is: {typed}"));
        let suite = source(&text).unwrap().suite;
        let Step::Expect(Expect { is, .. }) = &suite.steps[5] else { panic!("step 5 is the expectation") };
        assert_eq!(is.as_deref(), Some(expected), "{typed}");
    }
    let suite = source(&VALID.replace("phase: baseline", "phase: yes")).unwrap().suite;
    assert_eq!(suite.steps[0], Step::Phase("yes".to_owned()));
    let suite = source(&VALID.replace("send: GET testkey", "send: [SET, n, 5, 'two words', ~]")).unwrap().suite;
    let Step::Expect(Expect { send: Some(send), .. }) = &suite.steps[5] else { panic!("step 5 is the expectation") };
    assert_eq!(send.0, ["SET", "n", "5", "two words", "~"]);
}

#[test]
fn limits_the_values_of_anchors() {
    let text = VALID.replace("[node-1, node-2]", "&both [node-1, node-2]")
        + "  - slot-coverage: &end { at: end }\n  - redirects: *end\n";
    assert_eq!(message(&text), "no problem");
    let mut bomb = "name: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "k{level}: &a{level} [{aliases}]").unwrap();
    }
    assert!(message(&bomb).starts_with("the suite has too many values"));
    let deep = format!("name: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(message(&deep).starts_with("too many levels of lists and mappings"));
}

#[test]
fn overrides_reach_every_part_of_a_suite() {
    for (assignment, path, expected) in [
        ("cluster.masters=5", "/cluster/masters", "5"),
        ("cluster.server=valkey:9.1", "/cluster/server", "valkey:9.1"),
        ("cluster.config.cluster-node-timeout=2000", "/cluster/config/cluster-node-timeout", "2000"),
        ("cluster.config.save=", "/cluster/config/save", ""),
        ("cluster.config.save=60 1000", "/cluster/config/save", "60 1000"),
        ("cluster.config.odd=[1]", "/cluster/config/odd", "[1]"),
        ("workload.rate=1000/s", "/workload/rate", "1000/s"),
        ("workload.clients=1", "/workload/clients", "1"),
        ("workload.adaptive-refresh=no", "/workload/adaptive-refresh", "false"),
        ("recover-within=10s", "/recover-within", "10s"),
        ("steps[1].settle=10s", "/steps/1/settle", "10s"),
        ("steps[7].start=[node-2, node-1]", "/steps/7/start/0", "node-2"),
        ("invariants[0].acked-writes.may-lose=5", "/invariants/0/acked-writes/may-lose", "5"),
        ("invariants[0].acked-writes.may-lose=measured", "/invariants/0/acked-writes/may-lose", "measured"),
        ("invariants[1].availability.min-served=99%", "/invariants/1/availability/min-served", "99%"),
    ] {
        let suite = suite::set(&source(VALID).unwrap().suite, assignment).unwrap();
        let value = serde_json::to_value(suite).unwrap();
        let found = value.pointer(path).unwrap_or_else(|| panic!("{assignment} left nothing at {path}"));
        let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        assert_eq!(found, expected, "{assignment}");
    }
}

#[test]
fn rejects_an_invalid_override() {
    let mut shown = String::new();
    for assignment in [
        "cluster.mastres=5",
        "clustre.masters=5",
        "cluster.masters=many",
        "cluster.masters",
        "workload.rate=fast",
        "workload.rate.limit=5",
        "steps[99].settle=1s",
        "steps[1].stop=node-1",
        "steps.settle=1s",
        "name[0]=x",
        "steps[5].expect.to=[node-1, node-2]",
        "invariants[0].acked-writes.may-loose=5",
        "..=x",
    ] {
        let error = source(VALID).unwrap().set(assignment).unwrap_err();
        writeln!(shown, "# {assignment}\n{error}\n").unwrap();
    }
    insta::assert_snapshot!("overrides", shown);
}

#[test]
fn shows_the_override_that_caused_a_problem() {
    let mut source = source(VALID).unwrap();
    source.set("cluster.replicas-per-master=0").unwrap();
    source.set("workload.clients=1000").unwrap();
    let error = Plan::from_source(&source, 1).unwrap_err().to_string();
    assert!(error.contains("1000 is out of bounds (hint: 1 to 256)\n  --> --set workload.clients=1000\n"), "{error}");
    assert!(error.contains("node-4 does not exist (the cluster has node-1 to node-3)\n  --> my.yaml:20:11"), "{error}");
}

#[test]
fn every_shipped_suite_loads_and_plans() {
    for name in suite::shipped_names() {
        let mut source = Source::load(name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(source.suite.name, name);
        assert!(source.suite.about.len() > 40, "the `about` of {name} is too short");
        Plan::from_source(&source, 1).unwrap_or_else(|error| panic!("{error}"));
        source.set("cluster.config.cluster-node-timeout=1000").unwrap();
        let plan = Plan::from_source(&source, 1).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(plan.node_timeout().as_millis(), 1000);
    }
}

#[test]
fn ships_every_suite_of_the_folder() {
    let mut files: Vec<(String, String)> = std::fs::read_dir("suites")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // What is known to fail is in a folder of its own.
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    let table: Vec<(String, String)> =
        suite::shipped().iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
    assert_eq!(table, files);
}

#[test]
fn finds_a_suite_by_name_and_by_path() {
    assert_eq!(suite::load("suites/role-swap.yaml").unwrap(), suite::load("role-swap").unwrap());
    for (asked, expected) in [
        ("role-swpa", "unknown suite \"role-swpa\" (did you mean `role-swap`?)"),
        ("freeze", "unknown suite \"freeze\" (did you mean `master-freeze`?)"),
        (
            "no/such.yaml",
            "no suite file \"no/such.yaml\" (hint: `slotquake init` writes one; `slotquake list` names those that are built in)",
        ),
    ] {
        assert_eq!(suite::load(asked).unwrap_err().to_string(), expected);
    }
    let unknown = suite::load("xyz").unwrap_err().to_string();
    assert!(unknown.contains("`formation`") && unknown.contains("`shard-loss`"), "{unknown}");
}

#[test]
fn the_schema_has_every_key_of_the_shipped_suites() {
    let schema = suite::schema();
    let mut known = std::collections::BTreeSet::new();
    names(&schema, &mut known);
    for name in suite::shipped_names() {
        let suite = serde_json::to_value(suite::load(name).unwrap()).unwrap();
        let mut used = std::collections::BTreeSet::new();
        keys(&suite, &mut used);
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{name} uses {unknown:?}, which the schema lacks");
    }
    assert_eq!(schema["additionalProperties"], false, "an editor would not report a misspelt section");
    for fault in ["Partition", "Lossy", "Narrow", "Refuse", "Slow"] {
        let sides = &schema["$defs"][fault]["properties"]["between"];
        assert_eq!((&sides["minItems"], &sides["maxItems"]), (&2.into(), &2.into()), "{fault}: {sides}");
    }
    assert_eq!(schema["required"], serde_json::json!(["name", "about", "steps"]));
}

/// The names of all properties.
fn names(schema: &serde_json::Value, known: &mut std::collections::BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(entries) => {
            if let Some(properties) = entries.get("properties").and_then(|properties| properties.as_object()) {
                known.extend(properties.keys().cloned());
            }
            entries.values().for_each(|value| names(value, known));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, known)),
        _ => {}
    }
}

fn keys(value: &serde_json::Value, used: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(entries) => {
            for (key, value) in entries {
                used.insert(key.clone());
                if key != "config" {
                    keys(value, used);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys(item, used)),
        _ => {}
    }
}

#[test]
fn a_start_with_an_error_is_shown_at_its_place() {
    for (start, expected) in [
        ("{ node: node-2, sever: redis:7.0 }", "sever"),
        ("{ node: node-2, data: gone }", "gone"),
        ("{ node: nod-2, data: lost }", "nod-2"),
        ("[node-1, nod-2]", "nod-2"),
    ] {
        let said = message(&VALID.replace("[node-1, node-2]", start));
        let (line, marker) =
            said.lines().zip(said.lines().skip(1)).find(|(_, marker)| marker.contains('^')).expect(&said);
        let column = marker.find('^').expect("it has one");
        assert!(line.get(column..).is_some_and(|rest| rest.starts_with(expected)), "{said}");
    }
    let said = message(&VALID.replace("[node-1, node-2]", "{ node: node-2, sever: redis:7.0 }"));
    assert!(said.contains("did you mean `server`?"), "{said}");
}
