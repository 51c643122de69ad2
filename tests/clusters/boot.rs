//! What a cluster is like when it has booted.

use std::collections::BTreeSet;

use crate::support::{Places, QUICK, fetched, only_folder, skipped, slotquake, try_fetched};
use serde_json::Value;

/// The nodes of each shard, by the last number of their addresses.
type Shards = BTreeSet<BTreeSet<u8>>;

/// From Redis 7.2 on, servers keep the id of each node's shard: it must be the same for a master and its replicas, by
/// every node.
#[test]
fn every_node_knows_the_shard_of_every_node() {
    const SUITE: &str = "
name: shards
about: What CLUSTER SHARDS answers after the boot.
workload: { rate: 50/s }
steps:
  - phase: asked
  - command: { send: CLUSTER SHARDS, to: all }
invariants:
  - slot-coverage: { at: end }
  - epochs: { max-rise: 0 }
";
    fetched("redis:6.2");
    let expected: Shards = (1..=3).map(|master| [master, master + 3].into()).collect();
    for server in ["redis:8.2", "valkey:8.1", "valkey:9.1"] {
        if let Err(error) = try_fetched(server) {
            skipped(&format!("CLUSTER SHARDS of {server}"), &error);
            continue;
        }
        let folder = tempfile::tempdir().expect("a temporary directory");
        let [suite, out] =
            ["shards.yaml", "reports"].map(|name| folder.path().join(name).to_str().expect("plain").to_owned());
        std::fs::write(&suite, SUITE).expect("it is ours");
        let _place = Places::take(1);
        let ran = slotquake(&[&["run", &suite, "--server", server, "--out", &out][..], &QUICK].concat());
        assert_eq!(ran.code(), Some(0), "{}", ran.whole());
        let report = std::fs::read_to_string(only_folder(out.as_ref()).join("report.json")).expect("a report");
        let report: Value = serde_json::from_str(&report).expect("JSON");
        let events = report["events"].as_array().expect("events");
        let replies: Vec<&str> = events
            .iter()
            .filter(|event| event["event"] == "commanded")
            .map(|event| event["reply"].as_str().expect("a text"))
            .collect();
        assert_eq!(replies.len(), 6);
        for reply in replies {
            assert_eq!(shards(reply), expected, "{server}: {reply}");
        }
    }
}

fn shards(reply: &str) -> Shards {
    let of = |shard: &str| -> BTreeSet<u8> {
        let mut words = shard.split_ascii_whitespace();
        let mut nodes = BTreeSet::new();
        while let Some(word) = words.next() {
            if word == "ip" {
                let last: Option<u8> = words.next().and_then(|ip| ip.rsplit('.').next()?.parse().ok());
                nodes.extend(last);
            }
        }
        nodes
    };
    reply.split("slots").skip(1).map(of).collect()
}
