//! The anatomy of a failover: where its time went, from the servers' logs, from polling and from the
//! workload, against what the server's own rules allow. [`dissect`] is pure; [`logs`] reads files.

mod clock;
mod dissection;
mod elections;
mod line;
mod story;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use dissection::dissect;
pub use line::{Line, Says, parse};
pub use story::phases;

use crate::history::FaultKind;
use crate::units::{NodeNo, ShardNo};

/// Every node's log, as far as its lines tell of failovers.
pub type Logs = BTreeMap<NodeNo, Vec<Line>>;

/// One failover after a fault or a CLUSTER FAILOVER. Times are in milliseconds from there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anatomy {
    /// Whose slots were at stake.
    pub shard: ShardNo,
    /// The fault; None where a CLUSTER FAILOVER ordered it.
    pub fault: Option<u32>,
    /// Its kind.
    pub kind: Option<FaultKind>,
    /// The master that it hit, or that had to give way.
    pub old_master: NodeNo,
    /// Its successor, if there was one.
    pub new_master: Option<NodeNo>,
    /// configEpoch of the successor.
    #[serde(default)]
    pub epoch: Option<u64>,
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
    /// What each node that the fault did not hit knew of it, and when.
    #[serde(default)]
    pub observers: BTreeMap<NodeNo, Observer>,
    /// Times of logs, and of the last PONG, are late by at most this much, and early by at most 1 ms; None
    /// where no clock was read.
    pub log_error_ms: Option<f64>,
}

/// When one node learnt what; None is what is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Observer {
    /// The last PONG of the old master that it received, before the fault or soon after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pong_ms: Option<f64>,
    /// When it sent the PING that was not answered any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_ms: Option<f64>,
    /// When it held the old master for failing (`fail?`): as its log says, or as it was first seen to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pfail_ms: Option<f64>,
    /// When it knew that a majority did (`fail`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_ms: Option<f64>,
    /// When it was first seen to know the new master as owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed_ms: Option<f64>,
}

/// A moment of a failover.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Milestone {
    /// What it is.
    pub what: What,
    /// When it came; the last PONG may have come before the fault.
    pub after_ms: f64,
    /// Whose log or view says so, or who acknowledged the write.
    pub node: Option<NodeNo>,
    /// How it is known.
    pub source: Source,
    /// The earliest and the latest that the server's rules say, given when the milestones before it
    /// came; None where there is no rule.
    #[serde(default)]
    pub expected_ms: Option<(f64, f64)>,
    /// The latest that the rules allow from the fault on, with the slack of a busy machine; None where
    /// there is no such rule.
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
    /// The last that any node heard of the master.
    LastPong,
    /// The first node held the master for failing.
    Pfail,
    /// A majority of masters agreed.
    Fail,
    /// The replica accepted the CLUSTER FAILOVER.
    Accepted,
    /// The master was asked for it, and paused its clients.
    Paused,
    /// The replica learnt up to which offset it has to catch up.
    Offset,
    /// It had caught up.
    CaughtUp,
    /// The replica that won asked for votes.
    Election,
    /// The last vote for the winner.
    LastVote,
    /// The replica became master.
    Promotion,
    /// It took the epoch of its election.
    Epoch,
    /// The last of the nodes that the fault did not hit knew it.
    Agreement,
    /// The workload's first write that the new master acknowledged.
    FirstWrite,
}

impl What {
    /// In words, as tables show it.
    pub fn words(self) -> &'static str {
        match self {
            Self::LastPong => "last pong",
            Self::Pfail => "first PFAIL",
            Self::Fail => "FAIL by quorum",
            Self::Accepted => "order accepted",
            Self::Paused => "clients paused",
            Self::Offset => "offset known",
            Self::CaughtUp => "caught up",
            Self::Election => "votes asked for",
            Self::LastVote => "last vote",
            Self::Promotion => "promotion",
            Self::Epoch => "epoch taken",
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
    /// A node's own record of it, as CLUSTER NODES shows it: as exact as a log.
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

impl Anatomy {
    /// When a milestone came, if it is known.
    pub fn at(&self, what: What) -> Option<f64> {
        self.milestones.iter().find(|found| found.what == what).map(|found| found.after_ms)
    }

    /// When that came which a milestone (by its position) follows, at most its own time; its bar and its
    /// duration begin there.
    pub fn preceding_ms(&self, index: usize) -> f64 {
        // A client does not wait until every node agrees.
        let before = self.milestones[..index].iter().filter(|milestone| milestone.what != What::Agreement);
        before.map(|milestone| milestone.after_ms).fold(0.0, f64::max).min(self.milestones[index].after_ms)
    }

    /// What began it: `the kill of node-1`, `CLUSTER FAILOVER`.
    pub fn cause(&self) -> String {
        match self.kind {
            Some(kind) => format!("the {kind} of {}", self.old_master),
            None => "CLUSTER FAILOVER".to_owned(),
        }
    }
}

/// Reads the logs in a report's folder. A node without a log that can be read has no lines.
pub fn logs(folder: &Path, nodes: impl IntoIterator<Item = NodeNo>) -> Logs {
    let mut logs = Logs::new();
    for node in nodes {
        let Ok(file) = std::fs::File::open(folder.join("logs").join(format!("{node}.log"))) else { continue };
        logs.insert(node, read(BufReader::new(file)));
    }
    logs
}

/// The lines of one log that tell of failovers.
pub fn read(log: impl BufRead) -> Vec<Line> {
    // A server that logs without end must not fill the memory.
    const MOST_LINES: usize = 100_000;
    let lines = log.split(b'\n').map_while(Result::ok);
    lines.filter_map(|line| parse(&String::from_utf8_lossy(&line))).take(MOST_LINES).collect()
}
