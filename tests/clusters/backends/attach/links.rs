//! Links between the containers of a Compose project.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use slotquake::cluster::attach::{Attach, Attached, ComposeProject, ServerAccessSettings, Settings};
use slotquake::cluster::containers::Engine;
use slotquake::cluster::{Backend, ProcessState};
use slotquake::fault::Action;
use slotquake::network::knock::{Heard, Knock};
use slotquake::network::rules::{Effect, Only, Rule};
use slotquake::network::shape::between;
use slotquake::units::NodeNo;
use slotquake::wire::Access;

use super::project::{PROJECT, Project};
use super::{of_project, out};
use crate::support;

#[test]
fn cuts_links_between_compose_containers() {
    let Some(_project) = Project::up() else { return };
    let before = Project::containers();
    let (folder, out) = out();
    let bus = folder.path().join("bus.yaml");
    fs::write(&bus, BUS_SUITE).expect("a suite");
    let bus = bus.to_str().expect("a plain path");
    let alone = folder.path().join("alone.yaml");
    fs::write(&alone, ALONE_SUITE).expect("a suite");
    let alone = alone.to_str().expect("a plain path");
    for (suite, code, expected) in [
        (alone, 0, "\"verdict\": \"pass\""),
        (bus, 0, "\"verdict\": \"pass\""),
        ("replica-lag", 0, "\"verdict\": \"pass\""),
        ("bus-only", 3, "clients of a Compose project share one address"),
    ] {
        let ended = support::conclusive(|| of_project(suite, &out));
        assert_eq!(ended.code(), Some(code), "{suite}: {}", ended.whole());
        assert!(ended.whole().contains(expected), "{suite}: {}", ended.whole());
        assert_eq!(Project::containers(), before, "{}", ended.whole());
        if let Some((_, rest)) = ended.stderr.split_once("keys begin with `slotquake:") {
            assert_eq!(Project::of_run(&rest[..8]), "", "{}", ended.whole());
        }
    }
}

/// The replica of shard-2 is cut off from everybody, us included.
const ALONE_SUITE: &str = "
name: alone
about: One replica is alone.
steps:
  - phase: baseline
  - settle: 500ms
  - phase: alone
  - partition: { between: [node-5, others] }
  - await: { failed: node-5, within: spec }
  - heal: all
  - await: { in-sync: node-5, within: spec }
invariants:
  - promotions: { shard: all, exactly: 0 }
  - availability: { of: writes, shard: all, served: always }
  - slot-coverage: { at: end }
";

/// The master of shard-1 is cut off from the other nodes on the cluster bus alone.
const BUS_SUITE: &str = "
name: bus
about: The bus of one master is cut.
steps:
  - phase: baseline
  - settle: 1s
  - partition: { between: [shard-1/master, others], only: bus, name: bus }
  - await: { promoted: shard-1, within: spec }
  - heal: bus
  - await: { role: node-1, is: replica-of node-4, within: spec }
  - await: { converged: all, within: spec }
invariants:
  - promotions: { shard: shard-1, exactly: 1 }
  - slot-coverage: { at: end }
";

#[test]
fn a_cut_survives_a_container_restart_but_not_the_run() {
    let _one = crate::turn::in_process();
    let Some(_project) = Project::up() else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary directory");
    runtime.block_on(async {
        let engine = Engine::connect(None, None).await.expect("an engine");
        let settings = Settings {
            seeds: Vec::new(),
            access: Access::default(),
            allow_faults: true,
            servers: ServerAccessSettings::Compose(ComposeProject { engine, name: PROJECT.to_owned() }),
            ledgers: folder.path().join("attached"),
        };
        let attach = Attach::connect(settings, &|_| ()).await.expect("a cluster");
        let suite = slotquake::suite::load("lossy-links").expect("a suite");
        let plan = slotquake::plan::Plan::on_found(&suite, 1, attach.found()).expect("a plan");
        let attached = Attached::begin(&attach, &plan, folder.path()).await.expect("the nodes");
        let [one, six] = [NodeNo(1), NodeNo(6)].map(|node| match attached.addr(node) {
            SocketAddr::V4(addr) => addr,
            SocketAddr::V6(addr) => panic!("{addr}"),
        });
        let pairs = between(&[*one.ip()], &[*six.ip()], false);
        let rule = Rule::new("cut", &pairs, Only::All, &BTreeSet::new(), Effect::Drop).expect("a rule");
        let knocks =
            [Knock { from: *one.ip(), to: six, node: NodeNo(6) }, Knock { from: *six.ip(), to: one, node: NodeNo(1) }];
        let within = Duration::from_secs(2);
        assert_eq!(attached.knock(&knocks, within).await, [Heard::Open, Heard::Open]);
        attached.impose(rule).await.expect("a cut");
        assert_eq!(attached.knock(&knocks, within).await, [Heard::Silence, Heard::Silence]);
        attached.act(NodeNo(6), Action::Kill).await.expect("a kill");
        while !matches!(attached.state(NodeNo(6)).await, ProcessState::Gone { .. }) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!attached.can_knock_from(*six.ip()));
        attached.act(NodeNo(6), Action::Start).await.expect("a start");
        assert_eq!(attached.knock(&knocks, within).await, [Heard::Silence, Heard::Silence]);
        assert!(attached.counts("cut").await.expect("counts").hit.packets > 0);
        attached.tear_down().await.expect("everything is put back");
    });
    // From one container to the other.
    let answer = Project::cli(1, &["-h", &Project::address(6), "ping"]);
    assert_eq!(answer, "PONG");
}
