//! What a source of servers gives: a directory with a server, or the reason why there is none.

use std::io;
use std::path::{Path, PathBuf};

use super::{ServerError, Wanted};

/// A directory that a source has filled: `<flavour>-server` and the files that belong to it.
pub(super) struct Unpacked {
    /// The directory.
    pub folder: PathBuf,
    /// The package that it came from, as text.
    pub origin: String,
}

/// Why a source gave no server.
pub(super) enum SourceError {
    /// The network, a program or the package failed.
    Failed { reason: String, hint: Option<String> },
    /// A file operation in the cache failed.
    Cache { path: PathBuf, doing: &'static str, source: io::Error },
}

impl SourceError {
    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), hint: None }
    }

    /// Converts the system's error for a file of the cache.
    pub(super) fn cache(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Cache { path, doing, source }
    }

    /// The error that a user sees.
    pub(super) fn into_error(self, wanted: Wanted) -> ServerError {
        match self {
            Self::Cache { path, doing, source } => ServerError::Cache { path, doing, source },
            Self::Failed { reason, hint } => {
                let binary = wanted.flavour.binary();
                let general = format!(
                    "install such a server so that `{binary}` is on PATH, or give one with `--server /path/to/{binary}`"
                );
                let hint = hint.map_or(general.clone(), |own| format!("{own}; or {general}"));
                ServerError::Fetch { wanted, reason, hint }
            }
        }
    }
}
