//! Faults: the kinds that there are, and everything that is known of each.
//!
//! A kind is one line of the list below and one file of that name, with its settings where a suite has any, and its
//! [`FaultSpec`]. Who asks what a fault is, does or is called asks [`FaultKind::spec`]. How a fault is injected, proven
//! and undone is for the program beside the backends to know.

mod action;
mod clock;
mod disk;
mod kill;
mod links;
mod lossy;
mod narrow;
mod need;
mod partition;
mod pause;
mod power_loss;
mod refuse;
mod slow;
mod stop;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use action::{Action, Means};
pub use clock::{Clock, ClockChange, ClockFault, ClockOf, Strobe};
pub use disk::{Disk, DiskCall, DiskChange, DiskEffect, DiskError, DiskFault, DiskFiles};
pub use links::{LinkEffect, LinksFault, Only, Shape, Sides};
pub use lossy::Lossy;
pub use narrow::Narrow;
pub use need::Need;
pub use partition::Partition;
pub use power_loss::{LostBytes, LostName, Unsynced};
pub use refuse::Refuse;
pub use slow::Slow;

use crate::target::{Target, Targets};

/// The list of faults: for each its description, its variant with its settings, and its file. [`FaultKind`] and the
/// steps of a suite that inject a fault follow from it.
macro_rules! for_each_fault {
    ($callback:ident) => {
        $callback! {
            /// Ends the server with SIGTERM, as `systemctl stop` or `docker stop` would.
            Stop(Targets) in stop,
            /// Ends the server with SIGKILL: a crash.
            Kill(Targets) in kill,
            /// Takes the power from the servers' hosts, all at the same instant: SIGKILL, and what was not synchronised to
            /// disk is gone.
            PowerLoss(Targets) in power_loss,
            /// Freezes the server with SIGSTOP: it keeps its connections and answers nothing.
            Pause(Targets) in pause,
            /// Cuts the network between two sides, or in a shape: packets vanish.
            Partition(Partition) in partition,
            /// Drops a share of the packets between two sides.
            Lossy(Lossy) in lossy,
            /// Limits the rate between two sides.
            Narrow(Narrow) in narrow,
            /// Answers connections between two sides with a TCP reset instead of silence.
            Refuse(Refuse) in refuse,
            /// Delays packets between two sides, where the kernel has netem.
            Slow(Slow) in slow,
            /// Makes a clock of a node's host wrong: it jumps, drifts or strobes. `heal` sets it right.
            Clock(Clock) in clock,
            /// Makes the disk of a node's host faulty for what its server writes: full, failing, slow, stalling, or short writes.
            /// `heal` makes it whole.
            Disk(Disk) in disk,
        }
    };
}

pub(crate) use for_each_fault;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident($settings:ty) in $module:ident,)+) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum FaultKind {
            $($(#[$doc])* $kind,)+
        }

        impl FaultKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// What is known of the kind.
            pub fn spec(self) -> &'static FaultSpec {
                match self {
                    $(Self::$kind => &$module::SPEC,)+
                }
            }
        }
    };
}

for_each_fault!(kinds);

/// What the settings of every fault can do.
pub(crate) trait Settings {
    /// The fault of that kind that they ask for.
    fn fault(&self, kind: FaultKind) -> FaultStep<'_>;

    /// Every target, to be changed in place: `any/...` is drawn when a suite is planned.
    fn targets_mut(&mut self) -> Vec<&mut Target>;
}

/// The settings of a fault of processes are its targets.
impl Settings for Targets {
    fn fault(&self, kind: FaultKind) -> FaultStep<'_> {
        match kind.spec().nature {
            Nature::Process(fault) => FaultStep::Process(kind, fault, self),
            Nature::Links(_) | Nature::Clock | Nature::Disk => {
                unreachable!("{kind} has settings of its own, not only targets")
            }
        }
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        self.0.iter_mut().collect()
    }
}

/// What is known of a kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultSpec {
    /// Its name in suites, events and reports.
    pub word: &'static str,
    /// What became of a node that it hit: `was stopped`.
    pub past: &'static str,
    /// What it always needs of whatever runs the nodes.
    pub needs: &'static [Need],
    /// How a node that it hits is drawn.
    pub drawn: Drawn,
    /// What it hits.
    pub nature: Nature,
}

/// What a kind of fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// A server's process.
    Process(ProcessFault),
    /// Links between nodes and clients.
    Links(LinkNature),
    /// A clock of a node's host.
    Clock,
    /// The disk of a node's host.
    Disk,
}

/// How a fault of a process is injected and undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessFault {
    /// What injects it.
    pub inject: Action,
    /// What undoes it.
    pub undo: Action,
    /// What the process is meanwhile.
    pub effect: ProcessEffect,
    /// Whether what it had not synchronised to disk is gone with it.
    pub loses_unsynced: bool,
}

/// What a fault makes of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessEffect {
    /// It is gone.
    Gone,
    /// It is there and does nothing.
    Frozen,
}

/// What a fault of links does to those that it hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkNature {
    /// Whether it keeps all packets from passing, rather than some, or for a while.
    pub severs: bool,
}

/// How a node that a fault hits is drawn, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drawn {
    /// Its clock is wrong.
    WrongClock,
    /// Its disk is faulty.
    FaultyDisk,
    /// Its links are slow, narrow or lossy.
    Hindered,
    /// It is cut off from other nodes or clients.
    CutOff,
    /// Its process is frozen.
    Paused,
    /// Its process is gone.
    Down,
}

impl FaultKind {
    /// Its name in suites, events and reports.
    pub fn word(self) -> &'static str {
        self.spec().word
    }

    /// Whether it keeps a server's process from answering, and a master that it hits may be replaced for it.
    pub fn holds_process(self) -> bool {
        match self.spec().nature {
            Nature::Process(_) => true,
            Nature::Links(_) | Nature::Clock | Nature::Disk => false,
        }
    }

    /// Whether it ends a server's process, so that what was not on disk is lost with it.
    pub fn ends_process(self) -> bool {
        match self.spec().nature {
            Nature::Process(fault) => match fault.effect {
                ProcessEffect::Gone => true,
                ProcessEffect::Frozen => false,
            },
            Nature::Links(_) | Nature::Clock | Nature::Disk => false,
        }
    }

    /// Whether what a server had not synchronised to disk is gone with its process.
    pub fn loses_unsynced(self) -> bool {
        match self.spec().nature {
            Nature::Process(fault) => fault.loses_unsynced,
            Nature::Links(_) | Nature::Clock | Nature::Disk => false,
        }
    }

    /// Whether it hits links.
    pub fn hits_links(self) -> bool {
        match self.spec().nature {
            Nature::Process(_) | Nature::Clock | Nature::Disk => false,
            Nature::Links(_) => true,
        }
    }

    /// Whether it makes a clock wrong, and nothing else: the node goes on to serve, to vote and to be elected.
    pub fn hits_clock(self) -> bool {
        match self.spec().nature {
            Nature::Process(_) | Nature::Links(_) | Nature::Disk => false,
            Nature::Clock => true,
        }
    }

    /// Whether it makes a disk faulty.
    pub fn hits_disk(self) -> bool {
        match self.spec().nature {
            Nature::Process(_) | Nature::Links(_) | Nature::Clock => false,
            Nature::Disk => true,
        }
    }

    /// Whether it has a name, by which `heal` undoes it.
    pub fn has_name(self) -> bool {
        match self.spec().nature {
            Nature::Process(_) => false,
            Nature::Links(_) | Nature::Clock | Nature::Disk => true,
        }
    }

    /// Whether no packet passes the links that it hits.
    pub fn severs_links(self) -> bool {
        match self.spec().nature {
            Nature::Process(_) | Nature::Clock | Nature::Disk => false,
            Nature::Links(links) => links.severs,
        }
    }

    /// Whether times after it count from the signal, as a process falls silent with it even where the injection goes
    /// on to wait for its end. Links are whole until the last rule is in force.
    pub fn counts_from_signal(self) -> bool {
        match self.spec().nature {
            Nature::Process(_) => true,
            Nature::Links(_) | Nature::Clock | Nature::Disk => false,
        }
    }

    /// A fault of that kind in words, where `what` is the node or the name: `pause of node-1`, `partition cut`.
    pub fn of(self, what: &str) -> String {
        match self.spec().nature {
            Nature::Process(_) => format!("{self} of {what}"),
            Nature::Links(_) | Nature::Clock | Nature::Disk => format!("{self} {what}"),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A fault as a step of a suite asks for it.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultStep<'a> {
    /// Of the processes of these nodes.
    Process(FaultKind, ProcessFault, &'a Targets),
    /// Of links.
    Links(LinksFault<'a>),
    /// Of a clock.
    Clock(ClockFault<'a>),
    /// Of a disk.
    Disk(DiskFault<'a>),
}

impl<'a> FaultStep<'a> {
    /// Its kind.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Process(kind, ..) => *kind,
            Self::Links(fault) => fault.kind,
            Self::Clock(fault) => fault.kind,
            Self::Disk(fault) => fault.kind,
        }
    }

    /// The abilities that it needs from a backend.
    pub fn needs(&self) -> Vec<Need> {
        match self {
            Self::Process(kind, ..) => kind.spec().needs.to_vec(),
            Self::Links(fault) => fault.needs(),
            Self::Clock(fault) => fault.kind.spec().needs.to_vec(),
            Self::Disk(fault) => fault.kind.spec().needs.to_vec(),
        }
    }

    /// The fault of links that it is, if it is one.
    pub fn links(&self) -> Option<&LinksFault<'a>> {
        match self {
            Self::Process(..) | Self::Clock(_) | Self::Disk(_) => None,
            Self::Links(fault) => Some(fault),
        }
    }

    /// The name by which `heal` undoes it; None for one that `heal` does not undo.
    pub fn name(&self) -> Option<Option<&'a str>> {
        match self {
            Self::Process(..) => None,
            Self::Links(fault) => Some(fault.name),
            Self::Clock(fault) => Some(fault.name),
            Self::Disk(fault) => Some(fault.name),
        }
    }

    /// The action on processes that injects it and its targets, if it is a fault of processes.
    pub fn action(&self) -> Option<(Action, &'a Targets)> {
        match self {
            Self::Process(_, fault, targets) => Some((fault.inject, targets)),
            Self::Links(_) | Self::Clock(_) | Self::Disk(_) => None,
        }
    }

    /// Whether it cuts the cluster bus.
    pub fn cuts_bus(&self) -> bool {
        self.links().is_some_and(|links| {
            links.kind.severs_links()
                && match links.only {
                    Only::All | Only::Bus => true,
                    Only::Clients | Only::Replication => false,
                }
        })
    }

    /// Whether it freezes a process, which continues later as if nothing had happened.
    pub fn freezes(&self) -> bool {
        self.action().is_some_and(|(action, _)| action.leaves() == Some(ProcessEffect::Frozen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_names_are_the_words_of_suites() {
        for &kind in FaultKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
    }
}
