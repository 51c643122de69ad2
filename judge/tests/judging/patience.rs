//! `availability` by patience: stalls, and bounds that are consistent with each other.

use proptest::prelude::*;
use serde_json::json;
use slotquake_judge::check::Verdict::{self, Fail, Pass};
use slotquake_judge::history::History;

use crate::expect;
use crate::story::What::{Fail as Refused, Info, Ok as Acked, Unsent};
use crate::story::{Story, What, judged, key_of};

fn bounded(settings: &serde_json::Value) -> Story {
    let mut all = json!({"of": "writes", "shard": "shard-1"});
    all.as_object_mut().expect("an object").extend(settings.as_object().expect("an object").clone());
    Story::new().invariant(json!({ "availability": all })).phase(500.0, "a")
}

/// A write each 10 ms for 5 s. While the master is frozen, they wait, and then all are served at once.
fn frozen(settings: &serde_json::Value, from: f64, to: f64) -> History {
    let story = (60..500).fold(bounded(settings), |story, n| {
        let at_ms = f64::from(n) * 10.0;
        let answered = if (from..to).contains(&at_ms) { to + 1.0 } else { at_ms + 1.0 };
        story.write(key_of(1, n as usize % 50), (at_ms, answered), 1, Acked)
    });
    story.ends(5000.0)
}

#[test]
fn a_stall_is_an_outage_of_its_length() {
    let bound = |bound: &str| json!({ "max-outage": bound });
    let patience = |patience: &str| json!({ "max-outage": "0s", "patience": patience });
    expect(
        "availability",
        vec![
            ("2.4 s, none allowed", frozen(&bound("0s"), 1000.0, 3400.0), Fail, "longest outage 2.401 s from 1.000 s"),
            ("2.4 s, less than 2.9 s", frozen(&bound("2900ms"), 1000.0, 3400.0), Pass, "2.401 s"),
            ("2.4 s, more than 2.3 s", frozen(&bound("2300ms"), 1000.0, 3400.0), Fail, "2.401 s"),
            ("2.4 s, always", frozen(&json!({"served": "always"}), 1000.0, 3400.0), Fail, "2.401 s"),
            ("0.9 s, 100 ms", frozen(&bound("100ms"), 1000.0, 1900.0), Fail, "longest stall 901 ms from 1.000 s"),
            ("0.9 s, none allowed", frozen(&bound("0s"), 1000.0, 1900.0), Fail, "longest stall 901 ms"),
            ("0.9 s, always", frozen(&json!({"served": "always"}), 1000.0, 1900.0), Pass, "longest stall 901 ms"),
            (
                "0.9 s, always within 500 ms",
                frozen(&json!({"served": "always", "patience": "500ms"}), 1000.0, 1900.0),
                Fail,
                "901 ms",
            ),
            ("0.2 s, 100 ms", frozen(&bound("100ms"), 1000.0, 1200.0), Fail, "longest stall 201 ms"),
            ("60 ms are noise", frozen(&bound("0s"), 1000.0, 1060.0), Pass, "no outage"),
            ("60 ms, if asked for", frozen(&patience("20ms"), 1000.0, 1060.0), Fail, "longest stall 61 ms"),
        ],
    );
}

#[test]
fn unsent_operations_neither_begin_nor_end_an_outage() {
    let story = frozen(&json!({"max-outage": "100ms"}), 1000.0, 1900.0);
    let mut with_unsent = story.clone();
    let template = with_unsent.ops.iter().find(|op| op.invoke_ns() == 1_000_000_000).expect("a write").parts();
    for at_ns in (1_300_000_000..1_900_000_000).step_by(7_000_000) {
        let position = with_unsent.reasons.len() as u16;
        let unsent = slotquake_judge::history::OpParts {
            due_ns: at_ns,
            invoke_ns: at_ns,
            complete_ns: at_ns,
            outcome: slotquake_judge::history::Outcome::Unsent(position),
            ..template
        };
        with_unsent.ops.push(unsent.try_into().expect("it fits"));
    }
    let outages = |history: &History| slotquake_judge::facts::Facts::new(history).outages;
    assert_eq!(outages(&story), outages(&with_unsent));
    assert_eq!(outages(&story).len(), 1);
}

/// Random writes: when due, how long they take, what becomes of them.
fn operations() -> impl Strategy<Value = Vec<(u32, u32, What)>> {
    let what = prop_oneof![6 => Just(Acked), 1 => Just(Refused), 1 => Just(Info), 1 => Just(Unsent)];
    let took = prop_oneof![4 => 0..5_u32, 2 => 0..400_u32, 1 => 0..4000_u32];
    prop::collection::vec((600..5000_u32, took, what), 1..60)
}

fn verdict(operations: &[(u32, u32, What)], bound_ms: u32, patience_ms: u32) -> Verdict {
    let settings = json!({"max-outage": format!("{bound_ms}ms"), "patience": format!("{patience_ms}ms")});
    let story = operations.iter().enumerate().fold(bounded(&settings), |story, (n, &(at_ms, took_ms, what))| {
        let at_ms = f64::from(at_ms);
        story.write(key_of(1, n % 50), (at_ms, at_ms + f64::from(took_ms)), 1, what)
    });
    judged(&story.ends(9000.0), "availability").verdict
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_smaller_bound_never_passes_where_a_larger_one_fails(
        operations in operations(),
        small in 0..2000_u32,
        more in 0..2000_u32,
        patience in prop_oneof![Just(1000_u32), 1..3000_u32],
    ) {
        let small = small.saturating_sub(200);
        if verdict(&operations, small + more, patience) == Fail {
            prop_assert_ne!(verdict(&operations, small, patience), Pass);
        }
    }

    #[test]
    fn outages_of_a_shard_and_kind_do_not_overlap(operations in operations()) {
        let story = operations.iter().enumerate().fold(bounded(&json!({"max-outage": "0s"})), |story, (n, &(at, took, what))| {
            let at = f64::from(at);
            story.write(key_of(1, n % 50), (at, at + f64::from(took)), 1, what)
        });
        let history = story.ends(9000.0);
        let outages = slotquake_judge::facts::Facts::new(&history).outages;
        prop_assert!(outages.windows(2).all(|pair| pair[0].to_ns <= pair[1].from_ns), "{:?}", outages);
    }
}
