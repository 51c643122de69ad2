//! Negative controls: clusters that are really broken, each of which must fail, by exactly the
//! invariant that speaks of what is broken and with evidence that names it. Beside each stands what
//! must still hold, so that no control fails for another reason.

mod support;

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use slotquake::check::{Judgement, Verdict, check};
use slotquake::history::{Event, EventKind, History};
use slotquake::plan::Plan;
use slotquake::run::{Notice, Options, Place, run};
use slotquake::server::Server;
use slotquake::suite;

use support::{Places, fetched};

/// What an invariant must come to.
enum Must {
    /// It passes.
    Hold,
    /// It fails, and its words and evidence hold each of these.
    Fail(&'static [&'static str]),
    /// It is inconclusive, and its words hold each of these.
    StayOpen(&'static [&'static str]),
}
use Must::{Fail, Hold, StayOpen};

/// A run and what must be judged of it.
struct Control {
    /// Lines of `cluster.config` beside the node timeout.
    config: &'static [&'static str],
    replicas_per_master: u16,
    /// The workload, as a YAML mapping.
    workload: &'static str,
    /// Whether the invariants stand in the plan although it would refuse them.
    unchecked: bool,
    steps: &'static [&'static str],
    /// The suite's invariants, each with what it must come to.
    invariants: &'static [(&'static str, Must)],
    /// The harness's own that must not pass; the others must.
    own: &'static [(&'static str, Must)],
}

/// Every key is written once before the first phase and never again, so that what happens to it
/// behind the harness's back stays. (A plan refuses `acked-writes` where there are no writes at all; of
/// some hundred operations drawn from the one seed of these plans, none is a write.)
const ONLY_READS: &str = "{ rate: 100/s, reads: 99.9999% }";
const WRITES: &str = "{ rate: 200/s, reads: 0% }";
const BOTH: &str = "{ rate: 200/s, reads: 50% }";

const CONTROL: Control = Control {
    config: &[],
    replicas_per_master: 1,
    workload: BOTH,
    unchecked: false,
    steps: &[],
    invariants: &[],
    own: &[],
};

impl Control {
    fn yaml(&self) -> String {
        let lines =
            |indent: &str, lines: &[&str]| lines.iter().flat_map(|line| [indent, line, "\n"]).collect::<String>();
        let config = lines("    ", self.config);
        let steps = lines("  - ", self.steps);
        let invariants: Vec<&str> = self.invariants.iter().map(|(invariant, _)| *invariant).collect();
        let invariants = lines("  - ", &invariants);
        format!(
            "name: control\nabout: A cluster that is really broken.\nrecover-within: 3s\ncluster:\n  \
             replicas-per-master: {}\n  config:\n    cluster-node-timeout: 1000\n{config}workload: {}\n\
             steps:\n{steps}invariants:\n{invariants}",
            self.replicas_per_master, self.workload
        )
    }

    fn plan(&self) -> Plan {
        if self.unchecked {
            let accepted = Self { replicas_per_master: 1, workload: BOTH, unchecked: false, ..*self }.plan();
            let slots: &[(&str, Must)] = &[("slot-coverage: { at: end }", Hold)];
            return Plan {
                invariants: accepted.invariants,
                ..Self { invariants: slots, unchecked: false, ..*self }.plan()
            };
        }
        let yaml = self.yaml();
        let suite = suite::parse(&yaml, Path::new("control.yaml")).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        Plan::new(&suite, 7).unwrap_or_else(|errors| panic!("{errors:?}\n{yaml}"))
    }

    /// Runs and judges; fails unless everything comes to what it must.
    fn is_caught(&self) -> Vec<Judgement> {
        self.is_caught_while(&|_, _| ())
    }

    /// The same, with somebody who watches and meddles.
    fn is_caught_while(&self, meddler: &(dyn Fn(&Server, &Event) + Sync)) -> Vec<Judgement> {
        let mut last = String::new();
        // Where the harness itself stood still, it says so and judges nothing: that is no failure of
        // the control, and tried again.
        for _ in 0..3 {
            let history = ran(self.plan(), meddler);
            let judgements = check(&history);
            let wrong = self.wrong(&judgements);
            if wrong.is_empty() {
                return judgements;
            }
            last = format!("{}\n\n{}", wrong.join("\n"), shown(&judgements));
            if !judgements.iter().any(|each| each.verdict == Verdict::Inconclusive && harness_was_slow(each)) {
                break;
            }
            eprintln!("once more, as the harness was too slow to judge:\n{last}");
        }
        panic!("{last}");
    }

    fn wrong(&self, judgements: &[Judgement]) -> Vec<String> {
        let mut wrong = Vec::new();
        let (suites, own) = judgements.split_at(self.invariants.len());
        for (judgement, (written, must)) in suites.iter().zip(self.invariants) {
            wrong.extend(must.differs(judgement).map(|how| format!("{written}: {how}")));
        }
        for judgement in own {
            let must = self.own.iter().find(|(name, _)| *name == judgement.invariant).map_or(&Hold, |(_, must)| must);
            wrong.extend(must.differs(judgement).map(|how| format!("{}: {how}", judgement.invariant)));
        }
        for (name, _) in self.own {
            assert!(own.iter().any(|judgement| judgement.invariant == *name), "nothing is judged as {name}");
        }
        wrong
    }
}

impl Must {
    fn differs(&self, judgement: &Judgement) -> Option<String> {
        let (verdict, words): (_, &[&str]) = match self {
            Hold => (Verdict::Pass, &[]),
            Fail(words) => (Verdict::Fail, words),
            StayOpen(words) => (Verdict::Inconclusive, words),
        };
        if judgement.verdict != verdict {
            return Some(format!("came to {}, not {}", judgement.verdict.word(), verdict.word()));
        }
        let told = format!("{}\n{}", judgement.seen, judgement.evidence.join("\n"));
        words.iter().find(|word| !told.contains(**word)).map(|word| format!("does not say `{word}`"))
    }
}

fn harness_was_slow(judgement: &Judgement) -> bool {
    judgement.seen.contains("the harness itself stood still") || judgement.seen.contains("were issued over 1 s late")
}

fn shown(judgements: &[Judgement]) -> String {
    let mut lines = Vec::new();
    for Judgement { invariant, settings, verdict, seen, observations, evidence, .. } in judgements {
        lines.push(format!("{} {invariant} ({settings}): {seen}; {observations} observations", verdict.word()));
        lines.extend(evidence.iter().map(|line| format!("    {line}")));
    }
    lines.join("\n")
}

/// Runs a plan on its server; the meddler is told every event as it happens.
fn ran(plan: Plan, meddler: &(dyn Fn(&Server, &Event) + Sync)) -> History {
    let server = fetched(&plan.server);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let _place = Places::take(1);
    let (told, events) = std::sync::mpsc::channel();
    let told = Mutex::new(told);
    let (_keep_running, stop) = tokio::sync::watch::channel(None);
    let options = Options {
        folder: folder.path().to_owned(),
        keep: false,
        place: Place::Local { scratch: None, network: None },
        stop,
        watcher: Arc::new(move |notice| {
            if let Notice::Event(event) = notice {
                // When the run is over nobody listens any more.
                let _ = told.lock().expect("no holder panics").send(event.clone());
            }
        }),
    };
    let watched = server.clone();
    let history = std::thread::scope(|scope| {
        scope.spawn(move || events.iter().for_each(|event| meddler(&watched, &event)));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(run(plan, server, options)).unwrap_or_else(|error| panic!("{error}"))
    });
    assert!(history.complete, "the history has no end");
    history
}

fn one<'a>(judgements: &'a [Judgement], invariant: &str) -> &'a Judgement {
    judgements.iter().find(|each| each.invariant == invariant).expect("it was judged")
}

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

#[test]
fn a_slot_that_nobody_owns_is_missed() {
    Control {
        steps: &["phase: lost", "command: { send: CLUSTER DELSLOTS 100, to: all }", "settle: 1s"],
        invariants: &[
            ("slot-coverage: { at: end }", Fail(&["node-1 sees 16383 slots assigned", "no master claims slots 100"])),
            ("slot-coverage: { at: throughout }", Fail(&["16383 slots assigned", "slots were missing"])),
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
fn two_masters_that_claim_one_slot_are_named() {
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
            ("slot-coverage: { at: end }", Fail(&["slots 16000 are claimed by node-1, node-3"])),
            ("agreement: { within: 1s }", Fail(&["node-1"])),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        own: &[("recovery", Fail(&["node-1"]))],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn a_node_that_one_has_forgotten_breaks_agreement() {
    Control {
        steps: &["phase: forgotten", "command: { send: \"CLUSTER FORGET {id:node-6}\", to: node-2 }", "settle: 1s"],
        invariants: &[
            ("agreement: { within: 1s }", Fail(&["node-2", "node-6", "unknown"])),
            // Nothing else knows of it.
            ("slot-coverage: { at: end }", Hold),
            ("role: { node: node-6, is: replica-of node-3 }", Hold),
            ("replica-lag: { at: end, max-bytes: 0 }", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        own: &[("recovery", Fail(&["node-2 reports 5 known nodes of 6"]))],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn a_replica_that_changed_its_master_has_another_role() {
    Control {
        steps: &[
            "phase: moved",
            "command: { send: \"CLUSTER REPLICATE {id:node-2}\", to: node-4 }",
            "await: { in-sync: node-4, within: 15s }",
        ],
        invariants: &[
            ("role: { node: node-4, is: replica-of node-1 }", Fail(&["node-4 says that it is a replica of node-2"])),
            ("role: { node: node-4, is: replica-of node-1, at: moved }", Fail(&["a replica of node-2"])),
            ("role: { node: node-4, is: replica-of node-1, at: throughout }", Fail(&["a replica of node-2"])),
            ("role: { node: node-4, is: replica-of node-2 }", Hold),
            ("role: { node: node-4, is: replica }", Hold),
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

#[test]
fn data_of_a_shard_that_died_without_persistence_is_lost() {
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

#[test]
fn keys_that_were_deleted_or_overwritten_behind_the_harness_are_named() {
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
fn nothing_survives_flushall() {
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

#[test]
fn a_frozen_master_that_wakes_loses_what_it_then_acknowledges() {
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

#[test]
fn bounds_that_are_too_tight_for_a_failover_are_broken_by_it() {
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
            (
                "availability: { of: writes, shard: shard-1, max-outage: 100ms }",
                Fail(&["of writes unserved from", "times `"]),
            ),
            ("availability: { of: writes, shard: shard-1, max-outage: spec }", Hold),
            ("availability: { of: writes, shard: shard-1, served: always }", Fail(&["writes served ("])),
            ("availability: { of: writes, shard: shard-1, min-served: 100% }", Fail(&["writes served ("])),
            (
                "availability: { of: writes, shard: shard-1, during: down, served: never }",
                Fail(&["was served by node-4"]),
            ),
            ("availability: { of: writes, shard: others, max-outage: 0s }", Hold),
            ("availability: { of: writes, shard: shard-1, during: baseline, served: always }", Hold),
            ("failover-time: { shard: shard-1, to: fail, within: 1ms }", Fail(&["FAIL after", "over 1 ms"])),
            (
                "failover-time: { shard: shard-1, to: promotion, within: 1ms }",
                Fail(&["kill of node-1 (fault 1), successor node-4"]),
            ),
            ("failover-time: { shard: shard-1, to: first-write, within: 1ms }", Fail(&["first write after"])),
            ("failover-time: { shard: shard-1, within: spec }", Hold),
            ("promotions: { shard: shard-1, exactly: 0 }", Fail(&["shard-1 passed from node-1 to node-4"])),
            ("promotions: { shard: shard-1, exactly: 2 }", Fail(&["shard-1: 1 promotion"])),
            ("promotions: { shard: shard-1, exactly: 1 }", Hold),
            ("agreement: { within: 1ms }", Fail(&["node-1", "after the start that undid fault 1"])),
            ("agreement: { within: spec }", Hold),
            ("role: { node: node-1, is: master, at: down }", StayOpen(&["fault 1 holds it"])),
            ("role: { node: node-1, is: master }", Fail(&["a replica of node-4"])),
        ],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn a_failover_that_never_comes_is_a_failure_of_all_who_waited_for_it() {
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
                Fail(&["promotion did not come", "no successor"]),
            ),
            ("promotions: { shard: shard-1, exactly: 0 }", Hold),
            ("promotions: { shard: shard-1, exactly: 1 }", Fail(&["shard-1: 0 promotions"])),
            ("availability: { of: writes, shard: shard-1, max-outage: 3s }", Fail(&["of writes unserved from"])),
            ("availability: { of: writes, shard: others, max-outage: 0s }", Hold),
            (
                "availability: { of: writes, shard: others, during: never-reached, served: always }",
                StayOpen(&["never got as far"]),
            ),
            ("role: { node: node-1, is: master }", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        own: &[(
            "steps",
            Fail(&[
                "step 2: node-2 was asked `PING`, which should give `PANG`, and gave: PONG",
                "step 4: `promoted: shard-1` did not come within 5s",
                "shard-1 still belongs to node-1",
                "4 of 6 steps were done",
            ]),
        )],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn a_redirection_to_an_address_of_nobody_is_wrong() {
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

/// A process that ends with the test.
struct Impostor(Child);

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
    let mut command = server.command();
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
fn a_server_that_takes_writes_in_the_place_of_a_replica_is_caught() {
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
        own: &[("recovery", Fail(&["node-4"]))],
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
