//! `slotquake run`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slotquake::batch::{self, Audience, Done, Job, Lanes, Settings, Stop};
use slotquake::check::Verdict;
use slotquake::plan::Plan;
use slotquake::plan::matrix::Axis;
use slotquake::report::{self, RunKey, Skipped, Standing, Summary, quoted};
use slotquake::reports;
use slotquake::speed::Speed;
use slotquake::suite::{self, SpeedSetting};
use slotquake_judge::words::count;
use tokio::runtime::Runtime;

use super::backend::BackendArgs;
use super::exit::{Exit, Trouble};
use super::number::whole;
use super::prepare::Overrides;
use super::progress::{Display, HowMuch};
use super::signals::Signals;
use super::taken::{Taken, Wanted};
use super::{Format, ci, containers, folder, screen};

/// Run suites on real clusters, judge them and write reports
///
/// Loads all suites and finds their servers before the first cluster boots. Each run writes report.html, report.json, the
/// history and the servers' logs to its own folder under the reports directory. `latest` there points to the run that
/// finished last. Several runs also get an index.html.
///
/// For CI, the reports directory has junit.xml and summary.md (Markdown) for all runs of the latest command. In GitHub
/// Actions, the summary is appended to the job summary, and invariants that do not hold become annotations.
///
/// Runs take place in a sandbox: private namespaces in which links between nodes can be cut, and which end all their
/// processes. It needs no root. Suites that this machine cannot run are skipped with the reason; `slotquake doctor` shows
/// what is missing.
///
/// With `--backend docker`, the nodes are containers of the official images on a separate network. Everything is removed
/// when a run ends. What killed runs left is removed first (see `slotquake gc`).
///
/// With `--backend attach`, the cluster is already running. `--nodes` gives access to its ports, `--compose` or `--hooks`
/// to its servers; faults also require `--allow-faults`. A run writes only keys under its own prefix. At its end, it
/// removes them and restores directives. The changes of killed runs are undone first (see `slotquake gc`).
///
/// The first Ctrl-C heals, reports and tears down. The second one ends everything at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake run role-swap
  slotquake run --all --server redis:6.2,redis:7.0,valkey:9.1 --set cluster.config.cluster-node-timeout=1000
  slotquake run role-swap --matrix cluster.config.cluster-node-timeout=1000,5000,15000
  slotquake run suites/ --exclude lossy-links --fail-fast
  slotquake run ./my-suite.yaml --server /opt/valkey/bin/valkey-server --repeat 5
  slotquake run role-swap --backend attach --compose my-project --allow-faults")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Args {
    /// Names of suites (see `slotquake list`), paths of suite files, or directories of suite files
    #[arg(required_unless_present = "all", value_name = "SUITE")]
    suites: Vec<String>,
    /// Run every built-in suite
    #[arg(long, conflicts_with = "suites")]
    all: bool,
    /// Leave out these suites
    #[arg(long, value_name = "SUITE", value_delimiter = ',')]
    exclude: Vec<String>,
    /// Begin no other run once one has failed
    #[arg(long)]
    fail_fast: bool,
    /// Repeat a run that comes out inconclusive, up to this many times. The result says which were
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole(0..=u16::MAX))]
    retries: u16,
    /// Run on these servers instead of the suite's own: `redis:6.2`, `valkey:9.1`, or the path of a binary
    #[arg(long = "server", value_name = "SERVER", value_delimiter = ',')]
    servers: Vec<String>,
    /// Run each suite with each of these values of a setting, such as `cluster.config.cluster-node-timeout=1000,5000`; may be
    /// repeated, and then every combination is run
    #[arg(long = "matrix", value_name = "PATH=VALUES")]
    matrix: Vec<Axis>,
    #[command(flatten)]
    overrides: Overrides,
    /// Repeat every run this many times, with the same plan and seed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(1..=u16::MAX))]
    repeat: u16,
    /// The number of runs at the same time; by default four for each core, because runs mostly wait, and fewer at
    /// speed: three for two cores at speed 10. Runs at different speeds never go at the same time
    #[arg(long, value_name = "N", value_parser = whole(1..=u16::MAX))]
    jobs: Option<u16>,
    /// The directory for reports
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// The format of the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    backend: BackendArgs,
    /// Keep the servers' data directories in the report's folder
    #[arg(long)]
    keep: bool,
    /// Show more progress, and also the invariants that hold
    #[arg(short, long)]
    verbose: bool,
    /// Show only what does not pass, and the result
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

/// Runs, judges, reports.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let seed = args.overrides.seed();
    let suites = suites(args)?;
    let is_shared = args.backend.is_shared();
    if is_shared && (args.keep || args.jobs.is_some_and(|jobs| jobs > 1)) {
        return Err(Trouble::usage(
            "`--keep` and `--jobs` cannot be used with `--backend attach`: slotquake cannot read the servers' data, and runs on one \
             cluster would disturb each other",
        ));
    }
    let wanted =
        Wanted { suites: &suites, servers: &args.servers, matrix: &args.matrix, overrides: &args.overrides, seed };
    let Taken { plans, servers, environment, runtime, signals } =
        args.backend.take(&wanted, || folder::make(&args.out))?;
    if let Some(absent) = plans.iter().find_map(batch::absent_program) {
        return Err(Trouble::usage(absent));
    }
    let (skipped, plans): (Vec<Summary>, Vec<Plan>) = part(plans, |plan| {
        let fits =
            || if args.servers.is_empty() || args.overrides.to.is_some() { None } else { batch::no_upgrade(plan) };
        let obstacle = environment.obstacle(plan).map(str::to_owned).or_else(fits);
        obstacle.or_else(|| batch::lacking(plan, &servers))
    });
    let places = if is_shared { Some(1) } else { args.jobs.map(usize::from) };
    let settings = Settings {
        out: args.out.clone(),
        keep: args.keep,
        lanes: Arc::new(Lanes::new(places)),
        retries: args.retries,
        fail_fast: args.fail_fast.then(Arc::default),
        environment,
    };
    let asked = args.backend.speed();
    let jobs: Vec<Job> = (0..args.repeat)
        .flat_map(|_| &plans)
        .map(|plan| Job::new(plan.clone(), &servers).at(asked, batch::AUTO_MAX))
        .collect();
    if !args.quiet {
        screen::say(&format!("seed {seed}; {}", count(jobs.len() as u64, "run")));
    }
    tell_skipped(&skipped);
    tell_real_time(&jobs, asked);
    let how_much = HowMuch::new(args.quiet, args.verbose);
    let runs = if jobs.is_empty() { Vec::new() } else { run_all(jobs, asked, &settings, (runtime, signals), how_much) };
    let (mut summaries, exits): (Vec<_>, Vec<_>) = runs.into_iter().map(|run| (run.summary, run.exit)).unzip();
    // Skipped suites do not affect the exit code, unless all were skipped.
    let exit = Exit::worst(exits);
    note_skipped(&summaries, &skipped, &args.out)?;
    summaries.extend(skipped);
    summaries.sort_by(Summary::in_order);
    // A failed invariant must not be masked by a disk that is full.
    let indexed = if summaries.iter().any(|run| run.report.is_some()) {
        index(&summaries, &args.out, args.quiet)
    } else {
        Ok(())
    };
    let exit = indexed.and_then(|()| ci::leave(&summaries, &args.out)).map_or_else(
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
    tell_failures(&summaries, &suites, &args.overrides.sets);
    Ok(exit)
}

/// The suites that are asked for: by name, by file, all of a directory, or all that are built in, without those to leave out.
fn suites(args: &Args) -> Result<Vec<String>, Trouble> {
    let mut suites = Vec::new();
    for given in &args.suites {
        if Path::new(given).is_dir() && !suite::shipped_names().contains(&given.as_str()) {
            suites.extend(suites_in(Path::new(given))?);
        } else {
            suites.push(given.clone());
        }
    }
    if args.all {
        suites.extend(suite::shipped_names().into_iter().map(str::to_owned));
    }
    for left_out in &args.exclude {
        let before = suites.len();
        suites.retain(|suite| suite != left_out && name(suite).as_ref() != Some(left_out));
        if suites.len() == before {
            return Err(Trouble::usage(format!(
                "`--exclude {left_out}`: no such suite is to run (hint: `slotquake list` has the names)"
            )));
        }
    }
    if suites.is_empty() {
        return Err(Trouble::usage("nothing is left to run: `--exclude` leaves out every suite"));
    }
    Ok(suites)
}

/// The name of a suite that is given by it, or as the file of that name.
fn name(suite: &str) -> Option<String> {
    Path::new(suite).file_stem().map(|stem| stem.to_string_lossy().into_owned())
}

/// The suite files directly in a directory, by name.
fn suites_in(folder: &Path) -> Result<Vec<String>, Trouble> {
    let trouble = |error: std::io::Error| Trouble::usage(format!("cannot read \"{}\": {error}", folder.display()));
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(trouble)? {
        let path = entry.map_err(trouble)?.path();
        let is_suite = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_suite && path.is_file() {
            files.push(path.to_string_lossy().into_owned());
        }
    }
    if files.is_empty() {
        let shown = folder.display();
        return Err(Trouble::usage(format!("\"{shown}\" has no suite files (hint: they end with .yaml or .yml)")));
    }
    files.sort();
    Ok(files)
}

/// At the very end, the runs that did not pass, the worst last: where to look, and how to run just that again.
fn tell_failures(summaries: &[Summary], suites: &[String], sets: &[String]) {
    const MOST: usize = 20;
    let is_open = |run: &&Summary| !matches!(run.standing, Standing::Judged(Verdict::Pass) | Standing::Skipped(_));
    let mut open: Vec<&Summary> = summaries.iter().filter(is_open).collect();
    open.sort_by_key(|run| (run.standing == Standing::Judged(Verdict::Fail), run.report.clone()));
    let left_out = open.len().saturating_sub(MOST);
    if left_out > 0 {
        screen::say(&format!("{} did not pass, of which the last {MOST} follow", count(open.len() as u64, "run")));
    }
    for run in &open[left_out..] {
        screen::say(&format!("\n{}  {}", run.standing.word().to_uppercase(), run.label()));
        if let Some(folder) = &run.report {
            let page = folder.join("report.html");
            screen::say(&format!("  {}", file_link(if page.exists() { &page } else { folder })));
        }
        screen::say(&format!("  again: {}", again(run, suites, sets)));
    }
}

/// The command that runs just that again. A suite of the user's is where it was, and has the settings that it was given.
fn again(run: &Summary, suites: &[String], sets: &[String]) -> String {
    let Some(course) = &run.course else {
        return format!("slotquake run {} --server {} --seed {}", run.suite, run.server, run.seed);
    };
    let mut command = course.again.command.clone();
    if course.again.built_in {
        return command;
    }
    if let Some(file) = suites.iter().find(|suite| name(suite).as_ref() == Some(&run.suite)) {
        command = command.replacen(&quoted(&format!("./{}.yaml", run.suite)), &quoted(file), 1);
    }
    for set in sets {
        command.push_str(" --set ");
        command.push_str(&quoted(set));
    }
    command
}

/// `file:///home/me/reports/...`, as terminals make links of it.
fn file_link(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    format!("file://{}", path.to_string_lossy().replace('%', "%25").replace(' ', "%20"))
}

/// Finds the highest speed that this machine can keep, and gives it to the runs that are to have it.
async fn find_speed(
    jobs: &mut [Job],
    asked: Option<SpeedSetting>,
    settings: &Settings,
    audience: &dyn Audience,
    stop: &Stop,
) {
    let adapting: Vec<Job> = jobs.iter().filter(|job| job.adapts && !job.speed.is_real()).cloned().collect();
    let Some(like) = batch::busiest(&adapting) else { return };
    let (found, why) = batch::highest_speed(like, adapting.len(), settings, stop).await;
    let why = if why.is_empty() { why } else { format!(": {why}") };
    audience.line(&format!("speed {found} is the highest that this machine can keep{why}"));
    for job in jobs {
        *job = job.clone().at(asked, found);
    }
}

/// `3 runs, 1 at a time at speed 10, and 2 runs, 2 at a time at speed 1`.
fn at_a_time(jobs: &[Job], lanes: &Lanes) -> String {
    let mut by_speed: BTreeMap<Speed, usize> = BTreeMap::new();
    for job in jobs {
        *by_speed.entry(job.speed).or_default() += 1;
    }
    let is_real = by_speed.keys().all(Speed::is_real);
    let at = |(&speed, &jobs): (&Speed, &usize)| {
        let at_speed = if is_real { String::new() } else { format!(" at speed {speed}") };
        format!("{}, {} at a time{at_speed}", count(jobs as u64, "run"), lanes.at(speed).min(jobs))
    };
    by_speed.iter().rev().map(at).collect::<Vec<_>>().join(", and ")
}

/// Says which suites run in real time though a speed was asked for.
fn tell_real_time(jobs: &[Job], asked: Option<SpeedSetting>) {
    let told: BTreeSet<(&str, &str)> = jobs
        .iter()
        .filter(|job| asked.or(job.plan.speed).is_some_and(|asked| asked != SpeedSetting::Fixed(Speed::REAL)))
        .filter_map(|job| Some((job.plan.name.as_str(), job.plan.only_in_real_time()?)))
        .collect();
    for (suite, why) in told {
        screen::say(&format!("{suite} runs at speed 1: {why}"));
    }
}

fn run_all(
    mut jobs: Vec<Job>,
    asked: Option<SpeedSetting>,
    settings: &Settings,
    (runtime, signals): (Runtime, Signals),
    how_much: HowMuch,
) -> Vec<Done> {
    // It may become lower.
    let lowest = |job: &Job| if job.adapts { Speed::REAL } else { job.speed };
    let one_by_one = jobs.len() == 1 || jobs.iter().all(|job| settings.lanes.at(lowest(job)) == 1);
    let display = Display::new(how_much, one_by_one, jobs.len());
    let teller = display.teller();
    let audience: Arc<dyn Audience> = Arc::new(display.teller());
    let runs = runtime.block_on(async {
        let stop = signals.stop(display.teller(), "healing, reporting and tearing down the runs");
        find_speed(&mut jobs, asked, settings, audience.as_ref(), &stop).await;
        teller.chat(&at_a_time(&jobs, &settings.lanes));
        batch::run_all(jobs, settings, &audience, &stop).await
    });
    display.close();
    containers::collect_own(&settings.environment.backend, &runtime);
    // Only a run that panicked can still have tasks here. Its servers end with its threads.
    runtime.shutdown_background();
    runs
}

/// Records the skipped suites beside the reports, for `compare`.
fn note_skipped(ran: &[Summary], skipped: &[Summary], out: &Path) -> Result<(), Trouble> {
    let key = |run: &Summary| RunKey { suite: run.variant(), server: run.server.clone() };
    let judged = ran.iter().filter(|run| matches!(run.standing, Standing::Judged(_)));
    let ran: Vec<RunKey> = judged.map(key).collect();
    let skipped = skipped.iter().filter_map(|run| match &run.standing {
        Standing::Skipped(reason) => Some(Skipped { run: key(run), reason: reason.clone() }),
        _ => None,
    });
    reports::note_skipped(out, &ran, &skipped.collect::<Vec<_>>()).map_err(Trouble::unavailable)
}

/// Writes the page about all runs in the folder of reports, those of earlier commands too.
fn index(summaries: &[Summary], out: &Path, quiet: bool) -> Result<(), Trouble> {
    let all = reports::with_earlier(summaries, out).map_err(Trouble::unavailable)?;
    let page = report::html::index(&all, out);
    let path = reports::write_page(out, "index.html", &page).map_err(Trouble::unavailable)?;
    if !quiet && all.len() > 1 {
        let runs = count(all.len() as u64, "run");
        screen::say(&format!("all {runs} in {} on one page: {}", out.display(), path.display()));
    }
    Ok(())
}

/// Separates the plans that can run here from the others, which become rows with the reason.
fn part(plans: Vec<Plan>, obstacle: impl Fn(&Plan) -> Option<String>) -> (Vec<Summary>, Vec<Plan>) {
    let (mut skipped, mut possible) = (Vec::new(), Vec::new());
    for plan in plans {
        match obstacle(&plan) {
            Some(reason) => {
                let standing = Standing::Skipped(reason);
                let summary = Summary::without_report(&plan.name, &plan.server, plan.seed, standing, None);
                skipped.push(Summary { matrix: plan.matrix.clone(), ..summary });
            }
            None => possible.push(plan),
        }
    }
    (skipped, possible)
}

/// Prints the skipped suites at the start, grouped by reason.
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
