//! Outages: spans in which no operation was served.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Window;
use crate::history::{Op, Outcome};
use crate::suite::{ClientSet, OpKind};
use crate::units::ShardNo;

/// The default patience: an operation without an answer for longer than this is not served.
pub const PATIENCE_NS: u64 = 1_000_000_000;

/// The shortest stall that counts as an outage unless a suite asks for less, and the shortest that reports show. On a
/// busy machine, answers come this late without any fault.
pub const STALL_NS: u64 = 100_000_000;

/// Whose operations an outage is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whose {
    /// Reads or writes.
    pub of: OpKind,
    /// The shard.
    pub shard: ShardNo,
    /// The clients.
    pub clients: ClientSet,
}

/// A span without service for one kind of operation on one shard, for some of the clients. Outages of the same do not overlap.
///
/// An operation is *unserved* from its issue to the first completion of an operation that was issued at the same time
/// or later and was served. It belongs to an outage if the server rejected it or did not answer it (whatever the
/// patience), or if it was unserved for longer than the patience. An outage lasts from the issue of its first operation
/// until service is back. Where two would overlap, the shorter one is cut: the longest keeps its length. An operation that the harness did not send says nothing of the cluster and belongs to none.
///
/// An operation that was issued before the outage and is answered during it ends nothing: the server may have executed
/// it before. (Worked example: write 1, issued at 0 s, is refused; write 2, issued at 1 s, hangs until 7 s and is then
/// served; write 3, issued at 4 s, is served at 4.01 s. The outage lasts until write 3 is served, at 4.01 s. Were there
/// a write 4, issued at 5 s and refused, and nothing after it, a second outage would begin with it, although write 2 is
/// answered at 7 s.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outage {
    /// Reads or writes.
    pub of: OpKind,
    /// The shard without service.
    pub shard: ShardNo,
    /// The clients without service. All, unless a fault of links divides them.
    #[serde(default, skip_serializing_if = "ClientSet::is_all")]
    pub clients: ClientSet,
    /// When its first operation was issued, in nanoseconds from the start of the run.
    pub from_ns: u64,
    /// When it ends, in nanoseconds from the start of the run: at the latest with the window that was looked at.
    pub to_ns: u64,
    /// How many operations belong to it.
    pub unserved: u64,
    /// Whether an operation was served again within the window.
    pub ended: bool,
    /// Whether every operation that belongs to it was served in the end, at most [`PATIENCE_NS`] after its issue: answers
    /// only came late.
    #[serde(default)]
    pub stall: bool,
}

impl Outage {
    /// Its length in milliseconds.
    pub fn length_ms(&self) -> f64 {
        self.length_ns() as f64 / 1e6
    }

    /// Its length in nanoseconds.
    pub fn length_ns(&self) -> u64 {
        self.to_ns.saturating_sub(self.from_ns)
    }

    /// Whose operations it is about.
    pub fn whose(&self) -> Whose {
        Whose { of: self.of, shard: self.shard, clients: self.clients }
    }

    /// Its span.
    pub fn window(&self) -> Window {
        Window { from_ns: self.from_ns, to_ns: self.to_ns }
    }
}

/// The outages among the operations that a window issued, in order of time. The operations are in the order of their
/// issue. Stalls count from that patience on, in nanoseconds.
pub fn outages(ops: &[&Op], whose: Whose, window: Window, patience_ns: u64) -> Vec<Outage> {
    let Whose { of, shard, clients } = whose;
    let mut unserved: Vec<(&Op, u64)> = Vec::new();
    // From the last operation to the first: the earliest service of one issued at the same time or later.
    let mut served_again_ns = u64::MAX;
    for op in ops.iter().rev() {
        match op.outcome() {
            Outcome::Ok => {
                served_again_ns = served_again_ns.min(op.complete_ns());
                if served_again_ns.saturating_sub(op.invoke_ns()) > patience_ns {
                    unserved.push((op, served_again_ns));
                }
            }
            Outcome::Fail(_) | Outcome::Info(_) => unserved.push((op, served_again_ns)),
            Outcome::Unsent(_) => {}
        }
    }
    let mut outages: Vec<Outage> = Vec::new();
    for &(op, served_again_ns) in unserved.iter().rev() {
        let (from_ns, to_ns) = (op.invoke_ns(), served_again_ns.min(window.to_ns));
        let ended = served_again_ns < window.to_ns;
        let stall = op.is_served_within(PATIENCE_NS);
        match outages.last_mut() {
            Some(outage) if outage.ended == ended && belongs(op, to_ns, outage) => {
                outage.unserved += 1;
                outage.stall &= stall;
            }
            _ => add(&mut outages, Outage { of, shard, clients, from_ns, to_ns, unserved: 1, ended, stall }),
        }
    }
    outages
}

/// Adds an outage. Where it overlaps the one before, the shorter of the two is cut.
fn add(outages: &mut Vec<Outage>, mut outage: Outage) {
    while let Some(earlier) = outages.last_mut().filter(|earlier| earlier.to_ns > outage.from_ns) {
        if earlier.length_ns() >= outage.length_ns() {
            outage.from_ns = earlier.to_ns;
        } else if earlier.from_ns < outage.from_ns {
            earlier.to_ns = outage.from_ns;
        } else {
            outage.unserved += earlier.unserved;
            outage.stall &= earlier.stall;
            outages.pop();
        }
    }
    outages.push(outage);
}

/// Whether an operation that was unserved until `to_ns` belongs to the outage before it. A server that wakes answers
/// waiting operations one by one: that is one outage, not one for each answer.
fn belongs(op: &Op, to_ns: u64, outage: &Outage) -> bool {
    let one_by_one = op.outcome() == Outcome::Ok
        && op.invoke_ns() < outage.to_ns
        && to_ns - outage.to_ns <= PATIENCE_NS
        && to_ns - op.invoke_ns() <= outage.to_ns - outage.from_ns;
    outage.to_ns == to_ns || one_by_one
}
