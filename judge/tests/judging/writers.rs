//! Several writers of one key: concurrent writes have no order, and nothing is claimed that depends on one.

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::facts::Facts;
use slotquake_judge::history::FinalValue::{Missing, Number};
use slotquake_judge::history::{FaultKind, History};

use crate::expect;
use crate::story::What::{Info, Ok as Acked};
use crate::story::{Story, healthy, judged, key_of, taken_over};

/// A story with three writers of each key that demands that no acknowledged write is lost.
fn demanding() -> Story {
    Story::new().writers(3).phase(500.0, "a").invariant(json!({"acked-writes": {"may-lose": 0}}))
}

#[test]
fn the_value_in_the_end_decides_where_writes_have_an_order() {
    let key = key_of(1, 0);
    let concurrent =
        |story: Story| story.write(key, (1000.0, 1100.0), 1, Acked).by_client(2).write(key, (1050.0, 1090.0), 1, Acked);
    expect(
        "acked-writes",
        vec![
            (
                "the first of two concurrent ones",
                concurrent(demanding()).holds(key, Number(1)).ends(9000.0),
                Pass,
                "0 lost",
            ),
            ("the second of them", concurrent(demanding()).holds(key, Number(2)).ends(9000.0), Pass, "0 lost"),
            (
                "with one writer, values tell",
                concurrent(demanding().writers(1)).holds(key, Number(1)).ends(9000.0),
                Fail,
                "1 lost",
            ),
            (
                "one that was acknowledged before the other was sent",
                demanding()
                    .write(key, (1000.0, 1010.0), 1, Acked)
                    .by_client(2)
                    .write(key, (1100.0, 1110.0), 1, Acked)
                    .holds(key, Number(1))
                    .ends(9000.0),
                Fail,
                "1 lost",
            ),
            (
                "a later value that was sent earlier",
                demanding()
                    .write(key, (1100.0, 1110.0), 1, Acked)
                    .by_client(2)
                    .write(key, (1000.0, 1010.0), 1, Acked)
                    .holds(key, Number(1))
                    .ends(9000.0),
                Pass,
                "0 lost",
            ),
            (
                "one that was read before the other was sent",
                concurrent(demanding())
                    .by_client(3)
                    .read(key, 1, (1010.0, 1020.0), Acked)
                    .holds(key, Number(1))
                    .ends(9000.0),
                Fail,
                "1 lost",
            ),
            (
                "the master returned the other one later",
                concurrent(demanding())
                    .by_client(3)
                    .read(key, 2, (2000.0, 2001.0), Acked)
                    .holds(key, Number(1))
                    .ends(9000.0),
                Fail,
                "1 lost",
            ),
            (
                "a replica returned the other one later",
                concurrent(demanding()).read_from(4, key, 2, (2000.0, 2001.0)).holds(key, Number(1)).ends(9000.0),
                Pass,
                "0 lost",
            ),
            ("nothing is there", concurrent(demanding()).holds(key, Missing).ends(9000.0), Fail, "2 lost"),
        ],
    );
}

#[test]
fn a_write_of_unknown_outcome_decides_nothing_about_later_ones() {
    let key = key_of(1, 0);
    let unknown = |story: Story| story.write(key, (1000.0, 6000.0), 1, Info).by_client(2);
    expect(
        "acked-writes",
        vec![
            (
                "sent after the client had given up",
                unknown(demanding()).write(key, (6100.0, 6110.0), 1, Acked).holds(key, Number(1)).ends(9000.0),
                Inconclusive,
                "may be lost",
            ),
            (
                "sent before",
                unknown(demanding()).write(key, (2000.0, 2010.0), 1, Acked).holds(key, Number(1)).ends(9000.0),
                Pass,
                "0 lost",
            ),
            (
                "it was read before the other was sent",
                unknown(demanding())
                    .read(key, 1, (1500.0, 1510.0), Acked)
                    .write(key, (2000.0, 2010.0), 1, Acked)
                    .holds(key, Number(1))
                    .ends(9000.0),
                Fail,
                "1 lost",
            ),
        ],
    );
}

/// A replica that had the later of two concurrent writes need not have had the other.
#[test]
fn a_replica_that_goes_back_lost_only_what_it_had() {
    let key = key_of(1, 0);
    let told = |writers: u16, other: (f64, f64)| {
        demanding()
            .writers(writers)
            .write(key, (1000.0, 1010.0), 1, Acked)
            .by_client(2)
            .write(key, other, 1, Acked)
            .by_client(3)
            .write(key, (1110.0, 1190.0), 1, Acked)
            .read_from(4, key, 3, (1300.0, 1301.0))
            .read_from(4, key, 1, (1400.0, 1401.0))
            .write(key, (5000.0, 5010.0), 1, Acked)
            .ends(9000.0)
    };
    for (name, writers, other, lost) in [
        ("concurrent with the one it had", 3, (1100.0, 1200.0), 1),
        ("before the one it had", 3, (1100.0, 1105.0), 2),
        ("of one writer", 1, (1100.0, 1105.0), 2),
    ] {
        assert_eq!(Facts::new(&told(writers, other)).ledger.overwritten, lost, "{name}");
        let judgement = judged(&told(writers, other), "acked-writes");
        assert_eq!(judgement.verdict, Fail, "{name}: {judgement:#?}");
    }
}

/// node-1 freezes at 2 s, node-4 takes over at 4 s, and node-1 acknowledges a write at 5 s. Other clients write the key
/// at node-4. What it holds in the end decides about one write only.
#[test]
fn what_a_replaced_master_acknowledged_may_be_lost() {
    let key = key_of(1, 0);
    let after = taken_over(healthy(), 1, 4, 7);
    let told = |stale: bool| {
        let mut story = demanding()
            .write(key, (1000.0, 1010.0), 1, Acked)
            .fault(2000.0, FaultKind::Pause, 1, true)
            .views(4000.0, 2..=6, &after)
            .by_client(2)
            .write(key, (4500.0, 4510.0), 4, Acked);
        if stale {
            story = story.by_client(3).write(key, (4600.0, 5010.0), 1, Acked);
        }
        // It is sent before the stale one and acknowledged after it.
        story
            .heal(5000.0, 1)
            .views(5100.0, 1..=6, &after)
            .by_client(2)
            .write(key, (4550.0, 6000.0), 4, Acked)
            .ends(9000.0)
    };
    let judgement = judged(&told(true), "acked-writes");
    assert_eq!(judgement.verdict, Inconclusive, "{judgement:#?}");
    assert!(judgement.seen.contains("may have been lost and overwritten"), "{}", judgement.seen);
    assert_eq!(judged(&told(false), "acked-writes").verdict, Pass, "{:#?}", judged(&told(false), "acked-writes"));
}

/// That the new master had one of two concurrent writes does not show that it had the other.
#[test]
fn a_new_master_had_what_certainly_came_before_what_it_returned() {
    let key = key_of(1, 0);
    let told = |writers: u16, other: (f64, f64)| {
        demanding()
            .writers(writers)
            .write(key, other, 1, Acked)
            .by_client(2)
            .write(key, (1110.0, 1190.0), 1, Acked)
            .failover_of_node_1()
            .write(key, (4650.0, 4660.0), 4, Acked)
            .read_from(4, key, 2, (4610.0, 4611.0))
            .ends(9000.0)
    };
    for (name, writers, other, untold) in [
        ("concurrent with the one it had", 3, (1100.0, 1200.0), 1),
        ("before the one it had", 3, (1100.0, 1105.0), 0),
        ("of one writer", 1, (1100.0, 1105.0), 0),
    ] {
        assert_eq!(Facts::new(&told(writers, other)).ledger.untold, untold, "{name}");
    }
}

/// What happens to a register with several writers.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A client's write: when it is sent, how long it takes, and when in that time it takes effect, in percent.
    Write { client: u16, takes: u32, effect: u32, is_known: bool },
    /// A read that the master answers.
    Read,
    /// A read that the replica answers, after it has followed up to so many effects behind.
    Lagging(usize),
    /// The servers forget the last so many effects.
    Forget(usize),
}

fn steps(forgets: bool) -> impl Strategy<Value = Vec<(u32, Step)>> {
    let write = (1..4u16, 1..400u32, 0..=100u32, 0..6u8).prop_map(|(client, takes, effect, n)| Step::Write {
        client,
        takes,
        effect,
        is_known: n > 0,
    });
    let step = prop_oneof![
        6 => write,
        3 => Just(Step::Read),
        2 => (0..3usize).prop_map(Step::Lagging),
        u32::from(forgets) => (1..4usize).prop_map(Step::Forget),
    ];
    prop::collection::vec((0..1500u32, step), 1..14)
}

/// What the servers do, and when.
enum Effect {
    Write(u32),
    Read,
    Lagging(usize),
    Forget(usize),
}

/// Lives through the steps. Returns the history, and the acknowledged values that the servers forgot.
fn live(steps: &[(u32, Step)]) -> (History, BTreeSet<u32>) {
    let key = key_of(1, 0);
    let mut story = demanding();
    let (mut effects, mut acked, mut written) = (Vec::new(), Vec::new(), 0);
    for &(after, step) in steps {
        let at = 1000.0 + f64::from(after);
        match step {
            Step::Write { client, takes, effect, is_known } => {
                written += 1;
                let what = if is_known { Acked } else { Info };
                // What is unknown takes effect at any time, or never.
                let late = if is_known { 0.0 } else { f64::from(takes) * 3.0 };
                if is_known || effect < 80 {
                    let part = f64::from(takes) * f64::from(effect) / 100.0;
                    effects.push((at + part + late, Effect::Write(written)));
                }
                acked.extend(is_known.then_some(written));
                story = story.by_client(client).write(key, (at, at + f64::from(takes)), 1, what);
            }
            Step::Read => effects.push((at + 0.5, Effect::Read)),
            Step::Lagging(behind) => effects.push((at + 0.5, Effect::Lagging(behind))),
            Step::Forget(count) => effects.push((at, Effect::Forget(count))),
        }
    }
    effects.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut there, mut forgotten, mut replica): (Vec<u32>, BTreeSet<u32>, usize) = (Vec::new(), BTreeSet::new(), 0);
    for (at, effect) in effects {
        let times = (at - 0.25, at + 0.25);
        match effect {
            Effect::Write(value) => there.push(value),
            Effect::Read => story = story.by_client(9).read_from(1, key, there.last().copied().unwrap_or(0), times),
            Effect::Lagging(behind) => {
                replica = replica.max(there.len().saturating_sub(behind));
                let value = replica.checked_sub(1).map_or(0, |last| there[last]);
                story = story.by_client(9).read_from(4, key, value, times);
            }
            Effect::Forget(count) => {
                forgotten.extend(there.split_off(there.len().saturating_sub(count)));
                replica = replica.min(there.len());
            }
        }
    }
    let lost = acked.into_iter().filter(|value| forgotten.contains(value)).collect();
    let last = there.last().map_or(Missing, |&value| Number(value));
    (story.holds(key, last).ends(9000.0), lost)
}

fn runner(cases: u32) -> proptest::test_runner::TestRunner {
    let seed = proptest::test_runner::RngSeed::Fixed(20_261_128);
    let config = ProptestConfig { cases, rng_seed: seed, failure_persistence: None, ..ProptestConfig::default() };
    proptest::test_runner::TestRunner::new(config)
}

#[test]
fn nothing_is_claimed_of_a_register_that_loses_nothing() {
    let passed = Cell::new(0);
    let outcome = runner(1500).run(&steps(false), |steps| {
        let (history, lost) = live(&steps);
        prop_assert!(lost.is_empty());
        let judgement = judged(&history, "acked-writes");
        prop_assert!(judgement.verdict != Fail, "{:#?}", judgement);
        let is_known = |(_, step): &(u32, Step)| !matches!(step, Step::Write { is_known: false, .. });
        if steps.iter().all(is_known) && steps.iter().any(|(_, step)| matches!(step, Step::Write { .. })) {
            prop_assert_eq!(judgement.verdict, Pass, "{:#?}", judgement);
            passed.set(passed.get() + 1);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(passed.get() > 300, "{} passed", passed.get());
}

#[test]
fn only_what_was_forgotten_is_called_lost() {
    let (found, forgotten) = (Cell::new(0), Cell::new(0));
    let outcome = runner(1500).run(&steps(true), |steps| {
        let (history, lost) = live(&steps);
        let ledger = Facts::new(&history).ledger;
        let mut claimed: Vec<u32> = ledger.examples.iter().map(|each| each.value).collect();
        claimed.extend(ledger.overwritten_examples.iter().map(|each| each.value));
        prop_assert_eq!(claimed.len() as u64, ledger.lost + ledger.overwritten);
        for value in &claimed {
            prop_assert!(lost.contains(value), "{} is called lost and was not forgotten: {:?}", value, lost);
        }
        found.set(found.get() + claimed.len());
        forgotten.set(forgotten.get() + lost.len());
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(found.get() * 3 > forgotten.get(), "{} of {} were found", found.get(), forgotten.get());
}
