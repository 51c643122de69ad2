//! Cuts the links between the containers of a Compose project, with a sidecar in the network of each container.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::attach::access::compose::Compose;
use crate::cluster::attach::error::AttachError;
use crate::cluster::containers::{Links, all};
use crate::history::NodeInfo;
use crate::network::knock::{Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::units::NodeNo;

/// The links between a project's containers. A sidecar in the network of each container cuts them.
#[derive(Debug)]
pub(crate) struct Sidecars {
    compose: Arc<Compose>,
    links: Links,
    /// The run in the sidecars' labels.
    run: String,
}

impl Sidecars {
    /// Starts a sidecar for each node.
    pub async fn start(compose: Arc<Compose>, nodes: &[NodeInfo], run: String) -> Result<Self, AttachError> {
        match all(nodes.iter().map(|node| compose.sidecar(node, &run))).await {
            Ok(sidecars) => {
                let links = Links::new(nodes.iter().map(|node| node.addr.ip()).zip(sidecars));
                Ok(Self { compose, links, run })
            }
            Err(error) => {
                let removed = compose.remove_sidecars(&run).await;
                let left = removed.err().map_or_else(String::new, |left| format!("; and {left}"));
                Err(compose.wrong(format!("{error}{left}")))
            }
        }
    }

    pub async fn impose(&self, rule: Rule) -> Result<(), NetworkError> {
        self.links.impose(rule).await
    }

    pub async fn counts(&self, name: &str) -> Result<Counts, NetworkError> {
        self.links.counts(name).await
    }

    pub async fn lift(&self, name: &str) -> Result<(), NetworkError> {
        self.links.lift(name).await
    }

    pub fn can_knock_from(&self, ip: Ipv4Addr) -> bool {
        self.links.can_knock_from(ip)
    }

    pub async fn knock(&self, knocks: &[Knock], within: Duration) -> Vec<Heard> {
        self.links.knock(knocks, within).await
    }

    pub async fn fill(&self, knock: Knock, bytes: u64) {
        self.links.fill(knock, bytes).await;
    }

    /// Prepares for the end of a node's container.
    pub fn leave(&self, node: NodeNo) {
        self.links.leave(node.index());
    }

    /// Starts a new sidecar after a node's container has started, because each start creates a new network.
    pub async fn come_back(&self, node: &NodeInfo) -> Result<(), AttachError> {
        let sidecar = self.compose.sidecar(node, &self.run).await?;
        let came_back = self.links.come_back(node.node.index(), sidecar).await;
        came_back.map_err(|error| self.compose.wrong(error.to_string()))
    }

    /// Lifts every rule and removes the sidecars. Returns what is left, with hints.
    pub async fn clear(&self) -> Vec<String> {
        let mut left = Vec::new();
        if let Err(error) = self.links.clear().await {
            left.push(format!(
                "rules may still be in force in the containers' networks: {error} (hint: restart the containers)"
            ));
        }
        if let Err(error) = self.compose.remove_sidecars(&self.run).await {
            left.push(error.to_string());
        }
        left
    }
}
