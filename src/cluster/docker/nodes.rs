//! The containers of a node: the anchor that has its address, the sidecar beside it, and that of its server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use testcontainers::bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, NetworkingConfig, VolumeCreateRequest,
};
use testcontainers::bollard::query_parameters::{CreateContainerOptionsBuilder, StartContainerOptions};
use testcontainers::core::Mount;
use testcontainers::runners::AsyncRunner;
use testcontainers::{CopyTargetOptions, GenericImage, ImageExt, ReuseDirective};

use super::subnet::Subnet;
use super::{DATA, Docker, NODES_CONF, publish};
use crate::cluster::EndedProcess;
use crate::cluster::config::configuration;
use crate::cluster::containers::{DockerError, Sidecar, api};
use crate::network::rules::DATA_PORT;
use crate::server::Server;
use crate::speed::real_span;
use crate::units::{Directive, NodeNo};

const CONFIG: &str = "/etc/slotquake/node.conf";

/// The time limit for the engine to start a server's container.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Node {
    /// The published address to use instead of its own.
    pub published: Option<SocketAddr>,
    pub server: String,
    pub volume: String,
    pub setup: std::sync::Mutex<Setup>,
    /// What it was before the last change.
    pub before: std::sync::Mutex<Option<Setup>>,
    /// Whether the server's container exists.
    pub created: AtomicBool,
    /// How the server ended whose container was removed.
    pub ended: std::sync::Mutex<Option<EndedProcess>>,
}

/// What the next container of a server is made of.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub place: Place,
    pub image: (String, String),
    pub server: Server,
    pub directives: BTreeMap<String, Directive>,
    /// The file by which a node that lost its data is the same node of the cluster.
    pub nodes_conf: Option<Vec<u8>>,
}

/// Where a node is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub addr: SocketAddr,
    /// The container that has the address.
    pub anchor: String,
}

impl Node {
    pub(super) fn setup(&self) -> MutexGuard<'_, Setup> {
        self.setup.lock().expect("no holder panics")
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.setup().place.addr
    }

    pub(super) fn anchor(&self) -> String {
        self.setup().place.anchor.clone()
    }

    /// Its address, in the engine's format.
    pub(super) fn address(&self) -> EndpointIpamConfig {
        self.setup().place.address()
    }
}

impl Place {
    pub(super) fn address(&self) -> EndpointIpamConfig {
        EndpointIpamConfig { ipv4_address: Some(self.addr.ip().to_string()), ..Default::default() }
    }

    pub(super) fn sidecar(&self) -> String {
        format!("{}-faults", self.anchor)
    }
}

impl Docker {
    /// Starts an anchor for a node. Returns its published port, if there is one.
    pub(super) async fn anchor(&self, node: &Node, place: Place) -> Result<Option<SocketAddr>, DockerError> {
        let endpoint = EndpointSettings { ipam_config: Some(place.address()), ..Default::default() };
        let (network, by_ports) = (self.network(), self.engine.by_ports);
        let body = ContainerCreateBody {
            image: Some(format!("{}:{}", self.image.0, self.image.1)),
            hostname: Some(node.server.clone()),
            entrypoint: Some(vec!["sleep".to_owned()]),
            cmd: Some(vec![u32::MAX.to_string()]),
            labels: Some(self.labels.clone()),
            exposed_ports: by_ports.then(|| vec![publish::served()]),
            host_config: Some(HostConfig {
                network_mode: Some(network.clone()),
                port_bindings: by_ports.then(publish::bindings),
                ..Default::default()
            }),
            networking_config: Some(NetworkingConfig { endpoints_config: Some([(network, endpoint)].into()) }),
            ..Default::default()
        };
        let (client, name) = (self.engine.client.clone(), place.anchor.clone());
        let made = self.run.making.to_its_end(async move {
            let options = CreateContainerOptionsBuilder::new().name(&name).build();
            client.create_container(Some(options), body).await?;
            client.start_container(&name, None::<StartContainerOptions>).await
        });
        made.await.map_err(api(format!("starting container {}", place.anchor)))?;
        if by_ports { publish::published(&self.engine, &place.anchor).await.map(Some) } else { Ok(None) }
    }

    pub(super) async fn make_volume(&self, node: &Node) -> Result<(), DockerError> {
        let volume = VolumeCreateRequest {
            name: Some(node.volume.clone()),
            labels: Some(self.labels.clone()),
            ..Default::default()
        };
        let made = self.engine.client.create_volume(volume).await;
        made.map(drop).map_err(api(format!("creating volume {}", node.volume)))
    }

    /// Starts the sidecar of an anchor.
    pub(super) async fn sidecar_at(&self, place: &Place) -> Result<Sidecar, DockerError> {
        self.sidecar(&place.sidecar(), &format!("container:{}", place.anchor)).await
    }

    pub(super) async fn sidecar(&self, name: &str, network: &str) -> Result<Sidecar, DockerError> {
        let labels = self.labels.clone();
        Sidecar::start(&self.engine.client, &self.engine.netfault_image, name, network, labels).await
    }

    /// Creates the server's container and starts it.
    pub(super) async fn create(&self, number: NodeNo, node: &Node) -> Result<(), DockerError> {
        let (setup, nodes_conf) = {
            let mut setup = node.setup();
            // It is in the volume from then on.
            let nodes_conf = setup.nodes_conf.take();
            (setup.clone(), nodes_conf)
        };
        let network = format!("container:{}", setup.place.anchor);
        let text = configuration(&setup.directives, &setup.server, setup.place.addr, self.data_dir(number));
        let binds = self.mounted.as_ref().map(|mounted| mounted.binds(number));
        let program = setup.server.path.display().to_string();
        let mut image = GenericImage::new(setup.image.0, setup.image.1);
        let mut command = vec![program.as_str(), CONFIG];
        if self.folders().is_some() {
            // The start script of official images would change to a user of its own, whose files this one cannot read.
            image = image.with_entrypoint(command.remove(0));
        }
        // The directory must belong to the server's user: the start script of official images changes the user.
        let config = CopyTargetOptions::new(CONFIG).with_mode(0o644);
        let mut request = image
            .with_container_name(&node.server)
            .with_labels(self.labels.clone())
            // A reusable container outlives its handle, so the run can remove it with everything else. Containers with
            // the same labels are shared, so this label differs between nodes.
            .with_reuse(ReuseDirective::Always)
            .with_label("slotquake.container", &node.server)
            .with_mount(Mount::volume_mount(&node.volume, DATA))
            .with_startup_timeout(real_span(STARTS_WITHIN))
            .with_copy_to(config, text.into_bytes())
            .with_cmd(command)
            // `with_network` would also create a network of that name and leave it.
            .with_host_config_modifier(move |host| {
                host.network_mode = Some(network.clone());
                host.publish_all_ports = Some(false);
                host.port_bindings = None;
                host.binds.clone_from(&binds);
            });
        if let Some(nodes_conf) = nodes_conf {
            // The server's user writes to it, whoever that is.
            let place = CopyTargetOptions::new(format!("{DATA}/{NODES_CONF}")).with_mode(0o666);
            request = request.with_copy_to(place, nodes_conf);
        }
        for (name, value) in self.mounted.iter().flat_map(|mounted| mounted.variables(number)) {
            request = request.with_env_var(name, value);
        }
        if self.folders().is_some() {
            request = request.with_user(self.engine.own_user());
        }
        let made = self.run.making.to_its_end(async move { request.start().await.map(drop) });
        made.await.map_err(|error| DockerError::Api {
            what: format!("starting container {}", node.server),
            reason: error.to_string(),
        })
    }
}

/// The place of a node whose address is the one of that index.
pub(super) fn place(node: &str, subnet: Subnet, index: usize) -> Place {
    let ip = subnet.node(index);
    let [.., last] = ip.octets();
    Place { addr: SocketAddr::from((ip, DATA_PORT)), anchor: format!("{node}-net-{last}") }
}

/// Splits an image into name and tag, as testcontainers requires. A digest counts as a tag: `name@sha256` and `...`.
pub(super) fn name_and_tag(image: &str) -> (String, String) {
    let after_host = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[after_host..].rfind(':') {
        Some(colon) => (image[..after_host + colon].to_owned(), image[after_host + colon + 1..].to_owned()),
        None => (image.to_owned(), "latest".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_an_image_into_name_and_tag() {
        for (image, name, tag) in [
            ("redis:6.2", "redis", "6.2"),
            ("valkey/valkey:9.1", "valkey/valkey", "9.1"),
            ("host:5000/own/redis", "host:5000/own/redis", "latest"),
            ("host:5000/own/redis:7", "host:5000/own/redis", "7"),
            ("redis@sha256:abc", "redis@sha256", "abc"),
        ] {
            assert_eq!(name_and_tag(image), (name.to_owned(), tag.to_owned()));
        }
    }
}
