//! The actions on a server's process.

use std::fmt;

use super::ProcessEffect;

/// An action on a server's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Ask the server to end (SIGTERM).
    Stop,
    /// End the server at once (SIGKILL).
    Kill,
    /// Start a server that has ended, or never ran.
    Start,
    /// Freeze the server (SIGSTOP).
    Pause,
    /// Let a frozen server go on (SIGCONT).
    Resume,
}

/// How a backend carries an action out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Start the server's process.
    Start,
    /// Send the signal of that name to it.
    Signal(&'static str),
    /// Stop its execution, and keep its memory and connections.
    Freeze,
    /// Continue its execution.
    Thaw,
}

impl Action {
    /// Its name in suites, and that of the hook that does it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    /// How a backend carries it out.
    pub fn means(self) -> Means {
        match self {
            Self::Stop => Means::Signal("SIGTERM"),
            Self::Kill => Means::Signal("SIGKILL"),
            Self::Start => Means::Start,
            Self::Pause => Means::Freeze,
            Self::Resume => Means::Thaw,
        }
    }

    /// What it makes of the process; None if the server runs afterwards.
    pub fn leaves(self) -> Option<ProcessEffect> {
        match self.means() {
            Means::Signal(_) => Some(ProcessEffect::Gone),
            Means::Freeze => Some(ProcessEffect::Frozen),
            Means::Start | Means::Thaw => None,
        }
    }

    /// Whether it has an effect on a process on which faults had that effect, None for a server that runs. A frozen
    /// process does not handle SIGTERM, and no other signal but SIGKILL.
    pub fn has_effect_on(self, process: Option<ProcessEffect>) -> bool {
        match (self.means(), process) {
            (Means::Signal(_) | Means::Freeze, None)
            | (Means::Start, Some(ProcessEffect::Gone))
            | (Means::Thaw, Some(ProcessEffect::Frozen)) => true,
            (Means::Signal(signal), Some(ProcessEffect::Frozen)) => signal == "SIGKILL",
            (Means::Signal(_) | Means::Freeze | Means::Thaw, Some(ProcessEffect::Gone))
            | (Means::Freeze | Means::Start, Some(ProcessEffect::Frozen))
            | (Means::Start | Means::Thaw, None) => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
