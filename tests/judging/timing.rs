//! What the workload sees, and how long a failover takes: outages, availability, failover-time,
//! statistics, phases.

use serde_json::json;
use slotquake::analysis::{Failover, OpIndex, Window, failovers, op_shard, outages, phases, stats, steps_window};
use slotquake::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake::cluster::topology::Health;
use slotquake::history::{EventKind, FaultKind, History};
use slotquake::suite::OpKind;
use slotquake::units::{NodeNo, ShardNo};

use crate::expect;
use crate::story::What::{Fail as Refused, Info, Ok as Acked};
use crate::story::{Story, What, flagged, healthy, judged, key_of, ns, taken_over};

const ALL: Window = Window { from_ns: 0, to_ns: u64::MAX };

/// What it is, operations, and outages as from, to, unserved, ended; times in milliseconds.
type OutageRow = (&'static str, Vec<(f64, f64, What)>, Vec<(f64, f64, u64, bool)>);

/// What it is, a story, and failovers as fault, old master, new master, promotion and until in
/// milliseconds.
type FailoverRow = (&'static str, Story, Vec<(Option<u32>, u16, Option<u16>, Option<f64>, f64)>);

/// Writes to shard 1 of other keys each: (issued, answered, outcome), in milliseconds.
fn told(ops: &[(f64, f64, What)]) -> History {
    let story = ops.iter().enumerate().fold(Story::new(), |story, (n, &(invoke, complete, what))| {
        story.write(key_of(1, n), (invoke, complete), 1, what)
    });
    story.ends(20_000.0)
}

#[test]
fn an_outage_lasts_from_the_first_unserved_to_the_next_served_after_it() {
    let window = Window { from_ns: ns(1000.0), to_ns: ns(10_000.0) };
    let rows: Vec<OutageRow> = vec![
        ("all served", vec![(1000.0, 1001.0, Acked), (1010.0, 1011.0, Acked)], vec![]),
        (
            "one unserved",
            vec![(1000.0, 1001.0, Acked), (1010.0, 1500.0, Info), (1020.0, 1021.0, Acked)],
            vec![(1010.0, 1021.0, 1, true)],
        ),
        (
            "a row of them",
            vec![(1010.0, 1500.0, Refused), (1020.0, 1021.0, Refused), (1030.0, 1032.0, Acked)],
            vec![(1010.0, 1032.0, 2, true)],
        ),
        (
            "two outages",
            vec![(1010.0, 1011.0, Refused), (1020.0, 1021.0, Acked), (2000.0, 2001.0, Info), (2010.0, 2011.0, Acked)],
            vec![(1010.0, 1021.0, 1, true), (2000.0, 2011.0, 1, true)],
        ),
        (
            "one issued before it and answered during it ends nothing",
            vec![(1000.0, 3000.0, Acked), (1010.0, 1011.0, Refused), (5000.0, 5001.0, Acked)],
            vec![(1000.0, 3000.0, 1, true), (1010.0, 5001.0, 1, true)],
        ),
        (
            "a slow one in it does not prolong it",
            vec![(1010.0, 1011.0, Refused), (2000.0, 8000.0, Acked), (4000.0, 4001.0, Acked)],
            vec![(1010.0, 4001.0, 2, true)],
        ),
        (
            "a service that was overtaken by the next outage does not shorten that",
            vec![
                (1010.0, 1011.0, Refused),
                (1020.0, 4000.0, Acked),
                (3000.0, 3001.0, Refused),
                (8000.0, 8001.0, Acked),
            ],
            vec![(1010.0, 4000.0, 2, true), (3000.0, 8001.0, 1, true)],
        ),
        (
            "all hang, and are served at once in the end",
            vec![(1000.0, 1001.0, Acked), (2000.0, 4500.0, Acked), (3000.0, 4501.0, Acked), (4000.0, 4502.0, Acked)],
            vec![(2000.0, 4500.0, 2, true)],
        ),
        ("hanging for exactly a second", vec![(2000.0, 3000.0, Acked)], vec![]),
        (
            "one hangs, and those after it are served",
            vec![(2000.0, 7000.0, Acked), (2010.0, 2011.0, Acked), (3500.0, 3501.0, Acked)],
            vec![],
        ),
        ("never over", vec![(1010.0, 1011.0, Refused), (2000.0, 7000.0, Info)], vec![(1010.0, 10_000.0, 2, false)]),
        (
            "served again after the window",
            vec![(9000.0, 9001.0, Refused), (9500.0, 10_001.0, Acked)],
            vec![(9000.0, 10_000.0, 1, false)],
        ),
        ("issued before the window or after it", vec![(999.0, 999.5, Refused), (10_000.0, 10_001.0, Refused)], vec![]),
    ];
    for (name, ops, expected) in rows {
        let history = told(&ops);
        let expected: Vec<_> = expected.iter().map(|&(from, to, n, ended)| (ns(from), ns(to), n, ended)).collect();
        let found = outages(&history, OpKind::Writes, ShardNo(1), window);
        let found_shape: Vec<_> =
            found.iter().map(|outage| (outage.from_ns, outage.to_ns, outage.unserved, outage.ended)).collect();
        assert_eq!(found_shape, expected, "{name}");
        let indexed = OpIndex::new(&history).outages(OpKind::Writes, ShardNo(1), window);
        assert_eq!(indexed, found, "{name}");
        assert!(outages(&history, OpKind::Writes, ShardNo(2), window).is_empty(), "{name}: another shard's");
        assert!(outages(&history, OpKind::Reads, ShardNo(1), window).is_empty(), "{name}: another kind's");
    }
}

/// Writes of shards 1 and 2 from 600 ms to 8 s in phase `a`, those of shard 1 refused in between.
fn gap(invariant: &serde_json::Value, from: f64, to: f64) -> Story {
    Story::new()
        .invariant(json!({ "availability": invariant }))
        .phase(500.0, "a")
        .writes(1, 600.0, from, 1, Acked)
        .writes(1, from, to, 1, Refused)
        .writes(1, to, 8000.0, 4, Acked)
        .writes(2, 600.0, 8000.0, 2, Acked)
}

#[test]
fn availability_bounds_the_longest_outage() {
    let writes = |max: &str| json!({"of": "writes", "shard": "shard-1", "max-outage": max});
    let others = |max: &str| json!({"of": "writes", "shard": "others", "max-outage": max});
    let fault = |story: Story| story.fault(2000.0, FaultKind::Kill, 1, true).heal(6000.0, 1);
    let stalled = |by_ms| gap(&writes("999ms"), 2000.0, 3000.0).event(2900.0, EventKind::Stalled { by_ms });
    let reads = json!({"of": "reads", "shard": "shard-1", "max-outage": "0s"});
    // The outage from 7.9 s on is not over when the steps end at 8 s.
    let cut = |max: &str| gap(&writes(max), 7900.0, 8000.0);
    // Issued from 2 s to 4.4 s, and all answered at 4.5 s.
    let frozen = |max: &str| {
        let story = Story::new().invariant(json!({ "availability": writes(max) })).phase(500.0, "a");
        let served = story.writes(1, 600.0, 2000.0, 1, Acked).writes(1, 4500.0, 8000.0, 4, Acked);
        (0..25).fold(served, |story, n| story.write(key_of(1, 10 + n), (2000.0 + 100.0 * n as f64, 4500.0), 1, Acked))
    };
    let mut never_began = gap(&writes("0s"), 2000.0, 3000.0).ends(8000.0);
    never_began.events.retain(|event| event.kind != EventKind::Phase { name: "a".to_owned() });
    let ran_late = |story: Story| {
        (0..40).fold(story, |story, n| {
            story.write(key_of(3, 0), (4000.0 + f64::from(n), 4001.0 + f64::from(n)), 3, Acked).issued_late(1100.0)
        })
    };
    let late = ran_late(gap(&writes("500ms"), 2000.0, 3000.0));
    let unanswered = || gap(&writes("0s"), 2000.0, 2000.0).write(key_of(1, 0), (2000.5, 7000.5), 1, Info);
    expect(
        "availability",
        vec![
            (
                "none",
                gap(&writes("0s"), 2000.0, 2000.0).ends(8000.0),
                Pass,
                "740 of 740 writes served (100.0 %), no outage",
            ),
            // From the first refused at 2.000 s to the completion of the first served at 3.001 s.
            (
                "within the bound",
                gap(&writes("2s"), 2000.0, 3000.0).ends(8000.0),
                Pass,
                "longest outage 1.001 s from 2.000 s",
            ),
            ("exactly at the bound", gap(&writes("1001ms"), 2000.0, 3000.0).ends(8000.0), Pass, "1.001 s"),
            ("just over it", gap(&writes("1000ms"), 2000.0, 3000.0).ends(8000.0), Fail, "1.001 s"),
            ("a single one where none may be", gap(&writes("0s"), 2000.0, 2010.0).ends(8000.0), Fail, "739 of 740"),
            ("by the server's rules", gap(&writes("spec"), 2000.0, 6000.0).ends(8000.0), Pass, "4.001 s"),
            ("longer than the rules allow", gap(&writes("spec"), 1000.0, 7000.0).ends(8000.0), Fail, "6.001 s"),
            (
                "a longer live timeout allows more",
                { gap(&writes("spec"), 1000.0, 7000.0).config(450.0, 5000).ends(8000.0) },
                Pass,
                "6.001 s",
            ),
            (
                "other shards",
                fault(gap(&others("0s"), 2000.0, 3000.0)).writes(3, 600.0, 8000.0, 3, Acked).ends(8000.0),
                Pass,
                "shard-3: 740 of 740",
            ),
            (
                "other shards, of which one is idle",
                fault(gap(&others("0s"), 2000.0, 3000.0)).ends(8000.0),
                Inconclusive,
                "shard-3: none of the writes were issued",
            ),
            ("no fault: every shard is another", gap(&others("0s"), 2000.0, 3000.0).ends(8000.0), Fail, "shard-1"),
            (
                "a fault everywhere: no shard is another",
                {
                    (1..=3)
                        .fold(gap(&others("0s"), 2000.0, 2000.0), |story, n| {
                            story.fault(5000.0, FaultKind::Kill, n, true)
                        })
                        .ends(8000.0)
                },
                Inconclusive,
                "there are no others",
            ),
            (
                "no operation of the kind",
                gap(&reads, 2000.0, 3000.0).ends(8000.0),
                Inconclusive,
                "none of the reads were issued",
            ),
            ("not over by the end of the steps", cut("500ms").ends(8000.0), Inconclusive, "was not over"),
            (
                "over soon after the steps",
                cut("500ms").writes(1, 8000.0, 8100.0, 4, Acked).ends(8000.0),
                Pass,
                "not over by then",
            ),
            (
                "over too long after the steps",
                cut("500ms").writes(1, 9000.0, 9100.0, 4, Acked).ends(8000.0),
                Inconclusive,
                "was not over",
            ),
            (
                "the harness stood still for over a quarter of it",
                stalled(300.0).ends(8000.0),
                Inconclusive,
                "the harness itself stood still for 300 ms of 1.001 s",
            ),
            ("for less than a quarter", stalled(250.0).ends(8000.0), Fail, "1.001 s"),
            (
                "it stood still, and all is well",
                { gap(&writes("2s"), 2000.0, 3000.0).event(2900.0, EventKind::Stalled { by_ms: 800.0 }).ends(8000.0) },
                Pass,
                "1.001 s",
            ),
            ("hanging is no service", frozen("2s").ends(8000.0), Fail, "longest outage 2.500 s from 2.000 s"),
            ("hanging within the bound", frozen("2500ms").ends(8000.0), Pass, "2.500 s"),
            ("hanging, and served in the end", frozen("0s").ends(8000.0), Pass, "2.500 s"),
            ("the workload ran late", late.ends(8000.0), Inconclusive, "over 1 s late"),
            ("not answered", unanswered().ends(8000.0), Fail, "740 of 741"),
            (
                "not answered when the workload ran late",
                ran_late(unanswered()).ends(8000.0),
                Inconclusive,
                "over 1 s late",
            ),
            (
                "refused when the workload ran late",
                ran_late(gap(&writes("0s"), 2000.0, 2010.0)).ends(8000.0),
                Fail,
                "739 of 740",
            ),
            ("the run never began", never_began, Inconclusive, "never got as far"),
        ],
    );
    let figures = judged(&gap(&writes("2s"), 2000.0, 3000.0).ends(8000.0), "availability").figures;
    assert_eq!((figures["longest_outage_ms"], figures["issued"], figures["unserved"]), (1001.0, 740.0, 100.0));
}

#[test]
fn availability_bounds_what_is_served() {
    let share = |least: &str| json!({"of": "writes", "shard": "shard-1", "during": "a", "min-served": least});
    let served = |served: &str| json!({"of": "writes", "shard": "shard-1", "during": "a", "served": served});
    let phase = |invariant| Story::new().invariant(json!({ "availability": invariant })).phase(500.0, "a");
    // 1000 writes, of which one is refused.
    let thousand =
        |invariant| phase(invariant).writes(1, 1000.0, 10_990.0, 1, Acked).writes(1, 10_990.0, 11_000.0, 1, Refused);
    let dead = |invariant| phase(invariant).writes(1, 1000.0, 2000.0, 1, Refused).writes(1, 2000.0, 3000.0, 1, Info);
    let key = key_of(1, 9);
    expect(
        "availability",
        vec![
            ("exactly the least share", thousand(share("99.9%")).ends(12_000.0), Pass, "999 of 1000"),
            ("just less", thousand(share("99.91%")).ends(12_000.0), Fail, "999 of 1000"),
            ("always, but one", thousand(served("always")).ends(12_000.0), Fail, "999 of 1000"),
            ("always", phase(served("always")).writes(1, 1000.0, 2000.0, 1, Acked).ends(12_000.0), Pass, "100 of 100"),
            ("never", dead(served("never")).ends(12_000.0), Pass, "0 of 200"),
            (
                "never, but one",
                dead(served("never")).write(key, (2500.0, 2501.0), 4, Acked).ends(12_000.0),
                Fail,
                "1 of 201",
            ),
            (
                "an unknown outcome is no service",
                phase(served("always")).write(key, (1000.0, 6000.0), 1, Info).ends(12_000.0),
                Fail,
                "0 of 1",
            ),
            (
                "never, and one served after the phase",
                { dead(served("never")).write(key, (2900.0, 4000.0), 4, Acked).phase(3500.0, "b").ends(12_000.0) },
                Pass,
                "1 of 201",
            ),
            (
                "never, and the next phase serves",
                { dead(served("never")).phase(3500.0, "b").writes(1, 3500.0, 4000.0, 4, Acked).ends(12_000.0) },
                Pass,
                "0 of 200",
            ),
            (
                "all served after the phase say nothing of it",
                { phase(served("never")).write(key, (2900.0, 4000.0), 4, Acked).phase(3500.0, "b").ends(12_000.0) },
                Inconclusive,
                "after the time looked at",
            ),
            ("never, with nothing issued", phase(served("never")).ends(12_000.0), Inconclusive, "none of the writes"),
            ("always, with nothing issued", phase(served("always")).ends(12_000.0), Inconclusive, "none of the writes"),
            (
                "no such phase",
                {
                    phase(json!({"of": "writes", "during": "z", "served": "always"}))
                        .writes(1, 1000.0, 2000.0, 1, Acked)
                        .ends(12_000.0)
                },
                Inconclusive,
                "phase z",
            ),
        ],
    );
}

/// `node-1` killed at 2 s, FAIL at 3.5 s, promotion at 4.5 s, first write of `node-4` at 4.801 s.
fn failed_over(invariant: &serde_json::Value) -> Story {
    Story::new()
        .invariant(json!({ "failover-time": invariant }))
        .phase(500.0, "a")
        .failover_of_node_1()
        .writes(1, 1900.0, 2000.0, 1, Acked)
        .writes(1, 2000.0, 4800.0, 1, Refused)
        .writes(1, 4800.0, 6000.0, 4, Acked)
}

#[test]
fn failover_time_counts_from_the_fault() {
    let within = |bound: &str| json!({"shard": "shard-1", "within": bound});
    let to = |to: &str, bound: &str| json!({"shard": "shard-1", "to": to, "within": bound});
    let dead = |invariant| {
        let story = Story::new().invariant(json!({ "failover-time": invariant })).phase(500.0, "a");
        story.fault(2000.0, FaultKind::Kill, 1, true).writes(1, 2000.0, 4000.0, 1, Refused)
    };
    let stalled = |by_ms| failed_over(&to("promotion", "2s")).event(4000.0, EventKind::Stalled { by_ms });
    let unseen_promotion = |bound| {
        let mut history = failed_over(&to("promotion", bound)).ends(9000.0);
        history.events.retain(|event| !matches!(event.kind, EventKind::Viewed { node: NodeNo(4), .. }));
        history
    };
    let manual = |invariant, first_write| {
        Story::new()
            .invariant(json!({ "failover-time": invariant }))
            .phase(500.0, "a")
            .views(3000.0, 1..=6, &taken_over(healthy(), 1, 4, 7))
            .writes(1, first_write, 6000.0, 4, Acked)
            .ends(9000.0)
    };
    expect(
        "failover-time",
        vec![
            (
                "each milestone",
                failed_over(&within("3s")).ends(9000.0),
                Pass,
                "shard-1: FAIL after 1.500 s; shard-1: promotion after 2.500 s; shard-1: first write after 2.801 s",
            ),
            ("by the server's rules", failed_over(&within("spec")).ends(9000.0), Pass, "promotion after 2.500 s"),
            ("exactly at the bound", failed_over(&to("first-write", "2801ms")).ends(9000.0), Pass, "2.801 s"),
            ("just over it", failed_over(&to("first-write", "2800ms")).ends(9000.0), Fail, "2.801 s, over 2.800 s"),
            ("only up to a milestone", failed_over(&to("fail", "2s")).ends(9000.0), Pass, "FAIL after 1.500 s"),
            ("FAIL came too late", failed_over(&to("fail", "1s")).ends(9000.0), Fail, "FAIL after 1.500 s"),
            ("it never came", dead(to("promotion", "3s")).ends(9000.0), Fail, "promotion did not come within 7.000 s"),
            (
                "it was not waited for",
                dead(to("promotion", "10s")).ends(9000.0),
                Inconclusive,
                "waited for only 7.000 s",
            ),
            (
                "undone too soon to say",
                dead(to("promotion", "3s")).heal(4000.0, 1).ends(9000.0),
                Inconclusive,
                "waited for only 2.000 s",
            ),
            (
                "undone late enough to say",
                dead(to("promotion", "1s")).heal(4000.0, 1).ends(9000.0),
                Fail,
                "within 2.000 s",
            ),
            (
                "nobody could succeed",
                {
                    dead(within("3s"))
                        .fault(2001.0, FaultKind::Kill, 4, false)
                        .views(3500.0, [2, 3, 5, 6], &flagged(healthy(), 1, Health::Fail))
                        .ends(9000.0)
                },
                Pass,
                "no promotion, as faults held every other node",
            ),
            (
                "no write was tried",
                {
                    Story::new()
                        .invariant(json!({"failover-time": to("first-write", "3s")}))
                        .phase(500.0, "a")
                        .failover_of_node_1()
                        .ends(9000.0)
                },
                Inconclusive,
                "issued no write",
            ),
            (
                "a promotion between two looks, in time",
                unseen_promotion("3s"),
                Pass,
                "promotion was not seen, but what follows",
            ),
            ("a promotion between two looks, or not in time", unseen_promotion("2600ms"), Inconclusive, "was not seen"),
            (
                "the harness stood still for over a quarter",
                stalled(700.0).ends(9000.0),
                Inconclusive,
                "stood still for 700 ms of 2.500 s",
            ),
            ("for less", stalled(600.0).ends(9000.0), Fail, "promotion after 2.500 s"),
            (
                "no failover",
                Story::new().invariant(json!({"failover-time": within("3s")})).phase(500.0, "a").ends(9000.0),
                Inconclusive,
                "no failover",
            ),
            (
                "of another shard",
                failed_over(&json!({"shard": "shard-2", "within": "3s"})).ends(9000.0),
                Inconclusive,
                "no failover",
            ),
            ("without a fault, to the first write", manual(within("1s"), 3500.0), Pass, "first write after 501 ms"),
            ("without a fault, too late", manual(within("1s"), 4500.0), Fail, "first write after 1.501 s"),
            (
                "without a fault there is no promotion to time",
                manual(to("promotion", "1s"), 3500.0),
                Inconclusive,
                "nothing was observed",
            ),
        ],
    );
    let figures = judged(&failed_over(&within("3s")).ends(9000.0), "failover-time").figures;
    assert_eq!((figures["fail_ms"], figures["promotion_ms"], figures["first_write_ms"]), (1500.0, 2500.0, 2801.0));
}

#[test]
fn a_failover_begins_with_a_fault_at_a_master_or_without_one() {
    let base = || Story::new().phase(500.0, "a");
    let swapped = taken_over(healthy(), 1, 4, 7);
    let back = taken_over(swapped.clone(), 4, 1, 8);
    let command = |story: Story, at| {
        story.step(at, json!({"command": {"send": "cluster failover", "to": "node-4"}}), |story, step| {
            story.event(at, EventKind::Commanded { step, node: NodeNo(4), reply: "OK".to_owned() })
        })
    };
    let killed = || base().fault(2000.0, FaultKind::Kill, 1, true);
    let rows: Vec<FailoverRow> = vec![
        ("nothing happened", base(), vec![]),
        ("a fault at a replica is none", base().fault(2000.0, FaultKind::Kill, 4, false), vec![]),
        ("a fault at a master", base().failover_of_node_1(), vec![(Some(1), 1, Some(4), Some(2500.0), 9000.0)]),
        ("nobody follows", killed(), vec![(Some(1), 1, None, None, 9000.0)]),
        (
            "undone before",
            killed().heal(3000.0, 1).views(3100.0, 1..=6, &healthy()),
            vec![(Some(1), 1, None, None, 3000.0)],
        ),
        (
            "undone, and replaced by the election that it began",
            killed().heal(3000.0, 1).views(3100.0, 1..=6, &swapped),
            vec![(Some(1), 1, Some(4), Some(1100.0), 9000.0)],
        ),
        (
            "undone, and replaced by order",
            command(killed().heal(3000.0, 1), 5000.0).views(5100.0, 1..=6, &swapped),
            vec![(Some(1), 1, None, None, 3000.0), (None, 1, Some(4), Some(100.0), 9000.0)],
        ),
        (
            "there by a fault and back, with an order to another node",
            command(base().failover_of_node_1().node_1_back_as_replica(), 7000.0).views(7100.0, 1..=6, &back),
            vec![(Some(1), 1, Some(4), Some(2500.0), 9000.0), (None, 4, Some(1), None, 9000.0)],
        ),
        (
            "there and back by faults",
            base()
                .failover_of_node_1()
                .node_1_back_as_replica()
                .fault(7000.0, FaultKind::Kill, 4, true)
                .view(8000.0, 1, &back),
            vec![(Some(1), 1, Some(4), Some(2500.0), 7000.0), (Some(2), 4, Some(1), Some(1000.0), 9000.0)],
        ),
        (
            "after the steps is too late",
            killed().view(9050.0, 4, &swapped),
            vec![(Some(1), 1, None, None, 9000.0), (None, 1, Some(4), None, 9300.0 + 1e-6)],
        ),
    ];
    for (name, story, expected) in rows {
        let found = failovers(&story.ends(9000.0));
        let shape: Vec<_> = found
            .iter()
            .map(|failover| {
                let Failover { fault, old_master, new_master, promotion_ms, until_ns, .. } = failover;
                (*fault, old_master.0, new_master.map(|node| node.0), *promotion_ms, *until_ns)
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|&(f, old, new, ms, until)| (f, old, new, ms, ns(until))).collect();
        assert_eq!(shape, expected, "{name}");
    }
}

#[test]
fn a_fail_flag_that_was_there_before_the_fault_is_not_its_doing() {
    let lingering = flagged(healthy(), 1, Health::Fail);
    let history = Story::new()
        .phase(500.0, "a")
        .view(1500.0, 2, &lingering)
        .fault(2000.0, FaultKind::Kill, 1, true)
        .view(2100.0, 2, &flagged(lingering.clone(), 5, Health::Pfail))
        .view(3500.0, 3, &lingering)
        .ends(9000.0);
    assert_eq!(failovers(&history)[0].fail_ms, Some(1500.0));
}

#[test]
fn statistics_count_what_was_issued_in_the_window() {
    let history = Story::new()
        .write(key_of(1, 0), (900.0, 901.0), 1, Refused)
        .write(key_of(1, 0), (1000.0, 1004.0), 1, Acked)
        .write(key_of(2, 0), (1100.0, 1102.0), 2, Acked)
        .issued_late(50.0)
        .write(key_of(2, 0), (1200.0, 6200.0), 2, Info)
        .read(key_of(1, 0), 1, (1300.0, 1301.0), Acked)
        .write(key_of(3, 0), (2000.0, 2001.0), 3, Refused)
        .ends(9000.0);
    let window = Window { from_ns: ns(1000.0), to_ns: ns(2000.0) };
    let index = OpIndex::new(&history);
    for shard in [None, Some(ShardNo(1)), Some(ShardNo(2)), Some(ShardNo(3))] {
        for kind in [OpKind::Reads, OpKind::Writes] {
            assert_eq!(stats(&history, kind, shard, window), index.stats(kind, shard, window), "{kind} of {shard:?}");
        }
    }
    let writes = stats(&history, OpKind::Writes, None, window);
    assert_eq!((writes.issued, writes.ok, writes.failed, writes.unknown), (3, 2, 0, 1));
    // Due 50 ms before it was issued, answered 2 ms after: the wait counts.
    assert_eq!(writes.max_ms, 52.0);
    assert!((writes.p50_ms - 4.0).abs() < 0.01, "{}", writes.p50_ms);
    assert!((writes.late_p99_ms - 50.0).abs() < 0.1, "{}", writes.late_p99_ms);
    assert_eq!(writes.reasons.get("no answer within 5s"), Some(&1));
    assert_eq!(stats(&history, OpKind::Writes, None, ALL).reasons.get("refused"), Some(&2));
    assert_eq!(stats(&history, OpKind::Reads, Some(ShardNo(1)), window).ok, 1);
    assert_eq!(stats(&history, OpKind::Reads, Some(ShardNo(2)), window).issued, 0);
    assert!(history.ops.iter().all(|op| op_shard(&history, op).0 == op.node || op.kind == OpKind::Reads));
}

#[test]
fn phases_follow_each_other_without_a_gap() {
    let history = Story::new().phase(500.0, "a").phase(3000.0, "b").ends(9000.0);
    let spans: Vec<_> = phases(&history)
        .into_iter()
        .map(|phase| (phase.name, phase.window.from_ns / 1_000_000, phase.window.to_ns / 1_000_000))
        .collect();
    let expected =
        [("boot", 0, 500), ("a", 500, 3000), ("b", 3000, 9000), ("recovery", 9000, 9100), ("final", 9100, 9300)];
    assert_eq!(spans, expected.map(|(name, from, to)| (name.to_owned(), from, to)));
    assert_eq!(steps_window(&history), Some(Window { from_ns: ns(500.0), to_ns: ns(9000.0) }));
}

#[test]
fn the_steps_begin_with_the_first_phase_or_else_the_first_step() {
    let settle = |story: Story, at| story.step(at, json!({"settle": "1s"}), |story, _| story);
    for (name, history, expected) in [
        ("a phase", settle(Story::new(), 600.0).phase(700.0, "a").ends(9000.0), Some((700.0, 9000.0))),
        ("no phase", settle(Story::new(), 600.0).ends(9000.0), Some((600.0, 9000.0))),
        ("no step", Story::new().ends(9000.0), Some((400.0, 9000.0))),
        (
            "the phase was never reached",
            {
                let mut history = Story::new().phase(500.0, "a").ends(9000.0);
                history.events.retain(|event| event.kind != EventKind::Phase { name: "a".to_owned() });
                history
            },
            None,
        ),
        (
            "killed in the steps",
            Story::new().phase(500.0, "a").silent(800.0, 1).breaks_off(),
            Some((500.0, 800.0 + 1e-6)),
        ),
    ] {
        let expected = expected.map(|(from, to)| Window { from_ns: ns(from), to_ns: ns(to) });
        assert_eq!(steps_window(&history), expected, "{name}");
    }
}

#[test]
fn what_the_old_master_acknowledges_is_not_the_first_write_of_its_successor() {
    let story = || Story::new().phase(500.0, "a").failover_of_node_1();
    let late = story().write(key_of(1, 0), (2100.0, 6000.0), 1, Acked).write(key_of(1, 1), (4700.0, 4701.0), 4, Acked);
    for (name, story, expected) in [
        ("its successor's", late, Some(2701.0)),
        ("its own, issued after the fault", story().write(key_of(1, 0), (2100.0, 2101.0), 1, Acked), None),
        ("another's, issued before the fault", story().write(key_of(1, 0), (1999.0, 2500.0), 4, Acked), None),
        ("a refused one", story().write(key_of(1, 0), (4700.0, 4701.0), 4, Refused), None),
        ("one of unknown outcome", story().write(key_of(1, 0), (4700.0, 4701.0), 4, Info), None),
        ("of another shard", story().write(key_of(2, 0), (4700.0, 4701.0), 2, Acked), None),
    ] {
        assert_eq!(failovers(&story.ends(9000.0))[0].first_write_ms, expected, "{name}");
    }
}
