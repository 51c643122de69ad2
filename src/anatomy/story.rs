//! A failover in one sentence.

use super::{Anatomy, Election, What};

/// `6.9 s from the kill of node-1 to the first write: 5.9 s detection, 0.8 s election delay, 0.2 s vote`.
/// `watched_ms` is for how long a successor was looked for.
pub(super) fn sentence(anatomy: &Anatomy, watched_ms: f64) -> String {
    let at = |what| anatomy.milestones.iter().find(|found| found.what == what).map(|found| found.after_ms);
    let (fail, began, promotion) = (at(What::Fail), at(What::Election), at(What::Promotion));
    let cause = format!("the {} of {}", anatomy.kind, anatomy.old_master);
    let Some(promoted_ms) = promotion else {
        return format!("nobody took over within {} of {cause}: {}", seconds(watched_ms), hindrance(anatomy, fail));
    };
    let mut parts = Vec::new();
    let mut last_ms = 0.0;
    let mut part = |until_ms: Option<f64>, name: &str| {
        if let Some(until_ms) = until_ms {
            // Clocks of logs and polls may disagree by their errors; no part is shorter than nothing.
            let length_ms = (until_ms - last_ms).max(0.0);
            last_ms = last_ms.max(until_ms);
            parts.push(format!("{} {name}", seconds(length_ms)));
        }
    };
    part(fail, "detection");
    let first_began = anatomy.elections.first().filter(|first| first.won_ms.is_none()).map(|first| first.began_ms);
    if let Some(first_ms) = first_began.filter(|_| began.is_some()) {
        part(Some(first_ms), "election delay");
        part(began, "lost elections");
    } else {
        part(began, "election delay");
    }
    part(promotion, if began.is_some() { "vote" } else { "election" });
    let first_write = at(What::FirstWrite).filter(|write_ms| *write_ms >= promoted_ms);
    part(first_write, "until a client wrote");
    let (total_ms, end) = match at(What::FirstWrite) {
        Some(write_ms) => (write_ms.max(promoted_ms), "first write"),
        None => (promoted_ms, "promotion"),
    };
    let mut text = format!("{} from {cause} to the {end}: {}", seconds(total_ms), parts.join(", "));
    text.push_str(&elections(&anatomy.elections));
    if anatomy.majority_lost {
        text.push_str("; the masters that were left were no majority");
    }
    text
}

fn hindrance(anatomy: &Anatomy, fail: Option<f64>) -> String {
    let Some(fail_ms) = fail else {
        return "no majority was seen to hold it for failed".to_owned();
    };
    let known = format!("FAIL after {}", seconds(fail_ms));
    if !anatomy.blocked.is_empty() {
        return format!("{known}; {}", anatomy.blocked.join("; "));
    }
    match anatomy.elections.len() {
        0 => {
            let absent: Vec<String> = anatomy.absent.iter().map(ToString::to_string).collect();
            let were = if absent.len() == 1 { "was" } else { "were" };
            let absent = if absent.is_empty() {
                String::new()
            } else {
                format!(" ({} {were} hit by a fault, too)", absent.join(", "))
            };
            format!("{known}, and no replica began an election{absent}")
        }
        _ => format!("{known}{}", elections(&anatomy.elections)),
    }
}

/// What there is to say of elections that were not won at once.
fn elections(elections: &[Election]) -> String {
    let lost: Vec<&Election> = elections.iter().filter(|election| election.won_ms.is_none()).collect();
    if lost.is_empty() {
        return String::new();
    }
    let described = lost.iter().map(|election| {
        let mut reasons: Vec<&str> = election.denied.values().map(String::as_str).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let why = match (reasons.is_empty(), election.granted.len()) {
            (false, _) => format!("was denied because {}", reasons.join(", and ")),
            (true, votes) => format!("got {votes} {}", if votes == 1 { "vote" } else { "votes" }),
        };
        format!("that of {} for epoch {} {why}", election.candidate, election.epoch)
    });
    let described: Vec<String> = described.collect();
    let count = elections.len();
    format!("; {count} {}: {}", if count == 1 { "election" } else { "elections" }, described.join("; "))
}

/// `5.9 s`; below a tenth of a second in milliseconds.
fn seconds(ms: f64) -> String {
    if ms < 99.5 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1e3) }
}
