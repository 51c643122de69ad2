//! Settings of `order`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Allowed, Look, OpKind, Settings};
use crate::suite::DataKind;
use crate::target::Target;

/// Settings of `order`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Order {
    /// How many reads may show another order, 0 by default, or `measured`: count and show them, and pass.
    #[serde(default)]
    pub may_violate: Allowed,
}

impl Order {
    /// The kinds of data that it judges.
    pub const KINDS: &[DataKind] = &[DataKind::List, DataKind::Stream];
}

impl Settings for Order {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_kind("", Self::KINDS);
        look.needs_operations("", OpKind::Writes);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
