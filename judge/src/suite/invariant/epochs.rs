//! Settings of `epochs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, Settings};
use crate::target::Target;

/// Settings of `epochs`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Epochs {
    /// The most that the cluster's current epoch may rise between the first phase and the end: an
    /// epoch storm goes further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rise: Option<u64>,
}

impl Settings for Epochs {
    fn check(&self, _: &mut Look<'_>) {}

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
