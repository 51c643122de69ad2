//! Settings of `expiry`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Allowed, Look, OpKind, Settings, ShardSet};
use crate::suite::DataKind;
use crate::target::Target;
use crate::units::Span;

/// Settings of `expiry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expiry {
    /// Of which shards.
    #[serde(default)]
    pub shard: ShardSet,
    /// Only reads that were sent in this phase; without it, from the first phase to the end of the steps, and the reads at
    /// the end. Writes count whenever they were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<String>,
    /// How much earlier than its time to live a key may be gone, `20ms` by default: servers count in whole milliseconds,
    /// and their wall clocks are slewed.
    #[serde(default = "early")]
    pub early: Span,
    /// How much later than its time to live a key may still be read, `1s` by default.
    #[serde(default = "late")]
    pub late: Span,
    /// How many reads may find a key gone too early or still there too late, 0 by default, or `measured`: count and show
    /// them, and pass.
    #[serde(default)]
    pub may_violate: Allowed,
    /// How many keys a new or restarted master may lack before their time, 0 by default, or `measured`: such a key was
    /// lost with the failover or expired too early, and nobody can tell which.
    #[serde(default)]
    pub may_lose: Allowed,
}

fn early() -> Span {
    Span::millis(20)
}

fn late() -> Span {
    Span::secs(1)
}

impl Settings for Expiry {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_kind("", &[DataKind::Ttl]);
        look.needs_operations("", OpKind::Writes);
        look.needs_operations("", OpKind::Reads);
        look.shards("shard", self.shard);
        if let Some(phase) = &self.during {
            look.phase("during", phase);
        }
        let ttl = look.suite.workload.ttl();
        if self.early >= ttl {
            look.problem("early", format!("\"{}\" is not less than the time to live, {ttl}", self.early));
        }
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
