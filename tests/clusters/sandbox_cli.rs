//! The sandbox on the command line, as root and as an ordinary user: what stays the same inside, what happens
//! where the system refuses a sandbox, and that nothing outlives a run.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::{Value, json};
use slotquake::plan::{Need, Plan};

use crate::support::{
    Ended, Places, QUICK, Running, assert_nothing_left, begin_as, conclusive, fetched, only_folder, processes,
};

/// The user and group `nobody` of most systems. Any id without an account works.
const NOBODY: u32 = 65534;

/// A suite without network faults.
const PLAIN: &str = "\
name: plain
about: Three masters, for a moment.
cluster: { replicas-per-master: 0 }
workload: { rate: 100/s, keys: 60 }
steps: [{ phase: plain }, { settle: 200ms }]
invariants: [{ slot-coverage: { at: end } }]
";

/// The same, with an invariant that cannot hold.
const WRONG: &str = "\
name: wrong
about: A promotion that nothing causes.
workload: { rate: 100/s, keys: 60 }
steps: [{ phase: wrong }, { settle: 200ms }]
invariants: [{ promotions: { shard: all, exactly: 1 } }]
";

/// A cut that lasts long enough for a test to inspect it.
const CUT: &str = "\
name: cut
about: One node is alone, then not.
cluster: { replicas-per-master: 0, config: { cluster-node-timeout: 1000 } }
workload: { rate: 100/s, keys: 60 }
steps:
  - phase: before
  - settle: 500ms
  - phase: cut
  - partition: { between: [node-1, others] }
  - settle: 1500ms
  - phase: healed
  - heal: all
  - settle: 1s
invariants: [{ slot-coverage: { at: end } }]
";

/// One user's environment: the command where that user can run it, a server, and the user's directories.
struct Stage {
    home: tempfile::TempDir,
    ordinary: bool,
}

impl Stage {
    /// One stage for each user that can be tested.
    fn all() -> Vec<Self> {
        let users: &[bool] = if geteuid().is_root() { &[false, true] } else { &[true] };
        users.iter().map(|&ordinary| Self::new(ordinary)).collect()
    }

    fn new(ordinary: bool) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let stage = Self { home, ordinary };
        // Other users may have no access to the build directory and the cache.
        give(Path::new(env!("CARGO_BIN_EXE_slotquake")), &stage.path("slotquake"));
        give(&fetched("redis:6.2").path, &stage.path("redis-server"));
        for (name, text) in [("plain.yaml", PLAIN), ("wrong.yaml", WRONG), ("cut.yaml", CUT)] {
            fs::write(stage.path(name), text).expect("a suite");
        }
        fs::create_dir(stage.path("tmp")).expect("a directory");
        for open in ["", "tmp"] {
            fs::set_permissions(stage.path(open), Permissions::from_mode(0o777)).expect("its permissions");
        }
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn reports(&self) -> PathBuf {
        self.path("reports")
    }

    fn ids(&self) -> (u32, u32) {
        if self.ordinary && geteuid().is_root() {
            (NOBODY, NOBODY)
        } else {
            (geteuid().as_raw(), nix::unistd::getegid().as_raw())
        }
    }

    fn user(&self) -> &'static str {
        if self.ordinary { "an ordinary user" } else { "root" }
    }

    /// A command of the stage's user, in the stage's directory.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command.env("HOME", self.home.path()).env("TMPDIR", self.path("tmp"));
        if self.ordinary && geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// The words of a run of these suites; its reports go to `reports`.
    fn words(suites: &[&str], more: &[&str]) -> Vec<String> {
        let files = suites.iter().map(|suite| format!("./{suite}.yaml"));
        let end = ["--server", "./redis-server", "--format", "json"].iter().chain(more).map(|&word| word.to_owned());
        ["run".to_owned()].into_iter().chain(files).chain(end).collect()
    }

    fn begin(&self, suites: &[&str], more: &[&str]) -> Running {
        let mut command = self.command(self.path("slotquake"));
        command.args(Self::words(suites, more));
        begin_as(command)
    }

    fn run(&self, suites: &[&str], more: &[&str]) -> Ended {
        let _place = Places::take(suites.len());
        self.begin(suites, more).end()
    }

    /// Runs after a shell, in a user and mount namespace of its own, has taken something away; it ends
    /// with `exec ... "$0" "$@"`.
    fn run_deprived(&self, script: &str, suites: &[&str], more: &[&str]) -> Ended {
        let _place = Places::take(suites.len());
        let mut command = self.command("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command.arg(self.path("slotquake")).args(Self::words(suites, more));
        begin_as(command).end()
    }

    /// Asserts that a harness that has ended left no processes, directories or rules.
    fn nothing_left(&self, pid: u32, reports: &Path) {
        assert_nothing_left(pid, reports);
        let kept: Vec<_> = fs::read_dir(self.path("tmp")).expect("it is listed").flatten().collect();
        assert!(kept.is_empty(), "{kept:?}");
        if geteuid().is_root() {
            let tables = Command::new("nft").args(["list", "tables"]).output().expect("nft runs");
            assert!(tables.status.success(), "{tables:?}");
            let tables = String::from_utf8_lossy(&tables.stdout).into_owned();
            assert!(!tables.contains("slotquake"), "rules on the host: {tables}");
        }
    }
}

/// Copies a file to where another user can reach it.
fn give(file: &Path, to: &Path) {
    if fs::hard_link(file, to).is_err() {
        fs::copy(file, to).expect("a copy");
    }
}

/// Whether this machine, or container, has no sandbox or no nft.
fn skip() -> bool {
    let stage = Stage::new(true);
    let ended = begin_as({
        let mut command = stage.command(stage.path("slotquake"));
        command.args(["doctor", "--format", "json"]);
        command
    })
    .end();
    let missing = |name: &str| {
        let found = ended.json();
        let capability = found.as_array().expect("a list").iter().find(|each| each["name"] == name).cloned();
        capability.filter(|each| each["state"] != "ok").map(|each| each.to_string())
    };
    let Some(reason) = missing("namespaces").or_else(|| missing("nft")) else { return false };
    assert!(std::env::var_os("SLOTQUAKE_REQUIRE_ALL").is_none(), "SLOTQUAKE_REQUIRE_ALL is set, but {reason}");
    eprintln!("skipped: {reason}");
    true
}

fn verdicts(ended: &Ended) -> Vec<(String, String)> {
    let word = |run: &Value, key: &str| run[key].as_str().expect("a word").to_owned();
    let document = ended.json();
    let runs = document["runs"].as_array().expect("runs");
    runs.iter().map(|run| (word(run, "suite"), word(run, "verdict"))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|&(suite, verdict)| (suite.to_owned(), verdict.to_owned())).collect()
}

/// Every file and directory below a folder. Does not follow links.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).expect("a folder is listed").flatten() {
        let kind = entry.file_type().expect("it has a kind");
        if kind.is_dir() { found.extend(all_below(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

#[test]
fn a_sandboxed_run_is_private_but_its_reports_are_not() {
    if skip() {
        return;
    }
    // The port is free inside even if a process outside uses it.
    let _taken = TcpListener::bind("127.1.0.1:6379");
    for stage in Stage::all() {
        let ended = stage.run(&["plain"], &["--sandbox", "require"]);
        assert_eq!(ended.code(), Some(0), "as {}: {}", stage.user(), ended.whole());
        stage.nothing_left(ended.pid, &stage.reports());
        let files = all_below(&stage.reports());
        assert!(files.len() > 6, "report, history, logs: {files:?}");
        for file in files {
            let data = fs::symlink_metadata(&file).expect("it is there");
            assert_eq!((data.uid(), data.gid()), stage.ids(), "{}", file.display());
        }
        let report = slotquake::report::read(&only_folder(&stage.reports())).expect("a report");
        let report = serde_json::to_value(&report).expect("JSON");
        let booted = report["events"].as_array().expect("events").iter().find(|event| event["event"] == "booted");
        assert_eq!(booted.expect("it booted")["nodes"][0]["addr"], "127.1.0.1:6379", "an address of its own");
    }
}

#[test]
fn any_user_can_inject_prove_and_heal_a_cut() {
    if skip() {
        return;
    }
    for stage in Stage::all() {
        let ended = stage.run(&["cut"], &["--sandbox", "require"]);
        assert_eq!(ended.code(), Some(0), "as {}: {}", stage.user(), ended.whole());
        let report = slotquake::report::read(&only_folder(&stage.reports())).expect("a report");
        let report = serde_json::to_value(&report).expect("JSON");
        for (event, key) in [("fault-proven", "in_effect"), ("heal-proven", "healed")] {
            let events = report["events"].as_array().expect("events").iter();
            let found: Vec<_> = events.filter(|each| each["event"] == event).map(|each| &each[key]).collect();
            assert_eq!(found, [&json!(true)], "{event} as {}: {}", stage.user(), ended.whole());
        }
        stage.nothing_left(ended.pid, &stage.reports());
    }
}

/// `cargo test` runs every suite as the user that it is; where that is root, these need to be seen to
/// need no root.
#[test]
fn network_suites_pass_for_an_ordinary_user() {
    if skip() || !geteuid().is_root() {
        return;
    }
    let planned = |name: &&str| {
        let suite = slotquake::suite::load(name).expect("a shipped suite loads");
        let plan = Plan::new(&suite, 1).expect("a shipped suite plans");
        plan.needs_to(Need::Links) || plan.needs_to(Need::Isolate)
    };
    let suites: Vec<&str> = slotquake::suite::shipped_names().into_iter().filter(planned).collect();
    assert!(suites.len() >= 10, "{suites:?}");
    let stage = Stage::new(true);
    for pair in suites.chunks(2) {
        let _place = Places::take(pair.len());
        let ended = conclusive(|| {
            let mut command = stage.command(stage.path("slotquake"));
            command.arg("run").args(pair).args(["--server", "./redis-server", "--format", "json"]);
            command.args(["--sandbox", "require"]).args(QUICK);
            command
        });
        let passed: Vec<_> = verdicts(&ended).into_iter().filter(|(_, verdict)| verdict != "pass").collect();
        assert_eq!((ended.code(), passed), (Some(0), Vec::new()), "{}", ended.whole());
        stage.nothing_left(ended.pid, &stage.reports());
    }
}

#[test]
fn keeps_data_in_the_report() {
    if skip() {
        return;
    }
    for stage in Stage::all() {
        let ended = stage.run(&["plain"], &["--sandbox", "require", "--keep"]);
        assert_eq!(ended.code(), Some(0), "as {}: {}", stage.user(), ended.whole());
        let data = only_folder(&stage.reports()).join("data/node-3");
        for file in ["node.conf", "nodes.conf", "appendonly.aof"] {
            assert!(data.join(file).is_file(), "{} is missing", data.join(file).display());
        }
    }
}

#[test]
fn forwards_the_exit_code() {
    if skip() {
        return;
    }
    for stage in Stage::all() {
        for (suite, more, expected) in [
            ("wrong", &[][..], 1),
            ("plain", &["--set", "cluster.config.nonsense=1"], 2),
            ("plain", &["--out", "/proc/nowhere"], 2),
        ] {
            let ended = stage.run(&[suite], &[&["--sandbox", "require"], more].concat());
            assert_eq!(ended.code(), Some(expected), "as {}: {}", stage.user(), ended.whole());
            stage.nothing_left(ended.pid, &stage.reports());
        }
    }
}

#[test]
fn skips_a_network_suite_without_a_sandbox() {
    for stage in Stage::all() {
        let ended = stage.run(&["cut"], &["--sandbox", "off"]);
        assert_eq!(ended.code(), Some(3), "{}", ended.whole());
        assert_eq!(verdicts(&ended), pairs(&[("cut", "skipped")]));
        assert_eq!(ended.json()["exit_code"], json!(3));
        assert!(ended.stderr.contains("skipped: cut redis-server: no sandbox: "), "{}", ended.whole());
        assert!(!ended.stderr.contains("phase boot"), "no cluster boots: {}", ended.whole());
        let is_folder = |entry: &io::Result<DirEntry>| entry.as_ref().expect("an entry").path().is_dir();
        assert_eq!(fs::read_dir(stage.reports()).expect("it was made").filter(is_folder).count(), 0, "no report");
    }
}

/// Asserts that network suites are skipped with a reason that contains `why` and `hint`.
fn skips_what_it_cannot_run(script: &str, powerless: bool, why: &str, hint: &str) {
    for stage in Stage::all() {
        let both = stage.run_deprived(script, &["plain", "cut"], &[]);
        assert_eq!(both.code(), Some(0), "as {}: {}", stage.user(), both.whole());
        assert_eq!(verdicts(&both), pairs(&[("cut", "skipped"), ("plain", "pass")]), "{}", both.whole());
        let reason = both.json()["runs"][0]["reason"].as_str().expect("a reason").to_owned();
        assert!(reason.contains(why) && reason.contains(hint), "{reason}");
        assert!(both.stderr.contains(&format!("skipped: cut redis-server: {reason}")), "{}", both.whole());
        stage.nothing_left(both.pid, &stage.reports());
        // One report, which can be compared with whatever else there is.
        let folder = only_folder(&stage.reports());
        assert!(folder.join("report.json").is_file());
        let mut compare = stage.command(stage.path("slotquake"));
        compare.args(["compare", "reports", "reports"]);
        assert_eq!(begin_as(compare).end().code(), Some(0));

        let alone = stage.run_deprived(script, &["cut"], &[]);
        assert_eq!(alone.code(), Some(3), "as {}: {}", stage.user(), alone.whole());

        let failing = stage.run_deprived(script, &["wrong", "cut"], &[]);
        assert_eq!(failing.code(), Some(1), "a failure is not masked: {}", failing.whole());

        let required = stage.run_deprived(script, &["cut"], &["--sandbox", "require"]);
        assert_eq!(required.code(), Some(69), "as {}: {}", stage.user(), required.whole());
        assert!(required.stderr.contains(why) && required.stderr.contains(hint), "{}", required.whole());
        assert_eq!(required.stdout, "");

        // `--sandbox require` also applies to suites without network faults.
        let plain = stage.run_deprived(script, &["plain"], &["--sandbox", "require"]);
        assert_eq!(plain.code(), Some(if powerless { 69 } else { 0 }), "{}", plain.whole());
    }
}

#[test]
fn skips_only_network_suites_without_namespaces() {
    // Without capabilities this user, who is root in a namespace without further ones, is like any.
    const SCRIPT: &str = "echo 0 > /proc/sys/user/max_user_namespaces && \
        exec setpriv --bounding-set=-all --inh-caps=-all \"$0\" \"$@\"";
    if !skip() {
        skips_what_it_cannot_run(SCRIPT, true, "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=");
    }
}

#[test]
fn skips_only_network_suites_without_nft() {
    const SCRIPT: &str = "for d in /usr/sbin /sbin /usr/local/sbin; do mount -t tmpfs none $d || exit 99; done; \
        PATH=/nowhere exec \"$0\" \"$@\"";
    if !skip() {
        skips_what_it_cannot_run(SCRIPT, false, "nft is not installed", "apt-get install nftables");
    }
}

#[test]
fn a_signal_heals_reports_and_exits_with_130() {
    if skip() {
        return;
    }
    for stage in Stage::all() {
        for (signal, name) in [(Signal::SIGINT, "SIGINT"), (Signal::SIGTERM, "SIGTERM")] {
            let place = Places::take(1);
            let mut running =
                stage.begin(&["cut"], &["--sandbox", "require", "--set", "steps[4].settle=60s", "--out", name]);
            running.until_it_says("phase cut");
            sleep(Duration::from_millis(700));
            running.signal(signal);
            let ended = running.end();
            drop(place);
            assert_eq!(ended.code(), Some(130), "as {}: {}", stage.user(), ended.whole());
            let report = slotquake::report::read(&only_folder(&stage.path(name))).expect("a report");
            assert_eq!(report.interrupted_by(), Some(name));
            assert!(report.complete, "the history goes to its end");
            stage.nothing_left(ended.pid, &stage.path(name));
        }
    }
}

/// The process that gets SIGKILL.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Outer,
    Init,
    Program,
    OuterAndProgram,
}

/// When: so long after it says this, or after its start.
const MOMENTS: [(Option<&str>, u64); 10] = [
    (None, 0),
    (None, 5),
    (None, 20),
    (None, 100),
    (Some("phase boot"), 0),
    (Some("phase boot"), 700),
    (Some("is ready"), 0),
    (Some("phase cut"), 0),
    (Some("phase cut"), 700),
    (Some("steps are over"), 0),
];

#[test]
fn sigkill_of_any_process_leaves_nothing() {
    if skip() {
        return;
    }
    let stages = Stage::all();
    let mut cases = Vec::new();
    for stage in &stages {
        for (number, moment) in MOMENTS.into_iter().enumerate() {
            for victim in [Victim::Outer, Victim::Init, Victim::Program, Victim::OuterAndProgram] {
                cases.push((stage, format!("reports/{number}-{victim:?}"), moment, victim));
            }
        }
    }
    let queue = Mutex::new(cases.into_iter());
    std::thread::scope(|scope| {
        // These runs are not judged, so they need no reserved capacity.
        for _ in 0..8 {
            scope.spawn(|| {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some((stage, out, moment, victim)) = next() {
                    killed(stage, &out, moment, victim);
                }
            });
        }
    });
}

fn killed(stage: &Stage, out: &str, (line, after_ms): (Option<&str>, u64), victim: Victim) {
    let what = format!("as {}, {victim:?} {after_ms} ms after {line:?}", stage.user());
    let mut running = stage.begin(&["cut"], &["--sandbox", "require", "--out", out]);
    if let Some(line) = line {
        running.until_it_says(line);
    }
    let outer = Pid::from_raw(running.pid().cast_signed());
    let victims = match victim {
        Victim::Outer => vec![outer],
        Victim::Init => vec![init_of(outer)],
        Victim::Program => vec![program_of(outer)],
        Victim::OuterAndProgram => vec![outer, program_of(outer)],
    };
    sleep(Duration::from_millis(after_ms));
    let reports = stage.path(out);
    let family = processes(running.pid(), &reports);
    let namespaces = Namespaces::of(&family);
    if line.is_some_and(|line| line != "phase boot") {
        let servers = family.iter().filter(|(_, command)| command.contains("redis-server")).count();
        assert!(servers >= 3, "{what}: the servers are not found, so their end would not be seen: {family:?}");
        assert!(namespaces.0.len() >= 2 * 5, "{what}: init, program and servers are in namespaces of their own");
    }
    for (number, victim) in victims.into_iter().enumerate() {
        match kill(victim, Signal::SIGKILL) {
            // It died with the first victim.
            Err(Errno::ESRCH) if number > 0 => {}
            result => result.unwrap_or_else(|error| panic!("{what}: {victim}: {error}")),
        }
    }
    let ended = running.end();
    assert_eq!(ended.status.signal(), Some(Signal::SIGKILL as i32), "{what}: {}", ended.whole());
    stage.nothing_left(ended.pid, &reports);
    namespaces.assert_empty(&what);
}

/// The namespaces of a sandbox. Keeps them open, so that the kernel does not reuse their numbers.
struct Namespaces(Vec<(PathBuf, fs::File)>);

impl Namespaces {
    const NAMES: [&str; 2] = ["net", "pid"];

    /// The namespaces of these processes, except this process's own.
    fn of(family: &[(u32, String)]) -> Self {
        let here: Vec<PathBuf> = Self::links("self").collect();
        let file = |pid: u32, name| format!("/proc/{pid}/ns/{name}");
        let held = family.iter().flat_map(|&(pid, _)| Self::NAMES.map(|name| file(pid, name)));
        // A namespace that cannot be opened belongs to a process that has died.
        let held = held.filter_map(|file| fs::File::open(&file).ok());
        let named = held.filter_map(|held| {
            let link = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held))).ok()?;
            (!here.contains(&link)).then_some((link, held))
        });
        Self(named.collect())
    }

    fn links(process: &str) -> impl Iterator<Item = PathBuf> {
        Self::NAMES.into_iter().filter_map(move |name| fs::read_link(format!("/proc/{process}/ns/{name}")).ok())
    }

    /// Asserts that they have no processes after a short while.
    fn assert_empty(&self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let inhabitants = || -> Vec<String> {
            let processes = fs::read_dir("/proc").expect("/proc").flatten();
            let numbers = processes.filter_map(|entry| entry.file_name().into_string().ok());
            let lives_there = |link: &PathBuf| self.0.iter().any(|(own, _)| own == link);
            numbers.filter(|number| Self::links(number).any(|link| lives_there(&link))).collect()
        };
        while !inhabitants().is_empty() {
            assert!(Instant::now() < deadline, "{what}: processes {:?} are left in its namespaces", inhabitants());
            sleep(Duration::from_millis(5));
        }
    }
}

/// Process 1 of the sandbox of a harness.
fn init_of(outer: Pid) -> Pid {
    child_of(outer, "slotquake-init")
}

/// The harness's process in its sandbox.
fn program_of(outer: Pid) -> Pid {
    child_of(init_of(outer), "slotquake")
}

/// Waits for a child with that name.
fn child_of(parent: Pid, name: &str) -> Pid {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        let named = |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
        if let Some(child) = children.split_whitespace().find(named) {
            return Pid::from_raw(child.parse().expect("a number"));
        }
        assert!(Instant::now() < deadline, "{parent} has no child `{name}`");
        sleep(Duration::from_millis(1));
    }
}
