//! Removes what one run, or every dead harness, left in an engine. Removes only what has slotquake's labels.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use futures_util::future::join_all;
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::NetworkDisconnectRequest;
use testcontainers::bollard::query_parameters::{
    InspectContainerOptions, InspectNetworkOptions, ListContainersOptions, ListNetworksOptions, ListVolumesOptions,
    RemoveContainerOptions, RemoveVolumeOptions,
};
use tokio::time::{Instant, sleep};

use super::owner::{Owner, RUN_LABEL, Standing, TOOL, TOOL_LABEL, standing};
use crate::speed::real_span;

/// How long to retry a removal that failed. What the first tries take of a busy engine does not count.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same if no container was removed: the engine then has nothing to finish, and may never release them.
const PATIENCE_IDLE: Duration = Duration::from_secs(1);

/// The pause before the first retry. Each pause is twice as long as the previous one.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What was removed, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Containers, by name.
    pub containers: Vec<String>,
    /// Networks, by name.
    pub networks: Vec<String>,
    /// Volumes, by name.
    pub volumes: Vec<String>,
    /// Runs whose harness is running.
    pub alive: BTreeSet<String>,
    /// Runs whose harness is on another system, so its state is unknown.
    pub unknown: BTreeSet<String>,
    /// What could not be removed, and why.
    pub failed: Vec<String>,
    /// Networks that the engine refuses to remove although it lists no connected container.
    pub stuck: Vec<String>,
}

impl Collected {
    /// Whether anything was removed.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.networks.is_empty() && self.volumes.is_empty()
    }

    /// What is left, with the reason and a hint. None if nothing is left.
    pub fn leftover(&self) -> Option<String> {
        let mut said = Vec::new();
        if !self.failed.is_empty() {
            said.push(format!(
                "could not be removed: {} (hint: run `slotquake gc` to try again)",
                self.failed.join("; ")
            ));
        }
        if !self.stuck.is_empty() {
            said.push(format!(
                "the engine does not release {}, although it lists no connected container (hint: restart the engine, then run \
                 `slotquake gc`; other runs are not affected)",
                self.stuck.join(", ")
            ));
        }
        (!said.is_empty()).then(|| said.join("; "))
    }
}

impl fmt::Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (containers, networks, volumes) = (self.containers.len(), self.networks.len(), self.volumes.len());
        write!(f, "{containers} containers, {networks} networks, {volumes} volumes")
    }
}

type Labels = HashMap<String, String>;

/// Removes everything whose harness is dead.
pub async fn dead(docker: &Docker) -> Result<Collected, Error> {
    let mut collected = Collected::default();
    let chosen = |labels: &Labels, collected: &mut Collected| {
        let run = labels.get(RUN_LABEL).cloned().unwrap_or_default();
        match standing(labels) {
            Standing::Dead => return true,
            Standing::Alive => collected.alive.insert(run),
            Standing::Unknown => collected.unknown.insert(run),
        };
        false
    };
    remove(docker, &mut collected, &format!("{TOOL_LABEL}={TOOL}"), chosen).await?;
    Ok(collected)
}

/// Removes everything that this process created.
pub async fn own(docker: &Docker) -> Result<Collected, Error> {
    let mut collected = Collected::default();
    let this = Owner::this_process();
    let chosen = |labels: &Labels, _: &mut Collected| Owner::from_labels(labels).as_ref() == Some(&this);
    remove(docker, &mut collected, &format!("{TOOL_LABEL}={TOOL}"), chosen).await?;
    Ok(collected)
}

/// Removes everything that one run created.
pub async fn run(docker: &Docker, run: &str) -> Result<Collected, Error> {
    let mut collected = Collected::default();
    remove(docker, &mut collected, &format!("{RUN_LABEL}={run}"), |_, _| true).await?;
    Ok(collected)
}

async fn remove(
    docker: &Docker,
    collected: &mut Collected,
    label: &str,
    chosen: impl Fn(&Labels, &mut Collected) -> bool,
) -> Result<(), Error> {
    let filters: HashMap<String, Vec<String>> = [("label".to_owned(), vec![label.to_owned()])].into();
    let all = ListContainersOptions { all: true, filters: Some(filters.clone()), ..Default::default() };
    let mut wanted = Vec::new();
    for container in docker.list_containers(Some(all)).await? {
        let (Some(id), Some(labels)) = (container.id, container.labels) else { continue };
        if chosen(&labels, collected) {
            let name = container.names.and_then(|names| names.into_iter().next()).unwrap_or_else(|| id.clone());
            wanted.push((id, name.trim_start_matches('/').to_owned()));
        }
    }
    // Without removed containers, removing succeeds at once or never.
    let patience = if wanted.is_empty() { PATIENCE_IDLE } else { PATIENCE };
    let removed = join_all(wanted.iter().map(|(id, _)| async move {
        again(remove_container(docker, id).await, patience, || remove_container(docker, id)).await
    }))
    .await;
    for ((_, name), removed) in wanted.iter().zip(removed) {
        note(name, removed, &mut collected.containers, &mut collected.failed);
    }

    let mut wanted = Vec::new();
    for network in docker.list_networks(Some(ListNetworksOptions { filters: Some(filters.clone()) })).await? {
        if let (Some(id), Some(name), Some(labels)) = (network.id, network.name, network.labels)
            && chosen(&labels, collected)
        {
            wanted.push((id, name));
        }
    }
    let removed = join_all(wanted.iter().map(|(id, _)| async move {
        again(gone(docker.remove_network(id).await), patience, || free_and_remove_network(docker, id)).await
    }))
    .await;
    for ((id, name), removed) in wanted.iter().zip(removed) {
        if removed.as_ref().is_err_and(is_in_use) && endpoints(docker, id).await.is_ok_and(|listed| listed.is_empty()) {
            collected.stuck.push(format!("network {name}"));
        } else {
            note(name, removed, &mut collected.networks, &mut collected.failed);
        }
    }

    let mut wanted = Vec::new();
    let volumes = docker.list_volumes(Some(ListVolumesOptions { filters: Some(filters) })).await?;
    for volume in volumes.volumes.unwrap_or_default() {
        if chosen(&volume.labels, collected) {
            wanted.push(volume.name);
        }
    }
    let removed = join_all(wanted.iter().map(|name| async move {
        let remove = || async { gone(docker.remove_volume(name, Some(RemoveVolumeOptions { force: true })).await) };
        again(remove().await, patience, remove).await
    }))
    .await;
    for (name, removed) in wanted.iter().zip(removed) {
        note(name, removed, &mut collected.volumes, &mut collected.failed);
    }
    Ok(())
}

fn note(name: &str, removed: Result<(), Error>, done: &mut Vec<String>, failed: &mut Vec<String>) {
    match removed {
        Ok(()) => done.push(name.to_owned()),
        Err(error) => failed.push(format!("{name}: {error}")),
    }
}

fn is_in_use(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { message, .. } if message.contains("active endpoints"))
}

/// Unless the first try succeeded, retries at growing intervals until it succeeds or the time is up.
async fn again<F: Future<Output = Result<(), Error>>>(
    mut removed: Result<(), Error>,
    patience: Duration,
    remove: impl Fn() -> F,
) -> Result<(), Error> {
    let until = Instant::now() + real_span(patience);
    let mut pause = RETRY_AFTER;
    while removed.is_err() && Instant::now() + pause < until {
        sleep(pause).await;
        removed = remove().await;
        pause *= 2;
    }
    removed
}

async fn remove_container(docker: &Docker, id: &str) -> Result<(), Error> {
    // The engine removes the volumes of an image's VOLUME lines together with their container.
    let force = RemoveContainerOptions { force: true, v: true, ..Default::default() };
    gone(docker.remove_container(id, Some(force)).await)
}

/// Removes a network to which a container is still connected: one that is being removed, or one that the engine has lost
/// track of. A container that is not slotquake's keeps its network.
async fn free_and_remove_network(docker: &Docker, id: &str) -> Result<(), Error> {
    for container in endpoints(docker, id).await? {
        let inspected = docker.inspect_container(&container, None::<InspectContainerOptions>).await;
        let is_foreign = inspected.is_ok_and(|found| {
            let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
            labels.get(TOOL_LABEL).is_none_or(|tool| tool != TOOL)
        });
        if !is_foreign {
            let request = NetworkDisconnectRequest { container, force: Some(true) };
            // The removal shows whether it worked.
            let _ = docker.disconnect_network(id, request).await;
        }
    }
    gone(docker.remove_network(id).await)
}

/// The containers that a network says are connected to it.
async fn endpoints(docker: &Docker, network: &str) -> Result<Vec<String>, Error> {
    let network = docker.inspect_network(network, None::<InspectNetworkOptions>).await?;
    Ok(network
        .containers
        .unwrap_or_default()
        .into_iter()
        .map(|(container, endpoint)| {
            // The engine names lost endpoints `ep-...`, and accepts these names.
            if container.starts_with("ep-") { endpoint.name.unwrap_or(container) } else { container }
        })
        .collect())
}

/// An item that no longer exists counts as removed: two harnesses may remove it at the same time.
fn gone(removed: Result<(), Error>) -> Result<(), Error> {
    match removed {
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        other => other,
    }
}
