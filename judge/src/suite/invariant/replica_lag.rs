//! Settings of `replica-lag`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, Moment, Settings};
use crate::target::Target;
use crate::units::{ShardNo, Span};

/// Settings of `replica-lag`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReplicaLag {
    /// When.
    pub at: Moment,
    /// The most bytes that a replica may be behind its master.
    pub max_bytes: u64,
    /// Only this shard's replicas; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardNo>,
    /// The lag must have been seen above so many bytes at the moment looked at (`throughout`, or a
    /// phase in full): a suite that narrows a link shows by it that replicas fell behind for real.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rises_above: Option<u64>,
    /// How long after the last heal the lag may be above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_within: Option<Span>,
}

impl Settings for ReplicaLag {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_replicas();
        if let Some(shard) = self.shard {
            look.shard("shard", shard);
            look.needs_replica_of("shard", shard);
        }
        look.moment("at", &self.at);
        if let Some(above) = self.rises_above {
            if self.at == Moment::End {
                let message = "all faults are healed at the end, so no lag rises (hint: `at: throughout`, or a phase)";
                look.problem("rises-above", message);
            } else if above >= self.max_bytes {
                let message = format!(
                    "a lag above {above} bytes exceeds `max-bytes`, {} (hint: raise `max-bytes`)",
                    self.max_bytes
                );
                look.problem("rises-above", message);
            }
        }
        if self.back_within.is_some() {
            look.needs_disturbance("back-within", "no step begins a fault, so there is no lag to recover from");
        }
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}
