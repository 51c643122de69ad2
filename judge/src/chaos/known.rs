//! What must still be caught: bugs and behaviours of servers that slotquake has caught, each with the smallest schedule that
//! shows it. A run of the list that misses one tells of a fault of slotquake, or of a server that was mended.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Rate;
use crate::suite::{LoadError, Source, read_yaml};

/// A bug or a behaviour that must still be caught: a row of `suites/known/known.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Known {
    /// The name of its suite in `suites/known`.
    pub suite: String,
    /// What goes wrong, in a sentence.
    pub bug: String,
    /// `by design`, where the servers' authors say so, or `reported`, where there is an issue about it.
    pub standing: String,
    /// An issue, or a page of the documentation.
    pub source: String,
    /// The invariant that fails.
    pub fails: String,
    /// How often it failed on each server when it was last reproduced.
    pub seen: BTreeMap<String, Rate>,
    /// The day on which it was last reproduced: `2026-11-28`.
    pub on: String,
    /// The speed of the runs on that day.
    pub speed: u32,
}

const TABLE: &str = include_str!("../../suites/known/known.yaml");

macro_rules! suites {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../suites/known/", $name, ".yaml")))),*]
    };
}

const SUITES: &[(&str, &str)] = suites![
    "disk-full",
    "empty-master",
    "everysec",
    "full-coverage",
    "minority-side",
    "nodes-conf-unsaved",
    "repeated-increment",
    "replica-returns-alone",
    "stale-master",
    "voter-clock-behind",
];

impl Known {
    /// The whole list.
    pub fn all() -> Result<Vec<Self>, LoadError> {
        read_yaml(TABLE, Path::new("suites/known/known.yaml"))
    }

    /// Its suite, to be run on a server.
    pub fn source(&self, server: &str) -> Result<Source, LoadError> {
        let (name, text) = SUITES
            .iter()
            .find(|(name, _)| *name == self.suite)
            .ok_or_else(|| LoadError(format!("no suite \"{}\" in suites/known", self.suite)))?;
        let mut source = Source::parse(text, Path::new(&format!("suites/known/{name}.yaml")))?;
        server.clone_into(&mut source.suite.cluster.server);
        Ok(source)
    }
}

/// The list as a table in Markdown.
pub fn known_markdown(all: &[Known]) -> String {
    let mut text =
        "| what | standing | source | suite | how often it was caught | on |\n|---|---|---|---|---|---|\n".to_owned();
    for known in all {
        let Known { suite, bug, standing, source, fails, seen, on, speed } = known;
        let rates: Vec<String> = seen.iter().map(|(server, rate)| format!("{server}: {rate}")).collect();
        let _ = writeln!(
            text,
            "| {bug} | {standing} | {source} | `{suite}` (`{fails}`) | {} | {on}, at speed {speed} |",
            rates.join("; ")
        );
    }
    text
}
