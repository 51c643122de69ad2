//! What the servers' rules allow at a moment.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::history::{Event, EventKind};
use crate::plan::Plan;
use crate::server::Version;
use crate::spec::Rules;
use crate::units::NodeNo;

/// The values of `cluster-node-timeout` during a run, which a `command` step may change, and what else the rules depend
/// on.
#[derive(Debug, Clone)]
pub struct NodeTimeouts {
    boot: Rules,
    /// The time of each reading in nanoseconds from the start of the run, and the value.
    live: Vec<(u64, Duration)>,
    /// The number of nodes.
    nodes: usize,
    /// The time at which a node answered with another version, the node, and the version.
    versions: Vec<(u64, NodeNo, Version)>,
}

impl NodeTimeouts {
    /// The value of a plan, before anything was read from a server.
    pub fn at_boot(plan: &Plan, version: Version) -> Self {
        let client_refresh = plan.workload.refresh_every.0;
        let boot = Rules { node_timeout: plan.node_timeout(), version, client_refresh };
        Self { boot, nodes: plan.nodes.len(), live: Vec::new(), versions: Vec::new() }
    }

    /// The values of a run, from its events in order of time.
    pub fn new(plan: &Plan, version: Version, events: &[Event]) -> Self {
        let mut timeouts = Self::at_boot(plan, version);
        for event in events {
            timeouts.add(event);
        }
        timeouts
    }

    /// Adds the value that an event records, if it does.
    pub fn add(&mut self, event: &Event) {
        if let EventKind::Config { values } = &event.kind
            && let Some(Ok(ms)) = values.get("cluster-node-timeout").map(|value| value.parse())
        {
            self.live.push((event.at_ns, Duration::from_millis(ms)));
        }
        if let EventKind::CameBack { node, found, .. } = &event.kind
            && let Some(version) = found.version
        {
            self.versions.push((event.at_ns, *node, version));
        }
    }

    /// The versions that nodes answered with after a start that changed something, up to a moment.
    pub fn versions(&self, at_ns: u64) -> BTreeMap<NodeNo, Version> {
        let earlier = self.versions.iter().filter(|(since_ns, ..)| *since_ns <= at_ns);
        earlier.map(|&(_, node, version)| (node, version)).collect()
    }

    /// What the rules allow to a failover that this node wins.
    pub fn rules_of(&self, node: NodeNo, at_ns: u64) -> Rules {
        let rules = self.rules(at_ns);
        Rules { version: self.versions(at_ns).get(&node).copied().unwrap_or(self.boot.version), ..rules }
    }

    /// What the rules allow with the node timeout at a moment. Where nodes run different versions, any of them may be
    /// elected, so the slowest decides.
    pub fn rules(&self, at_ns: u64) -> Rules {
        let live = self.live.iter().rev().find(|(read_ns, _)| *read_ns <= at_ns);
        let rules = Rules { node_timeout: live.map_or(self.boot.node_timeout, |&(_, timeout)| timeout), ..self.boot };
        let versions = self.versions(at_ns);
        let at_boot = (versions.len() < self.nodes).then_some(self.boot.version);
        rules.with_slowest(versions.into_values().chain(at_boot))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_follow_the_versions_of_the_nodes() {
        let version = |number: &str| Version::numbered(crate::server::Flavour::Valkey, number).expect("a version");
        let mut plan = Plan::new(&crate::suite::load("formation").expect("a suite"), 1).expect("a plan");
        plan.nodes.truncate(2);
        let came_back = |at_ns: u64, node: &str, version: Version| -> Event {
            let found = json!({"version": version, "run_id": "a", "keys": 0, "config": {}});
            let event = json!({"at_ns": at_ns, "event": "came-back", "node": node, "change": {}, "found": found});
            serde_json::from_value(event).expect("an event")
        };
        let (old, new) = (version("8.1.8"), version("9.1.2"));
        let events = [came_back(10, "node-1", new), came_back(20, "node-2", new), came_back(30, "node-2", old)];
        let timeouts = NodeTimeouts::new(&plan, old, &events);
        for (at_ns, all, first) in [(5, old, old), (15, old, new), (25, new, new), (35, old, new)] {
            assert_eq!(timeouts.rules(at_ns).version, all, "at {at_ns}");
            assert_eq!(timeouts.rules_of(NodeNo(1), at_ns).version, first, "at {at_ns}");
        }
    }
}
