//! The ledger of writes, by its worked example and against a register whose fate is known.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::facts::{Facts, Ledger};
use slotquake_judge::history::FinalValue::{Foreign, Missing, Number, Unreadable};
use slotquake_judge::history::{EventKind, FinalValue, History, Op, Outcome};
use slotquake_judge::suite::OpKind;

use crate::expect;
use crate::story::What::{Fail as Refused, Info, Ok as Acked};
use crate::story::{Story, What, key_of};

/// A key with these writes, 100 ms apart and 10 ms long, that holds `last` in the end.
fn register(may_lose: &serde_json::Value, writes: &[What], last: FinalValue) -> History {
    let key = key_of(1, 0);
    let story = Story::new().phase(500.0, "a").invariant(json!({"acked-writes": {"may-lose": may_lose}}));
    let told = writes.iter().enumerate().fold(story, |story, (n, what)| {
        let at = 1000.0 + 100.0 * n as f64;
        story.write(key, (at, at + 10.0), 1, *what)
    });
    told.holds(key, last).ends(9000.0)
}

#[test]
fn the_ledger_follows_final_reads() {
    let ok3 = [Acked, Acked, Acked];
    let example = [Acked, Acked, Acked, Acked, Info, Acked];
    for (name, writes, last, lost, undecided, applied) in [
        ("nothing is lost when the last one is read back", &ok3[..], Number(3), 0, 0, 0),
        ("the one above what is read back is lost", &ok3, Number(2), 1, 0, 0),
        ("all above what is read back are lost", &ok3, Number(1), 2, 0, 0),
        ("a missing key lost every one", &ok3, Missing, 3, 0, 0),
        ("so did an overwritten one", &ok3, Foreign("x".into()), 3, 0, 0),
        ("so did one with a number nobody wrote", &ok3, Number(77), 3, 0, 0),
        ("the worked example: 5 may have come late", &example, Number(5), 0, 1, 1),
        ("the worked example: 6 is lost whatever became of 5", &example, Number(4), 1, 0, 0),
        ("the worked example: all is well", &example, Number(6), 0, 0, 0),
        ("a write of unknown outcome may be gone", &[Acked, Info], Number(1), 0, 0, 0),
        ("or be there", &[Acked, Info], Number(2), 0, 0, 1),
        ("two of unknown outcome, the first came last", &[Acked, Info, Info, Acked], Number(2), 0, 1, 1),
    ] {
        let ledger = Facts::new(&register(&json!(0), writes, last)).ledger;
        assert_eq!(
            (ledger.lost, ledger.undecided, ledger.applied_unacknowledged),
            (lost, undecided, applied),
            "{name}"
        );
        assert_eq!(ledger.examples.len() as u64, lost, "{name}");
    }
}

#[test]
fn a_read_settles_an_unknown_write() {
    let key = key_of(1, 0);
    let story = |read_at: f64| {
        Story::new()
            .write(key, (1000.0, 1010.0), 1, Acked)
            .write(key, (1100.0, 1110.0), 1, Info)
            .read(key, 2, (read_at, read_at + 1.0), Acked)
            .write(key, (1200.0, 1210.0), 1, Acked)
            .holds(key, Number(2))
            .ends(9000.0)
    };
    for (name, read_at, lost, undecided) in [
        ("seen before 3 was issued: 3 is lost", 1150.0, 1, 0),
        ("seen when 3 was under way: 2 may have come after 3", 1199.5, 0, 1),
        ("seen after 3: likewise", 1300.0, 0, 1),
    ] {
        let ledger = Facts::new(&story(read_at)).ledger;
        assert_eq!((ledger.lost, ledger.undecided), (lost, undecided), "{name}");
    }
}

#[test]
fn acked_writes_follows_the_ledger() {
    let ok3 = [Acked, Acked, Acked];
    let unknown = [Acked, Info, Acked];
    expect(
        "acked-writes",
        vec![
            ("all there", register(&json!(0), &ok3, Number(3)), Pass, "3 writes acknowledged: 0 lost"),
            ("one lost", register(&json!(0), &ok3, Number(2)), Fail, "1 lost"),
            ("as many lost as may be", register(&json!(2), &ok3, Number(1)), Pass, "2 lost"),
            ("one more than may be", register(&json!(1), &ok3, Number(1)), Fail, "2 lost"),
            ("undecided is not rounded up", register(&json!(0), &unknown, Number(2)), Inconclusive, "may be lost"),
            ("undecided within what may be lost", register(&json!(1), &unknown, Number(2)), Pass, "1 undecided"),
            ("measured counts the lost", register(&json!("measured"), &ok3, Number(1)), Pass, "2 lost"),
            ("a foreign value lost them", register(&json!(0), &ok3, Foreign("x".into())), Fail, "3 lost"),
            ("refused and there", register(&json!(9), &[Acked, Refused], Number(2)), Fail, "refused and took effect"),
            (
                "refused and there, measured",
                register(&json!("measured"), &[Acked, Refused], Number(2)),
                Fail,
                "refused and took effect",
            ),
            ("unreadable", register(&json!(0), &ok3, Unreadable("no".into())), Inconclusive, "(no)"),
            ("unreadable, measured", register(&json!("measured"), &ok3, Unreadable("no".into())), Inconclusive, "(no)"),
            ("nothing acknowledged", register(&json!(0), &[Info], Missing), Inconclusive, "no write was acknowledged"),
            ("nothing written", register(&json!("measured"), &[], Missing), Inconclusive, "no write was acknowledged"),
            (
                "never read back",
                Story::new()
                    .phase(500.0, "a")
                    .invariant(json!({"acked-writes": {"may-lose": 0}}))
                    .writes(1, 1000.0, 1050.0, 1, Acked)
                    .not_read_back(key_of(1, 2))
                    .ends(9000.0),
                Inconclusive,
                "1 key not read back",
            ),
            (
                "a lost write is not hidden by an unread key",
                Story::new()
                    .phase(500.0, "a")
                    .invariant(json!({"acked-writes": {"may-lose": 0}}))
                    .writes(1, 1000.0, 1050.0, 1, Acked)
                    .not_read_back(key_of(1, 2))
                    .holds(key_of(1, 0), Missing)
                    .ends(9000.0),
                Fail,
                "1 lost",
            ),
        ],
    );
}

#[test]
fn finds_a_refused_write_that_was_applied() {
    let key = key_of(2, 0);
    let history = Story::new()
        .write(key, (1000.0, 1001.0), 2, Acked)
        .write(key, (1100.0, 1101.0), 2, Refused)
        .read(key, 2, (1200.0, 1201.0), Acked)
        .write(key, (1300.0, 1301.0), 2, Acked)
        .ends(9000.0);
    let Ledger { refused_but_applied, lost, undecided, .. } = Facts::new(&history).ledger;
    assert_eq!((refused_but_applied, lost, undecided), (1, 0, 0));
}

#[test]
fn examples_are_the_first_lost_writes() {
    let story = Story::new().phase(500.0, "a").invariant(json!({"acked-writes": {"may-lose": 0}}));
    let told = story.writes(1, 1000.0, 1500.0, 1, Acked);
    let history = (0..5).fold(told, |story, n| story.holds(key_of(1, n), Missing)).ends(9000.0);
    let ledger = Facts::new(&history).ledger;
    assert_eq!((ledger.lost, ledger.examples.len()), (50, Ledger::EXAMPLES));
    assert!(ledger.examples.is_sorted_by_key(|lost| lost.invoke_ns));
    assert_eq!(ledger.examples[0].invoke_ns, 1_000_000_000);
    let judgement = crate::story::judged(&history, "acked-writes");
    assert_eq!(judgement.evidence.len(), 10);
    assert!(
        judgement.evidence[0].contains("1 was issued at 1.000 s and acknowledged by node-1 at 1.001 s in phase a"),
        "{:?}",
        judgement.evidence
    );
    assert_eq!(judgement.evidence[9], "... and 41 more lost");
    assert_eq!((judgement.figures["lost"], judgement.figures["acknowledged"]), (50.0, 50.0));
}

/// A write of the register's one writer, and what becomes of it.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Acknowledged after it took effect.
    Acked,
    /// Refused, and never took effect.
    Refused,
    /// Timed out, and never took effect.
    Vanished,
    /// Timed out, and takes effect when so many later writes have ended; never, beyond the last.
    Late(usize),
}

/// One step of the register's life.
#[derive(Debug, Clone, Copy)]
enum Step {
    Write(Fate),
    /// A read from a replica that lags by so many effects.
    Read(usize),
    /// The server forgets the last so many effects: a failover to a replica that lacked them.
    Forget(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![
        4 => Just(Fate::Acked),
        1 => Just(Fate::Refused),
        1 => Just(Fate::Vanished),
        2 => (0..4usize).prop_map(Fate::Late),
    ];
    let step = prop_oneof![
        6 => fate.prop_map(Step::Write),
        2 => (0..3usize).prop_map(Step::Read),
        1 => (1..4usize).prop_map(Step::Forget),
    ];
    prop::collection::vec(step, 0..9)
}

/// Lives through the steps. Returns the history and, for each acknowledged write, whether the server
/// forgot it.
fn live(steps: &[Step]) -> (History, Vec<(u32, bool)>) {
    let key = key_of(1, 0);
    let mut story = Story::new();
    // Values in the order in which they took effect, as the surviving server has them.
    let mut effects: Vec<u32> = Vec::new();
    let mut pending: Vec<(usize, u32)> = Vec::new();
    let mut acked = Vec::new();
    let mut written = 0;
    for (n, step) in steps.iter().enumerate() {
        let at = 1000.0 + 100.0 * n as f64;
        match *step {
            Step::Write(fate) => {
                written += 1;
                let (what, takes_effect) = match fate {
                    Fate::Acked => (Acked, true),
                    Fate::Refused => (Refused, false),
                    Fate::Vanished => (Info, false),
                    Fate::Late(0) => (Info, true),
                    Fate::Late(after) => {
                        pending.push((after, written));
                        (Info, false)
                    }
                };
                if takes_effect {
                    effects.push(written);
                }
                if what == Acked {
                    acked.push(written);
                }
                story = story.write(key, (at, at + 10.0), 1, what);
                for (after, value) in &mut pending {
                    if *value != written {
                        *after -= 1;
                        if *after == 0 {
                            effects.push(*value);
                        }
                    }
                }
                pending.retain(|(after, _)| *after > 0);
            }
            Step::Read(behind) => {
                let value = effects.iter().rev().nth(behind).copied().unwrap_or(0);
                story = story.read(key, value, (at, at + 10.0), Acked);
            }
            Step::Forget(count) => effects.truncate(effects.len().saturating_sub(count)),
        }
    }
    let truth = acked.iter().map(|&value| (value, !effects.contains(&value))).collect();
    let last = effects.last().map_or(Missing, |&value| Number(value));
    (story.holds(key, last).ends(9000.0), truth)
}

/// The acknowledged writes that some course of events leaves in place, of all courses that fit what
/// the client saw: by brute force over when each write of unknown outcome took effect, if at all, and
/// over every forgetting of the last effects. What is in none of them is provably lost.
fn survivors(history: &History) -> BTreeSet<u32> {
    type World = (Vec<u32>, Vec<u32>);
    let mut seen_in_order: Vec<&Op> = history.ops.iter().collect();
    seen_in_order.sort_by_key(|op| op.invoke_ns());
    let mut worlds: BTreeSet<World> = BTreeSet::from([(Vec::new(), Vec::new())]);
    for op in seen_in_order {
        worlds = worlds
            .into_iter()
            .filter_map(|(mut effects, mut pending)| {
                match (op.kind(), op.outcome()) {
                    (OpKind::Writes, Outcome::Ok) => effects.push(op.value()),
                    (OpKind::Writes, Outcome::Info(_)) => pending.push(op.value()),
                    // A replica may answer, so a read proves no more than that its value took effect.
                    (OpKind::Reads, Outcome::Ok) if pending.contains(&op.value()) => return None,
                    _ => {}
                }
                Some((effects, pending))
            })
            .collect();
        let mut open: Vec<World> = worlds.iter().cloned().collect();
        while let Some((effects, pending)) = open.pop() {
            let forgotten = effects.split_last().map(|(_, rest)| (rest.to_vec(), pending.clone()));
            let applied = (0..pending.len()).map(|position| {
                let (mut effects, mut pending) = (effects.clone(), pending.clone());
                effects.push(pending.remove(position));
                (effects, pending)
            });
            for next in forgotten.into_iter().chain(applied) {
                if worlds.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
    }
    let last = history.events.iter().find_map(|event| match event.kind {
        EventKind::FinalRead { value: Number(number), .. } => Some(number),
        _ => None,
    });
    let fitting = worlds.into_iter().filter(|(effects, _)| effects.last().copied() == last);
    fitting.flat_map(|(effects, _)| effects).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_claims_what_is_provable_and_nothing_else(steps in steps()) {
        let (history, truth) = live(&steps);
        let survivors = survivors(&history);
        let ledger = Facts::new(&history).ledger;
        let lost: Vec<u32> = ledger.examples.iter().map(|lost| lost.value).collect();
        prop_assert_eq!(lost.len() as u64, ledger.lost);
        prop_assert_eq!(ledger.acknowledged, truth.len() as u64);
        prop_assert_eq!(ledger.refused_but_applied, 0);
        let last = history.events.iter().find_map(|event| match event.kind {
            EventKind::FinalRead { value: Number(number), .. } => Some(number),
            _ => None,
        });
        for (value, is_lost) in truth {
            prop_assert!(is_lost || !lost.contains(&value), "{} is called lost and is there", value);
            // What lies below the value that is read back was overwritten, or lost and then overwritten:
            // the ledger does not claim it, and nobody would miss it.
            if last.is_none_or(|last| value > last) {
                prop_assert_eq!(lost.contains(&value), !survivors.contains(&value), "{} of {:?}", value, survivors);
            } else {
                prop_assert!(!lost.contains(&value));
            }
        }
    }
}
