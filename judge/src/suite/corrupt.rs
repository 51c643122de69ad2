//! What `corrupt` takes: a file of a server that is down, and what is done to it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::target::Targets;
use crate::units::{ParseError, Percent, text_form};
use crate::words::{count, list};

/// The most bits that one step flips.
const FLIPS_MAX: u32 = 10_000;

/// The step `corrupt`: `{ node: node-1, file: aof, truncate: 100B }`. Exactly one of `flip`, `truncate` and `zero`. The
/// damage stays when the server is started again: nothing heals it but `start: { node, data: lost }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Corrupt {
    /// The nodes, which are down.
    pub node: Targets,
    /// The file.
    pub file: DataFile,
    /// Flips so many bits, at places in the whole file that the seed of the run decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flip: Option<u32>,
    /// Cuts so much off the end of the file: `100B` or `10%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncate: Option<Portion>,
    /// Overwrites so much at the end of the file with zeros: `100B` or `10%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero: Option<Portion>,
}

/// A file in the directory of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DataFile {
    /// The append-only file that the server writes to: from Redis 7.0 on and in Valkey the newest incremental file of
    /// the manifest, before that the one append-only file.
    Aof,
    /// The snapshot that the server loads at its start: from Redis 7.0 on and in Valkey the base of its append-only
    /// files, if it has such; else the dump (`dbfilename`).
    Rdb,
    /// The file in which the node keeps its view of the cluster.
    #[serde(rename = "nodes.conf")]
    NodesConf,
}

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// So many bits are flipped.
    Flip(u32),
    /// So much is cut off its end.
    Truncate(Portion),
    /// So much at its end is overwritten with zeros.
    Zero(Portion),
}

/// What was done to a file, with the proof that it was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Damaged {
    /// The file, from the directory of the node.
    pub path: String,
    /// What was asked for.
    pub damage: Damage,
    /// The first byte that was cut off or overwritten, or the bytes with a flipped bit, of those the first
    /// [`Damaged::PLACES`]; from 0.
    pub at: Vec<u64>,
    /// How many bytes were cut off or overwritten, or how many bits were flipped.
    pub count: u64,
    /// The length of the file before, in bytes.
    pub bytes_before: u64,
    /// Its length after, in bytes.
    pub bytes_after: u64,
    /// The SHA-256 of its content before, in hexadecimal.
    pub sha256_before: String,
    /// The SHA-256 of its content after.
    pub sha256_after: String,
}

/// A part of a file, written `100B`, `4kB` or `10%`; k is 1000.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Portion {
    /// So many bytes.
    Bytes(u64),
    /// A share of its length.
    Share(Percent),
}

impl DataFile {
    /// Its word in a suite.
    pub fn word(self) -> &'static str {
        match self {
            Self::Aof => "aof",
            Self::Rdb => "rdb",
            Self::NodesConf => "nodes.conf",
        }
    }

    /// Whether it holds keys, so that damage to it may lose some.
    pub fn holds_keys(self) -> bool {
        match self {
            Self::Aof | Self::Rdb => true,
            Self::NodesConf => false,
        }
    }
}

impl Corrupt {
    /// What is done to the file; the error is a problem of the settings: the key, empty for the whole, and why.
    pub fn damage(&self) -> Result<Damage, (&'static str, String)> {
        let given: Vec<Damage> =
            [self.flip.map(Damage::Flip), self.truncate.map(Damage::Truncate), self.zero.map(Damage::Zero)]
                .into_iter()
                .flatten()
                .collect();
        match given[..] {
            [Damage::Flip(bits)] if !(1..=FLIPS_MAX).contains(&bits) => {
                Err(("flip", format!("{bits} bits are out of bounds (hint: 1 to {FLIPS_MAX})")))
            }
            [Damage::Truncate(portion)] if portion.is_nothing() => Err(("truncate", NOTHING.to_owned())),
            [Damage::Zero(portion)] if portion.is_nothing() => Err(("zero", NOTHING.to_owned())),
            [damage] => Ok(damage),
            [] => Err(("", "corrupt needs `flip`, `truncate` or `zero` (hint: `truncate: 10%`)".to_owned())),
            _ => Err(("", "corrupt takes one of `flip`, `truncate` and `zero` (hint: one step for each)".to_owned())),
        }
    }
}

const NOTHING: &str = "nothing would be damaged (hint: `100B`, or `10%`)";

impl Portion {
    fn is_nothing(self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes == 0,
            Self::Share(share) => share.fraction() <= 0.0,
        }
    }

    /// How many bytes it is of so many: at least one.
    pub fn of(self, bytes: u64) -> u64 {
        match self {
            Self::Bytes(number) => number,
            Self::Share(share) => ((bytes as f64 * share.fraction()).ceil() as u64).clamp(1, bytes.max(1)),
        }
    }
}

const UNITS: [(&str, u64); 3] = [("MB", 1_000_000), ("kB", 1000), ("B", 1)];

impl fmt::Display for Portion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(0) => f.write_str("0B"),
            Self::Bytes(bytes) => {
                let unit = UNITS.into_iter().find(|(_, size)| bytes.is_multiple_of(*size));
                let (unit, size) = unit.expect("every number is a multiple of 1");
                write!(f, "{}{unit}", bytes / size)
            }
            Self::Share(share) => share.fmt(f),
        }
    }
}

impl FromStr for Portion {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if let Ok(share) = text.parse() {
            return Ok(Self::Share(share));
        }
        let bytes = UNITS.iter().find_map(|(unit, size)| {
            let number: u64 = text.trim().strip_suffix(unit)?.trim().parse().ok()?;
            number.checked_mul(*size)
        });
        bytes.map(Self::Bytes).ok_or_else(|| {
            ParseError(format!("\"{text}\" is not a part of a file (hint: write it like `100B`, `4kB` or `10%`)"))
        })
    }
}

text_form!(
    Portion,
    "Portion",
    "A part of a file: `100B`, `4kB` or `10%`.",
    Some(r"^\s*([0-9]+\s*(B|kB|MB)|[0-9.]+\s*%)\s*$")
);

impl Damaged {
    /// How many places of flipped bits are kept.
    pub const PLACES: usize = 20;

    /// What was done, in words: `cut 500 bytes off appendonly.aof, which had 73710 bytes`.
    pub fn words(&self) -> String {
        let Self { path, at, bytes_before, bytes_after, .. } = self;
        let first = at.first().copied().unwrap_or_default();
        match self.damage {
            Damage::Flip(_) => {
                let bits = count(self.count, "bit");
                let more = if self.count > at.len() as u64 { ", ..." } else { "" };
                let sums =
                    format!("SHA-256 {} before, {} after", brief(&self.sha256_before), brief(&self.sha256_after));
                format!("flipped {bits} of {path} at byte {}{more} of {bytes_before} ({sums})", list(at))
            }
            Damage::Truncate(_) => {
                let bytes = count(self.count, "byte");
                format!("cut {bytes} off {path}: it had {bytes_before}, and has {bytes_after}")
            }
            Damage::Zero(_) => {
                let bytes = count(self.count, "byte");
                format!("overwrote {bytes} of {path} with zeros, from byte {first} of {bytes_before} to its end")
            }
        }
    }
}

/// Enough of a checksum to tell two apart.
fn brief(sum: &str) -> &str {
    sum.get(..12).unwrap_or(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(settings: &str) -> Result<Damage, (&'static str, String)> {
        let text = format!(r#"{{"node": "node-1", "file": "aof"{settings}}}"#);
        serde_json::from_str::<Corrupt>(&text).expect(&text).damage()
    }

    #[test]
    fn takes_exactly_one_damage_that_is_one() {
        for (settings, expected) in [
            (r#", "flip": 3"#, Ok(Damage::Flip(3))),
            (r#", "truncate": "4kB""#, Ok(Damage::Truncate(Portion::Bytes(4000)))),
            (r#", "zero": "10%""#, Ok(Damage::Zero(Portion::Share(Percent::new(10.0))))),
            ("", Err("")),
            (r#", "flip": 1, "zero": "1B""#, Err("")),
            (r#", "flip": 0"#, Err("flip")),
            (r#", "flip": 10001"#, Err("flip")),
            (r#", "truncate": "0B""#, Err("truncate")),
            (r#", "zero": "0%""#, Err("zero")),
        ] {
            assert_eq!(damage(settings).map_err(|(key, _)| key), expected, "{settings}");
        }
    }

    #[test]
    fn a_portion_is_written_as_it_is_read() {
        for (text, of_1001) in
            [("1B", 1), ("4kB", 4000), ("2MB", 2_000_000), ("10%", 101), ("0.01%", 1), ("100%", 1001)]
        {
            let portion: Portion = text.parse().expect(text);
            assert_eq!((portion.to_string().as_str(), portion.of(1001)), (text, of_1001));
        }
        for text in ["", "10", "-1B", "1.5kB", "101%", "1GB"] {
            assert!(text.parse::<Portion>().is_err_and(|error| error.0.contains("(hint: ")), "{text}");
        }
    }
}
