//! Interrupted runs: results of steps that were not done are inconclusive, and failures that were seen still count.

use serde_json::{Value, json};
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::history::{EventKind, History, StepProblem};

use crate::expect;
use crate::story::{Story, What, healthy};

fn story(invariant: Value) -> Story {
    Story::new().phase(1000.0, "base").invariant(invariant).views(500.0, 1..=6, &healthy())
}

/// Each way in which steps end early, at 8 s.
fn cuts(begun: impl Fn() -> Story) -> Vec<(&'static str, History)> {
    let ended = |problem| EventKind::StepEnded { step: 1, problem: Some(problem) };
    let cut = |by: EventKind| begun().event(8000.0, by).ends(8001.0);
    vec![
        ("interrupted", cut(EventKind::Interrupted { by: "SIGINT".to_owned() })),
        ("a suite's error", cut(ended(StepProblem::Suite("node-1 is dead".to_owned())))),
        ("a harness's error", cut(ended(StepProblem::Harness("no signal".to_owned())))),
        ("the harness died", begun().breaks_off()),
    ]
}

#[test]
fn an_interrupted_run_is_inconclusive() {
    let promotion = json!({"promotions": {"shard": "shard-1", "exactly": 1}});
    let role_at_end = json!({"role": {"node": "node-4", "is": "master", "at": "end"}});
    let role_in_phase = json!({"role": {"node": "node-4", "is": "master", "at": "base"}});
    let lag = json!({"replica-lag": {"at": "base", "max-bytes": 0}});
    let share = json!({"availability": {"of": "writes", "shard": "shard-1", "min-served": "50%"}});
    for (invariant, name) in [
        (promotion, "promotions"),
        (role_at_end, "role"),
        (role_in_phase, "role"),
        (lag, "replica-lag"),
        (share, "availability"),
    ] {
        let begun = || {
            story(invariant.clone())
                .lag(2000.0, 4, 1, 500, true)
                .lag(2000.0, 5, 2, 0, true)
                .lag(2000.0, 6, 3, 0, true)
                .writes(1, 1500.0, 2900.0, 1, What::Fail)
        };
        for (how, history) in cuts(begun) {
            expect(name, vec![(how, history, Inconclusive, "")]);
        }
        expect(name, vec![("a run that went to its end", begun().ends(8001.0), Fail, "")]);
    }
}

#[test]
fn a_failure_before_an_interruption_counts() {
    let promotions = json!({"promotions": {"shard": "shard-1", "exactly": 0}});
    for (how, history) in cuts(|| story(promotions.clone()).failover_of_node_1()) {
        expect("promotions", vec![(how, history, Fail, "1 promotion")]);
    }
}

#[test]
fn an_interrupted_recovery_is_inconclusive() {
    let torn = || {
        let mut view = healthy();
        view.slots_ok = 10923;
        story(json!({"slot-coverage": {"at": "end"}})).views(2000.0, 1..=6, &view)
    };
    let not_whole = || Some(EventKind::Recovered { recovered: false, took_ms: 100.0, last: "slots".to_owned() });
    let interrupted = |story: Story| story.event(8000.0, EventKind::Interrupted { by: "SIGINT".to_owned() });
    expect(
        "slot-coverage",
        vec![
            ("in a hurry", interrupted(torn()).ends_with(8001.0, not_whole()), Inconclusive, "SIGINT"),
            ("with all the time", torn().ends_with(8001.0, not_whole()), Fail, "10923 ok"),
            (
                "with a fault that the harness could not undo",
                torn()
                    .cut_off_node_1(2000.0)
                    .event(8000.0, EventKind::HealFailed { fault: 1, reason: "no route".to_owned() })
                    .ends_with(8001.0, not_whole()),
                Inconclusive,
                "no route",
            ),
            (
                "in a hurry, and whole",
                interrupted(story(json!({"slot-coverage": {"at": "end"}}))).ends(8001.0),
                Pass,
                "6 of 6",
            ),
        ],
    );
}
