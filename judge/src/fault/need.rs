//! The abilities that faults and plans need from a backend.

use std::fmt;

/// An ability that a plan needs from a backend. If the backend lacks one, the plan is skipped before anything
/// starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// Stop a server (SIGTERM).
    Stop,
    /// Kill a server (SIGKILL).
    Kill,
    /// Start a server that is down.
    Start,
    /// Change a server that is down: its version, its data, its directives.
    Change,
    /// Give a server that is down another address.
    NewAddress,
    /// Damage a file of a server that is down.
    Damage,
    /// Freeze a server and resume it (SIGSTOP, SIGCONT).
    Freeze,
    /// Isolate one node from all nodes, from clients and from the harness.
    Isolate,
    /// Drop packets between two addresses, all or those of one kind of traffic.
    Links,
    /// Reject, drop at random or throttle packets between two addresses.
    Impairments,
    /// Lose packets that TCP sends again in the time of the cluster.
    Loss,
    /// Delay packets.
    Delays,
    /// Distinguish the clients of the workload from one another and from the harness by address.
    Clients,
    /// Make the wall clock of one node wrong.
    Clocks,
    /// Make the disk of one node faulty.
    Disks,
    /// Read the logs of servers while they write them.
    Logs,
    /// Lose with a server what it had not synchronised to disk.
    PowerLoss,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stopping a server",
            Self::Kill => "killing a server",
            Self::Start => "starting a server",
            Self::Change => "changing a server that is down",
            Self::NewAddress => "giving a server another address",
            Self::Damage => "damaging a file",
            Self::Freeze => "freezing a server",
            Self::Isolate => "isolating a node",
            Self::Links => "cutting a link",
            Self::Impairments => "impairing a link",
            Self::Loss => "losing packets",
            Self::Delays => "delaying packets",
            Self::Clients => "distinguishing clients",
            Self::Clocks => "changing a clock",
            Self::Disks => "making a disk faulty",
            Self::Logs => "reading logs while they are written",
            Self::PowerLoss => "losing what is not on disk yet",
        })
    }
}
