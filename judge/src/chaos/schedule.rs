//! A schedule: a cluster, a workload, and moves, each a fault with its end. It is written as an ordinary suite.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::fault::{FaultKind, ProcessEffect};
use crate::suite::{
    AckedWrites, Allowed, ClusterSpec, Does, IfImpossible, Invariant, SpeedSetting, Step, Suite, When, WorkloadSpec,
    default_max_duration,
};
use crate::target::{Group, Member, Owner, Target};
use crate::units::{Bound, Directive, ShardNo, Span};

/// The phase of the moves.
const CHAOS: &str = "chaos";

/// The phase in which nothing moves, and what is still broken stays so.
const REST: &str = "rest";

/// The phase in which the cluster must serve again.
pub const AFTER: &str = "after";

/// How long the workload runs undisturbed before the first move.
const BASELINE: Span = Span::secs(2);

/// How long it runs on after the last move.
const TAIL: Span = Span::secs(1);

/// How long the phase lasts in which the cluster must serve again.
const AFTER_LASTS: Span = Span::secs(3);

/// What is done to a cluster, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The server: `redis:6.2`.
    pub server: String,
    /// Masters at boot.
    pub masters: u16,
    /// Replicas of each master at boot.
    pub replicas: u16,
    /// Directives beside the defaults.
    pub config: BTreeMap<String, Directive>,
    /// The workload.
    pub workload: WorkloadSpec,
    /// The moves, by their times.
    pub moves: Vec<Move>,
    /// How long nothing moves afterwards, before the cluster must serve again; 0 for schedules that do not ask for that.
    pub rest: Span,
}

/// A fault or a command, and what undoes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// When, from the begin of the first phase after the baseline, without the time that earlier moves wait for logs.
    pub at: Span,
    /// The line of a log for which it waits then; None if it waits for none.
    pub on: Option<When>,
    /// What is done.
    pub step: Step,
    /// The line of a log for which its end waits, after `undo`'s time.
    pub until: Option<When>,
    /// How long it lasts, and what undoes it; None for what lasts for ever, or needs no end.
    pub undo: Option<(Span, Step)>,
}

/// The longest that a step waits for a line of a log, when that is not stated.
const WAITS: Duration = Duration::from_secs(60);

/// The longest that a step waits for a line of a log.
fn waits(when: Option<&When>) -> Duration {
    when.map_or(Duration::ZERO, |when| {
        let within = match when.within {
            Bound::Fixed(within) => within.0,
            Bound::Spec => WAITS,
        };
        within + when.after.0
    })
}

impl Move {
    /// A move at its time, for its time.
    pub fn new(at: Span, step: Step, undo: Option<(Span, Step)>) -> Self {
        Self { at, on: None, step, until: None, undo }
    }

    /// How long it lasts at most; 0 for what is never undone, and for what needs no end.
    pub fn lasts(&self) -> Duration {
        self.undo.as_ref().map_or(Duration::ZERO, |(lasts, _)| lasts.0 + waits(self.until.as_ref()))
    }

    /// When it is undone, or else when it is done, at the latest.
    pub fn end(&self) -> Span {
        Span(self.at.0 + waits(self.on.as_ref()) + self.lasts())
    }

    /// How many lines of logs it waits for.
    pub fn triggers(&self) -> usize {
        usize::from(self.on.is_some()) + usize::from(self.until.is_some())
    }

    /// Every target of the move, of what it waits for and of its end, to be changed in place.
    pub fn targets_mut(&mut self) -> Vec<&mut Target> {
        let undo = self.undo.iter_mut().flat_map(|(_, undo)| undo.targets_mut());
        let whens = self.on.iter_mut().chain(&mut self.until).map(|when| &mut when.of);
        self.step.targets_mut().into_iter().chain(undo).chain(whens).collect()
    }

    /// The kind of the fault; None for a command.
    pub fn kind(&self) -> Option<FaultKind> {
        self.step.fault().map(|fault| fault.kind())
    }

    /// The targets of the step, in their order.
    pub fn targets(&self) -> Vec<Target> {
        self.step.clone().targets_mut().into_iter().map(|target| target.clone()).collect()
    }

    /// The shards whose nodes it names.
    pub fn shards(&self) -> BTreeSet<ShardNo> {
        let named = |target: &Target| match target {
            Target::Member(Owner::Shard(shard), _) => Some(*shard),
            Target::Member(Owner::Key(_) | Owner::Slot(_) | Owner::Any, _)
            | Target::Node(_)
            | Target::Group(_)
            | Target::Clients(_)
            | Target::Others => None,
        };
        self.targets().iter().filter_map(named).collect()
    }

    /// Whether it names a set of nodes across shards.
    pub fn is_wide(&self) -> bool {
        let is_group = |target: &Target| matches!(target, Target::Group(group) if *group != Group::Replicas);
        self.targets().iter().any(is_group)
    }

    /// Whether it never ends by a step of its own though it is a fault.
    pub fn lasts_for_ever(&self) -> bool {
        self.undo.is_none() && self.kind().is_some()
    }

    /// Whether its end brings only the replicas of a shard back, and leaves the master as it is.
    pub fn leaves_the_master(&self) -> bool {
        let is_replica = |target: &Target| matches!(target, Target::Member(_, Member::Replica | Member::Replicas));
        let undo = self.undo.as_ref().and_then(|(_, undo)| undo.action());
        self.names_every() && undo.is_some_and(|(_, back)| back.0.iter().all(is_replica))
    }

    fn names_every(&self) -> bool {
        self.targets().iter().any(|target| matches!(target, Target::Member(_, Member::Every)))
    }

    /// What it leaves of the processes that it hits; None if it leaves them alone.
    fn effect(&self) -> Option<ProcessEffect> {
        self.step.fault()?.action()?.0.leaves()
    }
}

impl Schedule {
    /// The value of a directive, as set or by default.
    pub fn directive<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.config.get(name).map_or(default, |value| value.0.as_str())
    }

    /// `cluster-node-timeout`.
    pub fn node_timeout(&self) -> Duration {
        Duration::from_millis(self.directive("cluster-node-timeout", "5000").parse().unwrap_or(5000))
    }

    /// The shards, in order.
    pub fn shards(&self) -> impl Iterator<Item = ShardNo> + use<> {
        (1..=self.masters).map(ShardNo)
    }

    /// The schedule as a suite, with what it must keep.
    pub fn suite(&self, name: &str, about: &str, invariants: Vec<Invariant>) -> Suite {
        // A run with nothing to judge would be no run.
        let measured = || vec![AckedWrites { may_lose: Allowed::Measured }.into()];
        Suite {
            name: name.to_owned(),
            about: about.to_owned(),
            cluster: ClusterSpec {
                server: self.server.clone(),
                masters: self.masters,
                replicas_per_master: self.replicas.into(),
                config: self.config.clone(),
                ..ClusterSpec::default()
            },
            workload: self.workload.clone(),
            steps: self.steps(),
            invariants: if invariants.is_empty() { measured() } else { invariants },
            recover_within: Span(self.node_timeout() * 12 + Duration::from_secs(60)),
            max_duration: default_max_duration(),
            if_impossible: IfImpossible::Skip,
            // Without it a campaign would take ten times as long.
            speed: Some(SpeedSetting::Auto),
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut timed: Vec<(Duration, Option<&When>, &Step)> = Vec::new();
        for each in &self.moves {
            timed.push((each.at.0, each.on.as_ref(), &each.step));
            timed.extend(each.undo.iter().map(|(lasts, undo)| (each.at.0 + lasts.0, each.until.as_ref(), undo)));
        }
        timed.sort_by_key(|(at, ..)| *at);
        let phase = |name: &str| Step::Phase(name.to_owned());
        let mut steps = vec![phase("baseline"), Step::Settle(BASELINE), phase(CHAOS)];
        let mut now = Duration::ZERO;
        for (at, when, step) in timed {
            if at > now {
                steps.push(Step::Settle(Span(at.saturating_sub(now))));
                now = at;
            }
            steps.extend(when.cloned().map(Step::When));
            steps.push(step.clone());
        }
        steps.push(Step::Settle(TAIL));
        if !self.rest.0.is_zero() {
            steps.extend([phase(REST), Step::Settle(self.rest), phase(AFTER), Step::Settle(AFTER_LASTS)]);
        }
        steps
    }

    /// How many settings of the workload that a profile draws differ from the defaults, beside its load.
    fn odd_settings(&self) -> usize {
        let WorkloadSpec { kinds, retries, timeout, .. } = &self.workload;
        let odd = [kinds.is_some(), *retries > 0, *timeout != WorkloadSpec::default().timeout];
        odd.into_iter().filter(|is_odd| *is_odd).count()
    }

    /// The schedule of a suite that [`Self::suite`] made; None for one that it cannot have made.
    pub fn of(suite: &Suite) -> Option<Self> {
        let begin = suite.steps.iter().position(|step| *step == Step::Phase(CHAOS.to_owned()))? + 1;
        let rest_at = suite.steps.iter().position(|step| *step == Step::Phase(REST.to_owned()));
        let rest = match rest_at.map(|at| suite.steps.get(at + 1)) {
            None => Span::default(),
            Some(Some(Step::Settle(rest))) => *rest,
            Some(_) => return None,
        };
        let end = rest_at.unwrap_or(suite.steps.len()).checked_sub(1).filter(|end| *end >= begin)?;
        let mut now = Duration::ZERO;
        let mut moves: Vec<Move> = Vec::new();
        let mut ends: Vec<End> = Vec::new();
        let mut waiting: Option<When> = None;
        for step in &suite.steps[begin..end] {
            match step.does() {
                Does::Settle(span) => now += span.0,
                Does::When(when) => waiting = Some(when.clone()),
                Does::Fault(_) | Does::Command(_) => {
                    moves.push(Move { on: waiting.take(), ..Move::new(Span(now), step.clone(), None) });
                }
                Does::Undo(..) | Does::Heal(_) => {
                    ends.push(End { at: now, until: waiting.take(), step: step.clone(), after: moves.len() });
                }
                Does::Phase(_)
                | Does::Corrupt(_)
                | Does::Await(_)
                | Does::Expect(_)
                | Does::Exec(_)
                | Does::Random(_) => return None,
            }
        }
        let numbers = suite.cluster.replicas_per_master.of_each(suite.cluster.masters);
        let mut schedule = Self {
            server: suite.cluster.server.clone(),
            masters: suite.cluster.masters,
            replicas: *numbers.first()?,
            config: suite.cluster.config.clone(),
            workload: suite.workload.clone(),
            moves,
            rest,
        };
        schedule.give_ends(&ends, &suite.steps).then_some(schedule)
    }

    /// Gives each end to a move that it undoes, so that the steps come out as they are written: several moves of a shard may
    /// end by the same step. Returns whether there is a way.
    fn give_ends(&mut self, ends: &[End], steps: &[Step]) -> bool {
        let Some((first, rest)) = ends.split_first() else { return self.steps() == steps };
        for index in (0..first.after).rev() {
            let each = &mut self.moves[index];
            if each.undo.is_some() || !undoes(&first.step, each) {
                continue;
            }
            each.undo = Some((Span(first.at.saturating_sub(each.at.0)), first.step.clone()));
            each.until.clone_from(&first.until);
            if self.give_ends(rest, steps) {
                return true;
            }
            (self.moves[index].undo, self.moves[index].until) = (None, None);
        }
        false
    }

    /// The number of faults and commands, of nodes, of what differs from the defaults, and of logs that are waited for; the
    /// load, and the times: what shrinking makes smaller, in the order of its importance.
    pub fn size(&self) -> [u128; 7] {
        let length = self.moves.iter().map(|each| each.end().0).max().unwrap_or_default() + self.rest.0;
        let lasting = self.moves.iter().map(Move::lasts).sum::<Duration>();
        [
            self.moves.len() as u128,
            u128::from(self.masters) * u128::from(self.replicas + 1),
            (self.config.len() + self.odd_settings()) as u128,
            self.moves.iter().map(Move::triggers).sum::<usize>() as u128,
            u128::from(self.workload.rate.per_second) + u128::from(self.workload.clients),
            length.as_millis(),
            lasting.as_millis(),
        ]
    }
}

/// A step of a suite that undoes a move.
struct End {
    at: Duration,
    until: Option<When>,
    step: Step,
    /// The number of moves before it.
    after: usize,
}

/// Whether a step undoes a move.
fn undoes(undo: &Step, begun: &Move) -> bool {
    match undo.does() {
        Does::Heal(name) => begun.step.fault().and_then(|fault| fault.name()).flatten() == Some(name),
        Does::Undo(_, targets, _) => {
            let hit = |target: &Target| match target {
                Target::Member(_, Member::Down) => begun.effect() == Some(ProcessEffect::Gone),
                Target::Member(_, Member::Paused) => begun.effect() == Some(ProcessEffect::Frozen),
                Target::Member(_, Member::Replicas) => {
                    begun.effect() == Some(ProcessEffect::Gone) && begun.names_every()
                }
                Target::Member(_, Member::Master | Member::Replica | Member::Every)
                | Target::Node(_)
                | Target::Group(_)
                | Target::Clients(_)
                | Target::Others => false,
            };
            let shards = Move::new(Span::default(), undo.clone(), None).shards();
            targets.0.iter().all(hit) && shards == begun.shards()
        }
        Does::Phase(_)
        | Does::Settle(_)
        | Does::Fault(_)
        | Does::Corrupt(_)
        | Does::Command(_)
        | Does::Await(_)
        | Does::Expect(_)
        | Does::Exec(_)
        | Does::When(_)
        | Does::Random(_) => false,
    }
}
