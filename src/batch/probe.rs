//! Finds the highest speed that this machine can keep now: a short run of the same shape, with the same workload, in which
//! slotquake is not late.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;

use super::{Job, Settings, Stop};
use crate::cluster::ScratchDir;
use crate::history::{EventKind, History};
use crate::run::{self, BackendSettings, Notice, Options};
use crate::speed::{self, Speed};
use crate::suite::{Invariant, Moment, SlotCoverage, Step};
use crate::units::Span;

/// The highest speed that `auto` chooses. Beyond it, times were not compared with those of real time.
pub const AUTO_MAX: Speed = Speed::TEN;

/// How long operations are issued in a probe, in the time of the cluster.
const WATCHED: Span = Span::secs(4);

/// How late one of a hundred operations may be issued in a probe. A stall of twice as much is recorded in a run.
const LATE_NS: u64 = 50_000_000;

/// The run that needs the machine most.
pub fn busiest(jobs: &[Job]) -> Option<&Job> {
    jobs.iter().max_by_key(|job| (job.plan.nodes.len(), job.plan.workload.rate.per_second))
}

/// The highest speed up to [`AUTO_MAX`] at which as many runs like this one as go side by side are not late, and why no
/// higher one. The process must have begun at a speed that is no lower.
pub async fn highest_speed(like: &Job, runs: usize, settings: &Settings, stop: &Stop) -> (Speed, String) {
    let mut speed = AUTO_MAX.min(like.speed);
    let mut why = String::new();
    while !speed.is_real() && stop.borrow().is_none() {
        match try_at(speed, like, runs.min(settings.lanes.at(speed)), settings).await {
            Ok(()) => break,
            Err(error) => why = format!("at speed {speed}, {error}"),
        }
        speed = speed.halved();
    }
    (speed, why)
}

/// Whether probes are on time at a speed. The error says why not.
async fn try_at(speed: Speed, like: &Job, runs: usize, settings: &Settings) -> Result<(), String> {
    speed::change(speed).map_err(|error| error.to_string())?;
    let probes = join_all((0..runs).map(|_| probe(like, settings))).await;
    probes.into_iter().find_map(Result::err).map_or(Ok(()), Err)
}

async fn probe(like: &Job, settings: &Settings) -> Result<(), String> {
    let mut plan = like.plan.clone();
    plan.steps = vec![Step::Settle(WATCHED)];
    plan.invariants = vec![Invariant::SlotCoverage(SlotCoverage { at: Moment::End })];
    let BackendSettings::Local { scratch, .. } = &settings.environment.backend else {
        return Err("only servers that slotquake starts can be faster".to_owned());
    };
    let folder = scratch.as_deref().map_or_else(ScratchDir::create, ScratchDir::create_in);
    let folder = folder.map_err(|error| format!("there is no folder for a probe: {error}"))?;
    let (_running, stop) = watch::channel(None);
    let options = Options {
        folder: folder.path().to_owned(),
        keep: false,
        backend: settings.environment.backend.clone(),
        other_servers: like.other_servers.clone(),
        stop,
        watcher: Arc::new(|_: Notice<'_>| ()),
    };
    let ran = Box::pin(run::run(plan, like.server.clone(), options)).await;
    lateness(&ran.map_err(|error| error.to_string())?)
}

/// Whether slotquake was on time in a run. The error says how late it was.
fn lateness(history: &History) -> Result<(), String> {
    let begun = history.events.iter().skip_while(|event| !matches!(event.kind, EventKind::Booted { .. }));
    let stalls = begun.filter_map(|event| match event.kind {
        EventKind::Stalled { by_ms } => Some(by_ms),
        _ => None,
    });
    if let Some(by_ms) = stalls.reduce(f64::max) {
        return Err(format!("slotquake stalled for {by_ms:.0} ms"));
    }
    let mut late: Vec<u64> = history.ops.iter().map(|op| op.invoke_ns().saturating_sub(op.due_ns())).collect();
    late.sort_unstable();
    let late_ns = late.get(late.len() * 99 / 100).copied().unwrap_or(u64::MAX);
    if late_ns > LATE_NS {
        return Err(format!("one operation of a hundred was issued over {:.0} ms late", late_ns as f64 / 1e6));
    }
    Ok(())
}
