//! What is done about a failure: how often it comes again, the smallest schedule that shows it, and a report to file.

use std::fmt::Write;
use std::future::ready;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};

use super::{Outcome, Settled, once, remove, schedule_of};
use crate::batch::{Audience, Lanes, Settings, Stop};
use crate::chaos::{self, Ended, Failure, Finding, Promise, Rate, Record, Schedule, Shrinker, folder_of};
use crate::report::ReportError;
use crate::reports;
use crate::server::Server;
use crate::speed::Speed;
use crate::suite::{SpeedSetting, to_yaml};

/// How many runs each part of an investigation may take.
#[derive(Debug, Clone, Copy)]
pub struct Investigated {
    /// To learn how often the schedule that was found fails, and the smallest.
    pub repeat: u32,
    /// To shrink it.
    pub shrink: u32,
    /// To learn how often the smallest fails in real time.
    pub real: u32,
}

/// Repeats a schedule. Returns how often it failed in that way, of the runs that were conclusive, and the last that did.
pub async fn repeat(
    settled: &Settled,
    (schedule, server): (&Schedule, &Server),
    failure: &Failure,
    runs: u32,
    (audience, stop): (&Arc<dyn Audience>, &Stop),
) -> (Rate, Option<Outcome>) {
    let places = settled.batch.lanes.at(settled.found).max(1);
    let ran: Vec<Outcome> = stream::iter(0..runs)
        .take_while(|_| ready(stop.borrow().is_none()))
        .map(
            |number| async move { once(settled, schedule, ("again", server), number as usize, audience, stop).await.2 },
        )
        .buffered(places)
        .collect()
        .await;
    let (mut rate, mut last) = (Rate::default(), None);
    for outcome in ran {
        let failed = outcome.failures.contains(failure);
        remove(outcome.folder.as_deref());
        if is_conclusive(&outcome, failed) {
            rate.count(failed);
        }
        if failed {
            last = Some(outcome);
        }
    }
    (rate, last)
}

fn is_conclusive(outcome: &Outcome, failed: bool) -> bool {
    match outcome.ended {
        Ended::Pass | Ended::Unknown | Ended::Fail => true,
        Ended::Inconclusive | Ended::Error | Ended::Skipped => failed,
    }
}

/// Looks into a failure that a run found: repeats it, shrinks it, repeats the smallest at speed and in real time, and
/// writes its files.
pub async fn investigate(
    settled: &Settled,
    (failure, run): (&Failure, &Record),
    limits: Investigated,
    (audience, stop): (&Arc<dyn Audience>, &Stop),
) -> Result<Option<Finding>, ReportError> {
    let server = settled.servers.iter().find(|(name, _)| *name == run.server).map(|(_, server)| server);
    let (Some(found), Some(server)) = (schedule_of(&run.suite), server) else {
        audience
            .line(&format!("{failure}: run {} is no schedule that can be drawn, and is not looked into", run.number));
        return Ok(None);
    };
    let tell = |text: String| audience.line(&format!("{failure}: {text}"));
    let (rate, mut last) = repeat(settled, (&found, server), failure, limits.repeat, (audience, stop)).await;
    tell(format!("the schedule of run {} fails so in {rate}", run.number));
    let mut shrinker = Shrinker::new(found, rate, &settled.profile, if rate.hits == 0 { 0 } else { limits.shrink });
    let places = settled.batch.lanes.at(settled.found).max(1);
    loop {
        let candidates = shrinker.candidates(places);
        if candidates.is_empty() || stop.borrow().is_some() {
            break;
        }
        let first = shrinker.runs() as usize;
        let run = |(index, candidate)| once(settled, candidate, ("smaller", server), first + index, audience, stop);
        let ran = join_all(candidates.iter().enumerate().map(run)).await;
        let mut answers = Vec::new();
        for (_, _, outcome) in ran {
            remove(outcome.folder.as_deref());
            let failed = outcome.failures.contains(failure);
            answers.push(is_conclusive(&outcome, failed).then_some(failed));
            if failed {
                last = Some(outcome);
            }
        }
        if shrinker.observe(&answers) {
            let best = shrinker.best();
            tell(format!(
                "fails with {} of its steps, {} masters and {} replicas, after {} runs",
                best.moves.len(),
                best.masters,
                best.replicas,
                shrinker.runs()
            ));
        }
    }
    let smallest = shrinker.best().clone();
    let (again, shown) = repeat(settled, (&smallest, server), failure, limits.repeat, (audience, stop)).await;
    let slow = Settled {
        asked: Some(SpeedSetting::Fixed(Speed::REAL)),
        batch: Settings { lanes: Arc::new(Lanes::new(Some(1))), ..settled.batch.clone() },
        ..settled.clone()
    };
    let (real, _) = repeat(&slow, (&smallest, server), failure, limits.real, (audience, stop)).await;
    let name = folder_of(failure);
    let (suite, promises) = chaos::suite(&smallest, &name, &settled.profile.forbid);
    let finding = Finding {
        failure: failure.clone(),
        server: run.server.clone(),
        number: run.number,
        found: rate,
        smallest: again,
        real,
        moves: smallest.moves.len(),
        runs: shrinker.runs(),
        suite: to_yaml(&suite),
    };
    let folder = settled.out.join("failures").join(&name);
    write(&folder, &finding, run, &text(settled, &finding, &promises, shown.or(last).as_ref()))?;
    Ok(Some(finding))
}

fn write(folder: &Path, finding: &Finding, run: &Record, text: &str) -> Result<(), ReportError> {
    std::fs::create_dir_all(folder).map_err(crate::report::io_error(folder))?;
    for (name, text) in [("found.yaml", run.suite.as_str()), ("smallest.yaml", &finding.suite), ("report.md", text)] {
        reports::write_page(folder, name, text)?;
    }
    Ok(())
}

/// The report of a failure, ready to be filed.
fn text(settled: &Settled, finding: &Finding, promises: &[Promise], shown: Option<&Outcome>) -> String {
    let mut text = format!("# {} on {}\n\n", finding.failure, finding.server);
    let version = shown.and_then(|shown| shown.version.clone()).unwrap_or_else(|| finding.server.clone());
    let claim = chaos::Claim::of(&finding.failure.invariant, "");
    let promise = promises.iter().find(|promise| Some(promise.claim) == claim);
    let _ = writeln!(text, "- Server: {version}");
    let _ = writeln!(
        text,
        "- Found in run {} of seed {}; the schedule fails in {}.",
        finding.number, settled.seed, finding.found
    );
    let _ = writeln!(
        text,
        "- The smallest schedule has {} steps that do something, after {} runs, and fails in {}.",
        finding.moves, finding.runs, finding.smallest
    );
    if finding.real.of > 0 {
        let _ = writeln!(text, "- In real time it fails in {}.", finding.real);
    }
    if let Some(promise) = promise {
        let source = if promise.source.is_empty() { String::new() } else { format!(" ({})", promise.source) };
        let _ = writeln!(text, "- It must not fail: {}{source}.", promise.why);
    }
    text.push_str("\nThe seed repeats the schedule, and not the order in which packets and threads happened to run.\n");
    if let Some(shown) = shown.filter(|shown| !shown.evidence.is_empty()) {
        text.push_str("\n## Evidence\n\n");
        for line in &shown.evidence {
            let _ = writeln!(text, "- {line}");
        }
    }
    let _ = write!(
        text,
        "\n## Schedule\n\nSave it as `smallest.yaml` and run `slotquake run ./smallest.yaml --seed {}`.\n\n```yaml\n{}```\n",
        settled.seed, finding.suite
    );
    text.push_str(BY_HAND);
    text
}

/// How to do without slotquake.
const BY_HAND: &str = "
## With plain servers

Start the masters and replicas of `cluster` with its `config`, and form a cluster of them. While a client writes unique
values and notes which were acknowledged, do the steps in their order: `settle` is a pause; `kill`, `stop` and `pause` are
`kill -KILL`, `-TERM` and `-STOP` of the process that the role means at that moment; `resume` is `kill -CONT`; `start` starts
the server again with its files; `partition` drops packets both ways between the two sides; `power-loss` is `kill -KILL` and
the loss of what was not synchronised. Then wait until the cluster is whole, and read every key.
";
