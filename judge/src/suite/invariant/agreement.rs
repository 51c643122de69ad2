//! Settings of `agreement`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, Settings};
use crate::target::Target;
use crate::units::Bound;

/// Settings of `agreement`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Agreement {
    /// How long after the last fault was undone (by a step or by the final healing) the views may
    /// still differ. `spec` is what failure detection may take to clear a flag.
    pub within: Bound,
}

impl Settings for Agreement {
    fn check(&self, _: &mut Look<'_>) {}

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
