//! Settings of `delivery`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Allowed, Look, Settings};
use crate::suite::DataKind;
use crate::target::Target;

/// Settings of `delivery`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Delivery {
    /// How many acknowledged messages subscribers may miss, counted for each subscriber: 0 by default, or `measured`: count
    /// and show them, and pass.
    #[serde(default)]
    pub may_miss: Allowed,
    /// How many messages subscribers may get more than once, 0 by default, or `measured`.
    #[serde(default)]
    pub may_repeat: Allowed,
}

impl Delivery {
    /// The kinds of data that it judges.
    pub const KINDS: &[DataKind] = &[DataKind::Pubsub, DataKind::ShardedPubsub];
}

impl Settings for Delivery {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_kind("", Self::KINDS);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
