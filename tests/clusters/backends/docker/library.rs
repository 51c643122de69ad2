//! The library in containers: clocks and speed, and images into which it cannot be loaded.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use slotquake::history::{self, EventKind, History};

use super::{left_by, out, run, suite};
use crate::engine::docker;
use crate::support::{Ended, assert_nothing_left, begin_as, command, conclusive, slotquake};
use crate::turn;

/// The wall clock of one node jumps, that of another one strobes, and a third has a monotonic clock of its own.
const CLOCKS: &str = "  - clock: { node: node-2, jump: 1h, name: ahead }
  - clock: { node: node-3, strobe: -500ms, every: 1s, for: 3s }
  - clock: { node: node-4, drift: 10% }
  - kill: node-2
  - settle: 300ms
  - start: node-2
  - settle: 4s
  - heal: all
  - settle: 500ms
";

pub(super) fn history_of(ended: &Ended) -> History {
    let document = ended.json();
    let folder = document["runs"][0]["report"].as_str().expect("a folder");
    history::read(Path::new(folder)).expect("a history")
}

/// The directories of a harness for what it mounts into containers.
fn mounted_by(pid: u32) -> Vec<String> {
    let ours = format!("slotquake-run-{pid}-");
    let names = fs::read_dir(std::env::temp_dir()).expect("it exists").flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| name.starts_with(&ours)).collect()
}

pub(super) fn assert_clean(ended: &Ended, folder: &tempfile::TempDir) {
    assert_eq!((left_by(ended.pid), mounted_by(ended.pid)), (vec![], vec![]), "{}", ended.whole());
    assert_nothing_left(ended.pid, folder.path());
}

#[test]
fn clocks_of_containers_are_wrong_and_right_again() {
    let Some(_engine) = turn::shared(2) else { return };
    let (folder, out) = out();
    let own = suite(&folder, CLOCKS);
    for server in ["redis:6.2", "valkey:9.1"] {
        let ended = conclusive(|| command(&run(&out, &[&own, "--server", server])));
        assert_eq!(ended.code(), Some(0), "{}", ended.whole());
        assert_clean(&ended, &folder);
        let events = history_of(&ended).events;
        let proofs: Vec<&str> = events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::FaultProven { in_effect: true, proof, .. } => Some(proof.as_str()),
                _ => None,
            })
            .collect();
        assert!(proofs[0].contains(" s ahead of slotquake's"), "{proofs:?}");
        assert!(proofs[1].contains(" s behind slotquake's, and then it agrees with it"), "{proofs:?}");
        let healed = events.iter().filter(|event| matches!(event.kind, EventKind::HealProven { healed: true, .. }));
        // The three clocks, and the killed server.
        assert_eq!(healed.count(), 4, "{}", ended.whole());
    }
}

#[test]
fn a_monotonic_clock_is_changed_only_where_the_server_reads_it() {
    let Some(_engine) = turn::shared(1) else { return };
    let (folder, out) = out();
    let own = suite(&folder, "  - clock: { node: node-2, drift: 10%, of: monotonic }\n  - settle: 1s\n");
    let ended = conclusive(|| command(&run(&out, &[&own, "--server", "redis:6.2"])));
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert_clean(&ended, &folder);
}

#[test]
fn containers_live_at_a_speed() {
    let Some(_engine) = turn::shared(2) else { return };
    let (folder, out) = out();
    // It restarts a server, which must live at the speed again.
    let own = suite(&folder, "  - settle: 2s\n  - kill: node-6\n  - settle: 2s\n  - start: node-6\n  - settle: 2s\n");
    let ended = conclusive(|| command(&run(&out, &[&own, "--server", "redis:6.2", "--speed", "2"])));
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert_clean(&ended, &folder);
    let history = history_of(&ended);
    assert_eq!(history.header.speed.factor(), 2);
    let proofs = history.events.iter().filter(|event| matches!(event.kind, EventKind::SpeedProven { holds: true, .. }));
    // Six after the boot, one after the start, six at the end.
    assert_eq!(proofs.count(), 13);
    // Losing packets is faithful only in real time.
    let own = suite(&folder, "  - lossy: { between: [masters, replicas], percent: 30% }\n  - settle: 1s\n");
    let ended = conclusive(|| command(&run(&out, &[&own, "--server", "redis:6.2", "--speed", "2"])));
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert_eq!(history_of(&ended).header.speed.factor(), 1, "{}", ended.whole());
}

/// An image whose server keeps the library from itself, as one that is linked statically. It is made of the image of
/// `redis:6.2`.
struct Without(&'static str);

impl Without {
    fn image(folder: &Path) -> Self {
        let image = "slotquake-test/without-library:6.2";
        let (server, script) = (folder.join("server"), folder.join("redis-server"));
        let container = docker(&["create", "redis:6.2"]);
        let within = "/usr/bin/redis-server";
        docker(&["cp", &format!("{container}:{within}"), server.to_str().expect("a plain path")]);
        let text = "#!/bin/sh\nunset LD_PRELOAD\nexec /usr/bin/own-server \"$@\"\n";
        fs::write(&script, text).expect("a file");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
        docker(&["cp", server.to_str().expect("a plain path"), &format!("{container}:/usr/bin/own-server")]);
        docker(&["cp", script.to_str().expect("a plain path"), &format!("{container}:{within}")]);
        docker(&["commit", &container, image]);
        docker(&["rm", &container]);
        Self(image)
    }
}

impl Drop for Without {
    fn drop(&mut self) {
        docker(&["rmi", "--force", self.0]);
    }
}

#[test]
fn an_image_without_the_library_is_told_before_anything_runs() {
    let Some(_engine) = turn::shared(1) else { return };
    let (folder, out) = out();
    let image = Without::image(folder.path());
    let skipped =
        "the library that changes time and disks cannot be loaded into the server of image `slotquake-test/without";
    for steps in [CLOCKS, "  - disk: { node: node-1, full: true }\n", "  - power-loss: node-1\n"] {
        let own = suite(&folder, steps);
        let ended = slotquake(&run(&out, &[&own, "--image", image.0]));
        assert_eq!(ended.code(), Some(3), "{}", ended.whole());
        assert!(ended.stderr.contains("skipped: own ") && ended.stderr.contains(skipped), "{}", ended.whole());
        assert!(ended.stderr.contains("(hint: it needs glibc"), "{}", ended.whole());
        assert_clean(&ended, &folder);
    }
    let ended = slotquake(&run(&out, &["formation", "--image", image.0, "--speed", "2"]));
    assert_eq!(ended.code(), Some(2), "{}", ended.whole());
    assert!(
        ended.stderr.contains("`--speed 2` is not possible: the library that changes time and disks"),
        "{}",
        ended.whole()
    );
    assert_clean(&ended, &folder);
    // It is the library that it lacks.
    let ended = conclusive(|| command(&run(&out, &["formation", "--image", image.0])));
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
}

/// What is mounted is removed although nobody could do so at the end.
#[test]
fn nothing_of_the_library_outlives_a_harness_that_is_killed() {
    let Some(_engine) = turn::alone() else { return };
    let (folder, out) = out();
    let own = suite(&folder, "  - clock: { node: node-2, jump: 1h }\n  - settle: 60s\n");
    let mut running = begin_as(command(&run(&out, &[&own, "--server", "redis:6.2"])));
    running.until_it_says("set forward by 1h");
    let pid = running.pid();
    assert_eq!(mounted_by(pid).len(), 1, "the library is mounted from there");
    running.signal(Signal::SIGKILL);
    running.end();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !mounted_by(pid).is_empty() {
        assert!(Instant::now() < deadline, "{:?} is left", mounted_by(pid));
        sleep(Duration::from_millis(50));
    }
    let collected = slotquake(&["gc"]);
    assert_eq!((collected.code(), left_by(pid)), (Some(0), vec![]), "{}", collected.whole());
}
