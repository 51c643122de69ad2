//! The search against the plain one, against the zones, and by what it says of itself.

use std::cell::Cell;
use std::collections::HashSet;

use proptest::prelude::*;
use slotquake_judge::consistency::{
    Budget, Call, Effect, Found, Kind, Model, NIL, Operation, Register, linearizable, search,
};

use crate::random::{histories, long_histories, runner};
use crate::{oracle, read, write};

/// One value, first [`NIL`].
struct OneValue;

impl Model for OneValue {
    type State = u32;
    type Op = Operation;

    fn initial(&self) -> u32 {
        NIL
    }

    fn step(&self, state: &u32, op: &Operation) -> Option<u32> {
        match op.kind {
            Kind::Read => (op.value == *state).then_some(*state),
            Kind::Write(_) => Some(op.value),
        }
    }

    fn is_read(&self, op: &Operation) -> bool {
        op.kind == Kind::Read
    }
}

/// The same, of which the search knows nothing but the steps.
struct Opaque;

impl Model for Opaque {
    type State = u32;
    type Op = Operation;

    fn initial(&self) -> u32 {
        NIL
    }

    fn step(&self, state: &u32, op: &Operation) -> Option<u32> {
        OneValue.step(state, op)
    }
}

/// A set of numbers up to 31 that only grows: a read returns some of its bits, and cannot come where the set has others.
struct Growing;

impl Model for Growing {
    type State = u32;
    type Op = Operation;

    fn initial(&self) -> u32 {
        0
    }

    fn step(&self, state: &u32, op: &Operation) -> Option<u32> {
        match op.kind {
            Kind::Read => (op.value == *state).then_some(*state),
            Kind::Write(_) => Some(state | 1 << (op.value % 32)),
        }
    }

    fn is_read(&self, op: &Operation) -> bool {
        op.kind == Kind::Read
    }

    fn may_come(&self, state: &u32, read: &Operation) -> bool {
        state & !read.value == 0
    }
}

/// [`Growing`], of which the search knows nothing but the steps.
struct OpaqueGrowing;

impl Model for OpaqueGrowing {
    type State = u32;
    type Op = Operation;

    fn initial(&self) -> u32 {
        0
    }

    fn step(&self, state: &u32, op: &Operation) -> Option<u32> {
        Growing.step(state, op)
    }
}

/// The operations that took effect or may have.
fn calls(ops: &[Operation]) -> Vec<Call<Operation>> {
    let calls = ops.iter().filter_map(|op| {
        let complete_ns = match op.kind {
            Kind::Read | Kind::Write(Effect::Certain) => Some(op.complete_ns),
            Kind::Write(Effect::Possible) => None,
            Kind::Write(Effect::Impossible) => return None,
        };
        Some(Call { invoke_ns: op.invoke_ns, complete_ns, op: *op })
    });
    calls.collect()
}

/// Whether an order keeps the order of time and explains every answer, and lacks no operation but those of unknown
/// outcome and those that were sent after all others had answered.
fn is_explained(calls: &[Call<Operation>], order: &[usize]) -> bool {
    let mut state = Some(NIL);
    for (position, &number) in order.iter().enumerate() {
        let is_late = |later: &usize| calls[*later].complete_ns.is_some_and(|ns| ns < calls[number].invoke_ns);
        if order[position..].iter().any(is_late) {
            return false;
        }
        state = state.and_then(|state| OneValue.step(&state, &calls[number].op));
    }
    state.is_some()
}

#[test]
fn it_agrees_with_the_plain_search_where_values_repeat() {
    let (held, violated) = (Cell::new(0), Cell::new(0));
    let outcome = runner(6_000).run(&(histories(), 1..8_u32), |(mut ops, values)| {
        for op in ops.iter_mut().filter(|op| op.value != NIL) {
            op.value = op.value % values + 1;
        }
        let calls = calls(&ops);
        let found = search(&OneValue, &calls, Budget::default());
        let expected = oracle::is_linearizable(&ops);
        let (counter, order) = match &found {
            Found::Linearizable(order) => (&held, order),
            Found::Violated { longest, stuck } => {
                prop_assert!(!longest.contains(stuck) && calls[*stuck].complete_ns.is_some());
                (&violated, longest)
            }
            Found::Undecided => return Err(TestCaseError::fail("it gave up")),
        };
        prop_assert_eq!(matches!(found, Found::Linearizable(_)), expected, "{:?}", found);
        let opaque = search(&Opaque, &calls, Budget::default());
        prop_assert_eq!(matches!(opaque, Found::Linearizable(_)), expected, "{:?}", opaque);
        prop_assert!(is_explained(&calls, order), "{:?}", found);
        let has_all = (0..calls.len()).all(|each| calls[each].complete_ns.is_none() || order.contains(&each));
        prop_assert_eq!(has_all, expected);
        counter.set(counter.get() + 1);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(held.get() > 1000 && violated.get() > 1000, "{} held, {} violated", held.get(), violated.get());
}

#[test]
fn what_a_read_tells_beforehand_changes_no_verdict() {
    let (held, violated) = (Cell::new(0), Cell::new(0));
    let outcome = runner(6_000).run(&(histories(), 2..6_u32), |(mut ops, values)| {
        // A read returns the numbers below its value, and in some cases one more.
        for op in &mut ops {
            op.value = match op.kind {
                Kind::Read => (1 << (op.value % (values + 1))) - 1,
                Kind::Write(_) => op.value % values,
            };
        }
        let calls = calls(&ops);
        let found = search(&Growing, &calls, Budget::default());
        let expected = plainly_explained(&OpaqueGrowing, &calls);
        prop_assert_eq!(matches!(found, Found::Linearizable(_)), expected, "{:?}", found);
        if let Found::Violated { longest, stuck } = &found {
            prop_assert!(!longest.contains(stuck) && calls[*stuck].complete_ns.is_some());
        }
        let counter = if expected { &held } else { &violated };
        counter.set(counter.get() + 1);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(held.get() > 500 && violated.get() > 500, "{} held, {} violated", held.get(), violated.get());
}

/// Tries every order, without any rule but that nothing is tried twice.
fn plainly_explained<M: Model>(model: &M, calls: &[Call<M::Op>]) -> bool {
    fn goes_on<M: Model>(
        model: &M,
        calls: &[Call<M::Op>],
        (placed, state): (u32, &M::State),
        tried: &mut HashSet<(u32, M::State)>,
    ) -> bool {
        let left: Vec<usize> = (0..calls.len()).filter(|number| placed & 1 << number == 0).collect();
        if left.iter().all(|&number| calls[number].complete_ns.is_none()) {
            return true;
        }
        if !tried.insert((placed, state.clone())) {
            return false;
        }
        let first_ns = left.iter().filter_map(|&number| calls[number].complete_ns).min().unwrap_or(u64::MAX);
        left.iter().filter(|&&number| calls[number].invoke_ns <= first_ns).any(|&number| {
            let after = model.step(state, &calls[number].op);
            after.is_some_and(|after| goes_on(model, calls, (placed | 1 << number, &after), tried))
        })
    }
    goes_on(model, calls, (0, &model.initial()), &mut HashSet::new())
}

#[test]
fn it_agrees_with_the_zones_on_long_histories() {
    let (held, violated, undecided) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let outcome = runner(300).run(&long_histories(), |ops| {
        let expected = linearizable(&Register::new(ops.clone()), |_| true).violations == 0;
        let counter = match search(&OneValue, &calls(&ops), Budget { steps: 200_000, ..Budget::default() }) {
            Found::Undecided => &undecided,
            found => {
                prop_assert_eq!(matches!(found, Found::Linearizable(_)), expected);
                if expected { &held } else { &violated }
            }
        };
        counter.set(counter.get() + 1);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let counts = (held.get(), violated.get(), undecided.get());
    assert!(counts.0 > 50 && counts.1 > 50 && counts.2 < 60, "held, violated, undecided: {counts:?}");
}

#[test]
fn it_gives_up_by_steps_and_by_memory() {
    // Any order of these writes explains them, and none explains the read.
    let mut ops: Vec<Operation> = (1..=10).map(|value| write(1, value, (0, 10), Effect::Certain)).collect();
    ops.push(read(2, 99, (20, 30)));
    let calls = calls(&ops);
    for budget in [Budget { steps: 1000, ..Budget::default() }, Budget { bytes: 10_000, ..Budget::default() }] {
        assert_eq!(search(&OneValue, &calls, budget), Found::Undecided);
    }
    let found = search(&OneValue, &calls, Budget::default());
    assert!(matches!(&found, Found::Violated { longest, stuck: 10 } if longest.len() == 10), "{found:?}");
}

#[test]
fn what_nobody_answered_may_come_late_or_never() {
    let unknown = write(1, 7, (0, 5), Effect::Possible);
    let check = |ops: &[Operation], expected: Option<&[usize]>| {
        let found = search(&OneValue, &calls(ops), Budget::default());
        match expected {
            Some(order) => assert_eq!(found, Found::Linearizable(order.to_vec())),
            None => assert!(matches!(found, Found::Violated { .. }), "{found:?}"),
        }
    };
    check(&[], Some(&[]));
    check(&[unknown], Some(&[]));
    check(&[unknown, read(2, NIL, (10, 20))], Some(&[1]));
    check(&[unknown, read(2, NIL, (10, 20)), read(2, 7, (30, 40))], Some(&[1, 0, 2]));
    check(&[unknown, read(2, 7, (10, 20)), read(2, NIL, (30, 40))], None);
}
