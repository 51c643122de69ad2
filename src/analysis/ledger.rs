//! The ledger of writes: what was acknowledged, and what of it is gone.

use serde::{Deserialize, Serialize};

use crate::history::{FinalValue, History};
use crate::units::{NodeNo, ShardNo};

/// Every write of the workload, accounted for by what its key held in the end.
///
/// A key has one writer with one write under way, and values increase. With `f` the value read back:
/// an acknowledged write above `f` is **lost**, unless `f` itself is a write of unknown outcome,
/// which may have taken effect late: the acknowledged writes above it are **undecided**. (Worked
/// example: 4 acknowledged, 5 timed out, 6 acknowledged, read back 5. Either 6 was lost after 5 had
/// been replicated, or 5 came out of a socket's buffer after 6. Both are possible, so neither is
/// claimed. Read back 4: 6 is lost, whatever became of 5.)
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ledger {
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Acknowledged and gone.
    pub lost: u64,
    /// Acknowledged, and not to be told whether lost or overwritten late.
    pub undecided: u64,
    /// Of unknown outcome, and found to have taken effect.
    pub applied_unacknowledged: u64,
    /// Refused, and found all the same: the server's or the harness's error.
    pub refused_but_applied: u64,
    /// Keys that held something that the workload never wrote.
    pub foreign: u64,
    /// Keys read back.
    pub keys_read: u64,
    /// Keys with acknowledged writes that could not be read back.
    pub keys_unread: u64,
    /// Lost writes, the first of them; at most [`Ledger::EXAMPLES`].
    pub examples: Vec<LostWrite>,
}

impl Ledger {
    /// How many lost writes are kept as examples.
    pub const EXAMPLES: usize = 20;
}

/// An acknowledged write that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LostWrite {
    /// Its key's number.
    pub key: u32,
    /// Its key's shard.
    pub shard: ShardNo,
    /// The number written.
    pub value: u32,
    /// When it was issued, in nanoseconds from the start of the run.
    pub invoke_ns: u64,
    /// When it was acknowledged.
    pub acked_ns: u64,
    /// Who acknowledged it.
    pub acked_by: Option<NodeNo>,
    /// What its key held in the end.
    pub read_back: FinalValue,
}

/// The ledger of a history.
pub fn ledger(history: &History) -> Ledger {
    let _ = history;
    todo!()
}
