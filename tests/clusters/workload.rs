//! The two loops of a workload on a real cluster.

use std::collections::BTreeMap;
use std::fs;

use slotquake::history::{self, EventKind, Op};

use crate::support::{Places, assert_nothing_left, command, conclusive, fetched};

const CLIENTS: u16 = 8;

/// What each client did while a master was paused, in the order of its issue.
fn driven(pacing: &str) -> BTreeMap<u16, Vec<Op>> {
    let place = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| place.path().join(name).to_str().expect("a plain path").to_owned();
    let suite = format!(
        "name: loop\nabout: A master is paused for a moment.\nworkload: {{ clients: {CLIENTS}, rate: 500/s, loop: {pacing}, \
         read-from: master }}\nsteps:\n  - phase: quiet\n  - settle: 500ms\n  - phase: paused\n  - pause: \
         shard-1/master\n  - settle: 1s\n  - resume: shard-1/master\n  - settle: 500ms\ninvariants:\n  - acked-writes: {{ \
         may-lose: 0 }}\n"
    );
    fs::write(path("loop.yaml"), suite).expect("it is ours");
    let ended = conclusive(|| {
        let _ = fs::remove_dir_all(path("reports"));
        command(&["run", &path("loop.yaml"), "--out", &path("reports"), "--format", "json"])
    });
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert_nothing_left(ended.pid, &place.path().join("reports"));
    let report = fs::read_to_string(path("reports/latest/report.json")).expect("a report");
    assert_eq!(report.contains("closed loop of 8 clients"), pacing == "closed", "the report tells the loop");
    let history = history::read(&place.path().join("reports/latest")).expect("a history");
    let began = history.events.iter().find_map(|event| match &event.kind {
        EventKind::Phase { name } if name == "quiet" => Some(event.at_ns),
        _ => None,
    });
    let began_ns = began.expect("the phase began");
    let mut by_client: BTreeMap<u16, Vec<Op>> = BTreeMap::new();
    for op in history.ops.iter().filter(|op| op.due_ns() >= began_ns && op.outcome().was_tried()) {
        by_client.entry(op.client()).or_default().push(*op);
    }
    for ops in by_client.values_mut() {
        ops.sort_by_key(Op::invoke_ns);
    }
    by_client
}

/// How often an operation began before the one before it had ended.
fn overlaps(ops: &[Op]) -> usize {
    ops.windows(2).filter(|pair| pair[1].invoke_ns() < pair[0].complete_ns()).count()
}

#[test]
fn clients_of_a_closed_loop_wait_for_each_answer_and_those_of_an_open_one_do_not() {
    fetched("redis:6.2");
    let _clusters = Places::take(1);
    let closed = driven("closed");
    assert_eq!(closed.len(), usize::from(CLIENTS));
    for (client, ops) in &closed {
        assert!(ops.len() > 10, "client {client}: {}", ops.len());
        assert_eq!(overlaps(ops), 0, "client {client} of {} operations", ops.len());
    }
    // While a master is paused, the answers of its shard are late. An open loop goes on.
    let open = driven("open");
    assert!(
        open.values().all(|ops| overlaps(ops) > 0),
        "{:?}",
        open.values().map(|ops| overlaps(ops)).collect::<Vec<_>>()
    );
}
