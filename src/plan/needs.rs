//! What a plan asks of whatever runs its nodes.

use std::collections::BTreeSet;
use std::fmt;

use super::Plan;
use crate::suite::Step;

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
    /// To put rules on the packets between two addresses: drop, refuse, thin out, throttle.
    Links,
    /// To delay packets.
    Delays,
}

impl Need {
    /// What a step needs.
    pub fn of(step: &Step) -> &'static [Self] {
        match step {
            Step::Stop(_) => &[Self::Stop],
            Step::Kill(_) => &[Self::Kill],
            Step::Start(_) => &[Self::Start],
            Step::Pause(_) | Step::Resume(_) => &[Self::Freeze],
            Step::Slow(_) => &[Self::Links, Self::Delays],
            step if step.is_network_fault() => &[Self::Links],
            _ => &[],
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stopping a server",
            Self::Kill => "killing a server",
            Self::Start => "starting a server",
            Self::Freeze => "freezing a server",
            Self::Links => "cutting a link",
            Self::Delays => "delaying packets",
        })
    }
}

impl Plan {
    /// What its steps need.
    pub fn needs(&self) -> BTreeSet<Need> {
        self.steps.iter().flat_map(Need::of).copied().collect()
    }

    /// Whether its steps need this.
    pub fn needs_to(&self, need: Need) -> bool {
        self.steps.iter().any(|step| Need::of(step).contains(&need))
    }
}
