//! The cluster under test: how its nodes are started and ended ([`Backend`]), formed into a cluster
//! ([`form`]), asked ([`Control`]) and watched ([`watch`]).

pub mod attach;
mod config;
#[cfg(feature = "docker")]
pub mod containers;
pub mod control;
#[cfg(feature = "docker")]
pub mod docker;
#[cfg(test)]
pub(crate) mod fixture;
pub mod form;
mod keyspace;
pub mod local;
mod reach;
pub mod watch;

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::fault::Action;
use crate::history::NodeInfo;
use crate::journal::Journal;
use crate::network::knock::{Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::units::{ClientNo, NodeNo};
use crate::wire::{Access, ConnectError};
pub use control::Control;
pub use keyspace::Keyspace;
pub use reach::Reach;

/// What runs the nodes: processes of this machine ([`local`]), containers (`docker`, a feature of this crate) or
/// somebody else ([`attach`]).
///
/// Each call returns when the system has done its part; that it took effect is proven elsewhere
/// ([`crate::inject`]), by looking from outside.
pub trait Backend: Send + Sync + 'static {
    /// How it is called on the command line and in reports.
    const NAME: &'static str;

    /// How many nodes there are; they are numbered from 1.
    fn size(&self) -> usize;

    /// Where clients reach a node. It stays the same for the whole run.
    fn addr(&self, node: NodeNo) -> SocketAddr;

    /// How nodes and redirections call a node; differs from [`addr`](Self::addr) where something between us and
    /// the nodes translates addresses. It stays the same for the whole run.
    fn announced(&self, node: NodeNo) -> SocketAddr {
        self.addr(node)
    }

    /// The node that is called so, in CLUSTER NODES, MOVED and ASK.
    fn node_at(&self, announced: SocketAddr) -> Option<NodeNo> {
        (0..self.size()).map(NodeNo::from_index).find(|&node| self.announced(node) == announced)
    }

    /// The port of a node's cluster bus: 10000 above the one that clients use, unless its configuration says otherwise
    /// (cluster specification, "The cluster bus").
    fn bus_port(&self, node: NodeNo) -> u16 {
        self.announced(node).port().wrapping_add(10_000)
    }

    /// Where the connections of a client come from, so that a network fault can tell clients apart;
    /// None where the system chooses.
    fn client_ip(&self, client: ClientNo) -> Option<IpAddr>;

    /// What the servers want to be let in.
    fn access(&self) -> Access {
        Access::default()
    }

    /// Under which names keys live.
    fn keys(&self) -> Keyspace {
        Keyspace::default()
    }

    /// Says that keys of the run may be written from now on, so that a backend knows whether any are to be removed.
    fn begin_writing(&self) {}

    /// Every node of a cluster that was there before; None for one that is to be formed.
    fn found(&self) -> Option<&[NodeInfo]> {
        None
    }

    /// Where whatever the backend does of its own, and is worth knowing, is recorded from now on.
    fn record_in(&self, _journal: &Arc<Journal>) {}

    /// What a suite's command becomes when it is sent to a node of this cluster. The error says why it must not be
    /// sent.
    fn admit(&self, _node: NodeNo, words: Vec<String>) -> impl Future<Output = Result<Vec<String>, String>> + Send {
        std::future::ready(Ok(words))
    }

    /// Whether this error, got on connecting, shows that no server listens at the node's address: mostly a refusal,
    /// but where the address itself goes with the server, nobody is there to refuse.
    fn is_closed(&self, _node: NodeNo, error: &ConnectError) -> impl Future<Output = bool> + Send {
        std::future::ready(matches!(error, ConnectError::Refused(_)))
    }

    /// Does something to a node's server, without waiting for what comes of it: a server that was started is not
    /// ready yet, and one that was told to stop may still be ending.
    fn act(&self, node: NodeNo, action: Action) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// What the system says of the server's process.
    fn state(&self, node: NodeNo) -> impl Future<Output = ProcessState> + Send;

    /// How often faults in force may be looked at, by [`state`](Self::state) and [`counts`](Self::counts).
    fn watch_every(&self) -> Duration {
        Duration::from_millis(150)
    }

    /// Whether a rule that is not in force any more shows as an error of [`counts`](Self::counts), and one that is
    /// never does.
    fn watches_rules(&self) -> bool {
        true
    }

    /// The last lines of a node's log.
    fn log_tail(&self, node: NodeNo, lines: usize) -> impl Future<Output = String> + Send;

    /// Puts a rule of a network fault in force. Who is cut short here has to [`lift`](Self::lift) it.
    fn impose(&self, rule: Rule) -> impl Future<Output = Result<(), NetworkError>> + Send;

    /// What the rule of that name has counted since it was imposed.
    fn counts(&self, name: &str) -> impl Future<Output = Result<Counts, NetworkError>> + Send;

    /// Whether rules count the packets that they hit. Where they do not, connections are tried before a cut, too, so
    /// that it shows by what it changed.
    fn counts_packets(&self) -> bool {
        true
    }

    /// Whether the rule of that name has taken a node off the network as a whole, and what shows it; None for a
    /// rule that hits packets, and counts them. It is an error if this could not be found out.
    fn isolation(&self, _name: &str) -> impl Future<Output = Option<Result<(bool, String), NetworkError>>> + Send {
        std::future::ready(None)
    }

    /// Lifts the rule of that name; nothing is done if there is none.
    fn lift(&self, name: &str) -> impl Future<Output = Result<(), NetworkError>> + Send;

    /// Whether connections can be tried from an address.
    fn can_knock_from(&self, _ip: Ipv4Addr) -> bool {
        true
    }

    /// Tries connections from nodes' and clients' own places, all at once.
    fn knock(&self, knocks: &[Knock], within: Duration) -> impl Future<Output = Vec<Heard>> + Send;

    /// Sends so many bytes over a link, to be echoed, as far as it takes them; to be dropped when enough was
    /// seen.
    fn fill(&self, knock: Knock, bytes: u64) -> impl Future<Output = ()> + Send;

    /// Ends every server and removes everything that the backend made; on a cluster that is not ours, undoes what the
    /// run did to it. The error says what is still there, and what to do about it.
    fn tear_down(&self) -> impl Future<Output = Result<(), BackendError>> + Send;
}

/// A name for a run that no other has.
fn new_run() -> String {
    // The hasher's keys are the random numbers that std has.
    format!("{:08x}", RandomState::new().hash_one("run") as u32)
}

/// What the system says of a server's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs.
    Running {
        /// Which process, or by what it is known, in words.
        how: String,
    },
    /// It is frozen.
    Paused {
        /// Which process, or by what it is known, in words.
        how: String,
    },
    /// It has ended, or never ran.
    Gone {
        /// How it ended, in words.
        how: String,
    },
    /// It could not be found out.
    Unknown {
        /// Why not, in words.
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

/// Why a backend could not do its part.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The server's program could not be started.
    #[error("cannot start {program} for {node}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// For whom.
        node: NodeNo,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file or directory could not be made.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no process to signal.
    #[error("{0} is not running")]
    NotRunning(NodeNo),
    /// There is a process already.
    #[error("{0} is running already")]
    AlreadyRunning(NodeNo),
    /// The signal could not be sent.
    #[error("cannot signal {node}: {source}")]
    Signal {
        /// Whom.
        node: NodeNo,
        /// What the system said.
        source: nix::Error,
    },
    /// The engine of containers, or a cluster that somebody else started, could not do its part.
    #[error("{message}")]
    Specific {
        /// The backend's own error.
        message: String,
        /// Whether the command line, rather than the cluster or the machine, has to change.
        is_usage: bool,
    },
    /// No addresses are free for the cluster.
    #[error("no free addresses for {nodes} nodes: {reason} (hint: end what listens there, or another slotquake)")]
    NoAddresses {
        /// How many are needed.
        nodes: usize,
        /// What was tried last.
        reason: String,
    },
}
