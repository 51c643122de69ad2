//! Settings of `linearizable`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer};

use super::reads::{self, Allowed, ReadsFrom, number_or_word};
use super::{Look, Settings};
use crate::target::Target;

/// Settings of `linearizable`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Linearizable {
    /// Which keys: `all`, or the first so many. Each is judged on its own.
    #[serde(default)]
    pub keys: Keys,
    /// Only reads that were sent in this phase; without it, from the first phase to the end of the steps. Writes count
    /// whenever they were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<String>,
    /// Which reads count: `master` (the default) or `any`.
    #[serde(default = "from_master")]
    pub reads_from: ReadsFrom,
    /// How many keys may not be linearizable, 0 by default, or `measured`: count and show them, and pass.
    #[serde(default)]
    pub may_violate: Allowed,
}

fn from_master() -> ReadsFrom {
    ReadsFrom::Master
}

impl Settings for Linearizable {
    fn check(&self, look: &mut Look<'_>) {
        reads::check(look, self.during.as_ref());
        if self.keys == Keys::First(0) {
            look.problem("keys", "no key to judge (hint: `keys: all`)");
        }
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}

/// How many keys are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keys {
    /// Every key of the workload.
    #[default]
    All,
    /// The first so many, by their numbers.
    First(u64),
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::First(number) => number.fmt(f),
        }
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::First(number) => serializer.serialize_u64(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_word(deserializer, "all").map(|number| number.map_or(Self::All, Self::First))
    }
}

impl JsonSchema for Keys {
    fn schema_name() -> Cow<'static, str> {
        "Keys".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "all"}]})
    }
}
