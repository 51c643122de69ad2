//! The anatomy of failovers as text.

use std::fmt::Write;

use tabled::builder::Builder;
use tabled::settings::Color;

use super::figures::time_text;
use super::layout::{Style, draw, wrapped};
use crate::anatomy::{Anatomy, Election};
use crate::words::{count, list};

/// For each failover the sentence, the milestones with the times by the server's rules, and the elections.
pub(super) fn render_anatomy(all: &[Anatomy], style: Style) -> String {
    let mut text = String::new();
    for anatomy in all {
        let head = format!("{} of {}", if anatomy.fault.is_some() { "failover" } else { "handover" }, anatomy.shard);
        let _ = writeln!(text, "\n{head}: {}", wrapped(&anatomy.sentence, 2, style.width));
        if !anatomy.milestones.is_empty() {
            text.push_str(&milestones(anatomy, style));
        }
        for election in &anatomy.elections {
            let _ = writeln!(text, "  {}", wrapped(&election_text(election), 4, style.width));
        }
        for reason in &anatomy.blocked {
            let _ = writeln!(text, "  could not take over: {}", wrapped(reason, 4, style.width));
        }
        if let Some(error_ms) = anatomy.log_error_ms {
            let _ = writeln!(
                text,
                "  times from logs and of the last PONG are at most {} late and 1 ms early",
                time_text(error_ms)
            );
        }
    }
    text
}

fn milestones(anatomy: &Anatomy, style: Style) -> String {
    let mut builder = Builder::default();
    builder.push_record(["  milestone", "in time", "after", "took", "expected", "limit", "source"]);
    let mut colours = Vec::new();
    for (index, milestone) in anatomy.milestones.iter().enumerate() {
        let within = match milestone.bound_ms {
            None => "-",
            Some(_) if milestone.late() => "late",
            Some(_) => "yes",
        };
        colours.push(if milestone.late() { Color::FG_RED } else { Color::empty() });
        let node = milestone.node.map(|node| format!(" {node}")).unwrap_or_default();
        builder.push_record([
            format!("  {}", milestone.what.words()),
            within.to_owned(),
            signed(milestone.after_ms),
            time_text(milestone.after_ms - anatomy.preceding_ms(index)),
            milestone
                .expected_ms
                .map_or_else(|| "-".to_owned(), |(from, to)| format!("{} to {}", time_text(from), time_text(to))),
            milestone.bound_ms.map_or_else(|| "-".to_owned(), time_text),
            format!("{}{node}", milestone.source),
        ]);
    }
    format!("{}\n", draw(builder, 1, colours.into_iter(), style).trim_end_matches('\n'))
}

/// The last PONG may come before the fault.
fn signed(ms: f64) -> String {
    if ms < 0.0 { format!("-{}", time_text(-ms)) } else { time_text(ms) }
}

/// `election of node-4 for epoch 7: rank 0, delay 612 ms, 2 votes (node-2, node-3), won`.
fn election_text(election: &Election) -> String {
    let mut text = format!("election of {} for epoch {}:", election.candidate, election.epoch);
    if let (Some(rank), Some(delay_ms)) = (election.rank, election.delay_ms) {
        let _ = write!(text, " rank {rank}, delay {delay_ms} ms,");
    }
    let _ = write!(text, " {}", count(election.granted.len() as u64, "vote"));
    if !election.granted.is_empty() {
        let _ = write!(text, " ({})", list(election.granted.keys()));
    }
    for (node, reason) in &election.denied {
        let _ = write!(text, ", denied by {node} ({reason})");
    }
    text.push_str(if election.won_ms.is_some() { ", won" } else { ", lost" });
    text
}
