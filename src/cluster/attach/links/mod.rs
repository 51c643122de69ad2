//! Cuts and heals the links of an attached cluster, with sidecars of Compose containers or with hooks.

mod cuts;
#[cfg_attr(not(feature = "docker"), path = "sidecars_absent.rs")]
mod sidecars;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::attach::access::ServerAccess;
use crate::cluster::attach::access::hooks::Emit;
use crate::cluster::attach::error::AttachError;
use crate::cluster::attach::ledger::Ledger;
use crate::history::NodeInfo;
use crate::network::knock::{self, Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::units::NodeNo;
use cuts::Cuts;
use sidecars::Sidecars;

/// What cuts links.
#[derive(Debug)]
pub(crate) enum Links {
    /// Nothing: no step cuts links.
    Whole,
    /// Sidecars in the networks of a Compose project's containers.
    Sidecars(Sidecars),
    /// The user's hooks.
    Hooks(Cuts),
}

impl Links {
    /// Prepares cutting links in the run of a ledger.
    pub async fn open(servers: &ServerAccess, ledger: &Ledger) -> Result<Self, AttachError> {
        Ok(match servers {
            ServerAccess::Ports => Self::Whole,
            ServerAccess::Compose(compose) => {
                let changes = ledger.changes();
                let nodes: Vec<_> = changes.places.into_iter().map(|place| place.node).collect();
                Self::Sidecars(Sidecars::start(Arc::clone(compose), &nodes, changes.run).await?)
            }
            ServerAccess::Hooks(_) => Self::left(servers, ledger),
        })
    }

    /// The links as a killed run left them. Sidecars end with their run, so only hooks leave cuts.
    pub fn left(servers: &ServerAccess, ledger: &Ledger) -> Self {
        match servers {
            ServerAccess::Hooks(hooks) => Self::Hooks(Cuts::new(hooks.clone(), ledger.clone())),
            ServerAccess::Ports | ServerAccess::Compose(_) => Self::Whole,
        }
    }

    pub async fn impose(&self, rule: Rule, emit: Emit<'_>) -> Result<(), NetworkError> {
        match self {
            Self::Whole => Err(NetworkError::NoNetwork),
            Self::Sidecars(sidecars) => sidecars.impose(rule).await,
            Self::Hooks(cuts) => cuts.impose(rule, emit).await,
        }
    }

    pub fn counts_packets(&self) -> bool {
        !matches!(self, Self::Hooks(_))
    }

    pub async fn counts(&self, name: &str) -> Result<Counts, NetworkError> {
        match self {
            Self::Sidecars(sidecars) => sidecars.counts(name).await,
            Self::Whole | Self::Hooks(_) => Err(NetworkError::Gone(name.to_owned())),
        }
    }

    pub async fn lift(&self, name: &str, emit: Emit<'_>) -> Result<(), NetworkError> {
        match self {
            Self::Whole => Ok(()),
            Self::Sidecars(sidecars) => sidecars.lift(name).await,
            Self::Hooks(cuts) => cuts.lift(name, emit).await,
        }
    }

    pub fn can_knock_from(&self, ip: Ipv4Addr) -> bool {
        match self {
            Self::Sidecars(sidecars) => sidecars.can_knock_from(ip),
            Self::Whole | Self::Hooks(_) => true,
        }
    }

    pub async fn knock(&self, knocks: &[Knock], within: Duration, emit: Emit<'_>) -> Vec<Heard> {
        match self {
            Self::Whole => knock::knock_all(knocks, within).await,
            Self::Sidecars(sidecars) => sidecars.knock(knocks, within).await,
            Self::Hooks(cuts) => cuts.knock(knocks, within, emit).await,
        }
    }

    pub async fn fill(&self, knock: Knock, bytes: u64) {
        match self {
            Self::Sidecars(sidecars) => sidecars.fill(knock, bytes).await,
            // The counters show the result.
            Self::Whole | Self::Hooks(_) => drop(Box::pin(knock::push(knock, bytes)).await),
        }
    }

    /// Prepares for the end of a server.
    pub fn leave(&self, node: NodeNo) {
        if let Self::Sidecars(sidecars) = self {
            sidecars.leave(node);
        }
    }

    /// Restores the sidecar of a server that has started.
    pub async fn come_back(&self, node: &NodeInfo) -> Result<(), AttachError> {
        match self {
            Self::Sidecars(sidecars) => sidecars.come_back(node).await,
            Self::Whole | Self::Hooks(_) => Ok(()),
        }
    }

    /// Heals every link. Returns what is left, with hints.
    pub async fn clear(&self, emit: Emit<'_>) -> Vec<String> {
        match self {
            Self::Whole => Vec::new(),
            Self::Sidecars(sidecars) => sidecars.clear().await,
            Self::Hooks(cuts) => cuts.clear(emit).await,
        }
    }

    /// Tests links that could not be healed. If all are intact, removes them from the ledger and returns true.
    pub async fn forget_healed(&self, emit: Emit<'_>) -> bool {
        match self {
            Self::Hooks(cuts) => cuts.forget_healed(emit).await,
            Self::Whole | Self::Sidecars(_) => false,
        }
    }
}

/// The address from which this machine reaches all of these. None if there are several, or if a node has it too.
pub(crate) fn own_address(addrs: &[SocketAddr]) -> Option<IpAddr> {
    // Connecting a UDP socket only chooses a route. It sends nothing.
    let route = |addr: &SocketAddr| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(addr).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let mut own = addrs.iter().map(route);
    let first = own.next()??;
    let is_theirs = addrs.iter().any(|addr| addr.ip() == first);
    (!is_theirs && own.all(|other| other == Some(first))).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_own_address_only_if_it_is_unique() {
        let all = |addrs: &[&str]| own_address(&addrs.iter().map(|addr| addr.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(all(&["127.0.0.2:6379", "127.0.0.3:7000"]), Some(Ipv4Addr::LOCALHOST.into()));
        for addrs in [&["127.0.0.2:6379", "127.0.0.1:6379"][..], &["127.0.0.2:6379", "[::1]:6379"], &[]] {
            assert_eq!(all(addrs), None, "{addrs:?}");
        }
    }
}
