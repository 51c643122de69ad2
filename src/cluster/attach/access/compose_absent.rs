//! Replaces `compose` in builds without the feature `docker`. Its types have no values, because there is no engine.
#![expect(clippy::unused_async, reason = "the real methods wait for an engine")]

use std::net::IpAddr;
use std::time::Duration;

use crate::cluster::ProcessState;
use crate::cluster::attach::error::AttachError;
use crate::cluster::attach::servers::discover::FoundNode;
use crate::cluster::containers::Engine;
use crate::fault::Action;
use crate::history::NodeInfo;
use crate::plan::Need;

/// A Compose project, which cannot exist in this build.
#[derive(Debug, Clone)]
pub struct ComposeProject {
    /// The engine that runs the containers.
    pub engine: Engine,
    /// The name of the project.
    pub name: String,
}

/// A project's containers, which cannot exist in this build.
#[derive(Debug)]
pub enum Compose {}

impl Compose {
    pub(crate) async fn open(project: ComposeProject) -> Result<Self, AttachError> {
        match project.engine.never {}
    }

    pub(crate) fn seeds(&self) -> Result<Vec<String>, AttachError> {
        match *self {}
    }

    pub(crate) fn name_at(&self, _ip: IpAddr) -> Option<String> {
        match *self {}
    }

    pub(crate) fn project(&self) -> &str {
        match *self {}
    }

    pub(crate) fn fits(&self, _nodes: &[FoundNode]) -> Result<(), AttachError> {
        match *self {}
    }

    pub(crate) fn lacks(&self, _need: Need) -> Option<String> {
        match *self {}
    }

    pub(crate) fn links_obstacle(&self, _nodes: &[FoundNode]) -> Option<String> {
        match *self {}
    }

    pub(crate) async fn act(&self, _action: Action, _node: &NodeInfo) -> Result<(), AttachError> {
        match *self {}
    }

    pub(crate) async fn state(&self, _node: &NodeInfo) -> ProcessState {
        match *self {}
    }

    pub(crate) async fn waited(&self, _node: &NodeInfo) -> Option<(u32, Duration)> {
        match *self {}
    }

    pub(crate) async fn log(&self, _node: &NodeInfo, _lines: Option<usize>) -> Option<String> {
        match *self {}
    }
}
