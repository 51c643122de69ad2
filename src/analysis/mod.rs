//! Facts derived from a history, which checks judge and reports show: phases, failovers, outages,
//! the ledger of writes, latencies. Pure functions; nothing here passes a verdict.

mod failover;
mod ledger;
mod outage;
mod phase;
mod stats;
mod views;

pub use failover::{Failover, failovers};
pub use ledger::{Ledger, LostWrite, ledger};
pub use outage::{Outage, outages};
pub use phase::{PhaseSpan, phases, steps_window};
pub use stats::{OpStats, Window, op_shard, stats};
pub use views::Views;
