//! A counter: whether every increment took effect, and only once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Effect, Kind, Operation};

/// What the increments and the observed numbers of one counter tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// The numbers that were compared.
    pub observations: u64,
    /// By how much the counter rose beyond what its increments can account for: some took effect more than once.
    pub repeated: u64,
    /// Acknowledged increments that took no effect, or whose effect is gone.
    pub lost: u64,
    /// Effects that are gone and may be those of increments of unknown outcome.
    pub undecided: u64,
    /// Acknowledged increments after the last number that was observed.
    pub unobserved: u64,
    /// The first rise that was too large.
    pub rose: Option<Jump>,
    /// The first rise that was too small, or fall.
    pub fell: Option<Jump>,
}

/// Two observed numbers that do not fit the increments between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jump {
    /// The earlier number; None for the 0 of before the first increment.
    pub before: Option<Operation>,
    /// The later number.
    pub after: Operation,
    /// How many increments can have taken effect in between if the rise is too large; how many acknowledged ones must have
    /// if it is too small.
    pub increments: u64,
    /// One of them, other than `before` and `after`.
    pub example: Option<Operation>,
}

/// An increment, by the stretches between observations in which it can have taken effect.
struct Increment {
    op: Operation,
    first: usize,
    last: usize,
}

/// Compares the numbers of a counter that starts at 0 with its increments.
///
/// `increments` are those that were sent. `observed` are the numbers that a master returned, to an increment or to a read,
/// and the one of the end: each contains every effect that the ones before it contain, unless an effect was lost.
///
/// Between two observations that do not overlap, the counter rises by the increments that take effect there. One that was
/// acknowledged does so between its invocation and its response, one of unknown outcome at any later time or never. So each
/// increment is assigned to one stretch of those in which it can have taken effect, the one that must take effect first
/// before the others. A rise without an increment is a repetition; an acknowledged increment without a rise is lost.
/// (Worked example: INCR returned 7, and the next INCR 9. If no other increment can have taken effect in between, one took
/// effect twice. If one of unknown outcome was sent before, it may have, and nothing is claimed. If the next then returns 11,
/// it has been used up, and one took effect twice.)
pub fn counted(increments: &[Operation], observed: &[Operation]) -> Counted {
    let chain = disjoint(observed);
    let mut waiting = placed(increments, &chain);
    let mut found = Counted { observations: chain.len() as u64, ..Counted::default() };
    let mut available: BinaryHeap<Reverse<(usize, usize)>> = BinaryHeap::new();
    let mut uncertain = 0;
    let mut next = 0;
    let mut value = 0;
    waiting.sort_by_key(|increment| (increment.first, increment.last));
    for (at, now) in chain.iter().enumerate() {
        while waiting.get(next).is_some_and(|increment| increment.first <= at) {
            uncertain += u64::from(!waiting[next].op.is_certain_write());
            available.push(Reverse((waiting[next].last, next)));
            next += 1;
        }
        let jump = |increments, is_counted: &dyn Fn(&Increment) -> bool| {
            let before = at.checked_sub(1).map(|before| chain[before]);
            let others = waiting.iter().filter(|each| each.op != *now && Some(each.op) != before);
            let example = others.filter(|each| is_counted(each)).map(|each| each.op).next();
            Jump { before, after: *now, increments, example }
        };
        let (rise, fall) = (u64::from(now.value).saturating_sub(value), value.saturating_sub(now.value.into()));
        value = now.value.into();
        let possible = available.len() as u64;
        (0..rise.min(possible)).for_each(|_| _ = available.pop());
        let mut excess = rise.saturating_sub(possible);
        // What one node has lost, another may still have.
        if at.checked_sub(1).is_some_and(|before| chain[before].node != now.node) {
            let returned = excess.min(found.lost);
            found.lost -= returned;
            excess -= returned;
        }
        if excess > 0 {
            found.repeated += excess;
            uncertain += excess;
            found.rose.get_or_insert_with(|| jump(possible, &|each| (each.first..=each.last).contains(&at)));
        }
        let mut missing = 0;
        while let Some(Reverse((last, _))) = available.peek()
            && *last <= at
        {
            available.pop();
            missing += 1;
        }
        let excused = fall.min(uncertain);
        uncertain -= excused;
        found.undecided += excused;
        found.lost += missing + fall - excused;
        if missing + fall > excused {
            found.fell.get_or_insert_with(|| jump(missing, &|each| each.last == at));
        }
    }
    found.unobserved = waiting[next..].iter().filter(|each| each.op.is_certain_write()).count() as u64
        + available.iter().filter(|Reverse((_, at))| waiting[*at].op.is_certain_write()).count() as u64;
    found
}

/// Observations that do not overlap, as many as there are.
fn disjoint(observed: &[Operation]) -> Vec<Operation> {
    let mut all = observed.to_vec();
    all.sort_by_key(|op| (op.complete_ns, op.invoke_ns));
    let mut chain: Vec<Operation> = Vec::new();
    for op in all {
        if chain.last().is_none_or(|last| last.complete_ns < op.invoke_ns) {
            chain.push(op);
        }
    }
    chain
}

/// The increments that may take effect, with the stretches in which they can: stretch `n` ends with observation `n`.
fn placed(increments: &[Operation], chain: &[Operation]) -> Vec<Increment> {
    let may_take_effect = |op: &&Operation| op.kind != Kind::Write(Effect::Impossible);
    let own = |op: &Operation| {
        let at = chain.binary_search_by_key(&op.complete_ns, |observed| observed.complete_ns).ok()?;
        (chain[at] == *op).then_some(at)
    };
    let place = |&op: &Operation| match own(&op) {
        Some(own) => Increment { op, first: own, last: own },
        None => Increment {
            op,
            first: chain.partition_point(|observed| observed.complete_ns < op.invoke_ns),
            last: if op.is_certain_write() {
                chain.partition_point(|observed| observed.invoke_ns <= op.complete_ns)
            } else {
                usize::MAX
            },
        },
    };
    increments.iter().filter(may_take_effect).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;
    use crate::units::{ClientNo, NodeNo};

    fn op(value: u32, (invoke_ns, complete_ns): (u64, u64), kind: Kind) -> Operation {
        Operation { invoke_ns, complete_ns, value, client: ClientNo(1), node: NodeNo(1), kind }
    }

    /// A counter on which increments and reads overlap at random. `twice` of the increments take effect a second time, `gone` of
    /// the acknowledged ones never do.
    fn random(seeded: &mut Seeded, twice: usize, gone: usize) -> Counted {
        // When something takes effect, and which operation it is of: (moment, position, is an increment).
        let (mut effects, mut ops) = (Vec::new(), Vec::new());
        for position in 0..40 {
            let invoke_ns = seeded.below(1000);
            let complete_ns = invoke_ns + 3 + seeded.below(60);
            let kind = match seeded.below(10) {
                0..4 => Kind::Read,
                4..8 => Kind::Write(Effect::Certain),
                _ => Kind::Write(Effect::Possible),
            };
            let is_late = kind == Kind::Write(Effect::Possible);
            let last_ns = if is_late { 1500 } else { complete_ns - 1 };
            let at_ns = invoke_ns + 1 + seeded.below(last_ns - invoke_ns - 1);
            if !is_late || seeded.below(2) == 0 {
                effects.push((at_ns, position));
            }
            ops.push(op(0, (invoke_ns, complete_ns), kind));
        }
        let certain =
            |ops: &[Operation]| -> Vec<usize> { (0..ops.len()).filter(|&at| ops[at].is_certain_write()).collect() };
        let acknowledged = certain(&ops);
        let (repeated, rest) = acknowledged.split_at(twice.min(acknowledged.len()));
        let lost = &rest[..gone.min(rest.len())];
        effects.extend(repeated.iter().map(|&at| (ops[at].complete_ns - 1, at)));
        effects.sort_unstable();
        let mut value = 0;
        for (_, position) in effects {
            match ops[position].kind {
                Kind::Read => {}
                // What is lost was counted where it was acknowledged.
                Kind::Write(_) if lost.contains(&position) => {}
                Kind::Write(_) => value += 1,
            }
            ops[position].value = value;
        }
        let increments: Vec<Operation> = ops.iter().filter(|op| op.kind != Kind::Read).copied().collect();
        let is_answered = |op: &&Operation| op.kind != Kind::Write(Effect::Possible);
        let mut observed: Vec<Operation> = ops.iter().filter(is_answered).copied().collect();
        // The answer to a lost increment is one of another node.
        observed.retain(|op| !lost.iter().any(|&at| ops[at] == *op));
        observed.push(op(value, (2000, 2000), Kind::Read));
        counted(&increments, &observed)
    }

    #[test]
    fn claims_nothing_that_did_not_happen() {
        let mut seeded = Seeded::new(1, "counter");
        let (mut repeated, mut lost) = (0, 0);
        for _ in 0..2000 {
            let found = random(&mut seeded, 0, 0);
            assert_eq!((found.repeated, found.lost, found.undecided), (0, 0, 0), "{found:?}");
            let found = random(&mut seeded, 2, 0);
            assert!(found.repeated <= 2 && found.lost == 0, "{found:?}");
            repeated += found.repeated;
            let found = random(&mut seeded, 0, 2);
            assert!(found.lost <= 2 && found.repeated == 0, "{found:?}");
            lost += found.lost;
        }
        assert!(repeated > 500 && lost > 500, "of 4000 each, {repeated} and {lost} are found");
    }
}
