//! Errors of the container engine.

use testcontainers::bollard::errors::Error;

use crate::cluster::BackendError;
use crate::network::NetworkError;

/// Why a request to the container engine failed.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No engine answers.
    #[error("no container engine answers: {reason} (hint: install Docker and start it, or set DOCKER_HOST)")]
    Absent {
        /// What was tried.
        reason: String,
    },
    /// It answers others only.
    #[error(
        "the container engine lets this user do nothing: {reason} (hint: `sudo usermod -aG docker $USER` and log in again)"
    )]
    NotPermitted {
        /// What it said.
        reason: String,
    },
    /// It lacks what is needed.
    #[error("the container engine speaks API {api_version}, and 1.41 is needed (hint: Docker 20.10 or newer)")]
    TooOld {
        /// What it speaks.
        api_version: String,
    },
    /// Containers' addresses lead nowhere from here.
    #[error(
        "containers of this engine cannot be reached by their addresses: {reason} (hint: --reach ports, or Docker on Linux as a system service)"
    )]
    Unreachable {
        /// Why.
        reason: String,
    },
    /// What was asked for is in no image.
    #[error("`{asked}` cannot run in a container: {reason} (hint: `--server redis:6.2`, or any --image)")]
    Asked {
        /// As typed.
        asked: String,
        /// Why.
        reason: String,
    },
    /// It is not here, and no registry gave it.
    #[error(
        "image `{image}` is not here, and pulling it failed: {reason} (hint: `docker load` it, name another with --image, \
         or, in slotquake's source, build a small one with `ci/images`)"
    )]
    NoImage {
        /// Its name.
        image: String,
        /// What the engine said.
        reason: String,
    },
    /// It is not what was asked for.
    #[error("image `{image}`: {reason}")]
    Image {
        /// Its name.
        image: String,
        /// What is wrong.
        reason: String,
    },
    /// No addresses for a network.
    #[error(
        "no subnet is free for the cluster's network, of 10.213.0.0/23 and the {tried} that follow: {reason} (hint: `slotquake gc`, `docker network prune`)"
    )]
    Subnets {
        /// How many were tried.
        tried: usize,
        /// What the engine said last.
        reason: String,
    },
    /// More nodes or clients than a network has addresses.
    #[error("{count} {what} are more than the {most} that fit into a network of containers")]
    TooMany {
        /// Nodes or clients.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many fit.
        most: usize,
    },
    /// A sidecar could not do its part.
    #[error("sidecar {name}: {reason}")]
    Sidecar {
        /// Its container.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// Something of a run is still there.
    #[error("{what}")]
    Leftover {
        /// What, why, and what helps.
        what: String,
    },
    /// Anything else.
    #[error("{what}: {reason}")]
    Api {
        /// What was tried.
        what: String,
        /// What the engine said.
        reason: String,
    },
}

pub(in crate::cluster) fn api(what: impl Into<String>) -> impl FnOnce(Error) -> DockerError {
    let what = what.into();
    move |error| DockerError::Api { what, reason: error.to_string() }
}

impl From<DockerError> for BackendError {
    fn from(error: DockerError) -> Self {
        Self::Specific { message: error.to_string(), is_usage: false }
    }
}

impl From<DockerError> for NetworkError {
    fn from(error: DockerError) -> Self {
        Self::Container(error.to_string())
    }
}
