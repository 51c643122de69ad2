//! Where containers' addresses lead nowhere, nodes are connected to by published ports.

use std::collections::BTreeMap;

use super::stand_in::StandIn;
use super::{command_through, left_by, out, run, through};
use crate::support::{Ended, command, conclusive, slotquake};
use crate::turn;

/// Each run's verdict, and the events of those that were run, as text.
fn told(ended: &Ended) -> BTreeMap<String, (String, String)> {
    let document = ended.json();
    let runs = document["runs"].as_array().expect("runs").iter();
    runs.map(|run| {
        let word = |key: &str| run[key].as_str().unwrap_or_default().to_owned();
        let report = slotquake::report::read(word("report").as_ref());
        let events = report.map(|report| serde_json::to_string(&report.events).expect("events"));
        (word("suite"), (word("verdict"), events.unwrap_or_default()))
    })
    .collect()
}

#[test]
fn by_ports_skips_only_suites_that_distinguish_clients() {
    let Some(_engine) = turn::shared(4) else { return };
    let (_folder, out) = out();
    let suites = ["shard-loss", "master-freeze", "halves", "minority-partition"];
    let more = [&suites[..], &["--server", "redis:6.2", "--reach", "ports", "--retries", "2"]].concat();
    let mut ended = conclusive(|| command(&run(&out, &more)));
    if ended.code() == Some(1) && ended.stdout.contains("expected a refused connection") {
        // The engine's relay sometimes accepts a connection for a container that ends, and then says nothing.
        eprintln!("once more, as a relay was silent: {}", ended.whole());
        ended = conclusive(|| command(&run(&out, &more)));
    }
    assert_eq!((ended.code(), left_by(ended.pid)), (Some(0), vec![]), "{}", ended.whole());
    let told = told(&ended);
    let verdicts: Vec<_> = told.iter().map(|(suite, (verdict, _))| (suite.as_str(), verdict.as_str())).collect();
    let expected =
        [("halves", "pass"), ("master-freeze", "pass"), ("minority-partition", "skipped"), ("shard-loss", "pass")];
    assert_eq!(verdicts, expected, "{}", ended.whole());
    assert!(
        ended.stderr.contains(
            "skipped: minority-partition redis:6.2: clients of containers with published ports share one address"
        ),
        "{}",
        ended.whole()
    );
    // A stopped server's port is still open, and that is told from a server that is there.
    let (_, lost) = &told["shard-loss"];
    assert!(lost.contains("; 127.0.0.1:") && lost.contains(" refuses connections"), "{lost}");
    let (_, frozen) = &told["master-freeze"];
    assert!(frozen.contains("accepts connections, but does not answer"), "{frozen}");
}

#[test]
fn uses_ports_if_addresses_are_unreachable() {
    let Some(_engine) = turn::shared(1) else { return };
    let rootless = || {
        StandIn::new(|request| {
            let info = r#"{"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}"#;
            (request.starts_with("GET ") && request.contains("/info")).then(|| (200, info.to_owned()))
        })
    };
    let (_folder, out) = out();
    let engine = rootless();
    let ended = conclusive(|| command_through(&engine, &run(&out, &["role-swap", "--server", "redis:6.2"])));
    assert_eq!((ended.code(), left_by(ended.pid)), (Some(0), vec![]), "{}", ended.whole());
    let told = told(&ended);
    assert!(told["role-swap"].1.contains("; 127.0.0.1:"), "{told:?}");
    let ended = through(&rootless(), &run(&out, &["role-swap", "--server", "redis:6.2", "--reach", "address"]));
    assert_eq!(ended.code(), Some(69), "{}", ended.whole());
    assert!(ended.stderr.contains("it is rootless (hint: use `--reach ports`"), "{}", ended.whole());
    let ended = slotquake(&["run", "role-swap", "--reach", "ports"]);
    assert_eq!(ended.code(), Some(2), "{}", ended.whole());
    assert!(ended.stderr.contains("`--reach` requires `--backend docker`"), "{}", ended.whole());
}
