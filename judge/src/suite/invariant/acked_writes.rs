//! Settings of `acked-writes`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Allowed, Look, OpKind, Settings};
use crate::target::Target;

/// Settings of `acked-writes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AckedWrites {
    /// How many acknowledged writes may be lost, or `measured`: count and show them, and pass. A write that was lost
    /// and overwritten counts, and so does one that a master did not return for a time.
    pub may_lose: Allowed,
}

impl Settings for AckedWrites {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_operations("", OpKind::Writes);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
