//! Settings of `availability`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClientSet, Look, OpKind, Settings, ShardSet};
use crate::target::Target;
use crate::units::{Bound, Percent, Span};

const DEFAULT_PATIENCE: Span = Span::secs(1);

const LONGEST_PATIENCE: Span = Span::secs(60);

/// Settings of `availability`. At least one of `max-outage`, `min-served` and `served` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Availability {
    /// Reads or writes.
    pub of: OpKind,
    /// Of which shards: each is judged on its own.
    #[serde(default)]
    pub shard: ShardSet,
    /// Of which clients: `cut-off` (those on the side with fewer nodes of a fault that severs links between clients and nodes),
    /// `rest` (all others), or `all` together.
    #[serde(default, skip_serializing_if = "ClientSet::is_all")]
    pub clients: ClientSet,
    /// Only operations issued in this phase; without it, all from the first phase to the end of the
    /// steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<String>,
    /// The longest outage: from the issue of the first operation that was not served to the completion of the next that
    /// was. `0s` means that there was none. A stall, in which every answer only comes late, is an outage if it is longer
    /// than the bound or than the patience, but not below 100 ms unless the patience is shorter. Where too few operations
    /// are issued to tell on which side of the bound an outage was, the verdict is inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_outage: Option<Bound>,
    /// The least share of the operations sent that was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_served: Option<Percent>,
    /// How long an answer may take: an operation without an answer by then is not served. `1s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<Span>,
    /// `always` (every operation) or `never` (not one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
}

impl Availability {
    /// The patience in nanoseconds.
    pub fn patience_ns(&self) -> u64 {
        self.patience.unwrap_or(DEFAULT_PATIENCE).as_ns()
    }
}

impl Settings for Availability {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_open_loop();
        look.needs_operations("of", self.of);
        look.shards("shard", self.shard);
        look.clients("clients", self.clients);
        if let Some(phase) = &self.during {
            look.phase("during", phase);
        }
        if let Some(patience) = self.patience.filter(|patience| patience.0.is_zero() || *patience > LONGEST_PATIENCE) {
            look.problem(
                "patience",
                format!("a patience of {patience} is out of bounds (hint: more than 0s, at most {LONGEST_PATIENCE})"),
            );
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
