//! Settings of `replica-read-only`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, Moment, Settings};
use crate::target::Target;

/// Settings of `replica-read-only`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReplicaReadOnly {
    /// When; only `end` is possible.
    #[serde(default = "Moment::end")]
    pub at: Moment,
}

impl Settings for ReplicaReadOnly {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_replicas();
        look.only_end("at", &self.at);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
