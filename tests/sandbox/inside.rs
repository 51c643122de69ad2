//! The roles in which this program starts itself again, and the cases that run inside the sandbox.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use slotquake::network::Network;
use slotquake::network::nft::Nft;
use slotquake::sandbox::{Entered, Inside, Mode, enter, probe, tie_to_spawner};
use std::os::fd::AsFd;

pub mod faults;

/// A case passes by returning.
pub type Case = fn(&Inside);

pub const CASES: &[(&str, Case)] = &[
    ("processes inside have numbers of their own", processes_have_numbers_of_their_own),
    ("the scratch directory is empty and takes files", the_scratch_directory_takes_files),
    ("orphans are reaped", orphans_are_reaped),
    ("a server that is tied to its spawner starts", a_tied_child_starts),
    ("a sandbox in the sandbox works", a_sandbox_in_the_sandbox_works),
];

/// Runs the role that the arguments name.
pub fn play(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["probe"] => {
            let pid = std::process::id();
            let possible = probe();
            assert_eq!(std::process::id(), pid, "a probe leaves the process where it is");
            return report(possible.map_err(|error| error.to_string()));
        }
        ["probe-nft"] => {
            return report(Nft::find().map(|_| ()).map_err(|error| error.to_string()));
        }
        ["auto"] => {
            match enter(Mode::Auto) {
                Ok(Entered::No { reason, hint }) => println!("{reason} ({hint})"),
                other => panic!("{other:?}"),
            }
            let blocked = SigSet::thread_get_mask().expect("the mask");
            assert_eq!(blocked, SigSet::empty(), "signals are as before");
            assert_eq!(nix::sys::wait::wait(), Err(nix::errno::Errno::ECHILD), "no child is left");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let inside = match enter(Mode::Require) {
        Ok(Entered::Inside(inside)) => inside,
        Ok(outside @ Entered::No { .. }) => panic!("required, and yet {outside:?}"),
        Err(error) => return report(Err(error.to_string())),
    };
    match words.as_slice() {
        ["inside", name] => {
            let mut cases = CASES.iter().chain(faults::CASES);
            cases.find(|(case, _)| case == name).expect("a case of that name").1(&inside);
        }
        ["exit", code] => return ExitCode::from(code.parse::<u8>().expect("a code")),
        ["die", signal] => raise(signal.parse().expect("a signal")).expect("it is raised"),
        ["panic"] => panic!("as asked"),
        ["listen", address] => listen(address),
        ["describe", file] => describe(file),
        ["count", signal, log] => return count(signal.parse().expect("a signal"), log),
        ["family", mark] => family(mark),
        ["no-nft"] => println!("{}", Network::open(&inside).expect_err("there is no nft")),
        other => panic!("no role {other:?}"),
    }
    ExitCode::SUCCESS
}

fn report(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn listen(address: &str) {
    let listener = TcpListener::bind(address).expect("any address of 127/8 can be bound");
    let near = std::net::TcpStream::connect(address).expect("it is reached inside");
    let (_far, peer) = listener.accept().expect("it is this listener that was reached");
    assert_eq!(near.local_addr().expect("its address"), peer);
    println!("listens");
    std::thread::sleep(Duration::from_secs(60));
}

fn describe(file: &str) {
    fs::write(file, "x").expect("a file in the current directory");
    let uid = nix::unistd::geteuid();
    if uid.is_root() {
        let given = format!("{file}.given");
        fs::write(&given, "x").expect("another file");
        std::os::unix::fs::chown(&given, Some(1234), Some(1234)).expect("root gives it away");
    }
    let word = std::env::var("SLOTQUAKE_TEST_WORD").expect("the environment is kept");
    let cwd = std::env::current_dir().expect("a current directory");
    let (gid, pid) = (nix::unistd::getegid(), std::process::id());
    println!("uid={uid} gid={gid} pid={pid} cwd={} word={word}", cwd.display());
}

/// Counts how often a signal arrives, until half a second passes without one.
fn count(signal: Signal, log: &str) -> ExitCode {
    let set = SigSet::from(signal);
    set.thread_block().expect("it is blocked");
    let signals = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK).expect("a signalfd");
    println!("ready");
    let mut count = 0;
    loop {
        let mut ready = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let patience = if count == 0 { PollTimeout::NONE } else { PollTimeout::from(500u16) };
        if poll(&mut ready, patience).expect("poll") == 0 {
            break;
        }
        while let Ok(Some(_)) = signals.read_signal() {
            count += 1;
        }
    }
    fs::write(log, count.to_string()).expect("the log");
    ExitCode::from(7)
}

fn family(mark: &str) {
    let mut child = Command::new("sleep").arg(mark).process_group(0).spawn().expect("a child");
    let orphaning = format!("setsid sleep {mark} >&- 2>&- & sleep 0.05");
    let status = Command::new("sh").args(["-c", &orphaning]).status().expect("a shell");
    assert!(status.success());
    let namespace = fs::read_link("/proc/self/ns/net").expect("the namespace");
    println!("{}", namespace.display());
    child.wait().expect("it is waited for");
}

fn processes_have_numbers_of_their_own(_: &Inside) {
    assert_eq!(std::process::id(), 2);
    let link = fs::read_link("/proc/self").expect("/proc is that of the PID namespace");
    assert_eq!(link.to_string_lossy(), "2");
    let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).expect("a name").trim().to_owned();
    assert_eq!((name(1).as_str(), name(2).as_str()), ("slotquake-init", "play"), "top and ps tell them apart");
}

fn the_scratch_directory_takes_files(inside: &Inside) {
    let scratch = inside.scratch();
    assert_eq!(fs::read_dir(scratch).expect("it is listed").count(), 0);
    fs::create_dir(scratch.join("node-1")).expect("a directory");
    let socket = scratch.join("node-1/socket");
    std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let output = Command::new("ls").arg(scratch).output().expect("children see it");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "node-1");
}

fn orphans_are_reaped(_: &Inside) {
    let status = Command::new("sh").args(["-c", "for i in 1 2 3; do sleep 0.01 & done"]).status().expect("a shell");
    assert!(status.success());
    let deadline = Instant::now() + Duration::from_secs(5);
    let others = || {
        let pids = fs::read_dir("/proc").expect("/proc").flatten();
        pids.filter(|entry| entry.file_name().to_string_lossy().parse().is_ok_and(|pid: u32| pid > 2)).count()
    };
    while others() > 0 {
        assert!(Instant::now() < deadline, "{} processes are left", others());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn a_tied_child_starts(_: &Inside) {
    let mut command = Command::new("true");
    tie_to_spawner(&mut command);
    assert!(command.status().expect("it starts").success());
}

fn a_sandbox_in_the_sandbox_works(_: &Inside) {
    let exe = std::env::current_exe().expect("this program");
    let name = "a cut drops both ways and between the pair only";
    let output = Command::new(exe).args(["role", "inside", name]).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
