//! Versions: as a binary reports its own (`Redis server v=6.2.14 ...`), and as a person asks for one
//! (`redis:6.2`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ServerError, catalogue};
use crate::subprocess;

/// How long a binary may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// The two families of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
}

impl Flavour {
    /// The name of its server binary.
    pub fn binary(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
        }
    }

    /// The name of its command-line client.
    pub fn cli(self) -> &'static str {
        match self {
            Self::Redis => "redis-cli",
            Self::Valkey => "valkey-cli",
        }
    }
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

    /// Reads what `--version` prints: `Redis server v=6.2.14 sha=...`, `Valkey server v=9.1.2 ...`.
    /// None for anything else, other products of that protocol included.
    pub fn from_banner(text: &str) -> Option<Self> {
        let line = text.lines().next()?;
        let (flavour, rest) = [(Flavour::Redis, "Redis server v="), (Flavour::Valkey, "Valkey server v=")]
            .into_iter()
            .find_map(|(flavour, start)| Some((flavour, line.strip_prefix(start)?)))?;
        let [major, minor, patch] = numbers(rest.split_ascii_whitespace().next()?)?;
        Some(Self { flavour, major, minor, patch })
    }

    /// A version from its number, such as `6.2.14`; None where that is none.
    pub fn numbered(flavour: Flavour, number: &str) -> Option<Self> {
        let [major, minor, patch] = numbers(number)?;
        Some(Self { flavour, major, minor, patch })
    }

    /// The name of its directory in the cache, such as `redis-6.2.14`.
    pub(super) fn folder(self) -> String {
        format!("{}-{}.{}.{}", self.flavour, self.major, self.minor, self.patch)
    }

    /// Reads such a name.
    pub(super) fn from_folder(name: &str) -> Option<Self> {
        let (flavour, rest) = name.split_once('-')?;
        let [major, minor, patch] = numbers(rest)?;
        let version = Self { flavour: flavour_named(flavour)?, major, minor, patch };
        (version.folder() == name).then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}.{}", self.flavour, self.major, self.minor, self.patch)
    }
}

/// A version as a person asks for it: `redis:6.2`, or with its patch number, `redis:6.2.14`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Redis or Valkey.
    pub flavour: Flavour,
    /// Major number.
    pub major: u16,
    /// Minor number.
    pub minor: u16,
    /// Patch number; None takes any.
    pub patch: Option<u16>,
}

impl Wanted {
    /// Whether a version is what was asked for.
    pub fn accepts(self, version: Version) -> bool {
        (self.flavour, self.major, self.minor) == (version.flavour, version.major, version.minor)
            && self.patch.is_none_or(|patch| patch == version.patch)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}.{}", self.flavour, self.major, self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}

/// What `--server` was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A version, to be found or fetched.
    Version(Wanted),
    /// A binary.
    Path(PathBuf),
}

impl FromStr for Asked {
    type Err = ServerError;

    /// Anything with a `/` is a path; `flavour:major.minor[.patch]` is a version; another word is a
    /// path if such a file exists.
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

fn parse_wanted(text: &str) -> Option<Wanted> {
    let (flavour, version) = text.split_once(':')?;
    let flavour = flavour_named(flavour)?;
    if let Some([major, minor]) = digits(version) {
        return Some(Wanted { flavour, major, minor, patch: None });
    }
    let [major, minor, patch] = digits(version)?;
    Some(Wanted { flavour, major, minor, patch: Some(patch) })
}

fn flavour_named(name: &str) -> Option<Flavour> {
    [Flavour::Redis, Flavour::Valkey].into_iter().find(|flavour| flavour.to_string() == name)
}

/// Exactly `N` numbers between dots.
fn digits<const N: usize>(text: &str) -> Option<[u16; N]> {
    let parts: Option<Vec<u16>> = text
        .split('.')
        .map(|part| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten())
        .collect();
    parts?.try_into().ok()
}

/// Three numbers between dots; a release candidate's suffix (`9.0.0-rc1`) is left out.
pub(super) fn numbers(text: &str) -> Option<[u16; 3]> {
    digits(text.split_once('-').map_or(text, |(number, _)| number))
}

/// Asks a binary for its version. The error says in words why it gave none.
pub(super) fn version_of(binary: &Path, library_path: Option<&Path>) -> Result<Version, String> {
    let mut command: Command = super::command_for(binary, library_path);
    let output = subprocess::output(command.arg("--version"), PATIENCE).map_err(|error| {
        if error.kind() != std::io::ErrorKind::NotFound {
            return error.to_string();
        }
        if binary.exists() {
            // The kernel says "no such file" of a missing ELF interpreter, too.
            "the program that loads it is missing: it was built for another system".to_owned()
        } else {
            "there is no such file".to_owned()
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
        format!("`--version` says `{line}`, which is neither a Redis nor a Valkey server")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(flavour: Flavour, [major, minor, patch]: [u16; 3]) -> Version {
        Version { flavour, major, minor, patch }
    }

    #[test]
    fn a_banner_tells_flavour_and_version() {
        use Flavour::{Redis, Valkey};
        for (banner, expected) in [
            (
                "Redis server v=6.2.14 sha=40305114:0 malloc=libc bits=64 build=dff95a8e7a99d269\n",
                Some((Redis, [6, 2, 14])),
            ),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64\n", Some((Redis, [7, 0, 15]))),
            ("Redis server v=8.2.3 sha=b5d43ceb:0 malloc=jemalloc-5.3.0 bits=64", Some((Redis, [8, 2, 3]))),
            ("Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64", Some((Valkey, [9, 1, 2]))),
            ("Valkey server v=9.0.0-rc1 sha=00000000:1", Some((Valkey, [9, 0, 0]))),
            ("Redis server v=255.255.255 sha=0", Some((Redis, [255, 255, 255]))),
            ("Redis server v=7.0 sha=0", None),
            ("KeyDB server v=6.3.4 sha=0", None),
            ("redis-cli 7.0.15\n", None),
            ("", None),
        ] {
            let expected = expected.map(|(flavour, numbers)| version(flavour, numbers));
            assert_eq!(Version::from_banner(banner), expected, "{banner}");
        }
    }

    #[test]
    fn what_is_asked_for_is_a_version_or_a_path() {
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
    fn a_word_that_names_no_server_gets_a_hint() {
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
            let start = format!("`{asked}` names no server (hint: {hint}");
            assert!(message.starts_with(&start), "{message}");
            assert!(message.contains("/path/to/redis-server"), "{message}");
        }
    }

    #[test]
    fn a_version_is_accepted_by_its_own_numbers_only() {
        for (asked, numbers, accepted) in [
            ("redis:6.2", [6, 2, 14], true),
            ("redis:6.2.14", [6, 2, 14], true),
            ("redis:6.2.14", [6, 2, 15], false),
            ("redis:6.2", [6, 0, 14], false),
            ("redis:6.2", [7, 2, 0], false),
            ("valkey:6.2", [6, 2, 14], false),
        ] {
            let wanted = parse_wanted(asked).unwrap();
            assert_eq!(wanted.accepts(version(Flavour::Redis, numbers)), accepted, "{asked} {numbers:?}");
            assert_eq!(wanted.to_string(), asked);
        }
    }

    #[test]
    fn a_cache_folder_is_named_by_its_version_and_nothing_else() {
        assert_eq!(Version::from_folder("redis-6.2.14"), Some(version(Flavour::Redis, [6, 2, 14])));
        for name in ["redis-6.2", "redis-06.2.14", "redis-6.2.14-rc1", ".redis-6.2.fetch-1-1", "keydb-6.2.14", "redis"]
        {
            assert_eq!(Version::from_folder(name), None, "{name}");
        }
    }

    #[test]
    fn a_binary_that_gives_no_version_says_why() {
        for (binary, reason) in [
            ("/nonexistent/redis-server", "there is no such file"),
            ("/bin/false", "`--version` ended with exit status: 1"),
            ("/bin/sh", "`--version` "),
            ("/", "Permission denied"),
        ] {
            let error = version_of(Path::new(binary), None).expect_err(binary);
            assert!(error.starts_with(reason), "{binary}: {error}");
        }
    }
}
