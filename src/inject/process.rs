//! Faults of a server's process: an action ends or freezes it, and another brings it back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::changes::Changes;
use super::watching::{Sight, Sign, Watching, process_sight, with_unseen};
use super::{FaultIds, resolve};
use crate::cluster::control::AskError;
use crate::cluster::watch::Snapshot;
use crate::cluster::{Backend, BackendError, Control, ProcessState, pace};
use crate::fault::{Action, FaultKind, ProcessEffect, ProcessFault};
use crate::history::{EventKind, StepProblem};
use crate::journal::Journal;
use crate::server::{Server, Version};
use crate::slot::Deal;
use crate::suite::{Change, Coming, Corrupt, Start};
use crate::target::{Member, Target, Targets};
use crate::units::{NodeNo, ShardNo};
use crate::wire::{CommandError, ConnectError};

/// The time limit for a server to end after SIGTERM. Redis 7 and later wait up to 10 s for their replicas
/// (`shutdown-timeout`).
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// After this time, SIGTERM is sent again to a server that still runs. One that writes its first append-only file after a full
/// resync refuses to end ("Writing initial AOF, can't exit", `prepareForShutdown` in `server.c`), and forgets the signal.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The time limit for a server to answer after its start. It first loads its data.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// How long PING must stay unanswered to prove that a node is frozen.
const SILENCE: Duration = Duration::from_millis(300);

const POLL: Duration = Duration::from_millis(5);

/// How many lines of the log of a server that ended are shown.
const LAST_LINES: usize = 6;

/// What a server writes to its log if it does not accept its configuration.
const REJECTED: &str = "FATAL CONFIG FILE ERROR";

/// Injects faults of processes and undoes them. Remembers which are in force.
#[derive(Debug)]
pub struct ProcessInjector<B> {
    control: Arc<Control<B>>,
    journal: Arc<Journal>,
    ids: Arc<FaultIds>,
    deal: Deal,
    changes: Changes<B>,
    in_force: Vec<Guard>,
    watching: Watching<B>,
    /// The nodes whose last start failed, as its step allows.
    left_down: BTreeSet<NodeNo>,
    /// The nodes whose last start might have failed, and did not.
    came_up: BTreeSet<NodeNo>,
}

/// A fault that the history holds and that is not yet undone.
#[derive(Debug, Clone, Copy)]
struct Guard {
    fault: u32,
    node: NodeNo,
    /// Its shard when the fault hit it: one that was replaced belongs to none.
    shard: Option<ShardNo>,
    process: ProcessFault,
}

/// A fault that is no longer watched, and why no look at it succeeded, if none did.
type Released = (u32, Option<String>);

impl<B: Backend> ProcessInjector<B> {
    /// An injector without faults in force.
    pub fn new(
        (control, journal): (Arc<Control<B>>, Arc<Journal>),
        ids: Arc<FaultIds>,
        deal: Deal,
        (servers, seed): (BTreeMap<String, Server>, u64),
    ) -> Self {
        let watching = Watching::begin(&control, &journal);
        let changes = Changes::new(Arc::clone(&control), Arc::clone(&journal), servers, seed);
        Self {
            control,
            journal,
            ids,
            deal,
            changes,
            in_force: Vec::new(),
            watching,
            left_down: BTreeSet::new(),
            came_up: BTreeSet::new(),
        }
    }

    /// Injects a fault at every node that the targets mean now, and proves each. First checks that it has an effect on
    /// all of them, so that a suite's error leaves no fault half injected.
    pub async fn inject(
        &mut self,
        kind: FaultKind,
        process: ProcessFault,
        targets: &Targets,
        now: &Snapshot,
    ) -> Result<(), StepProblem> {
        let nodes = self.resolve_all(targets, now)?;
        for &(_, node) in &nodes {
            let state = self.control.backend().state(node).await;
            // If the state is not known, the fault is tried, and its proof decides.
            if has_effect(process.inject, &state) == Some(false) {
                return Err(StepProblem::Suite(format!(
                    "{kind}: {targets} means {node}, where it has no effect: its {state} \
                     (hint: start or resume it first, or choose another node)",
                )));
            }
            if let Some(obstacle) = self.control.backend().power_obstacle(node).filter(|_| process.loses_unsynced) {
                return Err(StepProblem::Harness(format!("{kind}: {node}: {obstacle}")));
            }
        }
        let mut injected = Vec::new();
        for &(target, node) in &nodes {
            injected.push(self.begin(kind, process, (target, node), now).await);
            if !process.loses_unsynced {
                let done = self.control.backend().act(node, process.inject).await;
                done.map_err(|error| StepProblem::Harness(error.to_string()))?;
            }
        }
        if process.loses_unsynced {
            let nodes: Vec<NodeNo> = nodes.iter().map(|(_, node)| *node).collect();
            let done = self.control.backend().cut_power(&nodes).await;
            done.map_err(|error| StepProblem::Harness(error.to_string()))?;
        }
        let proofs = join_all(injected.iter().map(|guard| self.prove(guard))).await;
        let mut unproven = Vec::new();
        for (guard, (in_effect, proof)) in injected.into_iter().zip(proofs) {
            if !in_effect {
                unproven.push(format!("{kind} of {} is not in effect: {proof}", guard.node));
            }
            self.journal.event(EventKind::FaultProven { fault: guard.fault, in_effect, proof });
            if in_effect {
                self.watching.watch(guard.fault, Sign::Process(guard.node, process.effect));
            }
        }
        if unproven.is_empty() { Ok(()) } else { Err(StepProblem::Harness(unproven.join("; "))) }
    }

    /// Records that the injection of a fault begins.
    async fn begin(
        &mut self,
        kind: FaultKind,
        process: ProcessFault,
        (target, node): (&Target, NodeNo),
        now: &Snapshot,
    ) -> Guard {
        // This fault ends the effect of earlier ones of the same node, as killing a paused node does.
        for earlier in self.in_force.iter().filter(|guard| guard.node == node) {
            self.watching.release(earlier.fault).await;
        }
        self.came_up.remove(&node);
        let shard = now.shard_of(node, &self.deal);
        let fault = self.ids.next();
        self.journal.event(EventKind::FaultInjected {
            fault,
            kind,
            target: target.to_string(),
            node,
            shard,
            was_master: shard.is_some_and(|shard| now.master(shard, &self.deal) == Some(node)),
        });
        let guard = Guard { fault, node, shard, process };
        self.in_force.push(guard);
        guard
    }

    async fn prove(&self, guard: &Guard) -> (bool, String) {
        match guard.process.effect {
            ProcessEffect::Gone => match self.prove_gone(guard).await {
                (true, seen) if guard.process.loses_unsynced => self.lose_unsynced(guard, seen).await,
                proof => proof,
            },
            ProcessEffect::Frozen => {
                self.journal.event(EventKind::FaultApplied { fault: guard.fault });
                self.prove_frozen(guard.node).await
            }
        }
    }

    async fn prove_gone(&self, guard: &Guard) -> (bool, String) {
        let Guard { fault, node, .. } = *guard;
        let deadline = tokio::time::Instant::now() + ENDS_WITHIN;
        let mut ask_again = tokio::time::Instant::now() + ASK_AGAIN;
        let state = loop {
            let state = self.control.backend().state(node).await;
            let now = tokio::time::Instant::now();
            if matches!(state, ProcessState::Gone { .. }) || now > deadline {
                break state;
            }
            if guard.process.inject == Action::Stop && now > ask_again {
                ask_again = now + ASK_AGAIN;
                // If that fails, the state decides.
                if self.control.backend().act(node, Action::Stop).await.is_ok() {
                    let text = format!("{node} still runs after SIGTERM, which is sent again");
                    self.journal.event(EventKind::Note { text });
                }
            }
            tokio::time::sleep(POLL).await;
        };
        if matches!(state, ProcessState::Gone { .. }) {
            self.journal.event(EventKind::FaultApplied { fault });
        }
        let addr = self.control.backend().addr(node);
        let port = self.control.ask_apart(node, &["PING"], false, Duration::from_secs(1)).await;
        let closed = match &port {
            Err(AskError::Connect(error)) => self.control.backend().is_closed(node, error).await,
            _ => false,
        };
        let seen = match &port {
            Err(AskError::Connect(ConnectError::Refused(_))) => format!("{addr} refuses connections"),
            Err(error) => format!("{addr}: {error}"),
            Ok(_) => format!("{addr} still answers"),
        };
        (closed && matches!(state, ProcessState::Gone { .. }), format!("{state}; {seen}"))
    }

    /// Undoes what the server of a node, which is gone, had not synchronised to disk.
    async fn lose_unsynced(&self, guard: &Guard, seen: String) -> (bool, String) {
        let Guard { fault, node, .. } = *guard;
        match self.control.backend().lose_unsynced(node).await {
            Ok(unsynced) => {
                let proof = format!("{seen}; {}", unsynced.words());
                self.journal.event(EventKind::PowerLost { fault, node, unsynced });
                (true, proof)
            }
            Err(error) => (false, format!("{seen}; {error}")),
        }
    }

    async fn prove_frozen(&self, node: NodeNo) -> (bool, String) {
        let answer = self.control.ask_apart(node, &["PING"], false, SILENCE).await;
        let state = self.control.backend().state(node).await;
        // With a password or TLS, the handshake is what stays unanswered.
        let silent = matches!(
            answer,
            Err(AskError::Command(CommandError::TimedOut) | AskError::Connect(ConnectError::Unanswered(..)))
        );
        let seen = match answer {
            Err(AskError::Command(CommandError::TimedOut)) => format!("PING is not answered within {SILENCE:?}"),
            Err(error) => format!("PING: {error}"),
            Ok(_) => "PING is answered".to_owned(),
        };
        (silent && matches!(state, ProcessState::Paused { .. }), format!("{state}; {seen}"))
    }

    /// Undoes, by that action, the faults of the nodes that the targets mean now.
    pub async fn undo_at(
        &mut self,
        (action, start): (Action, Option<&Start>),
        targets: &Targets,
        now: &Snapshot,
    ) -> Result<(), StepProblem> {
        let mut wanted = Vec::new();
        for (_, node) in self.resolve_all(targets, now)? {
            // The newest fault is the one to undo, even if its effect has ended meanwhile.
            let newest = self.in_force.iter().rev().find(|guard| guard.node == node);
            let state = self.control.backend().state(node).await;
            let helps = || has_effect(action, &state) == Some(true);
            if action == Action::Start && self.came_up.contains(&node) && !helps() {
                let text = format!("{node} is not started, because an earlier start that might have failed did not");
                self.journal.event(EventKind::Note { text });
                continue;
            }
            if !newest.map_or_else(helps, |guard| guard.process.undo == action) {
                return Err(StepProblem::Suite(format!(
                    "{action}: {targets} means {node}, where it has no effect: its {state}"
                )));
            }
            wanted.push(node);
        }
        self.undo(wanted, action.word(), start).await
    }

    /// Damages a file of each node that the targets mean now.
    pub async fn corrupt(&mut self, wanted: &Corrupt, now: &Snapshot) -> Result<(), StepProblem> {
        for (_, node) in self.resolve_all(&wanted.node, now)? {
            self.changes.corrupt(node, wanted).await?;
        }
        Ok(())
    }

    /// The nodes that are down because their last start failed, as its step allows.
    pub fn left_down(&self) -> &BTreeSet<NodeNo> {
        &self.left_down
    }

    /// The nodes that the targets mean now.
    pub fn nodes(&self, targets: &Targets, now: &Snapshot) -> Result<Vec<NodeNo>, StepProblem> {
        Ok(self.resolve_all(targets, now)?.into_iter().map(|(_, node)| node).collect())
    }

    /// The versions of the nodes that a start gave another server.
    pub fn versions(&self) -> &BTreeMap<NodeNo, Version> {
        self.changes.versions()
    }

    /// Undoes every fault that is in force.
    pub async fn heal_all(&mut self) -> Result<(), StepProblem> {
        let nodes: BTreeSet<NodeNo> = self.in_force.iter().map(|guard| guard.node).collect();
        self.undo(nodes.into_iter().collect(), "heal", None).await
    }

    async fn undo(&mut self, nodes: Vec<NodeNo>, by: &str, start: Option<&Start>) -> Result<(), StepProblem> {
        let expect = start.map_or(Coming::Up, |start| start.expect);
        let change = start.map(|start| &start.change).filter(|change| !change.is_nothing());
        let (mut problems, mut ended) = (Vec::new(), Vec::new());
        let mut undone: Vec<(NodeNo, Vec<Released>)> = Vec::new();
        for node in nodes {
            let guards: Vec<Guard> = self.in_force.iter().filter(|guard| guard.node == node).copied().collect();
            let mut faults = Vec::new();
            for &Guard { fault, .. } in &guards {
                faults.push((fault, self.watching.release(fault).await));
                self.journal.event(EventKind::FaultHealed { fault, by: by.to_owned() });
            }
            if let Some(change) = change {
                self.changes.make(node, change).await?;
            }
            let done = self.undo_newest(node, guards.last()).await;
            for &(fault, _) in &faults {
                self.journal.event(match &done {
                    Ok(()) => EventKind::FaultLifted { fault },
                    Err(error) => EventKind::HealFailed { fault, reason: error.to_string() },
                });
            }
            problems.extend(done.err().map(|error| error.to_string()));
            undone.push((node, faults));
        }
        let proofs = join_all(undone.iter().map(|&(node, _)| self.prove_answers(node))).await;
        for ((node, faults), (healed, proof)) in undone.into_iter().zip(proofs) {
            let has_ended = !healed && self.has_ended(node).await;
            if has_ended && !expect.is_up() && !proof.contains(REJECTED) {
                self.stays_down(node, expect, change).await?;
                continue;
            }
            self.left_down.remove(&node);
            if healed && expect == Coming::Either {
                self.came_up.insert(node);
            }
            let damaged = self.changes.is_damaged(node).then(Change::default);
            match (healed, change.or(damaged.as_ref())) {
                (true, None) => {}
                (true, Some(change)) => problems.extend(self.changes.prove(node, change).await.err()),
                // A server that was changed and ends again says so of itself.
                (false, Some(change)) if has_ended && by == Action::Start.word() => {
                    ended.push(format!("{node} came back {} and ended: {proof}", or_damaged(change)));
                }
                (false, _) => problems.push(format!("{node} does not answer after its {by}: {proof}")),
            }
            if healed && expect == Coming::Down {
                ended.push(format!("{node} came up, and the step expects that it does not: {proof}"));
            }
            // The suite keeps the node down, not the cluster.
            let is_rejected = !healed && change.is_some() && proof.contains(REJECTED);
            for (fault, unseen) in faults {
                if is_rejected {
                    let reason = format!("{node} rejects the configuration of the step");
                    self.journal.event(EventKind::HealFailed { fault, reason });
                }
                let proof = with_unseen(proof.clone(), unseen.as_deref());
                self.journal.event(EventKind::HealProven { fault, healed, proof });
                // Forget the fault only now, so that the end of the run undoes it if this is interrupted.
                self.in_force.retain(|guard| guard.fault != fault);
            }
        }
        match (problems.is_empty(), ended.is_empty()) {
            (true, true) => Ok(()),
            (true, false) if ended.iter().any(|text| text.contains(REJECTED)) => {
                Err(StepProblem::Suite(ended.join("; ")))
            }
            (true, false) => Err(StepProblem::Unmet(ended.join("; "))),
            (false, _) => Err(StepProblem::Harness([problems, ended].concat().join("; "))),
        }
    }

    /// Records that a server ended instead of coming up, which its step allows. What ended it before goes on.
    async fn stays_down(&mut self, node: NodeNo, expect: Coming, change: Option<&Change>) -> Result<(), StepProblem> {
        let backend = self.control.backend();
        let exit = backend.ended(node).await.map(|ended| ended.exit);
        let log = backend.log_tail(node, LAST_LINES).await.lines().map(str::to_owned).collect();
        let proof = backend.state(node).await.to_string();
        let words = change.cloned().unwrap_or_default();
        self.journal.event(EventKind::StartFailed { node, change: words, expect, exit, log });
        self.left_down.insert(node);
        let guards: Vec<Guard> = self.in_force.iter().filter(|guard| guard.node == node).copied().collect();
        for guard in &guards {
            self.journal.event(EventKind::FaultPersists { fault: guard.fault, proof: proof.clone() });
        }
        // It ended the effect of the earlier ones.
        if let Some(newest) = guards.last() {
            self.watching.watch(newest.fault, Sign::Process(node, newest.process.effect));
        }
        if change.is_some() { self.changes.take_back(node).await } else { Ok(()) }
    }

    async fn has_ended(&self, node: NodeNo) -> bool {
        matches!(self.control.backend().state(node).await, ProcessState::Gone { .. })
    }

    /// Undoes the newest fault of a node, which ended the effect of the earlier ones. If it is no longer in effect, or
    /// there is none, brings the server back from its present state.
    async fn undo_newest(&self, node: NodeNo, newest: Option<&Guard>) -> Result<(), BackendError> {
        let backend = self.control.backend();
        let state = backend.state(node).await;
        let action = match (newest, &state) {
            (Some(guard), state)
                if matches!(process_sight(guard.process.effect, state), Sight::InEffect | Sight::Unknown(_)) =>
            {
                guard.process.undo
            }
            (_, ProcessState::Gone { .. }) => Action::Start,
            (_, ProcessState::Paused { .. }) => Action::Resume,
            (_, ProcessState::Running { .. } | ProcessState::Unknown { .. }) => return Ok(()),
        };
        backend.act(node, action).await
    }

    async fn prove_answers(&self, node: NodeNo) -> (bool, String) {
        let deadline = tokio::time::Instant::now() + ANSWERS_WITHIN;
        loop {
            let answer = self.control.ask_apart(node, &["PING"], false, Duration::from_secs(1)).await;
            let state = self.control.backend().state(node).await;
            let seen = match answer {
                Ok(_) => {
                    let backend = self.control.backend();
                    if let Some(obstacle) = backend.disk_obstacle(node) {
                        return (false, format!("{state}; PING is answered, but {obstacle}"));
                    }
                    return match pace::prove(&self.control, &self.journal, node).await {
                        Ok(()) => (true, format!("{state}; PING is answered")),
                        Err(seen) => (false, format!("{state}; PING is answered, but {seen}")),
                    };
                }
                Err(error) => error.to_string(),
            };
            if matches!(state, ProcessState::Gone { .. }) || tokio::time::Instant::now() > deadline {
                let log = self.control.backend().log_tail(node, LAST_LINES).await;
                return (false, format!("{state}; PING: {seen}; the end of its log: {log}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The nodes that faults in force have hit, if the target means those.
    fn hit(&self, target: &Target) -> Option<Vec<NodeNo>> {
        let (shard, effect) = match target {
            Target::Member(owner, Member::Down) => (owner.shard(&self.deal), ProcessEffect::Gone),
            Target::Member(owner, Member::Paused) => (owner.shard(&self.deal), ProcessEffect::Frozen),
            Target::Member(_, Member::Master | Member::Replica | Member::Replicas | Member::Every)
            | Target::Node(_)
            | Target::Group(_)
            | Target::Clients(_)
            | Target::Others => return None,
        };
        // The newest fault of a node says how it is.
        let newest =
            |guard: &&Guard| !self.in_force.iter().any(|other| other.node == guard.node && other.fault > guard.fault);
        let is_meant = |guard: &&Guard| guard.shard == shard && guard.process.effect == effect;
        Some(self.in_force.iter().filter(newest).filter(is_meant).map(|guard| guard.node).collect())
    }

    fn resolve_all<'t>(&self, targets: &'t Targets, now: &Snapshot) -> Result<Vec<(&'t Target, NodeNo)>, StepProblem> {
        let mut nodes: Vec<(&Target, NodeNo)> = Vec::new();
        for target in &targets.0 {
            let meant = match self.hit(target) {
                Some(hit) if hit.is_empty() => Err(format!("`{target}` means no node at this moment")),
                Some(hit) => Ok(hit),
                None => resolve(target, now, self.control.backend().size(), &self.deal),
            };
            for node in meant.map_err(StepProblem::Suite)? {
                if !nodes.iter().any(|&(_, known)| known == node) {
                    nodes.push((target, node));
                }
            }
        }
        Ok(nodes)
    }
}

/// How a node came back, in words.
fn or_damaged(change: &Change) -> String {
    if change.is_nothing() { "with a damaged file".to_owned() } else { change.words() }
}

/// Whether an action has an effect on a process in that state; None if the state is not known.
fn has_effect(action: Action, state: &ProcessState) -> Option<bool> {
    let process = match state {
        ProcessState::Running { .. } => None,
        ProcessState::Paused { .. } => Some(ProcessEffect::Frozen),
        ProcessState::Gone { .. } => Some(ProcessEffect::Gone),
        ProcessState::Unknown { .. } => return None,
    };
    Some(action.has_effect_on(process))
}
