//! The end of a run: undo every fault, wait for the cluster to be whole, probe it, read every key
//! back.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{HURRY, Run};
use crate::cluster::control::AskError;
use crate::cluster::watch::Snapshot;
use crate::cluster::{Backend, pace};
use crate::history::{
    EventKind, FinalValue, ReadOnly, StepProblem, key_name, kind_of, probe_name, sample_keys, workload_keys,
};
use crate::slot::key_slot;
use crate::spec::{POLL, bus_links_back};
use crate::topology::parse_info;
use crate::units::NodeNo;
use crate::wire::{CommandError, redirect, text};
use crate::workload::{Driven, Workload};

/// How long the cluster must stay whole to count as recovered.
const WHOLE_FOR: Duration = Duration::from_secs(1);

/// How long replicas may take to catch up after the workload has ended.
const QUIESCE_WITHIN: Duration = Duration::from_secs(10);

/// How long to retry keys that cannot be read back at once, in total.
const READ_BACK_WITHIN: Duration = Duration::from_secs(10);

/// How many keys to read back in one round trip.
const BATCH: usize = 200;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How long the workload continues after recovery until all shards serve it.
const SERVED_WITHIN: Duration = Duration::from_secs(3);

/// How long to repeat unanswered probes, in total.
const PROBE_WITHIN: Duration = Duration::from_secs(10);

impl<B: Backend> Run<B> {
    pub(super) async fn conclude(&mut self, workload: &mut Workload, interrupted: bool) {
        self.journal.event(EventKind::Phase { name: "recovery".to_owned() });
        let began = Instant::now();
        let links_within = bus_links_back(self.plan.node_timeout());
        let problem = self.injector.heal_all(&self.watch, links_within).await.into_iter().next();
        let within = if interrupted { HURRY.min(self.plan.recover_within.0) } else { self.plan.recover_within.0 };
        let hold = if interrupted { Duration::ZERO } else { WHOLE_FOR };
        let healed = began.elapsed();
        let whole = self.watch.until_steady(within, hold, |now| now.whole_as_planned(&self.plan)).await;
        let last = match (&whole, problem) {
            (Err(missing), _) => missing.clone(),
            (Ok(_), Some(StepProblem::Harness(text) | StepProblem::Suite(text) | StepProblem::Unmet(text))) => text,
            (Ok(_), None) => String::new(),
        };
        self.journal.event(EventKind::Recovered {
            recovered: whole.is_ok(),
            took_ms: whole.as_ref().map_or_else(|_| began.elapsed(), |took| healed + *took).as_secs_f64() * 1000.0,
            last,
        });
        if whole.is_ok() && !interrupted {
            workload.until_served(SERVED_WITHIN).await;
        }
        workload.end().await;

        self.journal.event(EventKind::Phase { name: "final".to_owned() });
        // The invariant `replica-lag` judges replicas that are still behind.
        let _ = self.watch.until(QUIESCE_WITHIN, caught_up).await;
        let sample = sample_keys(&self.deal);
        // In a cluster that has not recovered, unanswered probes are expected.
        let patience = if whole.is_ok() && !interrupted { PROBE_WITHIN } else { Duration::ZERO };
        let deadline = Instant::now() + patience;
        self.probe_redirects(&sample, deadline).await;
        self.probe_replicas(&sample, deadline).await;
        self.read_back().await;
        self.rest().await;
        self.record_settings().await;
        self.record_clocks().await;
        for node in self.control.nodes() {
            // What it records is judged.
            let _ = pace::prove(&self.control, &self.journal, node).await;
        }
    }

    /// Waits until the cluster is stable, because invariants `at: end` judge the lasting state. After a partition,
    /// late packets from before it can briefly revert a node's view, so the cluster must be whole and caught up
    /// twice, three polls apart.
    async fn rest(&self) {
        let (nodes, shards) = (self.plan.nodes.len(), self.plan.shards());
        let rests = |now: &Snapshot| now.whole(nodes, shards).and_then(|()| caught_up(now));
        let deadline = Instant::now() + QUIESCE_WITHIN.min(self.plan.recover_within.0);
        loop {
            let _ = self.watch.until(deadline.saturating_duration_since(Instant::now()), rests).await;
            tokio::time::sleep(POLL * 3).await;
            if Instant::now() >= deadline || rests(&self.watch.snapshot()).is_ok() {
                return;
            }
        }
    }

    /// Asks every node for a key of every shard that it does not own, without following the redirect.
    async fn probe_redirects(&self, sample: &[u32], deadline: Instant) {
        let now = self.watch.snapshot();
        for &key in sample {
            let slot = key_slot(key_name(key).as_bytes());
            let Some(owner) = now.owner(slot) else { continue };
            for node in now.views.keys().copied().filter(|&node| node != owner) {
                let name = self.key(key);
                let answer = self.ask_until(node, &["GET", &name], false, deadline).await;
                let answered = is_answer(&answer);
                let reply = answer.as_ref().map_or_else(ToString::to_string, text);
                let moved_to = redirect(&reply, self.control.backend().announced(node))
                    .filter(|redirect| !redirect.ask && answer.is_err())
                    .and_then(|redirect| self.control.backend().node_at(redirect.addr));
                self.journal.event(EventKind::RedirectProbed { node, slot, reply, moved_to, owner, answered });
            }
        }
    }

    /// Sends every replica a write of its own shard. The workload does not use that key.
    async fn probe_replicas(&self, sample: &[u32], deadline: Instant) {
        let now = self.watch.snapshot();
        for &key in sample {
            let Some(owner) = now.owner(key_slot(key_name(key).as_bytes())) else { continue };
            for node in now.replicas(owner) {
                let name = self.control.backend().keys().name(&probe_name(key));
                let answer = self.ask_until(node, &["SET", &name, "probe"], true, deadline).await;
                let accepted = answer.is_ok();
                let reply = answer.as_ref().map_or_else(ToString::to_string, text);
                let read_only = Some(self.read_only(node, deadline).await);
                self.journal.event(EventKind::ReplicaWriteProbed { node, reply, accepted, read_only });
            }
        }
    }

    /// Whether a replica refuses writes by its own INFO: the cluster redirects its writes in any case.
    async fn read_only(&self, node: NodeNo, deadline: Instant) -> ReadOnly {
        let Ok(answer) = self.ask_until(node, &["INFO", "replication"], false, deadline).await else {
            return ReadOnly::Unknown;
        };
        match parse_info(&text(&answer)).get("slave_read_only") {
            Some(&"1") => ReadOnly::Yes,
            Some(&"0") => ReadOnly::No,
            Some(_) | None => ReadOnly::Unknown,
        }
    }

    /// Asks a node until it answers, because a missing answer proves nothing.
    async fn ask_until(
        &self,
        node: NodeNo,
        words: &[&str],
        readonly: bool,
        deadline: Instant,
    ) -> Result<redis::Value, AskError> {
        loop {
            let answer = if readonly {
                self.control.ask_apart(node, words, true, ANSWER_WITHIN).await
            } else {
                self.control.ask(node, words, ANSWER_WITHIN).await
            };
            if is_answer(&answer) || Instant::now() > deadline {
                return answer;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// A key's name on the servers.
    fn key(&self, key: u32) -> String {
        self.control.backend().keys().name(&key_name(key))
    }

    fn driven(&self, key: u32) -> Driven {
        Driven::new(key, &self.control.backend().keys(), &self.plan.workload)
    }

    async fn read_back(&self) {
        let deadline = Instant::now() + READ_BACK_WITHIN;
        let now = self.watch.snapshot();
        let mut by_owner: BTreeMap<Option<NodeNo>, Vec<u32>> = BTreeMap::new();
        for key in workload_keys(&self.plan.workload).filter(|&key| kind_of(key).0.is_stored()) {
            by_owner.entry(now.owner(key_slot(key_name(key).as_bytes()))).or_default().push(key);
        }
        for (owner, keys) in by_owner {
            for batch in keys.chunks(BATCH) {
                let values = match owner {
                    Some(owner) => self.read_batch(owner, batch).await,
                    None => None,
                };
                for (position, &key) in batch.iter().enumerate() {
                    let (node, value) = match &values {
                        Some(values) => (owner, values[position].clone()),
                        None => self.read_alone(key, deadline).await,
                    };
                    self.journal.event(EventKind::FinalRead { key, node, value });
                }
            }
        }
    }

    async fn read_batch(&self, owner: NodeNo, keys: &[u32]) -> Option<Vec<FinalValue>> {
        let driven: Vec<Driven> = keys.iter().map(|&key| self.driven(key)).collect();
        let commands: Vec<Vec<String>> = driven.iter().map(Driven::read_words).collect();
        let values = self.control.ask_all(owner, &commands, ANSWER_WITHIN).await.ok()?;
        Some(driven.iter().zip(&values).map(|(driven, value)| driven.last(value)).collect())
    }

    /// Asks the current owner of the slot until it answers or the deadline passes.
    async fn read_alone(&self, key: u32, deadline: Instant) -> (Option<NodeNo>, FinalValue) {
        let driven = self.driven(key);
        loop {
            let reason = match self.watch.snapshot().owner(key_slot(key_name(key).as_bytes())) {
                None => "no node owns its slot in any view".to_owned(),
                Some(owner) => match self.control.ask(owner, &driven.read_words(), ANSWER_WITHIN).await {
                    Ok(value) => return (Some(owner), driven.last(&value)),
                    Err(error) => error.to_string(),
                },
            };
            if Instant::now() > deadline {
                return (None, FinalValue::Unreadable(reason));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Whether the server replied, even with an error.
fn is_answer(answer: &Result<redis::Value, AskError>) -> bool {
    matches!(answer, Ok(_) | Err(AskError::Command(CommandError::Reply(_))))
}

fn caught_up(now: &Snapshot) -> Result<(), String> {
    match now.lag.iter().find(|(_, lag)| **lag != (0, true)) {
        Some((replica, (bytes, _))) => Err(format!("{replica} is {bytes} bytes behind")),
        None => Ok(()),
    }
}
