//! Events survive writing and reading.

use std::collections::BTreeMap;

use slotquake_judge::fault::{ClockChange, ClockOf, DiskChange, DiskEffect, DiskFiles, LostBytes, LostName, Unsynced};
use slotquake_judge::history::{
    DiskCount, Event, EventKind, Exit, ExitSignal, FaultKind, FinalValue, Hit, Message, NodeInfo, Printed, ReadOnly,
    Side, StepProblem, WaitEnd,
};
use slotquake_judge::server::{Flavour, Version};
use slotquake_judge::suite::{Address, CameBack, Change, Coming, Damage, Damaged, Data, DataFile, Moved, Only};
use slotquake_judge::topology::{Health, Role};
use slotquake_judge::units::{ClientNo, NodeNo, ShardNo};

use crate::story::{flagged, healthy, taken_over};

#[test]
fn events_survive_a_round_trip_through_json() {
    let text = || "words with \"quotes\" and a\nline".to_owned();
    let mut odd_view = flagged(taken_over(healthy(), 1, 4, 7), 2, Health::Pfail);
    odd_view.strangers.push("f".repeat(40));
    odd_view.link_up = Some(false);
    odd_view.peers.get_mut(&NodeNo(6)).unwrap().role = Role::ReplicaOfUnknown;
    let node_info = NodeInfo {
        node: NodeNo(1),
        shard: ShardNo(1),
        boots_as_master: true,
        addr: "127.1.0.1:6379".parse().unwrap(),
        id: "0".repeat(40),
        name: None,
    };
    let kinds = vec![
        EventKind::Booted { nodes: vec![node_info], took_ms: 2034.5 },
        EventKind::Config { values: BTreeMap::from([("cluster-node-timeout".to_owned(), "1000".to_owned())]) },
        EventKind::Phase { name: "baseline".to_owned() },
        EventKind::StepBegan { step: 0 },
        EventKind::StepEnded { step: 0, problem: None },
        EventKind::StepEnded { step: 1, problem: Some(StepProblem::Suite(text())) },
        EventKind::StepEnded { step: 2, problem: Some(StepProblem::Unmet(text())) },
        EventKind::StepEnded { step: 3, problem: Some(StepProblem::Harness(text())) },
        EventKind::FaultInjected {
            fault: 1,
            kind: FaultKind::Pause,
            target: "shard-1/master".to_owned(),
            node: NodeNo(1),
            shard: Some(ShardNo(1)),
            was_master: true,
        },
        EventKind::FaultInjected {
            fault: 2,
            kind: FaultKind::Kill,
            target: "node-9".to_owned(),
            node: NodeNo(9),
            shard: None,
            was_master: false,
        },
        EventKind::NetworkFaultInjected {
            fault: 3,
            name: "cut".to_owned(),
            kind: FaultKind::Partition,
            target: "shard-1/master, half-clients | others".to_owned(),
            sides: vec![
                Side { nodes: vec![NodeNo(1)], clients: vec![ClientNo(1), ClientNo(2)] },
                Side { nodes: vec![NodeNo(2)], clients: Vec::new() },
            ],
            only: Only::Bus,
            one_way: true,
            pairs: 12,
            hits: vec![
                Hit { node: NodeNo(1), shard: Some(ShardNo(1)), was_master: true },
                Hit { node: NodeNo(9), shard: None, was_master: false },
            ],
        },
        EventKind::ClockFaultInjected {
            fault: 4,
            name: "wrong".to_owned(),
            kind: FaultKind::Clock,
            target: "shard-2/master".to_owned(),
            of: ClockOf::Wall,
            change: ClockChange::Jump("-1h".parse().expect("a jump")),
            hit: Hit { node: NodeNo(2), shard: Some(ShardNo(2)), was_master: true },
        },
        EventKind::ClockFaultInjected {
            fault: 5,
            name: "slow".to_owned(),
            kind: FaultKind::Clock,
            target: "node-9".to_owned(),
            of: ClockOf::Wall,
            change: ClockChange::Drift("-0.5%".parse().expect("a drift")),
            hit: Hit { node: NodeNo(9), shard: None, was_master: false },
        },
        EventKind::DiskFaultInjected {
            fault: 6,
            name: "full".to_owned(),
            kind: FaultKind::Disk,
            target: "node-9".to_owned(),
            change: DiskChange { effect: DiskEffect::Full, files: DiskFiles::NodesConf },
            hit: Hit { node: NodeNo(9), shard: None, was_master: false },
        },
        EventKind::DiskCounted {
            fault: 6,
            calls: vec![DiskCount { call: "write".to_owned(), files: "aof".to_owned(), calls: u64::MAX, hits: 7 }],
            said: text(),
        },
        EventKind::Clock { node: NodeNo(1), unix_us: u64::MAX, sent_ns: 7 },
        EventKind::SpeedProven { node: NodeNo(1), holds: true, proof: text() },
        EventKind::Unheard { node: NodeNo(2), of: NodeNo(1), ping_ms: 0, pong_ms: u64::MAX },
        EventKind::Synced { master: NodeNo(1), full: 2, partial: 1, refused: u64::MAX },
        EventKind::FaultApplied { fault: 1 },
        EventKind::FaultProven { fault: 1, in_effect: false, proof: text() },
        EventKind::FaultEnded { fault: 1, in_effect_ns: 7, seen: text() },
        EventKind::FaultHealed { fault: 1, by: "resume".to_owned() },
        EventKind::FaultLifted { fault: 1 },
        EventKind::FaultPersists { fault: 1, proof: text() },
        EventKind::HealFailed { fault: 1, reason: text() },
        EventKind::HealProven { fault: 1, healed: true, proof: text() },
        EventKind::Viewed { node: NodeNo(1), view: healthy() },
        EventKind::Viewed { node: NodeNo(6), view: odd_view },
        EventKind::Silent { node: NodeNo(1), reason: "timeout".to_owned() },
        EventKind::Lag { replica: NodeNo(4), master: NodeNo(1), bytes: u64::MAX, link_up: false },
        EventKind::Commanded { step: 4, node: NodeNo(4), reply: "OK".to_owned() },
        EventKind::Expected { step: 5, node: NodeNo(1), expected: text(), reply: text(), met: true },
        EventKind::Executed {
            step: 7,
            program: vec!["./check".to_owned(), text()],
            expected: text(),
            met: false,
            exit: None,
            stdout: Printed { text: text(), bytes: u64::MAX },
            stderr: Printed::default(),
            runs: 1,
            took_ms: 0.5,
            within_ms: 30000.0,
        },
        EventKind::Awaited {
            step: 6,
            condition: "promoted: shard-1".to_owned(),
            met: false,
            waited_ms: 15000.25,
            within_ms: 15000.0,
            last: text(),
        },
        EventKind::RedirectProbed {
            node: NodeNo(2),
            slot: 16383,
            reply: "MOVED 16383 127.1.0.3:6379".to_owned(),
            moved_to: Some(NodeNo(3)),
            owner: NodeNo(3),
            answered: true,
        },
        EventKind::RedirectProbed {
            node: NodeNo(2),
            slot: 0,
            reply: text(),
            moved_to: None,
            owner: NodeNo(1),
            answered: false,
        },
        EventKind::ReplicaWriteProbed { node: NodeNo(4), reply: text(), accepted: false, read_only: None },
        EventKind::ReplicaWriteProbed {
            node: NodeNo(4),
            reply: text(),
            accepted: true,
            read_only: Some(ReadOnly::Unknown),
        },
        EventKind::Stalled { by_ms: 120.75 },
        EventKind::Starved { node: NodeNo(2), waited_ms: 120.5, of_ms: 200.25 },
        EventKind::StepsEnded,
        EventKind::Recovered { recovered: false, took_ms: 60000.0, last: text() },
        EventKind::FinalRead { key: 7, node: Some(NodeNo(1)), value: FinalValue::Number(u32::MAX - 1) },
        EventKind::FinalRead { key: 8, node: Some(NodeNo(1)), value: FinalValue::Missing },
        EventKind::FinalRead { key: 9, node: Some(NodeNo(1)), value: FinalValue::Foreign(text()) },
        EventKind::FinalRead { key: 10, node: None, value: FinalValue::Unreadable(text()) },
        EventKind::Interrupted { by: "SIGINT".to_owned() },
        EventKind::LeftBehind { what: text() },
        EventKind::Note { text: text() },
        EventKind::Hooked { hook: "stop".to_owned(), node: NodeNo(1), status: Some(5), took_ms: 12.5, output: text() },
        EventKind::ServerSeen { node: NodeNo(1), run_id: "a".repeat(40), pid: 4711, uptime_s: 7 },
        EventKind::ServerEnded {
            node: NodeNo(1),
            exit: Exit {
                how: text(),
                signal: Some(ExitSignal { number: 11, name: "SIGSEGV".to_owned() }),
                status: None,
            },
        },
        EventKind::ServerEnded { node: NodeNo(1), exit: Exit { how: text(), signal: None, status: Some(1) } },
        EventKind::ServerCrashed { node: NodeNo(1), report: vec![text(), text()] },
        EventKind::ServerConfig {
            node: NodeNo(1),
            values: BTreeMap::from([("cluster-replica-no-failover".to_owned(), "yes".to_owned())]),
        },
        EventKind::Changed { node: NodeNo(1), change: Change { data: Data::Lost, ..change() }, done: text() },
        EventKind::Changed { node: NodeNo(1), change: Change::default(), done: String::new() },
        EventKind::AddressChanged { node: NodeNo(1), from: addr(1), to: addr(7) },
        EventKind::CameBack {
            node: NodeNo(1),
            change: change(),
            found: CameBack {
                version: None,
                run_id: text(),
                keys: None,
                config: BTreeMap::new(),
                id: None,
                former_id: None,
                moved: None,
            },
            unlike: Some(text()),
        },
        EventKind::CameBack {
            node: NodeNo(1),
            change: change(),
            found: CameBack {
                version: Version::numbered(Flavour::Redis, "7.0.15"),
                run_id: text(),
                keys: Some(u64::MAX),
                config: BTreeMap::from([("appendonly".to_owned(), "no".to_owned())]),
                id: Some("a".repeat(40)),
                former_id: Some("b".repeat(40)),
                moved: Some(Box::new(Moved {
                    from: addr(1),
                    to: addr(7),
                    stated: Some(addr(7)),
                    is_left: true,
                    seen: text(),
                })),
            },
            unlike: None,
        },
        EventKind::StartFailed {
            node: NodeNo(1),
            change: change(),
            expect: Coming::Either,
            exit: Some(Exit { how: text(), signal: None, status: Some(1) }),
            log: vec![text(), text()],
        },
        EventKind::StartFailed {
            node: NodeNo(1),
            change: Change::default(),
            expect: Coming::Down,
            exit: None,
            log: Vec::new(),
        },
        EventKind::LeftOut { step: 7, nodes: vec![NodeNo(1), NodeNo(4)], others: true },
        EventKind::Impossible { step: 8, why: "`shard-1/replica` means no node at this moment".to_owned() },
        EventKind::Corrupted { node: NodeNo(1), file: DataFile::Aof, damaged: damaged(Damage::Flip(3)) },
        EventKind::Corrupted {
            node: NodeNo(1),
            file: DataFile::NodesConf,
            damaged: damaged(Damage::Zero("12.5%".parse().expect("a share"))),
        },
        EventKind::PowerLost { fault: 1, node: NodeNo(1), unsynced: Unsynced::default() },
        EventKind::PowerLost {
            fault: 1,
            node: NodeNo(1),
            unsynced: Unsynced {
                bytes: vec![LostBytes { path: text(), bytes_before: u64::MAX, bytes_after: 0, restored: true }],
                names: vec![
                    LostName::Creation { path: text() },
                    LostName::Renaming { from: text(), to: text(), restored: false },
                    LostName::Removal { path: text() },
                ],
            },
        },
        EventKind::Subscribed { subscriber: ClientNo(1), node: NodeNo(1), channels: vec![0, u32::MAX] },
        EventKind::Delivered {
            subscriber: ClientNo(1),
            node: NodeNo(1),
            messages: vec![Message(0, 1, 0), Message(u32::MAX, u32::MAX, u64::MAX)],
        },
        EventKind::Unsubscribed { subscriber: ClientNo(1), node: NodeNo(1), channels: Vec::new(), why: text() },
        waited(WaitEnd::Popped(u32::MAX)),
        waited(WaitEnd::Refused(text())),
        waited(WaitEnd::Broken(text())),
        waited(WaitEnd::Open),
        EventKind::End,
    ];
    let mut seen = std::collections::BTreeSet::new();
    for kind in kinds {
        seen.insert(name(&kind));
        let event = Event { at_ns: u64::MAX / 3, kind };
        let line = serde_json::to_string(&event).unwrap();
        assert!(!line.contains('\n'), "an event is one line: {line}");
        let back: Event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(back, event, "{line}");
    }
    assert_eq!(seen.len(), EVENT_KINDS, "every kind of event is among the rows: {seen:?}");
}

fn damaged(damage: Damage) -> Damaged {
    Damaged {
        path: "appendonlydir/appendonly.aof.1.incr.aof".to_owned(),
        damage,
        at: vec![0, u64::MAX],
        count: 3,
        bytes_before: u64::MAX,
        bytes_after: 0,
        sha256_before: "a".repeat(64),
        sha256_after: "b".repeat(64),
    }
}

fn waited(end: WaitEnd) -> EventKind {
    EventKind::Waited { client: ClientNo(1), key: u32::MAX, node: NodeNo(1), sent_ns: u64::MAX, end }
}

fn addr(node: u8) -> std::net::SocketAddr {
    ([127, 1, 0, node], 6379).into()
}

fn change() -> Change {
    Change {
        server: Some("redis:7.0".to_owned()),
        data: Data::AllLost,
        address: Address::New,
        config: BTreeMap::from([("appendonly".to_owned(), "no".into())]),
    }
}

const EVENT_KINDS: usize = 57;

/// A new kind of event does not compile without a row here. Add it to `EVENT_KINDS` and to the rows above, too.
fn name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Booted { .. } => "booted",
        EventKind::Clock { .. } => "clock",
        EventKind::SpeedProven { .. } => "speed-proven",
        EventKind::Unheard { .. } => "unheard",
        EventKind::Config { .. } => "config",
        EventKind::Phase { .. } => "phase",
        EventKind::StepBegan { .. } => "step-began",
        EventKind::StepEnded { .. } => "step-ended",
        EventKind::FaultInjected { .. } => "fault-injected",
        EventKind::NetworkFaultInjected { .. } => "network-fault-injected",
        EventKind::ClockFaultInjected { .. } => "clock-fault-injected",
        EventKind::DiskFaultInjected { .. } => "disk-fault-injected",
        EventKind::DiskCounted { .. } => "disk-counted",
        EventKind::Synced { .. } => "synced",
        EventKind::FaultApplied { .. } => "fault-applied",
        EventKind::FaultLifted { .. } => "fault-lifted",
        EventKind::FaultPersists { .. } => "fault-persists",
        EventKind::FaultProven { .. } => "fault-proven",
        EventKind::FaultEnded { .. } => "fault-ended",
        EventKind::FaultHealed { .. } => "fault-healed",
        EventKind::HealFailed { .. } => "heal-failed",
        EventKind::HealProven { .. } => "heal-proven",
        EventKind::Viewed { .. } => "viewed",
        EventKind::Silent { .. } => "silent",
        EventKind::Lag { .. } => "lag",
        EventKind::Commanded { .. } => "commanded",
        EventKind::Expected { .. } => "expected",
        EventKind::Executed { .. } => "executed",
        EventKind::Awaited { .. } => "awaited",
        EventKind::RedirectProbed { .. } => "redirect-probed",
        EventKind::ReplicaWriteProbed { .. } => "replica-write-probed",
        EventKind::Stalled { .. } => "stalled",
        EventKind::Starved { .. } => "starved",
        EventKind::StepsEnded => "steps-ended",
        EventKind::Recovered { .. } => "recovered",
        EventKind::FinalRead { .. } => "final-read",
        EventKind::Interrupted { .. } => "interrupted",
        EventKind::LeftBehind { .. } => "left-behind",
        EventKind::Note { .. } => "note",
        EventKind::Hooked { .. } => "hooked",
        EventKind::ServerSeen { .. } => "server-seen",
        EventKind::ServerEnded { .. } => "server-ended",
        EventKind::ServerCrashed { .. } => "server-crashed",
        EventKind::ServerConfig { .. } => "server-config",
        EventKind::Changed { .. } => "changed",
        EventKind::AddressChanged { .. } => "address-changed",
        EventKind::CameBack { .. } => "came-back",
        EventKind::StartFailed { .. } => "start-failed",
        EventKind::LeftOut { .. } => "left-out",
        EventKind::Impossible { .. } => "impossible",
        EventKind::Corrupted { .. } => "corrupted",
        EventKind::PowerLost { .. } => "power-lost",
        EventKind::Subscribed { .. } => "subscribed",
        EventKind::Delivered { .. } => "delivered",
        EventKind::Unsubscribed { .. } => "unsubscribed",
        EventKind::Waited { .. } => "waited",
        EventKind::End => "end",
    }
}
