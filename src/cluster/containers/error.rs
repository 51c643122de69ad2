//! Errors of the container engine.

use testcontainers::bollard::errors::Error;

use crate::cluster::BackendError;
use crate::network::NetworkError;
use crate::speed::Speed;

/// Why a request to the container engine failed.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No engine answers.
    #[error("no container engine answers{at}: {reason} (hint: install Docker and start it, or set DOCKER_HOST)")]
    Absent {
        /// Where it was looked for, in words. Empty where nobody said.
        at: String,
        /// The error of each attempt.
        reason: String,
    },
    /// The engine does not permit this user to use it.
    #[error(
        "this user may not use the container engine: {reason} (hint: `sudo usermod -aG docker $USER` and log in again)"
    )]
    NotPermitted {
        /// The error of the connection.
        reason: String,
    },
    /// The engine is too old.
    #[error("the container engine has API {api_version}, but 1.41 is required (hint: use Docker 20.10 or newer)")]
    TooOld {
        /// The version of its API.
        api_version: String,
    },
    /// Containers' addresses are not reachable from this machine.
    #[error(
        "containers of this engine cannot be reached by their addresses: {reason} (hint: use `--reach ports`, or Docker on Linux as a system service)"
    )]
    Unreachable {
        /// The reason.
        reason: String,
    },
    /// No image contains the requested server.
    #[error("`{asked}` cannot run in a container: {reason} (hint: use `--server redis:6.2`, or any `--image`)")]
    Asked {
        /// The server, as typed.
        asked: String,
        /// The reason.
        reason: String,
    },
    /// The image is not on this machine, and pulling it failed.
    #[error(
        "image `{image}` is not on this machine, and pulling it failed: {reason} (hint: load it with `docker load`, choose \
         another with `--image`, or build a small one with `ci/images` in slotquake's source)"
    )]
    NoImage {
        /// The name of the image.
        image: String,
        /// The engine's error.
        reason: String,
    },
    /// The image contains another server than the requested one.
    #[error("image `{image}`: {reason}")]
    Image {
        /// The name of the image.
        image: String,
        /// The difference.
        reason: String,
    },
    /// The servers cannot live at the speed of this process.
    #[error("`--speed {speed}` is not possible: {reason}")]
    Speed {
        /// The speed.
        speed: Speed,
        /// Why not, with a hint.
        reason: String,
    },
    /// No subnet is free for a network.
    #[error(
        "no subnet is free for the cluster's network; {tried} tried from 10.213.0.0/23 on: {reason} (hint: run `slotquake gc` or `docker network prune`)"
    )]
    Subnets {
        /// The number of subnets tried.
        tried: usize,
        /// The engine's last error.
        reason: String,
    },
    /// The plan has more nodes or clients than a network has addresses.
    #[error("{count} {what} exceed the limit of {most} in a network of containers")]
    TooMany {
        /// `nodes` or `clients`.
        what: &'static str,
        /// Their number.
        count: usize,
        /// The limit.
        most: usize,
    },
    /// A sidecar failed.
    #[error("sidecar {name}: {reason}")]
    Sidecar {
        /// The name of its container.
        name: String,
        /// The error.
        reason: String,
    },
    /// Containers, networks or volumes of a run are left.
    #[error("{what}")]
    Leftover {
        /// Their names, the reason and a hint.
        what: String,
    },
    /// Any other request that failed.
    #[error("{what}: {reason}")]
    Api {
        /// The request.
        what: String,
        /// The engine's error.
        reason: String,
    },
}

impl DockerError {
    /// Whether the user must change the command line.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Asked { .. } | Self::Image { .. } | Self::Speed { .. } | Self::TooMany { .. } => true,
            Self::Absent { .. }
            | Self::NotPermitted { .. }
            | Self::TooOld { .. }
            | Self::Unreachable { .. }
            | Self::NoImage { .. }
            | Self::Subnets { .. }
            | Self::Sidecar { .. }
            | Self::Leftover { .. }
            | Self::Api { .. } => false,
        }
    }
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
