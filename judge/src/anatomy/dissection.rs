//! Dissects one failover. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::clock::Clock;
use super::elections::elections;
use super::line::{Line, LogEvent, Timed};
use super::{Anatomy, Election, Logs, Milestone, Observer, Source, What, story};
use crate::facts::{Failover, NodeTimeouts};
use crate::history::{Event, EventKind, FaultKind, Header, Hit, NodeInfo};
use crate::spec::{CRON, MANUAL_FAILOVER_TIMEOUT, NEWS, POLL, Rules, VOTES};
use crate::topology::{Health, Role, View};
use crate::units::NodeNo;

/// The anatomy of every failover that a fault or a CLUSTER FAILOVER began. The events may lack the bulk that reports
/// leave out.
pub fn dissect(header: &Header, events: &[Event], failovers: &[Failover], logs: &Logs) -> Vec<Anatomy> {
    let Some(nodes) = events.iter().find_map(|event| match &event.kind {
        EventKind::Booted { nodes, .. } => Some(nodes),
        _ => None,
    }) else {
        return Vec::new();
    };
    let clocks = nodes.iter().filter_map(|info| Some((info.node, Clock::relate(events, info.node)?))).collect();
    let timed = timed(&clocks, logs);
    let timeouts = NodeTimeouts::new(&header.plan, header.server.version, events);
    let began = failovers.iter().filter(|failover| failover.fault.is_some() || failover.ordered_by.is_some());
    began
        .map(|failover| {
            let rules = match failover.new_master {
                Some(node) => {
                    let after_ns = (failover.promotion_ms.unwrap_or(0.0) * 1e6) as u64;
                    timeouts.rules_of(node, failover.from_ns.saturating_add(after_ns))
                }
                None => timeouts.rules(failover.from_ns),
            };
            Dissection { events, nodes, clocks: &clocks, timed: &timed, failover, rules }.anatomy()
        })
        .collect()
}

/// The lines of all logs, ordered by the time of the run.
fn timed<'a>(clocks: &BTreeMap<NodeNo, Clock>, logs: &'a Logs) -> Vec<Timed<'a>> {
    let mut all = Vec::new();
    for (&node, lines) in logs {
        let Some(clock) = clocks.get(&node) else { continue };
        let zone_ms = clock.zone_ms(lines);
        let timed = |line: &'a Line| Timed {
            at_ms: clock.at_ms(line.local_ms as f64 - zone_ms),
            error_ms: clock.error_ms,
            node,
            event: &line.event,
        };
        all.extend(lines.iter().map(timed));
    }
    all.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
    all
}

struct Dissection<'a> {
    events: &'a [Event],
    nodes: &'a [NodeInfo],
    clocks: &'a BTreeMap<NodeNo, Clock>,
    timed: &'a [Timed<'a>],
    failover: &'a Failover,
    rules: Rules,
}

/// The time of a milestone in milliseconds, the node that reported it, and the source.
type Found = (f64, Option<NodeNo>, Source);

impl<'a> Dissection<'a> {
    fn anatomy(&self) -> Anatomy {
        let failover = self.failover;
        let lines: Vec<(f64, &Timed<'_>)> = self.lines().collect();
        let until_ms = failover.promotion_ms.unwrap_or(f64::INFINITY);
        let elections = elections(&lines, |node| self.of_shard(node), |node| self.id(node), until_ms);
        let observers = self.observers();
        let errors = self.clocks.values().map(|clock| clock.error_ms);
        let mut anatomy = Anatomy {
            shard: failover.shard,
            fault: failover.fault,
            kind: failover.kind,
            old_master: failover.old_master,
            new_master: failover.new_master,
            epoch: failover.epoch,
            sentence: String::new(),
            milestones: self.milestones(&elections, &observers),
            blocked: self.blocked(&elections),
            elections,
            absent: self.absent(),
            majority_lost: self.majority_lost(),
            wrong_clocks: self.wrong_clocks(),
            faulty_disks: self.faulty_disks(),
            observers,
            log_error_ms: errors.max_by(f64::total_cmp),
        };
        anatomy.sentence = story::sentence(&anatomy, failover.until_ns.saturating_sub(failover.from_ns) as f64 / 1e6);
        anatomy
    }

    /// The id of a node when the failover began. A node that came back without `nodes.conf` has another one.
    fn id(&self, node: NodeNo) -> Option<&'a str> {
        let before = self.events.iter().take_while(|event| event.at_ns <= self.failover.from_ns);
        let later = before.filter_map(|event| match &event.kind {
            EventKind::CameBack { node: of, found, .. } if *of == node => found.id.as_deref(),
            _ => None,
        });
        let at_boot = self.nodes.iter().find(|info| info.node == node).map(|info| info.id.as_str());
        later.last().or(at_boot)
    }

    /// Whether a node is in the shard and is not the old master.
    fn of_shard(&self, node: NodeNo) -> bool {
        node != self.failover.old_master
            && self.nodes.iter().any(|info| info.node == node && info.shard == self.failover.shard)
    }

    fn since_ms(&self, at_ns: u64) -> f64 {
        at_ns.saturating_sub(self.failover.from_ns) as f64 / 1e6
    }

    /// When the injection of the fault began. A fault may have an effect before its injection ends.
    fn began_ns(&self) -> u64 {
        self.failover.took_effect.map_or(self.failover.from_ns, |effect| effect.from_ns)
    }

    /// The lines within the time of the failover, each with its milliseconds since the fault or the order.
    /// A line may seem early by up to 1 ms, because logs have no finer resolution.
    fn lines(&self) -> impl Iterator<Item = (f64, &'a Timed<'a>)> {
        let (from_ms, until_ms) = (self.failover.from_ns as f64 / 1e6, self.failover.until_ns as f64 / 1e6);
        let began_ms = self.began_ns() as f64 / 1e6;
        self.timed
            .iter()
            .filter(move |line| line.at_ms + 1.0 >= began_ms && line.at_ms - line.error_ms <= until_ms)
            .map(move |line| ((line.at_ms - from_ms).max(0.0), line))
    }

    /// The first of these lines that `wanted` accepts.
    fn logged(&self, wanted: impl Fn(&Timed<'_>) -> bool) -> Option<Found> {
        let found = self.lines().find(|(_, line)| wanted(line));
        found.map(|(after_ms, line)| (after_ms, Some(line.node), Source::Log))
    }

    /// Whether a log's times are at least as exact as those of polling.
    fn is_exact(&self, node: NodeNo) -> bool {
        self.clocks.get(&node).is_some_and(|clock| clock.error_ms <= ms(POLL))
    }

    fn blocked(&self, elections: &[Election]) -> Vec<String> {
        let mut reasons: Vec<String> = Vec::new();
        for (_, line) in self.lines().filter(|(_, line)| self.of_shard(line.node)) {
            let reason = match line.event {
                // Every election logs that it waits.
                LogEvent::Blocked(reason) if !reason.starts_with("Waiting") => reason,
                // Redis 6.2 to 8.2 may count the votes of an election twice. The second promotion has no new
                // epoch, so no other node accepts it.
                LogEvent::Won if elections.is_empty() && self.failover.new_master.is_none() => {
                    "reported a won election, but requested no votes since the fault"
                }
                _ => continue,
            };
            let reason = format!("{}: {reason}", line.node);
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons
    }

    /// The nodes that faults affected before the promotion or, if there was none, before the end of the
    /// failover's time.
    fn hit_meanwhile(&self, is_meant: fn(FaultKind) -> bool) -> Vec<Hit> {
        let failover = self.failover;
        let promoted_ns =
            failover.promotion_ms.map(|after_ms| failover.from_ns.saturating_add((after_ms * 1e6) as u64));
        let until_ns = failover.until_ns.min(promoted_ns.unwrap_or(u64::MAX));
        let healed_before = |fault: u32| {
            self.events.iter().any(|event| {
                event.at_ns <= failover.from_ns
                    && matches!(event.kind, EventKind::FaultHealed { fault: healed, .. } if healed == fault)
            })
        };
        let events = self.events.iter().filter(|event| event.at_ns <= until_ns);
        let injected = events.filter_map(|event| event.kind.injected()).filter(|(fault, ..)| !healed_before(*fault));
        injected.filter(|(_, kind, _)| is_meant(*kind)).flat_map(|(_, _, hits)| hits).collect()
    }

    /// The nodes that such faults affected, of which those of a clock or a disk alone keep nobody from voting or being elected.
    fn hindered(&self) -> Vec<Hit> {
        self.hit_meanwhile(|kind| !kind.hits_clock() && !kind.hits_disk())
    }

    /// The nodes whose clock a fault made wrong meanwhile. The server's rules count by clocks that are right.
    fn wrong_clocks(&self) -> Vec<NodeNo> {
        let nodes: BTreeSet<NodeNo> = self.hit_meanwhile(FaultKind::hits_clock).iter().map(|hit| hit.node).collect();
        nodes.into_iter().collect()
    }

    /// The nodes whose disk a fault made faulty meanwhile. The server's rules know of no disk.
    fn faulty_disks(&self) -> Vec<NodeNo> {
        let nodes: BTreeSet<NodeNo> = self.hit_meanwhile(FaultKind::hits_disk).iter().map(|hit| hit.node).collect();
        nodes.into_iter().collect()
    }

    /// Whether the server's rules limit the times of the failover.
    fn has_bounds(&self) -> bool {
        !self.majority_lost() && self.wrong_clocks().is_empty() && self.faulty_disks().is_empty()
    }

    /// The replicas of the shard that a fault affected during the failover.
    fn absent(&self) -> Vec<NodeNo> {
        let hit: BTreeSet<NodeNo> = self.hindered().iter().map(|hit| hit.node).collect();
        hit.into_iter().filter(|node| self.of_shard(*node)).collect()
    }

    /// Whether faults affected so many masters that the others were not a majority. The server's rules have no
    /// time limits then.
    fn majority_lost(&self) -> bool {
        let masters: BTreeSet<NodeNo> =
            self.hindered().iter().filter(|hit| hit.was_master).map(|hit| hit.node).collect();
        let shards = self.nodes.iter().map(|info| info.shard).collect::<BTreeSet<_>>().len();
        shards.saturating_sub(masters.len()) < shards / 2 + 1
    }

    /// The nodes that the fault affected. Empty for CLUSTER FAILOVER: there the old master observes the failover as
    /// the other nodes do.
    fn hits(&self) -> BTreeSet<NodeNo> {
        let Some(mine) = self.failover.fault else { return BTreeSet::new() };
        let injected = self.events.iter().filter_map(|event| event.kind.injected());
        let hits = injected.filter(|(fault, ..)| *fault == mine).flat_map(|(_, _, hits)| hits);
        hits.map(|hit| hit.node).chain([self.failover.old_master]).collect()
    }

    /// The events within the time of the failover.
    fn events(&self) -> impl Iterator<Item = &'a Event> {
        let window = self.began_ns()..=self.failover.until_ns;
        self.events.iter().filter(move |event| window.contains(&event.at_ns))
    }

    fn observers(&self) -> BTreeMap<NodeNo, Observer> {
        let failover = self.failover;
        let hits = self.hits();
        let old_id = self.id(failover.old_master).unwrap_or_default();
        let knows = |view: &View, new_master| {
            view.peers.get(&new_master).is_some_and(|peer| peer.role == Role::Master && !peer.slots.is_empty())
        };
        let mut observers: BTreeMap<NodeNo, Observer> = BTreeMap::new();
        for (after_ms, line) in self.lines().filter(|(_, line)| !hits.contains(&line.node)) {
            let observer = observers.entry(line.node).or_default();
            match line.event {
                LogEvent::Pfail(id) if id == old_id => _ = observer.pfail_ms.get_or_insert(after_ms),
                LogEvent::Quorum(about) | LogEvent::FailReceived { about, .. } if about == old_id => {
                    observer.fail_ms.get_or_insert(after_ms);
                }
                _ => {}
            }
        }
        for event in self.events() {
            let after_ms = self.since_ms(event.at_ns);
            match &event.kind {
                EventKind::Unheard { node, of, ping_ms, pong_ms }
                    if *of == failover.old_master && !hits.contains(node) =>
                {
                    let Some(clock) = self.clocks.get(node) else { continue };
                    let read = |unix_ms: u64| {
                        (unix_ms > 0).then(|| clock.at_ms(unix_ms as f64) - failover.from_ns as f64 / 1e6)
                    };
                    let observer = observers.entry(*node).or_default();
                    if observer.pong_ms.is_none() {
                        (observer.pong_ms, observer.ping_ms) = (read(*pong_ms), read(*ping_ms));
                    }
                }
                EventKind::Viewed { node, view } if !hits.contains(node) => {
                    let observer = observers.entry(*node).or_default();
                    let health = view.peers.get(&failover.old_master).map_or(Health::Ok, |peer| peer.health);
                    if health == Health::Pfail && observer.fail_ms.is_none_or(|fail_ms| after_ms <= fail_ms) {
                        observer.pfail_ms.get_or_insert(after_ms);
                    }
                    if health == Health::Fail {
                        observer.fail_ms.get_or_insert(after_ms);
                    }
                    if failover.new_master.is_some_and(|new_master| knows(view, new_master)) {
                        observer.agreed_ms.get_or_insert(after_ms);
                    }
                }
                _ => {}
            }
        }
        observers.retain(|_, observer| *observer != Observer::default());
        observers
    }

    fn milestones(&self, elections: &[Election], observers: &BTreeMap<NodeNo, Observer>) -> Vec<Milestone> {
        let failover = self.failover;
        let won = elections.iter().rfind(|election| {
            election.won_ms.is_some()
                && (Some(election.candidate) == failover.new_master || failover.new_master.is_none())
        });
        let log = |node: NodeNo, after_ms: f64| (after_ms, Some(node), Source::Log);
        // What was seen or acknowledged had happened by then, whatever a log says.
        let no_later = |found: Option<Found>, than_ms: Option<f64>| {
            found.map(|(after_ms, node, source)| (after_ms.min(than_ms.unwrap_or(f64::MAX)), node, source))
        };
        let poll = |node: Option<NodeNo>, after_ms: f64| (after_ms, node, Source::Poll);
        let last_vote = won.and_then(|won| won.granted.iter().max_by(|a, b| a.1.total_cmp(b.1)));
        let is_new = |node: NodeNo| Some(node) == failover.new_master;
        let promotion = won
            .and_then(|won| Some(log(won.candidate, won.won_ms?)))
            .or_else(|| self.logged(|line| *line.event == LogEvent::TakenOver && is_new(line.node)))
            .filter(|(_, node, _)| node.is_some_and(|node| self.is_exact(node)) || failover.promotion_ms.is_none());
        let promotion = no_later(promotion, failover.promotion_ms)
            .or_else(|| failover.promotion_ms.map(|after_ms| poll(failover.new_master, after_ms)));
        let epoch = self.logged(|line| {
            is_new(line.node) && matches!(line.event, LogEvent::Epoch(epoch) if Some(*epoch) == failover.epoch)
        });
        let agreement = observers.iter().filter_map(|(node, observer)| Some((*node, observer.agreed_ms?)));
        let agreement = agreement.max_by(|a, b| a.1.total_cmp(&b.1));
        let first_write = failover.first_write_ms.map(|after_ms| (after_ms, failover.new_master, Source::Workload));
        let mut found = if failover.fault.is_some() { self.detection(observers) } else { self.handover() };
        let promoted_ms = promotion.as_ref().map(|promotion| promotion.0);
        for (what, fail) in &mut found {
            if *what == What::Fail {
                *fail = no_later(no_later(fail.take(), failover.fail_ms), promoted_ms);
            }
        }
        found.extend([
            (What::Election, won.map(|won| log(won.candidate, won.began_ms))),
            (What::LastVote, last_vote.map(|(node, after_ms)| log(*node, *after_ms))),
            (What::Promotion, promotion),
            (What::Epoch, epoch),
            (What::Agreement, agreement.map(|(node, after_ms)| poll(Some(node), after_ms))),
            (What::FirstWrite, first_write),
        ]);
        let at: Vec<(What, f64)> = found.iter().filter_map(|(what, found)| Some((*what, found.as_ref()?.0))).collect();
        let found = found.into_iter().filter_map(|(what, found)| Some((what, found?)));
        found
            .map(|(what, (after_ms, node, source))| {
                // An event may precede the poll that shows it by the polling interval.
                let late_ms = if source == Source::Poll { ms(POLL) } else { 0.0 };
                let expected_ms = self.expected(what, &at, elections).map(|(from, to)| (from, to + late_ms));
                Milestone { what, after_ms, node, source, expected_ms, bound_ms: self.bound_ms(what) }
            })
            .collect()
    }

    /// The milestones from the last PONG to FAIL.
    fn detection(&self, observers: &BTreeMap<NodeNo, Observer>) -> Vec<(What, Option<Found>)> {
        let failover = self.failover;
        let earliest = |of: fn(&Observer) -> Option<f64>| {
            let known = observers.iter().filter_map(move |(node, observer)| Some((*node, of(observer)?)));
            known.min_by(|a, b| a.1.total_cmp(&b.1))
        };
        let pongs = observers.iter().filter_map(|(node, observer)| Some((*node, observer.pong_ms?)));
        let last_pong = pongs.max_by(|a, b| a.1.total_cmp(&b.1));
        let is_old = |id: &str| self.id(failover.old_master) == Some(id);
        let fail = self
            .logged(|line| matches!(line.event, LogEvent::Quorum(about) | LogEvent::FailReceived { about, .. } if is_old(about)))
            .filter(|(_, node, _)| node.is_some_and(|node| self.is_exact(node)) || failover.fail_ms.is_none())
            .or_else(|| failover.fail_ms.map(|after_ms| (after_ms, None, Source::Poll)));
        let pfail = earliest(|observer| observer.pfail_ms).map(|(node, after_ms)| {
            let from_log = self.logged(|line| matches!(line.event, LogEvent::Pfail(id) if is_old(id)));
            let source =
                if from_log.is_some_and(|(logged_ms, ..)| logged_ms <= after_ms) { Source::Log } else { Source::Poll };
            (after_ms, Some(node), source)
        });
        vec![
            (What::LastPong, last_pong.map(|(node, after_ms)| (after_ms, Some(node), Source::Nodes))),
            // A view polled after FAIL does not show when PFAIL began.
            (What::Pfail, pfail.filter(|pfail| fail.is_none_or(|fail| pfail.0 <= fail.0))),
            (What::Fail, fail),
        ]
    }

    /// The milestones before the election of a manual failover.
    fn handover(&self) -> Vec<(What, Option<Found>)> {
        let failover = self.failover;
        let new = |line: &Timed<'_>| Some(line.node) == failover.new_master;
        let new_id = failover.new_master.and_then(|node| self.id(node));
        let asked = |event: &LogEvent| matches!(event, LogEvent::ManualRequested(by) if Some(by.as_str()) == new_id);
        vec![
            (What::Accepted, self.logged(|line| *line.event == LogEvent::ManualAccepted && new(line))),
            (What::Paused, self.logged(|line| asked(line.event))),
            (What::Offset, self.logged(|line| *line.event == LogEvent::ManualOffset && new(line))),
            (What::CaughtUp, self.logged(|line| *line.event == LogEvent::ManualReady && new(line))),
        ]
    }

    /// The earliest and the latest time of a milestone by the server's rules, given the earlier milestones.
    fn expected(&self, what: What, at: &[(What, f64)], elections: &[Election]) -> Option<(f64, f64)> {
        if !self.has_bounds() {
            return None;
        }
        let rules = self.rules;
        let at = |what: What| at.iter().find(|(found, _)| *found == what).map(|(_, after_ms)| *after_ms);
        let after = |from_ms: f64, (least, most): (Duration, Duration)| (from_ms + ms(least), from_ms + ms(most));
        let soon = |most: Duration| (Duration::ZERO, most);
        let ordered = self.failover.fault.is_none();
        // An election after a lost one of the same replica is a retry.
        let won = elections.iter().rposition(|election| election.won_ms.is_some());
        let rank = won.and_then(|won| elections[won].rank).unwrap_or(0);
        let delay = rules.election_delay(rank);
        match what {
            What::Pfail => {
                let (least, most) = rules.pfail();
                // The master may have answered after the last PONG that a node recorded.
                Some((ms(least), at(What::LastPong).unwrap_or(0.0).min(0.0) + ms(most)))
            }
            What::Fail => Some((ms(rules.pfail().0), ms(rules.fail_by_rule()))),
            What::Election if ordered => Some(after(at(What::CaughtUp).or(at(What::Accepted))?, soon(CRON))),
            What::Election => {
                let before = &elections[..won?];
                let lost = before.iter().rfind(|lost| lost.candidate == elections[won.unwrap_or(0)].candidate);
                Some(match lost {
                    Some(lost) => after(
                        lost.began_ms,
                        (
                            rules.election_retry().saturating_sub(CRON) + delay.0,
                            rules.election_retry() + delay.1 + CRON,
                        ),
                    ),
                    None => after(at(What::Fail)?, (delay.0, delay.1 + CRON)),
                })
            }
            What::LastVote | What::Promotion if at(What::Election).is_some() => {
                Some(after(at(What::Election)?, soon(VOTES)))
            }
            What::Promotion if !ordered => Some(after(at(What::Fail)?, (delay.0, delay.1 + CRON + VOTES))),
            What::Agreement => Some(after(at(What::Promotion)?, soon(NEWS))),
            What::FirstWrite => Some(after(at(What::Promotion)?, soon(rules.client()))),
            _ => None,
        }
    }

    /// The latest time by the server's rules, from the fault or the order on.
    fn bound_ms(&self, what: What) -> Option<f64> {
        let rules = self.rules;
        let bound = match (what, self.failover.fault) {
            (What::Fail, _) => rules.fail(),
            (What::Election, Some(_)) => rules.fail() + rules.election_delay(0).1 + CRON,
            (What::Promotion, Some(_)) => rules.promotion(),
            (What::FirstWrite, Some(_)) => rules.first_write(),
            (What::Promotion, None) => MANUAL_FAILOVER_TIMEOUT + CRON + POLL,
            _ => return None,
        };
        self.has_bounds().then_some(ms(bound))
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
