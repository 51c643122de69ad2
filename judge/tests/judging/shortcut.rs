//! Keys on which nothing went wrong are judged by one look at each of their operations. The report is the same as without
//! that shortcut, whatever the history looks like.

use std::cell::Cell;

use proptest::prelude::*;
use serde_json::json;
use slotquake_judge::check::check;
use slotquake_judge::facts::{Facts, OpIndex, Registers};
use slotquake_judge::history::FinalValue::{Foreign, Missing, Number, Unreadable};
use slotquake_judge::history::{FOREIGN, FaultKind, FinalValue, History};
use slotquake_judge::report::Report;

use crate::story::What::{Fail, Info, Ok as Acked};
use crate::story::{Story, healthy, key_of, taken_over};

/// What happens to a key.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// A client's write: when in its time it takes effect, in percent, and what became of it.
    Write { effect: u32, outcome: u8 },
    /// A read by a node, of what is there or of what was there so many effects ago.
    Read { node: u16, behind: usize },
    /// A read of a value that is not there: nothing, a foreign one, or any of the key's.
    Wrong { node: u16, value: Option<u32> },
    /// The servers forget the last so many effects, or all.
    Forget { count: usize },
}

#[derive(Debug, Clone, Copy)]
struct Drawn {
    key: usize,
    client: u16,
    at: u32,
    takes: u32,
    does: Does,
}

/// How much goes wrong: a share of the steps in percent.
fn drawn(wrong: u32) -> impl Strategy<Value = Drawn> {
    let write = (0..=100_u32, 0..12_u8).prop_map(|(effect, outcome)| Does::Write { effect, outcome });
    let read =
        (prop_oneof![3 => Just(1_u16), 1 => Just(4)], Just(0)).prop_map(|(node, behind)| Does::Read { node, behind });
    let stale = (prop_oneof![Just(1_u16), Just(4)], 1..3_usize).prop_map(|(node, behind)| Does::Read { node, behind });
    let value = prop_oneof![Just(None), Just(Some(FOREIGN)), (1..9_u32).prop_map(Some)];
    let other = (prop_oneof![Just(1_u16), Just(4)], value).prop_map(|(node, value)| Does::Wrong { node, value });
    let forget = prop_oneof![1..4_usize, Just(99)].prop_map(|count| Does::Forget { count });
    let does = prop_oneof![
        500 => write,
        500 => read,
        wrong * 4 => stale,
        wrong => other,
        wrong => forget,
    ];
    (0..4_usize, 1..4_u16, 0..8000_u32, 1..120_u32, does).prop_map(|(key, client, at, takes, does)| Drawn {
        key,
        client,
        at,
        takes,
        does,
    })
}

/// A history, how it is drawn, whether the master changes, and what keys hold in the end if not what was there.
fn histories() -> impl Strategy<Value = History> {
    let end = prop::option::weighted(0.1, prop_oneof![Just(0_u8), Just(1), Just(2), Just(3)]);
    let steps = prop_oneof![3 => Just(1_u32), 2 => Just(30), 1 => Just(300)]
        .prop_flat_map(|wrong| prop::collection::vec(drawn(wrong), 1..60));
    (steps, 1..3_u16, any::<bool>(), prop::collection::vec(end, 4))
        .prop_map(|(steps, writers, fails_over, ends)| live(steps, writers, fails_over, &ends))
}

fn demanding(writers: u16) -> Story {
    [
        json!({"acked-writes": {"may-lose": 0}}),
        json!({"linearizable": {}}),
        json!({"linearizable": {"reads-from": "any"}}),
        json!({"stale-reads": {"from": "any", "max-age": "0s"}}),
        json!({"stale-reads": {"from": "masters", "max-versions": 0, "during": "a"}}),
        json!({"monotonic-reads": {}}),
        json!({"read-your-writes": {"reads-from": "any"}}),
        json!({"monotonic-writes": {"reads-from": "any", "during": "a"}}),
    ]
    .into_iter()
    .fold(Story::new().writers(writers).phase(500.0, "a"), Story::invariant)
}

fn live(mut steps: Vec<Drawn>, writers: u16, fails_over: bool, ends: &[Option<u8>]) -> History {
    steps.sort_by_key(|step| step.at);
    let keys: Vec<u32> = (0..4).map(|number| key_of(1, number)).collect();
    let mut story = demanding(writers);
    if fails_over {
        let after = taken_over(healthy(), 1, 4, 7);
        story = story.fault(3000.0, FaultKind::Pause, 1, true).views(4000.0, 2..=6, &after).heal(5000.0, 1).views(
            5100.0,
            1..=6,
            &after,
        );
    }
    // Writes in the order in which they are sent get rising values. With one writer, one is sent after the last was answered.
    let (mut written, mut free_ms) = ([0_u32; 4], [0.0_f64; 4]);
    let mut effects: Vec<(f64, usize, Drawn, u32)> = Vec::new();
    for step in &steps {
        let mut at = 1000.0 + f64::from(step.at);
        let mut value = 0;
        if let Does::Write { effect, outcome } = step.does {
            let takes = f64::from(step.takes);
            if writers == 1 {
                at = at.max(free_ms[step.key] + 1.0);
                free_ms[step.key] = at + takes;
            }
            written[step.key] += 1;
            value = written[step.key];
            let (what, late) = match outcome {
                0 => (Info, takes * f64::from(effect % 7)),
                1 => (Fail, 0.0),
                _ => (Acked, 0.0),
            };
            let node = if fails_over && at > 4000.0 { 4 } else { 1 };
            let client = if writers == 1 { 1 } else { step.client };
            story = story.by_client(client).write(keys[step.key], (at, at + takes), node, what);
            // Of those of unknown outcome some never take effect, and a refused one does in rare cases.
            if what == Acked || (what == Info && effect < 70) || effect == 50 {
                effects.push((at + takes * f64::from(effect) / 100.0 + late, step.key, *step, value));
            }
        } else {
            effects.push((at + f64::from(step.takes) / 2.0, step.key, *step, value));
        }
    }
    effects.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut there: [Vec<u32>; 4] = Default::default();
    for (at, key, step, value) in effects {
        let half = f64::from(step.takes) / 2.0;
        let times = (at - half, at + half);
        let node = |node: u16| if fails_over && at > 4000.0 { 5 - node } else { node };
        let of_key = &mut there[key];
        match step.does {
            Does::Write { .. } => of_key.push(value),
            Does::Read { node: by, behind } => {
                let value = of_key.iter().rev().nth(behind).copied().unwrap_or(0);
                story = story.by_client(step.client + 3).read_from(node(by), keys[key], value, times);
            }
            Does::Wrong { node: by, value } => {
                story = story.by_client(step.client + 3).read_from(node(by), keys[key], value.unwrap_or(0), times);
            }
            Does::Forget { count } => of_key.truncate(of_key.len().saturating_sub(count)),
        }
    }
    for (key, of_key) in there.iter().enumerate().filter(|(key, _)| written[*key] > 0) {
        let last = of_key.last().map_or(Missing, |&value| Number(value));
        let held: FinalValue = match ends[key] {
            None => last,
            Some(0) => Missing,
            Some(1) => Foreign("x".to_owned()),
            Some(2) => Unreadable("refused".to_owned()),
            Some(_) => Number(written[key].div_ceil(2)),
        };
        story = story.holds(keys[key], held);
    }
    story.ends(12_000.0)
}

#[test]
fn a_report_is_the_same_without_the_shortcut() {
    let (in_order, others, with_losses, lossy_in_order) = (Cell::new(0), Cell::new(0), Cell::new(0), Cell::new(0));
    let config = ProptestConfig {
        cases: 1000,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_129),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let outcome = proptest::test_runner::TestRunner::new(config).run(&histories(), |history| {
        let facts = Facts::new(&history);
        let orderly = facts.registers.iter().filter(|(_, register)| register.is_in_order()).count();
        let long = Facts::of(&history, OpIndex::new(&history), Registers::new(&history).without_shortcut());
        prop_assert!(long.registers.iter().all(|(_, register)| !register.is_in_order()));
        let (short, long) = (Report::new(&facts, check(&facts)), Report::new(&long, check(&long)));
        prop_assert_eq!(&short.invariants, &long.invariants);
        prop_assert_eq!(&short.ledger, &long.ledger);
        prop_assert!(short == long);
        in_order.set(in_order.get() + orderly);
        others.set(others.get() + facts.registers.iter().count() - orderly);
        with_losses.set(with_losses.get() + usize::from(short.ledger.lost_in_all() > 0));
        lossy_in_order.set(lossy_in_order.get() + usize::from(short.ledger.lost_in_all() > 0 && orderly > 0));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let counts = (in_order.get(), others.get(), with_losses.get(), lossy_in_order.get());
    assert!(counts.0 > 1000 && counts.1 > 500 && counts.2 > 200 && counts.3 > 100, "{counts:?}");
}
