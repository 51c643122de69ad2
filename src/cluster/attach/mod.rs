//! The attach backend: runs a suite on a cluster that somebody else started and that must stay as it was.
//!
//! It has five floors, from the bottom. `servers` is what goes through the servers' ports: it discovers the nodes of the
//! cluster from the seeds, compares and sets directives, renames keys so that the run writes under its own prefix only,
//! and rejects every command that cannot be undone. Before each change, the run records in a `ledger` on disk how to undo
//! it. `access` stops and starts servers, through Compose or through the user's hooks, and `links` cuts and heals links.
//!
//! At the end of a run, `undo` heals links, starts and resumes servers, restores directives and removes keys. A run that
//! is killed leaves its ledger behind: its lock is free, so the next run adopts it and undoes the changes first
//! (`undo::settle`). The locks also keep two runs from testing one cluster at the same time.

mod access;
mod error;
mod ledger;
mod links;
mod servers;
mod undo;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

pub use access::compose::ComposeProject;
pub use access::hooks::PASSWORD_VARIABLE;
pub use access::{ServerAccess, ServerAccessSettings};
pub use error::AttachError;
pub use ledger::{Changes, Found as FoundLedger, ledgers, ledgers_folder};
pub use servers::discover::{FoundNode, Topology};

use super::{Backend, BackendError, DiskReading, Keyspace, ProcessState, new_run};
use crate::fault::{Action, DiskChange, Means, ProcessEffect};
use crate::history::{EventKind, NodeInfo};
use crate::journal::Journal;
use crate::network::knock::{Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::plan::{Found, Need, Plan};
use crate::server::{BackendKind, Server};
use crate::speed::clock::Skew;
use crate::suite::{Expect, Step};
use crate::units::{ClientNo, Directive, NodeNo};
use crate::wire::{Access, Caller, ConnectError};
use ledger::{Ledger, LedgerNode, Ledgers};
use links::Links;
use servers::commands::{self, Standing};
use servers::{directives, discover, keys};
use undo::Undo;
use undo::settle::Settlement;

/// How to reach a cluster, and what a run may do to it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses of nodes, `HOST:PORT`. One node that answers is enough.
    pub seeds: Vec<String>,
    /// The credentials and TLS settings that its servers require.
    pub access: Access,
    /// Whether a run may inject faults and change directives.
    pub allow_faults: bool,
    /// How to stop and start its servers.
    pub servers: ServerAccessSettings,
    /// The directory of ledgers, usually [`ledgers_folder`].
    pub ledgers: PathBuf,
}

/// A cluster that was discovered. Clones share it.
#[derive(Debug, Clone)]
pub struct Attach {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    seeds: Vec<String>,
    caller: Caller,
    allow_faults: bool,
    servers: ServerAccess,
    ledgers: Ledgers,
    found: Found,
    topology: Topology,
}

impl Attach {
    /// Discovers the cluster, which must be healthy, and opens the access to its servers. First undoes the changes of
    /// killed runs; `notice` receives one line for each step of that.
    pub async fn connect(settings: Settings, notice: &(dyn Fn(&str) + Sync)) -> Result<Self, AttachError> {
        let ledgers = Ledgers::open(settings.ledgers)?;
        let caller = Caller { access: settings.access, ..Caller::default() };
        let servers = ServerAccess::open(settings.servers).await?;
        let mut seeds = settings.seeds;
        if seeds.is_empty() {
            seeds = servers.seeds()?;
        }
        Settlement { ledgers: &ledgers, seeds: &seeds, caller: &caller, servers: &servers, notice }.settle().await?;
        let topology = discover::discover(&seeds, &caller).await?;
        servers.fits(&topology.nodes)?;
        directives::redirect_by_address(&topology.nodes, &caller).await?;
        let config = directives::common(&topology.nodes, &caller).await?;
        let version = topology.version;
        let found = Found {
            server: version.to_string().replace(' ', ":"),
            nodes: topology.nodes.iter().map(|node| node.planned.clone()).collect(),
            config,
        };
        let inner = Inner { seeds, caller, allow_faults: settings.allow_faults, servers, ledgers, found, topology };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The nodes, version and directives that a plan takes from this cluster.
    pub fn found(&self) -> &Found {
        &self.inner.found
    }

    /// The nodes of the cluster and their version.
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    /// The server that the cluster runs, for reports.
    pub fn server(&self) -> Server {
        Server {
            asked: self.inner.found.server.clone(),
            version: self.inner.topology.version,
            path: PathBuf::new(),
            origin: format!("a running cluster, found through {}", self.inner.seeds.join(", ")),
            library_path: None,
        }
    }

    /// The needs that this cluster does not meet, each with the reason.
    pub fn lacks(&self) -> BTreeMap<Need, String> {
        let mut lacks = self.inner.servers.lacks();
        let nodes = &self.inner.topology.nodes;
        if let Some(why) = self.inner.servers.links_obstacle(nodes) {
            for need in [Need::Links, Need::Isolate] {
                lacks.entry(need).or_insert_with(|| why.clone());
            }
        }
        if links::own_address(&nodes.iter().map(|node| node.addr).collect::<Vec<_>>()).is_none() {
            let why = "to isolate a node, its links to this machine must be cut too, but this machine reaches the nodes \
                       from several addresses or shares one of theirs (hint: cut links between nodes only)";
            lacks.entry(Need::Isolate).or_insert_with(|| why.to_owned());
        }
        lacks
    }

    /// Why a plan must not run here: it has a step that cannot be undone, or a fault that the user did not allow.
    pub fn refusal(&self, plan: &Plan) -> Option<String> {
        if let Some(name) = plan.config.keys().find(|name| commands::is_protected(name)) {
            return Some(format!(
                "suite \"{}\" sets `{name}`, which could lock clients out of an attached cluster (hint: use `--backend \
                 local` or `--backend docker`)",
                plan.name
            ));
        }
        plan.steps.iter().enumerate().find_map(|(index, step)| {
            let named = |what: &str| format!("suite \"{}\", step {}, `{what}`", plan.name, index + 1);
            let (what, standing) = match step {
                Step::Command(command) => (command.send.to_string(), commands::standing(&command.send.0)),
                Step::Expect(Expect { send: Some(send), .. }) => (send.to_string(), commands::standing(&send.0)),
                step if !Need::of(step).is_empty() => (step_key(step), Standing::Fault),
                _ => return None,
            };
            match standing {
                Standing::Refused => Some(format!(
                    "{} cannot be undone, so it is not allowed on an attached cluster (hint: use `--backend local` or \
                     `--backend docker`)",
                    named(&what)
                )),
                Standing::Fault if !self.inner.allow_faults => Some(format!(
                    "{} is a fault, and faults are not allowed on an attached cluster by default (hint: pass \
                     `--allow-faults` to allow them)",
                    named(&what)
                )),
                _ => None,
            }
        })
    }

    /// Why an allowed plan cannot run here: the servers have other directives than the plan requires.
    pub async fn obstacle(&self, plan: &Plan) -> Result<Option<String>, AttachError> {
        let inner = &self.inner;
        let different = directives::different(&inner.topology.nodes, &inner.caller, &plan.config).await?;
        if different.is_empty() {
            return Ok(None);
        }
        if inner.allow_faults {
            return directives::unchangeable(&inner.topology.nodes, &inner.caller, &different).await;
        }
        let values: Vec<String> = different
            .iter()
            .map(|one| format!("`{} {}` ({} has `{}`)", one.name, one.wanted, one.node, one.live))
            .collect();
        Ok(Some(format!(
            "its suite sets {}, but a run does not change directives of an attached cluster by default (hint: pass \
             `--allow-faults`, or set `cluster.config.NAME` with `--set`)",
            values.join(", ")
        )))
    }
}

/// The key of a step in a suite.
fn step_key(step: &Step) -> String {
    let value = serde_json::to_value(step).unwrap_or_default();
    value.as_object().and_then(|map| map.keys().next().cloned()).unwrap_or_default()
}

/// An attached cluster during one run.
#[derive(Debug)]
pub struct Attached {
    attach: Attach,
    nodes: Vec<NodeInfo>,
    bus_ports: Vec<u16>,
    keys: Keyspace,
    logs: PathBuf,
    journal: OnceLock<Arc<Journal>>,
    is_mute: AtomicBool,
    may_have_written: AtomicBool,
    ledger: Ledger,
    /// Notes on the changes of killed runs that were undone before this run.
    settled: Vec<String>,
    links: Links,
    /// The address of all clients, if a step isolates a node from them.
    own: Option<IpAddr>,
    undone: AtomicBool,
    /// The clocks and disks that are wrong.
    hosts: Mutex<Hosts>,
}

/// How the hosts of nodes differ from what they were, by hooks.
#[derive(Debug, Default)]
struct Hosts {
    clocks: BTreeMap<NodeNo, Skew>,
    disks: BTreeMap<NodeNo, DiskChange>,
}

impl Attached {
    /// Discovers the cluster again, opens a ledger and sets the directives of the plan. Fails if the cluster has changed
    /// since it was planned for, or if another run uses it.
    pub async fn begin(attach: &Attach, plan: &Plan, folder: &Path) -> Result<Self, BackendError> {
        let inner = &attach.inner;
        let settled = Mutex::new(Vec::new());
        let settlement = Settlement {
            ledgers: &inner.ledgers,
            seeds: &inner.seeds,
            caller: &inner.caller,
            servers: &inner.servers,
            notice: &|line| settled.lock().expect("no holder panics").push(line.to_owned()),
        };
        settlement.settle().await?;
        let topology = discover::discover(&inner.seeds, &inner.caller).await?;
        if topology.nodes.iter().map(|node| &node.planned).ne(&plan.nodes) {
            let (now, then) = (topology.nodes.len(), plan.nodes.len());
            return Err(AttachError::Changed(format!(
                "it has {now} nodes (planned for {then}), or roles or slots have moved"
            ))
            .into());
        }
        let mut nodes = Vec::new();
        for node in &topology.nodes {
            nodes.push(NodeInfo {
                node: node.planned.node,
                shard: node.planned.shard,
                boots_as_master: node.planned.replica_of.is_none(),
                addr: node.addr,
                id: node.id.clone(),
                name: inner.servers.name_of(node.addr),
            });
        }
        let run = new_run();
        let needs_isolation = plan.needs_to(Need::Isolate);
        let bus_ports: Vec<u16> = topology.nodes.iter().map(|node| node.bus_port).collect();
        let place = |(node, &bus_port): (&NodeInfo, &u16)| LedgerNode { node: node.clone(), bus_port };
        let places = nodes.iter().zip(&bus_ports).map(place).collect();
        let mut changes = Changes::new(&run, &plan.name, inner.servers.taken(), places, plan.workload.keys());
        changes.written = keys::probed_beyond_workload(plan, &Keyspace::of_run(&run));
        let ledger = inner.ledgers.begin(changes)?;
        let links = match settlement.is_alone(&ledger) {
            Ok(()) if needs_isolation || plan.needs_to(Need::Links) => Links::open(&inner.servers, &ledger).await,
            alone => alone.map(|()| Links::Whole),
        };
        let links = links.inspect_err(|_| ledger.close())?;
        let addrs: Vec<SocketAddr> = nodes.iter().map(|node| node.addr).collect();
        let attached = Self {
            attach: attach.clone(),
            own: links::own_address(&addrs).filter(|_| needs_isolation),
            nodes,
            bus_ports,
            keys: Keyspace::of_run(&run),
            logs: folder.join("logs"),
            journal: OnceLock::new(),
            is_mute: AtomicBool::new(false),
            may_have_written: AtomicBool::new(false),
            ledger,
            settled: settled.into_inner().expect("no holder panics"),
            links,
            undone: AtomicBool::new(false),
            hosts: Mutex::default(),
        };
        if let Err(error) = attached.configure(&topology.nodes, &plan.config).await {
            return Err(match attached.undo().await {
                Ok(()) => error.into(),
                Err(left) => AttachError::Changed(format!("{error}; and {left}")).into(),
            });
        }
        Ok(attached)
    }

    async fn configure(&self, nodes: &[FoundNode], wanted: &BTreeMap<String, Directive>) -> Result<(), AttachError> {
        let caller = self.caller();
        let different = directives::different(nodes, caller, wanted).await?;
        let recorded = different.clone();
        let note = move |changes: &mut Changes| {
            for one in &recorded {
                changes.add_original(one.node, &one.name, &one.live);
            }
        };
        self.ledger.note(note).await?;
        for one in different {
            directives::set(one.node, self.addr(one.node), caller, &one.name, &one.wanted).await?;
        }
        Ok(())
    }

    /// Undoes the changes of the run. A second call does nothing.
    async fn undo(&self) -> Result<(), AttachError> {
        if self.undone.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let emit = |event| self.emit(event);
        let (caller, servers) = (self.caller(), self.servers());
        let undo = Undo { ledger: &self.ledger, caller, servers, links: &self.links, emit: &emit };
        let changes = self.ledger.changes();
        let mut left = undo.heal_links().await;
        left.extend(undo.set_hosts_right(&changes).await);
        left.extend(undo.wake_servers(&changes).await);
        left.extend(undo.put_directives_back().await);
        if self.may_have_written.load(Ordering::Relaxed) {
            left.extend(undo.remove_keys().await);
        }
        if left.is_empty() {
            self.ledger.close();
            return Ok(());
        }
        self.ledger.leave();
        Err(AttachError::Left(left))
    }

    /// Saves the servers' logs of this run in its folder, where they are available.
    async fn save_logs(&self) {
        for node in &self.nodes {
            let Some(log) = self.servers().log(node, None).await else { continue };
            // The report is still useful without logs.
            let _ = tokio::fs::create_dir_all(&self.logs).await;
            let _ = tokio::fs::write(self.logs.join(format!("{}.log", node.node)), log).await;
        }
    }

    /// Undoes the changes of a run that failed or panicked. Records nothing, because the journal may have panicked too.
    /// The error lists the changes that could not be undone.
    pub async fn abandon(&self) -> Result<(), AttachError> {
        self.is_mute.store(true, Ordering::Relaxed);
        self.undo().await
    }

    fn info(&self, node: NodeNo) -> &NodeInfo {
        &self.nodes[node.index()]
    }

    fn caller(&self) -> &Caller {
        &self.attach.inner.caller
    }

    fn servers(&self) -> &ServerAccess {
        &self.attach.inner.servers
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().expect("no holder panics")
    }

    fn emit(&self, kind: EventKind) {
        if let Some(journal) = self.journal.get().filter(|_| !self.is_mute.load(Ordering::Relaxed)) {
            journal.event(kind);
        }
    }

    /// Stops, kills or pauses a server. Records it first, so that an interrupted run can still be undone.
    async fn disturb(&self, action: Action, node: NodeNo) -> Result<(), BackendError> {
        self.ledger.note(move |changes| changes.disturbed.extend([node])).await?;
        if action.leaves() == Some(ProcessEffect::Gone) {
            self.links.leave(node);
        }
        Ok(self.servers().act(action, self.info(node), &|event| self.emit(event)).await?)
    }

    /// Starts or resumes a server.
    async fn restore(&self, action: Action, node: NodeNo) -> Result<(), BackendError> {
        self.servers().act(action, self.info(node), &|event| self.emit(event)).await?;
        if action.means() == Means::Start {
            self.links.come_back(self.info(node)).await?;
        }
        self.ledger.forget(move |changes| changes.disturbed.retain(|&left| left != node)).await;
        Ok(())
    }
}

impl Backend for Attached {
    const KIND: BackendKind = BackendKind::Attach;

    fn size(&self) -> usize {
        self.nodes.len()
    }

    fn addr(&self, node: NodeNo) -> SocketAddr {
        self.info(node).addr
    }

    fn bus_port(&self, node: NodeNo) -> u16 {
        self.bus_ports[node.index()]
    }

    fn client_ip(&self, _client: ClientNo) -> Option<IpAddr> {
        self.own
    }

    fn access(&self) -> Access {
        self.caller().access.clone()
    }

    fn keys(&self) -> Keyspace {
        self.keys.clone()
    }

    fn begin_writing(&self) {
        self.may_have_written.store(true, Ordering::Relaxed);
    }

    fn found(&self) -> Option<&[NodeInfo]> {
        Some(&self.nodes)
    }

    fn record_in(&self, journal: &Arc<Journal>) {
        if self.journal.set(Arc::clone(journal)).is_err() {
            return;
        }
        let prefix = self.keys.prefix().unwrap_or_default();
        self.emit(EventKind::Note { text: format!("attached cluster: keys begin with `{prefix}`") });
        for text in &self.settled {
            self.emit(EventKind::Note { text: text.clone() });
        }
        for original in self.ledger.changes().originals {
            let ledger::Original { node, name, value } = original;
            self.emit(EventKind::Note { text: format!("{node}: `{name}` was `{value}`; changed for this run") });
        }
    }

    async fn admit(&self, node: NodeNo, words: Vec<String>) -> Result<Vec<String>, String> {
        match commands::standing(&words) {
            Standing::Refused => return Err("it cannot be undone on an attached cluster".to_owned()),
            Standing::Fault if !self.attach.inner.allow_faults => {
                return Err("it is a fault, and faults are not allowed (hint: pass `--allow-faults`)".to_owned());
            }
            _ => {}
        }
        let mut originals = Vec::new();
        for name in commands::directives(&words) {
            let live =
                directives::get(self.addr(node), self.caller(), &name).await.map_err(|error| error.to_string())?;
            if let Some(live) = live {
                originals.push((name, live));
            }
        }
        let (words, names) = keys::rename(&self.keys, self.addr(node), self.caller(), words).await?;
        let note = move |changes: &mut Changes| {
            changes.written.extend(names);
            for (name, live) in originals {
                changes.add_original(node, &name, &live);
            }
        };
        self.ledger.note(note).await.map_err(|error| error.to_string())?;
        Ok(words)
    }

    async fn is_closed(&self, node: NodeNo, error: &ConnectError) -> bool {
        match error {
            ConnectError::Refused(_) => true,
            // A container or a machine that stops takes its address with it.
            ConnectError::Unreachable(..) | ConnectError::TimedOut(..) if self.servers().reaches_servers() => {
                matches!(self.state(node).await, ProcessState::Gone { .. })
            }
            _ => false,
        }
    }

    async fn act(&self, node: NodeNo, action: Action) -> Result<(), BackendError> {
        match action.leaves() {
            Some(_) => self.disturb(action, node).await,
            None => self.restore(action, node).await,
        }
    }

    async fn state(&self, node: NodeNo) -> ProcessState {
        self.servers().state(self.info(node), self.caller(), &|event| self.emit(event)).await
    }

    /// A hook may be slow.
    fn watch_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Hooks have no counters, and a sidecar ends with its container's network.
    fn watches_rules(&self) -> bool {
        false
    }

    async fn log_tail(&self, node: NodeNo, lines: usize) -> String {
        self.servers().log(self.info(node), Some(lines)).await.unwrap_or_default().trim_end().to_owned()
    }

    async fn impose(&self, rule: Rule) -> Result<(), NetworkError> {
        self.links.impose(rule, &|event| self.emit(event)).await
    }

    async fn counts(&self, name: &str) -> Result<Counts, NetworkError> {
        self.links.counts(name).await
    }

    fn counts_packets(&self) -> bool {
        self.links.counts_packets()
    }

    async fn lift(&self, name: &str) -> Result<(), NetworkError> {
        self.links.lift(name, &|event| self.emit(event)).await
    }

    fn can_knock_from(&self, ip: Ipv4Addr) -> bool {
        self.links.can_knock_from(ip)
    }

    async fn knock(&self, knocks: &[Knock], within: Duration) -> Vec<Heard> {
        self.links.knock(knocks, within, &|event| self.emit(event)).await
    }

    async fn fill(&self, knock: Knock, bytes: u64) {
        self.links.fill(knock, bytes).await;
    }

    async fn waited(&self, node: NodeNo) -> Option<(u32, Duration)> {
        self.servers().waited(self.info(node)).await
    }

    async fn set_clock(&self, node: NodeNo, skew: Skew) -> Result<(), BackendError> {
        let former = self.clock(node).of();
        let Some(of) = skew.of().or(former) else { return Ok(()) };
        if skew.change().is_some() {
            self.ledger.note(move |changes| _ = changes.clocks.insert(node, of)).await?;
        }
        let emit = |event| self.emit(event);
        let done = self.servers().set_clock(self.info(node), of, skew, &emit).await;
        done.map_err(|error| BackendError::Clock { node, reason: error.to_string() })?;
        self.hosts().clocks.insert(node, skew);
        if skew.change().is_none() {
            self.ledger.forget(move |changes| _ = changes.clocks.remove(&node)).await;
        }
        Ok(())
    }

    fn clock(&self, node: NodeNo) -> Skew {
        self.hosts().clocks.get(&node).copied().unwrap_or(Skew::NONE)
    }

    /// The proof asks the server.
    async fn clock_obstacle(&self, _node: NodeNo) -> Option<String> {
        None
    }

    async fn set_disk(&self, node: NodeNo, change: Option<DiskChange>) -> Result<(), BackendError> {
        if change.is_some() {
            self.ledger.note(move |changes| _ = changes.disks.insert(node)).await?;
        }
        let emit = |event| self.emit(event);
        let done = self.servers().set_disk(self.info(node), change, &emit).await;
        done.map_err(|error| BackendError::Disk { node, reason: error.to_string() })?;
        if let Some(change) = change {
            self.hosts().disks.insert(node, change);
        } else {
            self.hosts().disks.remove(&node);
            self.ledger.forget(move |changes| _ = changes.disks.remove(&node)).await;
        }
        Ok(())
    }

    async fn disk(&self, node: NodeNo) -> Result<DiskReading, BackendError> {
        let is_faulty = self.hosts().disks.contains_key(&node);
        let emit = |event| self.emit(event);
        let told = self.servers().disk(self.info(node), is_faulty, &emit).await;
        told.map_err(|reason| BackendError::Disk { node, reason })
    }

    async fn tear_down(&self) -> Result<(), BackendError> {
        self.save_logs().await;
        Ok(self.undo().await?)
    }
}
