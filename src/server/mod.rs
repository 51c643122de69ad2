//! Which `redis-server` or `valkey-server`: the catalogue of versions, how one is found or fetched,
//! and which options each version takes.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The two families of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        })
    }
}

/// A server's version as it reports it itself, such as redis 6.2.14.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// Redis or Valkey.
    pub flavour: Flavour,
    /// Major number.
    pub major: u16,
    /// Minor number.
    pub minor: u16,
    /// Patch number.
    pub patch: u16,
}

impl Version {
    /// Whether this is Redis of at least that version; false for Valkey.
    pub fn is_redis_at_least(self, major: u16, minor: u16) -> bool {
        self.flavour == Flavour::Redis && (self.major, self.minor) >= (major, minor)
    }

    /// Whether this is Valkey of at least that version; false for Redis.
    pub fn is_valkey_at_least(self, major: u16, minor: u16) -> bool {
        self.flavour == Flavour::Valkey && (self.major, self.minor) >= (major, minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}.{}", self.flavour, self.major, self.minor, self.patch)
    }
}

/// A server that was found on this machine and runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Server {
    /// What was asked for: `redis:6.2`, or a path.
    pub asked: String,
    /// What the binary says it is.
    pub version: Version,
    /// The binary. Never canonicalised: Debian's `redis-server` decides by the name it is called by.
    pub path: PathBuf,
    /// Where it came from, in words: `cache`, `PATH`, `given path`, ...
    pub origin: String,
}

/// Why there is no server to run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServerError(pub String);

/// Finds the server that was asked for (`redis:6.2`, or a path), or fetches it; `notice` is told what
/// is fetched and from where.
pub fn find(asked: &str, notice: &dyn Fn(&str)) -> Result<Server, ServerError> {
    let _ = (asked, notice);
    todo!()
}
