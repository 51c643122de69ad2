//! `slotquake up`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use slotquake::batch::{Audience, Environment};
use slotquake::cluster::Reach;
use slotquake::history::{Event, EventKind, NodeInfo, StepProblem};
use slotquake::plan::Plan;
use slotquake::report::{Narrator, seconds};
use slotquake::reports;
use slotquake::run::{self, Answer, Ask, Notice, Options, Request, RunError};
use slotquake::sandbox::Mode;
use slotquake::server::{BackendKind, Server};
use slotquake::suite::{LoadError, Source};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::exit::{Exit, Trouble};
use super::progress::{Display, Teller};
use super::runtime::listening;
use super::signals::Signals;
use super::socket::{self, CommandSocket, Response};
use super::{backend, containers, prepare};

/// The cluster, as a suite would say it. Its steps are what may be asked for, so that the environment is laid for
/// them; nobody goes through them.
const SUITE: &str = "\
name: up
about: A cluster that is kept for somebody to try things on.
steps: [{ partition: { shape: ring } }, { slow: { between: [node-1, others], latency: 50ms } }]
invariants: [{ slot-coverage: { at: end } }]
";

/// Keep a cluster of three masters and three replicas up, to try things on
///
/// It runs in this terminal and tells what happens; from another one, `slotquake status`, `fault`, `send`
/// and `exec` look at it, break it and talk to it. Ctrl-C here, or `slotquake down`, ends it, and nothing
/// outlives it. The servers' logs and the history stay in a folder under the reports' directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake up
  slotquake up --server valkey:9.1 --set cluster.config.cluster-node-timeout=1000
  slotquake up --set cluster.masters=5 --name five")]
pub struct Args {
    /// The server: `redis:6.2`, `valkey:9.1`, or the path of a binary
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// Override a setting of the cluster, such as `cluster.config.cluster-node-timeout=1000`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
    /// What the other commands call it by, where several are up
    #[arg(long, value_name = "NAME", default_value = "up")]
    name: String,
    /// Where the folder with logs and history goes
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// Whether to run in the sandbox: where possible, not at all, or fail unless it and nft are there. Without
    /// it, links cannot be cut
    #[arg(long, value_name = "MODE", default_value_t = Mode::Auto,
        value_parser = PossibleValuesParser::new(["auto", "off", "require"]).try_map(|word| word.parse::<Mode>()))]
    sandbox: Mode,
    /// What runs the nodes
    #[arg(long, default_value_t = BackendKind::Local,
        value_parser = backend::parser(&[BackendKind::Local, BackendKind::Docker]))]
    backend: BackendKind,
}

/// Keeps a cluster up.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let plan = plan(args).map_err(|error| Trouble::usage(error.0))?;
    let plans = [plan.clone()];
    let (servers, environment, runtime, signals) = match args.backend {
        BackendKind::Local => {
            let servers = prepare::servers(&plans)?;
            // From here on this may be another process, the one that other terminals see listening.
            let environment = Environment::enter(args.sandbox, &plans).map_err(Trouble::harness)?;
            let (runtime, signals) = listening()?;
            (servers, environment, runtime, signals)
        }
        BackendKind::Docker => containers::take((None, None), Reach::Auto, &plans)?,
        BackendKind::Attach => unreachable!("the parser of `--backend` accepts only the others"),
    };
    let (door, listener) = CommandSocket::open(&args.name)?;
    let server = servers[&plan.server].clone();
    let folder =
        reports::create_folder(&args.out, &plan.name, &server.asked, SystemTime::now()).map_err(Trouble::harness)?;
    let display = Display::new(false, false);
    let kept = runtime.block_on(keep(plan, server, environment, &folder, (listener, signals), &display));
    drop(door);
    display.close();
    kept
}

fn plan(args: &Args) -> Result<Plan, LoadError> {
    let mut source = Source::parse(SUITE, Path::new("the cluster of `slotquake up`"))?;
    for assignment in &args.sets {
        source.set(assignment)?;
    }
    if let Some(server) = &args.server {
        source.suite.cluster.server.clone_from(server);
    }
    Plan::from_source(&source, 0)
}

async fn keep(
    plan: Plan,
    server: Server,
    environment: Environment,
    folder: &Path,
    (listener, signals): (std::os::unix::net::UnixListener, Signals),
    display: &Display,
) -> Result<Exit, Trouble> {
    let trouble = |error: std::io::Error| Trouble::harness(format!("cannot listen: {error}"));
    let stop = signals.stop(display.teller(), "the cluster ends");
    listener.set_nonblocking(true).map_err(trouble)?;
    let listener = UnixListener::from_std(listener).map_err(trouble)?;
    let (requests, inbox) = mpsc::channel(1);
    let (ending, mut waiting) = mpsc::unbounded_channel();
    let narrator = Mutex::new(Narrator::new(&plan, true));
    let host = Arc::new(Host { plan: plan.clone(), environment, requests, ending, narrator });
    let options = Options {
        folder: folder.to_owned(),
        keep: false,
        backend: host.environment.backend.clone(),
        stop,
        watcher: watcher(&plan, &server, folder, display.teller()),
    };
    let mut visits = JoinSet::new();
    visits.spawn(receive(listener, Arc::clone(&host)));
    let kept = run::keep(plan, server, options, inbox).await;
    visits.shutdown().await;
    // Nothing is left now, which those who asked for it may know.
    while let Ok(stream) = waiting.try_recv() {
        socket::write(stream, &Ok(Response::Lines(vec!["the cluster is down".to_owned()]))).await;
    }
    let history = kept.map_err(|error| match error {
        RunError::Config(message) => Trouble::usage(message),
        error => Trouble::harness(error),
    })?;
    let happened = |of: fn(&EventKind) -> bool| history.events.iter().any(|event| of(&event.kind));
    Ok(if happened(|kind| matches!(kind, EventKind::LeftBehind { .. })) {
        Exit::Harness
    } else if happened(|kind| matches!(kind, EventKind::Booted { .. })) {
        Exit::Pass
    } else {
        Exit::Interrupted
    })
}

/// What requests need.
struct Host {
    plan: Plan,
    environment: Environment,
    requests: mpsc::Sender<Request>,
    /// Who waits for the end.
    ending: mpsc::UnboundedSender<UnixStream>,
    /// Knows the faults of earlier requests by their names.
    narrator: Mutex<Narrator>,
}

async fn receive(listener: UnixListener, host: Arc<Host>) {
    let mut visits = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(visits.spawn(visit(stream, Arc::clone(&host)))),
            // As many files as may be are open; some will be closed.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
        while visits.try_join_next().is_some() {}
    }
}

/// One request, from its line to its answer.
async fn visit(mut stream: UnixStream, host: Arc<Host>) {
    let told = match socket::read(&mut stream).await {
        Ok(None) => return,
        Err(error) => Err(StepProblem::Suite(format!("a request that cannot be read: {error}"))),
        Ok(Some(Ask::Down)) => {
            let _ = host.ending.send(stream);
            let (answer, _) = oneshot::channel();
            let _ = host.requests.send(Request { ask: Ask::Down, answer }).await;
            return;
        }
        Ok(Some(ask)) => host.ask(ask).await,
    };
    socket::write(stream, &told).await;
}

impl Host {
    async fn ask(&self, ask: Ask) -> Result<Response, StepProblem> {
        if let Ask::Fault { step, .. } = &ask {
            let alone = Plan { steps: vec![step.clone()], ..self.plan.clone() };
            if let Some(reason) = self.environment.obstacle(&alone) {
                return Err(StepProblem::Suite(reason.to_owned()));
            }
        }
        let (answer, answered) = oneshot::channel();
        let gone = || StepProblem::Harness("the cluster is about to end".to_owned());
        self.requests.send(Request { ask, answer }).await.map_err(|_| gone())?;
        Ok(match answered.await.map_err(|_| gone())?? {
            Answer::Status(status) => Response::Status(status),
            Answer::Happened(events) => Response::Lines(self.narrate(&events)),
            Answer::Reply { text, by } => Response::Lines(vec![text, by]),
        })
    }

    fn narrate(&self, events: &[Event]) -> Vec<String> {
        let mut narrator = self.narrator.lock().expect("no holder panics");
        events.iter().flat_map(|event| narrator.tell(event)).collect()
    }
}

/// Tells what happens, in this terminal.
fn watcher(plan: &Plan, server: &Server, folder: &Path, teller: Teller) -> Arc<dyn Fn(Notice<'_>) + Send + Sync> {
    let narrator = Mutex::new(Narrator::new(plan, false));
    let (server, logs) = (server.clone(), folder.join("logs"));
    Arc::new(move |notice| {
        let Notice::Event(event) = notice else { return };
        if let EventKind::Booted { nodes, .. } = &event.kind {
            teller.line(&welcome(&server, nodes, &logs));
        }
        for line in narrator.lock().expect("no holder panics").tell(event) {
            teller.line(&format!("{} {line}", seconds(event.at_ns as f64 / 1e6)));
        }
    })
}

/// What somebody who sees this for the first time wants to know.
fn welcome(server: &Server, nodes: &[NodeInfo], logs: &Path) -> String {
    let mut text = format!("{} is up ({})\n", server.asked, server.version);
    for node in nodes {
        let role = if node.boots_as_master { "master" } else { "replica" };
        let _ = writeln!(text, "  {}  {}  {role} of {}", node.node, node.addr, node.shard);
    }
    let first = nodes.first().map_or_else(String::new, |node| format!("-h {} -p {}", node.addr.ip(), node.addr.port()));
    let _ = write!(
        text,
        "\
Logs: {}
In another terminal:
  slotquake status                         how the nodes are
  slotquake send SET testkey value         a command, following redirects
  slotquake fault kill shard-1/master      a fault, proven; see `slotquake fault --help`
  slotquake fault start node-1
  slotquake fault partition minority majority --as cut
  slotquake fault heal cut
  slotquake exec redis-cli -c {first}
  slotquake down                           or Ctrl-C here",
        logs.display()
    );
    text
}
