//! Replaces `sidecars` in builds without the feature `docker`. Its type has no values.
#![expect(clippy::unused_async, reason = "the real methods wait for an engine")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::attach::access::compose::Compose;
use crate::cluster::attach::error::AttachError;
use crate::history::NodeInfo;
use crate::network::knock::{Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::units::NodeNo;

/// Sidecars, which cannot exist in this build.
#[derive(Debug)]
pub(crate) enum Sidecars {}

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
