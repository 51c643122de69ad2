//! Settings of `exactly-once`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Allowed, Look, OpKind, Settings};
use crate::suite::DataKind;
use crate::target::Target;

/// Settings of `exactly-once`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExactlyOnce {
    /// How many effects beyond one for each write there may be, 0 by default, or `measured`: count and show them, and
    /// pass.
    #[serde(default)]
    pub may_repeat: Allowed,
    /// How many acknowledged writes may be lost, 0 by default, or `measured`: count and show them, and pass.
    #[serde(default)]
    pub may_lose: Allowed,
}

impl ExactlyOnce {
    /// The kinds of data that it judges: a second effect of a write shows.
    pub const KINDS: &[DataKind] = &[DataKind::Counter, DataKind::List, DataKind::Set, DataKind::Stream];
}

impl Settings for ExactlyOnce {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_kind("", Self::KINDS);
        look.needs_operations("", OpKind::Writes);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
