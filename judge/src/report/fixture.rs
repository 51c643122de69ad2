//! A report like that of a run of `role-swap`, for tests.

use std::collections::BTreeMap;

use serde_json::json;

use super::run::{PhaseReport, Report};
use crate::check::{Judgement, Verdict};
use crate::facts::{Failover, Ledger, OpStats, Outage, PhaseSpan, Window};
use crate::history::{Event, EventKind, Header, Host, SCHEMA_VERSION};
use crate::plan::{Plan, PlannedNode};
use crate::suite::{ClientSet, OpKind, Step, WorkloadSpec};
use crate::units::{Directive, NodeNo, ShardNo, Span, Speed};

/// A judgement of any invariant.
pub fn judgement(invariant: &str, settings: &str, verdict: Verdict) -> Judgement {
    Judgement {
        invariant: invariant.to_owned(),
        settings: settings.to_owned(),
        verdict,
        expected: "no acknowledged write is lost".to_owned(),
        seen: "12 of 4021 acknowledged writes are lost".to_owned(),
        observations: 4021,
        evidence: vec![
            "key-17 = 44, acknowledged at 7.412 s by node-1; 43 was read back".to_owned(),
            "... and 11 more".to_owned(),
        ],
        figures: BTreeMap::from([("lost".to_owned(), 12.0)]),
        witnesses: Vec::new(),
        witnesses_left: 0,
    }
}

/// A report with one failover and one invariant, whose verdict is that of the run.
pub fn report(suite: &str, verdict: Verdict) -> Report {
    let window = Window { from_ns: 0, to_ns: 20_000_000_000 };
    let stats = OpStats { issued: 4021, ok: 4000, failed: 21, p50_ms: 0.4, ..OpStats::default() };
    let phase = |name: &str| PhaseReport {
        span: PhaseSpan { name: name.to_owned(), window },
        reads: stats.clone(),
        writes: stats.clone(),
    };
    Report {
        header: header(suite),
        duration_ms: 24_512.5,
        complete: true,
        verdict,
        invariants: vec![judgement("acked-writes", "may-lose 0", verdict)],
        phases: vec![phase("boot"), phase("master-down")],
        steps: Some(phase("steps")),
        outages: vec![Outage {
            clients: ClientSet::All,
            of: OpKind::Writes,
            shard: ShardNo(1),
            from_ns: 4_000_000_000,
            to_ns: 11_490_000_000,
            unserved: 801,
            ended: true,
            stall: false,
        }],
        failovers: vec![failover()],
        anatomy: Vec::new(),
        ledger: Ledger { acknowledged: 4021, keys_read: 600, ..Ledger::default() },
        events: vec![
            Event { at_ns: 1, kind: EventKind::Phase { name: "boot".to_owned() } },
            Event { at_ns: 20_000_000_000, kind: EventKind::End },
        ],
    }
}

/// node-4 replaces node-1 as master of shard-1.
fn failover() -> Failover {
    serde_json::from_value(json!({
        "shard": "shard-1",
        "fault": 1,
        "kind": "stop",
        "old_master": "node-1",
        "new_master": "node-4",
        "from_ns": 4_000_000_000_u64,
        "until_ns": 20_000_000_000_u64,
        "fail_ms": 6710.0,
        "promotion_ms": 7360.0,
        "first_write_ms": 7420.0,
        "epoch": 8,
    }))
    .expect("a failover")
}

fn header(suite: &str) -> Header {
    Header {
        schema_version: SCHEMA_VERSION,
        tool_version: "0.1.0".to_owned(),
        plan: Plan {
            name: suite.to_owned(),
            about: "Stop a master.".to_owned(),
            seed: 7,
            server: "redis:6.2".to_owned(),
            nodes: vec![PlannedNode { node: NodeNo(1), shard: ShardNo(1), replica_of: None, slots: vec![(0, 16383)] }],
            config: BTreeMap::from([("cluster-node-timeout".to_owned(), Directive("5000".to_owned()))]),
            workload: WorkloadSpec { keys: Some(600), ..WorkloadSpec::default() },
            steps: vec![Step::Settle(Span::secs(2))],
            invariants: Vec::new(),
            recover_within: Span::secs(60),
            max_duration: Span::secs(600),
            if_impossible: crate::suite::IfImpossible::End,
            speed: None,
            matrix: BTreeMap::new(),
        },
        server: serde_json::from_value(json!({
            "asked": "redis:6.2",
            "version": {"flavour": "redis", "major": 6, "minor": 2, "patch": 14},
            "path": "/cache/redis-server",
            "origin": "cache",
        }))
        .expect("a server"),
        other_servers: BTreeMap::new(),
        host: Host { os: "Linux 6.1".to_owned(), cores: 2, backend: crate::server::BackendKind::Local.into() },
        started_at: "2026-11-22T13:05:01Z".to_owned(),
        speed: Speed::REAL,
    }
}
