//! A campaign: schedules are drawn, run side by side, judged by what the servers promise under them, and kept in a journal.
//! Afterwards each failure is repeated, shrunk and written down.

mod file;
mod findings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use tokio::task::spawn_blocking;

pub use self::file::{JOURNAL_FILE, JournalError, JournalFile, read};
pub use self::findings::{Investigated, investigate, repeat};
use crate::anatomy;
use crate::batch::{self, Audience, Job, Settings, Stop};
use crate::chaos::{
    self, Act, Campaign, Ended, Entry, Failure, Guide, Move, Profile, Promise, Record, Schedule, draw, failures,
    situations,
};
use crate::plan::Plan;
use crate::report::{self, Standing};
use crate::seeded::Seeded;
use crate::server::Server;
use crate::speed::{self, Speed};
use crate::suite::{Phased, SpeedSetting, When, to_yaml};
use crate::target::{Member, Owner, Target};
use crate::units::{Bound, ShardNo, Span};

/// How many runs of each failure keep their folder.
const KEPT_OF_A_FAILURE: usize = 3;

/// How many runs that reached something new keep their folder.
const KEPT_OF_NEW: usize = 50;

/// After so many runs in a row without a report, the machine is broken.
const ERRORS_MAX: usize = 5;

/// What a campaign does.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The seed of all schedules.
    pub seed: u64,
    /// Their limits.
    pub profile: Profile,
    /// Whether schedules that reached something new are changed, or all are drawn anew.
    pub is_guided: bool,
    /// The servers by the names of the profile's plans, in turn.
    pub servers: Vec<(String, Server)>,
    /// Which part of the campaign this is, from 1, and of how many.
    pub shard: (u32, u32),
    /// How many runs at most, those of other parts included.
    pub runs: Option<u64>,
    /// When no other run begins, in real time.
    pub until: Option<SystemTime>,
    /// The speed that was asked for.
    pub asked: Option<SpeedSetting>,
    /// The highest that the machine can keep.
    pub found: Speed,
    /// The folder of the campaign. Its runs are in `runs` there.
    pub out: PathBuf,
    /// How runs are done.
    pub batch: Settings,
}

/// Hears of a campaign. Its methods must return at once.
pub trait Listener: Send + Sync {
    /// A run has ended.
    fn ran(&self, campaign: &Campaign, run: &Record);
}

/// A run as it came out.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// What failed of what must hold.
    pub failures: Vec<Failure>,
    /// What it reached.
    pub situations: BTreeSet<String>,
    /// The folder of its report.
    pub folder: Option<PathBuf>,
    /// Why it has no verdict.
    pub why: String,
    /// What showed a failure, in words.
    pub evidence: Vec<String>,
    /// The version that the server reported.
    pub version: Option<String>,
}

/// What runs share while they go side by side.
struct Shared {
    campaign: Campaign,
    guide: Guide,
    journal: JournalFile,
    kept_of_new: usize,
    errors: usize,
    broken: Option<JournalError>,
}

/// Runs a campaign on, after what `known` holds of it. Returns all of it. It ends early if the journal cannot be written.
pub async fn run(
    settled: &Settled,
    (known, journal): (Campaign, JournalFile),
    (audience, listener): (&Arc<dyn Audience>, &dyn Listener),
    stop: &Stop,
) -> Result<Campaign, JournalError> {
    let mut guide = Guide::default();
    for run in &known.runs {
        if let Some(schedule) = schedule_of(&run.suite) {
            guide.learn(&schedule, run.situations.iter().cloned());
        }
    }
    let shared = Mutex::new(Shared { campaign: known, guide, journal, kept_of_new: 0, errors: 0, broken: None });
    let lock = || -> MutexGuard<'_, Shared> { shared.lock().expect("no holder panics") };
    let (part, parts) = settled.shard;
    let numbers =
        (1..=settled.runs.unwrap_or(u64::MAX)).filter(|number| number % u64::from(parts) == u64::from(part % parts));
    let is_over = || {
        let shared = lock();
        let too_late = settled.until.is_some_and(|until| speed::real_now() >= until);
        too_late || stop.borrow().is_some() || shared.broken.is_some() || shared.errors >= ERRORS_MAX
    };
    let places = settled.batch.lanes.at(settled.found).max(1);
    stream::iter(numbers)
        .take_while(|_| std::future::ready(!is_over()))
        .map(async |number| {
            let (name, server) = &settled.servers[(number % settled.servers.len() as u64) as usize];
            if lock().campaign.runs.iter().any(|run| run.number == number && run.server == *name) {
                return;
            }
            let mut random = Seeded::new(settled.seed, &format!("run {number}"));
            let schedule = if settled.is_guided {
                lock().guide.next(&settled.profile, name, &mut random)
            } else {
                draw(&settled.profile, name, &mut random)
            };
            let title = format!("chaos-{}-{number}", settled.seed);
            let began = speed::real_now();
            let (text, promises, outcome) =
                once(settled, &schedule, (&title, server), number as usize, audience, stop).await;
            if stop.borrow().is_some() && outcome.ended != Ended::Fail {
                remove(outcome.folder.as_deref());
                return;
            }
            let took = speed::real_now().duration_since(began).unwrap_or_default();
            let record = Record {
                number,
                server: name.clone(),
                ended: outcome.ended,
                failures: outcome.failures.clone(),
                stands: promises.iter().map(|promise| (promise.claim, promise.stand)).collect(),
                situations: outcome.situations.clone(),
                folder: None,
                why: outcome.why.clone(),
                took_ms: took.as_millis() as u64,
                suite: text,
            };
            let mut shared = lock();
            shared.take_in(settled, &schedule, record, outcome.folder.as_deref());
            if let Some(run) = shared.campaign.runs.last() {
                listener.ran(&shared.campaign, run);
            }
        })
        .buffer_unordered(places)
        .collect::<Vec<()>>()
        .await;
    let shared = shared.into_inner().expect("no holder panics");
    match shared.broken {
        Some(error) => Err(error),
        None => Ok(shared.campaign),
    }
}

impl Shared {
    /// Decides whether the folder of a run is kept, and writes the run down.
    fn take_in(&mut self, settled: &Settled, schedule: &Schedule, mut record: Record, folder: Option<&Path>) {
        self.errors = if record.ended == Ended::Error { self.errors + 1 } else { 0 };
        let new = self.guide.learn(schedule, record.situations.iter().cloned());
        let known = |failure: &Failure| self.campaign.runs.iter().filter(|run| run.failures.contains(failure)).count();
        let is_telling = record.failures.iter().any(|failure| known(failure) < KEPT_OF_A_FAILURE);
        let is_first = !new.is_empty() && self.kept_of_new < KEPT_OF_NEW;
        if is_telling || is_first || record.ended == Ended::Error {
            self.kept_of_new += usize::from(!is_telling);
            let within = |folder: &Path| folder.strip_prefix(&settled.out).unwrap_or(folder).display().to_string();
            record.folder = folder.map(within);
        } else {
            remove(folder);
        }
        if let Err(error) = self.journal.append(&Entry::Run(record.clone())) {
            self.broken = Some(error);
        }
        self.campaign.add(Entry::Run(record));
    }
}

/// Removes the folder of a run that shows nothing new.
fn remove(folder: Option<&Path>) {
    if let Some(folder) = folder {
        // What cannot be removed is only in the way.
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// The schedule of a stored suite.
fn schedule_of(text: &str) -> Option<Schedule> {
    Schedule::of(&crate::suite::parse(text, Path::new("schedule")).ok()?)
}

/// Runs a schedule once, as run `number` of the audience. Returns its suite, too, and what it promises.
pub(crate) async fn once(
    settled: &Settled,
    schedule: &Schedule,
    (name, server): (&str, &Server),
    number: usize,
    audience: &Arc<dyn Audience>,
    stop: &Stop,
) -> (String, Vec<Promise>, Outcome) {
    let (suite, promises) = chaos::suite(schedule, name, &settled.profile.forbid);
    let text = to_yaml(&suite);
    let outcome = match Plan::new(&suite, settled.seed) {
        Err(errors) => Outcome::without(Ended::Error, errors.first().map(ToString::to_string).unwrap_or_default()),
        Ok(plan) => match settled.batch.environment.obstacle(&plan).map(str::to_owned) {
            Some(why) => Outcome::without(Ended::Skipped, why),
            None => run_plan(settled, plan, server, &promises, number, (audience, stop)).await,
        },
    };
    (text, promises, outcome)
}

/// Runs a plan and says what came of it.
async fn run_plan(
    settled: &Settled,
    plan: Plan,
    server: &Server,
    promises: &[Promise],
    number: usize,
    (audience, stop): (&Arc<dyn Audience>, &Stop),
) -> Outcome {
    let servers = BTreeMap::from([(plan.server.clone(), server.clone())]);
    let job = Job::new(plan, &servers).at(settled.asked, settled.found);
    let done = job.run(number, &settled.batch, audience, stop).await;
    let (standing, folder) = (done.summary.standing.clone(), done.summary.report.clone());
    let promises = promises.to_vec();
    match (standing, folder) {
        (Standing::Judged(_), Some(folder)) => spawn_blocking(move || Outcome::read(folder, &promises))
            .await
            .unwrap_or_else(|error| Outcome::without(Ended::Error, error.to_string())),
        (Standing::Judged(_), None) => Outcome::without(Ended::Error, "the run has no folder".to_owned()),
        (Standing::Error(why), folder) => Outcome { folder, ..Outcome::without(Ended::Error, why) },
        (Standing::Skipped(why), folder) => Outcome { folder, ..Outcome::without(Ended::Skipped, why) },
    }
}

impl Outcome {
    fn without(ended: Ended, why: String) -> Self {
        Self {
            ended,
            failures: Vec::new(),
            situations: BTreeSet::new(),
            folder: None,
            why,
            evidence: Vec::new(),
            version: None,
        }
    }

    /// What the report in a folder says.
    fn read(folder: PathBuf, promises: &[Promise]) -> Self {
        let report = match report::read(&folder) {
            Ok(report) => report,
            Err(error) => return Self { folder: Some(folder), ..Self::without(Ended::Error, error.to_string()) },
        };
        let logs = anatomy::logs(&folder, report.nodes());
        let failures = failures(&report, promises);
        let ended = Ended::of(&report, promises);
        let not_passed = report.invariants.iter().filter(|judgement| judgement.verdict != crate::check::Verdict::Pass);
        let words = |judgement: &crate::check::Judgement| format!("{}: {}", judgement.invariant, judgement.seen);
        let why = not_passed.clone().next().map(words).filter(|_| ended != Ended::Pass).unwrap_or_default();
        let is_of = |judgement: &&crate::check::Judgement| {
            failures.iter().any(|failure| failure.invariant == judgement.invariant)
        };
        let evidence = not_passed
            .filter(is_of)
            .flat_map(|judgement| std::iter::once(words(judgement)).chain(judgement.evidence.iter().take(5).cloned()));
        Self {
            ended,
            evidence: evidence.collect(),
            situations: situations(&report, &logs),
            version: Some(report.header.server.version.to_string()),
            failures,
            folder: Some(folder),
            why,
        }
    }
}

/// The acts of a profile that this machine cannot do, each with the reason; they are taken out.
pub fn leave_out(profile: &mut Profile, server: &str, environment: &batch::Environment) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for act in profile.faults.keys().copied().collect::<Vec<_>>() {
        let schedule = probe(profile, act, server);
        let (suite, _) = chaos::suite(&schedule, "probe", &[]);
        let obstacle = Plan::new(&suite, 1).ok().and_then(|plan| environment.obstacle(&plan).map(str::to_owned));
        if let Some(why) = obstacle {
            let word =
                serde_json::to_value(act).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default();
            out.push((word, why));
            profile.faults.remove(&act);
        }
    }
    let triggered = profile.faults.keys().next().map(|&act| triggered(probe(profile, act, server)));
    let plan = triggered.filter(|_| profile.triggers > 0).and_then(|schedule| {
        let (suite, _) = chaos::suite(&schedule, "probe", &[]);
        Plan::new(&suite, 1).ok()
    });
    if let Some(why) = plan.and_then(|plan| environment.obstacle(&plan).map(str::to_owned)) {
        out.push(("triggers".to_owned(), why));
        profile.triggers = 0;
    }
    out
}

/// The schedule with its first move after a line of a log, which needs the logs.
fn triggered(mut schedule: Schedule) -> Schedule {
    if let Some(first) = schedule.moves.first_mut() {
        let of = Target::Member(Owner::Shard(ShardNo(1)), Member::Replicas);
        let within = Bound::Fixed(Span::secs(1));
        first.on = Some(When { event: Phased::Promoted, of, after: Span::default(), within });
    }
    schedule
}

/// A plan with every act of a profile in its smallest cluster, so that an environment and a speed can be prepared for what
/// may be drawn.
pub fn everything(profile: &Profile, server: &str, seed: u64) -> Result<Plan, String> {
    let moves = profile.faults.keys().flat_map(|&act| probe(profile, act, server).moves.into_iter().take(1));
    let first = profile.faults.keys().next().ok_or("the profile has no faults")?;
    let mut whole = Schedule { moves: moves.collect(), rest: Span::default(), ..probe(profile, *first, server) };
    whole.moves.sort_by_key(|each| each.at);
    // Names that are used twice would be refused; the needs are the same without them.
    let mut names = BTreeSet::new();
    let name = |each: &Move| each.step.fault().and_then(|fault| fault.name()).flatten().map(str::to_owned);
    whole.moves.retain(|each| name(each).is_none_or(|name| names.insert(name)));
    if profile.triggers > 0 {
        whole = triggered(whole);
    }
    let (suite, _) = chaos::suite(&whole, "everything", &[]);
    Plan::new(&suite, seed).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// A schedule with one act only, in the smallest cluster that can have it.
fn probe(profile: &Profile, act: Act, server: &str) -> Schedule {
    let replicas = profile.replicas.0.max(1);
    let only = Profile {
        triggers: 0,
        faults: BTreeMap::from([(act, 1)]),
        masters: (profile.masters.0, profile.masters.0),
        replicas: (replicas, replicas),
        ..profile.clone()
    };
    draw(&only, server, &mut Seeded::new(1, "probe"))
}

/// The time that is left, in words, from how many runs are done of how many, or until when.
pub fn left(done: usize, settled: &Settled, spent: Duration) -> Option<Duration> {
    let by_time = settled.until.and_then(|until| until.duration_since(speed::real_now()).ok());
    let mine = settled.runs.map(|runs| runs / u64::from(settled.shard.1));
    let by_runs =
        mine.filter(|_| done > 0).map(|mine| spent.mul_f64(mine.saturating_sub(done as u64) as f64 / done as f64));
    by_time.into_iter().chain(by_runs).min()
}
