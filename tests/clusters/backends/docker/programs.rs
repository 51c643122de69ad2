//! Programs of the user's, which run on this machine, beside nodes in containers.

use std::path::Path;

use super::{left_by, out, run};
use crate::backends::attach::programs::suite_with_programs;
use crate::support::{command, conclusive};
use crate::turn;

#[test]
fn programs_know_and_reach_nodes_in_containers() {
    let Some(_engine) = turn::shared(1) else { return };
    let (folder, out) = out();
    let own = suite_with_programs(folder.path());
    let ended = conclusive(|| command(&run(&out, &[&own, "--server", "redis:6.2"])));
    assert_eq!((ended.code(), left_by(ended.pid)), (Some(0), vec![]), "{}", ended.whole());
    let document = ended.json();
    let report = document["runs"][0]["report"].as_str().expect("a folder");
    let report = std::fs::read_to_string(Path::new(report).join("report.json")).expect("a report");
    assert_eq!(report.matches("node-6 is a replica\\n").count(), 2, "{}", ended.whole());
}
