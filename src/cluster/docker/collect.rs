//! Removing what runs left in an engine: one run's, or every dead owner's. Only what carries our labels.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use futures_util::future::join_all;
use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::{
    ListContainersOptions, ListNetworksOptions, ListVolumesOptions, RemoveContainerOptions, RemoveVolumeOptions,
};

use super::owner::{Owner, RUN_LABEL, Standing, TOOL, TOOL_LABEL, standing};

/// What was removed, and what was let be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Containers, by name.
    pub containers: Vec<String>,
    /// Networks, by name.
    pub networks: Vec<String>,
    /// Volumes, by name.
    pub volumes: Vec<String>,
    /// Runs whose owner lives.
    pub alive: BTreeSet<String>,
    /// Runs whose owner cannot be looked for from here.
    pub unknown: BTreeSet<String>,
    /// What could not be removed, and why.
    pub failed: Vec<String>,
}

impl Collected {
    /// Whether anything was removed.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.networks.is_empty() && self.volumes.is_empty()
    }
}

impl fmt::Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (containers, networks, volumes) = (self.containers.len(), self.networks.len(), self.volumes.len());
        write!(f, "{containers} containers, {networks} networks, {volumes} volumes")
    }
}

type Labels = HashMap<String, String>;

/// Removes everything whose owner is dead.
pub async fn dead(docker: &Docker) -> Result<Collected, testcontainers::bollard::errors::Error> {
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

/// Removes everything of this process.
pub async fn own(docker: &Docker) -> Result<Collected, testcontainers::bollard::errors::Error> {
    let mut collected = Collected::default();
    let this = Owner::this_process();
    let chosen = |labels: &Labels, _: &mut Collected| Owner::from_labels(labels).as_ref() == Some(&this);
    remove(docker, &mut collected, &format!("{TOOL_LABEL}={TOOL}"), chosen).await?;
    Ok(collected)
}

/// Removes everything of one run.
pub async fn run(docker: &Docker, run: &str) -> Result<Collected, testcontainers::bollard::errors::Error> {
    let mut collected = Collected::default();
    remove(docker, &mut collected, &format!("{RUN_LABEL}={run}"), |_, _| true).await?;
    Ok(collected)
}

async fn remove(
    docker: &Docker,
    collected: &mut Collected,
    label: &str,
    chosen: impl Fn(&Labels, &mut Collected) -> bool,
) -> Result<(), testcontainers::bollard::errors::Error> {
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
    // The volumes of an image's own VOLUME lines go with their container.
    let force = || Some(RemoveContainerOptions { force: true, v: true, ..Default::default() });
    let removed = join_all(wanted.iter().map(|(id, _)| docker.remove_container(id, force()))).await;
    sort(wanted.into_iter().map(|(_, name)| name).zip(removed), &mut collected.containers, &mut collected.failed);

    let mut wanted = Vec::new();
    for network in docker.list_networks(Some(ListNetworksOptions { filters: Some(filters.clone()) })).await? {
        if let (Some(id), Some(name), Some(labels)) = (network.id, network.name, network.labels)
            && chosen(&labels, collected)
        {
            wanted.push((id, name));
        }
    }
    let removed = join_all(wanted.iter().map(|(id, _)| docker.remove_network(id))).await;
    sort(wanted.into_iter().map(|(_, name)| name).zip(removed), &mut collected.networks, &mut collected.failed);

    let mut wanted = Vec::new();
    let volumes = docker.list_volumes(Some(ListVolumesOptions { filters: Some(filters) })).await?;
    for volume in volumes.volumes.unwrap_or_default() {
        if chosen(&volume.labels, collected) {
            wanted.push(volume.name);
        }
    }
    let force = || Some(RemoveVolumeOptions { force: true });
    let removed = join_all(wanted.iter().map(|name| docker.remove_volume(name, force()))).await;
    sort(wanted.into_iter().zip(removed), &mut collected.volumes, &mut collected.failed);
    Ok(())
}

fn sort(
    results: impl Iterator<Item = (String, Result<(), testcontainers::bollard::errors::Error>)>,
    done: &mut Vec<String>,
    failed: &mut Vec<String>,
) {
    use testcontainers::bollard::errors::Error::DockerResponseServerError;
    for (name, result) in results {
        match result {
            // Somebody else is at it, or was: two collectors may meet.
            Ok(()) | Err(DockerResponseServerError { status_code: 404, .. }) => done.push(name),
            Err(DockerResponseServerError { status_code: 409, message }) if message.contains("already in progress") => {
                done.push(name);
            }
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
}
