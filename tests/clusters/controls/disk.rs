//! Faults of disks on real servers: what they hit, and what they must not.

use slotquake::check::{Judgement, Verdict};

use super::control::{CONTROL, Control, Hold, StayOpen, one, shown, zeroed_in_effect};

/// The proofs of a fault, by its name.
fn line<'a>(judgements: &'a [Judgement], name: &str) -> &'a str {
    let faults = one(judgements, "faults");
    let line = faults.evidence.iter().find(|line| line.contains(&format!("disk {name} ")));
    line.unwrap_or_else(|| panic!("nothing about {name}: {}", shown(judgements)))
}

/// Each fault hits the calls that it names, by the counters of the library, and the servers say so where they say anything.
#[test]
fn every_fault_shows_in_the_counters_and_in_the_words_of_the_servers() {
    let judgements = Control {
        steps: &[
            "phase: healthy",
            "await: { in-sync: replicas, within: spec }",
            "settle: 1s",
            "phase: faulty",
            "disk: { node: node-1, full: true, files: aof, name: full }",
            "disk: { node: node-2, fail: EIO, on: write, files: rdb, name: failing }",
            "disk: { node: node-3, short-writes: 50%, files: aof, name: short }",
            // Not the replica of node-1, which takes no writes: it has nothing to synchronise.
            "disk: { node: node-6, slow: 300ms, on: fsync, name: slow }",
            "disk: { node: node-5, stall: true, on: fsync, name: stalled }",
            "disk: { node: node-4, fail: EROFS, on: rename, files: aof, name: renaming }",
            "command: { send: BGSAVE, to: node-2 }",
            "command: { send: BGREWRITEAOF, to: node-4, errors: allow }",
            "settle: 3s",
            "expect: { send: INFO persistence, to: node-1, contains: [\"aof_last_write_status:err\"] }",
            "expect: { send: INFO persistence, to: node-2, contains: [\"rdb_last_bgsave_status:err\"] }",
            // Its slot is 3300.
            "expect: { send: SET b 1, to: node-1, starts-with: MISCONF Errors writing to the AOF file }",
            "heal: all",
            // The server tries again once a second, and waits up to two seconds for an fsync that is under way.
            "settle: 6s",
            "expect: { send: INFO persistence, to: node-1, contains: [\"aof_last_write_status:ok\"] }",
            "command: { send: BGSAVE, to: node-2 }",
            "settle: 4s",
            "expect: { send: INFO persistence, to: node-2, contains: [\"rdb_last_bgsave_status:ok\"] }",
        ],
        invariants: &[
            ("acked-writes: { may-lose: 0 }", Hold),
            ("promotions: { shard: all, exactly: 0 }", Hold),
            ("replica-lag: { at: end, max-bytes: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
    for (name, hit, said) in [
        ("full", "write calls on aof", "aof_last_write_status:err"),
        ("failing", "write calls on rdb", "rdb_last_bgsave_status:err"),
        ("slow", "fsync calls on aof", "aof_last_write_status:ok"),
        ("short", "write calls on aof", ""),
        ("stalled", "fsync calls on aof", "aof_pending_bio_fsync:1"),
        ("renaming", "rename calls on aof", "aof_last_write_status:ok"),
    ] {
        let line = line(&judgements, name);
        assert!(line.contains(hit) && line.contains(said), "{name}: {line}");
        // Nothing but what the fault names.
        let hits = line
            .split_once("it had hit ")
            .and_then(|(_, rest)| rest.split_once(", and the server said"))
            .expect("hits")
            .0;
        assert!(!hits.contains(", "), "{name}: {hits}");
    }
}

/// The cluster writes its AOF, and no RDB file, so a fault for RDB files hits nothing: it tested nothing, and nobody is
/// refused.
#[test]
fn a_fault_for_one_kind_of_file_leaves_the_others_alone() {
    let judgements = Control {
        steps: &[
            "phase: full",
            "disk: { node: node-1, full: true, files: rdb, name: full }",
            "settle: 2s",
            "heal: full",
            "settle: 500ms",
        ],
        invariants: &[
            ("availability: { of: writes, shard: all, served: always }", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        own: &[("faults", StayOpen(&["disk full (node-1 is full, for RDB files)", "hit none of "]))],
        ..CONTROL
    }
    .is_caught();
    assert_eq!(one(&judgements, "steps").verdict, Verdict::Pass, "{}", shown(&judgements));
}

/// The disk is that of the host: a server that is started on it has it, and one that is killed leaves it.
#[test]
fn a_disk_outlasts_a_server() {
    let judgements = Control {
        steps: &[
            "phase: faulty",
            "kill: node-4",
            "disk: { node: node-4, slow: 20ms, on: write, files: aof, name: awaited }",
            "disk: { node: node-5, slow: 20ms, on: write, files: aof, name: left }",
            "settle: 1s",
            "start: node-4",
            // Until then it writes no AOF.
            "await: { in-sync: node-4, within: spec }",
            "kill: node-5",
            "settle: 1s",
            "heal: all",
            "start: node-5",
            "settle: 500ms",
        ],
        invariants: &[("acked-writes: { may-lose: 0 }", Hold)],
        ..CONTROL
    }
    .is_caught();
    for (name, words) in [
        ("awaited", "and the next server will have this disk; it has hit no call yet"),
        ("awaited", "undone: the library between its server and its files goes by it"),
        ("left", "and the server said nothing: connection refused"),
        ("left", "and the next server will have this disk"),
    ] {
        assert!(line(&judgements, name).contains(words), "{name}: {}", line(&judgements, name));
    }
}

/// Another program makes the disk of a node whole while a fault is in force. The run then does not show what the suite is
/// about.
#[test]
fn a_disk_that_is_made_whole_from_outside_proves_nothing() {
    // No other control makes the disk of node-6 slow by this much. The file may hold two rules.
    let meddle = zeroed_in_effect("node-6/disk", 77_000_000_u64.to_ne_bytes(), (96, 16));
    let judgements = Control {
        steps: &[
            "phase: slow",
            "disk: { node: node-6, slow: 77ms, on: fsync, name: slow }",
            "settle: 3s",
            "heal: slow",
            "settle: 500ms",
        ],
        invariants: &[("acked-writes: { may-lose: 0 }", Hold)],
        own: &[("faults", StayOpen(&["disk slow", "was in effect for only", "something else has changed its disk"]))],
        ..CONTROL
    }
    .is_caught_while(&meddle);
    assert_eq!(one(&judgements, "steps").verdict, Verdict::Pass, "{}", shown(&judgements));
}
