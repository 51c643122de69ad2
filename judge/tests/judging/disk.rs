//! Faults of disks: what they hit, which ends of servers they explain, and whose reign they may end.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::facts::Facts;
use slotquake_judge::fault::{DiskCall, DiskChange, DiskEffect, DiskFiles};
use slotquake_judge::history::{DiskCount, EventKind, Exit, ExitSignal, FaultKind, Hit};
use slotquake_judge::units::{NodeNo, ShardNo};

use crate::expect;
use crate::story::{Story, ns};

const FULL: DiskChange = DiskChange { effect: DiskEffect::Full, files: DiskFiles::All };

/// The disk of a node is faulty from 2 s to 6 s.
fn faulty(story: Story, node: u16, change: DiskChange) -> Story {
    let injected = EventKind::DiskFaultInjected {
        fault: 7,
        name: "bad".to_owned(),
        kind: FaultKind::Disk,
        target: format!("node-{node}"),
        change,
        hit: Hit { node: NodeNo(node), shard: Some(ShardNo((node - 1) % 3 + 1)), was_master: node <= 3 },
    };
    story
        .event(2000.0, injected)
        .event(2001.0, EventKind::FaultApplied { fault: 7 })
        .event(2002.0, EventKind::FaultProven { fault: 7, in_effect: true, proof: "it is".to_owned() })
}

/// The calls that were counted, and the end of the fault.
fn healed(story: Story, counted: Option<(u64, u64)>) -> Story {
    let count = |(calls, hits)| DiskCount { call: "write".to_owned(), files: "aof".to_owned(), calls, hits };
    let told = |story: Story, calls: Vec<DiskCount>| {
        story.event(5999.0, EventKind::DiskCounted { fault: 7, calls, said: "aof_last_write_status:err".to_owned() })
    };
    let story = match counted {
        None => story,
        Some((0, _)) => told(story, Vec::new()),
        Some(counted) => told(story, vec![count(counted)]),
    };
    story
        .event(6000.0, EventKind::FaultHealed { fault: 7, by: "heal".to_owned() })
        .event(6001.0, EventKind::FaultLifted { fault: 7 })
        .event(6002.0, EventKind::HealProven { fault: 7, healed: true, proof: "it is whole".to_owned() })
}

fn story() -> Story {
    let seen = |story: Story, node| {
        let run_id = "first".to_owned();
        story.event(450.0, EventKind::ServerSeen { node: NodeNo(node), run_id, pid: 4711, uptime_s: 0 })
    };
    (1..=6).fold(Story::new(), seen).phase(500.0, "a")
}

#[test]
fn a_disk_that_hit_no_call_proves_nothing() {
    let run = |counted| healed(faulty(story(), 1, FULL), counted).ends(9000.0);
    expect(
        "faults",
        vec![
            ("every write was hit", run(Some((9, 9))), Pass, "1 fault injected"),
            ("one write was hit", run(Some((9, 1))), Pass, "1 fault injected"),
            (
                "no write was hit",
                run(Some((9, 0))),
                Inconclusive,
                "fault 7 (disk bad (node-1 is full)) hit none of 9 calls on the node's files",
            ),
            ("there was no write", run(Some((0, 0))), Inconclusive, "hit none of 0 calls on the node's files"),
            ("nobody counted", run(None), Inconclusive, "nobody counted the calls that fault 7"),
        ],
    );
}

#[test]
fn a_disk_explains_a_server_that_ends_itself_meanwhile() {
    let ended = |story: Story, at_ms: f64, node: u16, status: Option<i32>, signal: Option<(i32, &str)>| {
        let signal = signal.map(|(number, name)| ExitSignal { number, name: name.to_owned() });
        story.event(
            at_ms,
            EventKind::ServerEnded { node: NodeNo(node), exit: Exit { how: "told".to_owned(), signal, status } },
        )
    };
    let full = || faulty(story(), 5, FULL);
    let rest = |story: Story| healed(story, Some((9, 9))).ends(9000.0);
    expect(
        "servers",
        vec![
            (
                "it could not save",
                rest(ended(full(), 3000.0, 5, Some(1), None)),
                Pass,
                "6 servers watched, 1 end by the plan",
            ),
            ("another node", rest(ended(full(), 3000.0, 4, Some(1), None)), Fail, "node-4 exited with status 1"),
            (
                "before",
                rest(faulty(ended(story(), 1900.0, 5, Some(1), None), 5, FULL)),
                Fail,
                "node-5 exited with status 1",
            ),
            (
                "after",
                ended(healed(full(), Some((9, 9))), 6500.0, 5, Some(1), None).ends(9000.0),
                Fail,
                "no fault explains it",
            ),
            (
                "it crashed",
                rest(ended(full(), 3000.0, 5, None, Some((11, "SIGSEGV")))),
                Fail,
                "disk bad does not explain a crash",
            ),
            (
                "somebody else killed it",
                rest(ended(full(), 3000.0, 5, None, Some((9, "SIGKILL")))),
                Inconclusive,
                "node-5 died of signal 9 (SIGKILL) at 3.000 s; no fault explains it: somebody else did it",
            ),
            ("it was shut down", rest(ended(full(), 3000.0, 5, Some(0), None)), Inconclusive, "somebody else did it"),
        ],
    );
}

/// A disk that holds its server may end a reign, as a freeze does; one on which calls fail does not.
#[test]
fn only_a_disk_that_holds_the_server_begins_a_failover() {
    let stall = |on, files| DiskChange { effect: DiskEffect::Stall { on }, files };
    for (change, expected) in [
        (stall(None, DiskFiles::All), true),
        (stall(None, DiskFiles::Aof), true),
        (stall(Some(DiskCall::Write), DiskFiles::All), true),
        (stall(Some(DiskCall::Write), DiskFiles::Rdb), false),
        (stall(Some(DiskCall::Fsync), DiskFiles::Aof), false),
        (stall(Some(DiskCall::Fsync), DiskFiles::NodesConf), true),
        (FULL, false),
        (
            DiskChange {
                effect: DiskEffect::ShortWrites { share: "30%".parse().expect("a share") },
                files: DiskFiles::All,
            },
            false,
        ),
    ] {
        let history = healed(faulty(story(), 1, change), Some((9, 9))).ends(9000.0);
        let facts = Facts::new(&history);
        let span = &facts.fault_spans[0];
        assert_eq!((span.may_end_a_reign(), span.holds_server()), (expected, expected), "{change}");
        let failovers: Vec<_> = facts.failovers.iter().map(|failover| (failover.fault, failover.from_ns)).collect();
        assert_eq!(failovers, if expected { vec![(Some(7), ns(2001.0))] } else { vec![] }, "{change}");
    }
}

/// A promotion in the phase of a full disk is told of, and not taken for one of another fault.
#[test]
fn promotions_are_counted_whatever_the_disk() {
    let promotions = |exactly: u32| json!({"promotions": {"shard": "shard-1", "exactly": exactly}});
    let quiet = |exactly| healed(faulty(story().invariant(promotions(exactly)), 1, FULL), Some((9, 9))).ends(9000.0);
    expect(
        "promotions",
        vec![
            ("none, as claimed", quiet(0), Pass, "shard-1: 0 promotions"),
            ("none, and one claimed", quiet(1), Fail, "0 promotions"),
        ],
    );
}
