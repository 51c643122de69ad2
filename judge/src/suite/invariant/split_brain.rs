//! Settings of `split-brain`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, OpKind, Settings, ShardSet};
use crate::target::Target;
use crate::units::{Bound, ParseError, text_form};

/// Settings of `split-brain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SplitBrain {
    /// Which shards; each is judged on its own.
    #[serde(default)]
    pub shard: ShardSet,
    /// The longest time in which the old master may acknowledge writes after the new one's first:
    /// `0s`, `spec` (half a node timeout and what the bounds of detection allow), or `measured`.
    pub may_last: MayLast,
}

impl Settings for SplitBrain {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_replicas();
        look.needs_operations("", OpKind::Writes);
        look.shards("shard", self.shard);
        let message =
            "no step cuts the cluster bus or pauses a node, so no shard can have two masters (hint: `partition`)";
        look.needs_fault("", |fault| fault.cuts_bus() || fault.freezes(), message);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}

/// A bound of a time, or `measured`: measure and show it, and pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayLast {
    /// At most so long.
    AtMost(Bound),
    /// Any time, as long as it is measured.
    Measured,
}

impl fmt::Display for MayLast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => bound.fmt(f),
            Self::Measured => f.write_str("measured"),
        }
    }
}

impl FromStr for MayLast {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == "measured" {
            return Ok(Self::Measured);
        }
        text.parse()
            .map(Self::AtMost)
            .map_err(|_| ParseError::new(format!("`{text}` is neither a duration, `spec` nor `measured`")))
    }
}

text_form!(MayLast, "MayLast", "A duration such as `2s`, `spec`, or `measured`.", None);
