//! The faults of a history as spans of time: whom each hit, what it cut, when it was undone.

use super::{Window, history_end_ns};
use crate::history::{EventKind, FaultKind, History, Hit, Side};
use crate::suite::Only;
use crate::units::NodeNo;

/// A fault from its injection to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disturbance {
    /// Its number.
    pub fault: u32,
    /// Its kind.
    pub kind: FaultKind,
    /// The nodes that it hit.
    pub hits: Vec<Hit>,
    /// When its injection began.
    pub from_ns: u64,
    /// When its injection was done, and so by when it was in effect. The same where that is not known.
    pub applied_ns: u64,
    /// When somebody began to undo it; None when nobody did.
    pub healed_ns: Option<u64>,
    /// When that was done, which its proof, that may take seconds, comes after; None where that is not known.
    pub lifted_ns: Option<u64>,
    /// When it was shown to be undone.
    pub undone_ns: Option<u64>,
    /// Whether somebody looked and found it not undone.
    pub heal_failed: bool,
    /// What traffic a fault of the network hits; All for the others.
    pub only: Only,
    /// The sides of a fault of the network.
    pub sides: Vec<Side>,
    /// The moment after all that the history holds.
    end_ns: u64,
}

/// The faults of a history in the order of their injection.
pub fn disturbances(history: &History) -> Vec<Disturbance> {
    let end_ns = history_end_ns(history);
    let mut all: Vec<Disturbance> = Vec::new();
    for event in &history.events {
        if let Some((fault, kind, hits)) = event.kind.injected() {
            let (only, sides) = match &event.kind {
                EventKind::NetworkFaultInjected { only, sides, .. } => (*only, sides.clone()),
                _ => (Only::All, Vec::new()),
            };
            all.push(Disturbance {
                fault,
                kind,
                hits,
                from_ns: event.at_ns,
                applied_ns: event.at_ns,
                healed_ns: None,
                lifted_ns: None,
                undone_ns: None,
                heal_failed: false,
                only,
                sides,
                end_ns,
            });
        }
        let (EventKind::FaultApplied { fault }
        | EventKind::FaultHealed { fault, .. }
        | EventKind::FaultLifted { fault }
        | EventKind::HealProven { fault, .. }) = event.kind
        else {
            continue;
        };
        let Some(disturbance) = all.iter_mut().find(|each| each.fault == fault) else { continue };
        match event.kind {
            EventKind::FaultApplied { .. } => disturbance.applied_ns = event.at_ns,
            EventKind::FaultHealed { .. } => _ = disturbance.healed_ns.get_or_insert(event.at_ns),
            EventKind::FaultLifted { .. } => _ = disturbance.lifted_ns.get_or_insert(event.at_ns),
            EventKind::HealProven { healed, .. } => {
                disturbance.heal_failed = !healed;
                if healed {
                    disturbance.undone_ns.get_or_insert(event.at_ns);
                }
            }
            _ => {}
        }
    }
    all
}

impl Disturbance {
    /// Whether it keeps gossip from the nodes that it hits, so that they may lose their slots to a
    /// replica and not know: a partition, or a refusal, of all traffic or of the cluster bus, with
    /// nodes on both sides.
    pub fn cuts_off(&self) -> bool {
        let severs = matches!(self.kind, FaultKind::Partition | FaultKind::Refuse);
        let clients_alone = self.sides.iter().any(|side| side.nodes.is_empty());
        severs && matches!(self.only, Only::All | Only::Bus) && !clients_alone
    }

    /// Whether a master that it hits may be replaced for it: every fault of a process, and every cut.
    pub fn may_end_a_reign(&self) -> bool {
        !self.kind.is_of_the_network() || self.cuts_off()
    }

    /// From when times after it are counted: a process falls silent when it is signalled, even if whoever signals
    /// it waits for its end, while links are whole until the last rule is in force.
    pub fn struck_ns(&self) -> u64 {
        if self.kind.is_of_the_network() { self.applied_ns } else { self.from_ns }
    }

    /// Between which moments it took effect.
    pub fn took_effect(&self) -> Window {
        Window { from_ns: self.from_ns, to_ns: self.applied_ns }
    }

    /// Between which moments its effect ended; None when nobody undid it.
    pub fn lost_effect(&self) -> Option<Window> {
        let from_ns = self.healed_ns?;
        Some(Window { from_ns, to_ns: self.lifted_ns.unwrap_or(from_ns) })
    }

    /// What it did to a node; None when it did not hit it.
    pub fn hit(&self, node: NodeNo) -> Option<Hit> {
        self.hits.iter().copied().find(|hit| hit.node == node)
    }

    /// From the injection until somebody began to undo it.
    pub fn in_force(&self) -> Window {
        Window { from_ns: self.from_ns, to_ns: self.healed_ns.unwrap_or(self.end_ns) }
    }

    /// Whether it was injected by a moment, and not shown to be undone by then.
    pub fn is_open(&self, at_ns: u64) -> bool {
        self.from_ns <= at_ns && self.undone_ns.is_none_or(|undone_ns| undone_ns > at_ns)
    }

    /// Whether packets of a client (from 0, as operations count them) reach a node while it is in
    /// force. Who stands on no side reaches everybody.
    pub fn reaches(&self, client: u16, node: NodeNo) -> bool {
        if !matches!(self.only, Only::All | Only::Clients) {
            return true;
        }
        let stands = |side: &Side| side.clients.iter().any(|each| u32::from(each.0) == u32::from(client) + 1);
        let mut sides = self.sides.iter().filter(|side| stands(side)).peekable();
        sides.peek().is_none() || sides.any(|side| side.nodes.contains(&node)) || !self.on_a_side(node)
    }

    /// Whether a client stands on the same side as a node.
    pub fn beside(&self, client: u16, node: NodeNo) -> bool {
        let stands = |side: &Side| side.clients.iter().any(|each| u32::from(each.0) == u32::from(client) + 1);
        self.sides.iter().any(|side| stands(side) && side.nodes.contains(&node))
    }

    fn on_a_side(&self, node: NodeNo) -> bool {
        self.sides.iter().any(|side| side.nodes.contains(&node))
    }
}
