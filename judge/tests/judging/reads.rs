//! Reads as evidence: writes that were lost and overwritten, wrong reads, and the invariants about reads.

use proptest::prelude::*;
use serde_json::json;
use slotquake_judge::check::Verdict::{self, Fail, Inconclusive, Pass};
use slotquake_judge::check::check;
use slotquake_judge::facts::{Cause, Facts};
use slotquake_judge::history::FinalValue::Missing;
use slotquake_judge::history::{FOREIGN, FaultKind, History};

use crate::expect;
use crate::story::What::{Info, Ok as Acked};
use crate::story::{Story, healthy, judged, key_of, taken_over};

/// A story that demands that no acknowledged write is lost.
fn demanding() -> Story {
    Story::new().phase(500.0, "a").invariant(json!({"acked-writes": {"may-lose": 0}}))
}

/// Versions 1 and 2 of a key of shard 1, acknowledged by node-1 at 1.01 s and 1.11 s.
fn written(story: Story) -> Story {
    story.write(key_of(1, 0), (1000.0, 1010.0), 1, Acked).write(key_of(1, 0), (1100.0, 1110.0), 1, Acked)
}

fn overwritten(story: Story) -> Story {
    story.write(key_of(1, 0), (5000.0, 5010.0), 1, Acked)
}

#[test]
fn a_loss_that_was_overwritten_is_found() {
    let key = key_of(1, 0);
    let lost = "lost and overwritten";
    expect(
        "acked-writes",
        vec![
            ("nobody reads", overwritten(written(demanding())).ends(9000.0), Pass, "0 lost"),
            (
                "the master returns nothing",
                overwritten(written(demanding()).read_from(1, key, 0, (2000.0, 2001.0))).ends(9000.0),
                Fail,
                "2 lost and overwritten",
            ),
            (
                "the master returns an older version",
                overwritten(written(demanding()).read_from(1, key, 1, (2000.0, 2001.0))).ends(9000.0),
                Fail,
                "1 lost and overwritten",
            ),
            (
                "the master returns a foreign value",
                overwritten(written(demanding()).read_from(1, key, FOREIGN, (2000.0, 2001.0))).ends(9000.0),
                Fail,
                "2 lost and overwritten",
            ),
            (
                "a read that was sent before the acknowledgement",
                overwritten(written(demanding()).read_from(1, key, 1, (1109.0, 1200.0))).ends(9000.0),
                Pass,
                "0 lost",
            ),
            (
                "a replica that lags",
                overwritten(written(demanding()).read_from(4, key, 1, (2000.0, 2001.0))).ends(9000.0),
                Pass,
                "0 lost",
            ),
            (
                "a replica that goes back",
                overwritten(written(demanding()).read_from(4, key, 2, (1500.0, 1501.0)).read_from(
                    4,
                    key,
                    0,
                    (2000.0, 2001.0),
                ))
                .ends(9000.0),
                Fail,
                lost,
            ),
            (
                "a replica that was restarted in between",
                overwritten(
                    written(demanding())
                        .read_from(4, key, 2, (1500.0, 1501.0))
                        .fault(1600.0, FaultKind::Kill, 4, false)
                        .heal(1800.0, 1)
                        .read_from(4, key, 1, (2000.0, 2001.0)),
                )
                .ends(9000.0),
                Pass,
                "0 lost",
            ),
            (
                "a replica whose link was down a moment later",
                overwritten(
                    written(demanding())
                        .read_from(4, key, 2, (1500.0, 1501.0))
                        .read_from(4, key, 1, (2000.0, 2001.0))
                        .silent(2300.0, 4),
                )
                .ends(9000.0),
                Pass,
                "0 lost",
            ),
            (
                "an unknown write that came late",
                demanding()
                    .write(key, (1000.0, 1010.0), 1, Info)
                    .write(key, (1100.0, 1110.0), 1, Acked)
                    .read_from(1, key, 1, (2000.0, 2001.0))
                    .write(key, (5000.0, 5010.0), 1, Acked)
                    .ends(9000.0),
                Pass,
                "0 lost",
            ),
        ],
    );
}

/// FLUSHALL of a master: every key of its shard is gone at 2 s, and is written again before the end. Of eight keys two
/// are not read in between.
#[test]
fn destroyed_data_that_is_written_again_fails() {
    let mut story = demanding();
    for n in 0..8 {
        story = story.write(key_of(1, n), (1000.0, 1010.0), 1, Acked);
    }
    for n in 0..6 {
        story = story.read_from(1, key_of(1, n), 0, (2000.0 + n as f64, 2001.0 + n as f64));
    }
    for n in 0..8 {
        story = story.write(key_of(1, n), (3000.0, 3010.0), 1, Acked);
    }
    let history = story.ends(9000.0);
    let judgement = judged(&history, "acked-writes");
    assert_eq!(judgement.verdict, Fail, "{judgement:#?}");
    for words in ["6 lost and overwritten", "6 of 8 keys lost 6 acknowledged writes", "told of 6 of 8 keys"] {
        assert!(judgement.seen.contains(words), "no `{words}` in {}", judgement.seen);
    }
    let key = key_of(1, 0);
    let witness = format!(
        "client-1 read no value of key-{key} from node-1 at 2.000 s, after client-1's write of version 1 had been \
         acknowledged by node-1 at 1.010 s, and nobody read that version later: lost and overwritten (unknown)"
    );
    assert_eq!(judgement.evidence[0], witness);
    // The same as operations, of three of the six keys.
    let mut keys: Vec<&str> = judgement.witnesses.iter().map(|each| each.key.as_str()).collect();
    keys.dedup();
    assert_eq!((keys.len(), judgement.witnesses_left), (3, 3), "{keys:?}");
    let first = &judgement.witnesses[0];
    let name = format!("key-{key}");
    let commands: Vec<String> = (0..first.ops.len()).map(|at| first.command(at, &name)).collect();
    assert_eq!(commands, [format!("SET {name} = 1"), format!("GET {name} -> nothing")]);
    assert_eq!(first.ops.iter().map(|op| op.contradicts).collect::<Vec<_>>(), [false, true]);
    let why = format!(
        "client-1 set {name} to 1, which was acknowledged at 1.010 s. client-1 asked 990 ms later and got nothing, though \
         no client removes a key, and nobody ever read it again."
    );
    assert_eq!(first.why, why);
    let bounds = [
        (json!(5), Fail),
        (json!(6), Inconclusive),
        (json!(7), Inconclusive),
        (json!(8), Pass),
        (json!("measured"), Pass),
    ];
    for (may_lose, expected) in bounds {
        let mut history = history.clone();
        let invariant = json!({"acked-writes": {"may-lose": may_lose}});
        history.header.plan.invariants = vec![serde_json::from_value(invariant).unwrap()];
        assert_eq!(judged(&history, "acked-writes").verdict, expected, "may-lose {may_lose}");
    }
}

#[test]
fn a_master_that_answers_wrongly_for_a_time_fails() {
    let key = key_of(1, 0);
    let right_again = |value| {
        written(demanding())
            .read_from(1, key, value, (2000.0, 2001.0))
            .read_from(1, key, value, (2100.0, 2101.0))
            .read_from(1, key, 2, (3000.0, 3001.0))
    };
    expect(
        "acked-writes",
        vec![
            ("an older version", right_again(1).ends(9000.0), Fail, "2 wrong reads by a master, which missed 1"),
            ("nothing", right_again(0).ends(9000.0), Fail, "2 wrong reads by a master, which missed 2"),
            ("a foreign value", right_again(FOREIGN).ends(9000.0), Fail, "2 wrong reads by a master"),
            (
                "right again only in the end",
                written(demanding()).read_from(1, key, 1, (2000.0, 2001.0)).ends(9000.0),
                Fail,
                "1 wrong read by a master",
            ),
        ],
    );
    let judgement = judged(&right_again(1).ends(9000.0), "acked-writes");
    assert!(judgement.evidence[0].contains("read version 1 of"), "{:?}", judgement.evidence);
    assert_eq!((judgement.figures["lost"], judgement.figures["wrong_reads"]), (0.0, 2.0));
}

/// node-1 is frozen, node-4 takes over at 4 s, and node-1 wakes at 6 s.
fn frozen() -> Story {
    written(demanding())
        .fault(2000.0, FaultKind::Pause, 1, true)
        .view(4000.0, 4, &taken_over(healthy(), 1, 4, 7))
        .write(key_of(1, 0), (4500.0, 4510.0), 4, Acked)
        .heal(6000.0, 1)
}

#[test]
fn a_master_that_was_replaced_proves_no_loss() {
    let key = key_of(1, 0);
    let woken = frozen().read_from(1, key, 2, (6010.0, 6011.0)).view(6200.0, 1, &taken_over(healthy(), 1, 4, 7));
    expect("acked-writes", vec![("it answers with old values", woken.clone().ends(9000.0), Pass, "0 lost")]);
    for (invariant, words) in [
        (json!({"linearizable": {}}), "1 of 1 key is not linearizable"),
        (
            json!({"stale-reads": {"from": "masters", "max-age": "0s"}}),
            "replaced masters: 1 of 1 read stale (up to 1.5",
        ),
    ] {
        let name = invariant.as_object().unwrap().keys().next().unwrap().clone();
        let mut history = woken.clone().ends(9000.0);
        history.header.plan.invariants = vec![serde_json::from_value(invariant).unwrap()];
        let judgement = judged(&history, &name);
        assert_eq!(judgement.verdict, Fail, "{judgement:#?}");
        assert!(judgement.seen.contains(words), "{}", judgement.seen);
    }
}

#[test]
fn what_a_woken_master_acknowledged_is_lost_though_overwritten() {
    let other = key_of(1, 1);
    let woken = |story: Story| story.write(other, (6005.0, 6010.0), 1, Acked);
    let again = |story: Story| story.write(other, (8000.0, 8010.0), 4, Acked);
    let begun = || frozen().write(other, (4600.0, 4610.0), 4, Acked);
    expect(
        "acked-writes",
        vec![
            (
                "the new master returns what was before",
                again(woken(begun()).read_from(4, other, 1, (7000.0, 7001.0))).ends(9000.0),
                Fail,
                "1 lost and overwritten",
            ),
            (
                "nobody reads",
                again(woken(begun())).ends(9000.0),
                Inconclusive,
                "1 write may have been lost and overwritten",
            ),
        ],
    );
}

#[test]
fn reads_from_the_new_master_refute_the_failover() {
    let key = key_of(1, 0);
    let gone = |story: Story| {
        story
            .fault(2000.0, FaultKind::Kill, 1, true)
            .view(4000.0, 4, &taken_over(healthy(), 1, 4, 7))
            .holds(key, Missing)
    };
    let without = gone(written(demanding())).ends(9000.0);
    let with = gone(written(demanding())).read_from(4, key, 2, (5000.0, 5001.0)).ends(9000.0);
    let of = |history: &History| {
        let example = Facts::new(history).ledger.examples[1].clone();
        (example.value, example.cause, example.against)
    };
    assert_eq!(of(&without), (2, Cause::Failover, None));
    let against = "its time suggests failover, but node-4 returned it at 5.001 s, after its promotion at 4.000 s";
    assert_eq!(of(&with), (2, Cause::Unknown, Some(against.to_owned())));
}

#[test]
fn invariants_about_reads_accept_and_reject() {
    let key = key_of(1, 0);
    let told = |invariant: serde_json::Value, story: Story| story.invariant(invariant).ends(9000.0);
    let fresh = || written(Story::new().phase(500.0, "a")).by_client(2).read_from(1, key, 2, (2000.0, 2001.0));
    let back = || fresh().read_from(4, key, 1, (2100.0, 2101.0));
    let own = || written(Story::new().phase(500.0, "a")).read_from(4, key, 1, (2000.0, 2001.0));
    let node_back = || fresh().by_client(3).read_from(1, key, 1, (2100.0, 2101.0));
    let nothing = || written(Story::new().phase(500.0, "a"));
    let rows: Vec<(&str, serde_json::Value, Story, Verdict, &str)> = vec![
        ("linearizable", json!({}), fresh(), Pass, "0 of 1 key are not linearizable"),
        ("linearizable", json!({}), back(), Pass, "0 of 1 key"),
        ("linearizable", json!({"reads-from": "any"}), back(), Fail, "1 of 1 key is not linearizable"),
        ("linearizable", json!({"reads-from": "any", "may-violate": 1}), back(), Pass, "1 of 1 key"),
        ("linearizable", json!({"reads-from": "any", "may-violate": "measured"}), back(), Pass, "1 of 1 key"),
        ("linearizable", json!({"reads-from": "any", "keys": 1}), back(), Fail, "1 of 1 key is not linearizable"),
        ("linearizable", json!({}), nothing(), Inconclusive, "nothing was observed"),
        ("stale-reads", json!({"max-age": "0s"}), fresh(), Pass, "masters: 0 of 1 read stale"),
        (
            "stale-reads",
            json!({"max-age": "0s"}),
            back(),
            Fail,
            "replicas: 1 of 1 read stale (up to 990 ms and 1 version",
        ),
        ("stale-reads", json!({"max-age": "0s", "from": "masters"}), back(), Pass, "masters: 0 of 1 read stale"),
        ("stale-reads", json!({"max-age": "990ms"}), back(), Pass, "replicas: 1 of 1 read stale"),
        ("stale-reads", json!({"max-age": "989ms"}), back(), Fail, "1 read beyond the bound"),
        ("stale-reads", json!({"max-versions": 0}), back(), Fail, "1 read beyond the bound"),
        ("stale-reads", json!({"max-versions": 1}), back(), Pass, "1 of 1 read stale"),
        ("stale-reads", json!({"max-age": "measured"}), back(), Pass, "1 of 1 read stale"),
        ("stale-reads", json!({"max-age": "0s", "from": "replicas"}), fresh(), Inconclusive, "nothing was observed"),
        ("monotonic-reads", json!({}), fresh().read_from(4, key, 2, (2100.0, 2101.0)), Pass, "0 of 1 read violate"),
        ("monotonic-reads", json!({}), back(), Fail, "1 of 1 read violate"),
        ("monotonic-reads", json!({"reads-from": "master"}), back(), Inconclusive, "nothing was observed"),
        ("monotonic-reads", json!({}), nothing(), Inconclusive, "nothing was observed"),
        ("read-your-writes", json!({}), own(), Fail, "1 of 1 read violate"),
        ("read-your-writes", json!({"may-violate": 1}), own(), Pass, "1 of 1 read violate"),
        ("read-your-writes", json!({}), back(), Inconclusive, "nothing was observed"),
        ("monotonic-writes", json!({}), node_back(), Fail, "1 of 1 read violate"),
        ("monotonic-writes", json!({}), back(), Inconclusive, "nothing was observed"),
        ("monotonic-writes", json!({}), fresh().read_from(1, key, 2, (2100.0, 2101.0)), Pass, "0 of 1 read violate"),
    ];
    for (name, settings, story, verdict, words) in rows {
        let row = format!("{name} {settings}");
        expect(name, vec![(row.as_str(), told(json!({ name: settings }), story), verdict, words)]);
    }
}

/// Something that is done to a key of shard 1: a write, a write of unknown outcome, or a read of an old version.
fn histories() -> impl Strategy<Value = History> {
    let op = (0..4u8, 0..2usize, 0..3u32, prop_oneof![Just(1u16), Just(4u16)], 1..3u16);
    prop::collection::vec(op, 1..20).prop_map(|ops| {
        let mut story = Story::new().phase(500.0, "a");
        let mut versions = [0u32; 2];
        for (n, (kind, key, behind, node, client)) in ops.into_iter().enumerate() {
            let at = 1000.0 + 100.0 * n as f64;
            story = story.by_client(client);
            story = match kind {
                0 | 1 => {
                    versions[key] += 1;
                    let what = if kind == 0 { Acked } else { Info };
                    story.write(key_of(1, key), (at, at + 10.0), 1, what)
                }
                _ => {
                    let value = versions[key].saturating_sub(behind);
                    story.read_from(node, key_of(1, key), value, (at, at + 10.0))
                }
            };
        }
        story.ends(9000.0)
    })
}

/// Settings from the strictest to the laxest.
fn ladders() -> Vec<Vec<serde_json::Value>> {
    let numbers = |name: &str, key: &str, rest: &serde_json::Value| -> Vec<serde_json::Value> {
        let bounds = [json!(0), json!(1), json!(2), json!(5), json!("measured")];
        let with = |bound: serde_json::Value| {
            let mut settings = rest.clone();
            settings[key] = bound;
            json!({ name: settings })
        };
        bounds.into_iter().map(with).collect()
    };
    let ages = ["0s", "50ms", "150ms", "1s", "measured"];
    let by_age = |from: &str| ages.map(|age| json!({"stale-reads": {"from": from, "max-age": age}})).to_vec();
    vec![
        numbers("acked-writes", "may-lose", &json!({})),
        numbers("linearizable", "may-violate", &json!({})),
        numbers("linearizable", "may-violate", &json!({"reads-from": "any"})),
        numbers("monotonic-reads", "may-violate", &json!({})),
        numbers("read-your-writes", "may-violate", &json!({})),
        numbers("monotonic-writes", "may-violate", &json!({})),
        numbers("stale-reads", "max-versions", &json!({})),
        by_age("any"),
        by_age("masters"),
        by_age("replicas"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stricter_setting_never_passes_where_a_laxer_one_fails(history in histories()) {
        for ladder in ladders() {
            let mut history = history.clone();
            let invariants = ladder.iter().map(|each| serde_json::from_value(each.clone()).unwrap());
            history.header.plan.invariants = invariants.collect();
            let judgements = check(&Facts::new(&history));
            let verdicts: Vec<Verdict> = judgements.iter().take(ladder.len()).map(|each| each.verdict).collect();
            prop_assert!(verdicts.is_sorted_by(|strict, lax| strict >= lax), "{:?}: {:?}", ladder[0], verdicts);
        }
    }
}
