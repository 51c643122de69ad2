//! Facts derived from a history, which checks judge and reports show: phases, faults,
//! failovers, reigns, outages, the ledger of writes and why some are lost, latencies. Pure functions; nothing here passes a verdict.

mod cause;
mod failover;
mod fault_span;
mod ledger;
mod outage;
mod ownership;
mod phase;
mod reign;
mod stats;
mod views;

pub use cause::{AckSide, Cause};
pub(crate) use failover::failovers_among;
pub use failover::{Failover, failovers};
pub use fault_span::{Ended, FaultSpan, Proof, fault_spans};
pub use ledger::{Ledger, LostWrite, UnreadKey, ledger};
pub(crate) use outage::HANG_NS;
pub use outage::{Outage, outages};
pub use ownership::{Ownership, OwnershipChange};
pub use phase::{PhaseSpan, history_end_ns, phases, steps_window};
pub use reign::{Reign, Reigns};
pub use stats::{KeyShards, OpIndex, OpStats, Window, stats};
pub use views::{Seen, Views};
