//! Replaces `docker` in builds without the feature of that name, so that its callers are the same in both. Connecting to
//! an engine fails, and no other value exists.
#![expect(clippy::unused_async, reason = "the real functions wait for an engine")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::{Backend, BackendError, ProcessState, Reach};
use crate::fault::Action;
use crate::network::knock::{Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::plan::Plan;
use crate::server::{BackendKind, Server};
use crate::units::{ClientNo, NodeNo};

/// Whether this build can run containers: it lacks the feature `docker`.
pub const IS_BUILT_IN: bool = false;

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

/// A cluster of containers, which no build without the feature can have.
#[derive(Debug)]
pub struct Docker {
    never: Infallible,
}

impl Docker {
    /// Cannot be called.
    pub async fn prepare(
        engine: &Engine,
        _plan: &Plan,
        _server: &Server,
        _folder: &Path,
        _keep: bool,
    ) -> Result<Self, BackendError> {
        match engine.never {}
    }
}

impl Backend for Docker {
    const KIND: BackendKind = BackendKind::Docker;

    fn size(&self) -> usize {
        match self.never {}
    }

    fn addr(&self, _node: NodeNo) -> SocketAddr {
        match self.never {}
    }

    fn client_ip(&self, _client: ClientNo) -> Option<IpAddr> {
        match self.never {}
    }

    async fn act(&self, _node: NodeNo, _action: Action) -> Result<(), BackendError> {
        match self.never {}
    }

    async fn state(&self, _node: NodeNo) -> ProcessState {
        match self.never {}
    }

    async fn log_tail(&self, _node: NodeNo, _lines: usize) -> String {
        match self.never {}
    }

    async fn impose(&self, _rule: Rule) -> Result<(), NetworkError> {
        match self.never {}
    }

    async fn counts(&self, _name: &str) -> Result<Counts, NetworkError> {
        match self.never {}
    }

    async fn lift(&self, _name: &str) -> Result<(), NetworkError> {
        match self.never {}
    }

    async fn knock(&self, _knocks: &[Knock], _within: Duration) -> Vec<Heard> {
        match self.never {}
    }

    async fn fill(&self, _knock: Knock, _bytes: u64) {
        match self.never {}
    }

    async fn tear_down(&self) -> Result<(), BackendError> {
        match self.never {}
    }
}
