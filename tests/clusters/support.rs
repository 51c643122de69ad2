//! Support for tests on real clusters: runs the binary, checks that it leaves nothing behind, and limits how many
//! clusters run at once.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{JoinHandle, available_parallelism, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use slotquake::server::Server;

/// How long a test waits for a run. No verdict depends on it.
const PATIENCE: Duration = Duration::from_secs(240);

/// The setting of every run here. Suites use 5000, which takes five times as long.
pub const QUICK: [&str; 2] = ["--set", "cluster.config.cluster-node-timeout=1000"];

/// The capacity for clusters: seven for two cores, since most of them are idle most of the time. A thread has them once: if it
/// waited for more while it holds some, tests could wait for each other for ever.
pub struct Places(usize);

thread_local! {
    static HOLDS: Cell<bool> = const { Cell::new(false) };
}

static TAKEN: (Mutex<Queue>, Condvar) = (Mutex::new(Queue { taken: 0, last: 0, served: 0 }), Condvar::new());

/// Who waits for places gets them in turn. Or a test that wants many would be the last, alone on an idle machine.
struct Queue {
    taken: usize,
    /// The number that was given last to who came.
    last: u64,
    /// The number whose turn was last.
    served: u64,
}

impl Places {
    /// Waits for as many places, or for all there are.
    pub fn take(wanted: usize) -> Self {
        let all = available_parallelism().map_or(1, usize::from) * 7 / 2;
        let wanted = wanted.min(all);
        assert!(!HOLDS.replace(true), "this test holds places already (hint: take them all at once)");
        let (queue, freed) = &TAKEN;
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.last += 1;
        let number = queue.last;
        while queue.served + 1 != number || queue.taken + wanted > all {
            queue = freed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.served = number;
        queue.taken += wanted;
        freed.notify_all();
        Self(wanted)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        HOLDS.set(false);
        TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner).taken -= self.0;
        TAKEN.1.notify_all();
    }
}

/// The server, fetched if need be, by one test at a time. Panics with the tool's own words.
pub fn fetched(asked: &str) -> Server {
    try_fetched(asked).unwrap_or_else(|error| panic!("{error}"))
}

/// As [`fetched`], for a server that a machine may do without.
pub fn try_fetched(asked: &str) -> Result<Server, String> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    slotquake::server::find(asked, &|notice| eprintln!("{notice}")).map_err(|error| error.to_string())
}

/// Says that something is left out, which is a failure where a machine is to have everything.
pub fn skipped(what: &str, reason: &str) {
    assert!(std::env::var_os("SLOTQUAKE_REQUIRE_ALL").is_none(), "SLOTQUAKE_REQUIRE_ALL is set, but {what}: {reason}");
    println!("skipped: {what}: {reason}");
}

/// The output and status of a command.
pub struct Ended {
    /// The harness's process id: servers and scratch directories carry it.
    pub pid: u32,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Everything, for the message of a failed assertion: first what did not pass, since what shows a
    /// failure may cut it short.
    pub fn whole(&self) -> String {
        let not_passed = serde_json::from_str(&self.stdout).map_or_else(|_| String::new(), |found| not_passed(&found));
        format!("{}\n{not_passed}--- stdout\n{}\n--- stderr\n{}", self.status, self.stdout, self.stderr)
    }

    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The document of `--format json`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}; {}", self.whole()))
    }
}

/// The judgements of a document of `--format json` that are no passes, a line each.
fn not_passed(document: &Value) -> String {
    let all = |parent: &Value, key: &str| parent[key].as_array().cloned().unwrap_or_default();
    all(document, "runs")
        .iter()
        .flat_map(|run| all(run, "invariants"))
        .filter(|judgement| judgement["verdict"] != "pass")
        .fold(String::new(), |text, judgement| text + &judgement.to_string() + "\n")
}

/// A running command.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    stdout: Option<JoinHandle<String>>,
}

/// Runs the built binary to its end.
pub fn slotquake<A: AsRef<str>>(args: &[A]) -> Ended {
    begin(args).end()
}

/// Starts the built binary.
pub fn begin<A: AsRef<str>>(args: &[A]) -> Running {
    begin_as(command(args))
}

/// The built binary with arguments.
pub fn command<A: AsRef<str>>(args: &[A]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotquake"));
    command.args(args.iter().map(AsRef::as_ref)).stdin(Stdio::null());
    command
}

/// Runs a command of ours to its end; up to twice more where that was inconclusive. A run that a busy machine has kept from
/// seeing what it must see says so, and proves nothing. What failed is not tried again.
pub fn conclusive(command: impl Fn() -> Command) -> Ended {
    for _ in 0..2 {
        let ended = begin_as(command()).end();
        if ended.code() != Some(3) || !ended.json()["runs"].to_string().contains(r#""verdict":"inconclusive""#) {
            return ended;
        }
        eprintln!("once more, as it was inconclusive: {}", ended.whole());
    }
    begin_as(command()).end()
}

/// Runs a harness at speed, which needs a processor as two do in real time. A run that is inconclusive, as it was too fast for the machine now, is
/// repeated at a lower speed, at last in real time.
pub fn at_speed(args: &[&str]) -> Ended {
    let run = |speed: &str| begin_as(command(&[args, &["--speed", speed, "--jobs", "1"]].concat())).end();
    let _place = Places::take(2);
    for speed in ["5", "2"] {
        let ended = run(speed);
        if ended.code() != Some(3) || !ended.json()["runs"].to_string().contains(r#""verdict":"inconclusive""#) {
            return ended;
        }
        eprintln!("once more in slower motion, as it was inconclusive at speed {speed}: {}", ended.whole());
    }
    run("1")
}

/// Starts a harness with a mark in its environment, by which its processes can be found.
pub fn begin_as(mut command: Command) -> Running {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mark = format!("{MARK}={}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let value = mark.split_once('=').expect("it is an assignment").1;
    command.env(MARK, value).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the built binary starts");
    MARKS.lock().unwrap_or_else(PoisonError::into_inner).insert(child.id(), mark);
    let (teller, lines) = channel();
    let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            if teller.send(line).is_err() {
                return;
            }
        }
    });
    let mut out = child.stdout.take().expect("it is piped");
    let stdout = std::thread::spawn(move || {
        let mut text = String::new();
        // Cut-off output is what it is; the test looks at what there is.
        let _ = out.read_to_string(&mut text);
        text
    });
    Running { child, lines, said: Vec::new(), stdout: Some(stdout) }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it prints a line that contains `wanted`.
    pub fn until_it_says(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(wanted) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("it has not said `{wanted}` for {PATIENCE:?}:\n{}", self.said.join("\n"))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it ended without saying `{wanted}`:\n{}", self.said.join("\n"))
                }
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).expect("the harness runs");
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            self.said.extend(self.lines.try_iter());
            assert!(Instant::now() < deadline, "it has not ended for {PATIENCE:?}:\n{}", self.said.join("\n"));
            sleep(Duration::from_millis(20));
        };
        let stdout = self.stdout.take().expect("it is taken once").join().expect("reading does not panic");
        let pid = self.pid();
        let mut said = std::mem::take(&mut self.said);
        // The reader ends with the stream, which ends with the last process that holds it.
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(5)) {
            said.push(line);
        }
        Ended { pid, status, stdout, stderr: said.join("\n") }
    }
}

/// Kills the harness if the test fails.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The variable that marks the processes of a harness. Numbers of processes do not: in the sandbox
/// they are others than outside.
const MARK: &str = "SLOTQUAKE_TEST_MARK";

/// The mark of every harness by its process id.
static MARKS: Mutex<BTreeMap<u32, String>> = Mutex::new(BTreeMap::new());

/// The processes of a harness, without itself, each with its command line. They are found by the mark in their
/// environment; servers, whose title overwrites it, by their log file in the reports.
pub fn processes(pid: u32, reports: &Path) -> Vec<(u32, String)> {
    let mark = MARKS.lock().unwrap_or_else(PoisonError::into_inner)[&pid].clone();
    let in_reports = |path: PathBuf| fs::read_link(path).is_ok_and(|file| file.starts_with(reports));
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let marked = environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        if process != pid && (marked || in_reports(entry.path().join("fd/1"))) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((process, String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

/// The processes and directories that a harness left behind.
pub fn left_behind(pid: u32, reports: &Path) -> Vec<String> {
    // The kernel's paths have no links, but the test's path may.
    let reports = reports.canonicalize().unwrap_or_else(|_| reports.to_owned());
    let processes = processes(pid, &reports).into_iter();
    let mut left: Vec<String> = processes.map(|(process, command)| format!("process {process}: {command}")).collect();
    let mark = format!("slotquake-run-{pid}-");
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&mark) {
            left.push(entry.path().display().to_string());
        }
    }
    left
}

/// The number of processes of a harness, without itself.
pub fn processes_of(pid: u32, reports: &Path) -> usize {
    left_behind(pid, reports).iter().filter(|what| what.starts_with("process ")).count()
}

/// Asserts that a harness that has ended leaves nothing behind after a short while.
pub fn assert_nothing_left(pid: u32, reports: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left = left_behind(pid, reports);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "the harness {pid} left behind:\n{}", left.join("\n"));
        sleep(Duration::from_millis(50));
    }
}

/// The folder of the only report in a folder of reports.
pub fn only_folder(reports: &Path) -> PathBuf {
    let entries = fs::read_dir(reports).expect("the reports' folder exists").flatten().map(|entry| entry.path());
    let folders: Vec<PathBuf> = entries.filter(|path| path.is_dir() && !path.is_symlink()).collect();
    let [folder] = folders.as_slice() else { panic!("not one folder: {folders:?}") };
    folder.clone()
}

/// Each invariant's name, settings and verdict, of one run in a document of `--format json`.
pub fn verdicts(run: &Value) -> Vec<String> {
    let judgements = run["invariants"].as_array().expect("a run has invariants");
    let word = |judgement: &Value, key: &str| judgement[key].as_str().expect("a text").to_owned();
    judgements
        .iter()
        .map(|each| format!("{} ({}): {}", word(each, "invariant"), word(each, "settings"), word(each, "verdict")))
        .collect()
}
