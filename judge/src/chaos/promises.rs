//! What the servers promise under a schedule: [`RULES`], to be read from top to bottom. The first rule of a claim that fits
//! decides. What no rule covers is unknown: it is counted, and it never passes.
//!
//! A rule goes by the schedule alone, so it has to be true however roles change meanwhile. Where that is not sure, it gives
//! way to one that allows more.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::schedule::AFTER;
use super::{Move, Schedule};
use crate::fault::{FaultKind, FaultStep, Only};
use crate::suite::{
    AckedWrites, Agreement, Allowed, Availability, ClientSet, DataKind, Epochs, ExactlyOnce, Invariant, Moment, OpKind,
    Redirects, ReplicaLag, ReplicaReadOnly, ShardSet, SlotCoverage, Step,
};
use crate::target::{Clients, Group, Member, Target};
use crate::units::{Bound, ShardNo, Span};

/// What a cluster may promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// No acknowledged write is lost.
    AckedWrites,
    /// No write of a counter or a list takes effect twice.
    ExactlyOnce,
    /// After the last heal, all slots are covered, all nodes agree, and replicas have caught up.
    Whole,
    /// No two masters have one configEpoch, and none falls.
    Epochs,
    /// Shards that no fault hits serve throughout.
    OthersServe,
    /// Every shard serves again some time after the last change, with what is still broken then.
    ServesAgain,
    /// No server ends by itself.
    Servers,
}

impl Claim {
    /// Every claim.
    pub const ALL: [Self; 7] = [
        Self::AckedWrites,
        Self::ExactlyOnce,
        Self::Whole,
        Self::Epochs,
        Self::OthersServe,
        Self::ServesAgain,
        Self::Servers,
    ];

    /// Its name in profiles and reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::AckedWrites => "acked-writes",
            Self::ExactlyOnce => "exactly-once",
            Self::Whole => "whole",
            Self::Epochs => "epochs",
            Self::OthersServe => "others-serve",
            Self::ServesAgain => "serves-again",
            Self::Servers => "servers",
        }
    }

    /// The claim that an invariant of a schedule's suite, or of every run, stands for. None for what says more about
    /// slotquake than about the servers.
    pub fn of(invariant: &str, settings: &str) -> Option<Self> {
        Some(match invariant {
            "acked-writes" => Self::AckedWrites,
            "exactly-once" => Self::ExactlyOnce,
            "slot-coverage" | "agreement" | "replica-lag" | "redirects" | "replica-read-only" | "recovery" => {
                Self::Whole
            }
            "epochs" => Self::Epochs,
            "availability" if settings.contains(&format!("during {AFTER}")) => Self::ServesAgain,
            "availability" => Self::OthersServe,
            "servers" => Self::Servers,
            _ => return None,
        })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How a claim stands under a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stand {
    /// It must hold: the servers promise it.
    Promised,
    /// It must hold because the profile says so, whatever the servers promise.
    Forbidden,
    /// It may fail: the servers say so.
    Allowed,
    /// No rule covers it.
    Unknown,
}

impl Stand {
    /// Whether a run on which it fails has failed.
    pub fn must_hold(self) -> bool {
        match self {
            Self::Promised | Self::Forbidden => true,
            Self::Allowed | Self::Unknown => false,
        }
    }
}

/// A claim, how it stands, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Promise {
    /// The claim.
    pub claim: Claim,
    /// How it stands.
    pub stand: Stand,
    /// Why, in a sentence.
    pub why: &'static str,
    /// Where that is written or was measured; empty if no rule decided.
    pub source: &'static str,
}

/// A rule of the servers'.
struct Rule {
    claim: Claim,
    when: fn(&Scene<'_>) -> bool,
    gives: Stand,
    why: &'static str,
    source: &'static str,
}

const SPEC: &str = "Redis cluster specification, Write safety";
const PERSISTENCE: &str = "Redis persistence, append-only file";

/// The rules. See [`Scene`] for what they ask.
const RULES: &[Rule] = &[
    Rule {
        claim: Claim::AckedWrites,
        when: |scene| scene.takes_data(),
        gives: Stand::Allowed,
        why: "a node comes back without its data, and may still be the master",
        source: "Redis cluster specification; valkey-io/valkey#579",
    },
    Rule {
        claim: Claim::AckedWrites,
        when: |scene| scene.may_replace_a_master(),
        gives: Stand::Allowed,
        why: "a master may be replaced, and replication is asynchronous",
        source: SPEC,
    },
    Rule {
        claim: Claim::AckedWrites,
        when: |scene| scene.may_crash_a_master() && scene.directive("appendfsync", "everysec") != "always",
        gives: Stand::Allowed,
        why: "a master may crash, and its file is synchronised once a second",
        source: PERSISTENCE,
    },
    Rule {
        claim: Claim::AckedWrites,
        when: |scene| !scene.has_clocks() && !scene.has_disks(),
        gives: Stand::Promised,
        why: "no master is replaced but by CLUSTER FAILOVER, which waits for the replica, and what a master has acknowledged is on its disk",
        source: "Redis commands, CLUSTER FAILOVER; Redis persistence",
    },
    Rule {
        claim: Claim::ExactlyOnce,
        when: |scene| scene.schedule.workload.retries > 0,
        gives: Stand::Allowed,
        why: "clients send a write again that had no answer, and a server cannot tell it from another one",
        source: "Redis commands, INCR; redis-rs, cluster_async retries",
    },
    Rule {
        claim: Claim::ExactlyOnce,
        when: |scene| !scene.has_disks() && !scene.has_clocks(),
        gives: Stand::Promised,
        why: "a write that is sent once is executed once, and replicated once",
        source: "Redis replication, replication ID and offset",
    },
    Rule {
        claim: Claim::Whole,
        when: |scene| scene.takes_over(),
        gives: Stand::Allowed,
        why: "TAKEOVER takes an epoch without votes, which may collide",
        source: "Redis commands, CLUSTER FAILOVER; valkey-io/valkey#974",
    },
    Rule {
        claim: Claim::Whole,
        when: |scene| !scene.has_disks() && !scene.has_clocks(),
        gives: Stand::Promised,
        why: "every fault is undone, and nodes agree by the highest epoch",
        source: "Redis cluster specification, UPDATE messages",
    },
    Rule {
        claim: Claim::Epochs,
        when: |scene| scene.takes_over(),
        gives: Stand::Allowed,
        why: "TAKEOVER takes an epoch without votes, which may collide",
        source: "Redis commands, CLUSTER FAILOVER; valkey-io/valkey#974",
    },
    Rule {
        claim: Claim::Epochs,
        when: |scene| !scene.has_disks() && !scene.loses_power(),
        gives: Stand::Promised,
        why: "an epoch is given by votes of a majority, or settled by the collision rule",
        source: "Redis cluster specification, Conflict resolution",
    },
    Rule {
        claim: Claim::OthersServe,
        when: |scene| scene.has_clocks() || scene.others().is_empty(),
        gives: Stand::Unknown,
        why: "no shard is left alone, or clocks are wrong",
        source: "",
    },
    Rule {
        claim: Claim::OthersServe,
        when: |scene| scene.is_full_coverage(),
        gives: Stand::Allowed,
        why: "with cluster-require-full-coverage, all shards stop with one",
        source: "redis.conf, cluster-require-full-coverage",
    },
    Rule {
        claim: Claim::OthersServe,
        when: |scene| scene.keeps_majority(),
        gives: Stand::Promised,
        why: "a majority of masters is not hit",
        source: "Redis cluster specification, Availability",
    },
    Rule {
        claim: Claim::ServesAgain,
        when: |scene| scene.moves().any(Move::leaves_the_master),
        gives: Stand::Allowed,
        why: "a replica that started without its master is never promoted",
        source: "redis/redis#13234",
    },
    Rule {
        claim: Claim::ServesAgain,
        when: |scene| scene.keeps_majority() && scene.ends_with_replicas(),
        gives: Stand::Promised,
        why: "a majority of masters is not hit, and the shard that stays without its node has a replica that was never hit",
        source: "Redis cluster specification, Availability",
    },
    Rule {
        claim: Claim::Servers,
        when: |scene| !scene.has_disks(),
        gives: Stand::Promised,
        why: "nothing but its disk may end a server",
        source: "Redis persistence; cluster.c, clusterSaveConfigOrDie",
    },
];

/// How every claim stands under a schedule. `forbid` must hold whatever the servers promise.
pub fn promises(schedule: &Schedule, forbid: &[Claim]) -> Vec<Promise> {
    let scene = Scene { schedule };
    let of = |claim: Claim| {
        if !scene.can_judge(claim) {
            return None;
        }
        if forbid.contains(&claim) {
            return Some(Promise {
                claim,
                stand: Stand::Forbidden,
                why: "the profile forbids that it fails",
                source: "the profile",
            });
        }
        let rule = RULES.iter().find(|rule| rule.claim == claim && (rule.when)(&scene));
        Some(rule.map_or(Promise { claim, stand: Stand::Unknown, why: "no rule covers it", source: "" }, |rule| {
            Promise { claim, stand: rule.gives, why: rule.why, source: rule.source }
        }))
    };
    Claim::ALL.into_iter().filter_map(of).collect()
}

/// The invariants that a schedule's suite demands for its promises. [`Claim::Servers`] and the recovery of
/// [`Claim::Whole`] are judged on every run.
pub fn invariants(schedule: &Schedule, promises: &[Promise]) -> Vec<Invariant> {
    let scene = Scene { schedule };
    promises
        .iter()
        .filter(|promise| promise.stand.must_hold())
        .flat_map(|promise| scene.demands(promise.claim))
        .collect()
}

/// A schedule, as rules ask about it.
struct Scene<'a> {
    schedule: &'a Schedule,
}

impl Scene<'_> {
    fn moves(&self) -> impl Iterator<Item = &Move> {
        self.schedule.moves.iter()
    }

    fn directive<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.schedule.directive(name, default)
    }

    fn is_full_coverage(&self) -> bool {
        self.directive("cluster-require-full-coverage", "no") == "yes"
    }

    /// Whether the claim says anything about this schedule.
    fn can_judge(&self, claim: Claim) -> bool {
        match claim {
            Claim::ServesAgain => !self.schedule.rest.0.is_zero(),
            Claim::ExactlyOnce => {
                let counted = |&kind: &DataKind| self.schedule.workload.share(kind) > 0.0;
                ExactlyOnce::KINDS.iter().any(counted) && self.schedule.workload.reads.fraction() < 1.0
            }
            Claim::AckedWrites | Claim::Whole | Claim::Epochs | Claim::OthersServe | Claim::Servers => true,
        }
    }

    fn has(&self, is: impl Fn(FaultKind) -> bool) -> bool {
        self.moves().filter_map(Move::kind).any(is)
    }

    fn has_clocks(&self) -> bool {
        self.has(FaultKind::hits_clock)
    }

    fn has_disks(&self) -> bool {
        self.has(FaultKind::hits_disk)
    }

    fn loses_power(&self) -> bool {
        self.has(FaultKind::loses_unsynced)
    }

    fn takes_data(&self) -> bool {
        let loses = |undo: &Step| undo.change().is_some_and(|change| change.data.loses_keys());
        self.moves().filter_map(|each| each.undo.as_ref()).any(|(_, undo)| loses(undo))
    }

    /// The rest of a CLUSTER FAILOVER that a move sends: empty, `FORCE` or `TAKEOVER`.
    fn failover(each: &Move) -> Option<&str> {
        let Step::Command(command) = &each.step else { return None };
        let [first, second, rest @ ..] = command.send.0.as_slice() else { return None };
        let is_one = first.eq_ignore_ascii_case("cluster") && second.eq_ignore_ascii_case("failover");
        is_one.then(|| rest.first().map_or("", String::as_str))
    }

    fn takes_over(&self) -> bool {
        self.moves().any(|each| Self::failover(each) == Some("TAKEOVER"))
    }

    /// Whether a move may hit the master of a shard: it names it, or it names a replica, and roles may have changed.
    fn may_hit_a_master(&self, each: &Move) -> bool {
        let names_master = each.targets().iter().any(|target| match target {
            Target::Member(_, Member::Master | Member::Every | Member::Down | Member::Paused) | Target::Node(_) => true,
            Target::Group(group) => *group != Group::Replicas,
            Target::Member(_, Member::Replica | Member::Replicas) | Target::Clients(_) | Target::Others => false,
        });
        // A replica is one by what nodes say at that moment, which a promotion that they have not heard of makes wrong.
        names_master
            || self
                .moves()
                .any(|other| other != each && Self::changes_roles(other) && !other.shards().is_disjoint(&each.shards()))
    }

    fn changes_roles(each: &Move) -> bool {
        Self::failover(each).is_some()
            || each.targets().iter().any(|target| matches!(target, Target::Member(_, Member::Master | Member::Every)))
    }

    /// Whether a move keeps a node from the others' PINGs, or its replies from them.
    fn silences(each: &Move) -> bool {
        match each.step.fault() {
            Some(FaultStep::Links(links)) => match links.only {
                Only::All | Only::Bus => true,
                Only::Clients | Only::Replication => false,
            },
            // A clock makes others seem silent; a disk may hold its server.
            Some(FaultStep::Process(..) | FaultStep::Clock(_) | FaultStep::Disk(_)) => true,
            None => false,
        }
    }

    /// Whether a move is over before anybody can suspect a node for it. Steps wait for each other, so one that overlaps with
    /// another, or follows it at once, may last longer than it says.
    fn is_brief(&self, each: &Move) -> bool {
        let margin = Duration::from_secs(2);
        let apart =
            |other: &Move| other == each || other.at.0 > each.end().0 + margin || other.end().0 + margin < each.at.0;
        each.undo.is_some()
            && !each.leaves_the_master()
            && each.lasts().as_millis() * 5 < self.schedule.node_timeout().as_millis() * 3
            && self.moves().all(apart)
    }

    /// Whether a replica may become master without having everything: by an election, or by an order that does not wait.
    fn may_replace_a_master(&self) -> bool {
        let elects = |each: &Move| Self::silences(each) && !self.is_brief(each) && self.may_hit_a_master(each);
        let orders = |each: &Move| Self::failover(each).is_some_and(|how| !how.is_empty());
        self.schedule.replicas > 0 && self.moves().any(|each| elects(each) || orders(each))
    }

    fn may_crash_a_master(&self) -> bool {
        let crashes = |each: &Move| each.kind().is_some_and(|kind| kind.ends_process() && kind != FaultKind::Stop);
        self.moves().any(|each| crashes(each) && self.may_hit_a_master(each))
    }

    /// The shards that some move hits.
    fn is_hit(&self, shard: ShardNo) -> bool {
        self.moves().any(|each| each.is_wide() || each.shards().contains(&shard))
    }

    fn others(&self) -> Vec<ShardNo> {
        self.schedule.shards().filter(|&shard| !self.is_hit(shard)).collect()
    }

    /// Whether a majority of the shards is never hit, whatever happens at once to all others.
    fn keeps_majority(&self) -> bool {
        let masters = usize::from(self.schedule.masters);
        !self.has_clocks() && self.others().len() > masters / 2
    }

    /// Whether each shard that a fault hits for ever can replace its master: every other move is undone, hits another shard,
    /// and the shard has a replica.
    fn ends_with_replicas(&self) -> bool {
        let has_failover = |each: &Move| Self::failover(each).is_some();
        let for_ever: Vec<&Move> = self.moves().filter(|each| each.lasts_for_ever()).collect();
        let alone = |last: &Move| self.moves().all(|other| other == last || other.shards().is_disjoint(&last.shards()));
        let names_one = |last: &Move| last.targets().iter().all(Target::is_one);
        !self.has_disks()
            && !self.takes_data()
            && !self.moves().any(has_failover)
            && for_ever.len() <= 1
            && for_ever.iter().all(|last| self.schedule.replicas > 0 && alone(last) && names_one(last))
            // A shard that comes back needs its replica in sync and its master known, which overlapping faults delay.
            && self.moves().all(|each| each.lasts_for_ever() || self.moves().all(|other| other == each || other.shards().is_disjoint(&each.shards())))
    }

    fn names_clients(&self) -> bool {
        self.moves().any(|each| {
            each.targets()
                .iter()
                .any(|target| matches!(target, Target::Clients(Clients::Half | Clients::All | Clients::One(_))))
        })
    }

    fn demands(&self, claim: Claim) -> Vec<Invariant> {
        let clients = if self.names_clients() { ClientSet::Rest } else { ClientSet::All };
        let served = |of, shard, during: Option<&str>, longest| {
            Invariant::Availability(Availability {
                of,
                shard: ShardSet::One(shard),
                clients,
                during: during.map(str::to_owned),
                max_outage: Some(Bound::Fixed(longest)),
                min_served: None,
                patience: None,
                served: None,
            })
        };
        match claim {
            Claim::AckedWrites => vec![AckedWrites { may_lose: Allowed::AtMost(0) }.into()],
            Claim::ExactlyOnce => {
                vec![ExactlyOnce { may_repeat: Allowed::AtMost(0), may_lose: Allowed::Measured }.into()]
            }
            Claim::Whole => {
                let mut all: Vec<Invariant> = vec![
                    SlotCoverage { at: Moment::End }.into(),
                    Agreement { within: Bound::Spec }.into(),
                    Redirects { at: Moment::End }.into(),
                ];
                if self.schedule.replicas > 0 {
                    all.push(
                        ReplicaLag { at: Moment::End, max_bytes: 0, shard: None, rises_above: None, back_within: None }
                            .into(),
                    );
                    all.push(ReplicaReadOnly { at: Moment::End }.into());
                }
                all
            }
            Claim::Epochs => vec![Epochs::default().into()],
            Claim::OthersServe => {
                self.others().into_iter().map(|shard| served(OpKind::Writes, shard, None, Span::secs(2))).collect()
            }
            Claim::ServesAgain => {
                self.schedule.shards().map(|shard| served(OpKind::Writes, shard, Some(AFTER), Span::secs(2))).collect()
            }
            Claim::Servers => Vec::new(),
        }
    }
}
