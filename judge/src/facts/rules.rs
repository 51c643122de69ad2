//! What the servers' rules allow at a moment.

use std::time::Duration;

use crate::history::{Event, EventKind};
use crate::plan::Plan;
use crate::server::Version;
use crate::spec::Rules;

/// The values of `cluster-node-timeout` during a run, which a `command` step may change, and what else the rules depend
/// on.
#[derive(Debug, Clone)]
pub struct NodeTimeouts {
    boot: Rules,
    /// The time of each reading in nanoseconds from the start of the run, and the value.
    live: Vec<(u64, Duration)>,
}

impl NodeTimeouts {
    /// The value of a plan, before anything was read from a server.
    pub fn at_boot(plan: &Plan, version: Version) -> Self {
        let client_refresh = plan.workload.refresh_every.0;
        Self { boot: Rules { node_timeout: plan.node_timeout(), version, client_refresh }, live: Vec::new() }
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
    }

    /// What the rules allow with the node timeout at a moment.
    pub fn rules(&self, at_ns: u64) -> Rules {
        let live = self.live.iter().rev().find(|(read_ns, _)| *read_ns <= at_ns);
        Rules { node_timeout: live.map_or(self.boot.node_timeout, |&(_, timeout)| timeout), ..self.boot }
    }
}
