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
    /// Some order explains every answer: this one. Operations of unknown outcome that it lacks never took effect.
    Linearizable(Vec<usize>),
    /// No order does.
    Violated {
        /// The longest order that explains its answers.
        longest: Vec<usize>,
        /// The operation with the earliest answer that no such order reaches.
        stuck: usize,
    },
    /// The budget ended the search.
    Undecided,
}

/// What is not tried again: the operations that took effect, and the state after them.
type Tried<S> = HashSet<(Box<[u64]>, S), BuildHasherDefault<Mixer>>;

/// Whether some order of the operations keeps the order of time and explains every answer.
pub fn search<M: Model>(model: &M, calls: &[Call<M::Op>], budget: Budget) -> Found {
    let mut timeline = Timeline::new(calls);
    let mut done = Done::new(calls);
    let mut tried: Tried<M::State> = HashSet::default();
    let mut bytes = 0_usize;
    let mut steps = 0;
    let mut state = model.initial();
    // The operations in the order that is being tried, each with the state before it.
    let mut order: Vec<(usize, M::State)> = Vec::new();
    let mut longest: Option<(Vec<usize>, usize)> = None;
    let mut missing = calls.iter().filter(|call| call.complete_ns.is_some()).count();
    let is_certain = |call: usize| calls[call].complete_ns.is_some();
    let mut at = timeline.first();
    // What nobody answered is tried only where nothing else explains the next answer: most of it explains none.
    let mut looks_for_certain = true;
    while missing > 0 {
        match timeline.moment(at) {
            Some(Moment::Invoke(call)) if is_certain(call) != looks_for_certain => at = timeline.next(at),
            Some(Moment::Invoke(call)) => {
                if steps == budget.steps {
                    return Found::Undecided;
                }
                steps += 1;
                let after = model.step(&state, &calls[call].op).filter(|after| {
                    done.add(call);
                    let set = done.key();
                    let cost = size_of_val(&*set) + model.bytes(after) + 2 * size_of::<usize>();
                    let is_new = tried.insert((set, after.clone()));
                    bytes += if is_new {
                        cost
                    } else {
                        done.remove(call);
                        0
                    };
                    is_new
                });
                if bytes > budget.bytes {
                    return Found::Undecided;
                }
                at = match after {
                    Some(after) => {
                        order.push((call, std::mem::replace(&mut state, after)));
                        missing -= usize::from(is_certain(call));
                        timeline.lift(call);
                        looks_for_certain = true;
                        timeline.first()
                    }
                    None => timeline.next(at),
                };
            }
            Some(Moment::Complete(_)) | None if looks_for_certain => {
                looks_for_certain = false;
                at = timeline.first();
            }
            moment @ (Some(Moment::Complete(_)) | None) => {
                if let Some(Moment::Complete(stuck)) = moment
                    && longest.as_ref().is_none_or(|(longest, _)| longest.len() < order.len())
                {
                    longest = Some((order.iter().map(|(call, _)| *call).collect(), stuck));
                }
                let Some((call, before)) = order.pop() else { break };
                state = before;
                missing += usize::from(is_certain(call));
                done.remove(call);
                timeline.unlift(call);
                looks_for_certain = is_certain(call);
                at = timeline.next(timeline.invoke(call));
            }
        }
    }
    match longest {
        _ if missing == 0 => Found::Linearizable(order.into_iter().map(|(call, _)| call).collect()),
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
}

/// The place before the first moment and after the last.
const ENDS: u32 = 0;

impl Timeline {
    fn new<O>(calls: &[Call<O>]) -> Self {
        let mut moments: Vec<(u64, bool, Moment)> = Vec::with_capacity(2 * calls.len());
        for (number, call) in calls.iter().enumerate() {
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
        let all = moments.len() as u32 + 1;
        Self {
            moments: moments.into_iter().map(|(_, _, moment)| moment).collect(),
            next: (1..all).chain([ENDS]).collect(),
            before: [all - 1].into_iter().chain(0..all - 1).collect(),
            places,
        }
    }

    fn first(&self) -> u32 {
        self.next[ENDS as usize]
    }

    fn next(&self, place: u32) -> u32 {
        self.next[place as usize]
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
    }

    /// Puts back the operation that was taken out last.
    fn unlift(&mut self, call: usize) {
        let (invoke, complete) = self.places[call];
        for place in [complete, Some(invoke)].into_iter().flatten() {
            let (before, next) = (self.before[place as usize], self.next[place as usize]);
            self.next[before as usize] = place;
            self.before[next as usize] = place;
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
