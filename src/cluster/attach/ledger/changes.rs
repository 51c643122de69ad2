//! The changes that a ledger lists, and their summary in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::cluster::Keyspace;
use crate::cluster::attach::error::named;
use crate::fault::ClockOf;
use crate::history::NodeInfo;
use crate::units::NodeNo;

/// Increases when older programs would misread the file.
const SCHEMA_VERSION: u32 = 2;

/// The oldest version that this program reads: it knows neither clocks nor disks.
const OLDEST_READ: u32 = 1;

/// The changes of a run on an attached cluster that are not yet undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    schema_version: u32,
    /// The name of the run, which is part of the prefix of its keys.
    pub(crate) run: String,
    suite: String,
    /// The process id of the harness, for messages only.
    pid: u32,
    began_at: String,
    #[serde(rename = "way")]
    pub(crate) access: AccessUsed,
    /// Every node, by its number in that run.
    pub(crate) places: Vec<LedgerNode>,
    /// The number of workload keys. Any of them may exist from the start.
    pub(crate) workload_keys: u32,
    /// The keys that steps may have written, with the prefix.
    pub(crate) written: BTreeSet<String>,
    /// The original values of changed directives.
    pub(crate) originals: Vec<Original>,
    /// Servers that were stopped or paused.
    pub(crate) disturbed: BTreeSet<NodeNo>,
    /// Cuts that hooks made, by the name of the fault.
    pub(crate) cuts: BTreeMap<String, Vec<NodeCut>>,
    /// Nodes whose hosts' clocks were changed.
    #[serde(default)]
    pub(crate) clocks: BTreeMap<NodeNo, ClockOf>,
    /// Nodes whose hosts' disks were made faulty.
    #[serde(default)]
    pub(crate) disks: BTreeSet<NodeNo>,
}

/// The access to servers that a run used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AccessUsed {
    Ports,
    Compose(String),
    Hooks(PathBuf),
}

/// The original value of a directive on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Original {
    pub node: NodeNo,
    pub name: String,
    pub value: String,
}

impl Changes {
    /// The changes of a run that begins: its keys only.
    pub(crate) fn new(run: &str, suite: &str, access: AccessUsed, places: Vec<LedgerNode>, workload_keys: u32) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            run: run.to_owned(),
            suite: suite.to_owned(),
            pid: std::process::id(),
            began_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            access,
            places,
            workload_keys,
            written: BTreeSet::new(),
            originals: Vec::new(),
            disturbed: BTreeSet::new(),
            cuts: BTreeMap::new(),
            clocks: BTreeMap::new(),
            disks: BTreeSet::new(),
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            schema_version: u32,
        }
        let version = serde_json::from_str::<Versioned>(text).map_err(|error| error.to_string())?.schema_version;
        if !(OLDEST_READ..=SCHEMA_VERSION).contains(&version) {
            return Err(format!(
                "it has version {version}, but this program reads versions {OLDEST_READ} to {SCHEMA_VERSION}"
            ));
        }
        let changes: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let numbers = changes.places.iter().map(|place| place.node.node.0);
        if !numbers.eq(1..=changes.places.len() as u16) || changes.places.is_empty() {
            return Err("its nodes are not numbered from 1".to_owned());
        }
        let originals = changes.originals.iter().map(|original| original.node);
        let cuts = changes.cuts.values().flatten().map(|node_cut| node_cut.node);
        let hosts = changes.clocks.keys().chain(&changes.disks).copied();
        let mut named = originals.chain(changes.disturbed.iter().copied()).chain(cuts).chain(hosts);
        let is_there = |node: NodeNo| (1..=changes.places.len()).contains(&usize::from(node.0));
        match named.find(|&node| !is_there(node)) {
            Some(node) => Err(format!("{node} is not one of its nodes")),
            None => Ok(changes),
        }
    }

    pub(crate) fn node(&self, node: NodeNo) -> &NodeInfo {
        &self.places[node.index()].node
    }

    /// The addresses of its nodes, as seeds.
    pub(crate) fn addrs(&self) -> Vec<String> {
        self.places.iter().map(|place| place.node.addr.to_string()).collect()
    }

    pub(crate) fn keys(&self) -> Keyspace {
        Keyspace::of_run(&self.run)
    }

    /// Adds the original value of a directive, unless there is one.
    pub(crate) fn add_original(&mut self, node: NodeNo, name: &str, value: &str) {
        if !self.originals.iter().any(|known| known.node == node && known.name == name) {
            self.originals.push(Original { node, name: name.to_owned(), value: value.to_owned() });
        }
    }

    /// Names their run, with its suite, process id and start time.
    pub fn whose(&self) -> String {
        format!("run {} (suite \"{}\", process {}, begun at {})", self.run, self.suite, self.pid, self.began_at)
    }

    /// The start time of their run; a later one compares as greater.
    pub(crate) fn began_at(&self) -> &str {
        &self.began_at
    }

    /// Lists the changes in words.
    pub(crate) fn summary(&self) -> String {
        let mut summary = String::new();
        for &node in &self.disturbed {
            let _ = write!(summary, "{} was stopped or paused, ", named(node, self.node(node).addr));
        }
        for original in &self.originals {
            let Original { node, name, value } = original;
            let _ = write!(summary, "`{name}` of {} was `{value}`, ", named(*node, self.node(*node).addr));
        }
        for (part, nodes) in [("clock", self.clocks.keys().collect::<Vec<_>>()), ("disk", self.disks.iter().collect())]
        {
            for &node in nodes {
                let _ = write!(summary, "the {part} of {} may be wrong, ", named(node, self.node(node).addr));
            }
        }
        for node_cut in self.cuts.values().flatten() {
            let _ = write!(summary, "links may be cut: {}, ", node_cut.summary(&self.places));
        }
        let keys = self.keys();
        summary + &format!("there may be keys below `{}`", keys.prefix().unwrap_or_default())
    }

    /// Lists the changes to undo, with the command that undoes them.
    pub fn pending(&self) -> String {
        format!(
            "{} was killed: {} (hint: run `{}` with the same password and TLS options)",
            self.whose(),
            self.summary(),
            self.command()
        )
    }

    /// The command that undoes them.
    fn command(&self) -> String {
        let nodes = self.addrs().join(",");
        let servers = match &self.access {
            AccessUsed::Ports => format!("--nodes {nodes}"),
            AccessUsed::Compose(project) => format!("--compose {project}"),
            AccessUsed::Hooks(file) => format!("--nodes {nodes} --hooks {}", file.display()),
        };
        format!("slotquake run formation --backend attach {servers}")
    }
}

/// A node with its bus port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LedgerNode {
    pub node: NodeInfo,
    pub bus_port: u16,
}

/// The addresses from which a node no longer receives packets, and the ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeCut {
    pub node: NodeNo,
    pub from: BTreeSet<Ipv4Addr>,
    pub ports: BTreeSet<u16>,
}

impl NodeCut {
    /// Names the node and the addresses that it is cut from.
    pub fn summary(&self, places: &[LedgerNode]) -> String {
        let node = &places[self.node.index()].node;
        format!("{} ({}) from {}", node.node, node.addr.ip(), joined(&self.from))
    }
}

/// The items, separated by commas.
pub(crate) fn joined<T: ToString>(all: &BTreeSet<T>) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
