//! Settings of `not-promoted`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, Settings, ShardSet};
use crate::target::Target;

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
}

impl Settings for NotPromoted {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_replicas();
        look.shards("shard", self.shard);
        if let Some(phase) = &self.during {
            look.phase("during", phase);
        }
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
