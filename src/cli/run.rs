//! `slotquake run`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slotquake::batch::{self, Audience, Done, Environment, Job, Settings};
use slotquake::plan::Plan;
use slotquake::report::{self, RunKey, Skipped, Standing, Summary};
use slotquake::reports;
use slotquake::suite;
use tokio::runtime::Runtime;

use super::backend::BackendArgs;
use super::exit::{Exit, Trouble};
use super::prepare::Overrides;
use super::progress::Display;
use super::signals::Signals;
use super::taken::{Taken, Wanted};
use super::{Format, ci, containers, screen};

/// Run suites against real clusters, judge them, report them
///
/// Every suite is loaded, resolved and given its server before the first cluster boots. Each run gets
/// a folder under the reports' directory, with report.html, report.json, the history and the servers'
/// logs; `latest` there points at the one that was finished last. Several runs get an index.html, too.
///
/// For CI, junit.xml and summary.md (Markdown) lie in the reports' directory, over all runs of the last
/// call. In a workflow of GitHub the summary is appended to the job's, and what does not hold is annotated.
///
/// Runs take place in a sandbox, private namespaces in which links between nodes can be cut and which
/// no process outlives; it needs no root. Suites that this machine cannot run are skipped, and the
/// reason is said; `slotquake doctor` tells beforehand.
///
/// With `--backend docker` the nodes are containers of the official images, on a network of their own;
/// everything is removed when a run ends, and what killed runs left is removed first (see `slotquake gc`).
///
/// With `--backend attach` the cluster is one that somebody else started: `--nodes` alone watches and
/// loads it, `--compose` or `--hooks` can disturb it, `--allow-faults` says that they may. Keys live under
/// a prefix of the run; they are removed, and directives put back, when the run ends. What a killed run has
/// changed there is put back first (see `slotquake gc`).
///
/// A first Ctrl-C heals, reports and tears down; a second one ends everything at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake run role-swap
  slotquake run --all --server redis:6.2,redis:7.0,valkey:9.1 --set cluster.config.cluster-node-timeout=1000
  slotquake run ./my-suite.yaml --server /opt/valkey/bin/valkey-server --repeat 5
  slotquake run role-swap --backend attach --compose my-project --allow-faults")]
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
    #[command(flatten)]
    backend: BackendArgs,
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
    let is_shared = args.backend.is_shared();
    if is_shared && (args.keep || args.jobs.is_some_and(|jobs| jobs > 1)) {
        return Err(Trouble::usage(
            "--keep and --jobs are not for --backend attach: the data is not ours, and runs would disturb each other",
        ));
    }
    let wanted = Wanted { suites: &suites, servers: &args.servers, overrides: &args.overrides, seed };
    let Taken { plans, servers, environment, runtime, signals } = args.backend.take(&wanted, || {
        std::fs::create_dir_all(&args.out).map_err(|error| {
            Trouble::harness(format!("cannot make the reports' folder {}: {error}", args.out.display()))
        })
    })?;
    let (skipped, plans): (Vec<Summary>, Vec<Plan>) = part(plans, &environment);
    let jobs: Vec<Job> = (0..args.repeat)
        .flat_map(|_| &plans)
        .map(|plan| Job { plan: plan.clone(), server: servers[&plan.server].clone() })
        .collect();
    let at_most = if is_shared { 1 } else { batch::side_by_side() };
    let side_by_side = args.jobs.map_or(at_most, usize::from).min(jobs.len());
    screen::say(&format!("seed {seed}; {} to run, {side_by_side} at a time", jobs.len()));
    tell_skipped(&skipped);

    let settings = Settings { out: args.out.clone(), keep: args.keep, side_by_side, environment };
    let runs = if jobs.is_empty() { Vec::new() } else { run_all(jobs, &settings, (runtime, signals), args.verbose) };
    let (mut summaries, exits): (Vec<_>, Vec<_>) = runs.into_iter().map(|run| (run.summary, run.exit)).unzip();
    // What was skipped says nothing for or against the rest; without a rest, nothing was found out.
    let exit = Exit::worst(exits);
    note_skipped(&summaries, &skipped, &args.out)?;
    summaries.extend(skipped);
    summaries.sort_by(|a, b| (&a.suite, &a.server, &a.report).cmp(&(&b.suite, &b.server, &b.report)));
    if summaries.len() > 1 && summaries.iter().any(|run| run.report.is_some()) {
        index(&summaries, &args.out)?;
    }
    // A failed invariant must not be masked by a disk that is full.
    let exit = ci::leave(&summaries, &args.out).map_or_else(
        |trouble| {
            screen::say(&format!("slotquake: {}", trouble.message));
            exit.max(trouble.exit)
        },
        |()| exit,
    );
    match args.format {
        Format::Table => screen::print(&report::render(&summaries, screen::style(args.verbose)))?,
        Format::Json => screen::print(&report::document(&summaries, exit.number()))?,
    }
    Ok(exit)
}

fn run_all(jobs: Vec<Job>, settings: &Settings, (runtime, signals): (Runtime, Signals), verbose: bool) -> Vec<Done> {
    let display = Display::new(verbose, settings.side_by_side == 1);
    let audience: Arc<dyn Audience> = Arc::new(display.teller());
    let runs = runtime.block_on(async {
        let stop = signals.stop(display.teller(), "runs are healed, reported and torn down");
        batch::run_all(jobs, settings, &audience, &stop).await
    });
    display.close();
    containers::collect_own(&settings.environment.backend, &runtime);
    // What still hangs there is of a run that panicked; its servers die with its threads.
    runtime.shutdown_background();
    runs
}

/// Leaves word beside the reports of what was skipped, for `compare`.
fn note_skipped(ran: &[Summary], skipped: &[Summary], out: &Path) -> Result<(), Trouble> {
    let key = |run: &Summary| RunKey { suite: run.suite.clone(), server: run.server.clone() };
    let judged = ran.iter().filter(|run| matches!(run.standing, Standing::Judged(_)));
    let ran: Vec<RunKey> = judged.map(key).collect();
    let skipped = skipped.iter().filter_map(|run| match &run.standing {
        Standing::Skipped(reason) => Some(Skipped { run: key(run), reason: reason.clone() }),
        _ => None,
    });
    reports::note_skipped(out, &ran, &skipped.collect::<Vec<_>>()).map_err(Trouble::harness)
}

/// Leaves the page over these runs beside their folders.
fn index(summaries: &[Summary], out: &Path) -> Result<(), Trouble> {
    let page = report::html::index(summaries, out);
    let path = reports::write_page(out, "index.html", &page).map_err(Trouble::harness)?;
    screen::say(&format!("all runs on one page: {}", path.display()));
    Ok(())
}

/// Parts what cannot be run here, as rows that say why, from what can.
fn part(plans: Vec<Plan>, environment: &Environment) -> (Vec<Summary>, Vec<Plan>) {
    let (mut skipped, mut possible) = (Vec::new(), Vec::new());
    for plan in plans {
        match environment.obstacle(&plan) {
            Some(reason) => {
                let standing = Standing::Skipped(reason.to_owned());
                skipped.push(Summary::without_report(&plan.name, &plan.server, plan.seed, standing, None));
            }
            None => possible.push(plan),
        }
    }
    (skipped, possible)
}

/// Says at the start what will be missing at the end, once for each reason.
fn tell_skipped(skipped: &[Summary]) {
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for run in skipped {
        if let Standing::Skipped(reason) = &run.standing {
            by_reason.entry(reason).or_default().push(run.label());
        }
    }
    for (reason, labels) in by_reason {
        screen::say(&format!("skipped: {}: {reason}", labels.join(", ")));
    }
}
