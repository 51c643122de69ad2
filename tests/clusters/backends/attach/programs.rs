//! Programs of the user's beside a cluster that exists already, and runs that differ in a setting.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Cluster, Kind, assert_passes, attach, only_run, out};
use crate::support::{Places, fetched};

/// Asks every node over a plain connection, as no client of Redis may be installed. Fails if one has another role than
/// `SLOTQUAKE_NODE_n_ROLE` says.
const SEES_ALL: &str = "#!/usr/bin/env bash
set -e
for node in $SLOTQUAKE_NODES; do
  name=${node^^}; name=SLOTQUAKE_${name//-/_}
  host=${name}_HOST; port=${name}_PORT; role=${name}_ROLE
  exec 3<>/dev/tcp/${!host}/${!port}
  printf 'ROLE\\r\\n' >&3
  read -r _ <&3; read -r _ <&3; read -r answer <&3
  [ \"${answer%$'\\r'}\" = \"${!role/replica/slave}\" ]
  echo \"$node is a ${!role}\"
done
[ \"$1\" = \"$SLOTQUAKE_NODE_1_HOST:$SLOTQUAKE_NODE_1_PORT\" ]
";

/// A suite whose program is run once, and then as a probe.
pub fn suite_with_programs(folder: &Path) -> String {
    let program = folder.join("sees-all");
    fs::write(&program, SEES_ALL).expect("it is ours");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = folder.join("programs.yaml");
    let program = program.display();
    let text = format!(
        "name: programs\nabout: Runs programs.\nworkload: {{ rate: 100/s, clients: 2, keys: 100 }}\nsteps:\n  - phase: quiet\n  \
         - exec: {{ run: [{program}, '{{address:node-1}}'], within: 20s }}\n  \
         - expect: {{ exec: [{program}, '{{address:node-1}}'], contains: [node-4 is a replica], within: 20s }}\n"
    );
    fs::write(&path, text).expect("it is ours");
    path.to_str().expect("a plain path").to_owned()
}

#[test]
fn programs_know_and_reach_an_attached_cluster() {
    let _places = Places::take(1);
    let server = fetched("redis:6.2");
    let cluster = Cluster::start(&server, &Kind::default());
    let (folder, out) = out();
    let ended = attach(&cluster, &out, None, &[&suite_with_programs(folder.path())]);
    assert_passes(&ended);
    let report =
        fs::read_to_string(Path::new(only_run(&ended)["report"].as_str().expect("a folder")).join("report.json"));
    assert_eq!(report.expect("a report").matches("node-6 is a replica\\n").count(), 2, "{}", ended.whole());
}

#[test]
fn a_setting_of_the_run_is_varied_and_one_of_the_servers_is_not_changed() {
    let _places = Places::take(1);
    let server = fetched("redis:6.2");
    let cluster = Cluster::start(&server, &Kind::default());
    let (folder, out) = out();
    let suite = folder.path().join("quiet.yaml");
    let text = "name: quiet\nabout: Nothing happens.\nworkload: { rate: 100/s, clients: 2, keys: 100 }\nsteps:\n  - settle: 500ms\n";
    fs::write(&suite, text).expect("it is ours");
    let suite = suite.to_str().expect("a plain path");
    let ended = attach(&cluster, &out, None, &[suite, "--matrix", "workload.rate=100/s,200/s"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    let document = ended.json();
    let runs = document["runs"].as_array().expect("runs");
    let rates: Vec<_> = runs.iter().map(|run| (&run["matrix"]["workload.rate"], &run["verdict"])).collect();
    assert_eq!(rates, [(&"100/s".into(), &"pass".into()), (&"200/s".into(), &"pass".into())], "{}", ended.whole());

    // What the servers do not have is skipped with the reason.
    let ended = attach(&cluster, &out, None, &[suite, "--matrix", "cluster.config.maxmemory=0,123456789"]);
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert!(ended.stderr.contains("(node-1 has `0`)"), "{}", ended.whole());
    assert_eq!(cluster.directive("maxmemory"), ["0"; 6]);
    let document = ended.json();
    let verdicts: Vec<_> = document["runs"].as_array().expect("runs").iter().map(|run| &run["verdict"]).collect();
    assert_eq!(verdicts, ["pass", "skipped"], "{}", ended.whole());
}
