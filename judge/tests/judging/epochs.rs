//! The checks of epochs and convergence.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::history::{EventKind, FaultKind};
use slotquake_judge::topology::View;
use slotquake_judge::units::NodeNo;

use crate::expect;
use crate::network::{after, stops_at, story};
use crate::story::{Cut, Story, healthy, judged};

fn with_epoch(mut view: View, node: u16, epoch: u64) -> View {
    view.peers.get_mut(&NodeNo(node)).unwrap().epoch = epoch;
    view
}

fn at_epoch(mut view: View, current_epoch: u64) -> View {
    view.current_epoch = current_epoch;
    view
}

#[test]
fn epochs_differ_and_never_decrease() {
    let epochs = || Story::new().invariant(json!({"epochs": {}})).phase(500.0, "a");
    let rise = |most: u64| Story::new().invariant(json!({"epochs": {"max-rise": most}})).phase(500.0, "a");
    let collided = || with_epoch(healthy(), 1, 2);
    let settled = with_epoch(healthy(), 1, 9);
    let unseen = |invariant| {
        let mut history = Story::new().invariant(invariant).phase(500.0, "a").ends(9000.0);
        history.events.retain(|event| !matches!(event.kind, EventKind::Viewed { .. }));
        history
    };
    let mut spare = collided();
    spare.peers.get_mut(&NodeNo(2)).unwrap().slots.clear();
    expect(
        "epochs",
        vec![
            ("all well", epochs().ends(9000.0), Pass, "have different configEpochs in 6 views"),
            (
                "after a failover",
                epochs().failover_of_node_1().node_1_back_as_replica().ends(9000.0),
                Pass,
                "have different configEpochs",
            ),
            (
                "a collision to the end",
                epochs().views(2000.0, 1..=6, &collided()).ends(9000.0),
                Fail,
                "at the end, node-1 saw node-1, node-2 as masters with epoch 2",
            ),
            (
                "in one node's view at the end",
                epochs().view(2000.0, 5, &collided()).ends(9000.0),
                Fail,
                "node-5 saw node-1, node-2",
            ),
            (
                "on which all agreed, and then settled",
                epochs().views(2000.0, 1..=6, &collided()).views(3000.0, 1..=6, &settled).ends(9000.0),
                Fail,
                "masters shared a configEpoch 1 time while all nodes agreed",
            ),
            (
                "for a moment at which they did not agree yet",
                epochs().views(2000.0, 2..=6, &collided()).views(3000.0, 1..=6, &settled).ends(9000.0),
                Pass,
                "have different configEpochs",
            ),
            (
                "of a master without slots",
                epochs().views(2000.0, 1..=6, &spare).ends(9000.0),
                Pass,
                "have different configEpochs",
            ),
            (
                "the current epoch fell",
                epochs().view(2000.0, 3, &at_epoch(healthy(), 8)).view(3000.0, 3, &at_epoch(healthy(), 7)).ends(9000.0),
                Fail,
                "epochs decreased 1 time",
            ),
            (
                "since before the first phase",
                epochs().view(450.0, 3, &at_epoch(healthy(), 8)).view(3000.0, 3, &healthy()).ends(9000.0),
                Fail,
                "epochs decreased",
            ),
            (
                "before the first phase it does not count",
                epochs().view(450.0, 3, &at_epoch(healthy(), 8)).view(499.0, 3, &healthy()).ends(9000.0),
                Pass,
                "have different configEpochs",
            ),
            (
                "one node's epoch below another's is no fall",
                epochs().view(2000.0, 3, &at_epoch(healthy(), 8)).view(3000.0, 2, &at_epoch(healthy(), 7)).ends(9000.0),
                Pass,
                "have different configEpochs",
            ),
            (
                "a master's own epoch fell",
                epochs()
                    .view(2000.0, 3, &with_epoch(healthy(), 3, 9))
                    .view(3000.0, 3, &with_epoch(healthy(), 3, 8))
                    .ends(9000.0),
                Fail,
                "epochs decreased",
            ),
            (
                "of a master without slots, whose epoch nobody needs",
                epochs()
                    .view(2000.0, 2, &with_epoch(spare.clone(), 2, 9))
                    .view(3000.0, 2, &spare)
                    .view(4000.0, 2, &healthy())
                    .ends(9000.0),
                Pass,
                "have different configEpochs",
            ),
            (
                "another's line may be old news",
                epochs().view(2000.0, 3, &settled).view(3000.0, 3, &healthy()).ends(9000.0),
                Pass,
                "have different configEpochs",
            ),
            (
                "it rose as much as it may",
                rise(2).view(2000.0, 3, &at_epoch(healthy(), 8)).ends(9000.0),
                Pass,
                "rose by 2, from 6",
            ),
            ("it rose by one more", rise(1).view(2000.0, 3, &at_epoch(healthy(), 8)).ends(9000.0), Fail, "rose by 2"),
            (
                "a storm that is over counts",
                rise(1).view(2000.0, 3, &at_epoch(healthy(), 8)).silent(3000.0, 3).ends(9000.0),
                Fail,
                "rose by 2",
            ),
            ("nobody looked", unseen(json!({"epochs": {}})), Inconclusive, "no node answered at the end"),
            (
                "nobody looked at the start",
                unseen(json!({"epochs": {"max-rise": 1}})),
                Inconclusive,
                "before the first phase",
            ),
            ("no end", epochs().breaks_off(), Inconclusive, "ended before its recovery"),
            (
                "no end, and a fall before",
                epochs().view(2000.0, 3, &at_epoch(healthy(), 8)).view(3000.0, 3, &healthy()).breaks_off(),
                Fail,
                "epochs decreased",
            ),
        ],
    );
}

#[test]
fn convergence_counts_from_the_last_network_heal() {
    let within = |bound: &str| json!({"convergence": {"within": bound}});
    let healed = |bound| stops_at(within(bound), 3500.0);
    let unproven = |story: Story| {
        let failed = EventKind::HealProven { fault: 1, healed: false, proof: "node-2 flags node-1".to_owned() };
        let mut history = story.ends(9000.0);
        for event in &mut history.events {
            if matches!(event.kind, EventKind::HealProven { .. }) {
                event.kind = failed.clone();
            }
        }
        history
    };
    let order = |story: Story, at| {
        story.step(at, json!({"command": {"send": "CLUSTER FAILOVER", "to": "node-1"}}), |story, _| story)
    };
    expect(
        "convergence",
        vec![
            (
                "in time",
                healed("1s").ends(9000.0),
                Pass,
                "all nodes agreed 300 ms after the end of fault 1 (partition)",
            ),
            ("exactly at the bound", healed("300ms").ends(9000.0), Pass, "300 ms"),
            ("just over it", healed("299ms").ends(9000.0), Fail, "300 ms"),
            ("by the server's rules", healed("spec").ends(9000.0), Pass, "300 ms"),
            (
                "a relapse",
                healed("1s").view(7000.0, 2, &healthy()).view(7500.0, 2, &after()).ends(9000.0),
                Fail,
                "1.500 s",
            ),
            ("never", healed("1s").view(7000.0, 2, &healthy()).ends(9000.0), Fail, "still disagreed"),
            (
                "not yet when the run ended",
                healed("20s").view(7000.0, 2, &healthy()).ends(9000.0),
                Inconclusive,
                "the run ended before the limit",
            ),
            (
                "a later fault of a process is its own affair",
                healed("1s")
                    .fault(7000.0, FaultKind::Kill, 4, true)
                    .heal(8500.0, 2)
                    .views(8600.0, [4], &after())
                    .ends(9000.0),
                Pass,
                "300 ms",
            ),
            (
                "a later fault before they agreed",
                healed("2s").view(6400.0, 2, &healthy()).fault(7000.0, FaultKind::Kill, 4, true).ends(9000.0),
                Inconclusive,
                "fault 2 at 7.000 s came before the limit",
            ),
            (
                "a later CLUSTER command before they agreed",
                order(healed("2s").view(6400.0, 2, &healthy()), 7000.0).ends(9000.0),
                Inconclusive,
                "`CLUSTER FAILOVER` at 7.000 s came before",
            ),
            (
                "the last of several heals counts",
                { healed("1s").network_fault(7000.0, Cut::NODE_1).heal(8000.0, 2) }
                    .view(7500.0, 2, &healthy())
                    .view(8400.0, 2, &after())
                    .ends(9000.0),
                Pass,
                "400 ms after the end of fault 2 (partition)",
            ),
            ("never undone", story(within("1s")).cut_off_node_1(2000.0).ends(9000.0), Inconclusive, "was never undone"),
            (
                "not proven undone, and never agreed",
                unproven(healed("1s").view(7000.0, 2, &healthy())),
                Inconclusive,
                "was not proven undone",
            ),
            (
                "not proven undone, and agreed too late",
                unproven(healed("299ms")),
                Inconclusive,
                "was not proven undone",
            ),
            ("not proven undone, and yet agreed", unproven(healed("1s")), Pass, "300 ms"),
            (
                "only a process was at fault",
                story(within("1s")).failover_of_node_1().node_1_back_as_replica().ends(9000.0),
                Inconclusive,
                "there was no network fault",
            ),
            ("no end", healed("1s").breaks_off(), Inconclusive, "ended before its recovery"),
        ],
    );
    assert_eq!(judged(&healed("1s").ends(9000.0), "convergence").figures["converged_ms"], 300.0);
}
