//! The way to the servers of a cluster that is not ours: by what they can be stopped, started, frozen and looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::compose::{Compose, ComposeProject};
use super::discover::FoundNode;
use super::error::AttachError;
use super::hooks::{Call, Hooks, Tell};
use super::ledger::WayTaken;
use crate::cluster::ProcessState;
use crate::fault::Action;
use crate::history::NodeInfo;
use crate::plan::Need;
use crate::wire::{Caller, CommandError, ConnectError, Link, command};

/// How long a server may take to be connected to when it is looked at from outside.
const CONNECTS_WITHIN: Duration = Duration::from_secs(1);

/// A server that leaves PING unanswered for so long is taken for a frozen one.
const SILENCE: Duration = Duration::from_millis(300);

/// By what servers can be got at, as it was asked for.
#[derive(Debug, Clone, Default)]
pub enum WaySettings {
    /// By nothing but their ports.
    #[default]
    Ports,
    /// They are containers of a Compose project.
    Compose(ComposeProject),
    /// A file of shell commands.
    Hooks(PathBuf),
}

/// By what servers can be got at.
#[derive(Debug)]
pub enum Way {
    /// By nothing but their ports.
    Ports,
    /// As containers of a Compose project.
    Compose(Arc<Compose>),
    /// By shell commands.
    Hooks(Arc<Hooks>),
}

impl Way {
    pub(super) async fn open(settings: WaySettings) -> Result<Self, AttachError> {
        Ok(match settings {
            WaySettings::Ports => Self::Ports,
            WaySettings::Compose(project) => Self::Compose(Arc::new(Compose::open(project).await?)),
            WaySettings::Hooks(file) => Self::Hooks(Arc::new(Hooks::read(&file).await?)),
        })
    }

    /// Addresses to begin with, where none were given.
    pub(super) fn seeds(&self) -> Result<Vec<String>, AttachError> {
        match self {
            Self::Compose(compose) => compose.seeds(),
            Self::Ports | Self::Hooks(_) => {
                Err(AttachError::NoSeedAnswers(vec!["none was given (hint: --nodes HOST:PORT)".to_owned()]))
            }
        }
    }

    /// As it is noted for whoever has to go it again.
    pub(super) fn taken(&self) -> WayTaken {
        match self {
            Self::Ports => WayTaken::Ports,
            Self::Compose(compose) => WayTaken::Compose(compose.project().to_owned()),
            Self::Hooks(hooks) => {
                WayTaken::Hooks(std::path::absolute(hooks.file()).unwrap_or_else(|_| hooks.file().to_owned()))
            }
        }
    }

    /// What a node is called there.
    pub(super) fn name_of(&self, addr: SocketAddr) -> Option<String> {
        match self {
            Self::Compose(compose) => compose.name_at(addr.ip()),
            Self::Ports | Self::Hooks(_) => None,
        }
    }

    /// What it cannot do, and why.
    pub(super) fn lacks(&self) -> BTreeMap<Need, String> {
        let all = [
            Need::Stop,
            Need::Kill,
            Need::Start,
            Need::Freeze,
            Need::Isolate,
            Need::Links,
            Need::Impairments,
            Need::Delays,
            Need::Clients,
        ];
        let why = |need: Need| match self {
            Self::Ports => Some(format!(
                "a cluster that is known by its ports alone cannot be disturbed so: {need} (hint: --compose PROJECT or \
                 --hooks FILE)"
            )),
            Self::Compose(compose) => compose.lacks(need),
            Self::Hooks(hooks) => hooks.lacks(need),
        };
        all.into_iter().filter_map(|need| Some((need, why(need)?))).collect()
    }

    /// Whether these nodes are those that it leads to.
    pub(super) fn fits(&self, nodes: &[FoundNode]) -> Result<(), AttachError> {
        match self {
            Self::Compose(compose) => compose.fits(nodes),
            Self::Ports | Self::Hooks(_) => Ok(()),
        }
    }

    /// Why links between these nodes cannot be cut, whatever else could be.
    pub(super) fn links_obstacle(&self, nodes: &[FoundNode]) -> Option<String> {
        match self {
            Self::Ports => None,
            Self::Compose(compose) => compose.links_obstacle(nodes),
            Self::Hooks(_) => {
                let mut taken = BTreeSet::new();
                let odd = nodes.iter().find(|node| node.addr.is_ipv6() || !taken.insert(node.addr.ip()))?;
                Some(format!(
                    "{} is at {}, and links are told apart by addresses of IPv4, one for each node",
                    odd.planned.node, odd.addr
                ))
            }
        }
    }

    /// Whether servers can be looked at, or at least stopped, other than by their ports.
    pub(super) fn reaches_servers(&self) -> bool {
        !matches!(self, Self::Ports)
    }

    pub(super) async fn act(&self, action: Action, node: &NodeInfo, tell: Tell<'_>) -> Result<(), AttachError> {
        match self {
            Self::Ports => Err(AttachError::NoWay { what: action.word() }),
            Self::Compose(compose) => compose.act(action, node).await,
            Self::Hooks(hooks) => hooks.act(Call::new(action.word(), node), tell).await,
        }
    }

    /// What is said of a server's process; where nobody says anything, what its port tells.
    pub(super) async fn state(&self, node: &NodeInfo, caller: &Caller, tell: Tell<'_>) -> ProcessState {
        match self {
            Self::Compose(compose) => compose.state(node).await,
            Self::Hooks(hooks) => match hooks.state(node, tell).await {
                Some(state) => state,
                None => seen_from_outside(node.addr, caller).await,
            },
            Self::Ports => seen_from_outside(node.addr, caller).await,
        }
    }

    /// A server's log of this run: its last lines, or all of it; None where it cannot be had.
    pub(super) async fn log(&self, node: &NodeInfo, lines: Option<usize>) -> Option<String> {
        match self {
            Self::Compose(compose) => compose.log(node, lines).await,
            Self::Hooks(hooks) => hooks.log(node, lines).await,
            Self::Ports => None,
        }
    }
}

/// What a server's port tells of its process.
async fn seen_from_outside(addr: SocketAddr, caller: &Caller) -> ProcessState {
    let running = |how: &str| ProcessState::Running { how: how.to_owned() };
    let frozen = || ProcessState::Paused { how: "it accepts connections, and leaves them unanswered".to_owned() };
    let gone = |how: String| ProcessState::Gone { how };
    let mut link = match Link::connect(addr, caller, CONNECTS_WITHIN).await {
        Ok(link) => link,
        Err(ConnectError::Unanswered(..)) => return frozen(),
        Err(ConnectError::Denied(..) | ConnectError::Tls(..)) => return running("it answers"),
        Err(error) => return gone(format!("seen from outside: {error}")),
    };
    match link.send(&command(&["PING"]), Instant::now() + SILENCE).await {
        Ok(_) | Err(CommandError::Reply(_)) => running("it answers PING"),
        Err(CommandError::TimedOut) => frozen(),
        Err(CommandError::Broken(reason)) => gone(format!("seen from outside: connection lost: {reason}")),
    }
}
