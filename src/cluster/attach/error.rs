//! What can go wrong with a cluster that somebody else started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::cluster::BackendError;
use crate::cluster::control::AskError;
use crate::network::NetworkError;
use crate::units::NodeNo;
use crate::wire::{CommandError, ConnectError};

/// Why a cluster could not be attached to, or not be dealt with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AttachError {
    /// No address leads to it.
    #[error("`{seed}` is no address of a node: {reason} (hint: HOST:PORT, such as 10.0.0.7:6379)")]
    Seed {
        /// As typed.
        seed: String,
        /// What is wrong.
        reason: String,
    },
    /// None of the addresses led to a cluster; each with its reason.
    #[error("no node could be asked: {}", .0.join("; "))]
    NoSeedAnswers(Vec<String>),
    /// A node could not be asked.
    #[error("{who} cannot be asked `{command}`: {reason}{hint}")]
    Ask {
        /// Its address, or its number and address.
        who: String,
        /// What it was asked.
        command: String,
        /// What became of it.
        reason: String,
        /// What might help, in parentheses; empty where nothing is known to.
        hint: &'static str,
        /// Whether the user has to change something that was given.
        usage: bool,
    },
    /// An answer makes no sense.
    #[error("{who} gave an answer that cannot be read: {reason}")]
    Answer {
        /// Whose.
        who: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The cluster is of a kind that cannot be tested.
    #[error("this cluster cannot be tested: {0}")]
    Unfit(String),
    /// It is broken before anything was done to it.
    #[error("the cluster is not whole, and was not within 10 s: {0} (hint: mend it first; a run needs a sound start)")]
    NotWhole(String),
    /// It is not any more what the plan was made for.
    #[error("the cluster has changed since the run was planned: {0}")]
    Changed(String),
    /// A directive could not be set.
    #[error("{node} does not take `{name} {value}`: {reason}")]
    Config {
        /// Who.
        node: NodeNo,
        /// The directive.
        name: String,
        /// What it should be.
        value: String,
        /// What the server said, or what it holds now.
        reason: String,
    },
    /// What the end of a run could not undo, each with a way to do it by hand.
    #[error("the cluster is not as it was: {} (the next run with --backend attach tries again)", .0.join("; "))]
    Left(Vec<String>),
    /// The same of a run that was killed.
    #[error(
        "{whose} was killed, and what it changed cannot be put back: {} (hint: do it by hand, then remove `{}`)",
        .left.join("; "),
        .ledger.display()
    )]
    StillLeft {
        /// The run, in words.
        whose: String,
        /// What could not be undone, each with a way to do it by hand.
        left: Vec<String>,
        /// Where it is noted.
        ledger: PathBuf,
    },
    /// What a run that was killed has changed, which cannot be put back in the way that was given.
    #[error("this cluster has to be put right first, in another way: {0}")]
    Owed(String),
    /// Somebody else is at work.
    #[error("{whose} is under way on this cluster, and two would disturb each other (hint: wait for its end)")]
    Busy {
        /// The run, in words.
        whose: String,
    },
    /// A ledger cannot be read.
    #[error(
        "`{}` says what a run changed on a cluster, and cannot be read: {reason} (hint: remove it once that cluster is \
         as it was)",
        .path.display()
    )]
    Ledger {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What a run changes cannot be noted.
    #[error(
        "`{}` {what}, and must hold what is to be undone, should this process be killed: {reason} (hint: set \
         SLOTQUAKE_STATE to a directory that you may write)",
        .path.display()
    )]
    State {
        /// The file or folder.
        path: PathBuf,
        /// What cannot be done.
        what: &'static str,
        /// The system's word.
        reason: String,
    },
    /// There is no place to note it.
    #[error(
        "no directory for what is to be undone, should this process be killed: none of SLOTQUAKE_STATE, XDG_STATE_HOME \
         and HOME is set (hint: set SLOTQUAKE_STATE)"
    )]
    NoState,
    /// There is no way to do it.
    #[error("{what}: there is no way to do that to this cluster (hint: --compose PROJECT or --hooks FILE)")]
    NoWay {
        /// What.
        what: &'static str,
    },
    /// The containers of a Compose project are not those of a cluster.
    #[error("compose project `{project}`: {reason}")]
    Compose {
        /// Its name.
        project: String,
        /// What is wrong.
        reason: String,
    },
    /// The file of hooks cannot be used.
    #[error("{0}")]
    Hooks(String),
    /// A hook did not do its part.
    #[error("hook `{hook}` {on}{reason}; it said: {output}")]
    Hook {
        /// Which.
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
            | Self::Owed(_)
            | Self::Busy { .. } => true,
            Self::Ask { usage, .. } => *usage,
            _ => false,
        }
    }

    /// What the system said of a file or folder of ledgers.
    pub(super) fn state(path: &Path, what: &'static str, error: &std::io::Error) -> Self {
        Self::State { path: path.to_owned(), what, reason: error.to_string() }
    }

    /// A command that got no answer, or an error for one, explained.
    pub(super) fn ask(who: &dyn std::fmt::Display, words: &[&str], error: &AskError, is_tls: bool) -> Self {
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

/// The error without the address, which is said already.
fn reason(error: &AskError) -> String {
    match error {
        AskError::Connect(ConnectError::Refused(_)) => "it refuses connections".to_owned(),
        AskError::Connect(ConnectError::Denied(_, reply)) => format!("it does not let us in: {reply}"),
        AskError::Connect(ConnectError::Tls(_, reason)) => format!("no TLS: {reason}"),
        error => error.to_string(),
    }
}

/// What helps, and whether it is for the user to mend.
fn hint(error: &AskError, is_tls: bool) -> (&'static str, bool) {
    let reply = match error {
        AskError::Connect(ConnectError::Denied(_, reply)) | AskError::Command(CommandError::Reply(reply)) => reply,
        AskError::Connect(ConnectError::Tls(_, reason)) if reason.contains("InvalidContentType") => {
            return (" (hint: the port speaks plain TCP: leave --tls out, or name the TLS port)", true);
        }
        AskError::Connect(ConnectError::Tls(_, reason)) if reason.contains("certificate") => {
            return (" (hint: --cacert FILE, --cert and --key, --tls-server-name NAME)", true);
        }
        AskError::Connect(ConnectError::Tls(..) | ConnectError::Unanswered(_, "the TLS handshake", _)) => {
            return (" (hint: does the port speak TLS? --tls is for ports that do)", true);
        }
        AskError::Command(CommandError::Broken(_)) if !is_tls => {
            return (" (hint: does the port speak TLS? then --tls)", true);
        }
        _ => return ("", false),
    };
    let words = [
        ("WRONGPASS", " (hint: SLOTQUAKE_PASSWORD or --password-file, and --user)"),
        ("without any password configured", " (hint: the server has no password: leave it out)"),
        ("NOAUTH", " (hint: give the password in SLOTQUAKE_PASSWORD or by --password-file, and --user)"),
        ("cluster support disabled", " (hint: only clusters can be tested: `cluster-enabled yes`)"),
        ("NOPERM", " (hint: the user needs `+@all ~slotquake:*`)"),
    ];
    words.iter().find(|(word, _)| reply.contains(word)).map_or(("", false), |(_, hint)| (hint, true))
}

/// Who is meant, for messages.
pub(super) fn named(node: NodeNo, addr: SocketAddr) -> String {
    format!("{node} ({addr})")
}
