//! Why an acknowledged write is gone, as far as the history tells.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::handover::{HandOver, emptied};
use super::{Failover, FaultSpan, Reign, Reigns};
use crate::consistency::{Kind, Operation};
use crate::history::{FaultKind, History};
use crate::units::ShardNo;
use crate::words::at;

/// Why an acknowledged write is gone. The first rule that holds decides, in this order; `t` is the
/// moment at which the client had the acknowledgement, `N` the node that gave it.
///
/// 1. **minority-side**: at `t` a cut (`partition` or `refuse`, of all traffic or of the cluster bus)
///    that hit `N` was in force, and it cost `N` the shard: another node owned it by `t`, or came to
///    own it before the cut was lifted, or by an election that the cut had begun. A cut that was
///    lifted before anybody was promoted lost nothing, so a write of its time that is gone has
///    another cause.
/// 2. **stale-master**: at `t` another node owned the shard, and `N` had owned it before. No cut was
///    in force on `N`: it was woken from a pause, or the cut was lifted and it had not learned yet.
/// 3. **failover** or **restart**: at `t` `N` owned the shard, and later it passed to another node
///    (the write had not reached it), or the process of the shard's owner of the time was stopped or
///    killed and started again without a promotion (the write had not reached its disk).
/// 4. **data-lost**: a restart as in 3, for which a step took the node's data (`data: lost`) or damaged it (`corrupt`).
/// 5. **unknown**: everything else. It includes a write after which its shard saw two of a promotion, a
///    restart and a restart without data: each may have lost it.
///
/// Reads can refute a cause. If the new master returned the write after its promotion, or the restarted one after its
/// start, it had arrived there, and what lost it came later: the cause is unknown, and the example of the lost write
/// says what speaks against the hand-over. The same goes where the new master is shown to have
/// had a later write of the old one.
///
/// (Worked example: node-1 owns shard-1. It acknowledges `a` at 1 s; is cut off at 2 s and
/// acknowledges `b` at 3 s; node-4 is promoted at 4 s; node-1 acknowledges `c` at 5 s, the cut is
/// lifted at 6 s, and before node-1 learns of node-4 it acknowledges `d` at 6.01 s. All are gone:
/// `a` by failover, `b` and `c` on the minority side, `d` by a stale master. Had node-4 not been
/// promoted and node-1 been killed at 7 s and started again, `b` and `c` would be lost by restart.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Acknowledged by a node that a cut kept from the majority, which promoted another.
    MinoritySide,
    /// Acknowledged by a node after another one owned the shard.
    StaleMaster,
    /// Acknowledged by the master, and not yet with its successor when that was promoted.
    Failover,
    /// Acknowledged by the master, and not on the disk from which it came back.
    Restart,
    /// Acknowledged by the master, which then restarted without its data, or with a damaged file.
    DataLost,
    /// The history does not tell.
    #[default]
    Unknown,
}

impl Cause {
    /// All of them, in the order of their precedence.
    pub const ALL: [Self; 6] =
        [Self::MinoritySide, Self::StaleMaster, Self::Failover, Self::Restart, Self::DataLost, Self::Unknown];
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MinoritySide => "minority-side",
            Self::StaleMaster => "stale-master",
            Self::Failover => "failover",
            Self::Restart => "restart",
            Self::DataLost => "data-lost",
            Self::Unknown => "unknown",
        })
    }
}

/// Where the node that acknowledged a write stood at that moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AckSide {
    /// A cut was in force, and the node was among those that it hit.
    Minority,
    /// A cut was in force, and the node was not.
    Majority,
    /// No cut was in force.
    #[default]
    NoCut,
}

impl fmt::Display for AckSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minority => "minority",
            Self::Majority => "majority",
            Self::NoCut => "no-cut",
        })
    }
}

/// What the causes are told from.
pub(super) struct Causes<'a> {
    reigns: &'a Reigns,
    failovers: &'a [Failover],
    cuts: Vec<&'a FaultSpan>,
    restarts: Vec<Restart>,
}

/// A shard whose owner's process ended and was started again without a promotion.
struct Restart {
    shard: ShardNo,
    /// When ending the process began.
    ended_ns: u64,
    started_ns: u64,
    /// Whether a step took its data, or damaged it, while it was down.
    data_lost: bool,
}

impl<'a> Causes<'a> {
    pub(super) fn new(
        reigns: &'a Reigns,
        failovers: &'a [Failover],
        fault_spans: &'a [FaultSpan],
        history: &History,
    ) -> Self {
        let ended =
            |failover: &&Failover| failover.kind.is_some_and(FaultKind::ends_process) && failover.new_master.is_none();
        let restarts = failovers
            .iter()
            .filter(ended)
            .filter_map(|failover| {
                let fault = fault_spans.iter().find(|each| Some(each.fault) == failover.fault)?;
                let (node, started_ns) = (failover.old_master, fault.healed_ns?);
                let until_ns = fault.lifted_ns.or(fault.undone_ns).unwrap_or(u64::MAX);
                let data_lost = emptied(history)
                    .any(|emptied| emptied.0 == node && (fault.from_ns..=until_ns).contains(&emptied.1));
                Some(Restart { shard: failover.shard, ended_ns: fault.from_ns, started_ns, data_lost })
            })
            .collect();
        let cuts = fault_spans.iter().filter(|each| each.cuts_off()).collect();
        Self { reigns, failovers, cuts, restarts }
    }

    /// The shards whose owner's process ended and was started again without a promotion, and when it was started.
    pub(super) fn restarts(&self) -> impl Iterator<Item = (ShardNo, u64)> {
        self.restarts.iter().map(|restart| (restart.shard, restart.started_ns))
    }

    /// How long before the end of its process the owner of a shard acknowledged a write at that moment, in nanoseconds, if
    /// the first restart since then lost it.
    pub(super) fn before_end_ns(&self, shard: ShardNo, acked_ns: u64) -> Option<u64> {
        let later = self.restarts.iter().filter(|restart| restart.shard == shard && restart.started_ns > acked_ns);
        let first = later.min_by_key(|restart| restart.started_ns)?;
        Some(first.ended_ns.saturating_sub(acked_ns))
    }

    /// Where the node that acknowledged a write stood.
    pub(super) fn side(&self, write: &Operation) -> AckSide {
        let cuts: Vec<&FaultSpan> =
            self.cuts.iter().copied().filter(|cut| cut.in_force().contains(write.complete_ns)).collect();
        match cuts.iter().any(|cut| cut.hit(write.node).is_some()) {
            true => AckSide::Minority,
            false if cuts.is_empty() => AckSide::NoCut,
            false => AckSide::Majority,
        }
    }

    /// Why an acknowledged write of a shard is gone, and what speaks against the cause that its time suggests.
    /// `group` is the write with the reads that returned it.
    pub(super) fn cause(
        &self,
        write: &Operation,
        group: &[Operation],
        shard: ShardNo,
        hand_overs: &[HandOver],
    ) -> (Cause, Option<String>) {
        let suggested = self.by_time(write, shard);
        let refuted = match suggested {
            Cause::Unknown => None,
            Cause::MinoritySide | Cause::StaleMaster | Cause::Failover | Cause::Restart | Cause::DataLost => {
                hand_overs.iter().filter(|each| each.shard == shard).find_map(|each| arrived(write, group, each))
            }
        };
        match refuted {
            Some(seen) => (Cause::Unknown, Some(format!("its time suggests {suggested}, but {seen}"))),
            None => (suggested, None),
        }
    }

    fn by_time(&self, write: &Operation, shard: ShardNo) -> Cause {
        let (node, at_ns) = (write.node, write.complete_ns);
        let mut before = self.reigns.of(shard).iter().rev().filter(|reign| reign.from_ns <= at_ns);
        let Some(reign) = before.find(|reign| reign.node == node) else { return Cause::Unknown };
        let cut_off = |cut: &&&FaultSpan| cut.in_force().contains(at_ns) && cut.hit(node).is_some();
        if self.cuts.iter().filter(cut_off).any(|cut| self.cost(cut, reign, shard)) {
            return Cause::MinoritySide;
        }
        if reign.to_ns <= at_ns {
            return Cause::StaleMaster;
        }
        let promoted_later = reign.to_ns < u64::MAX;
        let later = || self.restarts.iter().filter(|restart| restart.shard == shard && restart.started_ns > at_ns);
        let restarted_later = later().any(|restart| !restart.data_lost);
        let emptied_later = later().any(|restart| restart.data_lost);
        match (promoted_later, restarted_later, emptied_later) {
            (true, false, false) => Cause::Failover,
            (false, true, false) => Cause::Restart,
            (false, false, true) => Cause::DataLost,
            (true, true, _) | (true, _, true) | (_, true, true) | (false, false, false) => Cause::Unknown,
        }
    }

    /// Whether a cut cost a node the shard: by the time that it was lifted, or by its election.
    fn cost(&self, cut: &FaultSpan, reign: &Reign, shard: ShardNo) -> bool {
        let by_its_election = self.failovers.iter().any(|failover| {
            let of_it = failover.fault == Some(cut.fault) && failover.shard == shard;
            of_it && failover.old_master == reign.node && failover.new_master.is_some()
        });
        reign.to_ns < cut.in_force().to_ns || by_its_election
    }
}

/// How a hand-over is shown to have kept a write.
fn arrived(write: &Operation, group: &[Operation], over: &HandOver) -> Option<String> {
    let concerns = write.node == over.old && (over.from_ns..over.until_ns).contains(&write.complete_ns);
    if !concerns || (over.old == over.new && write.complete_ns >= over.at_ns) {
        return None;
    }
    let how = if over.old == over.new { "its restart" } else { "its promotion" };
    let read = group.iter().find(|op| op.kind == Kind::Read && over.is_after(op));
    let by_read = read
        .map(|read| format!("{} returned it at {}, after {how} at {}", over.new, at(read.complete_ns), at(over.at_ns)));
    by_read.or_else(|| {
        let is_covered = write.complete_ns < over.at_ns && write.complete_ns < over.arrived_ns;
        is_covered.then(|| format!("{} had what was written up to {} after {how}", over.new, at(over.arrived_ns)))
    })
}
