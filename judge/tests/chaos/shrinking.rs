//! Planted bugs are found within a bounded number of runs, and shrunk to the smallest schedule that shows them.

use slotquake_judge::chaos::{Claim, Failure, Guide, Profile, Rate, Schedule, Shrinker, Sprt, suite};
use slotquake_judge::seeded::Seeded;
use slotquake_judge::suite::to_yaml;

use crate::model::{Bug, run};
use crate::{drawn, profile};

fn fails(schedule: &Schedule, bug: Bug, forbid: &[Claim]) -> Vec<Failure> {
    let (_, promises) = suite(schedule, "model", forbid);
    run(schedule, &promises, bug).0
}

/// The first schedule on which a bug fails a claim, and how many runs that took.
fn find(profile: &Profile, bug: Bug, seed: u64, most: u32) -> (Schedule, Failure, u32) {
    let mut guide = Guide::default();
    let mut random = Seeded::new(seed, "campaign");
    for runs in 1..=most {
        let schedule = guide.next(profile, "redis:6.2", &mut random);
        let (_, promises) = suite(&schedule, "model", &profile.forbid);
        let (failures, reached) = run(&schedule, &promises, bug);
        if let Some(failure) = failures.into_iter().next() {
            return (schedule, failure, runs);
        }
        guide.learn(&schedule, reached);
    }
    panic!("{bug:?} is not found in {most} runs with seed {seed}");
}

/// Shrinks, with failures that come out only in a share of the runs.
fn shrink(
    found: Schedule,
    failure: &Failure,
    bug: Bug,
    profile: &Profile,
    (share, side_by_side): (f64, usize),
) -> (Schedule, u32) {
    let mut luck = Seeded::new(5, "luck");
    let rate = Rate { hits: (share * 20.0) as u32, of: 20 };
    let mut shrinker = Shrinker::new(found, rate, profile, 5000);
    loop {
        let candidates = shrinker.candidates(side_by_side);
        if candidates.is_empty() {
            break;
        }
        assert!(candidates.len() <= side_by_side);
        let run = |candidate: &Schedule| {
            assert!(profile.admits(candidate), "{candidate:?}");
            fails(candidate, bug, &profile.forbid).contains(failure) && luck.fraction() < share
        };
        let failed: Vec<Option<bool>> = candidates.iter().map(run).map(Some).collect();
        let before = shrinker.best().size();
        let accepted = shrinker.observe(&failed);
        assert_eq!(accepted, shrinker.best().size() < before);
    }
    (shrinker.best().clone(), shrinker.runs())
}

#[test]
fn a_model_without_a_bug_has_no_false_alarm() {
    for name in ["gentle", "rough"] {
        let profile = profile(name);
        for seed in 0..2000 {
            let schedule = drawn(&profile, seed);
            let failed = fails(&schedule, Bug::None, &[]);
            assert_eq!(failed, [], "{name} {seed}: {}", to_yaml(&suite(&schedule, "model", &[]).0));
        }
    }
}

#[test]
fn planted_bugs_are_found_and_shrunk_to_the_known_minimum() {
    let profile = profile("rough");
    for (bug, invariant, moves, most) in [
        (Bug::DropsWrites, "acked-writes", 1, 2000),
        (Bug::TwoMasters, "slot-coverage", 1, 500),
        (Bug::NeverPromotes, "availability", 1, 2000),
        (Bug::ForgetsVote, "epochs", 2, 2000),
    ] {
        for seed in 0..5 {
            let (found, failure, runs) = find(&profile, bug, seed, most);
            assert_eq!(failure.invariant, invariant, "{bug:?}");
            let (smallest, tried) = shrink(found.clone(), &failure, bug, &profile, (1.0, 1 + seed as usize % 3));
            let text = to_yaml(&suite(&smallest, "smallest", &[]).0);
            assert!(fails(&smallest, bug, &[]).contains(&failure), "{bug:?}:\n{text}");
            assert_eq!(smallest.moves.len(), moves, "{bug:?} seed {seed}, found in {runs}, {tried} tried:\n{text}");
            assert_eq!((smallest.masters, smallest.config.len()), (3, 0), "{bug:?}:\n{text}");
            assert!(smallest.size() <= found.size());
        }
    }
}

#[test]
fn failures_by_luck_are_shrunk_as_well() {
    let profile = profile("rough");
    for share in [0.8, 0.4, 0.2] {
        let (found, failure, _) = find(&profile, Bug::TwoMasters, 1, 500);
        let (smallest, runs) = shrink(found, &failure, Bug::TwoMasters, &profile, (share, 2));
        assert!(smallest.moves.len() <= 2, "{share}: {} moves after {runs} runs", smallest.moves.len());
        assert!(fails(&smallest, Bug::TwoMasters, &[]).contains(&failure), "{share}");
    }
}

#[test]
fn shrinking_ends_by_its_runs_whatever_they_show() {
    let profile = profile("rough");
    for (seed, answer) in [(1, Some(true)), (2, Some(false)), (3, None)] {
        let mut shrinker = Shrinker::new(drawn(&profile, seed), Rate { hits: 1, of: 2 }, &profile, 300);
        loop {
            let candidates = shrinker.candidates(seed as usize);
            if candidates.is_empty() {
                break;
            }
            shrinker.observe(&vec![answer; candidates.len()]);
        }
        assert!(shrinker.runs() <= 300, "{}", shrinker.runs());
    }
}

#[test]
fn a_test_errs_as_seldom_as_it_says() {
    let mut luck = Seeded::new(9, "sprt");
    for rate in [Rate { hits: 19, of: 20 }, Rate { hits: 10, of: 20 }, Rate { hits: 4, of: 20 }] {
        let test = Sprt::of(rate);
        let mut accepted = |share: f64| {
            let decide = |luck: &mut Seeded| {
                let mut test = test;
                loop {
                    if let Some(decided) = test.observe(luck.fraction() < share) {
                        return decided;
                    }
                }
            };
            (0..2000).filter(|_| decide(&mut luck)).count()
        };
        // Some more than 5 %: a test that is cut off refuses.
        assert!(accepted(test.high) > 1800, "{rate}: {}", accepted(test.high));
        assert!(accepted(test.low) < 120, "{rate}: {}", accepted(test.low));
    }
}
