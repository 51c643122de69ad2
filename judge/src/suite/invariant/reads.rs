//! What the settings of invariants about reads have in common.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::{Look, OpKind};

/// Which reads count, by the node that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReadsFrom {
    /// Reads that a master of the shard answered, or one that had been replaced and may not have known.
    Master,
    /// All reads.
    #[default]
    Any,
}

impl ReadsFrom {
    /// `master` or `any`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Any => "any",
        }
    }
}

/// A number, or `measured`: count and show, and pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// At most so many.
    AtMost(u64),
    /// Any number, as long as it is counted.
    Measured,
}

impl Default for Allowed {
    fn default() -> Self {
        Self::AtMost(0)
    }
}

impl Allowed {
    /// Whether so many are too many.
    pub fn is_exceeded_by(self, number: u64) -> bool {
        match self {
            Self::AtMost(most) => number > most,
            Self::Measured => false,
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(number) => number.fmt(f),
            Self::Measured => f.write_str("measured"),
        }
    }
}

impl Serialize for Allowed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AtMost(number) => serializer.serialize_u64(*number),
            Self::Measured => serializer.serialize_str("measured"),
        }
    }
}

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_word(deserializer, "measured").map(|number| number.map_or(Self::Measured, Self::AtMost))
    }
}

impl JsonSchema for Allowed {
    fn schema_name() -> Cow<'static, str> {
        "Allowed".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "integer", "minimum": 0}, {"const": "measured"}]})
    }
}

/// A number, or None for the word.
pub(super) fn number_or_word<'de, D: Deserializer<'de>>(
    deserializer: D,
    word: &'static str,
) -> Result<Option<u64>, D::Error> {
    struct NumberOrWord(&'static str);
    impl Visitor<'_> for NumberOrWord {
        type Value = Option<u64>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a number or `{}`", self.0)
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Option<u64>, E> {
            Ok(Some(number))
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<u64>, E> {
            if text == self.0 {
                return Ok(None);
            }
            let problem = |_| E::custom(format!("\"{text}\" is neither a number nor `{}`", self.0));
            text.parse().map(Some).map_err(problem)
        }
    }
    deserializer.deserialize_any(NumberOrWord(word))
}

/// Reads and writes exist, and so does the phase.
pub(super) fn check(look: &mut Look<'_>, during: Option<&String>) {
    look.needs_operations("", OpKind::Reads);
    look.needs_operations("", OpKind::Writes);
    if let Some(phase) = during {
        look.phase("during", phase);
    }
}

/// Defines the settings of a session guarantee.
macro_rules! session_settings {
    ($(#[doc = $about:literal])+ $name:ident) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct $name {
            /// Only reads that were sent in this phase; without it, from the first phase to the end of the steps.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub during: Option<String>,
            /// Which reads count: `any` (the default) or `master`.
            #[serde(default)]
            pub reads_from: ReadsFrom,
            /// How many reads may violate it, 0 by default, or `measured`: count and show them, and pass.
            #[serde(default)]
            pub may_violate: Allowed,
        }

        impl Settings for $name {
            fn check(&self, look: &mut Look<'_>) {
                super::reads::check(look, self.during.as_ref());
            }

            fn targets_mut(&mut self) -> Vec<&mut Target> {
                Vec::new()
            }
        }
    };
}

pub(super) use session_settings;
