//! Suites as tests of `cargo test`, seen from outside. This program runs itself as a user's test target.
//!
//! With `SUITES_OF` set it is that target; otherwise its cases start the target and check its output.

use std::path::Path;
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Trial};
use slotquake::sandbox::Mode;
use slotquake::testing::Suite;

/// The folder of suites that the user's test target is to run.
const SUITES_OF: &str = "SUITES_OF";
/// The folder for its reports.
const OUT: &str = "SUITES_OUT";
/// Its sandbox mode.
const SANDBOX: &str = "SUITES_SANDBOX";

const SUITES: &str = "tests/cargo_test/suites";
const EXAMPLE: &str = "examples/my-service";

fn main() -> ExitCode {
    if let Ok(folder) = std::env::var(SUITES_OF) {
        return target(&folder);
    }
    let cases: [(&str, fn()); 10] = [
        ("runs_at_a_speed", runs_at_a_speed),
        ("lists_every_suite_on_every_server_and_starts_nothing", lists_every_suite_on_every_server),
        ("explains_a_failure", explains_a_failure),
        ("one_test_runs_by_its_exact_name_and_passes", one_test_runs_by_its_exact_name),
        ("a_suite_that_cuts_links_runs_in_the_sandbox", a_suite_that_cuts_links_runs),
        ("ignores_suites_that_cannot_run_with_the_reason", ignores_suites_that_cannot_run),
        ("fails_suites_that_cannot_run_if_required", fails_suites_that_cannot_run_if_required),
        ("fails_an_invalid_suite_with_its_line", fails_an_invalid_suite_with_its_line),
        ("reports_missing_suites_with_a_hint", reports_missing_suites),
        ("fails_an_inconclusive_suite", fails_an_inconclusive_suite),
    ];
    let trials = cases.map(|(name, case)| {
        Trial::test(name, move || {
            case();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// The user's test target.
fn target(folder: &str) -> ExitCode {
    let sandbox = std::env::var(SANDBOX).map_or(Mode::Auto, |mode| mode.parse().expect("a mode"));
    let in_code =
        Suite::new("in-code").config("cluster-node-timeout", 1000).phase("idle").settle("500ms").slot_coverage();
    slotquake::cargo_test::suites(folder)
        .suite(in_code)
        .out(std::env::var(OUT).expect("a folder"))
        .sandbox(sandbox)
        .main()
}

struct Ran(Output);

impl Ran {
    fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    #[track_caller]
    fn assert_says(&self, expected: &[&str]) {
        let stdout = self.stdout();
        for expected in expected {
            assert!(
                stdout.contains(expected),
                "{expected:?} in:\n{stdout}\n{}",
                String::from_utf8_lossy(&self.0.stderr)
            );
        }
    }
}

/// Runs the target with arguments and environment as `cargo test` does.
fn run(suites: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let out = tempfile::tempdir().expect("a temporary directory");
    run_into(out.path(), suites, arguments, environment)
}

fn run_into(out: &Path, suites: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(arguments).env(SUITES_OF, suites).env(OUT, out);
    for name in ["SLOTQUAKE_SERVERS", "SLOTQUAKE_SEED", "SLOTQUAKE_SPEED", "SLOTQUAKE_REQUIRE_ALL"] {
        command.env_remove(name);
    }
    Ran(command.envs(environment.iter().copied()).output().expect("it starts"))
}

fn lists_every_suite_on_every_server() {
    // As cargo-nextest asks.
    let servers = ("SLOTQUAKE_SERVERS", "redis:6.2, valkey:9.1");
    let out = tempfile::tempdir().expect("a temporary directory");
    let listed = run_into(out.path(), SUITES, &["--list", "--format", "terse"], &[servers]);
    assert_eq!(listed.code(), Some(0));
    assert_eq!(
        listed.stdout(),
        "cut::redis:6.2: test\ncut::valkey:9.1: test\nmisspelt: test\nnothing-seen::redis:6.2: test\nnothing-seen::valkey:9.1: test\nsteady::redis:6.2: test\nsteady::valkey:9.1: \
         test\nin-code::redis:6.2: test\nin-code::valkey:9.1: test\n"
    );
    assert_eq!(out.path().read_dir().expect("readable").count(), 0, "a list runs nothing");
    let off = [servers, (SANDBOX, "off")];
    let ignored = run(SUITES, &["--list", "--format", "terse", "--ignored"], &off);
    assert_eq!(ignored.stdout(), "cut::redis:6.2: test\ncut::valkey:9.1: test\n");
    let filtered = run(SUITES, &["--list", "--format", "terse", "steady", "--skip", "valkey"], &[servers]);
    assert_eq!(filtered.stdout(), "steady::redis:6.2: test\n");
}

fn explains_a_failure() {
    let out = tempfile::tempdir().expect("a temporary directory");
    let suites = format!("{EXAMPLE}/too-much");
    let failed = run_into(out.path(), &suites, &["no-outage"], &[("SLOTQUAKE_SEED", "7")]);
    assert_eq!(failed.code(), Some(101), "{}", failed.stdout());
    let latest = out.path().join("latest").read_link().expect("a link to the report");
    let report = out.path().join(latest).join("report.html");
    assert!(report.is_file(), "{}", report.display());
    failed.assert_says(&[
        "test no-outage::redis:6.2 ... FAILED",
        // The failed invariant, what it requires, what was observed, and where.
        "FAIL  availability (of writes, shard shard-1, max-outage 100ms)\n",
        "  expected  no write outage on shard-1 longer than 100 ms",
        "  seen      shard-1: ",
        "  evidence  shard-1: ",
        "  rests on  ",
        // The invariants that held.
        "held: slot-coverage (at end), faults, servers, steps",
        // The steps and their effects, with times.
        " s  phase master-down\n",
        " s  kill node-1 as shard-1/master (master of shard-1)\n",
        " s  node-1 flagged FAIL, by the servers' logs",
        " s  node-4 promoted to master of shard-1 (epoch ",
        "to FAIL ",
        "longest write outage ",
        // The report's folder, and the command to run the test again.
        &format!("report  {}\n", report.display()),
        "again   SLOTQUAKE_SEED=7 cargo test --test cargo_test -- --exact 'no-outage::redis:6.2'\n",
        "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 1 filtered out",
    ]);
}

fn one_test_runs_by_its_exact_name() {
    let ran = run(SUITES, &["--exact", "steady::redis:6.2", "--nocapture"], &[]);
    assert_eq!(ran.code(), Some(0), "{}", ran.stdout());
    ran.assert_says(&["test steady::redis:6.2 ... ok", "1 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out"]);
    let ran = run(SUITES, &["in-code"], &[]);
    ran.assert_says(&["test in-code::redis:6.2 ... ok"]);
}

fn runs_at_a_speed() {
    let out = tempfile::tempdir().expect("a temporary directory");
    let ran = run_into(out.path(), SUITES, &["in-code"], &[("SLOTQUAKE_SPEED", "3")]);
    assert_eq!(ran.code(), Some(0), "{}", ran.stdout());
    let report = out.path().join("latest/report.json");
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(report).expect("a report")).expect("JSON");
    assert_eq!(report["speed"], 3);
    let ran = run(SUITES, &[], &[("SLOTQUAKE_SPEED", "fast")]);
    assert_eq!(ran.code(), Some(101), "{}", ran.stdout());
    ran.assert_says(&["test SLOTQUAKE_SPEED ... FAILED", "SLOTQUAKE_SPEED: \"fast\" is not a speed"]);
}

fn a_suite_that_cuts_links_runs() {
    let ran = run(SUITES, &["cut"], &[]);
    assert_eq!(ran.code(), Some(0), "{}", ran.stdout());
    if ran.stdout().contains("test cut::redis:6.2 ... ignored") {
        assert!(std::env::var_os("SLOTQUAKE_REQUIRE_ALL").is_none(), "all is required, but: {}", ran.stdout());
        return;
    }
    ran.assert_says(&["test cut::redis:6.2 ... ok", "1 passed"]);
}

fn ignores_suites_that_cannot_run() {
    let ran = run(SUITES, &["cut"], &[(SANDBOX, "off")]);
    assert_eq!(ran.code(), Some(0), "{}", ran.stdout());
    ran.assert_says(&["test cut::redis:6.2 ... ignored", "no sandbox: ", "(hint: ", "0 passed; 0 failed; 1 ignored"]);
}

fn fails_suites_that_cannot_run_if_required() {
    let off = (SANDBOX, "off");
    for (arguments, environment) in [
        (&["cut"][..], &[off, ("SLOTQUAKE_REQUIRE_ALL", "1")][..]),
        // It is the only suite that is ignored.
        (&["--ignored"], &[off]),
        (&["--exact", "cut::redis:6.2", "--include-ignored"], &[off]),
    ] {
        let ran = run(SUITES, arguments, environment);
        assert_eq!(ran.code(), Some(101), "{arguments:?}: {}", ran.stdout());
        ran.assert_says(&[
            "test cut::redis:6.2 ... FAILED",
            "cannot run on this machine: no sandbox",
            "0 passed; 1 failed",
        ]);
    }
}

fn fails_an_invalid_suite_with_its_line() {
    let ran = run(SUITES, &["misspelt"], &[]);
    assert_eq!(ran.code(), Some(101), "{}", ran.stdout());
    ran.assert_says(&[
        "unknown step \"setle\" (did you mean `settle`?)",
        "--> tests/cargo_test/suites/misspelt.yaml:5:5",
        "5 |   - setle: 500ms",
    ]);
}

fn reports_missing_suites() {
    let ran = run("tests/no-such-suites", &["no-such"], &[]);
    assert_eq!(ran.code(), Some(101), "{}", ran.stdout());
    ran.assert_says(&[
        "cannot read the suites in \"tests/no-such-suites\": ",
        "(hint: the path is relative to the package)",
    ]);
    let ran = run(SUITES, &["steady"], &[("SLOTQUAKE_SERVERS", "redis:1.0")]);
    assert_eq!(ran.code(), Some(101), "{}", ran.stdout());
    ran.assert_says(&["test steady::redis:1.0 ... FAILED", "redis:1.0", "hint: "]);
    let ran = run(SUITES, &["steady"], &[("SLOTQUAKE_SEED", "seven")]);
    assert_eq!(ran.code(), Some(0), "filtered out: {}", ran.stdout());
    let ran = run(SUITES, &[], &[("SLOTQUAKE_SEED", "seven")]);
    ran.assert_says(&["test SLOTQUAKE_SEED ... FAILED", "invalid seed \"seven\""]);
}

fn fails_an_inconclusive_suite() {
    let ran = run(SUITES, &["nothing-seen"], &[("SLOTQUAKE_SEED", "7")]);
    assert_eq!(ran.code(), Some(101), "{}", ran.stdout());
    ran.assert_says(&[
        "nothing-seen on redis:6.2 (redis 6.2.",
        ": inconclusive\n",
        "INCONCLUSIVE  availability (of writes, ",
    ]);
}
