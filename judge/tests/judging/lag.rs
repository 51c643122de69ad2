//! The check of a lag that rises over a narrow link and returns to 0, and the counts of resyncs.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::history::{EventKind, FaultKind, History};
use slotquake_judge::suite::Only;
use slotquake_judge::units::NodeNo;

use crate::expect;
use crate::story::{Cut, Story, judged};

/// A link narrowed at 2 s, `node-4` 5000 bytes behind at 3 s, healed at 4 s.
fn narrowed(settings: &serde_json::Value) -> Story {
    let narrow = Cut { kind: FaultKind::Narrow, only: Only::Replication, hits: &[4], clients: &[], one_way: false };
    Story::new()
        .invariant(json!({ "replica-lag": settings }))
        .phase(500.0, "a")
        .network_fault(2000.0, narrow)
        .lag(3000.0, 4, 1, 5000, true)
        .lag(3000.0, 5, 2, 0, true)
        .heal(4000.0, 1)
        .phase(4000.0, "b")
}

/// Samples of all replicas after recovery, without lag.
fn caught_up(story: Story) -> History {
    story.lag(9150.0, 4, 1, 0, true).lag(9150.0, 5, 2, 0, true).lag(9150.0, 6, 3, 0, true).ends(9000.0)
}

#[test]
fn lag_rises_and_returns_to_zero() {
    let rises = |at: &str, above: u64| json!({"at": at, "max-bytes": 9999, "rises-above": above});
    let back = |bound: &str| json!({"at": "end", "max-bytes": 0, "back-within": bound});
    let both = json!({"at": "end", "max-bytes": 0, "rises-above": 4999, "back-within": "2s"});
    let returns = |settings, at| {
        let others = narrowed(&settings).lag(4100.0, 5, 2, 0, true).lag(4100.0, 6, 3, 0, true);
        others.lag(4100.0, 4, 1, 3000, true).lag(at, 4, 1, 0, true)
    };
    let stalled = |by_ms| returns(back("999ms"), 5000.0).event(4900.0, EventKind::Stalled { by_ms });
    let shard = |n: u16| json!({"at": "end", "max-bytes": 0, "rises-above": 4999, "shard": format!("shard-{n}")});
    let never_sampled = |settings| {
        let mut history = caught_up(narrowed(&settings));
        history.events.retain(|event| event.at_ns > 9_000_000_000 || !matches!(event.kind, EventKind::Lag { .. }));
        history
    };
    expect(
        "replica-lag",
        vec![
            (
                "it rose",
                caught_up(narrowed(&rises("end", 4999))),
                Pass,
                "node-4 was 5000 bytes behind node-1 at 3.000 s",
            ),
            ("not above the bound", caught_up(narrowed(&rises("end", 5000))), Fail, "never exceeded 5000 bytes"),
            (
                "it rose, but in another phase",
                caught_up(
                    narrowed(&rises("b", 4999))
                        .lag(4500.0, 4, 1, 9, true)
                        .lag(4500.0, 5, 2, 0, true)
                        .lag(4500.0, 6, 3, 0, true),
                ),
                Fail,
                "never exceeded 4999",
            ),
            (
                "it rose for a while in the phase",
                caught_up(narrowed(&rises("a", 4999)).lag(3900.0, 4, 1, 9, true).lag(3900.0, 6, 3, 0, true)),
                Pass,
                "5000 bytes behind",
            ),
            ("of that shard", caught_up(narrowed(&shard(1))), Pass, "5000 bytes"),
            ("of another shard", caught_up(narrowed(&shard(2))), Fail, "never exceeded 4999 bytes"),
            ("never sampled when it was to rise", never_sampled(rises("end", 4999)), Inconclusive, "no samples while"),
            ("back in time", caught_up(returns(back("2s"), 5000.0)), Pass, "at most 0 bytes"),
            ("exactly at the bound", caught_up(returns(back("1s"), 5000.0)), Pass, "at most 0 bytes"),
            (
                "just over it",
                caught_up(returns(back("999ms"), 5000.0)),
                Fail,
                "node-4 caught up only 1.000 s after the last heal",
            ),
            ("it rose and came back", caught_up(returns(both.clone(), 5000.0)), Pass, "5000 bytes behind"),
            (
                "a few bytes under load are no relapse",
                caught_up(returns(back("5150ms"), 5000.0).lag(6500.0, 4, 1, 70, true)),
                Pass,
                "at most 0",
            ),
            (
                "with the link down it is not back",
                caught_up(returns(back("2s"), 5000.0).lag(8000.0, 4, 1, 0, false)),
                Fail,
                "node-4 caught up only 5.150 s",
            ),
            (
                "a relapse",
                caught_up(returns(both, 5000.0).lag(8000.0, 4, 1, 5000, true)),
                Fail,
                "node-4 caught up only 5.150 s",
            ),
            (
                "never back",
                narrowed(&back("2s"))
                    .lag(9150.0, 4, 1, 7, true)
                    .lag(9150.0, 5, 2, 0, true)
                    .lag(9150.0, 6, 3, 0, true)
                    .ends(9000.0),
                Fail,
                "node-4 had not caught up 5.150 s after the last heal",
            ),
            ("the harness stalled meanwhile", caught_up(stalled(300.0)), Inconclusive, "the harness stalled"),
            (
                "nothing was undone",
                caught_up(Story::new().invariant(json!({"replica-lag": back("2s")})).phase(500.0, "a")),
                Inconclusive,
                "no fault was undone",
            ),
        ],
    );
    let figures = judged(
        &caught_up(returns(json!({"at": "end", "max-bytes": 0, "rises-above": 1, "back-within": "9s"}), 5000.0)),
        "replica-lag",
    )
    .figures;
    assert_eq!((figures["risen_lag_bytes"], figures["back_ms"]), (5000.0, 1000.0));
}

#[test]
fn counts_resyncs_from_the_first_phase() {
    let synced = |story: Story, at: f64, master: u16, (full, partial): (u64, u64)| {
        story.event(at, EventKind::Synced { master: NodeNo(master), full, partial, refused: 0 })
    };
    let base = || {
        let story = Story::new().invariant(json!({"replica-lag": {"at": "end", "max-bytes": 0}})).phase(500.0, "a");
        synced(synced(story, 300.0, 1, (1, 0)), 300.0, 2, (1, 0))
    };
    for (name, story, expected) in [
        ("none", base(), Some((0.0, 0.0))),
        ("a partial one", synced(base(), 2000.0, 1, (1, 1)), Some((0.0, 1.0))),
        (
            "a full one and a partial one",
            synced(synced(base(), 2000.0, 1, (2, 0)), 2100.0, 2, (1, 1)),
            Some((1.0, 1.0)),
        ),
        ("a count that began anew", synced(base(), 2000.0, 1, (0, 1)), Some((0.0, 1.0))),
        (
            "a count that began anew, and is as high already",
            synced(synced(base(), 2000.0, 1, (1, 2)), 3000.0, 1, (1, 1)),
            Some((1.0, 3.0)),
        ),
        ("of a node that had none before", synced(base(), 2000.0, 4, (1, 0)), Some((1.0, 0.0))),
        (
            "never counted",
            Story::new().invariant(json!({"replica-lag": {"at": "end", "max-bytes": 0}})).phase(500.0, "a"),
            None,
        ),
    ] {
        let judgement = judged(&caught_up(story), "replica-lag");
        let figure = |name: &str| judgement.figures.get(name).copied();
        assert_eq!(figure("full_syncs").zip(figure("partial_syncs")), expected, "{name}");
        assert_eq!(judgement.seen.contains("full resync"), expected.is_some(), "{name}: {}", judgement.seen);
    }
}
