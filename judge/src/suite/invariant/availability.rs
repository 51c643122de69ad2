//! Settings of `availability`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, OpKind, Settings, ShardSet};
use crate::target::Target;
use crate::units::{Bound, Percent};

/// Settings of `availability`. At least one of `max-outage`, `min-served` and `served` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Availability {
    /// Reads or writes.
    pub of: OpKind,
    /// Of which shards: each is judged on its own.
    #[serde(default)]
    pub shard: ShardSet,
    /// Only operations issued in this phase; without it, all from the first phase to the end of the
    /// steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<String>,
    /// The longest outage: from the issue of the first operation that was not served to the
    /// completion of the next that was; while everything hangs for over a second, nothing is served,
    /// even if it is in the end. `0s` means that every single one was served, however late. Where too
    /// few are issued to tell on which side of the bound it was, that stays open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_outage: Option<Bound>,
    /// The least share of operations that was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_served: Option<Percent>,
    /// `always` (every operation) or `never` (not one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
}

impl Settings for Availability {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_operations("of", self.of);
        look.shards("shard", self.shard);
        if let Some(phase) = &self.during {
            look.phase("during", phase);
        }
        let is_bounded = self.max_outage.is_some() || self.min_served.is_some();
        match (self.served, is_bounded) {
            (None, false) => {
                look.problem("", "availability needs a bound (hint: `max-outage`, `min-served` or `served`)");
            }
            (Some(_), true) => {
                look.problem("served", "`served` cannot be combined with `max-outage` or `min-served`");
            }
            (None, true) | (Some(_), false) => {}
        }
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}

/// Every operation, or not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Served {
    /// Every operation was served.
    Always,
    /// Not one operation was served.
    Never,
}
