//! The command line: usage errors, help, exit codes, and only results on stdout. No cluster boots here.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const SUBCOMMANDS: [&str; 11] =
    ["list", "show", "init", "run", "plan", "check", "compare", "report", "schema", "doctor", "completions"];

struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

fn slotquake(folder: &Path, args: &[&str]) -> Done {
    ended(Command::new(env!("CARGO_BIN_EXE_slotquake")).args(args).current_dir(folder))
}

fn ended(command: &mut Command) -> Done {
    let output = command.stdin(Stdio::null()).output().expect("the binary runs");
    Done {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text on stdout"),
        err: String::from_utf8(output.stderr).expect("text on stderr"),
    }
}

fn empty() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn wrong_usage_exits_with_2() {
    let folder = empty();
    for (args, expected) in [
        (&[][..], "Usage: slotquake"),
        (&["frobnicate"], "unrecognized subcommand 'frobnicate'"),
        (&["run"], "<SUITE>"),
        (&["run", "--all", "formation"], "cannot be used with"),
        (&["run", "formation", "--jobs", "0"], "it must be a whole number from 1 to 65535"),
        (&["run", "formation", "--speed", "0"], "\"0\" is not a speed (hint: write a whole number from 1 to 100"),
        (&["run", "formation", "--speed", "0.5"], "\"0.5\" is not a speed"),
        (&["run", "formation", "--speed", "101"], "\"101\" is not a speed"),
        (&["up", "--speed", "fast"], "\"fast\" is not a speed"),
        (&["run", "formation", "--speed", "2", "--backend", "attach"], "`--speed 2` requires `--backend local`"),
        (&["run", "formation", "--repeat", "0"], "it must be a whole number from 1 to 65535"),
        (&["run", "formation", "--retries=-1"], "it must be a whole number from 0 to 65535"),
        (&["run", "formation", "--seed", "dice"], "it must be a whole number from 0 to 18446744073709551615"),
        (&["run", "formation", "--format", "xml"], "[possible values: table, json]"),
        (&["compare", "one"], "<NEW>"),
        (&["check"], "<REPORT_DIR>"),
        (&["completions", "tcsh"], "possible values: bash"),
    ] {
        let done = slotquake(folder.path(), args);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{args:?}");
        assert!(done.err.contains(expected), "{args:?} says {expected:?}: {}", done.err);
    }
}

#[test]
fn every_subcommand_has_an_example() {
    let folder = empty();
    let general = slotquake(folder.path(), &["--help"]);
    assert_eq!(general.code, Some(0));
    assert!(general.out.contains("130  interrupted"), "{}", general.out);
    for subcommand in SUBCOMMANDS {
        assert!(general.out.contains(&format!("\n  {subcommand} ")), "{subcommand} in {}", general.out);
        let help = slotquake(folder.path(), &[subcommand, "--help"]);
        assert_eq!((help.code, help.err.as_str()), (Some(0), ""), "{subcommand}");
        assert!(help.out.contains(&format!("slotquake {subcommand}")) && help.out.contains("Example"), "{}", help.out);
    }
}

#[test]
fn prints_the_package_version() {
    let done = slotquake(empty().path(), &["--version"]);
    assert_eq!((done.code, done.out), (Some(0), format!("slotquake {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn lists_every_built_in_suite() {
    let done = slotquake(empty().path(), &["list"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    for name in slotquake::suite::shipped_names() {
        let line = done.out.lines().find(|line| line.split(' ').next() == Some(name));
        assert!(line.is_some_and(|line| line.len() > name.len() + 10), "{name} in {}", done.out);
    }
    let names = slotquake::suite::shipped_names();
    assert_eq!(done.out.lines().count(), names.len(), "one line each: {}", done.out);
    let long = slotquake(empty().path(), &["list", "--long"]);
    assert!(long.out.lines().count() > names.len(), "{}", long.out);
    let json = slotquake(empty().path(), &["list", "--format", "json"]);
    let all: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(all.as_array().map(Vec::len), Some(names.len()));
    assert!(all[0]["about"].as_str().is_some_and(|about| about.len() > 20), "{}", all[0]);
}

#[test]
fn shows_and_writes_suites() {
    let folder = empty();
    let shown = slotquake(folder.path(), &["show", "role-swap"]);
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
    assert!(shown.out.starts_with("name: role-swap\n"), "{}", shown.out);
    let unknown = slotquake(folder.path(), &["show", "role-swop"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("did you mean `role-swap`?"), "{}", unknown.err);

    let written = slotquake(folder.path(), &["init", "first"]);
    assert_eq!((written.code, written.out.as_str()), (Some(0), "first.yaml\nsuite.schema.json\n"), "{}", written.err);
    let planned = slotquake(folder.path(), &["plan", "./first.yaml", "--format", "table"]);
    assert_eq!(planned.code, Some(0), "{}", planned.err);
    assert!(planned.out.contains("... to the promotion"), "{}", planned.out);
    let again = slotquake(folder.path(), &["init", "first"]);
    assert_eq!(again.code, Some(2));
    assert!(again.err.contains("cannot write \"first.yaml\"") && again.err.contains("hint: "), "{}", again.err);
}

#[test]
fn mistakes_are_told_at_once_and_with_a_way_out() {
    let folder = empty();
    let bad = "name: bad\nabout: x\nsteps:\n  - stpo: node-1\n  - settle: soon\ninvariants:\n  - acked-wites: {}\n";
    fs::write(folder.path().join("bad.yaml"), bad).expect("written");
    let done = slotquake(folder.path(), &["plan", "./bad.yaml"]);
    assert_eq!(done.code, Some(2));
    for expected in ["bad.yaml:4:5", "bad.yaml:5:13", "bad.yaml:7:5", "`acked-writes`"] {
        assert!(done.err.contains(expected), "{expected} is not in {}", done.err);
    }
    for (set, expected) in [
        ("cluster-node-timeout=1000", "did you mean `cluster.config.cluster-node-timeout`?"),
        ("rate=10/s", "did you mean `workload.rate`?"),
        ("stepz=1", "did you mean `steps`?"),
    ] {
        let done = slotquake(folder.path(), &["plan", "role-swap", "--set", set]);
        assert_eq!(done.code, Some(2), "{}", done.err);
        assert!(done.err.contains(expected), "{set}: {}", done.err);
    }
}

#[test]
fn a_suite_is_not_a_report_and_a_file_no_directory() {
    let folder = empty();
    fs::write(folder.path().join("good.yaml"), "name: good\n").expect("written");
    for (args, expected) in [
        (&["check", "good.yaml"][..], "good.yaml is not a report (hint: "),
        (&["run", "role-swap", "--out", "good.yaml"], "it is a file; give `--out` a directory"),
        #[cfg(target_os = "linux")]
        (&["run", "role-swap", "--out", "/sys/reports"], "give `--out` a directory that you may write to"),
    ] {
        let done = slotquake(folder.path(), args);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{args:?}: {}", done.err);
        assert!(done.err.contains(expected), "{args:?}: {}", done.err);
    }
}

#[test]
fn what_the_machine_lacks_is_one_message_with_the_cause_and_a_way_out() {
    let folder = empty();
    let cache = folder.path().join("cache");
    let run = |args: &[&str], with: &[(&str, &str)], without: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotquake"));
        command.args(args).current_dir(folder.path()).envs(with.iter().copied());
        for name in without {
            command.env_remove(name);
        }
        ended(&mut command)
    };
    let offline = [
        ("SLOTQUAKE_CACHE", cache.to_str().expect("a plain path")),
        ("PIP_INDEX_URL", "http://127.0.0.1:1/simple"),
        ("PIP_RETRIES", "0"),
        ("PIP_CONFIG_FILE", "/dev/null"),
    ];
    let fetch = &["run", "formation", "--server", "redis:6.2"][..];
    let attach = &["run", "formation", "--backend", "attach", "--nodes", "127.0.0.1:1"][..];
    let homeless = ["SLOTQUAKE_CACHE", "XDG_CACHE_HOME", "HOME"];
    for (args, with, without, expected) in [
        (attach, &[][..], &[][..], "slotquake: 127.0.0.1:1: it refuses connections, so `CLUSTER"),
        (fetch, &offline, &[], "slotquake: cannot fetch redis:6.2, which is neither in the cache nor on PATH: "),
        (fetch, &[], &homeless, "slotquake: no directory for fetched servers: none of SLOTQUAKE_CACHE"),
    ] {
        let done = run(args, with, without);
        assert_eq!((done.code, done.out.as_str()), (Some(69), ""), "{args:?}: {}", done.err);
        let last = done.err.lines().last().unwrap_or_default();
        assert!(last.starts_with(expected) && last.contains("(hint: "), "{args:?}: {}", done.err);
    }
}

#[test]
fn what_is_to_run_can_be_chosen() {
    let folder = empty();
    fs::create_dir(folder.path().join("none")).expect("a folder");
    fs::write(folder.path().join("empty.yaml"), "").expect("a file");
    for (args, expected) in [
        (&["run", "none"][..], "has no suite files"),
        (&["run", "gone.yaml"], "no suite file \"gone.yaml\" (hint: `slotquake init` writes one; "),
        (&["run", "empty.yaml"], "the suite is empty (hint: `slotquake init` writes one to begin with)"),
        (&["check", "none"], "to judge (hint: give the folder of a report, or one of such folders)"),
        (&["run", "role-swap", "--exclude", "role-swop"], "no such suite is to run"),
        (&["run", "role-swap", "--exclude", "role-swap"], "nothing is left to run"),
        (&["run", "role-swap", "-q", "-v"], "cannot be used with"),
    ] {
        let done = slotquake(folder.path(), args);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{args:?}: {}", done.err);
        assert!(done.err.contains(expected), "{args:?}: {}", done.err);
    }
    assert!(!folder.path().join("reports").exists());
}

#[test]
fn schema_covers_the_parts_of_a_suite() {
    let done = slotquake(empty().path(), &["schema"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&done.out).expect("JSON");
    for part in ["name", "cluster", "workload", "steps", "invariants"] {
        assert!(schema.pointer(&format!("/properties/{part}")).is_some(), "{part}");
    }
    for (of, part) in [("report", "ledger"), ("run", "runs"), ("compare", "comparisons")] {
        let done = slotquake(empty().path(), &["schema", of]);
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{of}");
        let schema: Value = serde_json::from_str(&done.out).expect("JSON");
        assert!(schema.pointer(&format!("/properties/{part}")).is_some(), "{of}");
    }
}

#[test]
fn prints_completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = slotquake(empty().path(), &["completions", shell]);
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{shell}");
        assert!(done.out.contains("slotquake") && done.out.contains("compare"), "{shell}");
    }
}

#[test]
fn the_same_seed_gives_the_same_plan() {
    let folder = empty();
    let args = ["plan", "role-swap", "--seed", "7", "--set", "cluster.config.cluster-node-timeout=1000"];
    let first = slotquake(folder.path(), &args);
    assert_eq!((first.code, first.err.as_str()), (Some(0), ""));
    let plan: Value = serde_json::from_str(&first.out).expect("JSON");
    assert_eq!(plan["seed"], json!(7));
    assert_eq!(plan["config"]["cluster-node-timeout"], json!("1000"));
    assert_eq!(slotquake(folder.path(), &args).out, first.out);
    let other = slotquake(folder.path(), &["plan", "role-swap", "--server", "valkey:9.1"]);
    let plan: Value = serde_json::from_str(&other.out).expect("JSON");
    assert_eq!(plan["server"], json!("valkey:9.1"));
}

#[test]
fn an_impossible_suite_exits_with_2() {
    let folder = empty();
    fs::write(folder.path().join("bad.yaml"), "name: bad\nabout: x\nsteps: [{stpo: node-1}]\ninvariants: []\n")
        .expect("written");
    for (args, expected) in [
        (&["run", "role-swop"][..], "role-swap"),
        (&["plan", "role-swop"], "role-swap"),
        (&["run", "./gone.yaml"], "gone.yaml"),
        (&["run", "./bad.yaml"], "stpo"),
        (&["run", "role-swap", "./bad.yaml"], "stpo"),
        (&["run", "role-swap", "--set", "workload.ratte=1/s"], "rate"),
        (&["plan", "role-swap", "--set", "cluster.masters=2"], "masters"),
    ] {
        let done = slotquake(folder.path(), args);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{args:?}: {}", done.err);
        assert!(done.err.contains(expected), "{args:?} says {expected:?}: {}", done.err);
        assert!(!folder.path().join("reports").exists(), "{args:?} made no reports");
    }
}

#[test]
fn a_missing_server_is_reported_before_boot() {
    let folder = empty();
    let done = slotquake(folder.path(), &["run", "formation", "--server", "./no-such-server"]);
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{}", done.err);
    assert!(done.err.contains("no-such-server"), "{}", done.err);
    assert!(!folder.path().join("reports").exists());
}

#[test]
fn doctor_prints_a_table_and_json() {
    let folder = empty();
    let done = slotquake(folder.path(), &["doctor"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("redis:6.2"), "{}", done.out);
    let done = slotquake(folder.path(), &["doctor", "--format", "json"]);
    let capabilities: Value = serde_json::from_str(&done.out).expect("JSON");
    assert!(capabilities.as_array().is_some_and(|all| all.iter().all(|one| one["state"].is_string())), "{}", done.out);
}

/// A report of `role-swap`, as much of it as a comparison needs.
fn report(verdict: &str, lost: u32) -> Value {
    let ledger = json!({
        "acknowledged": 4021, "lost": lost, "undecided": 0, "applied_unacknowledged": 0,
        "refused_but_applied": 0, "foreign": 0, "keys_read": 600, "keys_unread": 0, "examples": [],
    });
    let plan = json!({
        "name": "role-swap", "about": "Stop a master.", "seed": 7, "server": "redis:6.2",
        "nodes": [{"node": "node-1", "shard": "shard-1", "replica-of": null, "slots": [[0, 16383]]}],
        "config": {"cluster-node-timeout": "5000"}, "workload": {}, "steps": [], "invariants": [],
        "recover-within": "60s", "max-duration": "10m",
    });
    json!({
        "schema_version": 1, "tool_version": "0.1.0", "plan": plan,
        "server": {
            "asked": "redis:6.2", "version": {"flavour": "redis", "major": 6, "minor": 2, "patch": 14},
            "path": "/cache/redis-server", "origin": "cache",
        },
        "host": {"os": "Linux 6.1", "cores": 2, "backend": "local"}, "started_at": "2026-11-22T13:05:01Z",
        "duration_ms": 24512.5, "complete": true, "verdict": verdict,
        "invariants": [{
            "invariant": "acked-writes", "settings": "may-lose 0", "verdict": verdict,
            "expected": "none is lost", "seen": format!("{lost} are lost"), "observations": 4021,
            "evidence": [], "figures": {"lost": lost},
        }],
        "phases": [], "steps": null, "outages": [], "failovers": [], "ledger": ledger, "events": [],
    })
}

fn write_report(folder: &Path, name: &str, report: &Value) {
    fs::create_dir_all(folder.join(name)).expect("a folder");
    fs::write(folder.join(name).join("report.json"), report.to_string()).expect("written");
}

#[test]
fn compare_exits_with_1_on_a_regression() {
    let folder = empty();
    for (base, new, lost, code) in [
        ("pass", "pass", 3, 0),
        ("pass", "pass", 0, 1),
        ("pass", "inconclusive", 3, 1),
        ("pass", "fail", 3, 1),
        ("fail", "fail", 3, 0),
        ("fail", "pass", 3, 0),
    ] {
        write_report(folder.path(), "base", &report(base, lost));
        write_report(folder.path(), "new", &report(new, lost + 12));
        let done = slotquake(folder.path(), &["compare", "base", "new"]);
        assert_eq!((done.code, done.err.as_str()), (Some(code), ""), "{base} to {new}");
        assert!(done.out.contains("+12"), "{}", done.out);
        let done = slotquake(folder.path(), &["compare", "base/report.json", "new", "--format", "json"]);
        assert_eq!(done.code, Some(code), "{base} to {new}");
        let document: Value = serde_json::from_str(&done.out).expect("JSON");
        assert_eq!(document["exit_code"], json!(code));
        assert_eq!(document.pointer("/comparisons/0/pairs/0/new_verdict"), Some(&json!(new)));
    }
}

#[test]
fn report_writes_pages_and_an_index() {
    let folder = empty();
    write_report(folder.path(), "runs/one", &report("pass", 0));
    write_report(folder.path(), "runs/two", &report("fail", 12));
    fs::create_dir_all(folder.path().join("runs/bad")).expect("a folder");
    fs::write(folder.path().join("runs/bad/report.json"), "{").expect("written");
    let done = slotquake(folder.path(), &["report", "runs"]);
    assert_eq!((done.code, done.out.lines().count()), (Some(0), 3), "{}{}", done.out, done.err);
    assert!(done.err.contains("left out: ") && done.err.contains("is truncated"), "{}", done.err);
    let page = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a page");
    assert!(page("runs/one/report.html").contains("<h1>Passed: the invariant holds</h1>"));
    assert!(page("runs/two/report.html").contains("<h1>Failed: 1 of 1 invariants do not hold</h1>"));
    assert!(page("runs/index.html").contains("href=\"./two/report.html\""));

    let one = slotquake(folder.path(), &["report", "runs/one/report.json"]);
    assert_eq!((one.code, one.out.as_str()), (Some(0), "runs/one/report.html\n"), "{}", one.err);
    for (name, why) in [("runs/bad", "is truncated"), ("nothing", "No such file"), (".", "has no report.json")] {
        let done = slotquake(folder.path(), &["report", name]);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{name}");
        assert!(done.err.contains(why), "{name}: {}", done.err);
    }
}

#[test]
fn compare_fails_if_a_suite_is_missing() {
    let folder = empty();
    let mut other = report("pass", 0);
    other["plan"]["name"] = json!("formation");
    write_report(folder.path(), "base/one", &report("pass", 0));
    write_report(folder.path(), "base/two", &other);
    write_report(folder.path(), "new/one", &report("pass", 0));
    let done = slotquake(folder.path(), &["compare", "base", "new"]);
    assert_eq!(done.code, Some(1), "{}", done.out);
    assert!(done.out.contains("only in base  redis:6.2: formation"), "{}", done.out);
    // Of a folder, a single report asks only for its own suite.
    assert_eq!(slotquake(folder.path(), &["compare", "base", "new/one"]).code, Some(0));
    let done = slotquake(folder.path(), &["compare", "base/two", "new/one"]);
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""));
    assert!(done.err.contains("nothing in common"), "{}", done.err);
}

#[test]
fn compare_takes_several_sides_and_writes_a_page() {
    let folder = empty();
    write_report(folder.path(), "base/one", &report("pass", 0));
    write_report(folder.path(), "same/one", &report("pass", 0));
    write_report(folder.path(), "lossy/one", &report("pass", 12));
    let args = ["compare", "base", "same", "lossy", "--html", "page.html"];
    let done = slotquake(folder.path(), &args);
    assert_eq!((done.code, done.err.as_str()), (Some(1), ""), "the worst side counts: {}", done.out);
    let head = done.out.lines().next().expect("headings");
    assert!(head.split_whitespace().eq(["suite", "server", "what", "base", "same", "lossy"]), "{}", done.out);
    assert!(
        done.out.contains("lossy against base:\n") && done.out.contains("\n  regression: worse figures in role-swap")
    );
    let page = fs::read_to_string(folder.path().join("page.html")).expect("a page");
    assert!(page.contains("<h1>1 of 2 sides are worse than base</h1>"), "{page}");
    let json = slotquake(folder.path(), &["compare", "base", "same", "lossy", "--format", "json"]);
    let document: Value = serde_json::from_str(&json.out).expect("JSON");
    let regressed = |index: usize| document["comparisons"][index]["regressed"].clone();
    assert_eq!((json.code, regressed(0), regressed(1)), (Some(1), json!(false), json!(true)), "{document:#}");

    for (args, expected) in [
        (&["--format", "verdicts"][..], "compares two sides"),
        (&["--html", "."], "give `--html` a file"),
        (&["--suite", "formation"], "base has no run that `--suite` and `--server` ask for (hint: it has role-swap on"),
    ] {
        let done = slotquake(folder.path(), &[&["compare", "base", "same", "lossy"], args].concat());
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{args:?}: {}", done.err);
        assert!(done.err.contains(expected) && done.err.lines().count() == 1, "{args:?}: {}", done.err);
    }
}

#[test]
fn compare_filters_by_suite_and_by_server() {
    let folder = empty();
    let of = |suite: &str, server: &str, verdict: &str| {
        let mut of = report(verdict, 0);
        of["plan"]["name"] = json!(suite);
        of["server"]["asked"] = json!(server);
        of
    };
    for (side, verdict) in [("base", "pass"), ("new", "fail")] {
        write_report(folder.path(), &format!("{side}/a"), &of("role-swap", "redis:6.2", "pass"));
        write_report(folder.path(), &format!("{side}/b"), &of("role-swap", "redis:7.0", verdict));
        write_report(folder.path(), &format!("{side}/c"), &of("formation", "redis:6.2", verdict));
    }
    write_report(folder.path(), "base/d", &of("ring", "redis:7.0", "pass"));
    write_report(folder.path(), "base/e", &of("halves", "redis:7.0", "pass"));
    for (args, code, pairs) in [
        (&[][..], 1, 3),
        (&["--suite", "role-swap"], 1, 2),
        (&["--suite", "role-swap", "--server", "redis:6.2"], 0, 1),
        (&["--suite", "role-swap,formation", "--server", "redis:6.2"], 1, 2),
        (&["--server", "redis:7.0"], 1, 1),
    ] {
        let done = slotquake(folder.path(), &[&["compare", "base", "new"], args].concat());
        assert_eq!((done.code, done.err.as_str()), (Some(code), ""), "{args:?}: {}", done.out);
        assert!(done.out.contains(&format!("{pairs} compared by verdict")), "{args:?}: {}", done.out);
        let tells = done.out.contains("only in base  redis:7.0: halves, ring\n");
        assert_eq!(tells, !args.contains(&"--suite"), "{args:?}: {}", done.out);
    }
}

#[test]
fn compare_obeys_fail_on() {
    let folder = empty();
    for (new, lost, expected) in [
        ("pass", 0, [0, 0, 0]), // neither, a regression, a change
        ("fail", 0, [0, 1, 1]),
        ("pass", 12, [0, 1, 1]),
    ] {
        write_report(folder.path(), "base", &report("pass", 0));
        write_report(folder.path(), "new", &report(new, lost));
        for (wanted, code) in ["never", "regression", "any-change"].into_iter().zip(expected) {
            let done = slotquake(folder.path(), &["compare", "base", "new", "--fail-on", wanted]);
            assert_eq!((done.code, done.err.as_str()), (Some(code), ""), "{new}, {lost} lost, {wanted}");
        }
    }
    let done = slotquake(folder.path(), &["compare", "new", "base", "--fail-on", "any-change"]);
    assert_eq!(done.code, Some(1), "what got better is a change, too: {}", done.out);
}

#[test]
fn compare_rejects_different_experiments_unless_allowed() {
    let folder = empty();
    write_report(folder.path(), "base", &report("pass", 0));
    for (pointer, value, expected) in [
        ("/plan/config/cluster-node-timeout", json!("1000"), "config cluster-node-timeout: `5000` -> `1000`"),
        ("/plan/recover-within", json!("90s"), "plan: its recover-within differ"),
        ("/server/version/patch", json!(15), "(redis 6.2.14) -> redis:6.2 (redis 6.2.15)"),
        ("/host/cores", json!(64), "2 cores, local -> Linux 6.1, 64 cores, local"),
    ] {
        let mut other = report("pass", 0);
        *other.pointer_mut(pointer).expect("it is there") = value;
        write_report(folder.path(), "new", &other);
        let done = slotquake(folder.path(), &["compare", "base", "new"]);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{pointer}");
        assert!(done.err.contains(expected) && done.err.contains("--allow-different"), "{pointer}: {}", done.err);
        let done = slotquake(folder.path(), &["compare", "base", "new", "--allow-different", "--format", "markdown"]);
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{pointer}");
        assert!(
            done.out.starts_with("### slotquake: Not worse\n") && done.out.contains("not the same"),
            "{}",
            done.out
        );
    }
    let mut other = report("pass", 0);
    other["plan"]["seed"] = json!(8);
    write_report(folder.path(), "new", &other);
    assert_eq!(slotquake(folder.path(), &["compare", "base", "new"]).code, Some(0), "another seed is only told");
}

#[test]
fn rejects_a_file_that_is_not_a_report() {
    let folder = empty();
    write_report(folder.path(), "good", &report("pass", 0));
    let good = fs::read_to_string(folder.path().join("good/report.json")).expect("read");
    let mut newer = report("pass", 0);
    newer["schema_version"] = json!(2);
    let mut older = newer.clone();
    older["schema_version"] = json!(0);
    for (name, text) in [
        ("garbage", "\u{1}x".to_owned()),
        ("cut", good[..200].to_owned()),
        ("newer", newer.to_string()),
        ("older", older.to_string()),
    ] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
        fs::write(folder.path().join(name).join("report.json"), text).expect("written");
    }
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    fs::write(folder.path().join("notes.txt"), "hello").expect("written");
    fs::write(folder.path().join("other.json"), "{}").expect("written");
    for (name, expected) in [
        ("notes.txt", "is not a report of slotquake: it is not JSON (hint: give the folder of a run"),
        ("other.json", "is not a report of slotquake: it has no schema_version (hint: give the folder of a run"),
        ("garbage", "is corrupt"),
        ("cut", "is truncated"),
        ("newer", "has schema version 2, this slotquake reads 1"),
        ("older", "has schema version 0, this slotquake reads 1"),
        ("empty", "has no report"),
        ("gone", "no such file or folder"),
    ] {
        for args in [["compare", "good", name], ["compare", name, "good"]] {
            let done = slotquake(folder.path(), &args);
            assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{args:?}");
            assert!(done.err.contains(name) && done.err.contains(expected), "{args:?}: {}", done.err);
            assert_eq!(done.err.lines().count(), 1, "{args:?} gives one message: {}", done.err);
        }
        if !folder.path().join(name).join("report.json").exists() {
            continue;
        }
        let done = slotquake(folder.path(), &["report", name]);
        assert!(done.code != Some(0) && done.err.contains(expected), "report {name}: {:?} {}", done.code, done.err);
    }
}

#[test]
fn history_export_shows_every_record_as_a_line() {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("judge/tests/stored");
    let done = slotquake(&stored, &["history", "export", "killed-master-freeze", "--lines"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let lines: Vec<Value> = done.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let with = |key: &str| lines.iter().filter(|line| line.get(key).is_some()).count();
    assert_eq!((with("plan"), with("op"), with("plan") + with("op") + with("event")), (1, 3174, lines.len()));
    for (forms, expected) in [(&["--lines", "--edn"][..], "cannot be used with"), (&[], "required")] {
        let done = slotquake(&stored, &[&["history", "export", "killed-master-freeze"], forms].concat());
        assert_eq!(done.code, Some(2), "{forms:?}");
        assert!(done.err.contains(expected), "{forms:?}: {}", done.err);
    }
}

#[test]
fn check_needs_a_readable_history() {
    let folder = empty();
    write_report(folder.path(), "without", &report("pass", 0));
    write_report(folder.path(), "garbage", &report("pass", 0));
    write_report(folder.path(), "garbage-of-old", &report("pass", 0));
    fs::write(folder.path().join("garbage/history.zst"), "no zstd stream").expect("written");
    fs::write(folder.path().join("garbage-of-old/history.jsonl.zst"), "no zstd stream").expect("written");
    for (name, expected) in [
        ("without", "holds no history"),
        ("gone", "gone"),
        ("garbage", "history.zst"),
        ("garbage-of-old", "history.jsonl.zst"),
    ] {
        let done = slotquake(folder.path(), &["check", name]);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{name}: {}", done.err);
        assert!(done.err.contains(expected), "{name}: {}", done.err);
    }
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_slotquake"))
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
