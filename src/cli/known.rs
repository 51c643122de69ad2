//! `slotquake known`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use slotquake::batch::{self, Audience, Done, Job, Lanes, Settings};
use slotquake::chaos::{Known, Rate};
use slotquake::check::Verdict;
use slotquake::plan::Plan;
use slotquake::report::{Standing, short_server};

use super::backend::BackendArgs;
use super::exit::{Exit, Trouble};
use super::number::whole;
use super::progress::{Display, HowMuch};
use super::taken::Taken;
use super::{containers, screen};

/// Run the bugs and behaviours that must still be caught
///
/// Each is a small suite with an invariant that is known to fail on some servers: `suites/known` in the source, and a table in
/// the book. The exit code is 1 if one of them is no longer caught: then slotquake has a fault, or the server was mended.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  slotquake known --server redis:6.2")]
pub struct Args {
    /// Only on these servers; by default on each on which it was caught before
    #[arg(long = "server", value_name = "SERVER", value_delimiter = ',')]
    servers: Vec<String>,
    /// Only these suites of the list
    #[arg(long = "only", value_name = "SUITE", value_delimiter = ',')]
    only: Vec<String>,
    /// How often to run each on each server; one run that catches it is enough
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = whole(1..=u16::MAX))]
    repeat: u16,
    /// The directory for reports
    #[arg(long, value_name = "DIR", default_value = "known")]
    out: PathBuf,
    /// The number of runs at the same time
    #[arg(long, value_name = "N", value_parser = whole(1..=u16::MAX))]
    jobs: Option<u16>,
    #[command(flatten)]
    backend: BackendArgs,
}

/// A bug on one of its servers.
struct Row {
    known: Known,
    server: String,
}

/// Runs the list and prints a line for each bug and server.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let all = Known::all().map_err(Trouble::harness)?;
    for name in &args.only {
        if !all.iter().any(|known| known.suite == *name) {
            let names: Vec<&str> = all.iter().map(|known| known.suite.as_str()).collect();
            return Err(Trouble::usage(format!("\"{name}\" is not in the list (hint: {})", names.join(", "))));
        }
    }
    let wanted = |server: &str| args.servers.is_empty() || args.servers.iter().any(|each| each == server);
    let rows: Vec<Row> = all
        .iter()
        .filter(|known| args.only.is_empty() || args.only.contains(&known.suite))
        .flat_map(|known| known.seen.keys().map(move |server| Row { known: known.clone(), server: server.clone() }))
        .filter(|row| wanted(&row.server))
        .collect();
    if rows.is_empty() {
        let servers: BTreeSet<&str> = all.iter().flat_map(|known| known.seen.keys().map(String::as_str)).collect();
        let servers: Vec<&str> = servers.into_iter().collect();
        return Err(Trouble::usage(format!("nothing in the list is known of it (hint: {})", servers.join(", "))));
    }
    let seed = batch::draw_seed();
    let plan = |row: &Row| Plan::from_source(&row.known.source(&row.server)?, seed);
    let plans = rows.iter().map(plan).collect::<Result<Vec<_>, _>>().map_err(Trouble::harness)?;
    let Taken { plans, servers, environment, runtime, signals } = args.backend.take_for(plans, || {
        std::fs::create_dir_all(&args.out)
            .map_err(|error| Trouble::harness(format!("cannot create \"{}\": {error}", args.out.display())))
    })?;
    let obstacles: Vec<Option<String>> =
        plans.iter().map(|plan| environment.obstacle(plan).map(str::to_owned)).collect();
    let (asked, lanes) = (args.backend.speed(), Arc::new(Lanes::new(args.jobs.map(usize::from))));
    let settings = Settings { out: args.out.clone(), keep: false, lanes, retries: 0, fail_fast: None, environment };
    let possible = plans.iter().zip(&obstacles).filter(|(_, obstacle)| obstacle.is_none()).map(|(plan, _)| plan);
    let jobs: Vec<Job> = (0..args.repeat)
        .flat_map(|_| possible.clone())
        .map(|plan| Job::new(plan.clone(), &servers).at(asked, batch::AUTO_MAX))
        .collect();
    let display = Display::new(HowMuch::Quiet, false, 0);
    let audience: Arc<dyn Audience> = Arc::new(display.teller());
    let (done, was_stopped) = runtime.block_on(async {
        let stop = signals.stop(display.teller(), "healing, reporting and tearing down the runs");
        let done = batch::run_all(jobs, &settings, &audience, &stop).await;
        (done, stop.borrow().is_some())
    });
    display.close();
    containers::collect_own(&settings.environment.backend, &runtime);
    runtime.shutdown_background();
    let judged: Vec<(Exit, String)> =
        rows.iter().zip(&obstacles).map(|(row, obstacle)| row.judge(&done, obstacle.as_deref())).collect();
    screen::print(&judged.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n"))?;
    let interrupted = was_stopped.then_some(Exit::Interrupted);
    Ok(Exit::worst(judged.into_iter().map(|(exit, _)| exit).chain(interrupted)))
}

impl Row {
    /// Whether it was caught in one of the runs, and the line that says so.
    fn judge(&self, done: &[Done], obstacle: Option<&str>) -> (Exit, String) {
        let Self { known, server } = self;
        let of = |done: &&Done| done.summary.suite == known.suite && done.summary.server == short_server(server);
        let mut rate = Rate::default();
        for run in done.iter().filter(of) {
            let verdict = |verdict| {
                let mut all = run.summary.invariants.iter();
                all.any(|judgement| judgement.invariant == known.fails && judgement.verdict == verdict)
            };
            match run.summary.standing {
                Standing::Judged(_) if verdict(Verdict::Fail) => rate.count(true),
                Standing::Judged(Verdict::Pass | Verdict::Fail) => rate.count(false),
                Standing::Judged(Verdict::Inconclusive) | Standing::Error(_) | Standing::Skipped(_) => {}
            }
        }
        let (exit, word, what) = match (obstacle, rate) {
            (Some(why), _) => (Exit::Inconclusive, "skipped", why.to_owned()),
            (None, Rate { of: 0, .. }) => (Exit::Inconclusive, "undecided", "no run was conclusive".to_owned()),
            (None, Rate { hits: 0, .. }) => (Exit::Failed, "MISSED", format!("`{}` failed in {rate}", known.fails)),
            (None, rate) => (Exit::Pass, "caught", format!("`{}` failed in {rate}", known.fails)),
        };
        (exit, format!("{word:<10}{:<24}{:<13}{what}", known.suite, short_server(server)))
    }
}
