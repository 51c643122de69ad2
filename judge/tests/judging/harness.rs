//! The checks of every run: faults, steps, recovery, workload; and the verdict of a run.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::check::{Verdict, check, overall};
use slotquake_judge::facts::Facts;
use slotquake_judge::history::{EventKind, Exit, FaultKind, FinalValue, History, Printed, StepProblem};
use slotquake_judge::topology::Role;
use slotquake_judge::units::NodeNo;

use crate::expect;
use crate::story::What::{Info, Ok as Acked};
use crate::story::{Cut, Story, healthy, key_of, taken_over};

fn story() -> Story {
    Story::new().phase(500.0, "a").writes(1, 600.0, 1600.0, 1, Acked)
}

#[test]
fn a_fault_needs_proofs() {
    let injected = || story().fault_injected(2000.0, FaultKind::Kill, 1, true);
    let unhealed = EventKind::HealProven { fault: 1, healed: false, proof: "PING: refused".to_owned() };
    let healed = EventKind::FaultHealed { fault: 1, by: "start".to_owned() };
    expect(
        "faults",
        vec![
            ("proven and undone", injected().proven(2050.0, true).heal(4000.0, 1).ends(9000.0), Pass, "1 fault"),
            (
                "not in effect",
                injected().proven(2050.0, false).heal(4000.0, 1).ends(9000.0),
                Inconclusive,
                "was not in",
            ),
            ("not looked at", injected().heal(4000.0, 1).ends(9000.0), Inconclusive, "no proof whether fault 1"),
            ("never undone", injected().proven(2050.0, true).ends(9000.0), Inconclusive, "was never undone"),
            (
                "undone in vain",
                injected().proven(2050.0, true).event(4000.0, healed.clone()).event(4100.0, unhealed).ends(9000.0),
                Inconclusive,
                "`start` did not undo fault 1",
            ),
            (
                "undone, and nobody looked",
                injected().proven(2050.0, true).event(4000.0, healed).ends(9000.0),
                Inconclusive,
                "no proof whether `start` undid",
            ),
            (
                "planned, and never injected",
                story().step(2000.0, json!({"kill": "node-1"}), |story, _| story).ends(9000.0),
                Inconclusive,
                "step 2 injected no fault",
            ),
            (
                "one of two planned",
                injected()
                    .proven(2050.0, true)
                    .heal(4000.0, 1)
                    .step(5000.0, json!({"pause": "node-2"}), |story, _| story)
                    .ends(9000.0),
                Inconclusive,
                "step 3 injected no fault",
            ),
        ],
    );
    let without = check(&Facts::new(&story().ends(9000.0)));
    assert!(without.iter().all(|judgement| judgement.invariant != "faults"), "a run without faults has none to prove");
}

fn step_with(problem: Option<StepProblem>) -> History {
    let ended = EventKind::StepEnded { step: 1, problem };
    story().step(2000.0, json!({"settle": "1s"}), |story, _| story).event(2000.0, ended).ends(9000.0)
}

fn expected(met: bool) -> History {
    let reply = "MOVED 4757 127.1.0.4:6379".to_owned();
    story()
        .step(2000.0, json!({"expect": {"send": "GET testkey", "to": "node-2", "is": "x"}}), |story, step| {
            let event = EventKind::Expected { step, node: NodeNo(2), expected: "`x`".to_owned(), reply, met };
            story.event(2000.0, event)
        })
        .ends(9000.0)
}

fn executed(step: serde_json::Value, met: bool) -> History {
    let exit = Exit { how: "exit status: 7".to_owned(), signal: None, status: Some(7) };
    story()
        .step(2000.0, step, |story, step| {
            let event = EventKind::Executed {
                step,
                program: vec!["./check".to_owned(), "--all".to_owned()],
                expected: "exit status 0".to_owned(),
                met,
                exit: (!met).then_some(exit),
                stdout: Printed::default(),
                stderr: Printed { text: "three keys are missing\n".to_owned(), bytes: 23 },
                runs: 2,
                took_ms: 1500.0,
                within_ms: 30000.0,
            };
            story.event(2000.0, event)
        })
        .ends(9000.0)
}

fn awaited(met: bool) -> History {
    story()
        .step(2000.0, json!({"await": {"promoted": "shard-1", "within": "15s"}}), |story, step| {
            let event = EventKind::Awaited {
                step,
                condition: "promoted: shard-1".to_owned(),
                met,
                waited_ms: 15000.0,
                within_ms: 15000.0,
                last: "shard-1 still belongs to node-1".to_owned(),
            };
            story.event(2000.0, event)
        })
        .ends(9000.0)
}

#[test]
fn steps_must_succeed() {
    let silent_step = |step| story().step(2000.0, step, |story, _| story).ends(9000.0);
    let mut cut_short = step_with(None);
    cut_short.events.retain(|event| !matches!(event.kind, EventKind::StepEnded { step: 1, .. }));
    let both = StepProblem::Unmet("too late".to_owned());
    let mut died_after_unmet = step_with(Some(both.clone()));
    died_after_unmet.complete = false;
    expect(
        "steps",
        vec![
            ("all done", step_with(None), Pass, "2 of 2 steps were done"),
            ("an answer as expected", expected(true), Pass, "2 of 2"),
            ("another answer", expected(false), Fail, "node-2 answered `MOVED 4757 127.1.0.4:6379`; expected `x`"),
            ("a program that did what is wanted", executed(json!({"exec": {"run": "./check"}}), true), Pass, "2 of 2"),
            (
                "a program that failed",
                executed(json!({"exec": {"run": "./check"}}), false),
                Fail,
                "`./check --all` exited with status 7 after 1.500 s, run 2 times; expected exit status 0",
            ),
            (
                "a program that may fail",
                executed(json!({"exec": {"run": "./check", "errors": "allow"}}), false),
                Pass,
                "2 of 2",
            ),
            (
                "a probe by a program that came to nothing",
                executed(json!({"expect": {"exec": "./check", "within": "5s"}}), false),
                Fail,
                "exited with status 7",
            ),
            (
                "a program that nobody looked at",
                silent_step(json!({"exec": {"run": "./check"}})),
                Inconclusive,
                "step 2 ended without a result",
            ),
            ("what was awaited came", awaited(true), Pass, "2 of 2"),
            ("what was awaited did not", awaited(false), Fail, "`promoted: shard-1` did not come within 15.000 s"),
            ("unmet", step_with(Some(both)), Fail, "step 2: too late"),
            ("a suite's error", step_with(Some(StepProblem::Suite("dead".into()))), Inconclusive, "dead"),
            ("a harness's error", step_with(Some(StepProblem::Harness("oops".into()))), Inconclusive, "oops"),
            ("not every step was done", cut_short, Inconclusive, "1 of 2 steps"),
            (
                "interrupted",
                story().event(3000.0, EventKind::Interrupted { by: "SIGINT".to_owned() }).ends(9000.0),
                Inconclusive,
                "SIGINT",
            ),
            ("the harness died", story().breaks_off(), Inconclusive, "the history is incomplete"),
            ("a fail is not masked by the harness's death", died_after_unmet, Fail, "too late"),
            (
                "an expectation that nobody looked at",
                silent_step(json!({"expect": {"send": "PING", "to": "node-1", "is": "PONG"}})),
                Inconclusive,
                "step 2 ended without a result",
            ),
            (
                "a wait that nobody looked at",
                silent_step(json!({"await": {"promoted": "shard-1", "within": "15s"}})),
                Inconclusive,
                "step 2 ended without a result",
            ),
            ("no steps", Story::new().ends(9000.0), Inconclusive, "nothing was observed"),
        ],
    );
    let judgement = crate::story::judged(&expected(true), "steps");
    assert!(judgement.evidence[0].contains("MOVED 4757 127.1.0.4:6379"), "answers are kept: {:?}", judgement.evidence);
}

#[test]
fn recovery_follows_its_event() {
    let recovered =
        |recovered, last: &str| Some(EventKind::Recovered { recovered, took_ms: 1500.0, last: last.to_owned() });
    let interrupted = || story().event(3000.0, EventKind::Interrupted { by: "SIGINT".to_owned() });
    let reason = || "no route to host".to_owned();
    let stuck = || story().cut_off_node_1(2000.0).event(8000.0, EventKind::HealFailed { fault: 1, reason: reason() });
    let again = |healed| EventKind::HealProven { fault: 1, healed, proof: "a connection is open".to_owned() };
    expect(
        "recovery",
        vec![
            ("whole", story().ends_with(9000.0, recovered(true, "")), Pass, "recovered after 1.500 s"),
            ("not whole", story().ends_with(9000.0, recovered(false, "node-1 is gone")), Fail, "node-1 is gone"),
            (
                "not whole in the hurry of an interruption",
                interrupted().ends_with(9000.0, recovered(false, "node-1 is gone")),
                Inconclusive,
                "SIGINT",
            ),
            (
                "whole in the hurry all the same",
                interrupted().ends_with(9000.0, recovered(true, "")),
                Pass,
                "recovered",
            ),
            (
                "not whole since the harness could not undo a fault",
                stuck().event(8100.0, again(false)).ends_with(9000.0, recovered(false, "node-1 is gone")),
                Inconclusive,
                "could not undo fault 1: no route to host",
            ),
            (
                "not whole though a second try undid it",
                stuck().event(8100.0, again(true)).ends_with(9000.0, recovered(false, "node-1 is gone")),
                Fail,
                "node-1 is gone",
            ),
            ("never polled", story().ends_with(9000.0, None), Inconclusive, "ended before"),
            ("the harness died", story().breaks_off(), Inconclusive, "ended before"),
        ],
    );
}

/// A cluster that recovers at 9.1 s, and whose run ends 5 s later.
fn watched_on(story: Story) -> History {
    story.event(14_100.0, EventKind::Note { text: "the last look".to_owned() }).ends(9000.0)
}

#[test]
fn a_recovery_must_last() {
    let mut claims = healthy();
    claims.peers.get_mut(&NodeNo(2)).unwrap().slots = vec![(5400, 10922)];
    let torn = |from_ms: f64, to_ms: f64| story().view(from_ms, 2, &claims).view(to_ms, 2, &healthy());
    let flips = (0..10).fold(story(), |story, n| {
        let at = 9200.0 + f64::from(n) * 300.0;
        story.view(at, 2, &claims).view(at + 150.0, 2, &healthy())
    });
    let interrupted = torn(9500.0, 10_501.0).event(8000.0, EventKind::Interrupted { by: "SIGINT".to_owned() });
    let stalled = torn(9500.0, 11_500.0).event(11_400.0, EventKind::Stalled { by_ms: 4000.0 });
    expect(
        "recovery",
        vec![
            ("whole to the end", watched_on(story()), Pass, "recovered after 100 ms"),
            ("two claimants at the end", watched_on(story().view(9050.0, 2, &claims)), Fail, "the nodes disagreed for"),
            ("two claimants now and then", watched_on(flips), Fail, "the nodes disagreed for 1.500 s"),
            ("for at most a second", watched_on(torn(9500.0, 10_500.0)), Pass, "recovered"),
            ("for longer", watched_on(torn(9500.0, 10_501.0)), Fail, "disagreed for 1.001 s"),
            ("before the recovery", watched_on(torn(5000.0, 9050.0)), Pass, "recovered"),
            ("interrupted", watched_on(interrupted), Inconclusive, "but the run was interrupted by SIGINT"),
            ("the harness stalled", watched_on(stalled), Inconclusive, "the harness stalled"),
        ],
    );
}

/// With six nodes and `cluster-node-timeout 1000`, packets from before the heal may revert views for 4 s in all.
#[test]
fn late_packets_may_revert_views_after_the_recovery() {
    let mut claims = healthy();
    claims.peers.get_mut(&NodeNo(2)).unwrap().slots = vec![(5400, 10922)];
    let torn = |story: Story, to_ms: f64| story.view(9500.0, 2, &claims).view(to_ms, 2, &healthy());
    let cut = || story().network_fault(2000.0, Cut::NODE_1).heal(4000.0, 1);
    let killed = || story().fault_injected(2000.0, FaultKind::Kill, 6, false).heal(4000.0, 1);
    expect(
        "recovery",
        vec![
            (
                "for less after a cut",
                watched_on(torn(cut(), 13_400.0)),
                Pass,
                "disagreed for 3.900 s after that, as late packets",
            ),
            ("for longer", watched_on(torn(cut(), 13_600.0)), Fail, "disagreed for 4.100 s"),
            ("after no cut", watched_on(torn(killed(), 13_400.0)), Fail, "disagreed for 3.900 s"),
            (
                "until the end",
                watched_on(cut().view(12_000.0, 2, &claims)),
                Inconclusive,
                "disagreed for 2.100 s after that, and still did at the end",
            ),
        ],
    );
}

#[test]
fn every_shard_must_have_its_replicas_in_the_end() {
    let moved = |replicas: &[(u16, u16)]| {
        let mut view = healthy();
        for &(node, master) in replicas {
            view.peers.get_mut(&NodeNo(node)).unwrap().role = Role::ReplicaOf(NodeNo(master));
        }
        view
    };
    let command = |send: &str| {
        let step = json!({"command": {"send": send, "to": "node-5"}});
        story().step(1000.0, step, |story, step| {
            story.event(1001.0, EventKind::Commanded { step, node: NodeNo(5), reply: "OK".to_owned() })
        })
    };
    let to_node_1 = moved(&[(5, 1)]);
    let swapped = story().failover_of_node_1().node_1_back_as_replica();
    expect(
        "recovery",
        vec![
            ("a swap keeps the number", swapped.ends(9000.0), Pass, "recovered"),
            ("one moved", story().views(2000.0, 1..=6, &to_node_1).ends(9000.0), Fail, "shard-2 has 0 of 1 replica"),
            (
                "one moved and came back",
                story().views(2000.0, 1..=6, &to_node_1).views(3000.0, 1..=6, &healthy()).ends(9000.0),
                Pass,
                "recovered",
            ),
            (
                "two changed places",
                story().views(2000.0, 1..=6, &moved(&[(5, 1), (4, 2)])).ends(9000.0),
                Pass,
                "recovered",
            ),
            (
                "a step moved it",
                command("CLUSTER REPLICATE {id:node-1}").views(2000.0, 1..=6, &to_node_1).ends(9000.0),
                Pass,
                "recovered",
            ),
            (
                "a failover moves none",
                command("CLUSTER FAILOVER").views(2000.0, 1..=6, &to_node_1).ends(9000.0),
                Fail,
                "shard-2 has 0 of 1 replica",
            ),
            (
                "no other command does",
                command("PING").views(2000.0, 1..=6, &to_node_1).ends(9000.0),
                Fail,
                "shard-2 has 0 of 1 replica",
            ),
        ],
    );
}

#[test]
fn operations_must_be_issued_on_time() {
    // 100 operations are there already.
    let late = |count: usize, by_ms: f64| {
        (0..count)
            .fold(story(), |story, n| {
                let at = 4000.0 + n as f64;
                story.write(key_of(2, n), (at, at + 1.0), 2, Acked).issued_late(by_ms)
            })
            .ends(9000.0)
    };
    expect(
        "workload",
        vec![
            ("in time", story().ends(9000.0), Pass, "100 operations issued, 0 of them over 1 s late"),
            ("1 of 101 late", late(1, 1500.0), Pass, "1 of them over 1 s late"),
            ("2 of 102 late", late(2, 1500.0), Inconclusive, "2 of 102 operations (2.0 %)"),
            ("late by exactly 1 s is not over it", late(2, 1000.0), Pass, "0 of them"),
            ("nothing issued", Story::new().phase(500.0, "a").ends(9000.0), Inconclusive, "no operation was issued"),
        ],
    );
}

#[test]
fn every_node_must_live_at_the_speed_of_the_run() {
    let all = |holds: bool| (1..=6).map(move |node| (node, holds || node != 4));
    let writes = |story: Story| story.phase(500.0, "a").writes(1, 600.0, 1600.0, 1, Acked).ends(9000.0);
    let at = |speed: &str, shown: Vec<(u16, bool)>| writes(Story::new().at_speed(speed, shown));
    let at_end = EventKind::SpeedProven { node: NodeNo(2), holds: false, proof: "3 s behind".to_owned() };
    expect(
        "workload",
        vec![
            ("all do", at("10", all(true).collect()), Pass, "100 operations issued"),
            (
                "one does not",
                at("10", all(false).collect()),
                Inconclusive,
                "node-4 did not live at speed 10: its clock is 2",
            ),
            ("one is not looked at", at("10", all(true).take(5).collect()), Inconclusive, "no proof that node-6 lived"),
            (
                "one does not at the end",
                writes(Story::new().at_speed("10", all(true)).event(8000.0, at_end)),
                Inconclusive,
                "node-2 did not live at speed 10: 3 s behind",
            ),
            ("in real time there is nothing to show", at("1", Vec::new()), Pass, "100 operations issued"),
        ],
    );
}

#[test]
fn a_time_at_another_speed_breaks_no_bound() {
    let failover = |holds: bool| {
        let story = Story::new().at_speed("10", (1..=6).map(|node| (node, holds || node != 5)));
        let bound = json!({"availability": {"of": "writes", "shard": "shard-1", "max-outage": "100ms"}});
        story
            .invariant(bound)
            .phase(500.0, "a")
            .writes(1, 600.0, 2000.0, 1, Acked)
            .writes(1, 2000.0, 6000.0, 1, Info)
            .writes(1, 6000.0, 7000.0, 1, Acked)
            .ends(9000.0)
    };
    expect(
        "availability",
        vec![
            ("all live at it", failover(true), Fail, "longest outage"),
            ("one does not", failover(false), Inconclusive, "node-5 did not live at speed 10"),
        ],
    );
}

/// At that speed, with every node shown to live at it.
fn at(speed: &str) -> Story {
    Story::new().at_speed(speed, (1..=6).map(|node| (node, true))).phase(500.0, "a")
}

/// TCP is not faster at speed, so after a fault of links nodes find each other later than in real time.
#[test]
fn an_outage_while_tcp_sends_again_breaks_no_bound() {
    let out = |speed: &str, from_ms: f64| {
        at(speed)
            .invariant(json!({"availability": {"of": "writes", "shard": "shard-2", "max-outage": "100ms"}}))
            .writes(2, 600.0, from_ms, 2, Acked)
            .writes(2, from_ms, from_ms + 800.0, 2, Info)
            .writes(2, from_ms + 800.0, 8000.0, 2, Acked)
            .network_fault(3000.0, Cut::NODE_1)
            .heal(4000.0, 1)
            .ends(60_000.0)
    };
    expect(
        "availability",
        vec![
            ("in real time", out("1", 4100.0), Fail, "longest outage"),
            ("at speed, after the heal", out("10", 4100.0), Inconclusive, "at speed 10, TCP sends what a fault"),
            ("at speed, before the fault", out("10", 1000.0), Fail, "longest outage"),
        ],
    );
}

#[test]
fn losses_while_tcp_sends_again_break_only_the_bound_0() {
    let lost = |speed: &str, may_lose: u64, cut: bool| {
        let story = at(speed)
            .invariant(json!({"acked-writes": {"may-lose": may_lose}}))
            .writes(1, 600.0, 1600.0, 1, Acked)
            .writes(2, 600.0, 1600.0, 2, Acked)
            .writes(3, 600.0, 1600.0, 3, Acked)
            .holds(key_of(2, 0), FinalValue::Missing)
            .holds(key_of(2, 1), FinalValue::Missing);
        let story = if cut { story.network_fault(2000.0, Cut::NODE_1).heal(3000.0, 1) } else { story };
        story.ends(60_000.0)
    };
    expect(
        "acked-writes",
        vec![
            ("in real time", lost("1", 1, true), Fail, "lost"),
            ("at speed", lost("10", 1, true), Inconclusive, "at speed 10, TCP sends what a fault"),
            ("at speed, without a fault of links", lost("10", 1, false), Fail, "lost"),
            ("nothing may be lost", lost("10", 0, true), Fail, "lost"),
            ("within the bound", lost("10", 1000, true), Pass, "lost"),
        ],
    );
}

#[test]
fn a_promotion_while_tcp_sends_again_proves_nothing() {
    let mut after = taken_over(healthy(), 1, 4, 7);
    after.current_epoch = 7;
    let promoted = |speed: &str, at_ms: f64, invariant: serde_json::Value| {
        at(speed)
            .invariant(invariant)
            .writes(1, 600.0, 1600.0, 1, Acked)
            .network_fault(2000.0, Cut::NODE_1)
            .heal(2500.0, 1)
            .view(at_ms, 4, &after)
            .ends(90_000.0)
    };
    let none = || json!({"promotions": {"shard": "shard-1", "exactly": 0}});
    let level = || json!({"epochs": {"max-rise": 0}});
    let replica = || json!({"role": {"node": "node-4", "is": "replica-of node-1", "at": "end"}});
    for (name, invariant, seen) in [
        ("promotions", none(), "shard-1: 1 promotion"),
        ("epochs", level(), "the current epoch rose by"),
        ("role", replica(), "node-4 is a master"),
    ] {
        let late = "shard-1 passed to node-4 at 5.000 s, and at speed 10, TCP sends";
        expect(
            name,
            vec![
                ("in real time", promoted("1", 5000.0, invariant.clone()), Fail, seen),
                ("at speed", promoted("10", 5000.0, invariant.clone()), Inconclusive, late),
                ("at speed, before the heal", promoted("10", 2400.0, invariant.clone()), Fail, seen),
                ("at speed, long after the heal", promoted("10", 60_000.0, invariant.clone()), Fail, seen),
            ],
        );
    }
}

#[test]
fn a_wait_while_tcp_sends_again_proves_nothing() {
    let waited = |speed: &str, ended_ms: f64| {
        at(speed)
            .writes(1, 600.0, 1600.0, 1, Acked)
            .network_fault(2000.0, Cut::NODE_1)
            .heal(3000.0, 1)
            .step(ended_ms - 1000.0, json!({"await": {"in-sync": "node-4", "within": "1s"}}), |story, step| {
                let event = EventKind::Awaited {
                    step,
                    condition: "in-sync: node-4".to_owned(),
                    met: false,
                    waited_ms: 1000.0,
                    within_ms: 1000.0,
                    last: "its link is down".to_owned(),
                };
                story.event(ended_ms, event)
            })
            .ends(90_000.0)
    };
    expect(
        "steps",
        vec![
            ("in real time", waited("1", 4500.0), Fail, "did not come within 1.000 s"),
            ("at speed", waited("10", 4500.0), Inconclusive, "did not come within 1.000 s, but at speed 10, TCP sends"),
            ("at speed, long after the heal", waited("10", 60_000.0), Fail, "did not come within 1.000 s"),
        ],
    );
}

#[test]
fn the_worst_verdict_wins() {
    assert_eq!(overall(&[]), Inconclusive);
    let good = check(&Facts::new(&story().invariant(json!({"acked-writes": {"may-lose": 0}})).ends(9000.0)));
    assert_eq!(overall(&good), Pass, "{good:#?}");
    let of = |verdicts: &[Verdict]| {
        let judgements: Vec<_> = verdicts
            .iter()
            .map(|&verdict| {
                let mut judgement = good[0].clone();
                judgement.verdict = verdict;
                judgement
            })
            .collect();
        overall(&judgements)
    };
    assert_eq!(of(&[Pass, Inconclusive, Pass]), Inconclusive);
    assert_eq!(of(&[Fail, Inconclusive, Pass]), Fail);
}

#[test]
fn judging_twice_gives_the_same() {
    let history = story().writes(1, 3000.0, 3500.0, 1, Info).failover_of_node_1().node_1_back_as_replica().ends(9000.0);
    assert_eq!(check(&Facts::new(&history)), check(&Facts::new(&history)));
}
