//! How many schedules an hour a campaign runs and judges, at node timeout 5000 and the highest speed that the machine can
//! keep: one at a time, and as many as slotquake lets go side by side.

use std::process::Command;
use std::time::Instant;

use slotquake::campaign;
use slotquake::chaos::Ended;

/// How long each campaign begins other runs.
const FOR: &str = "90s";

fn main() {
    println!(
        "{:<8}  {:<7}  {:>4}  {:>7}  seconds a run: median, longest; how they ended",
        "profile", "jobs", "runs", "an hour"
    );
    for profile in ["gentle", "rough"] {
        for jobs in [Some("1"), None] {
            measure(profile, jobs);
        }
    }
}

fn measure(profile: &str, jobs: Option<&str>) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotquake"));
    command.args(["chaos", "--for", FOR, "--seed", "7", "--profile", profile, "--shrink-runs", "0"]);
    command.args(jobs.iter().flat_map(|jobs| ["--jobs", jobs]));
    let began = Instant::now();
    let output = command.arg("--out").arg(folder.path()).output().expect("the binary starts");
    let hours = began.elapsed().as_secs_f64() / 3600.0;
    let said = String::from_utf8_lossy(&output.stderr);
    let ran = campaign::read(folder.path()).unwrap_or_else(|error| panic!("{error}; {said}"));
    let mut took: Vec<u64> = ran.runs.iter().map(|run| run.took_ms).collect();
    took.sort_unstable();
    let seconds = |ms: Option<&u64>| ms.map_or(0.0, |&ms| ms as f64 / 1e3);
    let ended: Vec<String> = [Ended::Pass, Ended::Fail, Ended::Inconclusive, Ended::Unknown]
        .map(|ended| (ran.count(ended), ended.word()))
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    println!(
        "{profile:<8}  {:<7}  {:>4}  {:>7.0}  {:.1}  {:.1}  {}",
        jobs.unwrap_or("default"),
        took.len(),
        took.len() as f64 / hours,
        seconds(took.get(took.len() / 2)),
        seconds(took.last()),
        ended.join(", ")
    );
}
