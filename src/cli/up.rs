//! `slotquake up`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use slotquake::batch::{Audience, Environment, Job, Lanes, Settings, highest_speed};
use slotquake::cluster::Reach;
use slotquake::history::{Event, EventKind, NodeInfo, StepProblem};
use slotquake::plan::{Need, Plan};
use slotquake::report::{Narrator, seconds};
use slotquake::reports;
use slotquake::run::{self, Answer, Ask, Notice, Options, Request, RunError};
use slotquake::sandbox::Mode;
use slotquake::server::{BackendKind, Server};
use slotquake::speed::{self, Speed};
use slotquake::suite::{LoadError, Source, SpeedSetting};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::exit::{Exit, Trouble};
use super::progress::{Display, HowMuch, Teller};
use super::runtime::listening;
use super::signals::Signals;
use super::socket::{self, CommandSocket, Response};
use super::{backend, containers, prepare};

/// The cluster, as a suite. Its steps only make the environment meet the needs of later requests; they do not run. With
/// `--clocks` there is one more, `CLOCKS`.
const SUITE: &str = "\
name: up
about: A cluster that is kept for somebody to try things on.
steps: [{ partition: { shape: ring } }, { slow: { between: [node-1, others], latency: 50ms } }]
invariants: [{ slot-coverage: { at: end } }]
";

const CLOCKS: &str = r#"{"clock": {"node": "node-1", "jump": "1h"}}"#;

/// Keep a cluster of three masters and three replicas running, for experiments
///
/// It runs in this terminal and prints its events. In another terminal, use `slotquake status`, `fault`, `send` and `exec`.
/// Ctrl-C, or `slotquake down`, ends it with all its processes. The servers' logs and the history stay in a folder under
/// the reports directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake up
  slotquake up --server valkey:9.1 --set cluster.config.cluster-node-timeout=1000
  slotquake up --set cluster.masters=5 --name five
  slotquake up --clocks")]
pub struct Args {
    /// The server: `redis:6.2`, `valkey:9.1`, or the path of a binary
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// Override a setting of the cluster, such as `cluster.config.cluster-node-timeout=1000`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
    /// The name of the cluster for the other commands, if several are up
    #[arg(long, value_name = "NAME", default_value = "up")]
    name: String,
    /// The directory for the folder with logs and history
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// Whether to run in the sandbox: `auto` enters it if possible, `require` fails unless the sandbox and nft are
    /// available. Without the sandbox, links cannot be cut
    #[arg(long, value_name = "MODE", default_value_t = Mode::Auto,
        value_parser = PossibleValuesParser::new(["auto", "off", "require"]).try_map(|word| word.parse::<Mode>()))]
    sandbox: Mode,
    /// Let slotquake and the servers live this many times as fast as real time: a whole number up to 100, or `auto` for
    /// what this machine can keep (only with `--backend local`). On Linux with glibc, and so in containers
    #[arg(long, value_name = "N", default_value_t = SpeedSetting::Fixed(Speed::REAL))]
    speed: SpeedSetting,
    /// Load the library into the servers that changes their clocks, for `slotquake fault clock`
    #[arg(long)]
    clocks: bool,
    /// What runs the nodes
    #[arg(long, default_value_t = BackendKind::Local,
        value_parser = backend::parser(&[BackendKind::Local, BackendKind::Docker]))]
    backend: BackendKind,
}

/// Runs a cluster until it is stopped.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let plan = plan(args).map_err(|error| Trouble::usage(error.0))?;
    let plans = [plan.clone()];
    let (servers, environment, runtime, signals) = match args.backend {
        BackendKind::Local => {
            let servers = prepare::servers(&plans)?;
            backend::speed(&plans, Some(args.speed))?;
            // From here on this may be another process. It is the one that listens for other terminals.
            let environment = Environment::enter(args.sandbox, &plans).map_err(Trouble::unavailable)?;
            let (runtime, signals) = listening()?;
            (servers, environment, runtime, signals)
        }
        BackendKind::Docker => {
            backend::refuse_speed(args.backend, args.speed)?;
            backend::speed(&plans, Some(args.speed))?;
            containers::take((None, None), Reach::Auto, &plans)?
        }
        BackendKind::Attach => unreachable!("the parser of `--backend` accepts only the others"),
    };
    if args.clocks
        && let Some(reason) = environment.lack(Need::Clocks, &plan)
    {
        return Err(Trouble::usage(format!("clocks cannot be changed here: {reason}")));
    }
    let (door, listener) = CommandSocket::open(&args.name)?;
    let server = servers[&plan.server].clone();
    let folder = reports::create_folder(&args.out, &plan.name, &server.asked, speed::real_now())
        .map_err(Trouble::unavailable)?;
    let display = Display::new(HowMuch::Normal, false, 0);
    let kept = runtime.block_on(async {
        if args.speed == SpeedSetting::Auto && !speed::current().is_real() {
            settle_speed(&plan, &servers, &environment, &display.teller()).await?;
        }
        keep(plan, server, environment, &folder, (listener, signals), &display).await
    });
    drop(door);
    display.close();
    kept
}

/// Makes this process live at the highest speed that the machine can keep with this cluster.
async fn settle_speed(
    plan: &Plan,
    servers: &BTreeMap<String, Server>,
    environment: &Environment,
    teller: &Teller,
) -> Result<(), Trouble> {
    let settings = Settings {
        out: PathBuf::new(),
        keep: false,
        lanes: Arc::new(Lanes::new(Some(1))),
        environment: environment.clone(),
        retries: 0,
        fail_fast: None,
    };
    let like = Job::new(plan.clone(), servers).at(Some(SpeedSetting::Auto), speed::current());
    let (_running, stop) = tokio::sync::watch::channel(None);
    let (found, _) = highest_speed(&like, 1, &settings, &stop).await;
    teller.line(&format!("speed {found} is the highest that this machine can keep"));
    speed::change(found).map_err(Trouble::unavailable)
}

fn plan(args: &Args) -> Result<Plan, LoadError> {
    let mut source = Source::parse(SUITE, Path::new("the cluster of `slotquake up`"))?;
    for assignment in &args.sets {
        source.set(assignment)?;
    }
    if let Some(server) = &args.server {
        source.suite.cluster.server.clone_from(server);
    }
    if args.clocks {
        source.suite.steps.push(serde_json::from_str(CLOCKS).expect("a step"));
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
    let trouble = |error: std::io::Error| Trouble::unavailable(format!("cannot listen: {error}"));
    let stop = signals.stop(display.teller(), "ending the cluster");
    listener.set_nonblocking(true).map_err(trouble)?;
    let listener = UnixListener::from_std(listener).map_err(trouble)?;
    let (requests, inbox) = mpsc::channel(1);
    let (ending, mut waiting) = mpsc::unbounded_channel();
    let narrator = Mutex::new(Narrator::new(&plan, true).on(server.version));
    let host = Arc::new(Host { plan: plan.clone(), environment, requests, ending, narrator });
    let options = Options {
        folder: folder.to_owned(),
        keep: false,
        backend: host.environment.backend.clone(),
        other_servers: BTreeMap::new(),
        stop,
        watcher: watcher(&plan, &server, folder, display.teller()),
    };
    let mut visits = JoinSet::new();
    visits.spawn(receive(listener, Arc::clone(&host)));
    let kept = run::keep(plan, server, options, inbox).await;
    visits.shutdown().await;
    // The teardown is complete, so answer the requests for it.
    while let Ok(stream) = waiting.try_recv() {
        socket::write(stream, &Ok(Response::Lines(vec!["the cluster is down".to_owned()]))).await;
    }
    let history = kept.map_err(|error| match error {
        RunError::Config(message) => Trouble::usage(message),
        error => Trouble::unavailable(error),
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

/// The state that requests use.
struct Host {
    plan: Plan,
    environment: Environment,
    requests: mpsc::Sender<Request>,
    /// The connections that wait for the end.
    ending: mpsc::UnboundedSender<UnixStream>,
    /// It knows the faults of earlier requests by name.
    narrator: Mutex<Narrator>,
}

async fn receive(listener: UnixListener, host: Arc<Host>) {
    let mut visits = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(visits.spawn(visit(stream, Arc::clone(&host)))),
            // The limit of open files is reached; other connections will close some.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
        while visits.try_join_next().is_some() {}
    }
}

/// Reads one request and answers it.
async fn visit(mut stream: UnixStream, host: Arc<Host>) {
    let told = match socket::read(&mut stream).await {
        Ok(None) => return,
        Err(error) => Err(StepProblem::Suite(format!("invalid request: {error}"))),
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
            self.environment.admit(step, &self.plan).map_err(StepProblem::Suite)?;
        }
        let (answer, answered) = oneshot::channel();
        let gone = || StepProblem::Harness("the cluster is shutting down".to_owned());
        self.requests.send(Request { ask, answer }).await.map_err(|_| gone())?;
        Ok(match answered.await.map_err(|_| gone())?? {
            Answer::Status(status) => Response::Status(status),
            Answer::Happened(events) => Response::Lines(self.narrate(&events)),
            Answer::Reply { text, by } => Response::Lines(vec![text, by]),
            Answer::Met => Response::Lines(Vec::new()),
            Answer::Address(addr) => Response::Lines(vec![addr.to_string()]),
        })
    }

    fn narrate(&self, events: &[Event]) -> Vec<String> {
        let mut narrator = self.narrator.lock().expect("no holder panics");
        events.iter().flat_map(|event| narrator.tell(event)).collect()
    }
}

/// Prints events in this terminal.
fn watcher(plan: &Plan, server: &Server, folder: &Path, teller: Teller) -> Arc<dyn Fn(Notice<'_>) + Send + Sync> {
    let narrator = Mutex::new(Narrator::new(plan, false).on(server.version));
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

/// The introduction for a first-time user.
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
