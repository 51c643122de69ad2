//! Replaces `containers` in builds without the feature `docker`, so that its callers are the same in both. Connecting to an
//! engine fails, and no other value exists.
#![expect(clippy::unused_async, reason = "the real functions wait for an engine")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;

use super::{BackendError, Reach};
use crate::plan::Need;
use crate::server::Server;

/// Why no engine is available.
#[derive(Debug, thiserror::Error)]
#[error(
    "this program was built without support for containers (hint: build it with `--features docker`, or use \
     `--backend local`)"
)]
pub struct DockerError;

impl DockerError {
    /// Whether the user must change the command line.
    pub fn is_usage(&self) -> bool {
        true
    }
}

impl From<DockerError> for BackendError {
    fn from(error: DockerError) -> Self {
        Self::Specific { message: error.to_string(), is_usage: true }
    }
}

/// A container engine, which no build without the feature can reach.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(in crate::cluster) never: Infallible,
}

impl Engine {
    /// Fails, because this build has no support for containers.
    pub async fn connect(_image: Option<String>, _netfault_image: Option<String>) -> Result<Self, DockerError> {
        Err(DockerError)
    }

    /// Cannot be called.
    pub fn reached_by(self, _reach: Reach) -> Result<Self, DockerError> {
        match self.never {}
    }

    /// Cannot be called.
    pub async fn collect_dead(&self) -> Result<Collected, DockerError> {
        match self.never {}
    }

    /// Cannot be called.
    pub async fn collect_own(&self) -> Result<Collected, DockerError> {
        match self.never {}
    }

    /// Cannot be called.
    pub async fn server(&self, _asked: &str, _notice: &dyn Fn(&str)) -> Result<Server, DockerError> {
        match self.never {}
    }

    /// Cannot be called.
    pub async fn library_obstacle(&self, _server: &Server, _need: Need) -> Option<String> {
        match self.never {}
    }

    /// Cannot be called.
    pub fn given_image(&self) -> Option<&str> {
        match self.never {}
    }

    /// Cannot be called.
    pub fn files_obstacle(&self) -> Option<String> {
        match self.never {}
    }

    /// Cannot be called.
    pub fn addresses_obstacle(&self) -> Option<String> {
        match self.never {}
    }

    /// Cannot be called.
    pub async fn network_obstacle(&self) -> Option<String> {
        match self.never {}
    }

    /// Cannot be called.
    pub fn clients_obstacle(&self) -> Option<String> {
        match self.never {}
    }
}

/// What an engine removed, which no build without the feature can have.
#[derive(Debug, Clone)]
pub struct Collected {
    /// Names of containers.
    pub containers: Vec<String>,
    /// Names of networks.
    pub networks: Vec<String>,
    /// Names of volumes.
    pub volumes: Vec<String>,
    /// Active runs.
    pub alive: BTreeSet<String>,
    /// Runs whose state is unknown.
    pub unknown: BTreeSet<String>,
    /// Failures to remove.
    pub failed: Vec<String>,
    never: Infallible,
}

impl Collected {
    /// Cannot be called.
    pub fn is_empty(&self) -> bool {
        match self.never {}
    }

    /// Cannot be called.
    pub fn leftover(&self) -> Option<String> {
        match self.never {}
    }
}

impl fmt::Display for Collected {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.never {}
    }
}
