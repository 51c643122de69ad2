//! Replaces `docker` in builds without the feature of that name, so that its callers are the same in both. Its type has no
//! values, because there is no engine.
#![expect(clippy::unused_async, reason = "the real functions wait for an engine")]

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

pub use super::containers::{Collected, DockerError, Engine};
use super::{Backend, BackendError, ProcessState};
use crate::fault::Action;
use crate::network::knock::{Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::plan::Plan;
use crate::server::{BackendKind, Server};
use crate::units::{ClientNo, NodeNo};

/// Whether this build can run containers: it lacks the feature `docker`.
pub const IS_BUILT_IN: bool = false;

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
