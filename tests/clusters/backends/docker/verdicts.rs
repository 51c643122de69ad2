//! The shipped suites in containers are judged as on the local backend.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{left_by, out, run};
use crate::support::{Ended, QUICK, command, conclusive, fetched, verdicts};
use crate::turn;

const SUITES: [&str; 5] = ["role-swap", "shard-loss", "master-freeze", "minority-partition", "bus-only"];

const SERVERS: [&str; 2] = ["redis:6.2", "valkey:9.1"];

/// Of each run: the verdict, that of each invariant, and which figures there are.
type Judged = BTreeMap<(String, String), (String, Vec<String>, Vec<String>)>;

fn judged(ended: &Ended) -> Judged {
    let document = ended.json();
    let word = |run: &Value, key: &str| run[key].as_str().unwrap_or("?").to_owned();
    let kinds = |run: &Value| -> Vec<String> {
        let figures = run["figures"].as_object().expect("figures");
        figures.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.clone()).collect()
    };
    let runs = document["runs"].as_array().expect("runs").iter();
    runs.map(|run| ((word(run, "suite"), word(run, "server")), (word(run, "verdict"), verdicts(run), kinds(run))))
        .collect()
}

#[test]
fn judges_suites_like_the_local_backend() {
    let Some(_engine) = turn::shared(4) else { return };
    let (_folder, out) = out();
    let servers = SERVERS.join(",");
    for server in SERVERS {
        fetched(server);
    }
    // They mostly wait, but twelve containers start for each.
    let more = [&SUITES[..], &["--server", &servers, "--jobs", "2", "--keep", "--retries", "2"]].concat();
    let contained = conclusive(|| command(&run(&out, &more)));
    assert_eq!((contained.code(), left_by(contained.pid)), (Some(0), vec![]), "{}", contained.whole());
    let local = ["run", "--format", "json", "--out", &out, "--server", &servers, "--jobs", "4"];
    let local = conclusive(|| command(&[&local[..], &QUICK, &SUITES].concat()));
    let (ours, theirs) = (judged(&contained), judged(&local));
    assert_eq!(ours.len(), SUITES.len() * SERVERS.len(), "{}", contained.whole());
    assert_eq!(ours, theirs, "{}\n{}", contained.whole(), local.whole());
    for run in contained.json()["runs"].as_array().expect("runs") {
        assert_eq!(run["verdict"], "pass", "{}", contained.whole());
        let folder = run["report"].as_str().expect("a folder");
        let log = std::fs::read_to_string(format!("{folder}/logs/node-4.log")).expect("a log");
        assert!(log.contains("Ready to accept connections"), "{log}");
        let report = slotquake::report::read(folder.as_ref()).expect("a report");
        assert_eq!(report.header.host.backend.word(), "docker");
        let kept = std::fs::metadata(format!("{folder}/data/node-1.tar"));
        assert!(kept.is_ok_and(|file| file.len() > 1000), "--keep keeps the data");
    }
}
