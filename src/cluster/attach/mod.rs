//! The attach backend: a cluster that somebody else started, and that is there when the run has ended.
//!
//! Nothing there is ours but the keys below the run's prefix, and what a run changes it puts back: keys are removed,
//! directives set to what they were, servers started or woken. What cannot be put back is refused beforehand, as is
//! every fault that was not allowed.

pub mod commands;
#[cfg(feature = "docker")]
mod compose;
mod discover;
mod error;
mod hooks;
mod keys;
mod live;
mod undo;
mod way;

use std::collections::{BTreeMap, BTreeSet};
#[cfg(feature = "docker")]
use std::net::Ipv4Addr;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

pub use discover::{FoundNode, Topology};
pub use error::AttachError;
pub use hooks::PASSWORD_VARIABLE;
pub use way::{Way, WaySettings};

#[cfg(feature = "docker")]
use super::docker::Links;
use super::{Backend, BackendError, Keyspace, ProcessState, new_run};
use crate::history::{EventKind, Journal, NodeInfo};
use crate::network::knock::{self, Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::plan::{Found, Need, Plan};
use crate::server::Server;
use crate::suite::Step;
use crate::units::{ClientNo, Directive, NodeNo};
use crate::wire::{Access, Caller, ConnectError};
use commands::Standing;

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
    found: Found,
    topology: Topology,
}

impl Attach {
    /// Finds the cluster, which must be whole, and the ways to its servers.
    pub async fn connect(settings: Settings) -> Result<Self, AttachError> {
        let caller = Caller { access: settings.access, ..Caller::default() };
        let way = Way::open(settings.way).await?;
        let mut seeds = settings.seeds;
        if seeds.is_empty() {
            seeds = way.seeds()?;
        }
        let topology = discover::discover(&seeds, &caller).await?;
        #[cfg(feature = "docker")]
        if let Way::Compose(compose) = &way {
            compose.fits(&topology.nodes)?;
        }
        let config = live::common(&topology.nodes, &caller).await?;
        let version = topology.version;
        let found = Found {
            server: version.to_string().replace(' ', ":"),
            nodes: topology.nodes.iter().map(|node| node.planned.clone()).collect(),
            config,
        };
        let inner = Inner { seeds, caller, allow_faults: settings.allow_faults, way, found, topology };
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
        self.inner.way.lacks()
    }

    /// Why a plan must not be run here at all: it would do what cannot be undone, or what was not allowed.
    pub fn refusal(&self, plan: &Plan) -> Option<String> {
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
    keys: Keyspace,
    /// How many keys the workload has.
    workload_keys: u32,
    logs: PathBuf,
    journal: OnceLock<Arc<Journal>>,
    is_mute: AtomicBool,
    /// Whether anything may have been written.
    began: AtomicBool,
    /// Names on the servers that steps may have written.
    written: Mutex<BTreeSet<String>>,
    /// What directives were before they were changed.
    originals: Mutex<BTreeMap<(NodeNo, String), String>>,
    /// Servers that were ended or frozen, and not yet started or woken.
    disturbed: Mutex<BTreeSet<NodeNo>>,
    /// The containers' links, where the plan needs them.
    #[cfg(feature = "docker")]
    links: Option<Links>,
    /// The run that sidecars are labelled with.
    #[cfg(feature = "docker")]
    run: String,
    undone: AtomicBool,
}

impl Attached {
    /// Looks at the cluster once more, and sets the directives that the plan wants.
    pub async fn begin(attach: &Attach, plan: &Plan, folder: &Path) -> Result<Self, BackendError> {
        let inner = &attach.inner;
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
        let mut attached = Self {
            attach: attach.clone(),
            nodes,
            keys: Keyspace::of_run(&run),
            workload_keys: plan.workload.keys,
            logs: folder.join("logs"),
            journal: OnceLock::new(),
            is_mute: AtomicBool::new(false),
            began: AtomicBool::new(false),
            written: Mutex::default(),
            originals: Mutex::default(),
            disturbed: Mutex::default(),
            #[cfg(feature = "docker")]
            links: None,
            #[cfg(feature = "docker")]
            run,
            undone: AtomicBool::new(false),
        };
        if let Err(error) = attached.make_ready(&topology.nodes, plan).await {
            return Err(match attached.undo().await {
                Ok(()) => error,
                Err(left) => AttachError::Changed(format!("{error}; and {left}")).into(),
            });
        }
        Ok(attached)
    }

    async fn make_ready(&mut self, nodes: &[FoundNode], plan: &Plan) -> Result<(), BackendError> {
        #[cfg(feature = "docker")]
        if let Way::Compose(compose) = &self.attach.inner.way
            && plan.needs_to(Need::Links)
        {
            self.links = Some(compose.links(&self.nodes, &self.run).await?);
        }
        Ok(self.configure(nodes, &plan.config).await?)
    }

    async fn configure(&self, nodes: &[FoundNode], wanted: &BTreeMap<String, Directive>) -> Result<(), AttachError> {
        let caller = self.caller();
        for one in live::different(nodes, caller, wanted).await? {
            self.note_original(one.node, &one.name, &one.live);
            live::set(one.node, self.addr(one.node), caller, &one.name, &one.wanted).await?;
        }
        Ok(())
    }

    /// Remembers what a directive was, unless that is known.
    fn note_original(&self, node: NodeNo, name: &str, value: &str) {
        let mut originals = self.originals.lock().expect("no holder panics");
        originals.entry((node, name.to_owned())).or_insert_with(|| value.to_owned());
    }

    /// Undoes what a run did that panicked. Its journal may have panicked with it, so nothing is told there.
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
    async fn disturb(&self, deed: way::Deed, node: NodeNo) -> Result<(), BackendError> {
        self.disturbed.lock().expect("no holder panics").insert(node);
        #[cfg(feature = "docker")]
        if let (Some(links), way::Deed::Stop | way::Deed::Kill) = (&self.links, deed) {
            links.leave(node.index());
        }
        Ok(self.way().act(deed, self.info(node), &|event| self.tell(event)).await?)
    }

    /// Does something to a server that ends a disturbance.
    async fn restore(&self, deed: way::Deed, node: NodeNo) -> Result<(), BackendError> {
        self.way().act(deed, self.info(node), &|event| self.tell(event)).await?;
        #[cfg(feature = "docker")]
        if let (Some(links), Way::Compose(compose), way::Deed::Start) = (&self.links, self.way(), deed)
            && !self.undone.load(Ordering::Relaxed)
        {
            // A container's network is a new one after each start.
            links.come_back(node.index(), compose.sidecar(self.info(node), &self.run).await?).await?;
        }
        self.disturbed.lock().expect("no holder panics").remove(&node);
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

    fn client_ip(&self, _client: ClientNo) -> Option<IpAddr> {
        None
    }

    fn access(&self) -> Access {
        self.caller().access.clone()
    }

    fn keys(&self) -> Keyspace {
        self.began.store(true, Ordering::Relaxed);
        self.keys.clone()
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
        for ((node, name), original) in &*self.originals.lock().expect("no holder panics") {
            self.tell(EventKind::Note {
                text: format!("{node}: `{name}` was `{original}`, and is changed for this run"),
            });
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
        for name in commands::directives(&words) {
            let live = live::get(self.addr(node), self.caller(), &name).await.map_err(|error| error.to_string())?;
            if let Some(live) = live {
                self.note_original(node, &name, &live);
            }
        }
        let (words, names) = keys::rename(&self.keys, self.addr(node), self.caller(), words).await?;
        self.written.lock().expect("no holder panics").extend(names);
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

    async fn start(&self, node: NodeNo) -> Result<(), BackendError> {
        self.restore(way::Deed::Start, node).await
    }

    async fn terminate(&self, node: NodeNo) -> Result<(), BackendError> {
        self.disturb(way::Deed::Stop, node).await
    }

    async fn kill(&self, node: NodeNo) -> Result<(), BackendError> {
        self.disturb(way::Deed::Kill, node).await
    }

    async fn pause(&self, node: NodeNo) -> Result<(), BackendError> {
        self.disturb(way::Deed::Pause, node).await
    }

    async fn resume(&self, node: NodeNo) -> Result<(), BackendError> {
        self.restore(way::Deed::Resume, node).await
    }

    async fn state(&self, node: NodeNo) -> ProcessState {
        self.way().state(self.info(node), self.caller()).await
    }

    async fn log_tail(&self, node: NodeNo, lines: usize) -> String {
        self.way().log(self.info(node), Some(lines)).await.unwrap_or_default().trim_end().to_owned()
    }

    async fn impose(&self, rule: Rule) -> Result<(), NetworkError> {
        #[cfg(feature = "docker")]
        if let Some(links) = &self.links {
            return links.impose(rule).await;
        }
        let _ = rule;
        Err(NetworkError::NoNetwork)
    }

    async fn counts(&self, name: &str) -> Result<Counts, NetworkError> {
        #[cfg(feature = "docker")]
        if let Some(links) = &self.links {
            return links.counts(name).await;
        }
        Err(NetworkError::Gone(name.to_owned()))
    }

    async fn lift(&self, name: &str) -> Result<(), NetworkError> {
        #[cfg(feature = "docker")]
        if let Some(links) = &self.links {
            return links.lift(name).await;
        }
        let _ = name;
        Ok(())
    }

    #[cfg(feature = "docker")]
    fn can_knock_from(&self, ip: Ipv4Addr) -> bool {
        self.links.as_ref().is_none_or(|links| links.can_knock_from(ip))
    }

    async fn knock(&self, knocks: &[Knock], within: Duration) -> Vec<Heard> {
        #[cfg(feature = "docker")]
        if let Some(links) = &self.links {
            return links.knock(knocks, within).await;
        }
        knock::knock_all(knocks, within).await
    }

    async fn fill(&self, knock: Knock, bytes: u64) {
        #[cfg(feature = "docker")]
        if let Some(links) = &self.links {
            return links.fill(knock, bytes).await;
        }
        // Its end shows in the counters, or does not.
        let _ = Box::pin(knock::push(knock, bytes)).await;
    }

    async fn tear_down(&self) -> Result<(), BackendError> {
        self.save_logs().await;
        Ok(self.undo().await?)
    }
}
