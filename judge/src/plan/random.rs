//! Draws the faults of `random` steps, which a plan has as ordinary steps.

use std::time::Duration;

use super::{Problems, Shape};
use crate::seeded::Seeded;
use crate::suite::{IfImpossible, RandomFaults, Step, Suite};
use crate::units::{ShardNo, Span};

/// More would be no plan that a person can read.
const FAULTS_MAX: u128 = 500;

/// What is wrong with a `random` step.
pub(super) fn check(at: &str, random: &RandomFaults, suite: &Suite, problems: &mut Problems) {
    if random.faults.is_empty() {
        problems.add(format!("{at}.faults"), "there is nothing to draw from (hint: `[kill, pause]`)");
    }
    let least = random.every.least.0.as_millis();
    if least == 0 {
        problems.add(format!("{at}.every"), "faults would follow each other without a pause (hint: `2s..10s`)");
    } else if random.whole.0.as_millis() / least > FAULTS_MAX {
        let message = format!("that may be more than {FAULTS_MAX} faults (hint: a longer `every`, or a shorter `for`)");
        problems.add(format!("{at}.for"), message);
    }
    if suite.if_impossible != IfImpossible::Skip {
        problems.add(at, "a fault that is drawn may be impossible when its turn comes (hint: `if-impossible: skip`)");
    }
}

/// The steps of a suite, with those that are drawn in the place of each `random`.
pub(super) fn expand(steps: &[Step], shape: &Shape, seed: u64) -> Vec<Step> {
    let mut all = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::Random(random) => all.extend(draw(random, index, shape, seed)),
            step => all.push(step.clone()),
        }
    }
    all
}

fn draw(random: &RandomFaults, index: usize, shape: &Shape, seed: u64) -> Vec<Step> {
    let mut seeded = Seeded::new(seed, &format!("random {index}"));
    let shards: Vec<ShardNo> = shape.deal.shards().collect();
    let read = |text: &str| Step::try_from(text).unwrap_or_else(|error| panic!("`{text}`: {error}"));
    let mut timed: Vec<(Duration, Step)> = Vec::new();
    let mut now = random.every.draw(&mut seeded);
    while now < random.whole.0 {
        let act = random.faults[seeded.below(random.faults.len() as u64) as usize];
        let shard = shards[seeded.below(shards.len() as u64) as usize];
        let name = format!("{}-{index}-{}", act.name(), timed.len());
        let lasts = random.lasts.unwrap_or(random.every).draw(&mut seeded);
        if let Some((step, undo)) = act.steps(shard, shape.replicas_of(shard) > 0, &name, &mut seeded) {
            timed.push((now, read(&step)));
            timed.extend(undo.map(|undo| ((now + lasts).min(random.whole.0), read(&undo))));
        }
        now += random.every.draw(&mut seeded);
    }
    timed.sort_by_key(|(at, _)| *at);
    let mut steps = Vec::new();
    let mut now = Duration::ZERO;
    for (at, step) in timed {
        if let Some(rest) = at.checked_sub(now).filter(|rest| !rest.is_zero()) {
            steps.push(Step::Settle(Span(rest)));
            now = at;
        }
        steps.push(step);
    }
    if let Some(rest) = random.whole.0.checked_sub(now).filter(|rest| !rest.is_zero()) {
        steps.push(Step::Settle(Span(rest)));
    }
    steps
}
