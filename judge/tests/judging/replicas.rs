//! replicas: how many replicas a shard has, at a moment, throughout and within a time.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::history::{EventKind, FaultKind, History};
use slotquake_judge::topology::{Role, View};
use slotquake_judge::units::NodeNo;

use crate::expect;
use crate::story::{Story, healthy};

/// A healthy cluster whose phase `a` begins at 500 ms.
fn story(settings: serde_json::Value) -> Story {
    let invariant = serde_json::Map::from_iter([("replicas".to_owned(), settings)]);
    Story::new().invariant(invariant.into()).phase(500.0, "a")
}

/// What node-5 says when it replicates node-1 instead of node-2.
fn moved() -> View {
    let mut view = healthy();
    view.peers.get_mut(&NodeNo(5)).unwrap().role = Role::ReplicaOf(NodeNo(1));
    view
}

fn unseen(settings: serde_json::Value) -> History {
    let mut history = story(settings).ends(9000.0);
    history.events.retain(|event| !matches!(event.kind, EventKind::Viewed { .. } | EventKind::Silent { .. }));
    history
}

#[test]
fn replicas_are_counted_by_their_own_views() {
    let all = |settings| story(settings).ends(9000.0);
    let of = |shard: &str, key: &str, number: u16| story(json!({"shard": shard, key: number}));
    let gone = |shard: &str, key: &str, number| of(shard, key, number).view(2000.0, 5, &moved()).ends(9000.0);
    let others_say_so = of("shard-2", "exactly", 1).views(2000.0, [1, 2, 3, 4, 6], &moved()).ends(9000.0);
    let swapped = |number| of("shard-1", "exactly", number).failover_of_node_1();
    let faulty = |kind, key: &str, number| of("shard-2", key, number).fault(2000.0, kind, 5, false).ends(9000.0);
    let at_phase = |phase: &str, back_ms: f64| {
        let story = story(json!({"shard": "shard-2", "exactly": 1, "at": phase})).view(2000.0, 5, &moved());
        story.view(back_ms, 5, &healthy()).phase(3000.0, "b").ends(9000.0)
    };
    expect(
        "replicas",
        vec![
            ("one each", all(json!({"exactly": 1})), Pass, "shard-3 has 1 replica (node-6) of its master node-3"),
            (
                "none where one is demanded",
                gone("shard-2", "exactly", 1),
                Fail,
                "shard-2 has 0 replicas of its master node-2",
            ),
            (
                "two where one is demanded",
                gone("shard-1", "exactly", 1),
                Fail,
                "shard-1 has 2 replicas (node-4, node-5)",
            ),
            ("one of another shard", gone("shard-3", "exactly", 1), Pass, "1 replica (node-6)"),
            ("enough", gone("shard-1", "at-least", 2), Pass, "2 replicas"),
            ("too few", gone("shard-1", "at-least", 3), Fail, "2 replicas"),
            ("too many", gone("shard-1", "at-most", 1), Fail, "2 replicas"),
            ("not too many", gone("shard-1", "at-most", 2), Pass, "2 replicas"),
            ("each shard on its own", gone("all", "at-least", 1), Fail, "shard-2 has 0 replicas"),
            ("in a range", all(json!({"at-least": 1, "at-most": 2})), Pass, "1 replica"),
            ("the node itself decides", others_say_so, Pass, "1 replica (node-5)"),
            (
                "of the new master",
                swapped(1).node_1_back_as_replica().ends(9000.0),
                Pass,
                "1 replica (node-1) of its master node-4",
            ),
            ("the old master stays away", swapped(1).ends(9000.0), Fail, "0 replicas of its master node-4"),
            ("and none is demanded", swapped(0).ends(9000.0), Pass, "0 replicas of its master node-4"),
            ("a replica that was killed", faulty(FaultKind::Kill, "exactly", 1), Fail, "0 replicas"),
            ("a replica that is frozen", faulty(FaultKind::Pause, "exactly", 1), Inconclusive, "perhaps 1 more"),
            ("whether it counts or not", faulty(FaultKind::Pause, "at-most", 1), Pass, "perhaps 1 more"),
            ("not even if it counts", faulty(FaultKind::Pause, "exactly", 2), Fail, "perhaps 1 more"),
            ("a phase does not end with it", at_phase("a", 2600.0), Pass, "1 replica"),
            ("a phase ends with it", at_phase("a", 3500.0), Fail, "0 replicas"),
            ("no such phase", at_phase("z", 2600.0), Inconclusive, "phase \"z\""),
            ("nobody looked", unseen(json!({"exactly": 1})), Inconclusive, "never polled"),
            ("no end", story(json!({"exactly": 1})).breaks_off(), Inconclusive, "not all steps were done"),
            ("no number", all(json!({})), Inconclusive, "there is nothing to judge"),
        ],
    );
}

#[test]
fn replicas_at_all_times() {
    let claim = |key: &str| story(json!({"shard": "shard-2", key: 1, "at": "throughout"}));
    let away = |back_ms: f64| claim("exactly").view(2000.0, 5, &moved()).view(back_ms, 5, &healthy());
    let silenced = |kind, key: &str| {
        claim(key).fault(2000.0, kind, 5, false).heal(5000.0, 1).view(5200.0, 5, &healthy()).ends(9000.0)
    };
    let stalled = |by_ms| away(2600.0).event(2500.0, EventKind::Stalled { by_ms }).ends(9000.0);
    expect(
        "replicas",
        vec![
            ("always", claim("exactly").ends(9000.0), Pass, "shard-2: at all times"),
            ("between two polls", away(2300.0).ends(9000.0), Pass, "at all times"),
            (
                "for longer",
                away(2301.0).ends(9000.0),
                Fail,
                "shard-2 has 0 replicas of its master node-2 for 301 ms from 2.000 s",
            ),
            ("the harness stalled meanwhile", stalled(200.0), Inconclusive, "the harness stalled"),
            ("it stalled for a quarter", stalled(150.0), Fail, "for 600 ms"),
            ("killed for a while", silenced(FaultKind::Kill, "exactly"), Fail, "0 replicas"),
            ("frozen for a while", silenced(FaultKind::Pause, "exactly"), Inconclusive, "because of fault 1"),
            ("frozen, and any number up to it will do", silenced(FaultKind::Pause, "at-most"), Pass, "at all times"),
            (
                "after the steps it does not count",
                claim("exactly").view(9001.0, 5, &moved()).ends(9000.0),
                Pass,
                "at all",
            ),
            ("nobody looked", unseen(json!({"exactly": 1, "at": "throughout"})), Inconclusive, "never polled"),
            ("the run was cut off", claim("exactly").breaks_off(), Inconclusive, "the harness died"),
            ("it was wrong before", away(2600.0).breaks_off(), Fail, "0 replicas"),
        ],
    );
}

#[test]
fn replicas_come_back_within_a_time() {
    let claim = |within: &str| story(json!({"shard": "shard-2", "exactly": 1, "within": within}));
    let command = |within: &str| {
        let step = json!({"command": {"send": "CLUSTER REPLICATE x", "to": "node-5"}});
        let sent = |story: Story, step| {
            story.event(3000.0, EventKind::Commanded { step, node: NodeNo(5), reply: "OK".to_owned() })
        };
        claim(within).step(3000.0, step, sent).view(3000.0, 5, &moved())
    };
    let back = |within: &str| command(within).view(4000.0, 5, &healthy());
    let paused = |within: &str| {
        claim(within).fault(2000.0, FaultKind::Pause, 5, false).heal(5000.0, 1).view(5600.0, 5, &healthy()).ends(9000.0)
    };
    expect(
        "replicas",
        vec![
            ("in time", back("1s").ends(9000.0), Pass, "shard-2: for good 1.000 s after `CLUSTER REPLICATE x`"),
            ("too late", back("999ms").ends(9000.0), Fail, "for good 1.000 s after"),
            (
                "away again",
                back("2s").view(6000.0, 5, &moved()).view(6100.0, 5, &healthy()).ends(9000.0),
                Fail,
                "for good 3.100 s",
            ),
            (
                "never",
                command("1s").ends(9000.0),
                Fail,
                "shard-2 has 0 replicas of its master node-2, still 6.300 s after",
            ),
            ("the run ends before", command("7s").ends(9000.0), Inconclusive, "the run ended before the limit"),
            ("not seen in time", paused("500ms"), Inconclusive, "nodes that may be replicas did not answer"),
            ("seen in time", paused("600ms"), Pass, "for good 600 ms after the `start` of fault 1"),
            ("nothing ever happened", claim("1s").ends(9000.0), Pass, "at once after the first phase"),
            ("nobody looked", unseen(json!({"exactly": 1, "within": "1s"})), Inconclusive, "shard-1 has 0 replicas"),
        ],
    );
}
