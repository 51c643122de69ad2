//! Replaces `compose` in builds without the feature `docker`. Its types have no values.
#![expect(clippy::unused_async, reason = "the others of these names wait for an engine")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::discover::FoundNode;
use super::error::AttachError;
use crate::cluster::ProcessState;
use crate::fault::Action;
use crate::history::NodeInfo;
use crate::network::knock::{Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::plan::Need;
use crate::units::NodeNo;

/// A Compose project, which cannot exist in this build.
#[derive(Debug, Clone)]
pub enum ComposeProject {}

/// A project's containers, which cannot exist in this build.
#[derive(Debug)]
pub enum Compose {}

/// Sidecars, which cannot exist in this build.
#[derive(Debug)]
pub(super) enum Sidecars {}

impl Compose {
    pub(super) async fn open(project: ComposeProject) -> Result<Self, AttachError> {
        match project {}
    }

    pub(super) fn seeds(&self) -> Result<Vec<String>, AttachError> {
        match *self {}
    }

    pub(super) fn name_at(&self, _ip: IpAddr) -> Option<String> {
        match *self {}
    }

    pub(super) fn project(&self) -> &str {
        match *self {}
    }

    pub(super) fn fits(&self, _nodes: &[FoundNode]) -> Result<(), AttachError> {
        match *self {}
    }

    pub(super) fn lacks(&self, _need: Need) -> Option<String> {
        match *self {}
    }

    pub(super) fn links_obstacle(&self, _nodes: &[FoundNode]) -> Option<String> {
        match *self {}
    }

    pub(super) async fn act(&self, _action: Action, _node: &NodeInfo) -> Result<(), AttachError> {
        match *self {}
    }

    pub(super) async fn state(&self, _node: &NodeInfo) -> ProcessState {
        match *self {}
    }

    pub(super) async fn log(&self, _node: &NodeInfo, _lines: Option<usize>) -> Option<String> {
        match *self {}
    }
}

impl Sidecars {
    pub async fn start(compose: Arc<Compose>, _nodes: &[NodeInfo], _run: String) -> Result<Self, AttachError> {
        match *compose {}
    }

    pub async fn impose(&self, _rule: Rule) -> Result<(), NetworkError> {
        match *self {}
    }

    pub async fn counts(&self, _name: &str) -> Result<Counts, NetworkError> {
        match *self {}
    }

    pub async fn lift(&self, _name: &str) -> Result<(), NetworkError> {
        match *self {}
    }

    pub fn can_knock_from(&self, _ip: Ipv4Addr) -> bool {
        match *self {}
    }

    pub async fn knock(&self, _knocks: &[Knock], _within: Duration) -> Vec<Heard> {
        match *self {}
    }

    pub async fn fill(&self, _knock: Knock, _bytes: u64) {
        match *self {}
    }

    pub fn leave(&self, _node: NodeNo) {
        match *self {}
    }

    pub async fn come_back(&self, _node: &NodeInfo) -> Result<(), AttachError> {
        match *self {}
    }

    pub async fn clear(&self) -> Vec<String> {
        match *self {}
    }
}
