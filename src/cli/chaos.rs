//! `slotquake chaos`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use slotquake::batch::{self, Audience, Done, Job, Lanes, Settings, Stop, Watcher};
use slotquake::campaign::{self, Investigated, JournalFile, Listener, Settled};
use slotquake::chaos::{
    Campaign, CampaignHeader, Ended, Entry, JOURNAL_VERSION, Profile, Record, SOMETIMES, campaign_junit, campaign_page,
    render_campaign, render_campaign_markdown,
};
use slotquake::plan::Plan;
use slotquake::reports;
use slotquake::server::Server;
use slotquake::speed::{self, Speed};
use slotquake_judge::words::count;

use super::backend::BackendArgs;
use super::exit::{Exit, Trouble};
use super::number::whole;
use super::progress::{Display, HowMuch, Teller};
use super::taken::Taken;
use super::{ci, containers, folder, screen};

/// How often a campaign says how it goes, without a terminal, in real time.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Draw schedules of faults, run them on real clusters, and shrink what fails
///
/// Draws a cluster, a workload and a sequence of faults for each run, within the limits of a profile. What must hold follows
/// from the schedule: rules with their sources say what the servers promise under these faults, and what may be lost. A
/// schedule that reached something new is changed a little for a later run.
///
/// Each failure is repeated, shrunk to the smallest schedule that still fails in the same way, and written to `failures`
/// in the campaign's folder: the schedule that was found, the smallest, and a report to file. The folder also has
/// index.html, summary.md, junit.xml, and campaign.jsonl, the journal with a line for each run. Only runs that failed, or
/// reached something first, keep their reports.
///
/// Runs at `--speed auto` unless told otherwise. Ctrl-C ends the campaign and reports what ran; `--resume` continues it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake chaos --runs 50
  slotquake chaos --for 8h --profile rough --server redis:6.2,valkey:9.1 --out nightly
  slotquake chaos --runs 1000 --seed 7 --shard 2/4 --out part-2
  slotquake run ./chaos/failures/acked-writes-stale-master-master-hit/smallest.yaml")]
pub struct Args {
    /// End after so many runs, those of other shards included
    #[arg(long, value_name = "N", value_parser = whole(1..=u64::MAX), required_unless_present = "lasts")]
    runs: Option<u64>,
    /// Begin no other run after this time, such as `8h`
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    lasts: Option<Duration>,
    /// The seed of all schedules. By default it is random, and printed and recorded
    #[arg(long, value_parser = whole(0..=u64::MAX))]
    seed: Option<u64>,
    /// The servers to run on, in turn
    #[arg(long = "server", value_name = "SERVER", value_delimiter = ',', default_value = "redis:6.2")]
    servers: Vec<String>,
    /// What may happen: `gentle`, `rough`, or the path of a file
    #[arg(long, value_name = "PROFILE", default_value = "gentle")]
    profile: String,
    /// How to choose the next schedule: `guided` by what earlier ones reached, or `random`
    #[arg(long, value_name = "HOW", default_value = "guided", value_parser = ["guided", "random"])]
    choose: String,
    /// Do only the runs of one of several machines, as `2/4`
    #[arg(long, value_name = "I/N", value_parser = shard, default_value = "1/1")]
    shard: (u32, u32),
    /// Continue the campaign in the folder
    #[arg(long)]
    resume: bool,
    /// Fail unless each situation of the list in the book was reached
    #[arg(long)]
    require_reached: bool,
    /// The most runs to shrink one failure; 0 does not look into failures
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = whole(0..=u32::MAX))]
    shrink_runs: u32,
    /// How often to run the smallest schedule of a failure in real time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = whole(0..=u32::MAX))]
    real_runs: u32,
    /// The number of runs at the same time; by default what the speed allows
    #[arg(long, value_name = "N", value_parser = whole(1..=u16::MAX))]
    jobs: Option<u16>,
    /// The directory of the campaign
    #[arg(long, value_name = "DIR", default_value = "chaos")]
    out: PathBuf,
    #[command(flatten)]
    backend: BackendArgs,
}

fn shard(text: &str) -> Result<(u32, u32), String> {
    let parts = text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    parts.filter(|(part, parts)| (1..=*parts).contains(part)).ok_or_else(|| "expected I/N, such as `2/4`".to_owned())
}

/// Runs the campaign, looks into its failures and reports.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let seed = args.seed.unwrap_or_else(batch::draw_seed);
    let mut profile = Profile::load(&args.profile).map_err(Trouble::usage)?;
    let plans: Vec<Plan> = args
        .servers
        .iter()
        .map(|server| campaign::everything(&profile, server, seed).map_err(Trouble::usage))
        .collect::<Result<_, _>>()?;
    let Taken { plans, servers, environment, runtime, signals } =
        args.backend.take_for(plans, || folder::make(&args.out))?;
    for (act, why) in campaign::leave_out(&mut profile, &args.servers[0], &environment) {
        screen::say(&format!("left out: {act}: {why}"));
    }
    if profile.faults.is_empty() {
        return Err(Trouble::usage("this machine can do none of the profile's faults (hint: `slotquake doctor`)"));
    }
    let header = CampaignHeader {
        schema_version: JOURNAL_VERSION,
        slotquake: env!("CARGO_PKG_VERSION").to_owned(),
        seed,
        profile: args.profile.clone(),
        servers: args.servers.clone(),
        shard: args.shard,
    };
    let (known, journal) = JournalFile::open(&args.out, &header, args.resume).map_err(Trouble::usage)?;
    let mut findings = journal.again().map_err(Trouble::harness)?;
    screen::say(&format!("seed {seed}, profile {}, in {}", args.profile, args.out.display()));
    let display = Display::new(HowMuch::Normal, false, 0);
    let teller = display.teller();
    let lanes = Arc::new(Lanes::new(args.jobs.map(usize::from)));
    let mut settled = Settled {
        seed,
        profile,
        is_guided: args.choose == "guided",
        servers: args.servers.iter().map(|name| (name.clone(), servers[name].clone())).collect(),
        shard: args.shard,
        runs: args.runs,
        until: args.lasts.map(|lasts| speed::real_now() + lasts),
        asked: args.backend.speed(),
        found: batch::AUTO_MAX,
        out: args.out.clone(),
        batch: Settings { out: args.out.join("runs"), keep: false, lanes, retries: 0, fail_fast: None, environment },
    };
    let audience: Arc<dyn Audience> = Arc::new(Quiet(teller.clone()));
    let (campaign, was_stopped) = runtime.block_on(async {
        let stop = signals.stop(display.teller(), "ending the campaign");
        settled.found = find_speed(&settled, &plans, &servers, audience.as_ref(), &stop).await;
        let live = Live::new(&teller, &settled);
        let mut campaign =
            campaign::run(&settled, (known, journal), (&audience, &live), &stop).await.map_err(Trouble::harness)?;
        live.close();
        if args.shrink_runs > 0 {
            look_into(args, &settled, &mut campaign, &mut findings, (&audience, &stop)).await?;
        }
        Ok::<_, Trouble>((campaign, stop.borrow().is_some()))
    })?;
    display.close();
    containers::collect_own(&settled.batch.environment.backend, &runtime);
    runtime.shutdown_background();
    // It may point to a run that was not kept.
    let _ = std::fs::remove_file(settled.batch.out.join("latest"));
    leave(&campaign, &args.out)?;
    screen::print(&render_campaign(&campaign))?;
    Ok(exit(&campaign, was_stopped, args.require_reached))
}

/// Looks into the failures that nobody has looked into.
async fn look_into(
    args: &Args,
    settled: &Settled,
    campaign: &mut Campaign,
    journal: &mut JournalFile,
    (audience, stop): (&Arc<dyn Audience>, &Stop),
) -> Result<(), Trouble> {
    let limits = Investigated { repeat: 10, shrink: args.shrink_runs, real: args.real_runs };
    let is_new = |failure: &_| !campaign.findings.iter().any(|finding| finding.failure == *failure);
    let failures = campaign.failures().into_iter().filter(|(failure, _)| is_new(failure));
    let found: Vec<_> =
        failures.filter_map(|(failure, runs)| Some((failure.clone(), (*runs.first()?).clone()))).collect();
    for (failure, run) in found {
        if stop.borrow().is_some() {
            break;
        }
        let finding = campaign::investigate(settled, (&failure, &run), limits, (audience, stop)).await;
        if let Some(finding) = finding.map_err(Trouble::harness)? {
            journal.append(&Entry::Finding(finding.clone())).map_err(Trouble::harness)?;
            campaign.add(Entry::Finding(finding));
        }
    }
    Ok(())
}

/// Writes what a campaign leaves beside its journal.
pub fn leave(campaign: &Campaign, out: &std::path::Path) -> Result<(), Trouble> {
    let markdown = render_campaign_markdown(campaign);
    for (name, text) in [
        ("index.html", campaign_page(campaign)),
        ("junit.xml", campaign_junit(campaign)),
        ("summary.md", markdown.clone()),
    ] {
        reports::write_page(out, name, &text).map_err(Trouble::harness)?;
    }
    ci::job_summary(&markdown)
}

/// The exit code of a campaign.
pub fn exit(campaign: &Campaign, was_stopped: bool, require_reached: bool) -> Exit {
    let reached = campaign.situations();
    let missing = SOMETIMES.iter().filter(|name| !reached.contains_key(*name)).count();
    if campaign.count(Ended::Fail) > 0 {
        Exit::Failed
    } else if campaign.count(Ended::Error) > 0 {
        Exit::Harness
    } else if was_stopped {
        Exit::Interrupted
    } else if campaign.count(Ended::Pass) == 0 || (require_reached && missing > 0) {
        Exit::Inconclusive
    } else {
        Exit::Pass
    }
}

/// The highest speed that this machine can keep for the largest cluster of the profile.
async fn find_speed(
    settled: &Settled,
    plans: &[Plan],
    servers: &std::collections::BTreeMap<String, Server>,
    audience: &dyn Audience,
    stop: &Stop,
) -> Speed {
    let job = |plan: &Plan| Job::new(plan.clone(), servers).at(settled.asked, batch::AUTO_MAX);
    let jobs: Vec<Job> = plans.iter().map(job).collect();
    let Some(like) = batch::busiest(&jobs) else { return Speed::REAL };
    if !like.adapts || like.speed.is_real() {
        return like.speed;
    }
    let (found, why) = batch::highest_speed(like, usize::MAX, &settled.batch, stop).await;
    let why = if why.is_empty() { why } else { format!(": {why}") };
    audience.line(&format!("speed {found} is the highest that this machine can keep{why}"));
    found
}

/// Hears only lines: nobody can follow hundreds of runs.
struct Quiet(Teller);

impl Audience for Quiet {
    fn begin(&self, _run: usize, _label: &str, _plan: &Plan, _server: &Server) -> Watcher {
        Arc::new(|_| ())
    }
    fn end(&self, _run: usize, _done: &Done) {}
    fn line(&self, text: &str) {
        self.0.line(text);
    }
}

/// Says how a campaign goes.
struct Live<'a> {
    teller: &'a Teller,
    settled: &'a Settled,
    began: SystemTime,
    ran: AtomicU64,
    told: Mutex<SystemTime>,
}

impl<'a> Live<'a> {
    fn new(teller: &'a Teller, settled: &'a Settled) -> Self {
        teller.status_line(true);
        let now = speed::real_now();
        Self { teller, settled, began: now, ran: AtomicU64::new(0), told: Mutex::new(now) }
    }

    fn close(&self) {
        self.teller.status_line(false);
    }
}

impl Listener for Live<'_> {
    fn ran(&self, campaign: &Campaign, run: &Record) {
        let ran = self.ran.fetch_add(1, Ordering::Relaxed) + 1;
        let now = speed::real_now();
        let spent = now.duration_since(self.began).unwrap_or_default();
        for failure in &run.failures {
            self.teller.line(&format!("run {}: {failure}: {}", run.number, run.why));
        }
        let an_hour = ran as f64 * 3600.0 / spent.as_secs_f64().max(0.001);
        let left = campaign::left(ran as usize, self.settled, spent);
        let left =
            left.map(|left| format!(", {} left", humantime::format_duration(Duration::from_secs(left.as_secs()))));
        let text = format!(
            "{}, {an_hour:.0} an hour, {}, {}{}",
            count(campaign.runs.len() as u64, "run"),
            count(campaign.situations().len() as u64, "situation"),
            count(campaign.failures().len() as u64, "failure"),
            left.unwrap_or_default()
        );
        let mut told = self.told.lock().expect("no holder panics");
        if !self.teller.is_terminal() && now.duration_since(*told).is_ok_and(|since| since >= TELL_EVERY) {
            *told = now;
            self.teller.line(&text);
        }
        self.teller.status(text);
    }
}
