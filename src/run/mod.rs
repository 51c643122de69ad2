//! Running a plan: boot, load, steps, heal, recover, read back, tear down. The only writer of a
//! history.

mod conclude;
mod keep;
mod status;
mod steps;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cluster::attach::{Attach, Attached};
#[cfg(feature = "docker")]
use crate::cluster::containers::Engine;
#[cfg(feature = "docker")]
use crate::cluster::docker::Docker;
use crate::cluster::form::{FormError, form, whole};
use crate::cluster::local::Local;
use crate::cluster::watch::Watch;
use crate::cluster::{Backend, BackendError, Control};
use crate::facts::KeyShards;
use crate::history::{Event, EventKind, Header, History, HistoryError, Host, NodeInfo, SCHEMA_VERSION};
use crate::inject::{FaultIds, NetworkInjector, ProcessInjector};
use crate::journal::{Counts, Journal, Recorder};
use crate::network::Network;
use crate::plan::Plan;
use crate::server::Server;
use crate::slot::Deal;
use crate::spec::Rules;
use crate::wire::text;
use crate::workload::Workload;
use keep::Asked;
pub use keep::{Answer, Ask, Request, keep};
pub use status::{NodeStatus, Status};

/// What a run needs beside its plan.
pub struct Options {
    /// The report's folder; it exists. History and logs go there.
    pub folder: PathBuf,
    /// Whether data directories are kept, under `folder/data`.
    pub keep: bool,
    /// What runs the nodes.
    pub place: Place,
    /// Becomes `Some("SIGINT")` and the like when the run is to end; it then heals, reads back,
    /// tears down and returns what it has.
    pub stop: Receiver<Option<String>>,
    /// Is shown everything as it happens. It must return at once.
    pub watcher: Arc<dyn Fn(Notice<'_>) + Send + Sync>,
}

/// What runs the nodes of a run, and with what.
#[derive(Debug, Clone)]
pub enum Place {
    /// Processes of this machine.
    Local {
        /// Where data directories go that are not kept:
        /// [`Inside::scratch`](crate::sandbox::Inside::scratch), or None, outside of the sandbox, for the
        /// system's temporary directory.
        scratch: Option<PathBuf>,
        /// The network whose links can be cut; None outside of the sandbox, where a plan with network
        /// faults ([`Need::Links`](crate::plan::Need::Links) or `Isolate`) is not to be run.
        network: Option<Network>,
    },
    /// Containers of an engine. The server is one that [`Engine::server`] found.
    #[cfg(feature = "docker")]
    Docker(Engine),
    /// A cluster that is there already. The plan was made for it ([`Plan::on_found`]).
    Attach(Attach),
}

/// What a watcher is shown.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// An event was recorded.
    Event(&'a Event),
    /// How far the workload is, several times a second.
    Progress {
        /// Nanoseconds from the start of the run.
        at_ns: u64,
        /// How it has fared.
        counts: &'a Counts,
    },
}

/// Why a run gave no history. What went wrong later is in the history.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cluster could not be formed; the message holds the last state and the node's log.
    #[error("{0}")]
    Boot(String),
    /// A directive that the server refused, in its own words.
    #[error("{0}")]
    Config(String),
    /// The history could not be written.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The backend could not do its part.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl From<FormError> for RunError {
    fn from(error: FormError) -> Self {
        match error {
            FormError::Config { .. } => Self::Config(error.to_string()),
            _ => Self::Boot(error.to_string()),
        }
    }
}

/// A tick of the harness's own clock; one that comes later than [`STALL`] is recorded.
const TICK: Duration = Duration::from_millis(20);

/// A lateness that is worth recording: it would be a visible part of any outage.
const STALL: Duration = Duration::from_millis(100);

const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Once the user wants a run to end, recovery is not awaited for longer than this.
const HURRY: Duration = Duration::from_secs(10);

/// Everything that the parts of one run share.
struct Run<B> {
    plan: Plan,
    /// How the plan deals the slots.
    deal: Deal,
    server: Server,
    control: Arc<Control<B>>,
    journal: Arc<Journal>,
    watch: Watch,
    processes: ProcessInjector<B>,
    links: NetworkInjector<B>,
    stop: Receiver<Option<String>>,
    /// Every node as it was formed; empty until then.
    formed: Vec<NodeInfo>,
}

/// Runs a plan on a server. What went wrong in a step is in the history, not in the error.
pub async fn run(plan: Plan, server: Server, options: Options) -> Result<History, RunError> {
    run_in_place(plan, server, options, Course::Plan).await
}

/// What happens to a cluster once it stands.
enum Course {
    /// What the plan says.
    Plan,
    /// What somebody asks for.
    Asked(Asked),
}

async fn run_in_place(plan: Plan, server: Server, options: Options, course: Course) -> Result<History, RunError> {
    let (folder, keep) = (options.folder.clone(), options.keep);
    match options.place.clone() {
        Place::Local { scratch, network } => {
            let backend = Local::prepare(&plan, &server, &folder, keep, scratch.as_deref(), network)?;
            Box::pin(run_on(Arc::new(backend), plan, server, options, course)).await
        }
        #[cfg(feature = "docker")]
        Place::Docker(engine) => {
            let backend = Docker::prepare(&engine, &plan, &server, &folder, keep).await?;
            Box::pin(run_on(Arc::new(backend), plan, server, options, course)).await
        }
        Place::Attach(attach) => {
            let backend = Arc::new(Attached::begin(&attach, &plan, &folder).await?);
            let running = run_on(Arc::clone(&backend), plan, server, options, course);
            // Nobody else would put back what a run did to a cluster that is not ours.
            match AssertUnwindSafe(Box::pin(running)).catch_unwind().await {
                Ok(Ok(history)) => Ok(history),
                // It may have failed before it came to tearing down; if not, nothing is left to be done.
                Ok(Err(error)) => match backend.abandon().await {
                    Ok(()) => Err(error),
                    Err(left) => Err(RunError::Boot(format!("{error}\nand left behind: {left}"))),
                },
                Err(panic) => {
                    backend.abandon().await.map_err(BackendError::from)?;
                    resume_unwind(panic)
                }
            }
        }
    }
}

async fn run_on<B: Backend>(
    backend: Arc<B>,
    plan: Plan,
    server: Server,
    options: Options,
    course: Course,
) -> Result<History, RunError> {
    let header = Header {
        schema_version: SCHEMA_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        plan: plan.clone(),
        server: server.clone(),
        host: host(B::NAME),
        started_at: humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string(),
    };
    let watcher = Arc::clone(&options.watcher);
    let journal = Arc::new(Journal::new(
        Recorder::create(&options.folder, header)?,
        Arc::new(move |event: &Event| watcher(Notice::Event(event))),
    ));
    let mut background = JoinSet::new();
    background.spawn(mind_the_clock(Arc::clone(&journal), options.watcher));
    let control = Arc::new(Control::new(Arc::clone(&backend)));
    journal.event(EventKind::Phase { name: "boot".to_owned() });
    backend.record_in(&journal);
    let (deal, clients) = (plan.deal(), plan.workload.clients);
    let ids = Arc::new(FaultIds::default());
    let run = Run {
        watch: Watch::begin(&control, &journal),
        processes: ProcessInjector::new(Arc::clone(&control), Arc::clone(&journal), Arc::clone(&ids), deal.clone()),
        links: NetworkInjector::new(Arc::clone(&control), Arc::clone(&journal), ids, (deal.clone(), clients)),
        deal,
        plan,
        server,
        control,
        journal: Arc::clone(&journal),
        stop: options.stop,
        formed: Vec::new(),
    };
    let result = match course {
        Course::Plan => run.through().await,
        Course::Asked(asked) => run.until_asked_to_end(asked).await,
    };
    let left = backend.tear_down().await.err().map(|error| error.to_string());
    if let Some(what) = &left {
        journal.event(EventKind::LeftBehind { what: what.clone() });
    }
    background.shutdown().await;
    let history = journal.finish()?;
    match (result, left) {
        (Ok(()), _) => Ok(history),
        (Err(error), None) => Err(error),
        (Err(error), Some(left)) => Err(RunError::Boot(format!("{error}\nand left behind: {left}"))),
    }
}

impl<B: Backend> Run<B> {
    async fn through(mut self) -> Result<(), RunError> {
        let Some(rules) = self.boot().await? else { return Ok(()) };
        self.note_shards_without_keys();
        let mut stop = self.stop.clone();
        self.control.backend().begin_writing();
        let mut workload = Workload::new(&self.plan, self.control.backend(), &self.journal);
        tokio::select! {
            loaded = workload.load() => loaded.map_err(RunError::Boot)?,
            by = interruption(&mut stop) => {
                self.journal.event(EventKind::Interrupted { by });
                return Ok(());
            }
        }
        workload.begin();
        let interrupted = self.steps(rules).await;
        self.journal.event(EventKind::StepsEnded);
        self.conclude(&mut workload, interrupted).await;
        Ok(())
    }

    /// Says so before time is spent: what judges operations will leave these shards open.
    fn note_shards_without_keys(&self) {
        let keys = self.plan.workload.keys;
        for &shard in KeyShards::new(&self.plan).without_keys() {
            let text = format!("none of the workload's {keys} keys is in {shard} (hint: raise workload.keys)");
            self.journal.event(EventKind::Note { text });
        }
    }

    /// Every node of the cluster, formed or found, once it is whole.
    async fn formed(&self) -> Result<Vec<NodeInfo>, FormError> {
        match self.control.backend().found() {
            None => form(&self.plan, &self.control, &self.watch).await,
            Some(nodes) => {
                whole(&self.plan, &self.control, &self.watch).await?;
                Ok(nodes.to_vec())
            }
        }
    }

    /// Forms the cluster; None when the run was to end before it stood.
    async fn boot(&mut self) -> Result<Option<Rules>, RunError> {
        let mut stop = self.stop.clone();
        let began = Instant::now();
        let formed = tokio::select! {
            formed = self.formed() => formed?,
            by = interruption(&mut stop) => {
                self.journal.event(EventKind::Interrupted { by });
                return Ok(None);
            }
        };
        let took_ms = began.elapsed().as_secs_f64() * 1000.0;
        self.formed.clone_from(&formed);
        self.journal.event(EventKind::Booted { nodes: formed, took_ms });
        let node_timeout = self.record_config().await;
        self.record_clocks().await;
        Ok(Some(Rules {
            node_timeout: node_timeout.unwrap_or_else(|| self.plan.node_timeout()),
            version: self.server.version,
            client_refresh: self.plan.workload.refresh_every.0,
        }))
    }

    /// Reads the directives that judgements depend on from every node that answers. Where nodes
    /// differ, the largest number counts. Returns the live `cluster-node-timeout`.
    async fn record_config(&self) -> Option<Duration> {
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for name in ["cluster-node-timeout", "cluster-require-full-coverage", "appendonly", "appendfsync"] {
            for node in self.control.nodes() {
                let answer = self.control.ask(node, &["CONFIG", "GET", name], Duration::from_millis(500)).await;
                let Some(value) = answer.ok().and_then(|value| text(&value).lines().nth(1).map(str::to_owned)) else {
                    continue;
                };
                let number = |text: &str| text.parse::<u64>().unwrap_or(0);
                let known = values.entry(name.to_owned()).or_insert_with(|| value.clone());
                if number(&value) > number(known) {
                    *known = value;
                }
            }
        }
        let node_timeout = values.get("cluster-node-timeout").and_then(|value| value.parse().ok());
        self.journal.event(EventKind::Config { values });
        node_timeout.map(Duration::from_millis)
    }

    /// Reads the wall clock of every node that answers.
    async fn record_clocks(&self) {
        for node in self.control.nodes() {
            let sent_ns = self.journal.now_ns();
            let Ok(answer) = self.control.ask(node, &["TIME"], Duration::from_millis(500)).await else { continue };
            let answer = text(&answer);
            let mut numbers = answer.lines().map(str::parse::<u64>);
            if let (Some(Ok(seconds)), Some(Ok(micros))) = (numbers.next(), numbers.next()) {
                let unix_us = seconds.saturating_mul(1_000_000).saturating_add(micros);
                self.journal.event(EventKind::Clock { node, unix_us, sent_ns });
            }
        }
    }
}

/// Waits until the run is to end, and says by whom. Never returns if nobody wants that.
async fn interruption(stop: &mut Receiver<Option<String>>) -> String {
    loop {
        if let Some(by) = stop.borrow_and_update().clone() {
            return by;
        }
        if stop.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Records when the harness itself is late, shows progress, and keeps the history moving to disk.
async fn mind_the_clock(journal: Arc<Journal>, watcher: Arc<dyn Fn(Notice<'_>) + Send + Sync>) {
    let mut shown = Instant::now();
    loop {
        let due = Instant::now() + TICK;
        tokio::time::sleep_until(due).await;
        let late = due.elapsed();
        if late >= STALL {
            journal.event(EventKind::Stalled { by_ms: late.as_secs_f64() * 1000.0 });
        }
        journal.flush();
        if shown.elapsed() >= PROGRESS_EVERY {
            shown = Instant::now();
            watcher(Notice::Progress { at_ns: journal.now_ns(), counts: &journal.counts() });
        }
    }
}

fn host(backend: &str) -> Host {
    let release = nix::sys::utsname::uname().map_or_else(
        |_| std::env::consts::OS.to_owned(),
        |name| format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()),
    );
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Host { os: release, cores, backend: backend.to_owned() }
}
