//! A comparison as a table, or as Markdown for a pull request.

use std::collections::BTreeMap;
use std::fmt::Write;

use tabled::builder::Builder;
use tabled::settings::Color;

use super::compare::{Comparison, Pair};
use super::figures::time_text;
use super::grounds::invariant_name;
use super::layout::{Style, draw};
use super::markdown::escaped;
use super::measure::{Change, FigureChange, Side};
use super::run::short_server;
use super::statistics::SIGNIFICANCE;
use crate::check::FigureKind;
use crate::check::Verdict;
use crate::words::{count, list, visible};

const HEADINGS: [&str; 8] = ["suite", "server", "what", "change", "base", "new", "difference (95 %)", "runs\nneeded"];

/// A table of the verdicts and figures that differ, then other differences, then a conclusion. Figures without a significant
/// change are only shown for a single pair, or with `verbose`.
pub fn render_comparison(comparison: &Comparison, style: Style) -> String {
    let everything = style.verbose || comparison.pairs.len() == 1;
    let shown = if everything { Shown::Undecided } else { Shown::Telling };
    let mut builder = Builder::default();
    builder.push_record(HEADINGS);
    let mut colours = Vec::new();
    for pair in &comparison.pairs {
        for (index, row) in rows(pair, shown).into_iter().enumerate() {
            let name = |text: String| if index == 0 { text } else { String::new() };
            let mut record = vec![name(pair.suite.clone()), name(short_server(&pair.server))];
            colours.push(row.colour.clone());
            record.extend(row.cells());
            builder.push_record(record.iter().map(|cell| visible(cell)));
        }
    }
    let mut text = String::new();
    if !comparison.pairs.is_empty() {
        text = draw(builder, 3, colours.into_iter(), style);
        text.push('\n');
    }
    for line in remarks(comparison).into_iter().chain(conclusions(comparison)) {
        let _ = writeln!(text, "{}", visible(&line));
    }
    text
}

/// The same as Markdown with tables of GitHub, the conclusion first.
pub fn render_comparison_markdown(comparison: &Comparison) -> String {
    let conclusions: Vec<String> = conclusions(comparison).iter().map(|line| escaped(line)).collect();
    let mut text = format!("### slotquake: {}\n\n{}\n", sign(comparison), conclusions.join("  \n"));
    let shown = if comparison.pairs.len() == 1 { Shown::Undecided } else { Shown::Telling };
    if !comparison.pairs.is_empty() {
        let headings: Vec<String> = HEADINGS.iter().map(|heading| heading.replace('\n', " ")).collect();
        let _ = writeln!(text, "\n| {} |\n|---|---|---|---|--:|--:|--:|--:|", headings.join(" | "));
    }
    for pair in &comparison.pairs {
        for (index, row) in rows(pair, shown).into_iter().enumerate() {
            let mut cells = if index == 0 {
                vec![pair.suite.clone(), short_server(&pair.server)]
            } else {
                vec![String::new(), String::new()]
            };
            let bold = row.colour == Color::FG_RED;
            cells.extend(row.cells());
            let mut cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
            if bold {
                cells[3] = format!("**{}**", cells[3]);
            }
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
    }
    let remarks = remarks(comparison);
    if !remarks.is_empty() {
        text.push('\n');
    }
    for line in remarks {
        let _ = writeln!(text, "- {}", escaped(&line));
    }
    text
}

/// The result in a few words, for a heading.
pub(super) fn sign(comparison: &Comparison) -> &'static str {
    match (comparison.regressed(), comparison.undecided()) {
        (true, _) => "Worse",
        (false, true) => "Not all compared",
        (false, false) => "Not worse",
    }
}

/// What does not fit in the table, one line each.
pub(super) fn remarks(comparison: &Comparison) -> Vec<String> {
    let mut lines = Vec::new();
    let names = |pairs: &[&Pair]| match pairs.len() {
        many if many > 1 && many == comparison.pairs.len() => format!("all {many} pairs"),
        _ => list(pairs.iter().map(|pair| format!("{} {}", pair.suite, short_server(&pair.server)))),
    };
    let mut differences: Vec<(&String, Vec<&Pair>)> = Vec::new();
    let mut repeated: Vec<((usize, usize), Vec<&Pair>)> = Vec::new();
    for pair in &comparison.pairs {
        for difference in pair.differences.iter().chain(&pair.notes) {
            note(&mut differences, difference, pair);
        }
        if pair.base_runs + pair.new_runs > 2 {
            note(&mut repeated, (pair.base_runs, pair.new_runs), pair);
        }
    }
    lines.extend(differences.iter().map(|(what, pairs)| format!("not the same  {}: {what}", names(pairs))));
    lines.extend(repeated.iter().map(|((base, new), pairs)| {
        format!(
            "several runs  {}: {base} in base, {new} in new; shown are the worst verdict of each side and the median of its times",
            names(pairs)
        )
    }));
    for (side, keys) in [("base", &comparison.only_in_base), ("new", &comparison.only_in_new)] {
        let mut by_server: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for key in keys {
            by_server.entry(short_server(&key.server)).or_default().push(&key.suite);
        }
        lines.extend(by_server.iter().map(|(server, suites)| format!("only in {side:4}  {server}: {}", list(suites))));
    }
    for skipped in &comparison.skipped {
        let side = if skipped.in_new { "new" } else { "base" };
        let (suite, server) = (&skipped.run.suite, short_server(&skipped.run.server));
        lines.push(format!("not compared  {suite} {server}: skipped in {side}: {}", skipped.reason));
    }
    let figures = || comparison.pairs.iter().flat_map(|pair| &pair.figures).filter(|figure| figure.tested());
    let (tested, found) = (figures().count(), figures().filter(|figure| figure.change != Change::Undecided).count());
    if tested > 1 {
        lines.push(format!(
            "tested        {tested} figures: {found} differ with p < {SIGNIFICANCE}; about {:.1} would by chance alone if nothing had changed",
            tested as f64 * SIGNIFICANCE
        ));
    }
    lines
}

/// Adds a pair to those with the same note.
fn note<'a, T: PartialEq>(notes: &mut Vec<(T, Vec<&'a Pair>)>, what: T, pair: &'a Pair) {
    match notes.iter_mut().find(|(known, _)| *known == what) {
        Some((_, pairs)) => pairs.push(pair),
        None => notes.push((what, vec![pair])),
    }
}

/// Which figures have a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shown {
    /// Those that differ beyond chance, and those of safety that differ at all.
    Telling,
    /// Those that differ.
    Undecided,
    /// All figures, and the invariants that differ.
    Figures,
    /// All figures and invariants.
    All,
}

/// A verdict or a figure on two sides, as text.
pub(super) struct Row {
    pub(super) what: String,
    pub(super) change: &'static str,
    pub(super) base: String,
    pub(super) new: String,
    pub(super) difference: String,
    runs_needed: String,
    colour: Color,
}

impl Row {
    fn cells(self) -> [String; 6] {
        [self.what, self.change.to_owned(), self.base, self.new, self.difference, self.runs_needed]
    }
}

pub(super) fn rows(pair: &Pair, shown: Shown) -> Vec<Row> {
    let mut rows = vec![verdict_row("verdict".to_owned(), Some(pair.base_verdict), Some(pair.new_verdict))];
    for change in pair.invariants.iter().filter(|change| shown == Shown::All || change.base != change.new) {
        rows.push(verdict_row(invariant_name(&change.invariant, &change.settings), change.base, change.new));
    }
    let telling = |figure: &&FigureChange| match figure.change {
        Change::Same => shown >= Shown::Figures,
        Change::Undecided => shown >= Shown::Undecided || figure.kind == FigureKind::Safety,
        Change::Better | Change::Worse | Change::Appeared | Change::Vanished => true,
    };
    rows.extend(pair.figures.iter().filter(telling).map(|figure| figure_row(figure, pair.same_host)));
    rows
}

fn verdict_row(what: String, base: Option<Verdict>, new: Option<Verdict>) -> Row {
    let (change, colour) = match (base, new) {
        (Some(base), Some(new)) if new > base => ("worse", Color::FG_RED),
        (Some(base), Some(new)) if new < base => ("better", Color::FG_GREEN),
        (Some(_), None) => ("vanished", Color::FG_RED),
        (None, Some(_)) => ("appeared", Color::FG_YELLOW),
        _ => ("same", Color::empty()),
    };
    let word = |verdict: Option<Verdict>| verdict.map_or("-", Verdict::word).to_owned();
    Row {
        what,
        change,
        base: word(base),
        new: word(new),
        difference: String::new(),
        runs_needed: String::new(),
        colour,
    }
}

fn figure_row(figure: &FigureChange, same_host: bool) -> Row {
    let is_time = figure.figure.ends_with("_ms");
    let digits = usize::from(figure.figure.ends_with("_percent"));
    let number = |value: f64| if is_time { time_text(value.abs()) } else { format!("{:.digits$}", value.abs()) };
    let signed = |value: f64| format!("{}{}", if value < 0.0 { '-' } else { '+' }, number(value));
    let show = |side: &Side| {
        let value = if figure.kind == FigureKind::Safety { side.max } else { side.median };
        let at_least = if side.open { ">" } else { "" };
        value.map_or_else(|| "-".to_owned(), |value| format!("{at_least}{}", number(value)))
    };
    let mut difference = figure.difference.map(signed).unwrap_or_default();
    if let Some((low, high)) = figure.interval {
        let _ = write!(difference, " ({} to {})", signed(low), signed(high));
    }
    if let Some(p) = figure.p.filter(|_| figure.tested()) {
        let _ = if p < 0.001 { write!(difference, " p<0.001") } else { write!(difference, " p={p:.3}") };
    }
    let (change, colour) = match (figure.change, figure.kind) {
        (Change::Worse, FigureKind::Time) if same_host => ("slower", Color::FG_RED),
        (Change::Worse, FigureKind::Time) => ("slower", Color::FG_YELLOW),
        (Change::Better, FigureKind::Time) => ("faster", Color::FG_GREEN),
        (Change::Worse, FigureKind::Amount) => ("less", Color::FG_YELLOW),
        (Change::Better, FigureKind::Amount) => ("more", Color::FG_GREEN),
        (Change::Worse, FigureKind::Safety) => ("worse", Color::FG_RED),
        (Change::Better, FigureKind::Safety) => ("better", Color::FG_GREEN),
        (Change::Same, _) => ("same", Color::empty()),
        (Change::Undecided, _) => ("~", Color::empty()),
        (Change::Appeared, _) => ("appeared", Color::FG_YELLOW),
        (Change::Vanished, _) => ("vanished", Color::FG_YELLOW),
    };
    let runs_needed = match (figure.change, figure.kind, figure.runs_needed, figure.p) {
        (Change::Undecided, FigureKind::Time | FigureKind::Amount, Some(runs), _) => runs.to_string(),
        (Change::Undecided, FigureKind::Time | FigureKind::Amount, None, Some(_)) => ">1000".to_owned(),
        _ => String::new(),
    };
    Row {
        what: figure.figure.trim_end_matches("_ms").replace('_', " "),
        change,
        base: show(&figure.base),
        new: show(&figure.new),
        difference,
        runs_needed,
        colour,
    }
}

/// How many verdicts differ, and then what makes it a regression.
pub(super) fn conclusions(comparison: &Comparison) -> Vec<String> {
    let mut lines = vec![conclusion(comparison)];
    let why = comparison.why_regressed();
    if !why.is_empty() {
        lines.push(format!("regression: {}", why.join("; ")));
    }
    lines
}

fn conclusion(comparison: &Comparison) -> String {
    let pairs = comparison.pairs.len();
    let worse = comparison.pairs.iter().filter(|pair| pair.worse()).count();
    let better = comparison.pairs.iter().filter(|pair| pair.better()).count();
    let worse_figures = comparison.pairs.iter().filter(|pair| !pair.worse() && pair.figures_worse()).count();
    if pairs == 0 {
        return "nothing in common: no suite is on both sides".to_owned();
    }
    let mut text =
        format!("{pairs} compared by verdict: {worse} worse, {better} better, {} alike", pairs - worse - better);
    if worse_figures > 0 {
        let _ = write!(text, "; of those not worse, {worse_figures} with a worse figure");
    }
    let vanished: usize =
        comparison.pairs.iter().flat_map(|pair| &pair.invariants).filter(|change| change.new.is_none()).count();
    if vanished > 0 {
        let _ = write!(text, "; {} no longer judged", count(vanished as u64, "invariant"));
    }
    if !comparison.only_in_base.is_empty() {
        let _ = write!(text, "; {} of the base missing", comparison.only_in_base.len());
    }
    let skipped = comparison.skipped.iter().filter(|skipped| skipped.in_new).count();
    if skipped > 0 {
        let _ = write!(text, "; {skipped} of the base skipped in new");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::compare::compare;
    use super::super::fixture::report;
    use super::super::run::{Report, RunKey};
    use super::super::skipped::Skipped;
    use super::*;

    #[test]
    fn shows_differences_only() {
        let base = [report("role-swap", Verdict::Pass), report("formation", Verdict::Pass)];
        let mut lossy = report("role-swap", Verdict::Fail);
        lossy.ledger.lost = 12;
        lossy.failovers[0].promotion_ms = Some(2450.0);
        lossy.header.plan.seed = 8;
        let new = [lossy.clone(), lossy, report("shard-loss", Verdict::Pass)];
        let comparison = compare(&base, &new);
        let shown = render_comparison(&comparison, Style::default());
        assert_eq!(
            format!("\n{shown}"),
            "
                                                                                              runs
suite      server     what                       change    base     new  difference (95 %)  needed
--------------------------------------------------------------------------------------------------
role-swap  redis:6.2  verdict                    worse     pass    fail
                      acked-writes (may-lose 0)  worse     pass    fail
                      lost                       worse        0      12                +12
                      promotion                  ~       7.36 s  2.45 s            -4.91 s       4

not the same  role-swap redis:6.2: seed: 7 -> 8
several runs  role-swap redis:6.2: 1 in base, 2 in new; shown are the worst verdict of each side and the median of its times
only in base  redis:6.2: formation
only in new   redis:6.2: shard-loss
1 compared by verdict: 1 worse, 0 better, 0 alike; 1 of the base missing
regression: worse verdicts in role-swap redis:6.2; missing in new: formation redis:6.2
"
        );
    }

    #[test]
    fn a_skipped_suite_is_not_missing() {
        let role_swap = || report("role-swap", Verdict::Pass);
        let more = [role_swap(), report("halves", Verdict::Pass)];
        let fewer = [role_swap()];
        let run = RunKey { suite: "halves".to_owned(), server: "redis:6.2".to_owned() };
        let skipped = [Skipped { run, reason: "nft is not installed".to_owned() }];
        for (comparison, expected, undecided) in [
            (
                compare(&more, &fewer).with_skipped(&[], &skipped),
                "not compared  halves redis:6.2: skipped in new: nft is not installed\n1 compared by verdict: 0 worse, 0 better, 1 alike; 1 of the base skipped in new\n",
                true,
            ),
            (
                compare(&fewer, &more).with_skipped(&skipped, &[]),
                "not compared  halves redis:6.2: skipped in base: nft is not installed\n1 compared by verdict: 0 worse, 0 better, 1 alike\n",
                false,
            ),
        ] {
            let shown = render_comparison(&comparison, Style::default());
            assert!(shown.ends_with(expected), "{shown}");
            assert_eq!((comparison.regressed(), comparison.undecided()), (false, undecided), "{shown}");
            assert!(!shown.contains("only in"), "{shown}");
        }
        let gone = compare(&more, &fewer).with_skipped(&skipped, &[]);
        assert!(gone.regressed(), "the base's own note says nothing of the new side");
    }

    #[test]
    fn shows_undecided_figures_of_several_suites_only_with_verbose() {
        let base = [report("role-swap", Verdict::Pass), report("formation", Verdict::Pass)];
        let mut new = base.clone();
        new[0].failovers[0].promotion_ms = Some(2450.0);
        for verbose in [false, true] {
            let shown = render_comparison(&compare(&base, &new), Style { verbose, ..Style::default() });
            assert_eq!(shown.contains("promotion"), verbose, "{shown}");
        }
    }

    /// Five runs whose promotions took `from_ms` and each 10 ms more.
    fn five(from_ms: f64) -> Vec<Report> {
        let run = |at: u8| {
            let mut run = report("role-swap", Verdict::Pass);
            run.failovers[0].promotion_ms = Some(from_ms + f64::from(at) * 10.0);
            run
        };
        (0..5).map(run).collect()
    }

    #[test]
    fn shows_medians_intervals_and_runs_needed() {
        let shown = render_comparison(&compare(&five(7000.0), &five(2000.0)), Style::default());
        assert_eq!(
            format!("\n{shown}"),
            "
                                                                                                 runs
suite      server     what       change    base     new                     difference (95 %)  needed
-----------------------------------------------------------------------------------------------------
role-swap  redis:6.2  verdict    same      pass    pass
                      promotion  faster  7.02 s  2.02 s  -5.00 s (-5.03 s to -4.97 s) p=0.008

several runs  role-swap redis:6.2: 5 in base, 5 in new; shown are the worst verdict of each side and the median of its times
1 compared by verdict: 0 worse, 0 better, 1 alike
"
        );
        let shown = render_comparison(&compare(&five(7000.0), &five(7011.0)), Style::default());
        assert!(shown.contains("  ~       7.02 s  7.03 s  +11 ms (-19 ms to +41 ms) p="), "{shown}");
    }

    #[test]
    fn markdown_escapes_names() {
        let hostile = |verdict| {
            let mut run = report("role-swap", verdict);
            run.header.plan.name = "a|b<img src=x>\n# c @all".to_owned();
            run
        };
        let shown = render_comparison_markdown(&compare(&[hostile(Verdict::Pass)], &[hostile(Verdict::Fail)]));
        assert!(shown.starts_with("### slotquake: Worse\n\n1 compared by verdict: 1 worse"), "{shown}");
        let row = "| a\\|b&lt;img src=x&gt; \\# c \\@all | redis:6.2 | verdict | **worse** | pass | fail |  |  |\n";
        assert!(shown.contains(row), "{shown}");
    }

    #[test]
    fn reports_without_a_common_suite_are_not_alike() {
        let shown = render_comparison(
            &compare(&[report("role-swap", Verdict::Pass)], &[report("formation", Verdict::Pass)]),
            Style::default(),
        );
        assert!(
            shown.contains("\nnothing in common: no suite is on both sides\nregression: missing in new: "),
            "{shown}"
        );
    }
}
