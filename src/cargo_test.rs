//! Runs suites as tests of `cargo test`: one test for each suite file and server.
//!
//! In `Cargo.toml`:
//!
//! ```toml
//! [dev-dependencies]
//! slotquake = "0.1"
//!
//! [[test]]
//! name = "chaos"
//! harness = false
//! ```
//!
//! and in `tests/chaos.rs`:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     slotquake::cargo_test::main("suites")
//! }
//! ```
//!
//! `suites/role-swap.yaml` becomes the test `role-swap::redis:6.2`. `cargo test --test chaos -- role-swap` runs
//! the tests with that text in their names. `--list`, `--exact`, `--skip` and `--test-threads` work as usual, and
//! so does cargo-nextest. The message of a failed test explains the failure and names the report's folder, which
//! is in `slotquake` in cargo's target directory.
//!
//! - A test passes if every invariant holds. An inconclusive run fails, because it shows nothing.
//! - A suite that this machine cannot run (it cuts links, but there is no sandbox or no nft) is ignored, with the
//!   reason. It fails with `SLOTQUAKE_REQUIRE_ALL=1` or if you run ignored tests.
//! - `SLOTQUAKE_SERVERS=redis:6.2,valkey:9.1` overrides the servers, `SLOTQUAKE_SEED=7` the seed.
//! - `SLOTQUAKE_SPEED=10` runs all suites ten times as fast as real time, as [`Tests::speed`] does; `SLOTQUAKE_SPEED=auto`
//!   as fast as the machine can. A suite is never faster than the number of its own `speed`.
//! - Four tests for each core run concurrently, because they mostly wait, and fewer at speed. `--test-threads`
//!   changes that.
//!
//! Use [`suites`] for more settings:
//!
//! ```no_run
//! use slotquake::testing::Suite;
//!
//! fn main() -> std::process::ExitCode {
//!     slotquake::cargo_test::suites("suites")
//!         .servers(["redis:6.2", "valkey:9.1"])
//!         .suite(Suite::new("in-code").kill("shard-1/master").await_promoted("shard-1").acked_writes(0))
//!         .main()
//! }
//! ```

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use crate::batch::{self, Environment, Exit, Job, Lanes, Settings};
use crate::plan::Plan;
use crate::report::{Summary, explain};
use crate::sandbox::Mode;
use crate::server::{self, Server};
use crate::speed::{self, Speed};
use crate::suite::SpeedSetting;
use crate::testing::{Suite, default_out};

/// The servers that every suite runs on, instead of its own.
const SERVERS: &str = "SLOTQUAKE_SERVERS";
/// The seed of every run.
const SEED: &str = "SLOTQUAKE_SEED";
/// The speed of every run.
const SPEED: &str = "SLOTQUAKE_SPEED";
/// If 1, tests that cannot run on this machine fail.
const REQUIRE_ALL: &str = "SLOTQUAKE_REQUIRE_ALL";

/// Runs every suite (`*.yaml`, `*.yml`) in a folder, whose path is relative to the package. Call it at the start
/// of `main`, while the process has one thread, because it enters the sandbox.
pub fn main(folder: impl Into<PathBuf>) -> ExitCode {
    suites(folder).main()
}

/// The suites in a folder, with further settings.
pub fn suites(folder: impl Into<PathBuf>) -> Tests {
    Tests {
        folder: folder.into(),
        in_code: Vec::new(),
        servers: Vec::new(),
        out: None,
        sandbox: Mode::Auto,
        speed: None,
    }
}

/// Suites to run as tests; [`Tests::main`] runs them.
#[derive(Debug)]
#[must_use = "`main` runs them"]
pub struct Tests {
    folder: PathBuf,
    in_code: Vec<Suite>,
    servers: Vec<String>,
    out: Option<PathBuf>,
    sandbox: Mode,
    speed: Option<String>,
}

/// One test.
struct Case {
    name: String,
    /// The plan, or the problems of the suite.
    plan: Result<Plan, String>,
}

/// What all tests share.
struct Shared {
    settings: Settings,
    servers: BTreeMap<String, Result<Server, String>>,
    runtime: Handle,
    stop: batch::Stop,
    /// The speed that was asked for, and the highest that the machine can keep.
    speed: (Option<SpeedSetting>, Speed),
    /// Whether tests that cannot run on this machine fail.
    must_run: bool,
}

impl Tests {
    /// Runs each suite on each of these servers, instead of its own.
    pub fn servers<S: Into<String>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        self.servers = servers.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a suite that is written in Rust. Its servers are overridden like those of files. Its own settings of
    /// seed, environment and output folder are ignored.
    pub fn suite(mut self, suite: Suite) -> Self {
        self.in_code.push(suite);
        self
    }

    /// Sets the folder for reports. The default is `slotquake` in cargo's target directory.
    pub fn out(mut self, folder: impl Into<PathBuf>) -> Self {
        self.out = Some(folder.into());
        self
    }

    /// Sets whether to enter the sandbox. The default is [`Mode::Auto`].
    pub fn sandbox(mut self, mode: Mode) -> Self {
        self.sandbox = mode;
        self
    }

    /// Lets slotquake and its servers live this many times as fast as real time, from 1 to 100, or (`"auto"`) as fast as the
    /// machine can. The default is the `speed` of each suite. All times of suites and reports are then those of the cluster, and
    /// so are those that the test harness prints.
    pub fn speed(mut self, times: impl Display) -> Self {
        self.speed = Some(times.to_string());
        self
    }

    /// Runs or lists the tests, according to the process's arguments, as a test harness does. Call it at the start
    /// of `main`, while the process has one thread: it enters the sandbox and returns in another process. At another speed than 1,
    /// the program is executed again first.
    pub fn main(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        // Only as many run as their speed allows.
        let threads = arguments.test_threads;
        arguments.test_threads.get_or_insert_with(|| batch::side_by_side(Speed::REAL));
        let required = std::env::var(REQUIRE_ALL).is_ok_and(|value| value == "1");
        let (unwanted, cases): (Vec<Case>, Vec<Case>) =
            self.cases().into_iter().partition(|case| filtered_out(&arguments, &case.name));
        // libtest counts tests that are filtered out.
        let mut trials: Vec<Trial> = unwanted.into_iter().map(|case| Trial::test(case.name, || Ok(()))).collect();
        if arguments.list {
            trials.extend(listed(cases, required, self.sandbox));
        } else if !cases.is_empty() {
            return self.run(&arguments, threads, trials, cases, required);
        }
        libtest_mimic::run(&arguments, trials).exit_code()
    }

    fn run(
        self,
        arguments: &Arguments,
        threads: Option<usize>,
        mut trials: Vec<Trial>,
        cases: Vec<Case>,
        required: bool,
    ) -> ExitCode {
        let plans = plans(&cases);
        // Fetch servers now: nothing can be fetched from inside the sandbox.
        let servers = find(&plans);
        let prepared = begin(&plans, self.speed.as_deref())
            .and_then(|()| Environment::enter(self.sandbox, &plans).map_err(|error| error.to_string()))
            .and_then(|environment| Ok((environment, Runtime::new().map_err(|error| error.to_string())?)));
        let (environment, runtime) = match prepared {
            Ok(prepared) => prepared,
            Err(why) => {
                trials.extend(cases.into_iter().map(|case| failing(case, &why)));
                return libtest_mimic::run(arguments, trials).exit_code();
            }
        };
        let (_running, stop) = watch::channel(None);
        let out = self.out.unwrap_or_else(default_out);
        let settings = Settings {
            out,
            keep: false,
            lanes: Arc::new(Lanes::new(threads)),
            retries: 0,
            fail_fast: None,
            environment,
        };
        let speed = runtime.block_on(find_speed(&plans, &servers, self.speed.as_deref(), &settings, &stop));
        let insist = arguments.ignored || arguments.include_ignored;
        let shared = Arc::new(Shared {
            settings,
            servers,
            runtime: runtime.handle().clone(),
            stop,
            speed,
            must_run: required || insist,
        });
        trials.extend(cases.into_iter().map(|case| {
            let shared = Arc::clone(&shared);
            let ignored = !required && insist && shared.obstacle(&case).is_some();
            Trial::ignorable_test(case.name.clone(), move || case.run(&shared)).with_ignored_flag(ignored)
        }));
        let conclusion = libtest_mimic::run(arguments, trials);
        runtime.shutdown_background();
        conclusion.exit_code()
    }

    /// Every suite on every server, in the order of their names. An invalid suite becomes a test that fails.
    fn cases(&self) -> Vec<Case> {
        let seed = match seed() {
            Ok(seed) => seed,
            Err(why) => return vec![Case { name: SEED.to_owned(), plan: Err(why) }],
        };
        if let Err(why) = speed_asked(self.speed.as_deref()) {
            return vec![Case { name: SPEED.to_owned(), plan: Err(why) }];
        }
        let servers = servers_asked(&self.servers);
        let mut cases = Vec::new();
        match files(&self.folder) {
            Ok(files) => {
                for file in files {
                    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    let loaded = Suite::load(&file.display().to_string()).map_err(|error| error.to_string());
                    add(&mut cases, &stem, loaded, &servers, seed);
                }
            }
            Err(why) => cases.push(Case { name: self.folder.display().to_string(), plan: Err(why) }),
        }
        for suite in &self.in_code {
            add(&mut cases, &suite.as_written().name, Ok(suite.clone()), &servers, seed);
        }
        cases
    }
}

/// Adds the tests of one suite.
fn add(cases: &mut Vec<Case>, stem: &str, suite: Result<Suite, String>, servers: &[String], seed: u64) {
    let suite = match suite {
        Ok(suite) => suite,
        Err(why) => return cases.push(Case { name: stem.to_owned(), plan: Err(why) }),
    };
    let own = [suite.as_written().cluster.server.clone()];
    for server in if servers.is_empty() { &own[..] } else { servers } {
        let plan = suite.clone().server(server).plan(seed).map_err(|error| error.to_string());
        let plan = plan.and_then(|plan| batch::absent_program(&plan).map_or(Ok(plan), Err));
        cases.push(Case { name: format!("{stem}::{server}"), plan });
    }
}

fn servers_asked(set: &[String]) -> Vec<String> {
    let asked = std::env::var(SERVERS).unwrap_or_default();
    let asked: Vec<String> =
        asked.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if asked.is_empty() { set.to_vec() } else { asked }
}

fn seed() -> Result<u64, String> {
    match std::env::var(SEED) {
        Ok(text) => {
            text.trim().parse().map_err(|_| format!("invalid seed \"{text}\" (hint: set {SEED} to a whole number)"))
        }
        Err(_) => Ok(batch::draw_seed()),
    }
}

/// The speed of the environment, or else that of the program; None leaves it to the suites.
fn speed_asked(set: Option<&str>) -> Result<Option<SpeedSetting>, String> {
    let (text, source) = match (std::env::var(SPEED), set) {
        (Ok(text), _) => (text, SPEED),
        (Err(_), Some(text)) => (text.to_owned(), "`speed`"),
        (Err(_), None) => return Ok(None),
    };
    text.trim().parse().map(Some).map_err(|error| format!("{source}: {error}"))
}

/// Makes this process live at the highest speed that the plans may have.
fn begin(plans: &[Plan], set: Option<&str>) -> Result<(), String> {
    let asked = speed_asked(set)?;
    let highest = plans.iter().map(|plan| plan.speed(asked, batch::AUTO_MAX)).max().unwrap_or(Speed::REAL);
    speed::begin(highest).map_err(|error| error.to_string())
}

/// The speed that was asked for, and the highest that the machine can keep with these plans.
async fn find_speed(
    plans: &[Plan],
    servers: &BTreeMap<String, Result<Server, String>>,
    set: Option<&str>,
    settings: &Settings,
    stop: &batch::Stop,
) -> (Option<SpeedSetting>, Speed) {
    let asked = speed_asked(set).unwrap_or_default();
    let servers: BTreeMap<String, Server> =
        servers.iter().filter_map(|(name, server)| Some((name.clone(), server.clone().ok()?))).collect();
    let has_servers = |plan: &&Plan| plan.servers().iter().all(|name| servers.contains_key(*name));
    let jobs = plans.iter().filter(has_servers).map(|plan| Job::new(plan.clone(), &servers).at(asked, batch::AUTO_MAX));
    let adapting: Vec<Job> = jobs.filter(|job| job.adapts && !job.speed.is_real()).collect();
    match batch::busiest(&adapting) {
        Some(like) => (asked, batch::highest_speed(like, adapting.len(), settings, stop).await.0),
        None => (asked, batch::AUTO_MAX),
    }
}

/// The suite files of a folder, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: std::io::Error| {
        format!(
            "cannot read the suites in \"{}\": {error} (hint: the path is relative to the package)",
            folder.display()
        )
    };
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(format!("no suites in \"{}\" (hint: their files end in `.yaml` or `.yml`)", folder.display()));
    }
    files.sort();
    Ok(files)
}

/// Whether the arguments filter out a test by its name. Ignored tests are determined later.
fn filtered_out(arguments: &Arguments, name: &str) -> bool {
    let by_name = Arguments { ignored: false, ..arguments.clone() };
    by_name.is_filtered_out(&Trial::test(name, || Ok(())))
}

/// Finds or fetches each server of the plans once.
fn find(plans: &[Plan]) -> BTreeMap<String, Result<Server, String>> {
    let mut found = BTreeMap::new();
    for name in plans.iter().flat_map(Plan::servers) {
        let find = || server::find(name, &|_| ()).map_err(|error| error.to_string());
        found.entry(name.to_owned()).or_insert_with(find);
    }
    found
}

fn plans(cases: &[Case]) -> Vec<Plan> {
    cases.iter().filter_map(|case| case.plan.as_ref().ok().cloned()).collect()
}

/// The tests for `--list`. Tests that cannot run on this machine are ignored, unless all are required.
fn listed(cases: Vec<Case>, required: bool, mode: Mode) -> impl Iterator<Item = Trial> {
    let mut obstacles = if required { Vec::new() } else { Environment::survey(mode, &plans(&cases)) }.into_iter();
    cases.into_iter().map(move |case| {
        let obstacle = case.plan.ok().and_then(|_| obstacles.next().flatten());
        Trial::test(case.name, || Ok(())).with_ignored_flag(obstacle.is_some())
    })
}

fn failing(case: Case, why: &str) -> Trial {
    let why = why.to_owned();
    Trial::test(case.name, move || Err(Failed::from(why)))
}

impl Shared {
    fn obstacle(&self, case: &Case) -> Option<&str> {
        self.settings.environment.obstacle(case.plan.as_ref().ok()?)
    }
}

impl Case {
    fn run(self, shared: &Shared) -> Result<Completion, Failed> {
        let obstacle = shared.obstacle(&self).map(str::to_owned);
        let plan = self.plan?;
        match obstacle {
            Some(reason) if shared.must_run => return Err(format!("cannot run on this machine: {reason}").into()),
            Some(reason) => return Ok(Completion::ignored_with(reason)),
            None => {}
        }
        let servers = plan.servers().into_iter().map(|name| Ok((name.to_owned(), shared.servers[name].clone()?)));
        let servers = servers.collect::<Result<_, String>>()?;
        let (asked, found) = shared.speed;
        let job = Job::new(plan, &servers).at(asked, found);
        let done = shared.runtime.block_on(job.run(0, &shared.settings, &batch::nobody(), &shared.stop));
        if done.exit == Exit::Pass {
            return Ok(Completion::Completed);
        }
        Err(message(done.summary, &self.name).into())
    }
}

/// Explains a failed run, with the command to run this test again.
fn message(mut run: Summary, test: &str) -> String {
    if let Some(course) = &mut run.course {
        let speed = if run.speed.is_real() { String::new() } else { format!("{SPEED}={} ", run.speed) };
        course.again.command = format!("{speed}{SEED}={} cargo test --test {} -- --exact '{test}'", run.seed, target());
    }
    explain(&run)
}

/// The name of the test target: the program's name without the hash that cargo appends.
fn target() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    let stem = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match stem.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 && hash.chars().all(|letter| letter.is_ascii_hexdigit()) => {
            name.to_owned()
        }
        _ => stem,
    }
}
