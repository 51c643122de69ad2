//! A suite as a person writes it: a cluster, a workload, steps, and the invariants that must hold.
//!
//! These types mirror the file and contain no computed values. [`crate::plan`] resolves them. `slotquake schema` prints their JSON Schema.

mod corrupt;
mod diagnostic;
mod exec;
mod invariant;
mod kinds;
mod load;
mod random;
mod read;
mod replicas;
mod speed;
mod start;
mod step;
mod tree;
mod yaml;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use corrupt::{Corrupt, Damage, Damaged, DataFile, Portion};
pub(crate) use diagnostic::nearest;
pub use exec::{Exec, Wanted};
pub use invariant::*;
pub(crate) use invariant::{Look, Nodes, for_each_invariant};
pub use kinds::{DataKind, Kinds};
pub use load::{LoadError, Source, load, parse, read_yaml, schema, set, shipped, shipped_names};
pub use random::{Act, Between, RandomFaults};
pub use replicas::ReplicasPerMaster;
pub use speed::SpeedSetting;
pub(crate) use start::is_plain;
pub use start::{Address, CLUSTER_SERVER, CameBack, Change, Coming, Data, Moved, Start, UPGRADE_TO};
pub use step::{
    Answer, Await, Command, CommandLine, Condition, Does, Errors, Expect, Lossy, Narrow, Only, Partition, Phased,
    Probe, Refuse, Shape, Sides, Slow, Step, When,
};

pub use yaml::to_yaml;

use crate::units::{Directive, Percent, Rate, Span};

/// A whole suite file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Suite {
    /// The name for reports and for `slotquake run NAME`: lowercase letters, digits and dashes.
    pub name: String,
    /// One or two sentences: what the suite does, and what the operator expects.
    pub about: String,
    /// The cluster under test.
    #[serde(default)]
    pub cluster: ClusterSpec,
    /// The operations that clients issue during all steps.
    #[serde(default)]
    pub workload: WorkloadSpec,
    /// The steps of the run, in order.
    pub steps: Vec<Step>,
    /// The properties that must hold. Without any, nothing is judged but slotquake's own checks.
    #[serde(default)]
    pub invariants: Vec<Invariant>,
    /// How long the cluster may take to recover after all faults are undone.
    #[serde(default = "default_recover_within")]
    pub recover_within: Span,
    /// The longest time for all steps together. The harness ends and reports a run that takes longer.
    #[serde(default = "default_max_duration")]
    pub max_duration: Span,
    /// What becomes of a step that injects or undoes a fault, or sends a command, where it is impossible when its turn comes:
    /// its target means no node, or a node that it cannot affect or reach. And of `when`, if no log tells of its event in time.
    #[serde(default, skip_serializing_if = "IfImpossible::is_end")]
    pub if_impossible: IfImpossible,
    /// How many times as fast as real time the suite runs, or `auto`: as fast as the machine can. By default in real time.
    /// `--speed` overrides it, but never makes the suite faster than a number here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<SpeedSetting>,
}

impl Suite {
    /// The positions of the steps that start the server of `cluster.upgrade-to`.
    pub fn upgrades(&self) -> impl Iterator<Item = usize> {
        let is_one = |step: &Step| step.change().is_some_and(|change| change.server.as_deref() == Some(UPGRADE_TO));
        self.steps.iter().enumerate().filter(move |(_, step)| is_one(step)).map(|(index, _)| index)
    }
}

/// What becomes of a step that is impossible when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IfImpossible {
    /// It is an error of the suite, and the steps end.
    #[default]
    End,
    /// It is recorded and left out. Schedules that are drawn need it, because nobody knows the roles of the nodes beforehand.
    Skip,
}

impl IfImpossible {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(crate) fn is_end(&self) -> bool {
        *self == Self::End
    }
}

/// The default of `recover-within`.
pub fn default_recover_within() -> Span {
    Span::secs(60)
}

/// The default of `max-duration`.
pub fn default_max_duration() -> Span {
    Span::secs(600)
}

/// The cluster under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// The server: `redis:6.2`, `valkey:9.1`, ... or the path of a binary. `--server` overrides it.
    pub server: String,
    /// The server that steps mean by `server: cluster.upgrade-to`. `--to` overrides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade_to: Option<String>,
    /// Masters at boot, 3 or more.
    pub masters: u16,
    /// Replicas of each master at boot, 0 to 5: one number for all, or a list with one number a master, in the order of
    /// the shards (`[2, 1, 0]`). Nodes are numbered in rounds: first all masters, then the first replica of each shard that
    /// has one, then the second, and so on.
    pub replicas_per_master: ReplicasPerMaster,
    /// Server directives. They are added to the defaults and override them (`cluster-node-timeout 5000, appendonly yes,
    /// cluster-require-full-coverage no, cluster-allow-reads-when-down yes, protected-mode no`).
    /// The values reach the server verbatim.
    pub config: BTreeMap<String, Directive>,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            server: "redis:6.2".to_owned(),
            upgrade_to: None,
            masters: 3,
            replicas_per_master: 1.into(),
            config: BTreeMap::new(),
        }
    }
}

/// The workload: open-loop reads and writes of single keys. Each key has one writer unless `writers` says otherwise, and
/// each writer has at most one pending write for it. The values of a key are unique and increase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WorkloadSpec {
    /// The number of independent clients. Each has its own connections and its own slot table.
    pub clients: u16,
    /// Operations per second of all clients together. Each operation is issued when it is due, even if
    /// earlier ones are still pending. The harness measures how late each one is issued. A closed loop does not use it.
    pub rate: Rate,
    /// When a client issues its next operation: `open` (the default; as `rate` says, whatever became of earlier ones), or
    /// `closed` (once its last one has ended, as `redis-benchmark` does). A closed loop measures throughput. What its clients
    /// do not send while they wait is nowhere, so it judges neither availability nor latency.
    #[serde(rename = "loop", skip_serializing_if = "Loop::is_open")]
    #[schemars(extend("default" = "open"))]
    pub pacing: Loop,
    /// The number of keys, divided evenly among clients and spread over all slots. By default as many as writes need that
    /// wait for the whole `timeout`, and at least 600: with fewer keys, a client runs out of keys during an outage, and
    /// does not send operations that are due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<u32>,
    /// The kinds of data, with the share of each in the operations: `{ register: 60%, counter: 40% }`. Without it, all
    /// are registers. Each kind has keys of its own, `keys` times its share, and at least 30; channels and queues
    /// are 60 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Kinds>,
    /// How many clients write each key, at most all of them. With more than one, writes of a key may be concurrent; then
    /// nobody can tell which of two concurrent writes was the later one, unless a read does.
    #[serde(skip_serializing_if = "is_one")]
    #[schemars(range(min = 1), extend("default" = 1))]
    pub writers: u16,
    /// How often each key is used: `uniform` (the default; every key as often as any other), `zipf` (the key of rank n in
    /// proportion to 1/n), or `hot-slot` (half of the operations are for the keys of one slot).
    #[serde(skip_serializing_if = "Skew::is_uniform")]
    #[schemars(extend("default" = "uniform"))]
    pub skew: Skew,
    /// The time to live of keys of the kind `ttl`, 2s by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// The share of operations that are reads.
    pub reads: Percent,
    /// The nodes that reads are sent to.
    pub read_from: ReadFrom,
    /// Length of a value in bytes. A value is longer if the number that identifies it needs more bytes.
    pub value_size: u32,
    /// How long a command may take. After that, its outcome is unknown.
    pub timeout: Span,
    /// How long connecting to a node may take.
    pub connect_timeout: Span,
    /// How often a client sends a write again that had no answer, as most client libraries do: each time with the whole
    /// `timeout`, and to the master that it then knows. The write may then take effect more than once.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(extend("default" = 0))]
    pub retries: u8,
    /// How many MOVED or ASK redirections one operation follows.
    pub max_redirects: u8,
    /// How often each client refreshes its slot table.
    pub refresh_every: Span,
    /// Whether a client refreshes its slot table at once after MOVED and errors.
    pub adaptive_refresh: bool,
    /// Sends WAIT after each write. A write is then acknowledged only if WAIT reports enough replicas;
    /// otherwise its outcome is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitSpec>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_one(number: &u16) -> bool {
    *number == 1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// The fewest keys of each kind of data.
const KEYS_OF_A_KIND_MIN: f64 = 30.0;

/// The time to live of keys that expire, unless the workload states it.
const TTL: Span = Span::secs(2);

/// The fewest keys of a workload that does not state them.
const KEYS_MIN: f64 = 600.0;

/// The most keys of a workload that does not state them: each is read back at the end.
const KEYS_DEFAULT_MAX: f64 = 100_000.0;

/// Keys for each write that may wait: random keys spread unevenly over clients and shards.
const KEYS_FOR_A_WRITE: f64 = 1.5;

impl WorkloadSpec {
    /// The number of keys, as stated or by default.
    pub fn keys(&self) -> u32 {
        self.keys.unwrap_or_else(|| {
            let writes = f64::from(self.rate.per_second) * (1.0 - self.reads.fraction());
            let waiting = writes * self.timeout.0.as_secs_f64();
            (waiting * KEYS_FOR_A_WRITE).ceil().clamp(KEYS_MIN, KEYS_DEFAULT_MAX) as u32
        })
    }

    /// The share of a kind of data in the operations, from 0 to 1.
    pub fn share(&self, kind: DataKind) -> f64 {
        match &self.kinds {
            Some(kinds) => kinds.share(kind),
            None => f64::from(u8::from(kind == DataKind::Register)),
        }
    }

    /// The time to live of keys that expire, as stated or by default.
    pub fn ttl(&self) -> Span {
        self.ttl.unwrap_or(TTL)
    }

    /// The number of keys of a kind of data: every client writes at least one.
    pub fn keys_of(&self, kind: DataKind) -> u32 {
        match self.share(kind) {
            0.0 => 0,
            _ if self.kinds.is_none() => self.keys(),
            share => {
                let fewest = KEYS_OF_A_KIND_MIN.max(self.clients.into());
                let most = f64::from(kind.keys_max().max(self.clients.into()));
                (f64::from(self.keys()) * share).ceil().max(fewest).min(most) as u32
            }
        }
    }
}

/// The arguments of WAIT after each write.
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
            pacing: Loop::Open,
            keys: None,
            kinds: None,
            writers: 1,
            skew: Skew::Uniform,
            ttl: None,
            reads: Percent::new(50.0),
            read_from: ReadFrom::ReplicaPreferred,
            value_size: 32,
            timeout: Span::secs(5),
            connect_timeout: Span::secs(1),
            retries: 0,
            max_redirects: 3,
            refresh_every: Span::secs(1),
            adaptive_refresh: true,
            wait: None,
        }
    }
}

/// How often each key of a kind of data is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Skew {
    /// Every key as often as any other.
    #[default]
    Uniform,
    /// The key of rank n in proportion to 1/n. The ranks are the numbers of the keys; each client ranks the keys that it
    /// writes.
    Zipf,
    /// Half of the operations are for the keys in the slot of the first key, the others for all keys.
    HotSlot,
}

impl Skew {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_uniform(&self) -> bool {
        *self == Self::Uniform
    }
}

/// When a client issues its next operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Loop {
    /// When it is due, whatever became of earlier ones.
    #[default]
    Open,
    /// Once its last one has ended.
    Closed,
}

impl Loop {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

/// The nodes that reads are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReadFrom {
    /// Always the master of the slot.
    Master,
    /// A replica of the slot (after READONLY) if one accepts connections, otherwise the master.
    ReplicaPreferred,
}
