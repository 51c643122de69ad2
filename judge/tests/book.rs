//! The book in docs/ as plain Markdown: every page is in SUMMARY.md, and every link and anchor is valid.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text without code blocks and code spans, in which brackets mean other things.
fn prose(text: &str) -> String {
    let outside = text.split("```").step_by(2).collect::<Vec<_>>().join("\n");
    outside.split('`').step_by(2).collect::<Vec<_>>().join("code")
}

/// The targets of all links and pictures.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// What mdBook and GitHub call a heading.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase().replace(' ', "-");
    kept.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
}

fn anchors(text: &str) -> Vec<String> {
    let outside = text.split("```").step_by(2).collect::<Vec<_>>().join("\n");
    let titles = outside.lines().filter(|line| line.starts_with('#'));
    titles.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

/// What is wrong with the links of a page, in words.
fn faults(page: &Path, text: &str, stay_in: Option<&Path>) -> Vec<String> {
    let mut faults = Vec::new();
    for link in links(text) {
        if link.contains("://") {
            continue;
        }
        let (file, fragment) = link.split_once('#').unwrap_or((&link, ""));
        let target = if file.is_empty() { page.to_owned() } else { page.parent().expect("a folder").join(file) };
        let Ok(target) = target.canonicalize() else {
            faults.push(format!("{}: `{link}` leads nowhere", page.display()));
            continue;
        };
        if let Some(folder) = stay_in
            && !target.starts_with(folder)
        {
            faults.push(format!("{}: `{link}` leaves the book", page.display()));
        }
        if !fragment.is_empty() && !anchors(&read(&target)).contains(&fragment.to_owned()) {
            faults.push(format!("{}: `{link}` names no heading", page.display()));
        }
    }
    faults
}

fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect()
}

#[test]
fn the_summary_lists_every_page_once() {
    let listed = links(&read(&root().join("docs/SUMMARY.md")));
    let names: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), names.len(), "{listed:?}");
    let files = pages().into_iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned());
    assert_eq!(names, files.filter(|name| name != "SUMMARY.md").collect());
}

#[test]
fn every_link_leads_to_a_page_and_a_heading() {
    let docs = root().join("docs").canonicalize().expect("docs");
    let mut found: Vec<String> = pages().iter().flat_map(|page| faults(page, &read(page), Some(&docs))).collect();
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/my-service/README.md"] {
        let path = root().join(name);
        found.extend(faults(&path, &read(&path), None));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn headings_of_a_page_differ() {
    for page in pages() {
        let all = anchors(&read(&page));
        let distinct: BTreeSet<&String> = all.iter().collect();
        assert_eq!(all.len(), distinct.len(), "{}: {all:?}", page.display());
    }
}

#[test]
fn the_readme_is_short() {
    let length = read(&root().join("README.md")).len();
    assert!(length < 9 * 1024, "{length} bytes: what is more than an introduction belongs into docs/");
}

#[test]
fn dead_links_are_found() {
    let page = root().join("docs/SUMMARY.md");
    let text =
        "[a](nowhere.md) [b](SUMMARY.md#no-such-heading) `[c](code.md)` [d](https://example.org) [e](../Cargo.toml)";
    let docs = root().join("docs").canonicalize().expect("docs");
    let found = faults(&page, text, Some(&docs));
    assert_eq!(found.len(), 3, "{found:?}");
}
