//! Checks judge histories that are ok and histories that are not.

#![allow(clippy::float_cmp, reason = "figures are whole milliseconds or exact quotients")]

mod cause;
mod cluster;
mod cut;
mod deal;
mod disk;
mod effect;
mod epochs;
mod events;
mod failover;
mod harness;
mod kinds;
mod lag;
mod latency;
mod ledger;
mod lineage;
mod network;
mod patience;
mod power;
mod promoted;
mod reads;
mod replicas;
mod servers;
mod shortcut;
mod sides;
mod starts;
#[path = "../support/stored.rs"]
mod stored;
mod story;
mod timing;
mod unsent;
#[path = "../support/views.rs"]
mod views;
mod writers;

use slotquake_judge::check::Verdict;
use slotquake_judge::history::History;

/// Judges rows of name, history, expected verdict, and a text that `seen` must contain.
fn expect(invariant: &str, rows: Vec<(&str, History, Verdict, &str)>) {
    for (name, history, verdict, words) in rows {
        let judgement = story::judged(&history, invariant);
        assert_eq!(judgement.verdict, verdict, "{name}: {judgement:#?}");
        assert!(judgement.seen.contains(words), "{name}: no `{words}` in {judgement:#?}");
        assert!(!judgement.expected.is_empty(), "{name}: {judgement:#?}");
        if verdict == Verdict::Pass {
            assert!(judgement.observations > 0, "{name} passed without having observed anything: {judgement:#?}");
        }
    }
}
