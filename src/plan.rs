//! The plan: a suite with overrides applied and everything resolved, bounded and explicit. Pure: the
//! same suite, overrides and seed give the same plan.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::suite::{Invariant, Step, Suite, WorkloadSpec};
use crate::units::{Directive, NodeNo, ShardNo, Span};

/// What a run does, to the last detail that can be known before a cluster exists. `any/...` is drawn
/// and gone; other symbolic targets stay, since roles change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The suite's name.
    pub name: String,
    /// What it does and what is believed.
    pub about: String,
    /// Draws `any/...`, and the order of the workload's keys and kinds.
    pub seed: u64,
    /// Which server was asked for.
    pub server: String,
    /// Every node, by number.
    pub nodes: Vec<PlannedNode>,
    /// Every directive that the suite or the defaults set; options that depend on the server
    /// version are added at start.
    pub config: BTreeMap<String, Directive>,
    /// The workload.
    pub workload: WorkloadSpec,
    /// What happens.
    pub steps: Vec<Step>,
    /// What must be true of it.
    pub invariants: Vec<Invariant>,
    /// See [`Suite::recover_within`].
    pub recover_within: Span,
    /// See [`Suite::max_duration`].
    pub max_duration: Span,
}

/// A node of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedNode {
    /// Its number.
    pub node: NodeNo,
    /// Its shard at boot.
    pub shard: ShardNo,
    /// The master that it replicates at boot; None for a master.
    pub replica_of: Option<NodeNo>,
    /// The slots that it owns at boot, first and last; None for a replica.
    pub slots: Option<(u16, u16)>,
}

/// What is impossible about a suite, and where: `at` is a path such as `steps[3].stop`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct PlanError {
    /// The place in the suite.
    pub at: String,
    /// What is wrong, and how to mend it.
    pub message: String,
}

impl Plan {
    /// Resolves a suite. Every problem is found, not only the first.
    pub fn new(suite: &Suite, seed: u64) -> Result<Self, Vec<PlanError>> {
        let _ = (suite, seed);
        todo!()
    }

    /// The number of shards.
    pub fn shards(&self) -> u16 {
        self.nodes.iter().filter(|node| node.replica_of.is_none()).count() as u16
    }

    /// The planned `cluster-node-timeout`.
    pub fn node_timeout(&self) -> std::time::Duration {
        let ms = self.config.get("cluster-node-timeout").and_then(|value| value.0.parse().ok()).unwrap_or(15_000);
        std::time::Duration::from_millis(ms)
    }
}
