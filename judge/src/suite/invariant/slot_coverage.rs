//! Settings of `slot-coverage`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, Moment, Settings};
use crate::target::Target;

/// Settings of `slot-coverage`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SlotCoverage {
    /// When.
    pub at: Moment,
}

impl Settings for SlotCoverage {
    fn check(&self, look: &mut Look<'_>) {
        look.moment("at", &self.at);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
