//! `slotquake up` and the commands that inspect, break and repair its cluster from other terminals.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Ended, Places, QUICK, Running, assert_nothing_left, begin_as, fetched, skipped};

/// How long to wait for a condition. No verdict depends on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// One user's terminals.
struct Desk {
    folder: tempfile::TempDir,
    _places: Places,
}

impl Desk {
    fn new(clusters: usize) -> Self {
        fetched("redis:6.2");
        Self { folder: tempfile::tempdir().expect("a temporary directory"), _places: Places::take(clusters) }
    }

    fn reports(&self, name: &str) -> PathBuf {
        self.folder.path().join("reports").join(name)
    }

    fn begin(&self, args: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotquake"));
        command.args(args).env("XDG_RUNTIME_DIR", self.folder.path());
        begin_as(command)
    }

    fn run(&self, line: &str) -> Ended {
        let words: Vec<&str> = line.split(' ').collect();
        self.begin(&words).end()
    }

    /// A cluster of this name, ready.
    fn up(&self, name: &str) -> Running {
        self.up_with(name, &[])
    }

    fn up_with(&self, name: &str, more: &[&str]) -> Running {
        let reports = self.reports(name);
        let out = ["up", "--name", name, "--out", reports.to_str().expect("a plain path")];
        let mut up = self.begin(&[&out[..], &QUICK, more].concat());
        up.until_it_says("cluster of 6 nodes is ready");
        up
    }

    /// Runs a command that must succeed.
    fn done(&self, line: &str) -> String {
        let ended = self.run(line);
        assert_eq!(ended.code(), Some(0), "{line}: {}", ended.whole());
        ended.stdout.trim_end().to_owned()
    }

    /// Runs a command that must fail with this exit code and these words.
    fn refused(&self, line: &str, code: i32, words: &[&str]) {
        let ended = self.run(line);
        assert_eq!(ended.code(), Some(code), "{line}: {}", ended.whole());
        assert!(words.iter().all(|word| ended.stderr.contains(word)), "{line}: {words:?} in {}", ended.whole());
    }

    fn node(&self, number: usize) -> Value {
        let status: Value = serde_json::from_str(&self.done("status --format json")).expect("JSON");
        status["nodes"][number - 1].clone()
    }

    fn until_says(&self, what: &str, line: &str, is_so: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.done(line)) {
            assert!(Instant::now() < deadline, "not for {PATIENCE:?}: {what}\n{}", self.done(line));
            sleep(Duration::from_millis(100));
        }
    }

    fn until(&self, what: &str, number: usize, is_so: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.node(number)) {
            assert!(Instant::now() < deadline, "not for {PATIENCE:?}: {what}\n{}", self.done("status"));
            sleep(Duration::from_millis(100));
        }
    }

    fn sockets(&self) -> usize {
        fs::read_dir(self.folder.path().join("slotquake")).map_or(0, Iterator::count)
    }
}

#[test]
fn injects_and_undoes_faults_from_another_terminal() {
    let desk = Desk::new(1);
    let up = desk.up("play");
    assert_eq!(desk.done("send SET testkey value"), "OK");
    assert!(desk.done("send --to node-2 --no-follow GET testkey").starts_with("MOVED 4757 "));
    assert!(desk.done("status").contains("16384 of 16384 slots have a master that answers"));

    let proof = desk.done("fault kill key:testkey/master");
    assert!(proof.contains("kill node-1 as key:testkey/master (master of shard-1)"), "{proof}");
    assert!(proof.contains("SIGKILL") && proof.contains("refuses connections"), "{proof}");
    assert!(desk.node(1)["process"].as_str().expect("a text").contains("SIGKILL"));
    desk.until("node-4 is promoted", 4, |node| node["role"] == "master" && node["slots"] == 5461);
    assert_eq!(desk.done("send GET testkey"), "value");
    desk.refused("fault kill node-1", 2, &["kill: node-1 means node-1", "hint: start or resume it first"]);

    assert!(desk.done("fault start node-1").contains("PING is answered"));
    desk.until("node-1 follows node-4", 1, |node| node["role"]["replica-of"] == "node-4" && node["link_up"] == true);
    assert!(desk.done("fault pause node-1").contains("PING is not answered"));
    assert_eq!(desk.node(1)["process"], "paused");
    desk.done("fault resume node-1");

    assert_eq!(desk.done("down"), "the cluster is down");
    let ended = up.end();
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    for line in ["node-1 flagged FAIL", "node-4 promoted to master of shard-1", "node-1 is now a replica of node-4"] {
        assert!(ended.stderr.contains(line), "{line}: {}", ended.whole());
    }
    assert_nothing_left(ended.pid, &desk.reports("play"));
    assert_eq!(desk.sockets(), 0);
    let folder = crate::support::only_folder(&desk.reports("play"));
    assert!(folder.join("logs/node-4.log").is_file() && folder.join("history.zst").is_file());
}

#[test]
fn makes_clocks_wrong_from_another_terminal() {
    if let Some(why) = slotquake::speed::obstacle() {
        return skipped("clocks", &why);
    }
    let desk = Desk::new(1);
    let up = desk.up("plain");
    desk.refused("fault clock node-2 --jump 1h --name plain", 2, &["node-2: the servers run without", "--clocks"]);
    assert_eq!(desk.done("down --name plain"), "the cluster is down");
    assert_eq!(up.end().code(), Some(0));

    let up = desk.up_with("play", &["--clocks"]);
    let proof = desk.done("fault clock shard-2/master --jump -1h --as behind");
    assert!(proof.contains("clock behind: the wall clock of node-2 as shard-2/master set back by 1h"), "{proof}");
    assert!(proof.contains(" s behind slotquake's"), "{proof}");
    desk.refused("fault clock node-2 --drift 1%", 2, &["wrong already, by \"behind\" (hint: `heal: behind` first)"]);
    assert!(desk.done("fault heal behind").contains("its clock agrees with slotquake's"));
    let proof = desk.done("fault clock node-2 --strobe 2s --every 400ms --for 1s --as flicker");
    assert!(proof.contains("the wall clock of node-2 strobes by 2s every 400ms for 1s"), "{proof}");
    assert!(proof.contains(" s ahead of slotquake's, and then it agrees with it"), "{proof}");
    let proof = desk.done("fault clock node-3 --drift=-0.05% --of monotonic --as slow");
    assert!(proof.contains("its monotonic clock is 0.000 s behind slotquake's"), "{proof}");
    desk.refused("fault clock node-4 --jump=-365days --of monotonic", 2, &["cannot be set back by", "it shows only"]);
    desk.until_says("the strobe is over", "status", |status| !status.contains("flicker"));
    assert!(desk.done("fault heal all").contains("its monotonic clock agrees with slotquake's"));

    assert_eq!(desk.done("down"), "the cluster is down");
    let ended = up.end();
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert!(ended.stderr.contains("the end of flicker"), "{}", ended.whole());
    assert_nothing_left(ended.pid, &desk.reports("play"));
}

#[test]
fn a_terminal_shows_the_nodes_of_a_single_run() {
    let desk = Desk::new(1);
    let reports = desk.reports("live");
    let run = [env!("CARGO_BIN_EXE_slotquake"), "run", "role-swap", "--jobs", "1", "--out", reports.to_str().unwrap()];
    let line = [&run[..], &QUICK].concat().join(" ");
    let seen = |rows_and_columns: &str, line: &str| {
        let mut command = Command::new("script");
        command.args(["-qec", &format!("stty {rows_and_columns}; {line}"), "/dev/null"]);
        begin_as(command).end()
    };
    let ended = seen("rows 40 cols 100", &line);
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    for shown in [
        "phase master-down",
        "of 11  await: {promoted: shard-1",
        "node-1   master of shard-1     stopped",
        "node-4   master of shard-1",
        "node-1   replica of node-4",
        "outage: writes of shard-1, for ",
        "acknowledged/s",
    ] {
        assert!(ended.stdout.contains(shown), "no `{shown}`: {}", ended.whole());
    }
    // The view is redrawn in place and cleared at the end.
    assert!(ended.stdout.contains("\u{1b}[8A"), "{}", ended.whole());
    let end = ended.stdout.rsplit("acknowledged/s").next().expect("a last part");
    assert!(end.contains("\u{1b}[2K") && end.contains("role-swap"), "{end:?}");
}

#[test]
fn the_live_view_has_one_master_of_a_shard_whose_nodes_are_both_down() {
    let desk = Desk::new(1);
    let reports = desk.reports("live");
    let run = [env!("CARGO_BIN_EXE_slotquake"), "run", "shard-loss", "--jobs", "1", "--out", reports.to_str().unwrap()];
    let mut command = Command::new("script");
    command.args(["-qec", &format!("stty rows 40 cols 100; {}", [&run[..], &QUICK].concat().join(" ")), "/dev/null"]);
    let ended = begin_as(command).end();
    assert!(matches!(ended.code(), Some(0 | 3)), "{}", ended.whole());
    let is_down = |view: &str, node: &str| {
        let line = view.split("  node-").find(|line| line.starts_with(node)).unwrap_or_default();
        line.contains("stopped")
    };
    let views = ended.stdout.split("shard-loss redis:6.2");
    let both_down: Vec<&str> = views.filter(|view| is_down(view, "1 ") && is_down(view, "4 ")).collect();
    assert!(!both_down.is_empty(), "both nodes of the shard are down for seconds: {}", ended.whole());
    for view in both_down {
        assert_eq!(view.matches(" master of shard-1").count(), 1, "{view}");
        assert!(!view.contains("was master of shard-1"), "the others know: {view}");
    }
}

#[test]
fn cuts_links_and_runs_programs_inside() {
    let desk = Desk::new(1);
    let up = desk.up("play");
    let cut = desk.run("fault partition minority majority --as cut");
    if cut.stderr.contains("no sandbox") || cut.stderr.contains("nft") {
        return skipped("cuts of a cluster that is kept up", &cut.stderr);
    }
    assert_eq!(cut.code(), Some(0), "{}", cut.whole());
    assert!(cut.stdout.contains("packets hit"), "{}", cut.whole());
    assert!(desk.done("status").ends_with("active fault: partition (heal cut)"));
    desk.refused("fault partition minority majority --as cut", 2, &["named \"cut\" is already active"]);
    desk.until("node-1 is flagged by the others", 1, |node| node["fail"].as_u64() >= Some(4));
    let healed = desk.done("fault heal cut");
    assert!(healed.contains("bus links are connected"), "{healed}");

    // A command comes from client-1's address, so faults on that client affect it.
    desk.done("fault refuse client-1 node-2");
    assert!(desk.done("send --to node-2 PING").starts_with("connection refused by "));
    assert_eq!(desk.done("send --to node-3 PING"), "PONG");
    desk.done("fault heal");
    assert_eq!(desk.done("send --to node-2 PING"), "PONG");

    let address = desk.node(2)["addr"].as_str().expect("an address").to_owned();
    let (host, port) = address.split_once(':').expect("host and port");
    let cli = fetched("redis:6.2").path.with_file_name("redis-cli");
    let cli = format!("{} -h {host} -p {port} ping", cli.display());
    assert_eq!(desk.done(&format!("exec {cli}")), "PONG");
    desk.refused("exec /nowhere/redis-cli", 2, &["cannot run /nowhere/redis-cli"]);

    up.signal(Signal::SIGINT);
    let ended = up.end();
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert_nothing_left(ended.pid, &desk.reports("play"));
}

#[test]
fn keeps_several_clusters_and_cleans_up_a_killed_one() {
    let desk = Desk::new(2);
    desk.refused("status", 2, &["no cluster is up", "hint: `slotquake up`"]);
    let (one, two) = (desk.up("one"), desk.up("two"));
    desk.refused("status", 2, &["2 clusters are up: one, two", "--name"]);
    desk.refused("up --name two", 2, &["cluster \"two\" is already up"]);
    desk.refused("up --name Two", 2, &["invalid cluster name \"Two\""]);
    desk.refused("down --name three", 2, &["no cluster \"three\" is up", "one, two"]);
    desk.done("fault --name one kill node-6");
    assert!(desk.done("status --name one").contains("SIGKILL"));
    assert!(!desk.done("status --name two").contains("SIGKILL"));

    one.signal(Signal::SIGKILL);
    let killed = one.end();
    assert_nothing_left(killed.pid, &desk.reports("one"));
    // With only one left, it need not be named.
    for (line, words) in [
        ("fault kill node-9", "kill: node-9 does not exist (the cluster has node-1 to node-6)"),
        ("fault kill shard-4/master", "shard-4 does not exist"),
        ("fault start node-1", "start: node-1 means node-1, where it has no effect"),
        ("fault heal", "no fault that `heal` undoes is active"),
        ("fault partition node-1 node-1", "is on both sides"),
        ("send --to masters PING", "may be several nodes"),
    ] {
        desk.refused(line, 2, &[words]);
    }
    assert_eq!(desk.sockets(), 1);
    desk.done("down");
    let ended = two.end();
    assert_nothing_left(ended.pid, &desk.reports("two"));
}
