//! What failed in a run, so that two runs can be compared: the invariant, how it failed, and in what role the nodes were.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Claim, Promise};
use crate::check::{Judgement, Verdict};
use crate::facts::{Cause, FaultTable};
use crate::report::Report;
use crate::units::{NodeNo, ShardNo};

/// A failure, without what differs from run to run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// The invariant.
    pub invariant: String,
    /// How: for lost writes, what lost most of them, or `counted` if only counters or lists lost some; empty where there is no
    /// kind.
    pub kind: String,
    /// What the faults did to the shard on which it failed; None where no shard is told, and in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardRole>,
}

/// What the faults of a run did to a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShardRole {
    /// They hit none of its nodes.
    NotHit,
    /// They hit a replica of it, and never its master.
    ReplicaHit,
    /// They hit its master.
    MasterHit,
}

impl ShardRole {
    /// Its word in names of failures.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotHit => "not-hit",
            Self::ReplicaHit => "replica-hit",
            Self::MasterHit => "master-hit",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, kind, shard } = self;
        let shard = shard.map_or("", ShardRole::word);
        let more: Vec<&str> = [kind.as_str(), shard].into_iter().filter(|word| !word.is_empty()).collect();
        if more.is_empty() { f.write_str(invariant) } else { write!(f, "{invariant} ({})", more.join(", ")) }
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
            // Of counters and lists, nobody can tell what lost a write.
            "acked-writes" => cause_of_most(report).map_or_else(|| "counted".to_owned(), |cause| cause.to_string()),
            _ => String::new(),
        };
        let shard = shard_of(report, judgement).map(|shard| role_of(report, shard));
        let failure = Failure { invariant: judgement.invariant.clone(), kind, shard };
        if !found.contains(&failure) {
            found.push(failure);
        }
    }
    found
}

/// The shard on which an invariant failed: for lost writes the one that lost most; None where none is told.
fn shard_of(report: &Report, judgement: &Judgement) -> Option<ShardNo> {
    match judgement.invariant.as_str() {
        "acked-writes" => {
            let lost =
                report.ledger.lost_by_shard.iter().max_by_key(|&(&shard, &lost)| (lost, std::cmp::Reverse(shard)));
            lost.map(|(&shard, _)| shard).or_else(|| of_witness(report, judgement))
        }
        "availability" => {
            let mut words = judgement.settings.split([' ', ',']);
            words.find_map(|word| word.starts_with("shard-").then(|| word.parse().ok())?)
        }
        _ => of_witness(report, judgement),
    }
}

fn of_witness(report: &Report, judgement: &Judgement) -> Option<ShardNo> {
    let witness = judgement.witnesses.first()?;
    Some(report.header.plan.deal().shard_of_key(witness.key.as_bytes()))
}

/// What the faults did to a shard, by the nodes that it had at boot.
fn role_of(report: &Report, shard: ShardNo) -> ShardRole {
    let is_of = |node: NodeNo| report.header.plan.nodes.iter().any(|each| each.node == node && each.shard == shard);
    let mut table = FaultTable::default();
    let mut role = ShardRole::NotHit;
    for event in &report.events {
        let Some(span) = table.add(event) else { continue };
        for hit in span.hits.iter().filter(|hit| is_of(hit.node)) {
            role = role.max(if hit.was_master { ShardRole::MasterHit } else { ShardRole::ReplicaHit });
        }
    }
    role
}

/// What lost most of the lost writes.
fn cause_of_most(report: &Report) -> Option<Cause> {
    let mut lost: BTreeMap<Cause, u64> = BTreeMap::new();
    for (&cause, &count) in report.ledger.lost_by_cause.iter().chain(&report.ledger.overwritten_by_cause) {
        *lost.entry(cause).or_default() += count;
    }
    lost.into_iter().max_by_key(|&(_, count)| count).map(|(cause, _)| cause)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn journals_of_earlier_versions_tell_no_shard() {
        for (text, expected) in [
            (r#"{"invariant": "acked-writes", "kind": "restart"}"#, "acked-writes (restart)"),
            (r#"{"invariant": "epochs", "kind": ""}"#, "epochs"),
            (
                r#"{"invariant": "acked-writes", "kind": "stale-master", "shard": "master-hit"}"#,
                "acked-writes (stale-master, master-hit)",
            ),
            (r#"{"invariant": "availability", "kind": "", "shard": "not-hit"}"#, "availability (not-hit)"),
        ] {
            let failure: Failure = serde_json::from_str(text).expect("a failure");
            assert_eq!(failure.to_string(), expected);
        }
    }

    #[test]
    fn the_role_of_a_shard_is_what_faults_did_to_it() {
        let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored/majority-lost-redis-6.2");
        let report = crate::report::read(&stored).expect("a stored report");
        // Two masters of three were cut off.
        let role = |shard| role_of(&report, ShardNo(shard));
        assert_eq!([role(1), role(2), role(3)], [ShardRole::NotHit, ShardRole::MasterHit, ShardRole::MasterHit]);
    }
}
