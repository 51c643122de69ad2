//! Chaos: schedules that are drawn, judged by what the servers promise under them, guided by what they reach, and shrunk to
//! the smallest that still fails. Pure: a campaign runs them.

mod draw;
mod failure;
mod guide;
mod interval;
mod known;
mod profile;
mod promises;
mod record;
mod schedule;
mod shrink;
mod situations;
mod summary;

pub use crate::suite::Act;
pub use draw::{draw, mutate};
pub use failure::{Failure, ShardRole, failures};
pub use guide::Guide;
pub use interval::Rate;
pub use known::{Known, known_markdown};
pub use profile::{PROFILES, Profile};
pub use promises::{Claim, Promise, Stand, invariants, promises};
pub use record::{Campaign, CampaignHeader, Ended, Entry, Finding, JOURNAL_VERSION, Record};
pub use schedule::{Move, Schedule};
pub use shrink::{Shrinker, Sprt};
pub use situations::{SOMETIMES, situations};
pub use summary::{campaign_junit, campaign_page, folder_of, render_campaign, render_campaign_markdown};

use crate::suite::Suite;

/// A schedule as a suite that judges it by the promises of the servers, and by what the profile forbids.
pub fn suite(schedule: &Schedule, name: &str, forbid: &[Claim]) -> (Suite, Vec<Promise>) {
    let promises = promises(schedule, forbid);
    let words = |stand: Stand| {
        let claims = promises.iter().filter(|promise| promise.stand == stand);
        let names: Vec<&str> = claims.map(|promise| promise.claim.word()).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    let about = format!(
        "Drawn by slotquake chaos. Promised: {}. Forbidden by the profile: {}. May fail: {}. No rule covers: {}.",
        words(Stand::Promised),
        words(Stand::Forbidden),
        words(Stand::Allowed),
        words(Stand::Unknown)
    );
    let invariants = invariants(schedule, &promises);
    (schedule.suite(name, &about, invariants), promises)
}
