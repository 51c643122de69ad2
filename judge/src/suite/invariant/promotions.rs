//! Settings of `promotions`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, Settings, ShardSet};
use crate::target::Target;

/// Settings of `promotions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Promotions {
    /// Which shards; each is judged on its own.
    #[serde(default)]
    pub shard: ShardSet,
    /// How often the ownership of the shard's slots passed to another node, from the first phase to
    /// the end of the steps.
    pub exactly: u32,
}

impl Settings for Promotions {
    fn check(&self, look: &mut Look<'_>) {
        look.shards("shard", self.shard);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
