//! Forms a cluster from empty nodes: slots, epochs, introductions, replicas.
//!
//! Where the backend can write files of nodes, each server finds the whole cluster in its `nodes.conf` when it starts.
//! Elsewhere the servers are introduced to each other, and slots, epochs and replicas are assigned by commands. That takes
//! longer the more nodes there are, since a replica must know its master before it can follow it.
//!
//! It does not use `redis-cli --cluster create`, because that assigns replicas by its own anti-affinity rules and not by the
//! plan, and because some servers come without redis-cli.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::nodes_conf::{Known, knows_shards, nodes_conf};
use super::watch::{Snapshot, Watch};
use super::{Backend, BackendError, Control, ProcessState};
use crate::fault::Action;
use crate::history::NodeInfo;
use crate::plan::{Plan, PlannedNode};
use crate::slot::{Deal, SLOTS};
use crate::units::NodeNo;
use crate::wire::text;

/// The time limit for a started server to answer PING.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The time limit for formation after that. Usually it takes 2 to 5 s, but several clusters may share two cores.
const FORM_WITHIN: Duration = Duration::from_secs(60);

const COMMAND_WITHIN: Duration = Duration::from_secs(5);

/// With more nodes than this, only the first introduces the others, and gossip does the rest.
const FULL_MESH: usize = 12;

/// Why a cluster could not be formed.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// A server could not be started.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A server rejected its configuration.
    #[error("{node} rejected its configuration:\n{text}")]
    Config {
        /// The node.
        node: NodeNo,
        /// The server's message.
        text: String,
    },
    /// A server ended or never answered.
    #[error("{node} {what}\nits last log lines:\n{log}")]
    Node {
        /// The node.
        node: NodeNo,
        /// What happened.
        what: String,
        /// The last lines of its log.
        log: String,
    },
}

/// Starts every node of the plan and forms the cluster. Returns when every node reports a healthy cluster.
pub async fn form<B: Backend>(
    plan: &Plan,
    control: &Arc<Control<B>>,
    watch: &Watch,
) -> Result<Vec<NodeInfo>, FormError> {
    let is_planted = plant(plan, control)?;
    // A replica that knows its master when it starts connects to it at once, and again only after a second.
    let (masters, replicas): (Vec<_>, Vec<_>) = plan.nodes.iter().partition(|planned| planned.replica_of.is_none());
    for nodes in [masters, replicas] {
        try_join_all(nodes.iter().map(|planned| control.backend().act(planned.node, Action::Start))).await?;
        for planned in nodes {
            answers(control, planned.node).await?;
        }
    }
    if !is_planted {
        assign(plan, control).await?;
        introduce(control).await?;
        if let Err(missing) = acquainted(plan, control, watch).await {
            return Err(not_whole(control, &missing).await);
        }
    }
    let mut infos = Vec::new();
    for planned in &plan.nodes {
        let id = ask(control, planned.node, &["CLUSTER", "MYID"]).await?;
        infos.push(NodeInfo {
            node: planned.node,
            shard: planned.shard,
            boots_as_master: planned.replica_of.is_none(),
            addr: control.backend().announced(planned.node),
            id,
            name: None,
        });
    }
    for planned in plan.nodes.iter().filter(|_| !is_planted) {
        if let Some(master) = planned.replica_of {
            ask(control, planned.node, &["CLUSTER", "REPLICATE", &infos[master.index()].id]).await?;
        }
    }
    let deal = plan.deal();
    match watch.until(FORM_WITHIN, |snapshot| as_planned(plan, &deal, snapshot)).await {
        Ok(()) => Ok(infos),
        Err(missing) => Err(not_whole(control, &missing).await),
    }
}

/// Whether the cluster is whole and every node has the role of the plan.
fn as_planned(plan: &Plan, deal: &Deal, now: &Snapshot) -> Result<(), String> {
    now.whole(plan.nodes.len(), plan.shards())?;
    let misplaced = plan.nodes.iter().find(|planned| {
        now.master(planned.shard, deal) != Some(planned.replica_of.unwrap_or(planned.node))
            || planned.replica_of.is_some_and(|master| !now.replicas(master).contains(&planned.node))
    });
    misplaced.map_or(Ok(()), |planned| Err(format!("{} does not have the role of the plan", planned.node)))
}

/// Writes `nodes.conf` of every node, with ids drawn for this run. False if the backend cannot.
fn plant<B: Backend>(plan: &Plan, control: &Control<B>) -> Result<bool, BackendError> {
    let backend = control.backend();
    let Some(version) = backend.plants_for() else { return Ok(false) };
    let shards: Vec<String> = plan.deal().shards().map(|_| new_id()).collect();
    let known = |planned: &PlannedNode| Known {
        id: new_id(),
        addr: backend.announced(planned.node),
        bus_port: backend.bus_port(planned.node),
        shard_id: knows_shards(version).then(|| shards[planned.shard.index()].clone()),
    };
    let known: Vec<Known> = plan.nodes.iter().map(known).collect();
    for node in control.nodes() {
        backend.plant(node, &nodes_conf(plan, &known, node))?;
    }
    Ok(true)
}

/// An id that nothing else has: 40 hexadecimal digits.
fn new_id() -> String {
    // The keys of a hasher are the only random numbers in std.
    let random = || RandomState::new().hash_one("id");
    format!("{:016x}{:016x}{:08x}", random(), random(), random() as u32)
}

/// Waits until every node knows every other, and all slots where a shard has no replica. The error says what is missing.
///
/// A master whose first slot becomes known to a node that knows a replica of any master is a target of replica migration,
/// even if it never had a replica (`clusterNodeSetSlotBit` in cluster.c). So slots must be known before replicas are, or
/// a replica may leave its shard for one that is planned without any.
async fn acquainted<B: Backend>(plan: &Plan, control: &Control<B>, watch: &Watch) -> Result<(), String> {
    let nodes = plan.nodes.len();
    let some_are_bare = plan.deal().shards().any(|shard| plan.replicas_of(shard) == 0);
    let known = watch.until(FORM_WITHIN, |snapshot| {
        for node in control.nodes() {
            let view = snapshot.views.get(&node);
            let known = view.map_or(0, |view| view.peers.len());
            if known != nodes {
                return Err(format!("{node} knows {known} of {nodes} nodes"));
            }
            let slots = view.map_or(0, |view| view.slots_assigned);
            if some_are_bare && slots != SLOTS {
                return Err(format!("{node} knows {slots} of {SLOTS} slots"));
            }
        }
        Ok(())
    });
    known.await
}

/// Waits until every node reports a healthy cluster.
pub async fn whole<B: Backend>(plan: &Plan, control: &Control<B>, watch: &Watch) -> Result<(), FormError> {
    let (nodes, shards) = (plan.nodes.len(), plan.shards());
    match watch.until(FORM_WITHIN, |snapshot| snapshot.whole(nodes, shards)).await {
        Ok(()) => Ok(()),
        Err(missing) => Err(not_whole(control, &missing).await),
    }
}

/// Waits until a server that was started answers PING.
pub async fn answers<B: Backend>(control: &Control<B>, node: NodeNo) -> Result<(), FormError> {
    let since = Instant::now();
    loop {
        let reason = match control.ask(node, &["PING"], Duration::from_secs(1)).await {
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        };
        if let ProcessState::Gone { how } = control.backend().state(node).await {
            let log = control.backend().log_tail(node, 12).await;
            if let Some((_, complaint)) = log.split_once("FATAL CONFIG FILE ERROR") {
                return Err(FormError::Config { node, text: format!("FATAL CONFIG FILE ERROR{complaint}") });
            }
            return Err(FormError::Node { node, what: format!("ended while starting ({how})"), log });
        }
        if since.elapsed() > ANSWER_WITHIN {
            let log = control.backend().log_tail(node, 12).await;
            let what = format!("does not answer PING within {ANSWER_WITHIN:?}: {reason}");
            return Err(FormError::Node { node, what, log });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn assign<B: Backend>(plan: &Plan, control: &Control<B>) -> Result<(), FormError> {
    for planned in &plan.nodes {
        // Assign different epochs from the start, or the nodes would resolve collisions one by one.
        ask(control, planned.node, &["CLUSTER", "SET-CONFIG-EPOCH", &planned.node.0.to_string()]).await?;
        if !planned.slots.is_empty() {
            // ADDSLOTSRANGE is not in 6.2.
            let slots = planned.slots.iter().flat_map(|&(first, last)| first..=last);
            let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
            let words: Vec<&str> =
                ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
            ask(control, planned.node, &words).await?;
        }
    }
    Ok(())
}

async fn introduce<B: Backend>(control: &Control<B>) -> Result<(), FormError> {
    let introducers = if control.backend().size() <= FULL_MESH { control.backend().size() } else { 1 };
    for from in control.nodes().take(introducers) {
        for to in control.nodes().filter(|&to| to != from) {
            let addr = control.backend().announced(to);
            ask(control, from, &["CLUSTER", "MEET", &addr.ip().to_string(), &addr.port().to_string()]).await?;
        }
    }
    Ok(())
}

async fn ask<B: Backend>(control: &Control<B>, node: NodeNo, words: &[&str]) -> Result<String, FormError> {
    match control.ask(node, words, COMMAND_WITHIN).await {
        Ok(value) => Ok(text(&value)),
        Err(error) => {
            let what = format!("answered `{} {}` with: {}", words[0], words.get(1).unwrap_or(&""), error);
            Err(FormError::Node { node, what, log: control.backend().log_tail(node, 12).await })
        }
    }
}

/// The error of a cluster that did not form. If `missing` begins with a node, shows the log of that node, else of the first.
async fn not_whole<B: Backend>(control: &Control<B>, missing: &str) -> FormError {
    let node = missing.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(NodeNo(1));
    FormError::Node {
        node,
        what: format!("is not ready: no healthy cluster within {FORM_WITHIN:?}; last state: {missing}"),
        log: control.backend().log_tail(node, 12).await,
    }
}
