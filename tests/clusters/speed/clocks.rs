//! Clocks that a file makes wrong, in a program in C.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use slotquake::fault::{ClockChange, ClockOf, Strobe};
use slotquake::speed::clock::{HostClock, Skew, preload};
use slotquake::speed::under;

use super::compiled;

/// The lines that the program prints under the library, with a clock: a name and numbers.
fn printed(program: &Path, what: &str, clock: &HostClock, speed: Option<&str>) -> Vec<(String, Vec<f64>)> {
    let mut command = Command::new(program);
    let library = match speed {
        None => preload().inspect(|library| library.load_into(&mut command)),
        Some(speed) => under(&mut command, speed.parse().expect("a speed")),
    };
    let _kept = library.expect("a library");
    clock.give(&mut command);
    let mut ran = command.arg(what).stdout(Stdio::piped()).spawn().expect("it runs");
    let began = Instant::now();
    while ran.try_wait().expect("its state").is_none() {
        if began.elapsed() > Duration::from_secs(120) {
            ran.kill().expect("it can be ended");
            panic!("\"{what}\" still waits: {clock:?}");
        }
        sleep(Duration::from_millis(10));
    }
    let ran = ran.wait_with_output().expect("its output");
    assert!(ran.status.success(), "{:?}", ran.status);
    let text = String::from_utf8(ran.stdout).expect("text");
    let lines = text.lines().map(|line| {
        let mut words = line.split(' ');
        let name = words.next().expect("a name").to_owned();
        (name, words.map(|number| number.parse().expect("a number")).collect())
    });
    lines.collect()
}

fn jump(by: &str) -> Skew {
    Skew::now(ClockOf::Wall, ClockChange::Jump(by.parse().expect("a jump")))
}

fn drift(by: &str) -> Skew {
    Skew::now(ClockOf::Wall, ClockChange::Drift(by.parse().expect("a drift")))
}

fn strobe(by: &str, every: &str, lasts: &str) -> Skew {
    let span = |text: &str| text.parse().expect("a span");
    let strobe = Strobe { by: by.parse().expect("a jump"), every: span(every), lasts: span(lasts) };
    Skew::now(ClockOf::Wall, ClockChange::Strobe(strobe))
}

fn monotonic(change: ClockChange) -> Skew {
    Skew::now(ClockOf::Monotonic, change)
}

#[test]
fn only_the_wall_clock_is_wrong() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let program = compiled("clocks.c", folder.path());
    let mut clock = HostClock::create(&folder.path().join("clock")).expect("a file");
    for (skew, expected_s) in [(Skew::NONE, 0.0), (jump("1h"), 3600.0), (jump("-1h"), -3600.0)] {
        clock.set(skew).expect("a change");
        let lines = printed(&program, "clocks", &clock, None);
        let names: Vec<&str> = lines.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["early", "realtime", "coarse", "gettimeofday", "time", "monotonic", "child"]);
        for (name, numbers) in &lines {
            let expected_s = if name == "monotonic" { 0.0 } else { expected_s };
            // `time` cuts a second off, and the two clocks are read one after the other.
            assert!((numbers[0] - expected_s).abs() < 60.0, "{skew:?}: {lines:?}");
        }
    }
}

#[test]
fn only_the_monotonic_clock_is_wrong() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let program = compiled("clocks.c", folder.path());
    let mut clock = HostClock::create(&folder.path().join("clock")).expect("a file");
    clock.set(monotonic(ClockChange::Jump("1h".parse().expect("a jump")))).expect("a change");
    for speed in [None, Some("2")] {
        for (name, numbers) in printed(&program, "clocks", &clock, speed) {
            let expected_s = if name == "monotonic" { 3600.0 } else { 0.0 };
            assert!((numbers[0] - expected_s).abs() < 60.0, "{name}: {numbers:?}");
        }
    }
    let told = [ClockOf::Wall, ClockOf::Monotonic].map(|of| clock.told(of).expect("what was told"));
    assert_eq!(told.map(|told| told.ahead_ns), [0, 3_600_000_000_000]);
    assert!(told.iter().all(|told| told.count > 0), "{told:?}");
    let waits = printed(&program, "monotonic-waits", &clock, None);
    assert_eq!(waits.len(), 6, "{waits:?}");
    for (name, numbers) in &waits {
        let [shown_s, real_s] = numbers[..] else { panic!("{name}: {numbers:?}") };
        // A wait that is not converted would last an hour, or be over at once.
        assert!((0.299..60.0).contains(&shown_s) && real_s > 0.299, "{waits:?}");
    }
}

/// Every wait until a moment ends when the clock shows it, whether it is right then, ahead or behind.
#[test]
fn waits_end_by_a_clock_that_strobes() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let program = compiled("clocks.c", folder.path());
    let mut clock = HostClock::create(&folder.path().join("clock")).expect("a file");
    for by in ["10m", "-10m"] {
        // The last one is over when the program looks, and some waits begin in each half.
        for (every, lasts) in [("200ms", "1h"), ("700ms", "1h"), ("10s", "10s"), ("200ms", "200ms")] {
            clock.set(strobe(by, every, lasts)).expect("a change");
            if lasts == "200ms" {
                sleep(Duration::from_millis(300));
            }
            for (name, numbers) in printed(&program, "waits", &clock, None) {
                let [shown_s, real_s] = numbers[..] else { panic!("{name}: {numbers:?}") };
                // It has shown the moment before the end of the wait, or shows it: it may be behind again by now.
                let is_over = shown_s >= 0.299 || (shown_s < -1.0 && name != "poll");
                // A wait that is not converted could last ten minutes. The longest half takes five seconds.
                assert!((is_over || name == "poll") && real_s < 60.0, "{by} {every} {lasts}: {name} {numbers:?}");
            }
        }
    }
}

/// At speed 2 the wall clock is an hour ahead of that of the speed, which is ahead of the real one by what has passed.
#[test]
fn a_clock_is_wrong_at_speed_too() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let program = compiled("clocks.c", folder.path());
    let mut clock = HostClock::create(&folder.path().join("clock")).expect("a file");
    clock.set(jump("1h")).expect("a change");
    for (name, numbers) in printed(&program, "clocks", &clock, Some("2")) {
        let expected_s = if name == "monotonic" { 0.0 } else { 3600.0 };
        assert!((numbers[0] - expected_s).abs() < 60.0, "{name}: {numbers:?}");
    }
}

#[test]
fn waits_until_a_moment_end_when_the_wrong_clock_shows_it() {
    const WAIT_S: f64 = 0.3;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let program = compiled("clocks.c", folder.path());
    let mut clock = HostClock::create(&folder.path().join("clock")).expect("a file");
    for (skew, rate) in [(jump("1h"), 1.0), (jump("-1h"), 1.0), (drift("50%"), 1.5), (drift("-50%"), 0.5)] {
        clock.set(skew).expect("a change");
        let lines = printed(&program, "waits", &clock, None);
        assert_eq!(lines.len(), 6, "{lines:?}");
        for (name, numbers) in &lines {
            let [shown_s, real_s] = numbers[..] else { panic!("{name}: {numbers:?}") };
            // A wait that is not converted would last an hour, or be over at once.
            let least_s = if name == "poll" { WAIT_S * rate } else { WAIT_S };
            assert!(shown_s >= least_s - 1e-3 && real_s < 60.0, "{skew:?}: {lines:?}");
            assert!(real_s * rate >= least_s - 1e-3, "{skew:?}: {lines:?}");
            // The wrong clock goes at its rate.
            assert!((shown_s - real_s * rate).abs() < 0.1 * shown_s + 0.05, "{skew:?}: {lines:?}");
        }
    }
}

#[test]
fn nobody_reads_half_a_change() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let program = compiled("clocks.c", folder.path());
    let path = folder.path().join("clock");
    let clock = HostClock::create(&path).expect("a file");
    let mut command = Command::new(&program);
    let library = preload().expect("a library");
    library.load_into(&mut command);
    clock.give(&mut command);
    command.arg("torn").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut reader = command.spawn().expect("it runs");
    let mut lines = BufReader::new(reader.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "reads");
    assert_eq!(clock.is_read_by(reader.id()), Ok(()));
    // As `HostClock` does it, but slowly: piece by piece what is not in force, then the number of changes. Half of the drift
    // would be years off.
    let file = File::options().write(true).open(&path).expect("the file");
    let hour_ns = 3_600_000_000_000_i64;
    let later = [0, 5000, i64::MAX];
    for (change, [offset, drift, from]) in (2_u8..).zip([later, later, [hour_ns, 0, 0], [0; 3]]) {
        // `struct skew`: the clock, the offset, the drift, two numbers of a strobe, and since when.
        for (place, number) in [(16, drift), (8, offset), (40, from)] {
            file.write_all_at(&number.to_ne_bytes(), 48 + u64::from(change & 1) * 56 + place)
                .expect("it can be written");
            sleep(Duration::from_millis(20));
        }
        file.write_all_at(&[change], 8).expect("it can be written");
        sleep(Duration::from_millis(100));
    }
    drop(reader.stdin.take());
    let told = lines.next().expect("a line").expect("text");
    assert!(reader.wait().expect("it ends").success());
    let numbers: Vec<u64> = told.split(' ').skip(1).map(|number| number.parse().expect("a number")).collect();
    let [torn, right, ahead] = numbers[..] else { panic!("{told}") };
    assert!(torn == 0 && right > 0 && ahead > 0, "{told}");
}
