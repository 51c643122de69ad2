//! What the lanes of the picture show: the state of each node over time, the faults, promotions and new epochs. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::facts::{Facts, Failover, FaultSpan, Window};
use crate::fault::Drawn;
use crate::history::{EventKind, FaultKind, History};
use crate::spec::POLL;
use crate::topology::{Health, Role, View};
use crate::units::{NodeNo, ShardNo};
use crate::words::page::counted;

/// The states of one node in order, without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The node.
    pub node: NodeNo,
    /// The states in order of time.
    pub stretches: Vec<Stretch>,
}

/// A span of time in which a node's state did not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// When the state began and ended.
    pub window: Window,
    /// The state.
    pub state: State,
}

/// The state of a node at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its last known role, by its own view.
    pub role: Option<NodeRole>,
    /// The effect of faults on it.
    pub trouble: Trouble,
    /// Whether it did not answer the harness, though its process ran.
    pub silent: bool,
    /// The worst flag that other nodes give it. Views of nodes that a fault cuts off or stops count only if there are no
    /// others.
    pub health: Health,
    /// How many of those nodes give it that flag.
    pub flagged_by: usize,
}

impl State {
    /// The state in full: `master, suspected (PFAIL) by 1 node`.
    pub fn in_words(&self) -> String {
        let role = match self.role {
            Some(NodeRole::Master) => "master".to_owned(),
            Some(NodeRole::Empty) => "master without slots".to_owned(),
            Some(NodeRole::Replica(Some(master))) => format!("replica of {master}"),
            Some(NodeRole::Replica(None)) => "replica of an unknown node".to_owned(),
            None => "role unknown".to_owned(),
        };
        let mut text = match self.trouble {
            Trouble::Down => format!("down (was {role})"),
            Trouble::Paused => format!("paused ({role})"),
            Trouble::CutOff => format!("cut off ({role})"),
            Trouble::Hindered => format!("{role}, links impaired"),
            Trouble::WrongClock => format!("{role}, wrong clock"),
            Trouble::FaultyDisk => format!("{role}, faulty disk"),
            Trouble::None => role,
        };
        if self.silent && self.trouble < Trouble::Paused {
            text.push_str(", does not answer");
        }
        let by = counted(self.flagged_by as u64, "node");
        match self.health {
            Health::Ok => {}
            Health::Pfail => {
                let _ = write!(text, ", suspected (PFAIL) by {by}");
            }
            Health::Fail => {
                let _ = write!(text, ", flagged FAIL by {by}");
            }
        }
        text
    }
}

/// The role of a node in its own view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeRole {
    /// A master with slots.
    Master,
    /// A master without slots.
    Empty,
    /// A replica, and its master if that is known.
    Replica(Option<NodeNo>),
}

/// The effect of faults on a node; the worst of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// No fault affects it.
    None,
    /// Its clock was wrong.
    WrongClock,
    /// Its disk was faulty.
    FaultyDisk,
    /// Its links were slow, narrow or lossy.
    Hindered,
    /// It was cut off from other nodes or clients.
    CutOff,
    /// Its process was frozen.
    Paused,
    /// Its process was gone.
    Down,
}

impl Trouble {
    fn of(kind: FaultKind) -> Self {
        match kind.spec().drawn {
            Drawn::WrongClock => Self::WrongClock,
            Drawn::FaultyDisk => Self::FaultyDisk,
            Drawn::Hindered => Self::Hindered,
            Drawn::CutOff => Self::CutOff,
            Drawn::Paused => Self::Paused,
            Drawn::Down => Self::Down,
        }
    }
}

/// A fault from its injection until it was undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultBar {
    /// Its number.
    pub fault: u32,
    /// Its kind.
    pub kind: FaultKind,
    /// What it affects, in words.
    pub what: String,
    /// When it began and ended.
    pub window: Window,
    /// Whether undoing it began.
    pub undone: bool,
}

/// A mark on the time axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its time in nanoseconds from the start of the run.
    pub at_ns: u64,
    /// What it marks.
    pub kind: MarkKind,
}

/// Kinds of marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkKind {
    /// A shard got a new master.
    Promoted {
        /// The shard.
        shard: ShardNo,
        /// The old master.
        from: NodeNo,
        /// The new master.
        to: NodeNo,
        /// The configEpoch of the new master.
        epoch: u64,
        /// How the time is known.
        by: &'static str,
    },
    /// A node first reported this `cluster_current_epoch`, higher than all before.
    Epoch(u64),
}

/// The lanes of all nodes of the plan over `window`.
pub fn lanes(facts: &Facts<'_>, failovers: &[Failover], window: Window) -> Vec<Lane> {
    let (history, faults) = (facts.history, &facts.fault_spans);
    let logged: Vec<Foreknown> = failovers.iter().flat_map(|failover| Foreknown::of(failover, history)).collect();
    let mut now = Now { faults, logged: &logged, opinions: BTreeMap::new(), roles: BTreeMap::new() };
    let mut lanes: Vec<Lane> =
        history.header.plan.nodes.iter().map(|planned| Lane { node: planned.node, stretches: Vec::new() }).collect();
    let mut turns: Vec<u64> = faults.iter().flat_map(|fault| [fault.from_ns, hold(fault).to_ns]).collect();
    turns.push(window.from_ns);
    turns.extend(logged.iter().flat_map(|known| [known.window.from_ns, known.window.to_ns]));
    turns.sort_unstable();
    let mut turns = turns.into_iter().peekable();
    let mut draw = |now: &Now<'_>, at_ns: u64| {
        for lane in &mut lanes {
            let state = now.state(lane.node, at_ns);
            extend(lane, state, at_ns.max(window.from_ns));
        }
    };
    for event in &history.events {
        while let Some(turn_ns) = turns.next_if(|&turn_ns| turn_ns <= event.at_ns) {
            draw(&now, turn_ns);
        }
        match &event.kind {
            EventKind::Viewed { node, view } => now.viewed(*node, view),
            EventKind::Silent { node, .. } => {
                now.opinions.insert(*node, None);
            }
            _ => continue,
        }
        draw(&now, event.at_ns);
    }
    for turn_ns in turns {
        draw(&now, turn_ns);
    }
    for lane in &mut lanes {
        close(lane, window);
    }
    lanes
}

/// Begins a state and ends the one before, which is dropped if it has no length.
fn extend(lane: &mut Lane, state: State, at_ns: u64) {
    if lane.stretches.last().is_some_and(|last| last.state == state) {
        return;
    }
    if let Some(last) = lane.stretches.last_mut() {
        last.window.to_ns = at_ns;
        if last.window.length_ns() == 0 {
            lane.stretches.pop();
        }
    }
    match lane.stretches.last_mut() {
        Some(last) if last.state == state => {}
        _ => lane.stretches.push(Stretch { window: Window { from_ns: at_ns, to_ns: u64::MAX }, state }),
    }
    if let Some(last) = lane.stretches.last_mut() {
        last.window.to_ns = u64::MAX;
    }
}

fn close(lane: &mut Lane, window: Window) {
    for stretch in &mut lane.stretches {
        stretch.window.to_ns = stretch.window.to_ns.min(window.to_ns);
    }
    lane.stretches.retain(|stretch| stretch.window.length_ns() > 0);
}

/// How long a fault is drawn: a fault of a process until the process is proven to answer again, a fault of links until
/// undoing it begins.
fn hold(fault: &FaultSpan) -> Window {
    let shown_ns = if fault.kind.holds_process() { fault.over_ns() } else { None };
    Window { from_ns: fault.from_ns, to_ns: shown_ns.unwrap_or(fault.in_force().to_ns) }
}

/// What a log tells before a view can show it.
struct Foreknown {
    node: NodeNo,
    /// Promoted, or else flagged FAIL.
    is_promotion: bool,
    /// From the moment in the log until a view must have shown it.
    window: Window,
}

impl Foreknown {
    fn of(failover: &Failover, history: &History) -> Vec<Self> {
        const SHOWN_AFTER_NS: u64 = POLL.as_nanos() as u64 * 3;
        let known = |node, is_promotion, at_ns: u64| Self {
            node,
            is_promotion,
            window: Window { from_ns: at_ns, to_ns: at_ns.saturating_add(SHOWN_AFTER_NS) },
        };
        let Some(logged) = failover.logged else { return Vec::new() };
        let fail_ns = failover.fail_ns().filter(|_| logged.fail);
        let promotion_ns = failover.promotion_ns().filter(|_| logged.promotion);
        let promoted = promotion_ns.and_then(|at_ns| {
            let node = failover.new_master?;
            let known = known(node, true, at_ns);
            // On a busy machine, answers from before the promotion arrive after it.
            let shown_ns = shows_itself_a_master(history, node, at_ns);
            let to_ns = shown_ns.map_or(known.window.to_ns, |shown_ns| shown_ns.max(known.window.to_ns));
            Some(Self { window: Window { to_ns, ..known.window }, ..known })
        });
        fail_ns.map(|at_ns| known(failover.old_master, false, at_ns)).into_iter().chain(promoted).collect()
    }
}

/// When a node first called itself a master, from a moment on.
fn shows_itself_a_master(history: &History, of: NodeNo, from_ns: u64) -> Option<u64> {
    let later = history.events.iter().filter(|event| event.at_ns >= from_ns);
    let mut shown = later.filter(|event| match &event.kind {
        EventKind::Viewed { node, view } if *node == of => {
            view.peers.get(node).is_some_and(|own| own.role == Role::Master)
        }
        _ => false,
    });
    shown.next().map(|event| event.at_ns)
}

/// What the events so far show.
struct Now<'a> {
    faults: &'a [FaultSpan],
    logged: &'a [Foreknown],
    /// The last view of each node; None while it does not answer.
    opinions: BTreeMap<NodeNo, Option<&'a View>>,
    roles: BTreeMap<NodeNo, NodeRole>,
}

impl<'a> Now<'a> {
    fn viewed(&mut self, node: NodeNo, view: &'a View) {
        self.opinions.insert(node, Some(view));
        if let Some(own) = view.peers.get(&node) {
            let role = match own.role {
                Role::Master if own.slots.is_empty() => NodeRole::Empty,
                Role::Master => NodeRole::Master,
                Role::ReplicaOf(master) => NodeRole::Replica(Some(master)),
                Role::ReplicaOfUnknown => NodeRole::Replica(None),
            };
            self.roles.insert(node, role);
        }
    }

    fn trouble(&self, node: NodeNo, at_ns: u64) -> Trouble {
        let open = self.faults.iter().filter(|fault| hold(fault).contains(at_ns) && fault.hit(node).is_some());
        open.map(|fault| Trouble::of(fault.kind)).max().unwrap_or(Trouble::None)
    }

    fn state(&self, node: NodeNo, at_ns: u64) -> State {
        let others = || {
            self.opinions.iter().filter(move |(observer, _)| **observer != node).filter_map(|(&observer, view)| {
                let health = (*view)?.peers.get(&node)?.health;
                Some((observer, health))
            })
        };
        let mut asked: Vec<Health> = others()
            .filter(|&(observer, _)| self.trouble(observer, at_ns) < Trouble::CutOff)
            .map(|(_, health)| health)
            .collect();
        if asked.is_empty() {
            asked = others().map(|(_, health)| health).collect();
        }
        let is_known = |is_promotion: bool| {
            let mut of_it = self.logged.iter().filter(|known| known.node == node && known.is_promotion == is_promotion);
            of_it.any(|known| known.window.contains(at_ns))
        };
        let seen = asked.iter().copied().max().unwrap_or(Health::Ok);
        let health = if is_known(false) { Health::Fail } else { seen };
        let flagged_by = match health {
            Health::Ok => 0,
            // By the one whose log tells.
            health => asked.iter().filter(|each| **each == health).count().max(1),
        };
        let role = if is_known(true) { Some(NodeRole::Master) } else { self.roles.get(&node).copied() };
        let trouble = self.trouble(node, at_ns);
        // A node that is down or frozen is not expected to answer.
        let silent = trouble < Trouble::Paused && self.opinions.get(&node).is_some_and(Option::is_none);
        State { role, trouble, silent, health, flagged_by }
    }
}

/// The faults in the order of their injection.
pub fn fault_bars(facts: &Facts<'_>) -> Vec<FaultBar> {
    facts
        .fault_spans
        .iter()
        .map(|fault| FaultBar {
            fault: fault.fault,
            kind: fault.kind,
            what: fault.what.clone(),
            window: hold(fault),
            undone: fault.healed_ns.is_some(),
        })
        .collect()
}

/// Promotions and rises of the epoch after the cluster was formed, in order of time.
pub fn marks(facts: &Facts<'_>, failovers: &[Failover]) -> Vec<Mark> {
    let history = facts.history;
    let booted_ns = booted_ns(history);
    let mut marks: Vec<Mark> = facts
        .ownership
        .changes()
        .iter()
        .map(|change| {
            let (shard, from, to, epoch) = (change.shard, change.from, change.to, change.epoch);
            let is_it = |failover: &&Failover| {
                (failover.shard, failover.new_master, failover.epoch) == (shard, Some(to), Some(epoch))
            };
            let failover = failovers.iter().find(is_it);
            let by = failover.map_or("by polling", Failover::promotion_by);
            let at_ns = failover.and_then(Failover::promotion_ns).unwrap_or(change.at_ns);
            Mark { at_ns, kind: MarkKind::Promoted { shard, from, to, epoch, by } }
        })
        .collect();
    let mut highest = None;
    for event in &history.events {
        let EventKind::Viewed { view, .. } = &event.kind else { continue };
        if highest.is_some_and(|highest| view.current_epoch > highest) && event.at_ns > booted_ns {
            marks.push(Mark { at_ns: event.at_ns, kind: MarkKind::Epoch(view.current_epoch) });
        }
        highest = highest.max(Some(view.current_epoch));
    }
    marks.sort_by_key(|mark| mark.at_ns);
    marks
}

/// When the cluster was ready, in nanoseconds from the start of the run; 0 if that is unknown.
fn booted_ns(history: &History) -> u64 {
    let booted = history.events.iter().find(|event| matches!(event.kind, EventKind::Booted { .. }));
    booted.map_or(0, |event| event.at_ns)
}

/// The window of the picture: from the first phase of the suite, without the loading of keys, to the end of the history.
/// Without a first phase, from the boot.
pub fn picture_window(facts: &Facts<'_>) -> Window {
    let to_ns = facts.end_ns;
    let from_ns = facts.steps.map_or_else(|| booted_ns(facts.history), |steps| steps.from_ns);
    Window { from_ns: from_ns.min(to_ns), to_ns }
}
