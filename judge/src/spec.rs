//! What the server's own rules allow: how long detection, election and promotion may take, from
//! `cluster-node-timeout` and the server version. Pure arithmetic; every number is sourced.

use std::time::Duration;

use crate::server::Version;
use crate::suite::Milestone;

/// How often the harness looks at the nodes; a time that it observes may be late by this much.
pub const POLL: Duration = Duration::from_millis(100);

/// How long a CLUSTER FAILOVER is tried before the replica gives it up (source: `CLUSTER_MF_TIMEOUT`).
pub const MANUAL_FAILOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// How late the server's cron may carry out what is due (source: `clusterCron` runs every 100 ms; twice
/// that was measured).
pub const CRON: Duration = Duration::from_millis(200);

/// One round of votes on one machine: measured 5 to 50 ms.
pub const VOTES: Duration = Duration::from_millis(50);

/// How long the news of a promotion takes to reach every node: the new master tells all of them at
/// once, measured 0 to 60 ms.
pub const NEWS: Duration = Duration::from_millis(60);

/// What a busy machine may add to any of these times (scheduling of six servers and the harness on
/// two cores; measured, not a rule of the server's).
const MACHINE_SLACK: Duration = Duration::from_millis(700);

/// The failover rules of one server version at one node timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The live `cluster-node-timeout`.
    pub node_timeout: Duration,
    /// The server's version.
    pub version: Version,
    /// How often the workload's clients read the slot table: a client may learn of a promotion this
    /// much later.
    pub client_refresh: Duration,
}

impl Rules {
    /// The earliest and the latest that an observer holds a node for failing (PFAIL) after the last PONG:
    /// one timeout after a PING that is not answered, which is sent half a timeout after the last PONG
    /// at the latest (source: `clusterCron`).
    pub fn pfail(&self) -> (Duration, Duration) {
        (self.node_timeout, self.node_timeout * 3 / 2 + CRON)
    }

    /// The longest that a dead master may stay without the FAIL flag: each observer needs up to
    /// 1.5 timeouts + 200 ms for PFAIL, a quorum's reports must then arrive by gossip (measured over
    /// 30 kills: at most 1.8 timeouts; bound 2 timeouts + 300 ms).
    pub fn fail(&self) -> Duration {
        self.fail_by_rule() + POLL + MACHINE_SLACK
    }

    /// [`Self::fail`] without what polling and a busy machine may add.
    pub fn fail_by_rule(&self) -> Duration {
        self.node_timeout * 2 + Duration::from_millis(300)
    }

    /// The shortest and the longest delay before a replica of this rank asks for votes (source:
    /// `clusterHandleReplicaFailover`): a fixed part, a random one of up to that length, and twice that
    /// for every replica of the same master that has more of its data. In Valkey 9.1 the best-ranked
    /// replica asks at once.
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

    /// How long after an election that was lost the replica begins to wait for the next (source:
    /// `clusterHandleReplicaFailover`: twice the time for votes, of max(2 timeouts, 2 s)).
    pub fn election_retry(&self) -> Duration {
        (self.node_timeout * 2).max(Duration::from_secs(2)) * 2
    }

    /// The longest from the fault to the promotion: detection, the election's delay, the cron's
    /// granularity (200 ms) and one round of votes (50 ms). A lost election is outside of it.
    pub fn promotion(&self) -> Duration {
        self.fail() + self.election_delay(0).1 + CRON + VOTES
    }

    /// The longest from the fault to the first write that the new master acknowledges: the client
    /// has to learn of the promotion and to connect.
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

    /// How long views may differ after a heal: a restarted master's flag is cleared at the latest
    /// after 2 timeouts (`clearNodeFailureIfNeeded`), and the state turns ok after a rejoin delay of
    /// up to 5 s and 2 s after the start.
    pub fn agreement(&self) -> Duration {
        self.node_timeout * 2 + self.rejoin() + POLL + MACHINE_SLACK
    }

    /// The longest that a master without a majority may go on acknowledging writes, from the cut on:
    /// each peer is pinged at the latest half a timeout after its last answer, is held for failing one
    /// timeout after that ping, and is counted at the next cron; then the state is `fail` (source:
    /// `clusterCron`, `clusterUpdateState`; measured from 1 timeout to 1.5 timeouts + 200 ms).
    pub fn write_cutoff(&self) -> Duration {
        self.pfail().1 + MACHINE_SLACK
    }

    /// The longest that a cut-off master and its successor may both acknowledge writes: the majority
    /// needs at least one timeout to hold the old master for failing, whatever the delay of the
    /// election; the old master may need [`Self::write_cutoff`].
    pub fn split_brain(&self) -> Duration {
        self.write_cutoff().saturating_sub(self.node_timeout)
    }

    fn rejoin(&self) -> Duration {
        self.node_timeout.clamp(Duration::from_millis(500), Duration::from_secs(5)) + Duration::from_secs(2)
    }

    /// The deadline of a wait whose length a suite left to `spec`: time for a promotion that lost
    /// one election and for replicas to connect again, doubled. It ends a wait that is hopeless; it judges nothing.
    pub fn patience(&self) -> Duration {
        (self.promotion() + self.election_retry() + self.agreement()) * 2
    }
}

/// How long bus links may take to be connected again after the network is whole: a link whose peer
/// left a PING unanswered for half a timeout is closed and made anew, its TCP may be waiting to send
/// again, and views are gathered by polling. Measured: well under one timeout; the rest is slack. It
/// ends a wait; it judges nothing.
pub fn bus_links_back(node_timeout: Duration) -> Duration {
    node_timeout * 3 + Duration::from_secs(5)
}
