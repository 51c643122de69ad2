//! Faults of a server's process: ended, crashed, frozen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::{FaultIds, resolve};
use crate::cluster::control::AskError;
use crate::cluster::watch::Snapshot;
use crate::cluster::{Backend, Control, ProcessState};
use crate::fault::Action;
use crate::history::{EventKind, FaultKind, StepProblem};
use crate::journal::Journal;
use crate::slot::Deal;
use crate::target::{Target, Targets};
use crate::units::NodeNo;
use crate::wire::{CommandError, ConnectError};

/// How long a server may take to end after SIGTERM: Redis 7 and later wait up to 10 s for their
/// replicas (`shutdown-timeout`).
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// How long a server may take to answer after its start: it first loads its data.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// A frozen node must leave PING unanswered for this long.
const SILENCE: Duration = Duration::from_millis(300);

const POLL: Duration = Duration::from_millis(5);

/// A fault of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessFault {
    /// SIGTERM.
    Stop,
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Pause,
}

impl From<ProcessFault> for FaultKind {
    fn from(fault: ProcessFault) -> Self {
        match fault {
            ProcessFault::Stop => Self::Stop,
            ProcessFault::Kill => Self::Kill,
            ProcessFault::Pause => Self::Pause,
        }
    }
}

/// Injects faults of processes and undoes them; remembers which are in effect.
#[derive(Debug)]
pub struct ProcessInjector<B> {
    control: Arc<Control<B>>,
    journal: Arc<Journal>,
    ids: Arc<FaultIds>,
    deal: Deal,
    active: BTreeMap<NodeNo, Vec<u32>>,
}

impl<B: Backend> ProcessInjector<B> {
    /// An injector without active faults, for a cluster whose slots are dealt so.
    pub fn new(control: Arc<Control<B>>, journal: Arc<Journal>, ids: Arc<FaultIds>, deal: Deal) -> Self {
        Self { control, journal, ids, deal, active: BTreeMap::new() }
    }

    /// Injects one fault at every node that the targets mean now, at once, and proves each. Whether a
    /// node can suffer it is checked for all of them first, so a suite's error leaves no fault half
    /// injected.
    pub async fn inject(&mut self, kind: ProcessFault, targets: &Targets, now: &Snapshot) -> Result<(), StepProblem> {
        let nodes = self.resolve_all(targets, now)?;
        for &(_, node) in &nodes {
            let state = self.control.backend().state(node).await;
            let possible = matches!(
                (kind, &state),
                (_, ProcessState::Running { .. }) | (ProcessFault::Kill, ProcessState::Paused { .. })
            );
            if !possible {
                return Err(StepProblem::Suite(format!(
                    "{}: {targets} means {node}, and its {state}: a fault there would have no effect \
                     (hint: start or resume it first, or aim at another node)",
                    FaultKind::from(kind)
                )));
            }
        }
        let mut injected = Vec::new();
        for (target, node) in nodes {
            injected.push((self.signal(kind, target, node, now).await?, node));
        }
        let proofs = join_all(injected.iter().map(|&(fault, node)| self.prove(kind, fault, node))).await;
        let mut unproven = Vec::new();
        for ((fault, node), (in_effect, proof)) in injected.into_iter().zip(proofs) {
            if !in_effect {
                unproven.push(format!("{} of {node} is not in effect: {proof}", FaultKind::from(kind)));
            }
            self.journal.event(EventKind::FaultProven { fault, in_effect, proof });
        }
        if unproven.is_empty() { Ok(()) } else { Err(StepProblem::Harness(unproven.join("; "))) }
    }

    async fn signal(
        &mut self,
        kind: ProcessFault,
        target: &Target,
        node: NodeNo,
        now: &Snapshot,
    ) -> Result<u32, StepProblem> {
        let shard = now.shard_of(node, &self.deal);
        let fault = self.ids.next();
        self.journal.event(EventKind::FaultInjected {
            fault,
            kind: kind.into(),
            target: target.to_string(),
            node,
            shard,
            was_master: shard.is_some_and(|shard| now.master(shard, &self.deal) == Some(node)),
        });
        self.active.entry(node).or_default().push(fault);
        let backend = self.control.backend();
        match kind {
            ProcessFault::Stop => backend.act(node, Action::Stop).await,
            ProcessFault::Kill => backend.act(node, Action::Kill).await,
            ProcessFault::Pause => backend.act(node, Action::Pause).await,
        }
        .map_err(|error| StepProblem::Harness(error.to_string()))?;
        Ok(fault)
    }

    async fn prove(&self, kind: ProcessFault, fault: u32, node: NodeNo) -> (bool, String) {
        match kind {
            ProcessFault::Stop | ProcessFault::Kill => self.prove_gone(fault, node).await,
            ProcessFault::Pause => {
                self.journal.event(EventKind::FaultApplied { fault });
                self.prove_frozen(node).await
            }
        }
    }

    async fn prove_gone(&self, fault: u32, node: NodeNo) -> (bool, String) {
        let deadline = tokio::time::Instant::now() + ENDS_WITHIN;
        let state = loop {
            let state = self.control.backend().state(node).await;
            if matches!(state, ProcessState::Gone { .. }) || tokio::time::Instant::now() > deadline {
                break state;
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

    async fn prove_frozen(&self, node: NodeNo) -> (bool, String) {
        let answer = self.control.ask_apart(node, &["PING"], false, SILENCE).await;
        let state = self.control.backend().state(node).await;
        // Where a password or TLS comes before any command, that is what is not answered.
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

    /// Starts servers that a fault ended.
    pub async fn start(&mut self, targets: &Targets, now: &Snapshot) -> Result<(), StepProblem> {
        let nodes = self.resolve_all(targets, now)?;
        for &(_, node) in &nodes {
            let state = self.control.backend().state(node).await;
            if !matches!(state, ProcessState::Gone { .. }) {
                return Err(StepProblem::Suite(format!("start: {targets} means {node}, whose {state} already")));
            }
        }
        self.undo(nodes.into_iter().map(|(_, node)| node).collect(), "start").await
    }

    /// Lets frozen servers go on.
    pub async fn resume(&mut self, targets: &Targets, now: &Snapshot) -> Result<(), StepProblem> {
        let nodes = self.resolve_all(targets, now)?;
        for &(_, node) in &nodes {
            let state = self.control.backend().state(node).await;
            if !matches!(state, ProcessState::Paused { .. }) {
                return Err(StepProblem::Suite(format!(
                    "resume: {targets} means {node}, which is not frozen: {state}"
                )));
            }
        }
        self.undo(nodes.into_iter().map(|(_, node)| node).collect(), "resume").await
    }

    /// Undoes every fault that is still in effect.
    pub async fn heal_all(&mut self) -> Result<(), StepProblem> {
        self.undo(self.active.keys().copied().collect(), "heal").await
    }

    async fn undo(&mut self, nodes: Vec<NodeNo>, by: &str) -> Result<(), StepProblem> {
        let mut problems = Vec::new();
        let mut undone: Vec<(NodeNo, Vec<u32>)> = Vec::new();
        for node in nodes {
            let faults = self.active.remove(&node).unwrap_or_default();
            for &fault in &faults {
                self.journal.event(EventKind::FaultHealed { fault, by: by.to_owned() });
            }
            let backend = self.control.backend();
            let done = match backend.state(node).await {
                ProcessState::Gone { .. } => backend.act(node, Action::Start).await,
                ProcessState::Paused { .. } => backend.act(node, Action::Resume).await,
                ProcessState::Running { .. } => Ok(()),
            };
            for &fault in &faults {
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
            if !healed {
                problems.push(format!("{node} does not answer after its {by}: {proof}"));
            }
            for fault in faults {
                self.journal.event(EventKind::HealProven { fault, healed, proof: proof.clone() });
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(StepProblem::Harness(problems.join("; "))) }
    }

    async fn prove_answers(&self, node: NodeNo) -> (bool, String) {
        let deadline = tokio::time::Instant::now() + ANSWERS_WITHIN;
        loop {
            let answer = self.control.ask_apart(node, &["PING"], false, Duration::from_secs(1)).await;
            let state = self.control.backend().state(node).await;
            let seen = match answer {
                Ok(_) => return (true, format!("{state}; PING is answered")),
                Err(error) => error.to_string(),
            };
            if matches!(state, ProcessState::Gone { .. }) || tokio::time::Instant::now() > deadline {
                let log = self.control.backend().log_tail(node, 6).await;
                return (false, format!("{state}; PING: {seen}; the end of its log: {log}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn resolve_all<'t>(&self, targets: &'t Targets, now: &Snapshot) -> Result<Vec<(&'t Target, NodeNo)>, StepProblem> {
        let mut nodes: Vec<(&Target, NodeNo)> = Vec::new();
        for target in &targets.0 {
            for node in resolve(target, now, self.control.backend().size(), &self.deal).map_err(StepProblem::Suite)? {
                if !nodes.iter().any(|&(_, known)| known == node) {
                    nodes.push((target, node));
                }
            }
        }
        Ok(nodes)
    }
}
