//! Servers that come back different: the container of a server that is down is removed, and the next start creates one with
//! another image or configuration, at the same address. Data that is lost is lost with its volume.

use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, RemoveContainerOptions, RemoveVolumeOptions,
};

use super::{DATA, Docker, NODES_CONF, archive, name_and_tag};
use crate::cluster::containers::api;
use crate::cluster::{Backend, BackendError, ProcessState};
use crate::server::Server;
use crate::suite::{Change, Data};
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
        let kept = match change.data {
            Data::Kept => None,
            Data::Lost | Data::AllLost => Some(self.data_of(node).await?),
        };
        self.set_aside(node).await?;
        let done = match kept {
            None => String::new(),
            Some(archive) => self.lose_data(node, &archive, change.data).await?,
        };
        let mut setup = self.node(node).setup();
        setup.directives.extend(change.config.clone());
        if let (Some(server), Some(image)) = (server, image) {
            (setup.server, setup.image) = (server.clone(), image);
        }
        Ok(done)
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
    async fn set_aside(&self, node: NodeNo) -> Result<(), BackendError> {
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
