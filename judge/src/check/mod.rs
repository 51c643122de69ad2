//! Judging: pure functions of a history. A check starts nothing, reads no clock and does no I/O, so a stored history is
//! judged again with the same result.
//!
//! Each file judges one invariant. [`crate::suite`] lists the invariants of suites; those of every run (`faults`, `servers`,
//! `steps`, `recovery`, `workload`) are listed below. Each file states in [`Traits`] what reports need to know about it.

mod acked_writes;
mod agreement;
mod ask;
mod atomic;
mod availability;
mod convergence;
mod delivery;
mod epochs;
mod exactly_once;
mod expiry;
mod failover_time;
mod faults;
mod finding;
mod kinds;
mod latency;
mod linearizable;
mod monotonic_reads;
mod monotonic_writes;
mod not_promoted;
mod order;
mod promotions;
mod read_your_writes;
mod reads;
mod recovery;
mod redirects;
mod replica_lag;
mod replica_read_only;
mod replicas;
mod resolve;
mod role;
mod searched;
mod servers;
mod slot_coverage;
mod split_brain;
mod stale_reads;
mod steps;
mod woken;
mod workload;
mod write_cutoff;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::consistency::Witness;
use crate::facts::{Facts, in_parallel};
use crate::suite::{Invariant, for_each_invariant};

/// The verdict on an invariant, from the best to the worst. The worst of several wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The invariant was observed to hold.
    Pass,
    /// Too little was observed to say.
    Inconclusive,
    /// The invariant was observed not to hold.
    Fail,
}

impl Verdict {
    /// `pass`, `inconclusive` or `fail`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        }
    }
}

/// The judgement of one invariant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// The name of its [`Kind`]: `acked-writes`.
    pub invariant: String,
    /// Its settings in one line: `may-lose 0`.
    pub settings: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What the invariant demands, in words.
    pub expected: String,
    /// What was seen, in words.
    pub seen: String,
    /// The number of observations that the verdict rests on.
    pub observations: u64,
    /// Examples: which key, when it was acknowledged, by which node, what was read at the end.
    pub evidence: Vec<String>,
    /// Numbers for comparisons, by name with the unit last: `longest_outage_ms`.
    pub figures: BTreeMap<String, f64>,
    /// Some violations as operations, to draw them; at most [`Judgement::WITNESSES`]. Empty in reports of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<Witness>,
    /// How many more violations there are of which `witnesses` could show one each.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub witnesses_left: u64,
}

impl Judgement {
    /// How many violations a judgement keeps as operations.
    pub const WITNESSES: usize = 3;
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The kind of a figure, which decides how it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FigureKind {
    /// A time in milliseconds; a shorter one is better.
    Time,
    /// An amount of work; more is better.
    Amount,
    /// A number that should be 0. The worst run counts. More than 0 after 0 is worse; where it was more than 0 before, a
    /// rise is worse if it is statistically significant.
    Safety,
}

/// A figure of a judgement that comparisons of runs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Its name in [`Judgement::figures`], with the unit last.
    pub name: &'static str,
    /// How it is compared.
    pub kind: FigureKind,
}

/// What reports need to know about an invariant. The file of each check states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Whether reports show the evidence of a pass, too.
    pub is_telling: bool,
    /// The figures that comparisons use.
    pub figures: &'static [Figure],
}

impl Traits {
    /// The traits of most invariants.
    const PLAIN: Self = Self { is_telling: false, figures: &[] };
}

/// An invariant, of suites or of every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The name: `acked-writes`.
    pub name: &'static str,
    /// What it demands, in one sentence.
    pub about: &'static str,
    /// What reports need to know about it.
    pub traits: Traits,
}

macro_rules! dispatch {
    ($($(#[doc = $about:literal])+ $module:ident $name:literal $variant:ident($settings:ty),)+) => {
        fn judge(facts: &Facts<'_>, invariant: &Invariant) -> Judgement {
            match invariant {
                $(Invariant::$variant(settings) => $module::judge(facts, settings),)+
            }
        }

        /// The invariants that a suite can demand, in the order of [`crate::suite`].
        pub const INVARIANTS: &[Kind] =
            &[$(Kind { name: $name, about: concat!($($about),+).trim_ascii_start(), traits: $module::TRAITS }),+];
    };
}

for_each_invariant!(dispatch);

macro_rules! built_in {
    ($($module:ident $name:literal $about:literal,)+) => {
        /// The invariants of every run, in the order of their judgements.
        pub const BUILT_IN: &[Kind] = &[$(Kind { name: $name, about: $about, traits: $module::TRAITS }),+];

        fn judge_built_in(facts: &Facts<'_>) -> impl Iterator<Item = Judgement> {
            [$(Into::<Option<Judgement>>::into($module::judge(facts))),+].into_iter().flatten()
        }
    };
}

built_in! {
    faults "faults" "Every fault is proven in effect, and proven undone; absent from a run without faults.",
    servers "servers" "No server crashes, ends, restarts or changes its directives without the plan; absent from histories of earlier versions.",
    steps "steps" "Every step succeeds, including waits and expectations.",
    recovery "recovery" "The cluster recovers in time after all faults are undone.",
    workload "workload" "Operations are issued, and on time.",
}

/// The invariants of suites, then those of every run.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    INVARIANTS.iter().chain(BUILT_IN)
}

/// Judges every invariant of the history's plan in order, then those of every run ([`BUILT_IN`]).
pub fn check(facts: &Facts<'_>) -> Vec<Judgement> {
    let invariants = &facts.history.header.plan.invariants;
    let next = AtomicUsize::new(0);
    // Each takes the next one that nobody has begun.
    let some = || {
        let mine = std::iter::from_fn(|| {
            let position = next.fetch_add(1, Ordering::Relaxed);
            invariants.get(position).map(|invariant| (position, judge(facts, invariant)))
        });
        mine.collect::<Vec<_>>()
    };
    let (mut judgements, others) = in_parallel(some, some);
    judgements.extend(others);
    judgements.sort_by_key(|&(position, _)| position);
    judgements.into_iter().map(|(_, judgement)| judgement).chain(judge_built_in(facts)).collect()
}

/// The verdict of a whole run: the worst of its judgements; inconclusive if there are none.
pub fn overall(judgements: &[Judgement]) -> Verdict {
    judgements.iter().map(|judgement| judgement.verdict).max().unwrap_or(Verdict::Inconclusive)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_descriptions_one_line() {
        let names: BTreeSet<&str> = kinds().map(|kind| kind.name).collect();
        assert_eq!(names.len(), kinds().count());
        for kind in kinds() {
            assert!(kind.about.ends_with('.') && !kind.about.contains('\n'), "{}: {:?}", kind.name, kind.about);
            assert!(!kind.about.starts_with(' ') && !kind.about.contains("  "), "{}: {:?}", kind.name, kind.about);
        }
    }

    #[test]
    fn names_are_the_keys_of_suites() {
        for (line, expected) in [("redirects", "redirects"), ("replica-read-only", "replica-read-only")] {
            let invariant: Invariant = serde_json::from_value(serde_json::json!({ line: {} })).expect("an invariant");
            assert_eq!(invariant.name(), expected);
        }
    }
}
