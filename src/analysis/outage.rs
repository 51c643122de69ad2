//! Outages: spans in which no operation was served.

use serde::{Deserialize, Serialize};

use super::Window;
use crate::history::History;
use crate::suite::OpKind;
use crate::units::ShardNo;

/// From the issue of the first operation that was not served to the completion of the first
/// operation issued after it that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outage {
    /// Reads or writes.
    pub of: OpKind,
    /// Whose.
    pub shard: ShardNo,
    /// When it begins.
    pub from_ns: u64,
    /// When it ends: at the latest with the window that was looked at.
    pub to_ns: u64,
    /// How many operations in a row were not served.
    pub unserved: u64,
    /// Whether an operation was served again within the window.
    pub ended: bool,
}

impl Outage {
    /// Its length in milliseconds.
    pub fn length_ms(&self) -> f64 {
        self.to_ns.saturating_sub(self.from_ns) as f64 / 1e6
    }
}

/// The outages of one kind and shard among the operations issued in `window`, in order of time.
pub fn outages(history: &History, of: OpKind, shard: ShardNo, window: Window) -> Vec<Outage> {
    let _ = (history, of, shard, window);
    todo!()
}
