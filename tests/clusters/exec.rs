//! Programs of the user's, as steps and as probes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Ended, Places, assert_nothing_left, at_speed, begin, fetched, only_folder, slotquake, verdicts};

const SERVER: &str = "redis:6.2";

/// A folder with one suite and the programs that it runs.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new(steps: &str) -> Self {
        fetched(SERVER);
        let place = Self { folder: tempfile::tempdir().expect("a temporary directory") };
        let suite = format!(
            "name: programs\nabout: Runs programs.\ncluster: {{ config: {{ cluster-node-timeout: 1000 }} }}\nworkload: {{ rate: \
             100/s }}\nsteps:\n  - phase: quiet\n{}",
            steps.replace("DIR", place.folder.path().to_str().expect("a plain path"))
        );
        fs::write(place.file("programs.yaml"), suite).expect("it is ours");
        place
    }

    pub fn program(self, name: &str, script: &str) -> Self {
        let path = self.file(name);
        fs::write(&path, format!("#!/usr/bin/env bash\n{script}")).expect("it is ours");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        self
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn args(&self) -> Vec<String> {
        let (suite, out) = (self.file("programs.yaml"), self.file("reports"));
        let path = |path: PathBuf| path.to_str().expect("a plain path").to_owned();
        ["run".to_owned(), path(suite), "--out".to_owned(), path(out), "--format".to_owned(), "json".to_owned()].into()
    }

    fn run(&self) -> Ended {
        let ended = slotquake(&self.args());
        assert_nothing_left(ended.pid, &self.file("reports"));
        ended
    }

    /// What the latest report says of programs.
    fn executed(&self) -> Vec<Value> {
        let report = fs::read_to_string(self.file("reports/latest/report.json")).expect("a report");
        let report: Value = serde_json::from_str(&report).expect("JSON");
        let events = report["events"].as_array().expect("events").clone();
        events.into_iter().filter(|event| event["event"] == "executed").collect()
    }

    /// The only program.
    fn only(&self) -> Value {
        let [executed] = self.executed().try_into().expect("one program");
        executed
    }
}

fn verdict_of_steps(ended: &Ended) -> Value {
    let invariants = &ended.json()["runs"][0]["invariants"];
    let steps = invariants.as_array().expect("judged").iter().find(|each| each["invariant"] == "steps");
    steps.expect("every run has it").clone()
}

/// Asks a server over a plain connection, as no client of Redis may be installed.
const PING: &str = "ping() { exec 3<>/dev/tcp/$1/$2 && printf 'PING\\r\\n' >&3 && read -r answer <&3 && echo \"${answer%$'\\r'}\"; }\n";

#[test]
fn a_program_knows_the_cluster_and_reaches_it() {
    let _place = Places::take(1);
    let script = format!(
        "{PING}set -e\n\
         [ \"$SLOTQUAKE_NODES\" = 'node-1 node-2 node-3 node-4 node-5 node-6' ]\n\
         [ \"$SLOTQUAKE_NODE_1_ROLE $SLOTQUAKE_NODE_4_ROLE\" = 'none master' ]\n\
         [ \"$SLOTQUAKE_NODE_4_SHARD\" = shard-1 ] && [ ${{#SLOTQUAKE_NODE_4_ID}} = 40 ]\n\
         [ \"$SLOTQUAKE_PHASE $SLOTQUAKE_STEP $SLOTQUAKE_SUITE $SLOTQUAKE_SPEED\" = 'down 5 programs 1' ]\n\
         [ \"$1 $2:$3\" = \"--fast $4\" ] || [ \"$2:$3\" = \"$4\" ]\n\
         for address in $SLOTQUAKE_ADDRESSES; do [ \"$address\" = \"$SLOTQUAKE_NODE_1_HOST:$SLOTQUAKE_NODE_1_PORT\" ] || ping \
         \"${{address%:*}}\" \"${{address#*:}}\"; done\n\
         echo \"$SLOTQUAKE_CLUSTER\" > \"$SLOTQUAKE_REPORT/cluster.json\"\n"
    );
    let place = Place::new(
        "  - kill: node-1\n  - await: { promoted: shard-1, within: spec }\n  - phase: down\n  - exec:\n      run: [DIR/check, --fast, \
         '{host:shard-1/master}', '{port:node-4}', '{address:node-4}']\n      within: 20s\n",
    )
    .program("check", &script);
    let ended = place.run();
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    let executed = place.only();
    assert_eq!(executed["exit"]["status"], 0);
    assert_eq!(executed["stdout"]["text"], "+PONG\n".repeat(5), "{executed}");
    let cluster = fs::read_to_string(only_folder(&place.file("reports")).join("cluster.json")).expect("it wrote it");
    let cluster: Value = serde_json::from_str(&cluster).expect("JSON");
    assert_eq!((&cluster[0]["answers"], &cluster[3]["role"]), (&false.into(), &"master".into()), "{cluster}");
    assert_eq!(cluster[3]["node"], "node-4");
}

#[test]
fn a_program_that_fails_fails_the_run_unless_the_suite_allows_it() {
    let _place = Places::take(1);
    let failing = "echo 'three keys are missing' >&2; exit 7";
    let place = Place::new("  - exec: { run: DIR/check --all }\n  - phase: never\n  - settle: 10ms\n")
        .program("check", failing);
    let ended = place.run();
    assert_eq!(ended.code(), Some(1), "{}", ended.whole());
    let steps = verdict_of_steps(&ended);
    assert_eq!(steps["verdict"], "fail", "{steps}");
    let text = steps.to_string();
    for expected in ["exited with status 7", "expected exit status 0", "stderr: three keys are missing", "2 of 4 steps"]
    {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
    assert!(ended.stderr.contains("exited with status 7"), "{}", ended.whole());
    let folder = only_folder(&place.file("reports"));
    let checked = slotquake(&["check", folder.to_str().expect("a plain path"), "--format", "json"]);
    assert_eq!((checked.code(), verdict_of_steps(&checked)), (Some(1), steps), "{}", checked.whole());

    let allowed =
        Place::new("  - exec: { run: DIR/check, errors: allow }\n  - phase: reached\n").program("check", failing);
    let ended = allowed.run();
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert!(verdict_of_steps(&ended).to_string().contains("its step allows that"), "{}", ended.whole());
}

#[test]
fn a_program_is_killed_with_its_children_at_its_limit_and_at_ctrl_c() {
    let _place = Places::take(1);
    // One child leaves the group and the session, and nobody waits for it.
    let script = "setsid sleep 1000 & sleep 1000 & echo begun; echo begun >&2; sleep 1000";
    let late = Place::new("  - exec: { run: DIR/late, within: 1s }\n").program("late", script);
    let ended = late.run();
    assert_eq!(ended.code(), Some(1), "{}", ended.whole());
    let executed = late.only();
    assert_eq!((&executed["exit"], &executed["stdout"]["text"]), (&Value::Null, &"begun\n".into()), "{executed}");
    assert!(verdict_of_steps(&ended).to_string().contains("did not end in time and was killed"), "{}", ended.whole());

    let long = Place::new("  - exec: { run: DIR/late, within: 100s }\n").program("late", script);
    let mut running = begin(&long.args());
    running.until_it_says("running `");
    std::thread::sleep(std::time::Duration::from_secs(1));
    running.signal(Signal::SIGINT);
    let ended = running.end();
    assert_eq!(ended.code(), Some(130), "{}", ended.whole());
    assert_nothing_left(ended.pid, &long.file("reports"));

    // What a program leaves running goes on until the steps are over.
    let left =
        Place::new("  - exec: { run: DIR/begin }\n  - expect: { exec: DIR/see, contains: [alive], within: 5s }\n")
            .program(
                "begin",
                "cd \"${0%/*}\"; setsid bash -c 'sleep 0.2; echo alive > seen; sleep 1000' > /dev/null 2>&1 & exit 0",
            )
            .program("see", "cat \"${0%/*}/seen\"");
    let ended = left.run();
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
}

#[test]
fn any_output_is_recorded_within_bounds() {
    let _place = Places::take(1);
    let script = "head -c 60000000 /dev/zero | tr '\\0' 'x'; printf 'the end'; printf '\\377\\033[31m \\303' >&2";
    let place = Place::new("  - exec: { run: [DIR/loud] }\n").program("loud", script);
    let ended = place.run();
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    let executed = place.only();
    let text = executed["stdout"]["text"].as_str().expect("a text");
    assert_eq!((executed["stdout"]["bytes"].as_u64(), text.len()), (Some(60_000_007), 8192));
    assert!(text.ends_with("xxthe end"), "{text}");
    assert_eq!(executed["stderr"]["text"], "\u{fffd}\u{1b}[31m \u{fffd}", "{executed}");
    assert!(!ended.stderr.contains("\u{1b}[31m"), "control characters are shown as text: {}", ended.whole());
}

#[test]
fn a_program_is_looked_for_before_anything_runs() {
    for (step, expected) in [
        (
            "exec: { run: [./nowhere/check] }",
            "suite \"programs\", step 2: there is no program \"./nowhere/check\" in /",
        ),
        ("exec: { run: no-such-program }", "step 2: there is no program \"no-such-program\" on PATH"),
        ("exec: { run: DIR/programs.yaml }", "programs.yaml\" is no program (hint: `chmod +x "),
        ("expect: { exec: [/nowhere], within: 5s }", "step 2: there is no program \"/nowhere\" (hint"),
    ] {
        let suite = Place::new(&format!("  - {step}\n"));
        let ended = slotquake(&suite.args());
        assert_eq!(ended.code(), Some(2), "{}", ended.whole());
        assert!(ended.stderr.contains(expected), "{expected:?} in {}", ended.whole());
        assert!(!suite.file("reports").join("latest").exists(), "nothing ran");
    }
    // It may go away meanwhile.
    let _place = Places::take(1);
    let gone = Place::new("  - exec: { run: DIR/gone }\n  - exec: { run: DIR/gone }\n").program("gone", "rm \"$0\"");
    let ended = gone.run();
    assert_eq!(ended.code(), Some(2), "{}", ended.whole());
    assert!(ended.stderr.contains("cannot run `") && ended.stderr.contains("No such file"), "{}", ended.whole());
}

#[test]
fn a_probe_runs_its_program_until_it_does_what_is_expected() {
    let _place = Places::take(1);
    let third = "cd \"${0%/*}\"; echo x >> tries; [ $(wc -l < tries) -ge 3 ] && echo 'it is ready now' || exit 1";
    let place = Place::new("  - expect: { exec: DIR/third, contains: [ready], within: 20s }\n").program("third", third);
    let ended = place.run();
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    let executed = place.only();
    assert_eq!((executed["runs"].as_u64(), executed["met"].as_bool()), (Some(3), Some(true)), "{executed}");

    // As other expectations, one that is not met fails the run and does not end it.
    let never = Place::new("  - expect: { exec: DIR/never, status: 3, within: 1s }\n  - phase: reached\n")
        .program("never", "echo 'not yet'; exit 4");
    let ended = never.run();
    assert_eq!(ended.code(), Some(1), "{}", ended.whole());
    let steps = verdict_of_steps(&ended).to_string();
    for expected in ["exited with status 4", "expected exit status 3", "stdout: not yet", "3 of 3 steps"] {
        assert!(steps.contains(expected), "{expected:?} in {steps}");
    }
    assert_eq!(verdicts(&ended.json()["runs"][0]).iter().filter(|verdict| verdict.contains("fail")).count(), 1);

    let hangs = Place::new("  - expect: { exec: DIR/hangs, within: 1s }\n").program("hangs", "sleep 1000");
    let ended = hangs.run();
    assert_eq!(ended.code(), Some(1), "{}", ended.whole());
}

#[test]
fn a_program_lives_in_the_time_of_the_cluster() {
    // Python starts programs without the descriptors of others.
    let script = "seconds() { date +%s%N; }\nbefore=$(seconds); sleep 2; after=$(seconds)\n\
                  echo \"$SLOTQUAKE_SPEED $(( (after - before) / 1000000 ))\"\n\
                  python3 -c 'import subprocess as s; s.run([\"sleep\", \"1\"], close_fds=True)'\n";
    let place = Place::new("  - exec: { run: [DIR/slow], within: 60s }\n").program("slow", script);
    let args = place.args();
    let ended = at_speed(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    let executed = place.only();
    let printed = executed["stdout"]["text"].as_str().expect("a text").trim().to_owned();
    let (speed, slept_ms) = printed.split_once(' ').expect("two numbers");
    let report = slotquake::report::read(&place.file("reports/latest")).expect("a report");
    assert_eq!(report.header.speed.to_string(), speed);
    assert!(slept_ms.parse::<u64>().expect("a number") >= 2000, "{printed}");
    assert!(executed["took_ms"].as_f64().expect("a number") >= 3000.0, "{executed}");
    assert_eq!(executed["stderr"]["text"], "", "the library is found by all that the program starts");
}
