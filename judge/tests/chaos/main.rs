//! Chaos without servers: schedules are drawn, written, mutated and shrunk, on a cluster that is a model in memory.

mod guided;
mod known;
mod model;
mod promised;
mod schedules;
mod shrinking;

use slotquake_judge::chaos::{Profile, Schedule, draw};
use slotquake_judge::seeded::Seeded;

/// A built-in profile.
fn profile(name: &str) -> Profile {
    Profile::load(name).expect("a profile")
}

/// A schedule of a profile.
fn drawn(profile: &Profile, seed: u64) -> Schedule {
    draw(profile, "redis:6.2", &mut Seeded::new(seed, "schedule"))
}
