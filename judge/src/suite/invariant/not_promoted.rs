//! Settings of `not-promoted`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, Settings, ShardSet};
use crate::target::Target;
use crate::units::Span;

/// Settings of `not-promoted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NotPromoted {
    /// Which shards; each is judged on its own.
    #[serde(default)]
    pub shard: ShardSet,
    /// Only this phase; without it, from the first phase to the end of the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<String>,
    /// Only so long after each fault that hits the shard's master in the phase (or during the steps), or after the begin of
    /// the phase (or of the steps) if none does. A phase that ends earlier decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

impl Settings for NotPromoted {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_replicas();
        look.shards("shard", self.shard);
        if let ShardSet::One(shard) = self.shard {
            look.needs_replica_of("shard", shard);
        }
        if let Some(phase) = &self.during {
            look.phase("during", phase);
        }
        if self.within.is_some_and(|within| within.0.is_zero()) {
            look.problem("within", "no time is looked at within 0s (hint: a time of more than 0s, such as `10s`)");
        }
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
