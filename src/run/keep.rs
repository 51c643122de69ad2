//! Keeps a cluster up until it is asked to end, and executes requests on it. Writes a history like any run.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::status::{Status, status};
use super::steps::{Progress, Question};
use super::{Course, Notice, Options, Run, RunError, interruption, run_on_backend};
use crate::cluster::Backend;
use crate::history::{Event, EventKind, History, StepProblem};
use crate::plan::Plan;
use crate::server::Server;
use crate::suite::{Await, Step};
use crate::target::{Target, Targets};
use crate::units::ClientNo;
use crate::wire::Caller;

/// A request to a cluster that is kept up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Report the state of the nodes.
    Status,
    /// Inject or undo a fault, with the same steps as in a suite.
    Fault {
        /// A fault, `start`, `resume` or `heal`.
        step: Step,
        /// The seed for targets such as `any/master`.
        seed: u64,
    },
    /// Send a command from the address of the workload's first client, so that network faults affect it in the same
    /// way.
    Send {
        /// The node to ask; None for the first node that answers.
        to: Option<Target>,
        /// The command.
        words: Vec<String>,
        /// Whether MOVED and ASK are followed, as `redis-cli -c` does.
        follow: bool,
        /// Whether READONLY is sent first, so that a replica serves reads.
        readonly: bool,
    },
    /// Wait until something is so.
    Await(Await),
    /// Report where clients reach a node.
    Address {
        /// The node.
        of: Target,
    },
    /// Tear the cluster down. The answer is sent when that is done.
    Down,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The state of the nodes.
    Status(Status),
    /// The fault is in effect or undone. Contains its recorded events, including the proofs.
    Happened(Vec<Event>),
    /// It is so.
    Met,
    /// Where clients reach the node.
    Address(SocketAddr),
    /// A reply to a command, which may be an error reply.
    Reply {
        /// The reply as text.
        text: String,
        /// The node that replied.
        by: String,
    },
}

/// A request and the channel for its answer.
#[derive(Debug)]
pub struct Request {
    /// What to do.
    pub ask: Ask,
    /// Where to send the answer.
    pub answer: oneshot::Sender<Result<Answer, StepProblem>>,
}

/// The incoming requests, and the events of faults that were recorded during the current one.
pub(super) struct Asked {
    requests: mpsc::Receiver<Request>,
    happened: Arc<Mutex<Vec<Event>>>,
}

/// Forms the plan's cluster and keeps it up, without a workload, until a request or `options.stop` ends it.
/// Executes requests one after the other.
pub async fn keep(
    plan: Plan,
    server: Server,
    mut options: Options,
    requests: mpsc::Receiver<Request>,
) -> Result<History, RunError> {
    let happened = Arc::new(Mutex::new(Vec::new()));
    let (watcher, of_faults) = (options.watcher, Arc::clone(&happened));
    options.watcher = Arc::new(move |notice| {
        if let Notice::Event(event) = notice
            && is_of_a_fault(&event.kind)
        {
            of_faults.lock().expect("no holder panics").push(event.clone());
        }
        watcher(notice);
    });
    run_on_backend(plan, server, options, Course::Asked(Asked { requests, happened })).await
}

fn is_of_a_fault(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::FaultInjected { .. }
            | EventKind::NetworkFaultInjected { .. }
            | EventKind::ClockFaultInjected { .. }
            | EventKind::DiskFaultInjected { .. }
            | EventKind::DiskCounted { .. }
            | EventKind::FaultApplied { .. }
            | EventKind::FaultProven { .. }
            | EventKind::FaultEnded { .. }
            | EventKind::FaultHealed { .. }
            | EventKind::FaultLifted { .. }
            | EventKind::HealFailed { .. }
            | EventKind::HealProven { .. }
            | EventKind::Changed { .. }
            | EventKind::AddressChanged { .. }
            | EventKind::CameBack { .. }
            | EventKind::StartFailed { .. }
            | EventKind::FaultPersists { .. }
            | EventKind::Corrupted { .. }
            | EventKind::PowerLost { .. }
    )
}

impl<B: Backend> Run<B> {
    /// Executes requests until one of them ends the cluster.
    pub(super) async fn until_asked_to_end(mut self, mut asked: Asked) -> Result<(), RunError> {
        let Some(rules) = self.boot().await? else { return Ok(()) };
        let mut progress = Progress::new(rules, self.masters());
        let mut stop = self.stop.clone();
        loop {
            let done = async {
                match asked.requests.recv().await {
                    None | Some(Request { ask: Ask::Down, .. }) => false,
                    Some(Request { ask, answer }) => {
                        asked.happened.lock().expect("no holder panics").clear();
                        let result = self.answer(ask, &mut progress, &asked.happened).await;
                        // The client may have disconnected.
                        let _ = answer.send(result);
                        true
                    }
                }
            };
            tokio::select! {
                goes_on = done => if !goes_on { return Ok(()) },
                by = interruption(&mut stop) => {
                    self.journal.event(EventKind::Interrupted { by });
                    return Ok(());
                }
            }
        }
    }

    async fn answer(
        &mut self,
        ask: Ask,
        progress: &mut Progress,
        happened: &Mutex<Vec<Event>>,
    ) -> Result<Answer, StepProblem> {
        match ask {
            Ask::Status => Ok(Answer::Status(self.status().await)),
            Ask::Fault { step, seed } => {
                let step = self.admitted(step, seed)?;
                progress.before_a_fault(self.masters());
                self.fault(&step, progress.node_timeout()).await?;
                Ok(Answer::Happened(std::mem::take(&mut *happened.lock().expect("no holder panics"))))
            }
            Ask::Send { to, words, follow, readonly } => {
                let nodes = match to {
                    None => self.watch.snapshot().views.into_keys().collect(),
                    Some(to) => match self.plan.refuse_one(&to) {
                        None => self.resolve(&Targets::from(to))?,
                        Some(message) => return Err(StepProblem::Suite(message)),
                    },
                };
                let from = Caller { from: self.control.backend().client_ip(ClientNo(1)), ..Caller::default() };
                let question = Question { words, follow, readonly, from };
                let mut last = None;
                for node in nodes {
                    let reply = last.insert(self.probe(node, &question).await);
                    if reply.connected {
                        break;
                    }
                }
                let Some(reply) = last else { return Err(StepProblem::Harness("no node answers".to_owned())) };
                Ok(Answer::Reply { text: reply.text, by: reply.by.to_string() })
            }
            Ask::Await(wait) => {
                let step = self.admitted(Step::Await(wait), self.plan.seed)?;
                let Step::Await(wait) = &step else { unreachable!("a wait stays a wait") };
                self.wait(0, wait, progress).await?;
                Ok(Answer::Met)
            }
            Ask::Address { of } => {
                if let Some(message) = self.plan.refuse_one(&of) {
                    return Err(StepProblem::Suite(message));
                }
                let node = self.resolve(&Targets::from(of))?[0];
                Ok(Answer::Address(self.control.backend().addr(node)))
            }
            Ask::Down => unreachable!("it ends the loop"),
        }
    }

    fn admitted(&self, step: Step, seed: u64) -> Result<Step, StepProblem> {
        self.plan.admit(step, seed).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            StepProblem::Suite(problems.join("; "))
        })
    }

    async fn status(&self) -> Status {
        let mut processes = Vec::new();
        for node in self.control.nodes() {
            processes.push((node, self.control.backend().addr(node), self.control.backend().state(node).await));
        }
        status(&self.server, &self.watch.snapshot(), processes, &self.deal, self.injector.named_faults())
    }
}
