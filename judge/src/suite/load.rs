//! Reading suite files, with diagnostics that point at the offending text.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::diagnostic::{list, nearest, show};
use super::read::Refusal;
use super::tree::{Node, Segment, Tree, join_path, split_path};
use super::{
    Await, Corrupt, Exec, Expect, Invariant, Lossy, Narrow, RandomFaults, Refuse, Slow, Start, Step, Suite, When,
};
use crate::fault::{Clock, Disk};

/// A suite that could not be read. The text contains file, line, column and the offending text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

/// A suite, the text that it was read from and the overrides that were applied to it. With these, a problem
/// that is found later can be shown at its place.
///
/// ```
/// let mut source = slotquake_judge::suite::Source::load("role-swap")?;
/// source.set("cluster.config.cluster-node-timeout=1000")?;
/// let plan = slotquake_judge::plan::Plan::from_source(&source, 7)?;
/// # assert_eq!(plan.node_timeout().as_secs(), 1);
/// # Ok::<(), slotquake_judge::suite::LoadError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The suite, with all overrides applied.
    pub suite: Suite,
    origin: String,
    text: String,
    tree: Tree,
    overrides: Vec<(Vec<Segment>, String)>,
}

impl Source {
    /// Reads a suite by name or by path. A name stands for `suites/NAME.yaml` in the working directory or, if there
    /// is no such file, for a suite that is shipped with the program.
    pub fn load(name_or_path: &str) -> Result<Self, LoadError> {
        let path = Path::new(name_or_path);
        let is_path = name_or_path.contains(std::path::MAIN_SEPARATOR) || path.extension().is_some();
        let file = if is_path { path.to_owned() } else { Path::new("suites").join(format!("{name_or_path}.yaml")) };
        if file.is_file() {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| LoadError(format!("cannot read suite \"{}\": {error}", file.display())))?;
            return Self::parse(&text, &file);
        }
        if is_path {
            return Err(LoadError(format!(
                "no suite file \"{name_or_path}\" (hint: `slotquake init` writes one; `slotquake list` names those that are built in)"
            )));
        }
        match shipped().iter().find(|(name, _)| *name == name_or_path) {
            Some((name, text)) => Self::parse(text, &PathBuf::from(format!("{name} (shipped)"))),
            None => Err(unknown_suite(name_or_path)),
        }
    }

    /// Reads a suite from text. Diagnostics show `origin` as its name.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, LoadError> {
        let origin = origin.display().to_string();
        let (tree, suite) = read(text, &origin)?;
        Ok(Self { suite, origin, text: text.to_owned(), tree, overrides: Vec::new() })
    }

    /// Applies an override such as `cluster.config.cluster-node-timeout=1000`; see [`set`].
    pub fn set(&mut self, assignment: &str) -> Result<(), LoadError> {
        self.suite = set(&self.suite, assignment)?;
        let (path, _) = split_assignment(assignment)?;
        self.overrides.push((path, assignment.to_owned()));
        Ok(())
    }

    /// Shows a message about the value at `at` (`steps[3].stop`) with its place: the override that
    /// set it or, if there is none, its line in the file.
    pub fn explain(&self, at: &str, message: &str) -> String {
        let path = split_path(at).unwrap_or_default();
        let culprit = self.overrides.iter().rev().find(|(set, _)| path.starts_with(set));
        match culprit {
            Some((_, assignment)) => format!("{message}\n  --> --set {assignment}"),
            None => show(message, &self.origin, &self.text, self.tree.locate(&path).as_ref()),
        }
    }
}

/// Reads YAML; an error points at the offending text.
fn read<T: DeserializeOwned>(text: &str, origin: &str) -> Result<(Tree, T), LoadError> {
    let tree = Tree::from_yaml(text)
        .map_err(|malformed| LoadError(show(&malformed.message, origin, text, Some(&malformed.place))))?;
    match T::deserialize(&tree) {
        Ok(value) => Ok((tree, value)),
        Err(first) => {
            let shown = |refusal: &Refusal| {
                let place = refusal.place.as_ref().or(tree.place.as_ref());
                show(&refusal.message, origin, text, place)
            };
            let all: Vec<String> = refusals::<T>(&tree, first).iter().map(shown).collect();
            Err(LoadError(all.join("\n\n")))
        }
    }
}

/// The first refusal, and those that remain when what it refuses is left out, and so on: several mistakes are told at once.
fn refusals<T: DeserializeOwned>(tree: &Tree, first: Refusal) -> Vec<Refusal> {
    const MOST: usize = 20;
    let mut rest = tree.clone();
    let mut all = vec![first];
    while all.len() < MOST {
        let last = all.last().expect("it begins with one");
        // Only what stands by itself can be left out without causing other mistakes: an item of a list, or an unknown key.
        let Some(place) = last.place.clone() else { break };
        if !rest.remove(&place) {
            break;
        }
        match T::deserialize(&rest) {
            Err(next) if !all.contains(&next) && !next.message.starts_with("missing key") => all.push(next),
            _ => break,
        }
    }
    all
}

/// Reads YAML of another type, with the same diagnostics.
pub fn read_yaml<T: DeserializeOwned>(text: &str, origin: &Path) -> Result<T, LoadError> {
    read(text, &origin.display().to_string()).map(|(_, value)| value)
}

/// Reads a part of a suite that is written in code: a step or an invariant, such as `stop: node-1`, or settings of one.
pub(super) fn item<T: DeserializeOwned>(text: &str) -> Result<T, LoadError> {
    read(text, "in code").map(|(_, item)| item)
}

/// Lets code write these types as the text of a suite file.
macro_rules! written_in_code {
    ($($type:ty),+ $(,)?) => {
        $(impl TryFrom<&str> for $type {
            type Error = $crate::suite::LoadError;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                $crate::suite::load::item(text)
            }
        })+
    };
}

pub(super) use written_in_code;

written_in_code!(
    Step,
    Invariant,
    Await,
    Start,
    Corrupt,
    Lossy,
    Narrow,
    Refuse,
    Slow,
    Clock,
    Disk,
    Expect,
    Exec,
    When,
    RandomFaults,
);

/// Reads a suite by name or by path; see [`Source::load`].
pub fn load(name_or_path: &str) -> Result<Suite, LoadError> {
    Source::load(name_or_path).map(|source| source.suite)
}

/// Reads a suite from text. Diagnostics show `origin` as its name.
pub fn parse(text: &str, origin: &Path) -> Result<Suite, LoadError> {
    Source::parse(text, origin).map(|source| source.suite)
}

/// Applies `path=value` to a suite. The path is a path in the suite file, with list indices from 0:
/// `workload.rate=1000/s`, `steps[2].settle=10s`, `invariants[0].acked-writes.may-lose=5`. The value
/// is a text. A value in brackets or braces is YAML (`steps[3].kill=[node-1, node-4]`),
/// but not for server directives, which are always text.
pub fn set(suite: &Suite, assignment: &str) -> Result<Suite, LoadError> {
    let fail = |message: String| LoadError(format!("{message}\n  --> --set {assignment}"));
    let (path, text) = split_assignment(assignment)?;
    let directive = path.starts_with(&[Segment::Key("cluster".to_owned()), Segment::Key("config".to_owned())]);
    let value = if !directive && text.starts_with(['[', '{']) {
        Tree::from_yaml(text).map_err(|malformed| fail(malformed.message))?
    } else {
        Tree { node: Node::Text(text.to_owned()), place: None }
    };
    let mut tree =
        Tree::from_value(&serde_json::to_value(suite).expect("a suite has text keys and finite numbers only"));
    assign(&mut tree, &path, value).map_err(fail)?;
    Suite::deserialize(&tree).map_err(|refusal| {
        if let Some(full) = full_path(suite, &path) {
            return fail(format!("unknown key \"{}\" (did you mean `{full}`?)", join_path(path.iter())));
        }
        let place = join_path(refusal.path());
        let within =
            if place.is_empty() || join_path(path.iter()) == place { String::new() } else { format!("{place}: ") };
        fail(format!("{within}{}", refusal.message))
    })
}

/// The path that was meant, if only the last part of one was given: `cluster.config.cluster-node-timeout` for
/// `cluster-node-timeout`, and `workload.rate` for `rate`.
fn full_path(suite: &Suite, path: &[Segment]) -> Option<String> {
    let [Segment::Key(key)] = path else { return None };
    let known = serde_json::to_value(suite).ok()?;
    if known.get(key).is_some() {
        return None;
    }
    for part in ["workload", "cluster"] {
        if known[part].get(key).is_some() {
            return Some(format!("{part}.{key}"));
        }
    }
    // What is no key of a suite, and is written as directives are.
    let is_directive = key.starts_with("cluster-") || (key.contains('-') && nearest(key, TOP_KEYS).is_none());
    (known["cluster"]["config"].get(key).is_some() || is_directive).then(|| format!("cluster.config.{key}"))
}

/// The keys of a suite.
const TOP_KEYS: [&str; 10] = [
    "name",
    "about",
    "cluster",
    "workload",
    "steps",
    "invariants",
    "recover-within",
    "max-duration",
    "if-impossible",
    "speed",
];

fn split_assignment(assignment: &str) -> Result<(Vec<Segment>, &str), LoadError> {
    assignment.split_once('=').and_then(|(path, value)| Some((split_path(path.trim())?, value.trim()))).ok_or_else(
        || {
            LoadError(format!(
                "\"{assignment}\" is not an override (hint: write PATH=VALUE, such as `cluster.config.cluster-node-timeout=1000`)"
            ))
        },
    )
}

/// Sets `path` to `value`. Adds missing keys to a mapping; the suite's types reject the unknown ones later.
fn assign(tree: &mut Tree, path: &[Segment], value: Tree) -> Result<(), String> {
    let mut tree = tree;
    for (depth, segment) in path.iter().enumerate() {
        let so_far = join_path(path[..depth].iter());
        let in_list = matches!(path[..depth].last(), Some(Segment::Index(_)));
        tree = match (segment, &mut tree.node) {
            (Segment::Key(key), Node::Map(entries)) => {
                let position = entries.iter().position(|entry| entry.key == *key);
                let position = match position {
                    Some(position) => position,
                    // The one key of a step or an invariant is its kind, which cannot be overridden.
                    None if in_list => {
                        let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
                        return Err(format!("`{so_far}` is {}, not \"{key}\"", list(&keys)));
                    }
                    None => {
                        let value = Tree { node: Node::Map(Vec::new()), place: None };
                        entries.push(super::tree::Entry { key: key.clone(), place: None, value });
                        entries.len() - 1
                    }
                };
                &mut entries[position].value
            }
            (Segment::Index(index), Node::List(items)) => {
                let count = items.len();
                items.get_mut(*index).ok_or_else(|| {
                    format!(
                        "`{so_far}[{index}]` does not exist: `{so_far}` has {count} items (hint: indices start at 0)"
                    )
                })?
            }
            (Segment::Key(key), Node::List(_)) => {
                return Err(format!(
                    "`{so_far}` is a list and has no key \"{key}\" (hint: write `{so_far}[0].{key}`; indices start at 0)"
                ));
            }
            (Segment::Index(_), _) => return Err(format!("`{so_far}` is not a list")),
            (Segment::Key(key), _) => return Err(format!("`{so_far}` is not a mapping and has no key \"{key}\"")),
        };
    }
    *tree = value;
    Ok(())
}

fn unknown_suite(name: &str) -> LoadError {
    let names = shipped_names();
    let hint = match nearest(name, names.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("hint: the path of a file, or one of {}", list(&names)),
    };
    LoadError(format!("unknown suite \"{name}\" ({hint})"))
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../suites/", $name, ".yaml")))),*]
    };
}

/// The name and the text of every suite that is built into the program.
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    shipped![
        "all-restart-new-addresses",
        "aof-corrupt",
        "aof-truncated",
        "bridge",
        "bus-only",
        "clock-drift",
        "clock-jump-back",
        "clock-jump-forward",
        "data-kinds-over-failover",
        "disk-full-master",
        "disk-stall-master",
        "empty-master-returns",
        "empty-replica-returns",
        "expiry-over-failover",
        "flapping",
        "formation",
        "full-coverage-outage",
        "halves",
        "lossy-links",
        "majority-lost",
        "manual-failover",
        "master-crash",
        "master-failover",
        "master-freeze",
        "minority-partition",
        "minority-partition-min-replicas",
        "minority-partition-wait",
        "nodes-conf-full",
        "one-way",
        "orphan-replica",
        "pod-churn",
        "power-loss-shard",
        "power-loss-shard-always",
        "replica-lag",
        "replica-loss",
        "ring",
        "role-swap",
        "rolling-restart",
        "rolling-upgrade",
        "shard-loss",
        "shard-loss-together",
        "upgrade-and-back",
    ]
}

/// The names of the suites that are built into the program.
pub fn shipped_names() -> Vec<&'static str> {
    shipped().iter().map(|(name, _)| *name).collect()
}

/// The JSON Schema of a suite file, for editors.
pub fn schema() -> Value {
    schemars::schema_for!(Suite).to_value()
}
