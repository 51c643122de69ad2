//! The events of a fault, from its injection to the proof that it is undone.

use super::{DiskCount, EventKind, FaultKind, Hit, Side};
use crate::fault::{ClockChange, ClockOf, DiskChange};
use crate::suite::Only;
use crate::units::{NodeNo, ShardNo};

/// What an event says about a fault. See the kinds of [`EventKind`] of the same names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FaultEvent<'a> {
    /// The injection of a fault of a process begins.
    Injected {
        /// The kind of the fault.
        kind: FaultKind,
        /// The target as the suite states it.
        target: &'a str,
        /// The node.
        node: NodeNo,
        /// The shard of the node.
        shard: Option<ShardNo>,
        /// Whether the node owned the slots of the shard.
        was_master: bool,
    },
    /// The injection of a fault of links begins.
    NetworkInjected {
        /// The kind of the fault.
        kind: FaultKind,
        /// The name by which `heal` undoes it.
        name: &'a str,
        /// The step in words.
        target: &'a str,
        /// The nodes and clients of each side.
        sides: &'a [Side],
        /// The traffic that it hits.
        only: Only,
        /// The nodes that it hits.
        hits: &'a [Hit],
        /// Whether it hits only packets from the first side to the second.
        one_way: bool,
    },
    /// The injection of a fault of a clock begins.
    ClockInjected {
        /// The kind of the fault.
        kind: FaultKind,
        /// The name by which `heal` undoes it.
        name: &'a str,
        /// The target as the suite states it.
        target: &'a str,
        /// Which clock.
        of: ClockOf,
        /// What is wrong with the clock.
        change: ClockChange,
        /// The node whose host has that clock.
        hit: Hit,
    },
    /// The injection of a fault of a disk begins.
    DiskInjected {
        /// The kind of the fault.
        kind: FaultKind,
        /// The name by which `heal` undoes it.
        name: &'a str,
        /// The target as the suite states it.
        target: &'a str,
        /// What is wrong with the disk.
        change: DiskChange,
        /// The node whose host has that disk.
        hit: Hit,
    },
    /// The calls on a disk with a fault.
    Counted {
        /// The calls since the injection.
        calls: &'a [DiskCount],
        /// What the server says about its files.
        said: &'a str,
    },
    /// The injection is done.
    Applied,
    /// Slotquake looked whether the fault is in effect.
    Proven {
        /// Whether it is.
        in_effect: bool,
        /// What was seen.
        proof: &'a str,
    },
    /// The effect was gone before anything undid the fault.
    Ended {
        /// When the effect was last seen, in nanoseconds from the start of the run.
        in_effect_ns: u64,
        /// What was seen instead.
        seen: &'a str,
    },
    /// Undoing begins.
    Healed {
        /// The step that undoes it, or `heal`.
        by: &'a str,
    },
    /// Undoing is done.
    Lifted,
    /// It goes on, as the start that was to undo it failed, which its step allows.
    Persists,
    /// Slotquake could not undo the fault.
    HealFailed {
        /// Why not.
        reason: &'a str,
    },
    /// Slotquake looked whether the fault is undone.
    HealProven {
        /// Whether it is.
        healed: bool,
        /// What was seen.
        proof: &'a str,
    },
}

impl EventKind {
    /// The number of a fault and what the event says about it; None for an event about no fault.
    pub fn of_fault(&self) -> Option<(u32, FaultEvent<'_>)> {
        let (fault, event) = match self {
            Self::FaultInjected { fault, kind, target, node, shard, was_master } => {
                let (kind, node, shard, was_master) = (*kind, *node, *shard, *was_master);
                (fault, FaultEvent::Injected { kind, target, node, shard, was_master })
            }
            Self::NetworkFaultInjected { fault, name, kind, target, sides, only, hits, one_way, pairs: _ } => {
                let (kind, only, one_way) = (*kind, *only, *one_way);
                (fault, FaultEvent::NetworkInjected { kind, name, target, sides, only, hits, one_way })
            }
            Self::ClockFaultInjected { fault, name, kind, target, of, change, hit } => {
                (fault, FaultEvent::ClockInjected { kind: *kind, name, target, of: *of, change: *change, hit: *hit })
            }
            Self::DiskFaultInjected { fault, name, kind, target, change, hit } => {
                (fault, FaultEvent::DiskInjected { kind: *kind, name, target, change: *change, hit: *hit })
            }
            Self::DiskCounted { fault, calls, said } => (fault, FaultEvent::Counted { calls, said }),
            Self::FaultApplied { fault } => (fault, FaultEvent::Applied),
            Self::FaultProven { fault, in_effect, proof } => {
                (fault, FaultEvent::Proven { in_effect: *in_effect, proof })
            }
            Self::FaultEnded { fault, in_effect_ns, seen } => {
                (fault, FaultEvent::Ended { in_effect_ns: *in_effect_ns, seen })
            }
            Self::FaultHealed { fault, by } => (fault, FaultEvent::Healed { by }),
            Self::FaultLifted { fault } => (fault, FaultEvent::Lifted),
            Self::FaultPersists { fault, proof: _ } => (fault, FaultEvent::Persists),
            Self::HealFailed { fault, reason } => (fault, FaultEvent::HealFailed { reason }),
            Self::HealProven { fault, healed, proof } => (fault, FaultEvent::HealProven { healed: *healed, proof }),
            Self::Booted { .. }
            | Self::Clock { .. }
            | Self::SpeedProven { .. }
            | Self::Unheard { .. }
            | Self::Config { .. }
            | Self::Phase { .. }
            | Self::StepBegan { .. }
            | Self::StepEnded { .. }
            | Self::Viewed { .. }
            | Self::Silent { .. }
            | Self::Lag { .. }
            | Self::Synced { .. }
            | Self::ServerSeen { .. }
            | Self::Changed { .. }
            | Self::AddressChanged { .. }
            | Self::CameBack { .. }
            | Self::StartFailed { .. }
            | Self::LeftOut { .. }
            | Self::Impossible { .. }
            | Self::Corrupted { .. }
            | Self::PowerLost { .. }
            | Self::ServerEnded { .. }
            | Self::ServerCrashed { .. }
            | Self::ServerConfig { .. }
            | Self::Hooked { .. }
            | Self::Commanded { .. }
            | Self::Expected { .. }
            | Self::Executed { .. }
            | Self::Awaited { .. }
            | Self::RedirectProbed { .. }
            | Self::ReplicaWriteProbed { .. }
            | Self::Stalled { .. }
            | Self::Starved { .. }
            | Self::StepsEnded
            | Self::Recovered { .. }
            | Self::FinalRead { .. }
            | Self::Interrupted { .. }
            | Self::LeftBehind { .. }
            | Self::Note { .. }
            | Self::Subscribed { .. }
            | Self::Delivered { .. }
            | Self::Unsubscribed { .. }
            | Self::Waited { .. }
            | Self::End => return None,
        };
        Some((*fault, event))
    }

    /// The fault that this event injects, its kind, and the nodes that it hits.
    pub fn injected(&self) -> Option<(u32, FaultKind, Vec<Hit>)> {
        let (fault, event) = self.of_fault()?;
        match event {
            FaultEvent::Injected { kind, node, shard, was_master, target: _ } => {
                Some((fault, kind, vec![Hit { node, shard, was_master }]))
            }
            FaultEvent::NetworkInjected { kind, hits, .. } => Some((fault, kind, hits.to_vec())),
            FaultEvent::ClockInjected { kind, hit, .. } | FaultEvent::DiskInjected { kind, hit, .. } => {
                Some((fault, kind, vec![hit]))
            }
            FaultEvent::Counted { .. }
            | FaultEvent::Applied
            | FaultEvent::Proven { .. }
            | FaultEvent::Ended { .. }
            | FaultEvent::Healed { .. }
            | FaultEvent::Lifted
            | FaultEvent::Persists
            | FaultEvent::HealFailed { .. }
            | FaultEvent::HealProven { .. } => None,
        }
    }
}
