//! `slotquake run`.

use std::path::PathBuf;
use std::thread::available_parallelism;

use slotquake::report;
use slotquake::suite;

use super::batch::{self, Job, Settings};
use super::exit::{Exit, Trouble};
use super::prepare::{self, Overrides};
use super::progress::Display;
use super::{Format, screen};

/// Run suites against real clusters, judge them, report them
///
/// Every suite is loaded, resolved and given its server before the first cluster boots. Each run gets
/// a folder under the reports' directory, with report.json, the history and the servers' logs;
/// `latest` there points at the one that was finished last.
///
/// A first Ctrl-C heals, reports and tears down; a second one ends everything at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake run role-swap
  slotquake run --all --server redis:6.2,redis:7.0,valkey:9.1 --set cluster.config.cluster-node-timeout=1000
  slotquake run ./my-suite.yaml --server /opt/valkey/bin/valkey-server --repeat 5")]
pub struct Args {
    /// Names of suites (see `slotquake list`), or paths of suite files
    #[arg(required_unless_present = "all", value_name = "SUITE")]
    suites: Vec<String>,
    /// Run every suite that is built in
    #[arg(long, conflicts_with = "suites")]
    all: bool,
    /// Run on these servers instead of the suite's own: `redis:6.2`, `valkey:9.1`, or the path of a binary
    #[arg(long = "server", value_name = "SERVER", value_delimiter = ',')]
    servers: Vec<String>,
    #[command(flatten)]
    overrides: Overrides,
    /// Run everything so many times; each repetition has the same plan and seed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,
    /// How many runs go side by side; without it, four for each core, as runs mostly wait
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Where reports go
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Keep the servers' data directories, in the report's folder
    #[arg(long)]
    keep: bool,
    /// Tell more while running, and show the invariants that hold, too
    #[arg(short, long)]
    verbose: bool,
}

/// Runs, judges, reports.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let seed = args.overrides.seed();
    let suites =
        if args.all { suite::shipped_names().into_iter().map(str::to_owned).collect() } else { args.suites.clone() };
    let plans = prepare::plans(&suites, &args.servers, &args.overrides, seed)?;
    let servers = prepare::servers(&plans)?;
    std::fs::create_dir_all(&args.out).map_err(|error| {
        Trouble::harness(format!("cannot make the reports' folder {}: {error}", args.out.display()))
    })?;

    let jobs: Vec<Job> = (0..args.repeat)
        .flat_map(|_| &plans)
        .map(|plan| Job { plan: plan.clone(), server: servers[&plan.server].clone() })
        .collect();
    let cores = available_parallelism().map_or(1, usize::from);
    let side_by_side = args.jobs.map_or(cores * 4, usize::from).min(jobs.len());
    screen::say(&format!("seed {seed}; {} to run, {side_by_side} at a time", jobs.len()));

    let display = Display::new(args.verbose);
    let settings = Settings { out: args.out.clone(), keep: args.keep, side_by_side };
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Trouble::harness(format!("cannot start the asynchronous runtime: {error}")))?;
    let mut runs = runtime.block_on(batch::run_all(jobs, &settings, &display));
    display.close();
    // What still hangs there is of a run that panicked; its servers die with its threads.
    runtime.shutdown_background();

    runs.sort_by(|(a, _), (b, _)| (&a.suite, &a.server, &a.report).cmp(&(&b.suite, &b.server, &b.report)));
    let (summaries, exits): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
    let exit = Exit::worst(exits);
    match args.format {
        Format::Table => screen::print(&report::render(&summaries, screen::style(args.verbose)))?,
        Format::Json => screen::print(&report::document(&summaries, exit.number()))?,
    }
    Ok(exit)
}
