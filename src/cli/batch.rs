//! Several runs side by side: each in a task of its own, so that what befalls one loses no other's
//! report.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use slotquake::anatomy;
use slotquake::plan::Plan;
use slotquake::report::{self, Report, Standing, Summary};
use slotquake::run::{self, Options, RunError};
use slotquake::server::Server;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::exit::Exit;
use super::ground::Ground;
use super::progress::{Display, Teller};

/// One run to be done.
pub struct Job {
    /// What is done.
    pub plan: Plan,
    /// With which server.
    pub server: Server,
}

/// What all runs have in common.
pub struct Settings {
    /// Where reports go.
    pub out: PathBuf,
    /// Whether data directories are kept.
    pub keep: bool,
    /// How many runs go at a time.
    pub side_by_side: usize,
    /// Where they take place.
    pub ground: Ground,
}

/// What a run came to.
pub type Done = (Summary, Exit);

/// Becomes the name of the signal that ends everything.
pub type Stop = watch::Receiver<Option<String>>;

/// Does every job, in their order as far as they fit side by side. The first signal ends the ones that
/// run in order and skips the rest; the second ends the process.
pub async fn run_all(jobs: Vec<Job>, settings: &Settings, display: &Display) -> Vec<Done> {
    let mut stop = match stop_on_signals(display.teller(), "runs are healed, reported and torn down") {
        Ok(stop) => stop,
        Err(error) => {
            let message = format!("cannot listen for signals: {error}");
            return jobs
                .iter()
                .map(|job| job.without_report(Standing::Error(message.clone()), None, Exit::Harness))
                .collect();
        }
    };
    let places = Arc::new(Semaphore::new(settings.side_by_side));
    let mut done = Vec::new();
    let mut running: Vec<(Job, Option<PathBuf>, JoinHandle<Done>)> = Vec::new();
    for (number, job) in jobs.into_iter().enumerate() {
        let place = tokio::select! {
            biased;
            Ok(_) = stop.wait_for(Option::is_some) => None,
            place = Arc::clone(&places).acquire_owned() => place.ok(),
        };
        let Some(place) = place else {
            let why = Standing::Skipped("interrupted before it began".to_owned());
            done.push(job.without_report(why, None, Exit::Interrupted));
            continue;
        };
        let folder = match report::create_folder(&settings.out, &job.plan.name, &job.server.asked, SystemTime::now()) {
            Ok(folder) => folder,
            Err(error) => {
                done.push(job.without_report(Standing::Error(error.to_string()), None, Exit::Harness));
                continue;
            }
        };
        let label = job.without_report(Standing::Skipped(String::new()), None, Exit::Pass).0.label();
        let options = Options {
            folder: folder.clone(),
            keep: settings.keep,
            place: settings.ground.place.clone(),
            stop: stop.clone(),
            watcher: display.watch(number, &label, &job.plan),
        };
        let (plan, server, teller) = (job.plan.clone(), job.server.clone(), display.teller());
        let out = settings.out.clone();
        let task = tokio::spawn(async move {
            let _place = place;
            let _line = RunLine { teller: teller.clone(), number };
            Job { plan, server }.run(options, &out, &teller).await
        });
        running.push((job, Some(folder), task));
    }
    for (job, folder, task) in running {
        done.push(task.await.unwrap_or_else(|error| {
            let message = format!("the harness panicked: {}", panic_text(error));
            job.without_report(Standing::Error(message), folder.as_deref(), Exit::Harness)
        }));
    }
    done
}

/// A run's own line in the display; gone when the run is, however it ends.
struct RunLine {
    teller: Teller,
    number: usize,
}

impl Drop for RunLine {
    fn drop(&mut self) {
        self.teller.end(self.number);
    }
}

impl Job {
    /// Runs the plan, judges its history and leaves the report in the run's folder.
    async fn run(self, options: Options, out: &Path, teller: &Teller) -> Done {
        let (folder, stop) = (options.folder.clone(), options.stop.clone());
        let history = match run::run(self.plan.clone(), self.server.clone(), options).await {
            Ok(history) => history,
            Err(error) => return self.without_history(&error, &folder, &stop),
        };
        // Judging a million operations must not hold up the runs that go on beside this one.
        let into = folder.clone();
        let judged = spawn_blocking(move || {
            let report = Report::new(&history);
            let logs = anatomy::logs(&into, report.nodes());
            let report = report.with_anatomy(&logs);
            report::write(&into, &report).map(|_| (report, history))
        });
        let (report, history) = match judged.await {
            Ok(Ok(judged)) => judged,
            Ok(Err(error)) => {
                return self.without_report(Standing::Error(error.to_string()), Some(&folder), Exit::Harness);
            }
            Err(error) => {
                let message = format!(
                    "the harness panicked while judging: {} (hint: the history is kept; `slotquake check {}` judges it again)",
                    panic_text(error),
                    folder.display()
                );
                return self.without_report(Standing::Error(message), Some(&folder), Exit::Harness);
            }
        };
        let done = (Summary::new(&report, &folder), Exit::of(&report));
        // The verdict stands whatever becomes of the page.
        let into = folder.clone();
        let drawn = spawn_blocking(move || {
            let page = report::html::page(&report, Some(&history));
            report::write_page(&into, "report.html", &page).map_err(|error| error.to_string())
        });
        if let Err(why) = drawn.await.unwrap_or_else(|error| Err(panic_text(error))) {
            teller.line(format!("report.html could not be written: {why}"));
        }
        if let Err(error) = report::mark_latest(out, &folder) {
            teller.line(format!("the link to the latest report could not be set: {error}"));
        }
        done
    }

    fn without_history(&self, error: &RunError, folder: &Path, stop: &Stop) -> Done {
        let interrupted_by = stop.borrow().clone();
        let (standing, exit) = match (error, interrupted_by) {
            (RunError::Boot(message), Some(by)) => {
                (Standing::Skipped(format!("{by} ended it before the cluster was ready: {message}")), Exit::Interrupted)
            }
            (RunError::Config(message), _) => (Standing::Error(message.clone()), Exit::Usage),
            (error, _) => (Standing::Error(error.to_string()), Exit::Harness),
        };
        self.without_report(standing, Some(folder), exit)
    }

    fn without_report(&self, standing: Standing, folder: Option<&Path>, exit: Exit) -> Done {
        (Summary::without_report(&self.plan.name, &self.server.asked, self.plan.seed, standing, folder), exit)
    }
}

fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else {
        return "its task was cancelled".to_owned();
    };
    let text = |panic: &(dyn Any + Send)| {
        panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
    };
    text(panic.as_ref()).unwrap_or_else(|| "without a message".to_owned())
}

/// The first signal says what happens by it; the second ends the process.
pub fn stop_on_signals(teller: Teller, what_happens: &'static str) -> std::io::Result<Stop> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                _ = hangup.recv() => "SIGHUP",
            };
            if sender.borrow().is_some() {
                std::process::exit(i32::from(Exit::Interrupted.number()));
            }
            teller.line(format!("{name}: {what_happens}; once more to end at once"));
            sender.send_replace(Some(name.to_owned()));
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use slotquake::plan::PlannedNode;
    use slotquake::sandbox::Mode;
    use slotquake::slot::boot_slots;
    use slotquake::suite::WorkloadSpec;
    use slotquake::units::{NodeNo, ShardNo, Span};

    use super::super::ground::Needs;
    use super::*;

    fn planned_node(index: usize) -> PlannedNode {
        let shard = ShardNo::from_index(index % 3);
        let is_master = index < 3;
        PlannedNode {
            node: NodeNo::from_index(index),
            shard,
            replica_of: (!is_master).then_some(NodeNo(shard.0)),
            slots: is_master.then(|| boot_slots(shard, 3)),
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
            },
            server: serde_json::from_value(serde_json::json!({
                "asked": asked,
                "version": {"flavour": "redis", "major": 6, "minor": 2, "patch": 14},
                "path": asked,
                "origin": "given path",
            }))
            .expect("a server"),
        }
    }

    #[test]
    fn a_run_that_breaks_keeps_its_folder_and_loses_no_other_run() {
        let out = tempfile::tempdir().expect("a temporary folder");
        let ground = Ground::take(Mode::Off, Needs::of(&[])).expect("no sandbox is entered");
        let settings = Settings { out: out.path().to_owned(), keep: false, side_by_side: 1, ground };
        let display = Display::new(false);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let jobs = vec![impossible_job("a"), impossible_job("b")];
        let done = runtime.block_on(run_all(jobs, &settings, &display));
        display.close();
        assert_eq!(done.len(), 2);
        for ((summary, exit), suite) in done.iter().zip(["a", "b"]) {
            assert_eq!((summary.suite.as_str(), *exit), (suite, Exit::Harness));
            assert!(matches!(summary.standing, Standing::Error(_)), "{summary:?}");
            assert!(summary.report.as_ref().is_some_and(|folder| folder.is_dir()), "{summary:?}");
        }
    }

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let text =
            |task: fn()| panic_text(runtime.block_on(runtime.spawn(async move { task() })).expect_err("a panic"));
        assert_eq!(text(|| panic!("node {} is lost", 4)), "node 4 is lost");
        assert_eq!(text(|| panic!("lost")), "lost");
        assert_eq!(text(|| std::panic::panic_any(4)), "without a message");
    }
}
