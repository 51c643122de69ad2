//! Invariants: the nodes, shards and phases that they name must exist, and they must have something to observe.

use super::{Problems, Shape, bounds};
use crate::fault::FaultStep;
use crate::suite::{
    Availability, Invariant, Moment, Only, OpKind, Partition, Refuse, ReplicaLag, ShardSet, Step, Suite,
};
use crate::units::Percent;

pub(super) fn check(suite: &Suite, phases: &[&str], shape: &Shape, problems: &mut Problems) {
    let mut checker = Checker { suite, phases, shape, problems };
    for (index, invariant) in suite.invariants.iter().enumerate() {
        checker.invariant(&format!("invariants[{index}]"), invariant);
    }
}

/// Whether a step can make a master fail over, or a replica fall behind.
fn disturbs(step: &Step) -> bool {
    step.fault().is_some() || matches!(step, Step::Command(_) | Step::Heal(_))
}

/// Whether a step can cut the cluster bus.
fn cuts(step: &Step) -> bool {
    match step {
        Step::Partition(Partition { only, .. }) | Step::Refuse(Refuse { only, .. }) => {
            matches!(only, Only::All | Only::Bus)
        }
        _ => false,
    }
}

struct Checker<'a> {
    suite: &'a Suite,
    phases: &'a [&'a str],
    shape: &'a Shape,
    problems: &'a mut Problems,
}

impl Checker<'_> {
    fn invariant(&mut self, at: &str, invariant: &Invariant) {
        match invariant {
            Invariant::SlotCoverage(coverage) => self.moment(&format!("{at}.slot-coverage.at"), &coverage.at),
            // These have something to observe in every suite.
            Invariant::Agreement(_) | Invariant::Epochs(_) => {}
            Invariant::Role(role) => {
                let at = format!("{at}.role");
                self.note(&format!("{at}.node"), self.shape.refuse_one(&role.node));
                self.note(&format!("{at}.is"), self.shape.refuse_role(&role.node, role.is));
                self.moment(&format!("{at}.at"), &role.at);
            }
            Invariant::ReplicaLag(lag) => {
                let at = format!("{at}.replica-lag");
                self.needs_replicas(&at);
                self.note(&format!("{at}.shard"), lag.shard.and_then(|shard| self.shape.refuse_shard(shard)));
                self.moment(&format!("{at}.at"), &lag.at);
                self.lag(&at, lag);
            }
            Invariant::AckedWrites(_) => self.needs(OpKind::Writes, &format!("{at}.acked-writes")),
            Invariant::Availability(availability) => self.availability(&format!("{at}.availability"), availability),
            Invariant::FailoverTime(failover) => {
                let at = format!("{at}.failover-time");
                self.needs_replicas(&at);
                self.shards(&format!("{at}.shard"), failover.shard);
                if failover.shard == ShardSet::Others {
                    let message = "`others` are the shards that no fault affects, so there is no failover to measure (hint: `promotions: { shard: others, exactly: 0 }`)";
                    self.problems.add(format!("{at}.shard"), message);
                }
                if !self.has_step(disturbs) {
                    let message = "no step begins a fault, so there is no failover to measure (hint: `stop`, `kill`, `pause`, `command` or a network fault)";
                    self.problems.add(at, message);
                }
            }
            Invariant::Promotions(promotions) => self.shards(&format!("{at}.promotions.shard"), promotions.shard),
            Invariant::SplitBrain(split) => {
                let at = format!("{at}.split-brain");
                self.needs_replicas(&at);
                self.needs(OpKind::Writes, &at);
                self.shards(&format!("{at}.shard"), split.shard);
                let divides = |step: &Step| cuts(step) || matches!(step, Step::Pause(_));
                self.needs_step(&at, divides, "no step cuts the cluster bus or pauses a node, so no shard can have two masters (hint: `partition`)");
            }
            Invariant::WriteCutoff(cutoff) => {
                let at = format!("{at}.write-cutoff");
                self.needs(OpKind::Writes, &at);
                self.shards(&format!("{at}.shard"), cutoff.shard);
                if cutoff.shard == ShardSet::Others {
                    let message = "`others` are the shards that no fault affects, so no fault isolates their masters";
                    self.problems.add(format!("{at}.shard"), message);
                }
                let message = "no step cuts the cluster bus, so no master is isolated (hint: `partition`)";
                self.needs_step(&at, cuts, message);
            }
            Invariant::Convergence(_) => {
                let message = "no step begins a network fault, so there is nothing to heal (hint: `agreement`)";
                self.needs_step(
                    &format!("{at}.convergence"),
                    |step| matches!(step.fault(), Some(FaultStep::Links(_))),
                    message,
                );
            }
            Invariant::Redirects(when) => self.only_end(&format!("{at}.redirects.at"), &when.at),
            Invariant::ReplicaReadOnly(when) => {
                self.needs_replicas(&format!("{at}.replica-read-only"));
                self.only_end(&format!("{at}.replica-read-only.at"), &when.at);
            }
        }
    }

    fn availability(&mut self, at: &str, availability: &Availability) {
        self.needs(availability.of, &format!("{at}.of"));
        self.shards(&format!("{at}.shard"), availability.shard);
        if let Some(phase) = &availability.during
            && !self.phases.contains(&phase.as_str())
        {
            self.problems.add(format!("{at}.during"), bounds::unknown_phase(phase, self.phases));
        }
        let bounded = availability.max_outage.is_some() || availability.min_served.is_some();
        match (availability.served, bounded) {
            (None, false) => {
                self.problems.add(at, "availability needs a bound (hint: `max-outage`, `min-served` or `served`)");
            }
            (Some(_), true) => {
                let message = "`served` cannot be combined with `max-outage` or `min-served`";
                self.problems.add(format!("{at}.served"), message);
            }
            _ => {}
        }
    }

    fn lag(&mut self, at: &str, lag: &ReplicaLag) {
        if let Some(above) = lag.rises_above {
            if lag.at == Moment::End {
                let message = "all faults are healed at the end, so no lag rises (hint: `at: throughout`, or a phase)";
                self.problems.add(format!("{at}.rises-above"), message);
            } else if above >= lag.max_bytes {
                let message = format!(
                    "a lag above {above} bytes exceeds `max-bytes`, {} (hint: raise `max-bytes`)",
                    lag.max_bytes
                );
                self.problems.add(format!("{at}.rises-above"), message);
            }
        }
        if lag.back_within.is_some() && !self.has_step(disturbs) {
            let message = "no step begins a fault, so there is no lag to recover from";
            self.problems.add(format!("{at}.back-within"), message);
        }
    }

    fn has_step(&self, is: impl Fn(&Step) -> bool) -> bool {
        self.suite.steps.iter().any(is)
    }

    fn needs_step(&mut self, at: &str, is: impl Fn(&Step) -> bool, message: &str) {
        if !self.has_step(is) {
            self.problems.add(at, message);
        }
    }

    fn note(&mut self, at: &str, message: Option<String>) {
        if let Some(message) = message {
            self.problems.add(at, message);
        }
    }

    fn moment(&mut self, at: &str, moment: &Moment) {
        if let Moment::Phase(phase) = moment
            && !self.phases.contains(&phase.as_str())
        {
            self.problems.add(at, bounds::unknown_phase(phase, self.phases));
        }
    }

    fn only_end(&mut self, at: &str, moment: &Moment) {
        if *moment != Moment::End {
            self.problems
                .add(at, format!("this invariant is checked only at the end, not at \"{moment}\" (hint: `at: end`)"));
        }
    }

    fn shards(&mut self, at: &str, shards: ShardSet) {
        if let ShardSet::One(shard) = shards {
            self.note(at, self.shape.refuse_shard(shard));
        }
    }

    fn needs_replicas(&mut self, at: &str) {
        if self.shape.replicas == 0 {
            self.problems.add(at, "no replica to observe: `replicas-per-master` is 0");
        }
    }

    fn needs(&mut self, kind: OpKind, at: &str) {
        let reads = self.suite.workload.reads;
        let absent = match kind {
            OpKind::Reads => Percent::new(0.0),
            OpKind::Writes => Percent::new(100.0),
        };
        if reads == absent {
            self.problems.add(at, format!("no {kind} to observe: `workload.reads` is {reads}"));
        }
    }
}
