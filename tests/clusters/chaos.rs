//! A small campaign on real clusters: it finds writes that are lost when a master without a file or a replica starts again,
//! which the profile forbids, shrinks the schedule, continues after it was cut off, and joins with another part.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use slotquake::campaign;
use slotquake::chaos::{Ended, Schedule};
use slotquake::suite::{self, Step};

use crate::support::{Places, fetched};

/// Masters that keep nothing: each that is killed comes back empty. The node timeout is a fifth of the usual.
const PROFILE: &str = "
about: Kills of masters that keep nothing.
masters: [3, 3]
replicas: [0, 0]
config: { cluster-node-timeout: ['1000'], appendonly: ['no'] }
rates: [400]
reads: [20]
moves: [1, 2]
window: 2
longest: 2
at-once: 2
faults: { kill: 1 }
forbid: [acked-writes]
";

fn slotquake(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_slotquake")).args(arguments).output().expect("it starts")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_campaign_finds_and_shrinks_what_its_profile_forbids() {
    fetched("redis:6.2");
    let _places = Places::take(2);
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("profile.yaml"), PROFILE).expect("written");
    let (profile, out) = (at("profile.yaml"), at("found"));
    let common = ["chaos", "--seed", "3", "--profile", &profile, "--speed", "5", "--jobs", "1", "--real-runs", "0"];
    let begin = |more: &[&str]| slotquake(&[&common, more].concat());

    let ran = begin(&["--runs", "4", "--out", &out, "--shrink-runs", "12"]);
    let campaign = campaign::read(Path::new(&out)).unwrap_or_else(|error| panic!("{error}\n{}", text(&ran)));
    assert_eq!(campaign.runs.len(), 4, "{}", text(&ran));
    assert_eq!(ran.status.code(), Some(1), "{}", text(&ran));
    let emptied =
        campaign.findings.iter().find(|finding| finding.failure.to_string() == "acked-writes (restart, master-hit)");
    let emptied = emptied.unwrap_or_else(|| panic!("not found\n{}", text(&ran)));
    assert!(emptied.smallest.hits > 0 && emptied.moves == 1, "{emptied:?}");
    let files = Path::new(&out).join("failures/acked-writes-restart-master-hit");
    let smallest = suite::load(&files.join("smallest.yaml").display().to_string()).expect("a suite");
    assert!(Schedule::of(&smallest).is_some());
    assert!(smallest.steps.iter().any(|step| matches!(step, Step::Kill(_))), "{smallest:?}");
    let report = fs::read_to_string(files.join("report.md")).expect("a report");
    assert!(report.contains("acknowledged") && report.contains("```yaml"), "{report}");
    for name in ["index.html", "summary.md", "junit.xml"] {
        let text = fs::read_to_string(Path::new(&out).join(name)).expect(name);
        assert!(text.contains("acked-writes"), "{name}: {text}");
    }

    // A run that shows nothing new keeps no folder.
    let kept = fs::read_dir(Path::new(&out).join("runs")).expect("runs").count();
    let named = campaign.runs.iter().filter(|run| run.folder.is_some()).count();
    assert_eq!(kept, named, "what is kept is in the journal");

    let again = begin(&["--runs", "5", "--out", &out, "--shrink-runs", "0"]);
    assert_eq!(again.status.code(), Some(2), "a campaign is not overwritten: {}", text(&again));
    let resumed = begin(&["--runs", "5", "--out", &out, "--shrink-runs", "0", "--resume"]);
    let continued = campaign::read(Path::new(&out)).unwrap_or_else(|error| panic!("{error}\n{}", text(&resumed)));
    assert_eq!(continued.runs.len(), 5, "only the fifth is new: {}", text(&resumed));
    assert_eq!(continued.runs[..4], campaign.runs[..], "earlier runs stay");

    let merged = at("merged");
    let joined = slotquake(&["merge", &out, &out, "--out", &merged]);
    assert_eq!(joined.status.code(), Some(1), "{}", text(&joined));
    assert!(text(&joined).starts_with("5 runs, seed 3"), "the same part twice counts once: {}", text(&joined));
}

#[test]
fn a_gentle_campaign_has_no_false_alarm() {
    fetched("redis:6.2");
    let _places = Places::take(2);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("gentle");
    let ran = slotquake(&[
        "chaos",
        "--runs",
        "6",
        "--seed",
        "11",
        "--speed",
        "5",
        "--jobs",
        "1",
        "--out",
        out.to_str().expect("a path"),
    ]);
    let campaign = campaign::read(&out).unwrap_or_else(|error| panic!("{error}\n{}", text(&ran)));
    assert_eq!(campaign.count(Ended::Fail), 0, "{}", text(&ran));
    assert!(campaign.count(Ended::Pass) > 0, "{}", text(&ran));
    assert!(campaign.situations().contains_key("a replica is promoted"), "{}", text(&ran));
}

#[test]
fn what_is_known_is_still_caught() {
    fetched("redis:6.2");
    let _places = Places::take(2);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("known");
    let known = |only: &str| {
        let out = out.to_str().expect("a path");
        let common = ["known", "--server", "redis:6.2", "--speed", "5", "--jobs", "1", "--out", out];
        slotquake(&[&common[..], &["--only", only, "--repeat", "1"]].concat())
    };
    let ran = known("repeated-increment,empty-master");
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran));
    let lines = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(lines.lines().filter(|line| line.starts_with("caught")).count(), 2, "{}", text(&ran));
    let unknown = known("nothing");
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown));
    assert!(text(&unknown).contains("\"nothing\" is not in the list (hint: stale-master"), "{}", text(&unknown));
}
