//! Drawing schedules, and changing one a little.
//!
//! The draws come from [`Seeded`] rather than from strategies of proptest: a seed must mean the same schedule in every build
//! of a release, and shrinking has to take a fault away together with its heal and to ask a real cluster several times
//! about each candidate, which the trees of a strategy cannot.

use std::time::Duration;

use super::{Move, Profile, Schedule};
use crate::fault::FaultKind;
use crate::seeded::Seeded;
use crate::suite::{DataKind, Phased, ReadFrom, Step, When, WorkloadSpec};
use crate::target::{Member, Owner, Target};
use crate::units::{Bound, Percent, Rate, ShardNo, Span};

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
        kinds: pick_any(random, &profile.kinds).filter(|kinds| kinds.share(DataKind::Register) < 1.0),
        retries: pick_any(random, &profile.retries).unwrap_or(0),
        timeout: pick_any(random, &profile.timeouts).unwrap_or(WorkloadSpec::default().timeout),
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
    // What waits for another move hits the same shard, which is promised nothing then.
    let profile = &Profile { triggers: if rests { 0 } else { profile.triggers }, ..profile.clone() };
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
        let ends = |last: &&mut Move| last.step.action().is_some() && !last.leaves_the_master();
        if let Some(last) = schedule.moves.last_mut().filter(ends) {
            (last.undo, last.until) = (None, None);
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
        match random.below(5) {
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
            3 if !changed.moves.is_empty() => retrigger(&mut changed, at, profile, random),
            _ => add(&mut changed, profile, random),
        }
    }
    changed.moves.sort_by_key(|each| each.at);
    if profile.admits(&changed) { changed } else { schedule.clone() }
}

/// One of a list; None of an empty one.
fn pick_any<T: Clone>(random: &mut Seeded, from: &[T]) -> Option<T> {
    (!from.is_empty()).then(|| pick(random, from).clone())
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
        .map(|number| format!("{}-{number}", act.name()))
        .find(|name| !schedule.moves.iter().any(|each| named(each, name)));
    let Some((step, undo)) = act.steps(shard, schedule.replicas > 0, &name.unwrap_or_default(), random) else { return };
    let read = |text: &str| Step::try_from(text).unwrap_or_else(|error| panic!("`{text}`: {error}"));
    let added = Move::new(at, read(&step), undo.map(|undo| (lasts, read(&undo))));
    let mut changed = schedule.clone();
    changed.moves.push(added);
    if random.below(100) < profile.triggers.into() {
        let last = changed.moves.len() - 1;
        retrigger(&mut changed, last, profile, random);
    }
    changed.moves.sort_by_key(|each| each.at);
    let fits = Profile { moves: (0, usize::MAX), ..profile.clone() }.admits(&changed);
    if fits {
        *schedule = changed;
    }
}

/// Lets a move begin or end with what a log tells: as close to a phase of a failover as can be.
fn retrigger(schedule: &mut Schedule, index: usize, profile: &Profile, random: &mut Seeded) {
    (schedule.moves[index].on, schedule.moves[index].until) = (None, None);
    if schedule.replicas == 0 {
        return;
    }
    let node_timeout = schedule.node_timeout();
    let Some(&shard) = schedule.moves[index].shards().first() else { return };
    let after = Span::millis(*pick(random, &[0, 0, 5, 20, 50, 200, 1000]));
    // Detection and an election that is won: see [`crate::spec::Rules`]. Nobody waits for one that was lost.
    let within = Span((node_timeout * profile.longest.min(2)).saturating_sub(after.0));
    let of = |member| Target::Member(Owner::Shard(shard), member);
    let when = |event, member| When { event, of: of(member), after, within: Bound::Fixed(within) };
    if random.below(3) > 0 && may_be_replaced(&schedule.moves[index]) {
        let each = &mut schedule.moves[index];
        each.until = Some(when(Phased::Promoted, Member::Replicas));
        if let Some((lasts, _)) = &mut each.undo {
            *lasts = Span::default();
        }
        return;
    }
    // What follows the begin of another move on this shard.
    let causes: Vec<(Span, bool)> = schedule
        .moves
        .iter()
        .enumerate()
        .filter(|(other, each)| *other != index && each.shards().contains(&shard) && may_be_replaced(each))
        .map(|(_, each)| (each.at, each.until.is_some()))
        .collect();
    if let Some((at, has_ended)) = pick_any(random, &causes) {
        let (event, member) = *pick(random, if has_ended { &BACK } else { &AWAY });
        let each = &mut schedule.moves[index];
        // The lines count from the latest step on, so it follows its cause at once.
        each.at = Span(at.0 + Duration::from_millis(1));
        each.on = Some(when(event, member));
    }
}

/// What a log tells while a master is away, and of whom.
const AWAY: [(Phased, Member); 4] = [
    (Phased::Fail, Member::Master),
    (Phased::ElectionStarted, Member::Replicas),
    (Phased::VoteGranted, Member::Replicas),
    (Phased::Promoted, Member::Replicas),
];

/// The same when it comes back, and is a replica.
const BACK: [(Phased, Member); 3] =
    [(Phased::Demoted, Member::Every), (Phased::SyncStarted, Member::Every), (Phased::SyncFinished, Member::Every)];

/// Whether a move may lead to a failover of its shard: it silences the master for a while.
fn may_be_replaced(each: &Move) -> bool {
    let names_master =
        each.targets().iter().any(|target| matches!(target, Target::Member(_, Member::Master | Member::Every)));
    let is_failover = each.kind().is_none();
    let silences = each.kind().is_some_and(|kind| {
        kind.ends_process() || matches!(kind, FaultKind::Pause | FaultKind::Partition) && !each.leaves_the_master()
    });
    names_master && (silences && each.undo.is_some() || is_failover)
}

fn named(each: &Move, name: &str) -> bool {
    each.step.fault().and_then(|fault| fault.name()).flatten() == Some(name)
}
