//! How many replicas each master has at boot.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The number of replicas of each master at boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicasPerMaster {
    /// Every master has so many.
    Each(u16),
    /// One number a master, in the order of the shards.
    Listed(Vec<u16>),
}

impl ReplicasPerMaster {
    /// The number of each of so many masters. A master that a list leaves out has none.
    pub fn of_each(&self, masters: u16) -> Vec<u16> {
        match self {
            Self::Each(number) => vec![*number; usize::from(masters)],
            Self::Listed(numbers) => {
                numbers.iter().copied().chain(std::iter::repeat(0)).take(usize::from(masters)).collect()
            }
        }
    }
}

impl fmt::Display for ReplicasPerMaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Each(number) => number.fmt(f),
            Self::Listed(numbers) => f.debug_list().entries(numbers).finish(),
        }
    }
}

impl From<u16> for ReplicasPerMaster {
    fn from(number: u16) -> Self {
        Self::Each(number)
    }
}

impl From<Vec<u16>> for ReplicasPerMaster {
    /// One number if all are the same, else the list.
    fn from(numbers: Vec<u16>) -> Self {
        match numbers.as_slice() {
            [first, others @ ..] if others.iter().all(|other| other == first) => Self::Each(*first),
            _ => Self::Listed(numbers),
        }
    }
}

impl<const MASTERS: usize> From<[u16; MASTERS]> for ReplicasPerMaster {
    fn from(numbers: [u16; MASTERS]) -> Self {
        Self::Listed(numbers.to_vec())
    }
}

impl Serialize for ReplicasPerMaster {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Each(number) => number.serialize(serializer),
            Self::Listed(numbers) => numbers.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ReplicasPerMaster {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = ReplicasPerMaster;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of replicas or a list with one number a master")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ReplicasPerMaster, E> {
                text.parse().map(ReplicasPerMaster::Each).map_err(|_| {
                    E::custom(format!(
                        "\"{text}\" is not a number of replicas (hint: `1`, or one number a master: `[2, 1, 0]`)"
                    ))
                })
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ReplicasPerMaster, E> {
                let number = u16::try_from(number).map_err(|_| E::custom(format!("{number} replicas are too many")))?;
                Ok(ReplicasPerMaster::Each(number))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ReplicasPerMaster, A::Error> {
                let mut numbers = Vec::new();
                while let Some(number) = list.next_element()? {
                    numbers.push(number);
                }
                Ok(ReplicasPerMaster::Listed(numbers))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for ReplicasPerMaster {
    fn schema_name() -> Cow<'static, str> {
        "ReplicasPerMaster".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let number = json_schema!({"type": "integer", "minimum": 0, "maximum": u16::MAX});
        json_schema!({"anyOf": [number, {"type": "array", "items": number}]})
    }
}
