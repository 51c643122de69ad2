//! Settings of `atomic`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Allowed, Look, OpKind, Settings};
use crate::suite::DataKind;
use crate::target::Target;

/// Settings of `atomic`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Atomic {
    /// How many reads may see half of a transaction, 0 by default, or `measured`: count and show them, and pass.
    #[serde(default)]
    pub may_violate: Allowed,
}

impl Settings for Atomic {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_kind("", &[DataKind::Transaction]);
        look.needs_operations("", OpKind::Writes);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
