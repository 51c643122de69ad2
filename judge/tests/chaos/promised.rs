//! The rules of promises, each with a schedule that it covers and one that it does not.

use std::collections::BTreeMap;

use slotquake_judge::chaos::{Claim, Move, Schedule, Stand, promises};
use slotquake_judge::suite::{Step, WorkloadSpec};
use slotquake_judge::units::Span;

/// A schedule of these moves: when, the step, for how long, and what undoes it.
pub fn schedule(moves: &[(u64, &str, u64, &str)]) -> Schedule {
    let step = |text: &str| Step::try_from(text).expect("a step");
    let of = |&(at, text, lasts, undo): &(u64, &str, u64, &str)| {
        Move::new(Span::millis(at), step(text), (!undo.is_empty()).then(|| (Span::millis(lasts), step(undo))))
    };
    Schedule {
        server: "redis:6.2".to_owned(),
        masters: 3,
        replicas: 1,
        config: BTreeMap::new(),
        workload: WorkloadSpec::default(),
        moves: moves.iter().map(of).collect(),
        rest: Span::default(),
    }
}

fn stand(schedule: &Schedule, claim: Claim) -> Option<Stand> {
    promises(schedule, &[]).into_iter().find(|promise| promise.claim == claim).map(|promise| promise.stand)
}

const PAUSE: (u64, &str, u64, &str) = (0, "pause: shard-1/master", 9000, "resume: shard-1/paused");
const BRIEF: (u64, &str, u64, &str) = (0, "pause: shard-1/master", 1000, "resume: shard-1/paused");
const KILL: (u64, &str, u64, &str) = (0, "kill: shard-1/master", 1000, "start: shard-1/down");
const REPLICA: (u64, &str, u64, &str) = (0, "kill: shard-1/replica", 9000, "start: shard-1/down");
const EMPTY: (u64, &str, u64, &str) = (0, "kill: shard-1/master", 1000, "start: { node: shard-1/down, data: lost }");
const CUT: (u64, &str, u64, &str) =
    (0, "partition: { between: [[shard-1/master, half-clients], others], name: cut-1 }", 9000, "heal: cut-1");
const REPLICATION: (u64, &str, u64, &str) = (
    0,
    "partition: { between: [shard-1/master, shard-1/replicas], only: replication, name: cut-1 }",
    9000,
    "heal: cut-1",
);
const MANUAL: (u64, &str, u64, &str) = (0, "command: { send: CLUSTER FAILOVER, to: shard-1/replica }", 0, "");
const FORCE: (u64, &str, u64, &str) = (0, "command: { send: CLUSTER FAILOVER FORCE, to: shard-1/replica }", 0, "");
const TAKEOVER: (u64, &str, u64, &str) =
    (0, "command: { send: CLUSTER FAILOVER TAKEOVER, to: shard-1/replica }", 0, "");
const CLOCK: (u64, &str, u64, &str) =
    (0, "clock: { node: shard-1/master, jump: 1h, name: wrong-1 }", 1000, "heal: wrong-1");
const DISK: (u64, &str, u64, &str) =
    (0, "disk: { node: shard-1/master, full: true, name: sick-1 }", 1000, "heal: sick-1");

#[test]
fn lost_writes_are_promised_only_without_a_way_to_lose_them() {
    use Stand::{Allowed, Promised, Unknown};
    let later = |(_, step, lasts, undo): (u64, &'static str, u64, &'static str)| (20_000, step, lasts, undo);
    for (moves, expected) in [
        (vec![], Promised),
        (vec![PAUSE], Allowed),
        (vec![BRIEF], Promised),
        // What overlaps may last longer than it says.
        (vec![BRIEF, later(BRIEF)], Promised),
        (vec![BRIEF, REPLICA], Allowed),
        (vec![KILL], Allowed),
        (vec![REPLICA], Promised),
        // The replica may be the master by then.
        (vec![later(REPLICA), MANUAL], Allowed),
        (vec![EMPTY], Allowed),
        (vec![CUT], Allowed),
        (vec![REPLICATION], Promised),
        (vec![MANUAL], Promised),
        (vec![FORCE], Allowed),
        (vec![CLOCK], Unknown),
        (vec![(0, "clock: { node: shard-1/replica, jump: 1h, name: wrong-1 }", 1000, "heal: wrong-1")], Unknown),
    ] {
        assert_eq!(stand(&schedule(&moves), Claim::AckedWrites), Some(expected), "{moves:?}");
    }
    let mut always = schedule(&[KILL]);
    always.config.insert("appendfsync".to_owned(), "always".into());
    assert_eq!(stand(&always, Claim::AckedWrites), Some(Promised), "a brief crash loses nothing that is synchronised");
    let bare = Schedule { replicas: 0, ..schedule(&[CUT]) };
    assert_eq!(stand(&bare, Claim::AckedWrites), Some(Promised), "nobody can replace the master");
}

#[test]
fn the_other_claims_follow_from_the_schedule() {
    use Stand::{Allowed, Promised, Unknown};
    let on = |shard: u16| -> &'static str { ["", "stop: shard-1/master", "stop: shard-2/master"][usize::from(shard)] };
    let two = [(0, on(1), 9000, "start: shard-1/down"), (0, on(2), 9000, "start: shard-2/down")];
    for (moves, claim, expected) in [
        (vec![PAUSE, CUT], Claim::Whole, Promised),
        (vec![TAKEOVER], Claim::Whole, Allowed),
        (vec![DISK], Claim::Whole, Unknown),
        (vec![TAKEOVER], Claim::Epochs, Allowed),
        (vec![CUT], Claim::Epochs, Promised),
        (vec![PAUSE], Claim::OthersServe, Promised),
        (vec![CLOCK], Claim::OthersServe, Unknown),
        (two.to_vec(), Claim::OthersServe, Unknown),
        (vec![PAUSE], Claim::Servers, Promised),
        (vec![DISK], Claim::Servers, Unknown),
    ] {
        assert_eq!(stand(&schedule(&moves), claim), Some(expected), "{claim} {moves:?}");
    }
    let mut covered = schedule(&[PAUSE]);
    covered.config.insert("cluster-require-full-coverage".to_owned(), "yes".into());
    assert_eq!(stand(&covered, Claim::OthersServe), Some(Allowed));
}

#[test]
fn a_shard_serves_again_only_with_a_replica_that_nothing_hits() {
    let for_ever = |moves: &[(u64, &str, u64, &str)]| Schedule { rest: Span::secs(40), ..schedule(moves) };
    let killed = (0, "kill: shard-1/master", 0, "");
    assert_eq!(stand(&schedule(&[PAUSE]), Claim::ServesAgain), None, "nothing asks for it");
    for (found, expected) in [
        (for_ever(&[PAUSE]), Stand::Promised),
        (for_ever(&[killed]), Stand::Promised),
        (for_ever(&[killed, (0, "kill: shard-1/replica", 0, "")]), Stand::Unknown),
        (Schedule { replicas: 0, ..for_ever(&[killed]) }, Stand::Unknown),
        (for_ever(&[killed, (0, "stop: shard-2/master", 9000, "start: shard-2/down")]), Stand::Unknown),
    ] {
        assert_eq!(stand(&found, Claim::ServesAgain), Some(expected), "{:?}", found.moves);
    }
}

#[test]
fn a_shard_of_which_only_the_replica_returns_may_stay_dead() {
    let returns = (0, "kill: shard-1", 1000, "start: shard-1/replicas");
    let alone = Schedule { rest: Span::secs(40), ..schedule(&[returns]) };
    assert_eq!(stand(&alone, Claim::ServesAgain), Some(Stand::Allowed));
    assert_eq!(stand(&alone, Claim::Whole), Some(Stand::Promised), "the master is started in the end");
    let whole = Schedule { rest: Span::secs(40), ..schedule(&[(0, "kill: shard-1", 1000, "start: shard-1/down")]) };
    assert_eq!(stand(&whole, Claim::ServesAgain), Some(Stand::Promised));
}

#[test]
fn a_write_may_take_effect_twice_only_if_it_is_sent_twice() {
    let kinds = |retries| {
        let kinds = serde_json::from_str(r#"{"register": "50%", "counter": "50%"}"#).expect("kinds");
        let workload = WorkloadSpec { kinds: Some(kinds), retries, ..WorkloadSpec::default() };
        Schedule { workload, ..schedule(&[PAUSE]) }
    };
    assert_eq!(stand(&schedule(&[PAUSE]), Claim::ExactlyOnce), None, "registers do not tell");
    assert_eq!(stand(&kinds(0), Claim::ExactlyOnce), Some(Stand::Promised));
    assert_eq!(stand(&kinds(3), Claim::ExactlyOnce), Some(Stand::Allowed));
}

#[test]
fn an_end_that_waits_for_a_promotion_is_not_brief() {
    let mut waits = schedule(&[(0, "pause: shard-1/master", 0, "resume: shard-1/paused")]);
    assert_eq!(stand(&waits, Claim::AckedWrites), Some(Stand::Promised));
    let Step::When(when) =
        serde_json::from_str(r#"{"when": {"event": "promoted", "of": "shard-1/replicas", "within": "15s"}}"#)
            .expect("a step")
    else {
        panic!("it waits")
    };
    waits.moves[0].until = Some(when);
    assert_eq!(waits.moves[0].lasts().as_secs(), 15);
    assert_eq!(stand(&waits, Claim::AckedWrites), Some(Stand::Allowed));
}

#[test]
fn what_a_profile_forbids_must_hold() {
    let found = promises(&schedule(&[PAUSE]), &[Claim::AckedWrites]);
    let acked = found.iter().find(|promise| promise.claim == Claim::AckedWrites).expect("a claim");
    assert!(acked.stand == Stand::Forbidden && acked.stand.must_hold());
    assert!(!Stand::Allowed.must_hold() && !Stand::Unknown.must_hold());
}
