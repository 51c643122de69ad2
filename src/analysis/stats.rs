//! Counts and latencies of operations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::history::{History, Op};
use crate::suite::OpKind;
use crate::units::ShardNo;

/// A half-open span of a run's time in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Window {
    /// The first moment that belongs to it.
    pub from_ns: u64,
    /// The first moment that does not.
    pub to_ns: u64,
}

/// Operations of one kind in one window (by the moment of their issue), over all shards or one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OpStats {
    /// Issued.
    pub issued: u64,
    /// Acknowledged.
    pub ok: u64,
    /// Certainly did not happen.
    pub failed: u64,
    /// May have happened.
    pub unknown: u64,
    /// Latency of acknowledged operations from when they were due (not from when they were issued),
    /// in milliseconds: median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// 99th percentile of how late operations were issued, in milliseconds.
    pub late_p99_ms: f64,
    /// How often each reason of a failed or unknown outcome came.
    pub reasons: BTreeMap<String, u64>,
}

/// The shard of an operation: that of its key's slot at boot.
pub fn op_shard(history: &History, op: &Op) -> ShardNo {
    let _ = (history, op);
    todo!()
}

/// Statistics of the operations of `kind` issued in `window`, of one shard or of all.
pub fn stats(history: &History, kind: OpKind, shard: Option<ShardNo>, window: Window) -> OpStats {
    let _ = (history, kind, shard, window);
    todo!()
}
