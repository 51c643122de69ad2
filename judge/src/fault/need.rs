//! What faults and plans ask of whatever runs the nodes.

use std::fmt;

/// Something that whatever runs the nodes must be able to do. What it cannot is a reason to skip a plan before
/// anything is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// To ask a server to end (SIGTERM).
    Stop,
    /// To end a server at once (SIGKILL).
    Kill,
    /// To start a server that has ended.
    Start,
    /// To freeze a server, and to let it go on (SIGSTOP, SIGCONT).
    Freeze,
    /// To cut one node off from everybody, clients and the harness included.
    Isolate,
    /// To drop all packets between two addresses, or those of one kind of traffic.
    Links,
    /// To refuse, thin out or throttle the packets between two addresses.
    Impairments,
    /// To delay packets.
    Delays,
    /// To tell clients of the workload from one another, and from the harness, by their addresses.
    Clients,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stopping a server",
            Self::Kill => "killing a server",
            Self::Start => "starting a server",
            Self::Freeze => "freezing a server",
            Self::Isolate => "cutting a node off",
            Self::Links => "cutting a link",
            Self::Impairments => "impairing a link",
            Self::Delays => "delaying packets",
            Self::Clients => "telling clients apart",
        })
    }
}
