//! The history of a run: every operation of the workload and every event, with monotonic times in nanoseconds from the start of
//! the run. Only a run writes it; [`crate::check`] and [`crate::report`] read it.

mod blocks;
mod columns;
mod disk_count;
mod exit;
mod fault_event;
mod frames;
mod key;
mod lines;
mod op;
mod reason;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use blocks::{Blocks, parse_blocks, write_reason};
pub use columns::BLOCK_OPS;
pub use disk_count::{DiskCount, hits_in_words};
pub use exit::{Exit, ExitSignal};
pub use fault_event::FaultEvent;
pub(crate) use frames::hex;
pub use key::{key_name, key_of, kind_of, probe_name, stored_names, workload_keys};
pub use lines::{parse, write_line, write_lines, write_op};
pub use op::{FOREIGN, Op, OpError, OpParts, Outcome};
pub use reason::{Explanation, Interned, NO_FREE_KEY, Reason, intern};
pub use store::{FILE_NAME, HistoryError, LINES_FILE_NAME, file, read};

pub use crate::fault::FaultKind;
use crate::fault::Unsynced;
use crate::plan::Plan;
use crate::server::{RecordedBackend, Server};
use crate::slot::Deal;
use crate::suite::{CameBack, Change, Coming, Damaged, DataFile};
use crate::topology::View;
use crate::units::{ClientNo, NodeNo, ShardNo, Speed};

/// The limit of the search for keys. Every slot has a key with a far lower number.
const SAMPLED_MAX: u32 = 1 << 24;

/// The version of the records of a history, and of the format of `report.json`. How the records are stored has a version of
/// its own in the file.
pub const SCHEMA_VERSION: u32 = 1;

/// The first line of a history: everything that is known before the first event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// The [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// The version of slotquake.
    pub tool_version: String,
    /// The plan of the run.
    pub plan: Plan,
    /// The server.
    pub server: Server,
    /// The other servers that steps start, by the name in the plan.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_servers: BTreeMap<String, Server>,
    /// The machine.
    pub host: Host,
    /// The start of the run by the real wall clock, as RFC 3339 in UTC.
    pub started_at: String,
    /// How fast the servers and slotquake lived. All times of the history are in their time, `started_at` is not.
    #[serde(default, skip_serializing_if = "Speed::is_real")]
    pub speed: Speed,
}

/// The machine of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// The operating system and its kernel release.
    pub os: String,
    /// The number of processor cores that slotquake may use.
    pub cores: usize,
    /// What ran the nodes.
    pub backend: RecordedBackend,
}

/// The history of a run in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// The first line.
    pub header: Header,
    /// The operations in the order of their completion.
    pub ops: Vec<Op>,
    /// The explanations that [`Outcome`]s refer to by position.
    pub reasons: Vec<Explanation>,
    /// The events in order of time.
    pub events: Vec<Event>,
    /// What operations have beside [`Op`], in the order of the operations. Most have nothing.
    pub details: Vec<Detail>,
    /// Whether it ends with [`EventKind::End`]. The history of a killed run does not.
    pub complete: bool,
}

impl History {
    /// A history without operations and events.
    pub fn new(header: Header) -> Self {
        let (ops, reasons, events, details) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { header, ops, reasons, events, details, complete: false }
    }

    /// Whether its last event is [`EventKind::End`].
    fn has_end(&self) -> bool {
        matches!(self.events.last(), Some(Event { kind: EventKind::End, .. }))
    }

    /// Why an operation was not served; None if it was.
    pub fn explanation(&self, outcome: Outcome) -> Option<&Explanation> {
        match outcome {
            Outcome::Ok => None,
            Outcome::Fail(position) | Outcome::Info(position) | Outcome::Unsent(position) => {
                self.reasons.get(usize::from(position))
            }
        }
    }

    /// What the operation at a position of [`History::ops`] has beside [`Op`].
    pub fn detail(&self, position: usize) -> Option<&Detail> {
        let at = self.details.binary_search_by_key(&position, |detail| detail.of as usize).ok()?;
        Some(&self.details[at])
    }

    /// The reason why an operation was not served, without its text; None if it was.
    pub fn reason(&self, outcome: Outcome) -> Option<Reason> {
        self.explanation(outcome).map(|explanation| explanation.reason)
    }
}

/// What an operation has beside [`Op`]. It is stored before its operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    /// The position of the operation in [`History::ops`].
    pub of: u32,
    /// How often the client sent the command, if it repeated what had no answer; 1 without a repetition.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub tries: u8,
    /// The elements that a read of a list, a set or a stream returned, in order; the number that a compare-and-set expected,
    /// and 1 or 0 for whether it found it, if it was told; or what the two keys of a transaction held, if that differs.
    /// [`FOREIGN`] for what is not of the workload, 0 for a key that did not exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<u32>,
}

impl Default for Detail {
    fn default() -> Self {
        Self { of: 0, tries: once(), items: Vec::new() }
    }
}

fn once() -> u8 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_once(tries: &u8) -> bool {
    *tries == 1
}

/// The first key of each shard, in the order of their numbers. If the workload has no key in a small shard, it is a number
/// beyond those of the workload.
pub fn sample_keys(deal: &Deal) -> Vec<u32> {
    let mut wanted: BTreeSet<ShardNo> = deal.shards().collect();
    let is_first = |key: &u32| wanted.remove(&deal.shard_of_key(key_name(*key).as_bytes()));
    (0..SAMPLED_MAX).filter(is_first).take(usize::from(deal.count())).collect()
}

/// An event at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The time in nanoseconds from the start of the run.
    pub at_ns: u64,
    /// The kind of the event.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum EventKind {
    /// The cluster is formed.
    Booted {
        /// The nodes of the cluster.
        nodes: Vec<NodeInfo>,
        /// The time from the first start of a process, in milliseconds.
        took_ms: f64,
    },
    /// The wall clock of a node (TIME), read once after boot and once at the end. It relates the log of the node to the time
    /// of the run.
    Clock {
        /// The node.
        node: NodeNo,
        /// The clock in microseconds since 1970 in UTC, read between `sent_ns` and the time of this event.
        unix_us: u64,
        /// When TIME was sent, in nanoseconds from the start of the run.
        sent_ns: u64,
    },
    /// The proof whether a node lives as fast as slotquake ([`Header::speed`]), after boot, after each start of it and at
    /// the end. There is none at speed 1.
    SpeedProven {
        /// The node.
        node: NodeNo,
        /// Whether its clock agrees with that of slotquake.
        holds: bool,
        /// What was observed: `its clock agrees with slotquake's, which is 2.1 s ahead of real time`.
        proof: String,
    },
    /// A node newly flags another one (`fail?` or `fail`). Times are by its own wall clock, in milliseconds since 1970, from
    /// CLUSTER NODES.
    Unheard {
        /// The node.
        node: NodeNo,
        /// The flagged node.
        of: NodeNo,
        /// When it sent the unanswered PING; 0 for none.
        ping_ms: u64,
        /// When it received the last PONG; 0 for never.
        pong_ms: u64,
    },
    /// The current values of directives (CONFIG GET), read after boot and after each `command` step.
    Config {
        /// The values by directive.
        values: BTreeMap<String, String>,
    },
    /// A phase begins. Each run has the phases `boot`, `recovery` and `final`; those of the suite are after `boot`.
    Phase {
        /// The name of the phase.
        name: String,
    },
    /// A step begins.
    StepBegan {
        /// The position of the step in the plan, from 0.
        step: usize,
    },
    /// A step ended.
    StepEnded {
        /// The position of the step in the plan, from 0.
        step: usize,
        /// Why it failed; None if it succeeded.
        problem: Option<StepProblem>,
    },
    /// The injection of a fault at one node begins. The time is taken before the signal.
    FaultInjected {
        /// The number of the fault, unique in the run, from 1.
        fault: u32,
        /// The kind: `stop`, `kill` or `pause`.
        kind: FaultKind,
        /// The target as the suite states it.
        target: String,
        /// The node.
        node: NodeNo,
        /// The shard whose slots the node owned or replicated, in the freshest view.
        shard: Option<ShardNo>,
        /// Whether the node owned that shard's slots.
        was_master: bool,
    },
    /// The injection of a network fault begins.
    NetworkFaultInjected {
        /// The number of the fault, unique in the run, from 1.
        fault: u32,
        /// The name by which `heal` undoes it.
        name: String,
        /// The kind: `partition`, `lossy`, `narrow`, `refuse` or `slow`.
        kind: FaultKind,
        /// The step in words.
        target: String,
        /// The nodes and clients of each side.
        sides: Vec<Side>,
        /// The traffic that it hits.
        only: crate::suite::Only,
        /// Whether it hits only packets from the first side to the second.
        one_way: bool,
        /// The number of directed pairs of addresses that it hits.
        pairs: usize,
        /// The nodes that it cuts off or impairs: those of the sides without a majority of masters. All nodes if no side has a
        /// majority, or if the fault cuts nothing off.
        hits: Vec<Hit>,
    },
    /// The injection of a fault of a clock begins.
    ClockFaultInjected {
        /// The number of the fault, unique in the run, from 1.
        fault: u32,
        /// The name by which `heal` undoes it.
        name: String,
        /// The kind: `clock`.
        kind: FaultKind,
        /// The target as the suite states it.
        target: String,
        /// Which clock.
        #[serde(default, skip_serializing_if = "crate::fault::ClockOf::is_wall")]
        of: crate::fault::ClockOf,
        /// What is wrong with the clock.
        change: crate::fault::ClockChange,
        /// The node whose host has that clock.
        hit: Hit,
    },
    /// The injection of a fault of a disk begins.
    DiskFaultInjected {
        /// The number of the fault, unique in the run, from 1.
        fault: u32,
        /// The name by which `heal` undoes it.
        name: String,
        /// The kind: `disk`.
        kind: FaultKind,
        /// The target as the suite states it.
        target: String,
        /// What is wrong with the disk.
        change: crate::fault::DiskChange,
        /// The node whose host has that disk.
        hit: Hit,
    },
    /// What was counted of a disk from the injection of its fault until now, just before it is undone.
    DiskCounted {
        /// The number of the fault.
        fault: u32,
        /// The calls on the node's files, as the library between its servers and their files has counted them.
        calls: Vec<DiskCount>,
        /// What the server says about its files (INFO persistence).
        said: String,
    },
    /// The injection of a fault is done: the process is gone or was signalled, or all network rules are in force. The fault
    /// took effect between the begin of the injection and this event, which may be long with containers or hooks.
    FaultApplied {
        /// The number of the fault.
        fault: u32,
    },
    /// The proof whether a fault is in effect.
    FaultProven {
        /// The number of the fault.
        fault: u32,
        /// Whether it is in effect.
        in_effect: bool,
        /// What was observed: `process 4711 is gone; 127.1.0.1:6379 refuses connections`.
        proof: String,
    },
    /// The effect of a fault was gone before slotquake undid it: something else resumed, started or ended the server, or
    /// removed the network rules.
    FaultEnded {
        /// The number of the fault.
        fault: u32,
        /// When the effect was last seen, in nanoseconds from the start of the run.
        in_effect_ns: u64,
        /// What was observed instead.
        seen: String,
    },
    /// Undoing a fault begins.
    FaultHealed {
        /// The number of the fault.
        fault: u32,
        /// The step that undoes it, `start`, `resume` or `heal`; `heal` also after the steps.
        by: String,
    },
    /// Undoing a fault is done: the server is started, or all network rules are removed.
    FaultLifted {
        /// The number of the fault.
        fault: u32,
    },
    /// Slotquake could not undo a fault. The later state of the cluster proves nothing.
    HealFailed {
        /// The number of the fault.
        fault: u32,
        /// Why not.
        reason: String,
    },
    /// The proof whether a fault is undone.
    HealProven {
        /// The number of the fault.
        fault: u32,
        /// Whether it is undone.
        healed: bool,
        /// What was observed: `process 4712 answers PING`.
        proof: String,
    },
    /// The start that was to undo a fault failed, as its step allows, so the fault goes on as if nothing had begun to undo
    /// it.
    FaultPersists {
        /// The number of the fault.
        fault: u32,
        /// What was observed: `process is gone (exit status: 1)`.
        proof: String,
    },
    /// The view of a node, recorded whenever it changes.
    Viewed {
        /// The node.
        node: NodeNo,
        /// Its view of the cluster.
        view: View,
    },
    /// A node does not answer. Recorded when that begins, and when the reason changes.
    Silent {
        /// The node.
        node: NodeNo,
        /// The reason: `refused`, `timeout` or the error of the server.
        reason: String,
    },
    /// The replication lag of a replica, recorded at each poll that both nodes answered.
    Lag {
        /// The replica.
        replica: NodeNo,
        /// Its master.
        master: NodeNo,
        /// The lag in bytes: `master_repl_offset` of the master minus `slave_repl_offset` of the replica, at least 0.
        bytes: u64,
        /// Whether the replica reports `master_link_status:up`.
        link_up: bool,
    },
    /// The numbers of resynchronisations of a master, recorded whenever they change.
    Synced {
        /// The master.
        master: NodeNo,
        /// Full ones: `sync_full` of INFO stats.
        full: u64,
        /// Partial ones: `sync_partial_ok`.
        partial: u64,
        /// Refused partial ones: `sync_partial_err`.
        refused: u64,
    },
    /// The process of a server (INFO server), recorded when it first answers and whenever another one answers.
    ServerSeen {
        /// The node.
        node: NodeNo,
        /// Its `run_id`, which each start of a server draws anew.
        run_id: String,
        /// Its `process_id`, as the server sees it.
        pid: u32,
        /// Its `uptime_in_seconds`.
        uptime_s: u64,
    },
    /// A node that is down was changed, before its start.
    Changed {
        /// The node.
        node: NodeNo,
        /// What was changed.
        change: Change,
        /// What the backend did: `removed appendonly.aof (81 bytes)`.
        done: String,
    },
    /// A node that is down was given another address. Clients and nodes reach it there from its start on, and its
    /// former address is nobody's any more.
    AddressChanged {
        /// The node.
        node: NodeNo,
        /// The address in CLUSTER NODES and redirections that it had.
        from: std::net::SocketAddr,
        /// The one that it has from now on.
        to: std::net::SocketAddr,
    },
    /// A node that was changed answers again.
    CameBack {
        /// The node.
        node: NodeNo,
        /// What was changed.
        change: Change,
        /// What the node says of itself.
        found: CameBack,
        /// What is not as the change asked for; None if all is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unlike: Option<String>,
    },
    /// A server ended before it answered, where its step allows that it does not come up ([`Coming`]). The node then has the
    /// server and the directives of before that step.
    StartFailed {
        /// The node.
        node: NodeNo,
        /// What was changed.
        change: Change,
        /// What the step expects.
        expect: Coming,
        /// How the server ended; None if the backend cannot tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<Exit>,
        /// The last lines of its log.
        log: Vec<String>,
    },
    /// A step leaves out nodes that did not start, as an earlier step allows. A step without any other node is not done.
    LeftOut {
        /// The position of the step in the plan, from 0.
        step: usize,
        /// The nodes.
        nodes: Vec<NodeNo>,
        /// Whether the step was done for other nodes.
        others: bool,
    },
    /// A step was impossible when its turn came, and is not done, as the suite wants.
    Impossible {
        /// The position of the step in the plan, from 0.
        step: usize,
        /// Why.
        why: String,
    },
    /// A file of a node that is down was damaged.
    Corrupted {
        /// The node.
        node: NodeNo,
        /// Which file.
        file: DataFile,
        /// What was done to it.
        damaged: Damaged,
    },
    /// A node lost its power, and what its server had not synchronised to disk is gone.
    PowerLost {
        /// The number of the fault.
        fault: u32,
        /// The node.
        node: NodeNo,
        /// What is gone.
        unsynced: Unsynced,
    },
    /// The process of a server ended, as the system reports it. Not every backend can tell.
    ServerEnded {
        /// The node.
        node: NodeNo,
        /// How it ended.
        exit: Exit,
    },
    /// The log of a node has a crash report that was not there before.
    ServerCrashed {
        /// The node.
        node: NodeNo,
        /// The first lines of the report.
        report: Vec<String>,
    },
    /// The directives of a node that change failovers, and those of the plan (CONFIG GET), read after boot and at the end.
    ServerConfig {
        /// The node.
        node: NodeNo,
        /// The values by directive.
        values: BTreeMap<String, String>,
    },
    /// A hook of the user was run.
    Hooked {
        /// The name: `stop`, `start`, ...
        hook: String,
        /// The node.
        node: NodeNo,
        /// The exit status; None if a signal ended it or it timed out.
        status: Option<i32>,
        /// Its duration in milliseconds.
        took_ms: f64,
        /// The end of its output.
        output: String,
    },
    /// The reply to a `command` step.
    Commanded {
        /// The position of the step in the plan, from 0.
        step: usize,
        /// The node.
        node: NodeNo,
        /// The answer as text.
        reply: String,
    },
    /// The reply to an `expect` step.
    Expected {
        /// The position of the step in the plan, from 0.
        step: usize,
        /// The node that was asked first.
        node: NodeNo,
        /// The expectation in words.
        expected: String,
        /// The whole reply as text.
        reply: String,
        /// Whether the reply meets the expectation.
        met: bool,
    },
    /// The end of an `exec` step, or of an `expect` step that runs a program.
    Executed {
        /// The position of the step in the plan, from 0.
        step: usize,
        /// The program and its arguments, with the nodes filled in.
        program: Vec<String>,
        /// What was wanted, in words: `exit status 0`.
        expected: String,
        /// Whether it did that in time.
        met: bool,
        /// How it ended; None if it was killed at the limit. Where it was run several times, this and what follows is of the
        /// last one that ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<Exit>,
        /// What it wrote to standard output.
        stdout: Printed,
        /// What it wrote to standard error.
        stderr: Printed,
        /// How often it was run.
        runs: u32,
        /// The duration of the step in milliseconds.
        took_ms: f64,
        /// The limit of the step in milliseconds.
        within_ms: f64,
    },
    /// The end of an `await` step.
    Awaited {
        /// The position of the step in the plan, from 0.
        step: usize,
        /// The condition in words.
        condition: String,
        /// Whether it was met before the deadline.
        met: bool,
        /// The duration of the wait in milliseconds.
        waited_ms: f64,
        /// The limit of the wait in milliseconds.
        within_ms: f64,
        /// The last observed state, in words.
        last: String,
    },
    /// A GET for a slot of another node, without following redirections. MOVED must name the owner.
    RedirectProbed {
        /// The node.
        node: NodeNo,
        /// The slot.
        slot: u16,
        /// The whole reply, or why there is none.
        reply: String,
        /// The node that MOVED names; None if the address is not in the cluster.
        moved_to: Option<NodeNo>,
        /// The owner by the views of all nodes.
        owner: NodeNo,
        /// Whether the node answered.
        #[serde(default = "answered", skip_serializing_if = "is_answered")]
        answered: bool,
    },
    /// A SET sent to a replica after READONLY. The replica must refuse it.
    ReplicaWriteProbed {
        /// The node.
        node: NodeNo,
        /// The whole reply.
        reply: String,
        /// Whether the server accepted the write.
        accepted: bool,
        /// The live `replica-read-only` of the node; None in histories of before it was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        read_only: Option<ReadOnly>,
    },
    /// The harness stalled: a timer fired late. Times that were measured around it say nothing about the servers.
    Stalled {
        /// How late, in milliseconds.
        by_ms: f64,
    },
    /// A server waited for a processor for half of the time or more, as the system counts it (`/proc/PID/schedstat`): the
    /// machine was too busy for it. Times in it say little about the cluster.
    Starved {
        /// Its node.
        node: NodeNo,
        /// How long it waited.
        waited_ms: f64,
        /// In which time before this event.
        of_ms: f64,
    },
    /// The steps are over: all are done, or one failed. All faults are undone next.
    StepsEnded,
    /// The end of the recovery, after all faults are undone.
    Recovered {
        /// Whether the cluster recovered before the deadline.
        recovered: bool,
        /// The duration of the wait in milliseconds.
        took_ms: f64,
        /// The last observed problem, in words.
        last: String,
    },
    /// The final value of a key, read from its master after recovery.
    FinalRead {
        /// The key's number.
        key: u32,
        /// The node that answered; None for [`FinalValue::Unreadable`].
        node: Option<NodeNo>,
        /// The value.
        value: FinalValue,
    },
    /// A client's subscription to channels is confirmed.
    Subscribed {
        /// The subscriber.
        subscriber: ClientNo,
        /// The node that it is connected to.
        node: NodeNo,
        /// The numbers of the channels.
        channels: Vec<u32>,
    },
    /// Messages that a subscriber got, gathered over a short time.
    Delivered {
        /// The subscriber.
        subscriber: ClientNo,
        /// The node that sent them.
        node: NodeNo,
        /// The messages in the order of their arrival.
        messages: Vec<Message>,
    },
    /// A client's subscription to channels ended.
    Unsubscribed {
        /// The subscriber.
        subscriber: ClientNo,
        /// The node that it was connected to.
        node: NodeNo,
        /// The numbers of the channels.
        channels: Vec<u32>,
        /// Why.
        why: String,
    },
    /// A BLPOP ended, at the time of this event.
    Waited {
        /// The client that waited.
        client: ClientNo,
        /// The number of the queue.
        key: u32,
        /// The node that it was sent to.
        node: NodeNo,
        /// When it was sent, in nanoseconds from the start of the run.
        sent_ns: u64,
        /// How it ended.
        end: WaitEnd,
    },
    /// The user or the system asked the run to end.
    Interrupted {
        /// `SIGINT`, `SIGTERM`, or a reason in words.
        by: String,
    },
    /// The tear-down could not remove something that the run made, or not restore something that it changed.
    LeftBehind {
        /// What is left, why, and a hint.
        what: String,
    },
    /// Information for the reader that no check uses.
    Note {
        /// The text.
        text: String,
    },
    /// The last event of a complete history.
    End,
}

/// What a program printed to one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Printed {
    /// The end of it, [`Printed::MOST`] bytes at most. What is not UTF-8 became U+FFFD.
    pub text: String,
    /// How many bytes it printed in all.
    pub bytes: u64,
}

impl Printed {
    /// How many bytes of a stream are kept.
    pub const MOST: usize = 8192;

    /// The end of what it printed, from the `bytes` that it printed in all.
    pub fn new(end: &[u8], bytes: u64) -> Self {
        let end = &end[end.len().saturating_sub(Self::MOST)..];
        // A cut in the middle of a letter leaves up to three bytes of it.
        let is_cut = bytes > end.len() as u64;
        let rest = end.iter().take(3).take_while(|byte| is_cut && **byte & 0xc0 == 0x80).count();
        Self { text: String::from_utf8_lossy(&end[rest..]).into_owned(), bytes }
    }

    /// The lines of it, without empty ones at the end; the first says so if some are not kept.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let left_out = self.bytes > Self::MOST as u64;
        let note = left_out.then(|| format!("... (the last {} of {} bytes)", Self::MOST, self.bytes));
        note.into_iter().chain(self.text.trim_end().lines().map(str::to_owned))
    }
}

/// A message of a channel: the number of the channel, the number that was published, and when the subscriber got it, in
/// nanoseconds from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message(pub u32, pub u32, pub u64);

/// How a blocking command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WaitEnd {
    /// It returned this element; [`FOREIGN`] for what the workload never wrote.
    Popped(u32),
    /// The server answered with this error, or with nothing.
    Refused(String),
    /// The connection ended for this reason.
    Broken(String),
    /// The workload ended, and it still waited.
    Open,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepProblem {
    /// The step is impossible, such as a fault at a node that is down: exit code 2.
    Suite(String),
    /// A wait or an expectation was not met: the run fails.
    Unmet(String),
    /// The machine, a server or the cluster did not let slotquake do the step: exit code 69.
    Harness(String),
}

/// One side of a network fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// The nodes of the side.
    pub nodes: Vec<NodeNo>,
    /// The clients of the side. They count from 1, [`Op::client`] from 0.
    pub clients: Vec<ClientNo>,
}

/// Whether a replica refuses the writes of clients by itself: the field `slave_read_only` of its INFO replication.
///
/// In cluster mode a replica answers every write of a key with MOVED, whatever `replica-read-only` is (tried on
/// redis:6.2.14 and valkey:9.1.2). Only commands without a key, as FLUSHALL, then tell the difference, and they destroy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReadOnly {
    /// `replica-read-only yes`.
    Yes,
    /// `replica-read-only no`.
    No,
    /// It did not say, or it was no replica.
    Unknown,
}

fn answered() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_answered(answered: &bool) -> bool {
    *answered
}

/// A node that a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hit {
    /// The node.
    pub node: NodeNo,
    /// The shard whose slots it owned or replicated, in the freshest view.
    pub shard: Option<ShardNo>,
    /// Whether it owned that shard's slots.
    pub was_master: bool,
}

/// A node of the cluster under test, as it was at boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeInfo {
    /// The number of the node.
    pub node: NodeNo,
    /// Its shard at boot.
    pub shard: ShardNo,
    /// Whether it booted as master.
    pub boots_as_master: bool,
    /// The address in CLUSTER NODES and redirections, until [`EventKind::AddressChanged`] gives it another.
    pub addr: std::net::SocketAddr,
    /// The node id of 40 hexadecimal digits, until [`EventKind::CameBack`] states another.
    pub id: String,
    /// Its name in the backend, such as the name of its container; None if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The final value of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FinalValue {
    /// The number that a write of the workload wrote.
    Number(u32),
    /// The key does not exist.
    Missing,
    /// The elements of a list, in order, or what the two keys of a transaction held, if that differs; see [`Detail::items`].
    Numbers(Vec<u32>),
    /// A value that the workload never wrote.
    Foreign(String),
    /// The key could not be read, for this reason.
    Unreadable(String),
}
