//! The sandbox on Linux: three processes, two pipes.
//!
//! The `orders` pipe goes from the outer process to init: first one byte that says that the ids are
//! mapped, then one byte for each signal to forward. End of file means that the outer process is dead.
//! The `reports` pipe goes back: one frame when the sandbox is ready or the setup failed, and one when
//! the program ends.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, geteuid, pipe2};

use super::SandboxError;
use super::refusal::{Facts, Step, explain};

/// Where the scratch directory is mounted: an empty directory that the kernel provides in every /proc
/// as a mount point. A mount there hides nothing, and unlike a mount on another directory of /proc it
/// does not prevent a sandbox inside the sandbox.
const SCRATCH: &str = "/proc/fs/nfsd";

/// The MTU of `lo`, in bytes. It is that of Ethernet, so that packet loss and rate limits affect a stream
/// as on a real network. With the default of 65536 a whole burst would be one packet.
const MTU_BYTES: libc::c_int = 1500;

/// The signals that init forwards to the program when only the outer process received them.
const FORWARDED: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
];

/// The order to continue once the ids are mapped. No signal has this number.
const GO: u8 = 0;

/// How long init waits for its own copy of a signal that may have gone to the whole process group.
const GROUP_SIGNAL_WAIT: Duration = Duration::from_millis(10);
/// How long a signal that init received counts as a copy of one that the outer process received.
const GROUP_SIGNAL_AGE: Duration = Duration::from_secs(1);

/// What init reports to the outer process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    Ready,
    Failed(Step, i32),
    Exited(i32),
    Killed(i32),
}

impl Report {
    fn to_frame(self) -> [u8; 6] {
        let (kind, step, number) = match self {
            Self::Ready => (0, 0, 0),
            Self::Failed(step, errno) => (1, step as u8, errno),
            Self::Exited(code) => (2, 0, code),
            Self::Killed(signal) => (3, 0, signal),
        };
        let [a, b, c, d] = number.to_le_bytes();
        [kind, step, a, b, c, d]
    }

    fn from_frame([kind, step, number @ ..]: [u8; 6]) -> Self {
        let number = i32::from_le_bytes(number);
        match kind {
            0 => Self::Ready,
            1 => Self::Failed(Step::ALL[usize::from(step)], number),
            2 => Self::Exited(number),
            _ => Self::Killed(number),
        }
    }
}

/// The error is the step that failed and the system's error.
type Setup<T> = Result<T, (Step, Errno)>;

/// Sets up the sandbox and returns the path of the scratch directory. With `stay`, it returns inside the
/// sandbox and never outside. Without, it returns outside once everything was set up.
pub(super) fn launch(stay: bool) -> Result<PathBuf, SandboxError> {
    let threads = threads();
    if threads != 1 {
        return Err(SandboxError::Threads(threads));
    }
    let before = swap_signal_mask()?;
    let outcome = split(stay, before);
    // Only the program inside and a caller that stays outside get here; restore the mask for both.
    let restored = before.thread_set_mask();
    outcome.and_then(|()| restored.map_err(|errno| (Step::Process, errno))).map_err(refused)?;
    Ok(PathBuf::from(SCRATCH))
}

/// Lets a child process enter the sandbox, run `work` and send back the result.
pub(super) fn visit(work: impl FnOnce(PathBuf) -> String) -> Result<String, SandboxError> {
    /// The first byte of the message: the work is done, or the sandbox was refused.
    const DONE: u8 = 0;
    const REFUSED: u8 = 1;
    let threads = threads();
    if threads != 1 {
        return Err(SandboxError::Threads(threads));
    }
    let process = |errno| refused((Step::Process, errno));
    let (output, input) = pipe2(OFlag::O_CLOEXEC).map_err(process)?;
    // SAFETY: this process has one thread.
    let child = match unsafe { fork() }.map_err(process)? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop(output);
            // The child must neither return nor unwind into its parent's code.
            let sent = catch_unwind(AssertUnwindSafe(|| {
                let message = match launch(true) {
                    Ok(scratch) => (DONE, work(scratch)),
                    Err(SandboxError::Refused { reason, hint }) => (REFUSED, format!("{reason}\n{hint}")),
                    Err(error) => (REFUSED, format!("{error}\n")),
                };
                File::from(input).write_all(&[&[message.0], message.1.as_bytes()].concat())
            }));
            std::process::exit(if sent.is_ok_and(|written| written.is_ok()) { 0 } else { 70 })
        }
    };
    drop(input);
    let mut message = Vec::new();
    let read = File::from(output).read_to_end(&mut message);
    let _ = waitpid(child, None);
    match (read, message.split_first()) {
        (Ok(_), Some((&DONE, result))) => Ok(String::from_utf8_lossy(result).into_owned()),
        (Ok(_), Some((_, refusal))) => {
            let refusal = String::from_utf8_lossy(refusal);
            let (reason, hint) = refusal.split_once('\n').unwrap_or((&refusal, ""));
            Err(SandboxError::Refused { reason: reason.to_owned(), hint: hint.to_owned() })
        }
        _ => Err(process(Errno::ECHILD)),
    }
}

/// Blocks the forwarded signals, so that the process can wait for them; returns the previous mask.
fn swap_signal_mask() -> Result<SigSet, SandboxError> {
    watched().thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(|errno| refused((Step::Process, errno)))
}

fn watched() -> SigSet {
    let mut set: SigSet = FORWARDED.into_iter().collect();
    set.add(Signal::SIGCHLD);
    set
}

/// The number of threads of this process. The kernel may still list a joined thread for a moment.
fn threads() -> usize {
    let deadline = Instant::now() + Duration::from_millis(200);
    loop {
        let count = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if count == 1 || Instant::now() > deadline {
            return count;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn refused((step, errno): (Step, Errno)) -> SandboxError {
    explain(step, errno as i32, &facts())
}

fn facts() -> Facts {
    let number = |path: String| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limit = |name: &'static str| Some((name, number(format!("/proc/sys/user/{name}"))?));
    let limits = ["max_user_namespaces", "max_net_namespaces", "max_pid_namespaces", "max_mnt_namespaces"];
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    Facts {
        root: geteuid().is_root(),
        limits: limits.into_iter().filter_map(limit).collect(),
        unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone".to_owned()),
        apparmor_restrict: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns".to_owned()),
        seccomp_filter: seccomp.is_some_and(|mode| mode.trim() == "2"),
        container: ["/.dockerenv", "/run/.containerenv"].into_iter().any(|path| fs::exists(path).unwrap_or(false)),
    }
}

/// Splits the process into outer, init and program; returns in the program, or outside.
fn split(stay: bool, before: SigSet) -> Setup<()> {
    let process = |errno| (Step::Process, errno);
    let (orders_out, orders_in) = pipe2(OFlag::O_CLOEXEC).map_err(process)?;
    let (reports_out, reports_in) = pipe2(OFlag::O_CLOEXEC).map_err(process)?;
    let (init, own_ids) = fork_into_namespaces()?;
    match init {
        None => {
            drop((orders_in, reports_out));
            init_main(stay, File::from(orders_out), File::from(reports_in))
        }
        Some(init) => {
            drop((orders_out, reports_in));
            Outer { init, orders: File::from(orders_in), reports: File::from(reports_out) }.main(stay, own_ids, before)
        }
    }
}

/// Forks into new namespaces. Returns None in the child; in the parent, the child and whether it has a new
/// user namespace, whose ids must be mapped.
fn fork_into_namespaces() -> Setup<(Option<Pid>, bool)> {
    let others = libc::CLONE_NEWNET | libc::CLONE_NEWPID | libc::CLONE_NEWNS;
    match clone_process(others | libc::CLONE_NEWUSER) {
        Ok(child) => Ok((child, true)),
        // Root does not need a user namespace, so it can do without where only these are forbidden.
        Err(errno) if geteuid().is_root() => match clone_process(others) {
            Ok(child) => Ok((child, false)),
            Err(_) => Err((Step::Namespaces, errno)),
        },
        Err(errno) => Err((Step::Namespaces, errno)),
    }
}

/// Forks with namespace flags. Neither fork nor unshare creates a PID namespace together with its first
/// process.
fn clone_process(namespaces: libc::c_int) -> Result<Option<Pid>, Errno> {
    let flags = libc::c_long::from(namespaces | libc::SIGCHLD);
    let nothing: libc::c_long = 0;
    // SAFETY: without CLONE_VM and with a null stack, clone acts as fork: the child gets a copy of the
    // address space and of this stack. The process has one thread (checked by `launch`), so no lock
    // is lost. libc does not know the child's thread id. The child (init) calls nothing that needs it,
    // and forks the program through libc, which sets it there.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, nothing, nothing, nothing, nothing) };
    let child = Errno::result(result)?;
    Ok((child != 0).then(|| Pid::from_raw(child as libc::pid_t)))
}

/// The process that the shell started.
struct Outer {
    init: Pid,
    orders: File,
    reports: File,
}

impl Outer {
    /// Maps the ids, waits until the sandbox is ready, then until it ends. Returns only on failure and for a
    /// probe.
    fn main(mut self, stay: bool, own_ids: bool, before: SigSet) -> Setup<()> {
        if own_ids && let Err(errno) = map_ids(self.init) {
            return self.give_up((Step::Ids, errno));
        }
        if self.orders.write_all(&[GO]).is_err() {
            return self.give_up((Step::Process, Errno::EPIPE));
        }
        match self.receive() {
            Some(Report::Ready) if stay => {}
            Some(Report::Ready) => {
                let _ = waitpid(self.init, None);
                return Ok(());
            }
            Some(Report::Failed(step, errno)) => return self.give_up((step, Errno::from_raw(errno))),
            // Init died without a report. A SIGKILL of any part ends the whole sandbox.
            _ => match waitpid(self.init, None) {
                Ok(WaitStatus::Signaled(_, Signal::SIGKILL, _)) if stay => die_by(Some(Signal::SIGKILL), before),
                _ => return Err((Step::Process, Errno::ECHILD)),
            },
        }
        let status = self.wait();
        let report = self.receive();
        let signal = match (report, status) {
            (Some(Report::Exited(code)), _) => std::process::exit(code),
            (Some(Report::Killed(signal)), _) => Signal::try_from(signal).ok(),
            (_, Some(WaitStatus::Signaled(_, signal, _))) => Some(signal),
            _ => None,
        };
        die_by(signal, before)
    }

    fn receive(&mut self) -> Option<Report> {
        let mut frame = [0; 6];
        self.reports.read_exact(&mut frame).ok().map(|()| Report::from_frame(frame))
    }

    fn give_up(self, failure: (Step, Errno)) -> Setup<()> {
        let _ = kill(self.init, Signal::SIGKILL);
        let _ = waitpid(self.init, None);
        Err(failure)
    }

    /// Forwards signals until init, and with it every process inside, has ended.
    fn wait(&mut self) -> Option<WaitStatus> {
        let watched = watched();
        loop {
            match watched.wait() {
                Ok(Signal::SIGCHLD) | Err(_) => match waitpid(self.init, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
                    Ok(status) => return Some(status),
                    Err(_) => return None,
                },
                Ok(signal) => {
                    self.order(signal);
                    if signal == Signal::SIGTSTP {
                        stop_like_the_program();
                        self.order(Signal::SIGCONT);
                    }
                }
            }
        }
    }

    fn order(&mut self, signal: Signal) {
        // If init is already dead, SIGCHLD follows.
        let _ = self.orders.write_all(&[signal as u8]);
    }
}

/// Stops this process, so that the shell sees the job as stopped, and returns when it is continued. Uses
/// SIGTSTP rather than SIGSTOP, because it has no effect where no shell could continue the process.
fn stop_like_the_program() {
    let set = SigSet::from(Signal::SIGTSTP);
    let _ = raise(Signal::SIGTSTP);
    let _ = set.thread_unblock();
    let _ = set.thread_block();
}

/// Ends this process like the program: by the same signal or, if that does not end it, with the
/// corresponding exit code.
fn die_by(signal: Option<Signal>, before: SigSet) -> ! {
    if let Some(signal) = signal {
        // The program itself has dumped core if that was requested.
        let _ = nix::sys::prctl::set_dumpable(false);
        let _ = before.thread_set_mask();
        let _ = SigSet::from(signal).thread_unblock();
        let _ = raise(signal);
        std::process::exit(128 + signal as i32);
    }
    std::process::exit(70)
}

/// Maps every id of this user namespace to itself, or only the user's own id where the system allows no more.
fn map_ids(init: Pid) -> Result<(), Errno> {
    let file = |name: &str| PathBuf::from(format!("/proc/{init}/{name}"));
    let write = |name: &str, text: &str| {
        fs::OpenOptions::new().write(true).open(file(name)).and_then(|mut file| file.write_all(text.as_bytes()))
    };
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    let full = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).map(|map| identity(&map));
    if full("uid_map").and_then(|map| write("uid_map", &map)).is_err() {
        let uid = geteuid();
        write("uid_map", &format!("{uid} {uid} 1\n")).map_err(errno)?;
    }
    if full("gid_map").and_then(|map| write("gid_map", &map)).is_err() {
        let gid = nix::unistd::getegid();
        write("setgroups", "deny").map_err(errno)?;
        write("gid_map", &format!("{gid} {gid} 1\n")).map_err(errno)?;
    }
    Ok(())
}

/// Converts an id map as the kernel shows it (first id inside, first id outside, count) into the map that
/// gives a child namespace the same ids.
fn identity(map: &str) -> String {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let (first, _, count) = (fields.next()?, fields.next()?, fields.next()?);
        Some(format!("{first} {first} {count}\n"))
    };
    map.lines().filter_map(line).collect()
}

/// Process 1 of the PID namespace. Returns only in the program.
fn init_main(stay: bool, mut orders: File, mut reports: File) -> Setup<()> {
    let name = nix::sys::prctl::get_name();
    match prepare(&mut orders) {
        Ok(()) if !stay => send(&mut reports, Report::Ready),
        Ok(()) => match fork_program() {
            // In the program, which does not use the pipes.
            Ok((None, _)) => {
                let _ = name.and_then(|name| nix::sys::prctl::set_name(&name));
                return keep_net_admin().map_err(|errno| (Step::Process, errno));
            }
            Ok((Some(program), signals)) => {
                send(&mut reports, Report::Ready);
                let end = Init { program, orders, signals, received: [None; FORWARDED.len()] }.main();
                send(&mut reports, end);
            }
            Err(errno) => send(&mut reports, Report::Failed(Step::Process, errno as i32)),
        },
        Err((step, errno)) => send(&mut reports, Report::Failed(step, errno as i32)),
    }
    std::process::exit(0)
}

fn send(reports: &mut File, report: Report) {
    // Without a reader the outer process is dead, and the kernel is about to kill this one.
    let _ = reports.write_all(&report.to_frame());
}

/// Sets up the new namespaces: signals, mounts and `lo`.
fn prepare(orders: &mut File) -> Setup<()> {
    let at = |step| move |errno| (step, errno);
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(at(Step::Process))?;
    let mut go = [0; 1];
    // If the outer process died before the line above, the signal never comes, but the pipe is at its end.
    if orders.read_exact(&mut go).is_err() {
        std::process::exit(70);
    }
    let _ = nix::sys::prctl::set_name(c"slotquake-init");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(at(Step::Mounts))?;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), safe, none).map_err(at(Step::Proc))?;
    mount(Some("slotquake"), SCRATCH, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0700"))
        .map_err(at(Step::Scratch))?;
    bring_up_loopback().map_err(at(Step::Loopback))
}

fn bring_up_loopback() -> Result<(), Errno> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    // SAFETY: an ifreq is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_mtu = MTU_BYTES;
    // SAFETY: the socket is open, and `request` is an initialised ifreq that outlives the call, as
    // SIOCSIFMTU requires.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFMTU, &raw const request) })?;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: as above, for SIOCSIFFLAGS.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })?;
    Ok(())
}

/// Forks the program. Returns None in the program; in init, the program's id. The descriptor delivers the
/// signals that init receives.
fn fork_program() -> Result<(Option<Pid>, SignalFd), Errno> {
    let signals = SignalFd::with_flags(&watched(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    // Drop signals that arrived before the fork: the program did not receive them.
    while let Ok(Some(_)) = signals.read_signal() {}
    // SAFETY: this process has one thread, because it is a fork of a process with one thread.
    let program = match unsafe { fork() }? {
        ForkResult::Child => None,
        ForkResult::Parent { child } => Some(child),
    };
    Ok((program, signals))
}

/// Reduces an ordinary user's capabilities to the one that the harness needs, `CAP_NET_ADMIN` for the
/// private network, and lets child processes (nft, tc) inherit it. Root keeps all capabilities.
fn keep_net_admin() -> Result<(), Errno> {
    /// The kernel's `__user_cap_header_struct`.
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    /// The kernel's `__user_cap_data_struct`, one for each 32 capabilities.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Sets {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    const CAP_NET_ADMIN: u32 = 12;

    if geteuid().is_root() {
        return Ok(());
    }
    let header = Header { version: VERSION_3, pid: 0 };
    let net_admin = 1 << CAP_NET_ADMIN;
    let low = Sets { effective: net_admin, permitted: net_admin, inheritable: net_admin };
    let sets = [low, Sets { effective: 0, permitted: 0, inheritable: 0 }];
    // SAFETY: version 3 reads one header and two sets; both have the kernel's layout and outlive the
    // call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) })?;
    let (raise, net_admin, nothing) =
        (libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, libc::c_ulong::from(CAP_NET_ADMIN), 0 as libc::c_ulong);
    // SAFETY: PR_CAP_AMBIENT takes four numbers and no pointers.
    Errno::result(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, net_admin, nothing, nothing) })?;
    Ok(())
}

/// Process 1 of the PID namespace while the program runs.
struct Init {
    program: Pid,
    orders: File,
    signals: SignalFd,
    /// When init itself last received each of the forwarded signals.
    received: [Option<Instant>; FORWARDED.len()],
}

impl Init {
    /// Reaps children and forwards signals until the program has ended.
    fn main(mut self) -> Report {
        loop {
            if let Some(end) = self.reap() {
                return end;
            }
            let mut ready = [readable(&self.signals), readable(&self.orders)];
            if poll(&mut ready, PollTimeout::NONE).is_err() {
                continue;
            }
            let ordered = ready[1].any().unwrap_or(false);
            self.drain_signals();
            if ordered {
                self.forward();
            }
        }
    }

    /// Reaps every process that has ended; returns Some once the program has.
    fn reap(&self) -> Option<Report> {
        let mut end = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.program => end = Some(Report::Exited(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.program => {
                    end = Some(Report::Killed(signal as i32));
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return end,
                Ok(_) => {}
            }
        }
    }

    /// Records the signals that init itself received.
    fn drain_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if let Some(place) = FORWARDED.iter().position(|signal| *signal as u32 == info.ssi_signo) {
                self.received[place] = Some(Instant::now());
            }
        }
    }

    /// Forwards one signal to the program, unless it went to the whole process group (Ctrl-C,
    /// `kill -- -PGID`): then the program has already received it, and so has init.
    fn forward(&mut self) {
        let mut number = [0; 1];
        match self.orders.read(&mut number) {
            Ok(1) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return,
            // The outer process is dead.
            _ => std::process::exit(70),
        }
        let Ok(signal) = Signal::try_from(i32::from(number[0])) else { return };
        if let Some(place) = FORWARDED.iter().position(|passed| *passed == signal) {
            if self.received[place].is_none() {
                std::thread::sleep(GROUP_SIGNAL_WAIT);
                self.drain_signals();
            }
            if self.received[place].take().is_some_and(|when| when.elapsed() < GROUP_SIGNAL_AGE) {
                return;
            }
        }
        let _ = kill(self.program, signal);
    }
}

fn readable(source: &impl AsFd) -> PollFd<'_> {
    PollFd::new(source.as_fd(), PollFlags::POLLIN)
}

#[cfg(test)]
mod tests {
    use super::{Report, Step, identity};

    #[test]
    fn reports_survive_the_pipe() {
        for report in [Report::Ready, Report::Failed(Step::Proc, 1), Report::Exited(255), Report::Killed(9)] {
            assert_eq!(Report::from_frame(report.to_frame()), report);
        }
    }

    #[test]
    fn identity_map_keeps_the_ids() {
        for (map, expected) in [
            ("         0          0 4294967295\n", "0 0 4294967295\n"),
            ("         0     100000      65536\n", "0 0 65536\n"),
            ("   0 1000 1\n   1 100000 65535\n", "0 0 1\n1 1 65535\n"),
            ("", ""),
        ] {
            assert_eq!(identity(map), expected);
        }
    }
}
