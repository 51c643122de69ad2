//! Without the image of sidecars a node can still be cut off from everybody, and the rest is skipped.

use super::{left_by, out, run, suite};
use crate::support::{command, conclusive};
use crate::turn;

#[test]
fn isolates_a_node_without_sidecars() {
    let Some(_engine) = turn::alone() else { return };
    let (folder, out) = out();
    let own = suite(
        &folder,
        "  - partition: { between: [shard-1/master, others], name: alone }\n  \
         - partition: { between: [others, node-6] }\n  \
         - await: { promoted: shard-1, within: spec }\n  - heal: all\n  - await: { in-sync: all, within: spec }\n",
    );
    let ended = conclusive(|| command(&run(&out, &[&own, "bus-only", "--netfault-image", "none:1"])));
    assert_eq!((ended.code(), left_by(ended.pid)), (Some(0), vec![]), "{}", ended.whole());
    let document = ended.json();
    let runs = document["runs"].as_array().expect("runs");
    let verdicts: Vec<_> = runs.iter().map(|run| (run["suite"].as_str(), run["verdict"].as_str())).collect();
    assert_eq!(verdicts, [(Some("bus-only"), Some("skipped")), (Some("own"), Some("pass"))], "{}", ended.whole());
    assert!(ended.stderr.contains("skipped: bus-only redis:6.2: no image `none:1`"), "{}", ended.whole());
    let report = slotquake::report::read(runs[1]["report"].as_str().expect("a folder").as_ref()).expect("a report");
    let told = serde_json::to_string(&report.events).expect("events");
    for (words, count) in [("is met with silence, such as", 2), ("on no network", 2), ("across is made again", 2)] {
        assert_eq!(told.matches(words).count(), count, "{words}: {}", ended.whole());
    }
    let node_1 = report.events.iter().rev().find_map(|event| match &event.kind {
        slotquake::history::EventKind::Viewed { view, .. } => view.peers.get(&slotquake::units::NodeNo(1)).cloned(),
        _ => None,
    });
    let role = node_1.expect("node-1 is seen").role;
    assert_eq!(role, slotquake::topology::Role::ReplicaOf(slotquake::units::NodeNo(4)), "the old master");
}
