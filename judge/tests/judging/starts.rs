//! Starts that may fail, steps that leave out what did not start, and damaged files.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::facts::{Cause, Facts};
use slotquake_judge::history::FinalValue::{Missing, Number};
use slotquake_judge::history::{EventKind, Exit, ExitSignal, FaultKind, History};
use slotquake_judge::report::Narrator;
use slotquake_judge::suite::{Change, Coming, Damage, Damaged, DataFile};
use slotquake_judge::units::NodeNo;

use crate::expect;
use crate::story::What::Ok as Acked;
use crate::story::{Story, judged, key_of};

fn seen(story: Story, at_ms: f64, node: u16, run_id: &str) -> Story {
    let run_id = run_id.to_owned();
    story.event(at_ms, EventKind::ServerSeen { node: NodeNo(node), run_id, pid: 4711, uptime_s: 0 })
}

/// `node-4` is killed at 2 s.
fn killed() -> Story {
    let story = (1..=6).fold(Story::new(), |story, node| seen(story, 450.0, node, "first")).phase(500.0, "a");
    ended(story.fault(2000.0, FaultKind::Kill, 4, false), 2010.0, 4, killed_by(9, "SIGKILL"))
}

fn killed_by(number: i32, name: &str) -> Exit {
    let signal = Some(ExitSignal { number, name: name.to_owned() });
    Exit { how: format!("signal: {number} ({name})"), signal, status: None }
}

fn exited() -> Exit {
    Exit { how: "exit status: 1".to_owned(), signal: None, status: Some(1) }
}

fn ended(story: Story, at_ms: f64, node: u16, exit: Exit) -> Story {
    story.event(at_ms, EventKind::ServerEnded { node: NodeNo(node), exit })
}

/// A start of `node-4` at 3 s, during which the server of a node ends and more happens.
fn start(expects: &str, node: u16, exit: Exit, then: impl FnOnce(Story) -> Story) -> Story {
    killed().step(3000.0, json!({"start": {"node": "node-4", "expect": expects}}), |story, _| {
        let story = story.event(3000.0, EventKind::FaultHealed { fault: 1, by: "start".to_owned() });
        then(ended(story.event(3000.0, EventKind::FaultLifted { fault: 1 }), 3000.0, node, exit))
    })
}

fn started(expects: &str, node: u16, exit: Exit) -> Story {
    start(expects, node, exit, |story| story)
}

/// The same, where `node-4` did not come up, which its step allows.
fn failed(exit: Exit) -> Story {
    let failed = stays_down(exit.clone());
    start("either", 4, exit, failed)
}

fn stays_down(exit: Exit) -> impl FnOnce(Story) -> Story {
    let failed = EventKind::StartFailed {
        node: NodeNo(4),
        change: Change::default(),
        expect: Coming::Either,
        exit: Some(exit),
        log: vec!["Bad file format".to_owned(), "Exiting".to_owned()],
    };
    let proof = "process is gone (exit status: 1)".to_owned();
    |story| story.event(3000.0, failed).event(3000.0, EventKind::FaultPersists { fault: 1, proof })
}

/// `node-4` comes back at 5 s.
fn back(story: Story) -> History {
    seen(story.heal(5000.0, 1), 5060.0, 4, "second").ends(9000.0)
}

#[test]
fn an_end_is_explained_by_a_start_that_may_fail() {
    let healed_at_the_end = ended(failed(exited()), 8000.0, 4, exited());
    let later = ended(seen(failed(exited()).heal(5000.0, 1), 5060.0, 4, "second"), 6000.0, 4, exited());
    expect(
        "servers",
        vec![
            ("it failed", back(failed(exited())), Pass, "6 servers watched, 2 ends by the plan"),
            ("noticed before it was told", back(started("down", 4, exited())), Pass, "2 ends by the plan"),
            ("it fails again", healed_at_the_end.ends(9000.0), Pass, "3 ends by the plan"),
            ("it must not fail", back(started("up", 4, exited())), Fail, "node-4 exited with status 1 at 3.000 s"),
            ("another one ends", back(started("either", 5, exited())), Fail, "node-5 exited with status 1"),
            (
                "it crashes",
                back(failed(killed_by(11, "SIGSEGV"))),
                Fail,
                "node-4 died of signal 11 (SIGSEGV) at 3.000 s, and another process answered at 5.060 s; a start that may \
                 fail does not explain a crash",
            ),
            ("it ends after it came up", later.ends(9000.0), Fail, "node-4 exited with status 1 at 6.000 s"),
        ],
    );
}

#[test]
fn a_fault_goes_on_when_the_start_that_was_to_undo_it_fails() {
    let without = started("either", 4, exited());
    let unproven = EventKind::HealProven { fault: 1, healed: false, proof: "process is gone".to_owned() };
    expect(
        "faults",
        vec![
            ("undone later", back(failed(exited())), Pass, "1 fault injected"),
            ("never undone", failed(exited()).ends(9000.0), Inconclusive, "was never undone"),
            (
                "not undone by a start",
                without.event(3030.0, unproven).ends(9000.0),
                Inconclusive,
                "did not undo fault 1",
            ),
        ],
    );
    let history = back(failed(exited()));
    let span = &Facts::new(&history).fault_spans[0];
    assert_eq!((span.healed_ns, span.healed_by.as_deref()), (Some(5_000_000_000), Some("start")));
    assert!(span.is_open(4_000_000_000));
}

#[test]
fn a_step_may_leave_out_what_did_not_start() {
    let wait = json!({"await": {"in-sync": "node-4", "within": "5s"}});
    let left_out = |others: bool| {
        let story = failed(exited()).step(4000.0, wait.clone(), |story, step| {
            let story = story.event(4000.0, EventKind::LeftOut { step, nodes: vec![NodeNo(4)], others });
            let awaited = EventKind::Awaited {
                step,
                condition: "in-sync: node-1".to_owned(),
                met: true,
                waited_ms: 1.0,
                within_ms: 5000.0,
                last: String::new(),
            };
            if others { story.event(4001.0, awaited) } else { story }
        });
        back(story)
    };
    expect(
        "steps",
        vec![
            ("for the only node", left_out(false), Pass, "4 of 4 steps were done"),
            ("for one of several", left_out(true), Pass, "4 of 4 steps were done"),
            (
                "a step without a result",
                back(failed(exited()).step(4000.0, wait.clone(), |story, _| story)),
                Inconclusive,
                "step 4 ended without a result",
            ),
        ],
    );
    let evidence = judged(&left_out(false), "steps").evidence;
    for line in [
        "at 3.000 s, node-4 did not start, as its step allows: it exited with status 1",
        "node-4: Bad file format",
        "at 4.000 s, step 4 was not done for node-4, which did not start",
    ] {
        assert!(evidence.iter().any(|each| each == line), "{line}: {evidence:#?}");
    }
}

#[test]
fn the_story_tells_how_a_start_failed() {
    let history = back(failed(exited()));
    let mut narrator = Narrator::new(&history.header.plan, false);
    let lines: Vec<String> = history.events.iter().flat_map(|event| narrator.tell(event)).collect();
    let told = "node-4 did not start, as the step allows: it exited with status 1: Exiting";
    assert!(lines.iter().any(|line| line == told), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains("no fault explains it")), "{lines:#?}");
}

/// `node-1` acknowledges two writes, is killed at 2 s and started at 3 s. One of the writes is gone. A file is damaged.
fn damaged(at_ms: f64, node: u16, file: DataFile) -> History {
    let (kept, gone) = (key_of(1, 0), key_of(1, 1));
    let damaged = Damaged {
        path: "appendonly.aof".to_owned(),
        damage: Damage::Truncate("10%".parse().expect("a share")),
        at: vec![90],
        count: 10,
        bytes_before: 100,
        bytes_after: 90,
        sha256_before: "a".repeat(64),
        sha256_after: "b".repeat(64),
    };
    Story::new()
        .phase(500.0, "a")
        .write(kept, (900.0, 901.0), 1, Acked)
        .write(gone, (1000.0, 1001.0), 1, Acked)
        .fault(2000.0, FaultKind::Kill, 1, true)
        .event(at_ms, EventKind::Corrupted { node: NodeNo(node), file, damaged })
        .heal(3000.0, 1)
        .holds(kept, Number(1))
        .holds(gone, Missing)
        .ends(9000.0)
}

#[test]
fn what_a_damaged_file_may_have_held_is_lost_with_it() {
    for (name, history, expected) in [
        ("the file of the master", damaged(2500.0, 1, DataFile::Aof), Cause::DataLost),
        ("its snapshot", damaged(2500.0, 1, DataFile::Rdb), Cause::DataLost),
        ("a file without keys", damaged(2500.0, 1, DataFile::NodesConf), Cause::Restart),
        ("the file of another node", damaged(2500.0, 4, DataFile::Aof), Cause::Restart),
        ("after it came back", damaged(4000.0, 1, DataFile::Aof), Cause::Restart),
    ] {
        let ledger = Facts::new(&history).ledger;
        let causes: Vec<Cause> = ledger.examples.iter().map(|lost| lost.cause).collect();
        assert_eq!((ledger.lost, causes), (1, vec![expected]), "{name}");
    }
}
