//! Shrinking: the smallest schedule that still fails in the same way, where failing is a matter of luck.
//!
//! Each candidate is run until a sequential probability ratio test (Wald 1945) tells whether it fails about as often as the
//! schedule that was found, or hardly ever. It ends always: each accepted candidate is smaller, no candidate is
//! decided twice, and a test that cannot decide is cut off and refuses.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Move, Profile, Schedule};
use crate::plan::Plan;
use crate::suite::WorkloadSpec;
use crate::target::{Owner, Target};
use crate::units::{Rate, ShardNo, Span};

/// A sequential test between two failure rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sprt {
    /// The rate of a candidate that is refused.
    pub low: f64,
    /// The rate of a candidate that is accepted.
    pub high: f64,
    /// The probability to accept a candidate with the low rate.
    pub false_accept: f64,
    /// The probability to refuse one with the high rate.
    pub false_refuse: f64,
    /// The most runs: then it is refused.
    pub most: u32,
    ratio: f64,
    runs: u32,
}

impl Sprt {
    /// The test for a schedule that failed at that rate: a candidate is accepted if it fails at least two thirds as often,
    /// and refused if a tenth as often. Both errors have a probability of 5 %.
    pub fn of(rate: super::Rate) -> Self {
        let high = (rate.share() * 2.0 / 3.0).clamp(0.05, 0.9);
        Self {
            low: high * 0.15,
            high,
            false_accept: 0.05,
            false_refuse: 0.05,
            most: (12.0 / high) as u32,
            ratio: 0.0,
            runs: 0,
        }
    }

    /// Takes in a run. Returns whether to accept, once that is decided.
    pub fn observe(&mut self, failed: bool) -> Option<bool> {
        self.runs += 1;
        self.ratio += if failed { (self.high / self.low).ln() } else { ((1.0 - self.high) / (1.0 - self.low)).ln() };
        if self.ratio >= ((1.0 - self.false_refuse) / self.false_accept).ln() {
            Some(true)
        } else if self.ratio <= (self.false_refuse / (1.0 - self.false_accept)).ln() || self.runs >= self.most {
            Some(false)
        } else {
            None
        }
    }
}

/// The shrinking of a schedule: says what to run next, and takes in whether it failed in the same way.
#[derive(Debug)]
pub struct Shrinker<'a> {
    best: Schedule,
    profile: &'a Profile,
    test: Sprt,
    tried: BTreeSet<String>,
    pending: Vec<(Schedule, Sprt)>,
    runs_left: u32,
    runs: u32,
}

impl<'a> Shrinker<'a> {
    /// Shrinks a schedule that failed at that rate, within the limits of a profile and so many runs.
    pub fn new(found: Schedule, rate: super::Rate, profile: &'a Profile, most_runs: u32) -> Self {
        let tried = BTreeSet::from([key(&found)]);
        Self { best: found, profile, test: Sprt::of(rate), tried, pending: Vec::new(), runs_left: most_runs, runs: 0 }
    }

    /// The schedules to run next, side by side: at most so many, those first that take away most. None when nothing smaller is
    /// left to try, or no runs.
    pub fn candidates(&mut self, most: usize) -> Vec<Schedule> {
        let most = most.min(self.runs_left as usize);
        if self.pending.len() < most {
            for candidate in candidates(&self.best) {
                let fits =
                    candidate.size() < self.best.size() && self.profile.admits(&candidate) && is_possible(&candidate);
                if self.pending.len() < most && fits && self.tried.insert(key(&candidate)) {
                    self.pending.push((candidate, self.test));
                }
            }
        }
        self.pending.iter().take(most).map(|(candidate, _)| candidate.clone()).collect()
    }

    /// Takes in one run of each of [`Self::candidates`], in their order: whether it failed in the same way; None if it was
    /// inconclusive. Returns whether one was accepted. Of several, the first is, and the others are forgotten: they are smaller
    /// than the former best schedule, and not than the new one.
    pub fn observe(&mut self, failed: &[Option<bool>]) -> bool {
        self.runs_left = self.runs_left.saturating_sub(failed.len() as u32);
        self.runs += failed.len() as u32;
        let mut accepted = None;
        let mut left = Vec::new();
        for (index, (candidate, mut test)) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            match failed.get(index).copied().flatten().and_then(|failed| test.observe(failed)) {
                Some(true) if accepted.is_none() => accepted = Some(candidate),
                Some(_) => {}
                None => left.push((candidate, test)),
            }
        }
        let Some(accepted) = accepted else {
            self.pending = left;
            return false;
        };
        self.best = accepted;
        // The tests of the others are not over.
        for (candidate, _) in left {
            self.tried.remove(&key(&candidate));
        }
        true
    }

    /// The smallest schedule that was accepted so far.
    pub fn best(&self) -> &Schedule {
        &self.best
    }

    /// How many runs were taken in.
    pub fn runs(&self) -> u32 {
        self.runs
    }
}

/// What makes two candidates the same.
fn key(schedule: &Schedule) -> String {
    format!("{schedule:?}")
}

fn is_possible(schedule: &Schedule) -> bool {
    let (suite, _) = super::suite(schedule, "candidate", &[]);
    Plan::new(&suite, 0).is_ok()
}

/// Smaller schedules, those first that take away most.
fn candidates(from: &Schedule) -> Vec<Schedule> {
    let mut found = Vec::new();
    let count = from.moves.len();
    // A chunk of moves, each with what undoes it, from the half down to one.
    let mut chunk = count / 2;
    while chunk > 0 {
        for begin in (0..count).step_by(chunk) {
            let mut fewer = from.clone();
            fewer.moves.drain(begin..(begin + chunk).min(count));
            found.push(fewer);
        }
        chunk /= 2;
    }
    let mut change = |edit: &dyn Fn(&mut Schedule)| {
        let mut changed = from.clone();
        edit(&mut changed);
        found.push(changed);
    };
    if from.masters > 3 {
        change(&|changed| with_masters(changed, 3));
        change(&|changed| with_masters(changed, from.masters - 1));
    }
    if from.replicas > 0 {
        change(&|changed| changed.replicas = 1.min(from.replicas));
        change(&|changed| changed.replicas -= 1);
    }
    change(&|changed| changed.config.clear());
    for name in from.config.keys() {
        change(&|changed| _ = changed.config.remove(name));
    }
    change(&|changed| changed.workload.kinds = None);
    change(&|changed| changed.workload.retries = 0);
    change(&|changed| changed.workload.timeout = WorkloadSpec::default().timeout);
    for index in 0..count {
        change(&|changed| changed.moves[index].on = None);
        change(&|changed| {
            if let (Some(_), Some((lasts, _))) = (changed.moves[index].until.take(), &mut changed.moves[index].undo) {
                // About as long as detection and an election take.
                *lasts = Span(from.node_timeout() * 8 / 5);
            }
        });
    }
    change(&|changed| changed.workload.rate = Rate { per_second: (from.workload.rate.per_second / 2).max(100) });
    change(&|changed| changed.workload.clients = (from.workload.clients / 2).max(2));
    change(&|changed| changed.rest = Span::default());
    change(&|changed| closer(changed));
    for index in 0..count {
        change(&|changed| {
            if let Some((lasts, _)) = &mut changed.moves[index].undo {
                // Whole tenths of a second, so that it ends.
                *lasts = Span(Duration::from_millis(lasts.0.as_millis() as u64 / 200 * 100));
            }
        });
    }
    found
}

/// Moves everything to the beginning, and halves the time between moves.
fn closer(schedule: &mut Schedule) {
    let first = schedule.moves.iter().map(|each| each.at.0).min().unwrap_or_default();
    for each in &mut schedule.moves {
        each.at = Span(Duration::from_millis(each.at.0.saturating_sub(first).as_millis() as u64 / 200 * 100));
    }
}

/// Fewer masters: the shards that moves name become the first ones, in their order.
fn with_masters(schedule: &mut Schedule, masters: u16) {
    schedule.masters = masters;
    let named: BTreeSet<ShardNo> = schedule.moves.iter().flat_map(Move::shards).collect();
    let position = |shard: ShardNo| named.iter().position(|each| *each == shard).unwrap_or(0);
    for each in &mut schedule.moves {
        for target in each.targets_mut() {
            if let Target::Member(Owner::Shard(shard), _) = target {
                *shard = ShardNo::from_index(position(*shard) % usize::from(masters));
            }
        }
    }
}
