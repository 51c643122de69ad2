//! A suite: what a person writes. A cluster, a workload, steps, and the invariants that must hold.
//!
//! These types mirror the file word for word and hold nothing computed; [`crate::plan`] resolves
//! them. `slotquake schema` prints their JSON Schema.

mod diagnostic;
mod invariant;
mod load;
mod read;
mod step;
mod tree;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use diagnostic::nearest;
pub(crate) use invariant::for_each_invariant;
pub use invariant::*;
pub use load::{LoadError, Source, load, parse, read_yaml, schema, set, shipped, shipped_names};
pub use step::{
    Answer, Await, Command, CommandLine, Condition, Expect, Lossy, Narrow, Only, Partition, Refuse, Shape, Sides, Slow,
    Step,
};

use crate::units::{Directive, Percent, Rate, Span};

/// A whole suite file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Suite {
    /// The name that reports and `slotquake run NAME` use: lowercase letters, digits and dashes.
    pub name: String,
    /// One or two sentences: what is done, and what the operator believes will happen.
    pub about: String,
    /// The cluster under test.
    #[serde(default)]
    pub cluster: ClusterSpec,
    /// The operations that run all the while.
    #[serde(default)]
    pub workload: WorkloadSpec,
    /// What happens, in this order.
    pub steps: Vec<Step>,
    /// What must be true of it.
    pub invariants: Vec<Invariant>,
    /// How long the cluster may take to become whole again once every fault is undone.
    #[serde(default = "default_recover_within")]
    pub recover_within: Span,
    /// The longest that the steps may take together; a run that is longer is ended and reported.
    #[serde(default = "default_max_duration")]
    pub max_duration: Span,
}

/// `recover-within` where a suite does not say.
pub fn default_recover_within() -> Span {
    Span::secs(60)
}

/// `max-duration` where a suite does not say.
pub fn default_max_duration() -> Span {
    Span::secs(600)
}

/// The cluster under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Which server: `redis:6.2`, `valkey:9.1`, ... or the path of a binary. `--server` overrides it.
    pub server: String,
    /// Masters at boot, 3 or more.
    pub masters: u16,
    /// Replicas of each master at boot, 0 to 5.
    pub replicas_per_master: u16,
    /// Server directives beside and over the defaults (`cluster-node-timeout 5000, appendonly yes,
    /// cluster-require-full-coverage no, cluster-allow-reads-when-down yes, protected-mode no`);
    /// the values reach the server verbatim.
    pub config: BTreeMap<String, Directive>,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self { server: "redis:6.2".to_owned(), masters: 3, replicas_per_master: 1, config: BTreeMap::new() }
    }
}

/// The workload: open-loop reads and writes of single keys. Each key has one writer, which writes
/// increasing values and has at most one write of it under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WorkloadSpec {
    /// Independent clients, each with its own connections and its own view of the slots.
    pub clients: u16,
    /// Operations per second of all clients together. They are issued when due, whether or not
    /// earlier ones were answered, and how late each was issued is measured.
    pub rate: Rate,
    /// Keys, dealt evenly to clients and spread over all slots.
    pub keys: u32,
    /// The share of operations that are reads.
    pub reads: Percent,
    /// Whom reads are sent to.
    pub read_from: ReadFrom,
    /// Length of a value in bytes; the number that identifies it is never cut.
    pub value_size: u32,
    /// How long a command may take before its outcome is unknown.
    pub timeout: Span,
    /// How long connecting to a node may take.
    pub connect_timeout: Span,
    /// How many MOVED or ASK redirections one operation follows.
    pub max_redirects: u8,
    /// How often each client reads the slot table anew.
    pub refresh_every: Span,
    /// Whether MOVED and errors make a client read the slot table at once.
    pub adaptive_refresh: bool,
    /// With it, a write counts as acknowledged only if WAIT says that so many replicas have it;
    /// otherwise its outcome is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitSpec>,
}

/// What WAIT is told after each write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WaitSpec {
    /// How many replicas must have the write.
    pub replicas: u8,
    /// How long the server waits for them.
    pub timeout: Span,
}

impl Default for WorkloadSpec {
    /// The settings of the Lettuce client that the documentation walks through: replica-preferred
    /// reads, a refresh each second and on errors, 5 s timeouts, at most 3 redirections.
    fn default() -> Self {
        Self {
            clients: 4,
            rate: Rate { per_second: 400 },
            keys: 600,
            reads: Percent::new(50.0),
            read_from: ReadFrom::ReplicaPreferred,
            value_size: 32,
            timeout: Span::secs(5),
            connect_timeout: Span::secs(1),
            max_redirects: 3,
            refresh_every: Span::secs(1),
            adaptive_refresh: true,
            wait: None,
        }
    }
}

/// Whom reads are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReadFrom {
    /// The master of the slot, always.
    Master,
    /// A replica of the slot (after READONLY) while one accepts connections, else the master.
    ReplicaPreferred,
}
