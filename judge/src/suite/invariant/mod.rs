//! Invariants: what a suite says must be true of its run. [`crate::check`] judges them.
//!
//! An invariant is one line of the registry below, and one file for its settings. The file says what a suite may write
//! and rejects what could not be judged.

mod acked_writes;
mod agreement;
mod atomic;
mod availability;
mod convergence;
mod delivery;
mod epochs;
mod exactly_once;
mod expiry;
mod failover_time;
mod latency;
mod linearizable;
mod look;
mod monotonic_reads;
mod monotonic_writes;
mod not_promoted;
mod order;
mod promotions;
mod read_your_writes;
mod reads;
mod redirects;
mod replica_lag;
mod replica_read_only;
mod replicas;
mod role;
mod slot_coverage;
mod split_brain;
mod stale_reads;
mod terms;
mod woken;
mod write_cutoff;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use acked_writes::AckedWrites;
pub use agreement::Agreement;
pub use atomic::Atomic;
pub use availability::{Availability, Served};
pub use convergence::Convergence;
pub use delivery::Delivery;
pub use epochs::Epochs;
pub use exactly_once::ExactlyOnce;
pub use expiry::Expiry;
pub use failover_time::{FailoverTime, Milestone};
pub use latency::{Latency, LatencyOf, Quantile};
pub use linearizable::{Keys, Linearizable};
pub(crate) use look::{Look, Nodes};
pub use monotonic_reads::MonotonicReads;
pub use monotonic_writes::MonotonicWrites;
pub use not_promoted::NotPromoted;
pub use order::Order;
pub use promotions::Promotions;
pub use read_your_writes::ReadYourWrites;
pub use reads::{Allowed, ReadsFrom};
pub use redirects::Redirects;
pub use replica_lag::ReplicaLag;
pub use replica_read_only::ReplicaReadOnly;
pub use replicas::Replicas;
pub use role::{RoleIs, RoleOf};
pub use slot_coverage::SlotCoverage;
pub use split_brain::{MayLast, SplitBrain};
pub use stale_reads::{Answered, MaxAge, StaleReads};
pub use terms::{ClientSet, Moment, OpKind, ShardSet};
pub use woken::Woken;
pub use write_cutoff::WriteCutoff;

use super::load::written_in_code;
use crate::target::Target;

/// The registry of invariants: for each its one-line description, its module in [`crate::check`], its name in a suite,
/// and its variant with its settings. The enum, its names, the judging and the lists follow from it.
macro_rules! for_each_invariant {
    ($callback:ident) => {
        $callback! {
            /// All 16384 slots are assigned and ok in the view of every node that answers; at the end, no
            /// two masters claim one slot.
            slot_coverage "slot-coverage" SlotCoverage(SlotCoverage),
            /// All nodes share one view: the same masters, replicas, slots and epochs.
            agreement "agreement" Agreement(Agreement),
            /// Who is master, and who replicates whom.
            role "role" Role(RoleOf),
            /// How many replicas a shard has.
            replicas "replicas" Replicas(Replicas),
            /// How far replicas are behind, in bytes of the replication stream, and that their link is up.
            replica_lag "replica-lag" ReplicaLag(ReplicaLag),
            /// Acknowledged writes are still there when every key is read back, and whenever a master answers a read.
            acked_writes "acked-writes" AckedWrites(AckedWrites),
            /// Every acknowledged write of a counter, a list, a set or a stream took effect, and no write did so twice.
            exactly_once "exactly-once" ExactlyOnce(ExactlyOnce),
            /// A list or a stream shows its elements in the order in which they were appended, and always in the same.
            order "order" Order(Order),
            /// A transaction on two keys takes effect on both or on none, and nobody sees one half of it.
            atomic "atomic" Atomic(Atomic),
            /// A key with a time to live is there until it ends, and gone soon after.
            expiry "expiry" Expiry(Expiry),
            /// Every subscriber gets every acknowledged message of a channel, and only once.
            delivery "delivery" Delivery(Delivery),
            /// A client that waits for an element (BLPOP) is woken soon after one is there.
            woken "woken" Woken(Woken),
            /// Each key behaves as if every operation took effect at one moment between its invocation and its
            /// response.
            linearizable "linearizable" Linearizable(Linearizable),
            /// How old the values are that masters and replicas return.
            stale_reads "stale-reads" StaleReads(StaleReads),
            /// Once a client has read a value, it reads none that is older.
            monotonic_reads "monotonic-reads" MonotonicReads(MonotonicReads),
            /// Once a client's write is acknowledged, the client reads no value that is older.
            read_your_writes "read-your-writes" ReadYourWrites(ReadYourWrites),
            /// A node that has returned a client's write returns no older write of that client.
            monotonic_writes "monotonic-writes" MonotonicWrites(MonotonicWrites),
            /// How long reads or writes of a shard went unserved.
            availability "availability" Availability(Availability),
            /// How long reads or writes of a shard took, from when they were due.
            latency "latency" Latency(Latency),
            /// How long a failover took from the fault on.
            failover_time "failover-time" FailoverTime(FailoverTime),
            /// How many promotions of a replica a shard saw.
            promotions "promotions" Promotions(Promotions),
            /// No replica of a shard is promoted: in a phase, or during all steps.
            not_promoted "not-promoted" NotPromoted(NotPromoted),
            /// A MOVED reply names the node that owns the slot.
            redirects "redirects" Redirects(Redirects),
            /// A write that is sent to a replica is refused.
            replica_read_only "replica-read-only" ReplicaReadOnly(ReplicaReadOnly),
            /// Whether two nodes acknowledged writes of one shard in overlapping times: how long, how many.
            split_brain "split-brain" SplitBrain(SplitBrain),
            /// A master that is cut off from the majority stops acknowledging writes.
            write_cutoff "write-cutoff" WriteCutoff(WriteCutoff),
            /// configEpoch is unique among masters with slots, and no node's epoch ever falls.
            epochs "epochs" Epochs(Epochs),
            /// How long after the last network fault was healed all nodes share one view.
            convergence "convergence" Convergence(Convergence),
        }
    };
}

pub(crate) use for_each_invariant;

/// What the settings of every invariant can do.
trait Settings {
    /// Adds what makes it impossible to judge them: what they name does not exist, or there is nothing to observe.
    fn check(&self, look: &mut Look<'_>);

    /// Every target, to be changed in place: `any/...` is drawn when a suite is planned.
    fn targets_mut(&mut self) -> Vec<&mut Target>;
}

macro_rules! define {
    ($($(#[doc = $about:literal])+ $module:ident $name:literal $variant:ident($settings:ty),)+) => {
        /// One invariant, written as a mapping with one key: `- acked-writes: { may-lose: 0 }`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum Invariant {
            $($(#[doc = $about])+ $variant($settings),)+
        }

        impl Invariant {
            /// The name that it has in a suite: `acked-writes`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)+
                }
            }

            /// Adds what is wrong with its settings.
            pub(crate) fn check(&self, look: &mut Look<'_>) {
                match self {
                    $(Self::$variant(settings) => settings.check(look),)+
                }
            }

            /// Every target of its settings, to be changed in place.
            pub(crate) fn targets_mut(&mut self) -> Vec<&mut Target> {
                match self {
                    $(Self::$variant(settings) => settings.targets_mut(),)+
                }
            }
        }

        $(impl From<$settings> for Invariant {
            fn from(settings: $settings) -> Self {
                Self::$variant(settings)
            }
        })+

        written_in_code!($($settings),+);
    };
}

for_each_invariant!(define);
