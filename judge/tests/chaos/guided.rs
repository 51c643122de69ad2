//! Guided against random, with equal numbers of runs: situations reached, and runs until a planted bug shows.

use slotquake_judge::chaos::{Guide, Profile, Schedule, draw, suite};
use slotquake_judge::seeded::Seeded;

use crate::model::{Bug, run};
use crate::profile;

/// How the next schedule is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choose {
    Guided,
    Random,
}

/// Does so many runs. Returns the number of situations reached, and the run in which the bug showed first.
fn campaign(choose: Choose, profile: &Profile, bug: Bug, seed: u64, runs: u32) -> (usize, Option<u32>) {
    let mut guide = Guide::default();
    let mut found = None;
    for number in 1..=runs {
        let mut random = Seeded::new(seed, &format!("run {number}"));
        let schedule: Schedule = match choose {
            Choose::Guided => guide.next(profile, "redis:6.2", &mut random),
            Choose::Random => draw(profile, "redis:6.2", &mut random),
        };
        let (_, promises) = suite(&schedule, "model", &profile.forbid);
        let (failures, reached) = run(&schedule, &promises, bug);
        if !failures.is_empty() && found.is_none() {
            found = Some(number);
        }
        guide.learn(&schedule, reached);
    }
    (guide.reached().len(), found)
}

fn middle(mut numbers: Vec<u32>) -> u32 {
    numbers.sort_unstable();
    numbers[numbers.len() / 2]
}

const SEEDS: u64 = 40;
const RUNS: u32 = 1000;

/// Prints the table of docs/chaos.md: `cargo test -p slotquake-judge --release --test chaos -- --ignored --nocapture compared`.
#[test]
#[ignore = "a measurement"]
fn compared_on_the_model() {
    let profile = profile("rough");
    println!(
        "| planted bug | guided: runs to find it, median (found by {SEEDS} seeds in {RUNS}) | random | situations |"
    );
    for bug in [Bug::DropsWrites, Bug::TwoMasters, Bug::NeverPromotes, Bug::ForgetsVote] {
        let of = |choose| {
            let all: Vec<_> = (0..SEEDS).map(|seed| campaign(choose, &profile, bug, seed, RUNS)).collect();
            let found = all.iter().filter(|(_, found)| found.is_some()).count();
            let runs = middle(all.iter().map(|(_, found)| found.unwrap_or(RUNS)).collect());
            (runs, found, middle(all.iter().map(|(situations, _)| *situations as u32).collect()))
        };
        let (guided, random) = (of(Choose::Guided), of(Choose::Random));
        println!(
            "| {bug:?} | {} ({} of {SEEDS}) | {} ({} of {SEEDS}) | {} and {} |",
            guided.0, guided.1, random.0, random.1, guided.2, random.2
        );
    }
}

#[test]
fn a_guided_campaign_finds_what_a_random_one_finds() {
    let profile = profile("rough");
    for seed in 0..3 {
        for choose in [Choose::Guided, Choose::Random] {
            let (situations, found) = campaign(choose, &profile, Bug::TwoMasters, seed, 500);
            assert!(found.is_some(), "{choose:?} seed {seed}");
            assert!(situations > 5, "{choose:?} seed {seed}: {situations}");
        }
    }
}
