//! A disk that is full, fails, is slow, stalls, or takes only a part of what is written.
//!
//! The fault is one of the host: a server that is started again on it still has that disk. Only what a server writes is hit,
//! and opening; what it reads is not.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Drawn, FaultKind, FaultSpec, FaultStep, Nature, Need, Settings};
use crate::target::Target;
use crate::units::{Percent, Span};

pub(super) const SPEC: FaultSpec = FaultSpec {
    word: "disk",
    past: "had a faulty disk",
    needs: &[Need::Disks],
    drawn: Drawn::FaultyDisk,
    nature: Nature::Disk,
};

/// Less is not slow.
const SLOW_MIN: Span = Span::millis(1);

/// With more, a call would rather stall.
const SLOW_MAX: Span = Span::secs(60);

/// A smaller share of the writes would rarely hit one.
const SHORT_MIN: f64 = 0.001;

/// Settings of `disk`. Exactly one of `full`, `fail`, `slow`, `stall` and `short-writes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Disk {
    /// The one node whose host has that disk.
    pub node: Target,
    /// Every write fails with ENOSPC. What is there already can be read, renamed and made shorter.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// The calls that `on` names fail with this error, and change nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail: Option<DiskError>,
    /// The calls that `on` names take so much longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<Span>,
    /// Calls do not return until the fault is healed: those that `on` names, or all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stall: bool,
    /// This share of the writes writes only a part of what it is given, and says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_writes: Option<Percent>,
    /// The calls that `fail`, `slow` or `stall` hits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<DiskCall>,
    /// The files that it hits.
    #[serde(default)]
    pub files: DiskFiles,
    /// The name by which `heal` undoes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DiskChange {
    /// What is wrong.
    pub effect: DiskEffect,
    /// The files.
    pub files: DiskFiles,
}

impl DiskChange {
    /// Whether it keeps a server from answering once it writes to its AOF, or at every event that it saves: the thread that
    /// serves clients writes itself.
    pub fn holds_server(&self) -> bool {
        match self.effect {
            DiskEffect::Stall { on: None | Some(DiskCall::Write) } => match self.files {
                DiskFiles::All | DiskFiles::Aof | DiskFiles::NodesConf => true,
                DiskFiles::Rdb => false,
            },
            DiskEffect::Stall { on: Some(DiskCall::Fsync | DiskCall::Open | DiskCall::Rename) } => {
                matches!(self.files, DiskFiles::All | DiskFiles::NodesConf)
            }
            DiskEffect::Full | DiskEffect::Fail { .. } | DiskEffect::Slow { .. } | DiskEffect::ShortWrites { .. } => {
                false
            }
        }
    }
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

/// A fault of a disk as a step asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskFault<'a> {
    /// Its kind.
    pub kind: FaultKind,
    /// The node whose host has that disk.
    pub node: &'a Target,
    /// What is wrong with the disk; the error is a problem of the settings: the key, empty for the whole, and why.
    pub change: Result<DiskChange, (&'static str, String)>,
    /// The name by which it is healed.
    pub name: Option<&'a str>,
}

impl Settings for Disk {
    fn fault(&self, kind: FaultKind) -> FaultStep<'_> {
        FaultStep::Disk(DiskFault { kind, node: &self.node, change: self.change(), name: self.name.as_deref() })
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        vec![&mut self.node]
    }
}

impl Disk {
    fn change(&self) -> Result<DiskChange, (&'static str, String)> {
        Ok(DiskChange { effect: self.effect()?, files: self.files })
    }

    fn effect(&self) -> Result<DiskEffect, (&'static str, String)> {
        let on = |key: &str| {
            let hint = format!("(hint: `{key}` needs `on: write`, `fsync`, `open` or `rename`)");
            self.on.ok_or_else(|| ("", format!("`{key}` does not say which calls it hits {hint}")))
        };
        let given: Vec<&str> = [
            self.full.then_some("full"),
            self.fail.map(|_| "fail"),
            self.slow.map(|_| "slow"),
            self.stall.then_some("stall"),
            self.short_writes.map(|_| "short-writes"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let [_] = given.as_slice() else {
            let keys = "`full: true`, `fail: EIO`, `slow: 500ms`, `stall: true`, `short-writes: 30%`";
            return Err(("", format!("disk needs exactly one of {keys}; {} are given", given.len())));
        };
        if let (Some(_), true) = (self.on, self.full || self.short_writes.is_some()) {
            let message = format!("`{}` hits writes (hint: leave out `on`)", given[0]);
            return Err(("on", message));
        }
        if let Some(error) = self.fail {
            return Ok(DiskEffect::Fail { error, on: on("fail")? });
        }
        if let Some(by) = self.slow {
            if !(SLOW_MIN..=SLOW_MAX).contains(&by) {
                return Err((
                    "slow",
                    format!("{by} is out of bounds (hint: {SLOW_MIN} to {SLOW_MAX}, or `stall: true`)"),
                ));
            }
            return Ok(DiskEffect::Slow { by, on: on("slow")? });
        }
        if let Some(share) = self.short_writes {
            if share.fraction() < SHORT_MIN {
                return Err((
                    "short-writes",
                    format!("{share} of the writes are too few to be hit (hint: at least 0.1%)"),
                ));
            }
            return Ok(DiskEffect::ShortWrites { share });
        }
        Ok(if self.stall { DiskEffect::Stall { on: self.on } } else { DiskEffect::Full })
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::FaultStep;
    use crate::suite::Step;

    #[test]
    fn a_change_is_told_in_words_and_an_impossible_one_refused() {
        for (settings, expected) in [
            (r#""full": true"#, Ok("is full")),
            (r#""full": true, "files": "nodes.conf""#, Ok("is full, for nodes.conf")),
            (r#""fail": "EIO", "on": "rename", "files": "rdb""#, Ok("fails every rename with EIO, for RDB files")),
            (
                r#""slow": "500ms", "on": "fsync", "files": "aof""#,
                Ok("takes 500ms longer for every fsync, for the AOF"),
            ),
            (r#""stall": true"#, Ok("stalls")),
            (r#""stall": true, "on": "fsync""#, Ok("holds every fsync")),
            (r#""short-writes": "30%""#, Ok("cuts 30% of the writes short")),
            (r#""full": false"#, Err("")),
            (r#""full": true, "stall": true"#, Err("")),
            (r#""full": true, "on": "fsync""#, Err("on")),
            (r#""short-writes": "30%", "on": "write""#, Err("on")),
            (r#""short-writes": "0.01%""#, Err("short-writes")),
            (r#""fail": "EIO""#, Err("")),
            (r#""slow": "1s""#, Err("")),
            (r#""slow": "61s", "on": "fsync""#, Err("slow")),
            (r#""slow": "0s", "on": "fsync""#, Err("slow")),
        ] {
            let step: Step = serde_json::from_str(&format!(r#"{{"disk": {{"node": "node-2", {settings}}}}}"#)).unwrap();
            let Some(FaultStep::Disk(fault)) = step.fault() else { panic!("{step:?}") };
            let change = fault.change.as_ref().map(ToString::to_string);
            assert_eq!(change.as_deref().map_err(|(key, _)| *key), expected, "{settings}");
        }
    }
}
