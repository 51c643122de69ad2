//! What a campaign may do: the shapes, the directives, the faults and how many of them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Schedule;
use super::promises::Claim;
use crate::suite::{Act, Kinds, LoadError, WorkloadSpec, read_yaml};
use crate::units::{Directive, Span};

/// The profiles that are built in, by name.
pub const PROFILES: [(&str, &str); 2] =
    [("gentle", include_str!("profiles/gentle.yaml")), ("rough", include_str!("profiles/rough.yaml"))];

/// The limits of a campaign's schedules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    /// What it is for.
    pub about: String,
    /// The fewest and the most masters.
    pub masters: (u16, u16),
    /// The fewest and the most replicas of each master.
    pub replicas: (u16, u16),
    /// For each directive, the values to choose from.
    #[serde(default)]
    pub config: BTreeMap<String, Vec<Directive>>,
    /// The rates to choose from, in operations a second.
    pub rates: Vec<u32>,
    /// The shares of reads to choose from, in percent.
    pub reads: Vec<u8>,
    /// The kinds of data to choose from, with the share of each; registers only without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kinds>,
    /// How often clients send a write again that had no answer, to choose from; never without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retries: Vec<u8>,
    /// How long a command may take, to choose from; the default of a workload without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeouts: Vec<Span>,
    /// How many of a hundred faults and commands begin or end with what a log tells, such as the promotion of a replica.
    #[serde(default)]
    pub triggers: u8,
    /// The fewest and the most faults and commands.
    pub moves: (usize, usize),
    /// How long they go on, in node timeouts.
    pub window: u32,
    /// How long one may last, in node timeouts.
    pub longest: u32,
    /// How many may be in force at once.
    pub at_once: usize,
    /// The faults and commands, each with its weight.
    pub faults: BTreeMap<Act, u32>,
    /// What must hold though no server promises it.
    #[serde(default)]
    pub forbid: Vec<Claim>,
}

impl Profile {
    /// A profile by name, or from a file.
    pub fn load(name_or_path: &str) -> Result<Self, LoadError> {
        if let Some((name, text)) = PROFILES.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(text, Path::new(name));
        }
        let path = Path::new(name_or_path);
        let text = std::fs::read_to_string(path).map_err(|error| {
            let names = PROFILES.map(|(name, _)| format!("`{name}`")).join(", ");
            LoadError(format!("cannot read profile \"{name_or_path}\": {error} (hint: {names}, or the path of a file)"))
        })?;
        Self::parse(&text, path)
    }

    /// A profile from the text of a file. The error says what in it is impossible.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, LoadError> {
        let profile: Self = read_yaml(text, origin)?;
        match profile.problem() {
            None => Ok(profile),
            Some(problem) => Err(LoadError(format!("profile \"{}\": {problem}", origin.display()))),
        }
    }

    fn problem(&self) -> Option<String> {
        let range = |name: &str, least: usize, most: usize, bounds: std::ops::RangeInclusive<usize>| {
            let fine = least <= most && bounds.contains(&least) && bounds.contains(&most);
            let (low, high) = (bounds.start(), bounds.end());
            (!fine).then(|| {
                format!("{name}: [{least}, {most}] is out of bounds (hint: from {low} to {high}, the fewest first)")
            })
        };
        let empty = |name: &str, is_empty: bool| is_empty.then(|| format!("{name}: nothing to choose from"));
        range("masters", self.masters.0.into(), self.masters.1.into(), 3..=16)
            .or_else(|| range("replicas", self.replicas.0.into(), self.replicas.1.into(), 0..=5))
            .or_else(|| range("moves", self.moves.0, self.moves.1, 1..=50))
            .or_else(|| range("at-once", 1, self.at_once, 1..=50))
            .or_else(|| empty("faults", self.faults.values().all(|&weight| weight == 0)))
            .or_else(|| empty("rates", self.rates.is_empty()))
            .or_else(|| empty("reads", self.reads.is_empty()))
            .or_else(|| {
                self.config.iter().find_map(|(name, values)| empty(&format!("config.{name}"), values.is_empty()))
            })
            .or_else(|| range("triggers", 0, self.triggers.into(), 0..=100))
            .or_else(|| self.kinds.iter().find_map(|kinds| kinds.refuse().map(|problem| format!("kinds: {problem}"))))
            .or_else(|| range("window", 1, self.window as usize, 1..=100))
            .or_else(|| range("longest", 1, self.longest as usize, 1..=100))
    }

    /// Whether a schedule is within the limits. One that was shrunk may have fewer moves, a shorter time, a lower rate and
    /// directives by default.
    pub fn admits(&self, schedule: &Schedule) -> bool {
        let longest = schedule.node_timeout() * self.longest;
        let window = schedule.node_timeout() * self.window;
        let known =
            |(name, value): (&String, &Directive)| self.config.get(name).is_some_and(|values| values.contains(value));
        (self.masters.0..=self.masters.1).contains(&schedule.masters)
            && (self.replicas.0..=self.replicas.1).contains(&schedule.replicas)
            && schedule.config.iter().all(known)
            && self.rates.iter().any(|&rate| schedule.workload.rate.per_second <= rate)
            && schedule.workload.kinds.as_ref().is_none_or(|kinds| self.kinds.contains(kinds))
            && (schedule.workload.retries == 0 || self.retries.contains(&schedule.workload.retries))
            && (schedule.workload.timeout == WorkloadSpec::default().timeout
                || self.timeouts.contains(&schedule.workload.timeout))
            && schedule.moves.len() <= self.moves.1
            && schedule.moves.iter().all(|each| each.at.0 <= window && each.lasts() <= longest)
            && at_once(schedule) <= self.at_once
    }
}

/// The most moves that are in force at the same moment.
fn at_once(schedule: &Schedule) -> usize {
    let in_force = |at| schedule.moves.iter().filter(|each| each.at <= at && at < each.end()).count();
    schedule.moves.iter().map(|each| in_force(each.at)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_impossible() {
        let gentle = PROFILES[0].1;
        for (from, to, expected) in [
            ("masters: [3, 5]", "masters: [2, 5]", "masters: [2, 5] is out of bounds"),
            ("replicas: [1, 2]", "replicas: [2, 1]", "replicas: [2, 1] is out of bounds"),
            ("rates: [200, 400]", "rates: []", "rates: nothing to choose from"),
            ("kill: 3", "kil: 3", "kil"),
            ("window: 4", "window: 0", "window"),
        ] {
            assert!(gentle.contains(from), "{from}");
            let error = Profile::parse(&gentle.replace(from, to), Path::new("gentle")).expect_err(to).to_string();
            assert!(error.contains(expected), "{error}");
        }
        for (name, _) in PROFILES {
            Profile::load(name).expect("a built-in profile is possible");
        }
        assert!(Profile::load("tame").expect_err("no such file").to_string().contains("hint: `gentle`, `rough`"));
    }
}
