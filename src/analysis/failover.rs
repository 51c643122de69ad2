//! Failovers: from a fault at a master to the first write that its successor acknowledged.

use serde::{Deserialize, Serialize};

use crate::history::{FaultKind, History};
use crate::units::{NodeNo, ShardNo};

/// One failover of a shard: a fault at its master, or an ownership that changed without one
/// (CLUSTER FAILOVER).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failover {
    /// Whose slots changed hands, or did not.
    pub shard: ShardNo,
    /// The fault that began it; None where the ownership changed without one.
    pub fault: Option<u32>,
    /// Its kind.
    pub kind: Option<FaultKind>,
    /// The master that the fault hit.
    pub old_master: NodeNo,
    /// Its successor, if there was one before the fault was undone or the steps ended.
    pub new_master: Option<NodeNo>,
    /// When the fault was injected; without a fault, when the change was first seen.
    pub from_ns: u64,
    /// From the fault to the first FAIL flag seen in any node's view, in milliseconds.
    pub fail_ms: Option<f64>,
    /// ... to the first view of the new master in which it owns the shard's slots.
    pub promotion_ms: Option<f64>,
    /// ... to the completion of the workload's first write of the shard, issued after the fault,
    /// that another node than the old master acknowledged.
    pub first_write_ms: Option<f64>,
    /// configEpoch of the new master.
    pub epoch: Option<u64>,
}

/// The failovers of a history in order of time.
pub fn failovers(history: &History) -> Vec<Failover> {
    let _ = history;
    todo!()
}
