//! Runs at a speed, on real servers: everything lives N times as fast as this process, which lives in real time.

mod chosen;
mod clocks;
mod durable;
mod files;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;
use slotquake::history::{self, EventKind};
use slotquake::speed::under;

use crate::support::{Ended, Places, QUICK, assert_nothing_left, begin_as, command, conclusive, fetched};

/// A figure of a node's status.
fn time_of_node_1(home: &Path) -> f64 {
    let mut send = command(&["send", "--to", "node-1", "TIME"]);
    let sent = begin_as({
        send.env("XDG_RUNTIME_DIR", home);
        send
    })
    .end();
    assert_eq!(sent.code(), Some(0), "{}", sent.whole());
    let mut numbers = sent.stdout.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
    let (Some(seconds), Some(micros)) = (numbers.next(), numbers.next()) else { panic!("no time: {}", sent.whole()) };
    seconds + micros / 1e6
}

#[test]
fn a_server_and_the_harness_live_at_the_speed() {
    const SPEED: f64 = 10.0;
    fetched("redis:6.2");
    let _place = Places::take(2);
    let home = tempfile::tempdir().expect("a temporary directory");
    let reports = home.path().join("reports");
    let mut up = command(&["up", "--speed", "10", "--out", reports.to_str().expect("a plain path")]);
    up.env("XDG_RUNTIME_DIR", home.path());
    let mut up = begin_as(up);
    up.until_it_says("cluster of 6 nodes is ready");
    // The server read its clock between two moments of this process, whatever else the machine does.
    let read = || {
        let before = Instant::now();
        let time = time_of_node_1(home.path());
        (before, time, Instant::now())
    };
    let (before, from, after) = read();
    sleep(Duration::from_secs(1));
    let (before_end, to, after_end) = read();
    let (least, most) = ((before_end - after).as_secs_f64(), (after_end - before).as_secs_f64());
    let passed = to - from;
    assert!(
        passed >= least * SPEED * 0.99 && passed <= most * SPEED * 1.01,
        "{passed} s passed at node-1 in {least} to {most} real seconds"
    );
    up.signal(Signal::SIGINT);
    let ended = up.end();
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert_nothing_left(ended.pid, &reports);
}

/// The wall clocks of nodes and the monotonic clock of the harness advance equally between boot and end.
fn assert_clocks_agree(history: &history::History) {
    let clocks = |wanted| {
        let events = history.events.iter();
        events.filter_map(move |event| match event.kind {
            EventKind::Clock { node, unix_us, sent_ns } if node == wanted => Some((sent_ns, unix_us, event.at_ns)),
            _ => None,
        })
    };
    for planned in &history.header.plan.nodes {
        let read: Vec<_> = clocks(planned.node).collect();
        let [(sent, from_us, received), .., (sent_end, to_us, received_end)] = read[..] else {
            panic!("{} was not asked twice: {read:?}", planned.node)
        };
        let passed = (to_us - from_us) as f64 * 1e3;
        let (least, most) = ((sent_end - received) as f64, (received_end - sent) as f64);
        assert!(
            passed >= least * 0.99 && passed <= most * 1.01,
            "{}: {passed} ns by its clock, {least} to {most} ns by the harness's",
            planned.node
        );
    }
}

#[test]
fn a_run_at_speed_is_judged_and_says_so() {
    fetched("redis:6.2");
    let reports = tempfile::tempdir().expect("a temporary directory");
    let out = reports.path().to_str().expect("a plain path");
    let _place = Places::take(2);
    let args = ["run", "master-crash", "--speed", "3", "--out", out, "--format", "json"];
    let begun = SystemTime::now();
    let ran = conclusive(|| command(&args));
    assert_eq!(ran.code(), Some(0), "{}", ran.whole());
    assert_nothing_left(ran.pid, reports.path());
    assert_eq!(ran.json()["runs"][0]["speed"], 3, "{}", ran.whole());
    let folder = reports.path().join("latest");
    let history = history::read(&folder).expect("a history");
    assert_eq!(history.header.speed.factor(), 3);
    // Its start is in real time, and nothing else is: the run took a third of its own time, and was begun before.
    let started = humantime::parse_rfc3339(&history.header.started_at).expect("a time");
    assert!(started >= begun - Duration::from_millis(1) && started <= SystemTime::now(), "{started:?}");
    let proofs = history.events.iter().filter(|event| matches!(event.kind, EventKind::SpeedProven { holds: true, .. }));
    // Six after the boot, one after a restart, six at the end.
    assert_eq!(proofs.count(), 13);
    assert_clocks_agree(&history);
}

/// Compiles a program of this directory into a folder.
fn compiled(source: &str, folder: &Path) -> PathBuf {
    let program = folder.join("program");
    let compiled = Command::new("cc")
        .args(["-O1", "-pthread", "-o"])
        .arg(&program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clusters/speed").join(source))
        .output()
        .expect("a C compiler, which built slotquake");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    program
}

/// What a program in C prints at a speed.
fn printed_at(speed: &str, source: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let program = compiled(source, folder.path());
    let mut command = Command::new(&program);
    let library = under(&mut command, speed.parse().expect("a speed")).expect("a library");
    let ran = begin_as(command).end();
    drop(library);
    assert!(ran.status.success() && ran.stderr.is_empty(), "{}", ran.whole());
    ran.stdout
}

/// A process may live at one speed after the other. Its monotonic clock never goes back, and its wall clock begins again at
/// real time.
#[test]
fn the_speed_can_be_changed() {
    const WAIT_S: f64 = 6.0;
    let printed = printed_at("10", "changes.c");
    for (line, speed) in printed.lines().zip([10.0, 2.0, 1.0, 50.0]) {
        let numbers: Vec<f64> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
        let [_, monotonic, wall, real, back, ahead] = numbers[..] else { panic!("{line}") };
        assert!(monotonic >= WAIT_S && wall >= WAIT_S - 1e-4 && back <= 0.0, "speed {speed}: {printed}");
        // The clocks are read one after the other, so their spans differ by what lies between the readings.
        assert!((monotonic - wall).abs() < WAIT_S / 2.0, "speed {speed}: {printed}");
        assert!((monotonic - real * speed).abs() < WAIT_S / 2.0, "speed {speed}: {printed}");
        // A wait until a moment by the clock of before the change would take eighteen, and six more is a lot of noise.
        assert!(speed > 1.5 || monotonic < WAIT_S * 2.0, "speed {speed}: {printed}");
        // Six seconds at the speed before would be more.
        assert!((-1e-3..WAIT_S / 3.0).contains(&ahead), "speed {speed}: {printed}");
    }
    assert_eq!(printed.lines().count(), 4, "{printed}");
}

/// Every way to wait in C is as many times shorter as the clocks are faster.
#[test]
fn every_wait_is_shorter() {
    const SPEED: f64 = 100.0;
    // In the time of the program; in real time it is a hundredth.
    const WAIT_S: f64 = 20.0;
    let printed = printed_at("100", "waits.c");
    for line in printed.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, numbers @ ..] = words.as_slice() else { panic!("{line}") };
        let numbers: Vec<f64> = numbers.iter().map(|number| number.parse().expect("a number")).collect();
        let [monotonic, wall, real] = numbers[..] else { panic!("{line}") };
        // A wait is never too short. An undivided one would take 20 real seconds.
        assert!(monotonic >= WAIT_S && wall >= WAIT_S - 1e-4 && real < WAIT_S, "{name}: {printed}");
        // The clocks are read one after the other, so their spans differ by what lies between the readings.
        assert!((monotonic - wall).abs() < WAIT_S && (monotonic - real * SPEED).abs() < WAIT_S, "{name}: {printed}");
    }
    assert_eq!(printed.lines().count(), 21, "{printed}");
}

fn error_of(ran: &Ended) -> String {
    let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
    format!("{}{}", document["runs"][0]["message"].as_str().unwrap_or_default(), ran.stderr)
}

/// A server that the library is kept from, as from one that is linked statically.
fn without_the_library(folder: &Path) -> String {
    let server = fetched("redis:6.2");
    let without = folder.join("redis-server");
    let library = server.library_path.as_ref().map_or_else(String::new, |path| path.display().to_string());
    let script = format!(
        "#!/bin/sh\nunset LD_PRELOAD\nexport LD_LIBRARY_PATH='{library}'\nexec '{}' \"$@\"\n",
        server.path.display()
    );
    fs::write(&without, script).expect("a file");
    fs::set_permissions(&without, fs::Permissions::from_mode(0o755)).expect("it can be executed");
    without.to_str().expect("a plain path").to_owned()
}

#[test]
fn a_server_without_the_library_makes_the_run_an_error() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let without = without_the_library(folder.path());
    let out = folder.path().join("reports");
    let out = out.to_str().expect("a plain path");
    let _place = Places::take(1);
    let run = |speed: &str| {
        let args = ["run", "formation", "--server", &without, "--speed", speed, "--out", out, "--format", "json"];
        conclusive(|| command(&[&args[..], &QUICK].concat()))
    };
    let at_10 = run("10");
    assert_eq!(at_10.code(), Some(69), "{}", at_10.whole());
    let error = error_of(&at_10);
    assert!(error.contains("node-1 does not live at speed 10: its clock is "), "{error}");
    assert!(error.contains(" s behind slotquake's"), "{error}");
    assert_nothing_left(at_10.pid, folder.path());
    // It is the speed that it cannot run at.
    let at_1 = run("1");
    assert_eq!(at_1.code(), Some(0), "{}", at_1.whole());
}

/// A run that changes clocks or disks needs the library in every server, at speed 1, too.
#[test]
fn a_server_whose_clock_or_disk_cannot_be_changed_makes_the_run_an_error() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let without = without_the_library(folder.path());
    let suite = folder.path().join("wrong.yaml");
    let out = folder.path().join("reports");
    let (suite, out) = (suite.to_str().expect("a plain path"), out.to_str().expect("a plain path"));
    let _place = Places::take(1);
    for (step, expected) in [
        (
            "clock: { node: node-2, jump: 1h }",
            "the clock of node-1 cannot be changed: the library that changes its clock is not loaded into it (hint: ",
        ),
        (
            "disk: { node: node-2, slow: 1ms, on: write }",
            "the disk of node-1 cannot be made faulty: the library that stands between it and its files is not loaded into \
             it (hint: ",
        ),
    ] {
        let steps = format!("steps:\n  - phase: wrong\n  - {step}\n  - settle: 1s\n");
        let text = format!("name: wrong\nabout: A host.\n{steps}invariants:\n  - slot-coverage: {{ at: end }}\n");
        fs::write(suite, text).expect("a file");
        let run = |server: &str| {
            let args = ["run", suite, "--server", server, "--out", out, "--format", "json"];
            conclusive(|| command(&[&args[..], &QUICK].concat()))
        };
        let wrong = run(&without);
        assert_eq!(wrong.code(), Some(69), "{}", wrong.whole());
        let error = error_of(&wrong);
        assert!(error.contains(expected), "{error}");
        assert_nothing_left(wrong.pid, folder.path());
        let right = run("redis:6.2");
        assert_eq!(right.code(), Some(0), "{}", right.whole());
    }
}

/// The same for a run that cuts power.
#[test]
fn a_server_that_does_not_tell_what_it_synchronises_makes_the_run_an_error() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let without = without_the_library(folder.path());
    let out = folder.path().join("reports");
    let out = out.to_str().expect("a plain path");
    let _place = Places::take(1);
    let args = ["run", "power-loss-shard", "--server", &without, "--out", out, "--format", "json"];
    let ran = conclusive(|| command(&[&args[..], &QUICK].concat()));
    assert_eq!(ran.code(), Some(69), "{}", ran.whole());
    let error = error_of(&ran);
    assert!(error.contains("the power of node-1 cannot be cut: the library that stands between"), "{error}");
    assert_nothing_left(ran.pid, folder.path());
}

#[test]
fn a_library_that_is_not_loaded_is_an_error() {
    fetched("redis:6.2");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut run = Command::new(env!("CARGO_BIN_EXE_slotquake"));
    run.args(["run", "formation", "--server", "redis:6.2", "--speed", "10"]).current_dir(folder.path());
    // As if slotquake had been executed again, and the linker had ignored the library.
    run.env("SLOTQUAKE_DILATION", "10 1 1 1 1 1");
    let ended = begin_as(run).end();
    assert_eq!(ended.code(), Some(69), "{}", ended.whole());
    assert!(ended.stderr.contains("the library for speed 10 was not loaded (hint: "), "{}", ended.whole());
    assert!(!folder.path().join("reports").exists(), "nothing ran");
}
