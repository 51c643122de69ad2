//! Running a plan: boot, load, steps, heal, recover, read back, tear down. The only writer of a
//! history.

mod conclude;
mod keep;
mod logs;
mod programs;
mod status;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cluster::attach::{Attach, Attached};
use crate::cluster::docker::{Docker, Engine};
use crate::cluster::form::{FormError, form, whole};
use crate::cluster::local::Local;
use crate::cluster::watch::Watch;
use crate::cluster::{Backend, BackendError, Control, pace};
use crate::facts::KeyShards;
use crate::history::{Event, EventKind, Header, History, HistoryError, Host, NodeInfo, SCHEMA_VERSION};
use crate::inject::Injector;
use crate::journal::{Counts, Journal, Recorder};
use crate::network::Network;
use crate::plan::{Need, Plan};
use crate::server::{BackendKind, Server};
use crate::slot::Deal;
use crate::spec::{FAILOVER_SETTINGS, Rules};
use crate::speed;
use crate::units::NodeNo;
use crate::wire::text;
use crate::workload::Workload;
use keep::Asked;
pub use keep::{Answer, Ask, Request, keep};
pub use status::{NodeStatus, Status};

/// What a run needs in addition to its plan.
pub struct Options {
    /// The report's folder, which must exist. History and logs are written there.
    pub folder: PathBuf,
    /// Whether to keep the data directories, in `folder/data`.
    pub keep: bool,
    /// What runs the nodes, and what it needs to start.
    pub backend: BackendSettings,
    /// The other servers that steps of the plan start, by their names there.
    pub other_servers: BTreeMap<String, Server>,
    /// Becomes `Some` with a reason such as `SIGINT` to end the run early. The run then heals, reads back, tears
    /// down and returns its history.
    pub stop: Receiver<Option<String>>,
    /// Called with every notice during the run. It must return at once.
    pub watcher: Arc<dyn Fn(Notice<'_>) + Send + Sync>,
}

/// What a backend needs to start.
#[derive(Debug, Clone)]
pub enum BackendSettings {
    /// Processes of this machine.
    Local {
        /// Where temporary data directories go: [`Inside::scratch`](crate::sandbox::Inside::scratch) or, outside
        /// the sandbox, None for the system's temporary directory.
        scratch: Option<PathBuf>,
        /// The network whose links can be cut; None outside of the sandbox, where a plan with network
        /// faults ([`Need::Links`] or `Isolate`) is not to be run.
        network: Option<Network>,
    },
    /// Containers of an engine. The server is one that [`Engine::server`] found.
    Docker(Engine),
    /// A cluster that is already running. The plan was made for it ([`Plan::on_found`]).
    Attach(Attach),
}

impl BackendSettings {
    /// Which kind of backend they start.
    pub fn kind(&self) -> BackendKind {
        match self {
            Self::Local { .. } => BackendKind::Local,
            Self::Docker(_) => BackendKind::Docker,
            Self::Attach(_) => BackendKind::Attach,
        }
    }
}

/// What a watcher is called with.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// An event was recorded.
    Event(&'a Event),
    /// The workload's progress, several times a second.
    Progress {
        /// Nanoseconds from the start of the run.
        at_ns: u64,
        /// The workload's counters.
        counts: &'a Counts,
    },
}

/// Why a run produced no history. The history contains errors of later steps.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cluster could not be formed. The message has the last state and the node's log.
    #[error("{0}")]
    Boot(String),
    /// The server rejected a directive; the message is the server's.
    #[error("{0}")]
    Config(String),
    /// The history could not be written.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The backend failed.
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

/// The interval of the harness's clock. A tick that is late by [`STALL`] or more is recorded.
const TICK: Duration = Duration::from_millis(20);

/// The lateness that is recorded. A longer stall would distort the length of an outage.
const STALL: Duration = Duration::from_millis(100);

/// How often slotquake looks for how long servers have waited for a processor.
const LOOK_EVERY: Duration = Duration::from_millis(200);

const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// How long an interrupted run waits for recovery.
const HURRY: Duration = Duration::from_secs(10);

/// Everything that the parts of one run share.
struct Run<B> {
    plan: Plan,
    /// The report's folder.
    folder: PathBuf,
    /// How the plan distributes the slots over the shards.
    deal: Deal,
    server: Server,
    control: Arc<Control<B>>,
    journal: Arc<Journal>,
    watch: Watch,
    injector: Injector<B>,
    stop: Receiver<Option<String>>,
}

/// Runs a plan on a server. A failed step is recorded in the history and is not an error.
pub async fn run(plan: Plan, server: Server, options: Options) -> Result<History, RunError> {
    run_on_backend(plan, server, options, Course::Plan).await
}

/// What a run does once the cluster is formed.
enum Course {
    /// The plan's steps.
    Plan,
    /// Requests.
    Asked(Asked),
}

async fn run_on_backend(plan: Plan, server: Server, options: Options, course: Course) -> Result<History, RunError> {
    let (folder, keep) = (options.folder.clone(), options.keep);
    match options.backend.clone() {
        BackendSettings::Local { scratch, network } => {
            let backend = Local::prepare(&plan, &server, &folder, keep, scratch.as_deref(), network)?;
            Box::pin(run_on(Arc::new(backend), plan, server, options, course)).await
        }
        BackendSettings::Docker(engine) => {
            let backend = Docker::prepare(&engine, &plan, &server, &folder, keep).await?;
            Box::pin(run_on(Arc::new(backend), plan, server, options, course)).await
        }
        BackendSettings::Attach(attach) => {
            let backend = Arc::new(Attached::begin(&attach, &plan, &folder).await?);
            let running = run_on(Arc::clone(&backend), plan, server, options, course);
            // A panic or an error must not leave changes on a cluster that the run did not start.
            match AssertUnwindSafe(Box::pin(running)).catch_unwind().await {
                Ok(Ok(history)) => Ok(history),
                // The run may have failed before its teardown; otherwise this does nothing.
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
        other_servers: options.other_servers.clone(),
        host: host(B::KIND),
        started_at: humantime::format_rfc3339_millis(speed::real_now()).to_string(),
        speed: speed::current(),
    };
    let watcher = Arc::clone(&options.watcher);
    let journal = Arc::new(Journal::new(
        Recorder::create(&options.folder, header)?,
        Arc::new(move |event: &Event| watcher(Notice::Event(event))),
    ));
    let mut background = JoinSet::new();
    background.spawn(mind_the_clock(Arc::clone(&journal), options.watcher));
    let control = Arc::new(Control::new(Arc::clone(&backend)));
    background.spawn(mind_the_servers(Arc::clone(&control), Arc::clone(&journal)));
    journal.event(EventKind::Phase { name: "boot".to_owned() });
    backend.record_in(&journal);
    let (deal, clients) = (plan.deal(), plan.workload.clients);
    let mut servers = options.other_servers;
    servers.insert(plan.server.clone(), server.clone());
    let run = Run {
        watch: Watch::begin(&control, &journal),
        injector: Injector::new(&control, &journal, &deal, clients, servers, plan.seed),
        deal,
        plan,
        folder: options.folder,
        server,
        control,
        journal: Arc::clone(&journal),
        stop: options.stop,
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
        if self.plan.invariants.is_empty() {
            let text = "the suite has no invariants: nothing is judged but slotquake's own checks".to_owned();
            self.journal.event(EventKind::Note { text });
        }
        let mut stop = self.stop.clone();
        self.control.backend().begin_writing();
        let mut workload = Workload::new(&self.plan, &self.control, &self.journal);
        tokio::select! {
            loaded = workload.load() => loaded.map_err(RunError::Boot)?,
            by = interruption(&mut stop) => {
                self.journal.event(EventKind::Interrupted { by });
                return Ok(());
            }
        }
        self.control.backend().settle_disks().await?;
        workload.begin();
        let interrupted = self.steps(rules).await;
        self.journal.event(EventKind::StepsEnded);
        self.conclude(&mut workload, interrupted).await;
        Ok(())
    }

    /// Warns early about shards without keys: invariants that judge operations stay undecided there.
    fn note_shards_without_keys(&self) {
        let keys = self.plan.workload.keys();
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

    /// Forms the cluster. None if the run was interrupted before it was ready.
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
        for info in &formed {
            self.control.roster().identified(info.node, &info.id);
        }
        self.journal.event(EventKind::Booted { nodes: formed, took_ms });
        let node_timeout = self.record_config().await;
        self.record_settings().await;
        self.record_clocks().await;
        for node in self.control.nodes() {
            if self.plan.needs_to(Need::Clocks)
                && let Some(obstacle) = self.control.backend().clock_obstacle(node).await
            {
                return Err(RunError::Boot(format!("the clock of {node} cannot be changed: {obstacle}")));
            }
            if let Some(obstacle) = self.control.backend().power_obstacle(node) {
                return Err(RunError::Boot(format!("the power of {node} cannot be cut: {obstacle}")));
            }
            if let Some(obstacle) = self.control.backend().disk_obstacle(node) {
                return Err(RunError::Boot(format!("the disk of {node} cannot be made faulty: {obstacle}")));
            }
            pace::prove(&self.control, &self.journal, node).await.map_err(RunError::Boot)?;
        }
        Ok(Some(Rules {
            node_timeout: node_timeout.unwrap_or_else(|| self.plan.node_timeout()),
            version: self.server.version,
            client_refresh: self.plan.workload.refresh_every.0,
        }))
    }

    /// Records the directives that judgements depend on, as every node that answers reports them. Where nodes
    /// differ, uses the largest number. Returns the actual `cluster-node-timeout`.
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

    /// Records the directives of the plan, and those that change failovers, of every node that answers.
    async fn record_settings(&self) {
        let is_secret = |name: &str| ["auth", "pass"].iter().any(|part| name.contains(part));
        let planned = self.plan.config.keys().map(String::as_str).filter(|name| !is_secret(name));
        let names: BTreeSet<&str> = planned.chain(FAILOVER_SETTINGS.iter().map(|setting| setting.name)).collect();
        let commands: Vec<[&str; 3]> = names.iter().map(|name| ["CONFIG", "GET", name]).collect();
        let commands: Vec<&[&str]> = commands.iter().map(|command| &command[..]).collect();
        for node in self.control.nodes() {
            let Ok(answers) = self.control.ask_all(node, &commands, Duration::from_millis(500)).await else { continue };
            // The server answers nothing for a directive that it does not have.
            let value = |answer| text(answer).lines().nth(1).map(str::to_owned);
            let values = names.iter().zip(&answers);
            let values = values.filter_map(|(&name, answer)| Some((name.to_owned(), value(answer)?))).collect();
            self.journal.event(EventKind::ServerConfig { node, values });
        }
    }

    /// Records the wall clock of every node that answers.
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

/// Waits until the run is interrupted and returns the reason. Otherwise it never returns.
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

/// Records stalls of the harness, reports progress and flushes the history to disk.
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

/// Records when servers wait for a processor: then they are late, and not by a fault.
async fn mind_the_servers<B: Backend>(control: Arc<Control<B>>, journal: Arc<Journal>) {
    let mut known: BTreeMap<NodeNo, (u32, Duration)> = BTreeMap::new();
    let mut looked = Instant::now();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let passed = looked.elapsed();
        looked = Instant::now();
        for node in control.nodes() {
            let Some((pid, waited)) = control.backend().waited(node).await else { continue };
            let Some((before_pid, before)) = known.insert(node, (pid, waited)) else { continue };
            let waited = speed::real_span(waited.saturating_sub(before)).min(passed);
            if before_pid == pid && waited * 2 >= passed {
                let [waited_ms, of_ms] = [waited, passed].map(|span| span.as_secs_f64() * 1000.0);
                journal.event(EventKind::Starved { node, waited_ms, of_ms });
            }
        }
    }
}

fn host(backend: BackendKind) -> Host {
    let release = nix::sys::utsname::uname().map_or_else(
        |_| std::env::consts::OS.to_owned(),
        |name| format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()),
    );
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Host { os: release, cores, backend: backend.into() }
}
