//! The files for CI systems. All runs here are skipped or stored, so no cluster boots.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support;

/// Runs the binary with these variables of a GitHub workflow.
fn slotquake(arguments: &[&str], environment: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotquake"));
    command.args(arguments).env_remove("GITHUB_ACTIONS").env_remove("GITHUB_STEP_SUMMARY");
    command.envs(environment.iter().copied()).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn writes_summary_annotations_and_test_report() {
    support::fetched("redis:6.2");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (out, step) = (folder.path().join("reports"), folder.path().join("summary"));
    fs::write(&step, "what another step wrote\n").expect("written");
    let arguments = ["run", "halves", "ring", "--sandbox", "off", "--out", out.to_str().expect("a plain path")];
    let ran = slotquake(&arguments, &[("GITHUB_ACTIONS", Path::new("true")), ("GITHUB_STEP_SUMMARY", &step)]);
    assert_eq!(ran.status.code(), Some(3), "{}", text(&ran.stderr));
    let annotations: Vec<String> =
        text(&ran.stderr).lines().filter(|line| line.starts_with("::")).map(str::to_owned).collect();
    assert_eq!(annotations.len(), 1, "{annotations:?}");
    assert!(annotations[0].starts_with("::notice title=skipped%3A halves redis%3A6.2%2C ring redis%3A6.2::no sandbox"));
    assert!(!text(&ran.stdout).contains("::notice"), "results stay results");
    let summary = fs::read_to_string(out.join("summary.md")).expect("a summary");
    assert!(summary.starts_with("### slotquake: skipped\n\n2 runs: 2 skipped\n"), "{summary}");
    assert_eq!(fs::read_to_string(&step).expect("there"), format!("what another step wrote\n{summary}"));
    let junit = fs::read_to_string(out.join("junit.xml")).expect("a test report");
    assert!(junit.contains(r#"<testsuites name="slotquake" tests="2" skipped="2""#), "{junit}");

    let quiet = slotquake(&arguments, &[]);
    assert!(!text(&quiet.stderr).contains("::notice"), "only a workflow of GitHub is told: {}", text(&quiet.stderr));
}

#[test]
fn an_unwritable_summary_does_not_mask_the_verdict() {
    support::fetched("redis:6.2");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().join("reports");
    let nowhere = folder.path().join("no/such/folder");
    let arguments = ["run", "halves", "--sandbox", "off", "--out", out.to_str().expect("a plain path")];
    let ran = slotquake(&arguments, &[("GITHUB_STEP_SUMMARY", &nowhere)]);
    assert_eq!(ran.status.code(), Some(69), "{}", text(&ran.stderr));
    assert!(text(&ran.stderr).contains("cannot write the job's summary ($GITHUB_STEP_SUMMARY)"));
    assert!(text(&ran.stdout).contains("halves"), "the result is printed all the same: {}", text(&ran.stdout));
}

#[test]
fn writes_ci_files_for_stored_reports() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    for suite in ["role-swap", "shard-loss"] {
        let run = folder.path().join(suite);
        fs::create_dir(&run).expect("made");
        let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("reports/baseline/{suite}.json"));
        fs::copy(stored, run.join("report.json")).expect("copied");
    }
    let ran = slotquake(&["report", folder.path().to_str().expect("a plain path")], &[]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let junit = fs::read_to_string(folder.path().join("junit.xml")).expect("a test report");
    assert!(junit.contains(r#"<testsuite name="role-swap redis:6.2""#), "{junit}");
    let summary = fs::read_to_string(folder.path().join("summary.md")).expect("a summary");
    assert!(summary.contains("2 runs: 2 pass") && summary.contains("| shard-loss | redis:6.2 | pass |"), "{summary}");
}
