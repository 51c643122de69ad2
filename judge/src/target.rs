//! Targets: the short strings by which a suite names nodes (`node-4`, `shard-1/master`,
//! `key:testkey/replica`, `slot:5000/master`, `any/master`, `minority`).
//!
//! A target does not name a process. The run resolves it against the live topology when it injects the
//! fault, and records the resolution.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::slot::{Deal, SLOTS};
use crate::units::{ClientNo, NodeNo, ParseError, ShardNo, text_form};

/// One target, as written in the suite.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// `node-4`: that node, in any role.
    Node(NodeNo),
    /// `shard-1/master`: the node that has this role for these slots when the fault is injected.
    Member(Owner, Member),
    /// `masters`, `minority`, ...: a set of nodes.
    Group(Group),
    /// `clients`, `half-clients`, `client-1`: clients of the workload, for the sides of a network fault.
    Clients(Clients),
    /// `others`: every node and client that is not on the other side of a network fault.
    Others,
}

/// Some of the workload's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Clients {
    /// `clients`: every client.
    All,
    /// `half-clients`: the lower-numbered half, rounded down.
    Half,
    /// `client-1`: that client.
    One(ClientNo),
}

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("clients"),
            Self::Half => f.write_str("half-clients"),
            Self::One(client) => client.fmt(f),
        }
    }
}

/// The shard of a target, as written in the suite.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// `shard-1`: that shard.
    Shard(ShardNo),
    /// `key:testkey`: the shard that has the slot of this key.
    Key(String),
    /// `slot:5000`: the shard that has this slot.
    Slot(u16),
    /// `any`: a shard that the plan draws from the run's seed. A plan never contains it.
    Any,
}

/// The nodes of a shard that a target names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Member {
    /// The node that owns the slots.
    Master,
    /// The replica with the lowest number.
    Replica,
    /// Every replica of the shard.
    Replicas,
    /// The master and every replica.
    Every,
    /// Every node of the shard whose process a fault ended, and that is not started yet. Only `start` takes it.
    Down,
    /// Every node of the shard that a fault froze, and that is not resumed yet. Only `resume` takes it.
    Paused,
}

/// A set of nodes across shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Every node.
    All,
    /// Every current master.
    Masters,
    /// Every current replica.
    Replicas,
    /// The largest number of masters that is not a majority (one of three, two of five), taken from the
    /// shards with the lowest numbers.
    Minority,
    /// Every node that is not in the minority.
    Majority,
}

const GROUPS: [(&str, Group); 5] = [
    ("all", Group::All),
    ("masters", Group::Masters),
    ("replicas", Group::Replicas),
    ("minority", Group::Minority),
    ("majority", Group::Majority),
];

const MEMBERS: [(&str, Member); 5] = [
    ("master", Member::Master),
    ("replica", Member::Replica),
    ("replicas", Member::Replicas),
    ("down", Member::Down),
    ("paused", Member::Paused),
];

impl Target {
    /// Whether the target can mean only one node.
    pub fn is_one(&self) -> bool {
        match self {
            Self::Node(_) | Self::Member(_, Member::Master | Member::Replica) => true,
            Self::Member(_, Member::Replicas | Member::Every | Member::Down | Member::Paused)
            | Self::Group(_)
            | Self::Clients(_)
            | Self::Others => false,
        }
    }

    /// The shard that the target names, with slots assigned as in `deal`. None for nodes and groups, whose shard
    /// is not part of the target, and for `any`.
    pub fn shard(&self, deal: &Deal) -> Option<ShardNo> {
        match self {
            Self::Member(owner, _) => owner.shard(deal),
            _ => None,
        }
    }
}

impl Owner {
    /// The shard, with slots assigned as in `deal`; None for `any`.
    pub fn shard(&self, deal: &Deal) -> Option<ShardNo> {
        match self {
            Self::Shard(shard) => Some(*shard),
            Self::Key(key) => Some(deal.shard_of_key(key.as_bytes())),
            Self::Slot(slot) => Some(deal.shard_of(*slot)),
            Self::Any => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => node.fmt(f),
            Self::Clients(clients) => clients.fmt(f),
            Self::Others => f.write_str("others"),
            Self::Member(owner, Member::Every) => owner.fmt(f),
            Self::Member(owner, member) => {
                let word =
                    MEMBERS.iter().find(|(_, each)| each == member).expect("every member but `Every` has a word").0;
                write!(f, "{owner}/{word}")
            }
            Self::Group(group) => {
                f.write_str(GROUPS.iter().find(|(_, each)| each == group).expect("every group has a word").0)
            }
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shard(shard) => shard.fmt(f),
            Self::Key(key) => write!(f, "key:{key}"),
            Self::Slot(slot) => write!(f, "slot:{slot}"),
            Self::Any => f.write_str("any"),
        }
    }
}

impl FromStr for Target {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.starts_with("node-") {
            return text.parse().map(Self::Node);
        }
        if text.starts_with("client-") {
            return text.parse().map(|client| Self::Clients(Clients::One(client)));
        }
        match text {
            "clients" => return Ok(Self::Clients(Clients::All)),
            "half-clients" => return Ok(Self::Clients(Clients::Half)),
            "others" => return Ok(Self::Others),
            _ => {}
        }
        if let Some((_, group)) = GROUPS.iter().find(|(word, _)| *word == text) {
            return Ok(Self::Group(*group));
        }
        let (owner, member) = match text.rsplit_once('/') {
            Some((owner, word)) => {
                let member = MEMBERS.iter().find(|(each, _)| *each == word).map(|(_, member)| *member).ok_or_else(|| {
                    ParseError::new(format!(
                        "\"{word}\" in target \"{text}\" is not a role (hint: use `{owner}/master`, `{owner}/replica` or `{owner}/replicas`)"
                    ))
                })?;
                (owner, member)
            }
            None => (text, Member::Every),
        };
        let owner = if owner == "any" && member != Member::Every {
            Owner::Any
        } else if owner.starts_with("shard-") {
            Owner::Shard(owner.parse()?)
        } else if let Some(key) = owner.strip_prefix("key:").filter(|key| !key.is_empty()) {
            Owner::Key(key.to_owned())
        } else if let Some(slot) = owner.strip_prefix("slot:") {
            let slot = slot.parse().ok().filter(|&slot| slot < SLOTS).ok_or_else(|| {
                ParseError::new(format!("\"{slot}\" in target \"{text}\" is not a slot (hint: slots are 0 to 16383)"))
            })?;
            Owner::Slot(slot)
        } else {
            return Err(ParseError::new(unknown(text)));
        };
        Ok(Self::Member(owner, member))
    }
}

fn unknown(text: &str) -> String {
    let words = [
        "node-1",
        "shard-1/master",
        "shard-1/replica",
        "any/master",
        "any/replica",
        "masters",
        "replicas",
        "minority",
        "majority",
        "all",
        "others",
        "clients",
        "half-clients",
        "client-1",
    ];
    let nearest = words
        .iter()
        .map(|word| (strsim::damerau_levenshtein(word, text), *word))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    match nearest {
        Some((_, word)) => format!("\"{text}\" is not a target (did you mean `{word}`?)"),
        None => format!(
            "\"{text}\" is not a target (hint: targets look like `node-4`, `shard-1/master`, `key:testkey/replica`, `slot:5000/master`, `any/master`, `minority`)"
        ),
    }
}

text_form!(
    Target,
    "Target",
    "Nodes by name or role: `node-4`, `shard-1/master`, `shard-1/replica`, `key:testkey/master`, `slot:5000/master`, `any/master`, `masters`, `replicas`, `minority`, `majority`, `all`. For `start` also `shard-1/down` and for `resume` `shard-1/paused`: the nodes of that shard that a fault ended or froze. On a side of a network fault also `clients`, `half-clients`, `client-1`, and `others`: every node and client that is not on the other side.",
    None
);

/// One target or a list of targets. The fault affects all targets of a list at once, in the order of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets(pub Vec<Target>);

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, target) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            target.fmt(f)?;
        }
        Ok(())
    }
}

impl From<Target> for Targets {
    fn from(target: Target) -> Self {
        Self(vec![target])
    }
}

impl From<NodeNo> for Targets {
    fn from(node: NodeNo) -> Self {
        Target::Node(node).into()
    }
}

impl TryFrom<&str> for Targets {
    type Error = ParseError;

    fn try_from(text: &str) -> Result<Self, ParseError> {
        text.parse::<Target>().map(Self::from)
    }
}

impl<const COUNT: usize> TryFrom<[&str; COUNT]> for Targets {
    type Error = ParseError;

    fn try_from(texts: [&str; COUNT]) -> Result<Self, ParseError> {
        if texts.is_empty() {
            return Err(ParseError::new("the list of targets is empty"));
        }
        texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl Serialize for Targets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Targets;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a target or a list of targets")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Targets, E> {
                text.parse::<Target>().map(Targets::from).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Targets, A::Error> {
                let mut targets = Vec::new();
                while let Some(target) = list.next_element()? {
                    targets.push(target);
                }
                if targets.is_empty() {
                    return Err(de::Error::custom("the list of targets is empty"));
                }
                Ok(Targets(targets))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for Targets {
    fn schema_name() -> Cow<'static, str> {
        "Targets".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let target = generator.subschema_for::<Target>();
        json_schema!({"anyOf": [target, {"type": "array", "items": target, "minItems": 1}]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_writes_every_target() {
        for text in [
            "node-4",
            "shard-1",
            "shard-1/master",
            "shard-2/replica",
            "shard-2/replicas",
            "key:testkey/master",
            "key:a/b/replica",
            "slot:5000/master",
            "slot:0",
            "any/master",
            "any/replica",
            "minority",
            "majority",
            "masters",
            "replicas",
            "all",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn rejects_an_invalid_target_with_a_hint() {
        for (text, expected) in [
            ("node-0", "\"node-0\" is not a node (hint: write `node-1`; numbers start at 1)"),
            ("minorty", "\"minorty\" is not a target (did you mean `minority`?)"),
            (
                "shard-1/slave",
                "\"slave\" in target \"shard-1/slave\" is not a role (hint: use `shard-1/master`, `shard-1/replica` or `shard-1/replicas`)",
            ),
            (
                "slot:16384/master",
                "\"16384\" in target \"slot:16384/master\" is not a slot (hint: slots are 0 to 16383)",
            ),
            ("any", "\"any\" is not a target (did you mean `all`?)"),
            ("key:/master", "\"key:/master\" is not a target"),
        ] {
            let message = text.parse::<Target>().unwrap_err().to_string();
            assert!(message.starts_with(expected), "{text}: {message}");
        }
    }
}
