//! The nft program: where it is, how it is fed, how its counters read.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::{Deserialize, Serialize};

use super::NetworkError;
use super::rules::TABLE;

/// The value of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, headers included.
    pub bytes: u64,
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { packets: self.packets + other.packets, bytes: self.bytes + other.bytes }
    }
}

/// The nft program of this system.
#[derive(Debug, Clone)]
pub struct Nft {
    program: PathBuf,
}

impl Nft {
    /// Looks for `nft` on PATH and where administrators' programs are, which is seldom on an
    /// ordinary user's PATH.
    pub fn find() -> Result<Self, NetworkError> {
        find_program("nft").map(|program| Self { program }).ok_or(NetworkError::NoNft)
    }

    /// The program that was found.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Carries out commands such as [`super::rules::render`] makes, all or none of them.
    pub fn apply(&self, commands: &str) -> Result<(), NetworkError> {
        self.run(&["-f", "-"], commands).map(|_| ())
    }

    /// Reads every counter of the table by its name; none if there is no table.
    pub fn counters(&self) -> Result<BTreeMap<String, Count>, NetworkError> {
        let output = self.run(&["-j", "list", "counters"], "")?;
        parse_counters(&output).map_err(|error| NetworkError::Counters(error.to_string()))
    }

    fn run(&self, arguments: &[&str], input: &str) -> Result<Vec<u8>, NetworkError> {
        let start = |source| NetworkError::Start { program: self.program.clone(), source };
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A failed write shows in the output and exit status of nft.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let Output { status, stdout, stderr } = child.wait_with_output().map_err(start)?;
        if status.success() {
            return Ok(stdout);
        }
        let message = String::from_utf8_lossy(&stderr).trim().to_owned();
        Err(NetworkError::Refused { what: format!("nft {}", arguments.join(" ")), message })
    }
}

/// Looks for a program on PATH, then in the directories of system programs.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    directories.map(|directory| directory.join(name)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Parses the output of `nft -j list counters`.
pub fn parse_counters(json: &[u8]) -> Result<BTreeMap<String, Count>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Listing {
        nftables: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        counter: Option<Counter>,
    }
    #[derive(Deserialize)]
    struct Counter {
        table: String,
        name: String,
        #[serde(flatten)]
        count: Count,
    }
    let listing: Listing = serde_json::from_slice(json)?;
    let counters = listing.nftables.into_iter().filter_map(|item| item.counter);
    Ok(counters.filter(|counter| counter.table == TABLE).map(|counter| (counter.name, counter.count)).collect())
}

#[cfg(test)]
mod tests {
    use super::{Count, parse_counters};

    #[test]
    fn counters_are_read_by_name_and_other_tables_left_out() {
        let json = br#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
            {"counter": {"family": "inet", "name": "fault-a.hit", "table": "slotquake", "handle": 3, "packets": 7, "bytes": 420}},
            {"counter": {"family": "ip", "name": "x", "table": "other", "handle": 4, "packets": 1, "bytes": 1}}]}"#;
        let counters = parse_counters(json).unwrap();
        assert_eq!(
            counters.into_iter().collect::<Vec<_>>(),
            [("fault-a.hit".to_owned(), Count { packets: 7, bytes: 420 })]
        );
        assert!(parse_counters(b"Error: syntax").is_err());
    }
}
