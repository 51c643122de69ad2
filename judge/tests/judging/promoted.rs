//! not-promoted within a time after a fault.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::history::{EventKind, FaultKind};

use crate::expect;
use crate::story::{Story, healthy, taken_over};

/// A healthy cluster whose phase `a` begins at 500 ms.
fn story(settings: serde_json::Value) -> Story {
    let invariant = serde_json::Map::from_iter([("not-promoted".to_owned(), settings)]);
    Story::new().invariant(invariant.into()).phase(500.0, "a")
}

#[test]
fn finds_promotions_within_a_time() {
    let claim = |shard: &str, within: &str| story(json!({"shard": shard, "within": within}));
    let in_phase = |phase: &str, within: &str| {
        let claim = story(json!({"shard": "shard-1", "during": phase, "within": within}));
        claim.phase(1500.0, "b")
    };
    // Killed at 2 s, and promoted between 4 s and 4.5 s.
    let failover = |within: &str| claim("shard-1", within).failover_of_node_1();
    let killed = |within: &str| claim("shard-1", within).fault(2000.0, FaultKind::Kill, 1, true);
    let slowly = |within: &str| {
        let applied = claim("shard-1", within).fault_injected(2000.0, FaultKind::Kill, 1, true);
        let applied = applied.event(2200.0, EventKind::FaultApplied { fault: 1 });
        applied.view(4500.0, 4, &taken_over(healthy(), 1, 4, 7)).ends(9000.0)
    };
    let ordered = |within: &str| claim("shard-1", within).views(4000.0, 1..=6, &taken_over(healthy(), 1, 4, 7));
    let replica = |within: &str| ordered(within).fault(3600.0, FaultKind::Kill, 4, false).ends(9000.0);
    let killed_again = |within: &str| failover(within).fault(6000.0, FaultKind::Kill, 4, true).ends(9000.0);
    let since_kill = "shard-1: 0 promotions after the kill of node-1 at 2.000 s";
    expect(
        "not-promoted",
        vec![
            ("after the time", failover("2s").ends(9000.0), Pass, since_kill),
            ("in the time", failover("2501ms").ends(9000.0), Fail, "shard-1: 1 promotion after the kill of node-1"),
            ("perhaps in it", failover("2001ms").ends(9000.0), Inconclusive, "may have been outside the time"),
            ("perhaps after it", failover("2500ms").ends(9000.0), Inconclusive, "may have been outside the time"),
            ("while the injection went on", slowly("2400ms"), Inconclusive, "may have been outside the time"),
            ("before it can have taken effect for so long", slowly("1800ms"), Pass, "0 promotions"),
            ("nobody for the whole time", killed("7s").ends(9000.0), Pass, since_kill),
            (
                "the run ends before",
                killed("7001ms").ends(9000.0),
                Inconclusive,
                "watched only for 7.000 s after the kill",
            ),
            ("the harness died before", killed("7s").breaks_off(), Inconclusive, "the harness died"),
            ("it died later", killed("90ms").breaks_off(), Pass, since_kill),
            (
                "the fault begins in another phase",
                in_phase("a", "1s").failover_of_node_1().ends(9000.0),
                Pass,
                "the begin of phase \"a\"",
            ),
            (
                "the phase ends before",
                in_phase("a", "1001ms").ends(9000.0),
                Inconclusive,
                "watched only for 1.000 s after the begin of phase \"a\"",
            ),
            (
                "in the phase of the fault",
                in_phase("b", "2501ms").failover_of_node_1().ends(9000.0),
                Fail,
                "1 promotion",
            ),
            ("no fault, and early", ordered("3501ms").ends(9000.0), Fail, "1 promotion after the begin of the steps"),
            ("no fault, and later", ordered("3s").ends(9000.0), Pass, "0 promotions after the begin of the steps"),
            ("a fault of a replica", replica("3501ms"), Fail, "1 promotion after the begin of the steps"),
            ("after the first of two faults", killed_again("2501ms"), Fail, "1 promotion"),
            (
                "of another shard",
                claim("shard-2", "2501ms").failover_of_node_1().ends(9000.0),
                Pass,
                "shard-2: 0 promotions after the begin of the steps",
            ),
        ],
    );
}
