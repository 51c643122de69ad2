//! Settings of `write-cutoff`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, OpKind, Settings, ShardSet};
use crate::target::Target;
use crate::units::Bound;

/// Settings of `write-cutoff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WriteCutoff {
    /// Which shards' cut-off masters; each is judged on its own.
    #[serde(default)]
    pub shard: ShardSet,
    /// How long after the cut the last write may be acknowledged; `spec` is 1.5 node timeouts and 200 ms, and 2 node
    /// timeouts and 200 ms for a master that still hears the others.
    pub within: Bound,
}

impl Settings for WriteCutoff {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_operations("", OpKind::Writes);
        look.shards("shard", self.shard);
        if self.shard == ShardSet::Others {
            look.problem("shard", "`others` are the shards that no fault affects, so no fault isolates their masters");
        }
        let message = "no step cuts the cluster bus, so no master is isolated (hint: `partition`)";
        // The method itself holds for one lifetime only.
        #[expect(clippy::redundant_closure_for_method_calls)]
        look.needs_fault("", |fault| fault.cuts_bus(), message);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
