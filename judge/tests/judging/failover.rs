//! The causes and the times of failovers.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::facts::{Facts, Failover};
use slotquake_judge::history::{EventKind, FaultKind};
use slotquake_judge::topology::{Health, Role};
use slotquake_judge::units::{NodeNo, ShardNo};

use crate::expect;
use crate::story::What::{Fail as Refused, Info, Ok as Acked};
use crate::story::{Story, flagged, healthy, judged, key_of, ns, taken_over};

/// A name, a story, and its failovers: fault, old master, new master, promotion and end of watching in milliseconds.
type FailoverRow = (&'static str, Story, Vec<(Option<u32>, u16, Option<u16>, Option<f64>, f64)>);

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

/// Both kill node-1, and nobody is promoted.
#[test]
fn nobody_can_succeed_in_a_shard_without_a_replica() {
    let killed = |story: Story| {
        let fail = flagged(healthy(), 1, Health::Fail);
        story.fault(2000.0, FaultKind::Kill, 1, true).views(3500.0, [2, 3, 6], &fail)
    };
    let story = || {
        let settings = json!({"failover-time": {"shard": "shard-1", "within": "3s"}});
        Story::new().invariant(settings).phase(500.0, "a")
    };
    let replicates = |kind: &mut EventKind, replica: u16, master: u16| {
        if let EventKind::Viewed { view, .. } = kind {
            view.peers.get_mut(&NodeNo(replica)).unwrap().role = Role::ReplicaOf(NodeNo(master));
        }
    };
    let bare = |moved: bool| {
        let mut story = killed(story());
        // node-4 is planned as a second replica of node-2; node-5 may have moved to node-1.
        story.change_events(|kind| replicates(kind, 4, 2));
        if moved {
            story.change_events(|kind| replicates(kind, 5, 1));
        }
        let mut history = story.ends(9000.0);
        let node_4 = &mut history.header.plan.nodes[3];
        (node_4.shard, node_4.replica_of) = (ShardNo(2), Some(NodeNo(2)));
        history
    };
    expect(
        "failover-time",
        vec![
            ("none", bare(false), Pass, "shard-1: no promotion, because the shard has no replica"),
            ("one that had moved there", bare(true), Fail, "shard-1: no promotion within 7.000 s"),
            ("the one of the plan", killed(story()).ends(9000.0), Fail, "shard-1: no promotion within 7.000 s"),
        ],
    );
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
            .writes(1, 3000.0, first_write, 4, Refused)
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
                "shard-1: FAIL after 1.500 s of 3.000 s allowed; shard-1: promotion after 2.500 s of 3.000 s allowed; shard-1: first \
                 write after 2.801 s of 3.000 s allowed",
            ),
            ("by the server's rules", failed_over(&within("spec")).ends(9000.0), Pass, "promotion after 2.500 s"),
            ("exactly at the bound", failed_over(&to("first-write", "2801ms")).ends(9000.0), Pass, "2.801 s"),
            ("just over it", failed_over(&to("first-write", "2800ms")).ends(9000.0), Fail, "2.801 s (limit 2.800 s)"),
            ("only up to a milestone", failed_over(&to("fail", "2s")).ends(9000.0), Pass, "FAIL after 1.500 s"),
            ("FAIL came too late", failed_over(&to("fail", "1s")).ends(9000.0), Fail, "FAIL after 1.500 s"),
            ("it never came", dead(to("promotion", "3s")).ends(9000.0), Fail, "no promotion within 7.000 s"),
            (
                "it was not waited for",
                dead(to("promotion", "10s")).ends(9000.0),
                Inconclusive,
                "the run watched for only 7.000 s",
            ),
            (
                "undone too soon to say",
                dead(to("promotion", "3s")).heal(4000.0, 1).ends(9000.0),
                Inconclusive,
                "the run watched for only 2.000 s",
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
                "no promotion, because faults hit every other node",
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
                "no write was tried at 5.000 s",
            ),
            (
                "a promotion between two looks, in time",
                unseen_promotion("3s"),
                Pass,
                "promotion was not seen, but a later milestone was",
            ),
            ("a promotion between two looks, or not in time", unseen_promotion("2600ms"), Inconclusive, "was not seen"),
            (
                "the harness stalled for over a quarter",
                stalled(700.0).ends(9000.0),
                Inconclusive,
                "the harness stalled for 700 ms of 2.500 s",
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
fn failovers_with_and_without_a_fault() {
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
        let found = Facts::new(&story.ends(9000.0)).failovers;
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
fn an_earlier_fail_flag_does_not_count() {
    let lingering = flagged(healthy(), 1, Health::Fail);
    let history = Story::new()
        .phase(500.0, "a")
        .view(1500.0, 2, &lingering)
        .fault(2000.0, FaultKind::Kill, 1, true)
        .view(2100.0, 2, &flagged(lingering.clone(), 5, Health::Pfail))
        .view(3500.0, 3, &lingering)
        .ends(9000.0);
    assert_eq!(Facts::new(&history).failovers[0].fail_ms, Some(1500.0));
}

#[test]
fn writes_on_the_old_master_do_not_count() {
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
        assert_eq!(Facts::new(&story.ends(9000.0)).failovers[0].first_write_ms, expected, "{name}");
    }
}
