//! Settings of `role`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Look, Moment, Settings};
use crate::target::Target;
use crate::units::{NodeNo, ParseError, text_form};

/// Settings of `role`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RoleOf {
    /// Whose role.
    pub node: Target,
    /// The role.
    pub is: RoleIs,
    /// When.
    #[serde(default = "Moment::end")]
    pub at: Moment,
}

impl Settings for RoleOf {
    fn check(&self, look: &mut Look<'_>) {
        look.one_node("node", &self.node);
        look.role("is", &self.node, self.is);
        look.moment("at", &self.at);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        vec![&mut self.node]
    }
}

/// A role: `master`, `replica`, or `replica-of node-4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleIs {
    /// A master that owns slots.
    Master,
    /// A replica of any node.
    Replica,
    /// A replica of that node.
    ReplicaOf(NodeNo),
}

impl fmt::Display for RoleIs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("master"),
            Self::Replica => f.write_str("replica"),
            Self::ReplicaOf(node) => write!(f, "replica-of {node}"),
        }
    }
}

impl FromStr for RoleIs {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "master" => Ok(Self::Master),
            "replica" => Ok(Self::Replica),
            _ => match text.strip_prefix("replica-of ") {
                Some(node) => node.trim().parse().map(Self::ReplicaOf),
                None => Err(ParseError::new(format!(
                    "`{text}` is not a role (hint: `master`, `replica` or `replica-of node-4`)"
                ))),
            },
        }
    }
}

text_form!(
    RoleIs,
    "RoleIs",
    "`master`, `replica`, or `replica-of node-4`.",
    Some("^(master|replica|replica-of +node-[1-9][0-9]*)$")
);
