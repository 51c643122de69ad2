//! Drawing schedules, and changing one a little.
//!
//! The draws come from [`Seeded`] rather than from strategies of proptest: a seed must mean the same schedule in every build
//! of a release, and shrinking has to take a fault away together with its heal and to ask a real cluster several times
//! about each candidate, which the trees of a strategy cannot.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Move, Profile, Schedule};
use crate::seeded::Seeded;
use crate::suite::{ReadFrom, Step, WorkloadSpec};
use crate::units::{Percent, Rate, ShardNo, Span};

/// What a profile can ask for: a fault with its end, or a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// SIGKILL, then a start.
    Kill,
    /// SIGTERM, then a start.
    Stop,
    /// SIGSTOP, then SIGCONT.
    Pause,
    /// A host without power, then a start.
    PowerLoss,
    /// SIGKILL, then a start without data.
    Empty,
    /// One node cut off from everybody.
    Isolate,
    /// A master cut off together with half of the clients.
    Minority,
    /// What one node sends vanishes.
    OneWay,
    /// The cluster bus of one node is cut.
    BusOnly,
    /// The replication of one shard is cut.
    Replication,
    /// Packets of one node come late.
    Slow,
    /// A wall clock jumps.
    ClockJump,
    /// A wall clock drifts.
    ClockDrift,
    /// A disk is full.
    DiskFull,
    /// A disk is slow to make data durable.
    DiskSlow,
    /// CLUSTER FAILOVER.
    Failover,
    /// CLUSTER FAILOVER FORCE.
    FailoverForce,
    /// CLUSTER FAILOVER TAKEOVER.
    Takeover,
}

/// The keys of a workload.
const KEYS: u32 = 5000;

/// One in so many schedules asks the cluster to serve again at last, with what is still broken then.
const RESTS: u64 = 5;

/// How long the cluster has for that: detection, and an election after one that was lost (see [`crate::spec::Rules`]).
fn rest(node_timeout: Duration) -> Span {
    Span(node_timeout * 7 + Duration::from_secs(5))
}

/// A schedule within the limits of a profile, on a server.
pub fn draw(profile: &Profile, server: &str, random: &mut Seeded) -> Schedule {
    // The smaller of two: small clusters show most of what large ones do, and take less of a machine.
    let between = |random: &mut Seeded, (least, most): (u16, u16)| {
        let mut one = || least + random.below(u64::from(most - least) + 1) as u16;
        one().min(one())
    };
    let masters = between(random, profile.masters);
    let replicas = between(random, profile.replicas);
    let config = profile.config.iter().map(|(name, values)| (name.clone(), pick(random, values).clone())).collect();
    let workload = WorkloadSpec {
        rate: Rate { per_second: *pick(random, &profile.rates) },
        // With many keys, few are written again before anybody could see that a write was lost.
        keys: Some(KEYS),
        reads: Percent::new(f64::from(*pick(random, &profile.reads))),
        read_from: *pick(random, &[ReadFrom::Master, ReadFrom::ReplicaPreferred]),
        ..WorkloadSpec::default()
    };
    let mut schedule = Schedule {
        server: server.to_owned(),
        masters,
        replicas,
        config,
        workload,
        moves: Vec::new(),
        rest: Span::default(),
    };
    let (least, most) = profile.moves;
    // The servers promise service only to a majority that nothing hits, so these have few moves.
    let rests = random.below(RESTS) == 0;
    let most = if rests { most.min(least + 1) } else { most };
    let wanted = least + random.below((most - least) as u64 + 1) as usize;
    // Moves that would be too many at once are drawn again, but not for ever.
    for _ in 0..wanted * 4 {
        if schedule.moves.len() < wanted {
            add(&mut schedule, profile, random);
        }
    }
    if rests {
        schedule.rest = rest(schedule.node_timeout());
        // What lasts for ever is a minority at most: one process.
        if let Some(last) = schedule.moves.last_mut().filter(|last| last.step.action().is_some()) {
            last.undo = None;
        }
    }
    schedule
}

/// A schedule that differs from another a little: a move more or less, at another time, for longer or shorter, or of
/// another kind.
pub fn mutate(schedule: &Schedule, profile: &Profile, random: &mut Seeded) -> Schedule {
    let mut changed = schedule.clone();
    for _ in 0..=random.below(2) {
        let at = if changed.moves.is_empty() { 0 } else { random.below(changed.moves.len() as u64) as usize };
        match random.below(4) {
            0 if changed.moves.len() > 1 => _ = changed.moves.remove(at),
            1 if !changed.moves.is_empty() => {
                let shift = Span(time(random, changed.node_timeout(), profile.window));
                changed.moves[at].at = shift;
            }
            2 if !changed.moves.is_empty() => {
                let lasts = lasts(random, changed.node_timeout(), profile.longest);
                if let Some(undo) = &mut changed.moves[at].undo {
                    undo.0 = lasts;
                }
            }
            _ => add(&mut changed, profile, random),
        }
    }
    changed.moves.sort_by_key(|each| each.at);
    if profile.admits(&changed) { changed } else { schedule.clone() }
}

fn pick<'a, T>(random: &mut Seeded, from: &'a [T]) -> &'a T {
    &from[random.below(from.len() as u64) as usize]
}

/// A moment of the window, in steps of a fiftieth of a node timeout.
fn time(random: &mut Seeded, node_timeout: Duration, window: u32) -> Duration {
    node_timeout / 50 * random.below(u64::from(window) * 50 + 1) as u32
}

/// Well below the node timeout, about it, or long enough for a failover.
fn lasts(random: &mut Seeded, node_timeout: Duration, longest: u32) -> Span {
    let longest = f64::from(longest);
    let (from, to) = *pick(random, &[(0.04, 0.6), (0.6, 1.6), (1.6, longest.max(1.6)), (1.6, longest.max(1.6))]);
    let share = (from + (to - from) * random.fraction()).min(longest);
    Span(node_timeout / 50 * (share * 50.0) as u32)
}

/// Adds a move, unless too many would be in force at once, or it is impossible in the schedule's shape.
fn add(schedule: &mut Schedule, profile: &Profile, random: &mut Seeded) {
    let total: u64 = profile.faults.values().map(|&weight| u64::from(weight)).sum();
    let mut left = random.below(total.max(1));
    let act = profile.faults.iter().find_map(|(&act, &weight)| {
        let found = left < u64::from(weight);
        left = left.saturating_sub(weight.into());
        found.then_some(act)
    });
    let Some(act) = act else { return };
    let at = Span(time(random, schedule.node_timeout(), profile.window));
    let lasts = lasts(random, schedule.node_timeout(), profile.longest);
    let shard = ShardNo(1 + random.below(schedule.masters.into()) as u16);
    let name = (1..=schedule.moves.len() + 1)
        .map(|number| format!("{}-{number}", word(act)))
        .find(|name| !schedule.moves.iter().any(|each| named(each, name)));
    let Some((step, undo)) = steps(act, schedule, shard, &name.unwrap_or_default(), random) else { return };
    let read = |text: &str| Step::try_from(text).unwrap_or_else(|error| panic!("`{text}`: {error}"));
    let added = Move { at, step: read(&step), undo: undo.map(|undo| (lasts, read(&undo))) };
    let mut changed = schedule.clone();
    changed.moves.push(added);
    changed.moves.sort_by_key(|each| each.at);
    let fits = Profile { moves: (0, usize::MAX), ..profile.clone() }.admits(&changed);
    if fits {
        *schedule = changed;
    }
}

fn named(each: &Move, name: &str) -> bool {
    each.step.fault().and_then(|fault| fault.name()).flatten() == Some(name)
}

/// The begin of the name of a fault.
fn word(act: Act) -> &'static str {
    match act {
        Act::Isolate | Act::Minority | Act::OneWay | Act::BusOnly | Act::Replication => "cut",
        Act::Slow => "late",
        Act::ClockJump | Act::ClockDrift => "wrong",
        Act::DiskFull | Act::DiskSlow => "sick",
        Act::Kill
        | Act::Stop
        | Act::Pause
        | Act::PowerLoss
        | Act::Empty
        | Act::Failover
        | Act::FailoverForce
        | Act::Takeover => "none",
    }
}

/// The step of an act and the one that undoes it, as in a suite; None where it needs a replica and there is none.
fn steps(
    act: Act,
    schedule: &Schedule,
    shard: ShardNo,
    name: &str,
    random: &mut Seeded,
) -> Option<(String, Option<String>)> {
    let has_replicas = schedule.replicas > 0;
    // Masters matter more.
    let role = if has_replicas && random.below(4) == 0 { "replica" } else { "master" };
    let node = format!("{shard}/{role}");
    let up = Some(format!("start: {shard}/down"));
    let heal = || Some(format!("heal: {name}"));
    let cut = |sides: &str, more: &str| (format!("partition: {{ between: {sides}{more}, name: {name} }}"), heal());
    let failover =
        |how: &str| (format!("command: {{ send: CLUSTER FAILOVER{how}, to: {shard}/replica, errors: allow }}"), None);
    Some(match act {
        Act::Kill => (format!("kill: {node}"), up),
        Act::Stop => (format!("stop: {node}"), up),
        Act::Pause => (format!("pause: {node}"), Some(format!("resume: {shard}/paused"))),
        Act::PowerLoss if has_replicas && random.below(2) == 0 => (format!("power-loss: {shard}"), up),
        Act::PowerLoss => (format!("power-loss: {node}"), up),
        Act::Empty => (format!("kill: {node}"), Some(format!("start: {{ node: {shard}/down, data: lost }}"))),
        Act::Isolate => cut(&format!("[{node}, others]"), ""),
        Act::Minority => cut(&format!("[[{shard}/master, half-clients], others]"), ""),
        Act::OneWay => cut(&format!("[{node}, others]"), ", one-way: true"),
        Act::BusOnly => cut(&format!("[{node}, others]"), ", only: bus"),
        Act::Replication if has_replicas => cut(&format!("[{shard}/master, {shard}/replicas]"), ", only: replication"),
        Act::Slow => {
            let latency = pick(random, &["50ms", "200ms", "500ms"]);
            (format!("slow: {{ between: [{node}, others], latency: {latency}, name: {name} }}"), heal())
        }
        Act::ClockJump => {
            let jump = pick(random, &["1h", "-1h", "10s", "-10s", "1s", "-1s"]);
            (format!("clock: {{ node: {node}, jump: {jump}, name: {name} }}"), heal())
        }
        Act::ClockDrift => {
            let drift = pick(random, &["10%", "-10%", "50%", "-50%"]);
            (format!("clock: {{ node: {node}, drift: {drift}, name: {name} }}"), heal())
        }
        Act::DiskFull => {
            let files = pick(random, &["all", "aof", "nodes.conf"]);
            (format!("disk: {{ node: {node}, full: true, files: {files}, name: {name} }}"), heal())
        }
        Act::DiskSlow => (format!("disk: {{ node: {node}, slow: 500ms, on: fsync, name: {name} }}"), heal()),
        Act::Failover if has_replicas => failover(""),
        Act::FailoverForce if has_replicas => failover(" FORCE"),
        Act::Takeover if has_replicas => failover(" TAKEOVER"),
        Act::Replication | Act::Failover | Act::FailoverForce | Act::Takeover => return None,
    })
}
