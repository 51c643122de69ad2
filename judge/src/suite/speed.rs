//! How fast a suite runs: a number, or as fast as the machine can.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units::{ParseError, Speed};

/// The speed that a suite or the command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeedSetting {
    /// This one.
    Fixed(Speed),
    /// The highest that the machine can keep.
    Auto,
}

const AUTO: &str = "auto";

impl SpeedSetting {
    /// The speed, where `found` is the highest that the machine can keep.
    pub fn or_found(self, found: Speed) -> Speed {
        match self {
            Self::Fixed(speed) => speed,
            Self::Auto => found,
        }
    }
}

impl fmt::Display for SpeedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(speed) => speed.fmt(f),
            Self::Auto => f.write_str(AUTO),
        }
    }
}

impl FromStr for SpeedSetting {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == AUTO {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Fixed).map_err(|_| {
            ParseError::new(format!(
                "\"{text}\" is not a speed (hint: write a whole number from {} to {}, such as `10`, or `auto`)",
                Speed::REAL,
                Speed::MAX
            ))
        })
    }
}

impl TryFrom<&str> for SpeedSetting {
    type Error = ParseError;

    fn try_from(text: &str) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl Serialize for SpeedSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(speed) => speed.serialize(serializer),
            Self::Auto => AUTO.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SpeedSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = SpeedSetting;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a speed: a whole number, or `auto`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<SpeedSetting, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<SpeedSetting, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for SpeedSetting {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Speed".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A whole number from 1 to 100, or `auto`.",
            "anyOf": [
                {"type": "integer", "minimum": Speed::REAL.factor(), "maximum": Speed::MAX.factor()},
                {"const": AUTO},
            ],
        })
    }
}
