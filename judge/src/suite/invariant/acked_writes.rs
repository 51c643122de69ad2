//! Settings of `acked-writes`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::{Look, OpKind, Settings};
use crate::target::Target;

/// Settings of `acked-writes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AckedWrites {
    /// How many acknowledged writes may be lost, or `measured`: count and show them, and pass.
    pub may_lose: MayLose,
}

impl Settings for AckedWrites {
    fn check(&self, look: &mut Look<'_>) {
        look.needs_operations("", OpKind::Writes);
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        Vec::new()
    }
}

/// A number of writes, or `measured`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayLose {
    /// At most so many.
    AtMost(u64),
    /// Any number, as long as it is counted.
    Measured,
}

impl fmt::Display for MayLose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(number) => number.fmt(f),
            Self::Measured => f.write_str("measured"),
        }
    }
}

impl Serialize for MayLose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AtMost(number) => serializer.serialize_u64(*number),
            Self::Measured => serializer.serialize_str("measured"),
        }
    }
}

impl<'de> Deserialize<'de> for MayLose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrWord;
        impl Visitor<'_> for NumberOrWord {
            type Value = MayLose;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of writes or `measured`")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<MayLose, E> {
                Ok(MayLose::AtMost(number))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<MayLose, E> {
                if text == "measured" {
                    return Ok(MayLose::Measured);
                }
                text.parse()
                    .map(MayLose::AtMost)
                    .map_err(|_| E::custom(format!("`{text}` is neither a number of writes nor `measured`")))
            }
        }
        deserializer.deserialize_any(NumberOrWord)
    }
}

impl JsonSchema for MayLose {
    fn schema_name() -> Cow<'static, str> {
        "MayLose".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "integer", "minimum": 0}, {"const": "measured"}]})
    }
}
