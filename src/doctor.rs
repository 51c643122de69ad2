//! What this machine can do; for what it cannot, why, and the way out.

use std::fmt;

use serde::Serialize;

/// One thing that a run may need of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Capability {
    /// What it is, such as `server redis:6.2` or `docker`.
    pub name: String,
    /// Whether it is there.
    pub state: State,
    /// What was found, in words.
    pub detail: String,
    /// The way out, where something is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether a capability is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is there and works.
    Ok,
    /// It is there in part: `detail` says what works and what does not.
    Limited,
    /// It is not there.
    Missing,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
        })
    }
}

/// Looks at everything.
pub fn examine() -> Vec<Capability> {
    todo!()
}
