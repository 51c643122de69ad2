//! The list of what must still be caught: each row has a suite that plans on its servers, with the invariant that fails, and
//! the book has the same table. `UPDATE=1 cargo test -p slotquake-judge --test chaos` writes it again.

use std::fs;
use std::path::Path;

use slotquake_judge::chaos::{Known, known_markdown};
use slotquake_judge::plan::Plan;
use slotquake_judge::suite::Invariant;

const BEGIN: &str = "<!-- begin of the table -->\n";
const END: &str = "<!-- end of the table -->\n";

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

#[test]
fn every_row_has_a_suite_that_plans() {
    let all = Known::all().expect("the list is read");
    assert!(all.len() >= 5, "{}", all.len());
    for known in &all {
        assert!(!known.seen.is_empty(), "{}", known.suite);
        for (server, rate) in &known.seen {
            assert!(rate.hits > 0 && rate.hits <= rate.of, "{} on {server}: {rate}", known.suite);
            let source = known.source(server).unwrap_or_else(|error| panic!("{error}"));
            Plan::from_source(&source, 1).unwrap_or_else(|error| panic!("{error}"));
            let names: Vec<String> = source.suite.invariants.iter().map(name).collect();
            assert!(names.contains(&known.fails), "{}: {names:?}", known.suite);
            assert_eq!((&source.suite.name, &source.suite.cluster.server), (&known.suite, server));
        }
    }
    let files = fs::read_dir(folder("suites/known")).expect("suites").map(|file| file.expect("a file").path());
    let mut suites: Vec<String> =
        files.filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).filter(|name| name != "known").collect();
    let mut listed: Vec<String> = all.into_iter().map(|known| known.suite).collect();
    suites.sort();
    listed.sort();
    assert_eq!(suites, listed, "every suite is in the list");
}

fn name(invariant: &Invariant) -> String {
    let value = serde_json::to_value(invariant).expect("it is written");
    value.as_object().and_then(|map| map.keys().next().cloned()).unwrap_or_default()
}

#[test]
fn the_book_has_the_list() {
    let path = folder("docs/known.md");
    let text = fs::read_to_string(&path).expect("the page");
    let (before, rest) = text.split_once(BEGIN).expect("the begin of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    let table = known_markdown(&Known::all().expect("the list is read"));
    let fresh = format!("{before}{BEGIN}{table}{END}{after}");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, fresh).expect("written");
    } else {
        assert_eq!(text, fresh, "docs/known.md is out of date (hint: UPDATE=1)");
    }
}
