//! Runs suites in tests: load a suite or write one in Rust, run it, and make assertions about the outcome.
//!
//! ```no_run
//! use slotquake::testing::{Error, Suite};
//!
//! #[tokio::test]
//! async fn a_stopped_master_comes_back_as_a_replica() -> Result<(), Error> {
//!     let outcome = Suite::load("role-swap")?.server("redis:6.2").config("cluster-node-timeout", 1000).run().await?;
//!     outcome.assert_pass();
//!     assert_eq!(outcome.figures().lost, 0);
//!     Ok(())
//! }
//! ```
//!
//! The methods of a suite have the names of the keys in a suite file. They take typed values or the text of the
//! file. Errors are reported when the suite is run.
//!
//! ```
//! use std::time::Duration;
//! use slotquake::suite::OpKind;
//! use slotquake::testing::Suite;
//!
//! let suite = Suite::new("my-failover")
//!     .masters(3)
//!     .replicas_per_master(1)
//!     .config("cluster-node-timeout", 1000)
//!     .phase("baseline")
//!     .settle("2s")
//!     .phase("master-down")
//!     .kill("shard-1/master")
//!     .await_promoted("shard-1")
//!     .settle(Duration::from_secs(2))
//!     .slot_coverage()
//!     .acked_writes(0)
//!     .failover_time("shard-1", "spec")
//!     .availability(OpKind::Writes, "others", "1s")
//!     .invariant("role: { node: node-4, is: master, at: end }");
//! assert_eq!(suite.plan(7)?.steps.len(), 6);
//! # Ok::<(), slotquake::testing::Error>(())
//! ```
//!
//! A suite that cuts links needs the [sandbox](crate::sandbox), which only a process with one thread can enter.
//! Run it with [`cargo_test`](crate::cargo_test), which enters the sandbox, or take a [`Environment`] at the start of
//! your own `main`.

mod cluster;
mod outcome;
mod settings;
mod write;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

pub use self::cluster::Cluster;
pub use self::outcome::Outcome;
use crate::batch::{self, Done, Environment, Job, Lanes, Settings};
use crate::plan::{Need, Plan};
use crate::report::{self, ReportError, Standing};
use crate::server::{Server, ServerError};
use crate::suite::{self, LoadError, Source};

/// A suite and the settings of its run. See [the module](self) for examples.
#[derive(Debug, Clone)]
#[must_use = "a suite does nothing until it is run"]
pub struct Suite {
    origin: Origin,
    /// The errors of the builder's calls, in order.
    problems: Vec<String>,
    seed: Option<u64>,
    out: Option<PathBuf>,
    keep: bool,
    environment: Option<Environment>,
}

/// Where a suite comes from, for diagnostics.
#[derive(Debug, Clone)]
enum Origin {
    /// A file: its lines are shown.
    File(Box<Source>),
    /// Code.
    Code(Box<suite::Suite>),
}

/// Why a suite has no outcome. A failed invariant is not an error: see [`Outcome`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The suite is invalid. The text lists all problems.
    #[error(transparent)]
    Suite(#[from] LoadError),
    /// The server was neither found nor fetched.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The suite cannot run on this machine.
    #[error("suite \"{suite}\" cannot run on this machine: {reason}")]
    Impossible {
        /// The suite's name.
        suite: String,
        /// Why, with a hint.
        reason: String,
    },
    /// The run produced no report, for example because the cluster could not be formed.
    #[error("suite \"{suite}\" on {server}: {message}")]
    Run {
        /// The suite's name.
        suite: String,
        /// The server, in short.
        server: String,
        /// What happened.
        message: String,
        /// The run's folder with the servers' logs, if it was created.
        folder: Option<PathBuf>,
    },
    /// A cluster of [`Suite::up`] did not do what it was asked for, or could not be ended in order.
    #[error("suite \"{suite}\": {message}")]
    Cluster {
        /// The suite's name.
        suite: String,
        /// What happened, with a hint.
        message: String,
    },
    /// A client could not connect to a node.
    #[error("cannot connect to {addr}: {source}")]
    Connect {
        /// The address of the node.
        addr: SocketAddr,
        /// The error of the client.
        source: redis::RedisError,
    },
    /// The report could not be read back.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The system refused a thread or a resource of the asynchronous runtime.
    #[error("cannot start the harness: {0}")]
    Harness(#[from] std::io::Error),
}

impl Suite {
    /// Loads a suite by path or by name: a built-in suite or one in `suites/`.
    pub fn load(name_or_path: &str) -> Result<Self, Error> {
        Ok(Self::with(Origin::File(Box::new(Source::load(name_or_path)?))))
    }

    /// Creates a suite in code. Its defaults are those of a suite file: `redis:6.2`, 3 masters with one replica
    /// each, 400 operations per second.
    pub fn new(name: &str) -> Self {
        Self::with(Origin::Code(Box::new(suite::Suite {
            name: name.to_owned(),
            about: "Written in code.".to_owned(),
            cluster: suite::ClusterSpec::default(),
            workload: suite::WorkloadSpec::default(),
            steps: Vec::new(),
            invariants: Vec::new(),
            recover_within: suite::default_recover_within(),
            max_duration: suite::default_max_duration(),
            if_impossible: suite::IfImpossible::End,
            speed: None,
        })))
    }

    fn with(origin: Origin) -> Self {
        Self { origin, problems: Vec::new(), seed: None, out: None, keep: false, environment: None }
    }

    /// The suite with all settings so far.
    pub fn as_written(&self) -> &suite::Suite {
        match &self.origin {
            Origin::File(source) => &source.suite,
            Origin::Code(suite) => suite,
        }
    }

    fn written(&mut self) -> &mut suite::Suite {
        match &mut self.origin {
            Origin::File(source) => &mut source.suite,
            Origin::Code(suite) => suite,
        }
    }

    /// Sets the seed of random choices. The default is a random seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets where the report's folder is created. The default is `slotquake` in cargo's target directory.
    pub fn out(mut self, folder: impl Into<PathBuf>) -> Self {
        self.out = Some(folder.into());
        self
    }

    /// Keeps the servers' data directories, in the report's folder.
    pub fn keep_data(mut self) -> Self {
        self.keep = true;
        self
    }

    /// Sets where to run: in the entered sandbox or in containers. The default is outside the sandbox.
    pub fn environment(mut self, environment: &Environment) -> Self {
        self.environment = Some(environment.clone());
        self
    }

    /// Resolves the suite.
    ///
    /// # Errors
    /// With all problems of the suite.
    pub fn plan(&self, seed: u64) -> Result<Plan, Error> {
        if !self.problems.is_empty() {
            let name = &self.as_written().name;
            return Err(LoadError(format!("suite \"{name}\", written in code: {}", self.problems.join("\n"))).into());
        }
        let plan = match &self.origin {
            Origin::File(source) => Plan::from_source(source, seed),
            Origin::Code(suite) => Plan::new(suite, seed).map_err(|errors| {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                LoadError(format!("suite \"{}\", written in code: {}", suite.name, errors.join("\n")))
            }),
        };
        Ok(plan?)
    }

    /// Runs the suite on a real cluster, judges it and writes its report. It uses its own threads, so it works with
    /// any executor, even a busy one. If you drop the future, the run ends in the background: it still heals and
    /// tears down the cluster.
    ///
    /// # Errors
    /// When the run produces no report. Every verdict is an [`Outcome`].
    pub async fn run(self) -> Result<Outcome, Error> {
        let (sender, result) = oneshot::channel();
        let (stop_sender, stop) = watch::channel(None);
        let _stop_on_drop = StopOnDrop(stop_sender);
        std::thread::Builder::new().name("slotquake".to_owned()).spawn(move || {
            // The caller may have dropped the future.
            let _ = sender.send(self.run_here(&stop));
        })?;
        result.await.unwrap_or_else(|_| Err(std::io::Error::other("the harness panicked").into()))
    }

    /// Like [`Self::run`], for tests that are not asynchronous.
    ///
    /// # Errors
    /// The same as [`Self::run`].
    pub fn run_blocking(self) -> Result<Outcome, Error> {
        let (_alive, stop) = watch::channel(None);
        self.run_here(&stop)
    }

    /// Finds what a run needs: its plan, and its servers by their names there.
    fn prepare(&self) -> Result<(Plan, BTreeMap<String, Server>), Error> {
        let plan = self.plan(self.seed.unwrap_or_else(batch::draw_seed))?;
        if let Some(reason) = self.obstacle(&plan) {
            return Err(Error::Impossible { suite: plan.name, reason });
        }
        if let Some(absent) = batch::absent_program(&plan) {
            return Err(LoadError(absent).into());
        }
        let servers = batch::servers(std::slice::from_ref(&plan), &|_| ())?;
        if let Some(reason) = batch::lacking(&plan, &servers) {
            return Err(Error::Impossible { suite: plan.name, reason });
        }
        Ok((plan, servers))
    }

    fn run_here(self, stop: &batch::Stop) -> Result<Outcome, Error> {
        let (plan, servers) = self.prepare()?;
        let settings = Settings {
            out: self.out.unwrap_or_else(default_out),
            keep: self.keep,
            lanes: Arc::new(Lanes::new(Some(1))),
            environment: self.environment.unwrap_or_else(Environment::outside),
            retries: 0,
            fail_fast: None,
        };
        let runtime = Runtime::new()?;
        let done = runtime.block_on(Job::new(plan, &servers).run(0, &settings, &batch::nobody(), stop));
        runtime.shutdown_background();
        outcome(done)
    }

    fn obstacle(&self, plan: &Plan) -> Option<String> {
        match &self.environment {
            Some(environment) => environment.obstacle(plan).map(str::to_owned),
            None if plan.needs_to(Need::Links) || plan.needs_to(Need::Isolate) => Some(
                "it cuts links, which needs the sandbox, and only a process with one thread can enter it (hint: run it \
                 with `slotquake::cargo_test`, in a test target with `harness = false`)"
                    .to_owned(),
            ),
            None => None,
        }
    }
}

/// Stops the run when its future is dropped.
struct StopOnDrop(watch::Sender<Option<String>>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.send_replace(Some("its caller".to_owned()));
    }
}

fn outcome(done: Done) -> Result<Outcome, Error> {
    let summary = done.summary;
    match (&summary.standing, &summary.report) {
        (Standing::Judged(_), Some(folder)) => {
            let report = report::read(folder)?;
            Ok(Outcome::new(summary, report))
        }
        (Standing::Error(message) | Standing::Skipped(message), _) => Err(Error::Run {
            message: message.clone(),
            suite: summary.suite,
            server: summary.server,
            folder: summary.report,
        }),
        (Standing::Judged(_), None) => unreachable!("every judged run has a report"),
    }
}

/// `slotquake` in cargo's target directory: the parent folder of the test's program that cargo marks as a cache.
/// Without one, `target/slotquake` in the working directory.
pub(crate) fn default_out() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.unwrap_or(Path::new("target")).join("slotquake")
}
