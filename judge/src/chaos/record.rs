//! What is kept of each run of a campaign, and joining what several machines kept.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Claim, Failure, Promise, Rate, Stand, failures};
use crate::check::Verdict;
use crate::history::EventKind;
use crate::report::Report;

/// The version of the journal of a campaign.
pub const JOURNAL_VERSION: u32 = 1;

/// The first line of a campaign's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CampaignHeader {
    /// [`JOURNAL_VERSION`].
    pub schema_version: u32,
    /// The version of slotquake.
    pub slotquake: String,
    /// The seed of all schedules.
    pub seed: u64,
    /// The profile, by name or path.
    pub profile: String,
    /// The servers, in turn.
    pub servers: Vec<String>,
    /// Which part of the campaign this is, from 1, and of how many.
    pub shard: (u32, u32),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// All that must hold was seen to hold.
    Pass,
    /// Something failed of which no rule says whether it may.
    Unknown,
    /// Too little was observed.
    Inconclusive,
    /// Something that must hold failed.
    Fail,
    /// It has no report.
    Error,
    /// This machine cannot run it.
    Skipped,
}

impl Ended {
    /// Its word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Unknown => "unknown",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
            Self::Error => "error",
            Self::Skipped => "skipped",
        }
    }

    /// How a run ended, by its report. A schedule of which nothing happened shows nothing.
    pub fn of(report: &Report, promises: &[Promise]) -> Self {
        if !failures(report, promises).is_empty() {
            return Self::Fail;
        }
        let is_unknown =
            |claim: Claim| promises.iter().any(|promise| promise.claim == claim && promise.stand == Stand::Unknown);
        let failed = report.invariants.iter().filter(|judgement| judgement.verdict == Verdict::Fail);
        let mut claims = failed.map(|judgement| Claim::of(&judgement.invariant, &judgement.settings));
        let happened = report
            .events
            .iter()
            .any(|event| matches!(event.kind, EventKind::Commanded { .. }) || event.kind.of_fault().is_some());
        if claims.any(|claim| claim.is_none_or(is_unknown)) {
            Self::Unknown
        } else if !happened || report.invariants.iter().any(|judgement| judgement.verdict == Verdict::Inconclusive) {
            Self::Inconclusive
        } else {
            Self::Pass
        }
    }
}

/// A run of a campaign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// Its number in the campaign, from 1, whatever the shard.
    pub number: u64,
    /// The server.
    pub server: String,
    /// How it ended.
    pub ended: Ended,
    /// What failed of what must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// How its claims stood.
    #[serde(default)]
    pub stands: BTreeMap<Claim, Stand>,
    /// What it reached.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub situations: BTreeSet<String>,
    /// The folder of its report, if it was kept, within the campaign's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Why it has no verdict, or the first thing that was undecided.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// How long it took in real time, in milliseconds.
    pub took_ms: u64,
    /// The schedule, as a suite.
    pub suite: String,
}

/// What became of a failure after it was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The failure.
    pub failure: Failure,
    /// The server.
    pub server: String,
    /// The run that found it.
    pub number: u64,
    /// How often the schedule that was found fails so.
    pub found: Rate,
    /// How often the smallest one does.
    pub smallest: Rate,
    /// The same in real time.
    pub real: Rate,
    /// How many faults and commands the smallest has.
    pub moves: usize,
    /// How many runs shrinking took.
    pub runs: u32,
    /// The smallest schedule, as a suite.
    pub suite: String,
}

/// A line of a campaign's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// The first line of each part.
    Campaign(CampaignHeader),
    /// A run.
    Run(Record),
    /// A failure that was looked into.
    Finding(Finding),
}

/// What is known of a campaign.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Campaign {
    /// The parts of it.
    pub headers: Vec<CampaignHeader>,
    /// The runs, by number and server.
    pub runs: Vec<Record>,
    /// The failures that were looked into.
    pub findings: Vec<Finding>,
}

impl Campaign {
    /// Reads a journal. A last line that a crash cut off is left out; the error names another line that is none.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut campaign = Self::default();
        let is_whole = text.ends_with('\n');
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            match serde_json::from_str(line) {
                Ok(Entry::Campaign(header)) if header.schema_version != JOURNAL_VERSION => {
                    return Err(format!(
                        "line {}: schema version {}, this slotquake reads {JOURNAL_VERSION}",
                        index + 1,
                        header.schema_version
                    ));
                }
                Ok(entry) => campaign.add(entry),
                Err(_) if index + 1 == lines.len() && !is_whole => {}
                Err(error) => return Err(format!("line {}: {error}", index + 1)),
            }
        }
        if campaign.headers.is_empty() { Err("it does not begin with a campaign".to_owned()) } else { Ok(campaign) }
    }

    /// Adds an entry. A run that is known already, by its seed, number and server, and a failure that is known already, are not added again.
    pub fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Campaign(header) => {
                if !self.headers.contains(&header) {
                    self.headers.push(header);
                }
            }
            Entry::Run(run) => {
                if !self
                    .runs
                    .iter()
                    .any(|known| known.number == run.number && known.server == run.server && known.suite == run.suite)
                {
                    self.runs.push(run);
                }
            }
            Entry::Finding(finding) => match self.findings.iter_mut().find(|known| known.failure == finding.failure) {
                None => self.findings.push(finding),
                // The smaller one is the better one.
                Some(known) if (finding.moves, finding.number) < (known.moves, known.number) => *known = finding,
                Some(_) => {}
            },
        }
    }

    /// Joins another part, or the same again.
    pub fn merge(&mut self, other: Self) {
        let entries = other.headers.into_iter().map(Entry::Campaign).chain(other.runs.into_iter().map(Entry::Run));
        entries.chain(other.findings.into_iter().map(Entry::Finding)).for_each(|entry| self.add(entry));
        self.runs.sort_by(|a, b| (a.number, &a.server).cmp(&(b.number, &b.server)));
    }

    /// How many runs reached each situation.
    pub fn situations(&self) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for situation in self.runs.iter().flat_map(|run| &run.situations) {
            *counts.entry(situation.as_str()).or_default() += 1;
        }
        counts
    }

    /// The failures in the order in which they were found, with their runs.
    pub fn failures(&self) -> Vec<(&Failure, Vec<&Record>)> {
        let mut found: Vec<(&Failure, Vec<&Record>)> = Vec::new();
        for run in &self.runs {
            for failure in &run.failures {
                match found.iter_mut().find(|(known, _)| *known == failure) {
                    Some((_, runs)) => runs.push(run),
                    None => found.push((failure, vec![run])),
                }
            }
        }
        found
    }

    /// How many runs ended so.
    pub fn count(&self, ended: Ended) -> usize {
        self.runs.iter().filter(|run| run.ended == ended).count()
    }
}
