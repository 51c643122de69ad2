//! Settings of `failover-time`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, Settings, ShardSet};
use crate::target::Target;
use crate::units::Bound;

/// Settings of `failover-time`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FailoverTime {
    /// Which shard's failovers; each of them is judged.
    pub shard: ShardSet,
    /// Up to which milestone; without it, each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Milestone>,
    /// The bound; `spec` is computed for each milestone.
    pub within: Bound,
}

impl Settings for FailoverTime {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_replicas();
        look.shards("shard", self.shard);
        if let ShardSet::One(shard) = self.shard {
            look.needs_replica_of("shard", shard);
        }
        if self.shard == ShardSet::Others {
            let message = "`others` are the shards that no fault affects, so there is no failover to measure (hint: `promotions: { shard: others, exactly: 0 }`)";
            look.problem("shard", message);
        }
        let message = "no step begins a fault, so there is no failover to measure (hint: `stop`, `kill`, `pause`, `command` or a network fault)";
        look.needs_disturbance("", message);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}

/// A milestone of a failover, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// Some node has the old master flagged FAIL.
    Fail,
    /// The new master owns the shard's slots in its own view.
    Promotion,
    /// The workload's first write of the shard that the new master acknowledged.
    FirstWrite,
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "fail",
            Self::Promotion => "promotion",
            Self::FirstWrite => "first-write",
        })
    }
}
