//! What slotquake writes for programs is as the schemas say, and the schemas say all of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use slotquake_judge::history;
use slotquake_judge::report::{
    Compared, Report, Standing, Summary, compare, compare_schema, comparison_document, document, read, report_schema,
    run_schema, text,
};

/// Checks values against a schema of JSON Schema 2020-12, and that every key of an object is described. It knows what
/// the schemas of slotquake use, and panics at the rest.
struct Schema<'s> {
    root: &'s Value,
}

/// The described keys of a valid object, or what is wrong and where.
type Checked = Result<BTreeSet<String>, String>;

impl Schema<'_> {
    fn check(&self, value: &Value) -> Result<(), String> {
        self.whole(self.root, value, "")
    }

    fn whole(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let described = self.part(schema, value, at)?;
        let undescribed = value.as_object().into_iter().flat_map(Map::keys).find(|key| !described.contains(*key));
        undescribed.map_or(Ok(()), |key| Err(format!("{at}/{key}: the schema does not describe it")))
    }

    fn part(&self, schema: &Value, value: &Value, at: &str) -> Checked {
        let Some(schema) = schema.as_object() else {
            assert_eq!(schema, &json!(true), "{at}: a schema is an object or true");
            return Ok(value.as_object().into_iter().flat_map(Map::keys).cloned().collect());
        };
        let mut described = BTreeSet::new();
        let fail = |why: String| Err(format!("{at}: {why}"));
        for (keyword, wanted) in schema {
            match keyword.as_str() {
                "type" => {
                    let all = wanted.as_array().map_or_else(|| vec![wanted], |all| all.iter().collect());
                    if !all.iter().any(|kind| is_of_type(value, kind.as_str().expect("a type"))) {
                        return fail(format!("{value} is not of type {wanted}"));
                    }
                }
                "const" if value != wanted => return fail(format!("{value} is not {wanted}")),
                "enum" if !wanted.as_array().expect("a list").contains(value) => {
                    return fail(format!("{value} is not one of {wanted}"));
                }
                "minimum" if value.is_number() && value.as_f64() < wanted.as_f64() => {
                    return fail(format!("{value} < {wanted}"));
                }
                "maximum" if value.is_number() && value.as_f64() > wanted.as_f64() => {
                    return fail(format!("{value} > {wanted}"));
                }
                "required" => {
                    for key in wanted.as_array().expect("a list").iter().filter_map(Value::as_str) {
                        if value.is_object() && value.get(key).is_none() {
                            return fail(format!("{key} is missing"));
                        }
                    }
                }
                "properties" => {
                    for (key, schema) in wanted.as_object().expect("properties") {
                        described.insert(key.clone());
                        if let Some(value) = value.get(key) {
                            self.whole(schema, value, &format!("{at}/{key}"))?;
                        }
                    }
                }
                "additionalProperties" if wanted == &json!(false) => {
                    let own = schema.get("properties").and_then(Value::as_object);
                    let patterns = schema.get("patternProperties").and_then(Value::as_object);
                    let is_own = |key: &str| {
                        own.is_some_and(|own| own.contains_key(key))
                            || patterns.into_iter().flatten().any(|(pattern, _)| is_numbered(key, pattern))
                    };
                    let mut keys = value.as_object().into_iter().flat_map(Map::keys);
                    if let Some(key) = keys.find(|key| !is_own(key)) {
                        return fail(format!("{key} is not allowed"));
                    }
                }
                "patternProperties" => {
                    for (pattern, schema) in wanted.as_object().expect("patterns") {
                        for (key, value) in value.as_object().into_iter().flatten() {
                            if is_numbered(key, pattern) {
                                self.whole(schema, value, &format!("{at}/{key}"))?;
                                described.insert(key.clone());
                            }
                        }
                    }
                }
                "additionalProperties" => {
                    for (key, value) in value.as_object().into_iter().flatten() {
                        self.whole(wanted, value, &format!("{at}/{key}"))?;
                        described.insert(key.clone());
                    }
                }
                "items" => {
                    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                        self.whole(wanted, value, &format!("{at}/{index}"))?;
                    }
                }
                "prefixItems" => {
                    for (index, schema) in wanted.as_array().expect("a list").iter().enumerate() {
                        if let Some(value) = value.get(index) {
                            self.whole(schema, value, &format!("{at}/{index}"))?;
                        }
                    }
                }
                "minItems" | "maxItems" => {
                    let (length, limit) = (value.as_array().map(Vec::len), wanted.as_u64().expect("a number") as usize);
                    let fits = |length| if keyword == "minItems" { length >= limit } else { length <= limit };
                    if !length.is_none_or(fits) {
                        return fail(format!("{keyword} is {limit}"));
                    }
                }
                "minLength" => {
                    if value.as_str().is_some_and(|text| (text.chars().count() as u64) < wanted.as_u64().unwrap_or(0)) {
                        return fail(format!("{value} is shorter than {wanted}"));
                    }
                }
                "$ref" => {
                    let name = wanted.as_str().and_then(|path| path.strip_prefix('#')).expect("a path in the schema");
                    let schema = self.root.pointer(name).unwrap_or_else(|| panic!("{name} is not in the schema"));
                    described.extend(self.part(schema, value, at)?);
                }
                "allOf" => {
                    for schema in wanted.as_array().expect("a list") {
                        described.extend(self.part(schema, value, at)?);
                    }
                }
                "oneOf" | "anyOf" => {
                    let tried: Vec<Checked> =
                        wanted.as_array().expect("a list").iter().map(|schema| self.part(schema, value, at)).collect();
                    let valid = tried.iter().filter(|tried| tried.is_ok()).count();
                    if valid == 0 || (keyword == "oneOf" && valid > 1) {
                        let why: Vec<String> = tried.into_iter().filter_map(Result::err).collect();
                        return fail(format!("{valid} of {keyword} are valid: {}", why.join("; ")));
                    }
                    described.extend(tried.into_iter().flatten().flatten());
                }
                // Kept, or only told to people.
                "const" | "enum" | "minimum" | "maximum" | "$schema" | "$defs" | "title" | "description"
                | "default" | "format" | "pattern" | "examples" => {}
                unknown => panic!("{at}: the test does not know the keyword {unknown}"),
            }
        }
        Ok(described)
    }
}

/// Whether a key has a pattern such as `^node-[1-9][0-9]*$`, the only kind that keys have.
fn is_numbered(key: &str, pattern: &str) -> bool {
    let prefix = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix("[1-9][0-9]*$"));
    let number = key.strip_prefix(prefix.unwrap_or_else(|| panic!("the test does not know the pattern {pattern}")));
    number.is_some_and(|number| !number.starts_with('0') && number.parse::<u64>().is_ok())
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        unknown => panic!("unknown type {unknown}"),
    }
}

#[track_caller]
fn assert_valid(schema: &Value, value: &Value, name: &str) {
    if let Err(why) = (Schema { root: schema }).check(value) {
        panic!("{name}: {why}");
    }
}

/// The folders of all stored runs that have a report.
fn stored() -> Vec<PathBuf> {
    let all = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored")).expect("stored runs");
    let mut all: Vec<PathBuf> = all.map(|entry| entry.expect("a folder").path()).collect();
    all.retain(|folder| folder.join("report.json").exists());
    all.sort();
    assert_eq!(all.len(), 40);
    all
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn reports_of_earlier_versions_and_of_this_one_are_as_their_schema_says() {
    let schema = report_schema();
    for folder in stored() {
        let name = folder.display().to_string();
        let then = json_of(&fs::read_to_string(folder.join("report.json")).expect("read"));
        assert_valid(&schema, &then, &format!("{name}, as stored"));
        let history = history::read(&folder).expect("a history");
        let now = json_of(&text(&Report::of(&history)).expect("JSON"));
        assert_valid(&schema, &now, &format!("{name}, as written now"));
    }
}

#[test]
fn a_report_that_the_schema_does_not_describe_is_refused() {
    let schema = report_schema();
    let folder = stored().into_iter().find(|folder| folder.ends_with("role-swap-redis-6.2")).expect("it is there");
    let good = json_of(&text(&read(&folder).expect("a report")).expect("JSON"));
    assert_valid(&schema, &good, "as written");
    for (pointer, value) in [
        ("/verdict", json!("maybe")),
        ("/duration_ms", json!("24 s")),
        ("/failovers/0/shard", json!(1)),
        ("/ledger/acknowledged", json!(-1)),
        ("/events/0/event", json!("exploded")),
        ("/plan/nodes/0/slots", json!("0-5460")),
        ("/invariants/0", json!({})),
        ("/host", json!(null)),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is there")) = value;
        assert!((Schema { root: &schema }).check(&bad).is_err(), "{pointer}");
    }
}

#[test]
fn the_documents_of_run_and_compare_are_as_their_schemas_say() {
    let reports: Vec<Report> = stored().iter().map(|folder| read(folder).expect("a report")).collect();
    let mut runs: Vec<Summary> = reports.iter().map(|report| Summary::new(report, Path::new("reports/x"))).collect();
    let why = || "nft is not installed".to_owned();
    runs.push(Summary::without_report("formation", "/a/b", 7, Standing::Error(why()), None));
    runs.push(Summary::without_report("halves", "redis:6.2", 7, Standing::Skipped(why()), None));
    let schema = run_schema();
    let all = json_of(&document(&runs, 1));
    assert_valid(&schema, &all, "run --format json");
    let mut bad = all.clone();
    bad["runs"][0]["verdict"] = json!("unsure");
    assert!((Schema { root: &schema }).check(&bad).is_err());

    let (base, new) = reports.split_at(reports.len() / 2);
    let sides = [("new", new), ("again", base)]
        .map(|(name, side)| Compared { name: name.to_owned(), comparison: compare(base, side) });
    let schema = compare_schema();
    let all = json_of(&comparison_document("base", &sides, 1));
    assert_valid(&schema, &all, "compare --format json");
    let mut bad = all.clone();
    bad["comparisons"][1]["pairs"][0]["figures"][0]["change"] = json!("different");
    assert!((Schema { root: &schema }).check(&bad).is_err());
    assert!(all["comparisons"][0]["only_in_base"][0]["suite"].is_string(), "{all:#}");
}
