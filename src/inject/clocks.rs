//! Faults of clocks: a clock of a node's host is changed, read, and set right again. One that lasts for a time ends by
//! itself, and that is proven, too.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::watching::{Sign, Watching, with_unseen};
use super::{FaultIds, resolve};
use crate::cluster::pace::{self, Sighted};
use crate::cluster::watch::Snapshot;
use crate::cluster::{Backend, Control, ProcessState};
use crate::fault::{ClockChange, ClockFault, ClockOf, FaultKind};
use crate::history::{EventKind, Hit, StepProblem};
use crate::journal::Journal;
use crate::slot::Deal;
use crate::speed::clock::{Skew, up};
use crate::units::{NodeNo, Span};

/// The time limit for a change to show, beside the time that a drift takes.
const SHOWS_WITHIN: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(20);

/// How long before its end a fault that ends by itself is seen for the last time.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// What undoes a fault that ends by itself.
const BY_ITSELF: &str = "the end of";

/// Makes clocks wrong and sets them right. Remembers which are wrong.
#[derive(Debug)]
pub struct ClockInjector<B> {
    guards: Arc<Guards<B>>,
    ids: Arc<FaultIds>,
    deal: Deal,
    /// Those that wait for the ends of faults. They end with the injector.
    ends: JoinSet<()>,
}

#[derive(Debug)]
struct Guards<B> {
    control: Arc<Control<B>>,
    journal: Arc<Journal>,
    in_force: Mutex<Vec<Guard>>,
    /// The names of faults that ended by themselves.
    over: Mutex<Vec<String>>,
    /// Held while faults are undone: what waits for the end of a fault undoes it, too.
    undoing: tokio::sync::Mutex<()>,
    watching: Watching<B>,
}

/// A fault that the history holds and that is not yet proven to be undone.
#[derive(Debug, Clone)]
struct Guard {
    fault: u32,
    name: String,
    kind: FaultKind,
    node: NodeNo,
    of: ClockOf,
    is_healing: bool,
    /// Why no look at it succeeded while it was in force, if none did.
    unseen: Option<String>,
}

impl<B: Backend> ClockInjector<B> {
    /// An injector without faults in force.
    pub fn new(control: Arc<Control<B>>, journal: Arc<Journal>, ids: Arc<FaultIds>, deal: Deal) -> Self {
        let watching = Watching::begin(&control, &journal);
        let (in_force, over, undoing) = (Mutex::default(), Mutex::default(), tokio::sync::Mutex::default());
        let guards = Arc::new(Guards { control, journal, in_force, over, undoing, watching });
        Self { guards, ids, deal, ends: JoinSet::new() }
    }

    /// The faults in force, by name.
    pub fn in_force(&self) -> Vec<(String, FaultKind)> {
        self.guards.in_force().iter().map(|guard| (guard.name.clone(), guard.kind)).collect()
    }

    /// Makes a clock of the node that the target means now wrong, and proves it. The server must run, because nobody else
    /// tells its clock.
    pub async fn inject(&mut self, wanted: &ClockFault<'_>, now: &Snapshot) -> Result<(), StepProblem> {
        let (kind, of) = (wanted.kind, wanted.of);
        let change = wanted.change.clone().map_err(|(_, problem)| StepProblem::Suite(format!("{kind}: {problem}")))?;
        let (control, journal) = (&self.guards.control, &self.guards.journal);
        let nodes = resolve(wanted.node, now, control.backend().size(), &self.deal).map_err(StepProblem::Suite)?;
        let [node] = nodes[..] else {
            return Err(StepProblem::Suite(format!("{kind}: `{}` means several nodes", wanted.node)));
        };
        self.guards.refuse(kind, node, of, change).await?;
        let fault = self.ids.next();
        let name = wanted.name.map_or_else(|| format!("{kind}-{fault}"), str::to_owned);
        let shard = now.shard_of(node, &self.deal);
        let was_master = shard.is_some_and(|shard| now.master(shard, &self.deal) == Some(node));
        let guard = Guard { fault, name: name.clone(), kind, node, of, is_healing: false, unseen: None };
        self.guards.in_force().push(guard);
        journal.event(EventKind::ClockFaultInjected {
            fault,
            name,
            kind,
            target: wanted.node.to_string(),
            of,
            change,
            hit: Hit { node, shard, was_master },
        });
        let ends_at = change.lasts().map(|lasts| Instant::now() + lasts.0);
        let skew = Skew::now(of, change);
        control.backend().set_clock(node, skew).await.map_err(|error| StepProblem::Harness(error.to_string()))?;
        journal.event(EventKind::FaultApplied { fault });
        let (in_effect, proof) = self.guards.prove(node, skew).await;
        journal.event(EventKind::FaultProven { fault, in_effect, proof: proof.clone() });
        if !in_effect {
            return Err(StepProblem::Harness(format!("{kind} of {node} is not in effect: {proof}")));
        }
        self.guards.watching.watch(fault, Sign::Clock(node));
        if let Some(ends_at) = ends_at {
            let guards = Arc::clone(&self.guards);
            self.ends.spawn(async move { guards.end(fault, ends_at).await });
        }
        Ok(())
    }

    /// Whether `heal` may name a fault so: one in force, or one that has ended by itself. `all` is every one.
    pub fn has(&self, name: &str) -> bool {
        self.guards.in_force().iter().any(|guard| name == "all" || guard.name == name)
            || self.guards.over().iter().any(|over| name == "all" || over == name)
    }

    /// Sets the clocks right that the fault of that name, or `all` faults, made wrong.
    pub async fn heal(&mut self, name: &str) -> Result<(), StepProblem> {
        self.guards.undo("heal", |guard| name == "all" || guard.name == name).await
    }

    /// Sets every clock right.
    pub async fn heal_all(&mut self) -> Result<(), StepProblem> {
        self.heal("all").await
    }
}

impl<B: Backend> Guards<B> {
    fn in_force(&self) -> MutexGuard<'_, Vec<Guard>> {
        self.in_force.lock().expect("no holder panics")
    }

    fn over(&self) -> MutexGuard<'_, Vec<String>> {
        self.over.lock().expect("no holder panics")
    }

    /// Whether the clock of a node cannot be made wrong so now.
    async fn refuse(&self, kind: FaultKind, node: NodeNo, of: ClockOf, change: ClockChange) -> Result<(), StepProblem> {
        if let Some(other) = self.in_force().iter().find(|guard| guard.node == node) {
            return Err(StepProblem::Suite(format!(
                "{kind}: the clock of {node} is wrong already, by \"{}\" (hint: `heal: {}` first)",
                other.name, other.name
            )));
        }
        let backend = self.control.backend();
        let state = backend.state(node).await;
        if let ProcessState::Gone { .. } | ProcessState::Paused { .. } = state {
            return Err(StepProblem::Suite(format!(
                "{kind}: {node} cannot tell its clock: its {state} (hint: change its clock first: it stays wrong when the \
                 server is stopped or started)"
            )));
        }
        if let Some(obstacle) = backend.clock_obstacle(node).await {
            return Err(StepProblem::Suite(format!("{kind}: {node}: {obstacle}")));
        }
        match of {
            ClockOf::Wall => Ok(()),
            ClockOf::Monotonic => {
                let back_ns = [change.ahead_ns(0), 0].into_iter().min().unwrap_or_default().unsigned_abs();
                if Duration::from_nanos(back_ns) >= up() {
                    return Err(StepProblem::Suite(format!(
                        "{kind}: the monotonic clock of {node} cannot be set back by {}: it shows only {}",
                        Span(Duration::from_nanos(back_ns)),
                        Span(Duration::from_secs(up().as_secs()))
                    )));
                }
                match pace::no_monotonic_clock(&self.control, node).await {
                    None => Ok(()),
                    Some(why) => Err(StepProblem::Suite(format!("{kind}: {node} has no monotonic clock: {why}"))),
                }
            }
        }
    }

    /// Looks at the clock until it is wrong as it should be; one that strobes, until it was right after that.
    async fn prove(&self, node: NodeNo, skew: Skew) -> (bool, String) {
        let (tolerance, answers) = pace::tolerance(skew);
        let drift_ppm = match skew.change() {
            Some(ClockChange::Drift(drift)) => drift.ppm().unsigned_abs(),
            Some(ClockChange::Jump(_) | ClockChange::Strobe(_)) | None => 0,
        };
        let shows_after = tolerance * 2 * 1_000_000_u32.checked_div(drift_ppm).unwrap_or_default();
        let deadline = Instant::now() + SHOWS_WITHIN + shows_after;
        let strobes = skew.change().is_some_and(|change| change.lasts().is_some());
        let (mut wrong, mut was_wrong) = (0, None);
        loop {
            let seen = match pace::look(&self.control, node, skew.of().unwrap_or_default(), skew).await {
                Ok(Sighted { as_asked: true, is_right: false, seen }) => {
                    wrong += 1;
                    if wrong >= answers && !strobes {
                        return (true, seen);
                    }
                    was_wrong = Some(seen.clone());
                    seen
                }
                Ok(Sighted { as_asked: true, is_right: true, seen }) => {
                    if let Some(was_wrong) = was_wrong.filter(|_| strobes) {
                        return (true, format!("{was_wrong}, and then it agrees with it"));
                    }
                    (wrong, was_wrong) = (0, None);
                    seen
                }
                Ok(Sighted { as_asked: false, is_right: true, seen }) => {
                    (wrong, was_wrong) = (0, None);
                    seen
                }
                Ok(Sighted { as_asked: false, is_right: false, seen }) => return (false, seen),
                Err(unknown) => unknown,
            };
            if Instant::now() > deadline {
                return (false, seen);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits for the end of a fault that ends by itself, and proves it.
    async fn end(&self, fault: u32, ends_at: Instant) {
        tokio::time::sleep_until(ends_at - LAST_LOOK).await;
        let undoing = self.undoing.lock().await;
        let is_in_force = |guard: &Guard| guard.fault == fault && !guard.is_healing;
        if !self.in_force().iter().any(is_in_force) {
            return;
        }
        self.begin_undoing(fault, BY_ITSELF).await;
        tokio::time::sleep_until(ends_at).await;
        let name = self.in_force().iter().find(|guard| guard.fault == fault).map(|guard| guard.name.clone());
        self.over().extend(name);
        drop(undoing);
        // What is not right then is told by its event, and undone again when the steps are over.
        let _ = self.undo(BY_ITSELF, |guard| guard.fault == fault).await;
    }

    async fn begin_undoing(&self, fault: u32, by: &str) {
        let unseen = self.watching.release(fault).await;
        self.journal.event(EventKind::FaultHealed { fault, by: by.to_owned() });
        if let Some(guard) = self.in_force().iter_mut().find(|guard| guard.fault == fault) {
            (guard.is_healing, guard.unseen) = (true, unseen);
        }
    }

    /// Undoes the chosen faults. Continues where an interrupted call stopped.
    async fn undo(&self, by: &str, chosen: impl Fn(&Guard) -> bool) -> Result<(), StepProblem> {
        let _undoing = self.undoing.lock().await;
        let mut problems = Vec::new();
        let wanted: Vec<Guard> = self.in_force().iter().filter(|guard| chosen(guard)).cloned().collect();
        for guard in &wanted {
            let fault = guard.fault;
            if !guard.is_healing {
                self.begin_undoing(fault, by).await;
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
        for Guard { fault, .. } in wanted {
            let Some(guard) = self.in_force().iter().find(|guard| guard.fault == fault).cloned() else { continue };
            let (healed, proof) = self.prove_right(guard.node, guard.of).await;
            if !healed {
                problems.push(format!("the clock of {} is not right: {proof}", guard.node));
            }
            let proof = with_unseen(proof, guard.unseen.as_deref());
            self.journal.event(EventKind::HealProven { fault, healed, proof });
            // What is still in force is undone again when the steps are over.
            if healed {
                self.in_force().retain(|guard| guard.fault != fault);
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(StepProblem::Harness(problems.join("; "))) }
    }

    /// Looks at the clock until it agrees with slotquake's. A server that does not run has no clock that could be wrong: it
    /// will read the right one when it is started.
    async fn prove_right(&self, node: NodeNo, of: ClockOf) -> (bool, String) {
        let deadline = Instant::now() + SHOWS_WITHIN;
        loop {
            let seen = match pace::look(&self.control, node, of, Skew::NONE).await {
                Ok(Sighted { is_right: true, seen, .. }) => return (true, seen),
                Ok(Sighted { is_right: false, seen, .. }) => seen,
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
