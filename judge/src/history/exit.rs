//! How the process of a server, or a program, ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The signals by which a process ends itself when it is broken (signal(7)). Nobody stops a server by these.
const CRASHES: [&str; 7] = ["SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGSYS"];

/// How a process ended, as the system reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exit {
    /// The system's words: `signal: 11 (SIGSEGV) (core dumped)`, `exit code 137, out of memory`.
    pub how: String,
    /// The signal that ended it; None if it exited, or if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<ExitSignal>,
    /// Its exit status; None if a signal ended it, or if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
}

/// The signal that ended a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExitSignal {
    /// Its number on the machine of the server.
    pub number: i32,
    /// Its name, such as `SIGSEGV`; empty if it has none.
    pub name: String,
}

impl Exit {
    /// Whether the signal is one by which broken programs end.
    pub fn is_crash(&self) -> bool {
        self.signal.as_ref().is_some_and(|signal| CRASHES.contains(&signal.name.as_str()))
    }

    /// Whether the server gave up: it exited by itself with an error.
    pub fn is_error(&self) -> bool {
        self.status.is_some_and(|status| status != 0)
    }

    /// What became of a program, after its name, where None is one that was killed at its limit.
    pub fn in_words(exit: Option<&Self>) -> String {
        exit.map_or_else(|| "did not end in time and was killed".to_owned(), Self::words)
    }

    /// What became of the server, after its name: `died of signal 11 (SIGSEGV)`, `exited with status 1`.
    pub fn words(&self) -> String {
        match (&self.signal, self.status) {
            (Some(ExitSignal { number, name }), _) if name.is_empty() => format!("died of signal {number}"),
            (Some(ExitSignal { number, name }), _) => format!("died of signal {number} ({name})"),
            (None, Some(status)) => format!("exited with status {status}"),
            (None, None) => format!("ended ({})", self.how),
        }
    }
}
