//! Operations that slotquake did not send. They are a class of their own on disk, and prove nothing about the cluster.

use std::path::Path;

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::facts::{Facts, OpStats, Window};
use slotquake_judge::history::{self, FILE_NAME, History, LINES_FILE_NAME, NO_FREE_KEY, Outcome, Reason};
use slotquake_judge::suite::OpKind;

use crate::expect;
use crate::stored::frames;
use crate::story::What::{Fail as Refused, Info, Ok as Acked, Unsent};
use crate::story::{Story, key_of};

/// One operation of each outcome.
fn one_of_each() -> History {
    let story = Story::new().phase(500.0, "a");
    let whats = [Acked, Refused, Info, Unsent];
    let story = (600..).step_by(100).zip(whats).fold(story, |story, (at_ms, what)| {
        let at_ms = f64::from(at_ms);
        story.write(key_of(1, 0), (at_ms, at_ms + 1.0), 1, what)
    });
    story.ends(2000.0)
}

fn as_text(history: &History) -> Vec<u8> {
    let mut text = Vec::new();
    history::write_lines(history, &mut text).expect("memory");
    text
}

/// Stores a history as a run does, and reads it.
fn read_from_disk(text: &[u8]) -> History {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &Path| std::fs::write(path, zstd::encode_all(text, 1).expect("zstd writes to memory"));
    write(&folder.path().join(LINES_FILE_NAME)).expect("the folder can be written");
    history::read(folder.path()).expect("the history reads")
}

fn stats(history: &History) -> OpStats {
    let facts = Facts::new(history);
    facts.ops.stats(OpKind::Writes, None, Window { from_ns: 0, to_ns: u64::MAX })
}

#[test]
fn stores_and_counts_unsent_operations() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(FILE_NAME), frames(&one_of_each(), 2).concat()).expect("written");
    let of_columns = history::read(folder.path()).expect("the history reads");
    for read in [read_from_disk(&as_text(&one_of_each())), of_columns] {
        let stats = stats(&read);
        assert_eq!((stats.issued, stats.ok, stats.failed, stats.unknown, stats.unsent), (4, 1, 1, 1, 1));
        assert_eq!(stats.reasons[NO_FREE_KEY], 1);
        let unsent = read.ops.iter().find(|op| !op.outcome().was_tried()).expect("one was not sent");
        assert_eq!(read.reason(unsent.outcome()), Some(Reason::NoFreeKey));
        assert_eq!(read.ops, one_of_each().ops);
    }
}

#[test]
fn reads_unsent_operations_of_earlier_versions() {
    let text = String::from_utf8(as_text(&one_of_each())).expect("JSON is UTF-8");
    let without_reasons: Vec<String> = text
        .lines()
        .map(|line| {
            let mut record: serde_json::Map<_, _> = serde_json::from_str(line).expect("a record is an object");
            let op = record.remove("op").filter(|_| record.remove("why").is_some());
            // Readers tell operations by the key at their beginning.
            op.map_or(line.to_owned(), |op| {
                let rest = serde_json::to_string(&record).expect("it was JSON");
                format!("{{\"op\":{op},{}", rest.trim_start_matches('{'))
            })
        })
        .collect();
    assert!(!without_reasons.iter().any(|line| line.contains("\"why\"")), "{without_reasons:#?}");
    let read = read_from_disk(without_reasons.join("\n").as_bytes());
    assert!(read.ops.iter().any(|op| matches!(op.outcome(), Outcome::Unsent(_))), "{:#?}", read.ops);
    let stats = stats(&read);
    assert_eq!((stats.failed, stats.unknown, stats.unsent), (1, 1, 1));
}

#[test]
fn unsent_operations_decide_nothing() {
    let run = |served: &str, whats: &[_]| {
        let settings = json!({"of": "writes", "shard": "shard-1", "served": served});
        let story = Story::new().invariant(json!({ "availability": settings })).phase(500.0, "a");
        let story = (600..).step_by(100).zip(whats).fold(story, |story, (at_ms, &what)| {
            story.write(key_of(1, 0), (f64::from(at_ms), f64::from(at_ms)), 1, what)
        });
        read_from_disk(&as_text(&story.ends(2000.0)))
    };
    let none_sent = "shard-1: no writes were sent";
    let none_served = "shard-1: 0 of 1 writes served (0.0 %), 2 not sent";
    expect(
        "availability",
        vec![
            ("never, none sent", run("never", &[Unsent; 3]), Inconclusive, none_sent),
            ("always, none sent", run("always", &[Unsent; 3]), Inconclusive, none_sent),
            ("never, one refused", run("never", &[Unsent, Refused, Unsent]), Pass, none_served),
            ("always, one refused", run("always", &[Unsent, Refused, Unsent]), Fail, none_served),
            ("never, one served", run("never", &[Unsent, Acked, Unsent]), Fail, "1 of 1 writes served"),
            ("always, one served", run("always", &[Unsent, Acked, Unsent]), Inconclusive, "not sent"),
            ("always, all served", run("always", &[Acked; 3]), Pass, "3 of 3 writes served"),
        ],
    );
}
