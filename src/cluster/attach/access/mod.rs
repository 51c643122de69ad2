//! Access to the servers of an attached cluster: stops, starts, pauses and observes them, and reads their logs.

#[cfg_attr(not(feature = "docker"), path = "compose_absent.rs")]
pub(crate) mod compose;
pub(crate) mod hooks;
pub(crate) mod hosts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::NO_LOGS;
use crate::cluster::attach::error::AttachError;
use crate::cluster::attach::ledger::AccessUsed;
use crate::cluster::attach::servers::discover::FoundNode;
use crate::cluster::{DiskReading, ProcessState};
use crate::fault::{Action, ClockOf, DiskChange};
use crate::history::NodeInfo;
use crate::plan::Need;
use crate::speed::clock::Skew;
use crate::wire::{Caller, CommandError, ConnectError, Link, command};
use compose::{Compose, ComposeProject};
use hooks::{Call, Emit, Hooks};

const CONNECTS_WITHIN: Duration = Duration::from_secs(1);

/// A server that does not answer PING for this long counts as paused.
const SILENCE: Duration = Duration::from_millis(300);

/// The access to servers that the user asks for.
#[derive(Debug, Clone, Default)]
pub enum ServerAccessSettings {
    /// Their ports only: no server can be stopped.
    #[default]
    Ports,
    /// The servers are containers of a Compose project.
    Compose(ComposeProject),
    /// A YAML file of shell commands.
    Hooks(PathBuf),
}

/// What lets us start and stop the servers of an attached cluster.
#[derive(Debug)]
pub enum ServerAccess {
    /// Their ports only: no server can be stopped.
    Ports,
    /// The containers of a Compose project.
    Compose(Arc<Compose>),
    /// The user's shell commands.
    Hooks(Arc<Hooks>),
}

impl ServerAccess {
    pub(crate) async fn open(settings: ServerAccessSettings) -> Result<Self, AttachError> {
        Ok(match settings {
            ServerAccessSettings::Ports => Self::Ports,
            ServerAccessSettings::Compose(project) => Self::Compose(Arc::new(Compose::open(project).await?)),
            ServerAccessSettings::Hooks(file) => Self::Hooks(Arc::new(Hooks::read(&file).await?)),
        })
    }

    /// Seeds for a user who names none.
    pub(crate) fn seeds(&self) -> Result<Vec<String>, AttachError> {
        match self {
            Self::Compose(compose) => compose.seeds(),
            Self::Ports | Self::Hooks(_) => {
                Err(AttachError::NoSeedAnswers(vec!["no address given (hint: pass `--nodes HOST:PORT`)".to_owned()]))
            }
        }
    }

    /// This access as the ledger records it.
    pub(crate) fn taken(&self) -> AccessUsed {
        match self {
            Self::Ports => AccessUsed::Ports,
            Self::Compose(compose) => AccessUsed::Compose(compose.project().to_owned()),
            Self::Hooks(hooks) => {
                AccessUsed::Hooks(std::path::absolute(hooks.file()).unwrap_or_else(|_| hooks.file().to_owned()))
            }
        }
    }

    /// The name of a node's container.
    pub(crate) fn name_of(&self, addr: SocketAddr) -> Option<String> {
        match self {
            Self::Compose(compose) => compose.name_at(addr.ip()),
            Self::Ports | Self::Hooks(_) => None,
        }
    }

    /// The needs that this access does not meet, each with the reason.
    pub(crate) fn lacks(&self) -> BTreeMap<Need, String> {
        let all = [
            Need::Stop,
            Need::Kill,
            Need::Start,
            Need::Change,
            Need::Damage,
            Need::NewAddress,
            Need::Freeze,
            Need::Isolate,
            Need::Links,
            Need::Impairments,
            Need::Loss,
            Need::Delays,
            Need::Clients,
            Need::Clocks,
            Need::Disks,
            Need::PowerLoss,
            Need::Logs,
        ];
        let why = |need: Need| match self {
            Self::Ports => Some(format!(
                "{need} requires access to the servers, not only to their ports (hint: pass `--compose PROJECT` or \
                 `--hooks FILE`)"
            )),
            Self::Compose(compose) => compose.lacks(need),
            Self::Hooks(hooks) => hooks.lacks(need),
        };
        all.into_iter().filter_map(|need| Some((need, why(need)?))).collect()
    }

    /// Checks that this access leads to these nodes.
    pub(crate) fn fits(&self, nodes: &[FoundNode]) -> Result<(), AttachError> {
        match self {
            Self::Compose(compose) => compose.fits(nodes),
            Self::Ports | Self::Hooks(_) => Ok(()),
        }
    }

    /// Why links between these nodes cannot be cut.
    pub(crate) fn links_obstacle(&self, nodes: &[FoundNode]) -> Option<String> {
        match self {
            Self::Ports => None,
            Self::Compose(compose) => compose.links_obstacle(nodes),
            Self::Hooks(_) => {
                let mut taken = BTreeSet::new();
                let odd = nodes.iter().find(|node| node.addr.is_ipv6() || !taken.insert(node.addr.ip()))?;
                Some(format!(
                    "{} is at {}, but cutting links requires a separate IPv4 address for each node",
                    odd.planned.node, odd.addr
                ))
            }
        }
    }

    pub(crate) fn reaches_servers(&self) -> bool {
        !matches!(self, Self::Ports)
    }

    pub(crate) async fn act(&self, action: Action, node: &NodeInfo, emit: Emit<'_>) -> Result<(), AttachError> {
        match self {
            Self::Ports => Err(AttachError::NoAccess { what: action.word() }),
            Self::Compose(compose) => compose.act(action, node).await,
            Self::Hooks(hooks) => hooks.act(Call::new(action.word(), node), emit).await,
        }
    }

    /// Makes a clock of a node's host differ from that of slotquake, or sets it right.
    pub(crate) async fn set_clock(
        &self,
        node: &NodeInfo,
        of: ClockOf,
        skew: Skew,
        emit: Emit<'_>,
    ) -> Result<(), AttachError> {
        match self {
            Self::Hooks(hooks) => hooks.act(hosts::clock_call(node, of, skew), emit).await,
            Self::Ports | Self::Compose(_) => Err(AttachError::NoAccess { what: hosts::CLOCK }),
        }
    }

    /// Makes the disk of a node's host faulty; None makes it whole.
    pub(crate) async fn set_disk(
        &self,
        node: &NodeInfo,
        change: Option<DiskChange>,
        emit: Emit<'_>,
    ) -> Result<(), AttachError> {
        match self {
            Self::Hooks(hooks) => hooks.act(hosts::disk_call(node, change), emit).await,
            Self::Ports | Self::Compose(_) => Err(AttachError::NoAccess { what: hosts::DISK }),
        }
    }

    /// What the disk of a node's host shows, which should be faulty or whole. The error says why that is not known.
    pub(crate) async fn disk(&self, node: &NodeInfo, is_faulty: bool, emit: Emit<'_>) -> Result<DiskReading, String> {
        match self {
            Self::Hooks(hooks) => hosts::disk(hooks, node, is_faulty, emit).await,
            Self::Ports | Self::Compose(_) => Err("nobody tells what its disk shows".to_owned()),
        }
    }

    /// The state of a server's process. Without a `state` hook or a container, infers it from the port.
    pub(crate) async fn state(&self, node: &NodeInfo, caller: &Caller, emit: Emit<'_>) -> ProcessState {
        match self {
            Self::Compose(compose) => compose.state(node).await,
            Self::Hooks(hooks) => match hooks.state(node, emit).await {
                Some(state) => state,
                None => state_by_port(node.addr, caller).await,
            },
            Self::Ports => state_by_port(node.addr, caller).await,
        }
    }

    /// The process of a node, and for how long it has waited for a processor, in real time; None if that is not known.
    pub(crate) async fn waited(&self, node: &NodeInfo) -> Option<(u32, Duration)> {
        match self {
            Self::Compose(compose) => compose.waited(node).await,
            Self::Ports | Self::Hooks(_) => None,
        }
    }

    /// The last lines of a server's log of this run, or all of it. None if it is not available.
    pub(crate) async fn log(&self, node: &NodeInfo, lines: Option<usize>) -> Option<String> {
        match self {
            Self::Compose(compose) => compose.log(node, lines).await,
            Self::Hooks(hooks) => hooks.log(node, lines).await,
            Self::Ports => None,
        }
    }
}

/// Why no access meets a need: slotquake would have to start the servers of the cluster itself. None if one may.
fn not_ours(need: Need) -> Option<String> {
    let what = match need {
        Need::Change | Need::NewAddress => "slotquake does not change the servers of an attached cluster",
        Need::Damage => "files can only be damaged where slotquake starts the servers",
        Need::Clocks => {
            "clocks can only be changed for servers that slotquake starts, by a library that it loads into them"
        }
        Need::Disks => {
            "disks can only be made faulty for servers that slotquake starts, since a library stands between them and their \
             files"
        }
        Need::PowerLoss => {
            "power can only be cut for servers that slotquake starts, since it must see what they synchronise to disk"
        }
        Need::Logs => return Some(NO_LOGS.to_owned()),
        Need::Stop
        | Need::Kill
        | Need::Start
        | Need::Freeze
        | Need::Isolate
        | Need::Links
        | Need::Impairments
        | Need::Loss
        | Need::Delays
        | Need::Clients => return None,
    };
    Some(format!("{what} (hint: use `--backend local` or `--backend docker`)"))
}

/// Infers the state of a server's process from its port.
async fn state_by_port(addr: SocketAddr, caller: &Caller) -> ProcessState {
    let running = |how: &str| ProcessState::Running { how: how.to_owned() };
    let frozen = || ProcessState::Paused { how: "it accepts connections but does not answer".to_owned() };
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
