//! Checks of views and replies: slot-coverage, agreement, role, replica-lag, promotions, redirects, replica-read-only.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::history::{EventKind, FaultKind, History, ReadOnly};
use slotquake_judge::topology::{Health, Role, View};
use slotquake_judge::units::NodeNo;

use crate::expect;
use crate::story::{Story, What, flagged, healthy, judged, key_of, taken_over};

/// A healthy cluster whose phase `a` begins at 500 ms, and the invariant.
fn story(invariant: serde_json::Value) -> Story {
    Story::new().invariant(invariant).phase(500.0, "a")
}

/// The same cluster, without any poll of a node.
fn unseen(invariant: serde_json::Value) -> History {
    let mut history = story(invariant).ends(9000.0);
    history.events.retain(|event| !matches!(event.kind, EventKind::Viewed { .. } | EventKind::Silent { .. }));
    history
}

fn with_slots(node: u16, slots: &[(u16, u16)]) -> View {
    let mut view = healthy();
    view.peers.get_mut(&NodeNo(node)).unwrap().slots = slots.to_vec();
    view
}

#[test]
fn slot_coverage_at_the_end() {
    let at_end = || story(json!({"slot-coverage": {"at": "end"}}));
    let mut unassigned = healthy();
    (unassigned.slots_assigned, unassigned.slots_ok) = (16383, 16383);
    expect(
        "slot-coverage",
        vec![
            ("all well", at_end().ends(9000.0), Pass, "6 of 6 nodes"),
            (
                "after a failover",
                at_end().failover_of_node_1().node_1_back_as_replica().ends(9000.0),
                Pass,
                "6 of 6 nodes",
            ),
            (
                "one node misses a slot",
                at_end().view(2000.0, 3, &unassigned).ends(9000.0),
                Fail,
                "16383 slots assigned",
            ),
            (
                "a slot only suspected to fail",
                at_end().view(2000.0, 3, &flagged(healthy(), 1, Health::Pfail)).ends(9000.0),
                Fail,
                "5461 pfail",
            ),
            (
                "two masters claim slots",
                at_end().view(2000.0, 2, &with_slots(2, &[(5400, 10922)])).ends(9000.0),
                Fail,
                "slots 5400-5460 are claimed by node-1, node-2",
            ),
            (
                "no master claims a slot",
                at_end().view(2000.0, 2, &with_slots(2, &[(5461, 10000), (10002, 10922)])).ends(9000.0),
                Fail,
                "no master claims slots 10001",
            ),
            ("a node that died by itself", at_end().silent(2000.0, 6).ends(9000.0), Fail, "node-6 does not answer"),
            (
                "a node that a fault still holds",
                at_end().fault(2000.0, FaultKind::Kill, 6, false).ends(9000.0),
                Inconclusive,
                "because of fault 1",
            ),
            (
                "a silence while the harness stalled",
                at_end().silent(2000.0, 6).event(2000.0, EventKind::Stalled { by_ms: 600.0 }).ends(9000.0),
                Inconclusive,
                "the harness stalled",
            ),
            ("nobody looked", unseen(json!({"slot-coverage": {"at": "end"}})), Inconclusive, "never polled"),
            ("no end", at_end().breaks_off(), Inconclusive, "ended before its recovery"),
        ],
    );
}

#[test]
fn slot_coverage_throughout_or_in_a_phase() {
    let throughout = || story(json!({"slot-coverage": {"at": "throughout"}}));
    let in_phase = || story(json!({"slot-coverage": {"at": "a"}}));
    let suspected = flagged(healthy(), 1, Health::Pfail);
    let gap = || throughout().view(2000.0, 3, &suspected).view(2600.0, 3, &healthy());
    let starved =
        |story: Story, at, of_ms| story.event(at, EventKind::Starved { node: NodeNo(2), waited_ms: of_ms, of_ms });
    expect(
        "slot-coverage",
        vec![
            ("always", throughout().ends(9000.0), Pass, "every view"),
            (
                "not for a while",
                gap().ends(9000.0),
                Fail,
                "slots were not covered for 600 ms in total, first at 2.000 s",
            ),
            (
                "while servers had no processor",
                starved(gap(), 2100.0, 900.0).ends(9000.0),
                Inconclusive,
                "at 2.000 s: node-3 sees 16384 slots assigned, 16384 ok, 5461 pfail, 0 fail, while servers waited for a processor",
            ),
            (
                "for much longer than they had none",
                starved(throughout().view(2000.0, 3, &suspected).view(8000.0, 3, &healthy()), 2100.0, 900.0)
                    .ends(9000.0),
                Fail,
                "6.000 s in total",
            ),
            ("before they had none", starved(gap(), 3100.0, 900.0).ends(9000.0), Fail, "600 ms in total"),
            (
                "once with them, and once without",
                {
                    let later = gap().view(7000.0, 3, &suspected).view(7100.0, 3, &healthy());
                    starved(later, 2100.0, 900.0).ends(9000.0)
                },
                Fail,
                "for 100 ms in total, first at 7.000 s",
            ),
            (
                "before the first phase does not count",
                Story::new()
                    .invariant(json!({"slot-coverage": {"at": "throughout"}}))
                    .view(450.0, 3, &suspected)
                    .view(499.0, 3, &healthy())
                    .phase(500.0, "a")
                    .ends(9000.0),
                Pass,
                "every view",
            ),
            (
                "what began before it and lasts does",
                Story::new()
                    .invariant(json!({"slot-coverage": {"at": "throughout"}}))
                    .view(450.0, 3, &suspected)
                    .view(600.0, 3, &healthy())
                    .phase(500.0, "a")
                    .ends(9000.0),
                Fail,
                "for 100 ms",
            ),
            ("after the steps it does not count", throughout().view(9001.0, 3, &suspected).ends(9000.0), Pass, "every"),
            (
                "nobody looked",
                unseen(json!({"slot-coverage": {"at": "throughout"}})),
                Inconclusive,
                "nothing was observed",
            ),
            (
                "a gap that the phase's end does not see",
                { in_phase().view(2000.0, 3, &suspected).view(2600.0, 3, &healthy()).phase(3000.0, "b").ends(9000.0) },
                Pass,
                "6 of 6",
            ),
            (
                "one that it does",
                in_phase().view(2000.0, 3, &suspected).phase(3000.0, "b").ends(9000.0),
                Fail,
                "5 of 6",
            ),
            (
                "one that begins with the next phase",
                { in_phase().phase(3000.0, "b").view(3000.0, 3, &suspected).ends(9000.0) },
                Pass,
                "6 of 6",
            ),
            ("no such phase", story(json!({"slot-coverage": {"at": "z"}})).ends(9000.0), Inconclusive, "phase \"z\""),
            ("two such phases", in_phase().phase(3000.0, "a").ends(9000.0), Inconclusive, "more than one phase"),
        ],
    );
    assert_eq!(judged(&gap().ends(9000.0), "slot-coverage").figures["uncovered_ms"], 600.0);
}

/// A node knows `node-1` at the address that it left.
fn with_left_address(mut view: View) -> View {
    view.peers.get_mut(&NodeNo(1)).unwrap().left_addr = Some(([127, 1, 0, 1], 6379).into());
    view
}

#[test]
fn nodes_agree_only_if_all_know_where_each_is() {
    // node-1 comes back elsewhere at 6 s as a replica; two histories differ only in when node-2 learns the address.
    let after = || taken_over(healthy(), 1, 4, 7);
    let moved = |learned_ms: Option<f64>| {
        let address = |node: u8| ([127, 1, 0, node], 6379).into();
        let moved = EventKind::AddressChanged { node: NodeNo(1), from: address(1), to: address(7) };
        let story = story(json!({"agreement": {"within": "1s"}}))
            .failover_of_node_1()
            .changed(5990.0, 1, json!({"address": "new"}))
            .event(5990.0, moved)
            .heal(6000.0, 1)
            .views(6300.0, [1, 3, 4, 5, 6], &after())
            .view(6300.0, 2, &with_left_address(after()));
        match learned_ms {
            Some(learned_ms) => story.view(learned_ms, 2, &after()).ends(12000.0),
            None => story.ends(12000.0),
        }
    };
    expect(
        "agreement",
        vec![
            ("soon", moved(Some(6900.0)), Pass, "all nodes agreed 900 ms after"),
            ("late", moved(Some(7100.0)), Fail, "all nodes agreed 1.100 s after"),
            ("never", moved(None), Fail, "node-2 has node-1 at 127.1.0.1:6379, which it left"),
        ],
    );
}

#[test]
fn agreement_counts_from_the_last_heal() {
    let within = |bound: &str| story(json!({"agreement": {"within": bound}}));
    // Healed at 6 s, agreed at 6.3 s.
    let healed = |bound| within(bound).failover_of_node_1().node_1_back_as_replica();
    let after = taken_over(healthy(), 1, 4, 7);
    let relapse = |from, to| healed("2s").view(from, 2, &healthy()).view(to, 2, &after).ends(9000.0);
    let stall = |by_ms| healed("299ms").event(6290.0, EventKind::Stalled { by_ms }).ends(9000.0);
    let other_epoch = taken_over(healthy(), 1, 4, 8);
    expect(
        "agreement",
        vec![
            ("in time", healed("1s").ends(9000.0), Pass, "all nodes agreed 300 ms after the `start` of fault 1"),
            ("exactly at the bound", healed("300ms").ends(9000.0), Pass, "300 ms"),
            ("just over it", healed("299ms").ends(9000.0), Fail, "300 ms"),
            ("by the server's rules", healed("spec").ends(9000.0), Pass, "300 ms"),
            ("a relapse within the bound", relapse(7000.0, 7500.0), Pass, "1.500 s"),
            ("a relapse beyond it", relapse(7000.0, 8500.0), Fail, "2.500 s"),
            (
                "a silence that the harness itself may have made",
                healed("2s")
                    .event(7900.0, EventKind::Stalled { by_ms: 900.0 })
                    .event(8000.0, EventKind::Silent { node: NodeNo(2), reason: "no answer in time".to_owned() })
                    .view(8500.0, 2, &after)
                    .ends(9000.0),
                Inconclusive,
                "the harness stalled",
            ),
            (
                "to the end",
                healed("1s").view(7000.0, 2, &healthy()).ends(9000.0),
                Fail,
                "node-2 sees node-1 as a master of slots 0-5460, epoch 1, node-1 as a replica of node-4",
            ),
            (
                "to the end, which came before the bound",
                { healed("20s").view(7000.0, 2, &healthy()).ends(9000.0) },
                Inconclusive,
                "the run ended before the limit",
            ),
            ("only an epoch differs", healed("1s").view(7000.0, 2, &other_epoch).ends(9000.0), Fail, "epoch 8"),
            (
                "only a flag is left",
                { healed("1s").view(7000.0, 2, &flagged(after.clone(), 1, Health::Pfail)).ends(9000.0) },
                Fail,
                "node-2 suspects node-1 (PFAIL)",
            ),
            ("a node that died by itself", healed("1s").silent(7000.0, 6).ends(9000.0), Fail, "node-6 does not answer"),
            ("the harness stalled meanwhile", stall(100.0), Inconclusive, "the harness stalled"),
            ("it stalled for a quarter", stall(75.0), Fail, "300 ms"),
            (
                "a fault that is never undone",
                { healed("1s").fault(7000.0, FaultKind::Kill, 6, false).ends(9000.0) },
                Inconclusive,
                "fault 2 at node-6 was never undone",
            ),
            ("nothing ever happened", within("1s").ends(9000.0), Pass, "0 ms after the first phase"),
            (
                "a CLUSTER command is what is counted from",
                {
                    within("1s")
                        .step(
                            3000.0,
                            json!({"command": {"send": "CLUSTER FAILOVER", "to": "node-4"}}),
                            |story, step| {
                                story.event(
                                    3000.0,
                                    EventKind::Commanded { step, node: NodeNo(4), reply: "OK".to_owned() },
                                )
                            },
                        )
                        .views(3400.0, 1..=3, &after)
                        .views(3500.0, 4..=6, &after)
                        .ends(9000.0)
                },
                Pass,
                "500 ms after `CLUSTER FAILOVER`",
            ),
            ("nobody looked", unseen(json!({"agreement": {"within": "1s"}})), Inconclusive, "never polled"),
        ],
    );
    assert_eq!(judged(&healed("1s").ends(9000.0), "agreement").figures["converged_ms"], 300.0);
}

#[test]
fn role_follows_the_view_of_the_node_itself() {
    let role = |node: &str, is: &str, at: &str| story(json!({"role": {"node": node, "is": is, "at": at}}));
    let swapped = |node, is, at| role(node, is, at).failover_of_node_1().node_1_back_as_replica().phase(7000.0, "b");
    let mut without_slots = healthy();
    without_slots.peers.get_mut(&NodeNo(4)).unwrap().role = Role::Master;
    let mut moved = healthy();
    moved.peers.get_mut(&NodeNo(5)).unwrap().role = Role::ReplicaOf(NodeNo(1));
    let of_shard_2 = |at: &str| role("shard-2/replica", "replica-of node-2", at);
    let unreplicated =
        |at: &str, back_ms: f64| of_shard_2(at).view(2000.0, 5, &moved).view(back_ms, 5, &healthy()).ends(9000.0);
    let silent = |others: &View| {
        let at = "throughout";
        of_shard_2(at).views(2000.0, [1, 2, 3, 4, 6], others).silent(2000.0, 5).ends(9000.0)
    };
    let silenced = |kind| {
        of_shard_2("throughout").fault(2000.0, kind, 5, false).heal(5000.0, 1).view(5200.0, 5, &healthy()).ends(9000.0)
    };
    let without_processor = |of_ms: f64| {
        let starved = EventKind::Starved { node: NodeNo(2), waited_ms: of_ms, of_ms };
        role("node-6", "replica-of node-3", "end").silent(8000.0, 6).event(8600.0, starved).ends(9000.0)
    };
    expect(
        "role",
        vec![
            (
                "a replica of the right one",
                swapped("node-1", "replica-of node-4", "end").ends(9000.0),
                Pass,
                "replica of node-4",
            ),
            (
                "a replica of another",
                swapped("node-1", "replica-of node-5", "end").ends(9000.0),
                Fail,
                "replica of node-4",
            ),
            ("a replica", swapped("node-1", "replica", "end").ends(9000.0), Pass, "replica of node-4"),
            ("no master any more", swapped("node-1", "master", "end").ends(9000.0), Fail, "replica of node-4"),
            (
                "silent while servers had no processor",
                without_processor(251.0),
                Inconclusive,
                "node-6 does not answer (refused), but a server waited for a processor in up to 251 ms around 7.000 s",
            ),
            (
                "silent while servers had a processor",
                without_processor(250.0),
                Fail,
                "node-6 does not answer (refused), and no fault explains it",
            ),
            ("the new master", swapped("node-4", "master", "end").ends(9000.0), Pass, "a master with slots"),
            (
                "the shard's master of that moment",
                swapped("shard-1/master", "master", "a").ends(9000.0),
                Pass,
                "node-4",
            ),
            (
                "the shard's replica of that moment",
                swapped("shard-1/replica", "replica-of node-4", "a").ends(9000.0),
                Pass,
                "node-1",
            ),
            ("the key's", swapped("key:testkey/master", "master", "end").ends(9000.0), Pass, "node-4"),
            ("all masters", swapped("masters", "master", "end").ends(9000.0), Pass, "node-3"),
            ("one of several is none", swapped("all", "master", "end").ends(9000.0), Fail, "node-1"),
            (
                "a master without slots is none",
                role("node-4", "master", "end").view(2000.0, 4, &without_slots).ends(9000.0),
                Fail,
                "without slots",
            ),
            (
                "a fault silences it",
                role("node-1", "master", "a").failover_of_node_1().phase(5000.0, "b").ends(9000.0),
                Inconclusive,
                "because of fault 1",
            ),
            (
                "it died by itself",
                role("node-1", "master", "a").silent(2000.0, 1).phase(5000.0, "b").ends(9000.0),
                Fail,
                "does not answer",
            ),
            (
                "just restarted and not yet heard",
                {
                    role("node-1", "replica", "a")
                        .fault(2000.0, FaultKind::Kill, 1, true)
                        .heal(4000.0, 1)
                        .phase(4060.0, "b")
                        .ends(9000.0)
                },
                Inconclusive,
                "not polled after",
            ),
            ("always", role("node-4", "replica", "throughout").ends(9000.0), Pass, "at all times"),
            ("not always", swapped("node-4", "replica", "throughout").ends(9000.0), Fail, "first at 4.500 s"),
            (
                "nobody looked",
                unseen(json!({"role": {"node": "node-1", "is": "master"}})),
                Inconclusive,
                "never polled",
            ),
            (
                "nobody looked throughout",
                unseen(json!({"role": {"node": "node-1", "is": "master", "at": "throughout"}})),
                Inconclusive,
                "nothing was observed",
            ),
            (
                "an own replica",
                role("shard-2/replica", "replica-of node-2", "throughout").ends(9000.0),
                Pass,
                "at all times",
            ),
            (
                "no replica for a time",
                unreplicated("throughout", 6000.0),
                Fail,
                "matches no node that answers for 4.000 s from 2.000 s",
            ),
            ("no replica for three polls", unreplicated("throughout", 2300.0), Pass, "at all times"),
            ("no replica for longer", unreplicated("throughout", 2301.0), Fail, "for 301 ms from 2.000 s"),
            (
                "no replica at the end",
                of_shard_2("end").view(2000.0, 5, &moved).ends(9000.0),
                Fail,
                "`shard-2/replica` matches no node",
            ),
            ("a replica again at the end", unreplicated("end", 6000.0), Pass, "replica of node-2"),
            ("its replica is dead", silenced(FaultKind::Kill), Fail, "matches no node that answers for 3."),
            ("its replica is silent", silent(&healthy()), Inconclusive, "no fault explains it for 7.000 s"),
            (
                "its replica failed",
                silent(&flagged(healthy(), 5, Health::Fail)),
                Fail,
                "answers for 7.000 s from 2.000 s",
            ),
            ("its replica is frozen", silenced(FaultKind::Pause), Inconclusive, "because of fault 1 for 3."),
            ("no such node", role("node-9", "master", "end").ends(9000.0), Inconclusive, "`node-9` matches no node"),
        ],
    );
}

#[test]
fn replica_lag_at_the_end() {
    let lag = |at: &str| story(json!({"replica-lag": {"at": at, "max-bytes": 100}}));
    let of_shard =
        |n: u16| story(json!({"replica-lag": {"at": "end", "max-bytes": 100, "shard": format!("shard-{n}")}}));
    // After recovery at 9.1 s.
    let sampled = |story: Story, bytes: u64| {
        story.lag(9150.0, 4, 1, 0, true).lag(9150.0, 5, 2, bytes, true).lag(9150.0, 6, 3, 0, true)
    };
    let mut detached = healthy();
    detached.peers.get_mut(&NodeNo(5)).unwrap().role = Role::Master;
    expect(
        "replica-lag",
        vec![
            ("up to date", sampled(lag("end"), 0).ends(9000.0), Pass, "at most 0 bytes"),
            ("exactly at the bound", sampled(lag("end"), 100).ends(9000.0), Pass, "at most 100 bytes"),
            ("over it", sampled(lag("end"), 101).ends(9000.0), Fail, "at most 101 bytes"),
            (
                "the last sample counts",
                sampled(lag("end"), 101).lag(9180.0, 5, 2, 0, true).ends(9000.0),
                Pass,
                "at most 0",
            ),
            (
                "with its link down",
                sampled(lag("end"), 0).lag(9180.0, 5, 2, 0, false).ends(9000.0),
                Fail,
                "1 with the link down",
            ),
            (
                "one was not sampled",
                lag("end").lag(9150.0, 4, 1, 0, true).lag(9150.0, 6, 3, 0, true).ends(9000.0),
                Inconclusive,
                "node-5 was not sampled",
            ),
            (
                "samples before the end say nothing of it",
                {
                    lag("end")
                        .lag(8000.0, 4, 1, 0, true)
                        .lag(8000.0, 5, 2, 0, true)
                        .lag(8000.0, 6, 3, 0, true)
                        .ends(9000.0)
                },
                Inconclusive,
                "not sampled",
            ),
            (
                "a detached replica",
                sampled(lag("end"), 0).view(2000.0, 5, &detached).ends(9000.0),
                Fail,
                "node-5 does not replicate a master",
            ),
            ("a dead replica", sampled(lag("end"), 0).silent(9190.0, 5).ends(9000.0), Fail, "node-5 does not answer"),
            ("only that shard's", sampled(of_shard(1), 500).ends(9000.0), Pass, "at most 0 bytes"),
            ("that shard's", sampled(of_shard(2), 500).ends(9000.0), Fail, "at most 500 bytes"),
            (
                "a detached one counts with its shard",
                sampled(of_shard(2), 0).view(2000.0, 5, &detached).ends(9000.0),
                Fail,
                "node-5",
            ),
            (
                "a detached one of another shard",
                sampled(of_shard(1), 0).view(2000.0, 5, &detached).ends(9000.0),
                Pass,
                "at most 0",
            ),
            (
                "throughout",
                {
                    lag("throughout")
                        .lag(1000.0, 4, 1, 7, true)
                        .lag(1000.0, 5, 2, 0, true)
                        .lag(1000.0, 6, 3, 0, true)
                        .ends(9000.0)
                },
                Pass,
                "at most 7 bytes",
            ),
            (
                "once over it",
                {
                    lag("throughout")
                        .lag(1000.0, 4, 1, 101, true)
                        .lag(2000.0, 4, 1, 0, true)
                        .lag(1000.0, 5, 2, 0, true)
                        .lag(1000.0, 6, 3, 0, true)
                        .ends(9000.0)
                },
                Fail,
                "at most 101 bytes",
            ),
            (
                "the last of the phase",
                {
                    lag("a")
                        .lag(1000.0, 4, 1, 101, true)
                        .lag(2000.0, 4, 1, 0, true)
                        .lag(2000.0, 5, 2, 0, true)
                        .lag(2000.0, 6, 3, 0, true)
                        .phase(3000.0, "b")
                        .lag(3500.0, 4, 1, 500, true)
                        .ends(9000.0)
                },
                Pass,
                "at most 0 bytes",
            ),
            ("nothing sampled", lag("throughout").ends(9000.0), Inconclusive, "not sampled"),
            (
                "nobody looked",
                unseen(json!({"replica-lag": {"at": "end", "max-bytes": 0}})),
                Inconclusive,
                "never polled",
            ),
        ],
    );
}

/// An idle master sends its replicas a PING of 14 bytes each `repl-ping-replica-period`.
#[test]
fn an_idle_ping_is_no_lag() {
    let written = || {
        let story = story(json!({"replica-lag": {"at": "end", "max-bytes": 0}}));
        story.write(key_of(2, 0), (9100.0, 9120.0), 2, What::Ok)
    };
    let others = |story: Story| story.lag(9150.0, 4, 1, 0, true).lag(9150.0, 6, 3, 0, true);
    let sampled = |samples: &[(f64, u64, bool)]| {
        let with = |story: Story, &(at, bytes, link_up): &(f64, u64, bool)| story.lag(at, 5, 2, bytes, link_up);
        samples.iter().fold(others(written()), with)
    };
    let of_another = sampled(&[]).lag(9140.0, 5, 1, 0, true).lag(9180.0, 5, 2, 14, true);
    let rows = vec![
        ("a PING", sampled(&[(9140.0, 0, true), (9180.0, 14, true)]), Pass, "at most 0 bytes"),
        ("a PING at the first look", sampled(&[(9140.0, 14, true), (9180.0, 0, true)]), Pass, "at most 0 bytes"),
        ("14 bytes for good", sampled(&[(9140.0, 14, true), (9180.0, 14, true)]), Fail, "at most 14 bytes"),
        ("14 bytes at the only look", sampled(&[(9180.0, 14, true)]), Fail, "at most 14 bytes"),
        ("more than a PING", sampled(&[(9140.0, 0, true), (9180.0, 15, true)]), Fail, "at most 15 bytes"),
        ("two PINGs", sampled(&[(9140.0, 0, true), (9180.0, 28, true)]), Fail, "at most 28 bytes"),
        ("a PING on top of a lag", sampled(&[(9140.0, 5, true), (9180.0, 19, true)]), Fail, "at most 5 bytes"),
        ("none before the last write", sampled(&[(9110.0, 0, true), (9180.0, 14, true)]), Fail, "at most 14 bytes"),
        ("none behind another master", of_another, Fail, "at most 14 bytes"),
        ("none with the link down", sampled(&[(9140.0, 0, true), (9180.0, 14, false)]), Fail, "link down"),
    ];
    let rows = rows.into_iter().map(|(name, story, verdict, seen)| (name, story.ends(9000.0), verdict, seen));
    expect("replica-lag", rows.collect());
}

#[test]
fn finds_promotions_that_must_not_be() {
    let claim = |settings: serde_json::Value| story(json!({ "not-promoted": settings }));
    let swap = |story: Story| story.failover_of_node_1().node_1_back_as_replica();
    let phases = |phase: &str| swap(claim(json!({"during": phase})).phase(8000.0, "later"));
    expect(
        "not-promoted",
        vec![
            ("none", claim(json!({})).ends(9000.0), Pass, "shard-3: 0 promotions"),
            ("one", swap(claim(json!({"shard": "shard-1"}))).ends(9000.0), Fail, "shard-1: 1 promotion"),
            ("one of all", swap(claim(json!({}))).ends(9000.0), Fail, "shard-2: 0 promotions"),
            ("none elsewhere", swap(claim(json!({"shard": "others"}))).ends(9000.0), Pass, "shard-2: 0 promotions"),
            ("none in a later phase", phases("later").ends(9000.0), Pass, "shard-1: 0 promotions"),
            ("the phase never began", phases("never").ends(9000.0), Inconclusive, "ended before phase"),
            ("the run was cut off", claim(json!({})).breaks_off(), Inconclusive, "0 promotions"),
            ("nobody looked", unseen(json!({"not-promoted": {}})), Inconclusive, "nothing was observed"),
        ],
    );
    // A view shows a promotion some time later, so it is not known on which side of the border it was.
    let near = |phase_ms: f64| {
        let promoted = taken_over(healthy(), 1, 4, 7);
        claim(json!({"during": "late"})).phase(phase_ms, "late").views(4000.0, 1..=6, &promoted).ends(9000.0)
    };
    expect(
        "not-promoted",
        vec![
            ("just after the phase began", near(3900.0), Inconclusive, "may have been outside"),
            ("long after", near(3000.0), Fail, "shard-1: 1 promotion"),
        ],
    );
}

#[test]
fn counts_promotions() {
    let promotions = |shard: &str, exactly: u32| story(json!({"promotions": {"shard": shard, "exactly": exactly}}));
    let swap = |story: Story| story.failover_of_node_1().node_1_back_as_replica();
    // The old master wakes up, and claims its slots with its old epoch before it learns.
    let stale_claim = |story: Story| story.failover_of_node_1().heal(6000.0, 1).view(6050.0, 1, &healthy());
    let back_again = taken_over(taken_over(healthy(), 1, 4, 7), 4, 1, 8);
    expect(
        "promotions",
        vec![
            ("one", swap(promotions("shard-1", 1)).ends(9000.0), Pass, "shard-1: 1 promotion"),
            ("one where none may be", swap(promotions("shard-1", 0)).ends(9000.0), Fail, "shard-1: 1 promotion"),
            ("one where two must be", swap(promotions("shard-1", 2)).ends(9000.0), Fail, "shard-1: 1 promotion"),
            ("none", promotions("all", 0).ends(9000.0), Pass, "shard-3: 0 promotions"),
            ("none elsewhere", swap(promotions("others", 0)).ends(9000.0), Pass, "shard-2: 0 promotions"),
            ("each shard on its own", swap(promotions("all", 1)).ends(9000.0), Fail, "shard-2: 0 promotions"),
            ("a stale claim is none", stale_claim(promotions("shard-1", 1)).ends(9000.0), Pass, "1 promotion"),
            (
                "there and back",
                swap(promotions("shard-1", 2)).views(7000.0, 1..=6, &back_again).ends(9000.0),
                Pass,
                "2 promotions",
            ),
            (
                "after the steps it does not count",
                swap(promotions("shard-1", 1)).view(9050.0, 1, &back_again).ends(9000.0),
                Pass,
                "1 promotion",
            ),
            ("nobody looked", unseen(json!({"promotions": {"exactly": 0}})), Inconclusive, "nothing was observed"),
        ],
    );
}

#[test]
fn redirects_name_the_owner() {
    let probed = |moved_to: Option<u16>| {
        let reply = "MOVED 12539 127.1.0.3:6379".to_owned();
        let (node, owner) = (NodeNo(2), NodeNo(3));
        let moved_to = moved_to.map(NodeNo);
        let probe = EventKind::RedirectProbed { node, slot: 12539, reply, moved_to, owner, answered: true };
        story(json!({"redirects": {}})).event(9150.0, probe)
    };
    let right = EventKind::RedirectProbed {
        node: NodeNo(1),
        slot: 0,
        reply: "MOVED 0 127.1.0.1:6379".to_owned(),
        moved_to: Some(NodeNo(1)),
        owner: NodeNo(1),
        answered: true,
    };
    let silent = EventKind::RedirectProbed {
        node: NodeNo(2),
        slot: 0,
        reply: "no answer in time".to_owned(),
        moved_to: None,
        owner: NodeNo(1),
        answered: false,
    };
    expect(
        "redirects",
        vec![
            ("the owner", probed(Some(3)).ends(9000.0), Pass, "1 of 1 redirection"),
            ("another", probed(Some(1)).ends(9000.0), Fail, "0 of 1"),
            ("none", probed(None).ends(9000.0), Fail, "0 of 1"),
            ("one of two", probed(Some(1)).event(9160.0, right).ends(9000.0), Fail, "1 of 2 redirections"),
            (
                "silence says nothing",
                probed(Some(3)).event(9160.0, silent.clone()).ends(9000.0),
                Inconclusive,
                "no answer from node-2 for slot 0: no answer in time; 1 of 1 redirection",
            ),
            ("nor does it hide another", probed(Some(1)).event(9160.0, silent).ends(9000.0), Fail, "0 of 1"),
            ("nobody asked", story(json!({"redirects": {}})).ends(9000.0), Inconclusive, "nothing was observed"),
        ],
    );
}

#[test]
fn replicas_refuse_writes() {
    let asked = |reply: &str, accepted, read_only| EventKind::ReplicaWriteProbed {
        node: NodeNo(4),
        reply: reply.into(),
        accepted,
        read_only,
    };
    let probe = |reply: &str, accepted| asked(reply, accepted, None);
    let moved = |read_only| {
        let event = asked("MOVED 1 127.1.0.1:6379", false, Some(read_only));
        story(json!({"replica-read-only": {}})).event(9150.0, event).ends(9000.0)
    };
    let probed = |reply, accepted| story(json!({"replica-read-only": {}})).event(9150.0, probe(reply, accepted));
    expect(
        "replica-read-only",
        vec![
            ("moved, and read only", moved(ReadOnly::Yes), Pass, "1 write refused"),
            ("moved, but writable", moved(ReadOnly::No), Fail, "node-4 has `replica-read-only no`"),
            ("moved, and nothing more is known", moved(ReadOnly::Unknown), Inconclusive, "did not state"),
            ("moved", probed("MOVED 1 127.1.0.1:6379", false).ends(9000.0), Pass, "1 write refused"),
            (
                "read only",
                probed("READONLY You can't write against a read only replica.", false).ends(9000.0),
                Pass,
                "1",
            ),
            ("accepted", probed("OK", true).ends(9000.0), Fail, "node-4 accepted a write"),
            (
                "one of two",
                probed("MOVED 1 127.1.0.1:6379", false).event(9160.0, probe("OK", true)).ends(9000.0),
                Fail,
                "accepted",
            ),
            (
                "no connection",
                probed("Connection refused (os error 111)", false).ends(9000.0),
                Inconclusive,
                "neither accepted nor refused",
            ),
            (
                "nobody asked",
                story(json!({"replica-read-only": {}})).ends(9000.0),
                Inconclusive,
                "nothing was observed",
            ),
        ],
    );
}
