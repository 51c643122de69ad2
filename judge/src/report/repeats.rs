//! The table of repeated runs: the median and the range of each figure.

use tabled::builder::Builder;

use super::figures::{Figures, time_text};
use super::layout::{Style, draw};
use super::statistics::median;
use super::summary::{Standing, Summary};
use super::table::HEADINGS;
use crate::check::Verdict;

/// The median and the range of the figures of each suite and server that ran more than once; empty if none did.
pub(super) fn render_repeats(runs: &[Summary], style: Style) -> String {
    let mut builder = Builder::default();
    builder.push_record(["suite", "server", "passed"].into_iter().chain(HEADINGS.into_iter().skip(3)));
    let mut colours = Vec::new();
    let key_of = |run: &Summary| (run.variant(), run.server.clone());
    let mut keys: Vec<(String, String)> = Vec::new();
    for run in runs {
        let key = key_of(run);
        if keys.contains(&key) {
            continue;
        }
        let same: Vec<&Summary> = runs.iter().filter(|other| key_of(other) == key).collect();
        keys.push(key);
        let figures: Vec<&Figures> = same.iter().filter_map(|run| run.figures.as_ref()).collect();
        if figures.len() < 2 {
            continue;
        }
        let passed = same.iter().filter(|run| run.standing == Standing::Judged(Verdict::Pass)).count();
        let time = |of: fn(&Figures) -> Option<f64>| {
            spread(&figures.iter().filter_map(|figures| of(figures)).collect::<Vec<f64>>(), time_text)
        };
        let number = |of: fn(&Figures) -> u64| {
            spread(&figures.iter().map(|figures| of(figures) as f64).collect::<Vec<f64>>(), whole)
        };
        builder.push_record([
            run.variant(),
            run.server.clone(),
            format!("{passed} of {}", same.len()),
            time(|figures| figures.fail_ms),
            time(|figures| figures.promotion_ms),
            time(|figures| figures.first_write_ms),
            time(|figures| figures.read_outage.map(|outage| outage.length_ms)),
            time(|figures| figures.write_outage.map(|outage| outage.length_ms)),
            number(|figures| figures.acknowledged),
            number(Figures::lost_in_all),
        ]);
        let worst = same.iter().map(|run| &run.standing).max_by_key(|standing| standing.weight());
        colours.extend(
            worst.map(|worst| super::table::standing_colour(worst, same.iter().any(|run| run.passed_with_losses()))),
        );
    }
    if colours.is_empty() {
        return String::new();
    }
    format!(
        "\nrepeated runs: the median, and in parentheses the least and the most\n{}",
        draw(builder, 2, colours.into_iter(), style)
    )
}

fn whole(number: f64) -> String {
    format!("{number:.0}")
}

/// `7.36 s (6.91 s-7.92 s)`.
fn spread(values: &[f64], text: impl Fn(f64) -> String) -> String {
    let least = values.iter().copied().reduce(f64::min);
    let most = values.iter().copied().reduce(f64::max);
    match (median(values), least, most) {
        (Some(median), Some(least), Some(most)) if text(least) == text(most) => text(median),
        (Some(median), Some(least), Some(most)) => format!("{} ({}-{})", text(median), text(least), text(most)),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::fixture;
    use super::*;

    #[test]
    fn repeated_runs_have_a_median_and_a_range() {
        let run = |suite: &str, promotion_ms: f64| {
            let mut report = fixture::report(suite, Verdict::Pass);
            report.failovers[0].promotion_ms = Some(promotion_ms);
            Summary::new(&report, Path::new("x"))
        };
        let runs = [run("a", 7000.0), run("a", 9000.0), run("b", 1.0), run("a", 7500.0)];
        let shown = render_repeats(&runs, Style::default());
        let line = shown.lines().find(|line| line.starts_with('a')).expect("a row");
        assert!(line.contains("3 of 3") && line.contains("7.50 s (7.00 s-9.00 s)"), "{shown}");
        assert!(line.contains(" 6.71 s ") && !line.contains("6.71 s ("), "all were alike: {shown}");
        assert!(!shown.lines().any(|line| line.starts_with('b')), "it ran once: {shown}");
        assert_eq!(render_repeats(&runs[2..], Style::default()), "");
    }
}
