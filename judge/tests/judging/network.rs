//! Checks of network faults: split-brain, write-cutoff, and the checks of every run.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::facts::Facts;
use slotquake_judge::history::{EventKind, FaultKind};
use slotquake_judge::suite::Only;
use slotquake_judge::topology::{Health, View};
use slotquake_judge::units::NodeNo;

use crate::expect;
use crate::story::What::{Down, Fail as Refused, Info, Ok as Acked};
use crate::story::{Cut, Story, flagged, healthy, judged, key_of, taken_over};

pub fn story(invariant: serde_json::Value) -> Story {
    Story::new().invariant(invariant).phase(500.0, "a").writes(1, 600.0, 2000.0, 1, Acked)
}

pub fn after() -> View {
    taken_over(healthy(), 1, 4, 7)
}

/// `node-1` and the first client are cut off at 2 s, `node-4` is promoted at 4.2 s and acknowledges its
/// first write at 4.301 s.
fn cut_and_promoted(story: Story, cut: Cut) -> Story {
    story
        .network_fault(2000.0, cut)
        .views(3500.0, 2..=6, &flagged(healthy(), 1, Health::Fail))
        .view(4200.0, 4, &after())
        .by_client(9)
        .writes(1, 4300.0, 6000.0, 4, Acked)
        .by_client(1)
}

/// The same, and `node-1` acknowledges the writes of its client until `until_ms`, and then refuses them.
pub fn stops_at(invariant: serde_json::Value, at: f64) -> Story {
    stops_in_a_cut(invariant, at, Cut::NODE_1)
}

/// The same in another cut.
fn stops_in_a_cut(invariant: serde_json::Value, at: f64, cut: Cut) -> Story {
    cut_and_promoted(story(invariant), cut)
        .writes(1, 2000.0, at, 1, Acked)
        .writes(1, at, 6000.0, 1, Down)
        .heal(6000.0, 1)
        .views(6300.0, 1..=6, &after())
}

/// The same where the node still hears the others.
fn mute(invariant: serde_json::Value, at: f64) -> Story {
    stops_in_a_cut(invariant, at, Cut { one_way: true, ..Cut::NODE_1 })
}

#[test]
fn a_split_brain_is_the_overlap_of_two_masters() {
    let may_last = |bound: &str| json!({"split-brain": {"shard": "shard-1", "may-last": bound}});
    // The last write before 5 s is acknowledged at 4.991 s, 690 ms after the first of node-4.
    let split = |bound| stops_at(may_last(bound), 5000.0);
    let none = |bound| stops_at(may_last(bound), 4000.0);
    let cut_bus = Cut { only: Only::Bus, ..Cut::NODE_1 };
    let untried = |bound, cut| cut_and_promoted(story(may_last(bound)), cut).heal(6000.0, 1);
    let stalled = |by_ms| split("100ms").event(4900.0, EventKind::Stalled { by_ms });
    expect(
        "split-brain",
        vec![
            ("none", none("0s").ends(9000.0), Pass, "node-1 acknowledged no write after the first one of node-4"),
            ("some", split("0s").ends(9000.0), Fail, "node-1 acknowledged 69 writes in the 690 ms after"),
            ("measured", split("measured").ends(9000.0), Pass, "69 writes in the 690 ms"),
            ("exactly at the bound", split("690ms").ends(9000.0), Pass, "690 ms"),
            ("just over it", split("689ms").ends(9000.0), Fail, "690 ms"),
            ("by the server's rules", split("spec").ends(9000.0), Pass, "690 ms"),
            // 4.301 s and 1.4 s.
            ("just within the server's rules", stops_at(may_last("spec"), 5710.0).ends(9000.0), Pass, "1.400 s"),
            ("just beyond the server's rules", stops_at(may_last("spec"), 5720.0).ends(9000.0), Fail, "1.410 s"),
            // Half a node timeout more.
            ("just within them, if it hears", mute(may_last("spec"), 6210.0).ends(9000.0), Pass, "1.900 s"),
            ("just beyond them, though it hears", mute(may_last("spec"), 6220.0).ends(9000.0), Fail, "1.910 s"),
            ("the harness stalled meanwhile", stalled(300.0).ends(9000.0), Inconclusive, "the harness stalled"),
            ("it stalled briefly", stalled(100.0).ends(9000.0), Fail, "690 ms"),
            (
                "a pause until the promotion, and its queue",
                story(may_last("0s"))
                    .fault(2000.0, FaultKind::Pause, 1, true)
                    .view(4200.0, 4, &after())
                    .writes(1, 4300.0, 6000.0, 4, Acked)
                    .heal(6000.0, 1)
                    .write(key_of(1, 7), (2500.0, 6010.0), 1, Acked)
                    .ends(9000.0),
                Fail,
                "1 write in the 1.709 s",
            ),
            ("no promotion", story(may_last("0s")).ends(9000.0), Pass, "no promotion, 140 writes acknowledged"),
            (
                "no promotion and no write",
                Story::new().invariant(may_last("measured")).phase(500.0, "a").ends(9000.0),
                Inconclusive,
                "no write was acknowledged",
            ),
            (
                "the new master was never written to",
                story(may_last("measured"))
                    .fault(2000.0, FaultKind::Kill, 1, true)
                    .view(4200.0, 4, &after())
                    .ends(9000.0),
                Inconclusive,
                "node-4 acknowledged no write after its promotion",
            ),
            (
                "the old master was never written to",
                Story::new()
                    .invariant(may_last("measured"))
                    .phase(500.0, "a")
                    .fault(2000.0, FaultKind::Kill, 1, true)
                    .view(4200.0, 4, &after())
                    .writes(1, 4300.0, 6000.0, 4, Acked)
                    .ends(9000.0),
                Inconclusive,
                "node-1 acknowledged no write before node-4 took over",
            ),
            (
                "no client that reaches the old master tried",
                untried("0s", Cut::NODE_1).by_client(9).writes(1, 4400.0, 5000.0, 1, Info).ends(9000.0),
                Inconclusive,
                "no client that reaches node-1 tried to write to it",
            ),
            (
                "somebody who reaches it tried",
                untried("0s", Cut::NODE_1).writes(1, 4400.0, 5000.0, 1, Info).ends(9000.0),
                Pass,
                "acknowledged no write after",
            ),
            (
                "of the bus alone, everybody reaches it",
                untried("0s", cut_bus).ends(9000.0),
                Pass,
                "acknowledged no write after",
            ),
            (
                "killed: nothing could be seen",
                story(may_last("0s")).failover_of_node_1().writes(1, 4600.0, 6000.0, 4, Acked).ends(9000.0),
                Pass,
                "acknowledged no write after",
            ),
            (
                "cut off and then killed: nothing could be seen",
                cut_and_promoted(story(may_last("0s")), Cut::NODE_1)
                    .fault(3000.0, FaultKind::Kill, 1, true)
                    .heal(6000.0, 1)
                    .ends(9000.0),
                Pass,
                "acknowledged no write after",
            ),
            (
                "the master before the last",
                story(may_last("0s"))
                    .view(4200.0, 4, &after())
                    .writes(1, 4300.0, 5000.0, 4, Acked)
                    .view(5000.0, 5, &taken_over(after(), 4, 5, 8))
                    .writes(1, 5100.0, 6000.0, 5, Acked)
                    .writes(1, 5500.0, 5510.0, 1, Acked)
                    .ends(9000.0),
                Fail,
                "node-1 acknowledged 1 write in the 400 ms after the first write of node-5",
            ),
            (
                "there and back: who reigns again is no old master",
                stops_at(may_last("0s"), 4000.0)
                    .view(7000.0, 1, &taken_over(after(), 4, 1, 8))
                    .writes(1, 7100.0, 8000.0, 1, Acked)
                    .ends(9000.0),
                Pass,
                "node-4 acknowledged no write after the first one of node-1",
            ),
            (
                "a node that was never seen to own the shard",
                story(may_last("measured")).writes(1, 3000.0, 3100.0, 5, Acked).ends(9000.0),
                Inconclusive,
                "10 writes acknowledged by nodes that no earlier view shows as its owner",
            ),
            (
                "another shard's is its own affair",
                { stops_at(json!({"split-brain": {"shard": "shard-2", "may-last": "0s"}}), 5000.0) }
                    .writes(2, 2000.0, 6000.0, 2, Acked)
                    .ends(9000.0),
                Pass,
                "shard-2: no promotion",
            ),
        ],
    );
    let figures = judged(&split("measured").ends(9000.0), "split-brain").figures;
    assert_eq!((figures["split_brain_ms"], figures["split_brain_writes"]), (690.0, 69.0));
}

#[test]
fn write_cutoff_of_an_isolated_master() {
    let within = |bound: &str| json!({"write-cutoff": {"within": bound}});
    // The last write before 3.5 s is acknowledged at 3.491 s.
    let stops = |bound| stops_at(within(bound), 3500.0);
    let bare = |bound| story(within(bound)).network_fault(2000.0, Cut::NODE_1);
    let of = |kind, only| story(within("2s")).network_fault(2000.0, Cut { kind, only, ..Cut::NODE_1 }).heal(6000.0, 1);
    let stalled = |by_ms| stops("1s").event(3400.0, EventKind::Stalled { by_ms });
    expect(
        "write-cutoff",
        vec![
            ("in time", stops("2s").ends(9000.0), Pass, "acknowledged 150 more writes, the last after 1.491 s"),
            ("exactly at the bound", stops("1491ms").ends(9000.0), Pass, "1.491 s"),
            ("just over it", stops("1490ms").ends(9000.0), Fail, "1.491 s"),
            // 1.5 node timeouts, 200 ms, 700 ms of slack.
            ("just within the server's rules", stops_at(within("spec"), 4400.0).ends(9000.0), Pass, "2.391 s"),
            ("just beyond the server's rules", stops_at(within("spec"), 4420.0).ends(9000.0), Fail, "2.411 s"),
            // Half a node timeout more.
            ("just within them, if it hears", mute(within("spec"), 4900.0).ends(9000.0), Pass, "2.891 s"),
            ("just beyond them, though it hears", mute(within("spec"), 4920.0).ends(9000.0), Fail, "2.911 s"),
            ("never", bare("2s").writes(1, 2000.0, 6000.0, 1, Acked).heal(6000.0, 1).ends(9000.0), Fail, "3.991 s"),
            (
                "not yet when the cut was lifted",
                bare("2s").writes(1, 2000.0, 3000.0, 1, Acked).heal(3000.0, 1).ends(9000.0),
                Inconclusive,
                "no client that reaches node-1 tried another write before the cut was lifted",
            ),
            (
                "a write from before its last one, left unanswered",
                { bare("2s").write(key_of(1, 7), (2100.0, 7100.0), 1, Info).writes(1, 2200.0, 3500.0, 1, Acked) }
                    .heal(6000.0, 1)
                    .ends(9000.0),
                Inconclusive,
                "no client that reaches node-1 tried another write",
            ),
            (
                "lifted early, with a write left unanswered",
                { bare("2s").writes(1, 2000.0, 2900.0, 1, Acked).write(key_of(1, 7), (2950.0, 4000.0), 1, Info) }
                    .heal(3000.0, 1)
                    .ends(9000.0),
                Inconclusive,
                "node-1 had not refused a write by then",
            ),
            (
                "lifted early, with a write refused",
                { bare("2s").writes(1, 2000.0, 2900.0, 1, Acked).writes(1, 2900.0, 3000.0, 1, Down) }
                    .heal(3000.0, 1)
                    .ends(9000.0),
                Pass,
                "the last after 891 ms",
            ),
            (
                "unanswered for longer than the bound",
                bare("2s").writes(1, 2000.0, 6000.0, 1, Info).heal(6000.0, 1).ends(9000.0),
                Pass,
                "acknowledged no more writes",
            ),
            (
                "nobody tried",
                bare("2s").heal(6000.0, 1).ends(9000.0),
                Inconclusive,
                "no client that reaches node-1 tried",
            ),
            (
                "only clients of the other side tried",
                bare("2s").by_client(9).writes(1, 2000.0, 6000.0, 1, Info).heal(6000.0, 1).ends(9000.0),
                Inconclusive,
                "no client that reaches node-1 tried",
            ),
            (
                "a client beside it that was sent elsewhere tried",
                bare("2s").writes(1, 2000.0, 6000.0, 4, Refused).heal(6000.0, 1).ends(9000.0),
                Pass,
                "acknowledged no more writes",
            ),
            (
                "what is acknowledged after the cut was lifted does not count",
                stops("2s").writes(1, 6001.0, 6500.0, 1, Acked).ends(9000.0),
                Pass,
                "1.491 s",
            ),
            ("never lifted", bare("2s").writes(1, 2000.0, 8900.0, 1, Acked).ends(9000.0), Fail, "6.891 s"),
            ("the harness stalled meanwhile", stalled(400.0).ends(9000.0), Inconclusive, "the harness stalled"),
            ("it stalled briefly", stalled(300.0).ends(9000.0), Fail, "1.491 s"),
            ("no network fault", story(within("2s")).ends(9000.0), Inconclusive, "no partition cut off a master"),
            (
                "a cut of clients alone",
                of(FaultKind::Partition, Only::Clients).ends(9000.0),
                Inconclusive,
                "no partition",
            ),
            ("a lossy link", of(FaultKind::Lossy, Only::All).ends(9000.0), Inconclusive, "no partition"),
            (
                "a replica cut off",
                story(within("2s")).network_fault(2000.0, Cut { hits: &[4], ..Cut::NODE_1 }).ends(9000.0),
                Inconclusive,
                "no partition cut off a master",
            ),
            (
                "the master of another shard",
                stops_at(json!({"write-cutoff": {"shard": "shard-2", "within": "2s"}}), 3500.0).ends(9000.0),
                Inconclusive,
                "no partition cut off a master",
            ),
        ],
    );
    let figures = judged(&stops("2s").ends(9000.0), "write-cutoff").figures;
    assert_eq!((figures["write_cutoff_ms"], figures["acknowledged_while_cut_off"]), (1491.0, 150.0));
}

#[test]
fn only_cuts_begin_a_failover() {
    let begun = || Story::new().phase(500.0, "a");
    let of = |kind, only| cut_and_promoted(begun(), Cut { kind, only, ..Cut::NODE_1 });
    let mut clients_alone = cut_and_promoted(begun(), Cut::NODE_1);
    clients_alone.change_events(|kind| {
        if let EventKind::NetworkFaultInjected { sides, .. } = kind {
            sides[1].nodes.clear();
        }
    });
    let halves = Cut { hits: &[1, 2, 3, 4, 5, 6], ..Cut::NODE_1 };
    for (name, story, expected) in [
        ("a partition", of(FaultKind::Partition, Only::All), vec![(Some(1), 1, Some(4), Some(1500.0))]),
        ("of the bus", of(FaultKind::Partition, Only::Bus), vec![(Some(1), 1, Some(4), Some(1500.0))]),
        ("a refusal", of(FaultKind::Refuse, Only::All), vec![(Some(1), 1, Some(4), Some(1500.0))]),
        ("of clients alone", of(FaultKind::Partition, Only::Clients), vec![(None, 1, Some(4), None)]),
        ("a lossy link", of(FaultKind::Lossy, Only::All), vec![(None, 1, Some(4), None)]),
        ("clients alone on one side", clients_alone, vec![(None, 1, Some(4), None)]),
        ("at nobody's master", begun().network_fault(2000.0, Cut { hits: &[4], ..Cut::NODE_1 }), vec![]),
        (
            "FAIL flags behind the cut do not count",
            begun().cut_off_node_1(2000.0).network_fault(2001.0, Cut { hits: &[4, 5], ..Cut::NODE_1 }),
            vec![(Some(1), 1, None, None)],
        ),
        (
            "where all are hit, each flag counts",
            begun().network_fault(2000.0, halves).views(3500.0, [2], &flagged(healthy(), 1, Health::Fail)),
            vec![(Some(1), 1, None, Some(1500.0)), (Some(1), 2, None, None), (Some(1), 3, None, None)],
        ),
        (
            "a flag raised on the hit side",
            begun()
                .network_fault(2000.0, Cut { hits: &[1, 4], ..Cut::NODE_1 })
                .view(3000.0, 4, &flagged(healthy(), 1, Health::Fail))
                .view(3500.0, 2, &flagged(healthy(), 1, Health::Fail)),
            vec![(Some(1), 1, None, Some(1500.0))],
        ),
    ] {
        let found: Vec<_> = Facts::new(&story.ends(9000.0))
            .failovers
            .iter()
            .map(|failover| {
                (failover.fault, failover.old_master.0, failover.new_master.map(|node| node.0), failover.fail_ms)
            })
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn network_faults_need_proofs() {
    let cut = || Story::new().phase(500.0, "a").cut_off_node_1(2000.0);
    expect(
        "faults",
        vec![
            ("proven and undone", cut().heal(4000.0, 1).ends(9000.0), Pass, "1 fault injected"),
            (
                "never undone",
                cut().ends(9000.0),
                Inconclusive,
                "fault 1 (partition cut-1 (one side | the other)) was never undone",
            ),
            (
                "planned, and never injected",
                Story::new()
                    .phase(500.0, "a")
                    .step(2000.0, json!({"partition": {"shape": "ring"}}), |story, _| story)
                    .ends(9000.0),
                Inconclusive,
                "step 2 injected no fault",
            ),
        ],
    );
    let healing_only =
        Story::new().phase(500.0, "a").step(2000.0, json!({"heal": "all"}), |story, _| story).ends(9000.0);
    let judgements = slotquake_judge::check::check(&Facts::new(&healing_only));
    assert!(judgements.iter().all(|judgement| judgement.invariant != "faults"), "a heal injects nothing");
}

#[test]
fn the_harness_reaches_isolated_nodes() {
    let role =
        || Story::new().invariant(json!({"role": {"node": "node-1", "is": "master", "at": "a"}})).phase(500.0, "a");
    expect(
        "role",
        vec![(
            "a node that died in a partition is not excused by it",
            role().cut_off_node_1(2000.0).silent(2500.0, 1).phase(3000.0, "b").ends(9000.0),
            Fail,
            "node-1 does not answer (refused), and no fault explains it",
        )],
    );
    let others = || {
        Story::new()
            .invariant(json!({"availability": {"of": "writes", "shard": "others", "max-outage": "0s"}}))
            .phase(500.0, "a")
    };
    expect(
        "availability",
        vec![(
            "others are those that no network fault hit",
            others()
                .cut_off_node_1(2000.0)
                .writes(1, 600.0, 900.0, 1, Refused)
                .writes(2, 600.0, 900.0, 2, Acked)
                .ends(9000.0),
            Inconclusive,
            "shard-3: no writes were sent",
        )],
    );
}

#[test]
fn no_promotion_if_the_replica_is_cut_off_too() {
    let together = Cut { hits: &[1, 4], ..Cut::NODE_1 };
    let story = |cut| {
        Story::new()
            .invariant(json!({"failover-time": {"shard": "shard-1", "to": "promotion", "within": "3s"}}))
            .phase(500.0, "a")
            .network_fault(2000.0, cut)
            .heal(6000.0, 1)
            .views(3500.0, [2], &flagged(healthy(), 1, Health::Fail))
    };
    let history = story(together).ends(9000.0);
    expect(
        "failover-time",
        vec![
            ("together", history, Inconclusive, "no promotion, because faults hit every other node"),
            ("alone", story(Cut::NODE_1).ends(9000.0), Fail, "no promotion within 4.000 s"),
        ],
    );
}

#[test]
fn clients_reach_the_nodes_of_their_side() {
    let of = |only| Facts::new(&Story::new().network_fault(600.0, Cut { only, ..Cut::NODE_1 }).ends(900.0)).fault_spans;
    // Client 1 stands with node-1, client 9 with all other nodes, client 5 nowhere.
    for (only, client, node, reaches) in [
        (Only::All, 1, 1, true),
        (Only::All, 1, 2, false),
        (Only::All, 9, 1, false),
        (Only::All, 9, 2, true),
        (Only::All, 5, 1, true),
        (Only::Clients, 9, 1, false),
        (Only::Bus, 9, 1, true),
        (Only::Replication, 9, 1, true),
    ] {
        assert_eq!(of(only)[0].reaches(client - 1, NodeNo(node)), reaches, "{only:?}: client-{client} to node-{node}");
    }
    assert_eq!(of(Only::All)[0].hit(NodeNo(1)).map(|hit| hit.was_master), Some(true));
}
