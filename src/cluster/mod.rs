//! The cluster under test: how its nodes are started and ended ([`Backend`]), formed into a cluster
//! ([`form`]), asked ([`Control`]) and watched ([`watch`]).

mod config;
pub mod control;
#[cfg(feature = "docker")]
pub mod docker;
pub mod form;
pub mod local;
pub mod topology;
pub mod watch;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::network::knock::{Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::units::{ClientNo, NodeNo};
pub use control::Control;

/// What runs the nodes: processes of this machine ([`local`]) or containers
/// (`docker`, a feature of this crate).
///
/// Each call returns when the system has done its part; that it took effect is proven elsewhere
/// ([`crate::fault`]), by looking from outside.
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

    /// Where the connections of a client come from, so that a network fault can tell clients apart;
    /// None where the system chooses.
    fn client_ip(&self, client: ClientNo) -> Option<IpAddr>;

    /// Starts a node's server. It is not ready when this returns.
    fn start(&self, node: NodeNo) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Asks the server to end (SIGTERM), without waiting for it.
    fn terminate(&self, node: NodeNo) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Ends the server at once (SIGKILL), without waiting for it.
    fn kill(&self, node: NodeNo) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Freezes the server (SIGSTOP).
    fn pause(&self, node: NodeNo) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Lets a frozen server go on (SIGCONT).
    fn resume(&self, node: NodeNo) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// What the system says of the server's process.
    fn state(&self, node: NodeNo) -> impl Future<Output = ProcessState> + Send;

    /// The last lines of a node's log.
    fn log_tail(&self, node: NodeNo, lines: usize) -> impl Future<Output = String> + Send;

    /// Puts a rule of a network fault in force. Who is cut short here has to [`lift`](Self::lift) it.
    fn impose(&self, rule: Rule) -> impl Future<Output = Result<(), NetworkError>> + Send;

    /// What the rule of that name has counted since it was imposed.
    fn counts(&self, name: &str) -> impl Future<Output = Result<Counts, NetworkError>> + Send;

    /// Whether the rule of that name has taken a node off the network as a whole, and what shows it; None for a
    /// rule that hits packets, and counts them.
    fn isolation(&self, _name: &str) -> impl Future<Output = Option<(bool, String)>> + Send {
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

    /// Ends every server and removes everything that the backend made. The error says what is still there, and
    /// what to do about it.
    fn tear_down(&self) -> impl Future<Output = Result<(), BackendError>> + Send;
}

/// What the system says of a server's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs.
    Running {
        /// Its process id.
        pid: u32,
    },
    /// It is stopped by a signal.
    Paused {
        /// Its process id.
        pid: u32,
    },
    /// It has ended, or never ran.
    Gone {
        /// How it ended, in words.
        how: String,
    },
}

impl std::fmt::Display for ProcessState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Running { pid } => write!(f, "process {pid} runs"),
            Self::Paused { pid } => write!(f, "process {pid} is stopped"),
            Self::Gone { how } => write!(f, "process is gone ({how})"),
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
    /// The container engine could not do its part.
    #[error(transparent)]
    #[cfg(feature = "docker")]
    Docker(#[from] docker::DockerError),
    /// No addresses are free for the cluster.
    #[error("no free addresses for {nodes} nodes: {reason} (hint: end what listens there, or another slotquake)")]
    NoAddresses {
        /// How many are needed.
        nodes: usize,
        /// What was tried last.
        reason: String,
    },
}
