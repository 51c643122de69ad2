//! What is fuzzed (`fuzz/`), driven by the seeds, by inputs that once broke something, and by random
//! damage to both. `cargo fuzz` looks further; this runs with every `cargo test`.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// How many damaged inputs each target is given.
const DAMAGED: u32 = 150;

/// Every file in these folders, which are relative to the package.
fn inputs(folders: &[&str]) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        files.extend(entries.map(|entry| entry.expect("a file").path()));
    }
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))).collect()
}

/// Runs a target on its inputs as they are, then on inputs in which a part was replaced.
fn drive(target: fn(&[u8]), folders: &[&str]) {
    let inputs = inputs(folders);
    assert!(!inputs.is_empty(), "{folders:?} hold inputs");
    for input in &inputs {
        target(input);
    }
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..4),
        "[0-9]{1,20}".prop_map(String::into_bytes),
        prop::sample::select(vec![
            "null",
            "-1",
            "1e308",
            "18446744073709551615",
            "\"\"",
            "[]",
            "{}",
            "</script>",
            "\n"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let damaged = (0..inputs.len(), any::<prop::sample::Index>(), 0_usize..12, piece);
    let config = Config { cases: DAMAGED, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&damaged, |(input, at, cut, piece)| {
        let mut input = inputs[input].clone();
        let at = at.index(input.len() + 1);
        let end = (at + cut).min(input.len());
        input.splice(at..end, piece);
        target(&input);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn suites() {
    drive(targets::suite, &["suites", "fuzz/seeds/suite"]);
}

#[test]
fn reports() {
    drive(targets::report, &["reports/baseline", "fuzz/seeds/report"]);
}

#[test]
fn logs() {
    drive(targets::log, &["fuzz/seeds/log"]);
}

#[test]
fn cluster_nodes() {
    drive(targets::nodes, &["fuzz/seeds/nodes"]);
}

#[test]
fn histories() {
    drive(targets::history, &["fuzz/seeds/history"]);
}
