//! The cluster under test. A [`Backend`] starts and stops nodes, [`form`] forms the cluster, [`Control`] sends commands
//! and [`watch`] observes it.

pub mod attach;
mod config;
#[cfg_attr(not(feature = "docker"), path = "containers/absent.rs")]
pub mod containers;
pub mod control;
mod crash;
#[cfg_attr(not(feature = "docker"), path = "docker/absent.rs")]
pub mod docker;
#[cfg(test)]
pub(crate) mod fixture;
mod folders;
pub mod form;
mod keyspace;
pub mod local;
mod nodes_conf;
pub mod pace;
mod reach;
pub mod roster;
mod scratch;

pub use scratch::ScratchDir;
pub mod watch;

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::fault::{Action, ClockOf, DiskChange, Unsynced};
use crate::history::{Exit, NodeInfo};
use crate::journal::Journal;
use crate::network::knock::{Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::server::{BackendKind, Server, Version};
use crate::speed::clock::{Skew, Told};
use crate::speed::disk::Counts as DiskCounts;
use crate::suite::{Change, Damage, Damaged, DataFile};
use crate::units::{ClientNo, NodeNo};
use crate::wire::{Access, ConnectError};
pub use control::Control;
pub use keyspace::Keyspace;
pub use reach::Reach;

/// Runs the nodes: as processes of this machine ([`local`]), in containers (the feature `docker`), or on a cluster that
/// is already running ([`attach`]).
///
/// Each call returns when the system has accepted the action. [`crate::inject`] verifies the effect from outside.
pub trait Backend: Send + Sync + 'static {
    /// Which kind of backend it is.
    const KIND: BackendKind;

    /// The number of nodes. Nodes are numbered from 1.
    fn size(&self) -> usize;

    /// The address at which clients reach a node. Only a [`change`](Self::change) gives it another one.
    fn addr(&self, node: NodeNo) -> SocketAddr;

    /// The address of a node in CLUSTER NODES and redirections. It differs from [`addr`](Self::addr) if addresses are
    /// translated between the harness and the nodes.
    fn announced(&self, node: NodeNo) -> SocketAddr {
        self.addr(node)
    }

    /// The node that now has this address in CLUSTER NODES, MOVED and ASK.
    fn node_at(&self, announced: SocketAddr) -> Option<NodeNo> {
        (0..self.size()).map(NodeNo::from_index).find(|&node| self.announced(node) == announced)
    }

    /// The port of a node's cluster bus: 10000 above the one that clients use, unless its configuration says otherwise
    /// (cluster specification, "The cluster bus").
    fn bus_port(&self, node: NodeNo) -> u16 {
        self.announced(node).port().wrapping_add(10_000)
    }

    /// The source address of a client, by which network faults distinguish clients. None if the system chooses.
    fn client_ip(&self, client: ClientNo) -> Option<IpAddr>;

    /// The credentials and TLS settings that the servers require.
    fn access(&self) -> Access {
        Access::default()
    }

    /// Maps key names of the suite to names on the servers.
    fn keys(&self) -> Keyspace {
        Keyspace::default()
    }

    /// Announces that the run may write keys from now on, so that the backend removes them at the end.
    fn begin_writing(&self) {}

    /// Every node of a cluster that existed before the run. None for a cluster that the run forms.
    fn found(&self) -> Option<&[NodeInfo]> {
        None
    }

    /// Sets the journal for the backend's own events.
    fn record_in(&self, _journal: &Arc<Journal>) {}

    /// Rewrites a suite's command for a node of this cluster. The error says why the command is not allowed.
    fn admit(&self, _node: NodeNo, words: Vec<String>) -> impl Future<Output = Result<Vec<String>, String>> + Send {
        std::future::ready(Ok(words))
    }

    /// Whether this error of a connection shows that no server listens at the node's address: usually a refusal, but some
    /// servers take their address with them.
    fn is_closed(&self, _node: NodeNo, error: &ConnectError) -> impl Future<Output = bool> + Send {
        std::future::ready(matches!(error, ConnectError::Refused(_)))
    }

    /// The version of the servers, if the backend can [`plant`](Self::plant) what they know of the cluster. None if they
    /// must be introduced to each other after their start.
    fn plants_for(&self) -> Option<Version> {
        None
    }

    /// Gives a node that never ran the text of its `nodes.conf`, from which its server learns the whole cluster.
    fn plant(&self, node: NodeNo, _nodes_conf: &str) -> Result<(), BackendError> {
        Err(BackendError::Unchangeable { node, backend: Self::KIND })
    }

    /// Stops, kills, starts, pauses or resumes a node's server. Does not wait for the effect: a started server may not be
    /// ready yet, and a stopped one may still be running.
    fn act(&self, node: NodeNo, action: Action) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Changes a node whose server is down: what its next starts run, which directives and which address they have, and what
    /// is left of its data. `server` is the one that the change names. Returns what was done to its data.
    fn change(
        &self,
        node: NodeNo,
        _change: &Change,
        _server: Option<&Server>,
    ) -> impl Future<Output = Result<String, BackendError>> + Send {
        std::future::ready(Err(BackendError::Unchangeable { node, backend: Self::KIND }))
    }

    /// Takes back the server and the directives of the last change of a node whose start failed. What became of its data
    /// stays.
    fn take_back(&self, _node: NodeNo) -> impl Future<Output = Result<(), BackendError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Damages a file of a node whose server is down, at places that the seed decides. Returns the proof.
    fn corrupt(
        &self,
        node: NodeNo,
        _file: DataFile,
        _damage: Damage,
        _seed: u64,
    ) -> impl Future<Output = Result<Damaged, BackendError>> + Send {
        std::future::ready(Err(BackendError::Unchangeable { node, backend: Self::KIND }))
    }

    /// The state of the server's process, as the system reports it.
    fn state(&self, node: NodeNo) -> impl Future<Output = ProcessState> + Send;

    /// The process of a node's server, if it has ended; None if it runs, or if the backend cannot tell.
    fn ended(&self, _node: NodeNo) -> impl Future<Output = Option<EndedProcess>> + Send {
        std::future::ready(None)
    }

    /// The first lines of the last crash report in a node's log; None if there is none, or if the backend does not own
    /// the log.
    fn crash_report(&self, _node: NodeNo) -> impl Future<Output = Option<Vec<String>>> + Send {
        std::future::ready(None)
    }

    /// The interval at which active faults are checked, by [`state`](Self::state) and [`counts`](Self::counts).
    fn watch_every(&self) -> Duration {
        Duration::from_millis(150)
    }

    /// Whether [`counts`](Self::counts) fails exactly for rules that are no longer in force.
    fn watches_rules(&self) -> bool {
        true
    }

    /// The file to which a node's server writes its log; None where it cannot be read while it is written.
    fn log_file(&self, _node: NodeNo) -> Option<std::path::PathBuf> {
        None
    }

    /// The last lines of a node's log.
    fn log_tail(&self, node: NodeNo, lines: usize) -> impl Future<Output = String> + Send;

    /// Puts a rule of a network fault in force. A caller that is interrupted here must still [`lift`](Self::lift) it.
    fn impose(&self, rule: Rule) -> impl Future<Output = Result<(), NetworkError>> + Send;

    /// The packets that the rule of that name has hit since it was imposed.
    fn counts(&self, name: &str) -> impl Future<Output = Result<Counts, NetworkError>> + Send;

    /// Whether rules count the packets that they hit. If not, connections are tried before a cut and after it, to prove
    /// its effect.
    fn counts_packets(&self) -> bool {
        true
    }

    /// Whether the rule of that name has disconnected a node from the network, with the evidence. None for a rule that
    /// counts packets. Fails if this cannot be determined.
    fn isolation(&self, _name: &str) -> impl Future<Output = Option<Result<(bool, String), NetworkError>>> + Send {
        std::future::ready(None)
    }

    /// Lifts the rule of that name, if there is one.
    fn lift(&self, name: &str) -> impl Future<Output = Result<(), NetworkError>> + Send;

    /// Whether connections can be tried from an address.
    fn can_knock_from(&self, _ip: Ipv4Addr) -> bool {
        true
    }

    /// Tries connections from the hosts of nodes and clients, all at once.
    fn knock(&self, knocks: &[Knock], within: Duration) -> impl Future<Output = Vec<Heard>> + Send;

    /// Sends this many bytes over a link, to be echoed, until the link accepts no more. The caller drops the future when
    /// it has seen enough.
    fn fill(&self, knock: Knock, bytes: u64) -> impl Future<Output = ()> + Send;

    /// Makes a clock of a node's host differ so from that of slotquake, from now on. It stays so when the server is started
    /// again.
    fn set_clock(&self, node: NodeNo, _skew: Skew) -> impl Future<Output = Result<(), BackendError>> + Send {
        std::future::ready(Err(BackendError::Clock { node, reason: "clocks cannot be changed here".to_owned() }))
    }

    /// How a clock of a node's host differs from that of slotquake.
    fn clock(&self, _node: NodeNo) -> Skew {
        Skew::NONE
    }

    /// What the server of a node was told of a clock by the library that changes it; None where there is no library.
    fn told(&self, _node: NodeNo, _of: ClockOf) -> Option<std::io::Result<Told>> {
        None
    }

    /// Why the server of a node does not live by the clocks that [`set_clock`](Self::set_clock) changes; None if it does, and
    /// if it does not run.
    fn clock_obstacle(&self, _node: NodeNo) -> impl Future<Output = Option<String>> + Send {
        std::future::ready(Some("clocks cannot be changed here".to_owned()))
    }

    /// Makes the disk of a node's host faulty, from now on; None makes it whole. It stays so when the server is started again.
    fn set_disk(
        &self,
        node: NodeNo,
        _change: Option<DiskChange>,
    ) -> impl Future<Output = Result<(), BackendError>> + Send {
        std::future::ready(Err(no_disk(node)))
    }

    /// What the disk of a node's host shows.
    fn disk(&self, node: NodeNo) -> impl Future<Output = Result<DiskReading, BackendError>> + Send {
        std::future::ready(Err(no_disk(node)))
    }

    /// Why the server of a node does not use the disk that [`set_disk`](Self::set_disk) changes; None if it does, if the plan
    /// makes no disk faulty, and if it does not run.
    fn disk_obstacle(&self, _node: NodeNo) -> Option<String> {
        None
    }

    /// The process of a node, and for how long it has waited for a processor, in real time; None if that is not known.
    fn waited(&self, _node: NodeNo) -> impl Future<Output = Option<(u32, Duration)>> + Send {
        std::future::ready(None)
    }

    /// Ends the servers of these nodes at the same instant, with all processes that they have started, as a loss of power
    /// does. They run.
    fn cut_power(&self, nodes: &[NodeNo]) -> impl Future<Output = Result<(), BackendError>> + Send {
        std::future::ready(Err(no_power_loss(nodes[0])))
    }

    /// Undoes in the directory of a node whose power was cut what its server had not synchronised to disk. Its server is
    /// gone. Returns what was undone.
    fn lose_unsynced(&self, node: NodeNo) -> impl Future<Output = Result<Unsynced, BackendError>> + Send {
        std::future::ready(Err(no_power_loss(node)))
    }

    /// Takes everything that the servers have written so far for durable, where the plan cuts power. A cluster that is not as
    /// young as that of a run has it on its disks.
    fn settle_disks(&self) -> impl Future<Output = Result<(), BackendError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Why the server of a node does not tell what it synchronises to disk; None if it does, if the plan cuts no power, and if
    /// it does not run.
    fn power_obstacle(&self, _node: NodeNo) -> Option<String> {
        None
    }

    /// Ends every server and removes everything that the backend created. On an attached cluster, undoes the changes of
    /// the run instead. The error lists what is left, with hints.
    fn tear_down(&self) -> impl Future<Output = Result<(), BackendError>> + Send;
}

/// Why the clocks of servers cannot be changed that were started without the library for it.
const WITHOUT_CLOCKS: &str =
    "the servers run without the library that changes clocks (hint: start the cluster with `slotquake up --clocks`)";

fn no_power_loss(node: NodeNo) -> BackendError {
    BackendError::Power { node, reason: "power cannot be cut here".to_owned() }
}

/// Why logs cannot be read while they are written.
pub const NO_LOGS: &str = "logs can only be read while they are written where slotquake starts the servers as processes (hint: \
                           use `--backend local`)";

/// What shows that a server goes by its disk where the library stands between the two.
const SHOWN_BY_LIBRARY: &str = "the library between its server and its files goes by it";

fn no_disk(node: NodeNo) -> BackendError {
    BackendError::Disk { node, reason: "disks cannot be made faulty here".to_owned() }
}

/// What is known of the disk of a node's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskReading {
    /// Whether it is as slotquake made it.
    pub stands: bool,
    /// Whether the server has taken the last change; None if it does not run.
    pub taken: Option<bool>,
    /// The calls of all servers on it so far.
    pub counts: DiskCounts,
    /// What shows that the server goes by it, in words.
    pub shown_by: &'static str,
}

/// For how long a process has waited for a processor, in real time.
fn waited_for_processor(pid: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    // Time on a processor, time of waiting for one, number of times.
    text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// A unique name for a run.
fn new_run() -> String {
    // The keys of a hasher are the only random numbers in std.
    format!("{:08x}", RandomState::new().hash_one("run") as u32)
}

/// A server's process that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedProcess {
    /// What tells it apart from the other processes of the node: its process id, or the time of its end.
    pub which: String,
    /// How it ended.
    pub exit: Exit,
}

/// The state of a server's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs.
    Running {
        /// The process or the evidence, in words.
        how: String,
    },
    /// It is paused.
    Paused {
        /// The process or the evidence, in words.
        how: String,
    },
    /// It has ended, or never ran.
    Gone {
        /// How it ended, in words.
        how: String,
    },
    /// The state could not be determined.
    Unknown {
        /// The reason, in words.
        how: String,
    },
}

impl ProcessState {
    /// A process of that id runs.
    pub fn running(pid: u32) -> Self {
        Self::Running { how: format!("process {pid} runs") }
    }

    /// A process of that id is stopped by a signal.
    pub fn paused(pid: u32) -> Self {
        Self::Paused { how: format!("process {pid} is stopped") }
    }
}

impl std::fmt::Display for ProcessState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Running { how } | Self::Paused { how } => f.write_str(how),
            Self::Gone { how } => write!(f, "process is gone ({how})"),
            Self::Unknown { how } => write!(f, "state is not known ({how})"),
        }
    }
}

/// Why a backend failed.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The server's program could not be started.
    #[error("cannot start {program} for {node}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// The node.
        node: NodeNo,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file or directory could not be created.
    #[error("{what}: {source}")]
    Io {
        /// The action that failed.
        what: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The node has no process to signal.
    #[error("{0} is not running")]
    NotRunning(NodeNo),
    /// The node has a process already.
    #[error("{0} is already running")]
    AlreadyRunning(NodeNo),
    /// The backend cannot change servers.
    #[error("{node} cannot be changed: the backend `{backend}` does not change servers (hint: use `--backend local`)")]
    Unchangeable {
        /// The node.
        node: NodeNo,
        /// The backend.
        backend: BackendKind,
    },
    /// The file of a node is not one that could be damaged so.
    #[error("{node} has nothing to damage: {reason}")]
    Undamageable {
        /// The node.
        node: NodeNo,
        /// Why not, with a hint.
        reason: String,
    },
    /// The signal could not be sent.
    #[error("cannot signal {node}: {source}")]
    Signal {
        /// The node.
        node: NodeNo,
        /// The system's error.
        source: nix::Error,
    },
    /// The container engine or an attached cluster failed.
    #[error("{message}")]
    Specific {
        /// The backend's own error.
        message: String,
        /// Whether the user must change the command line.
        is_usage: bool,
    },
    /// A clock could not be changed.
    #[error("cannot change the clock of {node}: {reason}")]
    Clock {
        /// The node.
        node: NodeNo,
        /// Why not.
        reason: String,
    },
    /// A node cannot be given another address.
    #[error("{node} cannot be given another address: {reason}")]
    NoOtherAddress {
        /// The node.
        node: NodeNo,
        /// Why.
        reason: String,
    },
    /// A disk could not be made faulty, or whole.
    #[error("cannot change the disk of {node}: {reason}")]
    Disk {
        /// The node.
        node: NodeNo,
        /// Why not.
        reason: String,
    },
    /// A loss of power could not be brought about.
    #[error("cannot cut the power of {node}: {reason}")]
    Power {
        /// The node.
        node: NodeNo,
        /// Why not.
        reason: String,
    },
    /// No addresses are free for the cluster.
    #[error(
        "no free addresses for {nodes} nodes: {reason} (hint: stop the programs that listen there, or other runs of slotquake)"
    )]
    NoAddresses {
        /// The number of nodes.
        nodes: usize,
        /// Why the last attempt failed.
        reason: String,
    },
}
