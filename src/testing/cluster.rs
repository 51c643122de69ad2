//! A cluster that is up for a test.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Error, Suite, default_out};
use crate::batch::{self, Environment};
use crate::history::{EventKind, History, StepProblem};
use crate::plan::Plan;
use crate::reports;
use crate::run::{self, Answer, Ask, Options, Request, Status};
use crate::speed;
use crate::suite::{Await, CommandLine, Step};
use crate::target::Target;
use crate::units::Span;

/// A live cluster of [`Suite::up`], for a test of your own.
///
/// It ends when you drop it, also when the test panics: dropping waits until every server is gone. Its threads are its own, so it
/// works with any executor.
#[derive(Debug)]
#[must_use = "the cluster ends when this is dropped"]
pub struct Cluster {
    keeper: Keeper,
    prepared: Prepared,
    addresses: Vec<SocketAddr>,
}

/// What is known before the cluster is formed.
#[derive(Debug)]
struct Prepared {
    plan: Plan,
    environment: Environment,
    folder: PathBuf,
}

/// The thread that keeps a cluster up. Dropped, it ends the cluster and waits for that.
#[derive(Debug)]
struct Keeper {
    suite: String,
    requests: mpsc::Sender<Request>,
    stop: watch::Sender<Option<String>>,
    /// None once it was waited for.
    thread: Option<JoinHandle<Result<History, Error>>>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Nobody is there to hear of an error. `Cluster::down` returns it.
        let _ = self.end();
    }
}

impl Keeper {
    async fn ask(&self, ask: Ask) -> Result<Answer, Error> {
        let (answer, answered) = oneshot::channel();
        let gone = || self.trouble("the cluster has ended");
        self.requests.send(Request { ask, answer }).await.map_err(|_| gone())?;
        let answer = answered.await.map_err(|_| gone())?;
        answer.map_err(|problem| {
            let (StepProblem::Suite(why) | StepProblem::Unmet(why) | StepProblem::Harness(why)) = problem;
            self.trouble(why)
        })
    }

    fn trouble(&self, message: impl Into<String>) -> Error {
        Error::Cluster { suite: self.suite.clone(), message: message.into() }
    }

    /// Ends the cluster and waits until it is gone.
    fn end(&mut self) -> Result<(), Error> {
        self.stop.send_replace(Some("its test".to_owned()));
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let history = thread.join().map_err(|_| self.trouble("the harness panicked"))??;
        let left = history.events.iter().find_map(|event| match &event.kind {
            EventKind::LeftBehind { what } => Some(format!("left behind: {what}")),
            _ => None,
        });
        left.map_or(Ok(()), |left| Err(self.trouble(left)))
    }
}

impl Suite {
    /// Forms the cluster of this suite and keeps it up for a test of your own. Steps and workload do not run, and nothing is
    /// judged. Steps still say which faults you want to inject later, where the servers must be prepared for them (`clock`,
    /// `disk`, `power-loss`).
    ///
    /// ```no_run
    /// use slotquake::testing::{Error, Suite};
    ///
    /// #[tokio::test]
    /// async fn my_client_gets_over_a_failover() -> Result<(), Error> {
    ///     let cluster = Suite::new("my-client").server("redis:6.2").config("cluster-node-timeout", 1000).up().await?;
    ///     let urls = cluster.urls(); // for your own client
    ///     cluster.inject("kill: shard-1/master").await?;
    ///     cluster.until("{ promoted: shard-1, within: spec }").await?;
    ///     assert_eq!(cluster.send("shard-1/master", "PING").await?, "PONG");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When the suite is invalid, no server was found, or the cluster could not be formed.
    pub async fn up(mut self) -> Result<Cluster, Error> {
        let written = self.written();
        if written.steps.is_empty() {
            written.steps.push(Step::Settle(Span::secs(1)));
        }
        let suite = written.name.clone();
        let (requests, received) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(None);
        let (tell, told) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("slotquake".to_owned())
            .spawn(move || self.keep_up(received, stopped, |prepared| drop(tell.send(prepared))))?;
        // It ends the cluster if this future is dropped meanwhile.
        let mut keeper = Keeper { suite, requests, stop, thread: Some(thread) };
        let Ok(prepared) = told.await else { return Err(ended_early(&mut keeper)) };
        // It is answered when the cluster is formed.
        match keeper.ask(Ask::Status).await {
            Ok(Answer::Status(status)) => {
                let addresses = status.nodes.iter().map(|node| node.addr).collect();
                Ok(Cluster { keeper, prepared, addresses })
            }
            Ok(_) | Err(_) => Err(ended_early(&mut keeper)),
        }
    }

    /// Forms the cluster and keeps it up until it is asked to end. Calls `tell` before that.
    fn keep_up(
        self,
        requests: mpsc::Receiver<Request>,
        stop: batch::Stop,
        tell: impl FnOnce(Prepared),
    ) -> Result<History, Error> {
        let (plan, mut servers) = self.prepare()?;
        let unavailable = |message: String, folder: Option<PathBuf>| Error::Run {
            suite: plan.name.clone(),
            server: plan.server.clone(),
            message,
            folder,
        };
        let server = servers.remove(&plan.server).expect("every server of the plan was found");
        let folder = reports::create_folder(
            &self.out.unwrap_or_else(default_out),
            &plan.name,
            &server.asked,
            speed::real_now(),
        )?;
        let environment = self.environment.unwrap_or_else(Environment::outside);
        let options = Options {
            folder: folder.clone(),
            keep: self.keep,
            backend: environment.backend.clone(),
            other_servers: servers,
            stop,
            watcher: Arc::new(|_| ()),
        };
        let runtime = Runtime::new()?;
        tell(Prepared { plan: plan.clone(), environment, folder: folder.clone() });
        let kept = runtime.block_on(run::keep(plan.clone(), server, options, requests));
        runtime.shutdown_background();
        kept.map_err(|error| unavailable(error.to_string(), Some(folder)))
    }
}

/// Why a cluster ended before it was up.
fn ended_early(keeper: &mut Keeper) -> Error {
    keeper.end().err().unwrap_or_else(|| keeper.trouble("it was ended before it was up"))
}

impl Cluster {
    /// The address of each node at boot: node-1 first. Masters come before replicas.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The same as URLs, for a client of the cluster: `redis://127.1.0.1:6379`.
    pub fn urls(&self) -> Vec<String> {
        self.addresses.iter().map(|addr| format!("redis://{addr}")).collect()
    }

    /// Where clients reach one node now: `"node-4"`, `"shard-1/master"`, or a type.
    pub async fn address(&self, of: impl TryInto<Target, Error: Display>) -> Result<SocketAddr, Error> {
        let of = self.read("address", of)?;
        match self.keeper.ask(Ask::Address { of }).await? {
            Answer::Address(addr) => Ok(addr),
            answer => Err(self.keeper.trouble(format!("unexpected answer: {answer:?}"))),
        }
    }

    /// A connection to one node. It follows no redirection; for that, take a client of a cluster with [`Self::urls`].
    pub async fn connection(
        &self,
        to: impl TryInto<Target, Error: Display>,
    ) -> Result<redis::aio::MultiplexedConnection, Error> {
        let addr = self.address(to).await?;
        let connect = async || redis::Client::open(format!("redis://{addr}"))?.get_multiplexed_async_connection().await;
        connect().await.map_err(|source| Error::Connect { addr, source })
    }

    /// Sends a command to one node, follows redirections, and returns the reply as text. An error reply is a reply, too.
    pub async fn send(&self, to: impl TryInto<Target, Error: Display>, line: &str) -> Result<String, Error> {
        let to = Some(self.read("send", to)?);
        let CommandLine(words) =
            CommandLine::split(line).map_err(|problem| self.keeper.trouble(format!("`send`: {problem}")))?;
        match self.keeper.ask(Ask::Send { to, words, follow: true, readonly: false }).await? {
            Answer::Reply { text, .. } => Ok(text),
            answer => Err(self.keeper.trouble(format!("unexpected answer: {answer:?}"))),
        }
    }

    /// Injects a fault, or undoes one, as a step of a suite: `"kill: shard-1/master"`, `"start: node-1"`, `"heal: all"`. Returns
    /// when that is proven.
    pub async fn inject(&self, step: impl TryInto<Step, Error: Display>) -> Result<(), Error> {
        let step = self.read("inject", step)?;
        let Prepared { environment, plan, .. } = &self.prepared;
        environment.admit(&step, plan).map_err(|why| self.keeper.trouble(why))?;
        self.keeper.ask(Ask::Fault { step, seed: plan.seed }).await.map(drop)
    }

    /// Waits until something is so, as the step `await` of a suite: `"{ promoted: shard-1, within: spec }"`.
    ///
    /// # Errors
    /// If it is not so in time.
    pub async fn until(&self, condition: impl TryInto<Await, Error: Display>) -> Result<(), Error> {
        let condition = self.read("until", condition)?;
        self.keeper.ask(Ask::Await(condition)).await.map(drop)
    }

    /// The state of every node, as the system, the nodes and their peers report it.
    pub async fn status(&self) -> Result<Status, Error> {
        match self.keeper.ask(Ask::Status).await? {
            Answer::Status(status) => Ok(status),
            answer => Err(self.keeper.trouble(format!("unexpected answer: {answer:?}"))),
        }
    }

    /// The folder with the logs of the servers and the history. It stays.
    pub fn folder(&self) -> &Path {
        &self.prepared.folder
    }

    /// Ends the cluster, as dropping it does, and says what went wrong.
    ///
    /// # Errors
    /// If something is left behind.
    pub fn down(mut self) -> Result<(), Error> {
        self.keeper.end()
    }

    fn read<T, F: TryInto<T, Error: Display>>(&self, method: &str, value: F) -> Result<T, Error> {
        value.try_into().map_err(|problem| self.keeper.trouble(format!("`{method}`: {problem}")))
    }
}
