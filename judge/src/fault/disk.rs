//! A disk that is full, fails, is slow, stalls, or takes only a part of what is written.
//!
//! The fault is one of the host: a server that is started again on it still has that disk. Only what a server writes is hit,
//! and opening; what it reads is not.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Percent, Span};

/// The files of a server that a fault of its disk hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DiskFiles {
    /// Everything in its directory.
    #[default]
    #[serde(rename = "all")]
    All,
    /// The append-only file, with its manifest and the parts of a rewrite: names with `aof`.
    #[serde(rename = "aof")]
    Aof,
    /// Snapshots, and those that come from a master: names that end in `.rdb`.
    #[serde(rename = "rdb")]
    Rdb,
    /// What the node knows of the cluster.
    #[serde(rename = "nodes.conf")]
    NodesConf,
}

/// What a server does to its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiskCall {
    /// Writing.
    Write,
    /// Making durable what was written (fsync, fdatasync, `sync_file_range`).
    Fsync,
    /// Opening, to read or to write.
    Open,
    /// Giving a file its name.
    Rename,
}

/// The error with which a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum DiskError {
    /// Input/output error.
    Eio,
    /// No space left on device.
    Enospc,
    /// Disk quota exceeded.
    Edquot,
    /// Read-only file system.
    Erofs,
}

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskEffect {
    /// Writing fails with ENOSPC.
    Full,
    /// A call fails.
    Fail {
        /// The error.
        error: DiskError,
        /// The call.
        on: DiskCall,
    },
    /// A call takes longer.
    Slow {
        /// By how much.
        by: Span,
        /// The call.
        on: DiskCall,
    },
    /// Calls do not return until the fault is undone.
    Stall {
        /// The call; None for each.
        on: Option<DiskCall>,
    },
    /// Some writes write only a part of what they are given.
    ShortWrites {
        /// How many of them.
        share: Percent,
    },
}

/// What is wrong with a disk, and for which files.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DiskChange {
    /// What is wrong.
    pub effect: DiskEffect,
    /// The files.
    pub files: DiskFiles,
}

impl fmt::Display for DiskFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all files",
            Self::Aof => "the AOF",
            Self::Rdb => "RDB files",
            Self::NodesConf => "nodes.conf",
        })
    }
}

impl fmt::Display for DiskCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "write",
            Self::Fsync => "fsync",
            Self::Open => "open",
            Self::Rename => "rename",
        })
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eio => "EIO",
            Self::Enospc => "ENOSPC",
            Self::Edquot => "EDQUOT",
            Self::Erofs => "EROFS",
        })
    }
}

impl fmt::Display for DiskChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.effect {
            DiskEffect::Full => write!(f, "is full")?,
            DiskEffect::Fail { error, on } => write!(f, "fails every {on} with {error}")?,
            DiskEffect::Slow { by, on } => write!(f, "takes {by} longer for every {on}")?,
            DiskEffect::Stall { on: Some(on) } => write!(f, "holds every {on}")?,
            DiskEffect::Stall { on: None } => write!(f, "stalls")?,
            DiskEffect::ShortWrites { share } => write!(f, "cuts {share} of the writes short")?,
        }
        match self.files {
            DiskFiles::All => Ok(()),
            files @ (DiskFiles::Aof | DiskFiles::Rdb | DiskFiles::NodesConf) => write!(f, ", for {files}"),
        }
    }
}
