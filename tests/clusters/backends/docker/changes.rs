//! Servers in containers that come back different: another image, other directives, no data.

use slotquake::history::{self, EventKind};

use super::{left_by, out, run, suite};
use crate::engine;
use crate::support::{at_speed, command, conclusive, verdicts};
use crate::turn;

#[test]
fn servers_are_upgraded_and_lose_their_data_as_on_the_local_backend() {
    let Some(engine) = turn::shared(4) else { return };
    if let Err(error) = engine::run("ci/images", &["redis:7.0"]) {
        panic!("ci/images: {error}");
    }
    let (_folder, out) = out();
    let suites = ["rolling-upgrade", "empty-replica-returns"];
    let more = [&suites[..], &["--server", "redis:6.2"]].concat();
    let contained = conclusive(|| command(&run(&out, &[&more[..], &["--jobs", "2"]].concat())));
    assert_eq!((contained.code(), left_by(contained.pid)), (Some(0), vec![]), "{}", contained.whole());
    drop(engine);
    let local = run(&out, &more).into_iter().map(|word| if word == "docker" { "local" } else { word });
    let local = at_speed(&local.collect::<Vec<_>>());
    let judged = |document: &serde_json::Value| -> Vec<Vec<String>> {
        document["runs"].as_array().expect("runs").iter().map(verdicts).collect()
    };
    assert_eq!(judged(&contained.json()), judged(&local.json()), "{}\n{}", contained.whole(), local.whole());
}

#[test]
fn a_changed_container_keeps_its_address_its_data_and_its_log() {
    let Some(_engine) = turn::shared(1) else { return };
    let (folder, out) = out();
    let own = suite(
        &folder,
        "  - stop: node-4\n  - start: { node: node-4, config: { repl-ping-replica-period: 3 } }\n  \
         - await: { in-sync: node-4, within: 20s }\n  - stop: node-4\n  \
         - start: { node: node-4, data: lost, config: { maxmemory-policy: allkeys-lru } }\n  \
         - await: { in-sync: node-4, within: 20s }\n",
    );
    let ended = conclusive(|| command(&run(&out, &[&own, "--server", "redis:6.2"])));
    assert_eq!((ended.code(), left_by(ended.pid)), (Some(0), vec![]), "{}", ended.whole());
    let document = ended.json();
    let folder = document["runs"][0]["report"].as_str().expect("a folder");
    let events = history::read(folder.as_ref()).expect("a history").events;
    let back: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::CameBack { found, unlike, .. } => Some((found, unlike)),
            _ => None,
        })
        .collect();
    let [(kept, None), (lost, None)] = back[..] else { panic!("{back:?}") };
    // A replica that lost its data may have its master's by the time it is asked, so only the kept keys are counted.
    assert!(kept.keys > Some(0) && kept.run_id != lost.run_id, "{back:?}");
    let done: Vec<&str> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Changed { done, .. } => Some(done.as_str()),
            _ => None,
        })
        .collect();
    assert!(done[0].is_empty() && done[1].starts_with("removed appendonly.aof ("), "{done:?}");
    let log = std::fs::read_to_string(format!("{folder}/logs/node-4.log")).expect("a log");
    let starts: Vec<&str> = log.split("Server initialized").skip(1).collect();
    let loaded: Vec<bool> = starts.iter().map(|start| start.contains("DB loaded from append only file")).collect();
    assert_eq!(loaded, [false, true, false], "{log}");
}
