//! The anatomy of a failover: where its time went, from the servers' logs, from polling and from the
//! workload, against what the server's own rules allow. [`dissect`] is pure; [`logs`] reads files.

mod clock;
mod dissection;
mod elections;
mod line;
mod phased;
mod story;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use dissection::dissect;
pub use line::{Line, LogEvent, parse};
pub use phased::tells;
pub use story::phases;

use crate::facts::{Facts, Failover, Logged};
use crate::history::FaultKind;
use crate::units::{NodeNo, ShardNo};

/// The lines about failovers from the log of each node.
pub type Logs = BTreeMap<NodeNo, Vec<Line>>;

/// One failover after a fault or a CLUSTER FAILOVER. Times are in milliseconds since the fault or the command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Anatomy {
    /// The shard of the failover.
    pub shard: ShardNo,
    /// The number of the fault; None if a CLUSTER FAILOVER ordered the failover.
    pub fault: Option<u32>,
    /// The kind of the fault; None for a CLUSTER FAILOVER.
    pub kind: Option<FaultKind>,
    /// The master before the failover.
    pub old_master: NodeNo,
    /// The master after the failover; None if there was no promotion.
    pub new_master: Option<NodeNo>,
    /// The configEpoch of the new master.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// Where the time went, in one sentence.
    pub sentence: String,
    /// The milestones, in the order of a regular failover.
    pub milestones: Vec<Milestone>,
    /// The elections that replicas of the shard began, in order.
    pub elections: Vec<Election>,
    /// The reasons why replicas could not take over, as the server logged them.
    pub blocked: Vec<String>,
    /// Replicas of the shard that a fault stopped, paused or isolated during the failover, at least for a part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<NodeNo>,
    /// Whether faults affected so many masters that the others were not a majority, at least for a part of the
    /// failover. There are no bounds then.
    #[serde(default)]
    pub majority_lost: bool,
    /// Nodes whose clock a fault made wrong, at least for a part of the failover. There are no bounds then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrong_clocks: Vec<NodeNo>,
    /// Nodes whose disk a fault made faulty, at least for a part of the failover. There are no bounds then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faulty_disks: Vec<NodeNo>,
    /// When each node that the fault did not affect learnt of the failover.
    #[serde(default)]
    pub observers: BTreeMap<NodeNo, Observer>,
    /// Times from logs and of the last PONG are late by at most this many milliseconds, and early by at most 1 ms;
    /// None if no clock was read.
    pub log_error_ms: Option<f64>,
}

/// The times at which one node learnt of a failover; None if a time is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observer {
    /// When the node received the last PONG of the old master, before the fault or soon after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pong_ms: Option<f64>,
    /// When the node sent the first PING without a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_ms: Option<f64>,
    /// When the node suspected the old master (`fail?`), by its log or by the first view that shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pfail_ms: Option<f64>,
    /// When the node knew that a majority suspects the old master (`fail`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_ms: Option<f64>,
    /// The first view of the node with the new master as owner of the slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed_ms: Option<f64>,
}

/// An event in the course of a failover.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Milestone {
    /// The kind of milestone.
    pub what: What,
    /// The time of the milestone. It is negative for a last PONG before the fault.
    pub after_ms: f64,
    /// The node whose log or view shows the milestone, or that acknowledged the write.
    pub node: Option<NodeNo>,
    /// Where the time comes from.
    pub source: Source,
    /// The earliest and the latest time by the server's rules, given the times of the earlier milestones; None if
    /// there is no rule.
    #[serde(default)]
    pub expected_ms: Option<(f64, f64)>,
    /// The latest time by the server's rules, from the fault on, with an allowance for a busy machine; None if
    /// there is no rule.
    pub bound_ms: Option<f64>,
}

impl Milestone {
    /// Whether the milestone exceeds its bound.
    pub fn late(&self) -> bool {
        self.bound_ms.is_some_and(|bound_ms| self.after_ms > bound_ms)
    }
}

/// The kinds of milestones, in the order of a failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The last PONG of the master that a node received.
    LastPong,
    /// The first node suspected the master (PFAIL).
    Pfail,
    /// A majority of masters suspected the master (FAIL).
    Fail,
    /// The replica accepted the CLUSTER FAILOVER.
    Accepted,
    /// The master received the request of the replica and paused its clients.
    Paused,
    /// The replica received the replication offset of the paused master.
    Offset,
    /// The replica reached this offset.
    CaughtUp,
    /// The replica that won the election requested votes.
    Election,
    /// The last vote for the winner.
    LastVote,
    /// The replica became master.
    Promotion,
    /// The new master took the epoch of its election.
    Epoch,
    /// The last of the nodes that the fault did not affect knew the new master.
    Agreement,
    /// The workload's first write that the new master acknowledged.
    FirstWrite,
}

impl What {
    /// The name of the milestone in tables.
    pub fn words(self) -> &'static str {
        match self {
            Self::LastPong => "last pong",
            Self::Pfail => "first PFAIL",
            Self::Fail => "FAIL by quorum",
            Self::Accepted => "command accepted",
            Self::Paused => "clients paused",
            Self::Offset => "offset known",
            Self::CaughtUp => "caught up",
            Self::Election => "votes requested",
            Self::LastVote => "last vote",
            Self::Promotion => "promotion",
            Self::Epoch => "epoch taken",
            Self::Agreement => "all agree",
            Self::FirstWrite => "first write",
        }
    }
}

/// The source of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A server's log.
    Log,
    /// Views of the nodes: late by up to the polling interval.
    Poll,
    /// A time in CLUSTER NODES that the node recorded: as exact as a log.
    Nodes,
    /// The workload's operations.
    Workload,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Log => "log",
            Self::Poll => "poll",
            Self::Nodes => "CLUSTER NODES",
            Self::Workload => "workload",
        })
    }
}

/// One replica's attempt to become master.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Election {
    /// The replica that requested votes.
    pub candidate: NodeNo,
    /// The epoch of the election.
    pub epoch: u64,
    /// The delay that the replica announced, in milliseconds.
    pub delay_ms: Option<u64>,
    /// The rank of the candidate among its master's replicas; 0 is the best.
    pub rank: Option<u32>,
    /// When the candidate requested votes.
    pub began_ms: f64,
    /// The nodes that voted for the candidate, with the times of their votes.
    pub granted: BTreeMap<NodeNo, f64>,
    /// The nodes that denied their vote, with the reason that the server logged.
    pub denied: BTreeMap<NodeNo, String>,
    /// When the candidate won; None if it lost.
    pub won_ms: Option<f64>,
}

impl Anatomy {
    /// The time of a milestone in milliseconds; None if it is unknown.
    pub fn at(&self, what: What) -> Option<f64> {
        self.milestones.iter().find(|found| found.what == what).map(|found| found.after_ms)
    }

    /// The time of the milestone before the one at `index`, but not later than that one. Its bar and its
    /// duration begin there.
    pub fn preceding_ms(&self, index: usize) -> f64 {
        // A client does not wait until every node agrees.
        let before = self.milestones[..index].iter().filter(|milestone| milestone.what != What::Agreement);
        before.map(|milestone| milestone.after_ms).fold(0.0, f64::max).min(self.milestones[index].after_ms)
    }

    fn sharpened(&self, failover: &Failover) -> Failover {
        let logged = |what: What| {
            let found = self.milestones.iter().find(|found| found.what == what && found.source == Source::Log);
            found.map(|found| found.after_ms)
        };
        let promotion_ms = logged(What::Promotion).filter(|_| failover.promotion_ms.is_some());
        // Of a failover that an order began, no FAIL is expected.
        let fail_ms = logged(What::Fail).filter(|_| failover.fault.is_some());
        let source = Logged {
            fail: fail_ms.is_some(),
            promotion: promotion_ms.is_some(),
            late_by_ms: self.log_error_ms.unwrap_or_default(),
        };
        Failover {
            fail_ms: fail_ms.or(failover.fail_ms),
            promotion_ms: promotion_ms.or(failover.promotion_ms),
            logged: (source.fail || source.promotion).then_some(source),
            ..failover.clone()
        }
    }

    /// The cause of the failover: `the kill of node-1` or `CLUSTER FAILOVER`.
    pub fn cause(&self) -> String {
        match self.kind {
            Some(kind) => format!("the {kind} of {}", self.old_master),
            None => "CLUSTER FAILOVER".to_owned(),
        }
    }
}

/// Gives the failovers of the facts the times that the logs tell, so that everything that is judged, written and drawn from
/// them has one time for one event.
pub fn sharpen(facts: &mut Facts<'_>, logs: &Logs) {
    let history = facts.history;
    let anatomy = dissect(&history.header, &history.events, &facts.failovers, logs);
    facts.failovers = by_logs(&facts.failovers, &anatomy);
}

/// The failovers with the times of FAIL and of the promotion that the logs tell.
pub fn by_logs(failovers: &[Failover], anatomy: &[Anatomy]) -> Vec<Failover> {
    let key = |failover: &Failover| (failover.shard, failover.fault, failover.old_master, failover.epoch);
    let of = |failover: &Failover| {
        anatomy.iter().find(|each| (each.shard, each.fault, each.old_master, each.epoch) == key(failover))
    };
    failovers
        .iter()
        .map(|failover| match (of(failover), failover.logged) {
            (Some(anatomy), None) => anatomy.sharpened(failover),
            _ => failover.clone(),
        })
        .collect()
}

/// Reads the logs in a report's folder. A node without a readable log has no lines.
pub fn logs(folder: &Path, nodes: impl IntoIterator<Item = NodeNo>) -> Logs {
    let mut logs = Logs::new();
    for node in nodes {
        let Ok(file) = std::fs::File::open(folder.join("logs").join(format!("{node}.log"))) else { continue };
        logs.insert(node, read(BufReader::new(file)));
    }
    logs
}

/// Reads the lines about failovers from one log.
pub fn read(log: impl BufRead) -> Vec<Line> {
    // Bound the memory for a server that logs without limit.
    const MOST_LINES: usize = 100_000;
    let lines = log.split(b'\n').map_while(Result::ok);
    lines.filter_map(|line| parse(&String::from_utf8_lossy(&line))).take(MOST_LINES).collect()
}
