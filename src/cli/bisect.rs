//! `slotquake bisect`.

use std::path::PathBuf;
use std::sync::Arc;

use slotquake::batch::{self, Audience, Done, Job, Lanes, Settings};
use slotquake::chaos::Rate;
use slotquake::check::Verdict;
use slotquake::report::Standing;

use super::backend::BackendArgs;
use super::exit::{Exit, Trouble};
use super::number::whole;
use super::prepare::Overrides;
use super::progress::{Display, HowMuch};
use super::taken::{Taken, Wanted};
use super::{containers, folder, screen};

/// Say on which servers a suite fails, and how often
///
/// Runs the suite several times on each server. The rate has an interval: the exact one of Clopper and Pearson, for 95 %.
/// The exit code is 1 if it failed on any server.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  slotquake bisect smallest.yaml --servers redis:6.2,redis:7.0,redis:8.2")]
pub struct Args {
    /// The suite, by name or path
    #[arg(value_name = "SUITE")]
    suite: String,
    /// The servers, in the order of their versions
    #[arg(long, value_name = "SERVER", value_delimiter = ',', required = true)]
    servers: Vec<String>,
    /// How often to run it on each
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = whole(1..=u16::MAX))]
    repeat: u16,
    #[command(flatten)]
    overrides: Overrides,
    /// The directory for reports
    #[arg(long, value_name = "DIR", default_value = "bisect")]
    out: PathBuf,
    /// The number of runs at the same time
    #[arg(long, value_name = "N", value_parser = whole(1..=u16::MAX))]
    jobs: Option<u16>,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Runs the suite on every server and prints a line for each.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let seed = args.overrides.seed();
    let suites = [args.suite.clone()];
    let wanted = Wanted { suites: &suites, servers: &args.servers, matrix: &[], overrides: &args.overrides, seed };
    let Taken { plans, servers, environment, runtime, signals } =
        args.backend.take(&wanted, || folder::make(&args.out))?;
    if let Some(why) = plans.iter().find_map(|plan| environment.obstacle(plan)) {
        return Err(Trouble::usage(format!("this machine cannot run it: {why}")));
    }
    let asked = args.backend.speed();
    let lanes = Arc::new(Lanes::new(args.jobs.map(usize::from)));
    let settings = Settings { out: args.out.clone(), keep: false, lanes, retries: 0, fail_fast: None, environment };
    let jobs: Vec<Job> = (0..args.repeat)
        .flat_map(|_| &plans)
        .map(|plan| Job::new(plan.clone(), &servers).at(asked, batch::AUTO_MAX))
        .collect();
    let display = Display::new(HowMuch::Normal, false, 0);
    let audience: Arc<dyn Audience> = Arc::new(display.teller());
    let done = runtime.block_on(async {
        let stop = signals.stop(display.teller(), "healing, reporting and tearing down the runs");
        batch::run_all(jobs, &settings, &audience, &stop).await
    });
    display.close();
    containers::collect_own(&settings.environment.backend, &runtime);
    runtime.shutdown_background();
    let rows = args.servers.iter().map(|server| row(server, &done));
    screen::print(&rows.collect::<Vec<_>>().join("\n"))?;
    Ok(Exit::worst(done.iter().map(|done| done.exit)))
}

/// How often it failed on a server, and what failed.
fn row(server: &str, done: &[Done]) -> String {
    let short = slotquake::report::short_server(server);
    let of: Vec<&Done> = done.iter().filter(|done| done.summary.server == short).collect();
    let mut rate = Rate::default();
    let mut undecided = 0;
    let mut failed: Vec<&str> = Vec::new();
    for run in &of {
        match run.summary.standing {
            Standing::Judged(Verdict::Fail) => rate.count(true),
            Standing::Judged(Verdict::Pass) => rate.count(false),
            Standing::Judged(Verdict::Inconclusive) | Standing::Error(_) | Standing::Skipped(_) => undecided += 1,
        }
        let failing = run.summary.invariants.iter().filter(|judgement| judgement.verdict == Verdict::Fail);
        failed.extend(failing.map(|judgement| judgement.invariant.as_str()));
    }
    failed.sort_unstable();
    failed.dedup();
    let undecided = if undecided > 0 { format!(", {undecided} undecided") } else { String::new() };
    let what = if failed.is_empty() { String::new() } else { format!(": {}", failed.join(", ")) };
    format!("{short:<16} fails in {rate}{undecided}{what}")
}
