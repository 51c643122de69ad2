//! Published ports of 127.0.0.1, for engines whose containers cannot be reached by address.

use std::net::{Ipv4Addr, SocketAddr};

use testcontainers::bollard::models::{PortBinding, PortMap};
use testcontainers::bollard::query_parameters::InspectContainerOptions;

use crate::cluster::containers::{DockerError, Engine, api};
use crate::network::rules::DATA_PORT;

/// The client port of nodes, in the engine's format.
pub(super) fn served() -> String {
    format!("{DATA_PORT}/tcp")
}

/// Publishes the client port at a free port of 127.0.0.1, as long as the container runs.
pub(super) fn bindings() -> PortMap {
    let free = PortBinding { host_ip: Some(Ipv4Addr::LOCALHOST.to_string()), host_port: None };
    [(served(), Some(vec![free]))].into()
}

/// The address at which the engine published a running container's client port.
pub(super) async fn published(engine: &Engine, container: &str) -> Result<SocketAddr, DockerError> {
    let what = || format!("the published port of container {container}");
    let found =
        engine.client.inspect_container(container, None::<InspectContainerOptions>).await.map_err(api(what()))?;
    let ports = found.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
    let bindings = ports.get(&served()).and_then(Option::as_deref).unwrap_or_default();
    let port = bindings.iter().find_map(|binding| binding.host_port.as_deref()?.parse::<u16>().ok());
    let missing = || DockerError::Api { what: what(), reason: "the engine reports none".to_owned() };
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port.ok_or_else(missing)?)))
}
