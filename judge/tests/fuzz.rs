//! Runs the fuzz targets (`fuzz/`) on their seeds, on inputs of former bugs, and on randomly damaged copies of both.
//! `cargo fuzz` searches longer; this runs with every `cargo test`.

#[path = "support/stored.rs"]
mod stored;
#[path = "../../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use slotquake_judge::history::{self, History};

/// The number of damaged inputs for each target.
const DAMAGED: u32 = 150;

/// The contents of all files in these folders, which are relative to the root of the repository.
fn inputs(folders: &[&str]) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let paths = entries.map(|entry| entry.expect("a file").path());
        files.extend(paths.filter(|path| path.is_file()));
    }
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))).collect()
}

/// Runs a target on its inputs, then on inputs with one part replaced.
fn drive(target: fn(&[u8]), folders: &[&str]) {
    let inputs = inputs(folders);
    assert!(!inputs.is_empty(), "{folders:?} contain no inputs");
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

/// Replaces some leaves of a report by other values of the same type, as an attacker might do.
#[test]
fn shows_changed_reports_as_text() {
    const HOSTILE: &str = "<img src=x onerror=alert(1)>";
    let seed: Value = serde_json::from_slice(&inputs(&["fuzz/seeds/report"])[0]).expect("the seed is JSON");
    let mut leaves = Vec::new();
    collect_leaves(&seed, String::new(), &mut leaves);
    let text = prop_oneof![
        Just(HOSTILE.to_owned()),
        Just("\"'></script><script>alert(1)</script>".to_owned()),
        "\\PC{0,20}",
        "[\\x00-\\x7f]{0,20}",
    ];
    let number = prop_oneof![any::<u16>().prop_map(Value::from), (-1e12..1e12).prop_map(Value::from)];
    let change = (any::<prop::sample::Index>(), text, number);
    let accepted = std::cell::Cell::new(0);
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)).run(
        &prop::collection::vec(change, 1..4),
        |changes| {
            let mut report = seed.clone();
            for (at, text, number) in changes {
                let leaf = report.pointer_mut(at.get::<String>(&leaves)).expect("it was there");
                match leaf {
                    Value::String(_) => *leaf = Value::from(text),
                    Value::Number(_) => *leaf = number,
                    Value::Bool(truth) => *truth = !*truth,
                    _ => {}
                }
            }
            let written = report.to_string();
            targets::report(written.as_bytes());
            if let Ok(report) = slotquake_judge::report::parse(written.as_bytes(), "changed") {
                accepted.set(accepted.get() + 1);
                let page = slotquake_judge::report::html::page(&report, None);
                prop_assert!(!page.contains("<img") && !page.contains("<script>alert"));
            }
            Ok(())
        },
    );
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(accepted.get() > 100, "only {} of the changed reports are valid", accepted.get());
}

/// Collects the JSON pointers of all values that are neither a list nor an object.
fn collect_leaves(value: &Value, at: String, leaves: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_leaves(item, format!("{at}/{index}"), leaves);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                collect_leaves(field, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), leaves);
            }
        }
        _ => leaves.push(at),
    }
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

#[test]
fn blocks() {
    drive(targets::blocks, &["fuzz/seeds/blocks"]);
}

/// A history in format 2 as the target takes it: what each frame holds, after its length.
fn as_blocks(history: &History) -> Vec<u8> {
    let mut frames = stored::frames(history, 100);
    // The checksum.
    frames.pop();
    let mut data = Vec::new();
    for frame in frames {
        let content = zstd::decode_all(frame.as_slice()).expect("it decompresses");
        data.extend((content.len() as u32).to_le_bytes());
        data.extend(content);
    }
    data
}

/// The seed is written anew with `UPDATE=1`. Histories in format 2 are stored, so their bytes stay as they are.
#[test]
fn the_seed_of_blocks_is_what_is_written() {
    let lines = &inputs(&["fuzz/seeds/history"])[0];
    let history = history::parse(lines, false, "seed").expect("the seed is a history");
    let written = as_blocks(&history);
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/blocks/master-crash");
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(seed.parent().expect("a folder")).expect("a folder");
        fs::write(&seed, &written).expect("written");
    }
    assert!(fs::read(&seed).expect("the seed") == written, "the format has changed: histories must stay readable");
}
