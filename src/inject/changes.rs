//! Servers that come back different: a node is changed while it is down, and proven to have come back so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::cluster::roster::Endpoint;
use crate::cluster::{Backend, BackendError, Control, ProcessState};
use crate::history::{EventKind, StepProblem};
use crate::journal::Journal;
use crate::seeded::Seeded;
use crate::server::{Server, Version};
use crate::suite::{CameBack, Change, Corrupt, Moved};
use crate::topology::{parse_info, parse_nodes};
use crate::units::NodeNo;
use crate::wire::text;

/// The time limit for an answer of a node that has just answered PING.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(20);

/// Changes nodes that are down.
#[derive(Debug)]
pub(super) struct Changes<B> {
    control: Arc<Control<B>>,
    journal: Arc<Journal>,
    /// The servers that a start may name.
    servers: BTreeMap<String, Server>,
    versions: BTreeMap<NodeNo, Version>,
    /// The entry of `versions` before the last change of each node.
    versions_before: BTreeMap<NodeNo, Option<Version>>,
    /// Nodes with a damaged file that have not come back yet.
    damaged: BTreeSet<NodeNo>,
    /// Decides what is damaged.
    seeded: Seeded,
    /// The address that each node had which the last start gave another one.
    left: BTreeMap<NodeNo, SocketAddr>,
}

impl<B: Backend> Changes<B> {
    pub fn new(control: Arc<Control<B>>, journal: Arc<Journal>, servers: BTreeMap<String, Server>, seed: u64) -> Self {
        Self {
            control,
            journal,
            servers,
            versions: BTreeMap::new(),
            versions_before: BTreeMap::new(),
            damaged: BTreeSet::new(),
            seeded: Seeded::new(seed, "corrupt"),
            left: BTreeMap::new(),
        }
    }

    /// The versions of the nodes that a start gave another server.
    pub fn versions(&self) -> &BTreeMap<NodeNo, Version> {
        &self.versions
    }

    /// Changes a node whose server is down.
    pub async fn make(&mut self, node: NodeNo, change: &Change) -> Result<(), StepProblem> {
        self.is_down(node).await.map_err(StepProblem::Harness)?;
        let server = match &change.server {
            None => None,
            Some(name) => Some(self.servers.get(name).ok_or_else(|| {
                StepProblem::Suite(format!(
                    "server \"{name}\" was not prepared (hint: it must be in a step of the suite)"
                ))
            })?),
        };
        let backend = self.control.backend();
        let place = || Endpoint { reached: backend.addr(node), announced: backend.announced(node) };
        let from = place();
        let done = backend.change(node, change, server).await;
        let done = done.map_err(|error| StepProblem::Harness(error.to_string()))?;
        let to = place();
        self.versions_before.insert(node, self.versions.get(&node).copied());
        if let Some(server) = server {
            self.versions.insert(node, server.version);
        }
        self.journal.event(EventKind::Changed { node, change: change.clone(), done });
        self.left.remove(&node);
        if to != from {
            self.control.roster().moved(node, to);
            self.left.insert(node, from.announced);
            self.journal.event(EventKind::AddressChanged { node, from: from.announced, to: to.announced });
        }
        Ok(())
    }

    /// Takes the last change of a node back, whose start failed.
    pub async fn take_back(&mut self, node: NodeNo) -> Result<(), StepProblem> {
        match self.versions_before.remove(&node).flatten() {
            Some(version) => _ = self.versions.insert(node, version),
            None => _ = self.versions.remove(&node),
        }
        let done = self.control.backend().take_back(node).await;
        done.map_err(|error| StepProblem::Harness(error.to_string()))
    }

    /// Damages a file of a node whose server is down.
    pub async fn corrupt(&mut self, node: NodeNo, wanted: &Corrupt) -> Result<(), StepProblem> {
        let damage = wanted.damage().map_err(|(_, problem)| StepProblem::Suite(format!("corrupt: {problem}")))?;
        self.is_down(node).await.map_err(StepProblem::Suite)?;
        let done = self.control.backend().corrupt(node, wanted.file, damage, self.seeded.next_u64()).await;
        let damaged = done.map_err(|error| match error {
            BackendError::Undamageable { .. } => StepProblem::Suite(format!("corrupt: {error}")),
            error => StepProblem::Harness(error.to_string()),
        })?;
        self.damaged.insert(node);
        self.journal.event(EventKind::Corrupted { node, file: wanted.file, damaged });
        Ok(())
    }

    /// Whether a file of a node was damaged since it came back last.
    pub fn is_damaged(&self, node: NodeNo) -> bool {
        self.damaged.contains(&node)
    }

    /// Whether the server of a node is down. The error says why its files must not be touched.
    async fn is_down(&self, node: NodeNo) -> Result<(), String> {
        match self.control.backend().state(node).await {
            ProcessState::Gone { .. } => Ok(()),
            state @ (ProcessState::Running { .. } | ProcessState::Paused { .. } | ProcessState::Unknown { .. }) => Err(
                format!("{node} cannot be changed, because it is not down: its {state} (hint: `kill: {node}` first)"),
            ),
        }
    }

    /// Records what a node that was changed says of itself. The error says what is not as the change asked for.
    pub async fn prove(&mut self, node: NodeNo, change: &Change) -> Result<(), String> {
        self.damaged.remove(&node);
        let found = self.look(node, change).await?;
        let version = change.server.as_ref().and_then(|name| self.servers.get(name)).map(|server| server.version);
        let unlike = found.unlike(change, version);
        let result =
            unlike.clone().map_or(Ok(()), |unlike| Err(format!("{node} did not come back as asked: {unlike}")));
        self.journal.event(EventKind::CameBack { node, change: change.clone(), found, unlike });
        result
    }

    async fn look(&self, node: NodeNo, change: &Change) -> Result<CameBack, String> {
        let info = text(&self.ask(node, &["INFO", "server"]).await?);
        let info = parse_info(&info);
        let keys = text(&self.ask(node, &["DBSIZE"]).await?);
        let mut config = BTreeMap::new();
        for name in change.config.keys() {
            let answer = text(&self.ask(node, &["CONFIG", "GET", name]).await?);
            // The server answers nothing for a directive that it does not have.
            config.extend(answer.lines().nth(1).map(|value| (name.clone(), value.to_owned())));
        }
        let id = text(&self.ask(node, &["CLUSTER", "MYID"]).await?);
        let moved = match self.left.get(&node) {
            Some(&from) => Some(Box::new(self.look_at_addresses(node, from).await?)),
            None => None,
        };
        Ok(CameBack {
            version: Version::from_info(&info),
            run_id: info.get("run_id").copied().unwrap_or_default().to_owned(),
            keys: keys.parse().ok(),
            config,
            former_id: self.control.roster().identified(node, &id),
            id: Some(id),
            moved,
        })
    }

    /// What a node that was given another address states as its own, and what its former one shows. Redis 6.2 states the
    /// address of `nodes.conf` until its first `clusterCron`, 100 ms after its start.
    async fn look_at_addresses(&self, node: NodeNo, from: SocketAddr) -> Result<Moved, String> {
        let to = self.control.backend().announced(node);
        let deadline = Instant::now() + ANSWERS_WITHIN;
        let stated = loop {
            let lines = parse_nodes(&text(&self.ask(node, &["CLUSTER", "NODES"]).await?));
            let lines = lines.map_err(|error| error.to_string())?;
            let stated = lines.iter().find(|line| line.myself).and_then(|line| line.addr);
            if stated == Some(to) || Instant::now() > deadline {
                break stated;
            }
            tokio::time::sleep(POLL).await;
        };
        let (is_left, seen) = match timeout(ANSWERS_WITHIN, TcpStream::connect(from)).await {
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                (true, format!("{from} refuses connections"))
            }
            Ok(Err(error)) => (false, format!("{from}: {error}")),
            Ok(Ok(_)) => (false, format!("{from} still accepts connections")),
            Err(_) => (false, format!("{from} neither accepts nor refuses connections")),
        };
        Ok(Moved { from, to, stated, is_left, seen })
    }

    /// Asks over a new connection: the one of before ended with the server.
    async fn ask(&self, node: NodeNo, words: &[&str]) -> Result<Value, String> {
        let answer = self.control.ask_apart(node, words, false, ANSWERS_WITHIN).await;
        answer.map_err(|error| format!("{node} does not say how it came back: {error}"))
    }
}
