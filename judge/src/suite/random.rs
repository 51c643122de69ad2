//! Faults that the seed draws: what can be drawn, each with its end, and the step `random`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::seeded::Seeded;
use crate::units::{ParseError, ShardNo, Span, text_form};

/// What can be drawn: a fault with its end, or a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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
    /// SIGKILL of a whole shard, then a start of its replicas only.
    ReplicaReturns,
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

impl Act {
    /// The begin of the name of its fault.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Isolate | Self::Minority | Self::OneWay | Self::BusOnly | Self::Replication => "cut",
            Self::Slow => "late",
            Self::ClockJump | Self::ClockDrift => "wrong",
            Self::DiskFull | Self::DiskSlow => "sick",
            Self::Kill
            | Self::Stop
            | Self::Pause
            | Self::PowerLoss
            | Self::Empty
            | Self::ReplicaReturns
            | Self::Failover
            | Self::FailoverForce
            | Self::Takeover => "none",
        }
    }

    /// Its step on a shard and the one that undoes it, as in a suite; None where it needs a replica and there is none.
    pub(crate) fn steps(
        self,
        shard: ShardNo,
        has_replicas: bool,
        name: &str,
        random: &mut Seeded,
    ) -> Option<(String, Option<String>)> {
        // Masters matter more.
        let role = if has_replicas && random.below(4) == 0 { "replica" } else { "master" };
        let node = format!("{shard}/{role}");
        let up = Some(format!("start: {shard}/down"));
        let heal = || Some(format!("heal: {name}"));
        let cut = |sides: &str, more: &str| (format!("partition: {{ between: {sides}{more}, name: {name} }}"), heal());
        let failover = |how: &str| {
            (format!("command: {{ send: CLUSTER FAILOVER{how}, to: {shard}/replica, errors: allow }}"), None)
        };
        Some(match self {
            Self::Kill => (format!("kill: {node}"), up),
            Self::Stop => (format!("stop: {node}"), up),
            Self::Pause => (format!("pause: {node}"), Some(format!("resume: {shard}/paused"))),
            Self::PowerLoss if has_replicas && random.below(2) == 0 => (format!("power-loss: {shard}"), up),
            Self::PowerLoss => (format!("power-loss: {node}"), up),
            Self::Empty => (format!("kill: {node}"), Some(format!("start: {{ node: {shard}/down, data: lost }}"))),
            Self::ReplicaReturns if has_replicas => {
                (format!("kill: {shard}"), Some(format!("start: {shard}/replicas")))
            }
            Self::Isolate => cut(&format!("[{node}, others]"), ""),
            Self::Minority => cut(&format!("[[{shard}/master, half-clients], others]"), ""),
            Self::OneWay => cut(&format!("[{node}, others]"), ", one-way: true"),
            Self::BusOnly => cut(&format!("[{node}, others]"), ", only: bus"),
            Self::Replication if has_replicas => {
                cut(&format!("[{shard}/master, {shard}/replicas]"), ", only: replication")
            }
            Self::Slow => {
                let latency = pick(random, &["50ms", "200ms", "500ms"]);
                (format!("slow: {{ between: [{node}, others], latency: {latency}, name: {name} }}"), heal())
            }
            Self::ClockJump => {
                let jump = pick(random, &["1h", "-1h", "10s", "-10s", "1s", "-1s"]);
                (format!("clock: {{ node: {node}, jump: {jump}, name: {name} }}"), heal())
            }
            Self::ClockDrift => {
                let drift = pick(random, &["10%", "-10%", "50%", "-50%"]);
                (format!("clock: {{ node: {node}, drift: {drift}, name: {name} }}"), heal())
            }
            Self::DiskFull => {
                let files = pick(random, &["all", "aof", "nodes.conf"]);
                (format!("disk: {{ node: {node}, full: true, files: {files}, name: {name} }}"), heal())
            }
            Self::DiskSlow => (format!("disk: {{ node: {node}, slow: 500ms, on: fsync, name: {name} }}"), heal()),
            Self::Failover if has_replicas => failover(""),
            Self::FailoverForce if has_replicas => failover(" FORCE"),
            Self::Takeover if has_replicas => failover(" TAKEOVER"),
            Self::ReplicaReturns | Self::Replication | Self::Failover | Self::FailoverForce | Self::Takeover => {
                return None;
            }
        })
    }
}

fn pick<'a>(random: &mut Seeded, from: &[&'a str]) -> &'a str {
    from[random.below(from.len() as u64) as usize]
}

/// A time between two, both included: `2s..10s`, or one time, `5s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    /// The shortest.
    pub least: Span,
    /// The longest.
    pub most: Span,
}

impl Between {
    /// A time of it, in milliseconds.
    pub(crate) fn draw(self, random: &mut Seeded) -> Duration {
        let (least, most) = (self.least.0.as_millis() as u64, self.most.0.as_millis() as u64);
        Duration::from_millis(least + random.below(most.saturating_sub(least) + 1))
    }
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least == self.most { self.least.fmt(f) } else { write!(f, "{}..{}", self.least, self.most) }
    }
}

impl FromStr for Between {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let (least, most): (Span, Span) = (least.trim().parse()?, most.trim().parse()?);
        if least > most {
            return Err(ParseError::new(format!(
                "\"{text}\": the first time is longer (hint: write it like `2s..10s`)"
            )));
        }
        Ok(Self { least, most })
    }
}

text_form!(Between, "Between", "A time, such as `5s`, or two between which one is drawn: `2s..10s`.", None);

/// Faults that the seed of the run draws: `{ faults: [kill, pause], every: 2s..10s, for: 60s }`. The plan has them as ordinary
/// steps. Each hits a shard of its own choice, and all are undone in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RandomFaults {
    /// What to draw from.
    pub faults: Vec<Act>,
    /// How long after the begin of one the next one begins.
    pub every: Between,
    /// How long each lasts; by default as `every` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Between>,
    /// How long it takes altogether.
    #[serde(rename = "for")]
    pub whole: Span,
}
