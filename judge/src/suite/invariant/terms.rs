//! What the settings of several invariants have in common.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ParseError, ShardNo, text_form};

/// When something is looked at: `end`, `throughout`, or the name of a phase, which means its last
/// moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// After recovery, when every fault is undone.
    End,
    /// At every observation from the first phase to the end of the steps.
    Throughout,
    /// At the last moment of that phase.
    Phase(String),
}

impl Moment {
    /// The default of settings that are looked at when the run is over.
    pub(super) fn end() -> Self {
        Self::End
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "end",
            Self::Throughout => "throughout",
            Self::Phase(name) => name,
        })
    }
}

impl FromStr for Moment {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Ok(match text {
            "end" => Self::End,
            "throughout" => Self::Throughout,
            "" => return Err(ParseError::new("a moment is `end`, `throughout` or the name of a phase")),
            phase => Self::Phase(phase.to_owned()),
        })
    }
}

text_form!(Moment, "Moment", "`end` (after recovery), `throughout`, or the name of a phase (its last moment).", None);

/// Reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OpKind {
    /// GET.
    Reads,
    /// SET.
    Writes,
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
        })
    }
}

/// Which shards: `shard-1`, `others` (those of which no node was hit by a fault), or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShardSet {
    /// That shard.
    One(ShardNo),
    /// Every shard of which no node was hit by a fault in the whole run.
    Others,
    /// Every shard.
    #[default]
    All,
}

impl fmt::Display for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(shard) => shard.fmt(f),
            Self::Others => f.write_str("others"),
            Self::All => f.write_str("all"),
        }
    }
}

impl FromStr for ShardSet {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "others" => Ok(Self::Others),
            "all" => Ok(Self::All),
            _ => text
                .parse()
                .map(Self::One)
                .map_err(|_| ParseError::new(format!("`{text}` names no shards (hint: `shard-1`, `others` or `all`)"))),
        }
    }
}

text_form!(
    ShardSet,
    "ShardSet",
    "`shard-1`, `others` (no node of theirs was hit by a fault), or `all`.",
    Some("^(shard-[1-9][0-9]*|others|all)$")
);

/// Which clients of the workload: those that a fault of links cut off, the rest, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientSet {
    /// Every client, whatever its side.
    #[default]
    All,
    /// Those on the side with fewer nodes of a fault that severs links between clients and nodes, for the whole run.
    CutOff,
    /// All others.
    Rest,
}

impl ClientSet {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(crate) fn is_all(&self) -> bool {
        *self == Self::All
    }

    /// The clients in words, with a space before them: ` by clients that were cut off`; empty for all.
    pub fn by(self) -> &'static str {
        match self {
            Self::All => "",
            Self::CutOff => " by clients that were cut off",
            Self::Rest => " by clients that were not cut off",
        }
    }
}

impl fmt::Display for ClientSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::CutOff => "cut-off",
            Self::Rest => "rest",
        })
    }
}
