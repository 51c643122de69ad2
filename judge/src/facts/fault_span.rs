//! The faults of a run as spans of time: what each hit, its proofs, when it ended.

use super::{Window, history_end_ns};
use crate::fault::{ClockChange, DiskChange, FaultKind};
use crate::history::{DiskCount, Event, EventKind, FaultEvent, History, Hit, Side};
use crate::suite::Only;
use crate::units::NodeNo;

/// A fault from its injection to its end. Times are in nanoseconds from the start of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultSpan {
    /// The number of the fault.
    pub fault: u32,
    /// The kind of the fault.
    pub kind: FaultKind,
    /// The nodes that it hit.
    pub hits: Vec<Hit>,
    /// When the injection began.
    pub from_ns: u64,
    /// When the injection was done, and the fault in effect; the same as `from_ns` if that is unknown.
    pub applied_ns: u64,
    /// When undoing it began; None if it was never undone.
    pub healed_ns: Option<u64>,
    /// When undoing it was done; None if that is unknown. The proof comes later, possibly by seconds.
    pub lifted_ns: Option<u64>,
    /// When it was proven undone; None if it was not.
    pub undone_ns: Option<u64>,
    /// Whether the last proof found that it was not undone.
    pub heal_failed: bool,
    /// What is wrong with a clock; None for a fault of something else.
    pub clock: Option<ClockChange>,
    /// What is wrong with a disk; None for a fault of something else.
    pub disk: Option<DiskChange>,
    /// The traffic that a network fault hits; All for others.
    pub only: Only,
    /// The sides of a network fault.
    pub sides: Vec<Side>,
    /// Whether a network fault hits only packets from the first side to the second.
    pub one_way: bool,
    /// The node of a fault of a process, or the name of another fault.
    pub name: String,
    /// The name, and in parentheses the target or the sides where they say more: `node-1 (shard-1/master)`.
    pub what: String,
    /// The step that injected it, from 0; None if no step did.
    pub step: Option<usize>,
    /// The proof that it was in effect; None without one.
    pub effect: Option<Proof>,
    /// Its end, if the effect was gone before anything undid it.
    pub ended: Option<Ended>,
    /// The step that undid it, or `heal`; None if it was never undone.
    pub healed_by: Option<String>,
    /// The proof that it was undone; None without one.
    pub heal: Option<Proof>,
    /// Why slotquake could not undo it; None if nothing failed, or the fault was shown to be undone later.
    pub heal_error: Option<String>,
    /// What was counted of a disk; None for a fault of something else, and if nobody counted.
    pub counted: Option<Counted>,
    /// The moment after the last event.
    end_ns: u64,
}

/// The calls on a disk while it was faulty, and what its server said in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The calls.
    pub calls: Vec<DiskCount>,
    /// What the server said about its files.
    pub said: String,
}

impl Counted {
    /// How many calls the fault hit.
    pub fn hits(&self) -> u64 {
        self.calls.iter().map(|row| row.hits).sum()
    }
}

/// A proof that a fault is in effect, or undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Whether it is.
    pub holds: bool,
    /// What was seen.
    pub seen: String,
}

/// The end of a fault that nothing undid. Times are in nanoseconds from the start of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// When the effect was last seen.
    pub in_effect_ns: u64,
    /// When the effect was found gone.
    pub found_ns: u64,
    /// What was seen instead.
    pub seen: String,
}

/// The faults of a run in the order of their injection, gathered from one event after the other.
#[derive(Debug, Default)]
pub struct FaultTable {
    spans: Vec<FaultSpan>,
    /// The step that began last.
    step: Option<usize>,
    /// The end of what is known: the end of a whole history, or the end of time during a run.
    end_ns: Option<u64>,
}

/// The faults of a history in the order of their injection.
pub fn fault_spans(history: &History) -> Vec<FaultSpan> {
    let mut table = FaultTable { end_ns: Some(history_end_ns(history)), ..FaultTable::default() };
    for event in &history.events {
        table.add(event);
    }
    table.spans
}

impl FaultTable {
    /// Adds an event. Returns the fault that the event is about with what is known of it now; None for an event about
    /// no fault, or about one whose injection was not seen.
    pub fn add(&mut self, event: &Event) -> Option<&FaultSpan> {
        if let EventKind::StepBegan { step } = event.kind {
            self.step = Some(step);
        }
        let (fault, about) = event.kind.of_fault()?;
        if let Some(span) = self.begun(event, fault, about) {
            self.spans.push(span);
            return self.spans.last();
        }
        let span = self.spans.iter_mut().find(|span| span.fault == fault)?;
        span.goes_on(event.at_ns, about);
        Some(span)
    }

    /// The faults that are in force after the events so far: neither undone nor ended by themselves.
    pub fn active(&self) -> impl Iterator<Item = &FaultSpan> {
        self.spans.iter().filter(|span| span.healed_ns.is_none() && span.ended.is_none())
    }

    /// The fault that an event begins.
    fn begun(&self, event: &Event, fault: u32, about: FaultEvent<'_>) -> Option<FaultSpan> {
        let (_, kind, hits) = event.kind.injected()?;
        let (name, target, only, sides, clock) = match about {
            FaultEvent::Injected { target, node, .. } => {
                (node.to_string(), target.to_owned(), Only::All, &[][..], None)
            }
            FaultEvent::NetworkInjected { name, target, only, sides, .. } => {
                (name.to_owned(), target.to_owned(), only, sides, None)
            }
            FaultEvent::ClockInjected { name, target, of, change, .. } => {
                let of = if of.is_wall() { String::new() } else { format!(" {of}") };
                (name.to_owned(), format!("{target}{of} {change}"), Only::All, &[][..], Some(change))
            }
            FaultEvent::DiskInjected { name, target, change, .. } => {
                (name.to_owned(), format!("{target} {change}"), Only::All, &[][..], None)
            }
            FaultEvent::Counted { .. }
            | FaultEvent::Applied
            | FaultEvent::Proven { .. }
            | FaultEvent::Ended { .. }
            | FaultEvent::Healed { .. }
            | FaultEvent::Lifted
            | FaultEvent::Persists
            | FaultEvent::HealFailed { .. }
            | FaultEvent::HealProven { .. } => return None,
        };
        Some(FaultSpan {
            fault,
            clock,
            disk: if let FaultEvent::DiskInjected { change, .. } = about { Some(change) } else { None },
            kind,
            hits,
            from_ns: event.at_ns,
            applied_ns: event.at_ns,
            healed_ns: None,
            lifted_ns: None,
            undone_ns: None,
            heal_failed: false,
            only,
            sides: sides.to_vec(),
            one_way: matches!(about, FaultEvent::NetworkInjected { one_way: true, .. }),
            what: if name == target { name.clone() } else { format!("{name} ({target})") },
            name,
            step: self.step,
            effect: None,
            ended: None,
            healed_by: None,
            heal: None,
            heal_error: None,
            counted: None,
            end_ns: self.end_ns.unwrap_or(u64::MAX),
        })
    }
}

impl FaultSpan {
    /// The fault in words: `pause of node-1`, `partition cut`.
    pub fn words(&self) -> String {
        self.kind.of(&self.name)
    }

    /// Adds what a later event says.
    fn goes_on(&mut self, at_ns: u64, about: FaultEvent<'_>) {
        let proof = |holds: bool, seen: &str| Some(Proof { holds, seen: seen.to_owned() });
        match about {
            // The number of a fault is unique.
            FaultEvent::Injected { .. }
            | FaultEvent::NetworkInjected { .. }
            | FaultEvent::ClockInjected { .. }
            | FaultEvent::DiskInjected { .. } => {}
            FaultEvent::Counted { calls, said } => {
                self.counted = Some(Counted { calls: calls.to_vec(), said: said.to_owned() });
            }
            FaultEvent::Applied => self.applied_ns = at_ns,
            FaultEvent::Proven { in_effect, proof: seen } => self.effect = proof(in_effect, seen),
            FaultEvent::Ended { in_effect_ns, seen } => {
                let ended = Ended { in_effect_ns, found_ns: at_ns, seen: seen.to_owned() };
                self.ended.get_or_insert(ended);
            }
            FaultEvent::Healed { by } => {
                self.healed_ns.get_or_insert(at_ns);
                self.healed_by = Some(by.to_owned());
            }
            FaultEvent::Lifted => _ = self.lifted_ns.get_or_insert(at_ns),
            FaultEvent::Persists => {
                (self.healed_ns, self.lifted_ns, self.healed_by) = (None, None, None);
            }
            FaultEvent::HealFailed { reason } => self.heal_error = Some(reason.to_owned()),
            FaultEvent::HealProven { healed, proof: seen } => {
                self.heal = proof(healed, seen);
                self.heal_failed = !healed;
                if healed {
                    self.undone_ns.get_or_insert(at_ns);
                    self.heal_error = None;
                }
            }
        }
    }

    /// Whether it cuts the cluster bus of the nodes that it hits, so that a replica may take their slots without their
    /// knowledge: a fault that severs all traffic or the bus, with nodes on both sides.
    pub fn cuts_off(&self) -> bool {
        let clients_alone = self.sides.iter().any(|side| side.nodes.is_empty());
        self.kind.severs_links() && matches!(self.only, Only::All | Only::Bus) && !clients_alone
    }

    /// Whether a node that it cuts off still hears the other side, which does not hear the node.
    pub fn hears(&self, node: NodeNo) -> bool {
        self.one_way && self.sides.first().is_some_and(|side| side.nodes.contains(&node))
    }

    /// Whether some node that it cuts off still hears the other side.
    pub fn leaves_hearing(&self) -> bool {
        self.hits.iter().any(|hit| self.hears(hit.node))
    }

    /// Whether it keeps the server from answering: after every fault of a process, and by a disk that holds it.
    pub fn holds_server(&self) -> bool {
        self.kind.holds_process() || self.disk.is_some_and(|change| change.holds_server())
    }

    /// Whether a replica may replace a master that it hits: after what keeps it from answering, and every cut.
    pub fn may_end_a_reign(&self) -> bool {
        self.holds_server() || self.cuts_off()
    }

    /// The moment from which times count: the signal to a process, or the moment at which all network rules were in force.
    pub fn struck_ns(&self) -> u64 {
        if self.kind.counts_from_signal() { self.from_ns } else { self.applied_ns }
    }

    /// The two moments between which it took effect.
    pub fn took_effect(&self) -> Window {
        Window { from_ns: self.from_ns, to_ns: self.applied_ns }
    }

    /// The two moments between which its effect ended; None if it did not end.
    pub fn lost_effect(&self) -> Option<Window> {
        if let Some(ended) = &self.ended {
            return Some(Window { from_ns: ended.in_effect_ns, to_ns: ended.found_ns });
        }
        let from_ns = self.healed_ns?;
        Some(Window { from_ns, to_ns: self.lifted_ns.unwrap_or(from_ns) })
    }

    /// The hit at a node; None if it did not hit the node.
    pub fn hit(&self, node: NodeNo) -> Option<Hit> {
        self.hits.iter().copied().find(|hit| hit.node == node)
    }

    /// From the injection until undoing it began, or until its effect was last seen if it ended by itself.
    pub fn in_force(&self) -> Window {
        let to_ns = self.lost_effect().map_or(self.end_ns, |window| window.from_ns);
        Window { from_ns: self.from_ns, to_ns }
    }

    /// When it was proven over: undone, or ended by itself.
    pub fn over_ns(&self) -> Option<u64> {
        self.ended.as_ref().map(|ended| ended.found_ns).or(self.undone_ns)
    }

    /// Whether at a moment it was injected and not yet proven over.
    pub fn is_open(&self, at_ns: u64) -> bool {
        self.from_ns <= at_ns && self.over_ns().is_none_or(|over_ns| over_ns > at_ns)
    }

    /// Whether a client (from 0, as in [`crate::history::Op::client`]) reaches a node while the fault is in force. A client or
    /// a node on neither side is not affected.
    pub fn reaches(&self, client: u16, node: NodeNo) -> bool {
        if !matches!(self.only, Only::All | Only::Clients) {
            return true;
        }
        let stands = |side: &Side| side.clients.iter().any(|each| u32::from(each.0) == u32::from(client) + 1);
        let mut sides = self.sides.iter().filter(|side| stands(side)).peekable();
        sides.peek().is_none() || sides.any(|side| side.nodes.contains(&node)) || !self.on_a_side(node)
    }

    /// Whether a client (from 0) is on the same side as a node.
    pub fn beside(&self, client: u16, node: NodeNo) -> bool {
        let stands = |side: &Side| side.clients.iter().any(|each| u32::from(each.0) == u32::from(client) + 1);
        self.sides.iter().any(|side| stands(side) && side.nodes.contains(&node))
    }

    fn on_a_side(&self, node: NodeNo) -> bool {
        self.sides.iter().any(|side| side.nodes.contains(&node))
    }
}
