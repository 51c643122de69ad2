//! The views of each node over time.

use std::collections::BTreeMap;

use crate::history::{EventKind, History};
use crate::topology::View;
use crate::units::NodeNo;

/// The views of a history by time. A view is valid until the node's next one, or until the node stops answering.
#[derive(Debug)]
pub struct Views<'a> {
    by_node: BTreeMap<NodeNo, Vec<(u64, Seen<'a>)>>,
}

/// What is known about a node at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen<'a> {
    /// It was not polled yet.
    Never,
    /// It did not answer, for this reason.
    Silent(&'a str),
    /// Its last view.
    View(&'a View),
}

impl<'a> Seen<'a> {
    /// The view, if there is one.
    pub fn view(self) -> Option<&'a View> {
        match self {
            Self::View(view) => Some(view),
            Self::Never | Self::Silent(_) => None,
        }
    }
}

impl<'a> Views<'a> {
    /// Gathers the views of a history.
    pub fn new(history: &'a History) -> Self {
        let mut by_node: BTreeMap<NodeNo, Vec<(u64, Seen<'a>)>> = BTreeMap::new();
        for event in &history.events {
            let (node, seen) = match &event.kind {
                EventKind::Viewed { node, view } => (*node, Seen::View(view)),
                EventKind::Silent { node, reason } => (*node, Seen::Silent(reason)),
                _ => continue,
            };
            by_node.entry(node).or_default().push((event.at_ns, seen));
        }
        Self { by_node }
    }

    /// The views at a moment, without nodes that do not answer.
    pub fn at(&self, at_ns: u64) -> BTreeMap<NodeNo, &'a View> {
        self.by_node.keys().filter_map(|&node| Some((node, self.of(node, at_ns).view()?))).collect()
    }

    /// What is known about one node at a moment.
    pub fn of(&self, node: NodeNo, at_ns: u64) -> Seen<'a> {
        self.last(node, at_ns).map_or(Seen::Never, |(_, seen)| seen)
    }

    /// Since when that is known, in nanoseconds from the start of the run.
    pub fn since(&self, node: NodeNo, at_ns: u64) -> Option<u64> {
        self.last(node, at_ns).map(|(since_ns, _)| since_ns)
    }

    fn last(&self, node: NodeNo, at_ns: u64) -> Option<(u64, Seen<'a>)> {
        let seen = self.by_node.get(&node)?;
        let count = seen.partition_point(|&(since_ns, _)| since_ns <= at_ns);
        seen[..count].last().copied()
    }

    /// The moments at which the view of a node changed or a node stopped answering, in order.
    pub fn moments(&self) -> Vec<u64> {
        let mut moments: Vec<u64> = self.by_node.values().flatten().map(|&(at_ns, _)| at_ns).collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }
}
