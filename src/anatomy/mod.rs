//! The anatomy of a failover: where its time went, from the servers' logs, from polling and from the
//! workload, against what the server's own rules allow. [`dissect`] is pure; [`logs`] reads files.

mod clock;
mod line;
mod story;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use line::{Line, Says, parse};

use crate::analysis::Failover;
use crate::cluster::topology::{Health, Role};
use crate::history::{EventKind, FaultKind, Hit, NodeInfo};
use crate::report::Report;
use crate::spec::Rules;
use crate::units::{NodeNo, ShardNo};
use clock::{Clock, Known};

/// Every node's log, as far as its lines tell of failovers.
pub type Logs = BTreeMap<NodeNo, Vec<Line>>;

/// One failover after a fault. Times are in milliseconds from the fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anatomy {
    /// Whose slots were at stake.
    pub shard: ShardNo,
    /// The fault.
    pub fault: u32,
    /// Its kind.
    pub kind: FaultKind,
    /// The master that it hit.
    pub old_master: NodeNo,
    /// Its successor, if there was one.
    pub new_master: Option<NodeNo>,
    /// Where the time went, in one sentence.
    pub sentence: String,
    /// The milestones, in the order in which they should come.
    pub milestones: Vec<Milestone>,
    /// Every election that a replica of the shard began, in order.
    pub elections: Vec<Election>,
    /// Why replicas said that they could not take over, in the server's words.
    pub blocked: Vec<String>,
    /// Replicas of the shard that a fault had ended, paused or cut off meanwhile, for some of the time at least.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<NodeNo>,
    /// Whether faults hit so many masters that the others were no majority for some of the time; then
    /// there are no bounds.
    #[serde(default)]
    pub majority_lost: bool,
    /// When each node that the fault did not hit was first seen to know the new master as owner.
    pub agreed_ms: BTreeMap<NodeNo, f64>,
    /// Times of logs are late by at most this much, and early by at most 1 ms; None without logs.
    pub log_error_ms: Option<f64>,
}

/// A moment of a failover.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Milestone {
    /// What it is.
    pub what: What,
    /// When it came.
    pub after_ms: f64,
    /// Whose log or view says so, or who acknowledged the write.
    pub node: Option<NodeNo>,
    /// How it is known.
    pub source: Source,
    /// The latest that the server's rules allow, with the slack of a busy machine; None where there is no
    /// such rule.
    pub bound_ms: Option<f64>,
}

impl Milestone {
    /// Whether it came later than the rules allow.
    pub fn late(&self) -> bool {
        self.bound_ms.is_some_and(|bound_ms| self.after_ms > bound_ms)
    }
}

/// The milestones of a failover, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The first node held the master for failing.
    Pfail,
    /// A majority of masters agreed.
    Fail,
    /// The election that was won began.
    Election,
    /// The last vote for the winner.
    LastVote,
    /// The replica became master.
    Promotion,
    /// The last of the nodes that the fault did not hit knew it.
    Agreement,
    /// The workload's first write that the new master acknowledged.
    FirstWrite,
}

impl What {
    /// In words, as tables show it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Pfail => "first PFAIL",
            Self::Fail => "FAIL by quorum",
            Self::Election => "election began",
            Self::LastVote => "last vote",
            Self::Promotion => "promotion",
            Self::Agreement => "all agree",
            Self::FirstWrite => "first write",
        }
    }
}

/// How something is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A server's log.
    Log,
    /// Views of the nodes: late by up to the interval of polling.
    Poll,
    /// The workload's operations.
    Workload,
}

/// One replica's attempt to become master.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Election {
    /// Who asked for votes.
    pub candidate: NodeNo,
    /// For which epoch.
    pub epoch: u64,
    /// The delay that it announced, in milliseconds.
    pub delay_ms: Option<u64>,
    /// Its rank among its master's replicas; 0 is the best.
    pub rank: Option<u32>,
    /// When it began.
    pub began_ms: f64,
    /// Who gave it its vote, and when.
    pub granted: BTreeMap<NodeNo, f64>,
    /// Who refused it, and why, in the server's words.
    pub denied: BTreeMap<NodeNo, String>,
    /// When it was won; None where it was lost.
    pub won_ms: Option<f64>,
}

/// Reads the logs in a report's folder. A node without a log that can be read has no lines.
pub fn logs(folder: &Path, nodes: impl IntoIterator<Item = NodeNo>) -> Logs {
    // A server that logs without end must not fill the memory.
    const MOST_LINES: usize = 100_000;
    let mut logs = Logs::new();
    for node in nodes {
        let Ok(file) = std::fs::File::open(folder.join("logs").join(format!("{node}.log"))) else { continue };
        let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
        let lines = lines.filter_map(|line| parse(&String::from_utf8_lossy(&line))).take(MOST_LINES).collect();
        logs.insert(node, lines);
    }
    logs
}

/// The anatomy of every failover that a fault began.
pub fn dissect(report: &Report, logs: &Logs) -> Vec<Anatomy> {
    let Some(nodes) = report.events.iter().find_map(|event| match &event.kind {
        EventKind::Booted { nodes, .. } => Some(nodes),
        _ => None,
    }) else {
        return Vec::new();
    };
    let timed = timed(report, logs, nodes);
    let of = |failover| Dissection { report, nodes, timed: &timed, failover }.anatomy();
    report.failovers.iter().filter_map(of).collect()
}

/// A line and its moment in milliseconds of the run, and how late that may be.
struct Timed<'a> {
    at_ms: f64,
    error_ms: f64,
    node: NodeNo,
    says: &'a Says,
}

/// The lines of all logs in the order of the run's time.
fn timed<'a>(report: &Report, logs: &'a Logs, nodes: &[NodeInfo]) -> Vec<Timed<'a>> {
    let Ok(started) = humantime::parse_rfc3339(&report.header.started_at) else { return Vec::new() };
    let started_ms = started.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let clocks: Vec<(NodeNo, &'a Vec<Line>, Clock)> = logs
        .iter()
        .filter_map(|(&node, lines)| {
            Some((node, lines, Clock::relate(lines, started_ms, &known(report, nodes, node))?))
        })
        .collect();
    // The nodes of one machine read one wall clock, whatever their time zones: what bounds the error of
    // one bounds that of all.
    let one_machine = matches!(report.header.host.backend.as_str(), "local" | "docker");
    let least_error_ms = clocks.iter().map(|(.., clock)| clock.error_ms).min_by(f64::total_cmp);
    let mut all = Vec::new();
    for (node, lines, clock) in clocks {
        let error_ms = least_error_ms.filter(|_| one_machine).unwrap_or(clock.error_ms);
        let timed = |line: &'a Line| Timed { at_ms: clock.at_ms(line), error_ms, node, says: &line.says };
        all.extend(lines.iter().map(timed));
    }
    all.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
    all
}

fn known(report: &Report, nodes: &[NodeInfo], node: NodeNo) -> Known {
    let shard_of = |node| nodes.iter().find(|info| info.node == node).map(|info| info.shard);
    let mut known = Known::default();
    let mut hit: BTreeMap<u32, NodeNo> = BTreeMap::new();
    for event in &report.events {
        let at_ms = event.at_ns as f64 / 1e6;
        match &event.kind {
            EventKind::FaultInjected { fault, kind, node: at, .. } => {
                hit.insert(*fault, *at);
                let ends = matches!(kind, FaultKind::Stop | FaultKind::Kill);
                if ends && *at != node && shard_of(*at) == shard_of(node) {
                    known.ended_ms.push(at_ms);
                }
            }
            EventKind::FaultHealed { fault, .. } if hit.get(fault) == Some(&node) => known.started_ms.push(at_ms),
            _ => {}
        }
    }
    known
}

struct Dissection<'a> {
    report: &'a Report,
    nodes: &'a [NodeInfo],
    timed: &'a [Timed<'a>],
    failover: &'a Failover,
}

impl Dissection<'_> {
    fn anatomy(&self) -> Option<Anatomy> {
        let failover = self.failover;
        let elections = self.elections();
        let agreed_ms = self.agreed();
        let errors = self.timed.iter().map(|line| line.error_ms);
        let mut anatomy = Anatomy {
            shard: failover.shard,
            fault: failover.fault?,
            kind: failover.kind?,
            old_master: failover.old_master,
            new_master: failover.new_master,
            sentence: String::new(),
            milestones: self.milestones(&elections, &agreed_ms),
            elections,
            blocked: self.blocked(),
            absent: self.absent(),
            majority_lost: self.majority_lost(),
            agreed_ms,
            log_error_ms: errors.max_by(f64::total_cmp),
        };
        anatomy.sentence = story::sentence(&anatomy, failover.until_ns.saturating_sub(failover.from_ns) as f64 / 1e6);
        Some(anatomy)
    }

    fn rules(&self) -> Rules {
        let header = &self.report.header;
        let live_ms = self.report.events.iter().take_while(|event| event.at_ns <= self.failover.from_ns);
        let live_ms = live_ms.filter_map(|event| match &event.kind {
            EventKind::Config { values } => values.get("cluster-node-timeout")?.parse().ok(),
            _ => None,
        });
        Rules {
            node_timeout: live_ms.last().map_or_else(|| header.plan.node_timeout(), std::time::Duration::from_millis),
            version: header.server.version,
            client_refresh: header.plan.workload.refresh_every.0,
        }
    }

    fn id(&self, node: NodeNo) -> Option<&str> {
        self.nodes.iter().find(|info| info.node == node).map(|info| info.id.as_str())
    }

    /// The lines between the fault and the end of the failover's time, each with its milliseconds since
    /// the fault.
    fn lines(&self) -> impl Iterator<Item = (f64, &Timed<'_>)> {
        let (from_ms, until_ms) = (self.failover.from_ns as f64 / 1e6, self.failover.until_ns as f64 / 1e6);
        self.timed
            .iter()
            .filter(move |line| line.at_ms >= from_ms && line.at_ms - line.error_ms <= until_ms)
            .map(move |line| (line.at_ms - from_ms, line))
    }

    /// Those of the shard's own replicas.
    fn candidates_lines(&self) -> impl Iterator<Item = (f64, &Timed<'_>)> {
        let of_shard = |node: NodeNo| {
            node != self.failover.old_master
                && self.nodes.iter().any(|info| info.node == node && info.shard == self.failover.shard)
        };
        self.lines().filter(move |(_, line)| of_shard(line.node))
    }

    fn elections(&self) -> Vec<Election> {
        let mut elections: Vec<Election> = Vec::new();
        let mut announced: BTreeMap<NodeNo, (u64, u32)> = BTreeMap::new();
        for (after_ms, line) in self.candidates_lines() {
            match line.says {
                Says::Delayed { delay_ms, rank } => _ = announced.insert(line.node, (*delay_ms, *rank)),
                // What begins after the promotion is another failover's, such as an ordered one.
                Says::Began(epoch) if self.failover.promotion_ms.is_none_or(|promoted_ms| after_ms <= promoted_ms) => {
                    let announced = announced.remove(&line.node);
                    elections.push(Election {
                        candidate: line.node,
                        epoch: *epoch,
                        delay_ms: announced.map(|(delay_ms, _)| delay_ms),
                        rank: announced.map(|(_, rank)| rank),
                        began_ms: after_ms,
                        granted: BTreeMap::new(),
                        denied: BTreeMap::new(),
                        won_ms: None,
                    });
                }
                Says::Won => {
                    if let Some(last) = elections.iter_mut().rev().find(|election| election.candidate == line.node) {
                        last.won_ms.get_or_insert(after_ms);
                    }
                }
                _ => {}
            }
        }
        for (after_ms, line) in self.lines() {
            match line.says {
                Says::Granted { to, epoch } => {
                    let election = elections
                        .iter_mut()
                        .find(|election| election.epoch == *epoch && self.id(election.candidate) == Some(to));
                    if let Some(election) = election {
                        election.granted.insert(line.node, after_ms);
                    }
                }
                Says::Denied { to, reason } => {
                    // A refusal names no epoch: it is about the candidate's latest election by then.
                    let election = elections.iter_mut().rev().find(|election| {
                        self.id(election.candidate) == Some(to) && election.began_ms <= after_ms + line.error_ms + 1.0
                    });
                    if let Some(election) = election {
                        election.denied.insert(line.node, reason.clone());
                    }
                }
                _ => {}
            }
        }
        elections
    }

    fn blocked(&self) -> Vec<String> {
        let mut reasons: Vec<String> = Vec::new();
        for (_, line) in self.candidates_lines() {
            // To wait is what every election does.
            if let Says::Blocked(reason) = line.says
                && !reason.starts_with("Waiting")
            {
                let reason = format!("{}: {reason}", line.node);
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
        }
        reasons
    }

    /// Everything that faults hit between the fault and the promotion, or the end of the failover's time.
    fn hit_meanwhile(&self) -> Vec<Hit> {
        let failover = self.failover;
        let promoted_ns =
            failover.promotion_ms.map(|after_ms| failover.from_ns.saturating_add((after_ms * 1e6) as u64));
        let until_ns = failover.until_ns.min(promoted_ns.unwrap_or(u64::MAX));
        let healed_before = |fault: u32| {
            self.report.events.iter().any(|event| {
                event.at_ns <= failover.from_ns
                    && matches!(event.kind, EventKind::FaultHealed { fault: healed, .. } if healed == fault)
            })
        };
        let events = self.report.events.iter().filter(|event| event.at_ns <= until_ns);
        let injected = events.filter_map(|event| event.kind.injected()).filter(|(fault, ..)| !healed_before(*fault));
        injected.flat_map(|(_, _, hits)| hits).collect()
    }

    /// The replicas among them.
    fn absent(&self) -> Vec<NodeNo> {
        let of_shard = |node: NodeNo| {
            node != self.failover.old_master
                && self.nodes.iter().any(|info| info.node == node && info.shard == self.failover.shard)
        };
        let mut absent: Vec<NodeNo> =
            self.hit_meanwhile().iter().map(|hit| hit.node).filter(|node| of_shard(*node)).collect();
        absent.sort_unstable();
        absent.dedup();
        absent
    }

    /// Whether so many masters were hit that the others were no majority. The rules say nothing of how
    /// long anything takes then.
    fn majority_lost(&self) -> bool {
        let masters: BTreeSet<NodeNo> =
            self.hit_meanwhile().iter().filter(|hit| hit.was_master).map(|hit| hit.node).collect();
        let shards = self.nodes.iter().map(|info| info.shard).collect::<BTreeSet<_>>().len();
        shards.saturating_sub(masters.len()) < shards / 2 + 1
    }

    /// When each node that the fault did not hit was first seen to hold the new master for one with slots.
    fn agreed(&self) -> BTreeMap<NodeNo, f64> {
        let failover = self.failover;
        let mut agreed = BTreeMap::new();
        let Some(new_master) = failover.new_master else { return agreed };
        let hits = self.hits();
        for event in &self.report.events {
            if !(failover.from_ns..=failover.until_ns).contains(&event.at_ns) {
                continue;
            }
            if let EventKind::Viewed { node, view } = &event.kind
                && !hits.contains(node)
                && view.peers.get(&new_master).is_some_and(|peer| peer.role == Role::Master && !peer.slots.is_empty())
            {
                agreed.entry(*node).or_insert((event.at_ns - failover.from_ns) as f64 / 1e6);
            }
        }
        agreed
    }

    fn hits(&self) -> Vec<NodeNo> {
        let injected = self.report.events.iter().filter_map(|event| event.kind.injected());
        let mine = injected.filter(|(fault, ..)| Some(*fault) == self.failover.fault);
        mine.flat_map(|(_, _, hits)| hits).map(|hit| hit.node).chain([self.failover.old_master]).collect()
    }

    /// The first view after the fault in which the old master is held for failing.
    fn polled_pfail(&self) -> Option<(f64, NodeNo)> {
        let failover = self.failover;
        self.report.events.iter().filter(|event| event.at_ns >= failover.from_ns).find_map(|event| match &event.kind {
            EventKind::Viewed { node, view } if event.at_ns <= failover.until_ns && *node != failover.old_master => {
                let peer = view.peers.get(&failover.old_master)?;
                (peer.health != Health::Ok).then(|| ((event.at_ns - failover.from_ns) as f64 / 1e6, *node))
            }
            _ => None,
        })
    }

    fn milestones(&self, elections: &[Election], agreed_ms: &BTreeMap<NodeNo, f64>) -> Vec<Milestone> {
        let (failover, rules) = (self.failover, self.rules());
        let old_id = self.id(failover.old_master).unwrap_or_default();
        let logged = |wanted: &dyn Fn(&Says) -> bool| {
            self.lines()
                .find(|(_, line)| wanted(line.says))
                .map(|(after_ms, line)| (after_ms, Some(line.node), Source::Log))
        };
        let polled =
            |found: Option<(f64, Option<NodeNo>)>| found.map(|(after_ms, node)| (after_ms, node, Source::Poll));
        let earlier = |a: Option<(f64, Option<NodeNo>, Source)>, b: Option<(f64, Option<NodeNo>, Source)>| {
            a.into_iter().chain(b).min_by(|a, b| a.0.total_cmp(&b.0))
        };
        let fail = logged(&|says| matches!(says, Says::Quorum(id) if id == old_id))
            .or_else(|| logged(&|says| matches!(says, Says::FailReceived { about, .. } if about == old_id)))
            .or_else(|| polled(failover.fail_ms.map(|after_ms| (after_ms, None))));
        let pfail = earlier(
            logged(&|says| matches!(says, Says::Pfail(id) if id == old_id)),
            polled(self.polled_pfail().map(|(after_ms, node)| (after_ms, Some(node)))),
        )
        // A view that was looked at only after FAIL tells nothing of the time before.
        .filter(|pfail| fail.is_none_or(|fail| pfail.0 <= fail.0));
        let won = elections.iter().find(|election| {
            election.won_ms.is_some()
                && (Some(election.candidate) == failover.new_master || failover.new_master.is_none())
        });
        let last_vote = won.and_then(|won| won.granted.iter().max_by(|a, b| a.1.total_cmp(b.1)));
        let promotion = won
            .and_then(|won| Some((won.won_ms?, Some(won.candidate), Source::Log)))
            .or_else(|| polled(failover.promotion_ms.map(|after_ms| (after_ms, failover.new_master))));
        let agreement = agreed_ms.iter().max_by(|a, b| a.1.total_cmp(b.1));
        let bounded = !self.majority_lost();
        let ms = |bound: std::time::Duration| bounded.then_some(bound.as_secs_f64() * 1e3);
        let began_bound = rules.fail() + rules.election_delay() + std::time::Duration::from_millis(200);
        let found = [
            (What::Pfail, pfail, None),
            (What::Fail, fail, ms(rules.fail())),
            (What::Election, won.map(|won| (won.began_ms, Some(won.candidate), Source::Log)), ms(began_bound)),
            (What::LastVote, last_vote.map(|(node, after_ms)| (*after_ms, Some(*node), Source::Log)), None),
            (What::Promotion, promotion, ms(rules.promotion())),
            (What::Agreement, polled(agreement.map(|(node, after_ms)| (*after_ms, Some(*node)))), None),
            (
                What::FirstWrite,
                failover.first_write_ms.map(|after_ms| (after_ms, failover.new_master, Source::Workload)),
                ms(rules.first_write()),
            ),
        ];
        found
            .into_iter()
            .filter_map(|(what, found, bound_ms)| {
                let (after_ms, node, source) = found?;
                Some(Milestone { what, after_ms, node, source, bound_ms })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::check::Verdict;
    use crate::history::Event;
    use crate::report::fixture;

    const IDS: [&str; 6] = ["1", "2", "3", "4", "5", "6"];

    fn id(node: u16) -> String {
        IDS[usize::from(node) - 1].repeat(40)
    }

    /// A report of three shards; node-1 was killed at 4 s, and node-4 took over.
    fn report() -> Report {
        let mut report = fixture::report("role-swap", Verdict::Pass);
        let info = |node: u16| NodeInfo {
            node: NodeNo(node),
            shard: ShardNo((node - 1) % 3 + 1),
            boots_as_master: node <= 3,
            addr: "127.0.0.1:6379".parse().expect("an address"),
            id: id(node),
            name: None,
        };
        let booted = EventKind::Booted { nodes: (1..=6).map(info).collect(), took_ms: 2000.0 };
        report.events.insert(1, Event { at_ns: 2, kind: booted });
        report.events.insert(2, Event { at_ns: 4_000_000_000, kind: killed(1, 1) });
        report
    }

    fn killed(fault: u32, node: u16) -> EventKind {
        EventKind::FaultInjected {
            fault,
            kind: FaultKind::Kill,
            target: format!("node-{node}"),
            node: NodeNo(node),
            shard: Some(ShardNo(1)),
            was_master: node <= 3,
        }
    }

    /// Logs in which each node's lines have their moments in milliseconds of the run.
    fn logged(lines: &[(u16, i64, String)]) -> Logs {
        let mut logs = Logs::new();
        for node in 1..=6 {
            let starting = (node, 20, "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo".to_owned());
            let mine = lines.iter().filter(|(of, ..)| *of == node);
            let parsed = [&starting].into_iter().chain(mine).map(|(_, at_ms, text)| {
                let (seconds, millis) = (1 + at_ms / 1000, at_ms % 1000);
                let line = format!("9:S 22 Nov 2026 22:05:{seconds:02}.{millis:03} # {text}");
                parse(&line).unwrap_or_else(|| panic!("{line}"))
            });
            logs.insert(NodeNo(node), parsed.collect());
        }
        logs
    }

    fn election(at_ms: i64, epoch: u64) -> Vec<(u16, i64, String)> {
        vec![
            (4, at_ms - 600, "Start of election delayed for 590 milliseconds (rank #0, offset 9).".to_owned()),
            (4, at_ms, format!("Starting a failover election for epoch {epoch}.")),
        ]
    }

    fn won(at_ms: i64, epoch: u64) -> Vec<(u16, i64, String)> {
        vec![
            (2, at_ms - 2, format!("Failover auth granted to {} for epoch {epoch}", id(4))),
            (3, at_ms - 1, format!("Failover auth granted to {} for epoch {epoch}", id(4))),
            (4, at_ms, "Failover election won: I'm the new master.".to_owned()),
        ]
    }

    fn failed() -> (u16, i64, String) {
        (2, 10_000, format!("Marking node {} as failing (quorum reached).", id(1)))
    }

    fn milestone(anatomy: &Anatomy, what: What) -> Option<(f64, Source)> {
        anatomy.milestones.iter().find(|found| found.what == what).map(|found| (found.after_ms, found.source))
    }

    #[test]
    fn the_logs_say_where_the_time_went() {
        let lines = [vec![(4, 4005, "Connection with master lost.".to_owned()), failed()], election(10_700, 8)];
        let logs = logged(&[lines.concat(), won(11_300, 8)].concat());
        let [anatomy] = &dissect(&report(), &logs)[..] else { panic!("one failover") };
        assert_eq!(
            anatomy.sentence,
            "7.4 s from the stop of node-1 to the first write: 6.0 s detection, 0.7 s election delay, 0.6 s vote, 0.1 s until a client wrote"
        );
        for (what, expected) in [
            (What::Fail, Some((6000.0, Source::Log))),
            (What::Election, Some((6700.0, Source::Log))),
            (What::LastVote, Some((7299.0, Source::Log))),
            (What::Promotion, Some((7300.0, Source::Log))),
            (What::FirstWrite, Some((7420.0, Source::Workload))),
            (What::Agreement, None),
        ] {
            assert_eq!(milestone(anatomy, what), expected, "{what:?}");
        }
        let [election] = &anatomy.elections[..] else { panic!("one election") };
        assert_eq!((election.delay_ms, election.rank, election.granted.len()), (Some(590), Some(0), 2));
        assert_eq!(anatomy.log_error_ms, Some(5.0), "the replica said 5 ms after the kill that its master is gone");
    }

    #[test]
    fn a_lost_election_is_told_with_the_reason_of_the_denial() {
        let denied = (3, 5001, format!("Failover auth denied to {}: its master is up", id(4)));
        let lines = [vec![failed()], election(5000, 7), vec![denied], election(10_700, 8), won(11_300, 8)].concat();
        let anatomy = &dissect(&report(), &logged(&lines))[0];
        assert_eq!(anatomy.elections.iter().map(|one| one.won_ms.is_some()).collect::<Vec<_>>(), [false, true]);
        let expected = "; 2 elections: that of node-4 for epoch 7 was denied because its master is up";
        assert!(anatomy.sentence.ends_with(expected), "{}", anatomy.sentence);
    }

    #[test]
    fn without_logs_polling_tells_what_it_can_and_claims_no_more() {
        let anatomy = &dissect(&report(), &Logs::new())[0];
        assert_eq!(
            anatomy.sentence,
            "7.4 s from the stop of node-1 to the first write: 6.7 s detection, 0.7 s election, 60 ms until a client wrote"
        );
        assert_eq!(milestone(anatomy, What::Fail), Some((6710.0, Source::Poll)));
        assert_eq!((anatomy.elections.len(), anatomy.log_error_ms), (0, None));
    }

    #[test]
    fn a_failover_that_did_not_come_says_what_kept_it() {
        let mut report = report();
        let failover = &mut report.failovers[0];
        (failover.new_master, failover.promotion_ms, failover.first_write_ms) = (None, None, None);
        let blocked = "Currently unable to failover: Disconnected from master for longer than allowed.".to_owned();
        for (lines, second_kill, expected) in [
            (
                vec![failed(), (4, 10_100, blocked)],
                false,
                "FAIL after 6.0 s; node-4: Disconnected from master for longer",
            ),
            (
                vec![failed()],
                true,
                "FAIL after 6.0 s, and no replica began an election (node-4 was hit by a fault, too)",
            ),
            (vec![failed()], false, "FAIL after 6.0 s, and no replica began an election"),
            (
                [vec![failed()], election(10_700, 8)].concat(),
                false,
                "1 election: that of node-4 for epoch 8 got 0 votes",
            ),
        ] {
            let mut report = report.clone();
            if second_kill {
                report.events.insert(3, Event { at_ns: 4_100_000_000, kind: killed(2, 4) });
            }
            let anatomy = &dissect(&report, &logged(&lines))[0];
            let begins =
                anatomy.sentence.starts_with("nobody took over within 16.0 s of the stop of node-1: FAIL after");
            assert!(begins && anatomy.sentence.contains(expected), "{expected}: {}", anatomy.sentence);
        }
    }

    #[test]
    fn what_comes_later_than_the_rules_allow_is_late() {
        let mut report = report();
        assert!(!dissect(&report, &Logs::new())[0].milestones.iter().any(Milestone::late));
        report.failovers[0].promotion_ms = Some(14_000.0);
        let late: Vec<What> = dissect(&report, &Logs::new())[0]
            .milestones
            .iter()
            .filter(|milestone| milestone.late())
            .map(|milestone| milestone.what)
            .collect();
        assert_eq!(late, [What::Promotion]);
    }

    #[test]
    fn without_a_majority_nothing_is_late() {
        let mut report = report();
        report.failovers[0].promotion_ms = Some(14_000.0);
        let mut later = report.clone();
        later.events.insert(3, Event { at_ns: 18_100_000_000, kind: killed(2, 2) });
        let anatomy = &dissect(&later, &Logs::new())[0];
        assert!(!anatomy.majority_lost, "it was killed after the promotion");
        report.events.insert(3, Event { at_ns: 4_000_000_001, kind: killed(2, 2) });
        let anatomy = &dissect(&report, &Logs::new())[0];
        assert!(anatomy.majority_lost && !anatomy.milestones.iter().any(Milestone::late));
        assert!(anatomy.sentence.ends_with("; the masters that were left were no majority"), "{}", anatomy.sentence);
    }

    #[test]
    fn what_changed_hands_without_a_fault_has_no_anatomy() {
        let mut report = report();
        (report.failovers[0].fault, report.failovers[0].kind) = (None, None);
        assert_eq!(dissect(&report, &Logs::new()), []);
        report.events.clear();
        assert_eq!(dissect(&report, &Logs::new()), [], "nothing is known of the nodes");
    }

    proptest! {
        /// Whatever logs say, in whatever order, times are finite and follow the fault, and votes are for
        /// the candidate that asked.
        #[test]
        fn no_logs_lead_it_astray(
            lines in prop::collection::vec((1_u16..=6, 0_i64..40_000, 0_usize..9, 1_u16..=6, 0_u64..12), 0..60),
        ) {
            let text = |kind: usize, of: u16, number: u64| match kind {
                0 => "Redis is starting oO0".to_owned(),
                1 => "Connection with master lost.".to_owned(),
                2 => format!("NODE {} () possibly failing.", id(of)),
                3 => format!("FAIL message received from {} about {}", id(of), id(1)),
                4 => format!("Start of election delayed for {number} milliseconds (rank #{number}, offset 1)."),
                5 => format!("Starting a failover election for epoch {number}."),
                6 => format!("Failover auth granted to {} for epoch {number}", id(of)),
                7 => format!("Failover auth denied to {}: {number}", id(of)),
                _ => "Failover election won: I'm the new master.".to_owned(),
            };
            let lines: Vec<_> = lines.into_iter().map(|(on, at, kind, of, n)| (on, at, text(kind, of, n))).collect();
            let anatomy = &dissect(&report(), &logged(&lines))[0];
            prop_assert!(!anatomy.sentence.is_empty());
            for milestone in &anatomy.milestones {
                prop_assert!(milestone.after_ms.is_finite() && milestone.after_ms >= 0.0, "{milestone:?}");
            }
            for election in &anatomy.elections {
                prop_assert_eq!(election.candidate, NodeNo(4), "the only other node of the shard");
                prop_assert!(election.began_ms <= 7360.0, "{election:?}");
            }
        }
    }
}
