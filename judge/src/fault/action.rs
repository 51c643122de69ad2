//! What can be done to a server's process.

use std::fmt;

/// What can be done to a server's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Asks the server to end (SIGTERM).
    Stop,
    /// Ends the server at once (SIGKILL).
    Kill,
    /// Starts a server that has ended, or never ran.
    Start,
    /// Freezes the server (SIGSTOP).
    Pause,
    /// Lets a frozen server go on (SIGCONT).
    Resume,
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
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
