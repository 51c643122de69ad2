//! What the servers' rules allow at a moment.

use std::time::Duration;

use crate::history::{Event, EventKind, Header};
use crate::spec::Rules;

/// The live values of `cluster-node-timeout`, which a step may change, and what else the rules depend on.
#[derive(Debug, Clone)]
pub struct NodeTimeouts {
    boot: Rules,
    /// When it was read, and what it was.
    live: Vec<(u64, Duration)>,
}

impl NodeTimeouts {
    /// Those that the events of a run, in order of time, show.
    pub fn new(header: &Header, events: &[Event]) -> Self {
        let boot = Rules {
            node_timeout: header.plan.node_timeout(),
            version: header.server.version,
            client_refresh: header.plan.workload.refresh_every.0,
        };
        let live = events.iter().filter_map(|event| match &event.kind {
            EventKind::Config { values } => {
                let ms = values.get("cluster-node-timeout")?.parse().ok()?;
                Some((event.at_ns, Duration::from_millis(ms)))
            }
            _ => None,
        });
        Self { boot, live: live.collect() }
    }

    /// What the rules allow with the node timeout that was live at a moment.
    pub fn rules(&self, at_ns: u64) -> Rules {
        let live = self.live.iter().rev().find(|(read_ns, _)| *read_ns <= at_ns);
        Rules { node_timeout: live.map_or(self.boot.node_timeout, |&(_, timeout)| timeout), ..self.boot }
    }
}
