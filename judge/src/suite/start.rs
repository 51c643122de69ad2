//! What `start` takes: the nodes, what is different when they come back, and whether they have to.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::server::Version;
use crate::target::Targets;
use crate::units::Directive;
use crate::words::{count, list};

/// As a server, the one that the suite's cluster boots with.
pub const CLUSTER_SERVER: &str = "cluster.server";

/// As a server, the one in the suite's key of that name, which `--to` overrides.
pub const UPGRADE_TO: &str = "cluster.upgrade-to";

/// The step `start`: nodes that are down, and what is different when they come back. Written as targets if nothing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The nodes.
    pub node: Targets,
    /// What is different.
    pub change: Change,
    /// Whether their servers must come up.
    pub expect: Coming,
}

/// Whether a server that is started must come up: whether it answers PING, or ends before it does. A server that neither
/// answers nor ends proves nothing, so it is an error whatever is expected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Coming {
    /// It must. One that ends instead fails the step.
    #[default]
    Up,
    /// It must not. One that answers fails the step.
    Down,
    /// It may. The report tells which it was.
    Either,
}

impl Coming {
    /// Whether the server must come up.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub fn is_up(&self) -> bool {
        *self == Self::Up
    }
}

/// What is different when a node comes back. A server and directives stay until another start changes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Change {
    /// The server that it runs from now on; None for the same as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// What became of its data while it was down.
    #[serde(default, skip_serializing_if = "Data::is_kept")]
    pub data: Data,
    /// Where it comes back.
    #[serde(default, skip_serializing_if = "Address::is_kept")]
    pub address: Address,
    /// Directives that it has from now on, beside those that it had.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, Directive>,
}

/// What became of the data of a node while it was down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// It is all there.
    #[default]
    Kept,
    /// Its append-only files and snapshots are gone. It still has `nodes.conf`, so it is the same node of the cluster,
    /// with the same role and slots, and without a key.
    Lost,
    /// `nodes.conf` is gone, too: it is a new node, which no other node knows.
    AllLost,
}

/// Where a node comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// Where it was.
    #[default]
    Kept,
    /// At an address that no node of the run has had, with the same port. The one that it had is nobody's from then on.
    New,
}

impl Address {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_kept(&self) -> bool {
        *self == Self::Kept
    }
}

impl Data {
    /// Whether the keys are gone.
    pub fn loses_keys(self) -> bool {
        match self {
            Self::Kept => false,
            Self::Lost | Self::AllLost => true,
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_kept(&self) -> bool {
        *self == Self::Kept
    }
}

impl Change {
    /// Whether nothing is different.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What is different, in words: `with redis:7.0, without its data`; empty for nothing.
    pub fn words(&self) -> String {
        let mut words: Vec<String> = self.server.iter().map(|server| format!("with {server}")).collect();
        match self.data {
            Data::Kept => {}
            Data::Lost => words.push("without its data".to_owned()),
            Data::AllLost => words.push("without its data and nodes.conf".to_owned()),
        }
        match self.address {
            Address::Kept => {}
            Address::New => words.push("at a new address".to_owned()),
        }
        words.extend(self.config.iter().map(|(name, value)| format!("with {name} {}", value.0)));
        words.join(", ")
    }
}

impl Start {
    /// Whether it is written as targets alone.
    pub fn is_plain(&self) -> bool {
        self.change.is_nothing() && self.expect.is_up()
    }
}

impl From<Targets> for Start {
    fn from(node: Targets) -> Self {
        Self { node, change: Change::default(), expect: Coming::default() }
    }
}

/// The long form of the step.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    /// The nodes, which are down.
    node: Targets,
    /// The server that they run from now on: `redis:7.0`, the path of a binary, `cluster.upgrade-to` for the suite's key
    /// of that name, or `cluster.server` for the one that the cluster booted with. Without it, the same as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// What became of their data: `kept`, `lost` (the append-only files and snapshots, but not `nodes.conf`), or `all-lost`
    /// (`nodes.conf`, too, so that each is a new node that no other knows).
    #[serde(default, skip_serializing_if = "Data::is_kept")]
    data: Data,
    /// Where they come back: `kept`, or `new` (each at an address that no node of the run has had).
    #[serde(default, skip_serializing_if = "Address::is_kept")]
    address: Address,
    /// Server directives that they have from now on, beside those that they had.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    config: BTreeMap<String, Directive>,
    /// Whether their servers must come up: `up`, `down` or `either`. A server that ends instead, as `down` and `either`
    /// allow, stays down: later steps leave it out, and it keeps the server and the directives that it had before.
    #[serde(default, skip_serializing_if = "Coming::is_up")]
    expect: Coming,
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_plain() {
            return self.node.serialize(serializer);
        }
        let Change { server, data, address, config } = self.change.clone();
        Written { node: self.node.clone(), server, data, address, config, expect: self.expect }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TargetsOrMap;
        impl<'de> Visitor<'de> for TargetsOrMap {
            type Value = Start;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a target, a list of targets, or a mapping such as `{ node: node-1, data: lost }`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Start, E> {
                Targets::deserialize(de::value::StrDeserializer::new(text)).map(Start::from)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Start, A::Error> {
                Targets::deserialize(SeqAccessDeserializer::new(list)).map(Start::from)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Start, A::Error> {
                let Written { node, server, data, address, config, expect } =
                    Written::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Start { node, change: Change { server, data, address, config }, expect })
            }
        }
        deserializer.deserialize_any(TargetsOrMap)
    }
}

impl JsonSchema for Start {
    fn schema_name() -> Cow<'static, str> {
        "StartedNodes".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (targets, written) = (generator.subschema_for::<Targets>(), generator.subschema_for::<Written>());
        json_schema!({"anyOf": [targets, written]})
    }
}

/// What a node that came back differently says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CameBack {
    /// Its version, as INFO states it; None if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Its `run_id`; empty if it did not state it.
    pub run_id: String,
    /// The number of its keys (DBSIZE); None if it did not say.
    pub keys: Option<u64>,
    /// The values of the directives that were changed (CONFIG GET).
    pub config: BTreeMap<String, String>,
    /// Its node id (CLUSTER MYID); None in histories of before it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The node id that it had before, if it has another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_id: Option<String>,
    /// Its change of address, if it was given another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Box<Moved>>,
}

/// A change of a node's address, as observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Moved {
    /// The address that it had.
    pub from: SocketAddr,
    /// The address that it was given, at which it answered.
    pub to: SocketAddr,
    /// The address in its own line of CLUSTER NODES; None if it states none.
    pub stated: Option<SocketAddr>,
    /// Whether nothing answers at the address that it had.
    pub is_left: bool,
    /// What the address that it had showed: `127.1.0.1:6379 refuses connections`.
    pub seen: String,
}

impl CameBack {
    /// What it says, in words: `redis 7.0.15, 200 keys`.
    pub fn words(&self) -> String {
        let version = self.version.map_or_else(|| "an unknown version".to_owned(), |version| version.to_string());
        let keys = self.keys.map(|keys| count(keys, "key"));
        let config = self.config.iter().map(|(name, value)| format!("{name} {value}"));
        let id = self.former_id.as_ref().and(self.id.as_ref()).map(|id| format!("node id {id}"));
        let moved = self.moved.iter().map(|moved| format!("at {}, and {}", moved.to, moved.seen));
        std::iter::once(version).chain(keys).chain(config).chain(id).chain(moved).collect::<Vec<_>>().join(", ")
    }

    /// What is not as the change asked for, where its server has that version; None if all is.
    pub fn unlike(&self, change: &Change, version: Option<Version>) -> Option<String> {
        let mut wrong = Vec::new();
        if let Some(version) = version.filter(|&version| self.version != Some(version)) {
            let found = self.version.map_or_else(|| "an unknown version".to_owned(), |found| found.to_string());
            wrong.push(format!("it runs {found}, not {version}"));
        }
        for (name, Directive(wanted)) in &change.config {
            match self.config.get(name) {
                None => wrong.push(format!("it does not state `{name}`")),
                Some(found) if is_plain(wanted) && !found.eq_ignore_ascii_case(wanted) => {
                    wrong.push(format!("it has `{name} {found}`, not {wanted}"));
                }
                Some(_) => {}
            }
        }
        match (change.data, &self.id, &self.former_id) {
            (Data::AllLost, None, _) => wrong.push("it does not state its node id".to_owned()),
            (Data::AllLost, Some(id), None) => wrong.push(format!("it still has the node id {id}")),
            (Data::Kept | Data::Lost, Some(id), Some(former)) => {
                wrong.push(format!("it is another node of the cluster, {id}, and was {former}"));
            }
            (Data::AllLost, Some(_), Some(_)) | (Data::Kept | Data::Lost, _, _) => {}
        }
        match (change.address, self.moved.as_deref()) {
            (Address::Kept, _) => {}
            (Address::New, None) => wrong.push("it has the address that it had".to_owned()),
            (Address::New, Some(Moved { to, stated, is_left, seen, .. })) => {
                if *stated != Some(*to) {
                    let stated = stated.map_or_else(|| "no address".to_owned(), |stated| stated.to_string());
                    wrong.push(format!("it states {stated}, not {to}"));
                }
                if !is_left {
                    wrong.push(format!("at the address that it left, {seen}"));
                }
            }
        }
        (!wrong.is_empty()).then(|| list(&wrong))
    }
}

/// Whether a server repeats the value as it was written. It rewrites sizes (`1mb`) and lists.
pub(crate) fn is_plain(value: &str) -> bool {
    ["yes", "no"].contains(&value) || (!value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use crate::server::Flavour;

    use super::*;

    fn read(text: &str) -> Result<Start, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn is_written_as_targets_unless_something_is_different() {
        for text in [
            r#""node-1""#,
            r#"["node-1","shard-2/master"]"#,
            r#"{"node":"node-1","server":"redis:7.0"}"#,
            r#"{"node":["node-1","node-4"],"data":"lost"}"#,
            r#"{"node":"node-4","data":"all-lost","address":"new"}"#,
            r#"{"node":"node-1","config":{"cluster-node-timeout":"9000"}}"#,
            r#"{"node":"node-1","expect":"either"}"#,
            r#"{"node":"node-1","server":"redis:7.0","expect":"down"}"#,
        ] {
            let start = read(text).expect(text);
            assert_eq!(serde_json::to_string(&start).expect("JSON"), text);
        }
        for plain in [r#"{"node":"node-1","data":"kept"}"#, r#"{"node":"node-1","expect":"up"}"#] {
            assert!(read(plain).expect("it reads").is_plain(), "{plain}");
        }
        assert!(read(r#"{"data":"lost"}"#).expect_err("no node").contains("missing field `node`"));
        assert!(read(r#"{"node":"node-1","sever":"redis:7.0"}"#).expect_err("a typo").contains("`server`"));
        assert!(read(r#"{"node":"node-1","expect":"maybe"}"#).expect_err("no such word").contains("`either`"));
    }

    #[test]
    fn tells_what_did_not_come_back_as_asked() {
        let version = |minor| Version { flavour: Flavour::Redis, major: 7, minor, patch: 1 };
        let change: Change =
            serde_json::from_str(r#"{"config": {"appendonly": "no", "maxmemory": "1mb"}}"#).expect("a change");
        let with = |appendonly: &str| CameBack {
            version: Some(version(0)),
            run_id: "a".to_owned(),
            keys: Some(0),
            config: [("appendonly", appendonly), ("maxmemory", "1048576")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            id: Some("1".repeat(40)),
            former_id: None,
            moved: None,
        };
        for (found, version, expected) in [
            (with("no"), Some(version(0)), None),
            (with("no"), None, None),
            (with("no"), Some(version(2)), Some("it runs redis 7.0.1, not redis 7.2.1")),
            (with("yes"), Some(version(0)), Some("it has `appendonly yes`, not no")),
            (CameBack { version: None, ..with("no") }, Some(version(0)), Some("an unknown version")),
            (CameBack { config: BTreeMap::new(), ..with("no") }, None, Some("it does not state `appendonly`")),
        ] {
            let said = found.unlike(&change, version);
            match expected {
                None => assert_eq!(said, None),
                Some(part) => assert!(said.as_ref().is_some_and(|said| said.contains(part)), "{said:?}: {part}"),
            }
        }
    }

    #[test]
    fn tells_what_is_not_another_node_or_not_at_another_address() {
        let (old, new) = ("127.1.0.1:6379".parse().expect("an address"), "127.1.0.7:6379".parse().expect("an address"));
        let moved = Moved { from: old, to: new, stated: Some(new), is_left: true, seen: format!("{old} is closed") };
        let found = |former_id: Option<&str>, moved: Option<Moved>| CameBack {
            version: None,
            run_id: "a".to_owned(),
            keys: Some(0),
            config: BTreeMap::new(),
            id: Some("2".repeat(40)),
            former_id: former_id.map(str::to_owned),
            moved: moved.map(Box::new),
        };
        let at_old = Moved { stated: Some(old), ..moved.clone() };
        let answered = Moved { is_left: false, seen: format!("{old} still answers"), ..moved.clone() };
        for (data, address, found, expected) in [
            ("kept", "new", found(None, Some(moved.clone())), None),
            ("all-lost", "new", found(Some("1"), Some(moved.clone())), None),
            ("kept", "new", found(None, None), Some("it has the address that it had")),
            ("kept", "new", found(None, Some(at_old)), Some("it states 127.1.0.1:6379, not 127.1.0.7:6379")),
            ("kept", "new", found(None, Some(answered)), Some("127.1.0.1:6379 still answers")),
            ("all-lost", "kept", found(None, None), Some("it still has the node id 2222")),
            ("lost", "kept", found(Some("1111"), None), Some("it is another node of the cluster")),
            ("kept", "kept", found(None, None), None),
        ] {
            let change = serde_json::from_value(serde_json::json!({"data": data, "address": address}));
            let said = found.unlike(&change.expect("a change"), None);
            match expected {
                None => assert_eq!(said, None, "{data}, {address}"),
                Some(part) => assert!(said.as_ref().is_some_and(|said| said.contains(part)), "{said:?}: {part}"),
            }
        }
    }
}
