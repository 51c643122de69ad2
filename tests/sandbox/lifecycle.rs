//! The life cycle of a sandbox, seen from outside.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Case;
use crate::stage::{Process, Running, Stage, eventually, passes, processes_with, start};

pub const CASES: &[(&str, Case)] = &[
    ("a listener inside is not seen outside", a_listener_inside_is_not_seen_outside),
    ("user, files, directory and environment are as outside", everything_else_is_as_outside),
    ("the exit status passes through", the_exit_status_passes_through),
    ("a signal to the outer process reaches the program once", a_signal_to_the_outer_process_arrives_once),
    ("a signal to the whole group reaches the program once", a_signal_to_the_group_arrives_once),
    ("a job that is stopped and continued stops and goes on inside", a_stopped_job_stops_inside),
    ("a job without a shell does not stop", a_job_without_a_shell_does_not_stop),
    ("SIGKILL of the outer process ends all", sigkill_of_the_outer_process_ends_all),
    ("SIGKILL of the outer process ends a stopped init", sigkill_of_the_outer_process_ends_a_stopped_init),
    ("SIGKILL of the program ends all", sigkill_of_the_program_ends_all),
    ("SIGKILL of init ends all", sigkill_of_init_ends_all),
    ("the end of the program ends all", the_end_of_the_program_ends_all),
    ("SIGKILL at ten moments of the start leaves nothing", sigkill_while_it_starts_leaves_nothing),
    ("forbidden namespaces are named", forbidden_namespaces_are_named),
    ("a masked /proc is named", a_masked_proc_is_named),
    ("root goes without a user namespace where those are forbidden", root_goes_without_a_user_namespace),
    ("a missing nft is named", a_missing_nft_is_named),
];

/// A unique word for command lines.
fn mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // `sleep` takes it as a number of seconds: more than a day.
    format!("86400.{}00{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A program inside with children, one of them an orphan in its own session.
fn family(stage: &Stage, mark: &str) -> (Running, String) {
    let (running, namespace) = start(&mut stage.role(&["family", mark]));
    assert_eq!(processes_with(mark).len(), 5, "outer, init, program, child, orphan");
    (running, namespace)
}

fn gone(mark: &str, namespace: &str) {
    eventually("every process is gone", || processes_with(mark).is_empty());
    eventually("nobody is in the network namespace", || {
        fs::read_dir("/proc").expect("/proc").flatten().all(|entry| {
            fs::read_link(entry.path().join("ns/net")).map_or(true, |link| link.to_string_lossy() != namespace)
        })
    });
}

fn child_of(parent: Pid, mark: &str) -> Process {
    let family = processes_with(mark);
    family.into_iter().find(|process| process.parent == parent.as_raw()).expect("a child")
}

fn a_listener_inside_is_not_seen_outside(stage: &Stage) {
    let outside = TcpListener::bind((Ipv4Addr::new(127, 5, 0, 1), 0)).expect("a listener");
    let address = outside.local_addr().expect("its address");
    let (_running, said) = start(&mut stage.role(&["listen", &address.to_string()]));
    assert_eq!(said, "listens", "the very address is free inside");
    let near = TcpStream::connect_timeout(&address, Duration::from_secs(5)).expect("it is reached outside");
    let (_far, peer) = outside.accept().expect("it is this listener that was reached");
    assert_eq!(near.local_addr().expect("its address"), peer);
}

fn everything_else_is_as_outside(stage: &Stage) {
    let said = passes(stage.role(&["describe", "written-inside"]).env("SLOTQUAKE_TEST_WORD", "kept"));
    let (uid, gid) = stage.ids();
    let home = stage.home().canonicalize().expect("the home").display().to_string();
    assert_eq!(said.trim(), format!("uid={uid} gid={gid} pid=2 cwd={home} word=kept"));
    let file = fs::metadata(stage.home().join("written-inside")).expect("the file");
    assert_eq!((file.uid(), file.gid()), (uid, gid));
    if uid == 0 {
        let given = fs::metadata(stage.home().join("written-inside.given")).expect("the file");
        assert_eq!((given.uid(), given.gid()), (1234, 1234), "root may give files away as outside");
    }
}

fn the_exit_status_passes_through(stage: &Stage) {
    for code in [0, 1, 3, 70, 255] {
        let status = stage.role(&["exit", &code.to_string()]).status().expect("it runs");
        assert_eq!(status.code(), Some(code));
    }
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGINT] {
        let status = stage.role(&["die", signal.as_str()]).status().expect("it runs");
        assert_eq!(status.signal(), Some(signal as i32));
    }
    let status = stage.role(&["panic"]).stderr(Stdio::null()).status().expect("it runs");
    assert_eq!(status.code(), Some(101));
}

fn signals_counted(stage: &Stage, send: impl Fn(Pid, Signal)) {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let log = stage.home().join(mark());
        let mut command = stage.role(&["count", signal.as_str(), log.to_str().expect("UTF-8")]);
        let (mut running, _) = start(command.process_group(0));
        send(running.pid(), signal);
        assert_eq!(running.end().code(), Some(7));
        assert_eq!(fs::read_to_string(&log).expect("the log"), "1", "{signal}");
    }
}

fn a_signal_to_the_outer_process_arrives_once(stage: &Stage) {
    signals_counted(stage, |pid, signal| kill(pid, signal).expect("it is sent"));
}

fn a_signal_to_the_group_arrives_once(stage: &Stage) {
    signals_counted(stage, |pid, signal| kill(Pid::from_raw(-pid.as_raw()), signal).expect("it is sent"));
}

fn a_stopped_job_stops_inside(stage: &Stage) {
    let mark = mark();
    // In its own process group, like a shell's job, so that the parent can continue it.
    let (running, _) = start(stage.role(&["family", &mark]).process_group(0));
    let init = child_of(running.pid(), &mark).pid;
    let states = || {
        let processes = processes_with(&mark);
        let state = |pid: Pid| processes.iter().find(|process| process.pid == pid).map(|process| process.state);
        (state(running.pid()), state(child_of_role(init, &mark).pid))
    };
    running.signal(Signal::SIGTSTP);
    eventually("outer and program are stopped", || states() == (Some('T'), Some('T')));
    running.signal(Signal::SIGCONT);
    eventually("outer and program go on", || states() == (Some('S'), Some('S')));
}

fn a_job_without_a_shell_does_not_stop(stage: &Stage) {
    let mark = mark();
    let exe = stage.exe();
    // No process could continue a session leader, so the kernel does not stop it.
    let (running, namespace) = start(stage.command("setsid").arg(exe).args(["role", "family", &mark]));
    running.signal(Signal::SIGTSTP);
    running.signal(Signal::SIGHUP);
    ended(running, &mark, &namespace, Signal::SIGHUP);
}

/// The program. Init has also adopted the orphan, a `sleep`.
fn child_of_role(init: Pid, mark: &str) -> Process {
    let is_role = |process: &Process| {
        let words = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        String::from_utf8_lossy(&words).contains("family")
    };
    let family = processes_with(mark);
    family.into_iter().find(|process| process.parent == init.as_raw() && is_role(process)).expect("the program")
}

fn sigkill_of_the_outer_process_ends_all(stage: &Stage) {
    let mark = mark();
    let (running, namespace) = family(stage, &mark);
    running.signal(Signal::SIGKILL);
    ended(running, &mark, &namespace, Signal::SIGKILL);
}

fn sigkill_of_the_outer_process_ends_a_stopped_init(stage: &Stage) {
    let mark = mark();
    let (running, namespace) = family(stage, &mark);
    let init = child_of(running.pid(), &mark).pid;
    kill(init, Signal::SIGSTOP).expect("it is sent");
    eventually("init is stopped", || child_of(running.pid(), &mark).state == 'T');
    running.signal(Signal::SIGKILL);
    ended(running, &mark, &namespace, Signal::SIGKILL);
}

fn sigkill_of_the_program_ends_all(stage: &Stage) {
    let mark = mark();
    let (running, namespace) = family(stage, &mark);
    let init = child_of(running.pid(), &mark).pid;
    kill(child_of_role(init, &mark).pid, Signal::SIGKILL).expect("it is sent");
    ended(running, &mark, &namespace, Signal::SIGKILL);
}

fn sigkill_of_init_ends_all(stage: &Stage) {
    let mark = mark();
    let (running, namespace) = family(stage, &mark);
    kill(child_of(running.pid(), &mark).pid, Signal::SIGKILL).expect("it is sent");
    ended(running, &mark, &namespace, Signal::SIGKILL);
}

fn the_end_of_the_program_ends_all(stage: &Stage) {
    let mark = mark();
    let (running, namespace) = family(stage, &mark);
    // SIGHUP makes the program exit and leave its children behind.
    running.signal(Signal::SIGHUP);
    ended(running, &mark, &namespace, Signal::SIGHUP);
}

fn ended(mut outer: Running, mark: &str, namespace: &str, by: Signal) {
    let status = outer.end();
    assert_eq!(status.signal(), Some(by as i32), "{status}");
    gone(mark, namespace);
}

fn sigkill_while_it_starts_leaves_nothing(stage: &Stage) {
    let mark = mark();
    for delay_us in [0, 300, 700, 1_000, 1_500, 2_500, 4_000, 6_000, 10_000, 20_000] {
        let child = stage.role(&["family", &mark]).stdout(Stdio::null()).spawn().expect("it starts");
        let mut running = Running(child);
        std::thread::sleep(Duration::from_micros(delay_us));
        running.signal(Signal::SIGKILL);
        running.end();
        eventually("every process is gone", || processes_with(&mark).is_empty());
    }
}

/// Runs a role as root of a new user namespace in which no further ones are allowed.
fn without_user_namespaces(stage: &Stage, through: &str, words: &str) -> std::process::Output {
    let script = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && exec {through} '{}' role {words}",
        stage.exe().display()
    );
    let mut command = stage.command("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", &script]).output().expect("unshare runs")
}

fn forbidden_namespaces_are_named(stage: &Stage) {
    let powerless = "setpriv --bounding-set=-all --inh-caps=-all";
    let auto = without_user_namespaces(stage, powerless, "auto");
    let (said, complained) = (String::from_utf8_lossy(&auto.stdout), String::from_utf8_lossy(&auto.stderr));
    assert!(auto.status.success(), "{said}{complained}");
    assert!(said.contains("user.max_user_namespaces is 0"), "{said}");
    assert!(said.contains("sudo sysctl -w user.max_user_namespaces="), "{said}");
    let require = without_user_namespaces(stage, powerless, "inside 'processes inside have numbers of their own'");
    assert_eq!(require.status.code(), Some(1));
    let complained = String::from_utf8_lossy(&require.stderr);
    assert!(complained.contains("no sandbox: user.max_user_namespaces is 0"), "{complained}");
}

/// As in a container, where the kernel refuses to mount a new /proc.
fn a_masked_proc_is_named(stage: &Stage) {
    let script = format!("mount -t tmpfs none /proc/sys && exec '{}' role auto", stage.exe().display());
    let mut command = stage.command("unshare");
    let said = passes(command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]));
    assert!(said.contains("parts of /proc are masked") && said.contains("systempaths=unconfined"), "{said}");
}

fn root_goes_without_a_user_namespace(stage: &Stage) {
    let output = without_user_namespaces(stage, "", "inside 'processes inside have numbers of their own'");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn a_missing_nft_is_named(stage: &Stage) {
    let script = format!(
        "for d in /usr/sbin /sbin /usr/local/sbin; do mount -t tmpfs none $d || exit 1; done; PATH=/nowhere '{}' role no-nft",
        stage.exe().display()
    );
    let mut command = stage.command("unshare");
    let said = passes(command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]));
    assert!(said.contains("nft is not installed") && said.contains("apt-get install nftables"), "{said}");
}
