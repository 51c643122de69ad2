//! Takes several runs at the same time from their suites to their reports, for the command line and for tests.
//!
//! [`plans`] and [`servers`] find errors before any cluster boots. [`Environment::enter`] enters the sandbox. [`run_all`]
//! runs, judges and writes the reports. Each run is a separate task, so that a failure of one does not affect the others'
//! reports.

mod environment;
mod exit;
mod lanes;
mod prepare;
mod probe;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};

pub use self::environment::{Environment, EnvironmentError};
pub use self::exit::Exit;
pub use self::lanes::{Lanes, side_by_side};
pub use self::prepare::{Fitted, absent_program, draw_seed, lacking, no_upgrade, plan, plans, plans_on_found, servers};
pub use self::probe::{AUTO_MAX, busiest, highest_speed};
use crate::anatomy;
use crate::check::{Verdict, check};
use crate::cluster::BackendError;
use crate::facts::Facts;
use crate::plan::Plan;
use crate::report::{self, Report, ReportError, Standing, Summary};
use crate::reports;
use crate::run::{self, Notice, Options, RunError};
use crate::server::Server;
use crate::speed::{self, Speed};
use crate::suite::SpeedSetting;

/// A run to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// The plan to run.
    pub plan: Plan,
    /// The server to run it on.
    pub server: Server,
    /// The other servers that its steps start, by their names there.
    pub other_servers: BTreeMap<String, Server>,
    /// How fast it runs, or the most if it adapts.
    pub speed: Speed,
    /// Whether the speed is `auto`: the run is repeated at half of it if slotquake was late.
    pub adapts: bool,
}

/// The settings that all runs share.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory for reports.
    pub out: PathBuf,
    /// Whether data directories are kept.
    pub keep: bool,
    /// How many runs go at the same time.
    pub lanes: Arc<Lanes>,
    /// How often a run that comes out inconclusive is repeated.
    pub retries: u16,
    /// Whether no other run begins once one has failed or ended with an error; None if all do.
    pub fail_fast: Option<Arc<FirstFailure>>,
    /// Where the runs take place.
    pub environment: Environment,
}

/// The first run of several that failed or ended with an error.
#[derive(Debug, Default)]
pub struct FirstFailure(OnceLock<String>);

/// The result of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// The run in one row, with its judgements.
    pub summary: Summary,
    /// The exit code of this run.
    pub exit: Exit,
    /// Whether it is inconclusive and slotquake was late in it, so that it may be conclusive at a lower speed.
    pub was_late: bool,
}

/// Becomes the name of the signal, or another reason, that ends everything: active runs heal, report and tear down, and no
/// other run begins.
pub type Stop = watch::Receiver<Option<String>>;

/// Receives every notice of a run. It must return at once.
pub type Watcher = Arc<dyn Fn(Notice<'_>) + Send + Sync>;

/// Receives the progress of runs. Its methods must return at once: a slow terminal that delays an operation would look like
/// an outage.
pub trait Audience: Send + Sync {
    /// Run number `run` begins. The result receives all its notices.
    fn begin(&self, run: usize, label: &str, plan: &Plan, server: &Server) -> Watcher;
    /// The run has ended in any way, with this result.
    fn end(&self, run: usize, done: &Done);
    /// A line that concerns no single run, or that stays after it.
    fn line(&self, text: &str);
}

/// An audience that ignores everything.
pub fn nobody() -> Arc<dyn Audience> {
    struct Nobody;
    impl Audience for Nobody {
        fn begin(&self, _run: usize, _label: &str, _plan: &Plan, _server: &Server) -> Watcher {
            Arc::new(|_| ())
        }
        fn end(&self, _run: usize, _done: &Done) {}
        fn line(&self, _text: &str) {}
    }
    Arc::new(Nobody)
}

/// Does every job and returns the results in the order of the jobs. [`Settings::lanes`] says how many run at the same time.
/// The fastest are first.
pub async fn run_all(jobs: Vec<Job>, settings: &Settings, audience: &Arc<dyn Audience>, stop: &Stop) -> Vec<Done> {
    let most = jobs.iter().map(|job| settings.lanes.at(job.speed)).max().unwrap_or(1);
    let mut jobs: Vec<(usize, Job)> = jobs.into_iter().enumerate().collect();
    jobs.sort_by_key(|(_, job)| std::cmp::Reverse(job.speed));
    let mut done: Vec<(usize, Done)> = stream::iter(jobs)
        .map(async |(number, job)| (number, job.run(number, settings, audience, stop).await))
        .buffer_unordered(most)
        .collect()
        .await;
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, done)| done).collect()
}

impl Settings {
    /// The run after whose failure no other is to begin.
    fn has_enough(&self) -> Option<&str> {
        self.fail_fast.as_ref()?.0.get().map(String::as_str)
    }
}

impl Job {
    /// A job for a plan on its servers, in real time. The servers are given by their names in plans. Panics if one is missing.
    pub fn new(plan: Plan, servers: &BTreeMap<String, Server>) -> Self {
        let of = |name: &str| (name.to_owned(), servers[name].clone());
        let other_servers = plan.servers().into_iter().filter(|name| *name != plan.server).map(of).collect();
        let server = servers[&plan.server].clone();
        Self { server, other_servers, plan, speed: Speed::REAL, adapts: false }
    }

    /// The job at the speed that was asked for, or else at that of its suite. `found` is the highest that the machine can
    /// keep; the process must have begun at a speed that is no lower.
    #[must_use]
    pub fn at(mut self, asked: Option<SpeedSetting>, found: Speed) -> Self {
        self.speed = self.plan.speed(asked, found);
        self.adapts = asked.or(self.plan.speed) == Some(SpeedSetting::Auto);
        self
    }

    /// Does this job as run `number` of the audience: once more at a lower speed if its speed is `auto` and was too high, and
    /// again while it is inconclusive, as often as [`Settings::retries`] says. It never panics: the result contains every error,
    /// and the run's folder is kept.
    pub async fn run(self, number: usize, settings: &Settings, audience: &Arc<dyn Audience>, stop: &Stop) -> Done {
        let mut done = self.clone().run_at_speed(number, settings, audience, stop).await;
        for retry in 1..=settings.retries {
            if done.exit != Exit::Inconclusive || settings.has_enough().is_some() || stop.borrow().is_some() {
                break;
            }
            audience.line(&format!(
                "{}: inconclusive: {}; repeated (retry {retry} of {})",
                self.label(),
                done.summary.why_not_pass(),
                settings.retries
            ));
            done = self.clone().run_at_speed(number, settings, audience, stop).await;
            done.summary.tries = retry + 1;
        }
        if let Some(first) = settings.fail_fast.as_ref().filter(|_| done.exit >= Exit::Usage) {
            let _ = first.0.set(self.label());
        }
        audience.end(number, &done);
        done
    }

    async fn run_at_speed(self, number: usize, settings: &Settings, audience: &Arc<dyn Audience>, stop: &Stop) -> Done {
        if !self.adapts {
            return self.run_once(number, settings, audience, stop).await;
        }
        let speed = settings.lanes.adapted(self.speed);
        let first = Self { speed, ..self.clone() }.run_once(number, settings, audience, stop).await;
        if !first.was_late {
            settings.lanes.was_in_time(speed);
        }
        if !first.was_late || speed.is_real() || stop.borrow().is_some() {
            return first;
        }
        let (slower, is_for_all) = settings.lanes.was_late(speed);
        let others = if is_for_all { ", and so are the runs that follow" } else { "" };
        audience.line(&format!(
            "{}: inconclusive, since slotquake was late at speed {speed}; repeated at speed {slower}{others}",
            self.label()
        ));
        Self { speed: slower, ..self }.run_once(number, settings, audience, stop).await
    }

    async fn run_once(self, number: usize, settings: &Settings, audience: &Arc<dyn Audience>, stop: &Stop) -> Done {
        let _place = match settings.lanes.enter(self.speed).await {
            Ok(place) => place,
            Err(error) => return self.without_report(Standing::Error(error.to_string()), None, Exit::Unavailable),
        };
        if let Some(failed) = settings.has_enough() {
            let why = Standing::Skipped(format!("not begun, since {failed} failed and `--fail-fast` was given"));
            return self.without_report(why, None, Exit::Inconclusive);
        }
        if stop.borrow().is_some() {
            let why = Standing::Skipped("interrupted before it began".to_owned());
            return self.without_report(why, None, Exit::Interrupted);
        }
        let folder =
            match reports::create_folder(&settings.out, &self.plan.variant(), &self.server.asked, speed::real_now()) {
                Ok(folder) => folder,
                Err(error) => return self.without_report(Standing::Error(error.to_string()), None, Exit::Unavailable),
            };
        let options = Options {
            folder: folder.clone(),
            keep: settings.keep,
            backend: settings.environment.backend.clone(),
            other_servers: self.other_servers.clone(),
            stop: stop.clone(),
            watcher: audience.begin(number, &self.label(), &self.plan, &self.server),
        };
        let (job, out, told) = (self.clone(), settings.out.clone(), Arc::clone(audience));
        let task = tokio::spawn(async move { job.through(options, &out, told.as_ref()).await });
        task.await.unwrap_or_else(|error| {
            let message = format!("the harness panicked: {}", join_error_text(error));
            self.without_report(Standing::Error(message), Some(&folder), Exit::Harness)
        })
    }

    /// `role-swap redis:6.2`.
    fn label(&self) -> String {
        self.without_report(Standing::Skipped(String::new()), None, Exit::Pass).summary.label()
    }

    /// Runs the plan, judges its history and writes the report to the run's folder.
    async fn through(self, options: Options, out: &Path, audience: &dyn Audience) -> Done {
        let (folder, stop) = (options.folder.clone(), options.stop.clone());
        let history = match Box::pin(run::run(self.plan.clone(), self.server.clone(), options)).await {
            Ok(history) => history,
            Err(error) => return self.without_history(&error, &folder, &stop),
        };
        // Judging a million operations takes time, and must not delay other runs.
        let into = folder.clone();
        let judged = spawn_blocking(move || {
            let mut facts = Facts::new(&history);
            let logs = anatomy::logs(&into, history.header.plan.nodes.iter().map(|planned| planned.node));
            anatomy::sharpen(&mut facts, &logs);
            let report = Report::new(&facts, check(&facts));
            let was_late = report.verdict == Verdict::Inconclusive && facts.was_late();
            let report = report.with_anatomy(&logs);
            reports::write(&into, &report)?;
            // A page that cannot be written does not change the verdict.
            let page = catch_unwind(AssertUnwindSafe(|| report::html::page(&report, Some(&facts))));
            let drawn = page
                .map_err(|panic| panic_text(panic.as_ref()))
                .and_then(|page| reports::write_page(&into, "report.html", &page).map_err(|error| error.to_string()));
            Ok::<_, ReportError>((report, was_late, drawn.map(drop)))
        });
        let (report, was_late, drawn) = match judged.await {
            Ok(Ok(judged)) => judged,
            Ok(Err(error)) => {
                return self.without_report(Standing::Error(error.to_string()), Some(&folder), Exit::Unavailable);
            }
            Err(error) => {
                let message = format!(
                    "the harness panicked while judging: {} (hint: the history is kept; `slotquake check {}` judges it again)",
                    join_error_text(error),
                    folder.display()
                );
                return self.without_report(Standing::Error(message), Some(&folder), Exit::Harness);
            }
        };
        let done = Done { summary: Summary::new(&report, &folder), exit: Exit::of(&report), was_late };
        if let Err(why) = drawn {
            audience.line(&format!("report.html could not be written: {why}"));
        }
        if let Err(error) = reports::mark_latest(out, &folder) {
            audience.line(&format!("the link to the latest report could not be set: {error}"));
        }
        done
    }

    fn without_history(&self, error: &RunError, folder: &Path, stop: &Stop) -> Done {
        let interrupted_by = stop.borrow().clone();
        let (standing, exit) = match (error, interrupted_by) {
            (RunError::Boot(message), Some(by)) => (
                Standing::Skipped(format!("interrupted by {by} before the cluster was ready: {message}")),
                Exit::Interrupted,
            ),
            (RunError::Config(message), _) => (Standing::Error(message.clone()), Exit::Usage),
            (RunError::Backend(BackendError::Specific { message, is_usage: true }), _) => {
                (Standing::Error(message.clone()), Exit::Usage)
            }
            (error, _) => (Standing::Error(error.to_string()), Exit::Unavailable),
        };
        self.without_report(standing, Some(folder), exit)
    }

    fn without_report(&self, standing: Standing, folder: Option<&Path>, exit: Exit) -> Done {
        let mut summary =
            Summary::without_report(&self.plan.name, &self.server.asked, self.plan.seed, standing, folder);
        summary.matrix.clone_from(&self.plan.matrix);
        Done { summary, exit, was_late: false }
    }
}

fn join_error_text(error: JoinError) -> String {
    error.try_into_panic().map_or_else(|_| "its task was cancelled".to_owned(), |panic| panic_text(panic.as_ref()))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::plan::PlannedNode;
    use crate::sandbox::Mode;
    use crate::slot::Deal;
    use crate::suite::WorkloadSpec;
    use crate::units::{NodeNo, ShardNo, Span};

    use super::*;

    fn planned_node(index: usize) -> PlannedNode {
        let shard = ShardNo::from_index(index % 3);
        let is_master = index < 3;
        PlannedNode {
            node: NodeNo::from_index(index),
            shard,
            replica_of: (!is_master).then_some(NodeNo(shard.0)),
            slots: if is_master { Deal::even(3).slots(shard).to_vec() } else { Vec::new() },
        }
    }

    fn impossible_job(name: &str) -> Job {
        let asked = "/nowhere/redis-server".to_owned();
        Job {
            plan: Plan {
                name: name.to_owned(),
                about: String::new(),
                seed: 7,
                server: asked.clone(),
                nodes: (0..6).map(planned_node).collect(),
                config: BTreeMap::new(),
                workload: WorkloadSpec::default(),
                steps: Vec::new(),
                invariants: Vec::new(),
                recover_within: Span::secs(1),
                max_duration: Span::secs(1),
                if_impossible: crate::suite::IfImpossible::End,
                speed: None,
                matrix: BTreeMap::new(),
            },
            server: serde_json::from_value(serde_json::json!({
                "asked": asked,
                "version": {"flavour": "redis", "major": 6, "minor": 2, "patch": 14},
                "path": asked,
                "origin": "given path",
            }))
            .expect("a server"),
            other_servers: BTreeMap::new(),
            speed: Speed::REAL,
            adapts: false,
        }
    }

    #[test]
    fn a_broken_run_keeps_its_folder_and_the_other_runs() {
        let out = tempfile::tempdir().expect("a temporary folder");
        let environment = Environment::enter(Mode::Off, &[]).expect("no sandbox is entered");
        let lanes = Arc::new(Lanes::new(Some(1)));
        let settings =
            Settings { out: out.path().to_owned(), keep: false, lanes, retries: 0, fail_fast: None, environment };
        let (_end, stop) = watch::channel(None);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let jobs = vec![impossible_job("a"), impossible_job("b")];
        let done = runtime.block_on(run_all(jobs, &settings, &nobody(), &stop));
        assert_eq!(done.len(), 2);
        for (Done { summary, exit, .. }, suite) in done.iter().zip(["a", "b"]) {
            assert_eq!((summary.suite.as_str(), *exit), (suite, Exit::Unavailable));
            assert!(matches!(summary.standing, Standing::Error(_)), "{summary:?}");
            assert!(summary.report.as_ref().is_some_and(|folder| folder.is_dir()), "{summary:?}");
        }
    }

    #[test]
    fn reports_the_message_of_a_panic() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let text =
            |task: fn()| join_error_text(runtime.block_on(runtime.spawn(async move { task() })).expect_err("a panic"));
        assert_eq!(text(|| panic!("node {} is lost", 4)), "node 4 is lost");
        assert_eq!(text(|| panic!("lost")), "lost");
        assert_eq!(text(|| std::panic::panic_any(4)), "without a message");
    }
}
