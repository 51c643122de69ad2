//! What happened: every operation of the workload and every event of the run, in one linear stream
//! with monotonic times. A run alone writes it; [`crate::check`] and [`crate::report`] read.

mod reason;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use reason::{Explanation, NO_FREE_KEY, Reason};
pub use store::{FILE_NAME, HistoryError, Interned, intern, parse, read, write_line, write_op};

pub use crate::fault::FaultKind;
use crate::plan::Plan;
use crate::server::{RecordedBackend, Server};
use crate::slot::Deal;
use crate::suite::OpKind;
use crate::topology::View;
use crate::units::{ClientNo, NodeNo, ShardNo};

/// Every slot is that of a key with a far lower number.
const SAMPLED_MAX: u32 = 1 << 24;

/// The version of the formats of `history.jsonl.zst` and `report.json`.
pub const SCHEMA_VERSION: u32 = 1;

/// The first line of a history: everything that was fixed before the first event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// The harness's version.
    pub tool_version: String,
    /// What was to be done.
    pub plan: Plan,
    /// The server that ran.
    pub server: Server,
    /// The machine.
    pub host: Host,
    /// Wall-clock start, RFC 3339 in UTC.
    pub started_at: String,
}

/// The machine that a run took place on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Operating system and kernel release.
    pub os: String,
    /// Processor cores that the harness may use.
    pub cores: usize,
    /// What ran the nodes.
    pub backend: RecordedBackend,
}

/// A run's history, in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// What was fixed before.
    pub header: Header,
    /// Operations in the order of their completion.
    pub ops: Vec<Op>,
    /// What [`Outcome`]s refer to, each once.
    pub reasons: Vec<Explanation>,
    /// Events in the order of their times.
    pub events: Vec<Event>,
    /// Whether the stream ended with [`EventKind::End`]; a run that was killed has a history that does not.
    pub complete: bool,
}

impl History {
    /// Why an operation was not served; None for one that was.
    pub fn explanation(&self, outcome: Outcome) -> Option<&Explanation> {
        match outcome {
            Outcome::Ok => None,
            Outcome::Fail(position) | Outcome::Info(position) | Outcome::Unsent(position) => {
                self.reasons.get(usize::from(position))
            }
        }
    }

    /// The reason alone.
    pub fn reason(&self, outcome: Outcome) -> Option<Reason> {
        self.explanation(outcome).map(|explanation| explanation.reason)
    }
}

/// One operation of the workload, 48 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// When it was due by the rate, in nanoseconds from the start of the run.
    pub due_ns: u64,
    /// When it was issued.
    pub invoke_ns: u64,
    /// When its outcome was known.
    pub complete_ns: u64,
    /// The number of the key; its name is [`key_name`].
    pub key: u32,
    /// For a write the number written; for a read that was served the number read, 0 where the key
    /// did not exist, [`FOREIGN`] where the value is none of ours.
    pub value: u32,
    /// The client, from 0.
    pub client: u16,
    /// The node that answered last; for an outcome without an answer the node that was asked last.
    /// 0 for none.
    pub node: u16,
    /// Read or write.
    pub kind: OpKind,
    /// MOVED and ASK redirections that were followed.
    pub redirects: u8,
    /// What is known of its effect.
    pub outcome: Outcome,
}

/// The value of a read that returned something that the workload never wrote.
pub const FOREIGN: u32 = u32::MAX;

/// What is known of an operation's effect. Never guessed: what may have happened is `Info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The server acknowledged it.
    Ok,
    /// It certainly did not happen: refused connection, MOVED beyond the limit, CLUSTERDOWN, ...
    /// The number is a position in [`History::reasons`].
    Fail(u16),
    /// It may have happened: a timeout, or an I/O error after the command was handed to a connection.
    Info(u16),
    /// It was due, and the harness did not send it. It says nothing of the cluster.
    Unsent(u16),
}

impl Outcome {
    /// Whether the server acknowledged it.
    pub fn is_ok(self) -> bool {
        self == Self::Ok
    }

    /// Whether it was sent, or a connection for it was at least tried.
    pub fn was_tried(self) -> bool {
        match self {
            Self::Ok | Self::Fail(_) | Self::Info(_) => true,
            Self::Unsent(_) => false,
        }
    }
}

/// The name of key number `key`; all of them are spread over the slots by their own hash.
pub fn key_name(key: u32) -> String {
    format!("key-{key}")
}

/// The name of the key, beside key number `key`, that a replica is asked to take at the end.
pub fn probe_name(key: u32) -> String {
    format!("{{{}}}:probe", key_name(key))
}

/// Of each shard the first key that belongs to it, in the order of their numbers. Where a shard is so small that the
/// workload has none there, a number beyond the workload's.
pub fn sample_keys(deal: &Deal) -> Vec<u32> {
    let mut wanted: BTreeSet<ShardNo> = deal.shards().collect();
    let is_first = |key: &u32| wanted.remove(&deal.shard_of_key(key_name(*key).as_bytes()));
    (0..SAMPLED_MAX).filter(is_first).take(usize::from(deal.count())).collect()
}

/// Something that happened at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds from the start of the run.
    pub at_ns: u64,
    /// What it was.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Every kind of event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum EventKind {
    /// The cluster is ready: what every node is.
    Booted {
        /// Every node of the cluster.
        nodes: Vec<NodeInfo>,
        /// How long formation took, from the first process start, in milliseconds.
        took_ms: f64,
    },
    /// A node's wall clock, read (TIME) once after boot and once at the end: what relates its log to the
    /// run's time.
    Clock {
        /// Whose.
        node: NodeNo,
        /// Microseconds from 1970 in UTC, read after `sent_ns` and before the time of this event.
        unix_us: u64,
        /// When it was asked for, in nanoseconds from the start of the run.
        sent_ns: u64,
    },
    /// A node holds another for failing (`fail?` or `fail`) and did not when last asked. Times are of
    /// its own wall clock, in milliseconds from 1970, as CLUSTER NODES shows them.
    Unheard {
        /// Who holds the other for failing.
        node: NodeNo,
        /// The other.
        of: NodeNo,
        /// When the PING was sent that is not answered; 0 for none.
        ping_ms: u64,
        /// When the last PONG came; 0 for never.
        pong_ms: u64,
    },
    /// A directive's live value (CONFIG GET), read after boot and after each `command` step.
    Config {
        /// Directive and value.
        values: BTreeMap<String, String>,
    },
    /// A phase begins. The harness's own phases are `boot`, `recovery` and `final`; a suite's lie
    /// between them.
    Phase {
        /// Its name.
        name: String,
    },
    /// A step begins.
    StepBegan {
        /// Position in the plan's steps, from 0.
        step: usize,
    },
    /// A step ended.
    StepEnded {
        /// Position in the plan's steps, from 0.
        step: usize,
        /// Why it did not do what it says; None when it did.
        problem: Option<StepProblem>,
    },
    /// A fault is about to be injected at one node. Its time is taken before the signal or rule.
    FaultInjected {
        /// Unique in the run, from 1.
        fault: u32,
        /// `stop`, `kill`, `pause`.
        kind: FaultKind,
        /// The target as written.
        target: String,
        /// The node that it was resolved to.
        node: NodeNo,
        /// The shard whose slots the node owned or replicated, in the freshest view.
        shard: Option<ShardNo>,
        /// Whether the node owned that shard's slots.
        was_master: bool,
    },
    /// A network fault is about to be imposed.
    NetworkFaultInjected {
        /// Unique in the run, from 1, among all faults.
        fault: u32,
        /// Its name.
        name: String,
        /// `partition`, `lossy`, `narrow`, `refuse`, `slow`.
        kind: FaultKind,
        /// The step in words.
        target: String,
        /// Who stands on which side; for a shape, whom each node does not see is in `pairs`.
        sides: Vec<Side>,
        /// Which traffic.
        only: crate::suite::Only,
        /// Whether only packets from the first side to the second are hit.
        one_way: bool,
        /// How many directed pairs of addresses are hit.
        pairs: usize,
        /// The nodes that it cuts off or hinders: those of the sides without a majority of masters, or
        /// all of both where no side has one, or for a fault that cuts nothing off.
        hits: Vec<Hit>,
    },
    /// A fault's injection is done: the process is gone or was told to freeze, or the rules are in force
    /// everywhere. It took effect between the event of its injection and this one, which may be long where
    /// containers or hooks do it.
    FaultApplied {
        /// The fault.
        fault: u32,
    },
    /// What was found when the fault's effect was looked for.
    FaultProven {
        /// The fault.
        fault: u32,
        /// Whether it is in effect.
        in_effect: bool,
        /// What was seen: `process 4711 is gone; 127.1.0.1:6379 refuses connections`.
        proof: String,
    },
    /// A fault's effect was found gone before anybody undid it: its server was woken, started or ended by somebody
    /// else, or its rules are not in force any more.
    FaultEnded {
        /// The fault.
        fault: u32,
        /// When it was last seen to be in effect, in nanoseconds from the start of the run.
        in_effect_ns: u64,
        /// What was seen instead.
        seen: String,
    },
    /// A fault is about to be undone: `start`, `resume`.
    FaultHealed {
        /// The fault.
        fault: u32,
        /// `start` or `resume`, or `heal` when the harness did it at the end.
        by: String,
    },
    /// What undoes a fault is done: the server is started, the rules are in force nowhere.
    FaultLifted {
        /// The fault.
        fault: u32,
    },
    /// The harness could not undo a fault, so what comes of that is not the cluster's doing.
    HealFailed {
        /// The fault.
        fault: u32,
        /// What kept it from doing so.
        reason: String,
    },
    /// What was found when the end of a fault was looked for.
    HealProven {
        /// The fault.
        fault: u32,
        /// Whether it is undone.
        healed: bool,
        /// What was seen: `process 4712 answers PING`.
        proof: String,
    },
    /// A node's view of the cluster, recorded whenever it changes.
    Viewed {
        /// Who answered.
        node: NodeNo,
        /// What it said.
        view: View,
    },
    /// A node that does not answer; recorded when that begins or its reason changes.
    Silent {
        /// Who does not answer.
        node: NodeNo,
        /// Why: `refused`, `timeout`, the server's own error.
        reason: String,
    },
    /// How far one replica is behind, recorded at each poll where both ends answered.
    Lag {
        /// Whose offset is compared.
        replica: NodeNo,
        /// With whose.
        master: NodeNo,
        /// `master_repl_offset` of the master less `slave_repl_offset` of the replica, not below 0.
        bytes: u64,
        /// `master_link_status:up`.
        link_up: bool,
    },
    /// A master's count of synchronisations with its replicas, recorded whenever it changes.
    Synced {
        /// The master.
        master: NodeNo,
        /// `sync_full` of INFO stats.
        full: u64,
        /// `sync_partial_ok`.
        partial: u64,
        /// `sync_partial_err`: a partial resynchronisation was asked for and refused.
        refused: u64,
    },
    /// A hook of the user's was run.
    Hooked {
        /// Its name: `stop`, `start`, ...
        hook: String,
        /// For whom.
        node: NodeNo,
        /// Its exit status; None where a signal ended it, or it was not done in time.
        status: Option<i32>,
        /// How long it ran, in milliseconds.
        took_ms: f64,
        /// The end of what it printed.
        output: String,
    },
    /// A `command` step's answer.
    Commanded {
        /// Position in the plan's steps.
        step: usize,
        /// Who was asked.
        node: NodeNo,
        /// The answer as text.
        reply: String,
    },
    /// An `expect` step's answer.
    Expected {
        /// Position in the plan's steps.
        step: usize,
        /// Who was asked first.
        node: NodeNo,
        /// What was expected, in words.
        expected: String,
        /// The answer as text, word for word.
        reply: String,
        /// Whether it is as expected.
        met: bool,
    },
    /// An `await` step's end.
    Awaited {
        /// Position in the plan's steps.
        step: usize,
        /// The condition in words.
        condition: String,
        /// Whether it came before the deadline.
        met: bool,
        /// How long it took or was waited, in milliseconds.
        waited_ms: f64,
        /// The deadline, in milliseconds.
        within_ms: f64,
        /// The last state seen, in words.
        last: String,
    },
    /// A GET of a key that another node owns, sent without following: MOVED must name the owner.
    RedirectProbed {
        /// Who was asked.
        node: NodeNo,
        /// The slot.
        slot: u16,
        /// The answer, word for word.
        reply: String,
        /// The address named by MOVED, when it is one of ours.
        moved_to: Option<NodeNo>,
        /// The owner in the agreed view.
        owner: NodeNo,
        /// Whether it answered at all; else `reply` says why not.
        #[serde(default = "answered", skip_serializing_if = "is_answered")]
        answered: bool,
    },
    /// A SET sent to a replica, after READONLY: it must be refused.
    ReplicaWriteProbed {
        /// Who was asked.
        node: NodeNo,
        /// The answer, word for word.
        reply: String,
        /// Whether the server accepted the write.
        accepted: bool,
    },
    /// The harness itself was late: its own clock tick came this much after it was due. Times
    /// measured around it are the harness's, not the servers'.
    Stalled {
        /// Milliseconds.
        by_ms: f64,
    },
    /// The steps are over (all done, or ended by a problem); the harness now undoes every fault.
    StepsEnded,
    /// Every fault is undone and the cluster is whole again, or is not by the deadline.
    Recovered {
        /// Whether it is.
        recovered: bool,
        /// How long it took or was waited, in milliseconds.
        took_ms: f64,
        /// What was still missing, in words.
        last: String,
    },
    /// A key as it was read back from its master after recovery.
    FinalRead {
        /// The key's number.
        key: u32,
        /// Who answered (0 is never used: [`FinalValue::Unreadable`] has no node).
        node: Option<NodeNo>,
        /// What it held.
        value: FinalValue,
    },
    /// The user or the system asked the run to end.
    Interrupted {
        /// `SIGINT`, `SIGTERM`, or the reason in words.
        by: String,
    },
    /// Something that the run made is still there after its tear-down, or what it changed is not as it was.
    LeftBehind {
        /// What, why, and what to do about it.
        what: String,
    },
    /// Something of note that no rule judges.
    Note {
        /// In words.
        text: String,
    },
    /// The last event of a complete history.
    End,
}

/// Why a step did not do what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepProblem {
    /// The suite asked for the impossible (a fault on a dead node): exit code 2.
    Suite(String),
    /// What the suite waited for or expected did not come: the run fails.
    Unmet(String),
    /// The harness could not do its part: exit code 70.
    Harness(String),
}

/// One side of a network fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Its nodes.
    pub nodes: Vec<NodeNo>,
    /// Its clients; [`Op::client`] counts from 0, these from 1.
    pub clients: Vec<ClientNo>,
}

fn answered() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_answered(answered: &bool) -> bool {
    *answered
}

/// A node that a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The node.
    pub node: NodeNo,
    /// The shard whose slots it owned or replicated, in the freshest view.
    pub shard: Option<ShardNo>,
    /// Whether it owned that shard's slots.
    pub was_master: bool,
}

impl EventKind {
    /// The number of the fault that this event is about.
    pub fn fault(&self) -> Option<u32> {
        match self {
            Self::FaultInjected { fault, .. }
            | Self::NetworkFaultInjected { fault, .. }
            | Self::FaultApplied { fault }
            | Self::FaultProven { fault, .. }
            | Self::FaultEnded { fault, .. }
            | Self::FaultHealed { fault, .. }
            | Self::FaultLifted { fault }
            | Self::HealFailed { fault, .. }
            | Self::HealProven { fault, .. } => Some(*fault),
            _ => None,
        }
    }

    /// The fault that this event injects, its kind, and the nodes that it hits.
    pub fn injected(&self) -> Option<(u32, FaultKind, Vec<Hit>)> {
        match self {
            Self::FaultInjected { fault, kind, node, shard, was_master, .. } => {
                Some((*fault, *kind, vec![Hit { node: *node, shard: *shard, was_master: *was_master }]))
            }
            Self::NetworkFaultInjected { fault, kind, hits, .. } => Some((*fault, *kind, hits.clone())),
            _ => None,
        }
    }
}

/// A node of the cluster under test, fixed at boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its number.
    pub node: NodeNo,
    /// The shard that it belonged to at boot.
    pub shard: ShardNo,
    /// Whether it booted as master.
    pub boots_as_master: bool,
    /// Where clients reach it.
    pub addr: std::net::SocketAddr,
    /// Its 40 hexadecimal digits.
    pub id: String,
    /// What it is called where it runs, such as the name of its container; None where nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What a key held in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinalValue {
    /// The number of one of the workload's writes.
    Number(u32),
    /// Nothing.
    Missing,
    /// Something that the workload never wrote.
    Foreign(String),
    /// It could not be read, and why.
    Unreadable(String),
}
