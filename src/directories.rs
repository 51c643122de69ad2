//! The directories for files that outlive a run: fetched servers, and ledgers of changes to undo.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// One of the user's directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// For files that can be fetched again.
    Cache,
    /// For files that cannot be restored.
    State,
}

impl Kept {
    /// The directory according to the environment; None if no variable names it.
    pub fn directory(self) -> Option<PathBuf> {
        self.directory_by(|name| env::var_os(name))
    }

    fn directory_by(self, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        let (own, users, on_macos, elsewhere) = match self {
            Self::Cache => ("SLOTQUAKE_CACHE", "XDG_CACHE_HOME", "Library/Caches", ".cache"),
            Self::State => ("SLOTQUAKE_STATE", "XDG_STATE_HOME", "Library/Application Support", ".local/state"),
        };
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(own) = set(own) {
            return std::path::absolute(own).ok();
        }
        // The XDG specification requires that relative paths are ignored.
        let users = set(users).filter(|path| path.is_absolute()).or_else(|| {
            let custom = if cfg!(target_os = "macos") { on_macos } else { elsewhere };
            set("HOME").filter(|home| home.is_absolute()).map(|home| home.join(custom))
        })?;
        Some(users.join("slotquake"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_directories_by_the_environment() {
        let is_mac = cfg!(target_os = "macos");
        let cache = if is_mac { "/h/Library/Caches/slotquake" } else { "/h/.cache/slotquake" };
        let state = if is_mac { "/h/Library/Application Support/slotquake" } else { "/h/.local/state/slotquake" };
        for (kept, variables, expected) in [
            (Kept::Cache, &[("SLOTQUAKE_CACHE", "/c"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")][..], Some("/c")),
            (Kept::Cache, &[("SLOTQUAKE_CACHE", ""), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")], Some("/x/slotquake")),
            (Kept::Cache, &[("XDG_CACHE_HOME", "relative"), ("HOME", "/h")], Some(cache)),
            (Kept::Cache, &[("HOME", "/h")], Some(cache)),
            (Kept::Cache, &[("HOME", "")], None),
            (Kept::Cache, &[], None),
            (Kept::State, &[("SLOTQUAKE_STATE", "/s"), ("XDG_STATE_HOME", "/x")], Some("/s")),
            (Kept::State, &[("SLOTQUAKE_CACHE", "/c"), ("XDG_STATE_HOME", "/x")], Some("/x/slotquake")),
            (Kept::State, &[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")], Some(state)),
        ] {
            let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            assert_eq!(kept.directory_by(lookup), expected.map(PathBuf::from), "{kept:?} {variables:?}");
        }
    }
}
