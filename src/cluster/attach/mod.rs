//! The attach backend: a cluster that somebody else started, and that is there when the run has ended.
//!
//! Nothing there is ours but the keys below the run's prefix, and what a run changes it puts back: keys are removed,
//! directives set to what they were, servers started or woken. A ledger on disk says what that is ([`ledgers`]), so that
//! the next run can do it for one that was killed. What cannot be put back is refused beforehand, as is
//! every fault that was not allowed.

pub mod commands;
#[cfg_attr(not(feature = "docker"), path = "no_compose.rs")]
mod compose;
mod cuts;
mod discover;
mod error;
mod hooks;
mod keys;
mod ledger;
mod links;
mod live;
mod settle;
mod undo;
mod way;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

pub use compose::ComposeProject;
pub use discover::{FoundNode, Topology};
pub use error::AttachError;
pub use hooks::PASSWORD_VARIABLE;
pub use ledger::{Changes, Found as FoundLedger, ledgers, ledgers_folder};
pub use way::{Way, WaySettings};

use super::{Backend, BackendError, Keyspace, ProcessState, new_run};
use crate::fault::Action;
use crate::history::{EventKind, NodeInfo};
use crate::journal::Journal;
use crate::network::knock::{Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::plan::{Found, Need, Plan};
use crate::server::Server;
use crate::suite::Step;
use crate::units::{ClientNo, Directive, NodeNo};
use crate::wire::{Access, Caller, ConnectError};
use commands::Standing;
use cuts::Place;
use ledger::{Ledger, Ledgers};
use links::Links;
use settle::Visit;
use undo::Undo;

/// How to get at a cluster, and what may be done to it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses of its nodes, `HOST:PORT`; one that answers is enough.
    pub seeds: Vec<String>,
    /// What its servers want to be let in.
    pub access: Access,
    /// Whether servers may be disturbed and directives changed.
    pub allow_faults: bool,
    /// How its servers can be stopped and started.
    pub way: WaySettings,
    /// Where it is noted what is to be undone, mostly [`ledgers_folder`].
    pub ledgers: PathBuf,
}

/// A cluster that was found. Clones are handles of the same.
#[derive(Debug, Clone)]
pub struct Attach {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    seeds: Vec<String>,
    caller: Caller,
    allow_faults: bool,
    way: Way,
    ledgers: Ledgers,
    found: Found,
    topology: Topology,
}

impl Attach {
    /// Finds the cluster, which must be whole, and the ways to its servers. What runs that were killed have left there
    /// is undone first, and `notice` is told of it, a line each.
    pub async fn connect(settings: Settings, notice: &(dyn Fn(&str) + Sync)) -> Result<Self, AttachError> {
        let ledgers = Ledgers::open(settings.ledgers)?;
        let caller = Caller { access: settings.access, ..Caller::default() };
        let way = Way::open(settings.way).await?;
        let mut seeds = settings.seeds;
        if seeds.is_empty() {
            seeds = way.seeds()?;
        }
        Visit { ledgers: &ledgers, seeds: &seeds, caller: &caller, way: &way, notice }.settle().await?;
        let topology = discover::discover(&seeds, &caller).await?;
        way.fits(&topology.nodes)?;
        live::redirect_by_address(&topology.nodes, &caller).await?;
        let config = live::common(&topology.nodes, &caller).await?;
        let version = topology.version;
        let found = Found {
            server: version.to_string().replace(' ', ":"),
            nodes: topology.nodes.iter().map(|node| node.planned.clone()).collect(),
            config,
        };
        let inner = Inner { seeds, caller, allow_faults: settings.allow_faults, way, ledgers, found, topology };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What a plan takes from this cluster.
    pub fn found(&self) -> &Found {
        &self.inner.found
    }

    /// What it consists of.
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    /// What runs there, for reports.
    pub fn server(&self) -> Server {
        Server {
            asked: self.inner.found.server.clone(),
            version: self.inner.topology.version,
            path: PathBuf::new(),
            origin: format!("a running cluster, found through {}", self.inner.seeds.join(", ")),
            library_path: None,
        }
    }

    /// What cannot be done to this cluster, and why.
    pub fn lacks(&self) -> BTreeMap<Need, String> {
        let mut lacks = self.inner.way.lacks();
        let nodes = &self.inner.topology.nodes;
        if let Some(why) = self.inner.way.links_obstacle(nodes) {
            for need in [Need::Links, Need::Isolate] {
                lacks.entry(need).or_insert_with(|| why.clone());
            }
        }
        if links::own_address(&nodes.iter().map(|node| node.addr).collect::<Vec<_>>()).is_none() {
            let why = "this machine would have to be cut off, too, but it reaches the nodes from several addresses, or has \
                       one of theirs (hint: cut links between nodes only)";
            lacks.entry(Need::Isolate).or_insert_with(|| why.to_owned());
        }
        lacks
    }

    /// Why a plan must not be run here at all: it would do what cannot be undone, or what was not allowed.
    pub fn refusal(&self, plan: &Plan) -> Option<String> {
        if let Some(name) = plan.config.keys().find(|name| commands::is_kept(name)) {
            return Some(format!(
                "suite `{}` sets `{name}`, which is left alone on a cluster that is not ours: it would lock somebody out \
                 (hint: --backend local or docker)",
                plan.name
            ));
        }
        plan.steps.iter().enumerate().find_map(|(index, step)| {
            let named = |what: &str| format!("suite `{}`, step {}, `{what}`", plan.name, index + 1);
            let (what, standing) = match step {
                Step::Command(command) => (command.send.to_string(), commands::standing(&command.send.0)),
                Step::Expect(expect) => (expect.send.to_string(), commands::standing(&expect.send.0)),
                step if !Need::of(step).is_empty() => (word(step), Standing::Fault),
                _ => return None,
            };
            match standing {
                Standing::Refused => Some(format!(
                    "{} is not done to a cluster that is not ours: nobody could undo it (hint: --backend local or docker)",
                    named(&what)
                )),
                Standing::Fault if !self.inner.allow_faults => Some(format!(
                    "{} is a fault, and would be done to a cluster that is not ours (hint: --allow-faults, if it may)",
                    named(&what)
                )),
                _ => None,
            }
        })
    }

    /// Why a plan cannot be run here, though nothing forbids it: it wants directives that the servers do not have.
    pub async fn obstacle(&self, plan: &Plan) -> Result<Option<String>, AttachError> {
        let inner = &self.inner;
        let different = live::different(&inner.topology.nodes, &inner.caller, &plan.config).await?;
        if different.is_empty() {
            return Ok(None);
        }
        if inner.allow_faults {
            return live::unchangeable(&inner.topology.nodes, &inner.caller, &different).await;
        }
        let told: Vec<String> = different
            .iter()
            .map(|one| format!("`{} {}` ({} has `{}`)", one.name, one.wanted, one.node, one.live))
            .collect();
        Ok(Some(format!(
            "its suite sets {}, and directives of a cluster that is not ours are left alone (hint: --allow-faults, or \
             --set cluster.config.NAME=VALUE)",
            told.join(", ")
        )))
    }
}

/// What a suite calls a step.
fn word(step: &Step) -> String {
    let value = serde_json::to_value(step).unwrap_or_default();
    value.as_object().and_then(|map| map.keys().next().cloned()).unwrap_or_default()
}

/// The cluster of one run.
#[derive(Debug)]
pub struct Attached {
    attach: Attach,
    nodes: Vec<NodeInfo>,
    bus_ports: Vec<u16>,
    keys: Keyspace,
    logs: PathBuf,
    journal: OnceLock<Arc<Journal>>,
    is_mute: AtomicBool,
    /// Whether keys of the run may have been written.
    may_have_written: AtomicBool,
    /// What has been changed.
    ledger: Ledger,
    /// What was put back before this run began.
    settled: Vec<String>,
    links: Links,
    /// Where all clients come from, if a node is to be cut off from them.
    own: Option<IpAddr>,
    undone: AtomicBool,
}

impl Attached {
    /// Looks at the cluster once more, and sets the directives that the plan wants.
    pub async fn begin(attach: &Attach, plan: &Plan, folder: &Path) -> Result<Self, BackendError> {
        let inner = &attach.inner;
        let settled = Mutex::new(Vec::new());
        let visit = Visit {
            ledgers: &inner.ledgers,
            seeds: &inner.seeds,
            caller: &inner.caller,
            way: &inner.way,
            notice: &|line| settled.lock().expect("no holder panics").push(line.to_owned()),
        };
        visit.settle().await?;
        let topology = discover::discover(&inner.seeds, &inner.caller).await?;
        if topology.nodes.iter().map(|node| &node.planned).ne(&plan.nodes) {
            let (now, then) = (topology.nodes.len(), plan.nodes.len());
            return Err(AttachError::Changed(format!(
                "it has {now} nodes, and had {then}, or roles are dealt otherwise"
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
                name: inner.way.name_of(node.addr),
            });
        }
        let run = new_run();
        let needs_isolation = plan.needs_to(Need::Isolate);
        let bus_ports: Vec<u16> = topology.nodes.iter().map(|node| node.bus_port).collect();
        let place = |(node, &bus_port): (&NodeInfo, &u16)| Place { node: node.clone(), bus_port };
        let places = nodes.iter().zip(&bus_ports).map(place).collect();
        let mut changes = Changes::new(&run, &plan.name, inner.way.taken(), places, plan.workload.keys);
        changes.written = keys::probed_beyond_workload(plan, &Keyspace::of_run(&run));
        let ledger = inner.ledgers.begin(changes)?;
        let links = match visit.is_alone(&ledger) {
            Ok(()) if needs_isolation || plan.needs_to(Need::Links) => Links::open(&inner.way, &ledger).await,
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
        let different = live::different(nodes, caller, wanted).await?;
        let noted = different.clone();
        let note = move |changes: &mut Changes| {
            for one in &noted {
                changes.add_original(one.node, &one.name, &one.live);
            }
        };
        self.ledger.note(note).await?;
        for one in different {
            live::set(one.node, self.addr(one.node), caller, &one.name, &one.wanted).await?;
        }
        Ok(())
    }

    /// Undoes what the run did. A second call does nothing.
    async fn undo(&self) -> Result<(), AttachError> {
        if self.undone.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let tell = |event| self.tell(event);
        let (caller, way) = (self.caller(), self.way());
        let undo = Undo { ledger: &self.ledger, caller, way, links: &self.links, tell: &tell };
        let changes = self.ledger.changes();
        let mut left = undo.heal_links().await;
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

    /// Leaves the servers' logs of this run in its folder, as far as they can be had.
    async fn save_logs(&self) {
        for node in &self.nodes {
            let Some(log) = self.way().log(node, None).await else { continue };
            // The report is worth having without them; whoever misses a log sees that it is not there.
            let _ = tokio::fs::create_dir_all(&self.logs).await;
            let _ = tokio::fs::write(self.logs.join(format!("{}.log", node.node)), log).await;
        }
    }

    /// Undoes what a run did that failed or panicked. Its journal may have panicked with it, so nothing is told there.
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

    fn way(&self) -> &Way {
        &self.attach.inner.way
    }

    fn tell(&self, kind: EventKind) {
        if let Some(journal) = self.journal.get().filter(|_| !self.is_mute.load(Ordering::Relaxed)) {
            journal.event(kind);
        }
    }

    /// Does something to a server, which from then on counts as disturbed.
    async fn disturb(&self, action: Action, node: NodeNo) -> Result<(), BackendError> {
        self.ledger.note(move |changes| changes.disturbed.extend([node])).await?;
        if matches!(action, Action::Stop | Action::Kill) {
            self.links.leave(node);
        }
        Ok(self.way().act(action, self.info(node), &|event| self.tell(event)).await?)
    }

    /// Does something to a server that ends a disturbance.
    async fn restore(&self, action: Action, node: NodeNo) -> Result<(), BackendError> {
        self.way().act(action, self.info(node), &|event| self.tell(event)).await?;
        if action == Action::Start {
            self.links.come_back(self.info(node)).await?;
        }
        self.ledger.forget(move |changes| changes.disturbed.retain(|&left| left != node)).await;
        Ok(())
    }
}

impl Backend for Attached {
    const NAME: &'static str = "attach";

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
        self.tell(EventKind::Note { text: format!("a cluster that is not ours: keys begin with `{prefix}`") });
        for text in &self.settled {
            self.tell(EventKind::Note { text: text.clone() });
        }
        for original in self.ledger.changes().originals {
            let ledger::Original { node, name, value } = original;
            self.tell(EventKind::Note { text: format!("{node}: `{name}` was `{value}`, and is changed for this run") });
        }
    }

    async fn admit(&self, node: NodeNo, words: Vec<String>) -> Result<Vec<String>, String> {
        match commands::standing(&words) {
            Standing::Refused => return Err("nobody could undo it on a cluster that is not ours".to_owned()),
            Standing::Fault if !self.attach.inner.allow_faults => {
                return Err("it is a fault, and none is allowed (hint: --allow-faults)".to_owned());
            }
            _ => {}
        }
        let mut originals = Vec::new();
        for name in commands::directives(&words) {
            let live = live::get(self.addr(node), self.caller(), &name).await.map_err(|error| error.to_string())?;
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
            // The address of a container, and that of a machine, goes with it.
            ConnectError::Unreachable(..) | ConnectError::TimedOut(..) if self.way().reaches_servers() => {
                matches!(self.state(node).await, ProcessState::Gone { .. })
            }
            _ => false,
        }
    }

    async fn act(&self, node: NodeNo, action: Action) -> Result<(), BackendError> {
        match action {
            Action::Stop | Action::Kill | Action::Pause => self.disturb(action, node).await,
            Action::Start | Action::Resume => self.restore(action, node).await,
        }
    }

    async fn state(&self, node: NodeNo) -> ProcessState {
        self.way().state(self.info(node), self.caller(), &|event| self.tell(event)).await
    }

    /// A hook may be a command that takes its time.
    fn watch_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Hooks count nothing, and a sidecar goes with its container's network.
    fn watches_rules(&self) -> bool {
        false
    }

    async fn log_tail(&self, node: NodeNo, lines: usize) -> String {
        self.way().log(self.info(node), Some(lines)).await.unwrap_or_default().trim_end().to_owned()
    }

    async fn impose(&self, rule: Rule) -> Result<(), NetworkError> {
        self.links.impose(rule, &|event| self.tell(event)).await
    }

    async fn counts(&self, name: &str) -> Result<Counts, NetworkError> {
        self.links.counts(name).await
    }

    fn counts_packets(&self) -> bool {
        self.links.counts_packets()
    }

    async fn lift(&self, name: &str) -> Result<(), NetworkError> {
        self.links.lift(name, &|event| self.tell(event)).await
    }

    fn can_knock_from(&self, ip: Ipv4Addr) -> bool {
        self.links.can_knock_from(ip)
    }

    async fn knock(&self, knocks: &[Knock], within: Duration) -> Vec<Heard> {
        self.links.knock(knocks, within, &|event| self.tell(event)).await
    }

    async fn fill(&self, knock: Knock, bytes: u64) {
        self.links.fill(knock, bytes).await;
    }

    async fn tear_down(&self) -> Result<(), BackendError> {
        self.save_logs().await;
        Ok(self.undo().await?)
    }
}
