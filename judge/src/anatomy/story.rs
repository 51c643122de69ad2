//! A failover in one sentence.

use super::{Anatomy, Election, What};
use crate::words::{brief, count, list};

/// `6.9 s from the kill of node-1 to the first write: 5.9 s detection, 0.8 s election delay, 0.2 s vote`.
/// `watched_ms` is the time of the failover in the history, in milliseconds.
pub(super) fn sentence(anatomy: &Anatomy, watched_ms: f64) -> String {
    let cause = anatomy.cause();
    let Some(promoted_ms) = anatomy.at(What::Promotion) else {
        let hindrance = hindrance(anatomy, anatomy.at(What::Fail));
        return format!("no replica took over within {} of {cause}: {hindrance}", brief(watched_ms));
    };
    let (total_ms, end) = match anatomy.at(What::FirstWrite) {
        Some(write_ms) => (write_ms.max(promoted_ms), "first write"),
        None => (promoted_ms, "promotion"),
    };
    let parts: Vec<String> = phases(anatomy)
        .into_iter()
        .map(|(name, from_ms, to_ms)| format!("{} {name}", brief(to_ms - from_ms)))
        .collect();
    let mut text = format!("{} from {cause} to the {end}: {}", brief(total_ms), parts.join(", "));
    text.push_str(&elections(&anatomy.elections));
    if anatomy.majority_lost {
        text.push_str("; the remaining masters were not a majority");
    }
    if !anatomy.wrong_clocks.is_empty() {
        text = format!("{text}; the clock of {} was wrong", list(&anatomy.wrong_clocks));
    }
    if !anatomy.faulty_disks.is_empty() {
        text = format!("{text}; the disk of {} was faulty", list(&anatomy.faulty_disks));
    }
    text
}

/// The phases of a failover with a promotion: name, start and end in milliseconds, without gaps. If the end
/// of a phase is unknown, the next phase includes it.
pub fn phases(anatomy: &Anatomy) -> Vec<(&'static str, f64, f64)> {
    let at = |what| anatomy.at(what);
    let (began, promotion) = (at(What::Election), at(What::Promotion));
    let first = anatomy.elections.first().filter(|first| first.won_ms.is_none()).map(|first| first.began_ms);
    let first = first.filter(|_| began.is_some());
    let ends = if anatomy.kind.is_some() {
        vec![
            (at(What::Fail), "detection"),
            (first.or(began), "election delay"),
            (began.filter(|_| first.is_some()), "lost elections"),
        ]
    } else {
        let paused = at(What::Paused).map(|_| "until clients were paused");
        vec![
            (at(What::Paused).or(at(What::Accepted)), paused.unwrap_or("until the command was accepted")),
            (at(What::CaughtUp), "catching up"),
            (began.filter(|_| at(What::CaughtUp).is_none()), "until votes were requested"),
        ]
    };
    let vote = match (began, anatomy.kind) {
        (Some(_), _) => "vote",
        (None, Some(_)) => "election",
        (None, None) => "promotion",
    };
    let first_write =
        at(What::FirstWrite).filter(|write_ms| promotion.is_some_and(|promoted_ms| *write_ms >= promoted_ms));
    let ends = ends.into_iter().chain([(promotion, vote), (first_write, "until a client wrote")]);
    let mut phases = Vec::new();
    let mut last_ms = 0.0_f64;
    for (end, name) in ends {
        // Times of logs and polls differ by their errors. No phase has a negative duration.
        if let Some(end_ms) = end.map(|end_ms| end_ms.max(last_ms)) {
            phases.push((name, last_ms, end_ms));
            last_ms = end_ms;
        }
    }
    phases
}

fn hindrance(anatomy: &Anatomy, fail: Option<f64>) -> String {
    let Some(fail_ms) = fail else {
        return "no node reported FAIL".to_owned();
    };
    let known = format!("FAIL after {}", brief(fail_ms));
    if !anatomy.blocked.is_empty() {
        return format!("{known}; {}", anatomy.blocked.join("; "));
    }
    match anatomy.elections.len() {
        0 => {
            let were = if anatomy.absent.len() == 1 { "was" } else { "were" };
            let absent = if anatomy.absent.is_empty() {
                String::new()
            } else {
                format!(" ({} {were} also affected by a fault)", list(&anatomy.absent))
            };
            format!("{known}, and no replica began an election{absent}")
        }
        _ => format!("{known}{}", elections(&anatomy.elections)),
    }
}

/// Describes the lost elections.
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
            (true, votes) => format!("got {}{}", count(votes as u64, "vote"), belated(election)),
        };
        format!("that of {} for epoch {} {why}", election.candidate, election.epoch)
    });
    let described: Vec<String> = described.collect();
    format!("; {}: {}", count(elections.len() as u64, "election"), described.join("; "))
}

/// Shows late votes: a vote does not count after the candidate's timeout.
fn belated(election: &Election) -> String {
    let last_ms = election.granted.values().copied().fold(election.began_ms, f64::max) - election.began_ms;
    if last_ms < 1000.0 { String::new() } else { format!(", the last after {}", brief(last_ms)) }
}
