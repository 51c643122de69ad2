//! docs/reference.md is rendered from the JSON Schema of a suite file, so it is always up to date.
//! `UPDATE=1 cargo test -p slotquake-judge --test reference` writes it again.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};
use slotquake_judge::suite;

const HEAD: &str = "\
# Reference of every key

Every key of a suite file, with its type, its default and its meaning.
This page is generated from the JSON Schema that `slotquake schema` prints.
A key without a default may be left out, unless the page says *required*.
[Writing a suite](writing-a-suite.md) introduces the same keys by example.
";

/// Types that have a section of their own above the others.
const SECTIONS: [(&str, &str); 6] = [
    ("ClusterSpec", "[mapping](#cluster)"),
    ("WorkloadSpec", "[mapping](#workload)"),
    ("Kinds", "[mapping](#workloadkinds)"),
    ("WaitSpec", "[mapping](#workloadwait)"),
    ("Step", "[steps](#steps)"),
    ("Invariant", "[invariants](#invariants)"),
];

/// The schema, and the page that grows.
struct Page<'a> {
    schema: &'a Value,
    text: String,
    /// Types with a section of their own that the page has linked to.
    linked: BTreeSet<&'a str>,
}

impl<'a> Page<'a> {
    fn definition(&self, reference: &'a str) -> (&'a str, &'a Value) {
        let name = reference.strip_prefix("#/$defs/").unwrap_or_else(|| panic!("unknown reference {reference}"));
        let definition = &self.schema["$defs"][name];
        assert!(definition.is_object(), "no definition of {name}");
        (name, definition)
    }

    /// The schema itself, or the one that it refers to.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        schema["$ref"].as_str().map_or(schema, |reference| self.definition(reference).1)
    }

    fn heading(&mut self, level: usize, title: &str, schema: &Value) {
        write!(self.text, "\n{} {title}\n", "#".repeat(level)).expect("a String takes everything");
        if let Some(about) = schema["description"].as_str() {
            write!(self.text, "\n{}\n", wrap(about)).expect("a String takes everything");
        }
    }

    /// A table of the keys of a mapping.
    fn keys(&mut self, schema: &'a Value) {
        let mut properties: Vec<_> = schema["properties"].as_object().into_iter().flatten().collect();
        if properties.is_empty() {
            return;
        }
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // What must be given comes first.
        properties.sort_by_key(|(name, _)| !required.contains(&name.as_str()));
        self.text.push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
        for (name, property) in properties {
            let kind = self.kind(property);
            let default = match &property["default"] {
                _ if required.contains(&name.as_str()) => "*required*".to_owned(),
                Value::Null => String::new(),
                Value::Object(map) if map.is_empty() => "`{}`".to_owned(),
                Value::Object(_) => "see below".to_owned(),
                Value::String(text) => format!("`{text}`"),
                other => format!("`{other}`"),
            };
            let about = property["description"].as_str().or_else(|| self.resolve(property)["description"].as_str());
            let about = about.unwrap_or_else(|| panic!("`{name}` has no description"));
            writeln!(self.text, "| `{name}` | {} | {default} | {} |", cell(&kind), cell(about)).expect("a String");
        }
    }

    /// What a value looks like, in a few words.
    fn kind(&mut self, schema: &'a Value) -> String {
        if let Some(reference) = schema["$ref"].as_str() {
            let (name, definition) = self.definition(reference);
            if let Some((_, link)) = SECTIONS.iter().find(|(section, _)| *section == name) {
                return (*link).to_owned();
            }
            if definition["properties"].is_object() {
                return "mapping".to_owned();
            }
            if variants(definition).is_some_and(|variants| variants.iter().all(|one| one["properties"].is_object())) {
                return "mapping with one key".to_owned();
            }
            self.linked.insert(name);
            return format!("[{}](#{})", words(name), anchor(&words(name)));
        }
        if let Some(value) = schema.get("const") {
            return format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        if let Some(values) = schema["enum"].as_array() {
            return values
                .iter()
                .map(|value| format!("`{}`", value.as_str().unwrap_or("null")))
                .collect::<Vec<_>>()
                .join(", ");
        }
        if let Some(all) = schema["allOf"].as_array() {
            return all.iter().map(|one| self.kind(one)).collect::<Vec<_>>().join(" and ");
        }
        if let Some(any) = variants(schema) {
            let kinds = any.iter().filter(|one| one["type"] != "null").map(|one| self.kind(one));
            return kinds.collect::<Vec<_>>().join(" or ");
        }
        if schema["properties"].is_object() {
            return "mapping".to_owned();
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect(),
            _ => panic!("the page cannot show this schema: {schema}"),
        };
        types.iter().map(|one| self.simple(one, schema)).collect::<Vec<_>>().join(" or ")
    }

    fn simple(&mut self, kind: &str, schema: &'a Value) -> String {
        match kind {
            "string" => "text".to_owned(),
            "integer" => match schema["minimum"].as_i64() {
                Some(0) => "integer from 0".to_owned(),
                Some(least) => format!("integer from {least}"),
                None => "integer".to_owned(),
            },
            "number" => "number".to_owned(),
            "boolean" => "`true` or `false`".to_owned(),
            "array" => {
                let of = self.kind(&schema["items"]);
                match (schema["minItems"].as_u64(), schema["maxItems"].as_u64()) {
                    (Some(least), Some(most)) if least == most => format!("list of {least}: {of}"),
                    _ => format!("list of {of}"),
                }
            }
            "object" => format!("mapping to {}", self.kind(&schema["additionalProperties"])),
            other => panic!("the page cannot show the type {other}: {schema}"),
        }
    }

    /// A section for each of the keys that a step or an invariant may have.
    fn variants(&mut self, name: &str) {
        let definition = &self.schema["$defs"][name];
        for variant in variants(definition).unwrap_or_else(|| panic!("{name} has no variants")) {
            let properties = variant["properties"].as_object().expect("a mapping with one key");
            for (key, value) in properties {
                self.heading(3, &format!("`{key}`"), variant);
                let target = self.resolve(value);
                if target["properties"].is_object() {
                    self.keys(target);
                } else {
                    let kind = self.kind(value);
                    write!(self.text, "\nValue: {kind}.\n").expect("a String takes everything");
                }
            }
        }
    }

    /// A section for each type that the page has linked to; these may link to others.
    fn values(&mut self) {
        let mut shown = BTreeSet::new();
        let mut sections = Vec::new();
        while let Some(name) = self.linked.iter().find(|name| !shown.contains(*name)).copied() {
            shown.insert(name);
            let from = self.text.len();
            self.value(name, &self.schema["$defs"][name]);
            sections.push((name, self.text.split_off(from)));
        }
        sections.sort_by_key(|(name, _)| words(name));
        self.text.extend(sections.into_iter().map(|(_, text)| text));
    }

    fn value(&mut self, name: &str, definition: &'a Value) {
        self.heading(3, &words(name), definition);
        let named = variants(definition).filter(|all| all.iter().all(|one| one["description"].is_string()));
        if let Some(all) = named {
            self.text.push_str("\n| value | meaning |\n|---|---|\n");
            for one in all {
                let kind = self.kind(one);
                let about = one["description"].as_str().expect("checked above");
                writeln!(self.text, "| {} | {} |", cell(&kind), cell(about)).expect("a String takes everything");
            }
            return;
        }
        let kind = self.kind(definition);
        write!(self.text, "\nWritten as {kind}.\n").expect("a String takes everything");
        if let Some(pattern) = definition["pattern"].as_str() {
            writeln!(self.text, "Pattern: `{pattern}`").expect("a String takes everything");
        }
        // The keys of a type that may also be a mapping.
        for one in variants(definition).into_iter().flatten() {
            let written = self.resolve(one);
            if written["properties"].is_object() {
                self.keys(written);
            }
        }
    }
}

fn variants(schema: &Value) -> Option<&Vec<Value>> {
    schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array())
}

/// `ByteRate` as `byte rate`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn anchor(title: &str) -> String {
    title.replace(' ', "-").replace('`', "")
}

/// Text for one cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Lines of at most 110 characters, whatever the lines of the doc comment were.
fn wrap(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("never empty");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 110 {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

fn render(schema: &Value) -> String {
    let mut page = Page { schema, text: HEAD.to_owned(), linked: BTreeSet::new() };
    page.heading(2, "Top level", &Value::Null);
    page.keys(schema);
    for (title, name) in [("`cluster`", "ClusterSpec"), ("`workload`", "WorkloadSpec")] {
        let definition = &schema["$defs"][name];
        page.heading(2, title, definition);
        page.keys(definition);
    }
    // Mappings inside of the workload.
    for (title, name) in [("`workload.kinds`", "Kinds"), ("`workload.wait`", "WaitSpec")] {
        page.heading(3, title, &schema["$defs"][name]);
        page.keys(&schema["$defs"][name]);
    }
    page.heading(2, "Steps", &schema["$defs"]["Step"]);
    page.variants("Step");
    page.heading(2, "Invariants", &schema["$defs"]["Invariant"]);
    page.variants("Invariant");
    page.heading(2, "Types", &Value::Null);
    page.values();
    page.text
}

/// Every name of a key anywhere in the schema.
fn names<'a>(schema: &'a Value, into: &mut BTreeSet<&'a str>) {
    match schema {
        Value::Object(fields) => {
            let keys = fields.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
            into.extend(keys.map(String::as_str));
            fields.values().for_each(|one| names(one, into));
        }
        Value::Array(list) => list.iter().for_each(|one| names(one, into)),
        _ => {}
    }
}

#[test]
fn the_reference_matches_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
    let rendered = render(&suite::schema());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &rendered).expect("docs/reference.md can be written");
    }
    let stored = fs::read_to_string(&path).expect("docs/reference.md is there");
    assert!(
        stored == rendered,
        "docs/reference.md is stale (hint: UPDATE=1 cargo test -p slotquake-judge --test reference)"
    );
}

#[test]
fn the_reference_has_every_key() {
    let schema = suite::schema();
    let page = render(&schema);
    let mut all = BTreeSet::new();
    names(&schema, &mut all);
    let shown = |name: &str| page.contains(&format!("\n| `{name}` |")) || page.contains(&format!("\n### `{name}`\n"));
    let missing: Vec<_> = all.iter().filter(|name| !shown(name)).collect();
    assert!(all.len() > 60 && missing.is_empty(), "of {} keys these are missing: {missing:?}", all.len());
}

#[test]
fn a_new_key_changes_the_reference() {
    let mut schema = suite::schema();
    let before = render(&schema);
    schema["$defs"]["WorkloadSpec"]["properties"]["new-key"] =
        serde_json::json!({ "type": "string", "default": "x", "description": "What it means." });
    assert_ne!(render(&schema), before);
    assert!(render(&schema).contains("| `new-key` | text | `x` | What it means. |"));
}

#[test]
fn chapters_name_every_step_invariant_and_suite() {
    let schema = suite::schema();
    let keys = |name: &str| -> Vec<String> {
        let all = variants(&schema["$defs"][name]).expect("variants").iter();
        all.flat_map(|one| one["properties"].as_object().expect("one key").keys().cloned()).collect()
    };
    let suites = suite::shipped_names().into_iter().map(str::to_owned).collect();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let read = |page: &str| fs::read_to_string(docs.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    // Steps that break nothing are introduced with suites.
    let chapters = [
        (keys("Invariant"), vec!["invariants.md"]),
        (keys("Step"), vec!["faults.md", "writing-a-suite.md"]),
        (suites, vec!["suites.md"]),
    ];
    for (names, pages) in chapters {
        let text: String = pages.iter().map(|page| read(page)).collect();
        let missing: Vec<_> = names.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
        assert!(names.len() > 10 && missing.is_empty(), "{pages:?} in docs/ do not name {missing:?}");
    }
}
