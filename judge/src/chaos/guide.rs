//! Guidance: a schedule that reached something new is changed a little, in the hope that it reaches more.

use std::collections::BTreeMap;

use super::{Profile, Schedule, draw, mutate};
use crate::seeded::Seeded;

/// What a campaign has reached, and the schedules that reached it first.
#[derive(Debug, Clone, Default)]
pub struct Guide {
    corpus: Vec<Schedule>,
    reached: BTreeMap<String, u64>,
}

impl Guide {
    /// Takes in what a schedule reached. Returns what nothing had reached before.
    pub fn learn(&mut self, schedule: &Schedule, situations: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut new = Vec::new();
        for situation in situations {
            let count = self.reached.entry(situation.clone()).or_default();
            *count += 1;
            if *count == 1 {
                new.push(situation);
            }
        }
        if !new.is_empty() {
            self.corpus.push(schedule.clone());
        }
        new
    }

    /// How many runs reached each situation.
    pub fn reached(&self) -> &BTreeMap<String, u64> {
        &self.reached
    }

    /// The next schedule: half of them are new, so that a campaign does not circle around what it knows.
    pub fn next(&self, profile: &Profile, server: &str, random: &mut Seeded) -> Schedule {
        let begin = self.corpus.len().saturating_sub(RECENT);
        let recent = &self.corpus[begin..];
        if recent.is_empty() || random.below(2) == 0 {
            return draw(profile, server, random);
        }
        let base = &recent[random.below(recent.len() as u64) as usize];
        Schedule { server: server.to_owned(), ..mutate(base, profile, random) }
    }
}

/// How many of the latest schedules that reached something new are changed.
const RECENT: usize = 32;
