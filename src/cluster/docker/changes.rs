//! Servers that come back different: the container of a server that is down is removed, and the next start creates one with
//! another image or configuration. Data that is lost is lost with its volume, and another address comes with another anchor.

use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, RemoveContainerOptions, RemoveVolumeOptions,
};

use super::nodes::{Place, name_and_tag, place};
use super::subnet::MAX_NODES;
use super::{DATA, Docker, NODES_CONF, archive};
use crate::cluster::containers::api;
use crate::cluster::{Backend, BackendError, ProcessState};
use crate::server::Server;
use crate::suite::{Address, Change, Data};
use crate::units::NodeNo;

impl Docker {
    pub(super) async fn change_node(
        &self,
        node: NodeNo,
        change: &Change,
        server: Option<&Server>,
    ) -> Result<String, BackendError> {
        if matches!(self.state(node).await, ProcessState::Running { .. } | ProcessState::Paused { .. }) {
            return Err(BackendError::AlreadyRunning(node));
        }
        let image = match server {
            None => None,
            Some(server) => Some(name_and_tag(&self.engine.image_of(&server.asked)?)),
        };
        let lost = match (change.data, self.folders()) {
            (Data::Kept, _) | (_, Some(_)) => None,
            (Data::Lost | Data::AllLost, None) => Some(self.data_of(node).await?),
        };
        self.set_aside(node).await?;
        let done = match (lost, self.folders()) {
            (Some(archive), _) => self.lose_data(node, &archive, change.data).await?,
            (None, Some(folders)) => folders.lose(node, change.data)?,
            (None, None) => String::new(),
        };
        let place = match change.address {
            Address::Kept => None,
            Address::New => Some(self.another_place(node).await?),
        };
        let own = self.node(node);
        let mut setup = own.setup();
        *own.before.lock().expect("no holder panics") = Some(setup.clone());
        if let Some(place) = place {
            setup.place = place;
        }
        setup.directives.extend(change.config.clone());
        if let (Some(server), Some(image)) = (server, image) {
            (setup.server, setup.image) = (server.clone(), image);
        }
        Ok(done)
    }

    /// A place that no node had yet, with an anchor of its own. The former anchor stays: nobody else gets that address, and it
    /// refuses connections.
    async fn another_place(&self, node: NodeNo) -> Result<Place, BackendError> {
        let index = self.addresses.fetch_add(1, Ordering::Relaxed);
        if index >= MAX_NODES {
            let reason = format!("all {MAX_NODES} addresses of nodes in {} were used in this run", self.subnet);
            return Err(BackendError::NoOtherAddress { node, reason });
        }
        let own = self.node(node);
        let place = place(&own.server, self.subnet, index);
        self.anchor(own, place.clone()).await?;
        if let Some(links) = &self.links {
            links.add(place.addr.ip(), self.sidecar_at(&place).await?);
        }
        Ok(place)
    }

    /// The archive of a node's data; empty if its server never ran.
    async fn data_of(&self, node: NodeNo) -> Result<Vec<u8>, BackendError> {
        let own = self.node(node);
        let mut bytes = Vec::new();
        if !own.created.load(Ordering::Relaxed) {
            return Ok(bytes);
        }
        let options = DownloadFromContainerOptionsBuilder::default().path(DATA).build();
        let mut archive = Box::pin(self.engine.client.download_from_container(&own.server, Some(options)));
        while let Some(part) = archive.next().await {
            bytes.extend_from_slice(&part.map_err(api(format!("reading the data of {node}")))?);
        }
        Ok(bytes)
    }

    /// Removes the container of a server that is down. Its log and how it ended are kept.
    pub(super) async fn set_aside(&self, node: NodeNo) -> Result<(), BackendError> {
        let own = self.node(node);
        if !own.created.load(Ordering::Relaxed) {
            return Ok(());
        }
        let ended = self.engine.ended(&own.server).await;
        self.save_log(node, own).await;
        let options = RemoveContainerOptions { force: true, ..Default::default() };
        match self.engine.client.remove_container(&own.server, Some(options)).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
            Err(error) => return Err(api(format!("removing container {}", own.server))(error).into()),
        }
        *own.ended.lock().expect("no holder panics") = ended;
        own.created.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Replaces the volume of a node by an empty one, in which the next start finds `nodes.conf` alone, or nothing if all is
    /// lost. Returns what was removed, in words.
    async fn lose_data(&self, node: NodeNo, archive: &[u8], data: Data) -> Result<String, BackendError> {
        let own = self.node(node);
        let files = archive::files(archive);
        let keeps_identity = match data {
            Data::Kept | Data::Lost => true,
            Data::AllLost => false,
        };
        let is_kept = |path: &str| keeps_identity && path.ends_with(&format!("/{NODES_CONF}"));
        let nodes_conf = files.iter().find(|file| is_kept(file.path));
        if keeps_identity && nodes_conf.is_none() && !archive.is_empty() {
            let message = format!("the data of {node} has no {NODES_CONF}, without which it would be another node");
            return Err(BackendError::Specific { message, is_usage: false });
        }
        let options = RemoveVolumeOptions { force: false };
        let removed = self.engine.client.remove_volume(&own.volume, Some(options)).await;
        removed.map_err(api(format!("removing volume {}", own.volume)))?;
        self.make_volume(own).await?;
        own.setup().nodes_conf = nodes_conf.map(|file| file.bytes.to_owned());
        let removed = archive::words_without(&files, keeps_identity.then_some(NODES_CONF));
        Ok(if removed.is_empty() {
            "there were no data files".to_owned()
        } else {
            format!("removed {}", removed.join(", "))
        })
    }
}
