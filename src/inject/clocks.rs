//! Faults of clocks: the wall clock of a node's host is changed, read, and set right again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::watching::{Sign, Watching, with_unseen};
use super::{FaultIds, resolve};
use crate::cluster::pace;
use crate::cluster::watch::Snapshot;
use crate::cluster::{Backend, Control, ProcessState};
use crate::fault::{ClockFault, FaultKind};
use crate::history::{EventKind, Hit, StepProblem};
use crate::journal::Journal;
use crate::slot::Deal;
use crate::speed::clock::Skew;
use crate::units::NodeNo;

/// The time limit for a change to show. A drift of half a percent is ahead by 50 ms after 10 s.
const SHOWS_WITHIN: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(20);

/// Makes clocks wrong and sets them right. Remembers which are wrong.
#[derive(Debug)]
pub struct ClockInjector<B> {
    control: Arc<Control<B>>,
    journal: Arc<Journal>,
    ids: Arc<FaultIds>,
    deal: Deal,
    in_force: Vec<Guard>,
    watching: Watching<B>,
}

/// A fault that the history holds and that is not yet proven to be undone.
#[derive(Debug, Clone)]
struct Guard {
    fault: u32,
    name: String,
    kind: FaultKind,
    node: NodeNo,
    is_healing: bool,
    /// Why no look at it succeeded while it was in force, if none did.
    unseen: Option<String>,
}

impl<B: Backend> ClockInjector<B> {
    /// An injector without faults in force.
    pub fn new(control: Arc<Control<B>>, journal: Arc<Journal>, ids: Arc<FaultIds>, deal: Deal) -> Self {
        let watching = Watching::begin(&control, &journal);
        Self { control, journal, ids, deal, in_force: Vec::new(), watching }
    }

    /// The faults in force, by name.
    pub fn in_force(&self) -> impl Iterator<Item = (&str, FaultKind)> {
        self.in_force.iter().map(|guard| (guard.name.as_str(), guard.kind))
    }

    /// Makes the clock of the node that the target means now wrong, and proves it. The server must answer, because nobody
    /// else tells its clock.
    pub async fn inject(&mut self, wanted: &ClockFault<'_>, now: &Snapshot) -> Result<(), StepProblem> {
        let kind = wanted.kind;
        let change = wanted.change.clone().map_err(|(_, problem)| StepProblem::Suite(format!("{kind}: {problem}")))?;
        let nodes = resolve(wanted.node, now, self.control.backend().size(), &self.deal).map_err(StepProblem::Suite)?;
        let [node] = nodes[..] else {
            return Err(StepProblem::Suite(format!("{kind}: `{}` means several nodes", wanted.node)));
        };
        if let Some(other) = self.in_force.iter().find(|guard| guard.node == node) {
            return Err(StepProblem::Suite(format!(
                "{kind}: the clock of {node} is wrong already, by \"{}\" (hint: `heal: {}` first)",
                other.name, other.name
            )));
        }
        let state = self.control.backend().state(node).await;
        if let ProcessState::Gone { .. } | ProcessState::Paused { .. } = state {
            return Err(StepProblem::Suite(format!(
                "{kind}: {node} cannot tell its clock: its {state} (hint: change its clock first: it stays wrong when the \
                 server is stopped or started)"
            )));
        }
        if let Some(obstacle) = self.control.backend().clock_obstacle(node) {
            return Err(StepProblem::Harness(format!("{kind}: {node}: {obstacle}")));
        }
        let fault = self.ids.next();
        let name = wanted.name.map_or_else(|| format!("{kind}-{fault}"), str::to_owned);
        let shard = now.shard_of(node, &self.deal);
        let was_master = shard.is_some_and(|shard| now.master(shard, &self.deal) == Some(node));
        let guard = Guard { fault, name: name.clone(), kind, node, is_healing: false, unseen: None };
        self.in_force.push(guard);
        self.journal.event(EventKind::ClockFaultInjected {
            fault,
            name,
            kind,
            target: wanted.node.to_string(),
            change,
            hit: Hit { node, shard, was_master },
        });
        let done = self.control.backend().set_clock(node, Skew::now(change)).await;
        done.map_err(|error| StepProblem::Harness(error.to_string()))?;
        self.journal.event(EventKind::FaultApplied { fault });
        let (in_effect, proof) = self.prove(node).await;
        self.journal.event(EventKind::FaultProven { fault, in_effect, proof: proof.clone() });
        if in_effect {
            self.watching.watch(fault, Sign::Clock(node));
            return Ok(());
        }
        Err(StepProblem::Harness(format!("{kind} of {node} is not in effect: {proof}")))
    }

    /// Reads the clock until it differs from slotquake's, and only as it should.
    async fn prove(&self, node: NodeNo) -> (bool, String) {
        let skew = self.control.backend().clock(node);
        let deadline = Instant::now() + SHOWS_WITHIN;
        loop {
            let seen = match pace::read(&self.control, node).await {
                Ok(reading) => match (reading.off(skew), reading.off(Skew::NONE)) {
                    (None, Some(off)) => return (true, format!("its clock is {off} slotquake's")),
                    (_, None) => "its clock agrees with slotquake's".to_owned(),
                    (Some(wrong), Some(off)) => {
                        return (false, format!("its clock is {off} slotquake's, and {wrong} what it should show"));
                    }
                },
                Err(unknown) => unknown,
            };
            if Instant::now() > deadline {
                return (false, seen);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether a fault of that name is in force; `all` is every one.
    pub fn has(&self, name: &str) -> bool {
        self.in_force.iter().any(|guard| name == "all" || guard.name == name)
    }

    /// Sets the clocks right that the fault of that name, or `all` faults, made wrong.
    pub async fn heal(&mut self, name: &str) -> Result<(), StepProblem> {
        let named = |guard: &&Guard| name == "all" || guard.name == name;
        let wanted: Vec<u32> = self.in_force.iter().filter(named).map(|guard| guard.fault).collect();
        self.undo(&wanted).await
    }

    /// Sets every clock right.
    pub async fn heal_all(&mut self) -> Result<(), StepProblem> {
        self.heal("all").await
    }

    /// Continues where an interrupted call stopped.
    async fn undo(&mut self, wanted: &[u32]) -> Result<(), StepProblem> {
        let mut problems = Vec::new();
        for guard in self.in_force.iter_mut().filter(|guard| wanted.contains(&guard.fault)) {
            let fault = guard.fault;
            if !guard.is_healing {
                guard.unseen = self.watching.release(fault).await;
                self.journal.event(EventKind::FaultHealed { fault, by: "heal".to_owned() });
                guard.is_healing = true;
            }
            match self.control.backend().set_clock(guard.node, Skew::NONE).await {
                Ok(()) => _ = self.journal.event(EventKind::FaultLifted { fault }),
                Err(error) => {
                    let reason = error.to_string();
                    self.journal.event(EventKind::HealFailed { fault, reason: reason.clone() });
                    problems.push(reason);
                }
            }
        }
        for &fault in wanted {
            let Some(guard) = self.in_force.iter().find(|guard| guard.fault == fault).cloned() else { continue };
            let (healed, proof) = self.prove_right(guard.node).await;
            if !healed {
                problems.push(format!("the clock of {} is not right: {proof}", guard.node));
            }
            let proof = with_unseen(proof, guard.unseen.as_deref());
            self.journal.event(EventKind::HealProven { fault, healed, proof });
            // What is still in force is undone again when the steps are over.
            if healed {
                self.in_force.retain(|guard| guard.fault != fault);
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(StepProblem::Harness(problems.join("; "))) }
    }

    /// Reads the clock until it agrees with slotquake's. A server that does not run has no clock that could be wrong: it
    /// will read the right one when it is started.
    async fn prove_right(&self, node: NodeNo) -> (bool, String) {
        let deadline = Instant::now() + SHOWS_WITHIN;
        loop {
            let seen = match pace::read(&self.control, node).await {
                Ok(reading) => match reading.off(Skew::NONE) {
                    None => return (true, "its clock agrees with slotquake's".to_owned()),
                    Some(off) => format!("its clock is {off} slotquake's"),
                },
                Err(unknown) => match self.control.backend().state(node).await {
                    state @ ProcessState::Gone { .. } => {
                        return (true, format!("its {state}, so no server has a wrong clock"));
                    }
                    ProcessState::Running { .. } | ProcessState::Paused { .. } | ProcessState::Unknown { .. } => {
                        unknown
                    }
                },
            };
            if Instant::now() > deadline {
                return (false, seen);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
