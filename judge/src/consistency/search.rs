//! Linearizability of anything that has a sequential model, by search: for kinds of data that no near-linear algorithm
//! judges.
//!
//! Wing and Gong, "Testing and Verifying Concurrent Objects", Journal of Parallel and Distributed Computing 17, 1993: try
//! each operation that may come next, and go back where a response would come before its effect. Lowe, "Testing for
//! linearizability", Concurrency and Computation 29(4), 2017: never try the same operations with the same state twice.
//! Linearizability is local, so the operations of each key are searched on their own.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// What an object does when its operations come one after another.
pub trait Model {
    /// The state of the object. Equal states must behave equally from then on.
    type State: Clone + Eq + Hash;
    /// An operation with what is known of its answer.
    type Op;

    /// The state before all operations.
    fn initial(&self) -> Self::State;

    /// The state after an operation; None if it cannot have had its answer in this state.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// Whether an operation only looks: it changes no state in which it can have had its answer.
    fn is_read(&self, _op: &Self::Op) -> bool {
        false
    }

    /// Whether a read can have its answer in this state or in one that comes after it. It may be `true` where it cannot, but
    /// not `false` where it can.
    fn may_come(&self, _state: &Self::State, _read: &Self::Op) -> bool {
        true
    }

    /// The memory of a state, in bytes. Override it for states that own memory elsewhere.
    fn bytes(&self, _state: &Self::State) -> usize {
        size_of::<Self::State>()
    }
}

/// An operation in time. Operations that share an instant are concurrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<O> {
    /// When it was sent, in nanoseconds from the start of the run.
    pub invoke_ns: u64,
    /// When its answer was there, in nanoseconds from the start of the run; None if its outcome is unknown: it may take
    /// effect at any time after it was sent, or never.
    pub complete_ns: Option<u64>,
    /// The operation.
    pub op: O,
}

/// What a search may spend before it gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The calls of [`Model::step`].
    pub steps: u64,
    /// The memory of the states that were tried, in bytes, about.
    pub bytes: usize,
}

impl Default for Budget {
    /// Some ten seconds, and half a gigabyte.
    fn default() -> Self {
        Self { steps: 50_000_000, bytes: 512 << 20 }
    }
}

/// What a search found. Operations are positions in what was searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Some order explains every answer: this one. Operations of unknown outcome that it lacks need not have taken effect.
    Linearizable(Vec<usize>),
    /// No order does.
    Violated {
        /// The longest order that was found to explain its answers.
        longest: Vec<usize>,
        /// An operation that no order reaches which goes on like that: a read that can no longer have its answer, or the one
        /// with the earliest answer.
        stuck: usize,
    },
    /// The budget ended the search.
    Undecided,
}

/// What is not tried again: the operations that took effect, and the state after them.
type Tried<S> = HashSet<(Box<[u64]>, S), BuildHasherDefault<Mixer>>;

/// What the search looks for among the operations that may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A read that fits the state.
    Read,
    /// Another operation with an answer.
    Certain,
    /// An operation without an answer.
    Possible,
}

/// An operation in the order that is being tried.
struct Placed<S> {
    call: usize,
    as_next: Next,
    /// The state before it.
    before: S,
}

/// Whether some order of the operations keeps the order of time and explains every answer.
///
/// Four rules keep the search from trying what cannot help. Call what has been placed and the state after it a
/// *configuration*; it is *feasible* if the rest can be placed after it.
/// 1. *A read that fits is placed at once, and nothing else is tried instead.* It may come next, since nothing that is left
///    had ended before it was sent. If the configuration is feasible, take the read out of such an order and put it first:
///    the state is the same before and after it, here and there, so every other operation finds what it found before.
/// 2. *A read without an answer is left out.* It changes nothing and explains nothing.
/// 3. *After an operation without an answer comes only one whose effect differs because of it.* If the next one leads to the
///    same state without it, the order without it explains as much.
/// 4. *A state that a read can no longer follow is left* ([`Model::may_come`]). The read has to be placed after it.
///
/// Together with what is not tried twice: say that nothing was found, though there is an order. Then take the feasible
/// configuration among those that were tried which needs the fewest operations without an answer (those in it, and those
/// in the best order of the rest); of several, one with the most operations. Let `y` be the next operation of that
/// order, or the read of rule 1. If `y` was tried, the configuration with it was tried, then or before, is feasible,
/// needs no more and has one operation more. If rule 3 left it out, the configuration before the last operation was
/// tried, is feasible and needs one less. Rule 4 leaves out nothing that is feasible. Each contradicts the choice.
pub fn search<M: Model>(model: &M, calls: &[Call<M::Op>], budget: Budget) -> Found {
    let mut timeline = Timeline::new(model, calls);
    let mut done = Done::new(calls);
    let mut tried: Tried<M::State> = HashSet::default();
    let mut bytes = 0_usize;
    let mut steps = 0;
    let mut state = model.initial();
    let mut order: Vec<Placed<M::State>> = Vec::new();
    let mut longest: Option<(Vec<usize>, usize)> = None;
    // How much of the longest order is still the beginning of this one.
    let mut in_common = 0;
    let mut missing = calls.iter().filter(|call| call.complete_ns.is_some()).count();
    let kind = |call: usize| match calls[call].complete_ns {
        Some(_) if model.is_read(&calls[call].op) => Next::Read,
        Some(_) => Next::Certain,
        None => Next::Possible,
    };
    let mut at = timeline.first();
    let mut looks_for = Next::Read;
    // The read for whose sake a state was left that would come next.
    let mut refused_by = None;
    while missing > 0 {
        match (timeline.moment(at), looks_for) {
            (Some(Moment::Invoke(call)), _) if kind(call) != looks_for => at = timeline.next(at),
            (Some(Moment::Invoke(call)), _) => {
                if steps == budget.steps {
                    return Found::Undecided;
                }
                steps += 1;
                let mut after = model.step(&state, &calls[call].op);
                if looks_for != Next::Read
                    && let Some(to) = &after
                {
                    // Rule 3.
                    let is_idle = match order.last() {
                        Some(last) if last.as_next == Next::Possible => {
                            model.step(&last.before, &calls[call].op).as_ref() == Some(to)
                        }
                        _ => false,
                    };
                    let read = timeline.first_read().filter(|&read| !model.may_come(to, &calls[read].op));
                    refused_by = read.or(refused_by);
                    if is_idle || read.is_some() || (looks_for == Next::Possible && *to == state) {
                        after = None;
                    }
                }
                if let Some(to) = &after
                    && looks_for != Next::Read
                {
                    done.add(call);
                    let set = done.key();
                    let cost = size_of_val(&*set) + model.bytes(to) + 2 * size_of::<usize>();
                    if tried.insert((set, to.clone())) {
                        bytes += cost;
                    } else {
                        done.remove(call);
                        after = None;
                    }
                } else if after.is_some() {
                    done.add(call);
                }
                if bytes > budget.bytes {
                    return Found::Undecided;
                }
                let Some(to) = after else {
                    at = timeline.next(at);
                    continue;
                };
                order.push(Placed { call, as_next: looks_for, before: std::mem::replace(&mut state, to) });
                missing -= usize::from(looks_for != Next::Possible);
                let before = timeline.before(at);
                timeline.lift(call);
                refused_by = None;
                // After a read the state is the same, so those before it still do not fit.
                at = if looks_for == Next::Read { timeline.next(before) } else { timeline.first() };
                looks_for = Next::Read;
            }
            (_, Next::Read) => (at, looks_for) = (timeline.first(), Next::Certain),
            (_, Next::Certain) => (at, looks_for) = (timeline.first(), Next::Possible),
            (moment, Next::Possible) => {
                let is_longer = longest.as_ref().is_none_or(|(longest, _)| longest.len() < order.len());
                if let Some(Moment::Complete(first)) = moment
                    && is_longer
                {
                    let (mut calls, _) = longest.take().unwrap_or_default();
                    calls.truncate(in_common);
                    calls.extend(order[in_common..].iter().map(|placed| placed.call));
                    in_common = calls.len();
                    longest = Some((calls, refused_by.unwrap_or(first)));
                }
                // Rule 1: nothing is tried instead of a read.
                let undone = loop {
                    let Some(placed) = order.pop() else { break None };
                    state = placed.before;
                    missing += usize::from(placed.as_next != Next::Possible);
                    done.remove(placed.call);
                    timeline.unlift(placed.call);
                    if placed.as_next != Next::Read {
                        break Some((placed.call, placed.as_next));
                    }
                };
                let Some((call, as_next)) = undone else { break };
                in_common = in_common.min(order.len());
                refused_by = None;
                looks_for = as_next;
                at = timeline.next(timeline.invoke(call));
            }
        }
    }
    match longest {
        _ if missing == 0 => Found::Linearizable(order.into_iter().map(|placed| placed.call).collect()),
        Some((longest, stuck)) => Found::Violated { longest, stuck },
        // Something is missing, so the search has met the response that it could not pass.
        None => unreachable!("a search ends at a response"),
    }
}

/// What happens at a place of the timeline.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Invoke(usize),
    Complete(usize),
}

/// The invocations and responses of the operations that are not in the order yet: a linked list of places, in order of
/// time, around a place before the first.
struct Timeline {
    moments: Vec<Moment>,
    next: Vec<u32>,
    before: Vec<u32>,
    /// By operation: the places of its invocation and its response.
    places: Vec<(u32, Option<u32>)>,
    /// The reads with an answer, in the order of their answers, each with whether it was taken out.
    reads: Vec<(usize, bool)>,
    /// By operation: its position among the reads, if it is one.
    read_at: Vec<u32>,
    /// All reads before this one were taken out.
    first_read: usize,
}

/// The place before the first moment and after the last.
const ENDS: u32 = 0;

impl Timeline {
    fn new<M: Model>(model: &M, calls: &[Call<M::Op>]) -> Self {
        let mut moments: Vec<(u64, bool, Moment)> = Vec::with_capacity(2 * calls.len());
        // Rule 2.
        let says_nothing = |call: &Call<M::Op>| call.complete_ns.is_none() && model.is_read(&call.op);
        for (number, call) in calls.iter().enumerate().filter(|(_, call)| !says_nothing(call)) {
            moments.push((call.invoke_ns, false, Moment::Invoke(number)));
            // An answer at the instant of an invocation comes after it.
            moments.extend(call.complete_ns.map(|at_ns| (at_ns, true, Moment::Complete(number))));
        }
        moments.sort_by_key(|&(at_ns, is_complete, _)| (at_ns, is_complete));
        let mut places = vec![(ENDS, None); calls.len()];
        for (place, (_, _, moment)) in (1..).zip(&moments) {
            match *moment {
                Moment::Invoke(call) => places[call].0 = place,
                Moment::Complete(call) => places[call].1 = Some(place),
            }
        }
        let mut read_at = vec![u32::MAX; calls.len()];
        let mut reads = Vec::new();
        for &(.., moment) in &moments {
            if let Moment::Complete(call) = moment
                && model.is_read(&calls[call].op)
            {
                read_at[call] = reads.len() as u32;
                reads.push((call, false));
            }
        }
        let all = moments.len() as u32 + 1;
        Self {
            moments: moments.into_iter().map(|(_, _, moment)| moment).collect(),
            next: (1..all).chain([ENDS]).collect(),
            before: [all - 1].into_iter().chain(0..all - 1).collect(),
            places,
            reads,
            read_at,
            first_read: 0,
        }
    }

    /// The read that was not taken out and has the earliest answer.
    fn first_read(&self) -> Option<usize> {
        self.reads.get(self.first_read).map(|&(call, _)| call)
    }

    fn first(&self) -> u32 {
        self.next[ENDS as usize]
    }

    fn next(&self, place: u32) -> u32 {
        self.next[place as usize]
    }

    fn before(&self, place: u32) -> u32 {
        self.before[place as usize]
    }

    fn invoke(&self, call: usize) -> u32 {
        self.places[call].0
    }

    /// What is at a place; None at the end.
    fn moment(&self, place: u32) -> Option<Moment> {
        (place as usize).checked_sub(1).map(|index| self.moments[index])
    }

    /// Takes an operation out.
    fn lift(&mut self, call: usize) {
        let (invoke, complete) = self.places[call];
        for place in [Some(invoke), complete].into_iter().flatten() {
            let (before, next) = (self.before[place as usize], self.next[place as usize]);
            self.next[before as usize] = next;
            self.before[next as usize] = before;
        }
        if let Some(read) = self.reads.get_mut(self.read_at[call] as usize) {
            read.1 = true;
            while self.reads.get(self.first_read).is_some_and(|&(_, is_out)| is_out) {
                self.first_read += 1;
            }
        }
    }

    /// Puts back the operation that was taken out last.
    fn unlift(&mut self, call: usize) {
        let (invoke, complete) = self.places[call];
        for place in [complete, Some(invoke)].into_iter().flatten() {
            let (before, next) = (self.before[place as usize], self.next[place as usize]);
            self.next[before as usize] = place;
            self.before[next as usize] = place;
        }
        if let Some(read) = self.reads.get_mut(self.read_at[call] as usize) {
            read.1 = false;
            self.first_read = self.first_read.min(self.read_at[call] as usize);
        }
    }
}

/// The operations that are in the order. Those with an answer are numbered by their invocation, so that all but the last
/// few are there or not there as one, and the set takes a few words however long the history is.
struct Done {
    /// The bit of each operation: in `certain`, or in `possible`.
    bits: Vec<(bool, u32)>,
    certain: Vec<u64>,
    possible: Vec<u64>,
    /// All words of `certain` before this one are full.
    full: usize,
    /// All words of `certain` from this one on are empty.
    end: usize,
}

impl Done {
    fn new<O>(calls: &[Call<O>]) -> Self {
        let mut by_invocation: Vec<usize> = (0..calls.len()).collect();
        by_invocation.sort_by_key(|&number| calls[number].invoke_ns);
        let mut bits = vec![(false, 0); calls.len()];
        let (mut certain, mut possible) = (0, 0);
        for number in by_invocation {
            let is_certain = calls[number].complete_ns.is_some();
            let next = if is_certain { &mut certain } else { &mut possible };
            bits[number] = (is_certain, *next);
            *next += 1;
        }
        let words = |count: u32| vec![0; count.div_ceil(64) as usize];
        Self { bits, certain: words(certain), possible: words(possible), full: 0, end: 0 }
    }

    fn add(&mut self, call: usize) {
        let (is_certain, bit) = self.bits[call];
        let (word, mask) = ((bit / 64) as usize, 1 << (bit % 64));
        if !is_certain {
            self.possible[word] |= mask;
            return;
        }
        self.certain[word] |= mask;
        self.end = self.end.max(word + 1);
        while self.certain.get(self.full) == Some(&u64::MAX) {
            self.full += 1;
        }
    }

    fn remove(&mut self, call: usize) {
        let (is_certain, bit) = self.bits[call];
        let (word, mask) = ((bit / 64) as usize, 1 << (bit % 64));
        if !is_certain {
            self.possible[word] &= !mask;
            return;
        }
        self.certain[word] &= !mask;
        self.full = self.full.min(word);
        while self.end > 0 && self.certain[self.end - 1] == 0 {
            self.end -= 1;
        }
    }

    /// The set in its shortest form: the full words as their number, the words up to the last that is not empty, and how
    /// many of them there are, so that what is possible cannot be taken for them.
    fn key(&self) -> Box<[u64]> {
        let certain = &self.certain[self.full.min(self.end)..self.end];
        let possible = self.possible.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
        let lengths = (self.full as u64) << 32 | certain.len() as u64;
        [&[lengths], certain, &self.possible[..possible]].concat().into()
    }
}

/// A hash for sets of small numbers: multiply and fold, as `FxHash` does.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes its place from the low bits and its tag from the high ones.
        self.0 ^ self.0.rotate_left(32)
    }
}
