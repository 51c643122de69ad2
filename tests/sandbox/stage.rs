//! Starts roles as different users and inspects their processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// The user and group `nobody` of most systems. Any id without an account works.
const NOBODY: u32 = 65534;

/// One user's environment: this program where that user can run it, and the user's directory.
pub struct Stage {
    home: tempfile::TempDir,
    ordinary: bool,
}

impl Stage {
    /// One stage for each user that can be tested.
    pub fn all() -> Vec<Self> {
        let users: &[bool] = if geteuid().is_root() { &[false, true] } else { &[true] };
        users.iter().map(|&ordinary| Self::new(ordinary)).collect()
    }

    fn new(ordinary: bool) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        // Other users may have no access to the build directory.
        fs::copy(std::env::current_exe().expect("this program"), home.path().join("play")).expect("a copy of it");
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).expect("its permissions");
        Self { home, ordinary }
    }

    pub fn user(&self) -> &'static str {
        if self.ordinary { "user" } else { "root" }
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn exe(&self) -> PathBuf {
        self.home.path().join("play")
    }

    /// The user and group ids that the stage's processes have.
    pub fn ids(&self) -> (u32, u32) {
        if self.ordinary && geteuid().is_root() {
            (NOBODY, NOBODY)
        } else {
            (geteuid().as_raw(), nix::unistd::getegid().as_raw())
        }
    }

    /// A command of the stage's user.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.home()).stdin(Stdio::null());
        if self.ordinary && geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// This program in a role.
    pub fn role(&self, words: &[&str]) -> Command {
        let mut command = self.command(self.exe());
        command.arg("role").args(words);
        command
    }

    /// Whether the machine allows sandboxes (`probe`) or has nft (`probe-nft`); if not, why.
    pub fn possible(&self, probe: &str) -> Result<(), String> {
        let output = self.role(&[probe]).output().expect("the probe runs");
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
    }

    /// Runs a case inside a sandbox.
    pub fn passes_inside(&self, case: &str) {
        passes(&mut self.role(&["inside", case]));
    }
}

/// Starts a role, waits for its first line and returns both.
pub fn start(command: &mut Command) -> (Running, String) {
    let child = command.stdout(Stdio::piped()).spawn().expect("the role starts");
    let mut running = Running(child);
    let stdout = running.0.stdout.take().expect("stdout is piped");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    assert!(!line.is_empty(), "the role said nothing: {:?}", running.0.wait());
    (running, line.trim().to_owned())
}

/// Asserts that a command succeeds; otherwise shows its output.
pub fn passes(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the command runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    stdout.into_owned()
}

/// A process that is killed if the case fails.
pub struct Running(pub Child);

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    /// Waits a short while for the process to end and returns its status.
    pub fn end(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", || {
            status = self.0.try_wait().expect("it is ours");
            status.is_some()
        });
        status.expect("it ended")
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it can be signalled");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process in /proc.
pub struct Process {
    pub pid: Pid,
    pub parent: i32,
    pub state: char,
}

/// Every process with the word in its command line, without zombies.
pub fn processes_with(word: &str) -> Vec<Process> {
    let numbers = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let found = pids.filter_map(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        if !String::from_utf8_lossy(&words).contains(word) {
            return None;
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let (state, parent) = (fields.next()?.chars().next()?, fields.next()?.parse().ok()?);
        Some(Process { pid: Pid::from_raw(pid), parent, state })
    });
    found.collect()
}

/// Waits until a condition holds. Only broken code reaches the deadline.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not so within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
