//! docker-compose.yaml on a real engine: the walk through the exercise in docs/exercise.md, command by command, and
//! what becomes of the cluster when it is taken down and up again.

mod project;
mod walk;

use std::fs;

use project::Project;

#[test]
fn the_exercise_prints_what_its_page_shows() {
    let Some(project) = Project::new("redis:6.2") else { return };
    let page = fs::read_to_string("docs/exercise.md").expect("docs/exercise.md is there");
    let steps = walk::steps(&page);
    assert!(steps.len() > 20, "the commands are in console blocks: {steps:?}");
    let mut names = walk::Names::default();
    for step in &steps {
        project.follow(step, &mut names);
    }
    assert_eq!(project.left(), Vec::<String>::new(), "its last command removes everything");
}

#[test]
fn the_cluster_outlives_stop_and_down_whatever_its_roles() {
    let Some(project) = Project::new("valkey/valkey:9.1") else { return };
    let pairs = |swapped: bool| [(1, 4), (2, 5), (3, 6)].map(|(a, b)| if swapped && a == 1 { (b, a) } else { (a, b) });
    project.up();
    assert_eq!(project.pairs(), pairs(false));
    assert_eq!(project.cli(2, &["-c", "set", "testkey", "kept"]), "OK");

    project.compose(&["stop"]);
    project.up();
    assert_eq!(project.pairs(), pairs(false));

    assert_eq!(project.cli(4, &["cluster", "failover"]), "OK");
    project.until("node 4 is master", || project.pairs() == pairs(true));
    project.up();
    assert_eq!(project.pairs(), pairs(true), "it is not turned back");
    project.compose(&["down"]);
    project.up();
    assert_eq!(project.pairs(), pairs(true));
    assert_eq!(project.cli(5, &["-c", "get", "testkey"]), "kept");
    let said = project.said_by_init();
    assert!(said.contains("the cluster is formed already"), "{said}");

    // Dealt otherwise, the next start puts it right.
    let other = project.cli(2, &["cluster", "myid"]);
    assert_eq!(project.cli(6, &["cluster", "replicate", &other]), "OK");
    project.until("node 6 follows node 2", || project.pairs().contains(&(2, 6)));
    project.up();
    assert_eq!(project.pairs(), pairs(true));
}
