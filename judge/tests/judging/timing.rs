//! Facts and checks from operations: outages, availability, statistics, phases.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::facts::{Facts, KeyShards, PATIENCE_NS, Whose, Window, outages};
use slotquake_judge::history::{EventKind, FaultKind, History};
use slotquake_judge::suite::{ClientSet, OpKind};
use slotquake_judge::units::{NodeNo, ShardNo};

use crate::expect;
use crate::story::What::{Fail as Refused, Info, Ok as Acked};
use crate::story::{Story, What, judged, key_of, ns};

const ALL: Window = Window { from_ns: 0, to_ns: u64::MAX };

/// A name, operations, and outages as begin, end, number of operations, and whether it ended; times in milliseconds.
type OutageRow = (&'static str, Vec<(f64, f64, What)>, Vec<(f64, f64, u64, bool)>);

/// Writes to different keys of shard 1: issue and answer in milliseconds, and outcome.
fn told(ops: &[(f64, f64, What)]) -> History {
    let story = ops.iter().enumerate().fold(Story::new(), |story, (n, &(invoke, complete, what))| {
        story.write(key_of(1, n), (invoke, complete), 1, what)
    });
    story.ends(20_000.0)
}

#[test]
fn outages_begin_and_end_with_operations() {
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
            vec![(1000.0, 1010.0, 1, true), (1010.0, 5001.0, 1, true)],
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
            vec![(1010.0, 3000.0, 2, true), (3000.0, 8001.0, 1, true)],
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
        let facts = Facts::new(&history);
        let found = |of, shard| {
            let issued = facts.issued(of, shard, ClientSet::All, window);
            outages(&issued, Whose { of, shard, clients: ClientSet::All }, window, PATIENCE_NS)
        };
        let on_shard_1 = found(OpKind::Writes, ShardNo(1));
        let found_shape: Vec<_> =
            on_shard_1.iter().map(|outage| (outage.from_ns, outage.to_ns, outage.unserved, outage.ended)).collect();
        assert_eq!(found_shape, expected, "{name}");
        assert!(found(OpKind::Writes, ShardNo(2)).is_empty(), "{name}: another shard's");
        assert!(found(OpKind::Reads, ShardNo(1)).is_empty(), "{name}: another kind's");
    }
}

/// Writes to shards 1 and 2 from 600 ms to 8 s in phase `a`. Some of those to shard 1 are refused.
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
fn availability_limits_the_longest_outage() {
    let writes = |max: &str| json!({"of": "writes", "shard": "shard-1", "max-outage": max});
    let others = |max: &str| json!({"of": "writes", "shard": "others", "max-outage": max});
    let fault = |story: Story| story.fault(2000.0, FaultKind::Kill, 1, true).heal(6000.0, 1);
    let stalled = |by_ms| gap(&writes("900ms"), 2000.0, 3000.0).event(2900.0, EventKind::Stalled { by_ms });
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
            // The last that was served before it had its answer at 1.991 s.
            ("exactly at the bound", gap(&writes("1010ms"), 2000.0, 3000.0).ends(8000.0), Pass, "1.001 s"),
            (
                "over it, had somebody tried earlier",
                gap(&writes("1009ms"), 2000.0, 3000.0).ends(8000.0),
                Inconclusive,
                "may have begun up to 9 ms earlier",
            ),
            (
                "over it, and nobody tried just then",
                gap(&writes("995ms"), 2000.0, 3000.0).ends(8000.0),
                Inconclusive,
                "the outage from 2.000 s may have ended by 2.995 s",
            ),
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
                "shard-3: no writes were sent",
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
            ("no operation of the kind", gap(&reads, 2000.0, 3000.0).ends(8000.0), Inconclusive, "no reads were sent"),
            ("not over by the end of the steps", cut("500ms").ends(8000.0), Inconclusive, "was still open at the end"),
            (
                "over soon after the steps",
                cut("500ms").writes(1, 8000.0, 8100.0, 4, Acked).ends(8000.0),
                Pass,
                "still open at the end",
            ),
            (
                "over too long after the steps",
                cut("500ms").writes(1, 9000.0, 9100.0, 4, Acked).ends(8000.0),
                Inconclusive,
                "was still open at the end",
            ),
            (
                "the harness stalled for over a quarter of it",
                stalled(300.0).ends(8000.0),
                Inconclusive,
                "the harness stalled for 300 ms of 1.001 s",
            ),
            ("for less than a quarter", stalled(250.0).ends(8000.0), Fail, "1.001 s"),
            (
                "it stalled, and all is well",
                { gap(&writes("2s"), 2000.0, 3000.0).event(2900.0, EventKind::Stalled { by_ms: 800.0 }).ends(8000.0) },
                Pass,
                "1.001 s",
            ),
            ("hanging is no service", frozen("2s").ends(8000.0), Fail, "longest outage 2.500 s from 2.000 s"),
            ("hanging within the bound", frozen("2509ms").ends(8000.0), Pass, "2.500 s"),
            ("hanging, and served in the end", frozen("0s").ends(8000.0), Fail, "2.500 s"),
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
            ("the run never began", never_began, Inconclusive, "ended before"),
        ],
    );
    let figures = judged(&gap(&writes("2s"), 2000.0, 3000.0).ends(8000.0), "availability").figures;
    assert_eq!((figures["longest_outage_ms"], figures["issued"], figures["unserved"]), (1001.0, 740.0, 100.0));
}

#[test]
fn availability_limits_what_is_served() {
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
                "0 of 201",
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
                "after the window",
            ),
            ("never, with nothing issued", phase(served("never")).ends(12_000.0), Inconclusive, "no writes were sent"),
            (
                "always, with nothing issued",
                phase(served("always")).ends(12_000.0),
                Inconclusive,
                "no writes were sent",
            ),
            (
                "no such phase",
                {
                    phase(json!({"of": "writes", "during": "z", "served": "always"}))
                        .writes(1, 1000.0, 2000.0, 1, Acked)
                        .ends(12_000.0)
                },
                Inconclusive,
                "phase \"z\"",
            ),
        ],
    );
}

#[test]
fn statistics_cover_the_window() {
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
    let facts = Facts::new(&history);
    let writes = facts.ops.stats(OpKind::Writes, None, window);
    assert_eq!((writes.issued, writes.ok, writes.failed, writes.unknown), (3, 2, 0, 1));
    // Due 50 ms before it was issued, answered 2 ms after: the wait counts.
    assert_eq!(writes.max_ms, 52.0);
    assert!((writes.p50_ms - 4.0).abs() < 0.01, "{}", writes.p50_ms);
    assert!((writes.late_p99_ms - 50.0).abs() < 0.1, "{}", writes.late_p99_ms);
    assert_eq!(writes.reasons.get("no answer within 5s"), Some(&1));
    assert_eq!(facts.ops.stats(OpKind::Writes, None, ALL).reasons.get("refused"), Some(&2));
    assert_eq!(facts.ops.stats(OpKind::Reads, Some(ShardNo(1)), window).ok, 1);
    assert_eq!(facts.ops.stats(OpKind::Reads, Some(ShardNo(2)), window).issued, 0);
    let shards = KeyShards::new(&history.header.plan);
    assert!(history.ops.iter().all(|op| shards.of(op.key()).0 == op.node() || op.kind() == OpKind::Reads));
}

#[test]
fn phases_have_no_gaps() {
    let history = Story::new().phase(500.0, "a").phase(3000.0, "b").ends(9000.0);
    let spans: Vec<_> = Facts::new(&history)
        .phases
        .into_iter()
        .map(|phase| (phase.name, phase.window.from_ns / 1_000_000, phase.window.to_ns / 1_000_000))
        .collect();
    let expected =
        [("boot", 0, 500), ("a", 500, 3000), ("b", 3000, 9000), ("recovery", 9000, 9100), ("final", 9100, 9300)];
    assert_eq!(spans, expected.map(|(name, from, to)| (name.to_owned(), from, to)));
    assert_eq!(Facts::new(&history).steps, Some(Window { from_ns: ns(500.0), to_ns: ns(9000.0) }));
}

#[test]
fn the_window_of_the_steps() {
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
        assert_eq!(Facts::new(&history).steps, expected, "{name}");
    }
}

#[test]
fn a_server_without_a_processor_leaves_times_undecided() {
    let outage = || gap(&json!({"of": "writes", "shard": "shard-1", "max-outage": "900ms"}), 2000.0, 3000.0);
    let starved = |node, at, of_ms| {
        outage().event(at, EventKind::Starved { node: NodeNo(node), waited_ms: of_ms, of_ms }).ends(8000.0)
    };
    let twice = |second| {
        let each = |at| (at, EventKind::Starved { node: NodeNo(1), waited_ms: 130.0, of_ms: 130.0 });
        [each(2500.0), each(second)].into_iter().fold(outage(), |story, (at, kind)| story.event(at, kind)).ends(8000.0)
    };
    expect(
        "availability",
        vec![
            ("a quarter of the outage", starved(1, 2900.0, 250.0), Fail, "longest outage 1.001 s"),
            ("more of it", starved(1, 2900.0, 260.0), Inconclusive, "for a processor in 260 ms of 1.001 s"),
            ("another server", starved(2, 2900.0, 260.0), Inconclusive, "for a processor in 260 ms of 1.001 s"),
            ("long before", starved(1, 800.0, 260.0), Fail, "longest outage 1.001 s"),
            ("twice at once", twice(2630.0), Inconclusive, "for a processor in 260 ms of 1.001 s"),
            ("twice at one time", twice(2500.0), Fail, "longest outage 1.001 s"),
        ],
    );
}
