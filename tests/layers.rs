//! The picture of the layers in ARCHITECTURE.md is true: a module uses only modules of layers below its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module's place in the picture: the number of its layer from the top, and its position there.
type Layers = BTreeMap<String, usize>;

/// The source of the pure crate.
const JUDGE: &str = "judge/src";

/// The layers of a fenced block `name` of ARCHITECTURE.md, from top to bottom.
fn layers(block: &str) -> Layers {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let fence = format!("```{block}\n");
    let (_, rest) = text.split_once(&fence).unwrap_or_else(|| panic!("ARCHITECTURE.md has no block ```{block}"));
    let (body, _) = rest.split_once("```").expect("the block ends");
    let mut layers = Layers::new();
    for (number, line) in body.lines().enumerate() {
        for module in line.split_whitespace() {
            let before = layers.insert(module.to_owned(), number);
            assert_eq!(before, None, "```{block}: `{module}` is listed twice");
        }
    }
    layers
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The text without comments, and with string literals emptied.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let Some(hashes) = raw_string(rest) {
            let open = 2 + hashes;
            let close = format!("\"{}", "#".repeat(hashes));
            let end = rest[open..].find(&close).map_or(rest.len(), |at| open + at + close.len());
            rest = &rest[end..];
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            rest = end.map_or("", |at| &rest[at + 2..]);
        } else if ["'\"'", "'\\\"'"].iter().any(|quote| rest.starts_with(quote)) {
            rest = &rest[if rest.starts_with("'\\") { 4 } else { 3 }..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// How many `#` a raw string that begins here has.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Every path that begins with `prefix::`, without the prefix; `prefix::{a::b, c}` is several.
fn paths(code: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    let start = format!("{prefix}::");
    for (at, _) in code.match_indices(&start) {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        if code[..at].ends_with(is_word) {
            continue;
        }
        expand(&code[at + start.len()..], "", &mut found);
    }
    found
}

/// Adds the path, or the tree of paths, that `code` begins with; returns what follows it.
fn expand<'a>(code: &'a str, before: &str, found: &mut Vec<String>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let left = expand(rest, before, found);
            let left = left.find([',', '}', '{']).map_or("", |at| &left[at..]);
            rest = left.strip_prefix(',').unwrap_or(left);
            if left.is_empty() || rest.starts_with('{') {
                return rest;
            }
        }
    }
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
    let path = if before.is_empty() { code[..end].to_owned() } else { format!("{before}::{}", &code[..end]) };
    match code[end..].strip_prefix("::") {
        Some(rest) if rest.starts_with(|c: char| c.is_alphabetic() || c == '{' || c == '_') => {
            expand(rest, &path, found)
        }
        _ => {
            found.push(path);
            &code[end..]
        }
    }
}

/// What a file uses, as paths from the root of its crate: `crate::`, `slotquake::`, `super::`.
fn uses(code: &str, module: &[String]) -> Vec<String> {
    let mut used = [paths(code, "crate"), paths(code, "slotquake"), paths(code, "slotquake_judge")].concat();
    for path in paths(code, "super") {
        let supers = path.split("::").take_while(|part| *part == "super").count();
        // A `super` of a module of tests inside of the file stays in the file's module or goes above it: the
        // shortest way is what the file itself can mean.
        let above = module.len().saturating_sub(1 + supers);
        let rest: Vec<&str> = path.split("::").skip(supers).collect();
        used.push(module[..above].iter().map(String::as_str).chain(rest).collect::<Vec<_>>().join("::"));
    }
    used
}

/// The module of a file: `cluster/attach/mod.rs` is `cluster::attach`.
fn module_of(file: &Path, source: &Path) -> Vec<String> {
    let path = file.strip_prefix(source).expect("a file of the source").with_extension("");
    let mut parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// The text of a file without its tests, which may use any module to build what they judge: a module `tests` at its
/// end, or the whole of `tests.rs` and `fixture.rs`.
fn without_tests<'a>(file: &Path, text: &'a str) -> &'a str {
    if file.ends_with("tests.rs") || file.ends_with("fixture.rs") {
        return "";
    }
    text.split_once("#[cfg(test)]\nmod tests {").map_or(text, |(before, _)| before)
}

/// Every use that goes to the same layer or up, with its file.
fn upward(block: &str, source: &str, below: &str) -> BTreeSet<String> {
    let (layers, source) = (layers(block), root().join(source));
    let outer: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
    let mut wrong = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&source.join(below)) {
        let module = module_of(&file, &source);
        // The roots only declare modules, and export them.
        let Some(own) = module.get(outer.len()).filter(|name| !["lib", "main"].contains(&name.as_str())) else {
            continue;
        };
        seen.insert(own.clone());
        let Some(own_layer) = layers.get(own) else {
            wrong.insert(format!("`{own}` is in no layer (hint: add it to ```{block} in ARCHITECTURE.md)"));
            continue;
        };
        let text = std::fs::read_to_string(&file).expect("a file");
        let code = code_of(if source.ends_with(JUDGE) { without_tests(&file, &text) } else { &text });
        for path in uses(&code, &module) {
            let parts: Vec<&str> = path.split("::").collect();
            let Some(inner) = parts.strip_prefix(&outer[..]) else { continue };
            let Some(used) = inner.first().copied().filter(|used| *used != own) else { continue };
            if layers.get(used).is_some_and(|layer| layer <= own_layer) {
                let file = file.strip_prefix(root()).expect("a file of the project").display();
                wrong.insert(format!(
                    "{file} uses `{used}`, which is not below `{own}` (hint: move what both need below both)"
                ));
            }
        }
    }
    let missing = layers.keys().filter(|name| !seen.contains(*name));
    wrong.extend(missing.map(|name| format!("there is no module `{name}` (hint: remove it from ```{block})")));
    wrong
}

#[test]
fn modules_use_only_layers_below() {
    assert_eq!(upward("layers", "src", ""), BTreeSet::new());
}

#[test]
fn modules_of_the_judge_use_only_layers_below() {
    assert_eq!(upward("layers-of-judge", JUDGE, ""), BTreeSet::new());
}

#[test]
fn tests_of_the_judge_are_left_out() {
    let text = "use crate::a;\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}\n";
    for (file, expected) in [("m.rs", "use crate::a;\n"), ("m/tests.rs", ""), ("m/fixture.rs", "")] {
        assert_eq!(without_tests(Path::new(file), text), expected, "{file}");
    }
}

#[test]
fn floors_of_cluster_use_only_floors_below() {
    assert_eq!(upward("layers-of-cluster", "src", "cluster"), BTreeSet::new());
    // The root is the lowest floor: apart from declaring and exporting modules it names none.
    let code = code_of(&std::fs::read_to_string(root().join("src/cluster/mod.rs")).expect("a file"));
    let body = code.lines().filter(|line| !line.starts_with("pub use ")).collect::<Vec<_>>().join("\n");
    for module in layers("layers-of-cluster").keys() {
        assert_eq!(paths(&body, module), Vec::<String>::new(), "src/cluster/mod.rs uses `{module}`");
    }
}

#[test]
fn floors_of_attach_use_only_floors_below() {
    assert_eq!(upward("layers-of-attach", "src", "cluster/attach"), BTreeSet::new());
}

#[test]
fn the_judge_reaches_no_server_and_no_network() {
    let manifest = std::fs::read_to_string(root().join("judge/Cargo.toml")).expect("judge/Cargo.toml");
    let named: Vec<&str> = manifest.lines().filter_map(|line| line.split([' ', '.', '=']).next()).collect();
    for dependency in ["tokio", "nix", "redis", "testcontainers"] {
        assert!(!named.contains(&dependency), "judge/Cargo.toml names {dependency}");
    }
    assert!(named.contains(&"serde"), "the manifest is read: {named:?}");
}

#[test]
fn uses_are_found_in_code_only() {
    let code = code_of(
        "//! crate::doc\nuse crate::{a::{self, B}, c};\nuse super::d; // crate::comment\n\
         let text = \"crate::text\"; let quote = '\"'; crate::e::f();",
    );
    let mut used = uses(&code, &["m".to_owned(), "n".to_owned()]);
    used.sort();
    assert_eq!(used, ["a::B", "a::self", "c", "e::f", "m::d"].map(str::to_owned));
}
