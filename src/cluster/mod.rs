//! The cluster under test: how its nodes are started and ended ([`Backend`]), formed into a cluster
//! ([`form`]), asked ([`Control`]) and watched ([`watch`]).

pub mod control;
pub mod form;
pub mod local;
pub mod topology;
pub mod watch;

use std::net::{IpAddr, SocketAddr};

use crate::units::{ClientNo, NodeNo};
pub use control::Control;

/// What runs the nodes: processes of this machine, and later containers.
///
/// Each call returns when the system has done its part; that it took effect is proven elsewhere
/// ([`crate::fault`]), by looking from outside.
pub trait Backend: Send + Sync + 'static {
    /// How many nodes there are; they are numbered from 1.
    fn size(&self) -> usize;

    /// Where clients reach a node. It stays the same for the whole run.
    fn addr(&self, node: NodeNo) -> SocketAddr;

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

    /// Ends every server and removes everything that the backend made.
    fn tear_down(&self) -> impl Future<Output = ()> + Send;
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
    /// No addresses are free for the cluster.
    #[error("no free addresses for {nodes} nodes: {reason} (hint: end what listens there, or another slotquake)")]
    NoAddresses {
        /// How many are needed.
        nodes: usize,
        /// What was tried last.
        reason: String,
    },
}
