//! The sandbox on Linux: three processes, two pipes.
//!
//! `orders` leads from the outer process to init: first one byte for "ids are mapped, go", then one
//! byte for each signal to pass on; its end of file means that the outer process is dead. `news`
//! leads back: one frame when the sandbox stands or could not be set up, one when the program ended.
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

/// Where the scratch directory is mounted: an empty directory that the kernel keeps in every /proc
/// as a mount point. On the private /proc of the sandbox it hides nothing of anybody, and unlike
/// other directories of /proc it may be covered without spoiling a sandbox inside the sandbox.
const SCRATCH: &str = "/proc/fs/nfsd";

/// The size of a packet on `lo`: that of an Ethernet, so that loss and narrow links act on a stream
/// as they do on a network. With the default of 65536, a whole burst would be one packet.
const MTU_BYTES: libc::c_int = 1500;

/// The signals that are passed on to the program when they reach the outer process alone.
const PASSED_ON: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
];

/// The order to go on once the ids are mapped; no signal has this number.
const GO: u8 = 0;

/// How long init gives a signal that went to the whole process group to arrive at itself too.
const GROUP_SIGNAL_WAIT: Duration = Duration::from_millis(10);
/// How long a signal that init got itself counts as the twin of one that the outer process got.
const GROUP_SIGNAL_AGE: Duration = Duration::from_secs(1);

/// What init tells the outer process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Ready,
    Failed(Step, i32),
    Exited(i32),
    Killed(i32),
}

impl News {
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

/// A step that failed, and how.
type Setup<T> = Result<T, (Step, Errno)>;

/// Sets the sandbox up. With `stay`, returns inside it (the scratch directory) and never outside;
/// without, returns outside when everything could be set up.
pub(super) fn launch(stay: bool) -> Result<PathBuf, SandboxError> {
    let threads = threads();
    if threads != 1 {
        return Err(SandboxError::Threads(threads));
    }
    let before = swap_signal_mask()?;
    let outcome = split(stay, before);
    // Only the program inside and a caller that stays outside come here; both get their mask back.
    let restored = before.thread_set_mask();
    outcome.and_then(|()| restored.map_err(|errno| (Step::Process, errno))).map_err(refused)?;
    Ok(PathBuf::from(SCRATCH))
}

/// Has a child process enter, do the work and send back what it said.
pub(super) fn visit(work: impl FnOnce(PathBuf) -> String) -> Result<String, SandboxError> {
    /// First byte of what is sent: the work was done, or the sandbox refused.
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
            // Nothing of the child may return, or unwind, into what its parent was doing.
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
        (Ok(_), Some((&DONE, said))) => Ok(String::from_utf8_lossy(said).into_owned()),
        (Ok(_), Some((_, why))) => {
            let why = String::from_utf8_lossy(why);
            let (reason, hint) = why.split_once('\n').unwrap_or((&why, ""));
            Err(SandboxError::Refused { reason: reason.to_owned(), hint: hint.to_owned() })
        }
        _ => Err(process(Errno::ECHILD)),
    }
}

/// Blocks what is passed on, so that it can be waited for; returns the mask from before.
fn swap_signal_mask() -> Result<SigSet, SandboxError> {
    watched().thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(|errno| refused((Step::Process, errno)))
}

fn watched() -> SigSet {
    let mut set: SigSet = PASSED_ON.into_iter().collect();
    set.add(Signal::SIGCHLD);
    set
}

/// The number of threads of this process. A thread that was joined may be listed for a moment more.
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

/// Splits the process in outer, init and program; returns in the program, or outside.
fn split(stay: bool, before: SigSet) -> Setup<()> {
    let process = |errno| (Step::Process, errno);
    let (orders_out, orders_in) = pipe2(OFlag::O_CLOEXEC).map_err(process)?;
    let (news_out, news_in) = pipe2(OFlag::O_CLOEXEC).map_err(process)?;
    let (init, own_ids) = fork_into_namespaces()?;
    match init {
        None => {
            drop((orders_in, news_out));
            init_main(stay, File::from(orders_out), File::from(news_in))
        }
        Some(init) => {
            drop((orders_out, news_in));
            Outer { init, orders: File::from(orders_in), news: File::from(news_out) }.main(stay, own_ids, before)
        }
    }
}

/// Forks into new namespaces: None in the child; in the parent the child, and whether it has a user
/// namespace whose ids are to be mapped.
fn fork_into_namespaces() -> Setup<(Option<Pid>, bool)> {
    let others = libc::CLONE_NEWNET | libc::CLONE_NEWPID | libc::CLONE_NEWNS;
    match clone_process(others | libc::CLONE_NEWUSER) {
        Ok(child) => Ok((child, true)),
        // Root may go without a user namespace where those alone are forbidden.
        Err(errno) if geteuid().is_root() => match clone_process(others) {
            Ok(child) => Ok((child, false)),
            Err(_) => Err((Step::Namespaces, errno)),
        },
        Err(errno) => Err((Step::Namespaces, errno)),
    }
}

/// Forks with namespace flags; the kernel must create the PID namespace together with its first
/// process, which neither fork nor unshare does.
fn clone_process(namespaces: libc::c_int) -> Result<Option<Pid>, Errno> {
    let flags = libc::c_long::from(namespaces | libc::SIGCHLD);
    let nothing: libc::c_long = 0;
    // SAFETY: without CLONE_VM and with a null stack, clone is fork: the child gets a copy of the
    // address space and of this stack. The process has one thread (checked by `launch`), so no lock
    // is lost. libc does not learn of the child's thread id; the child (init) uses nothing that asks
    // libc for it, and forks the program through libc, which sets it right there.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, nothing, nothing, nothing, nothing) };
    let child = Errno::result(result)?;
    Ok((child != 0).then(|| Pid::from_raw(child as libc::pid_t)))
}

/// The process that the shell started.
struct Outer {
    init: Pid,
    orders: File,
    news: File,
}

impl Outer {
    /// Maps ids, waits until the sandbox stands, then until it ends; returns only on failure and
    /// for a probe.
    fn main(mut self, stay: bool, own_ids: bool, before: SigSet) -> Setup<()> {
        if own_ids && let Err(errno) = map_ids(self.init) {
            return self.give_up((Step::Ids, errno));
        }
        if self.orders.write_all(&[GO]).is_err() {
            return self.give_up((Step::Process, Errno::EPIPE));
        }
        match self.hear() {
            Some(News::Ready) if stay => {}
            Some(News::Ready) => {
                let _ = waitpid(self.init, None);
                return Ok(());
            }
            Some(News::Failed(step, errno)) => return self.give_up((step, Errno::from_raw(errno))),
            // It died without a word. Somebody who kills the sandbox means the whole of it.
            _ => match waitpid(self.init, None) {
                Ok(WaitStatus::Signaled(_, Signal::SIGKILL, _)) if stay => die_by(Some(Signal::SIGKILL), before),
                _ => return Err((Step::Process, Errno::ECHILD)),
            },
        }
        let status = self.wait();
        let news = self.hear();
        let signal = match (news, status) {
            (Some(News::Exited(code)), _) => std::process::exit(code),
            (Some(News::Killed(signal)), _) => Signal::try_from(signal).ok(),
            (_, Some(WaitStatus::Signaled(_, signal, _))) => Some(signal),
            _ => None,
        };
        die_by(signal, before)
    }

    fn hear(&mut self) -> Option<News> {
        let mut frame = [0; 6];
        self.news.read_exact(&mut frame).ok().map(|()| News::from_frame(frame))
    }

    fn give_up(self, failure: (Step, Errno)) -> Setup<()> {
        let _ = kill(self.init, Signal::SIGKILL);
        let _ = waitpid(self.init, None);
        Err(failure)
    }

    /// Passes signals on until init, and with it everything inside, has ended.
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
        // Init may be gone already; then SIGCHLD is on its way.
        let _ = self.orders.write_all(&[signal as u8]);
    }
}

/// Stops, so that the shell sees the job stopped, and returns when somebody continues this process.
/// By the signal itself rather than SIGSTOP: where no shell could continue it, it does not stop.
fn stop_like_the_program() {
    let set = SigSet::from(Signal::SIGTSTP);
    let _ = raise(Signal::SIGTSTP);
    let _ = set.thread_unblock();
    let _ = set.thread_block();
}

/// Ends this process as the program ended: by the same signal, or at least with its exit code.
fn die_by(signal: Option<Signal>, before: SigSet) -> ! {
    if let Some(signal) = signal {
        // The program has dumped its core already, if it was to.
        let _ = nix::sys::prctl::set_dumpable(false);
        let _ = before.thread_set_mask();
        let _ = SigSet::from(signal).thread_unblock();
        let _ = raise(signal);
        std::process::exit(128 + signal as i32);
    }
    std::process::exit(70)
}

/// Maps every id of this user namespace to itself, or, for who may not, their own alone.
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

/// From an id map as the kernel shows it (first id here, first id outside, count) the map that
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
fn init_main(stay: bool, mut orders: File, mut news: File) -> Setup<()> {
    let name = nix::sys::prctl::get_name();
    match prepare(&mut orders) {
        Ok(()) if !stay => tell(&mut news, News::Ready),
        Ok(()) => match fork_program() {
            // In the program, which has no part in the pipes.
            Ok((None, _)) => {
                let _ = name.and_then(|name| nix::sys::prctl::set_name(&name));
                return keep_net_admin().map_err(|errno| (Step::Process, errno));
            }
            Ok((Some(program), signals)) => {
                tell(&mut news, News::Ready);
                let end = Init { program, orders, signals, heard: [None; PASSED_ON.len()] }.main();
                tell(&mut news, end);
            }
            Err(errno) => tell(&mut news, News::Failed(Step::Process, errno as i32)),
        },
        Err((step, errno)) => tell(&mut news, News::Failed(step, errno as i32)),
    }
    std::process::exit(0)
}

fn tell(news: &mut File, what: News) {
    // Without a reader the outer process is dead, and so is this one in a moment.
    let _ = news.write_all(&what.to_frame());
}

/// Makes the namespaces fit to live in.
fn prepare(orders: &mut File) -> Setup<()> {
    let at = |step| move |errno| (step, errno);
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(at(Step::Process))?;
    let mut go = [0; 1];
    // Had the outer process died before the line above, nobody would send the signal; but then the
    // pipe is at its end.
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
    // SAFETY: the socket is open, and `request` is an initialised ifreq that lives across the call,
    // as SIOCSIFMTU demands.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFMTU, &raw const request) })?;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: as above, for SIOCSIFFLAGS.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })?;
    Ok(())
}

/// Forks the program: None in it; in init its id, and where init reads the signals that it gets.
fn fork_program() -> Result<(Option<Pid>, SignalFd), Errno> {
    let signals = SignalFd::with_flags(&watched(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    // What arrived before there was a program is no sign that the program has got it too.
    while let Ok(Some(_)) = signals.read_signal() {}
    // SAFETY: this process has one thread, being a fork of a process that had one.
    let program = match unsafe { fork() }? {
        ForkResult::Child => None,
        ForkResult::Parent { child } => Some(child),
    };
    Ok((program, signals))
}

/// Leaves an ordinary user the one capability that the harness needs, `CAP_NET_ADMIN` over the
/// private network, and lets child processes (nft, tc) inherit it. Root is left as it is.
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
    // SAFETY: version 3 reads one header and two sets; both have the kernel's layout and live
    // across the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) })?;
    let (raise, net_admin, nothing) =
        (libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, libc::c_ulong::from(CAP_NET_ADMIN), 0 as libc::c_ulong);
    // SAFETY: PR_CAP_AMBIENT takes four numbers and no pointers.
    Errno::result(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, net_admin, nothing, nothing) })?;
    Ok(())
}

/// Process 1 at its work.
struct Init {
    program: Pid,
    orders: File,
    signals: SignalFd,
    /// When this process itself last got each of the signals that are passed on.
    heard: [Option<Instant>; PASSED_ON.len()],
}

impl Init {
    /// Reaps and passes signals on until the program has ended.
    fn main(mut self) -> News {
        loop {
            if let Some(end) = self.reap() {
                return end;
            }
            let mut ready = [readable(&self.signals), readable(&self.orders)];
            if poll(&mut ready, PollTimeout::NONE).is_err() {
                continue;
            }
            let ordered = ready[1].any().unwrap_or(false);
            self.listen();
            if ordered {
                self.obey();
            }
        }
    }

    /// Collects whoever has ended; Some once that was the program.
    fn reap(&self) -> Option<News> {
        let mut end = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.program => end = Some(News::Exited(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.program => {
                    end = Some(News::Killed(signal as i32));
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return end,
                Ok(_) => {}
            }
        }
    }

    /// Takes note of the signals that this process got.
    fn listen(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if let Some(place) = PASSED_ON.iter().position(|signal| *signal as u32 == info.ssi_signo) {
                self.heard[place] = Some(Instant::now());
            }
        }
    }

    /// Passes one signal on to the program, unless it went to the whole process group (Ctrl-C,
    /// `kill -- -PGID`): then the program has got it already, and so has this process.
    fn obey(&mut self) {
        let mut number = [0; 1];
        match self.orders.read(&mut number) {
            Ok(1) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return,
            // The outer process is dead.
            _ => std::process::exit(70),
        }
        let Ok(signal) = Signal::try_from(i32::from(number[0])) else { return };
        if let Some(place) = PASSED_ON.iter().position(|passed| *passed == signal) {
            if self.heard[place].is_none() {
                std::thread::sleep(GROUP_SIGNAL_WAIT);
                self.listen();
            }
            if self.heard[place].take().is_some_and(|when| when.elapsed() < GROUP_SIGNAL_AGE) {
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
    use super::{News, Step, identity};

    #[test]
    fn news_arrive_as_they_were_sent() {
        for news in [News::Ready, News::Failed(Step::Proc, 1), News::Exited(255), News::Killed(9)] {
            assert_eq!(News::from_frame(news.to_frame()), news);
        }
    }

    #[test]
    fn an_identity_map_keeps_the_ids_of_this_namespace() {
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
