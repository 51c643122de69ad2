//! Faults of hosts: a clock of a node's host, or its disk, is made wrong, watched, and set right again. One that lasts for a
//! time ends by itself, and that is proven, too.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::watching::{Sign, Watching, with_unseen};
use super::{FaultIds, clocks, disks, resolve};
use crate::cluster::watch::Snapshot;
use crate::cluster::{Backend, Control};
use crate::fault::{ClockFault, ClockOf, DiskFault, FaultKind};
use crate::history::{EventKind, Hit, StepProblem};
use crate::journal::Journal;
use crate::slot::Deal;
use crate::speed::clock::Skew;
use crate::speed::disk::Counts;
use crate::target::Target;
use crate::units::NodeNo;

/// How long before its end a fault that ends by itself is seen for the last time.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// What undoes a fault that ends by itself.
const BY_ITSELF: &str = "the end of";

/// Makes clocks and disks wrong and sets them right. Remembers which are wrong.
#[derive(Debug)]
pub struct HostInjector<B> {
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
    part: Part,
    is_healing: bool,
    /// Why no look at it succeeded while it was in force, if none did.
    unseen: Option<String>,
}

/// The part of a host that a fault makes wrong.
#[derive(Debug, Clone)]
enum Part {
    Clock(ClockOf),
    /// With the calls until then.
    Disk(Box<Counts>),
}

/// A fault that is about to be injected.
struct Begun {
    fault: u32,
    name: String,
    hit: Hit,
}

impl<B: Backend> HostInjector<B> {
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

    /// The one node that a target means now, unless a fault of that kind is in force there.
    fn node(&self, kind: FaultKind, target: &Target, now: &Snapshot) -> Result<NodeNo, StepProblem> {
        let size = self.guards.control.backend().size();
        let nodes = resolve(target, now, size, &self.deal).map_err(StepProblem::Suite)?;
        let [node] = nodes[..] else {
            return Err(StepProblem::Suite(format!("{kind}: `{target}` means several nodes")));
        };
        match self.guards.in_force().iter().find(|guard| guard.node == node && guard.kind == kind) {
            None => Ok(node),
            Some(other) => Err(StepProblem::Suite(format!(
                "{kind}: the {kind} of {node} is wrong already, by \"{}\" (hint: `heal: {}` first)",
                other.name, other.name
            ))),
        }
    }

    /// Numbers a fault and remembers it.
    fn begin(&self, kind: FaultKind, node: NodeNo, part: Part, name: Option<&str>, now: &Snapshot) -> Begun {
        let fault = self.ids.next();
        let name = name.map_or_else(|| format!("{kind}-{fault}"), str::to_owned);
        let shard = now.shard_of(node, &self.deal);
        let was_master = shard.is_some_and(|shard| now.master(shard, &self.deal) == Some(node));
        let guard = Guard { fault, name: name.clone(), kind, node, part, is_healing: false, unseen: None };
        self.guards.in_force().push(guard);
        Begun { fault, name, hit: Hit { node, shard, was_master } }
    }

    /// Records the proof, and watches a fault that is in effect.
    fn proven(&self, kind: FaultKind, fault: u32, sign: Sign, found: (bool, String)) -> Result<(), StepProblem> {
        let (in_effect, proof) = found;
        self.guards.journal.event(EventKind::FaultProven { fault, in_effect, proof: proof.clone() });
        if in_effect {
            self.guards.watching.watch(fault, sign);
            return Ok(());
        }
        Err(StepProblem::Harness(format!("{kind} is not in effect: {proof}")))
    }

    /// Makes a clock of the node that the target means now wrong, and proves it. The server must run, because nobody else
    /// tells its clock.
    pub async fn inject_clock(&mut self, wanted: &ClockFault<'_>, now: &Snapshot) -> Result<(), StepProblem> {
        let (kind, of) = (wanted.kind, wanted.of);
        let change = wanted.change.clone().map_err(|(_, problem)| StepProblem::Suite(format!("{kind}: {problem}")))?;
        let node = self.node(kind, wanted.node, now)?;
        let (control, journal) = (&self.guards.control, &self.guards.journal);
        clocks::refuse(control, kind, node, of, change).await?;
        let Begun { fault, name, hit } = self.begin(kind, node, Part::Clock(of), wanted.name, now);
        let target = wanted.node.to_string();
        journal.event(EventKind::ClockFaultInjected { fault, name, kind, target, of, change, hit });
        let ends_at = change.lasts().map(|lasts| Instant::now() + lasts.0);
        let skew = Skew::now(of, change);
        control.backend().set_clock(node, skew).await.map_err(|error| StepProblem::Harness(error.to_string()))?;
        journal.event(EventKind::FaultApplied { fault });
        let found = clocks::prove(control, node, skew).await;
        self.proven(kind, fault, Sign::Clock(node), found)?;
        if let Some(ends_at) = ends_at {
            let guards = Arc::clone(&self.guards);
            self.ends.spawn(async move { guards.end(fault, ends_at).await });
        }
        Ok(())
    }

    /// Makes the disk of the node that the target means now wrong, and proves it. If its server is down, the fault awaits the
    /// next one.
    pub async fn inject_disk(&mut self, wanted: &DiskFault<'_>, now: &Snapshot) -> Result<(), StepProblem> {
        let kind = wanted.kind;
        let change = wanted.change.clone().map_err(|(_, problem)| StepProblem::Suite(format!("{kind}: {problem}")))?;
        let node = self.node(kind, wanted.node, now)?;
        let (control, journal) = (&self.guards.control, &self.guards.journal);
        if let Some(obstacle) = control.backend().disk_obstacle(node) {
            return Err(StepProblem::Harness(format!("{kind}: {node}: {obstacle}")));
        }
        let harness = |error: crate::cluster::BackendError| StepProblem::Harness(error.to_string());
        let before = control.backend().disk(node).await.map_err(harness)?.counts;
        let part = Part::Disk(Box::new(before));
        let Begun { fault, name, hit } = self.begin(kind, node, part, wanted.name, now);
        let target = wanted.node.to_string();
        journal.event(EventKind::DiskFaultInjected { fault, name, kind, target, change, hit });
        control.backend().set_disk(node, Some(change)).await.map_err(harness)?;
        journal.event(EventKind::FaultApplied { fault });
        let found = disks::prove(control, node, &before).await;
        self.proven(kind, fault, Sign::Disk(node), found)
    }

    /// Whether `heal` may name a fault so: one in force, or one that has ended by itself. `all` is every one.
    pub fn has(&self, name: &str) -> bool {
        self.guards.in_force().iter().any(|guard| name == "all" || guard.name == name)
            || self.guards.over().iter().any(|over| name == "all" || over == name)
    }

    /// Sets right what the fault of that name, or `all` faults, made wrong.
    pub async fn heal(&mut self, name: &str) -> Result<(), StepProblem> {
        self.guards.undo("heal", |guard| name == "all" || guard.name == name).await
    }

    /// Sets everything right.
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

    /// Waits for the end of a fault that ends by itself, and proves it.
    async fn end(&self, fault: u32, ends_at: Instant) {
        tokio::time::sleep_until(ends_at - LAST_LOOK).await;
        let undoing = self.undoing.lock().await;
        let found = self.in_force().iter().find(|guard| guard.fault == fault && !guard.is_healing).cloned();
        let Some(guard) = found else { return };
        self.begin_undoing(&guard, BY_ITSELF).await;
        tokio::time::sleep_until(ends_at).await;
        self.over().push(guard.name);
        drop(undoing);
        // What is not right then is told by its event, and undone again when the steps are over.
        let _ = self.undo(BY_ITSELF, |guard| guard.fault == fault).await;
    }

    async fn begin_undoing(&self, guard: &Guard, by: &str) {
        let (fault, node) = (guard.fault, guard.node);
        let unseen = self.watching.release(fault).await;
        match &guard.part {
            Part::Clock(_) => {}
            Part::Disk(before) => disks::tell(&self.control, &self.journal, fault, node, before).await,
        }
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
            let (fault, node) = (guard.fault, guard.node);
            if !guard.is_healing {
                self.begin_undoing(guard, by).await;
            }
            let done = match guard.part {
                Part::Clock(_) => self.control.backend().set_clock(node, Skew::NONE).await,
                Part::Disk(_) => self.control.backend().set_disk(node, None).await,
            };
            match done {
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
            let (healed, proof) = match guard.part {
                Part::Clock(of) => clocks::prove_right(&self.control, guard.node, of).await,
                Part::Disk(_) => disks::prove_right(&self.control, guard.node).await,
            };
            if !healed {
                problems.push(format!("the {} of {} is not right: {proof}", guard.kind, guard.node));
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
}
