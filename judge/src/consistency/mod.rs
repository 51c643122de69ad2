//! Whether the reads of one key fit its writes: pure algorithms over a register and the operations on it, near-linear
//! in their number, and a search for everything else that has a sequential model. Nothing here knows of clusters, runs or verdicts.
//!
//! Each rule claims only what is certain. Operation A precedes B if A ended before B was invoked; operations that
//! share an instant are concurrent. A write of unknown outcome may take effect at any time after its invocation, or
//! never.

mod counter;
mod expiry;
mod linearizable;
mod list;
mod models;
mod register;
mod search;
mod session;
mod set;
mod staleness;
mod violation;
mod waits;
mod witness;

pub use counter::{Counted, Jump, counted};
pub use expiry::{Early, Expiry, Had, Late, Lifetime, Stored, expired};
pub use linearizable::{Linearity, linearizable};
pub use list::{Disorder, Listed, Listing, listed};
pub use models::{Cas, CasOp, Count, CountOp, Sequence, SequenceOp};
pub(crate) use register::sort_nearly_sorted;
pub use register::{Effect, Kind, NIL, Operation, Register};
pub use search::{Budget, Call, Found, Model, search};
pub use session::{Guarantee, Kept, kept};
pub use set::{Change, Members, change, members};
pub use staleness::{Stale, stale};
pub use violation::Violation;
pub use waits::{Asleep, Wait, Waits, waits};
pub use witness::{Does, Witness, WitnessOp};
