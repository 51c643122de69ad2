//! The files of servers in containers: faulty disks, loss of power and damage. Addresses and directives that a start changes.

use slotquake::history::EventKind;

use super::library::{assert_clean, history_of};
use super::{out, run, suite};
use crate::engine;
use crate::support::{command, conclusive};
use crate::turn;

/// A disk that is full, a loss of power, a damaged file and lost data, each of another node.
const FILES: &str = "  - await: { in-sync: all, within: 20s }
  - settle: 1s
  - disk: { node: node-1, full: true, name: full }
  - settle: 2s
  - expect: { send: SET b 1, to: node-1, starts-with: MISCONF Errors writing to the AOF file }
  - heal: full
  - settle: 3s
  - power-loss: node-5
  - start: node-5
  - kill: node-4
  - corrupt: { node: node-4, file: aof, truncate: 10% }
  - start: node-4
  - stop: node-6
  - start: { node: node-6, data: lost }
  - await: { in-sync: all, within: 60s }
";

#[test]
fn files_in_containers_are_lost_and_damaged_as_on_the_local_backend() {
    let Some(_engine) = turn::shared(2) else { return };
    let (folder, out) = out();
    let own = suite(&folder, FILES);
    for server in ["redis:6.2", "valkey:9.1"] {
        // Without any fsync, whatever was written since the steps began is lost.
        let more = [&own, "--server", server, "--set", "cluster.config.appendfsync=no", "--speed", "3"];
        let ended = conclusive(|| command(&run(&out, &more)));
        assert_eq!(ended.code(), Some(0), "{}", ended.whole());
        assert_clean(&ended, &folder);
        let (mut hits, mut lost, mut damaged, mut removed) = (0, 0, 0, String::new());
        for event in history_of(&ended).events {
            match event.kind {
                EventKind::DiskCounted { calls, said, .. } => {
                    hits += calls.iter().map(|count| count.hits).sum::<u64>();
                    assert!(said.contains("aof_last_write_status:err"), "{said}");
                }
                EventKind::PowerLost { unsynced, .. } => {
                    lost += unsynced.bytes.iter().map(|lost| lost.bytes_before - lost.bytes_after).sum::<u64>();
                }
                EventKind::Corrupted { damaged: found, .. } => damaged += found.bytes_before - found.bytes_after,
                EventKind::Changed { done, .. } => removed = done,
                _ => {}
            }
        }
        assert!(hits > 0 && lost > 0 && damaged > 0, "{hits} hits, {lost} and {damaged} bytes: {}", ended.whole());
        assert!(removed.starts_with("removed ") && removed.contains("appendonly"), "{removed}");
    }
}

/// The server of another version cannot read what is left of the file. So the node comes back as it was, elsewhere.
const MOVED: &str = "  - settle: 1s
  - kill: node-4
  - corrupt: { node: node-4, file: aof, flip: 2000 }
  - start: { node: node-4, server: \"redis:7.0\", expect: down }
  - start: { node: node-4, data: lost, address: new }
  - await: { in-sync: node-4, within: 60s }
  - partition: { between: [node-4, node-1], name: cut }
  - settle: 2s
  - heal: cut
  - await: { in-sync: node-4, within: 60s }
";

#[test]
fn a_container_moves_and_a_change_that_failed_is_taken_back() {
    let Some(_engine) = turn::shared(1) else { return };
    if let Err(error) = engine::run("ci/images", &["redis:7.0"]) {
        panic!("ci/images: {error}");
    }
    let (folder, out) = out();
    let own = suite(&folder, MOVED);
    let ended = conclusive(|| command(&run(&out, &[&own, "--server", "redis:6.2"])));
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert_clean(&ended, &folder);
    let events = history_of(&ended).events;
    assert!(events.iter().any(|event| matches!(event.kind, EventKind::StartFailed { .. })), "{}", ended.whole());
    let back = events.iter().find_map(|event| match &event.kind {
        EventKind::CameBack { found, unlike: None, .. } => Some(found),
        _ => None,
    });
    let back = back.unwrap_or_else(|| panic!("it did not come back: {}", ended.whole()));
    assert_eq!(back.version.map(|version| (version.major, version.minor)), Some((6, 2)), "{back:?}");
    let moved = back.moved.as_ref().expect("it has another address");
    assert!(moved.from != moved.to && moved.stated == Some(moved.to) && moved.is_left, "{moved:?}");
}
