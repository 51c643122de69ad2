//! Access to servers that are containers of a Compose project: the engine stops and starts them, sidecars cut links.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testcontainers::bollard::models::ContainerSummary;
use testcontainers::bollard::query_parameters::{
    KillContainerOptions, ListContainersOptionsBuilder, StartContainerOptions,
};

use super::not_ours;
use crate::cluster::attach::error::AttachError;
use crate::cluster::attach::servers::discover::FoundNode;
use crate::cluster::containers::{DockerError, Engine, Owner, Sidecar};
use crate::cluster::{ProcessState, new_run};
use crate::fault::{Action, Means};
use crate::history::NodeInfo;
use crate::network::rules::{BUS_PORT, DATA_PORT};
use crate::plan::Need;

/// The label that Compose puts on the containers of a project.
const PROJECT_LABEL: &str = "com.docker.compose.project";

/// The port of servers whose image exposes none.
const USUAL_PORT: u16 = 6379;

/// A Compose project whose containers are a cluster.
#[derive(Debug, Clone)]
pub struct ComposeProject {
    /// The engine that runs the containers.
    pub engine: Engine,
    /// The name of the project.
    pub name: String,
}

/// The containers of a project.
#[derive(Debug)]
pub struct Compose {
    engine: Engine,
    project: String,
    containers: Vec<Container>,
    /// The start of the logs to read, in seconds since 1970.
    since: i32,
    /// Why links cannot be cut.
    no_links: Option<String>,
}

#[derive(Debug, Clone)]
struct Container {
    name: String,
    id: String,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
}

impl Compose {
    /// Lists the project's containers.
    pub(crate) async fn open(ComposeProject { engine, name: project }: ComposeProject) -> Result<Self, AttachError> {
        let wrong = |reason: String| AttachError::Compose { project: project.clone(), reason };
        let label = format!("{PROJECT_LABEL}={project}");
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = engine.client.list_containers(Some(options)).await.map_err(|error| wrong(error.to_string()))?;
        if listed.is_empty() {
            return Err(wrong(
                "it has no containers (hint: `docker-compose ls` lists projects; the default name is that of the folder)"
                    .to_owned(),
            ));
        }
        let containers = listed.into_iter().map(Container::from).collect();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i32);
        let no_links = engine.network_obstacle().await;
        Ok(Self { engine, project, containers, since, no_links })
    }

    pub(crate) fn wrong(&self, reason: String) -> AttachError {
        AttachError::Compose { project: self.project.clone(), reason }
    }

    /// The addresses at which its containers may listen.
    pub(crate) fn seeds(&self) -> Result<Vec<String>, AttachError> {
        let at = |container: &Container| {
            let ports = if container.ports.is_empty() { vec![USUAL_PORT] } else { container.ports.clone() };
            let addresses = container.addresses.clone();
            addresses
                .into_iter()
                .flat_map(move |ip| ports.clone().into_iter().map(move |port| SocketAddr::new(ip, port)))
        };
        let seeds: Vec<String> = self.containers.iter().flat_map(at).map(|addr| addr.to_string()).collect();
        if seeds.is_empty() {
            return Err(self.wrong("none of its containers is running (hint: `docker-compose up -d`)".to_owned()));
        }
        Ok(seeds)
    }

    fn container_at(&self, ip: IpAddr) -> Option<&Container> {
        self.containers.iter().find(|container| container.addresses.contains(&ip))
    }

    /// The name of the container that has an address.
    pub(crate) fn name_at(&self, ip: IpAddr) -> Option<String> {
        self.container_at(ip).map(|container| container.name.clone())
    }

    pub(crate) fn project(&self) -> &str {
        &self.project
    }

    fn container(&self, node: &NodeInfo) -> Result<&Container, AttachError> {
        // A stopped container may have lost its address.
        let named = || self.containers.iter().find(|container| Some(&container.name) == node.name.as_ref());
        self.container_at(node.addr.ip()).or_else(named).ok_or_else(|| {
            self.wrong(format!("none of its containers has the address of {}, {}", node.node, node.addr))
        })
    }

    /// Checks that every node is a container of the project, and no two nodes share one.
    pub(crate) fn fits(&self, nodes: &[FoundNode]) -> Result<(), AttachError> {
        for node in nodes {
            let number = node.planned.node;
            let Some(container) = self.container_at(node.addr.ip()) else {
                return Err(self.wrong(format!(
                    "none of its containers has the address of {number}, {} (hint: all nodes must belong to the project)",
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

    /// Why the project does not meet a need.
    pub(crate) fn lacks(&self, need: Need) -> Option<String> {
        let why = match need {
            Need::Stop | Need::Kill | Need::Start | Need::Freeze => return None,
            Need::Links | Need::Impairments | Need::Loss | Need::Isolate => return self.no_links.clone(),
            Need::Clients => {
                "clients of a Compose project share one address, so faults cannot distinguish them (hint: cut links \
                 between nodes, or one node from all `others`, or use `--backend docker`)"
            }
            Need::Change
            | Need::NewAddress
            | Need::Damage
            | Need::Clocks
            | Need::Logs
            | Need::Disks
            | Need::PowerLoss => {
                return not_ours(need);
            }
            Need::Delays => "packets in containers cannot be delayed yet (hint: use `--backend local`)",
        };
        Some(why.to_owned())
    }

    /// Why links between these nodes cannot be cut.
    pub(crate) fn links_obstacle(&self, nodes: &[FoundNode]) -> Option<String> {
        let is_usual = |node: &&FoundNode| (node.addr.port(), node.bus_port) == (DATA_PORT, BUS_PORT);
        let odd = nodes.iter().find(|node| node.addr.is_ipv6() || !is_usual(node))?;
        Some(format!(
            "{} is at {} with bus port {}, but cutting links in project \"{}\" requires IPv4 addresses and the ports \
             {DATA_PORT} and {BUS_PORT}",
            odd.planned.node, odd.addr, odd.bus_port, self.project
        ))
    }

    /// Starts a sidecar in the current network of a node's container.
    pub(crate) async fn sidecar(&self, node: &NodeInfo, run: &str) -> Result<Sidecar, AttachError> {
        let container = self.container(node)?;
        // The sidecar of the previous network may still exist.
        let name = format!("slotquake-{run}-{}-faults-{}", node.node, new_run());
        let network = format!("container:{}", container.id);
        let labels = Owner::this_process().labels(run);
        let started = Sidecar::start(&self.engine.client, &self.engine.netfault_image, &name, &network, labels).await;
        started.map_err(|error| self.wrong(error.to_string()))
    }

    /// Removes the sidecars of a run.
    pub(crate) async fn remove_sidecars(&self, run: &str) -> Result<(), DockerError> {
        match self.engine.collect_run(run).await?.leftover() {
            None => Ok(()),
            Some(what) => Err(DockerError::Leftover { what }),
        }
    }

    pub(crate) async fn act(&self, action: Action, node: &NodeInfo) -> Result<(), AttachError> {
        let container = self.container(node)?;
        let (client, id) = (&self.engine.client, container.id.as_str());
        let done = match action.means() {
            Means::Start => client.start_container(id, None::<StartContainerOptions>).await,
            Means::Signal(name) => {
                client.kill_container(id, Some(KillContainerOptions { signal: name.to_owned() })).await
            }
            Means::Freeze => client.pause_container(id).await,
            Means::Thaw => client.unpause_container(id).await,
        };
        done.map_err(|error| self.wrong(format!("{} {}: {error}", action.word(), container.name)))
    }

    pub(crate) async fn state(&self, node: &NodeInfo) -> ProcessState {
        match self.container(node) {
            Ok(container) => self.engine.state(&container.id).await,
            Err(error) => ProcessState::Unknown { how: error.to_string() },
        }
    }

    pub(crate) async fn waited(&self, node: &NodeInfo) -> Option<(u32, Duration)> {
        self.engine.waited(&self.container(node).ok()?.id).await
    }

    pub(crate) async fn log(&self, node: &NodeInfo, lines: Option<usize>) -> Option<String> {
        let tail = lines.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        self.engine.logs(&self.container(node).ok()?.id, &tail, self.since).await.ok()
    }
}

impl From<ContainerSummary> for Container {
    fn from(summary: ContainerSummary) -> Self {
        let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        // A stopped container lists only the address that the Compose file fixes.
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
