//! Disks of their own for servers: a file in the directory of a server says what becomes of its calls on the files there, and
//! the library that is loaded into the server goes by it and counts the calls. The file belongs to the host of a server, so
//! the disk stays as it is when the server is started again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;

use super::is_mapped;
use crate::fault::{DiskCall, DiskChange, DiskEffect, DiskError, DiskFiles};
use crate::history::DiskCount;

/// The variable with the path of the file (`VARIABLE_OF_DISK` of the library).
const VARIABLE: &str = "SLOTQUAKE_DISK";

/// `FORMAT_OF_DISK` of the library.
const FORMAT: [u8; 8] = *b"slotdsk1";

/// Where `struct disk_file` of the library has its parts.
const CHANGES_AT: u64 = 8;
const RULES_AT: u64 = 16;
const RULE_BYTES: usize = 48;
const TAKEN_AT: u64 = RULES_AT + 2 * RULE_BYTES as u64;
const CALLS_AT: u64 = TAKEN_AT + 8;
const TABLE_BYTES: usize = 8 * OPERATIONS.len() * FILE_KINDS.len();
const HITS_AT: u64 = CALLS_AT + TABLE_BYTES as u64;

/// What is done to a file, in the order of the library's `enum operation`.
pub const OPERATIONS: [&str; 6] = ["write", "fsync", "open", "rename", "truncate", "unlink"];

/// The kinds of files, in the order of the library's `enum file_kind`.
pub const FILE_KINDS: [&str; 5] = ["aof", "rdb", "nodes.conf", "other", "directory"];

/// The calls on the files of a disk, by what they do and by the kind of the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    calls: [[u64; FILE_KINDS.len()]; OPERATIONS.len()],
    hits: [[u64; FILE_KINDS.len()]; OPERATIONS.len()],
}

impl Counts {
    /// The counts since an earlier moment.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut counts = *self;
        for (operation, kinds) in before.calls.iter().enumerate() {
            for kind in 0..kinds.len() {
                let since = |now: &mut u64, before: u64| *now = now.saturating_sub(before);
                since(&mut counts.calls[operation][kind], before.calls[operation][kind]);
                since(&mut counts.hits[operation][kind], before.hits[operation][kind]);
            }
        }
        counts
    }

    /// Adds the calls of a line: what they do, the kind of the files, how many, and how many were hit (`write aof 120 12`).
    /// The error says what is wrong with it.
    pub fn add(&mut self, line: &str) -> Result<(), String> {
        let [operation, files, calls, hits] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err("four words are expected: the call, the files, the number of calls and of hits".to_owned());
        };
        let place = |names: &[&str], name: &str| {
            let place = names.iter().position(|known| *known == name);
            place.ok_or_else(|| format!("`{name}` is none of {}", names.join(", ")))
        };
        let (operation, kind) = (place(&OPERATIONS, operation)?, place(&FILE_KINDS, files)?);
        let number = |text: &str| text.parse::<u64>().map_err(|error| format!("`{text}`: {error}"));
        let (calls, hits) = (number(calls)?, number(hits)?);
        if hits > calls {
            return Err("there are more hits than calls".to_owned());
        }
        self.calls[operation][kind] += calls;
        self.hits[operation][kind] += hits;
        Ok(())
    }

    /// How many calls a rule hit.
    pub fn hits(&self) -> u64 {
        self.hits.iter().flatten().sum()
    }

    /// The calls of each sort, if there were any.
    pub fn rows(&self) -> Vec<DiskCount> {
        let mut rows = Vec::new();
        for (operation, call) in OPERATIONS.iter().enumerate() {
            for (kind, files) in FILE_KINDS.iter().enumerate() {
                let (calls, hits) = (self.calls[operation][kind], self.hits[operation][kind]);
                if calls > 0 {
                    rows.push(DiskCount { call: (*call).to_owned(), files: (*files).to_owned(), calls, hits });
                }
            }
        }
        rows
    }
}

/// The disk of one host.
#[derive(Debug)]
pub struct HostDisk {
    path: PathBuf,
    file: File,
    changes: u8,
    change: Option<DiskChange>,
}

impl HostDisk {
    /// A disk without a fault: the directory of that path, which becomes a new file.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        // Servers name their files by the directory as the system knows it.
        let path = std::fs::canonicalize(path)?;
        let mut disk = Self { path, file, changes: 0, change: None };
        disk.file.write_all_at(&FORMAT, 0)?;
        disk.file.set_len(HITS_AT + TABLE_BYTES as u64)?;
        disk.set(None)?;
        Ok(disk)
    }

    /// Changes the disk, from now on, for every server on it; None makes it whole.
    pub fn set(&mut self, change: Option<DiskChange>) -> io::Result<()> {
        let changes = self.changes.wrapping_add(1);
        // The rule that is not in force is written first. Then one byte brings it into force, so no server reads half of it.
        self.file.write_all_at(&bytes(change), RULES_AT + u64::from(changes & 1) * RULE_BYTES as u64)?;
        self.file.write_all_at(&[changes], CHANGES_AT)?;
        (self.changes, self.change) = (changes, change);
        Ok(())
    }

    /// What is wrong with the disk.
    pub fn change(&self) -> Option<DiskChange> {
        self.change
    }

    /// Whether the file still says what it was made to say. The error is what it says instead.
    pub fn stands(&self) -> io::Result<bool> {
        let mut changes = [0];
        self.file.read_exact_at(&mut changes, CHANGES_AT)?;
        let mut rule = [0; RULE_BYTES];
        self.file.read_exact_at(&mut rule, RULES_AT + u64::from(changes[0] & 1) * RULE_BYTES as u64)?;
        Ok(changes == [self.changes] && rule == bytes(self.change))
    }

    /// The calls so far.
    pub fn counts(&self) -> io::Result<Counts> {
        let mut counts = Counts::default();
        for (table, at) in [(&mut counts.calls, CALLS_AT), (&mut counts.hits, HITS_AT)] {
            let mut bytes = [0; TABLE_BYTES];
            self.file.read_exact_at(&mut bytes, at)?;
            for (count, bytes) in table.iter_mut().flatten().zip(bytes.chunks_exact(8)) {
                *count = u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
            }
        }
        Ok(counts)
    }

    /// Makes a command, and what it starts, use this disk, if they use libc and the library is loaded into them.
    pub fn give(&self, command: &mut Command) {
        let (name, value) = self.variable();
        command.env(name, value);
    }

    /// The variable of programs that use this disk, if they use libc and the library is loaded into them.
    pub fn variable(&self) -> (&'static str, String) {
        (VARIABLE, self.path.display().to_string())
    }

    /// Whether a process has loaded the library and read the variable. The error says why not.
    pub fn is_read_by(&self, pid: u32) -> Result<(), String> {
        is_mapped(pid, &self.path, LIBRARY_OF_DISKS)
    }

    /// Whether a process, or one before it on this disk, has seen the last change. The server looks whenever it waits for
    /// events, at least ten times a second.
    pub fn is_taken_by(&self, pid: u32) -> io::Result<bool> {
        Ok(self.taken()? == (u64::from(pid), self.changes))
    }

    /// Whether a process that was started since [`is_left`](Self::is_left) has seen the last change.
    pub fn is_taken(&self) -> io::Result<bool> {
        let (pid, changes) = self.taken()?;
        Ok(pid != 0 && changes == self.changes)
    }

    /// Forgets which process has seen the last change. None runs.
    pub fn is_left(&mut self) -> io::Result<()> {
        self.file.write_all_at(&[0; 8], TAKEN_AT)
    }

    /// The process that has seen a change last, by the number that it has where it lives, and the number of changes.
    fn taken(&self) -> io::Result<(u64, u8)> {
        let mut taken = [0; 8];
        self.file.read_exact_at(&mut taken, TAKEN_AT)?;
        let taken = u64::from_ne_bytes(taken);
        Ok((taken >> 8, taken as u8))
    }
}

/// The library as a message about a server without it names it.
pub const LIBRARY_OF_DISKS: &str = "the library that stands between it and its files";

/// A rule as the library reads it (`struct rule`).
fn bytes(change: Option<DiskChange>) -> [u8; RULE_BYTES] {
    let call = |on: DiskCall| match on {
        DiskCall::Write => 1,
        DiskCall::Fsync => 1 << 1,
        DiskCall::Open => 1 << 2,
        DiskCall::Rename => 1 << 3,
    };
    let error = |error: DiskError| {
        let number = match error {
            DiskError::Eio => Errno::EIO,
            DiskError::Enospc => Errno::ENOSPC,
            DiskError::Edquot => Errno::EDQUOT,
            DiskError::Erofs => Errno::EROFS,
        };
        number as u64
    };
    let files = |files: DiskFiles| match files {
        DiskFiles::Aof => 1,
        DiskFiles::Rdb => 1 << 1,
        DiskFiles::NodesConf => 1 << 2,
        DiskFiles::All => (1 << FILE_KINDS.len()) - 1,
    };
    // Effect, operations, error, delay, share.
    let (numbers, of) = match change {
        None => ([0; 5], 0),
        Some(DiskChange { effect, files: of }) => {
            let numbers = match effect {
                DiskEffect::Full => [1, call(DiskCall::Write), error(DiskError::Enospc), 0, 0],
                DiskEffect::Fail { error: with, on } => [1, call(on), error(with), 0, 0],
                DiskEffect::Slow { by, on } => [2, call(on), 0, by.as_ns(), 0],
                DiskEffect::Stall { on: Some(on) } => [3, call(on), 0, 0, 0],
                DiskEffect::Stall { on: None } => [3, (1 << OPERATIONS.len()) - 1, 0, 0, 0],
                DiskEffect::ShortWrites { share } => [4, call(DiskCall::Write), 0, 0, (share.fraction() * 1e6) as u64],
            };
            (numbers, files(of))
        }
    };
    let [effect, operations, error, delay, share] = numbers;
    let mut bytes = [0; RULE_BYTES];
    for (place, number) in bytes.chunks_exact_mut(8).zip([effect, operations, of, error, delay, share]) {
        place.copy_from_slice(&u64::to_ne_bytes(number));
    }
    bytes
}
