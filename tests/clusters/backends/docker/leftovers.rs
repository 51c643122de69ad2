//! Nothing of ours stays, whatever ends a run, and nothing of others is touched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use slotquake::cluster::containers::Engine;
use slotquake::history::EventKind;
use slotquake::plan::Plan;
use slotquake::run::{BackendSettings, Notice, Options};

use super::stand_in::StandIn;
use super::{begin_through, left_by, out, run, suite, through};
use crate::engine::docker;
use crate::support::{begin, slotquake};
use crate::turn;

#[test]
fn a_signal_leaves_only_a_report() {
    let Some(_engine) = turn::shared(1) else { return };
    for (signal, at) in [(Signal::SIGTERM, "phase boot"), (Signal::SIGINT, "waiting for shard-1 to get a new master")] {
        let (_folder, out) = out();
        let mut running = begin(&run(&out, &["role-swap"]));
        running.until_it_says(at);
        running.signal(signal);
        let ended = running.end();
        assert_eq!((ended.code(), left_by(ended.pid)), (Some(130), vec![]), "at `{at}`: {}", ended.whole());
    }
}

/// The version of an image is asked of a container, before there is any run.
#[test]
fn a_signal_before_the_first_run_leaves_nothing() {
    let Some(_engine) = turn::shared(1) else { return };
    let asked = Arc::new(AtomicBool::new(false));
    let asking = Arc::clone(&asked);
    let slow = StandIn::new(move |request| {
        if request.contains("-version") && request.starts_with("POST /containers/create") {
            asking.store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_secs(1));
        }
        None
    });
    let (_folder, out) = out();
    let running = begin_through(&slow, &run(&out, &["role-swap"]));
    while !asked.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(10));
    }
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    // It may be made, or be started, after the harness has gone.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((ended.code(), left_by(ended.pid)), (Some(130), vec![]), "{}", ended.whole());
    assert!(ended.stderr.contains("interrupted by SIGTERM before the first run"), "{}", ended.whole());
}

/// A container that comes to be between a removal's list and what is done by it would hold its volume.
#[test]
fn a_signal_during_boot_leaves_nothing() {
    let Some(_engine) = turn::shared(1) else { return };
    let (made, listed) = (Arc::new(AtomicUsize::new(0)), AtomicBool::new(false));
    let making = Arc::clone(&made);
    let slow = StandIn::new(move |request| {
        let pause = || std::thread::sleep(Duration::from_millis(200));
        let name = request.strip_prefix("POST /containers/create?name=").and_then(|rest| rest.split('&').next());
        if name.is_some_and(|name| name.contains("-node-") && !name.ends_with("-net")) {
            making.fetch_add(1, Ordering::Relaxed);
            // Until the harness looks what there is to be removed, and a little longer.
            for _ in 0..10 {
                pause();
                if listed.load(Ordering::Relaxed) {
                    break;
                }
            }
            pause();
        } else if request.starts_with("GET /containers/json") && making.load(Ordering::Relaxed) > 0 {
            listed.store(true, Ordering::Relaxed);
        } else if request.starts_with("DELETE /containers/") && listed.load(Ordering::Relaxed) {
            (0..5).for_each(|_| pause());
        }
        None
    });
    let (_folder, out) = out();
    let mut running = begin_through(&slow, &run(&out, &["role-swap"]));
    running.until_it_says("phase boot");
    while made.load(Ordering::Relaxed) < 6 {
        std::thread::sleep(Duration::from_millis(10));
    }
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    assert_eq!((ended.code(), left_by(ended.pid)), (Some(130), vec![]), "{}", ended.whole());
    assert!(!ended.stderr.contains("removed what the runs left"), "it was for the run to remove: {}", ended.whole());
}

#[test]
fn removes_only_what_a_killed_run_left() {
    let Some(_engine) = turn::alone() else { return };
    let tool = "--label=slotquake.tool=slotquake";
    // Names that confuse, a label alone, and an owner on another system.
    docker(&["run", "-d", "--name", "slotquake-deadbeef-node-1", "redis:6.2", "sleep", "600"]);
    docker(&["run", "-d", "--name", "slotquake-test-tool", tool, "redis:6.2", "sleep", "600"]);
    let elsewhere = [tool, "--label=slotquake.run=deadbeef", "--label=slotquake.owner.pid=4194304"];
    let elsewhere =
        [&elsewhere[..], &["--label=slotquake.owner.started=1", "--label=slotquake.owner.system=x"]].concat();
    let create = ["run", "-d", "--name", "slotquake-test-elsewhere"];
    docker(&[&create[..], &elsewhere, &["redis:6.2", "sleep", "600"]].concat());
    docker(&["network", "create", "slotquake-foreign"]);
    docker(&["volume", "create", "slotquake-deadbeef-node-1-data"]);
    let foreign = || {
        let containers = docker(&["ps", "--format", "{{.Names}}"]);
        let networks = docker(&["network", "ls", "--format", "{{.Name}}"]);
        let volumes = docker(&["volume", "ls", "--format", "{{.Name}}"]);
        ["slotquake-deadbeef-node-1", "slotquake-test-tool", "slotquake-test-elsewhere"]
            .iter()
            .all(|name| containers.lines().any(|line| line == *name))
            && networks.lines().any(|line| line == "slotquake-foreign")
            && volumes.lines().any(|line| line == "slotquake-deadbeef-node-1-data")
    };

    let (_folder, reports) = out();
    let mut killed = begin(&run(&reports, &["minority-partition"]));
    killed.until_it_says("waiting for shard-1 to get a new master");
    let (_other_folder, other_reports) = out();
    let mut alive = begin(&run(&other_reports, &["role-swap"]));
    alive.until_it_says("cluster of 6 nodes is ready");
    killed.signal(Signal::SIGKILL);
    let killed = killed.end();
    let left = left_by(killed.pid);
    let collected = slotquake(&["gc"]);
    let (still_left, is_untouched) = (left_by(killed.pid), foreign());
    let lives = alive.end();

    docker(&["rm", "-f", "slotquake-deadbeef-node-1", "slotquake-test-tool", "slotquake-test-elsewhere"]);
    docker(&["network", "rm", "slotquake-foreign"]);
    docker(&["volume", "rm", "slotquake-deadbeef-node-1-data"]);
    // Twelve containers, the network and six volumes; sidecars end by themselves.
    assert!(left.len() >= 19, "it was killed, so it should have left all it had: {left:?}");
    assert_eq!((collected.code(), still_left), (Some(0), vec![]), "{}", collected.whole());
    // Attached clusters of other tests are on the engine, too.
    assert!(
        collected.stdout.contains("left alone: ") && collected.stdout.contains("active run"),
        "{}",
        collected.whole()
    );
    assert!(is_untouched, "{}", collected.whole());
    assert_eq!((lives.code(), left_by(lives.pid)), (Some(0), vec![]), "{}", lives.whole());
}

fn in_use() -> (u16, String) {
    (403, r#"{"message":"error while removing network: it has active endpoints"}"#.to_owned())
}

#[test]
fn reports_stuck_networks_without_waiting() {
    let Some(_engine) = turn::alone() else { return };
    let lost_count = StandIn::new(|request| request.starts_with("DELETE /networks/").then(in_use));
    let (folder, out) = out();
    let own = suite(&folder, "  - settle: 100ms\n");
    let ended = through(&lost_count, &run(&out, &[&own]));
    let left = left_by(ended.pid);
    let again = through(&lost_count, &run(&out, &[&own]));
    let collected = through(&lost_count, &["gc"]);
    let at_last = slotquake(&["gc"]);
    assert_eq!(ended.code(), Some(70), "{}", ended.whole());
    assert_eq!(ended.json()["runs"][0]["verdict"], "pass", "the report is kept: {}", ended.whole());
    assert!(matches!(&left[..], [network] if network.starts_with("slotquake-")), "{left:?}");
    for said in [&ended.stderr, &again.stderr, &collected.stdout] {
        // There may be another one by then, and they are told in the order of their names, which are drawn.
        for wanted in ["the engine does not release network ", &format!("network {}", left[0]), "restart the engine"] {
            assert!(said.contains(wanted), "no `{wanted}`: {said}");
        }
    }
    assert_eq!(again.json()["runs"][0]["verdict"], "pass", "{}", again.whole());
    assert_eq!(collected.code(), Some(0), "what nobody can remove is no error for ever: {}", collected.whole());
    let folder = ended.json()["runs"][0]["report"].as_str().expect("a report").to_owned();
    let page = std::fs::read_to_string(format!("{folder}/report.html")).expect("a page");
    assert!(page.contains("Left behind: "), "the page says nothing of it");
    assert_eq!((at_last.code(), left_by(ended.pid), left_by(again.pid)), (Some(0), vec![], vec![]));
}

#[test]
fn retries_removals_that_fail() {
    let Some(_engine) = turn::shared(1) else { return };
    let refused = std::sync::Mutex::new(std::collections::BTreeMap::<String, u32>::new());
    let stumbling = StandIn::new(move |request| {
        let path = request.strip_prefix("DELETE /")?.split(['?', ' ']).next()?.to_owned();
        let mut refused = refused.lock().expect("no holder panics");
        let times = refused.entry(path.clone()).or_default();
        *times += 1;
        match (*times, path.starts_with("networks/")) {
            (1, false) => Some((500, r#"{"message":"driver failed to remove root filesystem"}"#.to_owned())),
            (1 | 2, true) => Some(in_use()),
            _ => None,
        }
    });
    let (folder, out) = out();
    let ended = through(&stumbling, &run(&out, &[&suite(&folder, "  - settle: 100ms\n")]));
    assert_eq!((ended.code(), left_by(ended.pid)), (Some(0), vec![]), "{}", ended.whole());
}

/// The run's own task panics, with twelve containers up.
#[test]
fn a_panic_leaves_nothing() {
    let _one = turn::in_process();
    let Some(_engine) = turn::shared(1) else { return };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let suite = slotquake::suite::load("formation").expect("a shipped suite");
    let plan = Plan::new(&suite, 1).expect("a plan");
    let had = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&had);
    let watcher = Arc::new(move |notice: Notice<'_>| {
        if let Notice::Event(event) = notice
            && matches!(event.kind, EventKind::Booted { .. })
        {
            *seen.lock().expect("no holder panics") = left_by(std::process::id());
            panic!("a panic of the test's own");
        }
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ended = runtime.block_on(async {
        let engine = Engine::connect(None, None).await.expect("an engine");
        let server = engine.server("redis:6.2", &|_| {}).await.expect("a server");
        let (_sender, stop) = tokio::sync::watch::channel(None);
        let backend = BackendSettings::Docker(engine);
        let options = Options {
            folder: folder.path().to_owned(),
            keep: false,
            backend,
            other_servers: std::collections::BTreeMap::default(),
            stop,
            watcher,
        };
        tokio::spawn(slotquake::run::run(plan, server, options)).await
    });
    drop(runtime);
    assert!(ended.is_err_and(|error| error.is_panic()), "it was to panic");
    let had = had.lock().expect("no holder panics");
    assert!(had.len() >= 19, "twelve containers, the network and six volumes: {had:?}");
    assert_eq!(left_by(std::process::id()), Vec::<String>::new());
}
