//! The links of a cluster that is not ours: by whom a run has them cut.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use super::compose::Sidecars;
use super::cuts::Cuts;
use super::error::AttachError;
use super::hooks::Tell;
use super::ledger::Ledger;
use super::way::Way;
use crate::history::NodeInfo;
use crate::network::knock::{self, Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::units::NodeNo;

/// By whom links are cut.
#[derive(Debug)]
pub(super) enum Links {
    /// By nobody: no step wants it.
    Whole,
    /// By sidecars in the networks of a Compose project's containers.
    Sidecars(Sidecars),
    /// By the user's hooks.
    Hooks(Cuts),
}

impl Links {
    /// Makes links ready to be cut in the run of a ledger.
    pub async fn open(way: &Way, ledger: &Ledger) -> Result<Self, AttachError> {
        Ok(match way {
            Way::Ports => Self::Whole,
            Way::Compose(compose) => {
                let changes = ledger.changes();
                let nodes: Vec<_> = changes.places.into_iter().map(|place| place.node).collect();
                Self::Sidecars(Sidecars::start(Arc::clone(compose), &nodes, changes.run).await?)
            }
            Way::Hooks(_) => Self::left(way, ledger),
        })
    }

    /// The links as the run of a ledger has left them. Rules of sidecars go when their run does, however that ends.
    pub fn left(way: &Way, ledger: &Ledger) -> Self {
        match way {
            Way::Hooks(hooks) => Self::Hooks(Cuts::new(hooks.clone(), ledger.clone())),
            Way::Ports | Way::Compose(_) => Self::Whole,
        }
    }

    pub async fn impose(&self, rule: Rule, tell: Tell<'_>) -> Result<(), NetworkError> {
        match self {
            Self::Whole => Err(NetworkError::NoNetwork),
            Self::Sidecars(sidecars) => sidecars.impose(rule).await,
            Self::Hooks(cuts) => cuts.impose(rule, tell).await,
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

    pub async fn lift(&self, name: &str, tell: Tell<'_>) -> Result<(), NetworkError> {
        match self {
            Self::Whole => Ok(()),
            Self::Sidecars(sidecars) => sidecars.lift(name).await,
            Self::Hooks(cuts) => cuts.lift(name, tell).await,
        }
    }

    pub fn can_knock_from(&self, ip: Ipv4Addr) -> bool {
        match self {
            Self::Sidecars(sidecars) => sidecars.can_knock_from(ip),
            Self::Whole | Self::Hooks(_) => true,
        }
    }

    pub async fn knock(&self, knocks: &[Knock], within: Duration, tell: Tell<'_>) -> Vec<Heard> {
        match self {
            Self::Whole => knock::knock_all(knocks, within).await,
            Self::Sidecars(sidecars) => sidecars.knock(knocks, within).await,
            Self::Hooks(cuts) => cuts.knock(knocks, within, tell).await,
        }
    }

    pub async fn fill(&self, knock: Knock, bytes: u64) {
        match self {
            Self::Sidecars(sidecars) => sidecars.fill(knock, bytes).await,
            // Its end shows in the counters, or does not.
            Self::Whole | Self::Hooks(_) => drop(Box::pin(knock::push(knock, bytes)).await),
        }
    }

    /// A server is about to end.
    pub fn leave(&self, node: NodeNo) {
        if let Self::Sidecars(sidecars) = self {
            sidecars.leave(node);
        }
    }

    /// A server was started.
    pub async fn come_back(&self, node: &NodeInfo) -> Result<(), AttachError> {
        match self {
            Self::Sidecars(sidecars) => sidecars.come_back(node).await,
            Self::Whole | Self::Hooks(_) => Ok(()),
        }
    }

    /// Makes every link whole again. What is left is told, with a way to do it by hand.
    pub async fn clear(&self, tell: Tell<'_>) -> Vec<String> {
        match self {
            Self::Whole => Vec::new(),
            Self::Sidecars(sidecars) => sidecars.clear().await,
            Self::Hooks(cuts) => cuts.clear(tell).await,
        }
    }

    /// Whether what could not be healed turns out to be whole; it is then forgotten.
    pub async fn forget_healed(&self, tell: Tell<'_>) -> bool {
        match self {
            Self::Hooks(cuts) => cuts.forget_healed(tell).await,
            Self::Whole | Self::Sidecars(_) => false,
        }
    }
}

/// The one address from which this machine reaches all of these, if there is one, and it is none of theirs.
pub(super) fn own_address(addrs: &[SocketAddr]) -> Option<IpAddr> {
    // Nothing is sent: connecting a socket of this kind only chooses a route.
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
    fn one_address_that_is_no_nodes_reaches_all_or_none_does() {
        let all = |addrs: &[&str]| own_address(&addrs.iter().map(|addr| addr.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(all(&["127.0.0.2:6379", "127.0.0.3:7000"]), Some(Ipv4Addr::LOCALHOST.into()));
        for addrs in [&["127.0.0.2:6379", "127.0.0.1:6379"][..], &["127.0.0.2:6379", "[::1]:6379"], &[]] {
            assert_eq!(all(addrs), None, "{addrs:?}");
        }
    }
}
