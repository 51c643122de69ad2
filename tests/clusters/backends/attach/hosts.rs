//! Clocks and disks of hosts, which hooks make wrong: a clock by the library that `slotquake up --clocks` loads, and a disk that
//! is a small file system of the test's own.

use std::fs;
use std::process::Command;

use slotquake::history::EventKind;

use super::cluster::{Cluster, Kind};
use super::{assert_passes, attach, only_run, out};
use crate::support::{self, Ended, Places, QUICK, begin_as, fetched, skipped};

/// Writes a suite of these steps, and a file of these hooks.
fn written(folder: &std::path::Path, steps: &str, hooks: &str) -> (String, String) {
    let (suite, file) = (folder.join("own.yaml"), folder.join("hooks.yaml"));
    let text = format!(
        "name: own\nabout: A suite of a test.\nworkload: {{ rate: 300/s, clients: 3, keys: 300 }}\nsteps:\n  \
         - phase: steps\n{steps}invariants:\n  - slot-coverage: {{ at: end }}\n"
    );
    fs::write(&suite, text).expect("a suite is written");
    fs::write(&file, hooks).expect("a file of hooks");
    let path = |path: std::path::PathBuf| path.to_str().expect("a plain path").to_owned();
    (path(suite), path(file))
}

/// What a run has recorded.
fn events(ended: &Ended) -> Vec<EventKind> {
    let run = only_run(ended);
    let folder = run["report"].as_str().expect("a folder");
    let events = slotquake::history::read(folder.as_ref()).expect("a history").events;
    events.into_iter().map(|event| event.kind).collect()
}

fn hooked(events: &[EventKind], hook: &str) -> usize {
    let is_it =
        |kind: &&EventKind| matches!(kind, EventKind::Hooked { hook: name, status: Some(0), .. } if name == hook);
    events.iter().filter(is_it).count()
}

/// The proofs that faults were in effect, and that they were undone.
fn proofs(events: &[EventKind]) -> (Vec<&str>, Vec<&str>) {
    let in_effect = events.iter().filter_map(|event| match event {
        EventKind::FaultProven { in_effect: true, proof, .. } => Some(proof.as_str()),
        _ => None,
    });
    let undone = events.iter().filter_map(|event| match event {
        EventKind::HealProven { healed: true, proof, .. } => Some(proof.as_str()),
        _ => None,
    });
    (in_effect.collect(), undone.collect())
}

#[test]
fn hooks_change_a_clock_and_set_it_right() {
    if let Some(why) = slotquake::speed::obstacle() {
        return skipped("clocks", &why);
    }
    let _places = Places::take(1);
    fetched("redis:6.2");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path();
    let of_user = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotquake"));
        command.args(args).env("XDG_RUNTIME_DIR", path);
        command
    };
    let reports = path.join("up");
    let up = ["up", "--clocks", "--sandbox", "off", "--out", reports.to_str().expect("a plain path")];
    let mut up = begin_as(of_user(&[&up[..], &QUICK].concat()));
    up.until_it_says("cluster of 6 nodes is ready");
    let status = begin_as(of_user(&["status", "--format", "json"])).end();
    let seed = status.json()["nodes"][0]["addr"].as_str().expect("an address").to_owned();
    let slotquake = env!("CARGO_BIN_EXE_slotquake");
    let hooks = format!(
        "clock: |\n  case $SLOTQUAKE_CLOCK_CHANGE in\n    \
         jump) {slotquake} fault clock $SLOTQUAKE_NODE --jump=${{SLOTQUAKE_CLOCK_BY%.*}}s --as hooked ;;\n    \
         right) {slotquake} fault heal hooked ;;\n    *) echo \"no $SLOTQUAKE_CLOCK_CHANGE here\"; exit 1 ;;\n  esac\n"
    );
    let steps = "  - clock: { node: shard-2/master, jump: -1h, name: behind }\n  - settle: 1500ms\n";
    let run = |steps: &str, hooks: &str| {
        let (suite, file) = written(path, steps, hooks);
        let out = path.join("reports");
        let args = ["run", &suite, "--backend", "attach", "--nodes", &seed, "--hooks", &file, "--allow-faults"];
        let more = ["--format", "json", "--out", out.to_str().expect("a plain path")];
        support::conclusive(|| of_user(&[&args[..], &more, &QUICK].concat()))
    };
    let right = "  - heal: behind\n  - settle: 500ms\n";
    for steps in [format!("{steps}{right}"), steps.to_owned()] {
        let ended = run(&steps, &hooks);
        assert_passes(&ended);
        let events = events(&ended);
        assert_eq!(hooked(&events, "clock"), 2, "{}", ended.whole());
        let (in_effect, undone) = proofs(&events);
        assert!(matches!(in_effect[..], [proof] if proof.contains(" s behind slotquake's")), "{in_effect:?}");
        assert!(matches!(undone[..], [proof] if proof.contains("agrees with slotquake's")), "{undone:?}");
    }
    let lame = run(&format!("{steps}{right}"), "clock: 'true'\n");
    assert_eq!(lame.code(), Some(69), "a hook that changes nothing is no fault: {}", lame.whole());
    assert!(lame.stderr.contains("clock is not in effect"), "{}", lame.whole());
    let without = run(steps, "stop: 'true'\n");
    let reason = only_run(&without)["reason"].as_str().map(str::to_owned);
    assert!(reason.is_some_and(|reason| reason.contains("no hook `clock`")), "{}", without.whole());
    assert_eq!(begin_as(of_user(&["down"])).end().code(), Some(0));
    let ended = up.end();
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    support::assert_nothing_left(ended.pid, &reports);
}

#[test]
fn hooks_fill_a_disk_and_make_room_again() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: a file system of a test's own requires root");
        return;
    }
    let _places = Places::take(1);
    let server = fetched("redis:6.2");
    let cluster = Cluster::start(&server, &Kind { small_disk: Some(2), ..Kind::default() });
    let (folder, out) = out();
    let dir = cluster.folder().display();
    // The server's own words count the writes that failed.
    let hooks = format!(
        "disk: |\n  cd {dir}/$SLOTQUAKE_HOST\n  case $SLOTQUAKE_DISK_CHANGE:$SLOTQUAKE_DISK_FILES in\n    \
         full:all) dd if=/dev/zero of=ballast bs=1k 2>/dev/null; true ;;\n    whole:) rm -f ballast ;;\n    \
         *) exit 1 ;;\n  esac\n\
         disk-state: |\n  cd {dir}\n  [ -e $SLOTQUAKE_HOST/ballast ] && echo faulty || echo whole\n  \
         failed=$(grep -c 'writing to the AOF file' $SLOTQUAKE_HOST.log)\n  echo \"write aof $failed $failed\"\n"
    );
    let steps = "  - disk: { node: node-2, full: true, name: full }\n  - settle: 3s\n  - heal: full\n  - settle: 1s\n";
    let (suite, file) = written(folder.path(), steps, &hooks);
    let ended = attach(&cluster, &out, None, &["--hooks", &file, "--allow-faults", &suite]);
    assert_passes(&ended);
    let events = events(&ended);
    assert_eq!(hooked(&events, "disk"), 2, "{}", ended.whole());
    let (in_effect, undone) = proofs(&events);
    assert!(matches!(in_effect[..], [proof] if proof.contains("hook `disk-state` says so")), "{in_effect:?}");
    assert!(matches!(undone[..], [proof] if proof.contains("hook `disk-state` says so")), "{undone:?}");
    let log = fs::read_to_string(cluster.log_file(2)).expect("a log");
    assert!(log.contains("writing to the AOF file"), "{log}");
    let hits: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::DiskCounted { calls, .. } => Some(calls.iter().map(|call| call.hits).sum()),
            _ => None,
        })
        .collect();
    assert!(matches!(hits[..], [hits] if hits > 0), "{hits:?}");
}
