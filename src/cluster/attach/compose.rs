//! The containers of a Compose project, as the servers of a cluster.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use testcontainers::bollard::models::ContainerSummary;
use testcontainers::bollard::query_parameters::{
    KillContainerOptions, ListContainersOptionsBuilder, StartContainerOptions,
};

use super::discover::FoundNode;
use super::error::AttachError;
use super::way::Deed;
use crate::cluster::ProcessState;
use crate::cluster::docker::Engine;
use crate::history::NodeInfo;

/// The label by which Compose marks what belongs to a project.
const PROJECT_LABEL: &str = "com.docker.compose.project";

/// Where servers listen unless an image says otherwise.
const USUAL_PORT: u16 = 6379;

/// A project's containers.
#[derive(Debug)]
pub struct Compose {
    engine: Engine,
    project: String,
    containers: Vec<Container>,
    /// Logs are wanted from here on: seconds since 1970.
    since: i32,
}

/// A container of the project.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) name: String,
    id: String,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
}

impl Compose {
    /// Looks for the project's containers.
    pub async fn open(engine: Engine, project: String) -> Result<Self, AttachError> {
        let wrong = |reason: String| AttachError::Compose { project: project.clone(), reason };
        let label = format!("{PROJECT_LABEL}={project}");
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = engine.client.list_containers(Some(options)).await.map_err(|error| wrong(error.to_string()))?;
        if listed.is_empty() {
            return Err(wrong(
                "it has no containers (hint: `docker-compose ls`; the name is the folder's unless -p gave another)"
                    .to_owned(),
            ));
        }
        let containers = listed.into_iter().map(Container::from).collect();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i32);
        Ok(Self { engine, project, containers, since })
    }

    fn wrong(&self, reason: String) -> AttachError {
        AttachError::Compose { project: self.project.clone(), reason }
    }

    /// Where its containers may listen.
    pub(super) fn seeds(&self) -> Result<Vec<String>, AttachError> {
        let at = |container: &Container| {
            let ports = if container.ports.is_empty() { vec![USUAL_PORT] } else { container.ports.clone() };
            let addresses = container.addresses.clone();
            addresses
                .into_iter()
                .flat_map(move |ip| ports.clone().into_iter().map(move |port| SocketAddr::new(ip, port)))
        };
        let seeds: Vec<String> = self.containers.iter().flat_map(at).map(|addr| addr.to_string()).collect();
        if seeds.is_empty() {
            return Err(self.wrong("none of its containers runs (hint: `docker-compose up -d`)".to_owned()));
        }
        Ok(seeds)
    }

    pub(super) fn container_at(&self, ip: IpAddr) -> Option<&Container> {
        self.containers.iter().find(|container| container.addresses.contains(&ip))
    }

    fn container(&self, node: &NodeInfo) -> Result<&Container, AttachError> {
        self.container_at(node.addr.ip()).ok_or_else(|| {
            self.wrong(format!("none of its containers has the address of {}, {}", node.node, node.addr))
        })
    }

    /// Every node must be one of its containers, and no two the same.
    pub(super) fn fits(&self, nodes: &[FoundNode]) -> Result<(), AttachError> {
        for node in nodes {
            let number = node.planned.node;
            let Some(container) = self.container_at(node.addr.ip()) else {
                return Err(self.wrong(format!(
                    "none of its containers has the address of {number}, {} (hint: all nodes must be the project's)",
                    node.addr
                )));
            };
            let twin = |other: &&FoundNode| other.id != node.id && container.addresses.contains(&other.addr.ip());
            if let Some(other) = nodes.iter().find(twin) {
                return Err(self.wrong(format!(
                    "{number} and {} share container {} (hint: one server for each container)",
                    other.planned.node, container.name
                )));
            }
        }
        Ok(())
    }

    pub(super) async fn act(&self, deed: Deed, node: &NodeInfo) -> Result<(), AttachError> {
        let container = self.container(node)?;
        let (client, id) = (&self.engine.client, container.id.as_str());
        let signal = |signal: &str| Some(KillContainerOptions { signal: signal.to_owned() });
        let done = match deed {
            Deed::Stop => client.kill_container(id, signal("SIGTERM")).await,
            Deed::Kill => client.kill_container(id, signal("SIGKILL")).await,
            Deed::Start => client.start_container(id, None::<StartContainerOptions>).await,
            Deed::Pause => client.pause_container(id).await,
            Deed::Resume => client.unpause_container(id).await,
        };
        done.map_err(|error| self.wrong(format!("{} {}: {error}", deed.word(), container.name)))
    }

    pub(super) async fn state(&self, node: &NodeInfo) -> ProcessState {
        match self.container(node) {
            Ok(container) => self.engine.state(&container.id).await,
            Err(error) => ProcessState::Running { how: error.to_string() },
        }
    }

    pub(super) async fn log(&self, node: &NodeInfo, lines: Option<usize>) -> Option<String> {
        let tail = lines.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        self.engine.logs(&self.container(node).ok()?.id, &tail, self.since).await.ok()
    }
}

impl From<ContainerSummary> for Container {
    fn from(summary: ContainerSummary) -> Self {
        let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        // A container that is stopped keeps the address that its file fixes, and lists none that it was dealt.
        let addresses = networks.into_values().flat_map(|endpoint| {
            let fixed = endpoint.ipam_config.and_then(|config| config.ipv4_address);
            [endpoint.ip_address, fixed].into_iter().flatten().filter_map(|ip| ip.parse().ok()).collect::<Vec<IpAddr>>()
        });
        let name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
        let mut ports: Vec<u16> = summary.ports.unwrap_or_default().iter().map(|port| port.private_port).collect();
        ports.sort_unstable();
        ports.dedup();
        Self {
            name: name.trim_start_matches('/').to_owned(),
            id: summary.id.unwrap_or_default(),
            addresses: addresses.collect(),
            ports,
        }
    }
}
