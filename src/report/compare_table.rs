//! How a comparison is shown to people.

use std::fmt::Write;

use tabled::builder::Builder;
use tabled::settings::Color;

use super::compare::{Comparison, FigureChange, Pair};
use super::summary::short_server;
use super::table::{Style, draw, invariant_name, plural, time_text};
use crate::check::Verdict;

/// Which verdicts and figures differ, then what else is not the same on both sides.
pub fn render_comparison(comparison: &Comparison, style: Style) -> String {
    let mut builder = Builder::default();
    builder.push_record(["suite", "server", "what", "change", "base", "new"]);
    let mut colours = Vec::new();
    for pair in &comparison.pairs {
        for (index, row) in rows(pair).into_iter().enumerate() {
            let name = |text: String| if index == 0 { text } else { String::new() };
            builder.push_record([
                name(pair.suite.clone()),
                name(short_server(&pair.server)),
                row.what,
                row.change,
                row.base,
                row.new,
            ]);
            colours.push(row.colour);
        }
    }
    let mut text = String::new();
    if !comparison.pairs.is_empty() {
        text = draw(builder, 3, colours.into_iter(), style);
        text.push('\n');
    }
    for pair in &comparison.pairs {
        for difference in &pair.differences {
            let _ = writeln!(text, "not the same  {} {}: {difference}", pair.suite, short_server(&pair.server));
        }
        if pair.base_runs + pair.new_runs > 2 {
            let _ = writeln!(
                text,
                "several runs  {} {}: {} against {}; the worst of each is compared",
                pair.suite,
                short_server(&pair.server),
                pair.base_runs,
                pair.new_runs
            );
        }
    }
    for (side, keys) in [("base", &comparison.only_in_base), ("new", &comparison.only_in_new)] {
        for key in keys {
            let _ = writeln!(text, "only in {side:4}  {} {}", key.suite, short_server(&key.server));
        }
    }
    let _ = writeln!(text, "{}", conclusion(comparison));
    text
}

struct Row {
    what: String,
    change: String,
    base: String,
    new: String,
    colour: Color,
}

fn rows(pair: &Pair) -> Vec<Row> {
    let mut rows = vec![verdict_row("verdict".to_owned(), Some(pair.base_verdict), Some(pair.new_verdict))];
    for change in pair.invariants.iter().filter(|change| change.base != change.new) {
        rows.push(verdict_row(invariant_name(&change.invariant, &change.settings), change.base, change.new));
    }
    rows.extend(pair.figures.iter().filter(|change| change.base != change.new).map(figure_row));
    rows
}

fn verdict_row(what: String, base: Option<Verdict>, new: Option<Verdict>) -> Row {
    let (change, colour) = match (base, new) {
        (Some(base), Some(new)) if new > base => ("worse", Color::FG_RED),
        (Some(base), Some(new)) if new < base => ("better", Color::FG_GREEN),
        (Some(_), None) => ("vanished", Color::FG_YELLOW),
        (None, Some(_)) => ("appeared", Color::FG_YELLOW),
        _ => ("same", Color::empty()),
    };
    let word = |verdict: Option<Verdict>| verdict.map_or("-", Verdict::word).to_owned();
    Row { what, change: change.to_owned(), base: word(base), new: word(new), colour }
}

fn figure_row(change: &FigureChange) -> Row {
    let is_time = change.figure.ends_with("_ms");
    let show = |value: Option<f64>| match value {
        None => "-".to_owned(),
        Some(ms) if is_time => time_text(ms),
        Some(count) => format!("{count:.0}"),
    };
    let difference = match (change.base, change.new) {
        (Some(base), Some(new)) if is_time => {
            let sign = if new < base { '-' } else { '+' };
            format!("{sign}{}", time_text((new - base).abs()))
        }
        (Some(base), Some(new)) => format!("{:+.0}", new - base),
        (Some(_), None) => "vanished".to_owned(),
        _ => "appeared".to_owned(),
    };
    Row {
        what: change.figure.trim_end_matches("_ms").replace('_', " "),
        change: difference,
        base: show(change.base),
        new: show(change.new),
        colour: Color::empty(),
    }
}

fn conclusion(comparison: &Comparison) -> String {
    let count = comparison.pairs.len();
    let worse = comparison.pairs.iter().filter(|pair| pair.worse()).count();
    let better = comparison.pairs.iter().filter(|pair| pair.better()).count();
    if count == 0 {
        return "nothing in common: no suite is on both sides".to_owned();
    }
    let mut text = format!("{count} compared: {worse} worse, {better} better, {} alike", count - worse - better);
    let vanished: usize =
        comparison.pairs.iter().flat_map(|pair| &pair.invariants).filter(|change| change.new.is_none()).count();
    if vanished > 0 {
        let _ = write!(text, "; {vanished} {} not judged any more", plural(vanished as u64, "invariant"));
    }
    if !comparison.only_in_base.is_empty() {
        let _ = write!(text, "; {} of the base missing", comparison.only_in_base.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::compare::compare;
    use super::super::fixture::report;
    use super::*;

    #[test]
    fn what_differs_is_shown_and_what_does_not_is_left_out() {
        let base = [report("role-swap", Verdict::Pass), report("formation", Verdict::Pass)];
        let mut lossy = report("role-swap", Verdict::Fail);
        lossy.ledger.lost = 12;
        lossy.failovers[0].promotion_ms = Some(2450.0);
        lossy.header.plan.seed = 8;
        let new = [lossy.clone(), lossy, report("shard-loss", Verdict::Pass)];
        assert_eq!(
            render_comparison(&compare(&base, &new), Style::default()),
            "\
suite      server     what                       change     base     new
------------------------------------------------------------------------
role-swap  redis:6.2  verdict                    worse      pass    fail
                      acked-writes (may-lose 0)  worse      pass    fail
                      promotion                  -4.91 s  7.36 s  2.45 s
                      lost                       +12           0      12

not the same  role-swap redis:6.2: seed: 7 -> 8
several runs  role-swap redis:6.2: 1 against 2; the worst of each is compared
only in base  formation redis:6.2
only in new   shard-loss redis:6.2
1 compared: 1 worse, 0 better, 0 alike; 1 of the base missing
"
        );
    }

    #[test]
    fn reports_without_anything_in_common_are_not_called_alike() {
        let shown = render_comparison(
            &compare(&[report("role-swap", Verdict::Pass)], &[report("formation", Verdict::Pass)]),
            Style::default(),
        );
        assert!(shown.ends_with("nothing in common: no suite is on both sides\n"), "{shown}");
    }
}
