//! A cluster that stands for as long as somebody wants it, and does what it is asked. Its history is written
//! as that of any run.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::status::{Status, status};
use super::steps::Question;
use super::{Course, Notice, Options, Run, RunError, interruption, run_in_place};
use crate::cluster::Backend;
use crate::history::{Event, EventKind, History, StepProblem};
use crate::plan::Plan;
use crate::server::Server;
use crate::spec::Rules;
use crate::suite::Step;
use crate::target::{Target, Targets};
use crate::units::ClientNo;
use crate::wire::Caller;

/// What can be asked of a cluster that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// How are the nodes?
    Status,
    /// Inject this fault, or undo one: the same steps as in a suite.
    Fault {
        /// A fault, `start`, `resume` or `heal`.
        step: Step,
        /// What `any/...` is drawn from.
        seed: u64,
    },
    /// Send a command as the workload's first client would: network faults hit it as they hit that client.
    Send {
        /// Whom to ask; None for the first node that answers.
        to: Option<Target>,
        /// The command.
        words: Vec<String>,
        /// Whether MOVED and ASK are followed, as `redis-cli -c` does.
        follow: bool,
        /// Whether READONLY is sent first, so that a replica serves reads.
        readonly: bool,
    },
    /// End everything. It is answered by the end.
    Down,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// How the nodes are.
    Status(Status),
    /// The fault is in effect, or undone: what was recorded of it, its proofs included.
    Happened(Vec<Event>),
    /// A command's answer, an error reply included.
    Reply {
        /// As text.
        text: String,
        /// Whose it is.
        by: String,
    },
}

/// One thing that is asked, and where the answer goes.
#[derive(Debug)]
pub struct Request {
    /// What.
    pub ask: Ask,
    /// Where.
    pub answer: oneshot::Sender<Result<Answer, StepProblem>>,
}

/// Requests, and what is recorded of faults while one is done.
pub(super) struct Asked {
    requests: mpsc::Receiver<Request>,
    happened: Arc<Mutex<Vec<Event>>>,
}

/// Forms the plan's cluster and keeps it, without a workload, until it is asked to end or `options.stop`
/// says so. Requests are done one after the other.
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
    run_in_place(plan, server, options, Course::Asked(Asked { requests, happened })).await
}

fn is_of_a_fault(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::FaultInjected { .. }
            | EventKind::NetworkFaultInjected { .. }
            | EventKind::FaultApplied { .. }
            | EventKind::FaultProven { .. }
            | EventKind::FaultEnded { .. }
            | EventKind::FaultHealed { .. }
            | EventKind::FaultLifted { .. }
            | EventKind::HealFailed { .. }
            | EventKind::HealProven { .. }
    )
}

impl<B: Backend> Run<B> {
    /// Does what it is asked, until that is to end.
    pub(super) async fn until_asked_to_end(mut self, mut asked: Asked) -> Result<(), RunError> {
        let Some(rules) = self.boot().await? else { return Ok(()) };
        let mut stop = self.stop.clone();
        loop {
            let done = async {
                match asked.requests.recv().await {
                    None | Some(Request { ask: Ask::Down, .. }) => false,
                    Some(Request { ask, answer }) => {
                        asked.happened.lock().expect("no holder panics").clear();
                        let result = self.answer(ask, &rules, &asked.happened).await;
                        // Whoever asked may have gone.
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

    async fn answer(&mut self, ask: Ask, rules: &Rules, happened: &Mutex<Vec<Event>>) -> Result<Answer, StepProblem> {
        match ask {
            Ask::Status => Ok(Answer::Status(self.status().await)),
            Ask::Fault { step, seed } => {
                let step = self.plan.admit(step, seed).map_err(|problems| {
                    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                    StepProblem::Suite(problems.join("; "))
                })?;
                self.fault(&step, rules.node_timeout).await?;
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
            Ask::Down => unreachable!("it ends the loop"),
        }
    }

    async fn status(&self) -> Status {
        let mut processes = Vec::new();
        for node in self.control.nodes() {
            processes.push((node, self.control.backend().addr(node), self.control.backend().state(node).await));
        }
        let faults = self.links.in_force().map(|(name, kind)| (name.to_owned(), kind)).collect();
        status(&self.server, &self.watch.snapshot(), processes, &self.deal, faults)
    }
}
