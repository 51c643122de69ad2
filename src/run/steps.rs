//! The steps of a plan, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::logs::Logs;
use super::programs::{Errand, Programs};
use super::{Run, interruption};
use crate::cluster::Backend;
use crate::cluster::control::AskError;
use crate::cluster::watch::Snapshot;
use crate::history::{EventKind, StepProblem};
use crate::inject::resolve;
use crate::plan::Plan;
use crate::slot::Deal;
use crate::spec::{Rules, bus_links_back};
use crate::suite::{
    Answer, Await, Command, CommandLine, Condition, Does, Errors, Exec, Expect, IfImpossible, Probe, RoleIs, Step, When,
};
use crate::target::{Target, Targets};
use crate::topology::{Health, Role};
use crate::units::{Bound, NodeNo, ShardNo};
use crate::wire::{Caller, CommandError, redirect, text};

const COMMAND_WITHIN: Duration = Duration::from_secs(5);

/// The most redirections to follow. A stable cluster needs one.
const MOST_REDIRECTS: usize = 5;

/// State that steps pass to later steps.
pub(super) struct Progress {
    rules: Rules,
    /// The master of each shard just before a fault or a command last affected it.
    masters: BTreeMap<ShardNo, NodeNo>,
    /// The logs since the latest step that did something.
    logs: Logs,
    programs: Programs,
}

impl Progress {
    pub(super) fn new(rules: Rules, masters: BTreeMap<ShardNo, NodeNo>) -> Self {
        Self { rules, masters, logs: Logs::default(), programs: Programs::new() }
    }

    /// Takes the masters for those just before a fault.
    pub(super) fn before_a_fault(&mut self, masters: BTreeMap<ShardNo, NodeNo>) {
        self.masters = masters;
    }

    pub(super) fn node_timeout(&self) -> Duration {
        self.rules.node_timeout
    }
}

impl<B: Backend> Run<B> {
    /// Runs the steps until one fails, the time is up, or the user ends the run. Returns whether the user ended it.
    pub(super) async fn steps(&mut self, rules: Rules) -> bool {
        let steps = self.plan.steps.clone();
        let deadline = Instant::now() + self.plan.max_duration.0;
        let mut stop = self.stop.clone();
        let mut progress = Progress::new(rules, self.masters());
        for (number, step) in steps.iter().enumerate() {
            self.journal.event(EventKind::StepBegan { step: number });
            let mut problem = tokio::select! {
                problem = self.step(number, step, &mut progress) => problem.err(),
                () = tokio::time::sleep_until(deadline) => Some(StepProblem::Suite(format!(
                    "the steps took longer than max-duration, {} (hint: raise max-duration)", self.plan.max_duration
                ))),
                by = interruption(&mut stop) => {
                    self.journal.event(EventKind::Interrupted { by });
                    return true;
                }
            };
            let in_time = Instant::now() < deadline;
            if let Some(why) = problem.as_ref().filter(|_| in_time).and_then(|problem| self.left_out(step, problem)) {
                self.journal.event(EventKind::Impossible { step: number, why: why.to_owned() });
                problem = None;
            }
            let ended =
                problem.is_some() && !matches!((step, &problem), (Step::Expect(_), Some(StepProblem::Unmet(_))));
            self.journal.event(EventKind::StepEnded { step: number, problem });
            if ended {
                return false;
            }
        }
        false
    }

    /// Why a step is left out rather than ending the run, if the suite wants that: it is impossible now.
    fn left_out<'a>(&self, step: &Step, problem: &'a StepProblem) -> Option<&'a str> {
        if self.plan.if_impossible != IfImpossible::Skip {
            return None;
        }
        match (step.does(), problem) {
            (Does::Fault(_) | Does::Undo(..) | Does::Heal(_), StepProblem::Suite(why))
            // The node is down, frozen or cut off, or says no.
            | (Does::Command(_), StepProblem::Suite(why) | StepProblem::Harness(why))
            // Nobody knows beforehand whether there will be a failover to tell of.
            | (Does::When(_), StepProblem::Suite(why) | StepProblem::Unmet(why)) => Some(why),
            (
                Does::Fault(_)
                | Does::Undo(..)
                | Does::Heal(_)
                | Does::Command(_)
                | Does::Phase(_)
                | Does::Settle(_)
                | Does::Corrupt(_)
                | Does::Await(_)
                | Does::Expect(_)
                | Does::Exec(_)
                | Does::When(_)
                | Does::Random(_),
                _,
            ) => None,
        }
    }

    async fn step(&mut self, number: usize, step: &Step, progress: &mut Progress) -> Result<(), StepProblem> {
        if let Does::Fault(_) | Does::Undo(..) | Does::Heal(_) | Does::Command(_) | Does::Exec(_) = step.does() {
            progress.logs.mark(self.control.backend());
        }
        match step.does() {
            Does::When(when) => self.when(when, progress).await,
            Does::Phase(name) => {
                self.journal.event(EventKind::Phase { name: name.to_owned() });
                name.clone_into(&mut progress.programs.phase);
                Ok(())
            }
            Does::Settle(span) => {
                tokio::time::sleep(span.0).await;
                Ok(())
            }
            Does::Command(command) => self.command(number, command, progress).await,
            Does::Await(wait) => self.wait(number, wait, progress).await,
            Does::Expect(expect) => self.expect(number, expect, &mut progress.programs).await,
            Does::Exec(exec) => self.exec(number, exec, progress).await,
            Does::Corrupt(_) | Does::Random(_) => self.fault(step, progress.rules.node_timeout).await,
            Does::Fault(_) => {
                progress.before_a_fault(self.masters());
                self.fault(step, progress.rules.node_timeout).await
            }
            Does::Undo(..) | Does::Heal(_) => {
                let done = self.fault(step, progress.rules.node_timeout).await;
                if step.change().is_some() {
                    self.renew(&mut progress.rules).await;
                }
                done
            }
        }
    }

    /// Adapts the rules to servers that came back different.
    async fn renew(&self, rules: &mut Rules) {
        if let Some(node_timeout) = self.record_config().await {
            rules.node_timeout = node_timeout;
        }
        let changed = self.injector.versions();
        let at_boot = (changed.len() < self.plan.nodes.len()).then_some(self.server.version);
        *rules = rules.with_slowest(changed.values().copied().chain(at_boot));
    }

    /// Injects or undoes a fault, or damages a file. Rejects every other step.
    pub(super) async fn fault(&mut self, step: &Step, node_timeout: Duration) -> Result<(), StepProblem> {
        let now = self.watch.snapshot();
        match step.does() {
            Does::Fault(fault) => self.injector.inject(&fault, &now).await,
            Does::Undo(action, targets, start) => self.injector.undo((action, start), targets, &now).await,
            Does::Corrupt(corrupt) => self.injector.corrupt(corrupt, &now).await,
            Does::Heal(name) => self.injector.heal(name, &self.watch, bus_links_back(node_timeout)).await,
            Does::Phase(_)
            | Does::Settle(_)
            | Does::Command(_)
            | Does::Await(_)
            | Does::Expect(_)
            | Does::Exec(_)
            | Does::When(_)
            | Does::Random(_) => {
                Err(StepProblem::Suite("this step neither injects nor undoes a fault, nor damages a file".to_owned()))
            }
        }
    }

    pub(super) fn masters(&self) -> BTreeMap<ShardNo, NodeNo> {
        let now = self.watch.snapshot();
        self.deal.shards().filter_map(|shard| Some((shard, now.master(shard, &self.deal)?))).collect()
    }

    pub(super) fn resolve(&self, targets: &Targets) -> Result<Vec<NodeNo>, StepProblem> {
        let now = self.watch.snapshot();
        let mut nodes = Vec::new();
        for target in &targets.0 {
            nodes.extend(resolve(target, &now, self.plan.nodes.len(), &self.deal).map_err(StepProblem::Suite)?);
        }
        Ok(nodes)
    }

    async fn command(&mut self, number: usize, command: &Command, progress: &mut Progress) -> Result<(), StepProblem> {
        progress.before_a_fault(self.masters());
        let words = self.fill_in(&command.send, |node| self.control.backend().announced(node))?;
        for node in self.left_in(number, self.resolve(&command.to)?) {
            let words = self.admit(node, &words).await?;
            let answer = self.control.ask_apart(node, &words, false, COMMAND_WITHIN).await;
            let reply = answer.as_ref().map_or_else(ToString::to_string, text);
            self.journal.event(EventKind::Commanded { step: number, node, reply: reply.clone() });
            match answer {
                Ok(_) => {}
                // The reply is recorded.
                Err(AskError::Command(CommandError::Reply(_))) if command.errors == Errors::Allow => {}
                Err(AskError::Command(CommandError::Reply(_))) => {
                    return Err(StepProblem::Suite(format!("{node} rejected `{}`: {reply}", command.send)));
                }
                Err(_) => return Err(StepProblem::Harness(format!("`{}` to {node}: {reply}", command.send))),
            }
        }
        self.renew_node_timeout(progress).await;
        Ok(())
    }

    /// Adapts the rules to a `cluster-node-timeout` that the step may have changed.
    async fn renew_node_timeout(&self, progress: &mut Progress) {
        if let Some(node_timeout) = self.record_config().await {
            progress.rules.node_timeout = node_timeout;
        }
    }

    async fn exec(&mut self, number: usize, exec: &Exec, progress: &mut Progress) -> Result<(), StepProblem> {
        // The program may do anything to the cluster.
        progress.before_a_fault(self.masters());
        let errand = Errand { line: &exec.run, wanted: exec.wanted(), within: exec.within.0, repeats: false };
        let done = self.program(number, &errand, &mut progress.programs).await;
        self.renew_node_timeout(progress).await;
        match done {
            Err(StepProblem::Unmet(_)) if exec.errors == Errors::Allow => Ok(()),
            done => done,
        }
    }

    /// Waits for a line of a log, and for a while after it.
    async fn when(&self, when: &When, progress: &mut Progress) -> Result<(), StepProblem> {
        let within = match when.within {
            Bound::Fixed(span) => span.0,
            Bound::Spec => progress.rules.patience(),
        };
        let nodes = self.resolve(&Targets::from(when.of.clone()))?;
        let with_id = |node: NodeNo| Some((node, self.control.roster().id(node)?));
        let of: Vec<(NodeNo, String)> = nodes.into_iter().filter_map(with_id).collect();
        let Some(told) = progress.logs.until(when.event, &of, within).await else {
            let within = humantime::format_duration(Duration::from_millis(within.as_millis() as u64));
            return Err(StepProblem::Unmet(format!("no log told of {} of {} within {within}", when.event, when.of)));
        };
        let seen = Instant::now();
        tokio::time::sleep(when.after.0).await;
        let text = format!(
            "{} of {}: {} wrote it in its log, seen {} ms later; the next step follows {} ms after that",
            when.event,
            when.of,
            told.by,
            told.late.as_millis(),
            seen.elapsed().as_millis()
        );
        self.journal.event(EventKind::Note { text });
        Ok(())
    }

    /// The nodes of a step without those that did not start, as an earlier step allows. Records which are left out.
    fn left_in(&self, step: usize, nodes: Vec<NodeNo>) -> Vec<NodeNo> {
        let (out, others): (Vec<NodeNo>, Vec<NodeNo>) =
            nodes.into_iter().partition(|node| self.injector.left_down().contains(node));
        if !out.is_empty() {
            self.journal.event(EventKind::LeftOut { step, nodes: out, others: !others.is_empty() });
        }
        others
    }

    async fn admit(&self, node: NodeNo, words: &[String]) -> Result<Vec<String>, StepProblem> {
        let admitted = self.control.backend().admit(node, words.to_vec()).await;
        admitted.map_err(|why| StepProblem::Suite(format!("`{}` is not sent to {node}: {why}", words.join(" "))))
    }

    pub(super) async fn wait(&mut self, number: usize, wait: &Await, progress: &Progress) -> Result<(), StepProblem> {
        let condition = wait.condition().map_err(StepProblem::Suite)?;
        let within = match wait.within {
            Bound::Fixed(span) => span.0,
            Bound::Spec => progress.rules.patience(),
        };
        let nodes = match &condition {
            Condition::InSync(targets)
            | Condition::ClusterState { of: targets, .. }
            | Condition::Converged(targets) => Some(self.resolve(targets)?),
            Condition::Role(target, _) => Some(self.resolve(&Targets::from((*target).clone()))?),
            Condition::Failed(_) | Condition::Promoted(_) => None,
        };
        // What the other nodes say of one that did not start can be waited for, not what it says itself.
        let nodes = match (&condition, nodes) {
            (Condition::Failed(targets), _) => self.resolve(targets)?,
            (_, None) => Vec::new(),
            (_, Some(nodes)) => {
                let nodes = self.left_in(number, nodes);
                if nodes.is_empty() {
                    return Ok(());
                }
                nodes
            }
        };
        let down = self.injector.left_down().clone();
        let deal = self.deal.clone();
        let began = Instant::now();
        let result = self
            .watch
            .until(within, |now| match &condition {
                Condition::Promoted(shard) => promoted(now, *shard, &deal, progress.masters.get(shard).copied()),
                Condition::Failed(_) => all(&nodes, |node| failed(now, node, deal.count())),
                Condition::InSync(_) => all(&nodes, |node| in_sync(now, node, (&deal, &self.plan), &down)),
                Condition::ClusterState { ok, .. } => all(&nodes, |node| cluster_state(now, node, *ok)),
                Condition::Role(_, is) => all(&nodes, |node| role(now, node, **is)),
                Condition::Converged(_) => all(&nodes, |node| answers(now, node)).and_then(|()| now.agreed()),
            })
            .await;
        let condition = condition.to_string();
        let last = result.as_ref().err().cloned().unwrap_or_default();
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        self.journal.event(EventKind::Awaited {
            step: number,
            condition: condition.clone(),
            met: result.is_ok(),
            waited_ms: ms(began.elapsed()),
            within_ms: ms(within),
            last: last.clone(),
        });
        result.map_err(|_| {
            let within = humantime::format_duration(Duration::from_millis(within.as_millis() as u64));
            StepProblem::Unmet(format!("`{condition}` was not met within {within}: {last}"))
        })
    }

    async fn expect(&mut self, number: usize, expect: &Expect, programs: &mut Programs) -> Result<(), StepProblem> {
        let (send, to, answer) = match expect.probe().map_err(StepProblem::Suite)? {
            Probe::Command(send, to, answer) => (send, to, answer),
            Probe::Program(line, wanted, within) => {
                let errand = Errand { line, wanted, within: within.0, repeats: true };
                return self.program(number, &errand, programs).await;
            }
        };
        let [node] = self.resolve(&Targets::from(to.clone()))?[..] else {
            return Err(StepProblem::Suite(format!("`expect` needs one node, but \"{to}\" means several")));
        };
        // That it refuses connections can be expected of a node that did not start.
        if answer != Answer::Refused && self.left_in(number, vec![node]).is_empty() {
            return Ok(());
        }
        let moved_to = match answer {
            Answer::MovedTo(target) => self.resolve(&Targets::from(target.clone()))?.first().copied(),
            _ => None,
        };
        let words = self.fill_in(send, |node| self.control.backend().announced(node))?;
        let words = self.admit(node, &words).await?;
        let question = Question { words, follow: expect.follow, readonly: expect.readonly, from: Caller::default() };
        let Reply { text: reply, refused, .. } = self.probe(node, &question).await;
        let asked = self.control.backend().announced(node);
        let expected = answer.words("an answer");
        let met = match answer {
            Answer::MovedTo(_) => {
                let named = redirect(&reply, asked).filter(|redirect| !redirect.ask);
                let named = named.and_then(|redirect| self.control.backend().node_at(redirect.addr));
                named.is_some() && named == moved_to
            }
            Answer::Refused => refused,
            Answer::Is(_) | Answer::StartsWith(_) | Answer::Contains(_) => answer.is_met(&reply) == Some(true),
        };
        self.journal.event(EventKind::Expected {
            step: number,
            node,
            expected: expected.clone(),
            reply: reply.clone(),
            met,
        });
        if met {
            return Ok(());
        }
        Err(StepProblem::Unmet(format!("expected `{send}` on {node} to return {expected}, but got: {reply}")))
    }

    /// Replaces each word `{id:TARGET}`, `{former-id:TARGET}`, `{host:TARGET}`, `{port:TARGET}` and `{address:TARGET}` by the
    /// node's id, the one that it had before, its host, its port, or both. Other braces are hash tags and stay.
    pub(super) fn fill_in(
        &self,
        line: &CommandLine,
        addr: impl Fn(NodeNo) -> SocketAddr,
    ) -> Result<Vec<String>, StepProblem> {
        line.0.iter().map(|word| self.fill_in_word(word, &addr)).collect()
    }

    fn fill_in_word(&self, word: &str, addr: &impl Fn(NodeNo) -> SocketAddr) -> Result<String, StepProblem> {
        let Some((name, target)) = word.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')?.split_once(':'))
        else {
            return Ok(word.to_owned());
        };
        if !["id", "former-id", "host", "port", "address"].contains(&name) {
            return Ok(word.to_owned());
        }
        let target: Target = target.parse().map_err(|error| StepProblem::Suite(format!("`{word}`: {error}")))?;
        let [node] = self.resolve(&Targets::from(target))?[..] else {
            return Err(StepProblem::Suite(format!("`{word}` means several nodes")));
        };
        let roster = self.control.roster();
        match name {
            "id" => roster.id(node).ok_or_else(|| StepProblem::Harness(format!("the node id of {node} is not known"))),
            "former-id" => roster.former_id(node).ok_or_else(|| {
                StepProblem::Suite(format!(
                    "`{word}`: {node} has had no other node id (hint: `start` it with `data: all-lost` first)"
                ))
            }),
            "host" => Ok(addr(node).ip().to_string()),
            "port" => Ok(addr(node).port().to_string()),
            _ => Ok(addr(node).to_string()),
        }
    }

    /// Sends a command to a node. If redirects are followed, goes on to the node that each redirect names.
    pub(super) async fn probe(&self, mut node: NodeNo, question: &Question) -> Reply {
        let Question { words, follow, readonly, from } = question;
        let mut named_by = String::new();
        for _ in 0..MOST_REDIRECTS {
            let answer = self.control.ask_as(from, node, words, *readonly, COMMAND_WITHIN).await;
            let reply = answer.as_ref().map_or_else(ToString::to_string, text);
            if let Err(AskError::Connect(error)) = &answer {
                let refused = self.control.backend().is_closed(node, error).await;
                return Reply { text: format!("{reply}{named_by}"), connected: false, refused, by: node };
            }
            let asked = self.control.backend().announced(node);
            let next = redirect(&reply, asked)
                .filter(|_| *follow && answer.is_err())
                .and_then(|redirect| self.control.backend().node_at(redirect.addr));
            let Some(next) = next else { return Reply { text: reply, connected: true, refused: false, by: node } };
            named_by = format!(", named by {node}: {reply}");
            node = next;
        }
        let text = format!("more than {MOST_REDIRECTS} redirections{named_by}");
        Reply { text, connected: true, refused: false, by: node }
    }
}

/// A command and how to send it.
pub(super) struct Question {
    pub(super) words: Vec<String>,
    /// Whether MOVED and ASK are followed.
    pub(super) follow: bool,
    /// Whether READONLY is sent first.
    pub(super) readonly: bool,
    pub(super) from: Caller,
}

/// The answer as text.
pub(super) struct Reply {
    pub(super) text: String,
    /// Whether a connection was made.
    pub(super) connected: bool,
    /// Whether a connection was refused.
    pub(super) refused: bool,
    /// The node that was asked last.
    pub(super) by: NodeNo,
}

fn all(nodes: &[NodeNo], mut holds: impl FnMut(NodeNo) -> Result<(), String>) -> Result<(), String> {
    nodes.iter().try_for_each(|&node| holds(node))
}

fn answers(now: &Snapshot, node: NodeNo) -> Result<(), String> {
    if now.views.contains_key(&node) {
        return Ok(());
    }
    Err(format!("{node} does not answer: {}", now.silent.get(&node).map_or("not asked yet", String::as_str)))
}

fn promoted(now: &Snapshot, shard: ShardNo, deal: &Deal, before: Option<NodeNo>) -> Result<(), String> {
    let master = now.master(shard, deal).ok_or_else(|| format!("no node owns {shard} in any view"))?;
    if Some(master) == before {
        return Err(format!("{shard} still belongs to {master}"));
    }
    let own = now
        .views
        .get(&master)
        .ok_or_else(|| format!("{master} owns {shard} in the newest view, but does not answer"))?;
    let mut slots = deal.slots(shard).iter().flat_map(|&(first, last)| first..=last);
    if slots.all(|slot| own.owner(slot) == Some(master)) {
        return Ok(());
    }
    Err(format!("{master} owns {shard} in the newest view, but does not report all of its slots"))
}

fn failed(now: &Snapshot, node: NodeNo, shards: u16) -> Result<(), String> {
    let flags = now
        .views
        .values()
        .zip(now.views.keys())
        .filter(|(view, by)| view.peers.get(by).is_some_and(|peer| peer.role == Role::Master && !peer.slots.is_empty()))
        .filter(|(view, _)| view.peers.get(&node).is_some_and(|peer| peer.health == Health::Fail))
        .count();
    let majority = usize::from(shards) / 2 + 1;
    if flags >= majority {
        return Ok(());
    }
    Err(format!("{flags} masters have marked {node} as failed, and a majority is {majority}"))
}

/// Whether a node is in sync; replicas that are `down`, because they did not start, are left out.
fn in_sync(now: &Snapshot, node: NodeNo, (deal, plan): (&Deal, &Plan), down: &BTreeSet<NodeNo>) -> Result<(), String> {
    answers(now, node)?;
    let synced = |replica: NodeNo| match now.lag.get(&replica) {
        None => Err(format!("{replica} has not been compared with its master")),
        Some((_, false)) => Err(format!("the replication link of {replica} is down")),
        Some((0, true)) => Ok(()),
        Some((bytes, true)) => Err(format!("{replica} is {bytes} bytes behind")),
    };
    let owned = deal.shards().find(|&shard| now.master(shard, deal) == Some(node));
    match now.views[&node].peers.get(&node).map(|peer| peer.role) {
        Some(Role::Master) if owned.is_none() => {
            Err(format!("{node} reports that it is a master, but owns no slots in the newest view"))
        }
        Some(Role::Master) => match now.replicas(node).as_slice() {
            // Of all masters, one whose shard was planned without a replica has nothing to wait for.
            [] if owned.is_some_and(|shard| plan.replicas_of(shard) == 0) => Ok(()),
            [] => Err(format!("{node} is a master without replicas")),
            replicas => all(replicas, |replica| if down.contains(&replica) { Ok(()) } else { synced(replica) }),
        },
        Some(_) => synced(node),
        None => Err(format!("{node} does not list itself")),
    }
}

fn cluster_state(now: &Snapshot, node: NodeNo, ok: bool) -> Result<(), String> {
    answers(now, node)?;
    if now.views[&node].state_ok == ok {
        return Ok(());
    }
    Err(format!("{node} reports cluster_state:{}", if ok { "fail" } else { "ok" }))
}

fn role(now: &Snapshot, node: NodeNo, is: RoleIs) -> Result<(), String> {
    answers(now, node)?;
    let Some(own) = now.views[&node].peers.get(&node) else { return Err(format!("{node} does not list itself")) };
    let holds = match (is, own.role) {
        (RoleIs::Master, Role::Master) => !own.slots.is_empty(),
        (RoleIs::Replica, Role::ReplicaOf(_) | Role::ReplicaOfUnknown) => true,
        (RoleIs::ReplicaOf(wanted), Role::ReplicaOf(master)) => wanted == master,
        _ => false,
    };
    if holds {
        return Ok(());
    }
    Err(match own.role {
        Role::Master if own.slots.is_empty() => format!("{node} is a master without slots"),
        Role::Master => format!("{node} is a master"),
        Role::ReplicaOf(master) => format!("{node} is a replica of {master}"),
        Role::ReplicaOfUnknown => format!("{node} is a replica of an unknown node"),
    })
}
