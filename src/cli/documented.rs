//! The documents must match the command line: every `slotquake ...` line of README, the book, the workflows and
//! the action parses, and the inputs that workflows give to the action exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::Value;

use super::Cli;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn workflows() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(".github/workflows")).expect("workflows");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// The steps of every job of a workflow, or of a composite action.
fn steps(document: &Value) -> Vec<&Value> {
    let jobs = document["jobs"].as_object().into_iter().flat_map(serde_json::Map::values);
    let lists = jobs.map(|job| &job["steps"]).chain([&document["runs"]["steps"]]);
    lists.filter_map(Value::as_array).flatten().collect()
}

/// The words of each `slotquake` command in a script or a console block, up to a pipe or the like. Prompts, comments
/// and shell variables are left out. `cargo run -- ...` counts as `slotquake ...`.
fn commands(script: &str) -> Vec<Vec<String>> {
    let joined = script.replace("\\\n", " ").replace("cargo run -- ", "slotquake ");
    joined
        .lines()
        .filter_map(|line| {
            let line = line.split(" #").next()?;
            let mut words = line
                .strip_prefix("$ ")
                .unwrap_or(line)
                .split_whitespace()
                .skip_while(|word| word.contains('=') && !word.starts_with('-'));
            (words.next()? == "slotquake").then(|| {
                words
                    .take_while(|word| !["|", ">", ">>", "&&", "||", ";"].contains(word))
                    .map(|word| word.trim_matches(['"', '\'']).to_owned())
                    .collect()
            })
        })
        .collect()
}

#[track_caller]
fn assert_parses(words: &[String], origin: &str) {
    let line = std::iter::once("slotquake".to_owned()).chain(words.iter().cloned());
    if let Err(error) = Cli::try_parse_from(line) {
        panic!("{origin}: `slotquake {}`: {error}", words.join(" "));
    }
}

/// README and every page of the book.
fn documents() -> Vec<PathBuf> {
    let pages = fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    let pages = pages.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    ["README.md", "CONTRIBUTING.md", "examples/my-service/README.md"]
        .map(|name| root().join(name))
        .into_iter()
        .chain(pages)
        .collect()
}

#[test]
fn every_documented_command_parses() {
    let mut seen = BTreeMap::new();
    for path in workflows() {
        let document = yaml(&path);
        for script in steps(&document).iter().filter_map(|step| step["run"].as_str()) {
            for words in commands(script) {
                assert_parses(&words, &path.display().to_string());
                *seen.entry("workflows").or_insert(0) += 1;
            }
        }
    }
    for path in documents() {
        let text = read(&path);
        // What is marked as TOML is a manifest, in which a line can begin with the name of the crate.
        for block in text.split("```").skip(1).step_by(2).filter(|block| !block.starts_with("toml")) {
            for words in commands(block) {
                assert_parses(&words, &path.display().to_string());
                *seen.entry("documents").or_insert(0) += 1;
            }
        }
    }
    assert!(seen["workflows"] >= 2 && seen["documents"] >= 30, "{seen:?}");
}

#[test]
fn the_action_runs_what_its_inputs_say() {
    let action = yaml(&root().join("action.yml"));
    let step = steps(&action).into_iter().find(|step| step["name"] == "Run the suites").expect("the step");
    let script = step["run"].as_str().expect("a script");
    // With `slotquake` as a function, bash shows the arguments that the script builds from its inputs.
    let said = |inputs: &[(&str, &str)]| -> Vec<String> {
        let shown = format!("slotquake() {{ printf '%s\\n' \"$@\"; }}\nset -eo pipefail\n{script}");
        let defaults = step["env"].as_object().expect("an environment").iter().map(|(name, value)| {
            let input = value.as_str().and_then(|value| value.strip_prefix("${{ inputs.")?.strip_suffix(" }}"));
            let default = &action["inputs"][input.expect("an input")]["default"];
            (name.clone(), default.as_str().expect("a default").to_owned())
        });
        let output = std::process::Command::new("bash")
            .args(["-c", &shown])
            .envs(defaults)
            .envs(inputs.iter().copied())
            .output()
            .expect("bash runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
    };
    let all = said(&[]);
    assert_eq!(all.join(" "), "run --all --repeat 1 --sandbox require --out reports");
    assert_parses(&all, "action.yml");
    let some = said(&[
        ("SUITES", "role-swap\nsuites/my own.yaml  $(touch x)"),
        ("SERVERS", "redis:6.2,valkey:9.1"),
        ("SET", "workload.rate=1000/s\n\ncluster.config.save=3600 1\n"),
        ("REPEAT", "5"),
    ]);
    let expected = "run|role-swap|suites/my|own.yaml|$(touch|x)|--repeat|5|--sandbox|require|--out|reports|--server|\
                    redis:6.2,valkey:9.1|--set|workload.rate=1000/s|--set|cluster.config.save=3600 1";
    assert_eq!(some.join("|"), expected);
    assert_parses(&some, "action.yml");
}

#[test]
fn the_action_takes_a_release_and_builds_only_without_one() {
    let action = yaml(&root().join("action.yml"));
    let step = steps(&action).into_iter().find(|step| step["name"] == "Install slotquake").expect("the step");
    // With `gh` and `cargo` as functions, bash shows what the script would install.
    let script = format!(
        "gh() {{ [ -d \"$RELEASE\" ] && cp \"$RELEASE\"/* \"$7\"; }}\ncargo() {{ echo built; }}\nset -eo pipefail\n{}",
        step["run"].as_str().expect("a script")
    );
    let folder = tempfile::tempdir().expect("a folder");
    let bash = |script: &str, home: &str, release: &str| {
        let mut command = std::process::Command::new("bash");
        command.args(["-c", script]).env("HOME", folder.path().join(home)).env("RELEASE", release);
        command.env("GITHUB_PATH", folder.path().join(format!("{home}.path"))).env("GITHUB_ACTION_PATH", "/action");
        command.env("ACTION_REPOSITORY", "OWNER/slotquake").env("ACTION_REF", "v0.1.0").current_dir(folder.path());
        command.output().expect("bash runs")
    };
    let pack = "n=slotquake-$(uname -m)-unknown-linux-gnu; mkdir -p $n release\n\
                printf '#!/bin/sh\\necho released' > $n/slotquake; chmod 755 $n/slotquake\n\
                tar -czf release/$n.tar.gz $n; cd release; sha256sum *.tar.gz > SHA256SUMS";
    assert!(bash(pack, "pack", "").status.success());
    let release = folder.path().join("release");
    let release = release.to_str().expect("a plain path");
    let installed = |home: &str| folder.path().join(home).join(".cache/slotquake-program/bin/slotquake");

    let done = bash(&script, "released", release);
    assert!(done.status.success() && installed("released").exists(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(read(&folder.path().join("released.path")).ends_with("slotquake-program/bin\n"));
    let done = bash(&script, "built", "/nowhere");
    assert!(done.status.success() && String::from_utf8_lossy(&done.stdout).contains("built"));
    // A binary that is not the released one is neither run nor replaced.
    assert!(bash("cd release; echo x >> slotquake-*.tar.gz", "altered", "").status.success());
    let done = bash(&script, "altered", release);
    assert!(!done.status.success() && !installed("altered").exists());
    assert!(!String::from_utf8_lossy(&done.stdout).contains("built"));
}

#[test]
fn workflows_say_only_what_the_action_knows() {
    let action = yaml(&root().join("action.yml"));
    let known: BTreeSet<&String> = action["inputs"].as_object().expect("inputs").keys().collect();
    let mut used = 0;
    for path in workflows() {
        let document = yaml(&path);
        assert!(
            document["on"].is_object() && document["permissions"] == serde_json::json!({"contents": "read"}),
            "{path:?}"
        );
        for step in steps(&document) {
            assert!(step["uses"].is_string() != step["run"].is_string(), "{path:?}: {step}");
            if step["uses"] != "./" {
                continue;
            }
            used += 1;
            for name in step["with"].as_object().into_iter().flat_map(serde_json::Map::keys) {
                assert!(known.contains(name), "{}: the action has no input `{name}`", path.display());
            }
            for name in step["with"]["suites"].as_str().unwrap_or_default().split_whitespace() {
                assert!(slotquake::suite::load(name).is_ok(), "{}: `{name}` is no suite", path.display());
            }
        }
        for job in document["jobs"].as_object().expect("jobs").values() {
            assert!(job["timeout-minutes"].is_string() || job["timeout-minutes"].is_number(), "{path:?}: no bound");
        }
    }
    assert!(used >= 3, "{used}");
    assert!(read(&root().join(".github/workflows/per-push.yml")).contains("run: .ci/run\n"));
}

#[test]
fn finds_a_command_that_does_not_exist() {
    let lines = "A=1 slotquake run role-swap \\\n  --repeat 2 | tee x   # why\necho slotquake\n  slotquake chek x\n\
                 $ slotquake down\nslotquake: an error\ncargo run -- list\n";
    let found = commands(lines);
    assert_eq!(found, [vec!["run", "role-swap", "--repeat", "2"], vec!["chek", "x"], vec!["down"], vec!["list"]]);
    assert_parses(&found[0], "a test");
    let line = std::iter::once("slotquake".to_owned()).chain(found[1].clone());
    assert!(Cli::try_parse_from(line).is_err());
}
