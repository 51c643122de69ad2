//! Judging: pure functions of a history. No check knows that a cluster ever ran, reads a clock or
//! does I/O, so that a stored history is judged again with the same result.
//!
//! One kind of judgement per file. The registry of the suite's invariants stands in [`crate::suite`]; the harness's own
//! (`faults`, `steps`, `recovery`, `workload`) are listed below. Each says of itself what views need to know of it
//! ([`Traits`]).

mod acked_writes;
mod agreement;
mod ask;
mod availability;
mod convergence;
mod epochs;
mod failover_time;
mod faults;
mod finding;
mod linearizable;
mod monotonic_reads;
mod monotonic_writes;
mod promotions;
mod read_your_writes;
mod reads;
mod recovery;
mod redirects;
mod replica_lag;
mod replica_read_only;
mod resolve;
mod role;
mod slot_coverage;
mod split_brain;
mod stale_reads;
mod steps;
mod workload;
mod write_cutoff;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::suite::{Invariant, for_each_invariant};

/// What an invariant came to. The order is that of weight: the worst of several wins, and a `Fail`
/// is never masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was observed to hold.
    Pass,
    /// Too little was observed to say.
    Inconclusive,
    /// It was observed not to hold.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The name of its [`Kind`]: `acked-writes`.
    pub invariant: String,
    /// Its settings in one line: `may-lose 0`.
    pub settings: String,
    /// What it came to.
    pub verdict: Verdict,
    /// What was demanded, in words.
    pub expected: String,
    /// What was seen, in words.
    pub seen: String,
    /// On how many observations it rests.
    pub observations: u64,
    /// Examples and places: which key, when acknowledged, by which node, what was read at the end.
    pub evidence: Vec<String>,
    /// Numbers that comparisons can use, by name with the unit last: `longest_outage_ms`.
    pub figures: BTreeMap<String, f64>,
}

/// What kind of thing a figure is, and so how it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FigureKind {
    /// A time in milliseconds; a shorter one is better.
    Time,
    /// How much was done; more is better.
    Amount,
    /// What must not happen. The worst run counts, and one that was free of it and is not any more is
    /// worse; where it happened before, too, it is worse when the runs show it beyond chance.
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

/// What the views of a report need to know of a kind of judgement. Each check says it of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Whether its evidence is worth reading though it holds.
    pub is_telling: bool,
    /// Its figures that comparisons use.
    pub figures: &'static [Figure],
}

impl Traits {
    /// Nothing of note.
    const PLAIN: Self = Self { is_telling: false, figures: &[] };
}

/// A kind of judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its name: `acked-writes`.
    pub name: &'static str,
    /// What it is about, in a sentence.
    pub about: &'static str,
    /// What views need to know of it.
    pub traits: Traits,
}

macro_rules! dispatch {
    ($($(#[doc = $about:literal])+ $module:ident $name:literal $variant:ident($settings:ty),)+) => {
        fn judge(facts: &Facts<'_>, invariant: &Invariant) -> Judgement {
            match invariant {
                $(Invariant::$variant(settings) => $module::judge(facts, settings),)+
            }
        }

        /// The invariants that a suite can demand, in the order of the registry.
        pub const INVARIANTS: &[Kind] =
            &[$(Kind { name: $name, about: concat!($($about),+).trim_ascii_start(), traits: $module::TRAITS }),+];
    };
}

for_each_invariant!(dispatch);

macro_rules! built_in {
    ($($module:ident $name:literal $about:literal,)+) => {
        /// What is judged of every run, in the order of their judgements.
        pub const BUILT_IN: &[Kind] = &[$(Kind { name: $name, about: $about, traits: $module::TRAITS }),+];

        fn judge_built_in(facts: &Facts<'_>) -> impl Iterator<Item = Judgement> {
            [$(Into::<Option<Judgement>>::into($module::judge(facts))),+].into_iter().flatten()
        }
    };
}

built_in! {
    faults "faults" "Every fault is shown to be in effect, and to be undone; absent from a run without faults.",
    steps "steps" "Every step does what it says, and what it waits for or expects comes.",
    recovery "recovery" "With every fault undone, the cluster is whole again within its bound.",
    workload "workload" "Operations run, and as they are due.",
}

/// Every kind of judgement: the invariants of suites, then what is judged of every run.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    INVARIANTS.iter().chain(BUILT_IN)
}

/// Judges every invariant of the history's plan in their order, and after them what is judged of every run
/// ([`BUILT_IN`]).
pub fn check(facts: &Facts<'_>) -> Vec<Judgement> {
    let invariants = &facts.history.header.plan.invariants;
    invariants.iter().map(|invariant| judge(facts, invariant)).chain(judge_built_in(facts)).collect()
}

/// The verdict of a whole run: the worst of its judgements; inconclusive when there are none.
pub fn overall(judgements: &[Judgement]) -> Verdict {
    judgements.iter().map(|judgement| judgement.verdict).max().unwrap_or(Verdict::Inconclusive)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_a_description_in_one_line() {
        let names: BTreeSet<&str> = kinds().map(|kind| kind.name).collect();
        assert_eq!(names.len(), kinds().count());
        for kind in kinds() {
            assert!(kind.about.ends_with('.') && !kind.about.contains('\n'), "{}: {:?}", kind.name, kind.about);
            assert!(!kind.about.starts_with(' ') && !kind.about.contains("  "), "{}: {:?}", kind.name, kind.about);
        }
    }

    #[test]
    fn the_name_of_an_invariant_is_its_key_in_a_suite() {
        for (line, expected) in [("redirects", "redirects"), ("replica-read-only", "replica-read-only")] {
            let invariant: Invariant = serde_json::from_value(serde_json::json!({ line: {} })).expect("an invariant");
            assert_eq!(invariant.name(), expected);
        }
    }
}
