//! The events that a report keeps.

use std::collections::BTreeMap;

use crate::history::{Event, EventKind};
use crate::topology::{Health, Role, View};
use crate::units::NodeNo;

/// The part of a view that matters in a report. A view with the same part as the one before is left out.
#[derive(PartialEq)]
struct Gist<'a> {
    peers: Vec<PeerGist<'a>>,
    strangers: &'a [String],
    state_ok: bool,
    link_up: Option<bool>,
}

/// Number, role, health and slots of a peer.
type PeerGist<'a> = (NodeNo, Role, Health, &'a [(u16, u16)]);

impl<'a> Gist<'a> {
    fn of(view: &'a View) -> Self {
        Self {
            peers: view
                .peers
                .iter()
                .map(|(&node, peer)| (node, peer.role, peer.health, peer.slots.as_slice()))
                .collect(),
            strangers: &view.strangers,
            state_ok: view.state_ok,
            link_up: view.link_up,
        }
    }
}

/// The events without lag samples, final reads and views that changed nothing that matters.
pub(super) fn without_bulk(events: &[Event]) -> Vec<Event> {
    let mut last: BTreeMap<NodeNo, Gist<'_>> = BTreeMap::new();
    let mut kept = Vec::new();
    for event in events {
        let keep = match &event.kind {
            EventKind::Lag { .. }
            | EventKind::FinalRead { .. }
            | EventKind::Delivered { .. }
            | EventKind::Waited { .. }
            | EventKind::Subscribed { .. }
            | EventKind::Unsubscribed { .. } => false,
            EventKind::Viewed { node, view } => {
                let gist = Gist::of(view);
                let news = last.get(node) != Some(&gist);
                last.insert(*node, gist);
                news
            }
            EventKind::Silent { node, .. } => {
                // Its next view shows that it answers again.
                last.remove(node);
                true
            }
            _ => true,
        };
        if keep {
            kept.push(event.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Peer;

    fn view(role: Role, health: Health, epoch: u64) -> View {
        let peer = Peer { role, health, epoch, link_connected: true, left_addr: None, slots: vec![(0, 16383)] };
        View {
            peers: BTreeMap::from([(NodeNo(1), peer)]),
            strangers: Vec::new(),
            state_ok: true,
            slots_assigned: 16384,
            slots_ok: 16384,
            slots_pfail: 0,
            slots_fail: 0,
            known_nodes: 1,
            size: 1,
            current_epoch: epoch,
            link_up: None,
        }
    }

    #[test]
    fn keeps_views_that_changed_something() {
        let viewed = |node: u16, view: View| EventKind::Viewed { node: NodeNo(node), view };
        let lag = EventKind::Lag { replica: NodeNo(2), master: NodeNo(1), bytes: 0, link_up: true };
        let silent = EventKind::Silent { node: NodeNo(1), reason: "refused".to_owned() };
        let mut not_ok = view(Role::Master, Health::Ok, 1);
        not_ok.state_ok = false;
        let rows = [
            (viewed(1, view(Role::Master, Health::Ok, 1)), true, "a node's first view"),
            (viewed(2, view(Role::Master, Health::Ok, 1)), true, "another node's first view"),
            (viewed(1, view(Role::Master, Health::Ok, 2)), false, "only the epoch"),
            (lag, false, "a sample of lag"),
            (viewed(1, view(Role::Master, Health::Pfail, 2)), true, "health"),
            (viewed(1, view(Role::ReplicaOf(NodeNo(2)), Health::Pfail, 2)), true, "role"),
            (silent, true, "silence"),
            (viewed(1, view(Role::ReplicaOf(NodeNo(2)), Health::Pfail, 2)), true, "the end of silence"),
            (viewed(2, not_ok), true, "cluster_state"),
            (EventKind::FinalRead { key: 1, node: None, value: crate::history::FinalValue::Missing }, false, "a read"),
            (EventKind::StepsEnded, true, "the end of the steps"),
        ];
        let events: Vec<Event> =
            rows.iter().enumerate().map(|(at, (kind, ..))| Event { at_ns: at as u64, kind: kind.clone() }).collect();
        let kept = without_bulk(&events);
        for (at, (_, expected, what)) in rows.iter().enumerate() {
            assert_eq!(kept.iter().any(|event| event.at_ns == at as u64), *expected, "{what}");
        }
    }
}
