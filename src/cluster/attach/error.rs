//! Errors of the attach backend, with hints for what the user can fix.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::cluster::BackendError;
use crate::cluster::control::AskError;
use crate::network::NetworkError;
use crate::units::NodeNo;
use crate::wire::{CommandError, ConnectError};

/// Why a run cannot attach to a cluster, change it or restore it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AttachError {
    /// An address of a node is invalid.
    #[error("\"{seed}\" is not the address of a node: {reason} (hint: HOST:PORT, such as 10.0.0.7:6379)")]
    Seed {
        /// The address as typed.
        seed: String,
        /// What is wrong.
        reason: String,
    },
    /// None of the addresses leads to a cluster. Holds the reason for each.
    #[error("no node answers: {}", .0.join("; "))]
    NoSeedAnswers(Vec<String>),
    /// A command to a node failed.
    #[error("{who}: {reason}, so `{command}` has no answer{hint}")]
    Ask {
        /// The node's address, or its number and address.
        who: String,
        /// The command.
        command: String,
        /// Why it failed.
        reason: String,
        /// A hint in parentheses, or nothing.
        hint: &'static str,
        /// Whether the user must change an option.
        usage: bool,
    },
    /// An answer cannot be parsed.
    #[error("{who} gave an answer that cannot be read: {reason}")]
    Answer {
        /// The node that gave it.
        who: String,
        /// Why it cannot be parsed.
        reason: String,
    },
    /// The cluster is of a kind that cannot be tested.
    #[error("this cluster cannot be tested: {0}")]
    Unfit(String),
    /// The cluster is not healthy before the run.
    #[error("the cluster did not become healthy within 10 s: {0} (hint: repair it first)")]
    NotWhole(String),
    /// The cluster no longer matches the plan.
    #[error("the cluster has changed since the run was planned: {0}")]
    Changed(String),
    /// A directive could not be set.
    #[error("{node} rejected `{name} {value}`: {reason}")]
    Config {
        /// The node.
        node: NodeNo,
        /// The directive.
        name: String,
        /// The value to set.
        value: String,
        /// The server's error, or its value after the command.
        reason: String,
    },
    /// The end of a run could not undo these changes; each has a hint.
    #[error("not all changes are undone: {} (the next run with `--backend attach` tries again)", .0.join("; "))]
    Left(Vec<String>),
    /// The changes of a killed run cannot be undone.
    #[error(
        "{whose} was killed, and its changes cannot be undone: {} (hint: undo them by hand, then remove `{}`)",
        .left.join("; "),
        .ledger.display()
    )]
    StillLeft {
        /// The run, with its suite and process.
        whose: String,
        /// The changes that are left, each with a hint.
        left: Vec<String>,
        /// The path of its ledger.
        ledger: PathBuf,
    },
    /// To undo the changes of a killed run, this run needs another access to the servers.
    #[error("changes of a killed run must be undone first, which requires other options: {0}")]
    Pending(String),
    /// Another run is active on the cluster.
    #[error("{whose} is running on this cluster (hint: wait until it ends)")]
    Busy {
        /// The other run, with its suite and process.
        whose: String,
    },
    /// A ledger cannot be read.
    #[error(
        "`{}` lists the changes of a run on a cluster, but cannot be read: {reason} (hint: restore that cluster, then \
         remove the file)",
        .path.display()
    )]
    Ledger {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        reason: String,
    },
    /// A ledger cannot be written.
    #[error(
        "`{}` {what}, but must hold the changes to undo if this process is killed: {reason} (hint: set `SLOTQUAKE_STATE` \
         to a writable directory)",
        .path.display()
    )]
    State {
        /// The file or folder.
        path: PathBuf,
        /// What failed, such as `cannot be written`.
        what: &'static str,
        /// The system's error.
        reason: String,
    },
    /// There is no directory for ledgers.
    #[error(
        "no directory for the changes to undo if this process is killed: none of SLOTQUAKE_STATE, XDG_STATE_HOME and \
         HOME is set (hint: set `SLOTQUAKE_STATE`)"
    )]
    NoState,
    /// The run has no access to the servers for this action.
    #[error("no access to the servers to {what} one (hint: pass `--compose PROJECT` or `--hooks FILE`)")]
    NoAccess {
        /// The action.
        what: &'static str,
    },
    /// A Compose project does not exist, does not match the cluster, or a request to its engine failed.
    #[error("compose project \"{project}\": {reason}")]
    Compose {
        /// Its name.
        project: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// The file of hooks cannot be used.
    #[error("{0}")]
    Hooks(String),
    /// A hook failed.
    #[error("hook `{hook}` {on}{reason}; output: {output}")]
    Hook {
        /// The name of the hook.
        hook: &'static str,
        /// `for node-1: `.
        on: String,
        /// How it ended.
        reason: String,
        /// The end of what it printed.
        output: String,
    },
}

impl AttachError {
    /// Whether what was given on the command line is wrong, rather than the cluster or the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Seed { .. }
            | Self::Unfit(_)
            | Self::Hooks(_)
            | Self::Compose { .. }
            | Self::Pending(_)
            | Self::Busy { .. } => true,
            Self::Ask { usage, .. } => *usage,
            _ => false,
        }
    }

    /// An I/O error on a ledger or its folder.
    pub(crate) fn state(path: &Path, what: &'static str, error: &std::io::Error) -> Self {
        Self::State { path: path.to_owned(), what, reason: error.to_string() }
    }

    /// Explains a command that got no answer or an error.
    pub(crate) fn ask(who: &dyn std::fmt::Display, words: &[&str], error: &AskError, is_tls: bool) -> Self {
        let (hint, usage) = hint(error, is_tls);
        Self::Ask { who: who.to_string(), command: words.join(" "), reason: reason(error), hint, usage }
    }
}

impl From<AttachError> for BackendError {
    fn from(error: AttachError) -> Self {
        Self::Specific { message: error.to_string(), is_usage: error.is_usage() }
    }
}

impl From<AttachError> for NetworkError {
    fn from(error: AttachError) -> Self {
        Self::Hook(error.to_string())
    }
}

/// The error without the address, which the message already contains.
fn reason(error: &AskError) -> String {
    match error {
        AskError::Connect(ConnectError::Refused(_)) => "it refuses connections".to_owned(),
        AskError::Connect(ConnectError::Denied(_, reply)) => format!("it rejected the credentials: {reply}"),
        AskError::Connect(ConnectError::Tls(_, reason)) => format!("no TLS: {reason}"),
        AskError::Command(CommandError::Broken(reason)) if reason.contains("Parse error") => {
            "what listens there does not answer as a Redis server does".to_owned()
        }
        error => error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// A hint, and whether the user must change an option.
fn hint(error: &AskError, is_tls: bool) -> (&'static str, bool) {
    let reply = match error {
        AskError::Connect(ConnectError::Refused(_)) => {
            return (" (hint: no server listens there; check that it runs, and its address and port)", false);
        }
        AskError::Connect(ConnectError::TimedOut(..) | ConnectError::Unreachable(..)) => {
            return (" (hint: check the address, and whether a firewall is in between)", false);
        }
        AskError::Connect(ConnectError::Denied(_, reply)) | AskError::Command(CommandError::Reply(reply)) => reply,
        AskError::Connect(ConnectError::Tls(_, reason)) if reason.contains("InvalidContentType") => {
            return (" (hint: the port uses plain TCP; omit `--tls`, or pass the TLS port)", true);
        }
        AskError::Connect(ConnectError::Tls(_, reason)) if reason.contains("certificate") => {
            return (" (hint: check `--cacert`, `--cert` and `--key`, and `--tls-server-name`)", true);
        }
        AskError::Connect(ConnectError::Tls(..) | ConnectError::Unanswered(_, "the TLS handshake", _)) => {
            return (" (hint: pass `--tls` only if the port uses TLS)", true);
        }
        AskError::Command(CommandError::Broken(_)) if !is_tls => {
            return (" (hint: pass `--tls` if the port uses TLS)", true);
        }
        _ => return ("", false),
    };
    let words = [
        ("WRONGPASS", " (hint: check `SLOTQUAKE_PASSWORD` or `--password-file` and `--user`)"),
        ("without any password configured", " (hint: the server has no password; omit yours)"),
        ("NOAUTH", " (hint: set `SLOTQUAKE_PASSWORD`, or pass `--password-file` and `--user`)"),
        ("cluster support disabled", " (hint: only clusters can be tested; set `cluster-enabled yes`)"),
        ("NOPERM", " (hint: grant the user `+@all ~slotquake:*`)"),
    ];
    words.iter().find(|(word, _)| reply.contains(word)).map_or(("", false), |(_, hint)| (hint, true))
}

/// Names a node in messages.
pub(crate) fn named(node: NodeNo, addr: SocketAddr) -> String {
    format!("{node} ({addr})")
}
