//! The server's own rules: how long detection, election and promotion may take, from
//! `cluster-node-timeout` and the server version. Pure arithmetic; every number has a source.

use std::time::Duration;

use crate::server::Version;
use crate::suite::Milestone;

/// How often the harness polls the nodes. A time that it observes may be late by this much.
pub const POLL: Duration = Duration::from_millis(100);

/// How long a replica tries a CLUSTER FAILOVER before it gives up (source: `CLUSTER_MF_TIMEOUT`).
pub const MANUAL_FAILOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// How late the server's cron may run a task that is due (source: `clusterCron` runs every 100 ms; measured:
/// up to twice that).
pub const CRON: Duration = Duration::from_millis(200);

/// The longest round of votes on one machine (measured: 5 to 50 ms).
pub const VOTES: Duration = Duration::from_millis(50);

/// The longest time until every node knows a promotion. The new master informs all nodes at once (measured:
/// 0 to 60 ms).
pub const NEWS: Duration = Duration::from_millis(60);

/// The allowance for a busy machine in each of these times (measured with six servers and the harness on two
/// cores; not a rule of the server).
const MACHINE_SLACK: Duration = Duration::from_millis(700);

/// The failover rules of one server version at one node timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The current `cluster-node-timeout`.
    pub node_timeout: Duration,
    /// The server's version.
    pub version: Version,
    /// How often the workload's clients refresh their slot tables. A client may learn of a promotion this
    /// much later.
    pub client_refresh: Duration,
}

impl Rules {
    /// The earliest and the latest time after the last PONG at which an observer suspects a node (PFAIL): one
    /// timeout after a PING without a reply, which the observer sends at most half a timeout after the last
    /// PONG (source: `clusterCron`).
    pub fn pfail(&self) -> (Duration, Duration) {
        (self.node_timeout, self.node_timeout * 3 / 2 + CRON)
    }

    /// The longest time until a dead master has the FAIL flag. Each observer needs up to 1.5 timeouts + 200 ms
    /// for PFAIL, then the reports of a quorum must arrive by gossip (measured over 30 kills: at most
    /// 1.8 timeouts; bound: 2 timeouts + 300 ms).
    pub fn fail(&self) -> Duration {
        self.fail_by_rule() + POLL + MACHINE_SLACK
    }

    /// [`Self::fail`] without the allowances for polling and a busy machine.
    pub fn fail_by_rule(&self) -> Duration {
        self.node_timeout * 2 + Duration::from_millis(300)
    }

    /// The shortest and the longest delay before a replica of this rank requests votes (source:
    /// `clusterHandleReplicaFailover`): a fixed part, a random part of up to the same length, and twice the
    /// fixed part for every replica of the same master that has more of its data. In Valkey 9.1 the replica with
    /// the best rank requests votes at once.
    pub fn election_delay(&self, rank: u32) -> (Duration, Duration) {
        let part = if self.version.is_valkey_at_least(9, 0) {
            (self.node_timeout / 30).min(Duration::from_millis(500))
        } else {
            Duration::from_millis(500)
        };
        if rank == 0 && self.version.is_valkey_at_least(9, 1) {
            return (Duration::ZERO, Duration::ZERO);
        }
        let ranked = part.saturating_mul(rank.saturating_mul(2));
        (ranked + part, ranked + part * 2)
    }

    /// The same rules, with the version among these whose elections may take the longest.
    #[must_use]
    pub fn with_slowest(self, versions: impl IntoIterator<Item = Version>) -> Self {
        let of = |version| Self { version, ..self };
        let slowest = versions.into_iter().max_by_key(|&version| of(version).election_delay(0).1);
        slowest.map_or(self, of)
    }

    /// How long after a lost election the replica schedules the next one (source:
    /// `clusterHandleReplicaFailover`: twice the time for votes, which is max(2 timeouts, 2 s)).
    pub fn election_retry(&self) -> Duration {
        (self.node_timeout * 2).max(Duration::from_secs(2)) * 2
    }

    /// The longest time from the fault to the promotion: detection, election delay, the cron's granularity
    /// (200 ms) and one round of votes (50 ms). It does not include a lost election.
    pub fn promotion(&self) -> Duration {
        self.fail() + self.election_delay(0).1 + CRON + VOTES
    }

    /// The longest time from the fault to the first write that the new master acknowledges. It includes the time
    /// for a client to learn of the promotion and to connect.
    pub fn first_write(&self) -> Duration {
        self.promotion() + self.client()
    }

    /// How long a client may take to learn of a promotion and to connect.
    pub fn client(&self) -> Duration {
        self.client_refresh + Duration::from_millis(200)
    }

    /// The bound of a milestone.
    pub fn milestone(&self, milestone: Milestone) -> Duration {
        match milestone {
            Milestone::Fail => self.fail(),
            Milestone::Promotion => self.promotion(),
            Milestone::FirstWrite => self.first_write(),
        }
    }

    /// How long views may differ after a heal. The flag of a restarted master is cleared after at most 2 timeouts
    /// (source: `clearNodeFailureIfNeeded`), and the cluster state becomes ok after a rejoin delay of up to 5 s,
    /// and at the earliest 2 s after the start.
    pub fn agreement(&self) -> Duration {
        self.node_timeout * 2 + self.rejoin() + POLL + MACHINE_SLACK
    }

    /// The longest time after a cut in which a master without a majority may acknowledge writes. The master pings
    /// each peer at most half a timeout after its last reply, suspects it one timeout after that ping, and
    /// counts it at the next cron. Then the cluster state is `fail` (source:
    /// `clusterCron`, `clusterUpdateState`; measured from 1 timeout to 1.5 timeouts + 200 ms).
    ///
    /// A master that `hears` the others, which do not hear it, takes longer: each of them still sends it a PING, at most half
    /// a timeout after the cut. From its gossip the master takes when peers last replied to others, and puts off its own
    /// PING to them (source: `clusterProcessGossipSection`; measured up to 1.77 timeouts).
    pub fn write_cutoff(&self, hears: bool) -> Duration {
        let gossip = if hears { self.node_timeout / 2 } else { Duration::ZERO };
        self.pfail().1 + gossip + MACHINE_SLACK
    }

    /// The longest time in which an isolated master and the new master may both acknowledge writes. The majority
    /// needs at least one timeout to suspect the old master, even without an election delay. The old master may
    /// acknowledge writes for [`Self::write_cutoff`].
    pub fn split_brain(&self, hears: bool) -> Duration {
        self.write_cutoff(hears).saturating_sub(self.node_timeout)
    }

    /// How long the views of so many nodes may be reverted in all after the heal of a fault of links. Each node has a link of
    /// its own to a node that was cut off. Packets from before the heal that TCP sends again, after pauses that double, may
    /// arrive on it seconds later, and the receiver takes their word for the sender's role until the sender's next PING or
    /// PONG, which comes within half the node timeout (cluster.c, `clusterProcessPacket` and `clusterCron`). Measured with
    /// six nodes, in some of many runs: 0.3 to 1.6 s a node and 3.3 to 4.3 s in all at `cluster-node-timeout 5000`, 3.1 s in
    /// all at 1000.
    pub fn reverted_views(&self, nodes: usize) -> Duration {
        (self.node_timeout / 2 + CRON + POLL) * nodes.saturating_sub(1) as u32
    }

    fn rejoin(&self) -> Duration {
        self.node_timeout.clamp(Duration::from_millis(500), Duration::from_secs(5)) + Duration::from_secs(2)
    }

    /// The deadline of a wait with the bound `spec`: twice the time for a promotion with one lost election and for
    /// replicas to reconnect. It only ends a wait; no verdict depends on it.
    pub fn patience(&self) -> Duration {
        (self.promotion() + self.election_retry() + self.agreement()) * 2
    }
}

/// How long cluster bus links may take to reconnect after a network fault is healed. A node closes and reopens a
/// link whose peer has not answered a PING for half a timeout, TCP may be waiting to retransmit, and views are
/// polled. Measured: well under one timeout; the rest is an allowance. It only ends a wait; no verdict depends on
/// it.
pub fn bus_links_back(node_timeout: Duration) -> Duration {
    node_timeout * 3 + Duration::from_secs(5)
}

/// A directive that changes failovers, or what survives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailoverSetting {
    /// Its name.
    pub name: &'static str,
    /// Its default (`config.c`, the same from Redis 6.2 to Valkey 9.1); None if a version decides it.
    pub default: Option<&'static str>,
    /// What it decides.
    pub decides: &'static str,
}

/// The directives that every run compares at its begin and its end, beside those of the plan.
pub const FAILOVER_SETTINGS: &[FailoverSetting] = &[
    FailoverSetting {
        name: "cluster-replica-no-failover",
        default: Some("no"),
        decides: "whether this node, as a replica, starts a failover by itself",
    },
    FailoverSetting {
        name: "cluster-replica-validity-factor",
        default: Some("10"),
        decides: "how old the data of a replica may be for a failover",
    },
    FailoverSetting {
        name: "cluster-node-timeout",
        default: Some("15000"),
        decides: "how soon this node suspects others",
    },
    FailoverSetting {
        name: "cluster-require-full-coverage",
        default: Some("yes"),
        decides: "whether this node refuses all slots while one is not covered",
    },
    FailoverSetting {
        name: "cluster-allow-reads-when-down",
        default: Some("no"),
        decides: "whether this node serves reads while the cluster is down",
    },
    FailoverSetting {
        name: "cluster-migration-barrier",
        default: Some("1"),
        decides: "whether its replicas may move to other masters",
    },
    FailoverSetting {
        name: "min-replicas-to-write",
        default: Some("0"),
        decides: "whether this node refuses writes without replicas",
    },
    FailoverSetting {
        name: "replica-read-only",
        default: Some("yes"),
        decides: "whether this node, as a replica, refuses writes",
    },
    FailoverSetting { name: "appendonly", default: Some("no"), decides: "what this node keeps over a restart" },
    FailoverSetting { name: "appendfsync", default: None, decides: "what this node keeps over a restart" },
    FailoverSetting { name: "maxmemory-policy", default: None, decides: "whether this node evicts keys" },
    FailoverSetting { name: "maxmemory", default: Some("0"), decides: "whether this node evicts keys" },
];
