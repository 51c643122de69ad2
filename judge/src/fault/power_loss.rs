//! A host that loses its power: its servers end at once, and what they had not synchronised to disk is gone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, Drawn, FaultSpec, Nature, Need, ProcessEffect, ProcessFault};
use crate::words::count;

pub(super) const SPEC: FaultSpec = FaultSpec {
    word: "power-loss",
    past: "lost power",
    needs: &[Need::Kill, Need::PowerLoss],
    drawn: Drawn::Down,
    nature: Nature::Process(ProcessFault {
        inject: Action::Kill,
        undo: Action::Start,
        effect: ProcessEffect::Gone,
        loses_unsynced: true,
    }),
};

/// What a node lost with its power. Paths are from the directory of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unsynced {
    /// The files that lost a part of their content, by path.
    pub bytes: Vec<LostBytes>,
    /// The changes of names that were undone, the last one first.
    pub names: Vec<LostName>,
}

/// What a file lost of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LostBytes {
    /// The file.
    pub path: String,
    /// Its length before, in bytes.
    pub bytes_before: u64,
    /// Its length after, in bytes.
    pub bytes_after: u64,
    /// Whether it has the content again that it had before it was overwritten; else it has lost its end.
    pub restored: bool,
}

/// A change of a name that was undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LostName {
    /// A file is gone that had been created.
    Creation {
        /// The file.
        path: String,
    },
    /// A file has its old name again.
    Renaming {
        /// The old name.
        from: String,
        /// The new one.
        to: String,
        /// Whether a file is back whose name it had taken.
        restored: bool,
    },
    /// A file is back that had been removed.
    Removal {
        /// The file.
        path: String,
    },
}

impl Unsynced {
    /// Whether everything was durable.
    pub fn is_nothing(&self) -> bool {
        self.bytes.is_empty() && self.names.is_empty()
    }

    /// What was lost, in words: `appendonly.aof lost 120 of 4010 bytes`.
    pub fn words(&self) -> String {
        if self.is_nothing() {
            return "nothing was lost: all was synchronised to disk".to_owned();
        }
        let bytes = self.bytes.iter().map(|LostBytes { path, bytes_before, bytes_after, restored }| match restored {
            true => format!("{path} has {} of before it was overwritten", count(*bytes_after, "byte")),
            false => format!("{path} lost {} of {bytes_before}", count(bytes_before - bytes_after, "byte")),
        });
        let names = self.names.iter().map(|name| match name {
            LostName::Creation { path } => format!("the new file {path} is gone"),
            LostName::Renaming { from, to, restored: true } => {
                format!("{to} is {from} again, and the old {to} is back")
            }
            LostName::Renaming { from, to, restored: false } => format!("{to} is {from} again"),
            LostName::Removal { path } => format!("{path} is back, which had been removed"),
        });
        bytes.chain(names).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_told_in_words() {
        assert!(Unsynced::default().words().starts_with("nothing was lost"));
        let bytes = |restored| LostBytes { path: "a".to_owned(), bytes_before: 9, bytes_after: 8, restored };
        let (from, to) = ("temp".to_owned(), "b".to_owned());
        let lost = Unsynced {
            bytes: vec![bytes(false), bytes(true)],
            names: vec![
                LostName::Creation { path: "c".to_owned() },
                LostName::Renaming { from, to, restored: true },
                LostName::Removal { path: "d".to_owned() },
            ],
        };
        assert_eq!(
            lost.words(),
            "a lost 1 byte of 9; a has 8 bytes of before it was overwritten; the new file c is gone; b is temp again, and the \
             old b is back; d is back, which had been removed"
        );
    }
}
