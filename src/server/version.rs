//! Parses the value of `--server` and asks a binary for its version.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use super::{ServerError, Version, Wanted, catalogue, parse_wanted};
use crate::subprocess;

/// How long a binary may take to print its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// The value of `--server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A version to find or fetch.
    Version(Wanted),
    /// The path of a binary.
    Path(PathBuf),
}

impl FromStr for Asked {
    type Err = ServerError;

    /// Text with a `/` is a path, `flavour:major.minor[.patch]` is a version, and any other text is a path if
    /// that file exists.
    fn from_str(asked: &str) -> Result<Self, ServerError> {
        if asked.contains('/') {
            return Ok(Self::Path(asked.into()));
        }
        if let Some(wanted) = parse_wanted(asked) {
            return Ok(Self::Version(wanted));
        }
        if !asked.is_empty() && Path::new(asked).exists() {
            return Ok(Self::Path(asked.into()));
        }
        Err(ServerError::Asked { asked: asked.to_owned(), hint: catalogue::hint_for(asked) })
    }
}

/// Asks a binary for its version. The error is the reason as text.
pub(super) fn version_of(binary: &Path, library_path: Option<&Path>) -> Result<Version, String> {
    let mut command: Command = super::command_for(binary, library_path);
    let output = subprocess::output(command.arg("--version"), PATIENCE).map_err(|error| {
        if error.kind() != std::io::ErrorKind::NotFound {
            return error.to_string();
        }
        if binary.exists() {
            // The kernel also reports a missing ELF interpreter as "no such file".
            "its program interpreter is missing: it was built for another system".to_owned()
        } else {
            "no such file".to_owned()
        }
    })?;
    if !output.status.success() {
        let words = subprocess::last_line(&output.stderr);
        let separator = if words.is_empty() { "" } else { ": " };
        return Err(format!("`--version` ended with {}{separator}{words}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Version::from_banner(&text).ok_or_else(|| {
        let line: String = text.lines().next().unwrap_or_default().chars().take(100).collect();
        format!("`--version` prints \"{line}\", which is neither a Redis nor a Valkey server")
    })
}

#[cfg(test)]
mod tests {
    use super::super::Flavour;
    use super::*;

    #[test]
    fn parses_a_version_or_a_path() {
        use Flavour::{Redis, Valkey};
        for (asked, expected) in [
            ("redis:6.2", Some((Redis, 6, 2, None))),
            ("redis:6.2.14", Some((Redis, 6, 2, Some(14)))),
            ("valkey:9.1", Some((Valkey, 9, 1, None))),
            ("./redis-server", None),
            ("/usr/bin/redis:6.2", None),
            ("Cargo.toml", None),
        ] {
            let expected = match expected {
                Some((flavour, major, minor, patch)) => Asked::Version(Wanted { flavour, major, minor, patch }),
                None => Asked::Path(asked.into()),
            };
            assert_eq!(asked.parse::<Asked>().expect(asked), expected);
        }
    }

    #[test]
    fn suggests_a_server_for_an_unknown_word() {
        for (asked, hint) in [
            ("reddis:6.2", "did you mean `redis:6.2`?"),
            ("Valkey:9.1", "did you mean `valkey:9.1`?"),
            ("redis:6", "write a version such as `redis:6.2`"),
            ("redis", "write a version such as `redis:6.2`"),
            ("valkey:latest", "write a version such as `valkey:8.1`"),
            ("redis:+6.2", "did you mean `redis:6.2`?"),
            ("redis:6.2.", "did you mean `redis:6.2`?"),
            ("", "write a version, one of redis:6.2, redis:7.0, redis:8.2, valkey:8.1, valkey:9.1"),
            ("memcached", "write a version, one of redis:6.2, redis:7.0, redis:8.2, valkey:8.1, valkey:9.1"),
        ] {
            let message = asked.parse::<Asked>().expect_err(asked).to_string();
            let start = format!("unknown server \"{asked}\" (hint: {hint}");
            assert!(message.starts_with(&start), "{message}");
            assert!(message.contains("/path/to/redis-server"), "{message}");
        }
    }

    #[test]
    fn explains_why_a_binary_has_no_version() {
        for (binary, reason) in [
            ("/nonexistent/redis-server", "no such file"),
            ("/bin/false", "`--version` ended with exit status: 1"),
            ("/bin/sh", "`--version` "),
            ("/", "Permission denied"),
        ] {
            let error = version_of(Path::new(binary), None).expect_err(binary);
            assert!(error.starts_with(reason), "{binary}: {error}");
        }
    }
}
