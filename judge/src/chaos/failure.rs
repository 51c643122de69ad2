//! What failed in a run, so that two runs can be compared: the invariant, how it failed, and in what role the nodes were.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Claim, Promise};
use crate::check::Verdict;
use crate::facts::Cause;
use crate::report::Report;

/// A failure, without what differs from run to run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// The invariant.
    pub invariant: String,
    /// How: for lost writes, what lost most of them; empty where there is no kind.
    pub kind: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, kind } = self;
        if kind.is_empty() { f.write_str(invariant) } else { write!(f, "{invariant} ({kind})") }
    }
}

/// What failed of what must hold. What fails beside, though the servers promise nothing, is no failure.
pub fn failures(report: &Report, promises: &[Promise]) -> Vec<Failure> {
    let must_hold = |claim: Claim| promises.iter().any(|promise| promise.claim == claim && promise.stand.must_hold());
    let mut found: Vec<Failure> = Vec::new();
    for judgement in report.invariants.iter().filter(|judgement| judgement.verdict == Verdict::Fail) {
        if !Claim::of(&judgement.invariant, &judgement.settings).is_some_and(must_hold) {
            continue;
        }
        let kind = match judgement.invariant.as_str() {
            "acked-writes" => cause_of_most(report).map_or_else(String::new, |cause| cause.to_string()),
            _ => String::new(),
        };
        let failure = Failure { invariant: judgement.invariant.clone(), kind };
        if !found.contains(&failure) {
            found.push(failure);
        }
    }
    found
}

/// What lost most of the lost writes.
fn cause_of_most(report: &Report) -> Option<Cause> {
    let mut lost: BTreeMap<Cause, u64> = BTreeMap::new();
    for (&cause, &count) in report.ledger.lost_by_cause.iter().chain(&report.ledger.overwritten_by_cause) {
        *lost.entry(cause).or_default() += count;
    }
    lost.into_iter().max_by_key(|&(_, count)| count).map(|(cause, _)| cause)
}
